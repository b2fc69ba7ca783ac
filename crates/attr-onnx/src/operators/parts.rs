//! Operators that take some entries of a value: slices, gathered entries, padding, repetition.

use attr_core::{Dim, NodeId, Op, Shape};
use ndarray::{ArrayD, IxDyn};

use crate::array::{Array, Constant, Size, map_array};
use crate::fold::{slice_entries, triangle};
use crate::import::{Context, Form};
use crate::node::{Fault, Node, Value, Values, axis, broken, count, unsupported};

/// One layer for each axis that is cut, of which the last has the operator's name.
pub(super) fn slice(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let list = |name: &'static str, i| match n.opset {
        ..10 => Ok(n.ints(name).map(|list| list.iter().map(|&i| Size::Fixed(i)).collect::<Vec<_>>())),
        _ => n.sizes(i),
    };
    let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else {
        return broken("expected starts and ends");
    };
    let along = match n.ints_or_input("axes", 10, 3)? {
        Some(list) => list.iter().map(|&a| axis(a, shape.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = if n.opset < 10 { None } else { n.integers(4)? }.unwrap_or_else(|| vec![1; starts.len()]);
    let different = (1..along.len()).all(|i| !along[..i].contains(&along[i]));
    let lens = [ends.len(), along.len(), steps.len()];
    if lens.iter().any(|&len| len != starts.len()) || !different || along.len() > shape.rank() {
        return broken(
            "expected as many ends, steps and different axes as starts, and no more than the value has",
        );
    }
    let mut parts = Vec::new();
    for (i, &axis) in along.iter().enumerate() {
        match (shape.0[axis], starts[i], ends[i]) {
            (Dim::Fixed(len), Size::Fixed(start), Size::Fixed(end)) => {
                let (first, step, taken) = slice_entries(start, end, steps[i], len)?;
                parts.push((axis, first, step, taken, len));
            }
            (dim @ Dim::Batch(_), Size::Fixed(0), end)
                if steps[i] == 1 && (g.is_len(end, dim) || is_endless(end)) => {}
            (Dim::Batch(_), ..) => return unsupported("of the batch"),
            _ => return unsupported("that depends on the batch"),
        }
    }
    if parts.len() > 1 {
        parts.retain(|&(_, _, step, taken, len)| step != 1 || taken != len);
    }
    let mut ops = Vec::new();
    for (axis, first, step, len, _) in parts {
        ops.push(match step {
            1 => Op::Slice { axis, start: first, len },
            _ => {
                g.spend(len)?;
                let entry =
                    |i: usize| (first as i64).saturating_add((i as i64).saturating_mul(step)) as usize;
                Op::Gather { axis, entries: (0..len).map(entry).collect() }
            }
        });
    }
    in_turn(g, n, x, ops)
}

/// Whether exporters write this end for "to the last".
fn is_endless(end: Size) -> bool {
    matches!(end, Size::Fixed(end) if end >= i64::from(i32::MAX))
}

/// Layers one behind another, of which the last has the operator's name; the value itself where there are none.
pub(super) fn in_turn(g: &mut Context, n: &Node, x: NodeId, mut ops: Vec<Op>) -> Values {
    let last = ops.pop().unwrap_or(Op::Identity);
    let mut x = x;
    for op in ops {
        x = g.step(n, op, &[x])?;
    }
    g.add(n, last, &[x], &[])
}

/// One slice for each output: `name`, `name_1`...
pub(super) fn split(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let axis = axis(n.int("axis", 0)?, shape.rank())?;
    let Dim::Fixed(total) = shape.0[axis] else { return unsupported("of the batch") };
    let outputs = n.proto.output.len();
    let parts = match n.ints_or_input("split", 13, 1)? {
        Some(parts) => parts.iter().map(|&part| count(part)).collect::<Result<Vec<_>, _>>()?,
        None => {
            let wanted = count(n.int("num_outputs", outputs as i64)?)?.max(1);
            let part = total.div_ceil(wanted);
            (0..outputs).map(|i| part.min(total.saturating_sub(part.saturating_mul(i)))).collect()
        }
    };
    if parts.len() != outputs || parts.iter().try_fold(0usize, |sum, &p| sum.checked_add(p)) != Some(total) {
        return broken(format!("expected {outputs} parts of {total} entries, found {parts:?}"));
    }
    let mut values = Vec::new();
    let mut start = 0;
    for (i, &len) in parts.iter().enumerate() {
        g.spend(n.name.len())?;
        let name = if i == 0 { n.name.clone() } else { g.unique(&format!("{}_{i}", n.name)) };
        values.push(Value::Layer(g.add_named(&name, Op::Slice { axis, start, len }, &[x], &[])?));
        start += len;
    }
    Ok(values)
}

/// Known entries of a computed value, or rows of a known table by computed numbers.
pub(super) fn gather(g: &mut Context, n: &Node) -> Values {
    if let (Some(Value::Constant(_)), Some(Value::Layer(indices))) = (n.input(0), n.input(1)) {
        return embedding(g, n, *indices);
    }
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let axis = axis(n.int("axis", 0)?, shape.rank())?;
    let Dim::Fixed(len) = shape.0[axis] else { return unsupported("of the batch") };
    let Array::Int(indices) = &n.constant(1)?.array else {
        return broken("expected whole numbers as indices");
    };
    g.spend(indices.len())?;
    let entry = |size: &Size| {
        let i = size.fixed().map(|i| if i < 0 { i.saturating_add(len as i64) } else { i });
        i.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < len)
    };
    let Some(entries) = indices.iter().map(entry).collect::<Option<Vec<_>>>() else {
        return broken(format!("expected indices below {len}"));
    };
    let ascending = entries.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    let op = match entries.first() {
        Some(&start) if ascending => Op::Slice { axis, start, len: entries.len() },
        _ => Op::Gather { axis, entries },
    };
    if indices.ndim() == 1 {
        return g.add(n, op, &[x], &[]);
    }
    let lens = indices.shape().iter().map(|&len| Dim::Fixed(len));
    let dims = shape.0[..axis].iter().copied().chain(lens).chain(shape.0[axis + 1..].iter().copied());
    let reshape = Op::Reshape { shape: Shape(dims.collect()) };
    in_turn(g, n, x, vec![op, reshape])
}

/// A table whose other axes are one, and what comes out in their place.
fn embedding(g: &mut Context, n: &Node, indices: NodeId) -> Values {
    let table = n.constant(0)?;
    let dims = table.array.dims().to_vec();
    let axis = axis(n.int("axis", 0)?, dims.len())?;
    let (before, after) = (&dims[..axis], &dims[axis + 1..]);
    let width = before.iter().chain(after).fold(1usize, |product, &d| product.saturating_mul(d));
    g.spend(if axis == 0 { 1 } else { table.array.len() })?;
    let order: Vec<_> = std::iter::once(axis).chain((0..dims.len()).filter(|&i| i != axis)).collect();
    let rows = map_array!(&table.array, a => a.clone().permuted_axes(IxDyn(&order)));
    let rows = map_array!(rows.standard(), a => match a.into_shape_with_order(IxDyn(&[dims[axis], width])) {
        Ok(rows) => rows,
        Err(_) => return broken("the shape does not fit to its numbers"),
    });
    let origin = g.derived_origin(table.origin, format!("table along axis {axis}"));
    let whole = matches!(rows, Array::Int(_));
    let param = g.param_of(&Constant { name: table.name.clone(), origin, array: rows }, Form::Plain)?;
    let front = g.shape(indices).0;
    let split: Vec<_> = before.iter().chain(after).map(|&len| Dim::Fixed(len)).collect();
    let mut ops = vec![Op::Embedding];
    if split.len() != 1 {
        ops.push(Op::Reshape { shape: Shape(front.iter().copied().chain(split).collect()) });
    }
    if axis > 0 {
        // From [indices, before, after] to [before, indices, after].
        let (first, second) = (front.len(), front.len() + before.len());
        let axes = (first..second).chain(0..first).chain(second..second + after.len()).collect();
        ops.push(Op::Transpose { axes });
    }
    let mut x = indices;
    for (i, op) in ops.iter().enumerate() {
        let params = if i == 0 { &[param][..] } else { &[] };
        let name = if i + 1 == ops.len() { n.name.clone() } else { g.unique(&n.name) };
        x = g.add_named(&name, op.clone(), &[x], params)?;
        if !whole {
            g.whole.remove(&x);
        }
    }
    Ok(vec![Value::Layer(x)])
}

/// Each axis so many times.
pub(super) fn tile(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let Some(repeats) = n.integers(1)? else { return broken("input 1 is missing") };
    if repeats.len() != shape.rank() {
        return broken(format!("expected {} repeats, found {repeats:?}", shape.rank()));
    }
    let mut ops = Vec::new();
    for (axis, &times) in repeats.iter().enumerate() {
        match (shape.0[axis], count(times)?) {
            (_, 1) => {}
            (Dim::Fixed(len), times) => {
                g.spend(len.saturating_mul(times))?;
                let entries = (0..len.saturating_mul(times)).map(|i| i % len).collect();
                ops.push(Op::Gather { axis, entries });
            }
            (Dim::Batch(_), _) => return unsupported("of the batch"),
        }
    }
    in_turn(g, n, x, ops)
}

/// Zeros above or below a diagonal of the last two axes.
pub(super) fn trilu(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let Some((_, [Dim::Fixed(rows), Dim::Fixed(columns)])) = shape.0.split_last_chunk::<2>() else {
        return unsupported(format!("of {shape}"));
    };
    let kept = triangle(g, n, *rows, *columns)?;
    let Ok(kept) = ArrayD::from_shape_vec(IxDyn(&[*rows, *columns]), kept) else {
        return broken("the shape does not fit to its numbers");
    };
    let kept = Array::Int(kept.into_shared());
    let (name, origin) = (g.unique(&n.name), g.new_origin());
    let kept = g.constant_layer(&Constant { name, origin, array: kept })?;
    let zero = g.number(n, 0.0)?;
    let whole = g.whole.contains(&x);
    let id = g.add_named(&n.name, Op::Where, &[kept, x, zero], &[])?;
    if !whole {
        g.whole.remove(&id);
    }
    Ok(vec![Value::Layer(id)])
}

/// Entries around a value, or with negative numbers so many fewer.
pub(super) fn pad(g: &mut Context, n: &Node) -> Values {
    let mode = n.text("mode", "constant")?;
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let pads = n.ints_or_input("pads", 11, 1)?.unwrap_or_default();
    let value = if n.opset < 11 { n.float("value", 0.0)? } else { n.number(2)?.unwrap_or(0.0) };
    let along = match if n.opset >= 18 { n.integers(3)? } else { None } {
        Some(list) => list.iter().map(|&a| axis(a, shape.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.rank()).collect(),
    };
    let different = (1..along.len()).all(|i| !along[..i].contains(&along[i]));
    if pads.len() != 2 * along.len() || !different {
        return broken(format!("expected {} pads, found {pads:?}", 2 * along.len()));
    }
    let mut padding = vec![(0, 0); shape.rank()];
    let mut ops = Vec::new();
    for (i, &axis) in along.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + along.len()]);
        let len = match shape.0[axis] {
            _ if (before, after) == (0, 0) => continue,
            Dim::Fixed(len) => len,
            Dim::Batch(_) => return unsupported("of the batch"),
        };
        let cut = |pad: i64| count(pad.saturating_neg().max(0));
        let (start, end) = (cut(before)?, cut(after)?);
        let Some(left) = len.checked_sub(start).and_then(|len| len.checked_sub(end)).filter(|&len| len > 0)
        else {
            return broken(format!("pads {pads:?} leave nothing of axis {axis} of {shape}"));
        };
        if left < len {
            ops.push(Op::Slice { axis, start, len: left });
        }
        let around = (count(before.max(0))?, count(after.max(0))?);
        match mode {
            _ if around == (0, 0) => {}
            "constant" => padding[axis] = around,
            _ => ops.push(Op::Gather { axis, entries: around_entries(g, mode, left, around)? }),
        }
    }
    if padding.iter().any(|&around| around != (0, 0)) || ops.is_empty() && mode == "constant" {
        ops.push(Op::Pad { padding, value });
    }
    in_turn(g, n, x, ops)
}

/// For each entry of an axis with others around it: which old one it is.
fn around_entries(
    g: &mut Context,
    mode: &str,
    len: usize,
    around: (usize, usize),
) -> Result<Vec<usize>, Fault> {
    let total = len.saturating_add(around.0).saturating_add(around.1);
    g.spend(total)?;
    let len = len as i64;
    // There and back without the ends twice.
    let period = (2 * len - 2).max(1);
    let entry = |i: usize| {
        let i = i as i64 - around.0 as i64;
        let old = match mode {
            "edge" => i.clamp(0, len - 1),
            "reflect" => (len - 1) - ((len - 1) - i.rem_euclid(period)).abs(),
            _ => i.rem_euclid(len),
        };
        old as usize
    };
    match mode {
        "edge" | "reflect" | "wrap" => Ok((0..total).map(entry).collect()),
        other => unsupported(format!("with attribute mode={other}")),
    }
}
