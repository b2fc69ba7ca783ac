//! Where a path is sampled, and how much each sample weighs.

use crate::{Error, Result};

/// How an integral from 0 to 1 becomes a weighted sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Quadrature {
    /// Nodes and weights of Gauss and Legendre: exact for polynomials up to degree `2 n - 1`.
    #[default]
    GaussLegendre,
    /// Both ends included; they weigh half.
    Trapezoid,
    /// `0, 1/n, ..., (n-1)/n` (iNNvestigate).
    Left,
    /// `1/n, ..., 1` (Zennit, DeepExplain, innsight).
    Right,
    /// `1/2n, 3/2n, ...`.
    Midpoint,
    /// Both ends included and of equal weight, from the input to the baseline (TruLens).
    ClosedMean,
    /// Captum's `riemann_trapezoid`: both ends included and of half weight, but the weights add up to
    /// `(n - 1) / n` only, so that the result is low by `1/n`.
    CaptumTrapezoid,
}

impl Quadrature {
    /// All of them.
    pub const ALL: [Quadrature; 7] = [
        Quadrature::GaussLegendre,
        Quadrature::Trapezoid,
        Quadrature::Left,
        Quadrature::Right,
        Quadrature::Midpoint,
        Quadrature::ClosedMean,
        Quadrature::CaptumTrapezoid,
    ];

    /// `n` pairs of a position (0 is the baseline, 1 the input) and a weight.
    pub fn nodes(self, n: usize) -> Result<Vec<(f64, f64)>> {
        let needs_two = matches!(self, Quadrature::Trapezoid | Quadrature::CaptumTrapezoid);
        if n == 0 || (n == 1 && needs_two) {
            let expected = if needs_two { "at least 2" } else { "at least 1" };
            return Err(Error::parameter("steps", expected, n));
        }
        if n > 1_000_000 {
            return Err(Error::parameter("steps", "at most 1000000", n));
        }
        let even =
            |position: &dyn Fn(f64) -> f64| (0..n).map(|i| (position(i as f64), 1.0 / n as f64)).collect();
        let (count, last) = (n as f64, (n - 1) as f64);
        let ends = |i: usize| if i == 0 || i == n - 1 { 0.5 } else { 1.0 };
        Ok(match self {
            Quadrature::GaussLegendre => gauss_legendre(n),
            Quadrature::Trapezoid => (0..n).map(|i| (i as f64 / last, ends(i) / last)).collect(),
            Quadrature::Left => even(&|i| i / count),
            Quadrature::Right => even(&|i| (i + 1.0) / count),
            Quadrature::Midpoint => even(&|i| (i + 0.5) / count),
            Quadrature::ClosedMean if n == 1 => vec![(1.0, 1.0)],
            Quadrature::ClosedMean => even(&|i| 1.0 - i / last),
            Quadrature::CaptumTrapezoid => (0..n).map(|i| (i as f64 / last, ends(i) / count)).collect(),
        })
    }
}

/// The roots of the Legendre polynomial of degree n by Newton's method, mapped from (-1, 1) to (0, 1), and
/// their weights `1 / ((1 - x^2) P'(x)^2)` (Abramowitz and Stegun 25.4.29, halved for the shorter interval).
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let root = |i: usize| {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        for _ in 0..100 {
            let (p, slope) = legendre(n, x);
            let step = p / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        let (_, slope) = legendre(n, x);
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(root).collect()
}

/// The Legendre polynomial of degree n and its derivative at x, by Bonnet's recursion.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut below, mut p) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (below, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * below) / k);
    }
    (p, n as f64 * (x * p - below) / (x * x - 1.0))
}

const NAMES: [(&str, Quadrature); 7] = [
    ("gauss-legendre", Quadrature::GaussLegendre),
    ("trapezoid", Quadrature::Trapezoid),
    ("left", Quadrature::Left),
    ("right", Quadrature::Right),
    ("midpoint", Quadrature::Midpoint),
    ("closed-mean", Quadrature::ClosedMean),
    ("captum-trapezoid", Quadrature::CaptumTrapezoid),
];

crate::parameter::names!(Quadrature, "quadrature", NAMES);

#[cfg(test)]
mod tests {
    use super::*;

    /// Literals of `x^n` from 0 to 1, derivative `n x^(n-1)`, as the peers' rules give them.
    #[test]
    fn powers() {
        let integral = |rule: Quadrature, degree: i32, n: usize| {
            let nodes = rule.nodes(n).unwrap();
            nodes.iter().map(|(x, w)| w * f64::from(degree) * x.powi(degree - 1)).sum::<f64>()
        };
        for (rule, degree, n, expected) in [
            (Quadrature::Left, 2, 50, 0.98),
            (Quadrature::Left, 3, 10, 0.855),
            (Quadrature::Left, 3, 50, 0.9702),
            (Quadrature::Right, 2, 50, 1.02),
            (Quadrature::Right, 3, 10, 1.155),
            (Quadrature::ClosedMean, 2, 50, 1.0),
            (Quadrature::ClosedMean, 3, 10, 1.0 + 1.0 / 18.0),
            (Quadrature::Midpoint, 3, 10, 0.9975),
            (Quadrature::CaptumTrapezoid, 1, 10, 0.9),
            (Quadrature::CaptumTrapezoid, 1, 50, 0.98),
            (Quadrature::GaussLegendre, 1, 1, 1.0),
            (Quadrature::GaussLegendre, 20, 10, 1.0),
            (Quadrature::GaussLegendre, 100, 50, 1.0),
            (Quadrature::Trapezoid, 2, 2, 1.0),
        ] {
            let found = integral(rule, degree, n);
            assert!(
                (found - expected).abs() < 1e-13,
                "{rule} x^{degree} n={n}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn names_are_read_back() {
        for rule in Quadrature::ALL {
            assert_eq!(rule.to_string().parse::<Quadrature>().unwrap(), rule);
        }
        let error = "simpson".parse::<Quadrature>().unwrap_err().to_string();
        assert!(error.contains("gauss-legendre, trapezoid") && error.contains("simpson"), "{error}");
    }
}
