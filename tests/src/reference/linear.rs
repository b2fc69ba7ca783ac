//! Layers that are linear in their inputs: each is the list of its terms.

use attr_core::{Conv, ConvTranspose, Dim, Op, Pool, Shape};
use ndarray::{ArrayD, Dimension, IxDyn, indices};

use super::resize::sources;
use super::tensor::common_dims;
use super::window::Window;

/// One term of a layer: `y[output] += weight * x[slot][input]`.
struct Term {
    slot: usize,
    input: Vec<usize>,
    weight: f64,
}

/// Whether [`terms`] knows the layer.
pub(super) fn is_linear(op: &Op) -> bool {
    matches!(
        op,
        Op::Input
            | Op::Constant
            | Op::Identity
            | Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::Linear
            | Op::BatchNorm { .. }
            | Op::AveragePool { .. }
            | Op::Mean { .. }
            | Op::Sum { .. }
            | Op::Add
            | Op::Sub
            | Op::Concat { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Resize(_)
            | Op::Gather { .. }
            | Op::Expand { .. }
    )
}

/// Each output is its constant and the sum of its terms.
pub(super) fn forward(op: &Op, inputs: &[&ArrayD<f64>], params: &[&ArrayD<f64>]) -> ArrayD<f64> {
    let dims: Vec<_> = inputs.iter().map(|input| input.shape().to_vec()).collect();
    ArrayD::from_shape_fn(output_dims(op, &dims, params), |output| {
        let output = output.as_array_view().to_vec();
        let terms = terms(op, &dims, params, &output);
        let constant = constant(op, &dims, params, &output);
        constant + terms.iter().map(|t| t.weight * inputs[t.slot][&t.input[..]]).sum::<f64>()
    })
}

/// Each input gathers the cotangents of the outputs it is a term of.
pub(super) fn vjp(
    op: &Op,
    input_dims: &[Vec<usize>],
    params: &[&ArrayD<f64>],
    cotangent: &ArrayD<f64>,
) -> Vec<ArrayD<f64>> {
    let mut gathered: Vec<_> = input_dims.iter().map(|dims| ArrayD::zeros(&dims[..])).collect();
    for output in indices(cotangent.raw_dim()) {
        for term in terms(op, input_dims, params, output.as_array_view().as_slice().unwrap()) {
            gathered[term.slot][&term.input[..]] += term.weight * cotangent[&output];
        }
    }
    gathered
}

fn output_dims(op: &Op, inputs: &[Vec<usize>], params: &[&ArrayD<f64>]) -> Vec<usize> {
    let first = &inputs[0];
    match op {
        Op::Conv(conv) => {
            let places = conv_window(conv, &params[0].shape()[2..]).places(&first[2..]);
            [&[first[0], params[0].shape()[0]], &places[..]].concat()
        }
        Op::ConvTranspose(transpose) => {
            let ConvTranspose { conv, output_padding } = transpose;
            let weight = params[0].shape();
            let len = |axis: usize| {
                (first[axis + 2] - 1) * conv.stride[axis]
                    + (weight[axis + 2] - 1) * conv.dilation[axis]
                    + 1
                    + output_padding[axis]
                    - conv.padding[axis].0
                    - conv.padding[axis].1
            };
            let channels = weight[1] * conv.groups;
            [first[0], channels].into_iter().chain((0..conv.stride.len()).map(len)).collect()
        }
        Op::AveragePool { pool, .. } => pooled_dims(pool, first),
        Op::Linear => [&first[..first.len() - 1], &params[0].shape()[..1]].concat(),
        Op::Mean { axes, keep } | Op::Sum { axes, keep } => {
            let left = (0..first.len()).filter(|axis| *keep || !axes.contains(axis));
            left.map(|axis| if axes.contains(&axis) { 1 } else { first[axis] }).collect()
        }
        Op::Add | Op::Sub => common_dims(first, &inputs[1]).expect("BUG: shapes have been checked"),
        Op::Concat { axis } => {
            let mut dims = first.clone();
            dims[*axis] = inputs.iter().map(|input| input[*axis]).sum();
            dims
        }
        Op::Reshape { shape } => reshaped_dims(shape, first),
        Op::Transpose { axes } => axes.iter().map(|&axis| first[axis]).collect(),
        Op::Slice { axis, len, .. } => {
            let mut dims = first.clone();
            dims[*axis] = *len;
            dims
        }
        Op::Pad { padding, .. } => first.iter().zip(padding).map(|(n, pad)| pad.0 + n + pad.1).collect(),
        Op::Gather { axis, entries } => {
            let mut dims = first.clone();
            dims[*axis] = entries.len();
            dims
        }
        Op::Expand { shape } => {
            let own =
                |axis: usize| (axis + first.len()).checked_sub(shape.rank()).map_or(1, |axis| first[axis]);
            let len = |(axis, dim): (usize, &Dim)| match (*dim, inputs.get(1)) {
                (Dim::Fixed(len), _) => len,
                (Dim::Batch(each), Some(like)) => each * like[0],
                (Dim::Batch(_), None) => own(axis),
            };
            shape.0.iter().enumerate().map(len).collect()
        }
        Op::Resize(resize) => [&first[..2], &resize.size[..]].concat(),
        _ => first.clone(),
    }
}

/// What an output is where all inputs are zero.
fn constant(op: &Op, inputs: &[Vec<usize>], params: &[&ArrayD<f64>], output: &[usize]) -> f64 {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) => params.get(1).map_or(0.0, |bias| bias[[output[1]]]),
        Op::Linear => params.get(1).map_or(0.0, |bias| bias[[output[output.len() - 1]]]),
        Op::BatchNorm { epsilon } => {
            let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|i| params[i][[output[1]]]);
            beta - mean * gamma / (variance + epsilon).sqrt()
        }
        Op::Pad { value, .. } if terms(op, inputs, params, output).is_empty() => *value,
        _ => 0.0,
    }
}

/// The terms of one output.
fn terms(op: &Op, inputs: &[Vec<usize>], params: &[&ArrayD<f64>], output: &[usize]) -> Vec<Term> {
    let dims = &inputs[0];
    let one = |input: Vec<usize>| vec![Term { slot: 0, input, weight: 1.0 }];
    match op {
        Op::Identity => one(output.to_vec()),
        Op::Conv(conv) => convolution_terms(conv, dims, params[0], output),
        Op::ConvTranspose(transpose) => {
            transposed_convolution_terms(&transpose.conv, dims, params[0], output)
        }
        Op::Linear => {
            let (row, unit) = (&output[..output.len() - 1], output[output.len() - 1]);
            (0..dims[dims.len() - 1])
                .map(|i| Term { slot: 0, input: [row, &[i]].concat(), weight: params[0][[unit, i]] })
                .collect()
        }
        Op::BatchNorm { epsilon } => {
            let (gamma, variance) = (params[0][[output[1]]], params[3][[output[1]]]);
            vec![Term { slot: 0, input: output.to_vec(), weight: gamma / (variance + epsilon).sqrt() }]
        }
        Op::AveragePool { pool, count_include_pad } => average_terms(pool, *count_include_pad, dims, output),
        Op::Sum { axes, keep } => reduced(dims, axes, *keep, output, 1.0),
        Op::Mean { axes, keep } => {
            let count: usize = axes.iter().map(|&axis| dims[axis]).product();
            reduced(dims, axes, *keep, output, 1.0 / count as f64)
        }
        Op::Add | Op::Sub => [(0, 1.0), (1, if *op == Op::Add { 1.0 } else { -1.0 })]
            .map(|(slot, weight)| Term { slot, input: broadcast_index(output, &inputs[slot]), weight })
            .into(),
        Op::Concat { axis } => {
            let (mut slot, mut at) = (0, output[*axis]);
            while at >= inputs[slot][*axis] {
                at -= inputs[slot][*axis];
                slot += 1;
            }
            let mut input = output.to_vec();
            input[*axis] = at;
            vec![Term { slot, input, weight: 1.0 }]
        }
        Op::Reshape { shape } => one(unflat(flat(output, &reshaped_dims(shape, dims)), dims)),
        Op::Transpose { axes } => {
            let mut input = vec![0; axes.len()];
            axes.iter().zip(output).for_each(|(&axis, &i)| input[axis] = i);
            one(input)
        }
        Op::Slice { axis, start, .. } => {
            let mut input = output.to_vec();
            input[*axis] += start;
            one(input)
        }
        Op::Gather { axis, entries } => {
            let mut input = output.to_vec();
            input[*axis] = entries[output[*axis]];
            one(input)
        }
        Op::Expand { .. } => one(broadcast_index(output, dims)),
        Op::Pad { padding, .. } => {
            let inside = |axis: usize| {
                (padding[axis].0..padding[axis].0 + dims[axis])
                    .contains(&output[axis])
                    .then(|| output[axis] - padding[axis].0)
            };
            (0..dims.len()).map(inside).collect::<Option<_>>().map_or(vec![], one)
        }
        Op::Resize(resize) => {
            let mut terms = one(output[..2].to_vec());
            for axis in 0..resize.size.len() {
                let sources = sources(resize, axis, dims[axis + 2], output[axis + 2]);
                terms = (terms.iter())
                    .flat_map(|term| sources.iter().map(|&(at, weight)| term.behind(at, weight)))
                    .collect();
            }
            terms
        }
        op => panic!("BUG: {} is not linear", op.kind()),
    }
}

impl Term {
    /// One axis more, with a factor of its own.
    fn behind(&self, at: usize, weight: f64) -> Term {
        Term { slot: self.slot, input: [&self.input[..], &[at]].concat(), weight: self.weight * weight }
    }
}

fn conv_window<'a>(conv: &'a Conv, kernel: &'a [usize]) -> Window<'a> {
    Window { kernel, stride: &conv.stride, padding: &conv.padding, dilation: &conv.dilation, ceil: false }
}

pub(super) fn pool_window(pool: &Pool) -> Window<'_> {
    Window {
        kernel: &pool.kernel,
        stride: &pool.stride,
        padding: &pool.padding,
        dilation: &pool.dilation,
        ceil: pool.ceil,
    }
}

pub(super) fn pooled_dims(pool: &Pool, dims: &[usize]) -> Vec<usize> {
    [&dims[..2], &pool_window(pool).places(&dims[2..])[..]].concat()
}

fn convolution_terms(conv: &Conv, dims: &[usize], weight: &ArrayD<f64>, output: &[usize]) -> Vec<Term> {
    let (row, out_channel, place) = (output[0], output[1], &output[2..]);
    let out_channels_a_group = weight.shape()[0] / conv.groups;
    let in_channels_a_group = weight.shape()[1];
    let first_channel = out_channel / out_channels_a_group * in_channels_a_group;
    let entries = conv_window(conv, &weight.shape()[2..]).entries(place, &dims[2..]);
    let mut terms = Vec::new();
    for channel in 0..in_channels_a_group {
        for entry in &entries {
            let Some(at) = &entry.value else { continue };
            let input = [&[row, first_channel + channel], &at[..]].concat();
            let weight = weight[IxDyn(&[&[out_channel, channel], &entry.kernel[..]].concat())];
            terms.push(Term { slot: 0, input, weight });
        }
    }
    terms
}

/// Input entry `i` with kernel entry `k` adds to output entry `i * stride + k * dilation - padding`.
fn transposed_convolution_terms(
    conv: &Conv,
    dims: &[usize],
    weight: &ArrayD<f64>,
    output: &[usize],
) -> Vec<Term> {
    let (ins, outs) = (weight.shape()[0] / conv.groups, weight.shape()[1]);
    let (group, out) = (output[1] / outs, output[1] % outs);
    // Input and kernel entries that meet at the output, one axis after another.
    let mut meetings = vec![(vec![], vec![])];
    for axis in 0..conv.stride.len() {
        let at = output[axis + 2] + conv.padding[axis].0;
        let meet = |i: &usize, k: &usize| i * conv.stride[axis] + k * conv.dilation[axis] == at;
        let mut longer = Vec::new();
        for i in 0..dims[axis + 2] {
            for k in (0..weight.shape()[axis + 2]).filter(|k| meet(&i, k)) {
                let behind = |list: &[usize], entry| [list, &[entry]].concat();
                longer.extend(meetings.iter().map(|(is, ks)| (behind(is, i), behind(ks, k))));
            }
        }
        meetings = longer;
    }
    let mut terms = Vec::new();
    for channel in group * ins..(group + 1) * ins {
        for (place, kernel) in &meetings {
            let input = [&[output[0], channel], &place[..]].concat();
            let weight = weight[IxDyn(&[&[channel, out], &kernel[..]].concat())];
            terms.push(Term { slot: 0, input, weight });
        }
    }
    terms
}

/// The mean counts the entries inside the value, or those inside the value and its padding; never those
/// beyond, that a last window may reach.
fn average_terms(pool: &Pool, count_include_pad: bool, dims: &[usize], output: &[usize]) -> Vec<Term> {
    let entries = pool_window(pool).entries(&output[2..], &dims[2..]);
    let counts = entries.iter().filter(|e| if count_include_pad { e.padded } else { e.value.is_some() });
    let weight = 1.0 / counts.count() as f64;
    let inside = entries.iter().filter_map(|entry| entry.value.as_ref());
    inside.map(|at| Term { slot: 0, input: [&output[..2], at].concat(), weight }).collect()
}

/// All inputs that agree with the output in the axes that are not reduced.
fn reduced(dims: &[usize], axes: &[usize], keep: bool, output: &[usize], weight: f64) -> Vec<Term> {
    let lens: Vec<_> = axes.iter().map(|&axis| dims[axis]).collect();
    let kept = (0..dims.len()).filter(|axis| keep || !axes.contains(axis)).zip(output);
    let mut start = vec![0; dims.len()];
    kept.for_each(|(axis, &i)| start[axis] = i);
    indices(IxDyn(&lens))
        .into_iter()
        .map(|at| {
            let mut input = start.clone();
            axes.iter().enumerate().for_each(|(i, &axis)| input[axis] = at[i]);
            Term { slot: 0, input, weight }
        })
        .collect()
}

/// Where an output's number comes from in an input that is broadcast.
pub(super) fn broadcast_index(output: &[usize], input_dims: &[usize]) -> Vec<usize> {
    let last = &output[output.len() - input_dims.len()..];
    last.iter().zip(input_dims).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect()
}

/// The lengths of a reshaped value: as many rows as there are numbers for.
fn reshaped_dims(shape: &Shape, input: &[usize]) -> Vec<usize> {
    shape.at(input.iter().product::<usize>() / shape.row_len().max(1))
}

/// The place in row-major order.
fn flat(index: &[usize], dims: &[usize]) -> usize {
    index.iter().zip(dims).fold(0, |flat, (i, n)| flat * n + i)
}

/// The index at a place in row-major order.
fn unflat(mut flat: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        (index[axis], flat) = (flat % dims[axis], flat / dims[axis]);
    }
    index
}
