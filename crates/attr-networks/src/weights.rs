//! Weights by name.

use std::collections::BTreeMap;
use std::path::Path;

use attr_core::Param;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, Result};

/// Numbers that training counts and no network computes with.
const COUNTERS: &str = "num_batches_tracked";

/// Further classifiers, which are there for training alone.
const AUXILIARY: [&str; 4] = ["aux1.", "aux2.", "aux_classifier.", "AuxLogits."];

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

    /// Reads a safetensors file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is none, and those of [`Weights::decode`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::decode(&bytes)
    }

    /// The weights in the bytes of a safetensors file, of types F16, BF16, F32 and F64.
    ///
    /// What is allocated is the arrays, two bytes for each of the file at most, and what the file's own reader takes for
    /// its header.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where lengths contradict one another or the file, or where a weight has numbers of another type.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| Error::Format(error.to_string()))?;
        let mut arrays = BTreeMap::new();
        for (name, view) in file.iter().filter(|(name, _)| counts(name)) {
            let array = array(&view).map_err(|reason| Error::Format(format!("{name}: {reason}")))?;
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

fn array(view: &TensorView<'_>) -> std::result::Result<Param, String> {
    let (dims, bytes) = (view.shape(), view.data());
    match view.dtype() {
        Dtype::F64 => numbers(dims, bytes, f64::from_le_bytes).map(Param::from),
        Dtype::F32 => numbers(dims, bytes, f32::from_le_bytes).map(Param::from),
        Dtype::F16 => numbers(dims, bytes, |b| f16::from_le_bytes(b).to_f32()).map(Param::from),
        Dtype::BF16 => numbers(dims, bytes, |b| bf16::from_le_bytes(b).to_f32()).map(Param::from),
        other => Err(format!("expected numbers of type F16, BF16, F32 or F64, found {other:?}")),
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
