//! Windows that slide over spatial axes: convolution and pooling.
//!
//! libtorch pads both ends of an axis alike; anything else is padded or cropped here first.

use attr_core::{Conv, ConvTranspose, Pool};
use tch::{Device, Kind, Tensor};

use super::{Tch, crop, pad};
use crate::tensor::{lengths, signed};

/// Cross-correlation.
pub(super) fn convolution(conv: &Conv, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tch<Tensor> {
    let (same, rest) = split(&conv.padding);
    let x = channels_last(&pad(x, &rest, 0.0)?)?;
    let zero = vec![0; same.len()];
    let (stride, dilation) = (signed(&conv.stride), signed(&conv.dilation));
    x.f_convolution(weight, bias, stride, signed(&same), dilation, false, zero, conv.groups as i64)
}

/// The cotangent of the input, of these lengths: the transposed convolution.
pub(super) fn convolution_back(conv: &Conv, c: &Tensor, weight: &Tensor, dims: &[usize]) -> Tch<Tensor> {
    let (same, rest) = split(&conv.padding);
    let padded: Vec<_> = dims.iter().zip(&rest).map(|(n, (before, after))| n + before + after).collect();
    let (kernel, out) = (&lengths(weight)[2..], &lengths(c)[2..]);
    // What no window reaches, because the stride does not divide.
    let beyond: Vec<_> = (0..same.len())
        .map(|i| {
            let reached = (out[i] - 1) * conv.stride[i] + (kernel[i] - 1) * conv.dilation[i] + 1;
            padded[2 + i] + 2 * same[i] - reached
        })
        .collect();
    let (stride, dilation) = (signed(&conv.stride), signed(&conv.dilation));
    let (same, beyond, groups) = (signed(&same), signed(&beyond), conv.groups as i64);
    let c = channels_last(c)?;
    let no_bias: Option<Tensor> = None;
    crop(&c.f_convolution(weight, no_bias, stride, same, dilation, true, beyond, groups)?, &rest, dims)
}

/// The convolution's transpose.
pub(super) fn transposed_convolution(
    transpose: &ConvTranspose,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Tch<Tensor> {
    let conv = &transpose.conv;
    let (same, rest) = split(&conv.padding);
    let (stride, dilation, groups) = (signed(&conv.stride), signed(&conv.dilation), conv.groups as i64);
    let (same, beyond) = (signed(&same), signed(&transpose.output_padding));
    let whole =
        channels_last(x)?.f_convolution(weight, bias, stride, same, dilation, true, beyond, groups)?;
    let dims: Vec<_> =
        lengths(&whole).iter().zip(&rest).map(|(n, (before, after))| n - before - after).collect();
    crop(&whole, &rest, &dims)
}

/// The cotangent of the transpose's input, of these lengths: the convolution.
pub(super) fn transposed_convolution_back(
    conv: &Conv,
    c: &Tensor,
    weight: &Tensor,
    dims: &[usize],
) -> Tch<Tensor> {
    let windows = convolution(conv, c, weight, None)?;
    // Output padding larger than a stride has room for more windows than the input has entries.
    (2..dims.len()).try_fold(windows, |part, axis| part.f_narrow(axis as i64, 0, dims[axis] as i64))
}

/// The part of padding that is the same at both ends of each spatial axis, and what is left to pad, an entry an
/// axis of the value. An axis is one or the other.
fn split(padding: &[(usize, usize)]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let same = padding.iter().map(|&(before, after)| if before == after { before } else { 0 });
    let rest = padding.iter().map(|&(before, after)| if before == after { (0, 0) } else { (before, after) });
    (same.collect(), [(0, 0), (0, 0)].into_iter().chain(rest).collect())
}

/// In memory with the channels innermost, where that is faster: for single precision on the CPU, measured as
/// a tenth of a network's time. The axes stay as they are.
fn channels_last(x: &Tensor) -> Tch<Tensor> {
    let [_, channels, height, width] = x.size()[..] else { return Ok(x.shallow_clone()) };
    let already = x.stride()[1] == 1;
    if already || channels * height * width == 1 || x.kind() != Kind::Float || x.device() != Device::Cpu {
        return Ok(x.shallow_clone());
    }
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// The largest value of each window; the first of equals, NaN before all.
pub(super) fn max(pool: &Pool, x: &Tensor) -> Tch<Tensor> {
    Max::of(pool, x)?.forward().map(|(maxima, _)| maxima)
}

/// The cotangent of the input of [`max`].
pub(super) fn max_back(pool: &Pool, c: &Tensor, x: &Tensor) -> Tch<Tensor> {
    Max::of(pool, x)?.back(c)
}

/// A max pooling with at least two spatial axes and with padding that libtorch takes.
struct Max {
    x: Tensor,
    axes: usize,
    kernel: Vec<i64>,
    stride: Vec<i64>,
    padding: Vec<i64>,
    dilation: Vec<i64>,
    ceil: bool,
    /// What was padded here, an entry an axis of the value.
    extra: Vec<(usize, usize)>,
}

impl Max {
    fn of(pool: &Pool, x: &Tensor) -> Tch<Max> {
        let axes = pool.kernel.len();
        let (padding, extra, ceil) = match own(pool) {
            true => (pool.padding.iter().map(|p| p.0).collect(), vec![(0, 0); axes + 2], pool.ceil),
            false => (vec![0; axes], beyond(pool, &lengths(x)), false),
        };
        let x = pad(x, &extra, f64::NEG_INFINITY)?;
        // One spatial axis is two, the first of them of length 1.
        let widen = |numbers: &[usize], other: i64| match axes {
            1 => vec![other, numbers[0] as i64],
            _ => signed(numbers),
        };
        Ok(Max {
            x: if axes == 1 { x.f_unsqueeze(2)? } else { x },
            axes,
            kernel: widen(&pool.kernel, 1),
            stride: widen(&pool.stride, 1),
            padding: widen(&padding, 0),
            dilation: widen(&pool.dilation, 1),
            ceil,
            extra,
        })
    }

    /// The maxima and where they are.
    fn run(&self) -> Tch<(Tensor, Tensor)> {
        let (kernel, stride, padding, dilation) =
            (&self.kernel[..], &self.stride[..], &self.padding[..], &self.dilation[..]);
        match self.axes {
            3 => self.x.f_max_pool3d_with_indices(kernel, stride, padding, dilation, self.ceil),
            _ => self.x.f_max_pool2d_with_indices(kernel, stride, padding, dilation, self.ceil),
        }
    }

    fn forward(&self) -> Tch<(Tensor, Tensor)> {
        let (maxima, places) = self.run()?;
        if self.axes == 1 { Ok((maxima.f_squeeze_dim(2)?, places)) } else { Ok((maxima, places)) }
    }

    fn back(&self, c: &Tensor) -> Tch<Tensor> {
        let (_, places) = self.run()?;
        let (kernel, stride, padding, dilation) =
            (&self.kernel[..], &self.stride[..], &self.padding[..], &self.dilation[..]);
        let c = if self.axes == 1 { c.f_unsqueeze(2)? } else { c.shallow_clone() };
        let back = match self.axes {
            3 => Tensor::f_max_pool3d_with_indices_backward,
            _ => Tensor::f_max_pool2d_with_indices_backward,
        };
        let cotangent = back(&self.x, &c, kernel, stride, padding, dilation, self.ceil, &places)?;
        let cotangent = if self.axes == 1 { cotangent.f_squeeze_dim(2)? } else { cotangent };
        let dims: Vec<_> = (lengths(&cotangent).iter().zip(&self.extra))
            .map(|(n, (before, after))| n - before - after)
            .collect();
        crop(&cotangent, &self.extra, &dims)
    }
}

/// The mean of each window.
pub(super) fn average(pool: &Pool, count_include_pad: bool, x: &Tensor) -> Tch<Tensor> {
    if own(pool) && pool.dilation.iter().all(|&n| n == 1) {
        let padding: Vec<_> = pool.padding.iter().map(|p| p.0).collect();
        let (kernel, stride, padding) = (signed(&pool.kernel), signed(&pool.stride), signed(&padding));
        return match pool.kernel.len() {
            1 => x.f_avg_pool1d(kernel, stride, padding, pool.ceil, count_include_pad),
            2 => x.f_avg_pool2d(kernel, stride, padding, pool.ceil, count_include_pad, None),
            _ => x.f_avg_pool3d(kernel, stride, padding, pool.ceil, count_include_pad, None),
        };
    }
    let dims = lengths(x);
    let (ones, conv) = (ones(pool, dims[1], x)?, sums(pool, &dims));
    let counts = counts(pool, count_include_pad, &dims, x)?;
    convolution(&conv, x, &ones, None)?.f_div(&counts)
}

/// The cotangent of the input of [`average`], of these lengths: a mean is a depthwise convolution with ones.
pub(super) fn average_back(pool: &Pool, count_include_pad: bool, c: &Tensor, dims: &[usize]) -> Tch<Tensor> {
    let (ones, conv) = (ones(pool, dims[1], c)?, sums(pool, dims));
    let shares = c.f_div(&counts(pool, count_include_pad, dims, c)?)?;
    convolution_back(&conv, &shares, &ones, dims)
}

/// The convolution that sums over windows of a value of these lengths.
fn sums(pool: &Pool, dims: &[usize]) -> Conv {
    let padding = beyond(pool, dims)[2..].to_vec();
    Conv { stride: pool.stride.clone(), padding, dilation: pool.dilation.clone(), groups: dims[1] }
}

fn ones(pool: &Pool, channels: usize, like: &Tensor) -> Tch<Tensor> {
    let dims: Vec<_> = [channels as i64, 1].into_iter().chain(signed(&pool.kernel)).collect();
    Tensor::f_ones(dims, (like.kind(), like.device()))
}

/// How many entries each window has, shaped to meet the value: a product over the axes.
fn counts(pool: &Pool, count_include_pad: bool, dims: &[usize], like: &Tensor) -> Tch<Tensor> {
    let one = Tensor::f_ones(vec![1; dims.len()], (like.kind(), like.device()))?;
    (0..pool.kernel.len()).try_fold(one, |product, axis| {
        let (before, after) = pool.padding[axis];
        let size = dims[2 + axis];
        let (first, end) =
            if count_include_pad { (0, before + size + after) } else { (before, before + size) };
        let entries = |window: usize| {
            let at = |entry: usize| window * pool.stride[axis] + entry * pool.dilation[axis];
            (0..pool.kernel[axis]).filter(|&entry| (first..end).contains(&at(entry))).count() as f64
        };
        let along: Vec<_> = (0..pool.windows(axis, size)).map(entries).collect();
        let mut shape = vec![1; dims.len()];
        shape[2 + axis] = -1;
        let along = Tensor::f_from_slice(&along)?.f_to_kind(like.kind())?.f_to_device(like.device())?;
        product.f_mul(&along.f_reshape(shape)?)
    })
}

/// Whether libtorch takes this padding: the same at both ends, and at most half the window.
fn own(pool: &Pool) -> bool {
    (pool.padding.iter().zip(&pool.kernel))
        .all(|(&(before, after), &kernel)| before == after && 2 * before <= kernel)
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
    [(0, 0); 2].into_iter().chain((0..pool.kernel.len()).map(along)).collect()
}
