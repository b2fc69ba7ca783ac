//! Random numbers that depend on a seed and a position only: the same on every framework, for any number
//! of threads and any size of chunk.

use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The distribution of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Mean 0, standard deviation 1.
    Normal,
    /// Evenly from -1 to 1.
    Uniform,
}

/// Noise number `sample` for a row of tensor number `tensor`: shape `[1, row...]`.
///
/// All rows of a batch get the same noise, so that a row's attribution does not depend on its neighbours.
/// A counter-based generator (ChaCha, 8 rounds) has one stream for each sample and tensor.
pub fn draw(noise: Noise, seed: u64, sample: usize, tensor: usize, row: &[usize]) -> ArrayD<f64> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(((tensor as u64) << 40) | sample as u64);
    let mut next = || match noise {
        Noise::Uniform => 2.0 * generator.random::<f64>() - 1.0,
        // Box and Muller (1958); 1 - u lies in (0, 1], so its logarithm is finite.
        Noise::Normal => {
            let (u, v): (f64, f64) = (generator.random(), generator.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        }
    };
    ArrayD::from_shape_simple_fn([&[1], row].concat(), &mut next)
}
