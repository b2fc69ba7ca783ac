use super::Method;
use crate::attribution::row_totals;
use crate::parameter::{Parameters, names, parameters};
use crate::walk::{Outcome, Pass, answer, left_over};
use crate::{Attribution, Composite, LayeredModel, Question, Result, Rule, Tensor};

/// Layer-wise relevance propagation: the relevance of each output is shared out among the inputs of its layer, layer
/// by layer, by the rules of a [`Composite`] (Bach et al. 2015).
///
/// The relevance at the upper cut is each value there times the derivative of the quantity by it, so for a class its
/// logit. At an inner cut it is the relevance of that layer's values.
#[derive(Debug, Clone)]
pub struct Lrp {
    /// Which layers are dealt with by which rule; epsilon 1e-6 on all weighted layers.
    pub rules: Composite,
    /// The relevance that is shared out.
    pub start: Start,
}

/// The relevance at the upper cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Each value times the derivative of the quantity by it: for a class, its logit.
    #[default]
    Value,
    /// The derivative of the quantity: for a class, one.
    One,
    /// The values that are above zero times the derivative of the quantity.
    Positive,
}

const STARTS: [(&str, Start); 3] =
    [("value", Start::Value), ("one", Start::One), ("positive", Start::Positive)];
names!(Start, "start", STARTS);

parameters!(Lrp {
    rules: "which layers are dealt with by which rule: a preset, a rule, or rows `LAYERS: RULE` joined by semicolons",
    start: "the relevance to share out: value (for a class, its logit), one, or positive (zero where it is negative)",
});

impl Default for Lrp {
    fn default() -> Self {
        Lrp::by(Composite::of(Rule::epsilon(1e-6)))
    }
}

impl Lrp {
    /// By this composite, of the values.
    pub fn by(rules: Composite) -> Self {
        Lrp { rules, start: Start::Value }
    }
}

impl Start {
    /// The signals at the upper cut.
    pub(super) fn signals<M: LayeredModel>(self, pass: &Pass<'_, M>) -> Result<Vec<M::Tensor>> {
        let pairs = pass.upper.iter().zip(&pass.cotangents);
        match self {
            Start::Value => pass.shares(),
            Start::One => Ok(pass.cotangents.clone()),
            Start::Positive => pairs.map(|(value, cotangent)| value.relu()?.mul(cotangent)).collect(),
        }
    }
}

impl<M: LayeredModel> Method<M> for Lrp {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        relevance(question, "lrp", self, &self.rules, self.start)
    }
}

/// The relevance at the lower cut, by a composite.
pub(super) fn relevance<M: LayeredModel>(
    question: &Question<'_, M>,
    name: &str,
    method: &dyn Parameters,
    rules: &Composite,
    start: Start,
) -> Result<Attribution<M::Tensor>> {
    let law = "conservation: the relevances add up to that at the upper cut, but for what biases, constants, softmax and \
               stabilizers take";
    answer(question, name, method, 1, Some(law), &mut |pass| {
        let assigned = rules.assign(pass.walk)?;
        let signals = start.signals(pass)?;
        let values = pass.back(signals.clone(), &mut |layer, relevance| {
            let assigned = assigned[layer.id].as_ref().expect("BUG: a layer without a rule");
            assigned.rule.back(layer, relevance, rules.stabilizer, assigned.folded)
        })?;
        let residual = Some(left_over(&values, &signals)?);
        Ok(Outcome { residual, claimed: Some(row_totals(&signals)?), ..Outcome::of(values) })
    })
}
