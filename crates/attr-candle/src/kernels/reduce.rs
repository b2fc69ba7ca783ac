//! Sums and maxima over axes. A sum is formed in double precision, in one order.

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
        (data.map_or_else(|| x.data.to_vec(), |data| data.iter().map(|&x| T::narrow(x)).collect()), dims)
    }
}

/// The largest along an axis, which stays with length 1; NaN where there is one.
pub(crate) struct Max(pub(crate) usize);

impl HostOp<1> for Max {
    fn name(&self) -> &'static str {
        "max"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let (len, inner) = (x.dims[self.0], x.dims[self.0 + 1..].iter().product::<usize>());
        let mut dims = x.dims.to_vec();
        dims[self.0] = 1;
        let mut y = vec![T::neg_infinity(); dims.iter().product()];
        if !x.data.is_empty() {
            let blocks = y.par_chunks_exact_mut(inner).zip(x.data.par_chunks_exact(len * inner));
            blocks.for_each(|(y, x)| match inner {
                1 => y[0] = largest(x),
                _ => x
                    .chunks_exact(inner)
                    .for_each(|x| y.iter_mut().zip(x).for_each(|(y, &x)| *y = larger(*y, x))),
            });
        }
        (y, dims)
    }
}

fn larger<T: Real>(x: T, y: T) -> T {
    if y > x || y.is_nan() { y } else { x }
}

/// The largest number; NaN if there is one.
pub(crate) fn largest<T: Real>(x: &[T]) -> T {
    let mut most = [T::neg_infinity(); 8];
    let (chunks, rest) = x.as_chunks::<8>();
    chunks
        .iter()
        .for_each(|chunk| most.iter_mut().zip(chunk).for_each(|(most, &x)| *most = larger(*most, x)));
    most.iter().chain(rest).fold(T::neg_infinity(), |most, &x| larger(most, x))
}

/// The sum: eight sums side by side, so that the order stays the same on every machine.
pub(crate) fn total<T: Real>(x: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    let (chunks, rest) = x.as_chunks::<8>();
    chunks.iter().for_each(|chunk| sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += x.wide()));
    sums.iter().sum::<f64>() + rest.iter().map(|&x| x.wide()).sum::<f64>()
}

/// The sum over the middle one of three axes, of which the last two have these lengths.
fn sum<T: Real>(x: &[T], len: usize, inner: usize) -> Vec<f64> {
    let outer = x.len().checked_div(len * inner).unwrap_or(0);
    let mut y = vec![0.0; outer * inner];
    if y.is_empty() {
        return y;
    }
    let least = ((1 << 14) / (len * inner).max(1)).max(1);
    y.par_chunks_exact_mut(inner).zip(x.par_chunks_exact(len * inner)).with_min_len(least).for_each(
        |(y, x)| {
            if inner == 1 {
                y[0] = total(x);
            } else {
                for row in x.chunks_exact(inner) {
                    y.iter_mut().zip(row).for_each(|(y, &x)| *y += x.wide());
                }
            }
        },
    );
    y
}
