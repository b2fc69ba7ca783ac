//! Activations made of plain arithmetic alone, so that loops over them become vector instructions.
//!
//! They are formed in double precision without a branch, and are the same on every machine.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LOG2_E};

/// A function of one number.
pub(crate) trait Smooth {
    /// f(x); NaN stays NaN.
    fn at(x: f64) -> f64;
}

/// e to the power of x.
pub(crate) struct Exp;
/// The error function.
pub(crate) struct Erf;
/// Its derivative.
pub(crate) struct ErfSlope;
/// GELU: `x (1 + erf(x / sqrt 2)) / 2`.
pub(crate) struct Gelu;
/// Its derivative.
pub(crate) struct GeluSlope;
/// The logistic function.
pub(crate) struct Sigmoid;
/// Its derivative.
pub(crate) struct SigmoidSlope;
/// `x sigmoid(x)`.
pub(crate) struct Silu;
/// Its derivative.
pub(crate) struct SiluSlope;

impl Smooth for Exp {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        exp(x)
    }
}

impl Smooth for Erf {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        erf(x)
    }
}

impl Smooth for ErfSlope {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        FRAC_2_SQRT_PI * exp(-x * x)
    }
}

impl Smooth for Gelu {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        x * 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
    }
}

impl Smooth for GeluSlope {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        let density = exp(-0.5 * x * x) * (0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI);
        0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * density
    }
}

impl Smooth for Sigmoid {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        1.0 / (1.0 + exp(-x))
    }
}

impl Smooth for SigmoidSlope {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        // The same on both sides of 0.
        let tail = exp(-x.abs());
        tail / ((1.0 + tail) * (1.0 + tail))
    }
}

impl Smooth for Silu {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        x * Sigmoid::at(x)
    }
}

impl Smooth for SiluSlope {
    #[inline(always)]
    fn at(x: f64) -> f64 {
        Sigmoid::at(x) + x * SigmoidSlope::at(x)
    }
}

/// e to the power of x, 0 below -700 and infinite above 700: a power of two, and the series around it (Cody and Waite
/// 1980, chapter 6).
#[inline(always)]
fn exp(x: f64) -> f64 {
    /// The upper 21 bits of the logarithm of 2: multiples of it up to 1024 are exact.
    const HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0xffff_ffff);
    /// The rest of it.
    const LOW: f64 = 4.749_325_039_031_672_6e-07;
    /// Adding it leaves no room for fractions: what is added is rounded, and stands in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = x * LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x - whole * HIGH - whole * LOW;
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    // 1 / n! from n = 13 down to 2; what is left out is below 1e-17.
    const TERMS: [f64; 12] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let y = power * (1.0 + (r + r * r * polynomial(r, &TERMS)));
    let y = if x < -700.0 { 0.0 } else { y };
    if x > 700.0 { f64::INFINITY } else { y }
}

/// The error function: quotients of polynomials on both sides of 0.46875 (Cody 1969, Math. Comp.
/// 23:631-637), the one for large x also where erf is 1 but for the last bits.
#[inline(always)]
fn erf(x: f64) -> f64 {
    const SMALL: [[f64; 5]; 2] = [
        [
            0.185_777_706_184_603_15,
            3.161_123_743_870_565_5,
            113.864_154_151_050_16,
            377.485_237_685_302,
            3_209.377_589_138_469_4,
        ],
        [1.0, 23.601_290_952_344_122, 244.024_637_934_444_17, 1_282.616_526_077_372_3, 2_844.236_833_439_171],
    ];
    const LARGE: [[f64; 9]; 2] = [
        [
            2.153_115_354_744_038_3e-08,
            0.564_188_496_988_670_1,
            8.883_149_794_388_377,
            66.119_190_637_141_63,
            298.635_138_197_400_1,
            881.952_221_241_769,
            1_712.047_612_634_070_7,
            2_051.078_377_826_071_6,
            1_230.339_354_797_997_2,
        ],
        [
            1.0,
            15.744_926_110_709_835,
            117.693_950_891_312_5,
            537.181_101_862_009_9,
            1_621.389_574_566_690_3,
            3_290.799_235_733_459_7,
            4_362.619_090_143_247,
            3_439.367_674_143_721_6,
            1_230.339_354_803_749_5,
        ],
    ];
    let size = x.abs();
    let far = if size > 6.0 { 6.0 } else { size };
    let square = size * size;
    let near = size < 0.46875;
    // Both sides are formed, and one is chosen: a branch would keep numbers from being vectors.
    let (small, large) =
        (SMALL.map(|terms| polynomial(square, &terms)), LARGE.map(|terms| polynomial(far, &terms)));
    let above = if near { small[0] } else { large[0] };
    let below = if near { small[1] } else { large[1] };
    let quotient = above / below;
    let value = if near { size * quotient } else { 1.0 - exp(-square) * quotient };
    value.copysign(x)
}

/// Factors from the highest power down.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, factors: &[f64; N]) -> f64 {
    factors[1..].iter().fold(factors[0], |sum, factor| sum * x + factor)
}

#[cfg(test)]
mod tests {
    use attr_core::Activation;

    use super::*;
    use crate::kernels::raw::each;

    /// To 1e-15 of the larger of the value and `least`, and in single precision to a unit in the last place.
    fn check<F: Smooth>(exact: impl Fn(f64) -> f64, least: f64) {
        let x: Vec<f64> = (-80_000..=80_000).map(|i| f64::from(i) * 1.234_567e-4).collect();
        let mut y = vec![0.0; x.len()];
        each::<F, f64>(&x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let expected = exact(x);
            let bound = 1e-15 * expected.abs().max(least);
            assert!((y - expected).abs() <= bound, "at {x}: expected {expected}, found {y}");
        }
        let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let mut y = vec![0.0; x.len()];
        each::<F, f32>(&x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let expected = exact(f64::from(x));
            let bound = f64::from(f32::EPSILON) * expected.abs().max(1e-3 * least);
            assert!((f64::from(y) - expected).abs() <= bound, "at {x}: expected {expected}, found {y}");
        }
        let mut y = [0.0; 9];
        each::<F, f64>(&[f64::NAN; 9], &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
    }

    #[test]
    fn functions_are_those_of_libm() {
        check::<Exp>(f64::exp, 0.0);
        check::<Erf>(|x| Activation::Erf.value(x), 0.0);
        check::<ErfSlope>(|x| Activation::Erf.derivative(x), 1e-3);
        check::<Gelu>(|x| Activation::Gelu.value(x), 1.0);
        check::<GeluSlope>(|x| Activation::Gelu.derivative(x), 1.0);
        check::<Sigmoid>(|x| Activation::Sigmoid.value(x), 0.0);
        // Not y (1 - y), which loses digits where y is near 1.
        let logistic_slope = |x: f64| (-x).exp() / (1.0 + (-x).exp()).powi(2);
        check::<SigmoidSlope>(logistic_slope, 1e-3);
        check::<Silu>(|x| Activation::Silu.value(x), 0.0);
        check::<SiluSlope>(|x| Activation::Sigmoid.value(x) + x * logistic_slope(x), 1.0);
    }

    #[test]
    fn ends_are_limits() {
        let mut y = [0.0; 4];
        each::<Sigmoid, f64>(&[-800.0, 800.0, f64::NEG_INFINITY, f64::INFINITY], &mut y);
        assert_eq!(y, [0.0, 1.0, 0.0, 1.0]);
        each::<Erf, f64>(&[-30.0, 30.0, f64::NEG_INFINITY, f64::INFINITY], &mut y);
        assert_eq!(y, [-1.0, 1.0, -1.0, 1.0]);
    }
}
