use super::Method;
use super::lrp::{Start, relevance};
use crate::composite::Layers;
use crate::parameter::parameters;
use crate::rule::{Bias, Rule};
use crate::{Attribution, Composite, LayeredModel, ModelWrapper, Question, Result};

/// Deep Taylor decomposition: each layer's relevance expanded to first order at a root point nearby, which for ReLU
/// networks is the z-plus rule, and at the input the w-square rule, or the z-box rule where the input is known to
/// lie between bounds, or z-plus where it is known not to be negative (Montavon et al. 2017, table 1).
///
/// Relevance starts at what the quantity's values have above zero; a negative logit has none.
#[derive(Debug, Clone)]
pub struct DeepTaylor {
    /// What is known of the input; nothing.
    pub bounds: Bounds,
}

/// What is known of the input, in the model's own units (after normalisation).
///
/// As text: `none`, `positive`, or two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Bounds {
    /// Nothing: the first layer has the w-square rule.
    #[default]
    None,
    /// It is not negative: z-plus.
    Positive,
    /// The least and the largest value: z-box.
    Between(f64, f64),
}

parameters!(DeepTaylor {
    bounds: "what is known of the input after normalisation: the least and the largest value, `LOW HIGH`, that it is \
             not negative, `positive`, or `none`",
});

impl Default for DeepTaylor {
    fn default() -> Self {
        DeepTaylor { bounds: Bounds::None }
    }
}

impl DeepTaylor {
    /// The composite that it is.
    pub fn composite(&self) -> Composite {
        let input = match self.bounds {
            Bounds::None => Rule::WSquare,
            Bounds::Positive => Rule::z_plus(Bias::None),
            Bounds::Between(low, high) => Rule::ZBox { low: vec![low], high: vec![high] },
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
        match self {
            Bounds::None => f.write_str("none"),
            Bounds::Positive => f.write_str("positive"),
            Bounds::Between(low, high) => write!(f, "{low} {high}"),
        }
    }
}

impl crate::parameter::FromText for Bounds {
    fn from_text(name: &str, text: &str) -> Result<Self> {
        let numbers: Vec<_> = text.split_whitespace().map(str::parse::<f64>).collect();
        match numbers[..] {
            _ if text.trim() == "none" => Ok(Bounds::None),
            _ if text.trim() == "positive" => Ok(Bounds::Positive),
            [Ok(low), Ok(high)] if low < high && (high - low).is_finite() => Ok(Bounds::Between(low, high)),
            _ => Err(crate::Error::parameter(name, "`none`, `positive` or `LOW HIGH`", format!("{text:?}"))),
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
