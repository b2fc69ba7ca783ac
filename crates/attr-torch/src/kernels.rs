//! Forward and vector-Jacobian product of every kind of layer.
//!
//! The way forward is written so that libtorch can differentiate it too, with the derivatives at kinks that
//! this project has settled; the way back calls libtorch's own backward functions and records nothing.

mod activation;
mod choice;
mod gather;
mod reduce;
mod window;

use attr_core::{Dim, Error, Kernels, Op, Param, Precision, Resize, Result, Saves, Shape, Vjp, derived};
use ndarray::{Array2, ArrayD};
use tch::{Device, TchError, Tensor};

use crate::TorchTensor;
use crate::error::{BACKEND, convert};
use crate::tensor::{kind, lengths, place, signed};

type Tch<T> = std::result::Result<T, TchError>;

/// Kernels on a libtorch device.
///
/// ```
/// use attr_core::{Kernels, Precision};
/// use attr_torch::Torch;
///
/// assert_eq!(Torch::cpu(Precision::F32).backend(), "torch");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Torch {
    device: Device,
    precision: Precision,
}

impl Torch {
    /// Kernels that compute on `device` with numbers of `precision`.
    pub fn new(device: Device, precision: Precision) -> Self {
        Torch { device, precision }
    }

    /// Kernels on the CPU.
    pub fn cpu(precision: Precision) -> Self {
        Torch::new(Device::Cpu, precision)
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The precision.
    pub fn precision(&self) -> Precision {
        self.precision
    }
}

impl Kernels for Torch {
    type Tensor = TorchTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<TorchTensor> {
        TorchTensor::from_array(array, self.precision, self.device)
    }

    fn parameter(&self, param: &Param) -> Result<TorchTensor> {
        // From the file's precision, without a detour through double precision.
        let placed = match param {
            Param::F32(array) => place(&array.as_standard_layout(), self.device),
            Param::F64(array) => place(&array.as_standard_layout(), self.device),
            Param::OnDevice(_) => Err(Error::graph("parameter", "its numbers are on a device already")),
        };
        placed?.f_to_kind(kind(self.precision)).map(TorchTensor::from).map_err(convert)
    }

    fn unsupported(&self, op: &Op) -> Option<String> {
        let axes = match op {
            Op::Conv(conv) => conv.stride.len(),
            Op::ConvTranspose(transpose) => transpose.conv.stride.len(),
            Op::MaxPool(pool) | Op::AveragePool { pool, .. } => pool.kernel.len(),
            _ => 1,
        };
        match axes {
            1..=3 => known(op),
            _ => Some(format!("{} along {axes} spatial axes: expected 1 to 3", op.kind())),
        }
    }

    fn forward(&self, op: &Op, inputs: &[&TorchTensor], params: &[&TorchTensor]) -> Result<TorchTensor> {
        forward(op, &inner(inputs), &inner(params)).map(TorchTensor::from).map_err(convert)
    }

    fn vjp(&self, op: &Op, call: Vjp<'_, TorchTensor>) -> Result<Vec<Option<TorchTensor>>> {
        if derived::has_vjp(op) && !matches!(op, Op::Gather { .. }) {
            return derived::vjp(self, op, call);
        }
        let cotangent = |slot: usize| cotangent(op, &call, slot).map(TorchTensor::from);
        let slots = 0..call.input_dims.len();
        slots
            .map(|slot| call.wanted[slot].then(|| cotangent(slot)).transpose())
            .collect::<Tch<_>>()
            .map_err(convert)
    }
}

fn inner<'a>(tensors: &[&'a TorchTensor]) -> Vec<&'a Tensor> {
    tensors.iter().map(|tensor| &***tensor).collect()
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
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Activation(_)
        | Op::PRelu
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::Mean { .. }
        | Op::Sum { .. }
        | Op::Max { .. }
        | Op::Min { .. }
        | Op::Norm { .. }
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Power
        | Op::Maximum
        | Op::Minimum
        | Op::Compare(_)
        | Op::Where
        | Op::MatMul
        | Op::Attention { .. }
        | Op::Embedding
        | Op::Gather { .. }
        | Op::Expand { .. }
        | Op::Concat { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Resize(_) => None,
        other => Some(format!("{} has no kernel here", other.kind())),
    }
}

/// The layer's value; libtorch can differentiate it.
pub(crate) fn forward(op: &Op, inputs: &[&Tensor], params: &[&Tensor]) -> Tch<Tensor> {
    let x = || inputs[0];
    match op {
        Op::Constant => Ok(params[0].shallow_clone()),
        Op::Identity => Ok(x().shallow_clone()),
        Op::Conv(conv) => window::convolution(conv, x(), params[0], params.get(1).copied()),
        Op::ConvTranspose(transpose) => {
            window::transposed_convolution(transpose, x(), params[0], params.get(1).copied())
        }
        Op::Linear => x().f_linear(params[0], params.get(1).copied()),
        Op::BatchNorm { epsilon } => {
            let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|i| Some(params[i]));
            x().f_batch_norm(gamma, beta, mean, variance, false, 0.0, *epsilon, true)
        }
        Op::LayerNorm { axis, epsilon } => {
            let normalized = x().size()[*axis..].to_vec();
            x().f_layer_norm(normalized, Some(params[0]), Some(params[1]), *epsilon, true)
        }
        Op::GroupNorm { groups, epsilon } => {
            x().f_group_norm(*groups as i64, Some(params[0]), Some(params[1]), *epsilon, true)
        }
        Op::LocalResponseNorm { size, alpha, beta, bias } => {
            let mean = channel_sums(&x().f_square()?, *size)?.f_mul_scalar(alpha / *size as f64)?;
            x().f_mul(&mean.f_add_scalar(*bias)?.f_pow_tensor_scalar(-beta)?)
        }
        Op::Activation(activation) => activation::forward(*activation, x()),
        Op::PRelu => x().f_where_self(&x().f_gt(0.0)?, &x().f_mul(params[0])?),
        Op::Softmax { axis } => x().f_softmax(*axis as i64, None),
        Op::LogSoftmax { axis } => x().f_log_softmax(*axis as i64, None),
        Op::MaxPool(pool) => window::max(pool, x()),
        Op::AveragePool { pool, count_include_pad } => window::average(pool, *count_include_pad, x()),
        // To libtorch no axes are all axes.
        Op::Mean { axes, .. } | Op::Sum { axes, .. } if axes.is_empty() => Ok(x().shallow_clone()),
        Op::Mean { axes, keep } => x().f_mean_dim(signed(axes), *keep, None),
        Op::Sum { axes, keep } => x().f_sum_dim_intlist(signed(axes), *keep, None),
        Op::Max { axes, keep } => reduce::max(x(), axes, *keep),
        Op::Min { axes, keep } => reduce::max(&x().f_neg()?, axes, *keep)?.f_neg(),
        Op::Norm { axes, keep } => reduce::norm(x(), axes, *keep),
        Op::Add => inputs[0].f_add(inputs[1]),
        Op::Sub => inputs[0].f_sub(inputs[1]),
        Op::Mul => inputs[0].f_mul(inputs[1]),
        Op::Div => inputs[0].f_div(inputs[1]),
        Op::Power => choice::power(inputs[0], inputs[1]),
        Op::Maximum => choice::maximum(inputs[0], inputs[1]),
        Op::Minimum => choice::minimum(inputs[0], inputs[1]),
        Op::Compare(comparison) => choice::compare(*comparison, inputs[0], inputs[1]),
        Op::Where => choice::select(inputs[0], inputs[1], inputs[2]),
        Op::MatMul => inputs[0].f_matmul(inputs[1]),
        Op::Attention { scale } => attention(inputs, *scale),
        Op::Embedding => gather::rows(x(), params[0]),
        Op::Gather { axis, entries } => gather::entries(x(), *axis, entries),
        Op::Expand { shape } => {
            let value = x().f_expand(signed(&expanded(shape, inputs)), false)?;
            inputs[1..].iter().try_fold(value, |value, like| choice::constant_in(value, like))
        }
        Op::Concat { axis } => Tensor::f_cat(inputs, *axis as i64),
        Op::Reshape { shape } => x().f_reshape(signed(&row_lengths(shape, x().numel()))),
        Op::Transpose { axes } => x().f_permute(signed(axes)),
        Op::Slice { axis, start, len } => x().f_narrow(*axis as i64, *start as i64, *len as i64),
        Op::Pad { padding, value } => pad(x(), padding, *value),
        Op::Resize(resize) => (0..resize.size.len()).try_fold(x().shallow_clone(), |value, axis| {
            let along = axis + 2;
            let taps = interpolation(resize, axis, lengths(&value)[along], &value)?;
            multiply_along(&value, along, &taps)
        }),
        other => Err(TchError::Torch(format!("{} can't be computed", other.kind()))),
    }
}

/// The cotangent of the input in `slot`.
fn cotangent(op: &Op, call: &Vjp<'_, TorchTensor>, slot: usize) -> Tch<Tensor> {
    let c: &Tensor = call.cotangent;
    let dims = &call.input_dims[slot];
    let input = |slot: usize| -> &Tensor { call.inputs[slot].expect("BUG: an input was not kept") };
    let output = || -> &Tensor { call.output.expect("BUG: an output was not kept") };
    let param = |index: usize| -> &Tensor { call.params[index] };
    match op {
        Op::Identity => Ok(c.shallow_clone()),
        Op::Conv(conv) => window::convolution_back(conv, c, param(0), dims),
        Op::ConvTranspose(transpose) => {
            window::transposed_convolution_back(&transpose.conv, c, param(0), dims)
        }
        Op::Linear => c.f_matmul(param(0)),
        Op::BatchNorm { epsilon } => {
            let scale = param(0).f_div(&param(3).f_add_scalar(*epsilon)?.f_sqrt()?)?;
            c.f_mul(&by_channel(&scale, dims.len())?)
        }
        Op::Activation(activation) => {
            let at = if op.saves() == Saves::Output { output() } else { input(0) };
            activation::back(*activation, at, c)
        }
        Op::Softmax { axis } => Tensor::f_internal_softmax_backward_data(c, output(), *axis as i64, c.kind()),
        Op::LogSoftmax { axis } => {
            Tensor::f_internal_log_softmax_backward_data(c, output(), *axis as i64, c.kind())
        }
        Op::MaxPool(pool) => window::max_back(pool, c, input(0)),
        Op::AveragePool { pool, count_include_pad } => {
            window::average_back(pool, *count_include_pad, c, dims)
        }
        Op::Mean { axes, .. } => {
            let count: usize = axes.iter().map(|&axis| dims[axis]).product();
            spread(&c.f_div_scalar(count as i64)?, dims, axes)
        }
        Op::Sum { axes, .. } => spread(c, dims, axes),
        Op::Add => gather(c, dims),
        Op::Sub if slot == 0 => gather(c, dims),
        Op::Sub => gather(&c.f_neg()?, dims),
        Op::Mul => gather(&c.f_mul(input(1 - slot))?, dims),
        Op::Div if slot == 0 => gather(&c.f_div(input(1))?, dims),
        // d (a / b) / d b = -a / b^2
        Op::Div => gather(&c.f_mul(&input(0).f_div(input(1))?.f_div(input(1))?)?.f_neg()?, dims),
        Op::Concat { axis } => {
            let start: usize = call.input_dims[..slot].iter().map(|dims| dims[*axis]).sum();
            c.f_narrow(*axis as i64, start as i64, dims[*axis] as i64)
        }
        Op::Reshape { .. } => c.f_reshape(signed(dims)),
        Op::Transpose { axes } => {
            let mut back = vec![0; axes.len()];
            axes.iter().enumerate().for_each(|(new, &old)| back[old] = new as i64);
            c.f_permute(back)
        }
        Op::Slice { axis, start, len } => {
            let mut padding = vec![(0, 0); dims.len()];
            padding[*axis] = (*start, dims[*axis] - start - len);
            pad(c, &padding, 0.0)
        }
        Op::Gather { axis, entries } => gather::entries_back(c, *axis, entries, dims),
        Op::Pad { padding, .. } => crop(c, padding, dims),
        Op::Resize(resize) => (0..resize.size.len()).try_fold(c.shallow_clone(), |value, axis| {
            let along = axis + 2;
            let taps = interpolation(resize, axis, dims[along], &value)?;
            multiply_along(&value, along, &taps.f_transpose(0, 1)?)
        }),
        other => Err(TchError::Torch(format!("{} has no inputs", other.kind()))),
    }
}

/// For each channel the sum over so many channels around it, itself among them.
fn channel_sums(x: &Tensor, size: usize) -> Tch<Tensor> {
    // Further away there are none.
    let [before, after] = [(size - 1) / 2, size - 1 - (size - 1) / 2].map(|n| n.min(lengths(x)[1]));
    let mut padding = vec![(0, 0); x.dim()];
    padding[1] = (before, after);
    let around = pad(x, &padding, 0.0)?.f_unfold(1, (before + 1 + after) as i64, 1)?;
    around.f_sum_dim_intlist(&[-1i64][..], false, None)
}

/// `softmax(scale q k^T + mask) v`. libtorch's own gives numbers where a mask leaves no key, and this NaN.
fn attention(inputs: &[&Tensor], scale: f64) -> Tch<Tensor> {
    let scores = inputs[0].f_mul_scalar(scale)?.f_matmul(&inputs[1].f_transpose(-2, -1)?)?;
    let scores = inputs.get(3).map_or(Ok(scores.shallow_clone()), |mask| scores.f_add(mask))?;
    scores.f_softmax(-1, None)?.f_matmul(inputs[2])
}

/// The lengths of an expanded value.
fn expanded(shape: &Shape, inputs: &[&Tensor]) -> Vec<usize> {
    let dims = lengths(inputs[0]);
    let own = |axis: usize| (axis + dims.len()).checked_sub(shape.rank()).map_or(1, |axis| dims[axis]);
    let len = |(axis, dim): (usize, &Dim)| match (*dim, inputs.get(1)) {
        (Dim::Fixed(len), _) => len,
        (Dim::Batch(each), Some(like)) => each * lengths(like)[0],
        (Dim::Batch(_), None) => own(axis),
    };
    shape.0.iter().enumerate().map(len).collect()
}

/// One number a channel, shaped to meet a value of so many axes.
fn by_channel(numbers: &Tensor, rank: usize) -> Tch<Tensor> {
    let mut dims = vec![1; rank];
    dims[1] = -1;
    numbers.f_reshape(dims)
}

/// A constant around a value.
fn pad(x: &Tensor, padding: &[(usize, usize)], value: f64) -> Tch<Tensor> {
    // libtorch wants the last axis first.
    let widths: Vec<_> =
        padding.iter().rev().flat_map(|&(before, after)| [before as i64, after as i64]).collect();
    if widths.iter().all(|&width| width == 0) {
        Ok(x.shallow_clone())
    } else {
        x.f_pad(widths, "constant", value)
    }
}

/// What lies within padding, of these lengths.
fn crop(x: &Tensor, padding: &[(usize, usize)], dims: &[usize]) -> Tch<Tensor> {
    let axes = padding.iter().zip(dims).enumerate().filter(|(_, (padding, _))| **padding != (0, 0));
    axes.into_iter().try_fold(x.shallow_clone(), |part, (axis, (&(before, _), &len))| {
        part.f_narrow(axis as i64, before as i64, len as i64)
    })
}

/// Repeats a cotangent along the axes that were reduced.
fn spread(c: &Tensor, dims: &[usize], axes: &[usize]) -> Tch<Tensor> {
    let kept = dims.iter().enumerate().map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n as i64 });
    c.f_reshape(kept.collect::<Vec<_>>())?.f_expand(signed(dims), false)
}

/// Sums a cotangent over the axes along which an input of these lengths was repeated.
fn gather(c: &Tensor, dims: &[usize]) -> Tch<Tensor> {
    if lengths(c) == dims { Ok(c.shallow_clone()) } else { c.f_sum_to_size(signed(dims)) }
}

/// Which old entries a new one is made of: `[new, old]`, on the device and in the precision of `like`.
fn interpolation(resize: &Resize, axis: usize, old: usize, like: &Tensor) -> Tch<Tensor> {
    let mut weights = Array2::<f64>::zeros((resize.size[axis], old));
    for (new, taps) in resize.taps(axis, old).into_iter().enumerate() {
        taps.iter().for_each(|&(old, weight)| weights[[new, old]] += weight);
    }
    let numbers = weights.as_slice().expect("BUG: a new array is in row-major order");
    let dims = [resize.size[axis] as i64, old as i64];
    Tensor::f_from_slice(numbers)?.f_reshape(dims)?.f_to_kind(like.kind())?.f_to_device(like.device())
}

/// Multiplies the numbers along an axis by a matrix `[new, old]`.
fn multiply_along(x: &Tensor, axis: usize, matrix: &Tensor) -> Tch<Tensor> {
    let last = x.dim() as i64 - 1;
    let turned = x.f_transpose(axis as i64, last)?.f_matmul(&matrix.f_transpose(0, 1)?)?;
    turned.f_transpose(axis as i64, last)
}

/// The lengths of a shape for so many numbers.
fn row_lengths(shape: &Shape, numbers: usize) -> Vec<usize> {
    shape.at(numbers.checked_div(shape.row_len()).unwrap_or(0))
}
