use super::{InternalInfluence, Method};
use crate::parameter::{Parameters, parameters};
use crate::{Attribution, Baseline, Doi, ModelWrapper, Quadrature, Question, Result};

/// Integrated gradients: the integral of the gradient on the straight path from a baseline to the value at
/// the lower cut, times the way from there (Sundararajan et al. 2017).
///
/// The attributions have the shape of the values at the lower cut and add up to the quantity there minus
/// that at the baseline; the residual is what the quadrature missed.
#[derive(Debug, Clone)]
pub struct IntegratedGradients {
    /// Where the path begins.
    pub baseline: Baseline,
    /// How many points; 50.
    pub steps: usize,
    /// Which points, and their weights.
    pub quadrature: Quadrature,
    /// Whether the mean gradient is multiplied by the value minus the baseline; true.
    pub multiply: bool,
}

parameters!(IntegratedGradients {
    baseline: "where the path begins: zeros, a number, `blur SIGMA` or `uniform LOW HIGH SEED`",
    steps: "points on the path, at least 1",
    quadrature: "which points, and their weights",
    multiply: "whether to multiply by the input minus the baseline",
});

impl Default for IntegratedGradients {
    fn default() -> Self {
        let quadrature = Quadrature::GaussLegendre;
        IntegratedGradients { baseline: Baseline::Zeros, steps: 50, quadrature, multiply: true }
    }
}

impl IntegratedGradients {
    /// Captum 0.9: Gauss and Legendre, 50 points.
    pub fn captum() -> Self {
        Self::default()
    }

    /// TruLens: a plain mean with both ends, 50 points. Ask for [`crate::Qoi::MaxClass`] to have its
    /// quantity too.
    pub fn trulens() -> Self {
        IntegratedGradients { quadrature: Quadrature::ClosedMean, ..Self::default() }
    }

    /// iNNvestigate 2: the left rule, 64 points.
    pub fn innvestigate() -> Self {
        IntegratedGradients { quadrature: Quadrature::Left, steps: 64, ..Self::default() }
    }

    /// Zennit: the right rule, 20 points.
    pub fn zennit() -> Self {
        IntegratedGradients { quadrature: Quadrature::Right, steps: 20, ..Self::default() }
    }
}

impl<M: ModelWrapper> Method<M> for IntegratedGradients {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let path = Doi::Linear {
            baseline: self.baseline.clone(),
            resolution: self.steps,
            quadrature: self.quadrature,
        };
        let influence =
            InternalInfluence { distribution: Doi::Point, multiply: self.multiply, doi_cut: None };
        influence.over(question, &path, "integrated-gradients", self.parameters())
    }
}
