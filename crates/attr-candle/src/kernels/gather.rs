//! Entries of an axis in another order, and rows of a table by their numbers.

use candle_core::{DType, Result, Tensor, bail};
use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// The entries with these numbers along an axis.
pub(crate) struct Gather<'a>(pub(crate) usize, pub(crate) &'a [usize]);

impl HostOp<1> for Gather<'_> {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let Gather(axis, entries) = self;
        let inner: usize = x.dims[axis + 1..].iter().product();
        let mut dims = x.dims.to_vec();
        dims[*axis] = entries.len();
        let mut y = vec![T::zero(); dims.iter().product()];
        let (block, old) = (entries.len() * inner, x.dims[*axis] * inner);
        if block > 0 {
            y.par_chunks_exact_mut(block).zip(x.data.par_chunks_exact(old)).for_each(|(y, x)| {
                for (y, &entry) in y.chunks_exact_mut(inner).zip(*entries) {
                    y.copy_from_slice(&x[entry * inner..][..inner]);
                }
            });
        }
        (y, dims)
    }
}

/// Rows of a table `[N, D]` by their numbers `[...]`: `[..., D]`.
pub(crate) fn embedding(numbers: &Tensor, table: &Tensor) -> Result<Tensor> {
    let rows = table.dim(0)?;
    let flat: Vec<f64> = numbers.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    if let Some(other) = flat.iter().find(|x| !(**x >= 0.0 && x.fract() == 0.0 && **x < rows as f64)) {
        bail!("expected whole numbers from 0 to {}, found {other}", rows - 1);
    }
    let flat = flat.iter().map(|&x| x as u32).collect::<Vec<_>>();
    let chosen = table.index_select(&Tensor::from_vec(flat, numbers.elem_count(), table.device())?, 0)?;
    chosen.reshape([numbers.dims(), &table.dims()[1..]].concat())
}
