//! The legend of a colour map.

use image::{Rgb, RgbImage};

use crate::colors::ColorMap;
use crate::error::{Result, check_within, invalid};
use crate::text::{Align, Block, fit};

const BAR_WIDTH: u32 = 16;
const TICK: u32 = 5;
const LABEL_WIDTH: u32 = 90;
const FRAME: Rgb<u8> = Rgb([150, 150, 155]);

/// Colours and the values at their ends, as [`crate::Heatmap::limits`] gives them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColorBar {
    /// The colours.
    pub colors: ColorMap,
    /// The value at the lower end; 0 by default.
    pub min: f64,
    /// The value at the upper end; 1 by default.
    pub max: f64,
}

impl Default for ColorBar {
    fn default() -> Self {
        Self { colors: ColorMap::default(), min: 0., max: 1. }
    }
}

/// An upright colour bar on white, `height` pixels high (40 to 4096), its ends and centre labelled.
///
/// The centre of diverging colours is labelled 0 if the values at the ends differ in sign; else, and for sequential
/// colours, it is the mean of the two. Errors: NaN or infinity, a height out of range.
pub fn color_bar(colors: ColorMap, min: f64, max: f64, height: u32) -> Result<RgbImage> {
    ColorBar { colors, min, max }.render(height)
}

impl ColorBar {
    /// See [`color_bar`].
    pub fn render(&self, height: u32) -> Result<RgbImage> {
        check_within("height of the colour bar", height.into(), 40., 4096.)?;
        for value in [self.min, self.max] {
            if !value.is_finite() {
                return Err(invalid("end of the colour bar", "a finite number", value));
            }
        }
        let centred = self.colors.is_diverging() && self.min < 0. && self.max > 0.;
        let middle = if centred { 0. } else { self.min / 2. + self.max / 2. };
        let labels = fit(&[self.max, middle, self.min].map(short), LABEL_WIDTH, 1);
        let label_left = BAR_WIDTH + TICK + 4;
        let label_height = labels.iter().map(Block::height).max().unwrap_or(0);
        let label_width = labels.iter().map(Block::width).max().unwrap_or(0);

        let mut image = RgbImage::from_pixel(label_left + label_width, height, Rgb([255; 3]));
        let paint = self.colors.painter();
        for y in 0..height {
            let color = paint(1. - f64::from(y) / f64::from(height - 1));
            for x in 0..BAR_WIDTH {
                let edge = x == 0 || x == BAR_WIDTH - 1 || y == 0 || y == height - 1;
                image.put_pixel(x, y, if edge { FRAME } else { color });
            }
        }
        for (label, at) in labels.iter().zip([0, (height - 1) / 2, height - 1]) {
            (BAR_WIDTH..BAR_WIDTH + TICK).for_each(|x| image.put_pixel(x, at, FRAME));
            let top = at.saturating_sub(label_height / 2).min(height - label_height);
            label.draw(&mut image, label_left, top, Align::Left);
        }
        Ok(image)
    }
}

/// Three significant digits.
pub(crate) fn short(value: f64) -> String {
    let value = value + 0.; // -0 becomes 0
    let magnitude = value.abs();
    if magnitude == 0. || (1e-3..1e5).contains(&magnitude) {
        let digits = 2 - magnitude.max(1e-9).log10().floor() as i32;
        let text = format!("{value:.*}", digits.clamp(0, 5) as usize);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        text.to_string()
    } else {
        format!("{value:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (-0., "0"),
            (1., "1"),
            (-0.25, "-0.25"),
            (0.012345, "0.0123"),
            (1234.5, "1234"),
            (3e-7, "3.0e-7"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn ends_have_the_colours_of_the_ends() {
        let bar = color_bar(ColorMap::Seismic, -1., 3., 101).unwrap();
        assert_eq!(bar.height(), 101);
        assert_eq!(
            [bar[(8, 1)].0, bar[(8, 50)].0, bar[(8, 99)].0],
            [[133, 0, 0], [255, 255, 255], [0, 0, 83]]
        );
        assert!(color_bar(ColorMap::Seismic, 0., f64::NAN, 100).is_err());
        assert!(color_bar(ColorMap::Seismic, 0., 1., 3).is_err());
    }
}
