//! Gaussian blur of a map.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::error::{Result, check_array, check_within};

/// The kernel ends after this many standard deviations.
const REACH: f64 = 4.;

/// Blurs a map `[H, W]` with a Gaussian of standard deviation `sigma` in pixels, 0 to 1000; 0 changes nothing.
///
/// The map is mirrored at its edges, so its sum stays. Errors: an empty map, NaN or infinity, sigma out of range.
pub fn blur(map: ArrayView2<f64>, sigma: f64) -> Result<Array2<f64>> {
    check_array("map", &map)?;
    check_within("blur", sigma, 0., 1000.)?;
    let mut blurred = map.to_owned();
    let radius = (REACH * sigma).ceil() as usize;
    if radius == 0 {
        return Ok(blurred);
    }
    let weight = |offset: f64| (-0.5 * (offset / sigma).powi(2)).exp();
    let mut kernel: Vec<f64> = (0..=2 * radius).map(|i| weight(i as f64 - radius as f64)).collect();
    let total: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|w| *w /= total);
    for axis in [Axis(0), Axis(1)] {
        for mut lane in blurred.lanes_mut(axis) {
            let convolved: Array1<f64> = (0..lane.len())
                .map(|i| {
                    kernel
                        .iter()
                        .enumerate()
                        .map(|(k, w)| w * lane[mirrored(i + k, radius, lane.len())])
                        .sum()
                })
                .collect();
            lane.assign(&convolved);
        }
    }
    Ok(blurred)
}

/// The index `position - back`, mirrored at the edges of `0..len` (the edge value appears twice).
fn mirrored(position: usize, back: usize, len: usize) -> usize {
    let period = 2 * len;
    let index = (position + period - back % period) % period;
    index.min(period - 1 - index)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn mirrors_at_the_edges() {
        let indices: Vec<usize> = (0..9).map(|i| mirrored(i, 3, 3)).collect();
        assert_eq!(indices, [2, 1, 0, 0, 1, 2, 2, 1, 0]);
        assert_eq!(mirrored(0, 7, 2), 1);
    }

    #[test]
    fn a_point_becomes_a_gaussian_of_the_same_mass() {
        let mut map = Array2::zeros((21, 21));
        map[[10, 10]] = 3.;
        let blurred = blur(map.view(), 1.5).unwrap();
        assert!((blurred.sum() - 3.).abs() < 1e-12);
        let expected = (-0.5f64 * (2f64 / 1.5).powi(2)).exp();
        assert!((blurred[[10, 12]] / blurred[[10, 10]] - expected).abs() < 1e-12);
        assert!((blurred[[8, 12]] / blurred[[10, 10]] - expected.powi(2)).abs() < 1e-12);
    }

    #[test]
    fn a_constant_stays_and_a_ramp_stays_inside() {
        let constant = Array2::from_elem((3, 5), -2.);
        assert!(blur(constant.view(), 9.).unwrap().abs_diff_eq(&constant, 1e-12));
        let ramp = Array2::from_shape_fn((30, 30), |(y, x)| (2 * y + x) as f64);
        let blurred = blur(ramp.view(), 2.).unwrap();
        let inside = ndarray::s![8..22, 8..22];
        assert!(blurred.slice(inside).abs_diff_eq(&ramp.slice(inside), 1e-10));
    }

    #[test]
    fn settings_out_of_range_are_errors() {
        for sigma in [-1., 1e9, f64::NAN] {
            assert!(blur(array![[1.]].view(), sigma).is_err());
        }
        assert_eq!(blur(array![[1., 2.]].view(), 0.).unwrap(), array![[1., 2.]]);
    }
}
