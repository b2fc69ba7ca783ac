//! Operators on values that are known while reading: the arithmetic on shapes that exporters emit before a
//! reshape or resize, and weights that are turned before use. The batch stays symbolic.

mod arithmetic;
mod moves;

use attr_core::{Activation, NodeId};
use ndarray::{ArrayD, IxDyn};

use self::arithmetic::{Compared, arithmetic, compare, float, modulo, negated, power, reduce, truth, where_};
use crate::array::{Array, Size, map_array};
use crate::import::Context;
use crate::node::{Fault, Node, Value, broken, count, unsupported};
use crate::proto::TensorProto;
use crate::tensor::array;

pub(crate) use self::arithmetic::broadcast;
pub(crate) use self::moves::{slice_entries, triangle};

/// What computes the value of an operator whose inputs are all known.
pub(crate) type Fold = fn(&mut Context, &Node) -> Result<Array, Fault>;

/// All operators that can be computed while reading.
const FOLDS: &[(&str, Fold)] = &[
    ("Abs", |g, n| negated(g, n, |i| i.abs(), f64::abs)),
    ("Add", |g, n| arithmetic(g, n, Size::add, |a, b| a + b)),
    ("And", |g, n| truth(g, n, |a, b| a && b)),
    ("Cast", cast),
    ("Ceil", |g, n| float(g, n, Activation::Ceil)),
    ("Concat", moves::concat),
    ("Constant", constant),
    ("Cos", |g, n| float(g, n, Activation::Cos)),
    ("CumSum", moves::cumulative_sum),
    ("Div", |g, n| arithmetic(g, n, Size::div, |a, b| a / b)),
    ("Equal", |g, n| compare(g, n, |c| c == Compared::Equal)),
    ("Exp", |g, n| float(g, n, Activation::Exp)),
    ("Expand", moves::expand),
    ("Floor", |g, n| float(g, n, Activation::Floor)),
    ("Gather", moves::gather),
    ("Greater", |g, n| compare(g, n, |c| c == Compared::Greater)),
    ("GreaterOrEqual", |g, n| compare(g, n, |c| c == Compared::Greater || c == Compared::Equal)),
    ("Less", |g, n| compare(g, n, |c| c == Compared::Less)),
    ("LessOrEqual", |g, n| compare(g, n, |c| c == Compared::Less || c == Compared::Equal)),
    ("Log", |g, n| float(g, n, Activation::Log)),
    ("Max", |g, n| arithmetic(g, n, Size::max, arithmetic::larger)),
    ("Min", |g, n| arithmetic(g, n, Size::min, arithmetic::smaller)),
    ("Mod", modulo),
    ("Mul", |g, n| arithmetic(g, n, Size::mul, |a, b| a * b)),
    ("Neg", |g, n| negated(g, n, |i| i.checked_neg().unwrap_or(i), |x| -x)),
    ("NonZero", moves::non_zero),
    ("Not", arithmetic::not),
    ("Or", |g, n| truth(g, n, |a, b| a || b)),
    ("Pow", power),
    ("Range", moves::range),
    ("Reciprocal", |g, n| float(g, n, Activation::Reciprocal)),
    ("ReduceMax", |g, n| reduce(g, n, 18, Size::max, arithmetic::larger)),
    ("ReduceMin", |g, n| reduce(g, n, 18, Size::min, arithmetic::smaller)),
    ("ReduceProd", |g, n| reduce(g, n, 18, Size::mul, |a, b| a * b)),
    ("ReduceSum", |g, n| reduce(g, n, 13, Size::add, |a, b| a + b)),
    ("Reshape", moves::reshape),
    ("Round", |g, n| float(g, n, Activation::Round)),
    ("ScatterND", moves::scatter),
    ("Sin", |g, n| float(g, n, Activation::Sin)),
    ("Slice", moves::slice),
    ("Sqrt", |g, n| float(g, n, Activation::Sqrt)),
    ("Squeeze", moves::squeeze),
    ("Sub", |g, n| arithmetic(g, n, Size::sub, |a, b| a - b)),
    ("Sum", |g, n| arithmetic(g, n, Size::add, |a, b| a + b)),
    ("Tile", moves::tile),
    ("Trilu", moves::trilu),
    ("Unsqueeze", moves::unsqueeze),
    ("Where", where_),
    ("Xor", |g, n| truth(g, n, |a, b| a != b)),
];

/// What computes this operator, if anything does.
pub(crate) fn fold(op_type: &str) -> Option<Fold> {
    FOLDS.iter().find(|(name, _)| *name == op_type).map(|(_, fold)| *fold)
}

/// The shape of a layer's value, or a part of it.
pub(crate) fn shape_of(g: &Context, n: &Node, id: NodeId) -> Result<Array, Fault> {
    let dims: Vec<Size> = g.shape(id).0.into_iter().map(Size::from).collect();
    part_of_shape(n, dims)
}

/// The shape of a constant, or a part of it.
pub(crate) fn shape_of_constant(n: &Node) -> Result<Array, Fault> {
    let dims = n.constant(0)?.array.dims().iter().map(|&d| Size::Fixed(d as i64)).collect();
    part_of_shape(n, dims)
}

fn part_of_shape(n: &Node, dims: Vec<Size>) -> Result<Array, Fault> {
    let rank = dims.len() as i64;
    let bound = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let (start, end) = (bound(n.int("start", 0)?), bound(n.int("end", rank)?));
    Ok(Array::sizes(dims.get(start..end).unwrap_or_default().to_vec()))
}

/// The value of a `Constant`.
fn constant(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    if let Some(tensor) = n.attribute("value").and_then(|a| a.t.as_ref()) {
        return Ok(array(tensor, &mut g.beside)?);
    }
    let scalar = |x: f32| Array::F32(ArrayD::from_elem(IxDyn(&[]), x).into_shared());
    if let Some(x) = n.attribute("value_float").and_then(|a| a.f) {
        return Ok(scalar(x));
    }
    if let Some(i) = n.attribute("value_int").and_then(|a| a.i) {
        return Ok(Array::Int(ArrayD::from_elem(IxDyn(&[]), Size::Fixed(i)).into_shared()));
    }
    if let Some(a) = n.attribute("value_floats") {
        g.spend(a.floats.len())?;
        return Ok(Array::F32(ndarray::Array1::from(a.floats.clone()).into_dyn().into_shared()));
    }
    match n.attribute("value_ints") {
        Some(a) => Ok(Array::sizes(a.ints.iter().map(|&i| Size::Fixed(i)).collect())),
        None => unsupported("without numbers"),
    }
}

fn cast(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let to = i32::try_from(n.int("to", 0)?).unwrap_or(0);
    cast_to(g, n, to)
}

/// The first input in another type, by its number in the file.
pub(crate) fn cast_to(g: &mut Context, n: &Node, to: i32) -> Result<Array, Fault> {
    let input = &n.constant(0)?.array;
    g.spend(input.len())?;
    if let (Array::Int(a), TensorProto::INT64 | TensorProto::INT32) = (input, to) {
        return Ok(Array::Int(a.clone()));
    }
    let numbers = match input {
        Array::F32(a) => a.iter().map(|&x| f64::from(x)).collect(),
        other => match other.numbers() {
            Some(numbers) => numbers,
            None => return unsupported("of the batch to another type"),
        },
    };
    let numbers = match ArrayD::from_shape_vec(IxDyn(input.dims()), numbers) {
        Ok(numbers) => numbers,
        Err(_) => return broken("the shape does not fit to its numbers"),
    };
    match to {
        TensorProto::FLOAT | TensorProto::FLOAT16 | TensorProto::BFLOAT16 => {
            Ok(Array::F32(numbers.mapv(|x| x as f32).into_shared()))
        }
        TensorProto::DOUBLE => Ok(Array::F64(numbers.into_shared())),
        TensorProto::INT64 | TensorProto::INT32 => {
            Ok(Array::Int(numbers.mapv(|x| Size::Fixed(x as i64)).into_shared()))
        }
        TensorProto::BOOL => Ok(Array::Int(numbers.mapv(|x| Size::Fixed(i64::from(x != 0.0))).into_shared())),
        other => unsupported(format!("to {}", TensorProto::type_name(other))),
    }
}

/// The array of a `ConstantOfShape` whose lengths are known.
pub(crate) fn constant_of_known_shape(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let dims = n.integers(0)?.ok_or_else(|| Fault::Broken("input 0 is missing".into()))?;
    let dims = dims.into_iter().map(count).collect::<Result<Vec<_>, _>>()?;
    let len = dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim.max(1)));
    g.spend(len.unwrap_or(usize::MAX))?;
    if dims.len() > crate::node::MAX_RANK {
        return broken(format!("expected at most {} axes, found {}", crate::node::MAX_RANK, dims.len()));
    }
    let dims = IxDyn(&dims);
    Ok(map_array!(one_value(g, n)?, a => match a.first() {
        Some(&x) => ArrayD::from_elem(dims, x).into_shared(),
        None => return broken("expected one value"),
    }))
}

/// The value that a `ConstantOfShape` repeats, without axes; 0 where it does not say one.
pub(crate) fn one_value(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let value = match n.attribute("value").and_then(|a| a.t.as_ref()) {
        Some(tensor) => array(tensor, &mut g.beside)?,
        None => Array::F32(ArrayD::zeros(IxDyn(&[1])).into_shared()),
    };
    match value.len() {
        1 => moves::reshaped(g, &value, &[]),
        len => broken(format!("expected one value, found {len}")),
    }
}

/// Whether a value is a constant.
pub(crate) fn is_constant(value: &Option<Value>) -> bool {
    matches!(value, None | Some(Value::Constant(_)))
}
