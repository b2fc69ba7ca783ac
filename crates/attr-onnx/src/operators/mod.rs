//! What each operator of a file becomes: one table, an operator a few lines.

mod moves;
pub(crate) mod resize;
mod windows;

use attr_core::{Activation, Dim, Op};

use crate::array::{Array, map_array};
use crate::fold::{cast_to, fold, is_constant, shape_of, shape_of_constant};
use crate::import::{Context, Form};
use crate::node::{Node, Value, Values, axes, axis, broken, unsupported};
use crate::proto::TensorProto;

/// What makes layers of an operator and gives its values.
type Operator = fn(&mut Context, &Node) -> Values;

/// All operators that become layers.
const OPERATORS: &[(&str, Operator)] = &[
    ("Abs", |g, n| activation(g, n, Activation::Abs)),
    ("Add", |g, n| binary(g, n, Op::Add)),
    ("AveragePool", windows::average_pool),
    ("BatchNormalization", batch_norm),
    ("Cast", cast),
    ("CastLike", cast_like),
    ("Clip", clip),
    ("Concat", moves::concat),
    ("Conv", windows::conv),
    ("ConvTranspose", windows::conv_transpose),
    ("Div", |g, n| binary(g, n, Op::Div)),
    ("Dropout", dropout),
    ("Erf", |g, n| activation(g, n, Activation::Erf)),
    ("Exp", |g, n| activation(g, n, Activation::Exp)),
    ("Flatten", moves::flatten),
    ("Gemm", gemm),
    ("GlobalAveragePool", windows::global_average_pool),
    ("GlobalMaxPool", windows::global_max_pool),
    ("Identity", identity),
    ("LeakyRelu", |g, n| activation(g, n, Activation::LeakyRelu { slope: n.float("alpha", 0.01)? })),
    ("LogSoftmax", |g, n| softmax(g, n, |axis| Op::LogSoftmax { axis })),
    ("MatMul", mat_mul),
    ("MaxPool", windows::max_pool),
    ("Mul", |g, n| binary(g, n, Op::Mul)),
    ("Neg", |g, n| activation(g, n, Activation::Neg)),
    ("Pad", moves::pad),
    ("ReduceMean", |g, n| reduce(g, n, 18, |axes, keep| Op::Mean { axes, keep })),
    ("ReduceSum", |g, n| reduce(g, n, 13, |axes, keep| Op::Sum { axes, keep })),
    ("Relu", |g, n| activation(g, n, Activation::Relu)),
    ("Reshape", moves::reshape),
    ("Resize", resize::resize),
    ("Shape", shape),
    ("Sigmoid", |g, n| activation(g, n, Activation::Sigmoid)),
    ("Slice", moves::slice),
    ("Softmax", |g, n| softmax(g, n, |axis| Op::Softmax { axis })),
    ("Softplus", |g, n| activation(g, n, Activation::Softplus)),
    ("Split", moves::split),
    ("Sqrt", |g, n| activation(g, n, Activation::Sqrt)),
    ("Squeeze", moves::squeeze),
    ("Sub", |g, n| binary(g, n, Op::Sub)),
    ("Sum", sum),
    ("Tanh", |g, n| activation(g, n, Activation::Tanh)),
    ("Transpose", moves::transpose),
    ("Unsqueeze", moves::unsqueeze),
    ("Upsample", resize::upsample),
];

/// Whether any use of an operator is supported.
pub(crate) fn is_known(op_type: &str) -> bool {
    fold(op_type).is_some() || OPERATORS.iter().any(|(name, _)| *name == op_type)
}

/// The values of an operator: computed now if all it reads is known, otherwise those of new layers.
pub(crate) fn import(g: &mut Context, n: &Node) -> Values {
    let op_type = n.proto.op_type.as_str();
    if n.inputs().iter().all(is_constant)
        && let Some(fold) = fold(op_type)
    {
        let array = fold(g, n)?;
        let origin = g.new_origin();
        return Ok(vec![n.value(origin, array)]);
    }
    match OPERATORS.iter().find(|(name, _)| *name == op_type) {
        Some((_, operator)) => operator(g, n),
        None => unsupported("of computed values"),
    }
}

fn activation(g: &mut Context, n: &Node, activation: Activation) -> Values {
    let x = g.layer(n, 0)?;
    g.add(n, Op::Activation(activation), &[x], &[])
}

fn binary(g: &mut Context, n: &Node, op: Op) -> Values {
    let operands = [g.layer(n, 0)?, g.layer(n, 1)?];
    g.add(n, op, &operands, &[])
}

fn batch_norm(g: &mut Context, n: &Node) -> Values {
    n.attribute("momentum");
    if n.flag("training_mode", false)? {
        return unsupported("in training mode");
    }
    if n.opset < 9 && !n.flag("spatial", true)? {
        return unsupported("with attribute spatial=0");
    }
    let x = g.layer(n, 0)?;
    let params = (1..5).map(|i| g.param(n, i, Form::Plain)).collect::<Result<Vec<_>, _>>()?;
    g.add(n, Op::BatchNorm { epsilon: n.float("epsilon", 1e-5)? }, &[x], &params)
}

/// A cast of computed values. All floating-point numbers are computed with in the one precision that a network is
/// run in, so a cast between their types is none; nor is one of whole numbers, which are exact in it up to
/// 2^24 (single precision) or 2^53.
fn cast(g: &mut Context, n: &Node) -> Values {
    // How numbers are rounded that are too large for a type of eight bits.
    n.attribute("saturate");
    n.attribute("round_mode");
    match i32::try_from(n.int("to", 0)?) {
        Ok(to) => cast_layer(g, n, to),
        Err(_) => broken("attribute to: expected a type"),
    }
}

fn cast_layer(g: &mut Context, n: &Node, to: i32) -> Values {
    let x = g.layer(n, 0)?;
    let whole = g.whole.contains(&x);
    match to {
        to if TensorProto::is_float(to) => {
            let id = g.add_named(&n.name, Op::Identity, &[x], &[])?;
            g.whole.remove(&id);
            Ok(vec![Value::Layer(id)])
        }
        TensorProto::INT64 | TensorProto::INT32 if whole => identity(g, n),
        to => unsupported(format!("of computed values to {}", TensorProto::type_name(to))),
    }
}

/// A cast to the type of the second input.
fn cast_like(g: &mut Context, n: &Node) -> Values {
    let to = match n.input(1) {
        Some(Value::Layer(id)) if g.whole.contains(id) => TensorProto::INT64,
        Some(Value::Layer(_)) => TensorProto::FLOAT,
        _ => match n.constant(1)?.array {
            Array::F32(_) => TensorProto::FLOAT,
            Array::F64(_) => TensorProto::DOUBLE,
            Array::Int(_) => TensorProto::INT64,
        },
    };
    match n.input(0) {
        Some(Value::Constant(_)) => {
            let (array, origin) = (cast_to(g, n, to)?, g.new_origin());
            Ok(vec![n.value(origin, array)])
        }
        _ => cast_layer(g, n, to),
    }
}

fn clip(g: &mut Context, n: &Node) -> Values {
    let (min, max) = match n.opset {
        ..11 => (n.float("min", f64::NEG_INFINITY)?, n.float("max", f64::INFINITY)?),
        _ => (n.number(1)?.unwrap_or(f64::NEG_INFINITY), n.number(2)?.unwrap_or(f64::INFINITY)),
    };
    activation(g, n, Activation::Clip { min, max })
}

/// Nothing, when a network is explained; the mask is no layer's value.
fn dropout(g: &mut Context, n: &Node) -> Values {
    n.attribute("ratio");
    n.attribute("seed");
    if n.number(2)?.is_some_and(|training| training != 0.0) {
        return unsupported("in training mode");
    }
    let x = g.layer(n, 0)?;
    g.add(n, Op::Identity, &[x], &[])
}

/// `alpha A B + beta C`, with constant B and C: a linear layer that has the factors in its parameters.
fn gemm(g: &mut Context, n: &Node) -> Values {
    if n.flag("transA", false)? {
        return unsupported("with attribute transA=1");
    }
    let x = g.layer(n, 0)?;
    if g.shape(x).rank() != 2 {
        return broken(format!("expected an input of rank 2, found {}", g.shape(x)));
    }
    let transposed = !n.flag("transB", false)?;
    let weight = g.param(n, 1, Form::Matrix { transposed, factor: n.float("alpha", 1.0)? })?;
    let len = g.dims(weight)[0];
    let factor = n.float("beta", 1.0)?;
    let params = g.with_param(vec![weight], n, 2, Form::Row { len, factor })?;
    g.add(n, Op::Linear, &[x], &params)
}

/// The same value; a constant keeps its origin, so that layers that share it still do.
fn identity(g: &mut Context, n: &Node) -> Values {
    if let Some(Value::Constant(constant)) = n.input(0) {
        return Ok(vec![n.value(constant.origin, constant.array.clone())]);
    }
    let x = g.layer(n, 0)?;
    g.add(n, Op::Identity, &[x], &[])
}

/// A matrix product with a constant matrix on the right.
fn mat_mul(g: &mut Context, n: &Node) -> Values {
    match (n.input(0), n.input(1)) {
        (Some(Value::Layer(_)), Some(Value::Constant(_))) => {}
        (Some(Value::Layer(_)), Some(Value::Layer(_))) => return unsupported("of two computed values"),
        _ => return unsupported("whose first operand is a constant"),
    }
    let x = g.layer(n, 0)?;
    if n.constant(1)?.array.dims().len() != 2 {
        return unsupported(format!("with a constant of shape {:?}", n.constant(1)?.array.dims()));
    }
    let weight = g.param(n, 1, Form::Matrix { transposed: true, factor: 1.0 })?;
    g.add(n, Op::Linear, &[x], &[weight])
}

fn reduce(g: &mut Context, n: &Node, since: i64, op: fn(Vec<usize>, bool) -> Op) -> Values {
    let x = g.layer(n, 0)?;
    let rank = g.shape(x).rank();
    let list = n.ints_or_input("axes", since, 1)?.unwrap_or_default();
    let none = n.opset >= since && n.flag("noop_with_empty_axes", false)?;
    let keep = n.flag("keepdims", true)?;
    match list.is_empty() {
        true if none => g.add(n, Op::Identity, &[x], &[]),
        true => g.add(n, op((0..rank).collect(), keep), &[x], &[]),
        false => g.add(n, op(axes(&list, rank)?, keep), &[x], &[]),
    }
}

fn shape(g: &mut Context, n: &Node) -> Values {
    let array = match n.input(0) {
        Some(Value::Layer(id)) => shape_of(g, n, *id)?,
        _ => shape_of_constant(n)?,
    };
    let origin = g.new_origin();
    Ok(vec![n.value(origin, array)])
}

/// Before operator set 13 all axes from the given one on were taken as one.
fn softmax(g: &mut Context, n: &Node, op: fn(usize) -> Op) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let axis = axis(n.int("axis", if n.opset < 13 { 1 } else { -1 })?, shape.rank())?;
    if n.opset < 13 && shape.0[axis + 1..].iter().any(|&dim| dim != Dim::Fixed(1)) {
        return unsupported(format!("of operator set {} along axes {axis} to {}", n.opset, shape.rank() - 1));
    }
    g.add(n, op(axis), &[x], &[])
}

/// A chain of additions, of which the last has the operator's name.
fn sum(g: &mut Context, n: &Node) -> Values {
    let mut total = g.layer(n, 0)?;
    let count = n.inputs().len();
    for i in 1..count.saturating_sub(1) {
        let name = g.unique(&format!("{}_{i}", n.name));
        let other = g.layer(n, i)?;
        total = g.add_named(&name, Op::Add, &[total, other], &[])?;
    }
    match count {
        1 => g.add(n, Op::Identity, &[total], &[]),
        _ => {
            let last = g.layer(n, count - 1)?;
            g.add(n, Op::Add, &[total, last], &[])
        }
    }
}

/// The transpose of a constant shares its numbers, and is the same wherever it is taken.
fn transposed_constant(g: &mut Context, n: &Node, axes: &[usize]) -> Values {
    let constant = n.constant(0)?;
    let origin = g.derived_origin(constant.origin, format!("{axes:?}"));
    let array = map_array!(&constant.array, a => a.clone().permuted_axes(ndarray::IxDyn(axes)));
    Ok(vec![n.value(origin, array)])
}
