//! How close is close: named levels, each with its tolerance in either precision. The only such place.

use attr_core::Precision;
use ndarray::{ArrayD, Dimension};

/// Why two numbers that should be equal may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing may differ, not even the last bit.
    Bitwise,
    /// One layer, or a few on whole numbers: rounding only.
    Layer,
    /// An attribution through a whole network: the promise that `design.md` makes across frameworks.
    Attribution,
    /// Relevance through one layer with denominators that nearly cancel, which makes rounding ten times as large.
    Quotient,
    /// A peer's relevance through a whole network, computed in double precision. Captum's alpha 1, beta 0 differs by up
    /// to 3e-8, all others by less than 1e-8; in single precision rounding grows in denominators that nearly cancel.
    Peer,
    /// Derivatives against central differences with a step of 1e-5: the third derivative's share and what
    /// cancels in the difference.
    FiniteDifference,
    /// A number that was computed in single precision elsewhere, whatever the adapter's precision.
    SinglePrecisionFixture,
    /// A path integral through kinks by a quadrature with 100 points or more, whose error falls as one over
    /// their number. TruLens's completeness test allows as much.
    KinkedPath,
    /// The mean difference, and not the largest, of attributions in single precision from those in double
    /// precision, where rounding carries a few of a network's millions of units over their kinks. Up to 3e-5
    /// was seen on EfficientNet-lite0.
    FewKinks,
}

impl Level {
    /// The difference allowed, relative to the largest of the expected numbers.
    pub fn tolerance(self, precision: Precision) -> f64 {
        let (double, single) = match self {
            Level::Bitwise => (0.0, 0.0),
            Level::Layer => (1e-12, 3e-6),
            Level::Attribution => (1e-10, 1e-5),
            Level::Quotient => (1e-10, 1e-4),
            Level::Peer => (1e-7, 1e-4),
            Level::FiniteDifference => (1e-7, f64::NAN),
            Level::SinglePrecisionFixture => (1e-6, 3e-6),
            Level::KinkedPath => (5e-2, 5e-2),
            Level::FewKinks => (f64::NAN, 1e-4),
        };
        match precision {
            Precision::F64 => double,
            Precision::F32 => single,
            other => panic!("BUG: no tolerance for {other}"),
        }
    }
}

/// Whether `found` is `expected` up to a tolerance relative to the largest expected number (absolute where
/// all are zero); else where and by how much not. NaN is close to nothing.
pub fn close(
    found: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    level: Level,
    precision: Precision,
) -> Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("expected shape {:?}, found {:?}", expected.shape(), found.shape()));
    }
    let finite = expected.iter().filter(|x| x.is_finite());
    let largest = finite.fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let scale = if largest == 0.0 { 1.0 } else { largest };
    let allowed = level.tolerance(precision) * scale;
    let same = |f: f64, e: f64| f == e || (f.is_finite() && e.is_finite() && (f - e).abs() <= allowed);
    let wrong: Vec<_> = (found.indexed_iter().zip(expected))
        .filter(|((_, f), e)| !same(**f, **e))
        .map(|((at, f), e)| (at, *f, *e))
        .collect();
    let off = |f: f64, e: f64| if (f - e).is_nan() { f64::INFINITY } else { (f - e).abs() };
    match wrong.iter().max_by(|a, b| off(a.1, a.2).total_cmp(&off(b.1, b.2))) {
        None => Ok(()),
        Some((at, f, e)) => Err(format!(
            "{} of {} numbers are off, most at {:?}: expected {e:?}, found {f:?} \
             (off by {:.1e}, {level:?} allows {allowed:.1e})",
            wrong.len(),
            found.len(),
            at.as_array_view().to_vec(),
            off(*f, *e),
        )),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    fn is_close(found: &[f64], expected: &[f64]) -> bool {
        close(&arr1(found).into_dyn(), &arr1(expected).into_dyn(), Level::Layer, Precision::F64).is_ok()
    }

    #[test]
    fn relative_to_the_largest() {
        assert!(is_close(&[1e6, 1e-7], &[1e6, 0.0]));
        assert!(!is_close(&[1.0, 1e-7], &[1.0, 0.0]));
        assert!(!is_close(&[1e-7], &[0.0]));
    }

    #[test]
    fn nan_and_infinity_and_shapes() {
        assert!(!is_close(&[f64::NAN], &[f64::NAN]));
        assert!(!is_close(&[f64::NAN], &[1.0]));
        assert!(!is_close(&[1.0], &[f64::NAN]));
        assert!(!is_close(&[f64::INFINITY], &[1.0]));
        assert!(!is_close(&[1.0, 2.0], &[f64::INFINITY, f64::INFINITY]));
        assert!(is_close(&[f64::INFINITY], &[f64::INFINITY]));
        assert!(!is_close(&[1.0], &[1.0, 1.0]));
    }
}
