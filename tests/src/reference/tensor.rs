//! A tensor with only the required operations, so that all derived ones are core's own.

use attr_core::{Precision, Result, Tensor};
use ndarray::{ArrayD, ArrayViewD, Axis, Dimension, IxDyn, Slice, Zip};

use super::backend;

/// An array of double-precision numbers on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct RefTensor(pub ArrayD<f64>);

impl Tensor for RefTensor {
    fn dims(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    fn precision(&self) -> Precision {
        Precision::F64
    }

    fn like(&self, array: &ArrayD<f64>) -> Result<Self> {
        Ok(RefTensor(array.clone()))
    }

    fn to_array(&self) -> Result<ArrayD<f64>> {
        Ok(self.0.clone())
    }

    fn add(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| a + b)
    }

    fn sub(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| a - b)
    }

    fn mul(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| a * b)
    }

    fn div(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| a / b)
    }

    fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        Ok(RefTensor(self.0.mapv(|x| x * scale + shift)))
    }

    fn abs(&self) -> Result<Self> {
        Ok(RefTensor(self.0.mapv(f64::abs)))
    }

    fn sqrt(&self) -> Result<Self> {
        Ok(RefTensor(self.0.mapv(f64::sqrt)))
    }

    fn exp(&self) -> Result<Self> {
        Ok(RefTensor(self.0.mapv(f64::exp)))
    }

    fn ln(&self) -> Result<Self> {
        Ok(RefTensor(self.0.mapv(f64::ln)))
    }

    fn gt(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| if a > b { 1.0 } else { 0.0 })
    }

    fn eq(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| if a == b { 1.0 } else { 0.0 })
    }

    fn sum(&self, axes: &[usize]) -> Result<Self> {
        let mut sum = self.0.clone();
        for &axis in axes {
            sum = sum.sum_axis(Axis(axis)).insert_axis(Axis(axis));
        }
        Ok(RefTensor(sum))
    }

    fn max(&self, axis: usize) -> Result<Self> {
        Ok(self.along(axis, |lane| lane[first_largest(lane)]))
    }

    fn argmax(&self, axis: usize) -> Result<Self> {
        Ok(self.along(axis, |lane| first_largest(lane) as f64))
    }

    fn reshape(&self, dims: &[usize]) -> Result<Self> {
        let numbers = self.0.iter().copied().collect();
        let array = ArrayD::from_shape_vec(dims, numbers);
        array.map(RefTensor).map_err(|_| backend(format!("can't reshape {:?} to {dims:?}", self.0.shape())))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        Ok(RefTensor(self.0.view().permuted_axes(IxDyn(axes)).as_standard_layout().into_owned()))
    }

    fn broadcast_to(&self, dims: &[usize]) -> Result<Self> {
        Ok(RefTensor(broadcast(&self.0, dims)?.to_owned()))
    }

    fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        if start + len > self.0.shape()[axis] {
            return Err(backend(format!("no {len} entries from {start} on in {:?}", self.0.shape())));
        }
        Ok(RefTensor(self.0.slice_axis(Axis(axis), Slice::from(start..start + len)).to_owned()))
    }

    fn concat(parts: &[Self], axis: usize) -> Result<Self> {
        let views: Vec<_> = parts.iter().map(|part| part.0.view()).collect();
        ndarray::concatenate(Axis(axis), &views)
            .map(|array| RefTensor(array.as_standard_layout().into_owned()))
            .map_err(|error| backend(error.to_string()))
    }

    fn matmul(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.dims(), other.dims());
        let [.., rows, inner] = a[..] else { return Err(backend("matmul of less than two axes")) };
        let [.., depth, columns] = b[..] else { return Err(backend("matmul of less than two axes")) };
        if inner != depth {
            return Err(backend(format!("matmul of {a:?} and {b:?}")));
        }
        let batch = common_dims(&a[..a.len() - 2], &b[..b.len() - 2])?;
        let left = broadcast(&self.0, &[&batch[..], &[rows, inner]].concat())?.to_owned();
        let right = broadcast(&other.0, &[&batch[..], &[inner, columns]].concat())?.to_owned();
        let product = ArrayD::from_shape_fn([&batch[..], &[rows, columns]].concat(), |at| {
            let at = at.as_array_view().to_vec();
            let (batch, [row, column]) = (&at[..at.len() - 2], [at[at.len() - 2], at[at.len() - 1]]);
            let index = |last: [usize; 2]| IxDyn(&[batch, &last[..]].concat());
            (0..inner).map(|k| left[index([row, k])] * right[index([k, column])]).sum()
        });
        Ok(RefTensor(product))
    }
}

impl RefTensor {
    fn with(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Result<Self> {
        let dims = common_dims(self.0.shape(), other.0.shape())?;
        let (a, b) = (broadcast(&self.0, &dims)?, broadcast(&other.0, &dims)?);
        Ok(RefTensor(Zip::from(a).and(b).map_collect(|&a, &b| f(a, b))))
    }

    /// One number for each lane along an axis, which stays with length 1.
    fn along(&self, axis: usize, f: impl Fn(&[f64]) -> f64) -> Self {
        RefTensor(self.0.map_axis(Axis(axis), |lane| f(&lane.to_vec())).insert_axis(Axis(axis)))
    }
}

fn first_largest(lane: &[f64]) -> usize {
    (0..lane.len()).fold(0, |best, i| if lane[i] > lane[best] { i } else { best })
}

fn broadcast<'a>(array: &'a ArrayD<f64>, dims: &[usize]) -> Result<ArrayViewD<'a, f64>> {
    array
        .broadcast(dims)
        .ok_or_else(|| backend(format!("{:?} does not broadcast to {dims:?}", array.shape())))
}

/// The lengths to which two arrays broadcast, as NumPy does.
pub(super) fn common_dims(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Ok(x),
            (x, 1) => Ok(x),
            (1, y) => Ok(y),
            _ => Err(backend(format!("{a:?} and {b:?} don't broadcast"))),
        })
        .collect()
}
