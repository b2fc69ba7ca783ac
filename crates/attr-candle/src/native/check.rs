//! Whether candle's gradients are what finite differences say.
//!
//! Between two cuts, the derivative of a random weighting of the values above by those below is asked of candle, and
//! its product with random directions is compared with central differences. Both are taken at a point near the one
//! asked about, a little noise away, so that kinks at exact zeros don't count: there either answer is a derivative.
//! The step is made smaller and smaller. What two steps in a row agree on has been measured as exactly as they agree,
//! and that is how exactly the gradient has to be met.

use std::collections::{BTreeSet, HashMap};

use attr_core::noise::{Noise, draw};
use attr_core::tapped::Port;
use attr_core::{Cut, Dim, Error, Kernels, Point, Precision, Result, Tensor as _};
use candle_core::Tensor;
use ndarray::{ArrayD, Axis};

use super::{Native, refused, values};
use crate::CandleTensor;

/// From where, to where, and whether there was one row: some of candle's operators then go another way.
pub(super) type Checked = (Vec<Port>, Vec<Port>, bool);

/// Directions that each value is moved along. A gradient that lacks a part of it has to miss on none of them.
const DIRECTIONS: usize = 3;
/// How far from the point asked about, as a part of the values' root mean square; less where values are then no numbers.
const AWAY: [f64; 3] = [0.1, 1e-3, 0.0];
/// A gradient off by more than this part is refused however coarse the measurement.
const COARSEST: f64 = 0.05;
/// How much more than two steps' difference the gradient may be off.
const SLACK: f64 = 4.0;

/// What came of a comparison.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// The gradient is what is measured.
    Right,
    /// There is no gradient and nothing changes that could be measured; or the gradient is no number, which whoever
    /// asked for it will say.
    Nothing,
    /// Along some direction it is not.
    Wrong { said: f64, measured: f64, exact_to: f64 },
    /// Differences of different steps don't agree well enough to say.
    Unclear { said: f64, measured: f64, exact_to: f64 },
}

impl Native {
    /// Compares the gradient between two cuts with finite differences, if it has not been done before.
    pub(super) fn check(
        &self,
        point: Point<'_, CandleTensor>,
        (from, at_from): (&Cut, &[Port]),
        (to, at_to): (&Cut, &[Port]),
    ) -> Result<()> {
        let Some(checked) = &self.checked else { return Ok(()) };
        let replaced = point.replace.map_or(&[][..], |(_, values)| values);
        let rows = point.inputs.iter().chain(replaced).map(|value| value.rows()).max();
        // A place named twice is one place.
        let at_from: &[Port] = &Vec::from_iter(BTreeSet::from_iter(at_from.iter().copied()));
        let key = (at_from.to_vec(), at_to.to_vec(), rows == Some(1));
        let done = |key: &Checked| checked.lock().is_ok_and(|checked| checked.contains(key));
        if at_from.is_empty() || done(&key) {
            return Ok(());
        }
        let (inputs, replaced) = self.few_rows(point)?;
        let few = Point { inputs: &inputs, replace: point.replace.map(|(cut, _)| (cut, &replaced[..])) };
        match self.compare(few, at_from, at_to)? {
            Verdict::Right => {
                if let Ok(mut checked) = checked.lock() {
                    checked.insert(key);
                }
                Ok(())
            }
            Verdict::Nothing => Ok(()),
            Verdict::Wrong { said, measured, exact_to } => {
                let (right, wrong) = self.where_it_goes_wrong(few, (from, at_from), (to, at_to));
                Err(Error::Unsupported(format!(
                    "candle's derivative of {to} by {from}: along a random direction it says {said:.6}, and finite \
                     differences say {measured:.6} (within {:.0e}); it goes wrong between {right} and {wrong}: use the \
                     operators of attr_candle::ops there, or switch this check off with Native::without_check",
                    measured.abs() * exact_to
                )))
            }
            Verdict::Unclear { said, measured, exact_to } => Err(Error::Unsupported(format!(
                "candle's derivative of {to} by {from} can't be checked: along a random direction it says {said:.6}, and \
                 finite differences say {measured:.6} or so, but differ among themselves by {:.0} % with the step; \
                 compute in double precision, or switch this check off with Native::without_check",
                exact_to * 100.0
            ))),
        }
    }

    /// The point with one row, or two where there are more: rows don't depend on each other.
    fn few_rows(&self, point: Point<'_, CandleTensor>) -> Result<(Vec<CandleTensor>, Vec<CandleTensor>)> {
        let replaced = point.replace.map_or(&[][..], |(_, values)| values).to_vec();
        let ports = point.replace.map(|(cut, _)| self.tapped.ports(cut)).transpose()?.unwrap_or_default();
        let axes = ports.iter().map(|&port| {
            let shape = self.tapped.place(port).shape.as_ref()?;
            let axis = shape.batch_axis()?;
            match shape.0[axis] {
                Dim::Batch(each) => Some((axis, each)),
                Dim::Fixed(_) => None,
            }
        });
        // Where a value's rows can't be told, all of them are taken.
        let Some(axes) = axes.collect::<Option<Vec<_>>>() else {
            return Ok((point.inputs.to_vec(), replaced));
        };
        let inputs = point.inputs.iter();
        let inputs = inputs.map(|input| attr_core::Tensor::narrow(input, 0, 0, input.rows().min(2)));
        let rows = |value: &CandleTensor, (axis, each): (usize, usize)| (value.0.dims()[axis] / each).min(2);
        let replaced = replaced
            .iter()
            .zip(axes)
            .map(|(value, axis)| attr_core::Tensor::narrow(value, axis.0, 0, axis.1 * rows(value, axis)));
        Ok((inputs.collect::<Result<_>>()?, replaced.collect::<Result<_>>()?))
    }

    fn compare(&self, point: Point<'_, CandleTensor>, from: &[Port], to: &[Port]) -> Result<Verdict> {
        let start = self.run(point, &[], from, HashMap::new())?;
        let scales: Vec<_> = values(&start, from).iter().map(scale).collect::<Result<_>>()?;
        let dims: Vec<_> = from.iter().map(|&port| start.value(port).dims().to_vec()).collect();
        drop(start);
        let noise = |sample: usize, i: usize, size: f64| {
            Ok(draw(Noise::Normal, 0, sample, i, &dims[i]).index_axis_move(Axis(0), 0) * (size * scales[i]))
        };
        let mut failure = None;
        for away in AWAY {
            let shifts = (0..from.len()).map(|i| noise(0, i, away)).collect::<Result<Vec<_>>>()?;
            match self.claim(point, from, to, &shifts) {
                Ok(Some(claim)) => {
                    let mut verdict = Verdict::Nothing;
                    for i in 0..from.len() {
                        match self
                            .compare_one(point, (from, i), to, &shifts, &claim, |j| noise(j + 1, i, 1.0))?
                        {
                            Verdict::Nothing => {}
                            Verdict::Right => verdict = Verdict::Right,
                            other => return Ok(other),
                        }
                    }
                    return Ok(verdict);
                }
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        // Where nothing is a number, even at the point itself, there is nothing to compare.
        failure.map_or(Ok(Verdict::Nothing), Err)
    }

    /// What candle says at the values at `from` plus some numbers; `None` where values are no numbers.
    fn claim(
        &self,
        point: Point<'_, CandleTensor>,
        from: &[Port],
        to: &[Port],
        shifts: &[ArrayD<f64>],
    ) -> Result<Option<Claim>> {
        let record = self.run(point, from, to, self.added(from, shifts)?)?;
        let mut weights = Vec::new();
        for (i, value) in values(&record, to).iter().enumerate() {
            let size = scale(value)?;
            if !size.is_finite() {
                return Ok(None);
            }
            // Another sample than those of directions and of the point.
            let noise = draw(Noise::Normal, 0, DIRECTIONS + 1, i, value.0.dims());
            weights.push(noise.index_axis_move(Axis(0), 0) / size);
        }
        let cotangents =
            weights.iter().map(|weight| self.candle.tensor(weight)).collect::<Result<Vec<_>>>()?;
        let cotangents: Vec<_> = cotangents.iter().map(|cotangent| &cotangent.0).collect();
        let gradients = record.back(from, to, &cotangents).map_err(refused)?.into_iter();
        let gradients = gradients.map(|by| by.map(|by| CandleTensor(by).to_array()).transpose());
        Ok(Some(Claim { weights, gradients: gradients.collect::<Result<_>>()? }))
    }

    fn added(&self, from: &[Port], shifts: &[ArrayD<f64>]) -> Result<HashMap<Port, Tensor>> {
        let shifts = from.iter().zip(shifts);
        shifts.map(|(&port, shift)| Ok((port, self.candle.tensor(shift)?.into_inner()))).collect()
    }

    /// Compares the derivative by one of the values at `from`.
    fn compare_one(
        &self,
        point: Point<'_, CandleTensor>,
        (from, i): (&[Port], usize),
        to: &[Port],
        shifts: &[ArrayD<f64>],
        claim: &Claim,
        direction: impl Fn(usize) -> Result<ArrayD<f64>>,
    ) -> Result<Verdict> {
        let directions = (0..DIRECTIONS).map(direction).collect::<Result<Vec<_>>>()?;
        let said = |d: &ArrayD<f64>| claim.gradients[i].as_ref().map_or(0.0, |by| (by * d).sum());
        let said: Vec<_> = directions.iter().map(said).collect();
        let at = |step: f64, direction: &ArrayD<f64>| {
            let mut shifts = shifts.to_vec();
            shifts[i].scaled_add(step, direction);
            let record = self.run(point, &[], to, self.added(from, &shifts)?)?;
            values(&record, to).iter().map(|value| value.to_array()).collect::<Result<Vec<_>>>()
        };
        let (steps, exact) = ladder(self.candle.precision());
        let entries: usize = claim.weights.iter().map(|weight| weight.len()).sum();
        // Weights are in units of the values, so that each term of a difference is about 1 but for its rounding.
        let least = entries as f64 * rounding(self.candle.precision()) / steps[0];
        let mut measured = Vec::new();
        for step in steps {
            let difference = |direction: &ArrayD<f64>| {
                let (up, down) = (at(*step, direction)?, at(-step, direction)?);
                let terms = up.iter().zip(&down).zip(&claim.weights);
                Ok(terms.map(|((up, down), weight)| ((up - down) * weight).sum()).sum::<f64>() / (2.0 * step))
            };
            measured.push(directions.iter().map(difference).collect::<Result<Vec<f64>>>()?);
            if settled(&said, &measured, exact) {
                break;
            }
        }
        Ok(judge(&said, &measured, exact, least))
    }

    /// The last tap up to which the gradient is right, and the first one at which it is wrong.
    fn where_it_goes_wrong(
        &self,
        point: Point<'_, CandleTensor>,
        (from, at_from): (&Cut, &[Port]),
        (to, at_to): (&Cut, &[Port]),
    ) -> (String, String) {
        let after = |port: &Port| match *port {
            Port::Value(id) => id + 1,
            Port::Edge(id, _) => id,
            Port::Output(_) => usize::MAX,
        };
        let first = at_from.iter().map(after).max().unwrap_or(0);
        let last = at_to.iter().map(|port| after(port).saturating_sub(1)).max().unwrap_or(0);
        let taps: Vec<_> = (first..self.tapped.taps().len().min(last)).collect();
        let wrong =
            |id: usize| matches!(self.compare(point, at_from, &[Port::Value(id)]), Ok(Verdict::Wrong { .. }));
        let first_wrong = taps.partition_point(|&id| !wrong(id));
        let name = |id: &usize| format!("layer {:?}", self.tapped.taps()[*id].place.name);
        let right = first_wrong.checked_sub(1).map_or_else(|| from.to_string(), |i| name(&taps[i]));
        (right, taps.get(first_wrong).map_or_else(|| to.to_string(), name))
    }
}

/// What candle says of a weighting of the values above.
struct Claim {
    weights: Vec<ArrayD<f64>>,
    /// By each of the values below.
    gradients: Vec<Option<ArrayD<f64>>>,
}

/// Steps as a part of the values' root mean square, and how exact a gradient has to be where they agree even better:
/// candle's constants of six digits are no mistake.
fn ladder(precision: Precision) -> (&'static [f64], f64) {
    match precision {
        Precision::F64 => (&[1e-4, 1e-5, 1e-6, 1e-7], 1e-4),
        _ => (&[2e-2, 5e-3, 1.25e-3, 3e-4, 8e-2], 2e-3),
    }
}

/// What a number is rounded by, as a part of it.
fn rounding(precision: Precision) -> f64 {
    match precision {
        Precision::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}

/// The root mean square of a value's numbers; 1 where all of them are 0.
fn scale(value: &CandleTensor) -> Result<f64> {
    let array = value.to_array()?;
    let size = root_mean_square(array.iter());
    Ok(if size == 0.0 { 1.0 } else { size })
}

fn root_mean_square<'a>(numbers: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    let count = numbers.len().max(1) as f64;
    (numbers.map(|x| x * x).sum::<f64>() / count).sqrt()
}

/// How far apart two lists of numbers are, as a part of the larger one.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let size = root_mean_square(one.iter()).max(root_mean_square(other.iter()));
    let differences: Vec<_> = one.iter().zip(other).map(|(a, b)| a - b).collect();
    match root_mean_square(differences.iter()) {
        0.0 => 0.0,
        off => off / size,
    }
}

/// How far off the gradient is from the step that suits it best, that step, and how well any two in a row agree.
fn best(said: &[f64], measured: &[Vec<f64>]) -> (f64, usize, f64) {
    let off = measured.iter().map(|step| apart(said, step)).enumerate();
    let (step, off) =
        off.fold((0, f64::INFINITY), |best, (i, off)| if off < best.1 { (i, off) } else { best });
    let exact_to = measured.windows(2).map(|pair| apart(&pair[0], &pair[1]));
    (off, step, exact_to.fold(f64::INFINITY, f64::min))
}

/// Whether smaller steps would not make a verdict surer.
fn settled(said: &[f64], measured: &[Vec<f64>], exact: f64) -> bool {
    let (off, _, exact_to) = best(said, measured);
    measured.len() > 1 && off <= exact && exact_to <= 10.0 * exact
}

/// `least` is what the first step's differences can't tell from 0.
fn judge(said: &[f64], measured: &[Vec<f64>], exact: f64, least: f64) -> Verdict {
    let nothing = said.iter().chain(&measured[0]).all(|x| x.abs() <= least);
    if nothing || said.iter().any(|x| !x.is_finite()) {
        return Verdict::Nothing;
    }
    let (off, step, exact_to) = best(said, measured);
    let worst = |i: &usize, j: &usize| {
        let gap = |i: usize| (said[i] - measured[step][i]).abs();
        gap(*i).total_cmp(&gap(*j))
    };
    let at = (0..said.len()).max_by(worst).unwrap_or(0);
    let (said, measured) = (said[at], measured[step][at]);
    match off {
        _ if off <= exact.max((SLACK * exact_to).min(COARSEST)) => Verdict::Right,
        _ if off > SLACK * exact_to => Verdict::Wrong { said, measured, exact_to },
        _ => Verdict::Unclear { said, measured, exact_to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_exactly_has_to_be_met_exactly() {
        let steps = |error: f64| vec![vec![1.0 + error, -2.0, 0.5], vec![1.0, -2.0, 0.5]];
        assert_eq!(judge(&[1.0, -2.0, 0.5], &steps(1e-3), 1e-4, 1e-12), Verdict::Right);
        assert!(matches!(judge(&[1.01, -2.0, 0.5], &steps(1e-4), 1e-4, 1e-12), Verdict::Wrong { .. }));
        // Of a coarse measurement less is asked, but never less than a part in twenty.
        assert_eq!(judge(&[1.01, -2.0, 0.5], &steps(2e-2), 1e-4, 1e-12), Verdict::Right);
        assert!(matches!(judge(&[1.3, -2.0, 0.5], &steps(0.6), 1e-4, 1e-12), Verdict::Unclear { .. }));
        // A quarter, nothing, and a part that is missing.
        for wrong in [[0.25, -0.5, 0.125], [0.0; 3], [0.9, -2.1, 0.55]] {
            assert!(matches!(judge(&wrong, &steps(1e-3), 1e-4, 1e-12), Verdict::Wrong { .. }), "{wrong:?}");
        }
        assert_eq!(judge(&[0.0; 3], &[vec![0.0; 3], vec![0.0; 3]], 1e-4, 1e-12), Verdict::Nothing);
        assert!(matches!(
            judge(&[1.0; 3], &[vec![0.0; 3], vec![0.0; 3]], 1e-4, 1e-12),
            Verdict::Wrong { .. }
        ));
        // A gradient too small to be measured.
        assert_eq!(judge(&[1e-43; 3], &[vec![0.0; 3], vec![1e-9; 3]], 1e-4, 1e-12), Verdict::Nothing);
    }

    #[test]
    fn differences_that_are_no_numbers_decide_nothing() {
        let measured = [vec![f64::NAN; 3], vec![f64::NAN; 3]];
        assert_eq!(judge(&[f64::INFINITY, 1.0, 1.0], &measured, 1e-4, 1e-12), Verdict::Nothing);
        assert!(!matches!(judge(&[1.0; 3], &measured, 1e-4, 1e-12), Verdict::Right | Verdict::Wrong { .. }));
    }
}
