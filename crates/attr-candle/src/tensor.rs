//! candle's tensor as a [`Tensor`].

use std::ops::Deref;

use attr_core::{Precision, Result, Tensor};
use candle_core::{DType, Device};
use ndarray::{ArrayD, IxDyn};

use crate::error::convert;
use crate::kernels::elementwise::Binary;
use crate::kernels::{host, product, reduce};

/// candle's own tensor, in single or double precision, on any of its devices.
///
/// It is a newtype because the trait and candle's type are both foreign here; [`Deref`], [`From`] and
/// [`CandleTensor::into_inner`] lead back and forth.
#[derive(Debug, Clone)]
pub struct CandleTensor(pub candle_core::Tensor);

impl CandleTensor {
    /// candle's own tensor.
    pub fn into_inner(self) -> candle_core::Tensor {
        self.0
    }

    /// An array on a device.
    pub(crate) fn from_array(array: &ArrayD<f64>, precision: Precision, device: &Device) -> Result<Self> {
        let tensor = match precision {
            Precision::F64 => candle_core::Tensor::from_vec(
                array.iter().copied().collect::<Vec<_>>(),
                array.shape(),
                device,
            ),
            _ => {
                let numbers: Vec<_> = array.iter().map(|&x| x as f32).collect();
                candle_core::Tensor::from_vec(numbers, array.shape(), device)
            }
        };
        tensor.map(CandleTensor).map_err(convert)
    }

    /// Arithmetic with broadcasting.
    pub(crate) fn binary(&self, op: Binary, other: &Self) -> candle_core::Result<candle_core::Tensor> {
        let (a, b) = (&self.0, &other.0);
        a.shape().broadcast_shape_binary_op(b.shape(), "arithmetic")?;
        match (op, a.device()) {
            (_, Device::Cpu) => host::apply2(&op, a, b),
            (Binary::Add, _) => a.broadcast_add(b),
            (Binary::Sub, _) => a.broadcast_sub(b),
            (Binary::Mul, _) => a.broadcast_mul(b),
            (Binary::Div, _) => a.broadcast_div(b),
            _ => host::apply2(&op, a, b),
        }
    }

    /// The sum over `axes`, which stay with length 1.
    pub(crate) fn sum_keep(&self, axes: &[usize]) -> candle_core::Result<candle_core::Tensor> {
        match (axes, self.0.device()) {
            ([], _) => Ok(self.0.clone()),
            (_, Device::Cpu) => host::apply1(&reduce::Sum(axes), &self.0),
            _ => self.0.sum_keepdim(axes),
        }
    }
}

impl Deref for CandleTensor {
    type Target = candle_core::Tensor;

    fn deref(&self) -> &candle_core::Tensor {
        &self.0
    }
}

impl From<candle_core::Tensor> for CandleTensor {
    fn from(tensor: candle_core::Tensor) -> Self {
        CandleTensor(tensor)
    }
}

impl From<CandleTensor> for candle_core::Tensor {
    fn from(tensor: CandleTensor) -> Self {
        tensor.0
    }
}

fn wrap(tensor: candle_core::Result<candle_core::Tensor>) -> Result<CandleTensor> {
    tensor.map(CandleTensor).map_err(convert)
}

impl Tensor for CandleTensor {
    fn dims(&self) -> Vec<usize> {
        self.0.dims().to_vec()
    }

    fn precision(&self) -> Precision {
        if self.0.dtype() == DType::F64 { Precision::F64 } else { Precision::F32 }
    }

    fn like(&self, array: &ArrayD<f64>) -> Result<Self> {
        CandleTensor::from_array(array, self.precision(), self.0.device())
    }

    fn to_array(&self) -> Result<ArrayD<f64>> {
        let numbers = || self.0.to_dtype(DType::F64)?.flatten_all()?.to_vec1();
        let numbers: Vec<f64> = numbers().map_err(convert)?;
        Ok(ArrayD::from_shape_vec(IxDyn(self.0.dims()), numbers)
            .expect("BUG: a tensor has its shape's numbers"))
    }

    fn add(&self, other: &Self) -> Result<Self> {
        wrap(self.binary(Binary::Add, other))
    }

    fn sub(&self, other: &Self) -> Result<Self> {
        wrap(self.binary(Binary::Sub, other))
    }

    fn mul(&self, other: &Self) -> Result<Self> {
        wrap(self.binary(Binary::Mul, other))
    }

    fn div(&self, other: &Self) -> Result<Self> {
        wrap(self.binary(Binary::Div, other))
    }

    fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        wrap(self.0.affine(scale, shift))
    }

    fn abs(&self) -> Result<Self> {
        wrap(self.0.abs())
    }

    fn sqrt(&self) -> Result<Self> {
        wrap(self.0.sqrt())
    }

    fn exp(&self) -> Result<Self> {
        wrap(self.0.exp())
    }

    fn ln(&self) -> Result<Self> {
        wrap(self.0.log())
    }

    fn gt(&self, other: &Self) -> Result<Self> {
        wrap(self.0.broadcast_gt(&other.0).and_then(|mask| mask.to_dtype(self.0.dtype())))
    }

    fn eq(&self, other: &Self) -> Result<Self> {
        wrap(self.0.broadcast_eq(&other.0).and_then(|mask| mask.to_dtype(self.0.dtype())))
    }

    fn sum(&self, axes: &[usize]) -> Result<Self> {
        wrap(self.sum_keep(axes))
    }

    fn max(&self, axis: usize) -> Result<Self> {
        wrap(match self.0.device() {
            Device::Cpu => host::apply1(&reduce::Max(axis), &self.0),
            _ => self.0.max_keepdim(axis),
        })
    }

    fn argmax(&self, axis: usize) -> Result<Self> {
        wrap(self.0.argmax_keepdim(axis).and_then(|index| index.to_dtype(self.0.dtype())))
    }

    fn reshape(&self, dims: &[usize]) -> Result<Self> {
        wrap(self.0.reshape(dims))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        wrap(self.0.permute(axes))
    }

    fn broadcast_to(&self, dims: &[usize]) -> Result<Self> {
        wrap(self.0.broadcast_as(dims))
    }

    fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        wrap(self.0.narrow(axis, start, len))
    }

    fn concat(parts: &[Self], axis: usize) -> Result<Self> {
        let parts: Vec<_> = parts.iter().map(|part| &part.0).collect();
        wrap(candle_core::Tensor::cat(&parts, axis))
    }

    fn matmul(&self, other: &Self) -> Result<Self> {
        wrap(match self.0.device() {
            Device::Cpu => product::product(&self.0, &other.0),
            _ => self.0.contiguous().and_then(|a| a.broadcast_matmul(&other.0.contiguous()?)),
        })
    }
}
