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
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let along = match n.ints("axes") {
        Some(list) => list.iter().map(|&a| axis(a, shape.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.rank()).collect(),
    };
    let sizes = n.sizes(3)?.filter(|sizes| !sizes.is_empty());
    let scales = n.numbers(2)?.filter(|scales| !scales.is_empty());
    let policy = n.text("keep_aspect_ratio_policy", "stretch")?;
    let (size, scale) = match (sizes, scales) {
        (Some(sizes), _) => by_sizes(g, &shape, &along, &sizes, policy)?,
        (None, Some(scales)) => by_scales(&shape, &along, &scales)?,
        (None, None) => return broken("expected sizes or scales"),
    };
    let coordinates = match coordinates(n, &shape, &along)? {
        Coordinates::AlignCorners => align_corners(&shape, &size, &scale)?,
        other => other,
    };
    let mut resize = Resize::new(size, scale, interpolation(n)?, coordinates);
    resize.antialias = n.flag("antialias", false)?;
    resize.exclude_outside = n.flag("exclude_outside", false)?;
    let beyond = n.float("extrapolation_value", 0.0)?;
    match resize.coordinates {
        Coordinates::CropAndResize { .. } if beyond != 0.0 => extrapolated(g, n, x, resize, beyond),
        _ => add(g, n, x, resize),
    }
}

fn interpolation(n: &Node) -> Result<Interpolation, Fault> {
    let nearest = n.text("nearest_mode", "round_prefer_floor")?;
    let slope = n.float("cubic_coeff_a", -0.75)?;
    Ok(match (n.text("mode", "nearest")?, nearest) {
        ("linear", _) => Interpolation::Linear,
        ("cubic", _) => Interpolation::Cubic { slope },
        ("nearest", "round_prefer_floor") => Interpolation::Nearest,
        ("nearest", "round_prefer_ceil") => Interpolation::NearestUp,
        ("nearest", "floor") => Interpolation::NearestFloor,
        ("nearest", "ceil") => Interpolation::NearestCeil,
        ("nearest", other) => return unsupported(format!("with attribute nearest_mode={other}")),
        (other, _) => return unsupported(format!("with attribute mode={other}")),
    })
}

fn coordinates(n: &Node, shape: &Shape, along: &[usize]) -> Result<Coordinates, Fault> {
    Ok(match n.text("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixel,
        "tf_crop_and_resize" => {
            let Some(roi) = n.numbers(1)?.filter(|roi| roi.len() == 2 * along.len()) else {
                return broken(format!("expected a region of {} numbers", 2 * along.len()));
            };
            let mut region = [(0.0, 1.0); 3];
            for (i, &axis) in along.iter().enumerate() {
                let part = (roi[i], roi[i + along.len()]);
                match axis.checked_sub(2).and_then(|axis| region.get_mut(axis)) {
                    Some(region) => *region = part,
                    None if part == (0.0, 1.0) => {}
                    None => return unsupported(format!("of a region of axis {axis} of {shape}")),
                }
            }
            Coordinates::CropAndResize { region }
        }
        other => return unsupported(format!("with attribute coordinate_transformation_mode={other}")),
    })
}

/// By ONNX's reference the last corner is at the new length before it is rounded down, which then is outside: a region
/// ends at the last entry that there is. (ONNX Runtime takes the rounded length.)
fn align_corners(shape: &Shape, size: &[usize], scale: &[f64]) -> Result<Coordinates, Fault> {
    let old = spatial(shape)?.0;
    let unrounded = |axis: usize| old[axis] as f64 * scale[axis];
    if (0..old.len()).all(|axis| (unrounded(axis) - size[axis] as f64).abs() < 1e-6) || old.len() > 3 {
        return Ok(Coordinates::AlignCorners);
    }
    let mut region = [(0.0, 1.0); 3];
    for axis in 0..old.len() {
        let end = if size[axis] == 1 { 0.0 } else { (size[axis] - 1) as f64 / (unrounded(axis) - 1.0) };
        region[axis] = (0.0, end);
    }
    Ok(Coordinates::CropAndResize { region })
}

/// A resize that has another number than 0 where it lies outside of the value.
fn extrapolated(g: &mut Context, n: &Node, x: NodeId, resize: Resize, beyond: f64) -> Values {
    let old = spatial(&g.shape(x))?.0;
    let total = resize.size.iter().fold(1usize, |product, &len| product.saturating_mul(len.max(1)));
    g.spend(total)?;
    let outside = |axis: usize| -> Vec<bool> {
        resize.taps(axis, old[axis]).iter().map(|taps| taps.is_empty()).collect()
    };
    let outside: Vec<_> = (0..old.len().min(resize.size.len())).map(outside).collect();
    let size = resize.size.clone();
    let y = g.step(n, Op::Resize(resize), &[x])?;
    let add = ndarray::ArrayD::from_shape_fn(ndarray::IxDyn(&size), |i| {
        if outside.iter().enumerate().any(|(axis, outside)| outside[i[axis]]) { beyond } else { 0.0 }
    });
    let param = match g.double {
        true => g.graph.param(add),
        false => g.graph.param(add.mapv(|x| x as f32)),
    };
    let name = g.unique(&n.name);
    let around = g.add_named(&name, Op::Constant, &[], &[param])?;
    g.add(n, Op::Add, &[y, around], &[])
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

fn by_sizes(
    g: &Context,
    shape: &Shape,
    along: &[usize],
    sizes: &[Size],
    policy: &str,
) -> Result<Target, Fault> {
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
    let scales = along.iter().filter_map(|&axis| target.1.get(axis.checked_sub(2)?).copied());
    let scale = match policy {
        "stretch" => return Ok(target),
        "not_larger" => scales.fold(f64::INFINITY, f64::min),
        "not_smaller" => scales.fold(0.0, f64::max),
        other => return unsupported(format!("with attribute keep_aspect_ratio_policy={other}")),
    };
    let old = spatial(shape)?.0;
    for axis in along.iter().filter_map(|axis| axis.checked_sub(2)) {
        target.1[axis] = scale;
        // To the nearest, and from the middle up.
        target.0[axis] = count((scale * old[axis] as f64 + 0.5).floor() as i64)?;
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
