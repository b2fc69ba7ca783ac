//! libtorch's tensor as a [`Tensor`].

use std::ops::Deref;

use attr_core::{Precision, Result, Tensor};
use ndarray::{ArrayD, CowArray, IxDyn};
use tch::{Device, Kind, TchError};

use crate::error::convert;

/// libtorch's own tensor, in single or double precision, on any of its devices.
///
/// It never asks for gradients and carries no history: one that does is detached on its way in, and what is
/// computed here is not recorded. [`Deref`], [`From`] and [`TorchTensor::into_inner`] lead back and forth;
/// no numbers are copied by them.
pub struct TorchTensor(tch::Tensor);

impl TorchTensor {
    /// libtorch's own tensor.
    pub fn into_inner(self) -> tch::Tensor {
        self.0
    }

    /// An array on a device.
    pub(crate) fn from_array(array: &ArrayD<f64>, precision: Precision, device: Device) -> Result<Self> {
        match precision {
            Precision::F64 => place(&array.as_standard_layout(), device),
            _ => place(&CowArray::from(array.mapv(|x| x as f32).as_standard_layout()), device),
        }
    }
}

/// An array in row-major order on a device, as it is.
pub(crate) fn place<E: tch::kind::Element>(
    array: &CowArray<'_, E, IxDyn>,
    device: Device,
) -> Result<TorchTensor> {
    let numbers = array.as_slice().expect("BUG: the array is in row-major order");
    let tensor = tch::Tensor::f_from_slice(numbers).and_then(|t| t.f_reshape(signed(array.shape())));
    wrap(tensor.and_then(|t| t.f_to_device(device)))
}

/// Lengths or axes as libtorch has them.
pub(crate) fn signed(numbers: &[usize]) -> Vec<i64> {
    numbers.iter().map(|&n| n as i64).collect()
}

/// The lengths of a tensor as everyone else has them.
pub(crate) fn lengths(tensor: &tch::Tensor) -> Vec<usize> {
    tensor.size().into_iter().map(|n| n as usize).collect()
}

/// What numbers of a precision are called in libtorch.
pub(crate) fn kind(precision: Precision) -> Kind {
    if precision == Precision::F64 { Kind::Double } else { Kind::Float }
}

fn wrap(tensor: std::result::Result<tch::Tensor, TchError>) -> Result<TorchTensor> {
    tensor.map(TorchTensor::from).map_err(convert)
}

impl Clone for TorchTensor {
    fn clone(&self) -> Self {
        TorchTensor(self.0.shallow_clone())
    }
}

impl std::fmt::Debug for TorchTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TorchTensor({:?}, {:?}, {:?})", self.0.size(), self.0.kind(), self.0.device())
    }
}

impl Deref for TorchTensor {
    type Target = tch::Tensor;

    fn deref(&self) -> &tch::Tensor {
        &self.0
    }
}

impl From<tch::Tensor> for TorchTensor {
    fn from(tensor: tch::Tensor) -> Self {
        TorchTensor(if tensor.requires_grad() { tensor.detach() } else { tensor })
    }
}

impl From<TorchTensor> for tch::Tensor {
    fn from(tensor: TorchTensor) -> Self {
        tensor.0
    }
}

impl Tensor for TorchTensor {
    fn dims(&self) -> Vec<usize> {
        lengths(&self.0)
    }

    fn precision(&self) -> Precision {
        if self.0.kind() == Kind::Double { Precision::F64 } else { Precision::F32 }
    }

    fn like(&self, array: &ArrayD<f64>) -> Result<Self> {
        TorchTensor::from_array(array, self.precision(), self.0.device())
    }

    fn to_array(&self) -> Result<ArrayD<f64>> {
        let copy = || {
            let host = self.0.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?;
            let mut numbers = vec![0f64; host.numel()];
            host.f_copy_data(&mut numbers, host.numel())?;
            Ok(numbers)
        };
        let numbers = copy().map_err(convert)?;
        Ok(ArrayD::from_shape_vec(IxDyn(&self.dims()), numbers)
            .expect("BUG: a tensor has its shape's numbers"))
    }

    fn add(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_add(other))
    }

    fn sub(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_sub(other))
    }

    fn mul(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_mul(other))
    }

    fn div(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_div(other))
    }

    fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        let scaled = if scale == 1.0 { Ok(self.0.shallow_clone()) } else { self.0.f_mul_scalar(scale) };
        wrap(scaled.and_then(|scaled| if shift == 0.0 { Ok(scaled) } else { scaled.f_add_scalar(shift) }))
    }

    fn abs(&self) -> Result<Self> {
        wrap(self.0.f_abs())
    }

    fn sqrt(&self) -> Result<Self> {
        wrap(self.0.f_sqrt())
    }

    fn exp(&self) -> Result<Self> {
        wrap(self.0.f_exp())
    }

    fn ln(&self) -> Result<Self> {
        wrap(self.0.f_log())
    }

    fn gt(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_gt_tensor(other).and_then(|mask| mask.f_to_kind(self.0.kind())))
    }

    fn eq(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_eq_tensor(other).and_then(|mask| mask.f_to_kind(self.0.kind())))
    }

    fn sum(&self, axes: &[usize]) -> Result<Self> {
        // To libtorch no axes are all axes.
        match axes {
            [] => Ok(self.clone()),
            _ => wrap(self.0.f_sum_dim_intlist(signed(axes), true, None)),
        }
    }

    fn max(&self, axis: usize) -> Result<Self> {
        wrap(self.0.f_amax([axis as i64], true))
    }

    fn argmax(&self, axis: usize) -> Result<Self> {
        wrap(self.0.f_argmax(axis as i64, true).and_then(|index| index.f_to_kind(self.0.kind())))
    }

    fn reshape(&self, dims: &[usize]) -> Result<Self> {
        wrap(self.0.f_reshape(signed(dims)))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        wrap(self.0.f_permute(signed(axes)))
    }

    fn broadcast_to(&self, dims: &[usize]) -> Result<Self> {
        wrap(self.0.f_expand(signed(dims), false))
    }

    fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        wrap(self.0.f_narrow(axis as i64, start as i64, len as i64))
    }

    fn concat(parts: &[Self], axis: usize) -> Result<Self> {
        let parts: Vec<_> = parts.iter().map(|part| &part.0).collect();
        wrap(tch::Tensor::f_cat(&parts, axis as i64))
    }

    fn matmul(&self, other: &Self) -> Result<Self> {
        wrap(self.0.f_matmul(other))
    }
}
