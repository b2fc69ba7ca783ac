//! Convolution, the cotangent of its input, and the transposes of both.
//!
//! One or two spatial axes are a [`TapSum`]; three come down to two in [`depth`].

use attr_core::{Conv, ConvTranspose};

use super::depth;
use super::host::{HostOp, View};
use super::raw::Real;
use super::taps::{Pass, Tap, TapSum, WeightStrides};

/// A convolution of a value with a weight, and a bias if there is a third input.
pub(crate) struct Forward<'a>(pub(crate) &'a Conv);

/// The cotangent of a convolution's input, of these lengths, from that of its output and the weight.
pub(crate) struct Backward<'a>(pub(crate) &'a Conv, pub(crate) &'a [usize]);

/// A transposed convolution of a value with a weight, and a bias if there is a third input.
pub(crate) struct TransposedForward<'a>(pub(crate) &'a ConvTranspose);

/// The cotangent of a transposed convolution's input, of these lengths, from that of its output and the weight.
pub(crate) struct TransposedBackward<'a>(pub(crate) &'a Conv, pub(crate) &'a [usize]);

impl HostOp<2> for Forward<'_> {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn run<T: Real>(&self, [x, weight]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        forward(self.0, x, weight, None)
    }
}

impl HostOp<3> for Forward<'_> {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn run<T: Real>(&self, [x, weight, bias]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        forward(self.0, x, weight, Some(bias.data))
    }
}

impl HostOp<2> for Backward<'_> {
    fn name(&self) -> &'static str {
        "convolution's cotangent"
    }

    fn run<T: Real>(&self, [cotangent, weight]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        (transpose(self.0, cotangent, weight, None, self.1), self.1.to_vec())
    }
}

impl HostOp<2> for TransposedForward<'_> {
    fn name(&self) -> &'static str {
        "transposed convolution"
    }

    fn run<T: Real>(&self, [x, weight]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        transposed(self.0, x, weight, None)
    }
}

impl HostOp<3> for TransposedForward<'_> {
    fn name(&self) -> &'static str {
        "transposed convolution"
    }

    fn run<T: Real>(&self, [x, weight, bias]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        transposed(self.0, x, weight, Some(bias.data))
    }
}

impl HostOp<2> for TransposedBackward<'_> {
    fn name(&self) -> &'static str {
        "transposed convolution's cotangent"
    }

    fn run<T: Real>(&self, [cotangent, weight]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        // Output padding larger than a stride has room for more windows than the input has entries.
        (correlate(self.0, cotangent, weight, None, &self.1[2..]), self.1.to_vec())
    }
}

fn forward<T: Real>(
    conv: &Conv,
    x: View<'_, T>,
    weight: View<'_, T>,
    bias: Option<&[T]>,
) -> (Vec<T>, Vec<usize>) {
    let windows = |i: usize| {
        let extent = (weight.dims[i + 2] - 1) * conv.dilation[i] + 1;
        (x.dims[i + 2] + conv.padding[i].0 + conv.padding[i].1 - extent) / conv.stride[i] + 1
    };
    let out: Vec<_> = (0..x.dims.len() - 2).map(windows).collect();
    let dims = [&[x.dims[0], weight.dims[0]], &out[..]].concat();
    (correlate(conv, x, weight, bias, &out), dims)
}

/// What the convolution would give as its input's cotangent, with a bias.
fn transposed<T: Real>(
    layer: &ConvTranspose,
    x: View<'_, T>,
    weight: View<'_, T>,
    bias: Option<&[T]>,
) -> (Vec<T>, Vec<usize>) {
    let conv = &layer.conv;
    let mut dims = vec![x.dims[0], weight.dims[1] * conv.groups];
    dims.extend((2..x.dims.len()).map(|i| layer.entries(i - 2, x.dims[i], weight.dims[i])));
    (transpose(conv, x, weight, bias, &dims), dims)
}

/// The first windows of a convolution, so many along each axis.
pub(super) fn correlate<T: Real>(
    conv: &Conv,
    x: View<'_, T>,
    weight: View<'_, T>,
    bias: Option<&[T]>,
    out: &[usize],
) -> Vec<T> {
    if out.len() == 3 {
        return depth::correlate(conv, x, weight, bias, out);
    }
    Geometry::new(conv, x.dims, weight.dims).forward(two(out, 1)).run(x.data, weight.data, bias)
}

/// The transpose of a convolution as a linear map, with a bias: what has these lengths, from what is given for the
/// convolution's output.
pub(super) fn transpose<T: Real>(
    conv: &Conv,
    cotangent: View<'_, T>,
    weight: View<'_, T>,
    bias: Option<&[T]>,
    dims: &[usize],
) -> Vec<T> {
    if dims.len() == 5 {
        return depth::transpose(conv, cotangent, weight, bias, dims);
    }
    let sum = Geometry::new(conv, dims, weight.dims).backward(cotangent.dims);
    sum.run(cotangent.data, weight.data, bias)
}

/// A convolution with two spatial axes; where there is one, it is the second of them.
struct Geometry {
    images: usize,
    groups: usize,
    /// Channels of a group.
    ins: usize,
    outs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [(usize, usize); 2],
}

impl Geometry {
    fn new(conv: &Conv, x: &[usize], weight: &[usize]) -> Self {
        Geometry {
            images: x[0],
            groups: conv.groups,
            ins: weight[1],
            outs: weight[0] / conv.groups,
            size: two(&x[2..], 1),
            kernel: two(&weight[2..], 1),
            stride: two(&conv.stride, 1),
            dilation: two(&conv.dilation, 1),
            padding: two(&conv.padding, (0, 0)),
        }
    }

    fn weights(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The first windows, so many along each axis.
    fn forward(&self, out: [usize; 2]) -> TapSum {
        // Kernel entry k of target t reads source entry t * stride + k * dilation - padding: entry
        // t + shift of the plane of every stride-th entry that begins at the remainder.
        let place = |i: usize, k: usize| {
            let ahead = (k * self.dilation[i]) as isize - self.padding[i].0 as isize;
            let stride = self.stride[i] as isize;
            (ahead.rem_euclid(stride) as usize, ahead.div_euclid(stride))
        };
        let mut planes = Vec::new();
        let taps = (0..self.weights())
            .filter_map(|weight| {
                let (row, column) = (place(0, weight / self.kernel[1]), place(1, weight % self.kernel[1]));
                let begin = [row.0, column.0];
                let entries = |i: usize| self.size[i].saturating_sub(begin[i]).div_ceil(self.stride[i]);
                if !(meets(row.1, out[0], entries(0)) && meets(column.1, out[1], entries(1))) {
                    return None;
                }
                let plane = planes.iter().position(|&plane| plane == begin).unwrap_or_else(|| {
                    planes.push(begin);
                    planes.len() - 1
                });
                Some(Tap { weight, plane, shift: [row.1, column.1] })
            })
            .collect();
        TapSum {
            images: self.images,
            groups: self.groups,
            sources: self.ins,
            targets: self.outs,
            source_size: self.size,
            target_size: out,
            source_step: self.stride,
            planes,
            target_step: [1, 1],
            passes: vec![Pass { phase: [0, 0], taps }],
            weights: WeightStrides {
                group: self.outs * self.ins * self.weights(),
                target: self.ins * self.weights(),
                source: self.weights(),
            },
        }
    }

    fn backward(&self, out: &[usize]) -> TapSum {
        let source = two(&out[2..], 1);
        // Input entry i was read by kernel entry k of output t where t * stride = i + padding - k * dilation.
        // With i = phase + stride * n, whether there is such a t depends on the phase alone.
        let place = |i: usize, phase: usize, k: usize| {
            let behind = (phase + self.padding[i].0) as isize - (k * self.dilation[i]) as isize;
            let stride = self.stride[i] as isize;
            let shift = behind.div_euclid(stride);
            let there = meets(shift, self.size[i].div_ceil(self.stride[i]), source[i]);
            (behind.rem_euclid(stride) == 0 && there).then_some(shift)
        };
        let phases = [0, 1].map(|i| 0..self.stride[i].min(self.size[i]));
        let [rows, columns] = phases;
        let phases = rows.flat_map(|row| columns.clone().map(move |column| [row, column]));
        let passes = phases
            .map(|phase| {
                let taps = (0..self.weights()).filter_map(|weight| {
                    let row = place(0, phase[0], weight / self.kernel[1])?;
                    let column = place(1, phase[1], weight % self.kernel[1])?;
                    Some(Tap { weight, plane: 0, shift: [row, column] })
                });
                Pass { phase, taps: taps.collect() }
            })
            .collect();
        TapSum {
            images: self.images,
            groups: self.groups,
            sources: self.outs,
            targets: self.ins,
            source_size: source,
            target_size: self.size,
            source_step: [1, 1],
            planes: vec![[0, 0]],
            target_step: self.stride,
            passes,
            weights: WeightStrides {
                group: self.outs * self.ins * self.weights(),
                target: self.weights(),
                source: self.ins * self.weights(),
            },
        }
    }
}

/// Whether any of so many targets meets any of so many source entries, which are `shift` ahead. A tap that meets
/// nothing but padding is left out; so the room that taps need is bounded by the sizes of both.
fn meets(shift: isize, targets: usize, entries: usize) -> bool {
    shift < entries as isize && shift + targets as isize > 0
}

fn two<A: Copy>(values: &[A], missing: A) -> [A; 2] {
    match *values {
        [column] => [missing, column],
        [row, column] => [row, column],
        _ => panic!("BUG: a convolution along {} axes", values.len()),
    }
}
