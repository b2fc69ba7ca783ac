use std::fmt;
use std::sync::Arc;

use super::Method;
use super::lrp::Start;
use crate::linear_form::scale_of;
use crate::parameter::{FromText, Parameters, parameters};
use crate::patterns::Patterns;
use crate::tensor::{nonzero, row_max};
use crate::walk::{Outcome, Walk, answer};
use crate::{Attribution, Error, LayeredModel, Op, Question, Result, Tensor};

/// PatternNet: the signal in the input that a quantity rests on, found by going back through patterns in the place of
/// weights (Kindermans et al. 2017).
///
/// Everything else goes back as a gradient does; a batch norm divides by what it multiplied by. The length of the
/// result means nothing, its directions do. Not defined for transposed convolutions.
#[derive(Debug, Clone)]
pub struct PatternNet {
    /// The patterns of the network's layers; there are none by default, and none can be made up.
    pub patterns: Fitted,
    /// What is sent back: the values (the default, as iNNvestigate), or one.
    pub start: Start,
    /// Whether what goes back is divided by its largest number, for each row, wherever all ways meet, so that it does not
    /// outgrow the range of numbers in long networks; true, as iNNvestigate. The result is between -1 and 1 then.
    pub project: bool,
}

/// PatternAttribution: how much each part of the signal contributes, found by going back through weights times patterns
/// (Kindermans et al. 2017): a deep Taylor decomposition whose root point is the input without its signal.
#[derive(Debug, Clone)]
pub struct PatternAttribution {
    /// As for [`PatternNet`].
    pub patterns: Fitted,
    /// As for [`PatternNet`].
    pub start: Start,
    /// As for [`PatternNet`]; amounts are only there without it.
    pub project: bool,
}

/// Patterns, if there are any.
#[derive(Debug, Clone, Default)]
pub struct Fitted(pub Option<Arc<Patterns>>);

const PATTERNS: &str =
    "the patterns of the network's layers, which `attr patterns` or `Patterns::fit` fit to data";
const START: &str = "what is sent back: value (of a class its logit), one, or positive";

const PROJECT: &str =
    "whether to divide by the largest number wherever all ways meet, so that nothing outgrows its range";

parameters!(PatternNet { patterns: PATTERNS, start: START, project: PROJECT } patterns patterns);
parameters!(PatternAttribution { patterns: PATTERNS, start: START, project: PROJECT } patterns patterns);

impl Default for PatternNet {
    fn default() -> Self {
        PatternNet { patterns: Fitted(None), start: Start::Value, project: true }
    }
}

impl Default for PatternAttribution {
    fn default() -> Self {
        PatternAttribution { patterns: Fitted(None), start: Start::Value, project: true }
    }
}

impl<M: LayeredModel> Method<M> for PatternNet {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let way = Way { start: self.start, project: self.project, times_weights: false };
        through_patterns(question, "pattern-net", self, &self.patterns, way)
    }
}

impl<M: LayeredModel> Method<M> for PatternAttribution {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let way = Way { start: self.start, project: self.project, times_weights: true };
        through_patterns(question, "pattern-attribution", self, &self.patterns, way)
    }
}

/// How to go back through patterns.
struct Way {
    start: Start,
    project: bool,
    times_weights: bool,
}

fn through_patterns<M: LayeredModel>(
    question: &Question<'_, M>,
    name: &str,
    method: &dyn Parameters,
    patterns: &Fitted,
    Way { start, project, times_weights }: Way,
) -> Result<Attribution<M::Tensor>> {
    let expected = "patterns fitted to data, by `attr patterns` or `Patterns::fit`";
    let patterns = patterns.0.as_deref().ok_or_else(|| Error::parameter("patterns", expected, "none"))?;
    let graph = question.model.graph();
    let walk = Walk::new(question.model, &question.slice)?;
    let mut kernels = vec![None; graph.nodes().len()];
    for (id, node) in graph.nodes().iter().enumerate().filter(|(id, _)| walk.goes_through(*id)) {
        if matches!(node.op, Op::Conv(_) | Op::Linear) {
            let weight = question.model.parameters(id)[0];
            let pattern = question.model.tensor(patterns.layer(&node.name, &weight.dims())?)?;
            kernels[id] = Some(if times_weights { pattern.mul(weight)? } else { pattern });
        }
    }
    let meet = if project { walk.bottlenecks() } else { vec![false; graph.nodes().len()] };
    answer(question, name, method, 1, None, &mut |pass| {
        let values = pass.back(start.signals(pass)?, &mut |layer, arrived| {
            let projected =
                if meet[layer.id] { Some(projected(std::slice::from_ref(arrived))?.remove(0)) } else { None };
            let signal = projected.as_ref().unwrap_or(arrived);
            match layer.op() {
                Op::Conv(_) | Op::Linear => {
                    let kernel = kernels[layer.id].as_ref().expect("BUG: a layer without a pattern");
                    question.model.layer_vjp(layer.op(), &layer.inputs, &[kernel], signal, &layer.wanted)
                }
                Op::BatchNorm { .. } if times_weights => Ok(vec![Some(signal.clone())]),
                Op::BatchNorm { .. } => {
                    let scale = scale_of(layer)?;
                    // A channel that is multiplied by zero has no signal.
                    let zero = scale.eq(&scale.zeros_like()?)?;
                    let inverse = zero.affine(-1.0, 1.0)?.div(&nonzero(&scale)?)?;
                    Ok(vec![Some(signal.mul(&inverse)?)])
                }
                Op::ConvTranspose(_) => Err(layer.undefined(name)),
                _ => layer.vjp(signal),
            }
        })?;
        Ok(Outcome::of(if project { projected(&values)? } else { values }))
    })
}

/// Divided by the largest magnitude of each row, over all tensors.
fn projected<T: Tensor>(signals: &[T]) -> Result<Vec<T>> {
    let each = signals.iter().map(|signal| row_max(&signal.abs()?)?.reshape(&[signal.rows(), 1]));
    let most = nonzero(&row_max(&T::concat(&each.collect::<Result<Vec<_>>>()?, 1)?)?)?;
    let by_row = |signal: &T| {
        let mut dims = vec![1; signal.dims().len()];
        dims[0] = signal.rows();
        signal.div(&most.reshape(&dims)?)
    };
    signals.iter().map(by_row).collect()
}

impl fmt::Display for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("none"),
            Some(patterns) => {
                write!(f, "{}, {} layers, {} rows", patterns.kind, patterns.of.len(), patterns.rows)
            }
        }
    }
}

impl FromText for Fitted {
    fn from_text(name: &str, text: &str) -> Result<Self> {
        match text.trim() {
            "none" => Ok(Fitted(None)),
            _ => Err(Error::parameter(name, "patterns from a file, by --patterns FILE", format!("{text:?}"))),
        }
    }
}
