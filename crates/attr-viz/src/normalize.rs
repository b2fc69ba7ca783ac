//! Normalisations: how the values of a map are brought to a known range. Those of TruLens, by its names.

use ndarray::{Array2, ArrayView2};

use crate::error::{Result, check_array};
use crate::name::named;

/// How a map is normalised; `x` is a value of the map, max, min and Σ go over the whole map, and 0 / 0 is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// `x / max|x|`, in -1 to 1. The default.
    #[default]
    UnsignedMax,
    /// `x / max|x| / 2 + 1/2`, in 0 to 1 with zero at 1/2.
    UnsignedMaxPositiveCentered,
    /// `|x| / max|x|`, in 0 to 1.
    MagnitudeMax,
    /// `|x| / Σ|x|`, which sums to 1.
    MagnitudeSum,
    /// `x / max(x)` where x >= 0, `x / |min(x)|` where x < 0; in -1 to 1, and signs can't be compared.
    SignedMax,
    /// As [`Self::SignedMax`], then `/ 2 + 1/2`; in 0 to 1 with zero at 1/2.
    SignedMaxPositiveCentered,
    /// `x / Σ max(x, 0)` where x >= 0, `x / Σ max(-x, 0)` where x < 0: the signs sum to 1 and to -1.
    SignedSum,
    /// `(x - min(x)) / (max(x) - min(x))`, in 0 to 1, zero anywhere; a constant map gives 0. Its name is `01`.
    Range,
    /// `x`.
    Unnormalized,
}

impl Normalization {
    /// Normalises a map `[H, W]`. Errors: an empty map, NaN or infinity.
    pub fn apply(self, map: ArrayView2<f64>) -> Result<Array2<f64>> {
        check_array("map", &map)?;
        if self == Self::Unnormalized {
            return Ok(map.to_owned());
        }
        // None of them depends on the map's scale; at scale 1 no sum or difference can overflow.
        let peak = peak(map);
        let x = map.mapv(|v| ratio(v, peak));
        let (min, max) = extent(x.view());
        let signed =
            |positive: f64, negative: f64| x.mapv(|v| ratio(v, if v >= 0. { positive } else { negative }));
        let total = |sign: f64| x.iter().map(|v| (sign * v).max(0.)).sum::<f64>();
        Ok(match self {
            Self::Unnormalized | Self::UnsignedMax => x,
            Self::UnsignedMaxPositiveCentered => x / 2. + 0.5,
            Self::MagnitudeMax => x.abs(),
            Self::MagnitudeSum => {
                let sum = x.abs().sum();
                x.mapv(|v| ratio(v.abs(), sum))
            }
            Self::SignedMax => signed(max, -min),
            Self::SignedMaxPositiveCentered => signed(max, -min) / 2. + 0.5,
            Self::SignedSum => signed(total(1.), total(-1.)),
            Self::Range => x.mapv(|v| ratio(v - min, max - min)),
        })
    }
}

named!(
    Normalization,
    "normalization",
    UnsignedMax = "unsigned_max",
    UnsignedMaxPositiveCentered = "unsigned_max_positive_centered",
    MagnitudeMax = "magnitude_max",
    MagnitudeSum = "magnitude_sum",
    SignedMax = "signed_max",
    SignedMaxPositiveCentered = "signed_max_positive_centered",
    SignedSum = "signed_sum",
    Range = "01",
    Unnormalized = "unnormalized",
);

/// The smallest and the largest value.
pub(crate) fn extent(map: ArrayView2<f64>) -> (f64, f64) {
    map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// The largest magnitude.
pub(crate) fn peak(map: ArrayView2<f64>) -> f64 {
    map.iter().fold(0., |peak, v| peak.max(v.abs()))
}

/// `value / scale`, and 0 where the scale is 0.
pub(crate) fn ratio(value: f64, scale: f64) -> f64 {
    if scale == 0. { 0. } else { value / scale }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn every_normalization_on_four_values() {
        let map = array![[-2., 0.], [1., 4.]];
        for (name, expected) in [
            ("unsigned_max", [-0.5, 0., 0.25, 1.]),
            ("unsigned_max_positive_centered", [0.25, 0.5, 0.625, 1.]),
            ("magnitude_max", [0.5, 0., 0.25, 1.]),
            ("magnitude_sum", [2. / 7., 0., 1. / 7., 4. / 7.]),
            ("signed_max", [-1., 0., 0.25, 1.]),
            ("signed_max_positive_centered", [0., 0.5, 0.625, 1.]),
            ("signed_sum", [-1., 0., 0.2, 0.8]),
            ("01", [0., 1. / 3., 0.5, 1.]),
            ("unnormalized", [-2., 0., 1., 4.]),
        ] {
            let normalization: Normalization = name.parse().unwrap();
            assert_eq!(normalization.to_string(), name);
            let [a, b, c, d] = expected;
            let found = normalization.apply(map.view()).unwrap();
            assert!(found.abs_diff_eq(&array![[a, b], [c, d]], 1e-15), "{name}: {found}");
        }
    }

    #[test]
    fn zero_constant_and_huge_maps_stay_finite() {
        for value in [0., 3., -3., f64::MIN_POSITIVE / 4., f64::MAX] {
            for &normalization in Normalization::ALL {
                let found = normalization.apply(array![[value, value]].view()).unwrap();
                assert!(found.iter().all(|v| v.is_finite()), "{normalization} of {value}: {found}");
            }
        }
        let found = Normalization::Range.apply(array![[f64::MIN, f64::MAX]].view()).unwrap();
        assert_eq!(found, array![[0., 1.]]);
    }

    #[test]
    fn unknown_names_list_those_known() {
        assert_eq!("Signed-Max".parse::<Normalization>().unwrap(), Normalization::SignedMax);
        let message = "max".parse::<Normalization>().unwrap_err().to_string();
        assert!(message.starts_with("normalization: expected one of unsigned_max, "), "{message}");
        assert!(message.ends_with(r#"01, unnormalized, found "max""#), "{message}");
    }
}
