//! Convolutions along three spatial axes by those along two.
//!
//! What a kernel meets along the first axis is laid out as channels, and each of its windows there is an image.
//! The weight `[out, in / groups, depth, height, width]` is already that of the convolution which is left.

use attr_core::Conv;
use rayon::prelude::*;

use super::conv;
use super::host::View;
use super::raw::Real;

/// [`conv::correlate`] along three axes.
pub(super) fn correlate<T: Real>(
    conv: &Conv,
    x: View<'_, T>,
    weight: View<'_, T>,
    bias: Option<&[T]>,
    out: &[usize],
) -> Vec<T> {
    let [images, channels, size, height, width] = five(x.dims);
    let depth = Depth::new(conv, size, weight.dims[2], out[0]);
    let unfolded = depth.unfold(x.data, images, channels);
    let dims = [images * depth.windows, channels * depth.kernel, height, width];
    let x = View { data: &unfolded, dims: &dims };
    let planes =
        conv::correlate(&planar(conv), x, View { dims: &merged(weight.dims), ..weight }, bias, &out[1..]);
    Depth::each(depth.windows).fold(&planes, images, weight.dims[0], None)
}

/// [`conv::transpose`] along three axes.
pub(super) fn transpose<T: Real>(
    conv: &Conv,
    cotangent: View<'_, T>,
    weight: View<'_, T>,
    bias: Option<&[T]>,
    dims: &[usize],
) -> Vec<T> {
    let [images, outs, windows, height, width] = five(cotangent.dims);
    let depth = Depth::new(conv, dims[2], weight.dims[2], windows);
    let each = Depth::each(windows).unfold(cotangent.data, images, outs);
    let cotangent = View { data: &each, dims: &[images * windows, outs, height, width] };
    let target = [images * windows, dims[1] * depth.kernel, dims[3], dims[4]];
    let weight = View { dims: &merged(weight.dims), ..weight };
    let planes = conv::transpose(&planar(conv), cotangent, weight, None, &target);
    depth.fold(&planes, images, dims[1], bias)
}

fn five(dims: &[usize]) -> [usize; 5] {
    dims.try_into().expect("BUG: a value with three spatial axes has five")
}

/// The lengths of a weight whose first spatial axis counts as channels.
fn merged(weight: &[usize]) -> [usize; 4] {
    let [outs, ins, depth, height, width] = five(weight);
    [outs, ins * depth, height, width]
}

/// The attributes along the last two axes.
fn planar(conv: &Conv) -> Conv {
    Conv {
        stride: conv.stride[1..].to_vec(),
        padding: conv.padding[1..].to_vec(),
        dilation: conv.dilation[1..].to_vec(),
        groups: conv.groups,
    }
}

/// The windows along the first spatial axis.
struct Depth {
    size: usize,
    windows: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl Depth {
    fn new(conv: &Conv, size: usize, kernel: usize, windows: usize) -> Self {
        let (stride, dilation, before) = (conv.stride[0], conv.dilation[0], conv.padding[0].0);
        Depth { size, windows, kernel, stride, dilation, before }
    }

    /// Each entry is a window.
    fn each(size: usize) -> Self {
        Depth { size, windows: size, kernel: 1, stride: 1, dilation: 1, before: 0 }
    }

    /// The entry that a window has for an entry of the kernel, unless it is padding.
    fn entry(&self, window: usize, kernel: usize) -> Option<usize> {
        let place = window * self.stride + kernel * self.dilation;
        place.checked_sub(self.before).filter(|&entry| entry < self.size)
    }

    /// `[images, channels, size, plane]` as `[images, windows, channels, kernel, plane]`, zero for padding.
    fn unfold<T: Real>(&self, x: &[T], images: usize, channels: usize) -> Vec<T> {
        let plane = x.len() / (images * channels * self.size).max(1);
        let mut y = vec![T::zero(); images * self.windows * channels * self.kernel * plane];
        let planes = y.par_chunks_exact_mut(plane.max(1)).enumerate();
        planes.for_each(|(index, y)| {
            let (rest, kernel) = (index / self.kernel, index % self.kernel);
            let (image, window, channel) =
                (rest / channels / self.windows, rest / channels % self.windows, rest % channels);
            if let Some(entry) = self.entry(window, kernel) {
                let from = ((image * channels + channel) * self.size + entry) * plane;
                y.copy_from_slice(&x[from..][..plane]);
            }
        });
        y
    }

    /// The transpose of [`Self::unfold`], with a bias by channel.
    fn fold<T: Real>(&self, x: &[T], images: usize, channels: usize, bias: Option<&[T]>) -> Vec<T> {
        let plane = x.len() / (images * channels * self.windows * self.kernel).max(1);
        let mut y = vec![T::zero(); images * channels * self.size * plane];
        let volumes = y.par_chunks_exact_mut((self.size * plane).max(1)).enumerate();
        volumes.for_each(|(index, y)| {
            let (image, channel) = (index / channels, index % channels);
            if let Some(bias) = bias {
                y.fill(bias[channel]);
            }
            for (window, kernel) in (0..self.windows).flat_map(|w| (0..self.kernel).map(move |k| (w, k))) {
                if let Some(entry) = self.entry(window, kernel) {
                    let from = ((image * self.windows + window) * channels + channel) * self.kernel + kernel;
                    let terms = &x[from * plane..][..plane];
                    y[entry * plane..][..plane].iter_mut().zip(terms).for_each(|(y, &x)| *y += x);
                }
            }
        });
        y
    }
}
