//! The numbers of parameters, buffers and constants.

use std::cell::Cell;

use attr_checkpoint::{Archive, Element, Tensor, Tensors};
use attr_onnx::proto::TensorProto;

use crate::layout::{self, Layout};
use crate::schema::{SymInt, TensorMeta, WeightsConfig};
use crate::size::Size;
use crate::{Error, Result};

/// Kinds of numbers: by their numbers in the schema, as they lie in a file, and ONNX's.
const KINDS: [(u32, Element, i32); 9] = [
    (1, Element::U8, TensorProto::UINT8),
    (2, Element::I8, TensorProto::INT8),
    (4, Element::I32, TensorProto::INT32),
    (5, Element::I64, TensorProto::INT64),
    (6, Element::F16, TensorProto::FLOAT16),
    (7, Element::F32, TensorProto::FLOAT),
    (8, Element::F64, TensorProto::DOUBLE),
    (12, Element::Bool, TensorProto::BOOL),
    (13, Element::BF16, TensorProto::BFLOAT16),
];

/// ONNX's kind of numbers for PyTorch's.
pub(crate) fn kind(dtype: u32) -> Option<i32> {
    KINDS.iter().find(|(number, ..)| *number == dtype).map(|&(.., kind)| kind)
}

/// A number has eight bytes in memory at most, and one or more in the archive.
const NUMBER: usize = 8;

/// So many bytes may the numbers take for each of the archive: those of bytes, under two names each.
const EACH: usize = 16;

/// What an archive has of the parameters and buffers, and of the constants.
pub(crate) struct Weights<'a> {
    archive: &'a Archive,
    lists: Vec<List<'a>>,
    /// How many bytes the numbers may still take, in memory and while they are read.
    left: Cell<usize>,
}

enum List<'a> {
    /// What `torch.save` wrote.
    Saved(Tensors),
    /// A description of each, and the folder with its numbers.
    Described(WeightsConfig, &'a str),
}

impl<'a> Weights<'a> {
    pub(crate) fn new(archive: &'a Archive, layout: Layout) -> Result<Self> {
        let saved =
            |name: &str| -> Result<_> { Ok(List::Saved(attr_checkpoint::decode(archive.get(name)?)?)) };
        let mut lists = Vec::new();
        match layout {
            Layout::Plain => {
                for name in ["serialized_state_dict.pt", "serialized_constants.pt"] {
                    lists.push(saved(name)?);
                }
            }
            Layout::Folders => {
                for folder in ["data/weights/", "data/constants/"] {
                    lists.push(match layout::only(archive, folder, "_config.json") {
                        Ok(config) => List::Described(layout::json(archive, config)?, folder),
                        Err(_) => saved(layout::only(archive, folder, ".pt")?)?,
                    });
                }
            }
        }
        Ok(Weights { archive, lists, left: Cell::new(archive.size().saturating_mul(EACH)) })
    }

    /// The numbers of this name, in row-major order.
    pub(crate) fn get(&self, name: &str) -> Result<TensorProto> {
        let broken = |reason: String| Error::Tensor { name: name.into(), reason };
        let tensor = self.lists.iter().find_map(|list| self.find(list, name).transpose()).transpose()?;
        let tensor = tensor.ok_or_else(|| broken("the archive has no numbers for it".into()))?;
        let known = KINDS.iter().find(|(_, element, _)| *element == tensor.element());
        let Some(&(.., data_type)) = known else {
            return Err(broken(format!("numbers of type {:?} are not known", tensor.element())));
        };
        self.spend(tensor.shape().iter().product::<usize>().saturating_mul(NUMBER)).map_err(broken)?;
        Ok(TensorProto {
            name: name.into(),
            dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
            data_type,
            raw_data: Some(tensor.to_bytes()),
            ..Default::default()
        })
    }

    /// How long the archive is, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.archive.size()
    }

    /// Several names may stand for the same numbers, but not for ever more.
    fn spend(&self, bytes: usize) -> Result<(), String> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or("the weights are far more than the whole file has")?);
        Ok(())
    }

    fn find(&self, list: &List<'_>, name: &str) -> Result<Option<Tensor>> {
        let (config, folder) = match list {
            List::Saved(tensors) => return Ok(tensors.get(name).cloned()),
            List::Described(config, folder) => (config, folder),
        };
        let Some(entry) = config.config.get(name) else { return Ok(None) };
        let bytes = self.archive.get(&format!("{folder}{}", entry.path_name))?;
        let broken = |reason: String| Error::Tensor { name: name.into(), reason };
        if entry.use_pickle {
            // A tensor alone.
            self.spend(bytes.len()).map_err(broken)?;
            let tensor = attr_checkpoint::decode(bytes)?.remove("");
            return tensor
                .map(Some)
                .ok_or_else(|| broken("expected a pickled tensor, found something else".into()));
        }
        described(&entry.tensor_meta, bytes).map(Some).map_err(broken)
    }
}

fn described(meta: &TensorMeta, bytes: &prost::bytes::Bytes) -> Result<Tensor, String> {
    let known = KINDS.iter().find(|(number, ..)| *number == meta.dtype);
    let &(_, element, _) = known.ok_or_else(|| format!("type number {} is not known", meta.dtype))?;
    let fixed = |size: &SymInt| usize::try_from(Size::of(size, None)?.fixed()?).ok();
    let all = |sizes: &[SymInt]| -> Option<Vec<usize>> { sizes.iter().map(fixed).collect() };
    let offset = meta.storage_offset.as_ref().map_or(Some(0), fixed);
    let (Some(shape), Some(strides), Some(offset)) = (all(&meta.sizes), all(&meta.strides), offset) else {
        return Err("expected lengths and strides that are known".into());
    };
    Tensor::new(element, shape, strides, offset, bytes.clone())
}
