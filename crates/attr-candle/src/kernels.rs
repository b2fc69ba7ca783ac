//! Forward and vector-Jacobian product of every kind of layer.
//!
//! candle's own derivatives are partly wrong and compute weight gradients besides, so each layer has its own
//! here. candle gives tensors, devices, views and plain arithmetic.

mod conv;
mod depth;
pub(crate) mod elementwise;
mod gather;
pub(crate) mod host;
mod linear;
mod norm;
mod pad;
mod pool;
pub(crate) mod product;
mod raw;
pub(crate) mod reduce;
mod resize;
mod scratch;
mod smooth;
mod softmax;
mod taps;
mod tiling;

use attr_core::{Error, Kernels, Op, Param, Precision, Result, Saves, Shape, Vjp, derived};
use candle_core::{Device, Tensor};
use ndarray::ArrayD;

use self::elementwise::Binary;
use self::host::{apply1, apply2, apply3};
use crate::CandleTensor;
use crate::error::{BACKEND, convert};

/// Kernels on a candle device.
///
/// ```
/// use attr_candle::Candle;
/// use attr_core::{Error, Kernels, Precision};
///
/// assert_eq!(Candle::cpu(Precision::F32).backend(), "candle");
/// ```
#[derive(Debug, Clone)]
pub struct Candle {
    device: Device,
    precision: Precision,
}

impl Candle {
    /// Kernels that compute on `device` with numbers of `precision`.
    ///
    /// The layers' kernels are written for the CPU; on another device candle reports which one is missing.
    pub fn new(device: Device, precision: Precision) -> Self {
        Candle { device, precision }
    }

    /// Kernels on the CPU.
    pub fn cpu(precision: Precision) -> Self {
        Candle::new(Device::Cpu, precision)
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision.
    pub fn precision(&self) -> Precision {
        self.precision
    }
}

impl Kernels for Candle {
    type Tensor = CandleTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<CandleTensor> {
        CandleTensor::from_array(array, self.precision, &self.device)
    }

    fn parameter(&self, param: &Param) -> Result<CandleTensor> {
        match (param, self.precision) {
            // Without a detour through double precision, which for large weights would cost twice the memory.
            (Param::F32(array), Precision::F32) => {
                let numbers: Vec<f32> = array.iter().copied().collect();
                Tensor::from_vec(numbers, array.shape(), &self.device).map(CandleTensor).map_err(convert)
            }
            _ => {
                let numbers = param.to_f64();
                let reason = "its numbers are on a device";
                self.tensor(&numbers.ok_or_else(|| Error::graph("parameter", reason))?)
            }
        }
    }

    fn unsupported(&self, op: &Op) -> Option<String> {
        let axes = match op {
            Op::Conv(conv) => conv.stride.len(),
            Op::ConvTranspose(transpose) => transpose.conv.stride.len(),
            Op::MaxPool(pool) | Op::AveragePool { pool, .. } => pool.kernel.len(),
            Op::Resize(resize) => resize.size.len(),
            _ => 1,
        };
        match axes {
            1..=3 => known(op),
            _ => Some(format!("{} along {axes} spatial axes: expected 1 to 3", op.kind())),
        }
    }

    fn forward(&self, op: &Op, inputs: &[&CandleTensor], params: &[&CandleTensor]) -> Result<CandleTensor> {
        match derived::has_forward(op) && !faster_here(op) {
            true => derived::forward(self, op, inputs, params),
            false => forward(op, inputs, params).map(CandleTensor).map_err(convert),
        }
    }

    fn vjp(&self, op: &Op, call: Vjp<'_, CandleTensor>) -> Result<Vec<Option<CandleTensor>>> {
        if derived::has_vjp(op) && !faster_here(op) {
            return derived::vjp(self, op, call);
        }
        let cotangents = (0..call.input_dims.len())
            .map(|slot| call.wanted[slot].then(|| cotangent(op, &call, slot).map(CandleTensor)).transpose());
        cotangents.collect::<candle_core::Result<_>>().map_err(convert)
    }
}

/// Whether a kind that is made of others has a kernel of its own for the sake of speed.
fn faster_here(op: &Op) -> bool {
    matches!(op, Op::LayerNorm { .. })
}

/// `None` for the kinds that [`forward`] and [`cotangent`] know.
fn known(op: &Op) -> Option<String> {
    match op {
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
        | Op::Concat { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Power
        | Op::Maximum
        | Op::Minimum
        | Op::Compare(_)
        | Op::Where
        | Op::Gather { .. }
        | Op::Embedding => None,
        op if derived::has_forward(op) => None,
        other => Some(format!("{} has no kernel here", other.kind())),
    }
}

fn forward(op: &Op, inputs: &[&CandleTensor], params: &[&CandleTensor]) -> candle_core::Result<Tensor> {
    let x = || &inputs[0].0;
    match op {
        Op::Constant => Ok(params[0].0.clone()),
        Op::Identity => Ok(x().clone()),
        Op::Conv(conv) => match params {
            [weight, bias] => apply3(&conv::Forward(conv), x(), weight, bias),
            _ => apply2(&conv::Forward(conv), x(), params[0]),
        },
        Op::ConvTranspose(transpose) => match params {
            [weight, bias] => apply3(&conv::TransposedForward(transpose), x(), weight, bias),
            _ => apply2(&conv::TransposedForward(transpose), x(), params[0]),
        },
        Op::Linear => match params {
            [weight, bias] => apply3(&linear::Forward, x(), weight, bias),
            _ => apply2(&linear::Forward, x(), params[0]),
        },
        Op::BatchNorm { epsilon } => {
            let scale = batch_norm_scale(params, *epsilon)?;
            let shift = (&params[1].0 - (&params[2].0 * &scale)?)?;
            apply3(&elementwise::ByChannel, x(), &scale, &shift)
        }
        Op::LayerNorm { epsilon, .. } => {
            apply3(&norm::Forward { epsilon: *epsilon }, x(), params[0], params[1])
        }
        Op::Activation(activation) => apply1(&elementwise::Forward(*activation), x()),
        Op::Softmax { axis } => apply1(&softmax::Forward { axis: *axis, log: false }, x()),
        Op::LogSoftmax { axis } => apply1(&softmax::Forward { axis: *axis, log: true }, x()),
        Op::MaxPool(pool) => apply1(&pool::Max(pool), x()),
        Op::AveragePool { pool, count_include_pad } => apply1(&pool::Average(pool, *count_include_pad), x()),
        Op::Mean { axes, keep } => {
            let sum = drop_axes(inputs[0].sum_keep(axes)?, axes, *keep)?;
            sum.affine(1.0 / count(x().dims(), axes), 0.0)
        }
        Op::Sum { axes, keep } => drop_axes(inputs[0].sum_keep(axes)?, axes, *keep),
        Op::Add => inputs[0].binary(Binary::Add, inputs[1]),
        Op::Sub => inputs[0].binary(Binary::Sub, inputs[1]),
        Op::Mul => inputs[0].binary(Binary::Mul, inputs[1]),
        Op::Div => inputs[0].binary(Binary::Div, inputs[1]),
        Op::Power => inputs[0].binary(Binary::Power, inputs[1]),
        Op::Maximum => inputs[0].binary(Binary::Maximum, inputs[1]),
        Op::Minimum => inputs[0].binary(Binary::Minimum, inputs[1]),
        Op::Compare(comparison) => inputs[0].binary(Binary::Compare(*comparison), inputs[1]),
        Op::Where => {
            let dims = inputs[1].shape().broadcast_shape_binary_op(inputs[2].shape(), "where")?;
            let dims = dims.broadcast_shape_binary_op(inputs[0].shape(), "where")?;
            let [condition, a, b] = [0, 1, 2].map(|i| inputs[i].broadcast_as(&dims));
            apply3(&elementwise::Where, &condition?, &a?, &b?)
        }
        Op::Gather { axis, entries } => apply1(&gather::Gather(*axis, entries), x()),
        Op::Embedding => gather::embedding(x(), params[0]),
        Op::Concat { axis } => {
            let parts =
                inputs.iter().map(|input| input.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
            Tensor::cat(&parts, *axis)
        }
        Op::Reshape { shape } => x().reshape(lengths(shape, x().elem_count())),
        Op::Transpose { axes } => x().permute(axes.as_slice())?.contiguous(),
        Op::Slice { axis, start, len } => x().narrow(*axis, *start, *len)?.contiguous(),
        Op::Pad { padding, value } => apply1(&pad::Pad(padding, *value), x()),
        Op::Resize(resize) => apply1(&resize::Forward(resize), x()),
        other => candle_core::bail!("{} can't be computed", other.kind()),
    }
}

/// The cotangent of the input in `slot`.
fn cotangent(op: &Op, call: &Vjp<'_, CandleTensor>, slot: usize) -> candle_core::Result<Tensor> {
    let c = call.cotangent;
    let dims = &call.input_dims[slot];
    let input = |slot: usize| call.inputs[slot].expect("BUG: an input was not kept for the way back");
    let output = || call.output.expect("BUG: an output was not kept for the way back");
    match op {
        Op::Identity => Ok(c.0.clone()),
        Op::Conv(conv) => apply2(&conv::Backward(conv, dims), c, call.params[0]),
        Op::ConvTranspose(transpose) => {
            apply2(&conv::TransposedBackward(&transpose.conv, dims), c, call.params[0])
        }
        Op::Linear => apply2(&linear::Backward, c, call.params[0]),
        Op::BatchNorm { epsilon } => {
            let scale = batch_norm_scale(call.params, *epsilon)?;
            apply3(&elementwise::ByChannel, c, &scale, &scale.zeros_like()?)
        }
        Op::LayerNorm { epsilon, .. } => {
            apply3(&norm::Backward { epsilon: *epsilon }, input(0), call.params[0], c)
        }
        Op::Activation(activation) => {
            let at = if op.saves() == Saves::Output { output() } else { input(0) };
            apply2(&elementwise::Backward(*activation), at, c)
        }
        Op::Softmax { axis } => apply2(&softmax::Backward { axis: *axis, log: false }, output(), c),
        Op::LogSoftmax { axis } => apply2(&softmax::Backward { axis: *axis, log: true }, output(), c),
        Op::MaxPool(pool) => apply2(&pool::MaxBackward(pool), input(0), c),
        Op::AveragePool { pool, count_include_pad } => {
            apply1(&pool::AverageBackward(pool, *count_include_pad, dims), c)
        }
        Op::Mean { axes, .. } => spread(&c.0.affine(1.0 / count(dims, axes), 0.0)?, dims, axes),
        Op::Sum { axes, .. } => spread(c, dims, axes),
        Op::Add => gather(c, dims),
        Op::Sub if slot == 0 => gather(c, dims),
        Op::Sub => gather(&CandleTensor(c.0.neg()?), dims),
        Op::Mul => gather(&CandleTensor(c.binary(Binary::Mul, input(1 - slot))?), dims),
        Op::Div if slot == 0 => gather(&CandleTensor(c.binary(Binary::Div, input(1))?), dims),
        Op::Div => {
            // d (a / b) / d b = -a / b^2
            let quotient = CandleTensor(input(0).binary(Binary::Div, input(1))?);
            let share = CandleTensor(quotient.binary(Binary::Div, input(1))?);
            gather(&CandleTensor(c.binary(Binary::Mul, &share)?.neg()?), dims)
        }
        Op::Concat { axis } => {
            let start = call.input_dims[..slot].iter().map(|dims| dims[*axis]).sum();
            c.0.narrow(*axis, start, dims[*axis])?.contiguous()
        }
        Op::Reshape { .. } => c.0.reshape(dims.as_slice()),
        Op::Transpose { axes } => {
            let mut back = vec![0; axes.len()];
            axes.iter().enumerate().for_each(|(new, &old)| back[old] = new);
            c.0.permute(back)?.contiguous()
        }
        Op::Slice { axis, start, len } => {
            let mut padding = vec![(0, 0); dims.len()];
            padding[*axis] = (*start, dims[*axis] - start - len);
            apply1(&pad::Pad(&padding, 0.0), c)
        }
        Op::Pad { padding, .. } => {
            let mut part = c.0.clone();
            for (axis, &(before, _)) in padding.iter().enumerate() {
                part = part.narrow(axis, before, dims[axis])?;
            }
            part.contiguous()
        }
        Op::Resize(resize) => apply1(&resize::Backward(resize, dims), c),
        other => candle_core::bail!("{} has no inputs", other.kind()),
    }
}

/// gamma / sqrt(variance + epsilon)
fn batch_norm_scale(params: &[&CandleTensor], epsilon: f64) -> candle_core::Result<Tensor> {
    &params[0].0 / (&params[3].0 + epsilon)?.sqrt()?
}

/// How many entries are reduced to one.
fn count(dims: &[usize], axes: &[usize]) -> f64 {
    axes.iter().map(|&axis| dims[axis]).product::<usize>() as f64
}

fn drop_axes(reduced: Tensor, axes: &[usize], keep: bool) -> candle_core::Result<Tensor> {
    if keep {
        return Ok(reduced);
    }
    let left = reduced.dims().iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &n)| n);
    reduced.reshape(left.collect::<Vec<_>>())
}

/// Repeats a cotangent along the axes that were reduced.
fn spread(c: &Tensor, dims: &[usize], axes: &[usize]) -> candle_core::Result<Tensor> {
    let kept: Vec<_> =
        dims.iter().enumerate().map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n }).collect();
    c.reshape(kept)?.broadcast_as(dims)?.contiguous()
}

/// Sums a cotangent over the axes along which an input of these lengths was repeated.
fn gather(c: &CandleTensor, dims: &[usize]) -> candle_core::Result<Tensor> {
    let missing = c.rank() - dims.len();
    let repeated: Vec<_> = (0..c.rank())
        .filter(|&axis| axis < missing || (dims[axis - missing] == 1 && c.dims()[axis] != 1))
        .collect();
    c.sum_keep(&repeated)?.reshape(dims)
}

/// The lengths of a shape for so many numbers.
fn lengths(shape: &Shape, numbers: usize) -> Vec<usize> {
    shape.at(numbers.checked_div(shape.row_len()).unwrap_or(0))
}
