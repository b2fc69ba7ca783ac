//! Operators on values that are known while reading: the arithmetic on shapes that exporters emit before a
//! reshape or resize, and weights that are turned before use. The batch stays symbolic.

use attr_core::NodeId;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

use crate::array::{Array, Size, map_array};
use crate::import::Context;
use crate::node::{Fault, Node, Value, axes, axis, broken, count, unsupported};
use crate::proto::TensorProto;
use crate::tensor::array;

/// What computes the value of an operator whose inputs are all known.
pub(crate) type Fold = fn(&mut Context, &Node) -> Result<Array, Fault>;

/// All operators that can be computed while reading.
const FOLDS: &[(&str, Fold)] = &[
    ("Add", |g, n| arithmetic(g, n, Size::add, |a, b| a + b)),
    ("Cast", cast),
    ("Ceil", |_, n| float(n, f64::ceil)),
    ("Concat", concat),
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Div", |g, n| arithmetic(g, n, Size::div, |a, b| a / b)),
    ("Expand", expand),
    ("Floor", |_, n| float(n, f64::floor)),
    ("Gather", gather),
    ("Mul", |g, n| arithmetic(g, n, Size::mul, |a, b| a * b)),
    ("Reshape", reshape),
    ("Slice", slice),
    ("Squeeze", squeeze),
    ("Sub", |g, n| arithmetic(g, n, Size::sub, |a, b| a - b)),
    ("Unsqueeze", unsqueeze),
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

fn float(n: &Node, f: fn(f64) -> f64) -> Result<Array, Fault> {
    match &n.constant(0)?.array {
        Array::F32(a) => Ok(Array::F32(a.mapv(|x| f(x.into()) as f32).into_shared())),
        Array::F64(a) => Ok(Array::F64(a.mapv(f).into_shared())),
        Array::Int(_) => broken("expected floating-point numbers, found integers"),
    }
}

fn concat(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let parts =
        (0..n.inputs().len()).map(|i| n.constant(i).map(|c| &c.array)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = parts.first() else { return broken("expected at least one input") };
    let axis = axis(n.int("axis", 0)?, first.dims().len())?;
    // ndarray panics here where it should give an error.
    if parts.iter().any(|part| part.dims().len() != first.dims().len()) {
        return broken("expected inputs of the same rank");
    }
    g.spend(parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len())))?;
    macro_rules! joined {
        ($kind:ident) => {{
            let views =
                parts.iter().map(|part| if let Array::$kind(a) = part { Some(a.view()) } else { None });
            let views: Option<Vec<_>> = views.collect();
            views
                .and_then(|views| ndarray::concatenate(Axis(axis), &views).ok())
                .map(|a| Array::$kind(a.into_shared()))
        }};
    }
    let joined = match first {
        Array::F32(_) => joined!(F32),
        Array::F64(_) => joined!(F64),
        Array::Int(_) => joined!(Int),
    };
    joined.ok_or_else(|| Fault::Broken(format!("expected inputs alike but for axis {axis}")))
}

fn constant_of_shape(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let dims = n.integers(0)?.ok_or_else(|| Fault::Broken("input 0 is missing".into()))?;
    let dims = dims.into_iter().map(count).collect::<Result<Vec<_>, _>>()?;
    let len = dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim.max(1)));
    g.spend(len.unwrap_or(usize::MAX))?;
    let value = match n.attribute("value").and_then(|a| a.t.as_ref()) {
        Some(tensor) => array(tensor, &mut g.beside)?,
        None => Array::F32(ArrayD::zeros(IxDyn(&[1])).into_shared()),
    };
    let dims = IxDyn(&dims);
    Ok(map_array!(&value, a => match a.first() {
        Some(&x) if a.len() == 1 => ArrayD::from_elem(dims, x).into_shared(),
        _ => return broken(format!("expected one value, found {}", a.len())),
    }))
}

fn gather(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let (data, indices) = (&n.constant(0)?.array, &n.constant(1)?.array);
    let axis = axis(n.int("axis", 0)?, data.dims().len())?;
    let len = data.dims()[axis];
    let Array::Int(indices) = indices else { return broken("expected integer indices") };
    let index = |size: &Size| {
        let i = size.fixed().map(|i| if i < 0 { i.saturating_add(len as i64) } else { i });
        i.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < len)
    };
    let Some(list) = indices.iter().map(index).collect::<Option<Vec<_>>>() else {
        return broken(format!("expected indices below {len}"));
    };
    let others = data.dims().iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &d)| d);
    g.spend(others.fold(list.len(), |product, d| product.saturating_mul(d)))?;
    let dims = [&data.dims()[..axis], indices.shape(), &data.dims()[axis + 1..]].concat();
    reshaped(g, &map_array!(data, a => a.select(Axis(axis), &list).into_shared()), &dims)
}

/// Elementwise, broadcasting; integers as sizes, numbers in their own precision.
fn arithmetic(
    g: &mut Context,
    n: &Node,
    int: fn(Size, Size) -> Option<Size>,
    float: fn(f64, f64) -> f64,
) -> Result<Array, Fault> {
    let (a, b) = (&n.constant(0)?.array, &n.constant(1)?.array);
    let dims = broadcast(a.dims(), b.dims())?;
    g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
    let dims = IxDyn(&dims);
    macro_rules! zipped {
        ($a:expr, $b:expr, $f:expr) => {
            match ($a.broadcast(dims.clone()), $b.broadcast(dims)) {
                (Some(a), Some(b)) => ndarray::Zip::from(&a).and(&b).map_collect($f).into_shared(),
                _ => return broken(format!("shapes {:?} and {:?} don't broadcast", $a.shape(), $b.shape())),
            }
        };
    }
    match (a, b) {
        (Array::F32(a), Array::F32(b)) => {
            // The four operations give the same when they are done in double precision and rounded.
            Ok(Array::F32(zipped!(a, b, |&x, &y| float(x.into(), y.into()) as f32)))
        }
        (Array::F64(a), Array::F64(b)) => Ok(Array::F64(zipped!(a, b, |&x, &y| float(x, y)))),
        (Array::Int(a), Array::Int(b)) => {
            let sizes = zipped!(a, b, |&x, &y| int(x, y));
            if sizes.iter().any(Option::is_none) {
                return unsupported("of sizes that has no whole or no constant result");
            }
            Ok(Array::Int(sizes.mapv(|size| size.unwrap_or(Size::Fixed(0))).into_shared()))
        }
        _ => broken("expected two inputs of the same type"),
    }
}

fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let dims = (0..rank).map(|i| match (at(a, i), at(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => broken(format!("shapes {a:?} and {b:?} don't broadcast")),
    });
    dims.collect()
}

fn expand(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let wanted = n.integers(1)?.ok_or_else(|| Fault::Broken("input 1 is missing".into()))?;
    let wanted = wanted.into_iter().map(count).collect::<Result<Vec<_>, _>>()?;
    let dims = broadcast(data.dims(), &wanted)?;
    g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
    Ok(map_array!(data, a => match a.broadcast(IxDyn(&dims)) {
        Some(a) => a.to_shared(),
        None => return broken(format!("shape {:?} can't be expanded to {wanted:?}", data.dims())),
    }))
}

fn reshape(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let target = n.integers(1)?.ok_or_else(|| Fault::Broken("input 1 is missing".into()))?;
    let keep = !n.flag("allowzero", false)?;
    let mut dims = Vec::new();
    for (i, &d) in target.iter().enumerate() {
        dims.push(match d {
            -1 => None,
            0 if keep => Some(data.dims().get(i).copied().unwrap_or(0)),
            d => Some(count(d)?),
        });
    }
    let rest = dims.iter().flatten().fold(1usize, |product, &d| product.saturating_mul(d));
    let missing = data.len().checked_div(rest).unwrap_or(0);
    let dims: Vec<_> = dims.into_iter().map(|d| d.unwrap_or(missing)).collect();
    reshaped(g, data, &dims)
}

fn reshaped(g: &mut Context, data: &Array, dims: &[usize]) -> Result<Array, Fault> {
    g.spend(1)?;
    let standard = data.standard();
    if dims.len() > crate::node::MAX_RANK {
        return broken(format!("expected at most {} axes, found {}", crate::node::MAX_RANK, dims.len()));
    }
    Ok(map_array!(standard, a => match a.into_shape_with_order(IxDyn(dims)) {
        Ok(a) => a,
        Err(_) => return broken(format!("{:?} can't be reshaped to {dims:?}", data.dims())),
    }))
}

fn slice(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    g.spend(data.len())?;
    let list = |name, i| n.ints_or_input(name, 10, i);
    let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else {
        return broken("expected starts and ends");
    };
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&len| len != starts.len()) {
        return broken("expected as many ends, axes and steps as starts");
    }
    let mut data = data.clone();
    for (i, &a) in axes.iter().enumerate() {
        let axis = axis(a, data.dims().len())?;
        let len = data.dims()[axis];
        let (start, end) = (bound(starts[i], len), bound(ends[i], len));
        let step = match steps[i] {
            1.. => count(steps[i])? as isize,
            step => return unsupported(format!("with step {step}")),
        };
        let range = Slice::new(start as isize, Some(end.max(start) as isize), step);
        data = map_array!(&data, a => a.slice_axis(Axis(axis), range).to_shared());
    }
    Ok(data)
}

/// The bound of a slice along an axis of this length: counted from the end if negative, and within it.
pub(crate) fn bound(i: i64, len: usize) -> usize {
    let len = len as i64;
    (if i < 0 { i.saturating_add(len) } else { i }).clamp(0, len) as usize
}

fn squeeze(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let gone = match n.ints_or_input("axes", 13, 1)? {
        Some(list) => axes(&list, data.dims().len())?,
        None => (0..data.dims().len()).filter(|&i| data.dims()[i] == 1).collect(),
    };
    let kept = data.dims().iter().enumerate().filter(|(i, _)| !gone.contains(i));
    reshaped(g, data, &kept.map(|(_, &d)| d).collect::<Vec<_>>())
}

fn unsqueeze(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let Some(list) = n.ints_or_input("axes", 13, 1)? else { return broken("expected axes") };
    let mut dims = data.dims().to_vec();
    for axis in axes(&list, data.dims().len() + list.len())? {
        dims.insert(axis.min(dims.len()), 1);
    }
    reshaped(g, data, &dims)
}

/// Whether a value is a constant.
pub(crate) fn is_constant(value: &Option<Value>) -> bool {
    matches!(value, None | Some(Value::Constant(_)))
}
