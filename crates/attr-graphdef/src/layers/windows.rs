//! Convolution, transposed or not, and pooling.

use attr_core::{Conv, ConvTranspose, Dim, Op, Pool};

use super::importer::Importer;
use super::known::Known;
use super::moves::pairs;
use super::operator::{
    Carried, Fault, Operator, Spaced, Value, Values, axes, broken, count, counts, unsupported,
};

/// Weights are height, width, input channels of a group, output channels; a layer's are the other way round.
pub(super) fn conv(g: &mut Importer, n: &Operator, at: usize) -> Values {
    n.channels_last()?;
    if let Value::Spaced(spaced) = n.input(0)? {
        return Ok(vec![Value::Spaced(within(n, spaced, at)?)]);
    }
    let x = n.layer(0)?;
    let [height, width, inner, _] = kernel(n.known(1)?)?;
    let channels = channels(g, x)?;
    let groups = channels.checked_div(inner).filter(|groups| groups * inner == channels);
    let Some(groups) = groups else {
        return broken(format!("expected {inner} or a multiple of channels, found {channels}"));
    };
    let windows = windows(g, n, x, [height, width])?;
    let weight = g.param(n.known(1)?, &[3, 2, 0, 1], None)?;
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), Op::Conv(windows.conv(groups)), &[id], &[weight])?;
    g.value(id, true)
}

/// Weights are height, width, channels, how many outputs each channel has.
pub(super) fn depthwise(g: &mut Importer, n: &Operator, at: usize) -> Values {
    n.channels_last()?;
    if let Value::Spaced(spaced) = n.input(0)? {
        return Ok(vec![Value::Spaced(within(n, spaced, at)?)]);
    }
    let x = n.layer(0)?;
    let [height, width, inner, each] = kernel(n.known(1)?)?;
    if inner != channels(g, x)? {
        return broken(format!("expected {inner} channels, found {}", channels(g, x)?));
    }
    let conv = windows(g, n, x, [height, width])?.conv(inner);
    let outer = inner.checked_mul(each).ok_or_else(|| Fault::Broken("too many channels".into()))?;
    let weight = g.param(n.known(1)?, &[2, 3, 0, 1], Some(&[outer, 1, height, width]))?;
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), Op::Conv(conv), &[id], &[weight])?;
    g.value(id, true)
}

/// The transpose of the convolution with these attributes, to these lengths. Weights are height, width, output
/// channels, input channels.
pub(super) fn conv_transpose(g: &mut Importer, n: &Operator) -> Values {
    n.channels_last()?;
    let (sizes, x) = (n.sizes(0)?, n.layer(2)?);
    let [height, width, outer, _] = kernel(n.known(1)?)?;
    let (kernel, old) = ([height, width], spatial(g, x)?);
    let &[rows, new_height, new_width, channels] = &sizes[..] else {
        return broken(format!("expected four lengths, found {}", sizes.len()));
    };
    if !g.is_len(rows, g.dims(x)[0]) && rows.fixed() != Some(-1) {
        return unsupported("that changes the batch");
    }
    let size = |size: super::known::Size| size.fixed().map_or_else(|| unsupported("to the batch"), count);
    let new = [size(new_height)?, size(new_width)?];
    if size(channels)? != outer {
        return broken(format!("expected {outer} channels, found {}", size(channels)?));
    }
    let steps = steps(n)?;
    let (stride, dilation) = (steps.stride.clone(), steps.dilation.clone());
    let padding = match n.node.text("padding") {
        Some("VALID") => vec![(0, 0); 2],
        Some("SAME") => (0..2).map(|i| same(new[i], kernel[i], stride[i], dilation[i])).collect(),
        Some("EXPLICIT") => explicit(n)?,
        _ => return broken("attribute padding: expected VALID, SAME or EXPLICIT"),
    };
    let conv = Conv { stride, padding, dilation, groups: 1 };
    let reached = |i: usize| {
        let last = old[i].saturating_sub(1).saturating_mul(conv.stride[i]);
        let extent = kernel[i].saturating_sub(1).saturating_mul(conv.dilation[i]).saturating_add(1);
        last.saturating_add(extent).saturating_sub(conv.padding[i].0 + conv.padding[i].1)
    };
    let beyond: Option<Vec<_>> = (0..2).map(|i| new[i].checked_sub(reached(i))).collect();
    let Some(output_padding) = beyond else {
        return broken(format!("{old:?} entries don't lead to {new:?}"));
    };
    let weight = g.param(n.known(1)?, &[3, 2, 0, 1], None)?;
    let id = g.channels_second(x)?;
    let op = Op::ConvTranspose(ConvTranspose { conv, output_padding });
    let id = g.add(n.name(), op, &[id], &[weight])?;
    g.value(id, true)
}

/// The first half of a dilated convolution: what it deals out, the second half is told.
pub(super) fn space_to_batch(g: &mut Importer, n: &Operator) -> Values {
    let (x, block) = (n.layer(0)?, counts(&n.integers(1)?)?);
    let padding = pairs(n, 2, block.len())?;
    let dims = g.dims(x);
    let fits = |i: usize| {
        let Some(Dim::Fixed(len)) = dims.get(i + 1) else { return false };
        let padded = len.checked_add(padding[i].0).and_then(|n| n.checked_add(padding[i].1));
        block[i] > 0 && padded.is_some_and(|padded| padded.is_multiple_of(block[i]))
    };
    let known = (block.len() == 1 || block.len() == 2) && dims.len() == block.len() + 2;
    if !known || dims[0] != Dim::Batch(1) || !(0..block.len()).all(fits) {
        return unsupported(format!("of blocks {block:?} of {} axes", dims.len()));
    }
    Ok(vec![Value::Spaced(Spaced { x, block, padding, convolution: None })])
}

/// A new axis of length 1, or an end to it, by which a convolution along one axis is made one along two.
pub(super) fn along_one_axis(spaced: &Spaced, axes: &[i64]) -> Values {
    match spaced.block.len() == 1 && (axes == [1] || axes == [-3]) {
        true => Ok(vec![Value::Spaced(spaced.clone())]),
        false => unsupported("between SpaceToBatchND and BatchToSpaceND"),
    }
}

/// A convolution of what is dealt out, with nothing special about it.
fn within(n: &Operator, spaced: &Spaced, at: usize) -> Result<Spaced, Fault> {
    let steps = steps(n)?;
    let plain = steps.stride == [1, 1] && steps.dilation == [1, 1] && n.node.text("padding") == Some("VALID");
    match (plain, spaced.convolution) {
        (true, None) => Ok(Spaced { convolution: Some(at), ..spaced.clone() }),
        _ => unsupported("between SpaceToBatchND and BatchToSpaceND, with strides, dilations or padding"),
    }
}

/// The second half of a dilated convolution: the whole of it.
pub(super) fn batch_to_space(g: &mut Importer, n: &Operator) -> Values {
    let Value::Spaced(Spaced { x, block, padding, convolution: Some(at) }) = n.input(0)?.clone() else {
        return unsupported("of something else than a convolution of SpaceToBatchND");
    };
    let crops = pairs(n, 2, block.len())?;
    let less = |(pad, crop): (&(usize, usize), &(usize, usize))| {
        Some((pad.0.checked_sub(crop.0)?, pad.1.checked_sub(crop.1)?))
    };
    let left: Option<Vec<_>> = padding.iter().zip(&crops).map(less).collect();
    let (Some(padding), true) = (left, counts(&n.integers(1)?)? == block) else {
        return unsupported(format!("with crops {crops:?}"));
    };
    let (node, sources) = g.behind((at, 0));
    let Some(Value::Known(_, weight)) = sources.get(1).map(|&source| g.made(source)) else {
        return unsupported("of a convolution with computed weights");
    };
    let (each, axes) = (node.op == "DepthwiseConv2dNative", block.len());
    let [height, width, inner, outer] = kernel(&weight)?;
    if axes == 1 && height != 1 {
        return unsupported("of a convolution along another axis");
    }
    let channels = channels(g, x)?;
    let groups =
        channels.checked_div(inner).filter(|groups| groups * inner == channels && (!each || *groups == 1));
    let Some(groups) = groups else {
        return broken(format!("expected {inner} channels or a multiple, found {channels}"));
    };
    let kernel = &[height, width][2 - axes..];
    let (groups, perm, dims) = match each {
        true => (inner, [2, 3, 0, 1], [inner.saturating_mul(outer), 1]),
        false => (groups, [3, 2, 0, 1], [outer, inner]),
    };
    let conv = Conv { stride: vec![1; axes], padding, dilation: block, groups };
    let weight = g.param(&weight, &perm, Some(&[&dims, kernel].concat()))?;
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), Op::Conv(conv), &[id], &[weight])?;
    g.value(id, true)
}

/// What slides over one axis, if it has been written as sliding over a second one of length 1, put before it and
/// taken away again.
pub(super) fn of_one_axis(g: &mut Importer, n: &Operator, x: Carried) -> Result<Option<Vec<Value>>, Fault> {
    let (slides, of_slides) = g.behind(n.sources[0]);
    let place = if slides.op == "Conv2DBackpropInput" { 2 } else { 0 };
    let Some(&expanded) = of_slides.get(place) else { return Ok(None) };
    let (expand, of_expand) = g.behind(expanded);
    let &[before, along] = &of_expand[..] else { return Ok(None) };
    let (Value::Layer(before), Some(along)) = (g.made(before), g.integers(along)) else { return Ok(None) };
    let layer = g.graph.node(x.id);
    if expand.op != "ExpandDims"
        || !(along == [1] || along == [-3])
        || g.rank(before) != 3
        || layer.inputs.len() != 1
    {
        return Ok(None);
    }
    let narrow = |lens: &[usize]| matches!(lens, [1, _]);
    let alone = |padding: &[(usize, usize)]| matches!(padding, [(0, 0), _]);
    let mut op = layer.op.clone();
    let plain = match &mut op {
        Op::Conv(conv) => alone(&conv.padding) && last(conv),
        Op::ConvTranspose(transpose) => {
            let beyond = transpose.output_padding.remove(0);
            alone(&transpose.conv.padding) && last(&mut transpose.conv) && beyond == 0
        }
        Op::MaxPool(pool) | Op::AveragePool { pool, .. } => {
            let plain = alone(&pool.padding) && narrow(&pool.kernel);
            for list in [&mut pool.kernel, &mut pool.stride, &mut pool.dilation] {
                list.remove(0);
            }
            pool.padding.remove(0);
            plain
        }
        _ => false,
    };
    let params = layer.params.clone();
    let weights: Vec<_> = params.iter().map(|&param| g.graph.params()[param].clone()).collect();
    if !plain || weights.iter().any(|weight| weight.dims().len() != 4 || weight.dims()[2] != 1) {
        return Ok(None);
    }
    let own = weights.iter().map(|weight| {
        match super::importer::reshaped(&Known::of_param(weight), &without(weight.dims()))? {
            Known::F32(a) => Ok(g.graph.param(attr_core::Param::F32(a))),
            Known::F64(a) => Ok(g.graph.param(attr_core::Param::F64(a))),
            Known::Int(_) => broken("expected floating-point numbers, found integers"),
        }
    });
    let own = own.collect::<Result<Vec<_>, Fault>>()?;
    let id = g.channels_second(before)?;
    let id = g.add(n.name(), op, &[id], &own)?;
    g.value(id, true).map(Some)
}

/// Leaves the last axis alone.
fn last(conv: &mut Conv) -> bool {
    conv.stride.remove(0);
    conv.dilation.remove(0);
    conv.padding.remove(0);
    true
}

fn without(dims: &[usize]) -> Vec<usize> {
    dims.iter().enumerate().filter(|(axis, _)| *axis != 2).map(|(_, &len)| len).collect()
}

pub(super) fn max_pool(g: &mut Importer, n: &Operator) -> Values {
    let (x, pool) = pool(g, n)?;
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), Op::MaxPool(pool), &[id], &[])?;
    g.value(id, true)
}

/// Padding is no part of the means.
pub(super) fn average_pool(g: &mut Importer, n: &Operator) -> Values {
    let (x, pool) = pool(g, n)?;
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), Op::AveragePool { pool, count_include_pad: false }, &[id], &[])?;
    g.value(id, true)
}

/// The largest value over all spatial axes is a pooling with one window. Where several entries are the largest, the
/// derivative is the first one's, as in all pooling here, and TensorFlow's is shared by them.
pub(super) fn max(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let dims = g.dims(x);
    let over = axes(&n.integers(1)?, dims.len())?;
    if dims.len() < 3 || dims.len() > 4 || over != (1..dims.len() - 1).collect::<Vec<_>>() {
        return unsupported(format!(
            "over axes {over:?} of {} (only over all between batch and channels)",
            dims.len()
        ));
    }
    let len = |dim: &Dim| if let Dim::Fixed(len) = dim { Ok(*len) } else { unsupported("of the batch") };
    let kernel = dims[1..dims.len() - 1].iter().map(len).collect::<Result<Vec<_>, _>>()?;
    let spatial = kernel.len();
    let pool = Pool {
        kernel,
        stride: vec![1; spatial],
        padding: vec![(0, 0); spatial],
        dilation: vec![1; spatial],
        ceil: false,
    };
    let id = g.channels_second(x)?;
    if n.node.flag("keep_dims") {
        let id = g.add(n.name(), Op::MaxPool(pool), &[id], &[])?;
        return g.value(id, true);
    }
    let id = g.part(n.name(), "window", Op::MaxPool(pool), &[id])?;
    let shape = attr_core::Shape(vec![dims[0], dims[dims.len() - 1]]);
    let id = g.add(n.name(), Op::Reshape { shape }, &[id], &[])?;
    g.value(id, false)
}

fn pool(g: &mut Importer, n: &Operator) -> Result<(Carried, Pool), Fault> {
    n.channels_last()?;
    let x = n.layer(0)?;
    let kernel = n.spatial("ksize")?;
    let Windows { stride, padding, dilation } = windows(g, n, x, kernel)?;
    Ok((x, Pool { kernel: kernel.to_vec(), stride, padding, dilation, ceil: false }))
}

fn kernel(known: &Known) -> Result<[usize; 4], Fault> {
    match *known.dims() {
        [height, width, a, b] if height > 0 && width > 0 => Ok([height, width, a, b]),
        ref other => broken(format!("weight: expected four axes, found {other:?}")),
    }
}

fn channels(g: &Importer, x: Carried) -> Result<usize, Fault> {
    match g.dims(x).last() {
        Some(Dim::Fixed(channels)) => Ok(*channels),
        _ => broken("expected channels"),
    }
}

/// The lengths of the two axes between batch and channels.
pub(super) fn spatial(g: &Importer, x: Carried) -> Result<[usize; 2], Fault> {
    match g.dims(x)[..] {
        [Dim::Batch(1), Dim::Fixed(height), Dim::Fixed(width), Dim::Fixed(_)] => Ok([height, width]),
        _ => broken(format!("expected a batch, two spatial axes and channels, found {}", g.shape(x.id))),
    }
}

/// What convolution and pooling have in common.
struct Windows {
    stride: Vec<usize>,
    padding: Vec<(usize, usize)>,
    dilation: Vec<usize>,
}

impl Windows {
    fn conv(self, groups: usize) -> Conv {
        Conv { stride: self.stride, padding: self.padding, dilation: self.dilation, groups }
    }
}

fn windows(g: &Importer, n: &Operator, x: Carried, kernel: [usize; 2]) -> Result<Windows, Fault> {
    let mut windows = steps(n)?;
    let sizes = spatial(g, x)?;
    windows.padding = match n.node.text("padding") {
        Some("VALID") => vec![(0, 0); 2],
        Some("SAME") if kernel.contains(&0) => return broken("expected a kernel of at least 1"),
        Some("SAME") => {
            (0..2).map(|i| same(sizes[i], kernel[i], windows.stride[i], windows.dilation[i])).collect()
        }
        Some("EXPLICIT") => explicit(n)?,
        _ => return broken("attribute padding: expected VALID, SAME or EXPLICIT"),
    };
    Ok(windows)
}

fn steps(n: &Operator) -> Result<Windows, Fault> {
    let (stride, dilation) = (n.spatial("strides")?.to_vec(), n.spatial("dilations")?.to_vec());
    if stride.contains(&0) || dilation.contains(&0) {
        return broken("expected strides and dilations of at least 1");
    }
    Ok(Windows { stride, padding: Vec::new(), dilation })
}

fn explicit(n: &Operator) -> Result<Vec<(usize, usize)>, Fault> {
    match *n.node.ints("explicit_paddings") {
        [0, 0, top, bottom, left, right, 0, 0] => {
            Ok(vec![(count(top)?, count(bottom)?), (count(left)?, count(right)?)])
        }
        ref other => unsupported(format!("with attribute explicit_paddings={other:?}")),
    }
}

/// Padding with which there is one window for each `stride` entries; where it is odd, the larger part is after.
fn same(size: usize, kernel: usize, stride: usize, dilation: usize) -> (usize, usize) {
    let extent = kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
    let last = (size.div_ceil(stride).max(1) - 1).saturating_mul(stride);
    let total = last.saturating_add(extent).saturating_sub(size);
    (total / 2, total - total / 2)
}
