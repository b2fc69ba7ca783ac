//! Readers of the weights, labels and digits that the cached packages carry.
//!
//! Two of the files are pickles, read by `attr-checkpoint`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use attr_checkpoint::{Element, Tensor, Tensors};
use ndarray::{Array1, ArrayD, Ix1};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
}

/// The layers of SqueezeNet 1.1 in the order of the network.
///
/// Each fire module squeezes, then feeds two expansions whose outputs are joined along the channels,
/// `expand1x1` first.
pub(crate) const SQUEEZENET_LAYERS: [&str; 26] = [
    "conv1",
    "fire2/squeeze1x1",
    "fire2/expand1x1",
    "fire2/expand3x3",
    "fire3/squeeze1x1",
    "fire3/expand1x1",
    "fire3/expand3x3",
    "fire4/squeeze1x1",
    "fire4/expand1x1",
    "fire4/expand3x3",
    "fire5/squeeze1x1",
    "fire5/expand1x1",
    "fire5/expand3x3",
    "fire6/squeeze1x1",
    "fire6/expand1x1",
    "fire6/expand3x3",
    "fire7/squeeze1x1",
    "fire7/expand1x1",
    "fire7/expand3x3",
    "fire8/squeeze1x1",
    "fire8/expand1x1",
    "fire8/expand3x3",
    "fire9/squeeze1x1",
    "fire9/expand1x1",
    "fire9/expand3x3",
    "conv10",
];

/// A handwritten digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digit {
    /// 28 rows of 28 grey values, 0 for the ground and 255 for ink.
    pub(crate) pixels: [u8; 784],
    /// Which digit it is, 0 to 9.
    pub(crate) label: u8,
}

/// The parameters of EfficientNet-lite0 by their PyTorch names.
///
/// Kernels are `[out, in, height, width]`. The counters of seen batches are left out.
pub(crate) fn efficientnet(path: &Path) -> Result<BTreeMap<String, ArrayD<f32>>> {
    let tensors = checkpoint(path)?;
    let floats = tensors.iter().filter(|(_, tensor)| tensor.element() == Element::F32);
    Ok(floats.filter_map(|(name, tensor)| Some((name.clone(), array(tensor)?))).collect())
}

/// The kernels (`[height, width, in, out]`) and biases (`[out]`) of SqueezeNet 1.1, in the order of
/// [`SQUEEZENET_LAYERS`].
pub(crate) fn squeezenet(path: &Path) -> Result<Vec<(ArrayD<f32>, Array1<f32>)>> {
    let tensors = checkpoint(path)?;
    let layer = |&name: &&str| {
        kernel_and_bias(&tensors, name).ok_or_else(|| Error::Content {
            path: path.into(),
            reason: format!("layer \"{name}\": expected a kernel and a bias that fit, found none"),
        })
    };
    SQUEEZENET_LAYERS.iter().map(layer).collect()
}

/// The names of the 1,000 classes of ImageNet-1k, each the first of its synonyms.
///
/// "crane" and "maillot" each name two classes.
pub(crate) fn labels(path: &Path) -> Result<Vec<String>> {
    read(path, |bytes| {
        let mut synonyms: HashMap<usize, String> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if synonyms.len() != 1000 {
            return Err(format!("expected 1000 labels, found {}", synonyms.len()));
        }
        let label = |class| {
            let names =
                synonyms.remove(&class).ok_or_else(|| format!("expected class {class}, found none"))?;
            Ok(names.split(',').next().unwrap_or_default().to_string())
        };
        (0..1000).map(label).collect()
    })
}

/// All digits of a folder with the files `0.json` to `9.json`, by class.
///
/// The files give each grey value as a fraction of 255 rounded to three decimals, which is enough to
/// get the byte back.
pub(crate) fn digits(folder: &Path) -> Result<Vec<Digit>> {
    #[derive(serde::Deserialize)]
    struct Class {
        data: Vec<f32>,
    }
    let mut digits = Vec::new();
    for label in 0..10 {
        digits.extend(read(&folder.join(format!("{label}.json")), |bytes| {
            let Class { data } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
            let (images, rest) = data.as_chunks::<784>();
            if images.is_empty() || !rest.is_empty() {
                return Err(format!("expected images of 784 pixels, found {} pixels", data.len()));
            }
            if let Some(found) = data.iter().find(|pixel| !(0.0..=1.0).contains(*pixel)) {
                return Err(format!("expected pixels from 0 to 1, found {found}"));
            }
            let pixels = |image: &[f32; 784]| image.map(|pixel| (pixel * 255.0).round() as u8);
            Ok(images.iter().map(|image| Digit { pixels: pixels(image), label }).collect::<Vec<_>>())
        })?);
    }
    Ok(digits)
}

fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> std::result::Result<T, String>) -> Result<T> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    parse(&bytes).map_err(|reason| Error::Content { path: path.into(), reason })
}

fn checkpoint(path: &Path) -> Result<Tensors> {
    let reason =
        |error: attr_checkpoint::Error| Error::Content { path: path.into(), reason: error.to_string() };
    attr_checkpoint::read(path).map_err(reason)
}

fn kernel_and_bias(tensors: &Tensors, layer: &str) -> Option<(ArrayD<f32>, Array1<f32>)> {
    let [kernel, bias] = [0, 1].map(|place| array(tensors.get(&format!("{layer}.{place}"))?));
    let (kernel, bias) = (kernel?, bias?.into_dimensionality::<Ix1>().ok()?);
    (kernel.ndim() == 4 && kernel.shape()[3] == bias.len()).then_some((kernel, bias))
}

fn array(tensor: &Tensor) -> Option<ArrayD<f32>> {
    let bytes = tensor.to_bytes();
    let (numbers, rest) = bytes.as_chunks::<4>();
    let numbers = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
    let whole = tensor.element() == Element::F32 && rest.is_empty();
    ArrayD::from_shape_vec(tensor.shape(), numbers).ok().filter(|_| whole)
}
