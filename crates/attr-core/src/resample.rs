//! Maps brought to another size, as two matrix products with the taps of a resize.

use ndarray::ArrayD;

use crate::{Coordinates, Interpolation, Resize, Result, Tensor};

/// `[B, C, h, w]` brought to `[B, C, size...]`.
pub(crate) fn resize<T: Tensor>(
    map: &T,
    size: &[usize],
    mode: Interpolation,
    coordinates: Coordinates,
) -> Result<T> {
    let old = map.dims()[2..].to_vec();
    let scale = size.iter().zip(&old).map(|(&new, &old)| new as f64 / old as f64).collect();
    let resize = Resize::new(size.to_vec(), scale, mode, coordinates);
    let matrix = |axis: usize| {
        let mut matrix = ArrayD::zeros(vec![1, 1, size[axis], old[axis]]);
        for (row, taps) in resize.taps(axis, old[axis]).into_iter().enumerate() {
            taps.into_iter().for_each(|(entry, weight)| matrix[[0, 0, row, entry]] += weight);
        }
        map.like(&matrix)
    };
    matrix(0)?.matmul(map)?.matmul(&matrix(1)?.permute(&[0, 1, 3, 2])?)
}
