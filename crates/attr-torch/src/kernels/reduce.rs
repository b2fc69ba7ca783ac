//! Axes reduced to one number each.

use tch::Tensor;

use super::Tch;
use crate::tensor::{lengths, signed};

/// The largest over axes; the first of equals, NaN before all.
pub(super) fn max(x: &Tensor, axes: &[usize], keep: bool) -> Tch<Tensor> {
    match axes {
        // To libtorch no axes are all axes.
        [] => Ok(x.shallow_clone()),
        _ if !x.requires_grad() => x.f_amax(signed(axes), keep),
        // libtorch's own derivative over several axes is shared by equals; along one it goes to the first.
        _ => {
            let kept: Vec<_> = (0..x.dim()).filter(|axis| !axes.contains(axis)).collect();
            let dims = lengths(x);
            let mut lanes: Vec<_> = kept.iter().map(|&axis| dims[axis] as i64).collect();
            lanes.push(axes.iter().map(|&axis| dims[axis] as i64).product());
            let turned = x.f_permute(signed(&[&kept[..], axes].concat()))?.f_reshape(lanes)?;
            let (most, _) = turned.f_max_dim(kept.len() as i64, false)?;
            if !keep {
                return Ok(most);
            }
            let axes = (0..dims.len()).map(|axis| if axes.contains(&axis) { 1 } else { dims[axis] as i64 });
            most.f_reshape(axes.collect::<Vec<_>>())
        }
    }
}

/// The Euclidean norm over axes; its derivative at 0 is 0.
pub(super) fn norm(x: &Tensor, axes: &[usize], keep: bool) -> Tch<Tensor> {
    match axes {
        [] => x.f_abs(),
        _ => x.f_norm_scalaropt_dim(2.0, signed(axes), keep),
    }
}
