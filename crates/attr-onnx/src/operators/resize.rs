//! Resize, and Upsample as it was called before.

use attr_core::{Coordinates, Dim, Interpolation, NodeId, Op, Resize, Shape};

use crate::array::Size;
use crate::import::Context;
use crate::node::{Fault, Node, Values, axis, broken, count, unsupported};

pub(super) fn upsample(g: &mut Context, n: &Node) -> Values {
    let scales = match n.opset {
        ..9 => n.attribute("scales").map(|a| a.floats.iter().map(|&s| crate::array::decimal(s)).collect()),
        _ => n.numbers(1)?,
    };
    plain(g, n, scales)
}

pub(super) fn resize(g: &mut Context, n: &Node) -> Values {
    if n.opset < 11 {
        return plain(g, n, n.numbers(1)?);
    }
    for unused in ["cubic_coeff_a", "exclude_outside", "extrapolation_value"] {
        n.attribute(unused);
    }
    if n.flag("antialias", false)? {
        return unsupported("with attribute antialias=1");
    }
    match n.text("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => {}
        other => return unsupported(format!("with attribute keep_aspect_ratio_policy={other}")),
    }
    let coordinates = match n.text("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return unsupported(format!("with attribute coordinate_transformation_mode={other}")),
    };
    let nearest = n.text("nearest_mode", "round_prefer_floor")?;
    let mode = match (n.text("mode", "nearest")?, nearest) {
        ("linear", _) => Interpolation::Linear,
        ("nearest", "round_prefer_floor") => Interpolation::Nearest,
        ("nearest", "floor") => Interpolation::NearestFloor,
        ("nearest", other) => return unsupported(format!("with attribute nearest_mode={other}")),
        (other, _) => return unsupported(format!("with attribute mode={other}")),
    };
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let along = match n.ints("axes") {
        Some(list) => list.iter().map(|&a| axis(a, shape.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.rank()).collect(),
    };
    let sizes = n.sizes(3)?.filter(|sizes| !sizes.is_empty());
    let (size, scale) = match (sizes, n.numbers(2)?) {
        (Some(sizes), _) => by_sizes(g, &shape, &along, &sizes)?,
        (None, Some(scales)) => by_scales(&shape, &along, &scales)?,
        (None, None) => return broken("expected sizes or scales"),
    };
    add(g, n, x, Resize::new(size, scale, mode, coordinates))
}

/// As it was before the coordinates could be chosen.
fn plain(g: &mut Context, n: &Node, scales: Option<Vec<f64>>) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let Some(scales) = scales else { return broken("expected scales") };
    let mode = match n.text("mode", "nearest")? {
        "linear" | "bilinear" => Interpolation::Linear,
        "nearest" if scales.iter().all(|&scale| scale >= 1.0) => Interpolation::NearestFloor,
        "nearest" => return unsupported(format!("of operator set {} with a scale below 1", n.opset)),
        other => return unsupported(format!("with attribute mode={other}")),
    };
    let (size, scale) = by_scales(&shape, &(0..shape.rank()).collect::<Vec<_>>(), &scales)?;
    add(g, n, x, Resize::new(size, scale, mode, Coordinates::Asymmetric))
}

fn add(g: &mut Context, n: &Node, x: NodeId, resize: Resize) -> Values {
    g.add(n, Op::Resize(resize), &[x], &[])
}

/// Size and scale of the axes behind batch and channel.
type Target = (Vec<usize>, Vec<f64>);

fn by_sizes(g: &Context, shape: &Shape, along: &[usize], sizes: &[Size]) -> Result<Target, Fault> {
    if sizes.len() != along.len() {
        return broken(format!("expected {} sizes, found {}", along.len(), sizes.len()));
    }
    let mut target = spatial(shape)?;
    for (&axis, &size) in along.iter().zip(sizes) {
        match (shape.0[axis], size) {
            (dim, size) if axis < 2 && g.is_len(size, dim) => {}
            (Dim::Fixed(old), Size::Fixed(size)) if axis >= 2 => {
                let size = count(size)?;
                target.0[axis - 2] = size;
                target.1[axis - 2] = size as f64 / old as f64;
            }
            _ => return unsupported(format!("along axis {axis}")),
        }
    }
    Ok(target)
}

fn by_scales(shape: &Shape, along: &[usize], scales: &[f64]) -> Result<Target, Fault> {
    if scales.len() != along.len() {
        return broken(format!("expected {} scales, found {}", along.len(), scales.len()));
    }
    let mut target = spatial(shape)?;
    for (&axis, &scale) in along.iter().zip(scales) {
        match shape.0[axis] {
            _ if axis < 2 && scale == 1.0 => {}
            Dim::Fixed(old) if axis >= 2 => {
                target.0[axis - 2] = scaled(old, scale)?;
                target.1[axis - 2] = scale;
            }
            _ => return unsupported(format!("along axis {axis}")),
        }
    }
    Ok(target)
}

/// The new length by a scale: rounded down, in single precision as run times do.
pub(crate) fn scaled(old: usize, scale: f64) -> Result<usize, Fault> {
    count((old as f32 * scale as f32).floor() as i64)
}

/// All axes behind batch and channel as they are.
fn spatial(shape: &Shape) -> Result<Target, Fault> {
    let sizes = shape.0.iter().skip(2).map(|dim| match dim {
        Dim::Fixed(n) => Ok(*n),
        Dim::Batch(_) => broken(format!("expected the batch on axis 0, found {shape}")),
    });
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    let scales = vec![1.0; sizes.len()];
    Ok((sizes, scales))
}
