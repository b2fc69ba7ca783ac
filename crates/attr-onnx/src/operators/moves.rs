//! Operators that give all of a value's numbers in another shape or order, or several times.

use attr_core::{Dim, NodeId, Op, Shape};

use super::transposed_constant;
use crate::array::{Constant, Size, listed, map_array};
use crate::fold::{constant_of_known_shape, one_value};
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

/// Shapes that exporters write for the batch that a file was made for hold for any.
pub(super) fn expand(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let Some(target) = n.sizes(1)? else { return broken("input 1 is missing") };
    let shape = g.shape(x);
    let rank = shape.rank().max(target.len());
    let mut dims = Vec::new();
    for i in 0..rank {
        let old = (i + shape.rank()).checked_sub(rank).map_or(Dim::Fixed(1), |i| shape.0[i]);
        let new = (i + target.len()).checked_sub(rank).map_or(Size::Fixed(1), |i| target[i]);
        dims.push(match (old, new) {
            (old, Size::Fixed(1)) => old,
            (old, new) if g.is_len(new, old) => old,
            (Dim::Fixed(1), Size::Fixed(len)) => Dim::Fixed(count(len)?),
            (Dim::Fixed(1), Size::Batch(len)) => Dim::Batch(count(len)?),
            _ => return broken(format!("{shape} can't be expanded to {}", listed(&target))),
        });
    }
    expand_to(g, n, x, Shape(dims))
}

fn expand_to(g: &mut Context, n: &Node, x: NodeId, shape: Shape) -> Values {
    if shape == g.shape(x) {
        return g.add(n, Op::Identity, &[x], &[]);
    }
    let mut inputs = vec![x];
    if shape.batch_axis().is_some() && g.shape(x).batch_axis().is_none() {
        inputs.extend(g.graph.inputs().iter().find(|&&id| g.shape(id).is_batch_first()));
    }
    let whole = g.whole.contains(&x);
    let id = g.add_named(&n.name, Op::Expand { shape }, &inputs, &[])?;
    if !whole {
        g.whole.remove(&id);
    }
    Ok(vec![Value::Layer(id)])
}

/// Known lengths make a constant; with the batch among them it is a layer.
pub(super) fn constant_of_shape(g: &mut Context, n: &Node) -> Values {
    let Some(sizes) = n.sizes(0)? else { return broken("input 0 is missing") };
    if sizes.iter().all(|size| size.fixed().is_some()) {
        let (array, origin) = (constant_of_known_shape(g, n)?, g.new_origin());
        return Ok(vec![n.value(origin, array)]);
    }
    let dims = sizes.iter().map(|size| match *size {
        Size::Fixed(len) => count(len).map(Dim::Fixed),
        Size::Batch(len) => count(len).map(Dim::Batch),
    });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    let (name, origin) = (g.unique(&n.name), g.new_origin());
    let array = map_array!(one_value(g, n)?, a => match a.into_shape_with_order(ndarray::IxDyn(&[])) {
        Ok(a) => a,
        Err(_) => return broken("expected one value"),
    });
    let value = g.constant_layer(&Constant { name, origin, array })?;
    expand_to(g, n, value, Shape(dims))
}

/// Blocks of channels become squares of pixels.
pub(super) fn depth_to_space(g: &mut Context, n: &Node) -> Values {
    let (x, batch, [channels, height, width]) = picture(g, n)?;
    let block = count(n.int("blocksize", 0)?)?;
    let square = block.checked_mul(block).filter(|&square| square > 0 && channels.is_multiple_of(square));
    let Some(square) = square else {
        return broken(format!("expected a block whose square divides {channels} channels, found {block}"));
    };
    let depth = channels / square;
    // Where the two halves of the block are among the channels, and the order that brings them to the pixels.
    let (split, order) = match n.text("mode", "DCR")? {
        "DCR" => ([block, block, depth], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([depth, block, block], [0, 1, 4, 2, 5, 3]),
        other => return unsupported(format!("with attribute mode={other}")),
    };
    let split = [split[0], split[1], split[2], height, width];
    let x = g.step(n, Op::Reshape { shape: with(batch, &split) }, &[x])?;
    let x = g.step(n, Op::Transpose { axes: order.to_vec() }, &[x])?;
    let pixels = [depth, height.saturating_mul(block), width.saturating_mul(block)];
    g.add(n, Op::Reshape { shape: with(batch, &pixels) }, &[x], &[])
}

/// Squares of pixels become blocks of channels.
pub(super) fn space_to_depth(g: &mut Context, n: &Node) -> Values {
    let (x, batch, [channels, height, width]) = picture(g, n)?;
    let block = count(n.int("blocksize", 0)?)?;
    if block == 0 || !height.is_multiple_of(block) || !width.is_multiple_of(block) {
        return broken(format!("expected a block that divides {height} and {width} pixels, found {block}"));
    }
    let (height, width) = (height / block, width / block);
    let split = with(batch, &[channels, height, block, width, block]);
    let x = g.step(n, Op::Reshape { shape: split }, &[x])?;
    let x = g.step(n, Op::Transpose { axes: vec![0, 3, 5, 1, 2, 4] }, &[x])?;
    let depth = channels.saturating_mul(block).saturating_mul(block);
    g.add(n, Op::Reshape { shape: with(batch, &[depth, height, width]) }, &[x], &[])
}

/// A value with its first axis, channels, height and width.
fn picture(g: &mut Context, n: &Node) -> Result<(NodeId, Dim, [usize; 3]), Fault> {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    match shape.0[..] {
        [batch, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)] => {
            Ok((x, batch, [channels, height, width]))
        }
        _ => broken(format!("expected [B, C, H, W], found {shape}")),
    }
}

fn with(batch: Dim, lens: &[usize]) -> Shape {
    Shape(std::iter::once(batch).chain(lens.iter().map(|&len| Dim::Fixed(len))).collect())
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

pub(super) fn product(dims: &[Dim]) -> Dim {
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
