//! Cutting off outliers, so that one hot pixel doesn't darken all others.

use ndarray::{Array2, ArrayView2};

use crate::error::{Result, check_array, check_within};

/// Limits a map `[H, W]` to ± the given percentile (0 to 100) of its magnitudes; 100 changes nothing.
///
/// Where the percentile is 0 (a map with few values that aren't), nothing is cut off: no map is clipped to zero.
/// Errors: an empty map, NaN or infinity, a percentile out of range.
pub fn clip(map: ArrayView2<f64>, percentile: f64) -> Result<Array2<f64>> {
    check_array("map", &map)?;
    check_within("clip percentile", percentile, 0., 100.)?;
    let limit = percentile_of(map.iter().map(|v| v.abs()), percentile);
    Ok(if limit > 0. { map.mapv(|v| v.clamp(-limit, limit)) } else { map.to_owned() })
}

/// The percentile of at least one finite value, interpolated between the two nearest ranks.
pub(crate) fn percentile_of(values: impl Iterator<Item = f64>, percentile: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = percentile / 100. * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn percentile_interpolates_between_ranks() {
        for (percentile, expected) in [(0., 1.), (50., 2.5), (75., 3.25), (100., 4.)] {
            assert_eq!(percentile_of([4., 1., 3., 2.].into_iter(), percentile), expected);
        }
    }

    #[test]
    fn clip_is_symmetric_and_keeps_sparse_maps() {
        let map = array![[1., -2., 3., -100., 0.]];
        assert_eq!(clip(map.view(), 75.).unwrap(), array![[1., -2., 3., -3., 0.]]);
        assert_eq!(clip(map.view(), 100.).unwrap(), map);
        let sparse = array![[0., 0., 0., 0., 7.]];
        assert_eq!(clip(sparse.view(), 50.).unwrap(), sparse);
        assert!(clip(map.view(), 101.).is_err());
    }
}
