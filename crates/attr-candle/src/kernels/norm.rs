//! Layer norm over the last axes, and its cotangent. Means are formed in double precision.

use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over the axes that gamma and beta have.
pub(crate) struct Forward {
    pub(crate) epsilon: f64,
}

/// The cotangent of the input of [`Forward`] from the input, gamma, and the output's cotangent.
pub(crate) struct Backward {
    pub(crate) epsilon: f64,
}

impl HostOp<3> for Forward {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn run<T: Real>(&self, [x, gamma, beta]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let mut y = vec![T::zero(); x.data.len()];
        let len = gamma.data.len().max(1);
        y.par_chunks_exact_mut(len).zip(x.data.par_chunks_exact(len)).for_each(|(y, x)| {
            let (mean, scale) = moments(x, self.epsilon);
            for ((y, &x), (&gamma, &beta)) in y.iter_mut().zip(x).zip(gamma.data.iter().zip(beta.data)) {
                *y = (x - mean) * scale * gamma + beta;
            }
        });
        (y, x.dims.to_vec())
    }
}

impl HostOp<3> for Backward {
    fn name(&self) -> &'static str {
        "layer norm's cotangent"
    }

    fn run<T: Real>(&self, [x, gamma, cotangent]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let mut y = vec![T::zero(); x.data.len()];
        let len = gamma.data.len().max(1);
        let rows = x.data.par_chunks_exact(len).zip(cotangent.data.par_chunks_exact(len));
        y.par_chunks_exact_mut(len).zip(rows).for_each(|(y, (x, cotangent))| {
            let (mean, scale) = moments(x, self.epsilon);
            // Without the parts along the mean and along the value, which normalizing takes away.
            y.iter_mut().zip(cotangent.iter().zip(gamma.data)).for_each(|(y, (&c, &gamma))| *y = c * gamma);
            let along_mean = T::narrow(average(y, |_, c| c.wide()));
            let along_value = T::narrow(average(y, |i, c| (c * ((x[i] - mean) * scale)).wide()));
            y.iter_mut().zip(x).for_each(|(y, &x)| {
                *y = (*y - along_mean - (x - mean) * scale * along_value) * scale;
            });
        });
        (y, x.dims.to_vec())
    }
}

/// The mean, and 1 by the square root of the variance and epsilon.
fn moments<T: Real>(x: &[T], epsilon: f64) -> (T, T) {
    let mean = average(x, |_, x| x.wide());
    let variance = average(x, |_, x| (x.wide() - mean) * (x.wide() - mean));
    (T::narrow(mean), T::narrow(1.0 / (variance + epsilon).sqrt()))
}

/// The mean of a function of each number and its place: eight sums side by side.
fn average<T: Real>(x: &[T], f: impl Fn(usize, T) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (chunks, rest) = x.as_chunks::<8>();
    for (chunk, numbers) in chunks.iter().enumerate() {
        for (i, (sum, &x)) in sums.iter_mut().zip(numbers).enumerate() {
            *sum += f(chunk * 8 + i, x);
        }
    }
    let behind = x.len() - rest.len();
    let rest: f64 = rest.iter().enumerate().map(|(i, &x)| f(behind + i, x)).sum();
    (sums.iter().sum::<f64>() + rest) / x.len() as f64
}
