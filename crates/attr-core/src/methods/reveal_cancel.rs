//! DeepLIFT's reveal-cancel rule: positive and negative contributions to a value go separate ways
//! (Shrikumar et al. 2017, section 3.5.3).
//!
//! On the way up each layer's difference from the baseline is taken apart into what contributed to it positively and
//! what negatively; on the way back each of the two has a multiplier of its own.

use super::deep_lift::{over, rescaled};
use crate::cut::Port;
use crate::linear_form::LinearForm;
use crate::rule::{Part, Term, moves_values};
use crate::walk::{Layer, Pass, Signal, Signals, Walk, add_into, only};
use crate::{LayeredModel, Op, Result, Tensor};

/// A difference as the sum of positive and negative contributions.
#[derive(Clone)]
struct Halves<T> {
    positive: T,
    negative: T,
}

/// The multipliers of the positive and of the negative contributions to a value.
#[derive(Clone)]
struct Multiplier<T> {
    positive: T,
    /// None: the same.
    negative: Option<T>,
}

/// Which functions of each element follow the rule; the others are rescaled.
type Reveals<'a, M> = &'a dyn Fn(&Layer<'_, M>) -> bool;

/// The multipliers of the values at the lower cut, whose contributions are told apart by their sign.
pub(super) fn multipliers<M: LayeredModel>(
    pass: &Pass<'_, M>,
    reference: &Pass<'_, M>,
    reveals: Reveals<'_, M>,
) -> Result<Vec<M::Tensor>> {
    let walk = pass.walk;
    let mut split = Split { walk, halves: vec![None; walk.model.graph().nodes().len()], reveals };
    for id in (0..split.halves.len()).filter(|&id| walk.goes_through(id)) {
        let (layer, reference) = (walk.layer(id, &pass.values), walk.layer(id, &reference.values));
        if layer.wanted.contains(&true) {
            split.halves[id] = Some(split.of_output(&layer, &reference).map_err(|error| layer.named(error))?);
        }
    }
    let start = pass.cotangents.iter().map(|signal| Multiplier::one(signal.clone())).collect();
    let found = pass.back(start, &mut |layer, multiplier| {
        split.back(layer, &walk.layer(layer.id, &reference.values), multiplier)
    })?;
    let differences = walk.lower(&pass.values).into_iter().zip(walk.lower(&reference.values));
    found.iter().zip(differences).map(|(found, (here, there))| found.joined(&here.sub(&there)?)).collect()
}

struct Split<'a, M: LayeredModel> {
    walk: &'a Walk<'a, M>,
    /// Of each layer on the way; none at the lower cut, where the sign decides.
    halves: Vec<Option<Halves<M::Tensor>>>,
    reveals: Reveals<'a, M>,
}

impl<M: LayeredModel> Split<'_, M> {
    /// The halves of a layer's input.
    fn of_input(
        &self,
        layer: &Layer<'_, M>,
        reference: &Layer<'_, M>,
        slot: usize,
    ) -> Result<Halves<M::Tensor>> {
        match &self.halves[layer.node.inputs[slot]] {
            Some(halves) if !is_weighted(layer.op()) && !self.walk.begins_at(Port::Edge(layer.id, slot)) => {
                Ok(halves.clone())
            }
            _ => Halves::by_sign(&layer.inputs[slot].sub(reference.inputs[slot])?),
        }
    }

    /// The halves of a layer's value.
    fn of_output(&self, layer: &Layer<'_, M>, reference: &Layer<'_, M>) -> Result<Halves<M::Tensor>> {
        let dy = layer.output.sub(reference.output)?;
        if self.walk.begins_at(Port::Value(layer.id)) {
            return Halves::by_sign(&dy);
        }
        let inputs = (0..layer.inputs.len()).map(|slot| self.of_input(layer, reference, slot));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        if moves_linearly(layer.op()) {
            let moved = |half: fn(&Halves<M::Tensor>) -> &M::Tensor| {
                self.walk.model.layer_forward(layer.op(), &inputs.iter().map(half).collect::<Vec<_>>(), &[])
            };
            return Ok(Halves { positive: moved(|h| &h.positive)?, negative: moved(|h| &h.negative)? });
        }
        if LinearForm::of(layer, false, None)?.is_some() {
            return linear(layer, &inputs);
        }
        match layer.op() {
            Op::Activation(_) if (self.reveals)(layer) => revealed(layer, reference, &inputs[0]),
            Op::Activation(_) => {
                let sent = |half: &M::Tensor| rescaled(layer, reference, half).map(only);
                Ok(Halves { positive: sent(&inputs[0].positive)?, negative: sent(&inputs[0].negative)? })
            }
            _ => Halves::by_sign(&dy),
        }
    }

    /// What a layer sends on of its value's multipliers.
    fn back(
        &self,
        layer: &Layer<'_, M>,
        reference: &Layer<'_, M>,
        multiplier: &Multiplier<M::Tensor>,
    ) -> Result<Signals<Multiplier<M::Tensor>>> {
        let is_function = matches!(layer.op(), Op::Activation(_));
        let form = LinearForm::of(layer, false, None)?;
        if is_function && form.is_none() && (self.reveals)(layer) {
            return self.back_revealed(layer, reference, multiplier).map(|sent| vec![Some(sent)]);
        }
        let Some(negative) = &multiplier.negative else {
            let sent = rescaled(layer, reference, &multiplier.positive)?;
            return Ok(sent.into_iter().map(|sent| sent.map(Multiplier::one)).collect());
        };
        if moves_linearly(layer.op()) || (is_function && form.is_none()) {
            let sent = rescaled(layer, reference, &multiplier.positive)?;
            return Ok(pairs(sent, rescaled(layer, reference, negative)?));
        }
        let Some(form) = form else {
            let joined = multiplier.joined(&layer.output.sub(reference.output)?)?;
            return self.back(layer, reference, &Multiplier::one(joined));
        };
        let transposed = |of_positive: Part, of_negative: Part| {
            let mut sums = form.transpose(&of_positive, &multiplier.positive)?;
            for (sum, term) in sums.iter_mut().zip(form.transpose(&of_negative, negative)?) {
                term.map(|term| add_into(sum, term)).transpose()?;
            }
            layer.filled(sums)
        };
        let sent =
            pairs(transposed(Part::POSITIVE, Part::NEGATIVE)?, transposed(Part::NEGATIVE, Part::POSITIVE)?);
        if !is_weighted(layer.op()) {
            return Ok(sent);
        }
        // A layer with weights tells its contributions apart by the sign of its input's difference alone.
        let joined = sent.into_iter().enumerate().map(|(slot, sent)| {
            let Some(sent) = sent else { return Ok(None) };
            sent.joined(&layer.inputs[slot].sub(reference.inputs[slot])?)
                .map(|joined| Some(Multiplier::one(joined)))
        });
        joined.collect()
    }

    /// What a function that follows the rule sends on.
    fn back_revealed(
        &self,
        layer: &Layer<'_, M>,
        reference: &Layer<'_, M>,
        multiplier: &Multiplier<M::Tensor>,
    ) -> Result<Multiplier<M::Tensor>> {
        let Halves { positive: p, negative: n } = self.of_input(layer, reference, 0)?;
        let brought = self.halves[layer.id].as_ref().expect("BUG: a layer on the way without halves");
        let start = reference.inputs[0];
        let (m, m_negative) =
            (&multiplier.positive, multiplier.negative.as_ref().unwrap_or(&multiplier.positive));
        // Where a half is as good as zero: the mean of the derivatives where it would begin.
        let slope = |signal: &M::Tensor, other: &M::Tensor| {
            let slope_at =
                |x: &M::Tensor| self.walk.model.layer_vjp(layer.op(), &[x], &[], signal, &[true]).map(only);
            slope_at(start)?.add(&slope_at(&start.add(other)?)?)?.scale(0.5)
        };
        let positive = over(&m.mul(&brought.positive)?, &p, &slope(m, &n)?)?;
        let negative = over(&m_negative.mul(&brought.negative)?, &n, &slope(m_negative, &p)?)?;
        Ok(Multiplier { positive, negative: Some(negative) })
    }
}

/// What each half of a function's input brings about, on average over which of them comes first.
fn revealed<M: LayeredModel>(
    layer: &Layer<'_, M>,
    reference: &Layer<'_, M>,
    input: &Halves<M::Tensor>,
) -> Result<Halves<M::Tensor>> {
    let at = |half: &M::Tensor| {
        let x = reference.inputs[0].add(half)?;
        layer.walk.model.layer_forward(layer.op(), &[&x], &[])
    };
    let (first, last) = (reference.output, layer.output);
    let (with_positive, with_negative) = (at(&input.positive)?, at(&input.negative)?);
    let half = |one: &M::Tensor, other: &M::Tensor| one.sub(first)?.add(&last.sub(other)?)?.scale(0.5);
    Ok(Halves {
        positive: half(&with_positive, &with_negative)?,
        negative: half(&with_negative, &with_positive)?,
    })
}

/// The halves of the value of a layer that is linear in its inputs: negative weights turn one into the other.
fn linear<M: LayeredModel>(layer: &Layer<'_, M>, inputs: &[Halves<M::Tensor>]) -> Result<Halves<M::Tensor>> {
    let is_factor = matches!(layer.op(), Op::Mul | Op::Div);
    let product = |half: fn(&Halves<M::Tensor>) -> &M::Tensor, weights: Part| {
        let of = |slot: usize| match layer.wanted[slot] {
            true => Ok(half(&inputs[slot]).clone()),
            false if is_factor => Ok(layer.inputs[slot].clone()),
            false => layer.inputs[slot].zeros_like(),
        };
        let values = (0..inputs.len()).map(of).collect::<Result<Vec<_>>>()?;
        let layer = layer.with_inputs(values.iter().collect());
        let form = LinearForm::of(&layer, false, None)?.expect("BUG: a linear layer is not linear elsewhere");
        form.product(&Term::new(Part::ALL, weights))
    };
    let sum = |of_positive: Part, of_negative: Part| {
        let mut sum = product(|halves| &halves.positive, of_positive)?;
        if let Some(term) = product(|halves| &halves.negative, of_negative)? {
            add_into(&mut sum, term)?;
        }
        sum.map_or_else(|| layer.output.zeros_like(), Ok)
    };
    Ok(Halves {
        positive: sum(Part::POSITIVE, Part::NEGATIVE)?,
        negative: sum(Part::NEGATIVE, Part::POSITIVE)?,
    })
}

fn is_weighted(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Linear)
}

/// Whether a layer moves the halves of its inputs to other places; one that pads may add numbers of its own, and one
/// that chooses does so by an input.
fn moves_linearly(op: &Op) -> bool {
    moves_values(op) && !matches!(op, Op::Pad { .. } | Op::Where)
}

fn pairs<T>(positive: Signals<T>, negative: Signals<T>) -> Signals<Multiplier<T>> {
    let pair = |(positive, negative): (Option<T>, Option<T>)| {
        positive.map(|positive| Multiplier { positive, negative })
    };
    positive.into_iter().zip(negative).map(pair).collect()
}

impl<T: Tensor> Halves<T> {
    /// A difference that is positive or negative as a whole.
    fn by_sign(difference: &T) -> Result<Self> {
        let positive = difference.relu()?;
        let negative = difference.sub(&positive)?;
        Ok(Halves { positive, negative })
    }
}

impl<T> Multiplier<T> {
    fn one(positive: T) -> Self {
        Multiplier { positive, negative: None }
    }
}

impl<T: Tensor> Multiplier<T> {
    /// The multiplier by the sign of the difference; their mean where that is zero.
    fn joined(&self, difference: &T) -> Result<T> {
        let Some(negative) = &self.negative else { return Ok(self.positive.clone()) };
        let zeros = difference.zeros_like()?;
        let share = difference.gt(&zeros)?.sub(&zeros.gt(difference)?)?.affine(0.5, 0.5)?;
        negative.add(&self.positive.sub(negative)?.mul(&share)?)
    }
}

impl<T: Tensor> Signal for Multiplier<T> {
    type Tensor = T;

    fn none(value: &T) -> Result<Self> {
        value.zeros_like().map(Multiplier::one)
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        let positive = self.positive.add(&other.positive)?;
        let negative = match (&self.negative, &other.negative) {
            (None, None) => None,
            (one, two) => {
                Some(one.as_ref().unwrap_or(&self.positive).add(two.as_ref().unwrap_or(&other.positive))?)
            }
        };
        Ok(Multiplier { positive, negative })
    }
}
