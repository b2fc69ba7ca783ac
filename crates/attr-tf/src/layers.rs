//! Forward and vector-Jacobian product of every kind of layer, as TensorFlow's operators.
//!
//! Nothing here is differentiated by TensorFlow: each way back is written down, with the derivatives at kinks that
//! this project has settled.

mod activation;
mod choice;
pub(crate) mod gather;
mod pool;
mod reduce;
mod window;

use attr_core::{Error, Op, Resize, Result, Saves, Shape, Tensor, Vjp, derived};
use attr_graphdef::proto::Attr;
use ndarray::{Array2, ArrayD};

use crate::error::BACKEND;
use crate::kernels::Writer;
use crate::symbol::{Order, Symbol};

/// Why there is no way to compute a layer; `None` if there is.
pub(crate) fn unsupported(op: &Op) -> Option<String> {
    let axes = match op {
        Op::Conv(conv) => conv.stride.len(),
        Op::ConvTranspose(transpose) => transpose.conv.stride.len(),
        Op::MaxPool(pool) | Op::AveragePool { pool, .. } => pool.kernel.len(),
        _ => 1,
    };
    match op {
        _ if !(1..=3).contains(&axes) => {
            Some(format!("{} along {axes} spatial axes: expected 1 to 3", op.kind()))
        }
        Op::Input
        | Op::Constant
        | Op::Identity
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::Linear
        | Op::BatchNorm { .. }
        | Op::Activation(_)
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::Mean { .. }
        | Op::Sum { .. }
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Power
        | Op::Maximum
        | Op::Minimum
        | Op::Compare(_)
        | Op::Where
        | Op::Embedding
        | Op::Gather { .. }
        | Op::Concat { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Resize(_) => None,
        other if derived::has_forward(other) => None,
        other => Some(format!("{} has no kernel here", other.kind())),
    }
}

/// The layer's value.
pub(crate) fn forward(op: &Op, inputs: &[&Symbol], params: &[&Symbol]) -> Result<Symbol> {
    let x = || inputs[0];
    match op {
        Op::Constant => Ok(params[0].clone()),
        Op::Identity => Ok(x().clone()),
        Op::Conv(conv) => window::convolution(conv, x(), params[0], params.get(1).copied()),
        Op::ConvTranspose(transpose) => {
            window::transposed_convolution(transpose, x(), params[0], params.get(1).copied())
        }
        Op::Linear => linear(x(), params[0], params.get(1).copied()),
        Op::BatchNorm { epsilon } => {
            let (tape, scale) = (x().tape(), scale(params, *epsilon)?);
            let shift = params[1].sub(&params[2].mul(&scale)?)?;
            // With channels innermost one number a channel meets them as it is.
            let scaled = tape.op("Mul", &[x().ordered(Order::Last), scale.plain()]);
            let shifted = tape.op("AddV2", &[scaled, shift.plain()]);
            Ok(Symbol::of(tape, shifted, Order::Last, x().shape()))
        }
        Op::Activation(activation) => activation::forward(*activation, x()),
        Op::PRelu => choice::above(x(), 0.0, x(), &x().mul(params[0])?),
        Op::Softmax { axis } => softmax(x(), *axis),
        Op::LogSoftmax { axis } => along(x(), *axis, "LogSoftmax"),
        Op::MaxPool(pool) => pool::max(pool, x()),
        Op::AveragePool { pool, count_include_pad } => pool::average(pool, *count_include_pad, x()),
        Op::Mean { axes, keep } => Ok(x().reduce("Mean", axes, *keep)),
        Op::Sum { axes, keep } => Ok(x().reduce("Sum", axes, *keep)),
        Op::Max { axes, keep } => Ok(x().reduce("Max", axes, *keep)),
        Op::Min { axes, keep } => Ok(reduce::min(x(), axes, *keep)),
        Op::Norm { axes, keep } => reduce::norm(x(), axes, *keep),
        Op::Add => inputs[0].add(inputs[1]),
        Op::Sub => inputs[0].sub(inputs[1]),
        Op::Mul => inputs[0].mul(inputs[1]),
        Op::Div => inputs[0].div(inputs[1]),
        Op::Power => choice::power(inputs[0], inputs[1]),
        Op::Maximum => choice::maximum(inputs[0], inputs[1]),
        Op::Minimum => choice::minimum(inputs[0], inputs[1]),
        Op::Compare(comparison) => choice::compare(*comparison, inputs[0], inputs[1]),
        Op::Where => choice::select(inputs[0], inputs[1], inputs[2]),
        Op::Attention { scale } => attention(inputs, *scale),
        Op::Embedding => Ok(gather::rows(x(), params[0])),
        Op::Gather { axis, entries } => Ok(gather::entries(x(), *axis, entries)),
        Op::Concat { axis } => Symbol::concat(&inputs.iter().map(|&x| x.clone()).collect::<Vec<_>>(), *axis),
        Op::Reshape { shape } => x().reshape(&row_lengths(shape, x().len())),
        Op::Transpose { axes } => x().permute(axes),
        Op::Slice { axis, start, len } => x().narrow(*axis, *start, *len),
        Op::Pad { padding, value } => Ok(x().pad(padding, *value)),
        Op::Resize(resize) => (0..resize.size.len()).try_fold(x().clone(), |value, axis| {
            let taps = interpolation(resize, axis, value.shape()[axis + 2]);
            multiply_along(&value, axis + 2, &taps)
        }),
        other if derived::has_forward(other) => {
            derived::forward(&Writer::new(x().tape().clone()), op, inputs, params)
        }
        other => Err(unknown(other)),
    }
}

/// The cotangent of the input in `slot`.
pub(crate) fn back(op: &Op, call: &Vjp<'_, Symbol>, slot: usize) -> Result<Symbol> {
    let c = call.cotangent;
    let dims = &call.input_dims[slot];
    let input = |slot: usize| call.inputs[slot].expect("BUG: an input was not kept");
    let output = || call.output.expect("BUG: an output was not kept");
    let weight = || call.params[0];
    match op {
        Op::Identity => Ok(c.clone()),
        Op::Conv(conv) => window::convolution_back(conv, c, weight(), dims),
        Op::ConvTranspose(transpose) => {
            window::transposed_convolution_back(&transpose.conv, c, weight(), dims)
        }
        Op::Linear => {
            let (rows, out) = (c.len() / c.shape()[dims.len() - 1], c.shape()[dims.len() - 1]);
            let ids = [c.reshape(&[rows, out])?.plain(), weight().plain()];
            let inner = dims[dims.len() - 1];
            Symbol::of(c.tape(), c.tape().op("MatMul", &ids), Order::Plain, &[rows, inner]).reshape(dims)
        }
        Op::BatchNorm { epsilon } => {
            let ids = [c.ordered(Order::Last), scale(call.params, *epsilon)?.plain()];
            Ok(Symbol::of(c.tape(), c.tape().op("Mul", &ids), Order::Last, dims))
        }
        Op::Activation(activation) => {
            let at = if op.saves() == Saves::Output { output() } else { input(0) };
            activation::back(*activation, at, c)
        }
        Op::Softmax { axis } => {
            let y = output();
            y.mul(&c.sub(&c.mul(y)?.sum(&[*axis])?)?)
        }
        Op::LogSoftmax { axis } => c.sub(&output().exp()?.mul(&c.sum(&[*axis])?)?),
        Op::MaxPool(pool) => pool::max_back(pool, c, input(0)),
        Op::AveragePool { pool, count_include_pad } => pool::average_back(pool, *count_include_pad, c, dims),
        Op::Mean { axes, .. } => {
            let count: usize = axes.iter().map(|&axis| dims[axis]).product();
            spread(&c.scale(1.0 / count as f64)?, dims, axes)
        }
        Op::Sum { axes, .. } => spread(c, dims, axes),
        Op::Add => c.gather(dims),
        Op::Sub if slot == 0 => c.gather(dims),
        Op::Sub => c.unary("Neg").gather(dims),
        Op::Mul => c.mul(input(1 - slot))?.gather(dims),
        Op::Div if slot == 0 => c.div(input(1))?.gather(dims),
        // d (a / b) / d b = -a / b^2
        Op::Div => c.mul(&input(0).div(input(1))?.div(input(1))?)?.unary("Neg").gather(dims),
        Op::Concat { axis } => {
            let start: usize = call.input_dims[..slot].iter().map(|dims| dims[*axis]).sum();
            c.narrow(*axis, start, dims[*axis])
        }
        Op::Reshape { .. } => c.reshape(dims),
        Op::Transpose { axes } => {
            let mut back = vec![0; axes.len()];
            axes.iter().enumerate().for_each(|(new, &old)| back[old] = new);
            c.permute(&back)
        }
        Op::Slice { axis, start, len } => {
            let mut padding = vec![(0, 0); dims.len()];
            padding[*axis] = (*start, dims[*axis] - start - len);
            Ok(c.pad(&padding, 0.0))
        }
        Op::Pad { padding, .. } => Ok(c.crop(padding, dims)),
        Op::Resize(resize) => (0..resize.size.len()).try_fold(c.clone(), |value, axis| {
            let taps = interpolation(resize, axis, dims[axis + 2]);
            multiply_along(&value, axis + 2, &taps.reversed_axes())
        }),
        Op::Compare(_) => Ok(Symbol::zeros(c.tape(), dims)),
        Op::Where if slot == 0 => Ok(Symbol::zeros(c.tape(), dims)),
        Op::Expand { .. } if slot > 0 => Ok(Symbol::zeros(c.tape(), dims)),
        other if derived::has_vjp(other) => {
            let wanted: Vec<_> = (0..call.wanted.len()).map(|other| other == slot).collect();
            let call = Vjp { wanted: &wanted, ..*call };
            let mut found = derived::vjp(&Writer::new(c.tape().clone()), op, call)?;
            Ok(found.swap_remove(slot).expect("BUG: this cotangent was asked for"))
        }
        other => Err(unknown(other)),
    }
}

fn unknown(op: &Op) -> Error {
    Error::Backend { backend: BACKEND, reason: format!("{} can't be computed", op.kind()) }
}

fn linear(x: &Symbol, weight: &Symbol, bias: Option<&Symbol>) -> Result<Symbol> {
    let (inner, out) = (weight.shape()[1], weight.shape()[0]);
    let (rows, tape) = (x.len() / inner, x.tape());
    let ids = [x.reshape(&[rows, inner])?.plain(), weight.plain()];
    let product = tape.op_with("MatMul", &ids, vec![("transpose_b", Attr::B(true))]);
    let sum = bias.map_or(product, |bias| tape.op("BiasAdd", &[product, bias.plain()]));
    let dims = [&x.shape()[..x.shape().len() - 1], &[out]].concat();
    Symbol::of(tape, sum, Order::Plain, &[rows, out]).reshape(&dims)
}

/// What a batch norm multiplies each channel by.
fn scale(params: &[&Symbol], epsilon: f64) -> Result<Symbol> {
    let (tape, variance) = (params[3].tape(), params[3]);
    // Also where nothing is added, so that it is known for what it is.
    let sum = variance.then(tape.op("AddV2", &[variance.plain(), tape.scalar(epsilon)]));
    sum.unary("Rsqrt").mul(params[0])
}

fn softmax(x: &Symbol, axis: usize) -> Result<Symbol> {
    // As its own operator, by which others know it.
    if x.tape().is_for_others() {
        return along(x, axis, "Softmax");
    }
    // TensorFlow's own passes over NaN.
    let powers = x.sub(&x.max(axis)?)?.exp()?;
    powers.div(&powers.sum(&[axis])?)
}

/// `softmax(scale q k^T + mask) v`.
fn attention(inputs: &[&Symbol], scale: f64) -> Result<Symbol> {
    let last = inputs[0].shape().len() - 1;
    let mut axes: Vec<_> = (0..=last).collect();
    axes.swap(last - 1, last);
    let mut scores = inputs[0].scale(scale)?.matmul(&inputs[1].permute(&axes)?)?;
    if let Some(mask) = inputs.get(3) {
        scores = scores.add(mask)?;
    }
    softmax(&scores, last)?.matmul(inputs[2])
}

/// An operator that works along the innermost axis.
fn along(x: &Symbol, axis: usize, op: &'static str) -> Result<Symbol> {
    let mut axes: Vec<_> = (0..x.shape().len()).collect();
    axes.swap(axis, x.shape().len() - 1);
    let turned = x.permute(&axes)?;
    turned.unary(op).permute(&axes)
}

/// Repeats a cotangent along the axes that were reduced.
fn spread(c: &Symbol, dims: &[usize], axes: &[usize]) -> Result<Symbol> {
    let kept = dims.iter().enumerate().map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n });
    Ok(c.reshape(&kept.collect::<Vec<_>>())?.spread(dims))
}

/// Which old entries a new one is made of: `[new, old]`.
fn interpolation(resize: &Resize, axis: usize, old: usize) -> Array2<f64> {
    let mut weights = Array2::zeros((resize.size[axis], old));
    for (new, taps) in resize.taps(axis, old).into_iter().enumerate() {
        taps.iter().for_each(|&(old, weight)| weights[[new, old]] += weight);
    }
    weights
}

/// Multiplies the numbers along an axis by a matrix `[new, old]`.
fn multiply_along(x: &Symbol, axis: usize, matrix: &Array2<f64>) -> Result<Symbol> {
    let (new, old) = matrix.dim();
    let last = x.shape().len() - 1;
    let mut axes: Vec<_> = (0..=last).collect();
    axes.swap(axis, last);
    let turned = x.permute(&axes)?;
    let rows = x.len() / old;
    let matrix: ArrayD<f64> = matrix.t().as_standard_layout().into_owned().into_dyn();
    let ids = [turned.reshape(&[rows, old])?.plain(), x.tape().floats(&matrix)];
    let product = Symbol::of(x.tape(), x.tape().op("MatMul", &ids), Order::Plain, &[rows, new]);
    let dims = [&turned.shape()[..last], &[new]].concat();
    product.reshape(&dims)?.permute(&axes)
}

/// The lengths of a shape for so many numbers.
fn row_lengths(shape: &Shape, numbers: usize) -> Vec<usize> {
    shape.at(numbers.checked_div(shape.row_len()).unwrap_or(0))
}
