use super::Method;
use super::internal_influence::evidence;
use crate::parameter::{Parameters, parameters};
use crate::question::{finite_rows, join};
use crate::{Attribution, Evidence, ModelWrapper, Point, Question, Result, Tensor};

/// The signed derivative of the quantity by each number at the lower cut (Simonyan et al. 2013).
///
/// Absolute values, squares and the largest over channels are post-processing of an [`Attribution`].
#[derive(Debug, Clone, Default)]
pub struct Gradient {}

/// Each number at the lower cut times the derivative of the quantity by it (Shrikumar et al. 2016).
#[derive(Debug, Clone, Default)]
pub struct InputTimesGradient {}

parameters!(Gradient {});
parameters!(InputTimesGradient {});

impl<M: ModelWrapper> Method<M> for Gradient {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let answer = gradient(question, "gradient", self)?;
        Attribution::new(answer.gradients, answer.evidence)
    }
}

impl<M: ModelWrapper> Method<M> for InputTimesGradient {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let answer = gradient(question, "input-x-gradient", self)?;
        let products = answer.values.iter().zip(&answer.gradients).map(|(z, g)| z.mul(g));
        Attribution::new(products.collect::<Result<_>>()?, answer.evidence)
    }
}

/// Values at the lower cut, the derivative by them, and the evidence.
pub(super) struct Answer<T> {
    pub(super) values: Vec<T>,
    pub(super) gradients: Vec<T>,
    pub(super) evidence: Evidence,
}

/// One pass forward and one back, in chunks of rows.
pub(super) fn gradient<M: ModelWrapper>(
    question: &Question<'_, M>,
    name: &str,
    method: &dyn Parameters,
) -> Result<Answer<M::Tensor>> {
    question.check()?;
    let (mut values, mut gradients, mut uppers, mut quantity) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    question.in_chunks(question.model.row_bytes(), |seen, inputs| {
        let (slice, mut at_quantity) = (&question.slice, None);
        let gradient = question.model.gradient(Point::at(inputs), &slice.from, &slice.to, &mut |upper| {
            let evaluation = question.quantity.evaluate(upper, question.seen(seen))?;
            at_quantity = Some((upper.to_vec(), evaluation.value));
            Ok(evaluation.cotangents)
        })?;
        let (upper, value) = at_quantity.expect("BUG: a model did not ask for the cotangent");
        quantity.extend(finite_rows(&value.to_array()?, "the quantity of interest")?);
        uppers.push(upper);
        values.push(gradient.values);
        gradients.push(gradient.gradients);
        Ok(())
    })?;
    let evidence = evidence(question, name, method.parameters(), &join(uppers)?, quantity)?;
    Ok(Answer { values: join(values)?, gradients: join(gradients)?, evidence })
}
