//! Operators that move numbers about: reshape, transpose, slice, pad, concatenate.

use attr_core::{Dim, NodeId, Op, Shape};

use super::transposed_constant;
use crate::array::{Size, listed};
use crate::fold::bound;
use crate::import::Context;
use crate::node::{Fault, Node, Value, Values, axes, axis, broken, count, unsupported};

pub(super) fn concat(g: &mut Context, n: &Node) -> Values {
    let inputs = (0..n.inputs().len()).map(|i| g.layer(n, i)).collect::<Result<Vec<_>, _>>()?;
    let Some(&first) = inputs.first() else { return broken("expected at least one input") };
    let axis = axis(n.int("axis", 1)?, g.shape(first).rank())?;
    g.add(n, Op::Concat { axis }, &inputs, &[])
}

pub(super) fn flatten(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let at = match n.int("axis", 1)? {
        at if at == shape.rank() as i64 => shape.rank(),
        at => axis(at, shape.rank())?,
    };
    let (rows, columns) = shape.0.split_at(at);
    reshape_to(g, n, x, vec![product(rows), product(columns)])
}

pub(super) fn squeeze(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let gone = match n.ints_or_input("axes", 13, 1)? {
        Some(list) => axes(&list, shape.rank())?,
        None => (0..shape.rank()).filter(|&i| shape.0[i] == Dim::Fixed(1)).collect(),
    };
    match gone.iter().find(|&&i| shape.0[i] != Dim::Fixed(1)) {
        Some(&i) if matches!(shape.0[i], Dim::Batch(_)) => return unsupported("of the batch"),
        Some(i) => return broken(format!("axis {i}: expected a length of 1, found {shape}")),
        None => {}
    }
    let kept = shape.0.iter().enumerate().filter(|(i, _)| !gone.contains(i));
    reshape_to(g, n, x, kept.map(|(_, &dim)| dim).collect())
}

pub(super) fn unsqueeze(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let mut dims = g.shape(x).0;
    let Some(list) = n.ints_or_input("axes", 13, 1)? else { return broken("expected axes") };
    for axis in axes(&list, dims.len() + list.len())? {
        dims.insert(axis.min(dims.len()), Dim::Fixed(1));
    }
    reshape_to(g, n, x, dims)
}

pub(super) fn reshape(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let Some(target) = n.sizes(1)? else { return broken("input 1 is missing") };
    let dims = target_dims(&g.shape(x), &target, n.flag("allowzero", false)?, g.rows)?;
    reshape_to(g, n, x, dims)
}

fn reshape_to(g: &mut Context, n: &Node, x: NodeId, dims: Vec<Dim>) -> Values {
    g.add(n, Op::Reshape { shape: Shape(dims) }, &[x], &[])
}

/// The shape that a file asks for with 0 (as before), -1 (what is left) and, if it was made for a batch of
/// so many rows, that number for the batch.
fn target_dims(
    shape: &Shape,
    target: &[Size],
    allow_zero: bool,
    rows: Option<usize>,
) -> Result<Vec<Dim>, Fault> {
    let mut dims = Vec::new();
    for (i, size) in target.iter().enumerate() {
        dims.push(match *size {
            Size::Fixed(-1) => None,
            Size::Fixed(0) if !allow_zero => match shape.0.get(i) {
                Some(&dim) => Some(dim),
                None => {
                    return broken(format!(
                        "entry {i} of {} is 0, but {shape} has no such axis",
                        listed(target)
                    ));
                }
            },
            Size::Fixed(len) => Some(Dim::Fixed(count(len)?)),
            Size::Batch(len) => Some(Dim::Batch(count(len)?)),
        });
    }
    let open = dims.iter().filter(|dim| dim.is_none()).count();
    if open > 1 {
        return broken(format!("expected at most one -1, found {}", listed(target)));
    }
    let has_batch = shape.batch_axis().is_some();
    let batch_given = dims.iter().any(|dim| matches!(dim, Some(Dim::Batch(_))));
    if let (true, false, Some(rows), Some(Some(Dim::Fixed(len)))) =
        (has_batch && shape.is_batch_first(), batch_given, rows, dims.first().copied())
        && len > 0
        && (len == rows || open == 0 && len.is_multiple_of(rows))
    {
        dims[0] = Some(Dim::Batch(len / rows));
    }
    let batch_given = dims.iter().any(|dim| matches!(dim, Some(Dim::Batch(_))));
    let product = dims.iter().flatten().fold(1usize, |product, dim| match *dim {
        Dim::Fixed(len) | Dim::Batch(len) => product.saturating_mul(len),
    });
    let left = shape.row_len().checked_div(product).filter(|left| left * product == shape.row_len());
    let (left, takes_batch) = match left {
        Some(left) => (left, has_batch && !batch_given),
        None if open == 0 => (0, false),
        None => return broken(format!("{shape} can't be reshaped to {}", listed(target))),
    };
    if let Some(at) = dims.iter().position(Option::is_none)
        && takes_batch
        && rows.is_some()
        && dims[..at].iter().any(|&dim| dim != Some(Dim::Fixed(1)))
    {
        return unsupported(format!("to {}, which does not say where the batch goes", listed(target)));
    }
    let open = if takes_batch { Dim::Batch(left) } else { Dim::Fixed(left) };
    Ok(dims.into_iter().map(|dim| dim.unwrap_or(open)).collect())
}

fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::Fixed(1), |product, &dim| match (product, dim) {
        (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(a.saturating_mul(b)),
        (Dim::Fixed(a) | Dim::Batch(a), Dim::Fixed(b) | Dim::Batch(b)) => Dim::Batch(a.saturating_mul(b)),
    })
}

pub(super) fn transpose(g: &mut Context, n: &Node) -> Values {
    let (rank, of_constant) = match n.input(0) {
        Some(Value::Layer(id)) => (g.shape(*id).rank(), false),
        _ => (n.constant(0)?.array.dims().len(), true),
    };
    let list = match n.ints("perm") {
        Some(list) => list.to_vec(),
        None => (0..rank as i64).rev().collect(),
    };
    if list.len() != rank || axes(&list, rank)?.len() != rank {
        return broken(format!("expected a permutation of {rank} axes, found {list:?}"));
    }
    let order = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    if of_constant {
        return transposed_constant(g, n, &order);
    }
    let x = g.layer(n, 0)?;
    g.add(n, Op::Transpose { axes: order }, &[x], &[])
}

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
    if n.opset >= 10
        && let Some(step) = n.integers(4)?.unwrap_or_default().iter().find(|&&step| step != 1)
    {
        return unsupported(format!("with step {step}"));
    }
    let different = (1..along.len()).all(|i| !along[..i].contains(&along[i]));
    if ends.len() != starts.len() || along.len() != starts.len() || !different || along.len() > shape.rank() {
        return broken("expected as many ends and different axes as starts, and no more than the value has");
    }
    let mut parts = Vec::new();
    for (i, &axis) in along.iter().enumerate() {
        match (shape.0[axis], starts[i], ends[i]) {
            (Dim::Fixed(len), Size::Fixed(start), Size::Fixed(end)) => {
                let (start, end) = (bound(start, len), bound(end, len));
                parts.push((axis, start, end.saturating_sub(start), len));
            }
            (dim @ Dim::Batch(_), Size::Fixed(0), end) if g.is_len(end, dim) || is_endless(end) => {}
            (Dim::Batch(_), ..) => return unsupported("of the batch"),
            _ => return unsupported("that depends on the batch"),
        }
    }
    if parts.len() > 1 {
        parts.retain(|&(_, _, part, len)| part != len);
    }
    let Some(((axis, start, len, _), first)) = parts.split_last() else {
        return g.add(n, Op::Identity, &[x], &[]);
    };
    let mut x = x;
    for (i, &(axis, start, len, _)) in first.iter().enumerate() {
        let name = g.unique(&format!("{}_{}", n.name, i + 1));
        x = g.add_named(&name, Op::Slice { axis, start, len }, &[x], &[])?;
    }
    g.add(n, Op::Slice { axis: *axis, start: *start, len: *len }, &[x], &[])
}

/// Whether exporters write this end for "to the last".
fn is_endless(end: Size) -> bool {
    matches!(end, Size::Fixed(end) if end >= i64::from(i32::MAX))
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
        let name = if i == 0 { n.name.clone() } else { g.unique(&format!("{}_{i}", n.name)) };
        values.push(Value::Layer(g.add_named(&name, Op::Slice { axis, start, len }, &[x], &[])?));
        start += len;
    }
    Ok(values)
}

pub(super) fn pad(g: &mut Context, n: &Node) -> Values {
    match n.text("mode", "constant")? {
        "constant" => {}
        other => return unsupported(format!("with attribute mode={other}")),
    }
    let x = g.layer(n, 0)?;
    let rank = g.shape(x).rank();
    let pads = n.ints_or_input("pads", 11, 1)?.unwrap_or_default();
    let value = if n.opset < 11 { n.float("value", 0.0)? } else { n.number(2)?.unwrap_or(0.0) };
    let along = match if n.opset >= 18 { n.integers(3)? } else { None } {
        Some(list) => list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * along.len() {
        return broken(format!("expected {} pads, found {pads:?}", 2 * along.len()));
    }
    if pads.iter().any(|&pad| pad < 0) {
        return unsupported("with negative pads");
    }
    let mut padding = vec![(0, 0); rank];
    for (i, &axis) in along.iter().enumerate() {
        padding[axis] = (count(pads[i])?, count(pads[i + along.len()])?);
    }
    g.add(n, Op::Pad { padding, value }, &[x], &[])
}
