//! Operators that move numbers about: reshape, transpose, slice, pad, concatenate, resize.

use attr_core::{Coordinates, Dim, Interpolation, NodeId, Op, Resize, Shape};

use super::importer::Importer;
use super::known::{Size, listed};
use super::operator::{
    Carried, Fault, Operator, Value, Values, axes, axis, broken, count, counts, unsupported,
};

/// No more layers are made of one operator than this.
const MAX_LAYERS: usize = 1024;

/// How a slice takes an axis, by the axes' order in what it gives.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// A new axis of length 1.
    New,
    /// One entry of an axis, which is gone then.
    One { axis: usize, at: usize },
    /// The whole axis.
    All { axis: usize },
    /// So many entries from one on, each so many from the one before.
    Some { axis: usize, start: usize, len: usize, step: usize },
}

/// What a strided slice takes of axes of these lengths.
pub(super) fn strides(n: &Operator, dims: &[Dim]) -> Result<Vec<Part>, Fault> {
    let (begin, end, step) = (n.integers(1)?, n.integers(2)?, n.integers(3)?);
    if begin.len() != end.len() || begin.len() != step.len() || begin.len() > 32 {
        return broken("expected as many ends and steps as beginnings");
    }
    let mask = |name: &str, i: usize| n.node.int(name).unwrap_or(0) >> i & 1 == 1;
    let ellipses = (0..begin.len()).filter(|&i| mask("ellipsis_mask", i)).count();
    let new = (0..begin.len()).filter(|&i| mask("new_axis_mask", i) && !mask("ellipsis_mask", i)).count();
    let named = begin.len() - ellipses - new;
    if ellipses > 1 || named > dims.len() {
        return broken(format!(
            "expected at most {} ranges and one ellipsis, found {}",
            dims.len(),
            begin.len()
        ));
    }
    let (mut parts, mut axis) = (Vec::new(), 0);
    for i in 0..begin.len() {
        if mask("ellipsis_mask", i) {
            let all = dims.len() - named;
            parts.extend((axis..axis + all).map(|axis| Part::All { axis }));
            axis += all;
            continue;
        }
        if mask("new_axis_mask", i) {
            parts.push(Part::New);
            continue;
        }
        let open = (mask("begin_mask", i), mask("end_mask", i));
        parts.push(range(dims[axis], axis, open, (begin[i], end[i], step[i]), mask("shrink_axis_mask", i))?);
        axis += 1;
    }
    parts.extend((axis..dims.len()).map(|axis| Part::All { axis }));
    Ok(parts)
}

fn range(
    dim: Dim,
    axis: usize,
    open: (bool, bool),
    (begin, end, step): (i64, i64, i64),
    shrink: bool,
) -> Result<Part, Fault> {
    let len = match dim {
        Dim::Fixed(len) => len as i64,
        Dim::Batch(_) if !shrink && step == 1 && (open.0 || begin == 0) && open.1 => {
            return Ok(Part::All { axis });
        }
        Dim::Batch(_) => return unsupported("of the batch"),
    };
    let counted = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    if shrink {
        let at = if open.0 { 0 } else { counted(begin) };
        return match usize::try_from(at) {
            Ok(at) if (at as i64) < len => Ok(Part::One { axis, at }),
            _ => broken(format!("entry {begin} is out of range for {len}")),
        };
    }
    if step < 1 {
        return unsupported(format!("with step {step}"));
    }
    let start = if open.0 { 0 } else { counted(begin).clamp(0, len) };
    let end = if open.1 { len } else { counted(end).clamp(0, len) };
    match ((end - start).max(0) as u64).div_ceil(step as u64) as i64 {
        taken if taken == len && step == 1 => Ok(Part::All { axis }),
        taken => Ok(Part::Some { axis, start: start as usize, len: taken as usize, step: count(step)? }),
    }
}

pub(super) fn strided_slice(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let dims = g.dims(x);
    let parts = strides(n, &dims)?;
    let (mut shape, mut ranges, mut plain) = (Vec::new(), Vec::new(), true);
    for part in parts {
        match part {
            Part::New => (plain, _) = (false, shape.push(Dim::Fixed(1))),
            Part::One { axis, at } => (plain, _) = (false, ranges.push((axis, at, 1))),
            Part::All { axis } => shape.push(dims[axis]),
            Part::Some { step, .. } if step != 1 => return unsupported(format!("with step {step}")),
            Part::Some { axis, start, len, .. } => {
                ranges.push((axis, start, len));
                shape.push(Dim::Fixed(len));
            }
        }
    }
    match plain {
        true => slices(g, n, n.name(), x, &ranges),
        false => {
            let part = g.unique(&format!("{}/entries", n.name()));
            let value = slices(g, n, &part, x, &ranges)?;
            let Some(Value::Layer(part)) = value.first() else { return broken("expected a layer") };
            reshape_to(g, n, *part, shape)
        }
    }
}

pub(super) fn slice(g: &mut Importer, n: &Operator) -> Values {
    let (x, begin, size) = (n.layer(0)?, n.integers(1)?, n.sizes(2)?);
    let dims = g.dims(x);
    if begin.len() != dims.len() || size.len() != begin.len() {
        return broken(format!("expected begin and size of {} axes", dims.len()));
    }
    let mut ranges = Vec::new();
    for (axis, &dim) in dims.iter().enumerate() {
        match (dim, size[axis]) {
            (_, Size::Fixed(-1)) if begin[axis] == 0 => {}
            (_, len) if begin[axis] == 0 && g.is_len(len, dim) => {}
            (Dim::Fixed(all), Size::Fixed(len)) => {
                let start = count(begin[axis])?;
                ranges.push((axis, start, if len == -1 { all.saturating_sub(start) } else { count(len)? }));
            }
            _ => return unsupported("of the batch"),
        }
    }
    slices(g, n, n.name(), x, &ranges)
}

/// One layer for each range, of which the last has this name.
fn slices(
    g: &mut Importer,
    n: &Operator,
    name: &str,
    x: Carried,
    ranges: &[(usize, usize, usize)],
) -> Values {
    let mut id = x.id;
    for (i, &(axis, start, len)) in ranges.iter().enumerate() {
        let op = Op::Slice { axis: g.axis(x, axis), start, len };
        id = match i + 1 == ranges.len() {
            true => g.add(name, op, &[id], &[])?,
            false => g.part(n.name(), "part", op, &[id])?,
        };
    }
    g.value(id, x.second)
}

pub(super) fn split(g: &mut Importer, n: &Operator) -> Values {
    let sized = n.node.op == "SplitV";
    let (x, along) = if sized { (n.layer(0)?, n.integer(2)?) } else { (n.layer(1)?, n.integer(0)?) };
    let axis = axis(along, g.rank(x))?;
    let Dim::Fixed(all) = g.dims(x)[axis] else { return unsupported("of the batch") };
    let number = count(n.node.int("num_split").unwrap_or(0))?;
    if number == 0 || number > MAX_LAYERS {
        return broken(format!("expected 1 to {MAX_LAYERS} parts, found {number}"));
    }
    let lens = match sized {
        false if all.is_multiple_of(number) => vec![all / number; number],
        false => return broken(format!("{all} entries can't be split into {number} parts")),
        true => {
            let sizes = n.integers(1)?;
            let given = sizes.iter().filter(|&&size| size != -1).fold(0i64, |sum, &n| sum.saturating_add(n));
            let rest = (all as i64).saturating_sub(given);
            counts(&sizes.iter().map(|&size| if size == -1 { rest } else { size }).collect::<Vec<_>>())?
        }
    };
    if lens.len() != number || lens.iter().try_fold(0usize, |sum, &len| sum.checked_add(len)) != Some(all) {
        return broken(format!("expected {number} parts of {all} entries, found {lens:?}"));
    }
    let mut start = 0;
    let mut parts = Vec::new();
    for (i, len) in lens.into_iter().enumerate() {
        let op = Op::Slice { axis: g.axis(x, axis), start, len };
        // The first part is what the operator's own name means.
        let id = match i {
            0 => g.add(n.name(), op, &[x.id], &[])?,
            _ => g.part(n.name(), &i.to_string(), op, &[x.id])?,
        };
        parts.push(Value::Layer(Carried { id, second: x.second }));
        start += len;
    }
    Ok(parts)
}

pub(super) fn unpack(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let along = axis(n.node.int("axis").unwrap_or(0), g.rank(x))?;
    let mut dims = g.dims(x);
    let Dim::Fixed(number) = dims.remove(along) else { return unsupported("of the batch") };
    if number > MAX_LAYERS {
        return unsupported(format!("into {number} parts"));
    }
    let id = g.plain(x)?;
    let mut parts = Vec::new();
    for start in 0..number {
        let part = g.part(n.name(), "part", Op::Slice { axis: along, start, len: 1 }, &[id])?;
        let op = Op::Reshape { shape: Shape(dims.clone()) };
        let part = match start {
            0 => g.add(n.name(), op, &[part], &[])?,
            _ => g.part(n.name(), &start.to_string(), op, &[part])?,
        };
        parts.push(Value::Layer(Carried { id: part, second: false }));
    }
    Ok(parts)
}

pub(super) fn concat(g: &mut Importer, n: &Operator) -> Values {
    let Some(last) = n.inputs.len().checked_sub(1) else { return broken("expected an axis") };
    joined(g, n, last, n.integer(last)?)
}

/// The first so many inputs one behind another.
fn joined(g: &mut Importer, n: &Operator, inputs: usize, along: i64) -> Values {
    let layers = n.inputs[..inputs]
        .iter()
        .filter_map(|input| if let Value::Layer(x) = input { Some(*x) } else { None });
    let layers: Vec<_> = layers.collect();
    let Some(&first) = layers.first() else { return broken("expected at least one layer") };
    let (rank, second) = (g.rank(first), layers.iter().any(|x| x.second));
    let axis = axis(along, rank)?;
    let mut ids = Vec::new();
    for input in &n.inputs[..inputs] {
        ids.push(match input {
            Value::Layer(x) if g.rank(*x) != rank => return broken("expected inputs of the same rank"),
            Value::Layer(x) => g.ordered(*x, second)?,
            // A constant has no batch.
            _ => return unsupported("with constants"),
        });
    }
    let axis = g.axis(Carried { id: ids[0], second }, axis);
    let id = g.add(n.name(), Op::Concat { axis }, &ids, &[])?;
    g.value(id, second)
}

pub(super) fn pack(g: &mut Importer, n: &Operator) -> Values {
    let first = n.layer(0)?;
    let along = axis(n.node.int("axis").unwrap_or(0), g.rank(first) + 1)?;
    let mut ids = Vec::new();
    for i in 0..n.inputs.len() {
        let x = n.layer(i)?;
        let mut dims = g.dims(x);
        dims.insert(along.min(dims.len()), Dim::Fixed(1));
        let id = g.plain(x)?;
        ids.push(g.part(n.name(), "row", Op::Reshape { shape: Shape(dims) }, &[id])?);
    }
    let id = g.add(n.name(), Op::Concat { axis: along }, &ids, &[])?;
    g.value(id, false)
}

pub(super) fn pad(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let rank = g.rank(x);
    let value = match n.node.op.as_str() {
        "PadV2" => n.number(2)?,
        _ => 0.0,
    };
    let mut padding = vec![(0, 0); rank];
    for (axis, &pair) in pairs(n, 1, rank)?.iter().enumerate() {
        padding[g.axis(x, axis)] = pair;
    }
    if padding.iter().all(|&pair| pair == (0, 0)) {
        return Ok(vec![Value::Layer(x)]);
    }
    let id = g.add(n.name(), Op::Pad { padding, value }, &[x.id], &[])?;
    g.value(id, x.second)
}

/// An input of so many pairs of counts.
pub(super) fn pairs(n: &Operator, i: usize, len: usize) -> Result<Vec<(usize, usize)>, Fault> {
    let known = n.known(i)?;
    let numbers = known
        .numbers()
        .filter(|numbers| known.dims() == [len, 2] && !known.is_float() && numbers.len() == 2 * len);
    let Some(numbers) = numbers else {
        return broken(format!(
            "input {i}: expected {len} pairs of integers, found shape {:?}",
            known.dims()
        ));
    };
    numbers.chunks(2).map(|pair| Ok((count(pair[0] as i64)?, count(pair[1] as i64)?))).collect()
}

pub(super) fn transpose(g: &mut Importer, n: &Operator) -> Values {
    let (x, perm) = (n.layer(0)?, counts(&n.integers(1)?)?);
    let rank = g.rank(x);
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return broken(format!("expected a permutation of {rank} axes, found {perm:?}"));
    }
    let channels_second: Vec<_> = [0, rank - 1].into_iter().chain(1..rank - 1).take(rank).collect();
    let channels_last: Vec<_> = [0].into_iter().chain(2..rank).chain([1]).take(rank).collect();
    match (x.second, rank) {
        _ if perm == sorted => return Ok(vec![Value::Layer(x)]),
        // The layer has the axes in that order already, or the channels where layers want them.
        (true, 3..) if perm == channels_second => return g.value(x.id, false),
        // Of three axes this may as well be a turn of the author's.
        (false, 4..) if perm == channels_last => return g.value(x.id, true),
        _ => {}
    }
    let id = g.plain(x)?;
    let id = g.add(n.name(), Op::Transpose { axes: perm }, &[id], &[])?;
    g.value(id, false)
}

pub(super) fn squeeze(g: &mut Importer, n: &Operator) -> Values {
    if let Value::Spaced(spaced) = n.input(0)? {
        return super::windows::along_one_axis(spaced, n.node.ints("squeeze_dims"));
    }
    let x = n.layer(0)?;
    let dims = g.dims(x);
    let gone = match n.node.ints("squeeze_dims") {
        [] => (0..dims.len()).filter(|&i| dims[i] == Dim::Fixed(1)).collect(),
        list => axes(list, dims.len())?,
    };
    if let Some(&axis) = gone.iter().find(|&&i| dims[i] != Dim::Fixed(1)) {
        return match dims[axis] {
            Dim::Batch(_) => unsupported("of the batch"),
            Dim::Fixed(len) => broken(format!("axis {axis}: expected a length of 1, found {len}")),
        };
    }
    if gone == [1]
        && let Some(values) = super::windows::of_one_axis(g, n, x)?
    {
        return Ok(values);
    }
    let kept: Vec<_> = (0..dims.len()).filter(|i| !gone.contains(i)).collect();
    let second = x.second && kept.contains(&(dims.len() - 1)) && kept.contains(&0);
    around(g, n, x, kept.iter().map(|&i| dims[i]).collect(), second)
}

pub(super) fn expand_dims(g: &mut Importer, n: &Operator) -> Values {
    if let Value::Spaced(spaced) = n.input(0)? {
        return super::windows::along_one_axis(spaced, &n.integers(1)?);
    }
    let x = n.layer(0)?;
    let mut dims = g.dims(x);
    let at = axis(n.integer(1)?, dims.len() + 1)?;
    let second = x.second && at > 0 && at < dims.len();
    dims.insert(at, Dim::Fixed(1));
    around(g, n, x, dims, second)
}

/// A reshape that only adds or takes away axes of length 1, so that channels may stay where they are.
fn around(g: &mut Importer, n: &Operator, x: Carried, dims: Vec<Dim>, second: bool) -> Values {
    if !second {
        return reshape_to(g, n, x, dims);
    }
    let mut dims = dims;
    let channels = dims.pop().ok_or_else(|| Fault::Broken("expected axes".into()))?;
    dims.insert(1, channels);
    let id = g.add(n.name(), Op::Reshape { shape: Shape(dims) }, &[x.id], &[])?;
    g.value(id, true)
}

pub(super) fn reshape(g: &mut Importer, n: &Operator) -> Values {
    let (x, target) = (n.layer(0)?, n.sizes(1)?);
    let dims = g.dims(x);
    let target = target_dims(&Shape(dims.clone()), &target, g.rows)?;
    if target == dims {
        return Ok(vec![Value::Layer(x)]);
    }
    if let Some(value) = repeated(g, n, &target)? {
        return Ok(value);
    }
    if let Some(value) = super::dense::tensordot(g, n, x, &target)? {
        return Ok(value);
    }
    reshape_to(g, n, x, target)
}

fn reshape_to(g: &mut Importer, n: &Operator, x: Carried, dims: Vec<Dim>) -> Values {
    let own = g.dims(x);
    let (channels, spatial) = own.split_last().map_or((1, 1), |(&channels, others)| {
        let len = |dim: Dim| if let Dim::Fixed(n) = dim { n } else { usize::MAX };
        (len(channels), others.iter().skip(1).fold(1usize, |product, &dim| product.saturating_mul(len(dim))))
    });
    // Where only axes of length 1 change places, the numbers are in order as they are.
    let id = if x.second && (channels == 1 || spatial == 1) { x.id } else { g.plain(x)? };
    let id = g.add(n.name(), Op::Reshape { shape: Shape(dims) }, &[id], &[])?;
    g.value(id, false)
}

/// The shape that a file asks for with -1 (what is left) and, if it was made for a batch of so many rows, that number
/// for the batch.
fn target_dims(shape: &Shape, target: &[Size], rows: Option<usize>) -> Result<Vec<Dim>, Fault> {
    let mut dims = Vec::new();
    for size in target {
        dims.push(match *size {
            Size::Fixed(-1) => None,
            Size::Fixed(len) => Some(Dim::Fixed(count(len)?)),
            Size::Batch(len) => Some(Dim::Batch(count(len)?)),
        });
    }
    let open = dims.iter().filter(|dim| dim.is_none()).count();
    if open > 1 {
        return broken(format!("expected at most one -1, found {}", listed(target)));
    }
    let has_batch = shape.batch_axis().is_some();
    let given = |dims: &[Option<Dim>]| dims.iter().any(|dim| matches!(dim, Some(Dim::Batch(_))));
    if let (true, false, Some(rows), Some(Some(Dim::Fixed(len)))) =
        (shape.is_batch_first(), given(&dims), rows, dims.first().copied())
        && len > 0
        && (len == rows || open == 0 && len.is_multiple_of(rows))
    {
        dims[0] = Some(Dim::Batch(len / rows));
    }
    let product = dims.iter().flatten().fold(1usize, |product, dim| match *dim {
        Dim::Fixed(len) | Dim::Batch(len) => product.saturating_mul(len),
    });
    let left = shape.row_len().checked_div(product).filter(|left| left * product == shape.row_len());
    let Some(left) = left else {
        return broken(format!("{shape} can't be reshaped to {}", listed(target)));
    };
    let takes_batch = has_batch && !given(&dims);
    if open == 1 && takes_batch && rows.is_some() && dims[0].is_some_and(|dim| dim != Dim::Fixed(1)) {
        return unsupported(format!("of {shape} to {}, where the batch can't be told apart", listed(target)));
    }
    let rest = if takes_batch { Dim::Batch(left) } else { Dim::Fixed(left) };
    Ok(dims.into_iter().map(|dim| dim.unwrap_or(rest)).collect())
}

/// The value of one input repeated to the lengths that another gives, the batch among them or not.
pub(super) fn expand(g: &mut Importer, n: &Operator, value: usize, lengths: usize) -> Values {
    let x = g.layer(n.input(value)?)?;
    let target = n.sizes(lengths)?;
    let shape = g.shape(x).clone();
    let Some(new) = target.len().checked_sub(shape.rank()) else {
        return broken(format!("{shape} can't be repeated to {}", listed(&target)));
    };
    let mut dims = Vec::new();
    for (i, &size) in target.iter().enumerate() {
        let old = i.checked_sub(new).map_or(Dim::Fixed(1), |i| shape.0[i]);
        dims.push(match (old, size) {
            (old, size) if g.is_len(size, old) => old,
            (Dim::Fixed(1), Size::Fixed(len)) => Dim::Fixed(count(len)?),
            (Dim::Fixed(1), Size::Batch(len)) => Dim::Batch(count(len)?),
            _ => return broken(format!("{shape} can't be repeated to {}", listed(&target))),
        });
    }
    let shape = Shape(dims);
    let mut inputs = vec![x];
    if shape.batch_axis().is_some() && g.shape(x).batch_axis().is_none() {
        inputs.extend(g.graph.inputs().iter().find(|&&id| g.shape(id).is_batch_first()));
    }
    let id = g.add(n.name(), Op::Expand { shape }, &inputs, &[])?;
    g.value(id, false)
}

/// Copies of a value along an axis: one behind another.
pub(super) fn tile(g: &mut Importer, n: &Operator) -> Values {
    let (x, times) = (n.layer(0)?, counts(&n.integers(1)?)?);
    if times.len() != g.rank(x) {
        return broken(format!("expected {} multiples, found {times:?}", g.rank(x)));
    }
    let many: Vec<_> = (0..times.len()).filter(|&axis| times[axis] != 1).collect();
    if many.iter().any(|&axis| times[axis] == 0 || times[axis] > MAX_LAYERS) {
        return unsupported(format!("of multiples {times:?}"));
    }
    let mut id = x.id;
    for (i, &axis) in many.iter().enumerate() {
        let op = Op::Concat { axis: g.axis(x, axis) };
        let copies = vec![id; times[axis]];
        id = match i + 1 == many.len() {
            true => g.add(n.name(), op, &copies, &[])?,
            false => g.part(n.name(), "copies", op, &copies)?,
        };
    }
    g.value(id, x.second)
}

/// Each entry of a spatial axis several times, as Keras' upsampling by nearest neighbours is exported: a new axis
/// behind it, tiled, and then made one with it.
fn repeated(g: &mut Importer, n: &Operator, target: &[Dim]) -> Result<Option<Vec<Value>>, Fault> {
    let (tile, of_tile) = g.behind(n.sources[0]);
    let &[expanded, times] = &of_tile[..] else { return Ok(None) };
    let (expand, of_expand) = g.behind(expanded);
    let &[x, along] = &of_expand[..] else { return Ok(None) };
    if tile.op != "Tile" || expand.op != "ExpandDims" {
        return Ok(None);
    }
    let Value::Layer(x) = g.made(x) else { return Ok(None) };
    let (Some(times), Some(along)) = (g.integers(times), g.integers(along)) else { return Ok(None) };
    let dims = g.dims(x);
    let (rank, &[along]) = (dims.len(), &along[..]) else { return Ok(None) };
    let new = axis(along, rank + 1)?;
    let many: Vec<_> = (0..times.len()).filter(|&axis| times[axis] != 1).collect();
    if many != [new] || new < 2 || new >= rank || times.len() != rank + 1 {
        return Ok(None);
    }
    let (axis, times) = (new - 1, count(times[new])?);
    let mut wanted = dims.clone();
    if let Dim::Fixed(len) = &mut wanted[axis] {
        *len = len.saturating_mul(times);
    }
    if wanted != target || dims[0] != Dim::Batch(1) {
        return Ok(None);
    }
    let spatial = |dims: &[Dim]| {
        let len = |dim: &Dim| if let Dim::Fixed(len) = dim { *len } else { 0 };
        dims[1..rank - 1].iter().map(len).collect::<Vec<_>>()
    };
    let mut scale = vec![1.0; rank - 2];
    scale[axis - 1] = times as f64;
    let (mode, coordinates) = (Interpolation::NearestFloor, Coordinates::Asymmetric);
    let op = Op::Resize(Resize::new(spatial(&wanted), scale, mode, coordinates));
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), op, &[id], &[])?;
    g.value(id, true).map(Some)
}

pub(super) fn resize_bilinear(g: &mut Importer, n: &Operator) -> Values {
    let (id, old, size) = resized(g, n)?;
    let coordinates = match (n.node.flag("half_pixel_centers"), n.node.flag("align_corners")) {
        (true, false) => Coordinates::HalfPixel,
        (false, true) => Coordinates::AlignCorners,
        (false, false) => Coordinates::Asymmetric,
        (true, true) => return broken("expected half_pixel_centers or align_corners, found both"),
    };
    let scale = (0..2).map(|i| size[i] as f64 / old[i] as f64).collect();
    let op = Op::Resize(Resize::new(size, scale, Interpolation::Linear, coordinates));
    let id = g.add(n.name(), op, &[id], &[])?;
    g.value(id, true)
}

/// By whichever of the layer's rules takes the same entries.
pub(super) fn resize_nearest(g: &mut Importer, n: &Operator) -> Values {
    let (id, old, size) = resized(g, n)?;
    let (centers, corners) = (n.node.flag("half_pixel_centers"), n.node.flag("align_corners"));
    let entry = |i: usize, axis: usize| {
        let (old, new) = (old[axis], size[axis]);
        let scale = match corners && new > 1 {
            true => (old - 1) as f32 / (new - 1) as f32,
            false => old as f32 / new as f32,
        };
        let at = if centers { (i as f32 + 0.5) * scale } else { i as f32 * scale };
        let at = if corners { at.round() } else { at.floor() };
        (at.max(0.0) as usize).min(old - 1)
    };
    let rules = [
        (Interpolation::NearestFloor, Coordinates::Asymmetric),
        (Interpolation::Nearest, Coordinates::HalfPixel),
        (Interpolation::Nearest, Coordinates::AlignCorners),
        (Interpolation::NearestFloor, Coordinates::HalfPixel),
        (Interpolation::Nearest, Coordinates::Asymmetric),
    ];
    let scale: Vec<_> = (0..2).map(|i| size[i] as f64 / old[i] as f64).collect();
    g.budget.spend(size.iter().fold(0usize, |sum, n| sum.saturating_add(32 * n)))?;
    for (mode, coordinates) in rules {
        let resize = Resize::new(size.clone(), scale.clone(), mode, coordinates);
        let same = |axis: usize| {
            let taps = resize.taps(axis, old[axis]);
            taps.iter().enumerate().all(|(i, taps)| taps[0].0 == entry(i, axis))
        };
        if same(0) && same(1) {
            let id = g.add(n.name(), Op::Resize(resize), &[id], &[])?;
            return g.value(id, true);
        }
    }
    unsupported(format!("from {old:?} to {size:?}"))
}

/// What is resized, from which size to which.
fn resized(g: &mut Importer, n: &Operator) -> Result<(NodeId, Vec<usize>, Vec<usize>), Fault> {
    let (x, size) = (n.layer(0)?, counts(&n.integers(1)?)?);
    let old = super::windows::spatial(g, x)?.to_vec();
    if size.len() != 2 || size.contains(&0) {
        return broken(format!("expected a height and a width of at least 1, found {size:?}"));
    }
    Ok((g.channels_second(x)?, old, size))
}
