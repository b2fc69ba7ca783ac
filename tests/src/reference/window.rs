//! Windows that slide over spatial axes: convolution and pooling.

use ndarray::{Dimension, IxDyn, indices};

/// A window of kernel entries along each spatial axis.
pub(super) struct Window<'a> {
    pub(super) kernel: &'a [usize],
    pub(super) stride: &'a [usize],
    pub(super) padding: &'a [(usize, usize)],
    pub(super) dilation: &'a [usize],
    /// Whether a last window that reaches beyond the padded value still counts.
    pub(super) ceil: bool,
}

/// One entry of a window laid over the value.
pub(super) struct Entry {
    /// Its place in the kernel.
    pub(super) kernel: Vec<usize>,
    /// Its place in the value; `None` where it lies outside.
    pub(super) value: Option<Vec<usize>>,
    /// Whether it lies in the value or its padding, not beyond both.
    pub(super) padded: bool,
}

impl Window<'_> {
    /// The number of places the window takes along each spatial axis of a value of these lengths.
    pub(super) fn places(&self, sizes: &[usize]) -> Vec<usize> {
        (0..sizes.len()).map(|axis| self.places_along(axis, sizes[axis])).collect()
    }

    /// A place counts if the window starts there inside the value or the padding before it, and, unless
    /// `ceil`, ends inside the padded value. With `ceil` one place more counts where the last one before
    /// did not reach the end of the padded value.
    fn places_along(&self, axis: usize, size: usize) -> usize {
        let padded = size + self.padding[axis].0 + self.padding[axis].1;
        let end =
            |place: usize| place * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        let starts_before_the_end = |place: usize| place * self.stride[axis] < size + self.padding[axis].0;
        let counts = |place: usize| match end(place) <= padded {
            true => true,
            false => self.ceil && place > 0 && end(place - 1) < padded && starts_before_the_end(place),
        };
        (0..).take_while(|&place| counts(place)).count()
    }

    /// The entries of the window at a place, in row-major order.
    pub(super) fn entries(&self, place: &[usize], sizes: &[usize]) -> Vec<Entry> {
        indices(IxDyn(self.kernel))
            .into_iter()
            .map(|kernel| {
                let kernel = kernel.as_array_view().to_vec();
                let at: Vec<_> = (0..sizes.len())
                    .map(|axis| {
                        (place[axis] * self.stride[axis] + kernel[axis] * self.dilation[axis]) as isize
                            - self.padding[axis].0 as isize
                    })
                    .collect();
                let inside = (0..sizes.len()).all(|axis| 0 <= at[axis] && at[axis] < sizes[axis] as isize);
                let padded =
                    (0..sizes.len()).all(|axis| at[axis] < (sizes[axis] + self.padding[axis].1) as isize);
                let value = inside.then(|| at.iter().map(|&i| i as usize).collect());
                Entry { kernel, value, padded }
            })
            .collect()
    }
}
