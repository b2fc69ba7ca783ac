//! The numbers of parameters, buffers and constants.

use attr_onnx::proto::TensorProto;
use prost::bytes::Bytes;

use crate::archive::Archive;
use crate::schema::{TensorMeta, WeightsConfig};
use crate::size::Size;
use crate::{Error, Result};

/// PyTorch's kinds of numbers, by their numbers in the schema.
const KINDS: [(u32, i32, usize); 9] = [
    (1, TensorProto::UINT8, 1),
    (4, TensorProto::INT32, 4),
    (5, TensorProto::INT64, 8),
    (6, TensorProto::FLOAT16, 2),
    (7, TensorProto::FLOAT, 4),
    (8, TensorProto::DOUBLE, 8),
    (12, TensorProto::BOOL, 1),
    (13, TensorProto::BFLOAT16, 2),
    (2, 3, 1),
];

/// ONNX's kind of numbers for PyTorch's, and how many bytes one has.
pub(crate) fn kind(dtype: u32) -> Option<(i32, usize)> {
    KINDS.iter().find(|(number, ..)| *number == dtype).map(|&(_, kind, bytes)| (kind, bytes))
}

/// What the archive says of the parameters and buffers, and of the constants.
pub(crate) struct Weights<'a> {
    archive: &'a Archive,
    /// A list, and the folder that its members are in.
    lists: Vec<(WeightsConfig, &'static str)>,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(archive: &'a Archive) -> Result<Self> {
        let mut lists = Vec::new();
        for folder in ["data/weights/", "data/constants/"] {
            lists.push((archive.json(archive.only(folder, "_config.json")?)?, folder));
        }
        Ok(Weights { archive, lists })
    }

    /// The numbers of this name, in row-major order.
    pub(crate) fn get(&self, name: &str) -> Result<TensorProto> {
        let broken = |reason: String| Error::Tensor { name: name.into(), reason };
        let found = self.lists.iter().find_map(|(list, folder)| Some((list.config.get(name)?, *folder)));
        let Some((entry, folder)) = found else {
            return Err(broken("the archive has no numbers for it".into()));
        };
        if entry.use_pickle {
            return Err(broken("is pickled, which is not read".into()));
        }
        let bytes = self.archive.get(&format!("{folder}{}", entry.path_name))?;
        tensor(name, &entry.tensor_meta, bytes).map_err(broken)
    }
}

fn tensor(name: &str, meta: &TensorMeta, bytes: &Bytes) -> Result<TensorProto, String> {
    let (data_type, each) =
        kind(meta.dtype).ok_or_else(|| format!("type number {} is not known", meta.dtype))?;
    let fixed = |sizes: &[crate::schema::SymInt]| -> Option<Vec<usize>> {
        sizes.iter().map(|size| usize::try_from(Size::of(size, None)?.fixed()?).ok()).collect()
    };
    let (dims, strides) = (fixed(&meta.sizes), fixed(&meta.strides));
    let (Some(dims), Some(strides)) = (dims, strides) else {
        return Err("expected lengths and strides that are known".into());
    };
    let offset = meta.storage_offset.as_ref().and_then(|offset| Size::of(offset, None)?.fixed()).unwrap_or(0);
    let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    let Some(count) = count.filter(|count| count.checked_mul(each).is_some_and(|len| len <= bytes.len()))
    else {
        return Err(format!("expected shape {dims:?}, found {} bytes", bytes.len()));
    };
    let raw = match (row_major(&dims, &strides), offset) {
        (true, 0) => bytes.slice(..count * each),
        _ => gathered(&dims, &strides, offset, each, bytes)
            .ok_or("its strides reach beyond its numbers")?
            .into(),
    };
    Ok(TensorProto {
        name: name.into(),
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type,
        raw_data: Some(raw),
        ..Default::default()
    })
}

fn row_major(dims: &[usize], strides: &[usize]) -> bool {
    let mut step = 1usize;
    dims.len() == strides.len()
        && dims.iter().zip(strides).rev().all(|(&dim, &stride)| {
            let fits = dim == 1 || stride == step;
            step = step.saturating_mul(dim);
            fits
        })
}

/// The numbers in row-major order, from where the strides say.
fn gathered(dims: &[usize], strides: &[usize], offset: i64, each: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    if dims.len() != strides.len() {
        return None;
    }
    let count: usize = dims.iter().product();
    let mut raw = Vec::with_capacity(count * each);
    for i in 0..count {
        let (mut rest, mut at) = (i, usize::try_from(offset).ok()?);
        for (&dim, &stride) in dims.iter().zip(strides).rev() {
            at = at.checked_add((rest % dim).checked_mul(stride)?)?;
            rest /= dim;
        }
        let from = at.checked_mul(each)?;
        raw.extend_from_slice(bytes.get(from..from.checked_add(each)?)?);
    }
    Some(raw)
}
