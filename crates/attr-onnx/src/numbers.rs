//! Arrays that are given along with a file: values of inputs, and what a network should give for them.

use ndarray::ArrayD;
use prost::Message;

use crate::array::{Array, Size};
use crate::proto::TensorProto;
use crate::tensor::{Beside, array};
use crate::{Error, Result};

/// An array of one of the types that are computed with here.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Numbers {
    /// Single precision, or half precision widened to it.
    F32(ArrayD<f32>),
    /// Double precision.
    F64(ArrayD<f64>),
    /// Whole numbers of any width, and truth values as 0 and 1.
    I64(ArrayD<i64>),
}

impl Numbers {
    /// An array in the form that ONNX keeps one in: the bytes of a `TensorProto`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let tensor = TensorProto::decode(bytes).map_err(|e| Error::Format(e.to_string()))?;
        Ok(match array(&tensor, &mut Beside::new(None))? {
            Array::F32(array) => Numbers::F32(array.into_owned()),
            Array::F64(array) => Numbers::F64(array.into_owned()),
            Array::Int(array) => Numbers::I64(array.mapv(|size| match size {
                Size::Fixed(n) => n,
                Size::Batch(_) => unreachable!("BUG: a tensor of a file does not depend on the batch"),
            })),
        })
    }

    /// The length of each axis.
    pub fn dims(&self) -> &[usize] {
        match self {
            Numbers::F32(array) => array.shape(),
            Numbers::F64(array) => array.shape(),
            Numbers::I64(array) => array.shape(),
        }
    }

    /// The numbers in double precision, which rounds whole ones beyond 2^53.
    pub fn to_f64(&self) -> ArrayD<f64> {
        match self {
            Numbers::F32(array) => array.mapv(f64::from),
            Numbers::F64(array) => array.clone(),
            Numbers::I64(array) => array.mapv(|n| n as f64),
        }
    }
}

impl From<&Numbers> for Array {
    fn from(numbers: &Numbers) -> Self {
        match numbers {
            Numbers::F32(array) => Array::F32(array.to_shared()),
            Numbers::F64(array) => Array::F64(array.to_shared()),
            Numbers::I64(array) => Array::Int(array.mapv(Size::Fixed).into_shared()),
        }
    }
}
