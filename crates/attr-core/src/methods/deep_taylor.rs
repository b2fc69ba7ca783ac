use super::Method;
use super::lrp::{Start, relevance};
use crate::composite::Layers;
use crate::parameter::parameters;
use crate::rule::{Bias, Rule};
use crate::{Attribution, Composite, LayeredModel, ModelWrapper, Question, Result};

/// Deep Taylor decomposition: each layer's relevance expanded to first order at a root point nearby, which for ReLU
/// networks is the z-plus rule, and at the input the w-square rule, or the z-box rule where the input is known to
/// lie between bounds (Montavon et al. 2017).
///
/// Relevance starts at what the quantity's values have above zero; a negative logit has none.
#[derive(Debug, Clone)]
pub struct DeepTaylor {
    /// The least and largest values of the input, in the model's own units (after normalisation); none: unbounded.
    pub bounds: Bounds,
}

/// Bounds of the input.
///
/// As text: `none`, or two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds(pub Option<(f64, f64)>);

parameters!(DeepTaylor {
    bounds: "the least and the largest value of the input after normalisation, `LOW HIGH`, or `none`",
});

impl Default for DeepTaylor {
    fn default() -> Self {
        DeepTaylor { bounds: Bounds(None) }
    }
}

impl DeepTaylor {
    /// The composite that it is.
    pub fn composite(&self) -> Composite {
        let input = match self.bounds.0 {
            Some((low, high)) => Rule::ZBox { low: vec![low], high: vec![high] },
            None => Rule::WSquare,
        };
        let composite = Composite::default().with(Layers::first(Layers::Weighted), input);
        composite.with(Layers::Weighted, Rule::z_plus(Bias::None))
    }
}

impl<M: LayeredModel> Method<M> for DeepTaylor {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        relevance(question, "deep-taylor", self, &self.composite(), Start::Positive)
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some((low, high)) => write!(f, "{low} {high}"),
        }
    }
}

impl crate::parameter::FromText for Bounds {
    fn from_text(name: &str, text: &str) -> Result<Self> {
        let numbers: Vec<_> = text.split_whitespace().map(str::parse::<f64>).collect();
        match numbers[..] {
            _ if text.trim() == "none" => Ok(Bounds(None)),
            [Ok(low), Ok(high)] if low < high && (high - low).is_finite() => Ok(Bounds(Some((low, high)))),
            _ => Err(crate::Error::parameter(name, "`none` or `LOW HIGH`", format!("{text:?}"))),
        }
    }
}

/// Simple Taylor decomposition: the quantity expanded to first order around a root point, so the derivative times the
/// way from there (Montavon et al. 2017, section 2).
///
/// The derivative is taken at the input, which for a network of ReLUs is that at a root on the same straight piece,
/// or at the root itself.
#[derive(Debug, Clone, Default)]
pub struct SimpleTaylor {
    /// The root point; zeros.
    pub root: crate::Baseline,
    /// Whether the derivative is taken at the root point; false: at the input.
    pub at_root: bool,
}

parameters!(SimpleTaylor {
    root: "the root point: zeros, a number, `blur SIGMA` or `uniform LOW HIGH SEED`",
    at_root: "whether the derivative is taken at the root point, or at the input",
});

impl<M: ModelWrapper> Method<M> for SimpleTaylor {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        // A path of one point: its end, or its beginning.
        let quadrature = if self.at_root { crate::Quadrature::Left } else { crate::Quadrature::Right };
        let distribution = crate::Doi::Linear { baseline: self.root.clone(), resolution: 1, quadrature };
        let influence = super::InternalInfluence { multiply: true, doi_cut: None, ..Default::default() };
        influence.over(
            question,
            &distribution,
            "simple-taylor",
            crate::parameter::Parameters::parameters(self),
        )
    }
}
