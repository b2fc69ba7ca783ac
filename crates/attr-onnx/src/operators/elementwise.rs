//! Operators on each number by itself: activations, arithmetic, comparisons, casts.

use attr_core::{Activation, Comparison, NodeId, Op};
use ndarray::{ArrayD, IxDyn};

use crate::array::{Array, Size};
use crate::fold::cast_to;
use crate::import::Context;
use crate::node::{Fault, Node, Value, Values, broken, unsupported};
use crate::proto::TensorProto;

pub(super) fn activation(g: &mut Context, n: &Node, activation: Activation) -> Values {
    let x = g.layer(n, 0)?;
    g.add(n, Op::Activation(activation), &[x], &[])
}

pub(super) fn celu(g: &mut Context, n: &Node) -> Values {
    match n.float("alpha", 1.0)? {
        0.0 => broken("attribute alpha: expected another number than 0"),
        alpha => activation(g, n, Activation::Celu { alpha }),
    }
}

pub(super) fn gelu(g: &mut Context, n: &Node) -> Values {
    match n.text("approximate", "none")? {
        "none" => activation(g, n, Activation::Gelu),
        "tanh" => activation(g, n, Activation::GeluTanh),
        other => unsupported(format!("with attribute approximate={other}")),
    }
}

pub(super) fn hard_sigmoid(g: &mut Context, n: &Node) -> Values {
    let (alpha, beta) = (n.float("alpha", 0.2)?, n.float("beta", 0.5)?);
    activation(g, n, Activation::HardSigmoid { alpha, beta })
}

pub(super) fn selu(g: &mut Context, n: &Node) -> Values {
    // The defaults are those of the paper in single precision.
    let alpha = n.float("alpha", 1.673_263_192_176_818_8)?;
    let gamma = n.float("gamma", 1.050_701_022_148_132_3)?;
    activation(g, n, Activation::Selu { alpha, gamma })
}

/// A slope for each channel or each number is a parameter; a computed one makes a sum of two halves.
pub(super) fn prelu(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    if let Some(Value::Constant(_)) = n.input(1) {
        let slope = g.param(n, 1, crate::import::Form::Plain)?;
        return g.add(n, Op::PRelu, &[x], &[slope]);
    }
    let slope = g.layer(n, 1)?;
    let zero = g.number(n, 0.0)?;
    let above = g.step(n, Op::Activation(Activation::Relu), &[x])?;
    let below = g.step(n, Op::Minimum, &[x, zero])?;
    let below = g.step(n, Op::Mul, &[below, slope])?;
    g.add(n, Op::Add, &[above, below], &[])
}

/// Bounds that are known are one layer; of computed ones each is a layer.
pub(super) fn clip(g: &mut Context, n: &Node) -> Values {
    if n.opset < 11 {
        let (min, max) = (n.float("min", f64::NEG_INFINITY)?, n.float("max", f64::INFINITY)?);
        return activation(g, n, Activation::Clip { min, max });
    }
    let open = |i: usize| matches!(n.input(i), Some(Value::Layer(_)));
    if !open(1) && !open(2) {
        let (min, max) = (n.number(1)?.unwrap_or(f64::NEG_INFINITY), n.number(2)?.unwrap_or(f64::INFINITY));
        return activation(g, n, Activation::Clip { min, max });
    }
    let x = g.layer(n, 0)?;
    match (n.input(1).is_some(), n.input(2).is_some()) {
        (true, true) => {
            let bounds = [g.layer(n, 1)?, g.layer(n, 2)?];
            let above = g.step(n, Op::Maximum, &[x, bounds[0]])?;
            g.add(n, Op::Minimum, &[above, bounds[1]], &[])
        }
        (true, false) => {
            let min = g.layer(n, 1)?;
            g.add(n, Op::Maximum, &[x, min], &[])
        }
        _ => {
            let max = g.layer(n, 2)?;
            g.add(n, Op::Minimum, &[x, max], &[])
        }
    }
}

pub(super) fn binary(g: &mut Context, n: &Node, op: Op) -> Values {
    // Before operator set 7 there were attributes for how operands broadcast, which nobody asks for here.
    let operands = [g.layer(n, 0)?, g.layer(n, 1)?];
    g.add(n, op, &operands, &[])
}

/// Whole numbers are divided without the rest.
pub(super) fn divide(g: &mut Context, n: &Node) -> Values {
    let operands = [g.layer(n, 0)?, g.layer(n, 1)?];
    if !operands.iter().all(|id| g.whole.contains(id)) {
        return g.add(n, Op::Div, &operands, &[]);
    }
    let quotient = g.step(n, Op::Div, &operands)?;
    g.add(n, Op::Activation(Activation::Truncate), &[quotient], &[])
}

/// A known exponent is an attribute. A power of whole numbers is rounded, for it is one.
pub(super) fn power(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let one = |c: &crate::array::Constant| c.array.len() == 1 && c.array.dims().len() <= g.shape(x).rank();
    let (op, inputs) = match n.input(1) {
        Some(Value::Constant(c)) if one(c) => {
            let exponent = n.number(1)?.unwrap_or(1.0);
            (Op::Activation(Activation::Power { exponent }), vec![x])
        }
        _ => (Op::Power, vec![x, g.layer(n, 1)?]),
    };
    if !g.whole.contains(&x) {
        let id = g.add_named(&n.name, op, &inputs, &[])?;
        g.whole.remove(&id);
        return Ok(vec![Value::Layer(id)]);
    }
    let power = g.step(n, op, &inputs)?;
    g.add(n, Op::Activation(Activation::Round), &[power], &[])
}

/// A chain of operators on two values each, of which the last has the operator's name.
pub(super) fn chain(g: &mut Context, n: &Node, op: Op) -> Values {
    let inputs = (0..n.inputs().len()).map(|i| g.layer(n, i)).collect::<Result<Vec<_>, _>>()?;
    match inputs[..] {
        [] => broken("expected at least one input"),
        [x] => g.add(n, Op::Identity, &[x], &[]),
        [first, ref between @ .., last] => {
            let mut total = first;
            for &next in between {
                total = g.step(n, op.clone(), &[total, next])?;
            }
            g.add(n, op, &[total, last], &[])
        }
    }
}

pub(super) fn mean(g: &mut Context, n: &Node) -> Values {
    let inputs = (0..n.inputs().len()).map(|i| g.layer(n, i)).collect::<Result<Vec<_>, _>>()?;
    let [first, rest @ ..] = &inputs[..] else { return broken("expected at least one input") };
    if rest.is_empty() {
        return g.add(n, Op::Identity, &[*first], &[]);
    }
    let mut total = *first;
    for &next in rest {
        total = g.step(n, Op::Add, &[total, next])?;
    }
    let count = g.number(n, inputs.len() as f64)?;
    g.add(n, Op::Div, &[total, count], &[])
}

/// The layer of truth values that an operator gives.
fn truth(g: &mut Context, n: &Node, op: Op, inputs: &[NodeId]) -> Values {
    let id = g.add_named(&n.name, op, inputs, &[])?;
    g.whole.insert(id);
    Ok(vec![Value::Layer(id)])
}

pub(super) fn compare(g: &mut Context, n: &Node, comparison: Comparison) -> Values {
    let operands = [g.layer(n, 0)?, g.layer(n, 1)?];
    truth(g, n, Op::Compare(comparison), &operands)
}

pub(super) fn not(g: &mut Context, n: &Node) -> Values {
    let (x, zero) = (g.layer(n, 0)?, g.number(n, 0.0)?);
    truth(g, n, Op::Compare(Comparison::Equal), &[x, zero])
}

/// Only what is not a number differs from itself.
pub(super) fn is_nan(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    truth(g, n, Op::Compare(Comparison::NotEqual), &[x, x])
}

/// One of two values, by a condition. Where the condition is known and the same everywhere, there is no choice.
pub(super) fn choose(g: &mut Context, n: &Node) -> Values {
    let inputs = [g.layer(n, 0)?, g.layer(n, 1)?, g.layer(n, 2)?];
    let id = g.add_named(&n.name, Op::Where, &inputs, &[])?;
    if !g.whole.contains(&inputs[1]) {
        g.whole.remove(&id);
    }
    Ok(vec![Value::Layer(id)])
}

/// A cast of computed values. All floating-point numbers are computed with in the one precision that a network is
/// run in, so a cast between their types is none; nor is one of whole numbers, which are exact in it up to
/// 2^24 (single precision) or 2^53.
pub(super) fn cast(g: &mut Context, n: &Node) -> Values {
    // How numbers are rounded to types of eight bits, which are not known here.
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
        TensorProto::INT64 | TensorProto::INT32 => truth(g, n, Op::Activation(Activation::Truncate), &[x]),
        TensorProto::BOOL => {
            let zero = g.number(n, 0.0)?;
            truth(g, n, Op::Compare(Comparison::NotEqual), &[x, zero])
        }
        to => unsupported(format!("of computed values to {}", TensorProto::type_name(to))),
    }
}

/// A cast to the type of the second input.
pub(super) fn cast_like(g: &mut Context, n: &Node) -> Values {
    n.attribute("saturate");
    n.attribute("round_mode");
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

/// Nothing, when a network is explained; the mask, if the file asks for it, is true everywhere.
pub(super) fn dropout(g: &mut Context, n: &Node) -> Values {
    n.attribute("ratio");
    n.attribute("seed");
    if n.number(2)?.is_some_and(|training| training != 0.0) {
        return unsupported("in training mode");
    }
    let x = g.layer(n, 0)?;
    let mut values = g.add(n, Op::Identity, &[x], &[])?;
    let shape = g.shape(x);
    if n.proto.output.len() > 1 && shape.batch_axis().is_none() {
        values.push(all_true(g, n, &shape.at(1))?);
    }
    Ok(values)
}

fn all_true(g: &mut Context, n: &Node, dims: &[usize]) -> Result<Value, Fault> {
    g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim)))?;
    let array = Array::Int(ArrayD::from_elem(IxDyn(dims), Size::Fixed(1)).into_shared());
    let (name, origin) = (g.unique(&n.name), g.new_origin());
    Ok(Value::Constant(crate::array::Constant { name, origin, array }))
}

/// The same value; a constant keeps its origin, so that layers that share it still do.
pub(super) fn identity(g: &mut Context, n: &Node) -> Values {
    if let Some(Value::Constant(constant)) = n.input(0) {
        return Ok(vec![n.value(constant.origin, constant.array.clone())]);
    }
    let x = g.layer(n, 0)?;
    g.add(n, Op::Identity, &[x], &[])
}
