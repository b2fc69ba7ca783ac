//! Constants while a file is read: weights, and the whole numbers that say shapes and axes.

use std::rc::Rc;

use attr_core::{Dim, Param};
use ndarray::{ArcArray, IxDyn};

/// A whole number: known, or so many for each row of the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Size {
    Fixed(i64),
    Batch(i64),
}

/// An array of a type that this crate computes with; integers and truth values of any width are sizes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Array {
    F32(ArcArray<f32, IxDyn>),
    F64(ArcArray<f64, IxDyn>),
    Int(ArcArray<Size, IxDyn>),
}

/// A value that is known while the file is read.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    /// What its layer is called, should it become one.
    pub(crate) name: Rc<str>,
    /// Constants of the same origin are the same array, so that layers keep sharing it.
    pub(crate) origin: usize,
    pub(crate) array: Array,
}

/// Runs an expression on whichever array it is, and makes an [`Array`] of the result.
macro_rules! map_array {
    ($array:expr, $a:ident => $result:expr) => {
        match $array {
            crate::array::Array::F32($a) => crate::array::Array::F32($result),
            crate::array::Array::F64($a) => crate::array::Array::F64($result),
            crate::array::Array::Int($a) => crate::array::Array::Int($result),
        }
    };
}
pub(crate) use map_array;

impl Array {
    pub(crate) fn dims(&self) -> &[usize] {
        match self {
            Array::F32(a) => a.shape(),
            Array::F64(a) => a.shape(),
            Array::Int(a) => a.shape(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Array::F32(a) => a.len(),
            Array::F64(a) => a.len(),
            Array::Int(a) => a.len(),
        }
    }

    /// A list of sizes.
    pub(crate) fn sizes(sizes: Vec<Size>) -> Self {
        Array::Int(ndarray::Array1::from(sizes).into_dyn().into_shared())
    }

    /// The same numbers in row-major order; copies only what is not.
    pub(crate) fn standard(&self) -> Self {
        map_array!(self, a => if a.is_standard_layout() { a.clone() } else { a.as_standard_layout().to_shared() })
    }

    /// The numbers in double precision; `None` if one depends on the batch. Those in single precision
    /// count as the decimals that they were written as, see [`decimal`].
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Array::F32(a) => Some(a.iter().map(|&x| decimal(x)).collect()),
            Array::F64(a) => Some(a.iter().copied().collect()),
            Array::Int(a) => a.iter().map(|size| size.fixed().map(|n| n as f64)).collect(),
        }
    }

    /// As a parameter of a layer; `None` for whole numbers that are not known, or that single precision does
    /// not hold exactly.
    pub(crate) fn to_param(&self) -> Option<Param> {
        match self.standard() {
            Array::F32(a) => Some(Param::F32(a)),
            Array::F64(a) => Some(Param::F64(a)),
            Array::Int(a) => {
                let exact = |size: &Size| size.fixed().filter(|&n| n as f32 as i64 == n).map(|n| n as f32);
                let numbers = a.iter().map(exact).collect::<Option<Vec<_>>>()?;
                let array = ndarray::ArrayD::from_shape_vec(IxDyn(a.shape()), numbers).ok()?;
                Some(Param::F32(array.into_shared()))
            }
        }
    }
}

impl Size {
    pub(crate) fn fixed(self) -> Option<i64> {
        match self {
            Size::Fixed(n) => Some(n),
            Size::Batch(_) => None,
        }
    }

    pub(crate) fn add(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => a.checked_add(b).map(Size::Fixed),
            (Size::Batch(a), Size::Batch(b)) => a.checked_add(b).map(Size::Batch),
            (a, Size::Fixed(0)) | (Size::Fixed(0), a) => Some(a),
            _ => None,
        }
    }

    pub(crate) fn sub(self, other: Size) -> Option<Size> {
        self.add(other.mul(Size::Fixed(-1))?)
    }

    pub(crate) fn mul(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => a.checked_mul(b).map(Size::Fixed),
            (Size::Batch(a), Size::Fixed(b)) | (Size::Fixed(b), Size::Batch(a)) => {
                a.checked_mul(b).map(Size::Batch)
            }
            (Size::Batch(_), Size::Batch(_)) => None,
        }
    }

    /// The larger of two; the batch has one row at least.
    pub(crate) fn max(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => Some(Size::Fixed(a.max(b))),
            (Size::Batch(a), Size::Batch(b)) => Some(Size::Batch(a.max(b))),
            (Size::Batch(a @ 1..), Size::Fixed(b)) | (Size::Fixed(b), Size::Batch(a @ 1..)) if b <= a => {
                Some(Size::Batch(a))
            }
            _ => None,
        }
    }

    /// The smaller of two.
    pub(crate) fn min(self, other: Size) -> Option<Size> {
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => Some(Size::Fixed(a.min(b))),
            (Size::Batch(a), Size::Batch(b)) => Some(Size::Batch(a.min(b))),
            (Size::Batch(a @ 1..), Size::Fixed(b)) | (Size::Fixed(b), Size::Batch(a @ 1..)) if b <= a => {
                Some(Size::Fixed(b))
            }
            _ => None,
        }
    }

    pub(crate) fn div(self, other: Size) -> Option<Size> {
        let exact = |a: i64, b: i64| if a.checked_rem(b)? == 0 { a.checked_div(b) } else { None };
        match (self, other) {
            (Size::Fixed(a), Size::Fixed(b)) => a.checked_div(b).map(Size::Fixed),
            (Size::Batch(a), Size::Fixed(b)) => exact(a, b).map(Size::Batch),
            (Size::Batch(a), Size::Batch(b)) => exact(a, b).map(Size::Fixed),
            (Size::Fixed(_), Size::Batch(_)) => None,
        }
    }
}

/// Sizes for a message, as in `[B, 3, -1]`.
pub(crate) fn listed(sizes: &[Size]) -> String {
    let each = sizes.iter().map(|size| match size {
        Size::Fixed(n) => n.to_string(),
        Size::Batch(1) => "B".to_string(),
        Size::Batch(n) => format!("{n}B"),
    });
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
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

/// The shortest decimal that single precision rounds to this number. A file has attributes in single
/// precision only; what its author wrote, and the framework computed with, is 1e-5 and not
/// 0.000009999999747378752.
pub(crate) fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}
