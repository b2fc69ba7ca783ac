//! Colour maps.

use colorgrad::{BlendMode, Color, Gradient, GradientBuilder, LinearGradient, preset};
use image::Rgb;

use crate::name::named;

/// A colour map by name.
///
/// Diverging maps have zero at their centre, a pale neutral colour; sequential ones go from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ColorMap {
    /// Diverging: blue, white, red, like the reversed RdBu of ColorBrewer. The default.
    #[default]
    BlueRed,
    /// Diverging: dark blue, blue, white, red, dark red; stronger than [`Self::BlueRed`].
    Seismic,
    /// Diverging: blue, pale yellow, red, like the reversed RdYlBu of ColorBrewer.
    BlueYellowRed,
    /// Diverging: purple, white, green.
    PurpleGreen,
    /// Diverging: purple, white, orange.
    PurpleOrange,
    /// Diverging: brown, white, teal.
    BrownTeal,
    /// Sequential: dark violet, green, yellow.
    Viridis,
    /// Sequential: black, red, pale yellow.
    Inferno,
    /// Sequential: black, purple, cream.
    Magma,
    /// Sequential: blue, magenta, yellow.
    Plasma,
    /// Sequential: blue, grey, yellow; made for colour blindness.
    Cividis,
    /// Sequential: blue, green, red; jet with its false edges smoothed away.
    Turbo,
    /// Sequential: white to black.
    Greys,
    /// Sequential: black to white.
    BlackWhite,
    /// Sequential: white to dark red.
    Reds,
    /// Sequential: white to dark blue.
    Blues,
}

impl ColorMap {
    /// Whether its centre stands for zero.
    pub fn is_diverging(self) -> bool {
        use ColorMap::*;
        matches!(self, BlueRed | Seismic | BlueYellowRed | PurpleGreen | PurpleOrange | BrownTeal)
    }

    /// The colour at a position from 0 to 1, for a diverging map the centre at 1/2; outside of that (and for NaN)
    /// the nearest end (the lower one).
    pub fn color(self, position: f64) -> Rgb<u8> {
        self.painter()(position)
    }

    /// The same for many positions.
    pub(crate) fn painter(self) -> impl Fn(f64) -> Rgb<u8> {
        let gradient = self.gradient();
        let reversed = matches!(self, Self::BlueRed | Self::BlueYellowRed | Self::BlackWhite);
        move |position| {
            let t = if position.is_nan() { 0. } else { position.clamp(0., 1.) };
            let [r, g, b, _] = gradient.at(if reversed { 1. - t } else { t } as f32).to_rgba8();
            Rgb([r, g, b])
        }
    }

    fn gradient(self) -> Box<dyn Gradient> {
        match self {
            Self::BlueRed => Box::new(preset::rd_bu()),
            Self::Seismic => Box::new(seismic()),
            Self::BlueYellowRed => Box::new(preset::rd_yl_bu()),
            Self::PurpleGreen => Box::new(preset::pr_gn()),
            Self::PurpleOrange => Box::new(preset::pu_or()),
            Self::BrownTeal => Box::new(preset::br_bg()),
            Self::Viridis => Box::new(preset::viridis()),
            Self::Inferno => Box::new(preset::inferno()),
            Self::Magma => Box::new(preset::magma()),
            Self::Plasma => Box::new(preset::plasma()),
            Self::Cividis => Box::new(preset::cividis()),
            Self::Turbo => Box::new(preset::turbo()),
            Self::Greys | Self::BlackWhite => Box::new(preset::greys()),
            Self::Reds => Box::new(preset::reds()),
            Self::Blues => Box::new(preset::blues()),
        }
    }
}

named!(
    ColorMap,
    "colours",
    BlueRed = "blue_red",
    Seismic = "seismic",
    BlueYellowRed = "blue_yellow_red",
    PurpleGreen = "purple_green",
    PurpleOrange = "purple_orange",
    BrownTeal = "brown_teal",
    Viridis = "viridis",
    Inferno = "inferno",
    Magma = "magma",
    Plasma = "plasma",
    Cividis = "cividis",
    Turbo = "turbo",
    Greys = "greys",
    BlackWhite = "black_white",
    Reds = "reds",
    Blues = "blues",
);

fn seismic() -> LinearGradient {
    let colors = [[0, 0, 76], [0, 0, 255], [255, 255, 255], [255, 0, 0], [128, 0, 0]];
    let colors = colors.map(|[r, g, b]| Color::from_rgba8(r, g, b, 255));
    let gradient = GradientBuilder::new().colors(&colors).mode(BlendMode::Rgb).build();
    gradient.expect("BUG: five colours make a gradient")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_centres() {
        for (colors, low, centre, high) in [
            (ColorMap::BlueRed, [5, 48, 97], [242, 239, 238], [103, 0, 31]),
            (ColorMap::Seismic, [0, 0, 76], [255, 255, 255], [128, 0, 0]),
            (ColorMap::Greys, [255, 255, 255], [151, 151, 151], [0, 0, 0]),
            (ColorMap::BlackWhite, [0, 0, 0], [151, 151, 151], [255, 255, 255]),
            (ColorMap::Viridis, [68, 1, 84], [39, 131, 142], [254, 232, 37]),
        ] {
            assert_eq!([0., 0.5, 1.].map(|t| colors.color(t).0), [low, centre, high], "{colors}");
            assert_eq!([-9., f64::NAN, 9.].map(|t| colors.color(t).0), [low, low, high], "{colors}");
        }
    }

    #[test]
    fn names_are_read_back_and_diverging_centres_are_pale() {
        for &colors in ColorMap::ALL {
            assert_eq!(colors.name().parse::<ColorMap>().unwrap(), colors);
            let pale = colors.color(0.5).0.iter().all(|&c| c > 180);
            assert_eq!(pale, colors.is_diverging(), "{colors}");
        }
        assert!("jet".parse::<ColorMap>().is_err());
    }
}
