//! Matrix products with a constant, and the biases of all layers that have one.

use attr_core::{Dim, NodeId, Op, Shape};

use super::importer::{Importer, reshaped};
use super::known::Known;
use super::operator::{Carried, Fault, Operator, Value, Values, broken, unsupported};

/// A product with a constant matrix on the right is a linear layer, any other a layer of two inputs.
pub(super) fn mat_mul(g: &mut Importer, n: &Operator) -> Values {
    let flag = |plain: &str, batched: &str| n.node.flag(plain) || n.node.flag(batched);
    let turned = [flag("transpose_a", "adj_x"), flag("transpose_b", "adj_y")];
    match (n.input(0)?, n.input(1)?) {
        (Value::Layer(_), Value::Known(_, weight)) if weight.dims().len() == 2 && !turned[0] => {
            let (x, perm) = (n.layer(0)?, if turned[1] { [0, 1] } else { [1, 0] });
            let weight = g.param(weight, &perm, None)?;
            let id = g.plain(x)?;
            let id = g.add(n.name(), Op::Linear, &[id], &[weight])?;
            g.value(id, false)
        }
        (left, right) => {
            let mut factors = Vec::new();
            for (value, turned) in [left, right].into_iter().zip(turned) {
                let id = g.layer(value)?;
                factors.push(if turned { swapped(g, n, id)? } else { id });
            }
            let id = g.add(n.name(), Op::MatMul, &factors, &[])?;
            g.value(id, false)
        }
    }
}

/// A value with its last two axes swapped.
fn swapped(g: &mut Importer, n: &Operator, id: NodeId) -> Result<NodeId, Fault> {
    let rank = g.shape(id).rank();
    if rank < 2 {
        return broken(format!("expected a matrix, found {}", g.shape(id)));
    }
    let axes = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
    g.part(n.name(), "transposed", Op::Transpose { axes }, &[id])
}

/// A reshape behind a matrix product behind a reshape, by which Keras takes a product over the last of several axes:
/// one linear layer.
pub(super) fn tensordot(
    g: &mut Importer,
    n: &Operator,
    x: Carried,
    target: &[Dim],
) -> Result<Option<Vec<Value>>, Fault> {
    let product = g.graph.node(x.id);
    let (Op::Linear, [weight], &[flat]) = (&product.op, &product.params[..], &product.inputs[..]) else {
        return Ok(None);
    };
    let (weight, flat) = (*weight, g.graph.node(flat));
    let (Op::Reshape { .. }, &[before]) = (&flat.op, &flat.inputs[..]) else { return Ok(None) };
    let dims = &g.shape(before).0;
    let (Some((last, rest)), Some((_, others))) = (dims.split_last(), target.split_last()) else {
        return Ok(None);
    };
    if flat.shape.rank() != 2 || flat.shape.0.last() != Some(last) || rest != others {
        return Ok(None);
    }
    let id = g.add(n.name(), Op::Linear, &[before], &[weight])?;
    g.value(id, false).map(Some)
}

/// A product over the last axes of a layer's value and the first of a constant.
pub(super) fn einsum(g: &mut Importer, n: &Operator) -> Values {
    let equation = n.node.text("equation").unwrap_or_default().replace("...", "*");
    let as_it_is = || Fault::Unsupported(format!("with equation {equation:?}"));
    let parts =
        equation.split_once("->").and_then(|(inputs, output)| Some((inputs.split_once(',')?, output)));
    let ((left, right), output) = parts.ok_or_else(as_it_is)?;
    match (n.input(0)?, n.input(1)?) {
        (Value::Layer(_), Value::Known(..)) => {}
        (Value::Layer(x), Value::Layer(y)) => {
            let operands = [(left, g.plain(*x)?), (right, g.plain(*y)?)];
            return products(g, n, operands, output).unwrap_or_else(|| Err(as_it_is()));
        }
        _ => return unsupported("whose first operand is a constant"),
    }
    let (x, weight) = (n.layer(0)?, n.known(1)?);
    // All labels are one byte long, or the equation is none.
    if !equation.is_ascii() || right.len() != weight.dims().len() || right.contains('*') {
        return Err(as_it_is());
    }
    let shared = (0..=right.len()).rev().find(|&k| left.ends_with(&right[..k])).unwrap_or(0);
    let (kept, new) = (&left[..left.len() - shared], &right[shared..]);
    let all: Vec<_> = kept.chars().chain(right.chars()).collect();
    let distinct = all.iter().enumerate().all(|(i, label)| !all[..i].contains(label));
    if shared == 0 || !distinct || output.strip_prefix(kept) != Some(new) {
        return Err(as_it_is());
    }
    let dims = g.dims(x);
    let Some(first) = dims.len().checked_sub(shared).filter(|&first| first > 0) else {
        return Err(as_it_is());
    };
    if !kept.contains('*') && kept.len() != first {
        return broken(format!("equation {equation:?}: expected {} axes, found {}", left.len(), dims.len()));
    }
    let inner: Vec<_> = weight.dims()[..shared].to_vec();
    if dims[first..] != inner.iter().map(|&n| Dim::Fixed(n)).collect::<Vec<_>>() {
        return broken(format!("equation {equation:?}: the axes' lengths differ"));
    }
    let outer = weight.dims()[shared..].to_vec();
    let (width, height) = (inner.iter().product::<usize>(), outer.iter().product::<usize>());
    let weight = reshaped(weight, &[width, height])?;
    let weight = g.param(&weight, &[1, 0], None)?;
    let mut id = g.plain(x)?;
    if shared > 1 {
        let shape = Shape(dims[..first].iter().copied().chain([Dim::Fixed(width)]).collect());
        id = g.part(n.name(), "flat", Op::Reshape { shape }, &[id])?;
    }
    if outer.len() == 1 {
        let id = g.add(n.name(), Op::Linear, &[id], &[weight])?;
        return g.value(id, false);
    }
    let product = g.unique(&format!("{}/product", n.name()));
    let id = g.add(&product, Op::Linear, &[id], &[weight])?;
    let shape = Shape(dims[..first].iter().copied().chain(outer.into_iter().map(Dim::Fixed)).collect());
    let id = g.add(n.name(), Op::Reshape { shape }, &[id], &[])?;
    g.value(id, false)
}

/// Matrix products of two values, one for each entry of the axes that both and what comes of them have: each has one
/// axis besides, and one more is summed over. `None` for any other equation.
fn products(g: &mut Importer, n: &Operator, operands: [(&str, NodeId); 2], output: &str) -> Option<Values> {
    let is_plain = |labels: &str, rank: usize| {
        let distinct = labels.char_indices().all(|(i, label)| labels.find(label) == Some(i));
        labels.is_ascii() && !labels.contains('*') && labels.len() == rank && distinct
    };
    if operands.iter().any(|&(labels, id)| !is_plain(labels, g.shape(id).rank())) {
        return None;
    }
    // The factor whose own axis comes first in the output is the left one.
    let own = |of: &str, other: &str| of.chars().find(|&label| !other.contains(label));
    let [(a, _), (b, _)] = operands;
    let mut factors = operands;
    let mut own = [own(a, b)?, own(b, a)?];
    if output.find(own[0])? > output.find(own[1])? {
        factors.reverse();
        own.reverse();
    }
    let [(left, x), (right, y)] = factors;
    let summed: Vec<_> =
        left.chars().filter(|&label| right.contains(label) && !output.contains(label)).collect();
    let front: String = output.chars().filter(|label| !own.contains(label)).collect();
    let &[summed] = &summed[..] else { return None };
    let product = format!("{front}{}{}", own[0], own[1]);
    let complete = left.len() == front.len() + 2 && right.len() == left.len();
    if !complete
        || !is_plain(output, product.len())
        || front.chars().any(|c| !left.contains(c) || !right.contains(c))
    {
        return None;
    }
    Some(product_of(
        g,
        n,
        [(left, x, format!("{front}{}{summed}", own[0])), (right, y, format!("{front}{summed}{}", own[1]))],
        (&product, output),
    ))
}

fn product_of(
    g: &mut Importer,
    n: &Operator,
    factors: [(&str, NodeId, String); 2],
    (product, output): (&str, &str),
) -> Values {
    let order =
        |from: &str, to: &str| -> Vec<usize> { to.chars().filter_map(|label| from.find(label)).collect() };
    let mut ids = Vec::new();
    for (labels, id, wanted) in factors {
        let axes = order(labels, &wanted);
        ids.push(if axes.is_sorted() {
            id
        } else {
            g.part(n.name(), "operand", Op::Transpose { axes }, &[id])?
        });
    }
    let axes = order(product, output);
    if axes.is_sorted() {
        let id = g.add(n.name(), Op::MatMul, &ids, &[])?;
        return g.value(id, false);
    }
    let id = g.part(n.name(), "product", Op::MatMul, &ids)?;
    let id = g.add(n.name(), Op::Transpose { axes }, &[id], &[])?;
    g.value(id, false)
}

/// Adds a constant to the channels.
pub(super) fn bias_add(g: &mut Importer, n: &Operator) -> Values {
    n.channels_last()?;
    let (x, bias) = (n.layer(0)?, n.known(1)?);
    if bias.dims().len() != 1 {
        return broken(format!("bias: expected one axis, found {:?}", bias.dims()));
    }
    if let Some(id) = with_bias(g, n, 0, bias)? {
        return g.value(id, x.second);
    }
    super::operators::binary(g, n, Op::Add)
}

/// The layer whose value a constant is added to, with that as its bias, if it is one that can have a bias and nothing
/// else reads its value. The layer without its bias is then read by nobody.
pub(super) fn with_bias(
    g: &mut Importer,
    n: &Operator,
    i: usize,
    bias: &Known,
) -> Result<Option<NodeId>, Fault> {
    let x = n.layer(i)?;
    let layer = g.graph.node(x.id);
    let takes = match layer.op {
        Op::Conv(_) | Op::ConvTranspose(_) => x.second,
        Op::Linear => !x.second,
        _ => false,
    };
    let Some(Dim::Fixed(channels)) = g.dims(x).last().copied() else { return Ok(None) };
    let by_channel = bias.len() == 1 || bias.len() == channels && bias.dims().last() == Some(&channels);
    if !takes || !by_channel || layer.params.len() != 1 || !g.is_read_once(n.sources[i].0) {
        return Ok(None);
    }
    if bias.dims().len() > g.rank(x) {
        return Ok(None);
    }
    let (op, inputs, weight) = (layer.op.clone(), layer.inputs.clone(), layer.params[0]);
    let bias = g.row_param(bias, channels)?;
    g.add(n.name(), op, &inputs, &[weight, bias]).map(Some)
}
