//! Numbers in files: constants to arrays and back.

use ndarray::{ArcArray, ArrayD, IxDyn};
use prost::bytes::Bytes;

use crate::budget::Budget;
use crate::proto::{Dim, TensorProto, TensorShapeProto, data_type};
use crate::{Error, Result};

/// No value has more axes than this: a broken file must not make every shape a long list.
pub(crate) const MAX_RANK: usize = 16;

/// The numbers of a constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Single precision.
    F32(ArcArray<f32, IxDyn>),
    /// Double precision.
    F64(ArcArray<f64, IxDyn>),
    /// Whole numbers of any width, and truth values.
    Int(ArcArray<i64, IxDyn>),
}

/// A number that tensors are made of.
pub trait Element: Copy {
    /// Its kind, as in [`data_type`].
    const TYPE: i32;
    /// Its bytes, little-endian, put behind others.
    fn put(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($number:ty: $kind:ident),*) => {$(
        impl Element for $number {
            const TYPE: i32 = data_type::$kind;
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}

element!(f32: FLOAT, f64: DOUBLE, i32: INT32, i64: INT64);

/// An array as a constant.
pub fn tensor_proto<T: Element>(array: &ArrayD<T>) -> TensorProto {
    let mut bytes = Vec::with_capacity(std::mem::size_of::<T>() * array.len());
    array.iter().for_each(|&number| number.put(&mut bytes));
    let dims: Vec<_> = array.shape().iter().map(|&n| Some(n)).collect();
    TensorProto {
        dtype: T::TYPE,
        tensor_shape: Some(shape_proto(&dims)),
        tensor_content: bytes.into(),
        ..TensorProto::default()
    }
}

/// A shape; `None` for a length that is not known.
pub fn shape_proto(dims: &[Option<usize>]) -> TensorShapeProto {
    let dim = dims.iter().map(|dim| Dim { size: dim.map_or(-1, |n| n as i64) });
    TensorShapeProto { dim: dim.collect(), unknown_rank: false }
}

/// The lengths of a shape, `None` for those that are not known; none at all if not even their number is.
pub fn dims(shape: Option<&TensorShapeProto>) -> Option<Vec<Option<usize>>> {
    let shape = shape.filter(|shape| !shape.unknown_rank)?;
    Some(shape.dim.iter().map(|dim| usize::try_from(dim.size).ok()).collect())
}

/// The numbers of the constant `name`. Their count is held against the budget before anything is allocated.
///
/// Constants say their numbers in one of two ways: all of them as bytes, or as a list of which the last one stands
/// for all that are not there.
pub fn array(name: &str, tensor: &TensorProto, budget: &mut Budget) -> Result<Array> {
    let dims = fixed_dims(name, tensor)?;
    let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let count = count.filter(|count| count.checked_mul(8).is_some());
    let count = count.ok_or_else(|| Error::tensor(name, format!("shape {dims:?} is too large")))?;
    budget.spend(8 * count)?;
    macro_rules! numbers {
        ($kind:ident, $width:literal, $decode:expr, $list:expr) => {{
            let numbers = match tensor.tensor_content.is_empty() {
                true => filled(name, count, $list)?,
                false => decoded::<$width, _>(name, count, &tensor.tensor_content, $decode)?,
            };
            let array = ArrayD::from_shape_vec(IxDyn(&dims), numbers);
            let array = array.map_err(|reason| Error::tensor(name, reason.to_string()))?;
            Ok(Array::$kind(array.into_shared()))
        }};
    }
    let ints = tensor.int_val.iter().map(|&n| n.into());
    match tensor.dtype {
        data_type::FLOAT => numbers!(F32, 4, f32::from_le_bytes, tensor.float_val.iter().copied()),
        data_type::DOUBLE => numbers!(F64, 8, f64::from_le_bytes, tensor.double_val.iter().copied()),
        data_type::INT32 => numbers!(Int, 4, |b| i32::from_le_bytes(b).into(), ints),
        data_type::INT64 => numbers!(Int, 8, i64::from_le_bytes, tensor.int64_val.iter().copied()),
        data_type::UINT8 => numbers!(Int, 1, |[b]: [u8; 1]| b.into(), ints),
        data_type::BOOL => {
            numbers!(Int, 1, |[b]: [u8; 1]| (b != 0).into(), tensor.bool_val.iter().map(|&b| b.into()))
        }
        other => Err(Error::tensor(
            name,
            format!("expected float, double, int32, int64, uint8 or bool, found {}", type_name(other)),
        )),
    }
}

/// The texts of a constant, as many as are there.
pub fn texts<'a>(name: &str, tensor: &'a TensorProto) -> Result<&'a [Bytes]> {
    match tensor.dtype {
        data_type::STRING => Ok(&tensor.string_val),
        other => Err(Error::tensor(name, format!("expected texts, found {}", type_name(other)))),
    }
}

impl Array {
    /// The length of each axis.
    pub fn dims(&self) -> &[usize] {
        match self {
            Array::F32(a) => a.shape(),
            Array::F64(a) => a.shape(),
            Array::Int(a) => a.shape(),
        }
    }
}

/// What a kind of numbers is called.
pub fn type_name(dtype: i32) -> String {
    let name = match dtype {
        data_type::FLOAT => "float",
        data_type::DOUBLE => "double",
        data_type::INT32 => "int32",
        data_type::UINT8 => "uint8",
        5 => "int16",
        6 => "int8",
        data_type::STRING => "string",
        8 => "complex64",
        data_type::INT64 => "int64",
        data_type::BOOL => "bool",
        data_type::BFLOAT16 => "bfloat16",
        data_type::HALF => "half",
        data_type::RESOURCE => "resource",
        21 => "variant",
        other => return format!("the kind of numbers {other}"),
    };
    name.into()
}

fn fixed_dims(name: &str, tensor: &TensorProto) -> Result<Vec<usize>> {
    let found = || Error::tensor(name, format!("expected a shape, found {:?}", tensor.tensor_shape));
    let dims: Option<Vec<_>> = match &tensor.tensor_shape {
        None => Some(Vec::new()),
        some => dims(some.as_ref()).ok_or_else(found)?.into_iter().collect(),
    };
    match dims {
        Some(dims) if dims.len() <= MAX_RANK => Ok(dims),
        Some(dims) => {
            Err(Error::tensor(name, format!("expected at most {MAX_RANK} axes, found {}", dims.len())))
        }
        None => Err(found()),
    }
}

fn decoded<const WIDTH: usize, T>(
    name: &str,
    count: usize,
    bytes: &[u8],
    number: impl Fn([u8; WIDTH]) -> T,
) -> Result<Vec<T>> {
    let (chunks, rest) = bytes.as_chunks::<WIDTH>();
    if chunks.len() != count || !rest.is_empty() {
        let expected = count * WIDTH;
        return Err(Error::tensor(name, format!("expected {expected} bytes, found {}", bytes.len())));
    }
    Ok(chunks.iter().map(|&chunk| number(chunk)).collect())
}

fn filled<T: Copy + Default>(
    name: &str,
    count: usize,
    list: impl ExactSizeIterator<Item = T>,
) -> Result<Vec<T>> {
    if list.len() > count {
        return Err(Error::tensor(name, format!("expected at most {count} numbers, found {}", list.len())));
    }
    let mut numbers: Vec<T> = Vec::with_capacity(count);
    numbers.extend(list);
    let last = numbers.last().copied().unwrap_or_default();
    numbers.resize(count, last);
    Ok(numbers)
}
