//! The few operations that methods need of a framework's tensor.
//!
//! An adapter wraps its framework's own tensor in a newtype and implements the required operations;
//! everything else is derived here. Nothing leaves the device but through [`Tensor::to_array`].

use ndarray::ArrayD;

use crate::Result;

/// The numbers a tensor is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        })
    }
}

/// A dense array of numbers on some device, cheap to clone. The batch is axis 0.
///
/// Axes count from 0. Binary operations broadcast as NumPy does. Reductions keep the reduced axes with
/// length 1. Integer inputs (token numbers, say) are held as whole floating-point numbers.
pub trait Tensor: Clone + std::fmt::Debug + 'static {
    /// The length of each axis.
    fn dims(&self) -> Vec<usize>;
    /// The precision of its numbers.
    fn precision(&self) -> Precision;
    /// An array brought to this tensor's device and precision.
    fn like(&self, array: &ArrayD<f64>) -> Result<Self>;
    /// The numbers, brought to the host.
    fn to_array(&self) -> Result<ArrayD<f64>>;

    /// `self + other`.
    fn add(&self, other: &Self) -> Result<Self>;
    /// `self - other`.
    fn sub(&self, other: &Self) -> Result<Self>;
    /// `self * other`, elementwise.
    fn mul(&self, other: &Self) -> Result<Self>;
    /// `self / other`, elementwise.
    fn div(&self, other: &Self) -> Result<Self>;
    /// `self * scale + shift`.
    fn affine(&self, scale: f64, shift: f64) -> Result<Self>;
    /// The absolute value.
    fn abs(&self) -> Result<Self>;
    /// The square root.
    fn sqrt(&self) -> Result<Self>;
    /// e to the power of each element.
    fn exp(&self) -> Result<Self>;
    /// The natural logarithm.
    fn ln(&self) -> Result<Self>;
    /// 1 where `self > other`, else 0.
    fn gt(&self, other: &Self) -> Result<Self>;
    /// 1 where `self == other`, else 0.
    fn eq(&self, other: &Self) -> Result<Self>;

    /// The sum over `axes`; over none of them, the numbers as they are.
    fn sum(&self, axes: &[usize]) -> Result<Self>;
    /// The largest value along `axis`.
    fn max(&self, axis: usize) -> Result<Self>;
    /// The index of the first largest value along `axis`, as a number.
    fn argmax(&self, axis: usize) -> Result<Self>;

    /// The same numbers in row-major order under other lengths.
    fn reshape(&self, dims: &[usize]) -> Result<Self>;
    /// Axis `i` of the result is axis `axes[i]` of `self`.
    fn permute(&self, axes: &[usize]) -> Result<Self>;
    /// Repeated along axes of length 1 until it has these lengths.
    fn broadcast_to(&self, dims: &[usize]) -> Result<Self>;
    /// `len` entries along `axis` from `start` on.
    fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self>;
    /// The parts put one behind another along `axis`; at least one part.
    fn concat(parts: &[Self], axis: usize) -> Result<Self>;
    /// The matrix product over the last two axes; the others broadcast.
    fn matmul(&self, other: &Self) -> Result<Self>;

    /// Rows: the length of axis 0.
    fn rows(&self) -> usize {
        self.dims().first().copied().unwrap_or(1)
    }

    /// How many numbers there are.
    fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether there are no numbers at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no number is NaN or infinite.
    fn is_finite(&self) -> Result<bool> {
        // Zero times a number is zero, but not for NaN and infinity.
        let all: Vec<_> = (0..self.dims().len()).collect();
        Ok(self.scale(0.0)?.sum(&all)?.to_array()?.iter().all(|x| *x == 0.0))
    }

    /// `self * factor`.
    fn scale(&self, factor: f64) -> Result<Self> {
        if factor == 1.0 { Ok(self.clone()) } else { self.affine(factor, 0.0) }
    }

    /// The square of each element.
    fn square(&self) -> Result<Self> {
        self.mul(self)
    }

    /// All zeros, of the same shape.
    fn zeros_like(&self) -> Result<Self> {
        self.filled_like(0.0)
    }

    /// One value everywhere, of the same shape.
    fn filled_like(&self, value: f64) -> Result<Self> {
        self.like(&ArrayD::from_elem(vec![1; self.dims().len()], value))?.broadcast_to(&self.dims())
    }

    /// `max(self, 0)`.
    fn relu(&self) -> Result<Self> {
        self.mul(&self.gt(&self.zeros_like()?)?)
    }

    /// The mean over `axes`; over none of them, the numbers as they are.
    fn mean(&self, axes: &[usize]) -> Result<Self> {
        let dims = self.dims();
        let count: usize = axes.iter().map(|&axis| dims[axis]).product();
        self.sum(axes)?.scale(1.0 / count as f64)
    }

    /// The sum of each row: shape `[rows]`.
    fn row_sums(&self) -> Result<Self> {
        let dims = self.dims();
        self.sum(&(1..dims.len()).collect::<Vec<_>>())?.reshape(&[self.rows()])
    }

    /// Rows `start .. start + len`.
    fn slice_rows(&self, start: usize, len: usize) -> Result<Self> {
        if start == 0 && len == self.rows() { Ok(self.clone()) } else { self.narrow(0, start, len) }
    }

    /// All rows, `copies` times over: first all rows once, then all rows again.
    fn tile_rows(&self, copies: usize) -> Result<Self> {
        if copies == 1 { Ok(self.clone()) } else { Self::concat(&vec![self.clone(); copies], 0) }
    }
}

/// The same numbers with one in the place of zero, to divide by.
pub(crate) fn nonzero<T: Tensor>(x: &T) -> Result<T> {
    x.add(&x.eq(&x.zeros_like()?)?)
}

/// The largest number of each row, in a shape that broadcasts to all of it.
pub(crate) fn row_max<T: Tensor>(x: &T) -> Result<T> {
    let mut dims = vec![1; x.dims().len()];
    dims[0] = x.rows();
    x.reshape(&[dims[0], x.len() / dims[0].max(1)])?.max(1)?.reshape(&dims)
}
