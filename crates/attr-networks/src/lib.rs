//! torchvision's networks as layer graphs, for those who have weights and no file of the network: a safetensors file or a
//! checkpoint of `torch.save` (`.pth`) with torchvision's names, or a `tch` `VarStore` (`attr_torch::variables`).
//!
//! ```
//! use attr_networks::{Weights, build, weight_shapes};
//! use ndarray::ArrayD;
//!
//! // Instead of Weights::read("resnet18.safetensors")?
//! let zeros = weight_shapes("resnet18")?.into_iter().map(|(name, dims)| (name, ArrayD::<f32>::zeros(dims)));
//! let graph = build("resnet18", &Weights::new(zeros))?;
//!
//! let last = graph.find("layer4.1.conv2").expect("a module of PyTorch's is a cut");
//! assert_eq!(graph.node(last).shape.to_string(), "[B, 512, 7, 7]");
//! # Ok::<(), attr_networks::Error>(())
//! ```
//!
//! A network is as it is when it is evaluated: dropout does nothing, batch norm is a layer of its own with the statistics
//! among the weights. Its input is `input`, `[B, 3, H, W]`, its output the logits, `[B, classes]`. Layers have the paths of
//! PyTorch's modules (`features.0`, `layer4.1.conv2`, `encoder.layers.encoder_layer_0.self_attention`); a module that
//! consists of others is a further name of its last layer, one that does nothing is a further name of the layer before it.
//! A ReLU that is used several times is `relu`, `relu_1`, `relu_2`. What PyTorch computes between modules is a layer that
//! is called by what it does: `layer4.1.add`, `features.3.cat`, `flatten`.

#![forbid(unsafe_code)]

mod builder;
mod error;
mod networks;
mod weights;

use attr_core::Graph;

pub use error::{Error, Mismatch, Result, WrongShape};
pub use weights::Weights;

use networks::{NETWORKS, Plan};

/// The names of all networks, as torchvision has them.
pub const NAMES: [&str; NETWORKS.len()] = {
    let mut names = [""; NETWORKS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = NETWORKS[i].0;
        i += 1;
    }
    names
};

/// What weights leave open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Height and width of the input in pixels. Without it they are what torchvision's weights were trained with: 224,
    /// of EfficientNet 224 (B0) to 600 (B7), and of a vision transformer what its position embedding is for. A vision
    /// transformer takes a size with as many patches as it has positions and no other; other networks take any that
    /// leaves something of the picture behind each layer.
    pub size: Option<[usize; 2]>,
}

/// The network of this name with these weights. The number of classes is that of the last layer's weight.
///
/// # Errors
///
/// [`Error::UnknownNetwork`] lists the names, [`Error::Weights`] all weights that are missing, unexpected, or of another
/// shape.
pub fn build(name: &str, weights: &Weights) -> Result<Graph> {
    build_with(name, weights, &Options::default())
}

/// As [`build`], with what weights leave open.
///
/// # Errors
///
/// Those of [`build`]; [`Error::Size`] and [`Error::Graph`] where the input has a size that the network does not take.
pub fn build_with(name: &str, weights: &Weights, options: &Options) -> Result<Graph> {
    Ok(plan(name)?.build(name, Some(weights), options)?.graph)
}

/// The names and shapes of all weights of a network with 1000 classes, in the order of its layers.
///
/// # Errors
///
/// [`Error::UnknownNetwork`] lists the names.
pub fn weight_shapes(name: &str) -> Result<Vec<(String, Vec<usize>)>> {
    Ok(plan(name)?.build(name, None, &Options::default())?.weights)
}

fn plan(name: &str) -> Result<Plan> {
    let known = NETWORKS.iter().find(|(known, _)| *known == name);
    known.map(|(_, plan)| *plan).ok_or_else(|| Error::UnknownNetwork { name: name.to_string() })
}
