//! Operators on values that are known: the arithmetic on shapes before a reshape or resize, and weights that are
//! turned before use. The batch stays symbolic.

use attr_core::{Activation, Dim};
use ndarray::{ArrayD, Axis, IxDyn, Slice};

use super::importer::{Importer, reshaped};
use super::known::{Known, Size, map_known};
use super::moves::{Part, strides};
use super::operator::{Fault, Operator, Value, axes, axis, broken, count, counts, unsupported};
use crate::proto::data_type;
use crate::tensor::type_name;

/// What computes the value of an operator whose inputs are all known.
type Fold = fn(&mut Importer, &Operator) -> Result<Known, Fault>;

const FOLDS: &[(&str, Fold)] = &[
    ("Abs", |g, n| float(g, n, f64::abs)),
    ("Add", |g, n| arithmetic(g, n, Size::add, |a, b| a + b)),
    ("AddV2", |g, n| arithmetic(g, n, Size::add, |a, b| a + b)),
    ("BroadcastTo", broadcast_to),
    ("Cast", cast),
    ("ConcatV2", concat),
    ("Div", |g, n| arithmetic(g, n, Size::div, |a, b| a / b)),
    ("Exp", |g, n| float(g, n, f64::exp)),
    ("ExpandDims", expand_dims),
    ("Fill", fill),
    ("FloorDiv", |g, n| arithmetic(g, n, Size::floor_div, |a, b| (a / b).floor())),
    ("GatherV2", gather),
    ("Identity", same),
    ("Log", |g, n| float(g, n, f64::ln)),
    ("Max", |_, n| reduce(n, |a, b| a.max(b))),
    ("Maximum", |g, n| arithmetic(g, n, Size::max, f64::max)),
    ("Mean", sum),
    ("Min", |_, n| reduce(n, |a, b| a.min(b))),
    ("Minimum", |g, n| arithmetic(g, n, Size::min, f64::min)),
    ("Mul", |g, n| arithmetic(g, n, Size::mul, |a, b| a * b)),
    ("Neg", negated),
    ("Pack", pack),
    ("PlaceholderWithDefault", same),
    ("Pow", |g, n| arithmetic(g, n, |_, _| None, f64::powf)),
    ("Prod", |_, n| reduce(n, Size::mul)),
    ("Range", range),
    ("Rank", |_, n| Ok(Known::size(Size::Fixed(n.known(0)?.dims().len() as i64)))),
    ("RealDiv", |g, n| arithmetic(g, n, Size::div, |a, b| a / b)),
    ("Reciprocal", |g, n| float(g, n, |x| 1.0 / x)),
    ("Relu", |g, n| float(g, n, |x| x.max(0.0))),
    ("Reshape", reshape),
    ("Rsqrt", |g, n| float(g, n, |x| 1.0 / x.sqrt())),
    ("Shape", |_, n| Ok(Known::sizes(n.known(0)?.dims().iter().map(|&d| Size::Fixed(d as i64)).collect()))),
    ("Sigmoid", |g, n| float(g, n, |x| Activation::Sigmoid.value(x))),
    ("Size", |_, n| Ok(Known::size(Size::Fixed(n.known(0)?.len() as i64)))),
    ("Slice", slice),
    ("Softplus", |g, n| float(g, n, |x| Activation::Softplus.value(x))),
    ("Sqrt", |g, n| float(g, n, f64::sqrt)),
    ("Square", |g, n| float(g, n, |x| x * x)),
    ("Squeeze", squeeze),
    ("StopGradient", same),
    ("StridedSlice", strided_slice),
    ("Sub", |g, n| arithmetic(g, n, Size::sub, |a, b| a - b)),
    ("Sum", sum),
    ("Tanh", |g, n| float(g, n, f64::tanh)),
    ("Tile", tile),
    ("Transpose", transpose),
];

/// What computes this operator, if anything does.
pub(super) fn fold(op: &str) -> Option<Fold> {
    FOLDS.iter().find(|(name, _)| *name == op).map(|(_, fold)| *fold)
}

/// The shape of a layer's value, in TensorFlow's order.
pub(super) fn shape_of(g: &Importer, n: &Operator) -> Result<Known, Fault> {
    Ok(Known::sizes(g.dims(n.layer(0)?).into_iter().map(Size::from).collect()))
}

/// The number of a layer's value's entries.
pub(super) fn size_of(g: &Importer, n: &Operator) -> Result<Known, Fault> {
    let dims = g.dims(n.layer(0)?);
    let size = dims.into_iter().try_fold(Size::Fixed(1), |size, dim: Dim| size.mul(dim.into()));
    size.map(Known::size).ok_or_else(|| Fault::Unsupported("of a value that is too large".into()))
}

fn same(_: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    n.known(0).cloned()
}

fn cast(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (input, to) = (n.known(0)?, n.node.kind("DstT").unwrap_or_default());
    g.budget.spend(8 * input.len())?;
    let whole = [data_type::INT32, data_type::INT64];
    let numbers = match input {
        Known::Int(_) if whole.contains(&to) => return Ok(input.clone()),
        Known::F32(a) if to == data_type::FLOAT => return Ok(Known::F32(a.clone())),
        Known::F32(a) => a.mapv(f64::from),
        Known::F64(a) => a.to_owned(),
        Known::Int(a) => {
            let fixed: Option<Vec<_>> = a.iter().map(|size| size.fixed()).collect();
            let Some(fixed) = fixed else { return unsupported(format!("of the batch to {}", type_name(to))) };
            let numbers = fixed.into_iter().map(|n| n as f64).collect();
            ArrayD::from_shape_vec(a.raw_dim(), numbers).or_else(|_| broken("the shape does not fit"))?
        }
    };
    match to {
        data_type::FLOAT => Ok(Known::F32(numbers.mapv(|x| x as f32).into_shared())),
        data_type::DOUBLE => Ok(Known::F64(numbers.into_shared())),
        to if whole.contains(&to) => Ok(Known::Int(numbers.mapv(|x| Size::Fixed(x as i64)).into_shared())),
        data_type::BOOL => Ok(Known::Int(numbers.mapv(|x| Size::Fixed((x != 0.0).into())).into_shared())),
        other => unsupported(format!("to {}", type_name(other))),
    }
}

fn float(g: &mut Importer, n: &Operator, f: fn(f64) -> f64) -> Result<Known, Fault> {
    g.budget.spend(8 * n.known(0)?.len())?;
    match n.known(0)? {
        Known::F32(a) => Ok(Known::F32(a.mapv(|x| f(x.into()) as f32).into_shared())),
        Known::F64(a) => Ok(Known::F64(a.mapv(f).into_shared())),
        Known::Int(_) => unsupported("of integers"),
    }
}

fn negated(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    match n.known(0)? {
        Known::Int(a) if a.len() > 1 << 16 => unsupported("of many integers"),
        Known::Int(a) => sizes(a.raw_dim(), a.iter().map(|size| size.mul(Size::Fixed(-1)))),
        _ => float(g, n, |x| -x),
    }
}

fn sizes(dims: IxDyn, list: impl Iterator<Item = Option<Size>>) -> Result<Known, Fault> {
    let list: Option<Vec<_>> = list.collect();
    let Some(list) = list else { return unsupported("of sizes that has no whole or no constant result") };
    let array = ArrayD::from_shape_vec(dims, list).or_else(|_| broken("the shape does not fit"))?;
    Ok(Known::Int(array.into_shared()))
}

/// Elementwise, broadcasting; integers as sizes, numbers in their own precision.
fn arithmetic(
    g: &mut Importer,
    n: &Operator,
    int: fn(Size, Size) -> Option<Size>,
    float: fn(f64, f64) -> f64,
) -> Result<Known, Fault> {
    let (a, b) = (n.known(0)?, n.known(1)?);
    let dims = broadcast(a.dims(), b.dims())?;
    g.budget.spend(dims.iter().fold(8usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
    let dims = IxDyn(&dims);
    macro_rules! zipped {
        ($a:expr, $b:expr, $f:expr) => {
            match ($a.broadcast(dims.clone()), $b.broadcast(dims.clone())) {
                (Some(a), Some(b)) => ndarray::Zip::from(&a).and(&b).map_collect($f),
                _ => return broken(format!("shapes {:?} and {:?} don't broadcast", $a.shape(), $b.shape())),
            }
        };
    }
    match (a, b) {
        // The operations give the same when they are done in double precision and rounded.
        (Known::F32(a), Known::F32(b)) => {
            Ok(Known::F32(zipped!(a, b, |&x, &y| float(x.into(), y.into()) as f32).into_shared()))
        }
        (Known::F64(a), Known::F64(b)) => Ok(Known::F64(zipped!(a, b, |&x, &y| float(x, y)).into_shared())),
        (Known::Int(a), Known::Int(b)) => {
            let found = zipped!(a, b, |&x, &y| int(x, y));
            sizes(found.raw_dim(), found.iter().copied())
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

fn broadcast_to(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (data, dims) = (n.known(0)?, counts(&n.integers(1)?)?);
    g.budget.spend(dims.iter().fold(8usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
    Ok(map_known!(data, a => match a.broadcast(IxDyn(&dims)) {
        Some(a) => a.to_shared(),
        None => return broken(format!("{:?} can't be broadcast to {dims:?}", data.dims())),
    }))
}

fn concat(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let Some(last) = n.inputs.len().checked_sub(1) else { return broken("expected an axis") };
    let parts = (0..last).map(|i| n.known(i)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = parts.first() else { return broken("expected at least one value") };
    let axis = axis(n.integer(last)?, first.dims().len())?;
    joined(g, &parts, axis)
}

fn joined(g: &mut Importer, parts: &[&Known], axis: usize) -> Result<Known, Fault> {
    // ndarray panics here where it should give an error.
    if parts.iter().any(|part| part.dims().len() != parts[0].dims().len()) {
        return broken("expected inputs of the same rank");
    }
    g.budget.spend(parts.iter().fold(0usize, |sum, part| sum.saturating_add(8 * part.len())))?;
    macro_rules! joined {
        ($kind:ident) => {{
            let views =
                parts.iter().map(|part| if let Known::$kind(a) = part { Some(a.view()) } else { None });
            let views: Option<Vec<_>> = views.collect();
            let joined = views.and_then(|views| ndarray::concatenate(Axis(axis), &views).ok());
            joined.map(|a| Known::$kind(a.into_shared()))
        }};
    }
    let joined = match parts[0] {
        Known::F32(_) => joined!(F32),
        Known::F64(_) => joined!(F64),
        Known::Int(_) => joined!(Int),
    };
    joined.ok_or_else(|| Fault::Broken(format!("expected inputs alike but for axis {axis}")))
}

fn pack(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let first = n.known(0)?.dims().to_vec();
    let axis = axis(n.node.int("axis").unwrap_or(0), first.len() + 1)?;
    let dims = [&first[..axis], &[1], &first[axis..]].concat();
    let parts = (0..n.inputs.len()).map(|i| reshaped(n.known(i)?, &dims)).collect::<Result<Vec<_>, _>>()?;
    joined(g, &parts.iter().collect::<Vec<_>>(), axis)
}

/// The parts of a known value along an axis, without it.
pub(super) fn unpack(g: &mut Importer, n: &Operator) -> Result<Vec<Value>, Fault> {
    let data = n.known(0)?;
    let axis = axis(n.node.int("axis").unwrap_or(0), data.dims().len())?;
    g.budget.spend(64 * data.len())?;
    let parts = (0..data.dims()[axis]).map(|i| {
        let part = map_known!(data, a => a.index_axis(Axis(axis), i).to_shared());
        Value::Known(format!("{}/{i}", n.name()).into(), part)
    });
    Ok(parts.collect())
}

fn fill(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (dims, value) = (counts(&n.integers(0)?)?, n.known(1)?);
    let len = dims.iter().fold(8usize, |product, &dim| product.saturating_mul(dim.max(1)));
    g.budget.spend(len)?;
    Ok(map_known!(value, a => match a.first() {
        Some(&x) if a.len() == 1 => ArrayD::from_elem(IxDyn(&dims), x).into_shared(),
        _ => return broken(format!("expected one value, found {}", a.len())),
    }))
}

fn range(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (start, limit, delta) = (n.integer(0)?, n.integer(1)?, n.integer(2)?);
    let len = match delta {
        1.. => (limit.saturating_sub(start).max(0) as u64).div_ceil(delta as u64) as i64,
        0 => return broken("expected a step other than 0"),
        _ => return unsupported("that counts down"),
    };
    g.budget.spend(count(len)?.saturating_mul(16))?;
    Ok(Known::sizes((0..len).map(|i| Size::Fixed(start.saturating_add(i.saturating_mul(delta)))).collect()))
}

fn gather(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (data, indices) = (n.known(0)?, n.known(1)?);
    let axis = axis(n.integer(2)?, data.dims().len())?;
    if n.node.int("batch_dims").unwrap_or(0) != 0 {
        return unsupported("with batch_dims");
    }
    let len = data.dims()[axis];
    let Known::Int(indices) = indices else { return broken("expected integer indices") };
    let index = |size: &Size| size.fixed().and_then(|i| usize::try_from(i).ok()).filter(|&i| i < len);
    let Some(list) = indices.iter().map(index).collect::<Option<Vec<_>>>() else {
        return broken(format!("expected indices below {len}"));
    };
    let others = data.dims().iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &d)| d);
    g.budget.spend(others.fold(8 * list.len(), |product, d| product.saturating_mul(d)))?;
    let dims = [&data.dims()[..axis], indices.shape(), &data.dims()[axis + 1..]].concat();
    reshaped(&map_known!(data, a => a.select(Axis(axis), &list).into_shared()), &dims)
}

/// The sum or mean over axes of numbers, or the sum of integers.
fn sum(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let data = n.known(0)?;
    let over = axes(&n.integers(1)?, data.dims().len())?;
    g.budget.spend(8 * data.len())?;
    let len = over.iter().fold(1usize, |len, &axis| len.saturating_mul(data.dims()[axis]));
    let by = if n.node.op == "Mean" { len as f64 } else { 1.0 };
    let dims = data.dims().iter().enumerate().filter_map(|(axis, &len)| match over.contains(&axis) {
        true => n.node.flag("keep_dims").then_some(1),
        false => Some(len),
    });
    let dims: Vec<_> = dims.collect();
    macro_rules! sum {
        ($a:expr) => {{
            let double = $a.mapv(f64::from);
            over.iter().rev().fold(double, |sum, &axis| sum.sum_axis(Axis(axis))) / by
        }};
    }
    let known = match data {
        Known::F32(a) => Known::F32(sum!(a).mapv(|x| x as f32).into_shared()),
        Known::F64(a) => Known::F64(sum!(a).into_shared()),
        Known::Int(_) if n.node.op == "Sum" => return reduce(n, Size::add),
        Known::Int(_) => return unsupported("of integers"),
    };
    reshaped(&known, &dims)
}

/// Over integers alone: what is summed up of weights is no shape.
fn reduce(n: &Operator, join: fn(Size, Size) -> Option<Size>) -> Result<Known, Fault> {
    let Known::Int(data) = n.known(0)? else { return unsupported("of constants") };
    let axes = axes(&n.integers(1)?, data.ndim())?;
    let empty = match n.node.op.as_str() {
        "Prod" => Some(Size::Fixed(1)),
        "Sum" => Some(Size::Fixed(0)),
        _ => None,
    };
    if axes.len() < data.ndim() {
        return unsupported("along some axes of integers");
    }
    let keep = n.node.flag("keep_dims");
    let mut list = data.iter().copied();
    let first = empty.or_else(|| list.next());
    let joined = first.and_then(|first| list.try_fold(first, join));
    let dims = vec![1; if keep { data.ndim() } else { 0 }];
    sizes(IxDyn(&dims), std::iter::once(joined))
}

fn reshape(_: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (data, target) = (n.known(0)?, n.integers(1)?);
    let dims = target.iter().map(|&d| if d == -1 { Ok(None) } else { count(d).map(Some) });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    let rest = dims.iter().flatten().fold(1usize, |product, &d| product.saturating_mul(d));
    let missing = data.len().checked_div(rest).unwrap_or(0);
    reshaped(data, &dims.into_iter().map(|d| d.unwrap_or(missing)).collect::<Vec<_>>())
}

fn squeeze(_: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let data = n.known(0)?;
    let gone = match n.node.ints("squeeze_dims") {
        [] => (0..data.dims().len()).filter(|&i| data.dims()[i] == 1).collect(),
        list => axes(list, data.dims().len())?,
    };
    let kept = data.dims().iter().enumerate().filter(|(i, _)| !gone.contains(i));
    reshaped(data, &kept.map(|(_, &d)| d).collect::<Vec<_>>())
}

fn expand_dims(_: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let data = n.known(0)?;
    let mut dims = data.dims().to_vec();
    dims.insert(axis(n.integer(1)?, dims.len() + 1)?, 1);
    reshaped(data, &dims)
}

fn transpose(_: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (data, perm) = (n.known(0)?, counts(&n.integers(1)?)?);
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted != (0..data.dims().len()).collect::<Vec<_>>() {
        return broken(format!("expected a permutation of {} axes, found {perm:?}", data.dims().len()));
    }
    Ok(map_known!(data, a => a.clone().permuted_axes(IxDyn(&perm))))
}

fn tile(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let times = counts(&n.integers(1)?)?;
    let mut data = n.known(0)?.clone();
    if times.len() != data.dims().len() {
        return broken(format!("expected {} multiples, found {times:?}", data.dims().len()));
    }
    for (axis, &times) in times.iter().enumerate().filter(|(_, times)| **times != 1) {
        g.budget.spend(times.saturating_mul(64))?;
        data = match times {
            0 => return unsupported("to nothing"),
            _ => joined(g, &vec![&data; times], axis)?,
        };
    }
    Ok(data)
}

fn slice(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let (mut data, begin, size) = (n.known(0)?.clone(), n.integers(1)?, n.integers(2)?);
    g.budget.spend(8 * data.len())?;
    if begin.len() != data.dims().len() || size.len() != begin.len() {
        return broken(format!("expected begin and size of {} axes", data.dims().len()));
    }
    for axis in 0..begin.len() {
        let (begin, len) = (count(begin[axis])?, data.dims()[axis]);
        let size = if size[axis] == -1 { len.saturating_sub(begin) } else { count(size[axis])? };
        if begin.checked_add(size).is_none_or(|end| end > len) {
            return broken(format!("axis {axis}: expected a part of 0..{len}"));
        }
        let range = Slice::from(begin..begin + size);
        data = map_known!(&data, a => a.slice_axis(Axis(axis), range).to_shared());
    }
    Ok(data)
}

fn strided_slice(g: &mut Importer, n: &Operator) -> Result<Known, Fault> {
    let mut data = n.known(0)?.clone();
    g.budget.spend(8 * data.len().saturating_mul(data.dims().len().max(1)))?;
    let lens: Vec<_> = data.dims().iter().map(|&d| Dim::Fixed(d)).collect();
    let mut dims = Vec::new();
    for part in strides(n, &lens)? {
        match part {
            Part::New => dims.push(1),
            Part::One { axis, at } => {
                let range = Slice::from(at..at + 1);
                data = map_known!(&data, a => a.slice_axis(Axis(axis), range).to_shared());
            }
            Part::All { axis } => dims.push(data.dims()[axis]),
            Part::Some { axis, start, len, step } => {
                let end = start + (len.max(1) - 1) * step + usize::from(len > 0);
                let range = Slice::new(start as isize, Some(end as isize), step as isize);
                data = map_known!(&data, a => a.slice_axis(Axis(axis), range).to_shared());
                dims.push(len);
            }
        }
    }
    reshaped(&data, &dims)
}

/// Whether a value is known.
pub(super) fn is_known(value: &Value) -> bool {
    matches!(value, Value::Known(..))
}
