//! The photo with its unimportant parts dimmed.

use image::{Rgb, RgbImage};
use ndarray::ArrayView2;

use crate::clip::percentile_of;
use crate::error::{Result, check_photo, check_within};
use crate::heatmap::{blend, image_of};
use crate::normalize::Normalization;
use crate::{blur, resize};

/// How a photo is dimmed by a map: the map is resized to the photo, blurred, normalised to 0 to 1 (`01`) and
/// compared with one of its percentiles. A constant map marks nothing: the whole photo is dimmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// The standard deviation of a Gaussian blur in pixels of the photo, see [`blur`]; 5 by default.
    pub blur: f64,
    /// Pixels at or below this quantile of the map (0 to 1) are dimmed; 0.5 by default.
    pub threshold: f64,
    /// The brightness left to dimmed pixels, 0 to 1; 0.2 by default.
    pub masked_opacity: f64,
    /// Whether negative values count as zero, and zero is always dimmed; true by default.
    pub positive_only: bool,
    /// Whether the brightness is the normalised map itself, without regard to `threshold` and `masked_opacity`;
    /// false by default.
    pub use_attribution_as_opacity: bool,
}

impl Default for Mask {
    fn default() -> Self {
        Self {
            blur: 5.,
            threshold: 0.5,
            masked_opacity: 0.2,
            positive_only: true,
            use_attribution_as_opacity: false,
        }
    }
}

impl Mask {
    /// Dims a photo by a map `[H, W]` of any size.
    ///
    /// Errors: an empty map or photo, NaN or infinity, a setting out of range.
    pub fn apply(&self, map: ArrayView2<f64>, photo: &RgbImage) -> Result<RgbImage> {
        check_photo(photo)?;
        check_within("threshold", self.threshold, 0., 1.)?;
        check_within("masked opacity", self.masked_opacity, 0., 1.)?;
        let resized = resize(map, photo.height() as usize, photo.width() as usize)?;
        let mut map = blur(resized.view(), self.blur)?;
        if self.positive_only {
            map.mapv_inplace(|v| v.max(0.));
        }
        let map = Normalization::Range.apply(map.view())?;
        let limit = percentile_of(map.iter().copied(), 100. * self.threshold);
        Ok(image_of(map.view(), |x, y, value| {
            let opacity = match self.use_attribution_as_opacity {
                true => value,
                false if value > limit => 1.,
                false => self.masked_opacity,
            };
            blend(Rgb([0, 0, 0]), *photo.get_pixel(x, y), opacity)
        }))
    }
}

/// Shows where one channel of a layer is active: [`Mask`] without blur, by the activation map `[h, w]` of the channel,
/// which is enlarged to the photo. For other settings call [`Mask::apply`] with that map.
///
/// Errors: an empty map or photo, NaN or infinity.
pub fn channel_mask(activation: ArrayView2<f64>, photo: &RgbImage) -> Result<RgbImage> {
    Mask { blur: 0., ..Mask::default() }.apply(activation, photo)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn each_setting_on_four_pixels() {
        let photo = RgbImage::from_pixel(4, 1, Rgb([100, 50, 0]));
        let map = array![[-4., -2., 2., 4.]];
        let sharp = Mask { blur: 0., ..Mask::default() };
        for (mask, expected) in [
            (sharp.clone(), [20, 20, 100, 100]),
            (Mask { threshold: 0.75, ..sharp.clone() }, [20, 20, 20, 100]),
            (Mask { threshold: 0., ..sharp.clone() }, [20, 20, 100, 100]),
            (Mask { threshold: 0., positive_only: false, ..sharp.clone() }, [20, 100, 100, 100]),
            (Mask { masked_opacity: 0., ..sharp.clone() }, [0, 0, 100, 100]),
            (Mask { use_attribution_as_opacity: true, ..sharp.clone() }, [0, 0, 50, 100]),
            (Mask { use_attribution_as_opacity: true, positive_only: false, ..sharp }, [0, 25, 75, 100]),
        ] {
            let found = mask.apply(map.view(), &photo).unwrap();
            assert_eq!(found.pixels().map(|p| p.0[0]).collect::<Vec<_>>(), expected, "{mask:?}");
            assert!(found.pixels().all(|p| p.0[1] == p.0[0] / 2 || p.0[0] % 2 == 1));
        }
    }

    #[test]
    fn channel_mask_enlarges_the_activation() {
        let photo = RgbImage::from_pixel(4, 2, Rgb([200, 200, 200]));
        let found = channel_mask(array![[0., 1.]].view(), &photo).unwrap();
        assert_eq!(found.pixels().map(|p| p.0[0]).collect::<Vec<_>>(), [40, 40, 200, 200, 40, 40, 200, 200]);
    }

    #[test]
    fn zero_maps_dim_all_and_bad_settings_are_errors() {
        let photo = RgbImage::from_pixel(2, 2, Rgb([10, 10, 10]));
        let found = Mask::default().apply(Array2::zeros((3, 3)).view(), &photo).unwrap();
        assert!(found.pixels().all(|p| p.0 == [2, 2, 2]));
        let map = array![[1.]];
        assert!(Mask { threshold: 50., ..Mask::default() }.apply(map.view(), &photo).is_err());
        assert!(Mask { masked_opacity: f64::NAN, ..Mask::default() }.apply(map.view(), &photo).is_err());
        assert!(Mask::default().apply(map.view(), &RgbImage::new(0, 1)).is_err());
    }
}
