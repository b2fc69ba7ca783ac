use super::Method;
use super::internal_influence::Ground;
use crate::expectation::{add_weighted, visit_points};
use crate::noise::Noise;
use crate::parameter::{Parameters, names, parameters};
use crate::{Attribution, Distribution, Doi, ModelWrapper, Question, Result, Tensor};

/// A statistic of the gradient over noisy copies of the value at the lower cut: its mean (SmoothGrad,
/// Smilkov et al. 2017), its mean square (SmoothGrad squared, Hooker et al. 2018) or its variance (VarGrad,
/// Adebayo et al. 2018).
#[derive(Debug, Clone)]
pub struct SmoothGrad {
    /// How many copies; 50.
    pub samples: usize,
    /// The standard deviation of the normal noise; 0.15.
    pub sigma: f64,
    /// Whether sigma is a share of each row's range, largest minus smallest number (true), or absolute.
    pub relative: bool,
    /// Mean, mean square or variance.
    pub statistic: Statistic,
    /// Whether the statistic is multiplied by the value; false.
    pub multiply: bool,
    /// The seed of the noise; 0.
    pub seed: u64,
}

/// What is taken of the gradients of all samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistic {
    /// The mean of the signed gradients.
    #[default]
    Mean,
    /// The mean of the squared gradients.
    Square,
    /// The mean squared distance from the mean (divided by the number of samples).
    Variance,
}

const STATISTICS: [(&str, Statistic); 3] =
    [("mean", Statistic::Mean), ("square", Statistic::Square), ("variance", Statistic::Variance)];
names!(Statistic, "statistic", STATISTICS);

parameters!(SmoothGrad {
    samples: "noisy copies, at least 1",
    sigma: "the standard deviation of the noise",
    relative: "whether sigma is a share of each row's range (largest minus smallest), or absolute",
    statistic: "mean, square (SmoothGrad squared) or variance (VarGrad)",
    multiply: "whether to multiply by the input",
    seed: "the seed of the noise",
});

impl Default for SmoothGrad {
    fn default() -> Self {
        let statistic = Statistic::Mean;
        SmoothGrad { samples: 50, sigma: 0.15, relative: true, statistic, multiply: false, seed: 0 }
    }
}

impl SmoothGrad {
    /// Captum's noise tunnel: 5 samples, absolute noise of standard deviation 1.
    pub fn captum() -> Self {
        SmoothGrad { samples: 5, sigma: 1.0, relative: false, ..Self::default() }
    }

    /// iNNvestigate 2: 64 samples, absolute noise of standard deviation 1.
    pub fn innvestigate() -> Self {
        SmoothGrad { samples: 64, sigma: 1.0, relative: false, ..Self::default() }
    }

    /// Zennit: 20 samples, a tenth of the range (its last sample has no noise; here all have).
    pub fn zennit() -> Self {
        SmoothGrad { samples: 20, sigma: 0.1, ..Self::default() }
    }
}

impl<M: ModelWrapper> Method<M> for SmoothGrad {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let name = match self.statistic {
            Statistic::Mean => "smoothgrad",
            Statistic::Square => "smoothgrad-squared",
            Statistic::Variance => "vargrad",
        };
        let cut = &question.slice.from;
        let ground = Ground::new(question, cut)?;
        let &SmoothGrad { samples, sigma: size, relative, seed, .. } = self;
        let noisy = Doi::Noisy { noise: Noise::Normal, size, relative, samples, seed };
        let points = noisy.points(&ground.values, question.inputs)?;
        let (mut mean, mut squares, mut seen) = (None, None, 0.0);
        visit_points(question, cut, ground.quantity(question), &points, &mut |visit| {
            seen += 1.0;
            match self.statistic {
                Statistic::Mean => add_weighted(&mut mean, visit.weight, &visit.gradients),
                Statistic::Square => {
                    let squared = visit.gradients.iter().map(Tensor::square).collect::<Result<Vec<_>>>()?;
                    add_weighted(&mut mean, visit.weight, &squared)
                }
                // Welford (1962): the squared distances add up without cancellation.
                Statistic::Variance => {
                    let zeros = || visit.gradients.iter().map(Tensor::zeros_like).collect::<Result<Vec<_>>>();
                    let before = mean.take().map_or_else(zeros, Ok)?;
                    let steps = subtract(&visit.gradients, &before)?;
                    let mut after = Some(before);
                    add_weighted(&mut after, 1.0 / seen, &steps)?;
                    let after = after.expect("BUG: just set");
                    let rest = subtract(&visit.gradients, &after)?;
                    let products =
                        steps.iter().zip(&rest).map(|(a, b)| a.mul(b)).collect::<Result<Vec<_>>>()?;
                    mean = Some(after);
                    add_weighted(&mut squares, visit.weight, &products)
                }
            }
        })?;
        let mut values = squares.or(mean).expect("BUG: at least one sample");
        if self.multiply {
            values = values.iter().zip(&ground.values).map(|(v, z)| v.mul(z)).collect::<Result<_>>()?;
        }
        let mut evidence = ground.evidence(question, name, self.parameters())?;
        evidence.evaluations += samples * question.rows();
        Attribution::new(values, evidence)
    }
}

fn subtract<T: Tensor>(a: &[T], b: &[T]) -> Result<Vec<T>> {
    a.iter().zip(b).map(|(a, b)| a.sub(b)).collect()
}
