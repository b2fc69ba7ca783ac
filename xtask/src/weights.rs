//! Readers of the weights, labels and digits that the cached packages carry.
//!
//! Two of the files are pickles, read by [`pickle`](crate::pickle).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ndarray::{Array1, ArrayD, Ix1};

use crate::pickle::{Element, Pickle, Read, Storage, Tensor, Value, floats};

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
    read(path, torch_checkpoint)
}

/// The kernels (`[height, width, in, out]`) and biases (`[out]`) of SqueezeNet 1.1, in the order of
/// [`SQUEEZENET_LAYERS`].
pub(crate) fn squeezenet(path: &Path) -> Result<Vec<(ArrayD<f32>, Array1<f32>)>> {
    read(path, |bytes| {
        let Value::Dict(layers) = Pickle::new(bytes).load()? else {
            return Err("expected a dictionary of layers, found something else".into());
        };
        let mut layers: HashMap<&str, Value> =
            layers.into_iter().filter_map(|(key, value)| Some((key.text()?, value))).collect();
        SQUEEZENET_LAYERS
            .iter()
            .map(|&name| {
                match layers.remove(name) {
                    Some(Value::List(pair)) => kernel_and_bias(pair),
                    _ => None,
                }
                .ok_or_else(|| format!("layer \"{name}\": expected a kernel and a bias that fit, found none"))
            })
            .collect()
    })
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

fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Read<T>) -> Result<T> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    parse(&bytes).map_err(|reason| Error::Content { path: path.into(), reason })
}

fn kernel_and_bias(pair: Vec<Value>) -> Option<(ArrayD<f32>, Array1<f32>)> {
    let [Value::Array(Some(kernel)), Value::Array(Some(bias))] = <[Value; 2]>::try_from(pair).ok()? else {
        return None;
    };
    let bias = bias.into_dimensionality::<Ix1>().ok()?;
    (kernel.ndim() == 4 && kernel.shape()[3] == bias.len()).then_some((kernel, bias))
}

/// PyTorch's format before it became a zip: five pickles (a magic number, a version, the machine's
/// sizes, the state, the keys of its storages), then for each key a count and the raw numbers.
fn torch_checkpoint(bytes: &[u8]) -> Read<BTreeMap<String, ArrayD<f32>>> {
    let mut pickle = Pickle::new(bytes);
    for (what, expected) in [("magic number", 0x1950_a86a_20f9_469c_fc6c), ("version", 1001)] {
        if pickle.load()?.int() != Some(expected) {
            return Err(format!("expected the {what} {expected} of a PyTorch checkpoint, found another"));
        }
    }
    let little_endian = |(key, value): &(Value, Value)| {
        key.text() == Some("little_endian") && matches!(value, Value::Bool(true))
    };
    if !matches!(pickle.load()?, Value::Dict(machine) if machine.iter().any(little_endian)) {
        return Err("expected little-endian numbers, found others".into());
    }
    let (Value::Dict(state), Value::List(keys)) = (pickle.load()?, pickle.load()?) else {
        return Err("expected a dictionary of tensors and a list of storages, found something else".into());
    };
    let mut tensors: HashMap<&str, Vec<(&str, Tensor)>> = HashMap::new();
    for (name, value) in state {
        let (Some(name), Value::Tensor(tensor)) = (name.text(), value) else {
            return Err("expected only named tensors in the state, found something else".into());
        };
        tensors.entry(tensor.storage.key).or_default().push((name, tensor));
    }
    let mut parameters = BTreeMap::new();
    for key in &keys {
        let owners = key.text().and_then(|key| tensors.remove(key)).unwrap_or_default();
        let Some((first, tensor)) = owners.first() else {
            return Err("expected a tensor for each storage, found none for one".into());
        };
        let Storage { element, count, .. } = tensor.storage;
        if pickle.take::<8>()? != (count as u64).to_le_bytes() {
            return Err(format!(
                "tensor \"{first}\": expected a storage of {count} numbers, found another size"
            ));
        }
        let numbers = pickle.bytes(count.checked_mul(element.size()).ok_or("a size overflows")?)?;
        if element == Element::F32 {
            let numbers = floats(numbers).expect("BUG: a number cut in two");
            for (name, tensor) in &owners {
                let array = tensor.read(&numbers).ok_or_else(|| {
                    format!("tensor \"{name}\": expected a part of its storage, found another")
                })?;
                parameters.insert((*name).to_string(), array);
            }
        }
    }
    match (tensors.is_empty(), pickle.rest.len()) {
        (true, 0) => Ok(parameters),
        (_, extra) => Err(format!("expected every tensor and nothing else, found {extra} bytes at the end")),
    }
}
