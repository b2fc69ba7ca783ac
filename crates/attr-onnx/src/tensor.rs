//! Weights and constants out of a file, or out of the files beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use ndarray::{ArcArray, ArrayD, IxDyn};
use prost::bytes::Bytes;

use crate::array::{Array, Size};
use crate::proto::TensorProto;
use crate::{Error, Result};

/// Where the numbers that a model keeps outside its file are read from.
pub(crate) struct Beside {
    directory: Option<PathBuf>,
    files: HashMap<PathBuf, Opened>,
}

struct Opened {
    file: File,
    len: u64,
    /// Bytes that may still be read: a broken file must not make us read the same range for ever.
    left: u64,
}

/// So many times over a file beside the model may be read.
const READINGS: u64 = 8;

impl Beside {
    /// Files in the directory of the model; none for a model without a file.
    pub(crate) fn new(directory: Option<&Path>) -> Self {
        Beside { directory: directory.map(Path::to_owned), files: HashMap::new() }
    }

    /// The bytes of a tensor, `expected` of them.
    fn bytes(&mut self, tensor: &TensorProto, expected: usize) -> Result<Bytes> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| match entry(key).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(n)) => Ok(Some(n)),
            Some(Err(_)) => Err(broken(tensor, format!("external data: {key} is no number"))),
        };
        let Some(directory) = &self.directory else {
            return Err(broken(
                tensor,
                "its numbers are in another file, so the model must be read from one",
            ));
        };
        let location = entry("location").unwrap_or_default();
        let inside = !location.is_empty()
            && Path::new(location)
                .components()
                .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(broken(tensor, format!("external data: {location:?} leads out of the directory")));
        }
        let path = directory.join(location);
        let io = |reason| Error::Io { path: path.clone(), reason };
        if !self.files.contains_key(&path) {
            // Only then open it: opening a pipe would wait for ever.
            let about = std::fs::metadata(&path).map_err(io)?;
            if !about.is_file() {
                return Err(broken(tensor, format!("external data: {location:?} is not a file")));
            }
            let file = File::open(&path).map_err(io)?;
            let left = about.len().saturating_mul(READINGS);
            self.files.insert(path.clone(), Opened { file, len: about.len(), left });
        }
        let opened = self.files.get_mut(&path).expect("BUG: the file has just been opened");
        let (offset, expected) = (number("offset")?.unwrap_or(0), expected as u64);
        if number("length")?.is_some_and(|length| length != expected) {
            return Err(broken(tensor, format!("external data: expected a length of {expected} bytes")));
        }
        if offset.checked_add(expected).is_none_or(|end| end > opened.len) {
            let reason = format!(
                "external data: expected {expected} bytes from {offset} on, {location:?} has {}",
                opened.len
            );
            return Err(broken(tensor, reason));
        }
        let left = opened.left.checked_sub(expected);
        opened.left =
            left.ok_or_else(|| broken(tensor, format!("external data: {location:?} is read over and over")))?;
        let mut bytes = vec![0; expected as usize];
        opened.file.seek(SeekFrom::Start(offset)).map_err(io)?;
        opened.file.read_exact(&mut bytes).map_err(io)?;
        Ok(bytes.into())
    }
}

/// The numbers of a tensor. Their count is held against the bytes that are there before anything is
/// allocated.
pub(crate) fn array(tensor: &TensorProto, beside: &mut Beside) -> Result<Array> {
    let dims = dims(tensor)?;
    let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let count = count.ok_or_else(|| broken(tensor, format!("shape {dims:?} is too large")))?;
    let raw = |width: usize, beside: &mut Beside| -> Result<Option<Bytes>> {
        let expected = count.checked_mul(width);
        let expected = expected.ok_or_else(|| broken(tensor, format!("shape {dims:?} is too large")))?;
        let bytes = match &tensor.raw_data {
            _ if tensor.data_location == TensorProto::EXTERNAL => beside.bytes(tensor, expected)?,
            Some(bytes) => bytes.clone(),
            None => return Ok(None),
        };
        match bytes.len() == expected {
            true => Ok(Some(bytes)),
            false => Err(broken(
                tensor,
                format!("shape {dims:?} needs {expected} bytes, there are {}", bytes.len()),
            )),
        }
    };
    // The numbers, from raw bytes of this width or from the field that the type has in the format.
    macro_rules! numbers {
        ($kind:ident, $width:literal, $raw:expr, $field:ident, $of_field:expr) => {{
            let numbers = match raw($width, beside)? {
                Some(bytes) => decode::<$width, _>(&bytes, $raw),
                None => tensor.$field.iter().copied().map($of_field).collect(),
            };
            shaped(tensor, &dims, numbers).map(Array::$kind)
        }};
    }
    let int = |n: i64| Size::Fixed(n);
    let bits = |n: i32| n as u16;
    let (half, brain) = (|n: u16| f16::from_bits(n).to_f32(), |n: u16| bf16::from_bits(n).to_f32());
    match tensor.data_type {
        TensorProto::FLOAT => numbers!(F32, 4, f32::from_le_bytes, float_data, |x| x),
        TensorProto::DOUBLE => numbers!(F64, 8, f64::from_le_bytes, double_data, |x| x),
        TensorProto::FLOAT16 => {
            numbers!(F32, 2, |b| half(u16::from_le_bytes(b)), int32_data, |n| half(bits(n)))
        }
        TensorProto::BFLOAT16 => {
            numbers!(F32, 2, |b| brain(u16::from_le_bytes(b)), int32_data, |n| brain(bits(n)))
        }
        TensorProto::INT64 => numbers!(Int, 8, |b| int(i64::from_le_bytes(b)), int64_data, int),
        TensorProto::INT32 => {
            numbers!(Int, 4, |b| int(i32::from_le_bytes(b).into()), int32_data, |n| int(n.into()))
        }
        TensorProto::BOOL | TensorProto::UINT8 => {
            numbers!(Int, 1, |[b]: [u8; 1]| int(b.into()), int32_data, |n| int(n.into()))
        }
        other => Err(broken(
            tensor,
            format!(
                "expected float, double, float16, bfloat16, int64, int32, bool or uint8, found {}",
                TensorProto::type_name(other)
            ),
        )),
    }
}

fn dims(tensor: &TensorProto) -> Result<Vec<usize>> {
    let dims: Option<Vec<_>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    match dims {
        Some(dims) if dims.len() <= crate::node::MAX_RANK => Ok(dims),
        Some(dims) => Err(broken(
            tensor,
            format!("expected at most {} axes, found {}", crate::node::MAX_RANK, dims.len()),
        )),
        None => Err(broken(tensor, format!("shape {:?} is negative", tensor.dims))),
    }
}

fn decode<const WIDTH: usize, T>(bytes: &[u8], number: impl Fn([u8; WIDTH]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<WIDTH>();
    chunks.iter().map(|&chunk| number(chunk)).collect()
}

fn shaped<T: Clone>(tensor: &TensorProto, dims: &[usize], data: Vec<T>) -> Result<ArcArray<T, IxDyn>> {
    let found = data.len();
    match ArrayD::from_shape_vec(IxDyn(dims), data) {
        Ok(array) => Ok(array.into_shared()),
        Err(_) => Err(broken(tensor, format!("shape {dims:?} does not fit to {found} numbers"))),
    }
}

fn broken(tensor: &TensorProto, reason: impl Into<String>) -> Error {
    Error::Tensor { name: tensor.name.clone(), reason: reason.into() }
}
