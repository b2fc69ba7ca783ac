//! A constant around a value.

use super::host::{HostOp, View};
use super::raw::Real;

/// For each axis how many entries before and after, and the constant.
pub(crate) struct Pad<'a>(pub(crate) &'a [(usize, usize)], pub(crate) f64);

impl HostOp<1> for Pad<'_> {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let dims: Vec<_> = x.dims.iter().zip(self.0).map(|(n, (before, after))| before + n + after).collect();
        let value = T::from(self.1).expect("BUG: every f64 converts to a float");
        let mut y = vec![value; dims.iter().product()];
        inside(x.data, x.dims, &mut y, &dims, self.0);
        (y, dims)
    }
}

/// Copies `x` into `y` where the first axis begins `padding[0].0` entries late, and so on.
fn inside<T: Copy>(x: &[T], x_dims: &[usize], y: &mut [T], y_dims: &[usize], padding: &[(usize, usize)]) {
    let [_, rest @ ..] = x_dims else {
        y.copy_from_slice(x);
        return;
    };
    if x.is_empty() {
        return;
    }
    let (x_len, y_len): (usize, usize) = (rest.iter().product(), y_dims[1..].iter().product());
    let lines = y.chunks_exact_mut(y_len).skip(padding[0].0);
    for (x, y) in x.chunks_exact(x_len).zip(lines) {
        match rest.len() {
            1 => y[padding[1].0..][..x_len].copy_from_slice(x),
            _ => inside(x, rest, y, &y_dims[1..], &padding[1..]),
        }
    }
}
