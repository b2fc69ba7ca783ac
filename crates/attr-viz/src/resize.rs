//! Resizing of a map.

use ndarray::{Array2, ArrayView2};

use crate::error::{Result, check_array, check_within};

/// The longest side of a map or picture, in pixels; also the most that JPEG can hold.
pub(crate) const LONGEST_SIDE: f64 = 65_535.;

/// Resizes a map `[h, w]` to `[height, width]`, bilinear with half-pixel centres.
///
/// Pixel `i` of `n` lies at `(i + 1/2) / n` of the side, and the map continues past its edges with their values.
/// Nothing is averaged where the map gets smaller: [`crate::blur`] it before. Errors: an empty map, NaN or infinity,
/// a side that isn't 1 to 65535.
pub fn resize(map: ArrayView2<f64>, height: usize, width: usize) -> Result<Array2<f64>> {
    check_array("map", &map)?;
    check_within("height", height as f64, 1., LONGEST_SIDE)?;
    check_within("width", width as f64, 1., LONGEST_SIDE)?;
    let (rows, columns) = (samples(map.nrows(), height), samples(map.ncols(), width));
    Ok(Array2::from_shape_fn((height, width), |(y, x)| {
        let ((top, bottom, v), (left, right, u)) = (rows[y], columns[x]);
        let along = |row: usize| map[[row, left]] * (1. - u) + map[[row, right]] * u;
        along(top) * (1. - v) + along(bottom) * v
    }))
}

/// For each of `to` pixels: its two neighbours among `from` pixels and the weight of the second.
fn samples(from: usize, to: usize) -> Vec<(usize, usize, f64)> {
    let last = from - 1;
    (0..to)
        .map(|i| {
            let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0., last as f64);
            (at as usize, (at as usize + 1).min(last), at.fract())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn two_by_two_to_four_by_four() {
        let found = resize(array![[0., 4.], [8., 12.]].view(), 4, 4).unwrap();
        let expected = array![[0., 1., 3., 4.], [2., 3., 5., 6.], [6., 7., 9., 10.], [8., 9., 11., 12.]];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_same_size_changes_nothing_and_smaller_samples_centres() {
        let map = array![[1., 2., 3., 4.]];
        assert_eq!(resize(map.view(), 1, 4).unwrap(), map);
        assert_eq!(resize(map.view(), 1, 2).unwrap(), array![[1.5, 3.5]]);
        assert!(resize(map.view(), 0, 4).is_err());
        assert!(resize(map.view(), 1, usize::MAX).is_err());
    }
}
