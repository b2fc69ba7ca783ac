use std::str::FromStr;

use super::Method;
use crate::attribution::row_totals;
use crate::parameter::{FromText, parameters};
use crate::walk::{Layer, Outcome, Signals, add_into, answer};
use crate::{Attribution, Baseline, Cut, LayeredModel, Op, Point, Question, Result, Tensor};

/// DeepLIFT by the rescale rule: what each value contributes to the difference of the quantity from that at a
/// baseline, `sum of contributions = quantity - quantity at the baseline` (Shrikumar et al. 2017).
///
/// Multipliers go back through linear layers as gradients do, and through a function of each element as
/// `dy / dx`, the differences from the baseline; where `|dx|` is below 1e-7, by the derivative at the input. A
/// maximum's difference `y - y0` is `max(y, y0) - y0`, which goes to the winner at the input, and `y - max(y, y0)`,
/// which goes to the winner at the baseline. A product's is `da (b + b0) / 2 + db (a + a0) / 2`.
///
/// The baseline is one of the model's inputs, also where the lower cut is an inner layer: the reference there is the
/// layer's value at it. The quantity has to be linear in the values at the upper cut, or the residual shows it.
#[derive(Debug, Clone)]
pub struct DeepLift {
    /// What the inputs are compared with; several are averaged over (DeepSHAP, Lundberg, Lee 2017). Zeros.
    pub baselines: Baselines,
    /// Whether multipliers are multiplied by the difference from the baseline, which gives contributions; true.
    pub multiply: bool,
}

/// One or several baselines.
///
/// As text: [`Baseline`]s joined by commas.
#[derive(Debug, Clone)]
pub struct Baselines(pub Vec<Baseline>);

parameters!(DeepLift {
    baselines: "what the inputs are compared with, and averaged over, joined by commas: zeros, a number, `blur SIGMA` or \
                `uniform LOW HIGH SEED`",
    multiply: "whether to multiply by the difference from the baseline: contributions, or multipliers",
});

impl Default for DeepLift {
    fn default() -> Self {
        DeepLift { baselines: Baselines(vec![Baseline::Zeros]), multiply: true }
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
        let law = self.multiply.then_some(law);
        let mut answer = answer(question, "deeplift", self, 2, law, &mut |pass| {
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
                let multipliers = pass.back(pass.cotangents.clone(), &mut |layer, signal| {
                    multipliers(layer, &pass.walk.layer(layer.id, &reference.values), signal)
                })?;
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

/// What a layer sends on of the multiplier of its value; `reference` is the layer at the baseline.
fn multipliers<M: LayeredModel>(
    layer: &Layer<'_, M>,
    reference: &Layer<'_, M>,
    signal: &M::Tensor,
) -> Result<Signals<M::Tensor>> {
    match layer.op() {
        Op::Activation(_) => {
            let dx = layer.inputs[0].sub(reference.inputs[0])?;
            let dy = layer.output.sub(reference.output)?;
            let slopes = layer.vjp(signal)?;
            Ok(vec![Some(over(
                &signal.mul(&dy)?,
                &dx,
                slopes[0].as_ref().expect("BUG: an input is wanted"),
            )?)])
        }
        Op::MaxPool(_) => {
            let most = larger(layer.output, reference.output)?;
            let slopes = layer.vjp(signal)?;
            let here = layer.vjp(&signal.mul(&most.sub(reference.output)?)?)?;
            let there = reference.vjp(&signal.mul(&layer.output.sub(&most)?)?)?;
            let dx = layer.inputs[0].sub(reference.inputs[0])?;
            match (&here[0], &there[0], &slopes[0]) {
                (Some(here), Some(there), Some(slope)) => {
                    Ok(vec![Some(over(&here.add(there)?, &dx, slope)?)])
                }
                _ => unreachable!("BUG: an input is wanted"),
            }
        }
        // The derivative of a product at the mean of both points is the symmetric rule.
        Op::Mul if layer.wanted == [true, true] => {
            let mean = |slot: usize| layer.inputs[slot].add(reference.inputs[slot])?.scale(0.5);
            let (a, b) = (mean(0)?, mean(1)?);
            layer.walk.model.layer_vjp(layer.op(), &[&a, &b], &[], signal, &layer.wanted)
        }
        Op::Div if layer.wanted[1] => Err(layer.undefined("deeplift")),
        Op::Softmax { .. } | Op::LogSoftmax { .. } => Err(layer.undefined("deeplift")),
        _ => layer.vjp(signal),
    }
}

/// `numerator / dx`, or the slope where dx is as good as zero.
fn over<T: Tensor>(numerator: &T, dx: &T, slope: &T) -> Result<T> {
    let near = dx.filled_like(NEAR)?.gt(&dx.abs()?)?;
    let far = near.affine(-1.0, 1.0)?;
    // Where dx is near zero the denominator is one, and what comes of it is left out.
    let quotient = numerator.div(&dx.mul(&far)?.add(&near)?)?;
    quotient.mul(&far)?.add(&slope.mul(&near)?)
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
}
