//! Operators on candle's tensors whose derivatives can be relied on, for forward functions of your own
//! ([`crate::Native`]).
//!
//! candle's own way back is wrong, missing or refused for some operators, most of them without an error: maxima of
//! windows, pooling whose kernel is not its stride, resizes, scattering, softmax over the last axis, layer norms,
//! convolutions with some strides. These here compute with this crate's kernels, forward and back, and stand in for
//! candle's one by one:
//!
//! | instead of | write |
//! | --- | --- |
//! | `x.max_pool2d_with_stride(3, 2)` | `max_pool2d(&x, &Pool::square(3, 2))` |
//! | `x.avg_pool2d(2)` | `avg_pool2d(&x, &Pool::square(2, 2))` |
//! | `x.upsample_nearest2d(h, w)` | `upsample_nearest2d(&x, h, w)` |
//! | `x.upsample_bilinear2d(h, w, false)` | `upsample_bilinear2d(&x, h, w, false)` |
//! | `x.conv2d(&w, 1, 2, 1, 1)`, `candle_nn::Conv2d` | `conv2d(&x, &w, None, &Conv::square(2, 1))` |
//! | `candle_nn::Linear` | `linear(&x, &w, Some(&b))` |
//! | `x.relu()` | `relu(&x)`, whose derivative at 0 is 0 |
//! | `candle_nn::ops::softmax_last_dim(&x)` | `softmax_last_dim(&x)` |
//! | `candle_nn::LayerNorm`, `candle_nn::ops::layer_norm` | `layer_norm(&x, &gamma, &beta, epsilon)` |
//! | `candle_nn::RmsNorm`, `candle_nn::ops::rms_norm` | `rms_norm(&x, &gamma, epsilon)` |
//! | `x.scatter(..)`, `x.scatter_add(..)` | `scatter(&x, ..)`, `scatter_add(&x, ..)` |
//!
//! [`layer`] is any other kind of layer that the adapter knows. Values are in single or double precision, have the
//! batch as their first axis, and lie on the CPU. Parameters are constants: nothing is computed for them on the way
//! back, which candle's own convolutions and products do always.

use std::sync::Mutex;

use attr_core::{Activation, Conv, Coordinates, Graph, Interpolation, Kernels, Op, Param, Pool, Precision};
use attr_core::{Resize, Vjp};
use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Storage, Tensor, bail};

use crate::{Candle, CandleTensor};

/// The largest value of each window; the derivative goes to the first of equals.
pub fn max_pool2d(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    layer(&Op::MaxPool(pool.clone()), &[x], &[])
}

/// The mean of each window; padding is not counted.
pub fn avg_pool2d(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    layer(&Op::AveragePool { pool: pool.clone(), count_include_pad: false }, &[x], &[])
}

/// The nearest entry at or below, as candle's own.
pub fn upsample_nearest2d(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    resize(x, [height, width], Interpolation::NearestFloor, Coordinates::Asymmetric)
}

/// Linear along height and width; between the centres of entries, or from the first to the last if `align_corners`.
pub fn upsample_bilinear2d(x: &Tensor, height: usize, width: usize, align_corners: bool) -> Result<Tensor> {
    let coordinates = if align_corners { Coordinates::AlignCorners } else { Coordinates::HalfPixel };
    resize(x, [height, width], Interpolation::Linear, coordinates)
}

fn resize(x: &Tensor, size: [usize; 2], mode: Interpolation, coordinates: Coordinates) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let scale = vec![size[0] as f64 / height as f64, size[1] as f64 / width as f64];
    layer(&Op::Resize(Resize::new(size.to_vec(), scale, mode, coordinates)), &[x], &[])
}

/// A convolution with a weight `[out, in / groups, height, width]` and perhaps a bias `[out]`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv) -> Result<Tensor> {
    layer(&Op::Conv(conv.clone()), &[x], &with(weight, bias))
}

/// `x W^T + b` over the last axis, with a weight `[out, in]` and perhaps a bias `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    layer(&Op::Linear, &[x], &with(weight, bias))
}

fn with<'a>(weight: &'a Tensor, bias: Option<&'a Tensor>) -> Vec<&'a Tensor> {
    std::iter::once(weight).chain(bias).collect()
}

/// `max(x, 0)`; the derivative at 0 is 0.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::Relu)
}

/// A function of each element by itself.
pub fn activation(x: &Tensor, activation: Activation) -> Result<Tensor> {
    layer(&Op::Activation(activation), &[x], &[])
}

/// `exp(x) / sum(exp(x))` along the last axis.
pub fn softmax_last_dim(x: &Tensor) -> Result<Tensor> {
    let axis = x.rank().saturating_sub(1);
    layer(&Op::Softmax { axis }, &[x], &[])
}

/// The last axis normalized to mean 0 and variance 1, times `gamma` plus `beta`, which have its length.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    let axis = x.rank().saturating_sub(1);
    layer(&Op::LayerNorm { axis, epsilon }, &[x], &[gamma, beta])
}

/// The last axis divided by the root of its mean square (Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4), times
/// `gamma`, which has its length.
pub fn rms_norm(x: &Tensor, gamma: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_square + epsilon)?.sqrt()?)?.broadcast_mul(gamma)
}

/// `x` with the entries that `indexes` names along an axis replaced by those of `source`, which has the shape of
/// `indexes`; of several for one place the last counts.
pub fn scatter(x: &Tensor, indexes: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    let (indexes, source) = (&indexes.contiguous()?, &source.contiguous()?);
    let zeros = x.zeros_like()?.detach();
    // Each entry's own number is read back where no later one was written over it.
    let number =
        Tensor::arange(1.0, source.elem_count() as f64 + 1.0, x.device())?.reshape(source.shape())?;
    let written = zeros.to_dtype(DType::F64)?.scatter(indexes, &number, axis)?;
    let last = written.gather(indexes, axis)?.eq(&number)?.to_dtype(x.dtype())?;
    let kept = written.eq(&written.zeros_like()?)?.to_dtype(x.dtype())?;
    (x * kept)? + zeros.scatter_add(indexes, &(source * last)?, axis)?
}

/// `x` with the entries of `source`, which has the shape of `indexes`, added to those that `indexes` names along an
/// axis.
pub fn scatter_add(x: &Tensor, indexes: &Tensor, source: &Tensor, axis: usize) -> Result<Tensor> {
    // candle takes what is under them out of the derivative by what they are added to, where it should not.
    x + x.zeros_like()?.detach().scatter_add(&indexes.contiguous()?, &source.contiguous()?, axis)?
}

/// What a layer of this kind gives, for inputs that all have the same number of rows and parameters as [`Op`] lists
/// them.
///
/// # Errors
///
/// Where the shapes don't fit, the kind has no kernel, a value is neither `f32` nor `f64`, or a parameter is itself
/// computed from a variable: no derivative would reach it, so detach it if it should be a constant.
pub fn layer(op: &Op, inputs: &[&Tensor], params: &[&Tensor]) -> Result<Tensor> {
    if let Err(reason) = fits(op, inputs, params) {
        bail!("{}: {reason}", op.kind());
    }
    record(op, inputs, params)
}

fn fits(op: &Op, inputs: &[&Tensor], params: &[&Tensor]) -> std::result::Result<(), String> {
    let Some(first) = inputs.first() else { return Err("expected at least one input, found none".into()) };
    let mut graph = Graph::default();
    let mut sources = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        if !matches!(input.dtype(), DType::F32 | DType::F64) {
            return Err(format!("expected f32 or f64, found {:?}", input.dtype()));
        }
        let (Some(rows), Some(row)) = (input.dims().first(), input.dims().get(1..)) else {
            return Err("expected a batch as the first axis, found a single number".into());
        };
        if rows != &first.dims()[0] {
            return Err(format!("expected {} rows, as the first input, found {rows}", first.dims()[0]));
        }
        sources.push(graph.input(&i.to_string(), row).map_err(|error| error.to_string())?);
    }
    for other in inputs.iter().chain(params) {
        if other.dtype() != first.dtype() {
            return Err(format!("expected {:?} throughout, found {:?}", first.dtype(), other.dtype()));
        }
    }
    if let Some(i) = params.iter().position(|param| param.track_op() && !param.is_variable()) {
        return Err(format!("parameter {i} is computed from a variable: expected a constant"));
    }
    let dims = params.iter().map(|param| graph.param(Param::OnDevice(param.dims().to_vec())));
    let dims: Vec<_> = dims.collect();
    match graph.add("layer", op.clone(), &sources, &dims) {
        Err(attr_core::Error::Graph { reason, .. }) => Err(reason),
        Err(other) => Err(other.to_string()),
        Ok(_) => kernels(first).unsupported(op).map_or(Ok(()), Err),
    }
}

fn kernels(like: &Tensor) -> Candle {
    let precision = if like.dtype() == DType::F64 { Precision::F64 } else { Precision::F32 };
    Candle::new(like.device().clone(), precision)
}

/// As [`layer`], of values and parameters that are known to fit.
pub(crate) fn record(op: &Op, inputs: &[&Tensor], params: &[&Tensor]) -> Result<Tensor> {
    let Some(like) = inputs.iter().chain(params).next() else {
        bail!("{}: nothing to compute of", op.kind())
    };
    let candle = kernels(like);
    let constant = |tensor: &&Tensor| CandleTensor(tensor.detach());
    let params: Vec<_> = params.iter().map(constant).collect();
    let values: Vec<_> = inputs.iter().map(constant).collect();
    let value = candle.forward(op, &values.iter().collect::<Vec<_>>(), &params.iter().collect::<Vec<_>>());
    let value = value.map_err(reported)?.0;
    if !inputs.iter().any(|input| input.track_op()) {
        return Ok(value);
    }
    let layer = Layer {
        op: op.clone(),
        candle,
        dims: inputs.iter().map(|input| input.dims().to_vec()).collect(),
        wanted: inputs.iter().map(|input| input.track_op()).collect(),
        params,
        value: Mutex::new(Some(value.contiguous()?)),
    };
    match inputs {
        [input] => input.apply_op1(layer),
        // candle knows operators of up to three values; any number of them fits into one.
        several => {
            let flat = several.iter().map(|input| input.flatten_all()).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&flat, 0)?.apply_op1(layer)
        }
    }
}

/// A layer in candle's record of what it computed.
struct Layer {
    op: Op,
    candle: Candle,
    /// The shapes of the inputs.
    dims: Vec<Vec<usize>>,
    /// Which inputs a derivative is needed for.
    wanted: Vec<bool>,
    params: Vec<CandleTensor>,
    /// Computed beforehand, until candle takes it.
    value: Mutex<Option<Tensor>>,
}

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        self.op.kind()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = self.value.lock().ok().and_then(|mut value| value.take());
        let value = value.expect("BUG: a layer's value is taken once");
        let (storage, layout) = value.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("{}: not contiguous", self.name())
        };
        let storage = match &*storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => CpuStorage::F32(numbers[start..end].to_vec()),
            Storage::Cpu(CpuStorage::F64(numbers)) => CpuStorage::F64(numbers[start..end].to_vec()),
            _ => bail!("{}: expected f32 or f64 on the CPU", self.name()),
        };
        Ok((storage, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, cotangent: &Tensor) -> Result<Option<Tensor>> {
        let x = x.detach();
        let mut start = 0;
        let part = |dims: &Vec<usize>| {
            let len = dims.iter().product();
            let part = match self.dims.len() {
                1 => x.clone(),
                _ => x.narrow(0, start, len)?.reshape(dims.as_slice())?,
            };
            start += len;
            Ok(CandleTensor(part))
        };
        let inputs = self.dims.iter().map(part).collect::<Result<Vec<_>>>()?;
        let (y, cotangent) = (CandleTensor(y.detach()), CandleTensor(cotangent.contiguous()?.detach()));
        let call = Vjp {
            inputs: &inputs.iter().map(Some).collect::<Vec<_>>(),
            input_dims: &self.dims,
            output: Some(&y),
            params: &self.params.iter().collect::<Vec<_>>(),
            cotangent: &cotangent,
            wanted: &self.wanted,
        };
        let parts = self.candle.vjp(&self.op, call).map_err(reported)?;
        // One without a derivative gets zeros: to candle, nothing at all is a mistake of its own.
        let parts = parts.into_iter().zip(&inputs).map(|(part, input)| match part {
            Some(part) => part.0.reshape(input.0.dims()),
            None => input.0.zeros_like(),
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        match &parts[..] {
            [part] => Ok(Some(part.clone())),
            parts => {
                let flat = parts.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&flat, 0).map(Some)
            }
        }
    }
}

/// The project's error as candle's, through which it has to pass.
fn reported(error: attr_core::Error) -> candle_core::Error {
    match error {
        attr_core::Error::Backend { reason, .. } => candle_core::Error::Msg(reason),
        other => candle_core::Error::Msg(other.to_string()),
    }
}
