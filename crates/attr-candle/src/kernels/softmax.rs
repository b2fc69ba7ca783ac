//! Softmax and its logarithm along one axis, and their cotangents from the output.

use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::{Real, each};
use super::reduce::{largest, total};
use super::smooth::Exp;

/// Softmax along an axis, or its logarithm if the flag is set.
pub(crate) struct Forward {
    pub(crate) axis: usize,
    pub(crate) log: bool,
}

/// The cotangent of the input of [`Forward`] from the output and its cotangent.
pub(crate) struct Backward {
    pub(crate) axis: usize,
    pub(crate) log: bool,
}

impl HostOp<1> for Forward {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let (len, inner) = (x.dims[self.axis], x.dims[self.axis + 1..].iter().product::<usize>());
        let mut y = vec![T::zero(); x.data.len()];
        let blocks =
            y.par_chunks_exact_mut((len * inner).max(1)).zip(x.data.par_chunks_exact((len * inner).max(1)));
        blocks.for_each(|(y, x)| {
            if inner == 1 && !self.log {
                let most = largest(x);
                let shifted: Vec<_> = x.iter().map(|&x| x - most).collect();
                each::<Exp, T>(&shifted, y);
                let sum = T::narrow(total(y));
                return y.iter_mut().for_each(|y| *y /= sum);
            }
            for at in 0..inner {
                let line = || x[at..].iter().step_by(inner).copied();
                let most = line().fold(T::neg_infinity(), num_traits::Float::max);
                let sum: T = line().map(|x| (x - most).exp()).sum();
                for (y, x) in y[at..].iter_mut().step_by(inner).zip(line()) {
                    *y = if self.log { x - most - sum.ln() } else { (x - most).exp() / sum };
                }
            }
        });
        (y, x.dims.to_vec())
    }
}

impl HostOp<2> for Backward {
    fn name(&self) -> &'static str {
        "softmax's cotangent"
    }

    fn run<T: Real>(&self, [output, cotangent]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        let dims = output.dims;
        let (len, inner) = (dims[self.axis], dims[self.axis + 1..].iter().product::<usize>());
        let block = (len * inner).max(1);
        let mut y = vec![T::zero(); output.data.len()];
        let blocks = output.data.par_chunks_exact(block).zip(cotangent.data.par_chunks_exact(block));
        y.par_chunks_exact_mut(block).zip(blocks).for_each(|(y, (output, cotangent))| {
            if inner == 1 && !self.log {
                y.iter_mut().zip(output.iter().zip(cotangent)).for_each(|(y, (&s, &c))| *y = s * c);
                let sum = T::narrow(total(y));
                let terms = output.iter().zip(cotangent);
                return y.iter_mut().zip(terms).for_each(|(y, (&s, &c))| *y = s * (c - sum));
            }
            for at in 0..inner {
                let line = || {
                    let cotangents = cotangent[at..].iter().step_by(inner).copied();
                    output[at..].iter().step_by(inner).copied().zip(cotangents)
                };
                // d softmax: s (c - sum s c); d log-softmax: c - s sum c.
                let sum: T = line().map(|(s, c)| if self.log { c } else { s * c }).sum();
                for (y, (s, c)) in y[at..].iter_mut().step_by(inner).zip(line()) {
                    *y = if self.log { c - s.exp() * sum } else { s * (c - sum) };
                }
            }
        });
        (y, dims.to_vec())
    }
}
