//! TensorFlow's tensor as a [`Tensor`].

use std::sync::Arc;

use attr_core::{Precision, Result, Tensor};
use ndarray::{
    ArcArray, ArrayD, ArrayView2, ArrayViewD, ArrayViewMutD, Axis, IxDyn, LinalgScalar, Slice, Zip,
};
use num_traits::Float;
use tensorflow::TensorType;

use crate::error::backend;
use crate::library;

/// TensorFlow's own tensor, in single or double precision, in the host's memory; sessions read it where it is.
///
/// Arithmetic on it is done here and not by TensorFlow, which has no tensors outside of sessions where it is loaded
/// at run time.
#[derive(Clone)]
pub struct TfTensor {
    numbers: Numbers,
    dims: Vec<usize>,
}

/// In row-major order. The lengths that TensorFlow sees may be others, of the same product.
#[derive(Clone)]
pub(crate) enum Numbers {
    F32(Arc<tensorflow::Tensor<f32>>),
    F64(Arc<tensorflow::Tensor<f64>>),
}

/// Numbers of a precision that this adapter computes in.
pub(crate) trait Element: TensorType + Float + Send + Sync {
    fn numbers(tensor: Arc<tensorflow::Tensor<Self>>) -> Numbers;
}

impl Element for f32 {
    fn numbers(tensor: Arc<tensorflow::Tensor<f32>>) -> Numbers {
        Numbers::F32(tensor)
    }
}

impl Element for f64 {
    fn numbers(tensor: Arc<tensorflow::Tensor<f64>>) -> Numbers {
        Numbers::F64(tensor)
    }
}

/// An expression for either precision: `a` is a view of the numbers.
macro_rules! with {
    ($tensor:expr, $a:ident => $body:expr) => {
        match &$tensor.numbers {
            Numbers::F32(numbers) => {
                let $a = view(numbers, &$tensor.dims);
                $body
            }
            Numbers::F64(numbers) => {
                let $a = view(numbers, &$tensor.dims);
                $body
            }
        }
    };
}

/// As [`with`], for two tensors of the same precision.
macro_rules! with_both {
    ($x:expr, $y:expr, $a:ident, $b:ident => $body:expr) => {
        match (&$x.numbers, &$y.numbers) {
            (Numbers::F32(x), Numbers::F32(y)) => {
                let ($a, $b) = (view(x, &$x.dims), view(y, &$y.dims));
                $body
            }
            (Numbers::F64(x), Numbers::F64(y)) => {
                let ($a, $b) = (view(x, &$x.dims), view(y, &$y.dims));
                $body
            }
            _ => {
                let [x, y] = [$x.precision(), $y.precision()];
                Err(backend(&format!("expected numbers of one precision, found {x} and {y}")))
            }
        }
    };
}

impl TfTensor {
    /// A tensor of TensorFlow's.
    pub(crate) fn of<T: Element>(tensor: tensorflow::Tensor<T>) -> Self {
        let dims = tensor.dims().iter().map(|&n| n as usize).collect();
        TfTensor { numbers: T::numbers(Arc::new(tensor)), dims }
    }

    /// An array in this precision.
    pub(crate) fn from_array(array: &ArrayD<f64>, precision: Precision) -> Result<Self> {
        match precision {
            Precision::F64 => fill(array.shape(), |mut out| out.assign(array)),
            _ => fill(array.shape(), |out| {
                Zip::from(out).and(array).for_each(|out: &mut f32, &x| *out = x as f32)
            }),
        }
    }

    /// The length of each axis.
    pub(crate) fn lengths(&self) -> &[usize] {
        &self.dims
    }

    /// The numbers with the lengths that [`Tensor::dims`] says, for a session to read.
    pub(crate) fn to_feed(&self) -> Result<Numbers> {
        let seen: Vec<usize> = match &self.numbers {
            Numbers::F32(tensor) => tensor.dims().iter().map(|&n| n as usize).collect(),
            Numbers::F64(tensor) => tensor.dims().iter().map(|&n| n as usize).collect(),
        };
        match seen == self.dims {
            true => Ok(self.numbers.clone()),
            false => with!(self, a => fill(&self.dims, |mut out| out.assign(&a))).map(|copy| copy.numbers),
        }
    }
}

/// An array in single precision, without a detour through double precision.
pub(crate) fn from_single(array: &ArcArray<f32, IxDyn>) -> Result<TfTensor> {
    fill(array.shape(), |mut out| out.assign(array))
}

/// A view of numbers in row-major order.
fn view<'a, T: Element>(numbers: &'a tensorflow::Tensor<T>, dims: &[usize]) -> ArrayViewD<'a, T> {
    ArrayViewD::from_shape(IxDyn(dims), numbers).expect("BUG: a tensor has its shape's numbers")
}

/// A new tensor, filled through a view of it.
fn fill<T: Element>(dims: &[usize], fill: impl FnOnce(ArrayViewMutD<'_, T>)) -> Result<TfTensor> {
    library::load()?;
    let lengths: Vec<_> = dims.iter().map(|&n| n as u64).collect();
    let mut tensor = tensorflow::Tensor::<T>::new(&lengths);
    fill(ArrayViewMutD::from_shape(IxDyn(dims), &mut tensor).expect("BUG: a tensor has its shape's numbers"));
    Ok(TfTensor { numbers: T::numbers(Arc::new(tensor)), dims: dims.to_vec() })
}

/// A function of each element.
fn map<T: Element>(a: ArrayViewD<'_, T>, f: impl Fn(T) -> T) -> Result<TfTensor> {
    fill(a.shape(), |out| Zip::from(out).and(&a).for_each(|out, &x| *out = f(x)))
}

/// A function of two elements, broadcasting.
fn zip<T: Element>(a: ArrayViewD<'_, T>, b: ArrayViewD<'_, T>, f: impl Fn(T, T) -> T) -> Result<TfTensor> {
    let dims = broadcast(a.shape(), b.shape())?;
    let [a, b] = [&a, &b].map(|x| x.broadcast(dims.clone()).expect("BUG: both have been found to broadcast"));
    fill(&dims, |out| Zip::from(out).and(a).and(b).for_each(|out, &x, &y| *out = f(x, y)))
}

/// The lengths that two values have together.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    let dims = (0..rank).map(|axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y => Ok(x),
        (x, 1) => Ok(x),
        (1, y) => Ok(y),
        _ => Err(backend(&format!("expected shapes that broadcast, found {a:?} and {b:?}"))),
    });
    dims.collect()
}

/// 1 for yes, 0 for no.
fn truth<T: Element>(yes: bool) -> T {
    if yes { num_traits::one() } else { num_traits::zero() }
}

/// Each sum is in double precision.
fn sum<T: Element>(a: ArrayViewD<'_, T>, axes: &[usize]) -> Result<TfTensor> {
    let double = |x: &T| x.to_f64().expect("BUG: every float converts to f64");
    let mut dims = a.shape().to_vec();
    axes.iter().for_each(|&axis| dims[axis] = 1);
    let trailing = a.ndim() - axes.len();
    let sums = if (trailing..a.ndim()).all(|axis| axes.contains(&axis)) {
        let each = a.shape()[trailing..].iter().product::<usize>().max(1);
        let numbers = a.to_slice().expect("BUG: numbers are in row-major order");
        numbers.chunks(each).map(|chunk| chunk.iter().map(double).sum()).collect::<Vec<f64>>()
    } else {
        let first =
            axes.iter().map(|&axis| Axis(axis)).next().expect("BUG: no axes to sum over are trailing");
        let sums = a.fold_axis(first, 0.0, |sum, x| sum + double(x)).insert_axis(first);
        let sums =
            axes[1..].iter().fold(sums, |sums, &axis| sums.sum_axis(Axis(axis)).insert_axis(Axis(axis)));
        sums.into_iter().collect()
    };
    let sums =
        ArrayViewD::from_shape(IxDyn(&dims), &sums).expect("BUG: one sum for each number that is left");
    let narrow = |x: f64| T::from(x).expect("BUG: every f64 converts to a float");
    fill(&dims, |out| Zip::from(out).and(sums).for_each(|out, &x| *out = narrow(x)))
}

/// The largest value along an axis and where the first of it is; NaN before all.
fn largest<T: Element>(a: ArrayViewD<'_, T>, axis: usize) -> ArrayD<(T, usize)> {
    let first = (T::neg_infinity(), usize::MAX, 0);
    let found = a.fold_axis(Axis(axis), first, |&(most, at, index), &x| match () {
        () if most.is_nan() => (most, at, index + 1),
        () if at == usize::MAX || x > most || x.is_nan() => (x, index, index + 1),
        () => (most, at, index + 1),
    });
    found.mapv(|(most, at, _)| (most, at)).insert_axis(Axis(axis))
}

fn matmul<T: Element + LinalgScalar>(a: ArrayViewD<'_, T>, b: ArrayViewD<'_, T>) -> Result<TfTensor> {
    let (ra, rb) = (a.ndim(), b.ndim());
    if ra < 2 || rb < 2 || a.shape()[ra - 1] != b.shape()[rb - 2] {
        let (a, b) = (a.shape(), b.shape());
        return Err(backend(&format!("expected matrices that can be multiplied, found {a:?} and {b:?}")));
    }
    let (rows, inner, columns) = (a.shape()[ra - 2], a.shape()[ra - 1], b.shape()[rb - 1]);
    let outer = broadcast(&a.shape()[..ra - 2], &b.shape()[..rb - 2])?;
    let spread = |x: &ArrayViewD<'_, T>, matrix: [usize; 2]| {
        let dims = [&outer[..], &matrix].concat();
        let x = x.broadcast(dims).expect("BUG: both have been found to broadcast");
        let count: usize = outer.iter().product();
        x.to_shape((count, matrix[0], matrix[1])).expect("BUG: the same numbers").to_owned()
    };
    let (a, b) = (spread(&a, [rows, inner]), spread(&b, [inner, columns]));
    fill(&[&outer[..], &[rows, columns]].concat(), |out| {
        let mut out = out
            .into_shape_with_order((a.len_of(Axis(0)), rows, columns))
            .expect("BUG: a new tensor is whole");
        Zip::from(out.outer_iter_mut()).and(a.outer_iter()).and(b.outer_iter()).for_each(
            |mut out, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>| {
                ndarray::linalg::general_mat_mul(num_traits::one(), &a, &b, num_traits::zero(), &mut out);
            },
        );
    })
}

impl std::fmt::Debug for TfTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TfTensor({:?}, {})", self.dims, self.precision())
    }
}

impl Tensor for TfTensor {
    fn dims(&self) -> Vec<usize> {
        self.dims.clone()
    }

    fn precision(&self) -> Precision {
        match self.numbers {
            Numbers::F32(_) => Precision::F32,
            Numbers::F64(_) => Precision::F64,
        }
    }

    fn like(&self, array: &ArrayD<f64>) -> Result<Self> {
        TfTensor::from_array(array, self.precision())
    }

    fn to_array(&self) -> Result<ArrayD<f64>> {
        Ok(with!(self, a => a.mapv(f64::from)))
    }

    fn add(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => zip(a, b, |x, y| x + y))
    }

    fn sub(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => zip(a, b, |x, y| x - y))
    }

    fn mul(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => zip(a, b, |x, y| x * y))
    }

    fn div(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => zip(a, b, |x, y| x / y))
    }

    fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        match &self.numbers {
            Numbers::F32(numbers) => {
                let (scale, shift) = (scale as f32, shift as f32);
                map(view(numbers, &self.dims), |x| x * scale + shift)
            }
            Numbers::F64(numbers) => map(view(numbers, &self.dims), |x| x * scale + shift),
        }
    }

    fn abs(&self) -> Result<Self> {
        with!(self, a => map(a, |x| x.abs()))
    }

    fn sqrt(&self) -> Result<Self> {
        with!(self, a => map(a, |x| x.sqrt()))
    }

    fn exp(&self) -> Result<Self> {
        with!(self, a => map(a, |x| x.exp()))
    }

    fn ln(&self) -> Result<Self> {
        with!(self, a => map(a, |x| x.ln()))
    }

    fn gt(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => zip(a, b, |x, y| truth(x > y)))
    }

    fn eq(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => zip(a, b, |x, y| truth(x == y)))
    }

    fn sum(&self, axes: &[usize]) -> Result<Self> {
        if axes.is_empty() { Ok(self.clone()) } else { with!(self, a => sum(a, axes)) }
    }

    fn max(&self, axis: usize) -> Result<Self> {
        with!(self, a => {
            let found = largest(a, axis);
            fill(found.shape(), |out| Zip::from(out).and(&found).for_each(|out, &(most, _)| *out = most))
        })
    }

    fn argmax(&self, axis: usize) -> Result<Self> {
        with!(self, a => {
            let found = largest(a, axis).mapv(|(_, at)| at as f64);
            TfTensor::from_array(&found, self.precision())
        })
    }

    fn reshape(&self, dims: &[usize]) -> Result<Self> {
        if dims.iter().product::<usize>() != self.len() {
            return Err(backend(&format!("expected {} numbers, found the shape {dims:?}", self.len())));
        }
        Ok(TfTensor { numbers: self.numbers.clone(), dims: dims.to_vec() })
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        with!(self, a => {
            let turned = a.permuted_axes(axes);
            fill(turned.shape(), |mut out| out.assign(&turned))
        })
    }

    fn broadcast_to(&self, dims: &[usize]) -> Result<Self> {
        with!(self, a => match a.broadcast(dims) {
            Some(spread) => fill(dims, |mut out| out.assign(&spread)),
            None => Err(backend(&format!("expected a shape that broadcasts to {dims:?}, found {:?}", self.dims))),
        })
    }

    fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        if self.dims.get(axis).is_none_or(|&n| start + len > n) {
            let reason =
                format!("expected entries of axis {axis} of {:?}, found {len} from {start} on", self.dims);
            return Err(backend(&reason));
        }
        with!(self, a => {
            let part = a.slice_axis(Axis(axis), Slice::from(start..start + len));
            fill(part.shape(), |mut out| out.assign(&part))
        })
    }

    fn concat(parts: &[Self], axis: usize) -> Result<Self> {
        let [first, rest @ ..] = parts else {
            return Err(backend("expected parts to put together, found none"));
        };
        let same = |other: &Self| {
            let alike = |(i, (a, b)): (usize, (&usize, &usize))| i == axis || a == b;
            first.precision() == other.precision()
                && first.dims.len() == other.dims.len()
                && first.dims.iter().zip(&other.dims).enumerate().all(alike)
        };
        if axis >= first.dims.len() || !rest.iter().all(same) {
            let dims: Vec<_> = parts.iter().map(|part| &part.dims).collect();
            return Err(backend(&format!("expected parts alike but for axis {axis}, found {dims:?}")));
        }
        let mut dims = first.dims.clone();
        dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
        macro_rules! put_together {
            ($kind:path) => {
                fill(&dims, |mut out| {
                    let mut start = 0;
                    for part in parts {
                        let $kind(numbers) = &part.numbers else {
                            unreachable!("BUG: parts of two precisions")
                        };
                        let end = start + part.dims[axis];
                        out.slice_axis_mut(Axis(axis), Slice::from(start..end))
                            .assign(&view(numbers, &part.dims));
                        start = end;
                    }
                })
            };
        }
        match first.numbers {
            Numbers::F32(_) => put_together!(Numbers::F32),
            Numbers::F64(_) => put_together!(Numbers::F64),
        }
    }

    fn matmul(&self, other: &Self) -> Result<Self> {
        with_both!(self, other, a, b => matmul(a, b))
    }
}
