//! A tensor: numbers of one kind, and how they lie.

use bytes::Bytes;

/// A kind of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Element {
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
    Bool,
}

impl Element {
    /// How many bytes a number has.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }
}

/// No tensor has more axes.
pub(crate) const MOST_AXES: usize = 16;

/// A view of numbers that lie in a file, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    element: Element,
    shape: Vec<usize>,
    /// How many numbers lie between neighbours along each axis.
    strides: Vec<usize>,
    /// The first number's place among those of the storage.
    offset: usize,
    storage: Bytes,
}

impl Tensor {
    /// A view of a storage: of this shape, with steps and an offset that count numbers.
    ///
    /// # Errors
    ///
    /// What was expected, where the view is not within the storage, or larger than it, or has more than 16 axes.
    pub fn new(
        element: Element,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        storage: Bytes,
    ) -> Result<Self, String> {
        if shape.len() > MOST_AXES {
            return Err(format!("expected at most {MOST_AXES} axes, found {}", shape.len()));
        }
        let held = storage.len() / element.size();
        let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
        if count.is_none_or(|count| count > held) || shape.len() != strides.len() {
            return Err(format!(
                "expected shape {shape:?} with strides {strides:?} in a storage of {held} numbers"
            ));
        }
        let steps =
            shape.iter().zip(&strides).map(|(&dim, &stride)| dim.saturating_sub(1).checked_mul(stride));
        let last = steps.into_iter().try_fold(offset, |at, step| at.checked_add(step?));
        if count != Some(0) && last.is_none_or(|last| last >= held) {
            return Err(format!(
                "its strides {strides:?} from {offset} on reach beyond its storage of {held} numbers"
            ));
        }
        Ok(Tensor { element, shape, strides, offset, storage })
    }

    /// A tensor whose numbers lie in row-major order.
    ///
    /// # Errors
    ///
    /// As [`Tensor::new`].
    pub fn row_major(element: Element, shape: Vec<usize>, storage: Bytes) -> Result<Self, String> {
        let mut strides = vec![1usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
        }
        Tensor::new(element, shape, strides, 0, storage)
    }

    /// The kind of its numbers.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers in row-major order, little-endian: a part of the file where they lie so there, else a copy.
    pub fn to_bytes(&self) -> Bytes {
        let (each, count) = (self.element.size(), self.shape.iter().product::<usize>());
        if count == 0 {
            return Bytes::new();
        }
        if self.is_row_major() {
            return self.storage.slice(self.offset * each..(self.offset + count) * each);
        }
        let mut bytes = Vec::with_capacity(count * each);
        for i in 0..count {
            let (mut rest, mut at) = (i, self.offset);
            for (&dim, &stride) in self.shape.iter().zip(&self.strides).rev() {
                at += rest % dim * stride;
                rest /= dim;
            }
            bytes.extend_from_slice(&self.storage[at * each..(at + 1) * each]);
        }
        bytes.into()
    }

    /// Whether [`Tensor::to_bytes`] takes the numbers as they lie.
    pub fn is_row_major(&self) -> bool {
        let mut step = 1usize;
        self.shape.iter().zip(&self.strides).rev().all(|(&dim, &stride)| {
            let fits = dim == 1 || stride == step;
            step = step.saturating_mul(dim);
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the storage 0, 1, 2, 3.
    fn view(offset: usize, shape: &[usize], strides: &[usize]) -> Option<Vec<u8>> {
        let storage = Bytes::from_static(&[0, 1, 2, 3]);
        let tensor = Tensor::new(Element::U8, shape.into(), strides.into(), offset, storage).ok()?;
        Some(tensor.to_bytes().into())
    }

    #[test]
    fn a_view_is_within_its_storage() {
        assert_eq!(view(1, &[3], &[1]), Some(vec![1, 2, 3]));
        assert_eq!(view(0, &[2, 1, 2], &[1, 9, 2]), Some(vec![0, 2, 1, 3]));
        assert_eq!(view(3, &[], &[]), Some(vec![3]));
        assert_eq!(view(3, &[2, 2], &[0, 0]), Some(vec![3; 4]), "repeated numbers");
        assert_eq!(view(9, &[0, 7], &[1, 1]), Some(vec![]), "nothing at all");
        assert_eq!(view(2, &[3], &[1]), None, "it ends behind the storage");
        assert_eq!(view(4, &[], &[]), None, "it begins behind the storage");
        assert_eq!(view(0, &[2, 2], &[2]), None, "it has too few strides");
        assert_eq!(view(0, &[5], &[0]), None, "it is larger than what the file holds");
        assert_eq!(view(0, &[1; 17], &[1; 17]), None, "it has too many axes");
        assert_eq!(view(usize::MAX, &[usize::MAX, 2], &[2, 1]), None, "it overflows");
        assert_eq!(view(usize::MAX, &[2], &[2]), None, "it overflows");
    }

    #[test]
    fn numbers_of_more_bytes_keep_theirs_together() {
        let storage = Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let tensor = Tensor::new(Element::F16, vec![2, 2], vec![1, 2], 0, storage.clone()).unwrap();
        assert_eq!(&tensor.to_bytes()[..], [1, 2, 5, 6, 3, 4, 7, 8]);
        let tensor = Tensor::row_major(Element::F16, vec![2, 1, 2], storage.clone()).unwrap();
        assert_eq!(tensor.to_bytes(), storage);
    }
}
