use super::Method;
use super::lrp::{Start, relevance};
use crate::composite::Layers;
use crate::parameter::parameters;
use crate::rule::{Bias, Branch, Part, Rule, Term};
use crate::{Attribution, Composite, LayeredModel, Question, Result};

/// Excitation backpropagation: the probability that a neuron won, if each winner above was won by the inputs that
/// excite it, in proportion (Zhang et al. 2016). It is the z-plus rule without bias, of a relevance of one.
///
/// Contrastive: what speaks for the class minus what speaks for anything but it, made with the negated weights of the
/// last weighted layer; its relevances add up to zero.
#[derive(Debug, Clone, Default)]
pub struct ExcitationBackprop {
    /// Whether it is contrastive; false.
    pub contrastive: bool,
}

parameters!(ExcitationBackprop {
    contrastive: "whether to take away what speaks for anything but the class",
});

impl ExcitationBackprop {
    /// The composite that it is.
    pub fn composite(&self) -> Composite {
        let by =
            |share, weights| Branch { terms: vec![Term::new(Part::POSITIVE, weights)], ..Branch::of(share) };
        let contrast = Rule::Own(vec![by(1.0, Part::POSITIVE), by(-1.0, Part::NEGATIVE)]);
        let composite = Composite::default();
        let composite = match self.contrastive {
            true => composite.with(Layers::last(Layers::Weighted), contrast),
            false => composite,
        };
        composite.with(Layers::Weighted, Rule::z_plus(Bias::None))
    }
}

impl<M: LayeredModel> Method<M> for ExcitationBackprop {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let mut answer = relevance(question, "excitation-backprop", self, &self.composite(), Start::One)?;
        if self.contrastive {
            // What was shared out of the negated weights is taken away, so that all of it adds up to zero.
            let residual = crate::attribution::row_totals(&answer.values)?;
            answer.evidence.residual = Some(residual);
            answer.evidence.law = Some("contrast: the relevances add up to zero");
        }
        Ok(answer)
    }
}
