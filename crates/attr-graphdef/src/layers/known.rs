//! Values that are known while a graph is recognised: weights, and the whole numbers that say shapes and axes.

use attr_core::{Dim, Param};
use ndarray::{ArcArray, Array1, ArrayD, IxDyn};

use crate::tensor::Array;

/// A whole number: known, or so many for each row of the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Size {
    Fixed(i64),
    Batch(i64),
}

/// An array of numbers that are known.
#[derive(Debug, Clone)]
pub(super) enum Known {
    F32(ArcArray<f32, IxDyn>),
    F64(ArcArray<f64, IxDyn>),
    Int(ArcArray<Size, IxDyn>),
}

/// Runs an expression on whichever array it is, and makes a [`Known`] of the result.
macro_rules! map_known {
    ($array:expr, $a:ident => $result:expr) => {
        match $array {
            $crate::layers::known::Known::F32($a) => $crate::layers::known::Known::F32($result),
            $crate::layers::known::Known::F64($a) => $crate::layers::known::Known::F64($result),
            $crate::layers::known::Known::Int($a) => $crate::layers::known::Known::Int($result),
        }
    };
}
pub(super) use map_known;

impl Known {
    pub(super) fn of(array: Array) -> Self {
        match array {
            Array::F32(a) => Known::F32(a),
            Array::F64(a) => Known::F64(a),
            Array::Int(a) => Known::Int(a.mapv(Size::Fixed).into_shared()),
        }
    }

    pub(super) fn of_param(param: &Param) -> Self {
        match param {
            Param::F32(a) => Known::F32(a.clone()),
            Param::F64(a) => Known::F64(a.clone()),
            Param::OnDevice(_) => unreachable!("BUG: a file's numbers are not on a device"),
        }
    }

    /// A list of sizes.
    pub(super) fn sizes(sizes: Vec<Size>) -> Self {
        Known::Int(Array1::from(sizes).into_dyn().into_shared())
    }

    pub(super) fn size(size: Size) -> Self {
        Known::Int(ArrayD::from_elem(IxDyn(&[]), size).into_shared())
    }

    pub(super) fn dims(&self) -> &[usize] {
        match self {
            Known::F32(a) => a.shape(),
            Known::F64(a) => a.shape(),
            Known::Int(a) => a.shape(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// The numbers in double precision; none if one depends on the batch. Those in single precision count as the
    /// decimals that they were written as: what the model's author wrote is 0.001 and not 0.0010000000474974513.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Known::F32(a) => Some(a.iter().map(|&x| decimal(x)).collect()),
            Known::F64(a) => Some(a.iter().copied().collect()),
            Known::Int(a) => a.iter().map(|size| size.fixed().map(|n| n as f64)).collect(),
        }
    }

    pub(super) fn is_float(&self) -> bool {
        !matches!(self, Known::Int(_))
    }
}

impl Size {
    pub(super) fn fixed(self) -> Option<i64> {
        match self {
            Size::Fixed(n) => Some(n),
            Size::Batch(_) => None,
        }
    }

    pub(super) fn add(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => a.checked_add(b).map(Size::Fixed),
            (Size::Batch(a), Size::Batch(b)) => a.checked_add(b).map(Size::Batch),
            (a, Size::Fixed(0)) | (Size::Fixed(0), a) => Some(a),
            _ => None,
        }
    }

    pub(super) fn sub(self, other: Size) -> Option<Size> {
        self.add(other.mul(Size::Fixed(-1))?)
    }

    pub(super) fn mul(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => a.checked_mul(b).map(Size::Fixed),
            (Size::Batch(a), Size::Fixed(b)) | (Size::Fixed(b), Size::Batch(a)) => {
                a.checked_mul(b).map(Size::Batch)
            }
            (Size::Batch(_), Size::Batch(_)) => None,
        }
    }

    /// The quotient where it is whole.
    pub(super) fn div(self, other: Size) -> Option<Size> {
        let exact = |a: i64, b: i64| if a.checked_rem(b)? == 0 { a.checked_div(b) } else { None };
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => exact(a, b).map(Size::Fixed),
            (Size::Batch(a), Size::Fixed(b)) => exact(a, b).map(Size::Batch),
            (Size::Batch(a), Size::Batch(b)) => exact(a, b).map(Size::Fixed),
            (Size::Fixed(_), Size::Batch(_)) => None,
        }
    }

    pub(super) fn floor_div(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) if b > 0 => Some(Size::Fixed(a.div_euclid(b))),
            _ => self.div(other),
        }
    }

    pub(super) fn max(self, other: Size) -> Option<Size> {
        Some(Size::Fixed(self.fixed()?.max(other.fixed()?)))
    }

    pub(super) fn min(self, other: Size) -> Option<Size> {
        Some(Size::Fixed(self.fixed()?.min(other.fixed()?)))
    }
}

impl From<Dim> for Size {
    fn from(dim: Dim) -> Self {
        // No array has so many entries that the conversion is wrong.
        match dim {
            Dim::Fixed(n) => Size::Fixed(n as i64),
            Dim::Batch(n) => Size::Batch(n as i64),
        }
    }
}

/// The shortest decimal that single precision rounds to this number.
pub(super) fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

/// Sizes for a message, as in `[B, 3, -1]`.
pub(super) fn listed(sizes: &[Size]) -> String {
    let each = sizes.iter().map(|size| match size {
        Size::Fixed(n) => n.to_string(),
        Size::Batch(1) => "B".to_string(),
        Size::Batch(n) => format!("{n}B"),
    });
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
}
