//! Relevance through what transformers are made of beside linear layers: products of two computed values, softmax,
//! attention, and norms by a value's own mean and deviation.
//!
//! The rules are AttnLRP's (Achtibat et al. 2024, arXiv 2402.05602), and for attention with its weights held those of
//! Ali et al. (2022, arXiv 2202.07304).

use crate::derived::{Normalized, by_channel, in_groups};
use crate::rule::stabilized;
use crate::walk::{Layer, Signals};
use crate::{LayeredModel, Op, Result, Tensor};

/// What a product sends on: each of its factors that leads to the lower cut takes the same share, one by one element
/// (lemma 3.2), of a matrix product as far as it contributes, `a_ji b_ip R_jp / (2 z_jp + epsilon)` (proposition 3.3).
/// Attention is its two products with the softmax between them. None for other kinds.
pub(crate) fn uniform<M: LayeredModel>(
    layer: &Layer<'_, M>,
    relevance: &M::Tensor,
    epsilon: f64,
) -> Result<Option<Signals<M::Tensor>>> {
    let model = layer.walk.model;
    match *layer.op() {
        Op::Mul => {
            let share = relevance.scale(1.0 / count(&layer.wanted))?;
            // Where a factor is repeated, what its copies take adds up, as in a sum.
            model.layer_vjp(&Op::Add, &layer.inputs, &[], &share, &layer.wanted).map(Some)
        }
        Op::MatMul => {
            let share = quotient(relevance, layer.output, count(&layer.wanted), epsilon)?;
            contributions(layer.vjp(&share)?, &layer.inputs).map(Some)
        }
        Op::Attention { scale } => attention(layer, relevance, scale, epsilon).map(Some),
        _ => Ok(None),
    }
}

/// What attention sends on to its values alone, by epsilon, as if its weights were given. None for other kinds.
pub(crate) fn values<M: LayeredModel>(
    layer: &Layer<'_, M>,
    relevance: &M::Tensor,
    epsilon: f64,
) -> Result<Option<Signals<M::Tensor>>> {
    let Op::Attention { .. } = layer.op() else { return Ok(None) };
    let mut sent = vec![None; layer.inputs.len()];
    if layer.wanted[2] {
        let share = quotient(relevance, layer.output, 1.0, epsilon)?;
        let wanted: Vec<_> = (0..layer.inputs.len()).map(|slot| slot == 2).collect();
        let below = layer.walk.model.layer_vjp(layer.op(), &layer.inputs, &[], &share, &wanted)?;
        sent = contributions(below, &layer.inputs)?;
    }
    layer.filled(sent).map(Some)
}

/// `x_i (R_i - s_i sum_j R_j)`: the softmax s expanded to first order at x, whose bias takes its share (proposition
/// 3.1). None for other kinds.
pub(crate) fn taylor<M: LayeredModel>(
    layer: &Layer<'_, M>,
    relevance: &M::Tensor,
) -> Result<Option<Signals<M::Tensor>>> {
    let &Op::Softmax { axis } = layer.op() else { return Ok(None) };
    let slope = of_softmax(relevance, layer.output, axis)?;
    let input = where_weighed(layer, layer.output, layer.inputs[0])?;
    Ok(Some(vec![Some(input.mul(&slope)?)]))
}

/// What layer norm and group norm send on by epsilon: the division by the deviation passes relevance on as it is
/// (proposition 3.4), so with the deviation held the rest is a linear layer. None for other kinds.
pub(crate) fn with_held_deviation<M: LayeredModel>(
    layer: &Layer<'_, M>,
    relevance: &M::Tensor,
    with_bias: bool,
    stabilizer: (f64, f64),
) -> Result<Option<Signals<M::Tensor>>> {
    let x = layer.inputs[0];
    let grouped = |value: &M::Tensor| match layer.op() {
        Op::GroupNorm { groups, .. } => in_groups(value, *groups),
        _ => Ok(value.clone()),
    };
    let params = layer.params();
    let (axis, epsilon, [gamma, beta]) = match *layer.op() {
        Op::LayerNorm { axis, epsilon } => (axis, epsilon, [params[0].clone(), params[1].clone()]),
        Op::GroupNorm { epsilon, .. } => (2, epsilon, [by_channel(params[0], x)?, by_channel(params[1], x)?]),
        _ => return Ok(None),
    };
    let z = if with_bias { layer.output.clone() } else { layer.output.sub(&beta)? };
    let share = relevance.div(&stabilized(&z, stabilizer)?)?.mul(&gamma)?;
    let Normalized { axes, deviation, .. } = Normalized::over(&grouped(x)?, axis, epsilon)?;
    let share = grouped(&share)?.div(&deviation)?;
    let below = share.sub(&share.mean(&axes)?)?.reshape(&x.dims())?;
    Ok(Some(vec![Some(x.mul(&below)?)]))
}

fn attention<M: LayeredModel>(
    layer: &Layer<'_, M>,
    relevance: &M::Tensor,
    scale: f64,
    epsilon: f64,
) -> Result<Signals<M::Tensor>> {
    let model = layer.walk.model;
    let (q, k, v, mask) = (layer.inputs[0], layer.inputs[1], layer.inputs[2], layer.inputs.get(3));
    let wanted = |slot: usize| layer.wanted.get(slot).is_some_and(|wanted| *wanted);
    let Scores { scores, weights } = Scores::of(layer, scale)?;
    let axis = weights.dims().len() - 1;

    let is_product = [wanted(0) || wanted(1) || wanted(3), wanted(2)];
    let share = quotient(relevance, layer.output, count(&is_product), epsilon)?;
    let sent = model.layer_vjp(&Op::MatMul, &[&weights, v], &[], &share, &is_product)?;
    let [of_weights, of_values] = [&sent[0], &sent[1]];
    let mut below = vec![None; layer.inputs.len()];
    below[2] = of_values.as_ref().map(|sent| sent.mul(v)).transpose()?;
    let Some(of_weights) = of_weights else { return Ok(below) };

    // The sum of scores and mask shares by contribution, and so does the softmax by its input: what each of the two
    // gets is its own value times the same slope.
    let slope = of_softmax(&of_weights.mul(&weights)?, &weights, axis)?;
    let is_factor = [wanted(0), wanted(1)];
    if is_factor.contains(&true) {
        let share = quotient(&scores.mul(&slope)?, &scores, count(&is_factor), epsilon)?.scale(scale)?;
        let transposed = swapped(k)?;
        let sent = model.layer_vjp(&Op::MatMul, &[q, &transposed], &[], &share, &is_factor)?;
        below[0] = sent[0].as_ref().map(|sent| sent.mul(q)).transpose()?;
        below[1] = sent[1].as_ref().map(|sent| swapped(sent)?.mul(k)).transpose()?;
    }
    if let Some(mask) = mask.filter(|_| wanted(3)) {
        let share = where_weighed(layer, &weights, mask)?.mul(&slope)?;
        below[3] = model.layer_vjp(&Op::Add, &[&scores, mask], &[], &share, &[false, true])?.swap_remove(1);
    }
    Ok(below)
}

/// What attention is made of.
pub(crate) struct Scores<T> {
    /// The scaled products of queries and keys, without the mask.
    pub(crate) scores: T,
    /// Their softmax, with the mask.
    pub(crate) weights: T,
}

impl<T: Tensor> Scores<T> {
    pub(crate) fn of<M: LayeredModel<Tensor = T>>(layer: &Layer<'_, M>, scale: f64) -> Result<Self> {
        let scores = layer.inputs[0].scale(scale)?.matmul(&swapped(layer.inputs[1])?)?;
        let masked = layer.inputs.get(3).map_or_else(|| Ok(scores.clone()), |mask| scores.add(mask))?;
        let axis = scores.dims().len() - 1;
        let weights = layer.walk.model.layer_forward(&Op::Softmax { axis }, &[&masked], &[])?;
        Ok(Scores { scores, weights })
    }
}

/// The relevance of a softmax's inputs, for each unit of the input.
fn of_softmax<T: Tensor>(relevance: &T, weights: &T, axis: usize) -> Result<T> {
    relevance.sub(&weights.mul(&relevance.sum(&[axis])?)?)
}

/// A value where it has a weight, and 0 where it has none: a mask may be infinite there.
fn where_weighed<M: LayeredModel>(
    layer: &Layer<'_, M>,
    weights: &M::Tensor,
    value: &M::Tensor,
) -> Result<M::Tensor> {
    layer.walk.model.layer_forward(&Op::Where, &[weights, value, &weights.zeros_like()?], &[])
}

/// `relevance / (parts * z)`, stabilized.
fn quotient<T: Tensor>(relevance: &T, z: &T, parts: f64, epsilon: f64) -> Result<T> {
    relevance.div(&stabilized(&z.scale(parts)?, (epsilon, 0.0))?)
}

/// How many of the inputs lead to the lower cut.
fn count(wanted: &[bool]) -> f64 {
    wanted.iter().filter(|wanted| **wanted).count() as f64
}

/// What was sent times the inputs it was sent to.
fn contributions<T: Tensor>(sent: Signals<T>, inputs: &[&T]) -> Result<Signals<T>> {
    let each = sent.into_iter().zip(inputs);
    each.map(|(sent, &input)| sent.map(|sent| sent.mul(input)).transpose()).collect()
}

/// The last two axes swapped.
pub(crate) fn swapped<T: Tensor>(x: &T) -> Result<T> {
    let rank = x.dims().len();
    let mut axes: Vec<_> = (0..rank).collect();
    axes.swap(rank - 2, rank - 1);
    x.permute(&axes)
}
