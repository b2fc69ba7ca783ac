//! Resizing, axis by axis: which old entries a new one is made of.

use attr_core::{Coordinates, Interpolation, Resize};

/// The old entries that new entry `new_index` along an axis is made of, with their weights.
pub(super) fn sources(resize: &Resize, axis: usize, old: usize, new_index: usize) -> Vec<(usize, f64)> {
    let x = coordinate(resize, axis, old, new_index);
    let end = old as f64 - 1.0;
    if matches!(resize.coordinates, Coordinates::CropAndResize { .. }) && (x < 0.0 || x > end) {
        return vec![];
    }
    let hold = |i: f64| (i.max(0.0) as usize).min(old - 1);
    let (below, above) = (x.floor(), x.floor() + 1.0);
    match resize.mode {
        Interpolation::NearestFloor => vec![(hold(below), 1.0)],
        Interpolation::NearestCeil => vec![(hold(if x == below { below } else { above }), 1.0)],
        Interpolation::Nearest => vec![(hold(if above - x < x - below { above } else { below }), 1.0)],
        Interpolation::NearestUp => vec![(hold(if above - x <= x - below { above } else { below }), 1.0)],
        Interpolation::Linear => around(resize, axis, old, x, |d| 1.0 - d, 1.0),
        Interpolation::Cubic { slope: a } => {
            let cubic = |d: f64| match d <= 1.0 {
                true => (a + 2.0) * d.powi(3) - (a + 3.0) * d.powi(2) + 1.0,
                false => a * d.powi(3) - 5.0 * a * d.powi(2) + 8.0 * a * d - 4.0 * a,
            };
            around(resize, axis, old, x, cubic, 2.0)
        }
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}

/// All whole places that a weight of the distance reaches from `x`; those outside are the ends or nothing.
fn around(
    resize: &Resize,
    axis: usize,
    old: usize,
    x: f64,
    weight: impl Fn(f64) -> f64,
    reach: f64,
) -> Vec<(usize, f64)> {
    let width = if resize.antialias && resize.scale[axis] < 1.0 { 1.0 / resize.scale[axis] } else { 1.0 };
    let far = 10 * old as i64 + 10;
    let mut terms = Vec::new();
    for place in -far..far {
        let distance = (place as f64 - x).abs() / width;
        let outside = place < 0 || place >= old as i64;
        if distance < reach && !(outside && resize.exclude_outside) {
            terms.push((place.clamp(0, old as i64 - 1) as usize, weight(distance)));
        }
    }
    // Rounding of a coordinate does not make a term.
    terms.retain(|term| term.1.abs() > 1e-12);
    let sum: f64 = terms.iter().map(|term| term.1).sum();
    terms.into_iter().map(|(entry, weight)| (entry, weight / sum)).collect()
}

fn coordinate(resize: &Resize, axis: usize, old: usize, new_index: usize) -> f64 {
    let (i, scale, new) = (new_index as f64, resize.scale[axis], resize.size[axis]);
    match resize.coordinates {
        Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            // What a fractional length was rounded to, and the middle of the old entries.
            let adjustment = new as f64 / (scale * old as f64);
            let middle = old as f64 / 2.0;
            middle * (1.0 - adjustment) + (i + 0.5) / scale - 0.5
        }
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
        Coordinates::TfHalfPixel => (i + 0.5) / scale,
        Coordinates::CropAndResize { region } => {
            let (start, end) = (region[axis].0 * (old as f64 - 1.0), region[axis].1 * (old as f64 - 1.0));
            if new > 1 { start + i * (end - start) / (new as f64 - 1.0) } else { 0.5 * (start + end) }
        }
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}
