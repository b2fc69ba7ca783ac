//! Known numbers in another shape, order or number.

use ndarray::{ArrayD, Axis, IxDyn};

use super::broadcast;
use crate::array::{Array, Size, map_array};
use crate::import::Context;
use crate::node::{Fault, MAX_RANK, Node, axes, axis, broken, count, unsupported};

pub(super) fn concat(g: &mut Context, n: &Node) -> Result<Array, Fault> {
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

pub(super) fn gather(g: &mut Context, n: &Node) -> Result<Array, Fault> {
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

pub(super) fn expand(g: &mut Context, n: &Node) -> Result<Array, Fault> {
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

pub(super) fn reshape(g: &mut Context, n: &Node) -> Result<Array, Fault> {
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

pub(super) fn reshaped(g: &mut Context, data: &Array, dims: &[usize]) -> Result<Array, Fault> {
    g.spend(1)?;
    let standard = data.standard();
    if dims.len() > MAX_RANK {
        return broken(format!("expected at most {} axes, found {}", MAX_RANK, dims.len()));
    }
    Ok(map_array!(standard, a => match a.into_shape_with_order(IxDyn(dims)) {
        Ok(a) => a,
        Err(_) => return broken(format!("{:?} can't be reshaped to {dims:?}", data.dims())),
    }))
}

pub(super) fn slice(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let mut data = n.constant(0)?.array.clone();
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
    for (i, &a) in axes.iter().enumerate() {
        let axis = axis(a, data.dims().len())?;
        let (first, step, len) = slice_entries(starts[i], ends[i], steps[i], data.dims()[axis])?;
        // Without numbers an axis may be of any length.
        g.spend(len)?;
        let entry = |i: usize| (first as i64).saturating_add((i as i64).saturating_mul(step)) as usize;
        let entries: Vec<_> = (0..len).map(entry).collect();
        data = map_array!(&data, a => a.select(Axis(axis), &entries).into_shared());
    }
    Ok(data)
}

/// The entries of a slice along an axis of this length: the first, the step to the next, and how many. A bound is
/// counted from the end if negative, and held within the axis.
pub(crate) fn slice_entries(
    start: i64,
    end: i64,
    step: i64,
    len: usize,
) -> Result<(usize, i64, usize), Fault> {
    let len = len as i64;
    let counted = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    let (start, distance) = match step {
        0 => return broken("expected a step other than 0"),
        1.. => {
            let start = counted(start).clamp(0, len);
            (start, counted(end).clamp(0, len) - start)
        }
        _ => {
            let start = counted(start).clamp(-1, len - 1);
            (start, start - counted(end).clamp(-1, len - 1))
        }
    };
    let entries = (distance.max(0) as u64).div_ceil(step.unsigned_abs());
    Ok((start.max(0) as usize, step, entries as usize))
}

pub(super) fn squeeze(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let gone = match n.ints_or_input("axes", 13, 1)? {
        Some(list) => axes(&list, data.dims().len())?,
        None => (0..data.dims().len()).filter(|&i| data.dims()[i] == 1).collect(),
    };
    let kept = data.dims().iter().enumerate().filter(|(i, _)| !gone.contains(i));
    reshaped(g, data, &kept.map(|(_, &d)| d).collect::<Vec<_>>())
}

pub(super) fn unsqueeze(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let Some(list) = n.ints_or_input("axes", 13, 1)? else { return broken("expected axes") };
    let mut dims = data.dims().to_vec();
    for axis in axes(&list, data.dims().len() + list.len())? {
        dims.insert(axis.min(dims.len()), 1);
    }
    reshaped(g, data, &dims)
}

pub(super) fn tile(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let mut data = n.constant(0)?.array.clone();
    let Some(repeats) = n.integers(1)? else { return broken("input 1 is missing") };
    if repeats.len() != data.dims().len() {
        return broken(format!("expected {} repeats, found {repeats:?}", data.dims().len()));
    }
    for (axis, &times) in repeats.iter().enumerate() {
        let (len, times) = (data.dims()[axis], count(times)?);
        g.spend(data.len().max(len).saturating_mul(times.max(1)))?;
        let entries: Vec<_> = (0..len.saturating_mul(times)).map(|i| i % len.max(1)).collect();
        data = map_array!(&data, a => a.select(Axis(axis), &entries).into_shared());
    }
    Ok(data)
}

pub(super) fn trilu(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = n.constant(0)?.array.standard();
    g.spend(data.len())?;
    let Some((_, &[rows, columns])) = data.dims().split_last_chunk::<2>() else {
        return broken(format!("expected two axes or more, found {:?}", data.dims()));
    };
    let kept = triangle(g, n, rows, columns)?;
    macro_rules! cut {
        ($a:expr, $zero:expr) => {{
            let dims = IxDyn($a.shape());
            let entries = $a.iter().zip(kept.iter().cycle());
            let cut = entries.map(|(&x, kept)| if *kept == Size::Fixed(1) { x } else { $zero });
            ArrayD::from_shape_vec(dims, cut.collect()).map(ArrayD::into_shared)
        }};
    }
    let cut = match &data {
        Array::F32(a) => cut!(a, 0.0).map(Array::F32),
        Array::F64(a) => cut!(a, 0.0).map(Array::F64),
        Array::Int(a) => cut!(a, Size::Fixed(0)).map(Array::Int),
    };
    cut.map_err(|_| Fault::Broken("the shape does not fit to its numbers".into()))
}

/// 1 for the entries that a `Trilu` keeps, row by row.
pub(crate) fn triangle(g: &mut Context, n: &Node, rows: usize, columns: usize) -> Result<Vec<Size>, Fault> {
    g.spend(rows.saturating_mul(columns))?;
    let diagonal = match n.integers(1)?.as_deref() {
        None => 0,
        Some([k]) => *k,
        Some(other) => return broken(format!("input 1: expected one number, found {}", other.len())),
    };
    let upper = n.flag("upper", true)?;
    let kept = |i: usize| {
        let beyond = (i % columns) as i64 - (i / columns) as i64;
        if upper { beyond >= diagonal } else { beyond <= diagonal }
    };
    Ok((0..rows * columns).map(|i| Size::Fixed(kept(i).into())).collect())
}

/// From a start by steps up to a limit, which is not reached.
pub(super) fn range(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let [start, limit, step] = [0, 1, 2].map(|i| n.constant(i).map(|c| &c.array));
    let (start, limit, step) = (start?, limit?, step?);
    if [start, limit, step].iter().any(|array| array.len() != 1) {
        return broken("expected single numbers");
    }
    let (Some(from), Some(to), Some(by)) = (start.numbers(), limit.numbers(), step.numbers()) else {
        return unsupported("that depends on the batch");
    };
    let (from, to, by) = (from[0], to[0], by[0]);
    let len = ((to - from) / by).ceil().max(0.0);
    if !len.is_finite() {
        return broken(format!("expected a step from {from} to {to}, found {by}"));
    }
    g.spend(len as usize)?;
    let at = |i: usize| from + i as f64 * by;
    Ok(match start {
        Array::F32(_) => {
            Array::F32(ArrayD::from_shape_fn(IxDyn(&[len as usize]), |i| at(i[0]) as f32).into())
        }
        Array::F64(_) => Array::F64(ArrayD::from_shape_fn(IxDyn(&[len as usize]), |i| at(i[0])).into()),
        Array::Int(_) => Array::sizes((0..len as usize).map(|i| Size::Fixed(at(i) as i64)).collect()),
    })
}

/// The indices of all entries that are not 0: a row for each axis, a column for each entry.
pub(super) fn non_zero(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    let rank = data.dims().len();
    g.spend(data.len().saturating_mul(rank.max(1)))?;
    let Some(numbers) = data.standard().numbers() else { return unsupported("of the batch") };
    let places: Vec<_> = (0..numbers.len()).filter(|&i| numbers[i] != 0.0).collect();
    let mut rows = Vec::new();
    for axis in 0..rank {
        let behind = data.dims()[axis + 1..].iter().product::<usize>().max(1);
        rows.extend(places.iter().map(|i| Size::Fixed((i / behind % data.dims()[axis].max(1)) as i64)));
    }
    match ArrayD::from_shape_vec(IxDyn(&[rank, places.len()]), rows) {
        Ok(rows) => Ok(Array::Int(rows.into_shared())),
        Err(_) => broken("the shape does not fit to its numbers"),
    }
}

/// Parts of a value replaced by others: the last axis of the indices says where each is.
pub(super) fn scatter(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    if n.text("reduction", "none")? != "none" {
        return unsupported(format!("with attribute reduction={}", n.text("reduction", "none")?));
    }
    let (data, updates) = (n.constant(0)?.array.standard(), n.constant(2)?.array.standard());
    let Array::Int(indices) = n.constant(1)?.array.standard() else {
        return broken("expected whole numbers as indices");
    };
    g.spend(data.len().saturating_add(updates.len()).saturating_add(indices.len()))?;
    let (dims, depth) = (data.dims(), indices.shape().last().copied().unwrap_or(0));
    if indices.ndim() == 0 || depth > dims.len() {
        return broken(format!(
            "expected indices of at most {} axes, found {:?}",
            dims.len(),
            indices.shape()
        ));
    }
    let expected = [&indices.shape()[..indices.ndim() - 1], &dims[depth..]].concat();
    if updates.dims() != expected {
        return broken(format!("expected updates of shape {expected:?}, found {:?}", updates.dims()));
    }
    let len: usize = dims[depth..].iter().product();
    let place = |index: &[Size]| {
        index.iter().zip(dims).try_fold(0usize, |place, (size, &dim)| {
            let i = size.fixed().map(|i| if i < 0 { i.saturating_add(dim as i64) } else { i });
            let i = i.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < dim)?;
            place.checked_mul(dim)?.checked_add(i)
        })
    };
    let indices: Vec<_> = indices.iter().copied().collect();
    let rows = if depth == 0 { Vec::new() } else { indices.chunks(depth).map(place).collect::<Vec<_>>() };
    let Some(places) = rows.into_iter().collect::<Option<Vec<_>>>().filter(|_| depth > 0) else {
        return broken(format!("expected indices into {dims:?}"));
    };
    macro_rules! scattered {
        ($data:expr, $updates:expr) => {{
            let (mut numbers, updates): (Vec<_>, Vec<_>) =
                ($data.iter().copied().collect(), $updates.iter().copied().collect());
            for (&place, update) in places.iter().zip(updates.chunks(len.max(1))) {
                numbers[place * len..(place + 1) * len].copy_from_slice(update);
            }
            ArrayD::from_shape_vec(IxDyn(dims), numbers).map(ArrayD::into_shared)
        }};
    }
    let scattered = match (&data, &updates) {
        (Array::F32(a), Array::F32(b)) => scattered!(a, b).map(Array::F32),
        (Array::F64(a), Array::F64(b)) => scattered!(a, b).map(Array::F64),
        (Array::Int(a), Array::Int(b)) => scattered!(a, b).map(Array::Int),
        _ => return broken("expected data and updates of the same type"),
    };
    scattered.map_err(|_| Fault::Broken("the shape does not fit to its numbers".into()))
}

/// The sums of the entries up to each along an axis.
pub(super) fn cumulative_sum(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let data = &n.constant(0)?.array;
    g.spend(data.len())?;
    if n.flag("exclusive", false)? || n.flag("reverse", false)? {
        return unsupported("that is exclusive or reversed");
    }
    let along = match n.integers(1)?.as_deref() {
        Some([along]) => axis(*along, data.dims().len())?,
        _ => return broken("expected one axis"),
    };
    macro_rules! summed {
        ($a:expr, $add:expr) => {{
            let mut sums = $a.to_owned();
            sums.accumulate_axis_inplace(Axis(along), $add);
            sums.into_shared()
        }};
    }
    Ok(match data {
        Array::F32(a) => Array::F32(summed!(a, |&before, x| *x += before)),
        Array::F64(a) => Array::F64(summed!(a, |&before, x| *x += before)),
        Array::Int(a) => {
            let sums = a.mapv(Some);
            let sums = summed!(sums, |before: &Option<Size>, x: &mut Option<Size>| {
                *x = before.zip(*x).and_then(|(before, x)| before.add(x));
            });
            if sums.iter().any(Option::is_none) {
                return unsupported("of sizes that has no whole or no constant result");
            }
            Array::Int(sums.mapv(|size| size.unwrap_or(Size::Fixed(0))).into_shared())
        }
    })
}
