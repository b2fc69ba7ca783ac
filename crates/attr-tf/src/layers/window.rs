//! Convolutions.
//!
//! TensorFlow's kernels for the CPU want two or three spatial axes and channels last. Padding that is not what it calls
//! `SAME` is put around the value before, with which it does as well.

use attr_core::{Conv, ConvTranspose, Result, Tensor};
use attr_graphdef::proto::Attr;

use crate::symbol::{Order, Symbol};
use crate::tape::{INT32, Id, Tape, ints, text};

/// Cross-correlation.
pub(super) fn convolution(conv: &Conv, x: &Symbol, weight: &Symbol, bias: Option<&Symbol>) -> Result<Symbol> {
    let value = wide(conv, x, weight, convolve)?;
    add_bias(value, bias)
}

/// The cotangent of the input, of these lengths: the transposed convolution.
pub(super) fn convolution_back(conv: &Conv, c: &Symbol, weight: &Symbol, dims: &[usize]) -> Result<Symbol> {
    let dims = widened(dims);
    wide(conv, c, weight, |conv, c, weight| convolve_back(conv, c, weight, &dims))
}

/// The convolution's transpose.
pub(super) fn transposed_convolution(
    transpose: &ConvTranspose,
    x: &Symbol,
    weight: &Symbol,
    bias: Option<&Symbol>,
) -> Result<Symbol> {
    let (conv, kernel) = (&transpose.conv, &weight.shape()[2..]);
    let spatial = (0..kernel.len()).map(|axis| transpose.entries(axis, x.shape()[2 + axis], kernel[axis]));
    let dims: Vec<_> = [x.rows(), weight.shape()[1] * conv.groups].into_iter().chain(spatial).collect();
    add_bias(convolution_back(conv, x, weight, &dims)?, bias)
}

/// The cotangent of the transpose's input, of these lengths: the convolution.
pub(super) fn transposed_convolution_back(
    conv: &Conv,
    c: &Symbol,
    weight: &Symbol,
    dims: &[usize],
) -> Result<Symbol> {
    // Output padding larger than a stride has room for more windows than the input has entries.
    Ok(convolution(conv, c, weight, None)?.part(&vec![0; dims.len()], dims))
}

fn add_bias(value: Symbol, bias: Option<&Symbol>) -> Result<Symbol> {
    let Some(bias) = bias else { return Ok(value) };
    let id = value.tape().op("BiasAdd", &[value.ordered(Order::Last), bias.plain()]);
    Ok(Symbol::of(value.tape(), id, Order::Last, value.shape()))
}

/// One spatial axis is two, the first of them of length 1.
fn wide(
    conv: &Conv,
    x: &Symbol,
    weight: &Symbol,
    compute: impl FnOnce(&Conv, &Symbol, &Symbol) -> Result<Symbol>,
) -> Result<Symbol> {
    let Conv { stride, padding, dilation, groups } = conv;
    if stride.len() > 1 {
        return compute(conv, x, weight);
    }
    let conv = Conv {
        stride: vec![1, stride[0]],
        padding: vec![(0, 0), padding[0]],
        dilation: vec![1, dilation[0]],
        groups: *groups,
    };
    narrowed(compute(&conv, &x.reshape(&widened(x.shape()))?, &weight.reshape(&widened(weight.shape()))?)?)
}

pub(super) fn widened(dims: &[usize]) -> Vec<usize> {
    if dims.len() == 3 { vec![dims[0], dims[1], 1, dims[2]] } else { dims.to_vec() }
}

pub(super) fn narrowed(value: Symbol) -> Result<Symbol> {
    let dims = value.shape();
    value.reshape(&[dims[0], dims[1], dims[3]])
}

/// How a convolution of two or three spatial axes is computed.
enum How {
    /// As one.
    Whole,
    /// Each channel by itself.
    Depthwise,
    /// With zeros between the kernel's entries, where TensorFlow's has no dilation.
    Dilated,
    /// Group by group.
    Grouped,
}

fn how(conv: &Conv, channels: usize) -> How {
    let (is_dilated, is_deep) = (conv.dilation.iter().any(|&n| n != 1), conv.stride.len() == 3);
    match conv.groups {
        1 if is_dilated && is_deep => How::Dilated,
        1 => How::Whole,
        groups if groups != channels || is_deep || conv.stride[0] != conv.stride[1] => How::Grouped,
        _ if is_dilated => How::Dilated,
        _ => How::Depthwise,
    }
}

/// Windows as TensorFlow's operators take them.
struct Windows {
    stride: Vec<usize>,
    dilation: Vec<usize>,
    /// What it is told about padding.
    padding: &'static str,
    /// What is put around the value before, an entry an axis.
    around: Vec<(usize, usize)>,
    /// What it is told to put around the value.
    explicit: Option<Attr>,
}

impl Windows {
    /// Over a value with these spatial lengths.
    fn new(conv: &Conv, kernel: &[usize], size: &[usize]) -> Self {
        let axes = kernel.len();
        let same = (0..axes).all(|axis| {
            let (stride, extent) = (conv.stride[axis], (kernel[axis] - 1) * conv.dilation[axis] + 1);
            let reached = (size[axis].div_ceil(stride) - 1) * stride + extent;
            let missing = reached.saturating_sub(size[axis]);
            conv.padding[axis] == (missing / 2, missing - missing / 2)
        });
        let none = conv.padding.iter().all(|&padding| padding == (0, 0));
        let (padding, spatial) = match (same, none) {
            (_, true) => ("VALID", vec![(0, 0); axes]),
            (true, _) => ("SAME", vec![(0, 0); axes]),
            _ => ("VALID", conv.padding.clone()),
        };
        Windows {
            stride: conv.stride.clone(),
            dilation: conv.dilation.clone(),
            padding,
            around: around(&spatial),
            explicit: None,
        }
    }

    /// With what is put around the value as an attribute, if the tape may have that.
    fn on(mut self, tape: &Tape) -> Self {
        let is_around = self.around.iter().any(|&padding| padding != (0, 0));
        if tape.is_for_others() && self.stride.len() == 2 && is_around {
            self.explicit = Some(explicit(&self.around));
            self.padding = "EXPLICIT";
            self.around.fill((0, 0));
        }
        self
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("strides", spatial(&self.stride)),
            ("padding", text(self.padding)),
            ("dilations", spatial(&self.dilation)),
        ]
        .into_iter()
        .chain(self.explicit.clone().map(|explicit| ("explicit_paddings", explicit)))
        .collect()
    }
}

/// Padding of the spatial axes, as an entry an axis of the value.
pub(super) fn around(spatial: &[(usize, usize)]) -> Vec<(usize, usize)> {
    [&[(0, 0); 2], spatial].concat()
}

/// An entry a spatial axis as an attribute, which has one for each axis.
pub(super) fn spatial(entries: &[usize]) -> Attr {
    ints(&[&[1], entries, &[1]].concat())
}

/// Padding, an entry an axis, as TensorFlow's operators have it, with channels last.
pub(super) fn explicit(padding: &[(usize, usize)]) -> Attr {
    let widths = Order::Last.arrange(padding).into_iter().flat_map(|(before, after)| [before, after]);
    ints(&widths.collect::<Vec<_>>())
}

/// Of the weight `[out, in / groups, kernel...]`: the filter as TensorFlow has it.
fn filter(weight: &Symbol) -> Result<Id> {
    let axes: Vec<_> = (2..weight.shape().len()).chain([1, 0]).collect();
    Ok(weight.permute(&axes)?.plain())
}

/// The same for a convolution of each channel by itself: `[height, width, channels, out / channels]`.
fn depthwise_filter(weight: &Symbol, channels: usize) -> Result<Id> {
    let [out, _, height, width] = weight.shape()[..] else { unreachable!("BUG: a weight has four axes") };
    Ok(weight.reshape(&[channels, out / channels, height, width])?.permute(&[2, 3, 0, 1])?.plain())
}

pub(super) fn convolve(conv: &Conv, x: &Symbol, weight: &Symbol) -> Result<Symbol> {
    let channels = x.shape()[1];
    let how = how(conv, channels);
    match how {
        How::Whole | How::Depthwise => {}
        How::Dilated => return convolve(&undilated(conv), x, &dilated(weight, &conv.dilation)?),
        How::Grouped => return by_group(conv, x, weight, convolve),
    }
    let (kernel, tape) = (&weight.shape()[2..], x.tape());
    let windows = Windows::new(conv, kernel, &x.shape()[2..]).on(tape);
    let (op, filter) = match (how, kernel.len()) {
        (How::Depthwise, _) => ("DepthwiseConv2dNative", depthwise_filter(weight, channels)?),
        (_, 2) => ("Conv2D", filter(weight)?),
        _ => ("Conv3D", filter(weight)?),
    };
    let id = tape.op_with(op, &[x.pad(&windows.around, 0.0).ordered(Order::Last), filter], windows.attrs());
    let spatial = (0..kernel.len()).map(|axis| windows_along(conv, kernel, x.shape(), axis));
    let dims: Vec<_> = [x.rows(), weight.shape()[0]].into_iter().chain(spatial).collect();
    Ok(Symbol::of(tape, id, Order::Last, &dims))
}

/// How many windows there are along a spatial axis.
fn windows_along(conv: &Conv, kernel: &[usize], dims: &[usize], axis: usize) -> usize {
    let (before, after) = conv.padding[axis];
    let extent = (kernel[axis] - 1) * conv.dilation[axis] + 1;
    (dims[2 + axis] + before + after - extent) / conv.stride[axis] + 1
}

pub(super) fn convolve_back(conv: &Conv, c: &Symbol, weight: &Symbol, dims: &[usize]) -> Result<Symbol> {
    let (channels, kernel, tape) = (dims[1], &weight.shape()[2..], c.tape());
    let how = how(conv, channels);
    match how {
        How::Whole if conv.dilation.iter().any(|&n| n != 1) => return dilated_back(conv, c, weight, dims),
        How::Whole | How::Depthwise => {}
        How::Dilated => return convolve_back(&undilated(conv), c, &dilated(weight, &conv.dilation)?, dims),
        How::Grouped => {
            let mut dims = dims.to_vec();
            dims[1] /= conv.groups;
            return by_group(conv, c, weight, |conv, c, weight| convolve_back(conv, c, weight, &dims));
        }
    }
    let windows = Windows::new(conv, kernel, &dims[2..]);
    let whole: Vec<_> =
        dims.iter().zip(&windows.around).map(|(n, (before, after))| n + before + after).collect();
    // A transposed convolution can ask for more entries than the windows of its input reach.
    let missing =
        |axis: usize| (0, windows_along(conv, kernel, dims, axis).saturating_sub(c.shape()[2 + axis]));
    let c = c.pad(&around(&(0..kernel.len()).map(missing).collect::<Vec<_>>()), 0.0);
    let sizes = tape.lengths(&Order::Last.arrange(&whole));
    let (op, filter) = match (how, kernel.len()) {
        (How::Depthwise, _) => ("DepthwiseConv2dNativeBackpropInput", depthwise_filter(weight, channels)?),
        (_, 2) => ("Conv2DBackpropInput", filter(weight)?),
        _ => ("Conv3DBackpropInputV2", filter(weight)?),
    };
    let id = tape.op_with(op, &[sizes, filter, c.ordered(Order::Last)], windows.attrs());
    Ok(Symbol::of(tape, id, Order::Last, &whole).crop(&windows.around, dims))
}

/// TensorFlow's own is wrong for dilations: the convolution by the turned kernel, of the cotangent with zeros
/// between its entries where the stride has left some out.
fn dilated_back(conv: &Conv, c: &Symbol, weight: &Symbol, dims: &[usize]) -> Result<Symbol> {
    let (kernel, tape) = (&weight.shape()[2..], c.tape());
    let apart = dilated(c, &conv.stride)?;
    let (mut cut, mut around, mut dims_left) = ([0; 4], [(0, 0); 4], apart.shape().to_vec());
    for axis in 0..2 {
        let reach = (kernel[axis] - 1) * conv.dilation[axis];
        let (before, size) = (reach as isize - conv.padding[axis].0 as isize, dims_left[2 + axis] as isize);
        let after = (dims[2 + axis] + reach) as isize - before - size;
        cut[2 + axis] = (-before).max(0) as usize;
        dims_left[2 + axis] = (size + before.min(0) + after.min(0)) as usize;
        around[2 + axis] = (before.max(0) as usize, after.max(0) as usize);
    }
    let x = apart.part(&cut, &dims_left).pad(&around, 0.0);
    let turned = weight.permute(&[2, 3, 0, 1])?.plain();
    let axes = tape.ints(&[0, 1]);
    let turned = tape.op_with("ReverseV2", &[turned, axes], vec![("Tidx", INT32)]);
    let conv = Conv { stride: vec![1, 1], padding: vec![(0, 0); 2], ..conv.clone() };
    let attrs = Windows::new(&conv, kernel, &x.shape()[2..]).attrs();
    let id = tape.op_with("Conv2D", &[x.ordered(Order::Last), turned], attrs);
    Ok(Symbol::of(tape, id, Order::Last, dims))
}

/// Each group of channels by itself, put together again.
fn by_group(
    conv: &Conv,
    x: &Symbol,
    weight: &Symbol,
    compute: impl Fn(&Conv, &Symbol, &Symbol) -> Result<Symbol>,
) -> Result<Symbol> {
    let [channels, out] = [x.shape()[1], weight.shape()[0]].map(|n| n / conv.groups);
    let one = Conv { groups: 1, ..conv.clone() };
    let parts = (0..conv.groups).map(|group| {
        compute(&one, &x.narrow(1, group * channels, channels)?, &weight.narrow(0, group * out, out)?)
    });
    Symbol::concat(&parts.collect::<Result<Vec<_>>>()?, 1)
}

fn undilated(conv: &Conv) -> Conv {
    Conv { dilation: vec![1; conv.dilation.len()], ..conv.clone() }
}

/// Zeros between the entries of the spatial axes, so that neighbours are these distances apart.
pub(super) fn dilated(x: &Symbol, distance: &[usize]) -> Result<Symbol> {
    let apart = |x: Symbol, (axis, &distance): (usize, &usize)| {
        if distance == 1 {
            return Ok(x);
        }
        let mut dims = x.shape().to_vec();
        let len = dims[axis];
        dims.insert(axis + 1, 1);
        let mut padding = vec![(0, 0); dims.len()];
        padding[axis + 1] = (0, distance - 1);
        let apart = x.reshape(&dims)?.pad(&padding, 0.0);
        dims.remove(axis + 1);
        dims[axis] = len * distance;
        apart.reshape(&dims)?.narrow(axis, 0, (len - 1) * distance + 1)
    };
    (2..).zip(distance).try_fold(x.clone(), apart)
}
