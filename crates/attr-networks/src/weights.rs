//! Weights by name.

use std::collections::BTreeMap;
use std::path::Path;

use attr_checkpoint::{Element, Tensors};
use attr_core::Param;
use bytes::Bytes;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors};

use crate::{Error, Result};

/// Numbers that training counts and no network computes with.
const COUNTERS: &str = "num_batches_tracked";

/// Further classifiers, which are there for training alone.
const AUXILIARY: [&str; 4] = ["aux1.", "aux2.", "aux_classifier.", "AuxLogits."];

/// What those who train call a network's state among what else they save.
const STATES: [&str; 3] = ["state_dict.", "model_state_dict.", "model."];

/// The weights of a network, each by the path of its module and the name that it has there: `layer4.1.conv2.weight`.
///
/// In single or double precision, as they were given; half precision is widened to single. Counters of batches
/// (`num_batches_tracked`) and auxiliary classifiers may be among them and are left out.
///
/// ```
/// use attr_networks::Weights;
/// use ndarray::array;
///
/// let weights = Weights::new([("fc.weight", array![[1.0f32, 2.0], [3.0, 4.0]])]);
/// assert_eq!(weights.get("fc.weight").unwrap().dims(), [2, 2]);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    arrays: BTreeMap<String, Param>,
}

impl Weights {
    /// Weights by name; of several with the same name the last one counts.
    pub fn new<N: Into<String>, P: Into<Param>>(arrays: impl IntoIterator<Item = (N, P)>) -> Self {
        let named = arrays.into_iter().map(|(name, array)| (name.into(), array.into()));
        Self { arrays: named.filter(|(name, _)| counts(name)).collect() }
    }

    /// Reads a safetensors file, or a checkpoint as `torch.save` writes it (`.pth`).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is none, and those of [`Weights::decode`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::decode(bytes)
    }

    /// The weights in the bytes of a safetensors file or of a checkpoint, of types F16, BF16, F32 and F64.
    ///
    /// Of a checkpoint of a training those below `state_dict`, `model_state_dict` or `model` are taken; `module.`, which
    /// parallel training puts before all names, is left out. What is allocated is the arrays, two bytes for each of the
    /// file at most, and what the file's own reader takes for its header.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where lengths contradict one another or the file, where a checkpoint holds more than tensors and
    /// plain data, or where a weight has numbers of another type.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        // A zip archive, or a pickle.
        let tensors = match bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80") {
            true => attr_checkpoint::decode(&bytes).map_err(|error| Error::Format(error.to_string()))?,
            false => safetensors(&bytes)?,
        };
        let mut arrays = BTreeMap::new();
        // Views of a checkpoint may repeat numbers, but no more than the file has.
        let mut left = bytes.len();
        for (name, tensor) in own(&tensors).filter(|(name, _)| counts(name)) {
            let broken = |reason: String| Error::Format(format!("{name}: {reason}"));
            let size = tensor.shape().iter().product::<usize>() * tensor.element().size();
            let enough = left.checked_sub(size);
            left = enough.ok_or_else(|| broken("the weights are more than the whole file has".into()))?;
            let array = array(tensor.element(), tensor.shape(), &tensor.to_bytes()).map_err(broken)?;
            arrays.insert(name.to_string(), array);
        }
        Ok(Self { arrays })
    }

    /// The weight of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.arrays.get(name)
    }

    /// All names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }
}

/// Whether a network computes with what has this name.
fn counts(name: &str) -> bool {
    let is_counter = name.rsplit('.').next() == Some(COUNTERS);
    !is_counter && !AUXILIARY.iter().any(|prefix| name.starts_with(prefix))
}

/// The network's own tensors among all, by their names in the network.
fn own(tensors: &Tensors) -> impl Iterator<Item = (&str, &attr_checkpoint::Tensor)> {
    let below = |prefix: &&str| tensors.keys().any(|name| name.starts_with(*prefix));
    let state = STATES.into_iter().find(below).unwrap_or_default();
    let all = tensors.iter().filter_map(move |(name, tensor)| Some((name.strip_prefix(state)?, tensor)));
    let parallel = all.clone().all(|(name, _)| name.starts_with("module."));
    all.map(move |(name, tensor)| match name.strip_prefix("module.") {
        Some(inner) if parallel => (inner, tensor),
        _ => (name, tensor),
    })
}

fn safetensors(bytes: &Bytes) -> Result<Tensors> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| Error::Format(error.to_string()))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let broken = |reason: String| Error::Format(format!("{name}: {reason}"));
        let element = match view.dtype() {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::BF16,
            _ if !counts(name) => continue,
            other => return Err(broken(expected(other))),
        };
        let tensor =
            attr_checkpoint::Tensor::row_major(element, view.shape().into(), bytes.slice_ref(view.data()));
        tensors.insert(name.to_string(), tensor.map_err(broken)?);
    }
    Ok(tensors)
}

fn expected(found: impl std::fmt::Debug) -> String {
    format!("expected numbers of type F16, BF16, F32 or F64, found {found:?}")
}

fn array(element: Element, dims: &[usize], bytes: &[u8]) -> std::result::Result<Param, String> {
    match element {
        Element::F64 => numbers(dims, bytes, f64::from_le_bytes).map(Param::from),
        Element::F32 => numbers(dims, bytes, f32::from_le_bytes).map(Param::from),
        Element::F16 => numbers(dims, bytes, |b| f16::from_le_bytes(b).to_f32()).map(Param::from),
        Element::BF16 => numbers(dims, bytes, |b| bf16::from_le_bytes(b).to_f32()).map(Param::from),
        other => Err(expected(other)),
    }
}

fn numbers<const WIDTH: usize, T>(
    dims: &[usize],
    bytes: &[u8],
    number: impl Fn([u8; WIDTH]) -> T,
) -> std::result::Result<ArrayD<T>, String> {
    let (chunks, rest) = bytes.as_chunks::<WIDTH>();
    let numbers: Vec<T> = chunks.iter().map(|&chunk| number(chunk)).collect();
    let array = ArrayD::from_shape_vec(IxDyn(dims), numbers).ok().filter(|_| rest.is_empty());
    array.ok_or_else(|| format!("expected {WIDTH} bytes for each number of {dims:?}, found {}", bytes.len()))
}
