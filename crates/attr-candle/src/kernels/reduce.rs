//! Sums over axes. The sum is formed in double precision, in one order.

use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// The sum over axes, which stay with length 1.
pub(crate) struct Sum<'a>(pub(crate) &'a [usize]);

impl HostOp<1> for Sum<'_> {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let dims: Vec<_> =
            x.dims.iter().enumerate().map(|(axis, &n)| if self.0.contains(&axis) { 1 } else { n }).collect();
        // Neighbouring axes of the same fate become one; what is left alternates.
        let mut axes: Vec<(bool, usize)> = Vec::new();
        for (axis, &n) in x.dims.iter().enumerate() {
            let summed = self.0.contains(&axis);
            match axes.last_mut() {
                Some((last, len)) if *last == summed => *len *= n,
                _ => axes.push((summed, n)),
            }
        }
        let mut data: Option<Vec<f64>> = None;
        // The last axis first, so that what is left becomes small soon.
        for place in (0..axes.len()).rev().filter(|&place| axes[place].0) {
            let len = axes[place].1;
            let inner: usize = axes[place + 1..].iter().filter(|axis| !axis.0).map(|axis| axis.1).product();
            data = Some(match &data {
                None => sum(x.data, len, inner),
                Some(data) => sum(data, len, inner),
            });
        }
        let narrow = |x: &f64| T::from(*x).expect("BUG: every f64 converts to a float");
        (data.map_or_else(|| x.data.to_vec(), |data| data.iter().map(narrow).collect()), dims)
    }
}

/// The sum over the middle one of three axes, of which the last two have these lengths.
fn sum<T: Real>(x: &[T], len: usize, inner: usize) -> Vec<f64> {
    let wide = |x: T| x.to_f64();
    let outer = x.len().checked_div(len * inner).unwrap_or(0);
    let mut y = vec![0.0; outer * inner];
    if y.is_empty() {
        return y;
    }
    let least = ((1 << 14) / (len * inner).max(1)).max(1);
    y.par_chunks_exact_mut(inner).zip(x.par_chunks_exact(len * inner)).with_min_len(least).for_each(
        |(y, x)| {
            if inner == 1 {
                // Eight sums side by side: the order stays the same on every machine.
                let mut sums = [0.0; 8];
                let chunks = x.chunks_exact(8);
                let rest: f64 = chunks.remainder().iter().map(|&x| wide(x)).sum();
                chunks.for_each(|chunk| sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += wide(x)));
                y[0] = sums.iter().sum::<f64>() + rest;
            } else {
                for row in x.chunks_exact(inner) {
                    y.iter_mut().zip(row).for_each(|(y, &x)| *y += wide(x));
                }
            }
        },
    );
    y
}
