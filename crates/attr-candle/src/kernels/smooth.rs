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
    const LOW: f64 = 4.749_325_039_031_672_6e-7;
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
            1.857_777_061_846_031_53e-1,
            3.161_123_743_870_565_6,
            1.138_641_541_510_501_56e2,
            3.774_852_376_853_020_21e2,
            3.209_377_589_138_469_47e3,
        ],
        [
            1.0,
            2.360_129_095_234_412_09e1,
            2.440_246_379_344_441_73e2,
            1.282_616_526_077_372_28e3,
            2.844_236_833_439_170_62e3,
        ],
    ];
    const LARGE: [[f64; 9]; 2] = [
        [
            2.153_115_354_744_038_46e-8,
            5.641_884_969_886_700_89e-1,
            8.883_149_794_388_375_94,
            6.611_919_063_714_162_95e1,
            2.986_351_381_974_001_31e2,
            8.819_522_212_417_690_9e2,
            1.712_047_612_634_070_58e3,
            2.051_078_377_826_071_47e3,
            1.230_339_354_797_997_25e3,
        ],
        [
            1.0,
            1.574_492_611_070_983_47e1,
            1.176_939_508_913_124_99e2,
            5.371_811_018_620_098_58e2,
            1.621_389_574_566_690_19e3,
            3.290_799_235_733_459_63e3,
            4.362_619_090_143_247_16e3,
            3.439_367_674_143_721_64e3,
            1.230_339_354_803_749_42e3,
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
