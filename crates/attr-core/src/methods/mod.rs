//! The methods. Each is a page: its parameters, its formula, its source.

mod conductance;
mod grad_cam;
mod gradient;
mod integrated_gradients;
mod internal_influence;
mod occlusion;
mod smooth_grad;

pub use conductance::Conductance;
pub use grad_cam::{GradCam, Upsampling};
pub use gradient::{Gradient, InputTimesGradient};
pub use integrated_gradients::IntegratedGradients;
pub use internal_influence::InternalInfluence;
pub use occlusion::{Occlusion, Sizes};
pub use smooth_grad::{SmoothGrad, Statistic};

use crate::parameter::Parameters;
use crate::{Attribution, Error, ModelWrapper, Question, Result};

/// Something that answers a [`Question`].
///
/// Object-safe for a given model, so that a list of methods can be gone through.
pub trait Method<M: ModelWrapper>: Parameters {
    /// The answer, with its evidence.
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>>;
}

/// A method as a list has it: `Entry<dyn Method<M>>` can be asked on a model `M`, `Entry<dyn Parameters>` is
/// known by its words and parameters only.
pub struct Entry<T: ?Sized> {
    /// Its name: lower case, words joined by hyphens.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Who published it, where and when.
    pub citation: &'static str,
    /// The method with its defaults.
    pub build: fn() -> Box<T>,
}

impl<T: ?Sized> std::fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.summary, self.citation)
    }
}

/// The table of methods that need no more of a model than its two verbs; each list below is made of it.
macro_rules! methods_of_any_model {
    () => {
        vec![
            Entry {
                name: "gradient",
                summary: "The signed derivative of the quantity by each input (saliency).",
                citation: "Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013, arXiv 1312.6034",
                build: || Box::new(Gradient {}),
            },
            Entry {
                name: "input-x-gradient",
                summary: "Each input times the derivative of the quantity by it.",
                citation: "Shrikumar, Greenside, Shcherbina, Kundaje: Not Just a Black Box, 2016, arXiv 1605.01713",
                build: || Box::new(InputTimesGradient {}),
            },
            Entry {
                name: "integrated-gradients",
                summary: "The mean gradient on a straight path from a baseline, times the way from there.",
                citation: "Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017, arXiv 1703.01365",
                build: || Box::new(IntegratedGradients::default()),
            },
            Entry {
                name: "smoothgrad",
                summary: "The mean gradient over noisy copies of the input.",
                citation: "Smilkov, Thorat, Kim, Viegas, Wattenberg: SmoothGrad, 2017, arXiv 1706.03825",
                build: || Box::new(SmoothGrad::default()),
            },
            Entry {
                name: "smoothgrad-squared",
                summary: "The mean squared gradient over noisy copies of the input.",
                citation: "Hooker, Erhan, Kindermans, Kim: A Benchmark for Interpretability Methods, 2018, arXiv 1806.10758",
                build: || Box::new(SmoothGrad { statistic: Statistic::Square, ..Default::default() }),
            },
            Entry {
                name: "vargrad",
                summary: "The variance of the gradient over noisy copies of the input.",
                citation: "Adebayo, Gilmer, Goodfellow, Kim: Local Explanation Methods for Deep Neural Networks, 2018, \
                           arXiv 1810.03307",
                build: || Box::new(SmoothGrad { statistic: Statistic::Variance, ..Default::default() }),
            },
            Entry {
                name: "internal-influence",
                summary: "The mean gradient by a layer's values over a distribution of points.",
                citation: "Leino, Sen, Datta, Fredrikson, Li: Influence-Directed Explanations, 2018, arXiv 1802.03788",
                build: || Box::new(InternalInfluence::default()),
            },
            Entry {
                name: "conductance",
                summary: "What flows through each number of a layer on the way from a baseline to the input.",
                citation: "Dhamdhere, Sundararajan, Yan: How Important Is a Neuron?, 2018, arXiv 1805.12233; computed as \
                           in Shrikumar, Su, Kundaje, 2018, arXiv 1807.09946",
                build: || Box::new(Conductance::default()),
            },
            Entry {
                name: "grad-cam",
                summary: "The feature maps of a late layer, weighted by their mean gradients.",
                citation: "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM, 2016, arXiv 1610.02391",
                build: || Box::new(GradCam::default()),
            },
            Entry {
                name: "occlusion",
                summary: "How much the quantity falls when a window is covered.",
                citation: "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv 1311.2901",
                build: || Box::new(Occlusion::default()),
            },
        ]
    };
}

/// Every method that needs no more of a model than its two verbs.
pub fn all<M: ModelWrapper>() -> Vec<Entry<dyn Method<M>>> {
    methods_of_any_model!()
}

/// Every method there is, whatever it needs of a model.
pub fn catalogue() -> Vec<Entry<dyn Parameters>> {
    methods_of_any_model!()
}

/// The method of this name among those for a model; an error lists them.
pub fn find<M: ModelWrapper>(name: &str) -> Result<Entry<dyn Method<M>>> {
    named(all(), name)
}

/// The method of this name in a list; an error names all that are in it.
pub fn named<T: ?Sized>(mut entries: Vec<Entry<T>>, name: &str) -> Result<Entry<T>> {
    match entries.iter().position(|entry| entry.name == name) {
        Some(index) => Ok(entries.swap_remove(index)),
        None => {
            let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
            Err(Error::parameter("method", &names.join(", "), format!("{name:?}")))
        }
    }
}
