//! Seeded numbers, the same everywhere and exact in single precision.

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Even numbers between -1 and 1.
pub fn uniform(dims: &[usize], seed: u64) -> ArrayD<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    ArrayD::from_shape_simple_fn(IxDyn(dims), || f64::from(rng.random_range(-1.0f32..1.0)))
}

/// Numbers between -1 and 1 in a random order, no two of them and none and zero closer to each other than
/// half of 2 / count: a small step changes neither a sign nor which is the largest.
pub fn spread(dims: &[usize], seed: u64) -> ArrayD<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count: usize = dims.iter().product();
    let grid = count + count % 2;
    let mut steps: Vec<_> = (0..grid).collect();
    for i in (1..grid).rev() {
        steps.swap(i, rng.random_range(0..=i));
    }
    let mut steps = steps.into_iter().map(|step| (2 * step + 1) as f64 / grid as f64 - 1.0);
    ArrayD::from_shape_simple_fn(IxDyn(dims), || f64::from(steps.next().unwrap() as f32))
}

/// As [`spread`], between 0.5 and 2: for square roots, divisors and variances.
pub fn positive(dims: &[usize], seed: u64) -> ArrayD<f64> {
    spread(dims, seed).mapv(|x| f64::from((1.25 + 0.75 * x) as f32))
}
