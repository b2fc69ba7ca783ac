//! How an attribution with channels becomes one map.

use ndarray::{Array2, ArrayView3, Axis};

use crate::error::{Error, Result, check_array, invalid};

/// How the channels of a pixel become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// `Σ x`, which keeps completeness: the map sums to what the attribution sums to. The default.
    #[default]
    Sum,
    /// `Σ |x|`.
    SumAbs,
    /// The value of largest magnitude with its sign; the first of equals.
    MaxAbs,
    /// `Σ x / C`.
    Mean,
    /// `sqrt(Σ x²)`.
    Norm,
    /// One channel, counted from 0.
    Channel(usize),
}

impl Channels {
    /// One map `[H, W]` of an attribution `[C, H, W]`.
    ///
    /// Errors: an empty array, NaN or infinity, a channel the attribution doesn't have, a sum too large for f64.
    pub fn combine(self, attribution: ArrayView3<f64>) -> Result<Array2<f64>> {
        check_array("attribution", &attribution)?;
        let axis = Axis(0);
        let count = attribution.len_of(axis);
        let map = match self {
            Self::Sum => attribution.sum_axis(axis),
            Self::SumAbs => attribution.fold_axis(axis, 0., |sum, x| sum + x.abs()),
            Self::MaxAbs => {
                attribution.fold_axis(axis, 0., |&m: &f64, &x| if x.abs() > m.abs() { x } else { m })
            }
            Self::Mean => attribution.fold_axis(axis, 0., |sum, x| sum + x / count as f64),
            Self::Norm => attribution.fold_axis(axis, 0., |norm: &f64, &x| norm.hypot(x)),
            Self::Channel(i) if i < count => attribution.index_axis(axis, i).to_owned(),
            Self::Channel(i) => return Err(invalid("channel", format_args!("0 to {}", count - 1), i)),
        };
        check_array("combined channels", &map.view())?;
        Ok(map)
    }
}

impl std::fmt::Display for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sum => f.pad("sum"),
            Self::SumAbs => f.pad("sum_abs"),
            Self::MaxAbs => f.pad("max_abs"),
            Self::Mean => f.pad("mean"),
            Self::Norm => f.pad("norm"),
            Self::Channel(i) => f.pad(&i.to_string()),
        }
    }
}

/// A name as displayed; one channel is its number.
impl std::str::FromStr for Channels {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = [Self::Sum, Self::SumAbs, Self::MaxAbs, Self::Mean, Self::Norm];
        let wanted = text.trim().to_ascii_lowercase().replace('-', "_");
        let named = named.into_iter().find(|one| one.to_string() == wanted);
        named.or_else(|| wanted.parse().ok().map(Self::Channel)).ok_or_else(|| {
            invalid("channels", "sum, sum_abs, max_abs, mean, norm or a number", format_args!("{text:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    #[test]
    fn every_way_on_two_pixels_of_two_channels() {
        let attribution = array![[[3., -1.]], [[-4., 1.]]];
        for (channels, expected) in [
            (Channels::Sum, [-1., 0.]),
            (Channels::SumAbs, [7., 2.]),
            (Channels::MaxAbs, [-4., -1.]),
            (Channels::Mean, [-0.5, 0.]),
            (Channels::Norm, [5., 2f64.sqrt()]),
            (Channels::Channel(1), [-4., 1.]),
        ] {
            let map = channels.combine(attribution.view()).unwrap();
            assert!(map.abs_diff_eq(&array![expected], 1e-15), "{channels}: {map}");
            assert_eq!(channels.to_string().parse::<Channels>().unwrap(), channels);
        }
        assert!("median".parse::<Channels>().is_err());
    }

    #[test]
    fn bad_attributions_are_errors() {
        let found = Channels::Channel(2).combine(Array3::zeros((2, 1, 1)).view()).unwrap_err();
        assert_eq!(found.to_string(), "channel: expected 0 to 1, found 2");
        assert!(Channels::Sum.combine(Array3::zeros((0, 2, 2)).view()).is_err());
        assert!(Channels::Sum.combine(Array3::from_elem((2, 1, 1), 1e308).view()).is_err());
    }
}
