//! The methods. Each is a page: its parameters, its formula, its source.

mod cam;
mod conductance;
mod deep_lift;
mod deep_taylor;
mod excitation_backprop;
mod full_grad;
mod grad_cam;
mod gradient;
mod guided_backprop;
mod integrated_gradients;
mod internal_influence;
mod lrp;
mod occlusion;
mod pattern_net;
mod reveal_cancel;
mod smooth_grad;

pub use cam::{Cam, GuidedGradCam};
pub use conductance::Conductance;
pub use deep_lift::{Baselines, DeepLift, LiftRule};
pub use deep_taylor::{Bounds, DeepTaylor, SimpleTaylor};
pub use excitation_backprop::ExcitationBackprop;
pub use full_grad::{Decomposition, FullGrad, SimpleFullGrad, SmoothFullGrad};
pub use grad_cam::{GradCam, Upsampling};
pub use gradient::{Gradient, InputTimesGradient};
pub use guided_backprop::{DeconvNet, GuidedBackprop};
pub use integrated_gradients::IntegratedGradients;
pub use internal_influence::InternalInfluence;
pub use lrp::{Lrp, Start};
pub use occlusion::{Occlusion, Sizes};
pub use pattern_net::{Fitted, PatternAttribution, PatternNet};
pub use smooth_grad::{SmoothGrad, Statistic};

pub(crate) use internal_influence::evidence;

use crate::model::needs_layers;
use crate::parameter::Parameters;
use crate::{Attribution, Error, LayeredModel, ModelWrapper, Question, Result};

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

impl<T: Parameters + ?Sized> Entry<T> {
    /// Whether the method has a parameter of this name.
    pub fn has(&self, parameter: &str) -> bool {
        (self.build)().parameters().iter().any(|known| known.name == parameter)
    }
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
                name: "simple-taylor",
                summary: "The quantity expanded to first order around a root point.",
                citation: "Montavon, Lapuschkin, Binder, Samek, Mueller: Explaining NonLinear Classification Decisions \
                           with Deep Taylor Decomposition, 2017, arXiv 1512.02479",
                build: || Box::new(SimpleTaylor::default()),
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

/// The table of methods that need to know the layers.
macro_rules! methods_of_layers {
    () => {
        vec![
            Entry {
                name: "lrp",
                summary: "The output's value shared out among the inputs, layer by layer, by rules (relevance).",
                citation: "Bach, Binder, Montavon, Klauschen, Mueller, Samek: On Pixel-Wise Explanations, 2015, PLOS ONE \
                           10(7); Montavon, Binder, Lapuschkin, Samek, Mueller: Layer-Wise Relevance Propagation, 2019",
                build: || Box::new(Lrp::default()),
            },
            Entry {
                name: "deep-taylor",
                summary: "Each layer's relevance expanded to first order at a root point nearby.",
                citation: "Montavon, Lapuschkin, Binder, Samek, Mueller: Explaining NonLinear Classification Decisions \
                           with Deep Taylor Decomposition, 2017, arXiv 1512.02479",
                build: || Box::new(DeepTaylor::default()),
            },
            Entry {
                name: "deeplift",
                summary: "What each input contributes to the difference from a baseline, layer by layer.",
                citation: "Shrikumar, Greenside, Kundaje: Learning Important Features Through Propagating Activation \
                           Differences, 2017, arXiv 1704.02685; several baselines: Lundberg, Lee, 2017, arXiv 1705.07874",
                build: || Box::new(DeepLift::default()),
            },
            Entry {
                name: "excitation-backprop",
                summary: "The probability that an input excited the class, winner by winner.",
                citation: "Zhang, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop, 2016, \
                           arXiv 1608.00507",
                build: || Box::new(ExcitationBackprop::default()),
            },
            Entry {
                name: "guided-backprop",
                summary: "The gradient, but at each ReLU only what is positive goes on.",
                citation: "Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for Simplicity, 2014, arXiv 1412.6806",
                build: || Box::new(GuidedBackprop::default()),
            },
            Entry {
                name: "deconvnet",
                summary: "What excited a feature, reconstructed through the transposed network.",
                citation: "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv 1311.2901",
                build: || Box::new(DeconvNet::default()),
            },
            Entry {
                name: "guided-grad-cam",
                summary: "Guided backpropagation times the Grad-CAM of a late layer.",
                citation: "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM, 2016, arXiv 1610.02391",
                build: || Box::new(GuidedGradCam::default()),
            },
            Entry {
                name: "cam",
                summary: "The feature maps below a global average pooling, weighted by the class's own weights.",
                citation: "Zhou, Khosla, Lapedriza, Oliva, Torralba: Learning Deep Features for Discriminative \
                           Localization, 2016, arXiv 1512.04150",
                build: || Box::new(Cam::default()),
            },
            Entry {
                name: "pattern-net",
                summary: "The signal in the input that the output rests on, by patterns fitted to data.",
                citation: "Kindermans, Schuett, Alber, Mueller, Erhan, Kim, Daehne: Learning How to Explain Neural \
                           Networks, 2017, arXiv 1705.05598",
                build: || Box::new(PatternNet::default()),
            },
            Entry {
                name: "pattern-attribution",
                summary: "How much each part of the signal contributes, by patterns fitted to data.",
                citation: "Kindermans, Schuett, Alber, Mueller, Erhan, Kim, Daehne: Learning How to Explain Neural \
                           Networks, 2017, arXiv 1705.05598",
                build: || Box::new(PatternAttribution::default()),
            },
            Entry {
                name: "fullgrad",
                summary: "What inputs and biases contribute, taken apart exactly, as one picture.",
                citation: "Srinivas, Fleuret: Full-Gradient Representation for Neural Network Visualization, 2019, \
                           arXiv 1905.00780",
                build: || Box::new(FullGrad::default()),
            },
            Entry {
                name: "simple-fullgrad",
                summary: "FullGrad without the multiplication by biases and input.",
                citation: "Srinivas, Fleuret: Full-Gradient Representation for Neural Network Visualization, 2019, \
                           arXiv 1905.00780, and their implementation",
                build: || Box::new(SimpleFullGrad::default()),
            },
            Entry {
                name: "smooth-fullgrad",
                summary: "FullGrad over noisy copies of the input.",
                citation: "Srinivas, Fleuret: Full-Gradient Representation for Neural Network Visualization, 2019, \
                           arXiv 1905.00780, and their implementation",
                build: || Box::new(SmoothFullGrad::default()),
            },
        ]
    };
}

/// Every method that needs no more of a model than its two verbs.
pub fn all<M: ModelWrapper>() -> Vec<Entry<dyn Method<M>>> {
    methods_of_any_model!()
}

/// Every method that can be asked of a model whose layers are known: also those by rules.
pub fn of_layers<M: LayeredModel>() -> Vec<Entry<dyn Method<M>>> {
    let mut entries = all();
    let rules: Vec<Entry<dyn Method<M>>> = methods_of_layers!();
    entries.extend(rules);
    entries
}

/// Every method there is, whatever it needs of a model.
pub fn catalogue() -> Vec<Entry<dyn Parameters>> {
    let mut entries: Vec<Entry<dyn Parameters>> = methods_of_any_model!();
    let rules: Vec<Entry<dyn Parameters>> = methods_of_layers!();
    entries.extend(rules);
    entries
}

/// The method of this name among those for a model.
///
/// # Errors
///
/// [`Error::Unsupported`] if it needs to know the layers and the model's aren't known; [`Error::Parameter`] with the
/// names there are if there is none.
pub fn find<M: ModelWrapper>(model: &M, name: &str) -> Result<Entry<dyn Method<M>>> {
    let mut entries = M::methods();
    if let Some(index) = entries.iter().position(|entry| entry.name == name) {
        return Ok(entries.swap_remove(index));
    }
    named(catalogue(), name)?;
    Err(needs_layers(name, model.backend()))
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
