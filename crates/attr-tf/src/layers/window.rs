//! Windows that slide over spatial axes: convolution and pooling.
//!
//! TensorFlow's kernels for the CPU want two spatial axes and channels last. Padding that is not what it calls `SAME`
//! is put around the value before, with which it does as well.

use attr_core::{Conv, ConvTranspose, Pool, Result, Tensor};
use attr_graphdef::proto::Attr;
use ndarray::{ArrayD, IxDyn};

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
    if stride.len() == 2 {
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

fn widened(dims: &[usize]) -> Vec<usize> {
    if dims.len() == 4 { dims.to_vec() } else { vec![dims[0], dims[1], 1, dims[2]] }
}

fn narrowed(value: Symbol) -> Result<Symbol> {
    let dims = value.shape();
    value.reshape(&[dims[0], dims[1], dims[3]])
}

/// How a convolution of two spatial axes is computed.
enum How {
    /// As one.
    Whole,
    /// Each channel by itself.
    Depthwise,
    /// The same with zeros between the kernel's entries, since TensorFlow's has no dilation.
    DilatedDepthwise,
    /// Group by group.
    Grouped,
}

fn how(conv: &Conv, channels: usize) -> How {
    match conv.groups {
        1 => How::Whole,
        groups if groups != channels || conv.stride[0] != conv.stride[1] => How::Grouped,
        _ if conv.dilation == [1, 1] => How::Depthwise,
        _ => How::DilatedDepthwise,
    }
}

/// Windows as TensorFlow's operators take them.
struct Windows {
    stride: Vec<usize>,
    dilation: Vec<usize>,
    /// What it is told about padding.
    padding: &'static str,
    /// What is put around the value before, an entry an axis.
    around: [(usize, usize); 4],
    /// What it is told to put around the value.
    explicit: Option<Attr>,
}

impl Windows {
    /// Over a value with these spatial lengths.
    fn new(conv: &Conv, kernel: &[usize], size: &[usize]) -> Self {
        let same = (0..2).all(|axis| {
            let (stride, extent) = (conv.stride[axis], (kernel[axis] - 1) * conv.dilation[axis] + 1);
            let reached = (size[axis].div_ceil(stride) - 1) * stride + extent;
            let missing = reached.saturating_sub(size[axis]);
            conv.padding[axis] == (missing / 2, missing - missing / 2)
        });
        let none = conv.padding.iter().all(|&padding| padding == (0, 0));
        let (padding, spatial) = match (same, none) {
            (_, true) => ("VALID", [(0, 0); 2]),
            (true, _) => ("SAME", [(0, 0); 2]),
            _ => ("VALID", [conv.padding[0], conv.padding[1]]),
        };
        let around = [(0, 0), (0, 0), spatial[0], spatial[1]];
        Windows {
            stride: conv.stride.clone(),
            dilation: conv.dilation.clone(),
            padding,
            around,
            explicit: None,
        }
    }

    /// With what is put around the value as an attribute, if the tape may have that.
    fn on(mut self, tape: &Tape) -> Self {
        if tape.takes_explicit_padding() && self.around != [(0, 0); 4] {
            self.explicit = Some(explicit(&self.around));
            (self.padding, self.around) = ("EXPLICIT", [(0, 0); 4]);
        }
        self
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        let along = |entries: &[usize]| ints(&[1, entries[0], entries[1], 1]);
        vec![
            ("strides", along(&self.stride)),
            ("padding", text(self.padding)),
            ("dilations", along(&self.dilation)),
        ]
        .into_iter()
        .chain(self.explicit.clone().map(|explicit| ("explicit_paddings", explicit)))
        .collect()
    }
}

/// Padding, an entry an axis, as TensorFlow's operators have it, with channels last.
fn explicit(padding: &[(usize, usize)]) -> Attr {
    let widths = Order::Last.arrange(padding).into_iter().flat_map(|(before, after)| [before, after]);
    ints(&widths.collect::<Vec<_>>())
}

/// Of the weight `[out, in / groups, height, width]`: the filter as TensorFlow has it.
fn filter(weight: &Symbol) -> Result<Id> {
    Ok(weight.permute(&[2, 3, 1, 0])?.plain())
}

/// The same for a convolution of each channel by itself: `[height, width, channels, out / channels]`.
fn depthwise_filter(weight: &Symbol, channels: usize) -> Result<Id> {
    let [out, _, height, width] = weight.shape()[..] else { unreachable!("BUG: a weight has four axes") };
    Ok(weight.reshape(&[channels, out / channels, height, width])?.permute(&[2, 3, 0, 1])?.plain())
}

fn convolve(conv: &Conv, x: &Symbol, weight: &Symbol) -> Result<Symbol> {
    let channels = x.shape()[1];
    let how = how(conv, channels);
    match how {
        How::Whole | How::Depthwise => {}
        How::DilatedDepthwise => return convolve(&undilated(conv), x, &dilated(weight, &conv.dilation)?),
        How::Grouped => {
            return by_group(conv, x, weight, convolve);
        }
    }
    let (kernel, tape) = (&weight.shape()[2..], x.tape());
    let windows = Windows::new(conv, kernel, &x.shape()[2..]).on(tape);
    let id = x.pad(&windows.around, 0.0).ordered(Order::Last);
    let id = match how {
        How::Whole => tape.op_with("Conv2D", &[id, filter(weight)?], windows.attrs()),
        _ => {
            tape.op_with("DepthwiseConv2dNative", &[id, depthwise_filter(weight, channels)?], windows.attrs())
        }
    };
    let spatial = |axis: usize| windows_along(conv, kernel, x.shape(), axis);
    Ok(Symbol::of(tape, id, Order::Last, &[x.rows(), weight.shape()[0], spatial(0), spatial(1)]))
}

/// How many windows there are along a spatial axis.
fn windows_along(conv: &Conv, kernel: &[usize], dims: &[usize], axis: usize) -> usize {
    let (before, after) = conv.padding[axis];
    let extent = (kernel[axis] - 1) * conv.dilation[axis] + 1;
    (dims[2 + axis] + before + after - extent) / conv.stride[axis] + 1
}

fn convolve_back(conv: &Conv, c: &Symbol, weight: &Symbol, dims: &[usize]) -> Result<Symbol> {
    let (channels, kernel, tape) = (dims[1], &weight.shape()[2..], c.tape());
    let how = how(conv, channels);
    match how {
        How::Whole if conv.dilation != [1, 1] => return dilated_back(conv, c, weight, dims),
        How::Whole | How::Depthwise => {}
        How::DilatedDepthwise => {
            return convolve_back(&undilated(conv), c, &dilated(weight, &conv.dilation)?, dims);
        }
        How::Grouped => {
            let dims = [dims[0], channels / conv.groups, dims[2], dims[3]];
            return by_group(conv, c, weight, |conv, c, weight| convolve_back(conv, c, weight, &dims));
        }
    }
    let windows = Windows::new(conv, kernel, &dims[2..]);
    let whole: Vec<_> =
        dims.iter().zip(&windows.around).map(|(n, (before, after))| n + before + after).collect();
    // A transposed convolution can ask for more entries than the windows of its input reach.
    let missing =
        |axis: usize| (0, windows_along(conv, kernel, dims, axis).saturating_sub(c.shape()[2 + axis]));
    let c = c.pad(&[(0, 0), (0, 0), missing(0), missing(1)], 0.0);
    let sizes = tape.lengths(&Order::Last.arrange(&whole));
    let (op, filter) = match how {
        How::Whole => ("Conv2DBackpropInput", filter(weight)?),
        _ => ("DepthwiseConv2dNativeBackpropInput", depthwise_filter(weight, channels)?),
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
    Conv { dilation: vec![1, 1], ..conv.clone() }
}

/// Zeros between the entries of the two spatial axes, so that neighbours are these distances apart.
fn dilated(x: &Symbol, distance: &[usize]) -> Result<Symbol> {
    if distance == [1, 1] {
        return Ok(x.clone());
    }
    let [rows, channels, height, width] = x.shape()[..] else { unreachable!("BUG: a value has four axes") };
    let apart = x.reshape(&[rows, channels, height, 1, width, 1])?;
    let apart = apart.pad(&[(0, 0), (0, 0), (0, 0), (0, distance[0] - 1), (0, 0), (0, distance[1] - 1)], 0.0);
    let apart = apart.reshape(&[rows, channels, height * distance[0], width * distance[1]])?;
    let reach = |size: usize, distance: usize| (size - 1) * distance + 1;
    Ok(apart.part(&[0; 4], &[rows, channels, reach(height, distance[0]), reach(width, distance[1])]))
}

/// The largest value of each window; the first of equals.
pub(super) fn max(pool: &Pool, x: &Symbol) -> Result<Symbol> {
    let (pool, dims) = (widened_pool(pool), x.shape());
    let value = Max::of(&pool, &x.reshape(&widened(dims))?)?.forward()?;
    if dims.len() == 3 { narrowed(value) } else { Ok(value) }
}

/// The cotangent of the input of [`max`].
pub(super) fn max_back(pool: &Pool, c: &Symbol, x: &Symbol) -> Result<Symbol> {
    let (pool, dims) = (widened_pool(pool), x.shape());
    let back = Max::of(&pool, &x.reshape(&widened(dims))?)?.back(&c.reshape(&widened(c.shape()))?)?;
    if dims.len() == 3 { narrowed(back) } else { Ok(back) }
}

/// One spatial axis is two, the first of them of length 1.
fn widened_pool(pool: &Pool) -> Pool {
    if pool.kernel.len() == 2 {
        return pool.clone();
    }
    Pool {
        kernel: vec![1, pool.kernel[0]],
        stride: vec![1, pool.stride[0]],
        padding: vec![(0, 0), pool.padding[0]],
        dilation: vec![1, pool.dilation[0]],
        ceil: pool.ceil,
    }
}

/// A max pooling with two spatial axes.
struct Max<'a> {
    pool: &'a Pool,
    /// Without its padding, and with it.
    bare: Symbol,
    x: Symbol,
    padding: Vec<(usize, usize)>,
    /// The input's lengths.
    dims: Vec<usize>,
}

impl<'a> Max<'a> {
    fn of(pool: &'a Pool, x: &Symbol) -> Result<Self> {
        let padding = beyond(pool, x.shape());
        let padded = x.pad(&padding, f64::NEG_INFINITY);
        Ok(Max { pool, bare: x.clone(), x: padded, padding, dims: x.shape().to_vec() })
    }

    fn out(&self) -> Vec<usize> {
        let along = |axis: usize| self.pool.windows(axis, self.dims[2 + axis]);
        vec![self.dims[0], self.dims[1], along(0), along(1)]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        let along = |entries: &[usize]| ints(&[1, entries[0], entries[1], 1]);
        vec![
            ("ksize", along(&self.pool.kernel)),
            ("strides", along(&self.pool.stride)),
            ("padding", text("VALID")),
        ]
    }

    fn forward(&self) -> Result<Symbol> {
        if self.pool.dilation != [1, 1] {
            let windows = self.windows()?;
            return windows.max(0)?.reshape(&self.out());
        }
        let tape = self.x.tape();
        let id = match tape.takes_explicit_padding() && self.padding.iter().any(|&padding| padding != (0, 0))
        {
            false => tape.op_with("MaxPool", &[self.x.ordered(Order::Last)], self.attrs()),
            true => {
                let mut attrs = self.attrs();
                attrs.retain(|(name, _)| *name != "padding");
                attrs.extend([("padding", text("EXPLICIT")), ("explicit_paddings", explicit(&self.padding))]);
                tape.op_with("MaxPool", &[self.bare.ordered(Order::Last)], attrs)
            }
        };
        Ok(Symbol::of(tape, id, Order::Last, &self.out()))
    }

    fn back(&self, c: &Symbol) -> Result<Symbol> {
        let tape = self.x.tape();
        let back = if self.pool.dilation == [1, 1] {
            let ids =
                [self.x.ordered(Order::Last), self.forward()?.ordered(Order::Last), c.ordered(Order::Last)];
            Symbol::of(tape, tape.op_with("MaxPoolGrad", &ids, self.attrs()), Order::Last, self.x.shape())
        } else {
            self.dilated_back(c)?
        };
        Ok(back.crop(&self.padding, &self.dims))
    }

    /// For each entry of a window, the values there: `[entry, batch, channel, height, width]`.
    fn windows(&self) -> Result<Symbol> {
        let out = self.out();
        let parts = self.entries().map(|[down, right]| {
            let reach = |axis: usize| (out[2 + axis] - 1) * self.pool.stride[axis] + 1;
            let (starts, dims) = ([0, 0, down, right], [out[0], out[1], reach(0), reach(1)]);
            strided(&self.x.part(&starts, &dims), &self.pool.stride)?.reshape(&[&[1], &out[..]].concat())
        });
        Symbol::concat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Where the entries of a window are, in row-major order.
    fn entries(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        let Pool { kernel, dilation, .. } = self.pool;
        (0..kernel[0])
            .flat_map(move |down| (0..kernel[1]).map(move |right| [down * dilation[0], right * dilation[1]]))
    }

    fn dilated_back(&self, c: &Symbol) -> Result<Symbol> {
        let (out, first) = (self.out(), self.windows()?.argmax(0)?);
        let c = c.reshape(&[&[1], &out[..]].concat())?;
        let mut sum: Option<Symbol> = None;
        for (number, [down, right]) in self.entries().enumerate() {
            let share = c.mul(&first.eq(&first.filled_like(number as f64)?)?)?.reshape(&out)?;
            let apart = dilated(&share, &self.pool.stride)?;
            let left = |axis: usize, start: usize| {
                (start, self.x.shape()[2 + axis] - start - apart.shape()[2 + axis])
            };
            let whole = apart.pad(&[(0, 0), (0, 0), left(0, down), left(1, right)], 0.0);
            sum = Some(sum.map_or(Ok(whole.clone()), |sum| sum.add(&whole))?);
        }
        Ok(sum.expect("BUG: a window has an entry"))
    }
}

/// Every so many entries along the two spatial axes, beginning with the first; the last one is an entry.
fn strided(x: &Symbol, stride: &[usize]) -> Result<Symbol> {
    let [rows, channels, height, width] = x.shape()[..] else { unreachable!("BUG: a value has four axes") };
    let [down, right] =
        [(height, stride[0]), (width, stride[1])].map(|(size, stride)| (size - 1) / stride + 1);
    let missing = |count: usize, stride: usize, size: usize| (0, count * stride - size);
    let whole =
        x.pad(&[(0, 0), (0, 0), missing(down, stride[0], height), missing(right, stride[1], width)], 0.0);
    let apart = whole.reshape(&[rows, channels, down, stride[0], right, stride[1]])?;
    apart.part(&[0; 6], &[rows, channels, down, 1, right, 1]).reshape(&[rows, channels, down, right])
}

/// The mean of each window.
pub(super) fn average(pool: &Pool, count_include_pad: bool, x: &Symbol) -> Result<Symbol> {
    let (pool, dims) = (widened_pool(pool), widened(x.shape()));
    let value = x.reshape(&dims)?;
    let padding = beyond(&pool, &dims);
    let means = if pool.dilation == [1, 1] {
        let (padded, tape) = (value.pad(&padding, 0.0), x.tape());
        let id = tape.op_with("AvgPool", &[padded.ordered(Order::Last)], average_attrs(&pool));
        let along = |axis: usize| pool.windows(axis, dims[2 + axis]);
        Symbol::of(tape, id, Order::Last, &[dims[0], dims[1], along(0), along(1)])
    } else {
        convolve(&sums(&pool, &dims), &value, &shares(&pool, &dims, x.tape()))?
    };
    let means = corrected(means, &pool, count_include_pad, &dims)?;
    if x.shape().len() == 3 { narrowed(means) } else { Ok(means) }
}

/// The cotangent of the input of [`average`], of these lengths.
pub(super) fn average_back(
    pool: &Pool,
    count_include_pad: bool,
    c: &Symbol,
    dims: &[usize],
) -> Result<Symbol> {
    let (pool, is_line, dims) = (widened_pool(pool), dims.len() == 3, widened(dims));
    let (tape, padding) = (c.tape(), beyond(&pool, &dims));
    let c = corrected(c.reshape(&widened(c.shape()))?, &pool, count_include_pad, &dims)?;
    let back = if pool.dilation == [1, 1] {
        let whole: Vec<_> =
            dims.iter().zip(&padding).map(|(n, (before, after))| n + before + after).collect();
        let sizes = tape.lengths(&Order::Last.arrange(&whole));
        let id = tape.op_with("AvgPoolGrad", &[sizes, c.ordered(Order::Last)], average_attrs(&pool));
        Symbol::of(tape, id, Order::Last, &whole).crop(&padding, &dims)
    } else {
        convolve_back(&sums(&pool, &dims), &c, &shares(&pool, &dims, tape), &dims)?
    };
    if is_line { narrowed(back) } else { Ok(back) }
}

fn average_attrs(pool: &Pool) -> Vec<(&'static str, Attr)> {
    let along = |entries: &[usize]| ints(&[1, entries[0], entries[1], 1]);
    vec![("ksize", along(&pool.kernel)), ("strides", along(&pool.stride)), ("padding", text("VALID"))]
}

/// The convolution that takes the mean over whole windows of a value of these lengths.
fn sums(pool: &Pool, dims: &[usize]) -> Conv {
    let padding = beyond(pool, dims)[2..].to_vec();
    Conv { stride: pool.stride.clone(), padding, dilation: pool.dilation.clone(), groups: dims[1] }
}

/// Its weight.
fn shares(pool: &Pool, dims: &[usize], tape: &Tape) -> Symbol {
    let size: usize = pool.kernel.iter().product();
    let dims = [dims[1], 1, pool.kernel[0], pool.kernel[1]];
    Symbol::of(tape, tape.floats(&ArrayD::from_elem(IxDyn(&dims), 1.0 / size as f64)), Order::Plain, &dims)
}

/// From means over whole windows to those over the entries that count.
fn corrected(means: Symbol, pool: &Pool, count_include_pad: bool, dims: &[usize]) -> Result<Symbol> {
    let along = |axis: usize| -> Vec<f64> {
        let (before, after) = pool.padding[axis];
        let size = dims[2 + axis];
        let (first, end) =
            if count_include_pad { (0, before + size + after) } else { (before, before + size) };
        let counts = |window: usize| {
            let at = |entry: usize| window * pool.stride[axis] + entry * pool.dilation[axis];
            (0..pool.kernel[axis]).filter(|&entry| (first..end).contains(&at(entry))).count()
        };
        let counts = (0..pool.windows(axis, size)).map(counts);
        counts.map(|count| pool.kernel[axis] as f64 / count as f64).collect()
    };
    let (down, right) = (along(0), along(1));
    if down.iter().chain(&right).all(|&factor| factor == 1.0) {
        return Ok(means);
    }
    let factors = ArrayD::from_shape_fn(vec![1, 1, down.len(), right.len()], |at| down[at[2]] * right[at[3]]);
    means.mul(&means.like(&factors)?)
}

/// The padding with which the windows fit without a last one that reaches beyond, an entry an axis of the value.
fn beyond(pool: &Pool, dims: &[usize]) -> Vec<(usize, usize)> {
    let along = |axis: usize| {
        let (before, after) = pool.padding[axis];
        let size = dims[2 + axis];
        let last = (pool.windows(axis, size) - 1) * pool.stride[axis];
        let end = last + (pool.kernel[axis] - 1) * pool.dilation[axis] + 1;
        // With `ceil` a window can be left out although the padding has room for it.
        let after = if pool.ceil { end.saturating_sub(before + size) } else { after };
        (before, after)
    };
    vec![(0, 0), (0, 0), along(0), along(1)]
}
