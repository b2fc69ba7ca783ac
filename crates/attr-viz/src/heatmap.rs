//! A map painted in colours, alone or over the photo.

use image::{Rgb, RgbImage};
use ndarray::{Array2, ArrayView2};

use crate::colors::ColorMap;
use crate::error::{Result, check_photo, check_within};
use crate::normalize::{Normalization, extent, peak, ratio};
use crate::{blur, clip, resize};

/// How a map is painted: first blurred, then clipped, then normalised, then coloured.
///
/// A diverging colour map has zero at its centre. `unnormalized` values are taken as they are, from -1 to 1 for
/// diverging colours and from 0 to 1 for sequential ones, and aren't clipped: then the same value has the same
/// colour in every picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    /// The colours; [`ColorMap::BlueRed`] by default: positive is red, negative blue.
    pub colors: ColorMap,
    /// The normalisation; by default (`None`) [`Normalization::UnsignedMax`] for diverging colours and
    /// [`Normalization::MagnitudeMax`] for sequential ones.
    pub normalization: Option<Normalization>,
    /// Magnitudes above this percentile (0 to 100, 99 by default) are cut off, see [`clip`]; 100 cuts off nothing.
    pub clip: f64,
    /// The standard deviation of a Gaussian blur in pixels of the picture, see [`blur`]; 0, none, by default.
    pub blur: f64,
    /// The opacity of the map over a photo, 0 to 1; 0.6 by default.
    pub opacity: f64,
    /// Whether the opacity falls to 0 where the map does, so that the photo shows there; false by default.
    pub fade: bool,
}

impl Default for Heatmap {
    fn default() -> Self {
        Self {
            colors: ColorMap::BlueRed,
            normalization: None,
            clip: 99.,
            blur: 0.,
            opacity: 0.6,
            fade: false,
        }
    }
}

impl Heatmap {
    /// Paints a map `[H, W]`: an image of H rows and W columns; [`resize`] the map before for another size.
    ///
    /// Errors: an empty map, NaN or infinity, a setting out of range.
    pub fn render(&self, map: ArrayView2<f64>) -> Result<RgbImage> {
        let positions = self.positions(map)?;
        let paint = self.colors.painter();
        Ok(image_of(positions.view(), |_, _, t| paint(t)))
    }

    /// Paints a map `[H, W]` over a photo, to whose size it is resized.
    ///
    /// Errors: as [`Self::render`]; an empty photo.
    pub fn overlay(&self, map: ArrayView2<f64>, photo: &RgbImage) -> Result<RgbImage> {
        check_photo(photo)?;
        check_within("opacity", self.opacity, 0., 1.)?;
        let resized = resize(map, photo.height() as usize, photo.width() as usize)?;
        let positions = self.positions(resized.view())?;
        let paint = self.colors.painter();
        Ok(image_of(positions.view(), |x, y, t| {
            let strength = match (self.fade, self.colors.is_diverging()) {
                (false, _) => 1.,
                (true, true) => (2. * t - 1.).abs(),
                (true, false) => t,
            };
            blend(*photo.get_pixel(x, y), paint(t), self.opacity * strength)
        }))
    }

    /// The values of the map at the two ends of the colours, for a [`crate::ColorBar`]. The centre of diverging
    /// colours is zero, unless the normalisation is `01`. Where the normalisation takes magnitudes, so does the upper
    /// end.
    ///
    /// Errors: as [`Self::render`].
    pub fn limits(&self, map: ArrayView2<f64>) -> Result<(f64, f64)> {
        use Normalization::*;
        let clipped = self.blurred_and_clipped(map)?;
        let (min, max) = extent(clipped.view());
        let peak = peak(clipped.view());
        let lowest = if self.colors.is_diverging() { -1. } else { 0. };
        Ok(match self.chosen_normalization() {
            UnsignedMax | UnsignedMaxPositiveCentered => (-peak, peak),
            MagnitudeMax | MagnitudeSum => (lowest * peak, peak),
            SignedMax | SignedMaxPositiveCentered => (min.min(0.), max.max(0.)),
            SignedSum => {
                let positive = clipped.iter().map(|v| v.max(0.)).sum::<f64>();
                let negative = clipped.iter().map(|v| v.min(0.)).sum::<f64>();
                let share = ratio(max, positive).max(ratio(min, negative));
                (share * negative, share * positive)
            }
            Range => (min, max),
            Unnormalized => (lowest, 1.),
        })
    }

    fn chosen_normalization(&self) -> Normalization {
        self.normalization.unwrap_or(match self.colors.is_diverging() {
            true => Normalization::UnsignedMax,
            false => Normalization::MagnitudeMax,
        })
    }

    fn blurred_and_clipped(&self, map: ArrayView2<f64>) -> Result<Array2<f64>> {
        let blurred = blur(map, self.blur)?;
        match self.chosen_normalization() {
            Normalization::Unnormalized => Ok(blurred),
            _ => clip(blurred.view(), self.clip),
        }
    }

    /// The map as positions 0 to 1 on the colour map.
    fn positions(&self, map: ArrayView2<f64>) -> Result<Array2<f64>> {
        use Normalization::*;
        let diverging = self.colors.is_diverging();
        let normalization = self.chosen_normalization();
        let normalized = normalization.apply(self.blurred_and_clipped(map)?.view())?;
        let peak = peak(normalized.view());
        let upper_half = |v: f64| if diverging { 0.5 + v / 2. } else { v };
        Ok(normalized.mapv(|v| match normalization {
            UnsignedMaxPositiveCentered | SignedMaxPositiveCentered => v,
            UnsignedMax | SignedMax | SignedSum => 0.5 + ratio(v, peak) / 2.,
            MagnitudeMax | MagnitudeSum => upper_half(ratio(v, peak)),
            // The lower end of diverging colours would say that a constant map is all negative.
            Range if peak == 0. => upper_half(0.),
            Range => v,
            Unnormalized => upper_half(v.clamp(if diverging { -1. } else { 0. }, 1.)),
        }))
    }
}

/// The image of a map `[H, W]`, pixel by pixel of x, y and the value there.
pub(crate) fn image_of(map: ArrayView2<f64>, pixel: impl Fn(u32, u32, f64) -> Rgb<u8>) -> RgbImage {
    let (height, width) = map.dim();
    RgbImage::from_fn(width as u32, height as u32, |x, y| pixel(x, y, map[[y as usize, x as usize]]))
}

/// `over` on top of `under` with an opacity of 0 to 1.
pub(crate) fn blend(under: Rgb<u8>, over: Rgb<u8>, opacity: f64) -> Rgb<u8> {
    let mix = |i: usize| f64::from(under.0[i]) * (1. - opacity) + f64::from(over.0[i]) * opacity;
    Rgb([0, 1, 2].map(|i| mix(i).round() as u8))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::error::check_array;

    const EXACT: f64 = 100.;

    #[test]
    fn zero_is_the_centre_and_the_peaks_are_the_ends_of_diverging_colours() {
        let image =
            Heatmap { clip: EXACT, ..Heatmap::default() }.render(array![[-2., 0., 1., 2.]].view()).unwrap();
        let expected = [0., 0.5, 0.75, 1.].map(|t| ColorMap::BlueRed.color(t));
        assert_eq!(image.pixels().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn positions_and_limits_of_every_normalization() {
        let map = array![[-2., 0., 1., 4.]];
        for (name, diverging, sequential, limits) in [
            ("unsigned_max", [0.25, 0.5, 0.625, 1.], [0.25, 0.5, 0.625, 1.], (-4., 4.)),
            ("unsigned_max_positive_centered", [0.25, 0.5, 0.625, 1.], [0.25, 0.5, 0.625, 1.], (-4., 4.)),
            ("magnitude_max", [0.75, 0.5, 0.625, 1.], [0.5, 0., 0.25, 1.], (-4., 4.)),
            ("magnitude_sum", [0.75, 0.5, 0.625, 1.], [0.5, 0., 0.25, 1.], (-4., 4.)),
            ("signed_max", [0., 0.5, 0.625, 1.], [0., 0.5, 0.625, 1.], (-2., 4.)),
            ("signed_max_positive_centered", [0., 0.5, 0.625, 1.], [0., 0.5, 0.625, 1.], (-2., 4.)),
            ("signed_sum", [0., 0.5, 0.6, 0.9], [0., 0.5, 0.6, 0.9], (-2., 5.)),
            ("01", [0., 1. / 3., 0.5, 1.], [0., 1. / 3., 0.5, 1.], (-2., 4.)),
            ("unnormalized", [0., 0.5, 1., 1.], [0., 0., 1., 1.], (-1., 1.)),
        ] {
            let normalization = Some(name.parse().unwrap());
            let heatmap = Heatmap { normalization, clip: EXACT, ..Heatmap::default() };
            assert_eq!(heatmap.limits(map.view()).unwrap(), limits, "{name}");
            for (colors, expected) in [(ColorMap::BlueRed, diverging), (ColorMap::Magma, sequential)] {
                let found = Heatmap { colors, ..heatmap.clone() }.positions(map.view()).unwrap();
                assert!(found.abs_diff_eq(&array![expected], 1e-15), "{name}, {colors}: {found}");
            }
        }
    }

    #[test]
    fn zero_and_constant_maps_are_plain() {
        for colors in [ColorMap::BlueRed, ColorMap::Magma] {
            for normalization in Normalization::ALL.iter().copied().map(Some) {
                for value in [0., -3.] {
                    let heatmap = Heatmap { colors, normalization, ..Heatmap::default() };
                    let positions = heatmap.positions(array![[value, value]].view()).unwrap();
                    check_array("positions", &positions.view()).unwrap();
                    assert_eq!(positions[[0, 0]], positions[[0, 1]]);
                    let centred = colors.is_diverging() && value == 0.;
                    assert!(!centred || positions[[0, 0]] == 0.5, "{normalization:?}");
                }
            }
        }
    }

    #[test]
    fn overlay_blends_and_fades() {
        let photo = RgbImage::from_pixel(2, 2, Rgb([100, 200, 0]));
        let map = array![[0., 0.], [1., 1.]];
        let heatmap = Heatmap { opacity: 0.5, colors: ColorMap::BlackWhite, ..Heatmap::default() };
        let half = heatmap.overlay(map.view(), &photo).unwrap();
        assert_eq!([half[(0, 0)].0, half[(0, 1)].0], [[50, 100, 0], [178, 228, 128]]);
        let faded = Heatmap { fade: true, ..heatmap.clone() }.overlay(map.view(), &photo).unwrap();
        assert_eq!([faded[(0, 0)].0, faded[(0, 1)].0], [[100, 200, 0], [178, 228, 128]]);
        assert_eq!(heatmap.overlay(array![[1.]].view(), &RgbImage::new(5, 3)).unwrap().dimensions(), (5, 3));
    }

    #[test]
    fn bad_input_is_an_error() {
        let photo = RgbImage::new(2, 2);
        let map = array![[1.]];
        assert!(Heatmap { opacity: 1.5, ..Heatmap::default() }.overlay(map.view(), &photo).is_err());
        assert!(Heatmap { clip: -1., ..Heatmap::default() }.render(map.view()).is_err());
        assert!(Heatmap::default().overlay(map.view(), &RgbImage::new(0, 0)).is_err());
        assert!(Heatmap::default().render(array![[f64::NAN]].view()).is_err());
    }
}
