//! Resizing, axis by axis: which old entries a new one is made of.

use attr_core::{Coordinates, Interpolation, Resize};

/// The old entries that new entry `new_index` along an axis is made of, with their weights.
pub(super) fn sources(resize: &Resize, axis: usize, old: usize, new_index: usize) -> Vec<(usize, f64)> {
    let x = coordinate(resize, axis, old, new_index);
    let hold = |i: f64| (i.max(0.0) as usize).min(old - 1);
    match resize.mode {
        Interpolation::NearestFloor => vec![(hold(x.floor()), 1.0)],
        Interpolation::Nearest => {
            let (below, above) = (x.floor(), x.floor() + 1.0);
            vec![(hold(if above - x < x - below { above } else { below }), 1.0)]
        }
        Interpolation::Linear => {
            let below = x.floor();
            vec![(hold(below), 1.0 - (x - below)), (hold(below + 1.0), x - below)]
        }
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}

fn coordinate(resize: &Resize, axis: usize, old: usize, new_index: usize) -> f64 {
    let (i, scale, new) = (new_index as f64, resize.scale[axis], resize.size[axis]);
    match resize.coordinates {
        Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
        Coordinates::PytorchHalfPixel => {
            if new > 1 {
                (i + 0.5) / scale - 0.5
            } else {
                0.0
            }
        }
        Coordinates::AlignCorners => {
            if new > 1 {
                i * (old as f64 - 1.0) / (new as f64 - 1.0)
            } else {
                0.0
            }
        }
        Coordinates::Asymmetric => i / scale,
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}
