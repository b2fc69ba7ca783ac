use std::str::FromStr;

use super::{Method, reveal_cancel};
use crate::attribution::row_totals;
use crate::bilinear::{Scores, swapped};
use crate::derived::{Normalized, by_channel, in_groups};
use crate::parameter::{FromText, names, parameters};
use crate::tensor::row_max;
use crate::walk::{Layer, Outcome, Pass, Signals, add_into, answer, only};
use crate::{Attribution, Baseline, Cut, LayeredModel, Op, Point, Precision, Question, Result, Tensor};

/// DeepLIFT: what each value contributes to the difference of the quantity from that at a baseline,
/// `sum of contributions = quantity - quantity at the baseline` (Shrikumar et al. 2017).
///
/// Multipliers go back through linear layers as gradients do, and through a function of each element by one of the
/// rules of [`LiftRule`]. A maximum's difference `y - y0` is `max(y, y0) - y0`, which goes to the winner at the input,
/// and `y - max(y, y0)`, which goes to the winner at the baseline (of equal ones the first). A product's is `da (b + b0) / 2 + db (a + a0) / 2`,
/// and `1 / b` is rescaled; so are the root and the division of layer norm and group norm. A softmax is taken apart into
/// exponential, sum, logarithm and difference, each rescaled, and attention into its products and a softmax.
///
/// The baseline is one of the model's inputs, also where the lower cut is an inner layer: the reference there is the
/// layer's value at it. The quantity has to be linear in the values at the upper cut, or the residual shows it.
#[derive(Debug, Clone)]
pub struct DeepLift {
    /// What functions of each element do; rescale.
    pub rule: LiftRule,
    /// What the inputs are compared with; several are averaged over (DeepSHAP, Lundberg, Lee 2017). Zeros.
    pub baselines: Baselines,
    /// Whether multipliers are multiplied by the difference from the baseline, which gives contributions; true.
    pub multiply: bool,
}

/// What DeepLIFT does at a function of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LiftRule {
    /// `dy / dx`, the differences from the baseline; where `|dx|` is below 1e-7, the derivative at the input.
    #[default]
    Rescale,
    /// Positive and negative contributions go separate ways: with `dx = p + n`, what `p` brings about is
    /// `((f(x0 + p) - f(x0)) + (f(x) - f(x0 + n))) / 2`, and it is rescaled to `p`; `n` likewise. A layer with weights
    /// tells them apart by the sign of `w dx`.
    RevealCancel,
    /// Reveal-cancel behind linear layers, also where a batch norm or a reshape lies between, and rescale elsewhere:
    /// what the authors recommend for genomics.
    Genomics,
    /// The derivative at the input, so that nothing but linear layers is explained; it does not add up.
    Linear,
}

const RULES: [(&str, LiftRule); 4] = [
    ("rescale", LiftRule::Rescale),
    ("reveal-cancel", LiftRule::RevealCancel),
    ("genomics", LiftRule::Genomics),
    ("linear", LiftRule::Linear),
];
names!(LiftRule, "rule", RULES);

/// One or several baselines.
///
/// As text: [`Baseline`]s joined by commas.
#[derive(Debug, Clone)]
pub struct Baselines(pub Vec<Baseline>);

parameters!(DeepLift {
    rule: "what functions of each element do: rescale, reveal-cancel, genomics (reveal-cancel behind linear layers, rescale \
           elsewhere) or linear (their derivative)",
    baselines: "what the inputs are compared with, and averaged over, joined by commas: zeros, a number, `blur SIGMA` or \
                `uniform LOW HIGH SEED`",
    multiply: "whether to multiply by the difference from the baseline: contributions, or multipliers",
});

impl Default for DeepLift {
    fn default() -> Self {
        DeepLift { rule: LiftRule::Rescale, baselines: Baselines(vec![Baseline::Zeros]), multiply: true }
    }
}

/// Differences smaller than this have no slope to be told by.
const NEAR: f64 = 1e-7;

impl<M: LayeredModel> Method<M> for DeepLift {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let count = self.baselines.0.len();
        if count == 0 {
            return Err(crate::Error::parameter("baselines", "at least one", "none"));
        }
        let law = "summation to delta: the contributions add up to quantity - baseline quantity";
        let law = Some(law).filter(|_| self.multiply && self.rule != LiftRule::Linear);
        let mut answer = answer(question, "deeplift", self, self.rule.passes(), law, &mut |pass| {
            // The class is that of the input, also at the baseline.
            let pinned = pass.pinned()?;
            let mut sums = vec![None; pass.walk.lower(&pass.values).len()];
            let mut at_baselines = vec![0.0; pass.rows.len()];
            for baseline in &self.baselines.0 {
                let replaced = baseline.at(pass.inputs)?;
                let input = Cut::input();
                let point = Point { inputs: pass.inputs, replace: Some((&input, &replaced)) };
                let reference = pass.at(point, pinned.as_deref())?;
                at_baselines
                    .iter_mut()
                    .zip(&reference.quantity)
                    .for_each(|(sum, q)| *sum += q / count as f64);
                let multipliers = self.rule.multipliers(pass, &reference)?;
                let (here, there) = (pass.walk.lower(&pass.values), pass.walk.lower(&reference.values));
                for (i, multiplier) in multipliers.iter().enumerate() {
                    let way = if self.multiply {
                        multiplier.mul(&here[i].sub(&there[i])?)?
                    } else {
                        multiplier.clone()
                    };
                    add_into(&mut sums[i], way.scale(1.0 / count as f64)?)?;
                }
            }
            let values: Vec<_> = sums.into_iter().flatten().collect();
            let totals = row_totals(&values)?.into_iter().zip(&pass.quantity).zip(&at_baselines);
            let residual = totals.map(|((total, end), start)| total - (end - start)).collect();
            Ok(Outcome {
                residual: Some(residual),
                baseline_quantity: Some(at_baselines),
                ..Outcome::of(values)
            })
        })?;
        answer.evidence.evaluations += count * question.rows();
        Ok(answer)
    }
}

impl LiftRule {
    /// How many forward passes' values it needs at once.
    fn passes(self) -> u64 {
        match self {
            LiftRule::Rescale | LiftRule::Linear => 2,
            LiftRule::RevealCancel | LiftRule::Genomics => 6,
        }
    }

    /// The multipliers of the values at the lower cut; `reference` is the pass at the baseline.
    fn multipliers<M: LayeredModel>(
        self,
        pass: &Pass<'_, M>,
        reference: &Pass<'_, M>,
    ) -> Result<Vec<M::Tensor>> {
        let start = pass.cotangents.clone();
        match self {
            LiftRule::Linear => pass.back(start, &mut |layer, signal| layer.vjp(signal)),
            LiftRule::Rescale => pass.back(start, &mut |layer, signal| {
                rescaled(layer, &pass.walk.layer(layer.id, &reference.values), signal)
            }),
            LiftRule::RevealCancel => reveal_cancel::multipliers(pass, reference, &|_| true),
            LiftRule::Genomics => reveal_cancel::multipliers(pass, reference, &behind_dense),
        }
    }
}

/// Whether a layer reads a linear layer, with nothing between but a batch norm or changes of shape.
fn behind_dense<M: LayeredModel>(layer: &Layer<'_, M>) -> bool {
    let mut node = layer.node;
    while let Some(&before) = node.inputs.first() {
        node = layer.walk.node(before);
        match node.op {
            Op::Linear => return true,
            Op::BatchNorm { .. } | Op::Identity | Op::Reshape { .. } => {}
            _ => return false,
        }
    }
    false
}

/// What a layer sends on of the multiplier of its value; `reference` is the layer at the baseline.
pub(super) fn rescaled<M: LayeredModel>(
    layer: &Layer<'_, M>,
    reference: &Layer<'_, M>,
    signal: &M::Tensor,
) -> Result<Signals<M::Tensor>> {
    let model = layer.walk.model;
    let mean = |slot: usize| layer.inputs[slot].add(reference.inputs[slot])?.scale(0.5);
    match *layer.op() {
        Op::Activation(_) | Op::PRelu => {
            let dx = layer.inputs[0].sub(reference.inputs[0])?;
            let dy = layer.output.sub(reference.output)?;
            Ok(vec![Some(over(&signal.mul(&dy)?, &dx, &only(layer.vjp(signal)?))?)])
        }
        Op::MaxPool(_) | Op::Max { .. } => {
            let most = larger(layer.output, reference.output)?;
            let slope = only(layer.vjp(signal)?);
            let dx = layer.inputs[0].sub(reference.inputs[0])?;
            let sent = |x: &M::Tensor, signal: &M::Tensor| {
                model.layer_vjp(layer.op(), &[&coarse(x)?], &[], signal, &layer.wanted).map(only)
            };
            let here = sent(layer.inputs[0], &signal.mul(&most.sub(reference.output)?)?)?;
            let there = sent(reference.inputs[0], &signal.mul(&layer.output.sub(&most)?)?)?;
            Ok(vec![Some(over(&here.add(&there)?, &dx, &slope)?)])
        }
        // The derivative of a product at the mean of both points is the symmetric rule.
        Op::Mul | Op::MatMul if layer.wanted == [true, true] => {
            model.layer_vjp(layer.op(), &[&mean(0)?, &mean(1)?], &[], signal, &layer.wanted)
        }
        // a / b is a times 1 / b, and 1/b - 1/b0 = (b - b0) * -1 / (b b0).
        Op::Div if layer.wanted[1] => {
            let [one, other] = [layer, reference].map(|at| at.inputs[1].filled_like(1.0)?.div(at.inputs[1]));
            let (one, other) = (one?, other?);
            let inverse = one.add(&other)?.scale(0.5)?;
            let mut sent = model.layer_vjp(&Op::Mul, &[&mean(0)?, &inverse], &[], signal, &layer.wanted)?;
            let slope = one.mul(&other)?.scale(-1.0)?;
            sent[1] = sent[1].take().map(|of_inverse| of_inverse.mul(&slope)).transpose()?;
            Ok(sent)
        }
        Op::LogSoftmax { axis } => log_softmax(
            [layer.inputs[0], reference.inputs[0]],
            [layer.output, reference.output],
            signal,
            axis,
        ),
        Op::Softmax { axis } => {
            let inputs = [layer.inputs[0], reference.inputs[0]];
            let sent = softmax(model, inputs, [layer.output, reference.output], signal, axis)?;
            Ok(vec![Some(sent)])
        }
        Op::LayerNorm { .. } | Op::GroupNorm { .. } => norm(layer, reference, signal),
        Op::Attention { scale } => attention(layer, reference, signal, scale),
        Op::Where if !layer.wanted[0] => layer.vjp(signal),
        Op::Where
        | Op::Min { .. }
        | Op::Maximum
        | Op::Minimum
        | Op::Norm { .. }
        | Op::Power
        | Op::Compare(_)
        | Op::LocalResponseNorm { .. } => Err(layer.undefined("deeplift")),
        _ => layer.vjp(signal),
    }
}

/// What layer norm and group norm send on, taken apart into the centered value, the mean of its squares, one divided by
/// the root of that, and the product with it.
fn norm<M: LayeredModel>(
    layer: &Layer<'_, M>,
    reference: &Layer<'_, M>,
    signal: &M::Tensor,
) -> Result<Signals<M::Tensor>> {
    let x = layer.inputs[0];
    let gamma = layer.params()[0];
    let grouped = |value: &M::Tensor| match layer.op() {
        Op::GroupNorm { groups, .. } => in_groups(value, *groups),
        _ => Ok(value.clone()),
    };
    let (axis, epsilon, signal) = match *layer.op() {
        Op::LayerNorm { axis, epsilon } => (axis, epsilon, signal.mul(gamma)?),
        Op::GroupNorm { epsilon, .. } => (2, epsilon, grouped(&signal.mul(&by_channel(gamma, x)?)?)?),
        _ => unreachable!("BUG: not a norm"),
    };
    let at = |x: &M::Tensor| -> Result<_> {
        let Normalized { axes, value, deviation } = Normalized::over(&grouped(x)?, axis, epsilon)?;
        Ok((axes, value.mul(&deviation)?, deviation.filled_like(1.0)?.div(&deviation)?))
    };
    let (axes, c, r) = at(x)?;
    let (_, c0, r0) = at(reference.inputs[0])?;
    let (sum, sums) = (r.add(&r0)?, c.add(&c0)?);
    let direct = signal.mul(&sum)?.scale(0.5)?;
    // With r = v^-1/2: (r - r0) / (v - v0) = -(r r0)^2 / (r + r0), and v is the mean of squares.
    let of_root = signal.mul(&sums)?.scale(0.5)?.mean(&axes)?;
    let slope = r.mul(&r0)?.square()?.div(&sum)?.scale(-1.0)?;
    let centered = direct.add(&sums.mul(&of_root.mul(&slope)?)?)?;
    Ok(vec![Some(centered.sub(&centered.mean(&axes)?)?.reshape(&x.dims())?)])
}

/// What attention sends on, taken apart into its two products and the softmax between them.
fn attention<M: LayeredModel>(
    layer: &Layer<'_, M>,
    reference: &Layer<'_, M>,
    signal: &M::Tensor,
    scale: f64,
) -> Result<Signals<M::Tensor>> {
    let model = layer.walk.model;
    let mean = |a: &M::Tensor, b: &M::Tensor| a.add(b)?.scale(0.5);
    let product = |pairs: [[&M::Tensor; 2]; 2], signal: &M::Tensor| {
        let [a, b] = [mean(pairs[0][0], pairs[0][1])?, mean(pairs[1][0], pairs[1][1])?];
        model.layer_vjp(&Op::MatMul, &[&a, &b], &[], signal, &[true, true])
    };
    let both = |slot: usize| [layer.inputs[slot], reference.inputs[slot]];
    let (here, there) = (Scores::of(layer, scale)?, Scores::of(reference, scale)?);
    let mut sent = product([[&here.weights, &there.weights], both(2)], signal)?;
    let (of_values, of_weights) = (sent.pop().flatten(), only(sent));
    let masked = |layer: &Layer<'_, M>, scores: &M::Tensor| match layer.inputs.get(3) {
        Some(mask) => scores.add(mask),
        None => Ok(scores.clone()),
    };
    let inputs = [masked(layer, &here.scores)?, masked(reference, &there.scores)?];
    let weights = [&here.weights, &there.weights];
    let of_scores =
        softmax(model, [&inputs[0], &inputs[1]], weights, &of_weights, inputs[0].dims().len() - 1)?;
    let [k, k0] = [swapped(layer.inputs[1])?, swapped(reference.inputs[1])?];
    let mut sent = product([both(0), [&k, &k0]], &of_scores.scale(scale)?)?;
    let of_keys = sent.pop().flatten().map(|sent| swapped(&sent)).transpose()?;
    let mut below = vec![Some(only(sent)), of_keys, of_values];
    if let Some(mask) = layer.inputs.get(3) {
        let operands = [&inputs[0], *mask];
        below.push(model.layer_vjp(&Op::Add, &operands, &[], &of_scores, &[false, true])?.pop().flatten());
    }
    Ok(below)
}

/// What a softmax sends on, from its inputs and outputs at both points.
fn softmax<M: LayeredModel>(
    model: &M,
    [x, x0]: [&M::Tensor; 2],
    [y, y0]: [&M::Tensor; 2],
    signal: &M::Tensor,
    axis: usize,
) -> Result<M::Tensor> {
    let log = |x: &M::Tensor| model.layer_forward(&Op::LogSoftmax { axis }, &[x], &[]);
    let (u, u0) = (log(x)?, log(x0)?);
    let signal = over(&signal.mul(&y.sub(y0)?)?, &u.sub(&u0)?, &signal.mul(y)?)?;
    log_softmax([x, x0], [&u, &u0], &signal, axis).map(only)
}

/// What `u = x - ln sum exp x` sends on: exponential and logarithm are rescaled.
fn log_softmax<T: Tensor>([x, x0]: [&T; 2], [u, u0]: [&T; 2], signal: &T, axis: usize) -> Result<Signals<T>> {
    // The logarithms of both sums, at each number; all exponentials are taken relative to the larger one.
    let (log, log0) = (x.sub(u)?, x0.sub(u0)?);
    let most = larger(&log, &log0)?;
    let exp = |x: &T| x.sub(&most)?.exp();
    let (e, e0) = (exp(x)?, exp(x0)?);
    let (sum, sum0) = (exp(&log)?, exp(&log0)?);
    // The logarithmic mean (sum - sum0) / (log - log0): the geometric mean times sinh(h) / h, 2 h = log - log0.
    let step = log.sub(&log0)?;
    let h2 = step.scale(0.5)?.square()?;
    let series = h2.affine(1.0 / 5040.0, 1.0 / 120.0)?.mul(&h2)?.affine(1.0, 1.0 / 6.0)?;
    let series = series.mul(&h2)?.affine(1.0, 1.0)?.mul(&sum.mul(&sum0)?.sqrt()?)?;
    let mean = quotient(&sum.sub(&sum0)?, &step, &series, 0.1)?;
    let weight = over(&e.sub(&e0)?, &x.sub(x0)?, &e)?.div(&mean)?;
    let all = signal.sum(&[axis])?.broadcast_to(&signal.dims())?;
    Ok(vec![Some(signal.sub(&all.mul(&weight)?)?)])
}

/// `numerator / dx`, or the slope where dx is as good as zero.
pub(super) fn over<T: Tensor>(numerator: &T, dx: &T, slope: &T) -> Result<T> {
    quotient(numerator, dx, slope, NEAR)
}

/// `numerator / dx`, or something else where dx is below a least size.
fn quotient<T: Tensor>(numerator: &T, dx: &T, otherwise: &T, least: f64) -> Result<T> {
    let near = dx.filled_like(least)?.gt(&dx.abs()?)?;
    let far = near.affine(-1.0, 1.0)?;
    // Where dx is near zero the denominator is one, and what comes of it is left out.
    let quotient = numerator.div(&dx.mul(&far)?.add(&near)?)?;
    quotient.mul(&far)?.add(&otherwise.mul(&near)?)
}

/// Numbers without their last bits, relative to the largest of the row: at a baseline of zeros whole windows are equal
/// but for rounding, which would choose among them; without it the first one wins.
fn coarse<T: Tensor>(x: &T) -> Result<T> {
    // The last bits are lost in the sum with so large a number: half of them in double precision, six in single, where
    // more would make different numbers equal.
    let bits = if x.precision() == Precision::F64 { 26 } else { 6 };
    let large = row_max(&x.abs()?)?.scale(2f64.powi(bits))?;
    x.add(&large)?.sub(&large)
}

fn larger<T: Tensor>(a: &T, b: &T) -> Result<T> {
    b.add(&a.sub(b)?.relu()?)
}

impl std::fmt::Display for Baselines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(Baseline::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl FromText for Baselines {
    fn from_text(_: &str, text: &str) -> Result<Self> {
        Ok(Baselines(text.split(',').map(|part| Baseline::from_str(part.trim())).collect::<Result<_>>()?))
    }

    fn from_arrays(name: &str, arrays: &[ndarray::ArrayD<f64>]) -> Result<Self> {
        Ok(Baselines(vec![Baseline::from_arrays(name, arrays)?]))
    }
}
