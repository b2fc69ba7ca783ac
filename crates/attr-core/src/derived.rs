//! Layers that are made of others: what an adapter need not write itself.
//!
//! An adapter's [`Kernels`] hand over to [`forward`] and [`vjp`] what they have no faster way for. Both use the
//! operations that every [`Tensor`] has, and the adapter's own kernels of the simpler kinds [`Op::Where`],
//! [`Op::Compare`], [`Op::Gather`], [`Op::Softmax`] and [`Op::Activation`]. Which kinds those are: [`has_forward`], [`has_vjp`].

use ndarray::{ArrayD, IxDyn};

use crate::bilinear::swapped;
use crate::tensor::nonzero;
use crate::{Activation, Comparison, Dim, Error, Kernels, Op, Result, Shape, Tensor, Vjp};

/// Whether [`forward`] knows a layer.
pub fn has_forward(op: &Op) -> bool {
    matches!(
        op,
        Op::LayerNorm { .. }
            | Op::GroupNorm { .. }
            | Op::LocalResponseNorm { .. }
            | Op::PRelu
            | Op::Max { .. }
            | Op::Min { .. }
            | Op::Norm { .. }
            | Op::MatMul
            | Op::Attention { .. }
            | Op::Expand { .. }
    )
}

/// Whether [`vjp`] knows a layer.
pub fn has_vjp(op: &Op) -> bool {
    has_forward(op)
        || matches!(
            op,
            Op::Power
                | Op::Maximum
                | Op::Minimum
                | Op::Compare(_)
                | Op::Where
                | Op::Gather { .. }
                | Op::Embedding
        )
}

/// The value of a layer that [`has_forward`] knows, as [`Kernels::forward`].
pub fn forward<K: Kernels>(
    kernels: &K,
    op: &Op,
    inputs: &[&K::Tensor],
    params: &[&K::Tensor],
) -> Result<K::Tensor> {
    let x = inputs[0];
    match op {
        Op::LayerNorm { axis, epsilon } => {
            let Normalized { value, .. } = Normalized::over(x, *axis, *epsilon)?;
            value.mul(params[0])?.add(params[1])
        }
        Op::GroupNorm { groups, epsilon } => {
            let Normalized { value, .. } = Normalized::over(&in_groups(x, *groups)?, 2, *epsilon)?;
            let [gamma, beta] = [by_channel(params[0], x)?, by_channel(params[1], x)?];
            value.reshape(&x.dims())?.mul(&gamma)?.add(&beta)
        }
        Op::LocalResponseNorm { beta, .. } => x.mul(&power(kernels, &local_base(op, x)?, -beta)?),
        Op::PRelu => select(kernels, &x.gt(&x.zeros_like()?)?, x, &x.mul(params[0])?),
        Op::Max { axes, keep } => {
            let lanes = Lanes::of(&x.dims(), axes);
            let most = lanes.turned(x)?.max(lanes.last)?;
            most.reshape(&reduced(&x.dims(), axes, *keep))
        }
        Op::Min { axes, keep } => {
            let max = Op::Max { axes: axes.clone(), keep: *keep };
            forward(kernels, &max, &[&x.scale(-1.0)?], &[])?.scale(-1.0)
        }
        Op::Norm { axes, keep } => x.square()?.sum(axes)?.sqrt()?.reshape(&reduced(&x.dims(), axes, *keep)),
        Op::MatMul => x.matmul(inputs[1]),
        Op::Attention { scale } => attention_weights(kernels, inputs, *scale)?.matmul(inputs[2]),
        Op::Expand { shape } => {
            let dims = expanded(shape, inputs);
            let front = vec![1; dims.len() - x.dims().len()];
            x.reshape(&[front, x.dims()].concat())?.broadcast_to(&dims)
        }
        other => unreachable!("BUG: {} is not made of others", other.kind()),
    }
}

/// The cotangents of a layer that [`has_vjp`] knows, as [`Kernels::vjp`].
pub fn vjp<K: Kernels>(kernels: &K, op: &Op, call: Vjp<'_, K::Tensor>) -> Result<Vec<Option<K::Tensor>>> {
    if let Op::Attention { scale } = op {
        return attention_back(kernels, *scale, &call);
    }
    let each = |slot: usize| call.wanted[slot].then(|| cotangent(kernels, op, &call, slot)).transpose();
    (0..call.wanted.len()).map(each).collect()
}

/// The cotangent of the input in `slot`.
fn cotangent<K: Kernels>(kernels: &K, op: &Op, call: &Vjp<'_, K::Tensor>, slot: usize) -> Result<K::Tensor> {
    let (c, dims) = (call.cotangent, &call.input_dims[slot][..]);
    let input = |slot: usize| call.inputs[slot].expect("BUG: an input was not kept for the way back");
    Ok(match op {
        Op::LayerNorm { axis, epsilon } => {
            Normalized::over(input(0), *axis, *epsilon)?.back(&c.mul(call.params[0])?)?
        }
        Op::GroupNorm { groups, epsilon } => {
            let normalized = Normalized::over(&in_groups(input(0), *groups)?, 2, *epsilon)?;
            let scaled = c.mul(&by_channel(call.params[0], c)?)?;
            normalized.back(&in_groups(&scaled, *groups)?)?.reshape(dims)?
        }
        Op::LocalResponseNorm { size, alpha, beta, .. } => {
            // y = x b^-beta: directly, and through the sums b of the channels around.
            let (x, base) = (input(0), local_base(op, input(0))?);
            let through = c.mul(x)?.mul(&power(kernels, &base, -beta - 1.0)?)?;
            let (before, after) = reach(*size);
            let sums = channel_sums(&through, after, before)?;
            let direct = c.mul(&power(kernels, &base, -beta)?)?;
            direct.sub(&x.mul(&sums)?.scale(2.0 * alpha * beta / *size as f64)?)?
        }
        Op::PRelu => {
            let x = input(0);
            select(kernels, &x.gt(&x.zeros_like()?)?, c, &c.mul(call.params[0])?)?
        }
        Op::Max { axes, .. } => Lanes::of(dims, axes).to_largest(kernels, input(0), c)?,
        Op::Min { axes, .. } => Lanes::of(dims, axes).to_largest(kernels, &input(0).scale(-1.0)?, c)?,
        Op::Norm { axes, .. } => {
            let norm = input(0).square()?.sum(axes)?.sqrt()?;
            let c = c.reshape(&norm.dims())?;
            input(0).mul(&c.div(&nonzero(&norm)?)?)?
        }
        Op::MatMul if slot == 0 => sum_to(&c.matmul(&swapped(input(1))?)?, dims)?,
        Op::MatMul => sum_to(&swapped(input(0))?.matmul(c)?, dims)?,
        Op::Power if slot == 0 => {
            let (a, b) = (input(0), input(1));
            let lower = kernels.forward(&Op::Power, &[a, &b.affine(1.0, -1.0)?], &[])?;
            let slope = c.mul(&lower.mul(b)?)?;
            // Where the exponent is 0 the power is constant, also at 0.
            sum_to(&select(kernels, b, &slope, &slope.zeros_like()?)?, dims)?
        }
        Op::Power => {
            let (a, b) = (input(0), input(1));
            let slope = c.mul(&kernels.forward(&Op::Power, &[a, b], &[])?.mul(&a.ln()?)?)?;
            sum_to(&select(kernels, a, &slope, &slope.zeros_like()?)?, dims)?
        }
        Op::Maximum | Op::Minimum => {
            let first = match op {
                Op::Maximum => Comparison::GreaterOrEqual,
                _ => Comparison::LessOrEqual,
            };
            let first = kernels.forward(&Op::Compare(first), &[input(0), input(1)], &[])?;
            let zero = c.zeros_like()?;
            let (a, b) = if slot == 0 { (c, &zero) } else { (&zero, c) };
            sum_to(&select(kernels, &first, a, b)?, dims)?
        }
        Op::Where if slot > 0 => {
            let zero = c.zeros_like()?;
            let (a, b) = if slot == 1 { (c, &zero) } else { (&zero, c) };
            sum_to(&select(kernels, input(0), a, b)?, dims)?
        }
        Op::Where | Op::Compare(_) => c.like(&ArrayD::zeros(dims))?,
        Op::Gather { axis, entries } => scatter(kernels, c, *axis, entries, dims[*axis])?,
        Op::Expand { .. } if slot > 0 => c.like(&ArrayD::zeros(dims))?,
        Op::Expand { .. } => sum_to(c, dims)?,
        Op::Embedding => {
            let hint =
                "whole numbers that stand for rows of a table have no derivative; ask at this layer's output";
            return Err(Error::NoDerivative { layer: String::new(), hint: hint.into() });
        }
        other => unreachable!("BUG: {} is not made of others", other.kind()),
    })
}

/// `a` where `condition` is not 0, else `b`.
fn select<K: Kernels>(kernels: &K, condition: &K::Tensor, a: &K::Tensor, b: &K::Tensor) -> Result<K::Tensor> {
    kernels.forward(&Op::Where, &[condition, a, b], &[])
}

fn power<K: Kernels>(kernels: &K, x: &K::Tensor, exponent: f64) -> Result<K::Tensor> {
    kernels.forward(&Op::Activation(Activation::Power { exponent }), &[x], &[])
}

/// Numbers with mean 0 and variance 1 over the axes from one on, and what they were divided by.
pub(crate) struct Normalized<T> {
    pub(crate) axes: Vec<usize>,
    pub(crate) value: T,
    pub(crate) deviation: T,
}

impl<T: Tensor> Normalized<T> {
    pub(crate) fn over(x: &T, axis: usize, epsilon: f64) -> Result<Self> {
        let axes: Vec<_> = (axis..x.dims().len()).collect();
        let centered = x.sub(&x.mean(&axes)?)?;
        let deviation = centered.square()?.mean(&axes)?.affine(1.0, epsilon)?.sqrt()?;
        Ok(Normalized { value: centered.div(&deviation)?, axes, deviation })
    }

    /// The cotangent of the numbers from that of the normalized ones: without its parts along the mean and along the
    /// value, which normalizing takes away.
    fn back(&self, c: &T) -> Result<T> {
        let along_value = self.value.mul(&c.mul(&self.value)?.mean(&self.axes)?)?;
        c.sub(&c.mean(&self.axes)?)?.sub(&along_value)?.div(&self.deviation)
    }
}

/// `[B, C, ...]` as `[B, groups, all numbers of a group]`.
pub(crate) fn in_groups<T: Tensor>(x: &T, groups: usize) -> Result<T> {
    let rows = x.rows();
    x.reshape(&[rows, groups, x.len() / (rows * groups).max(1)])
}

/// A number for each channel, in the shape that broadcasts to a value.
pub(crate) fn by_channel<T: Tensor>(numbers: &T, like: &T) -> Result<T> {
    let mut dims = vec![1; like.dims().len()];
    dims[1] = numbers.len();
    numbers.reshape(&dims)
}

/// How many channels before and behind are summed over.
fn reach(size: usize) -> (usize, usize) {
    ((size - 1) / 2, size - 1 - (size - 1) / 2)
}

/// `bias + alpha / size * sum of squares` around each channel.
fn local_base<T: Tensor>(op: &Op, x: &T) -> Result<T> {
    let &Op::LocalResponseNorm { size, alpha, bias, .. } = op else { unreachable!("BUG: another kind") };
    let (before, after) = reach(size);
    channel_sums(&x.square()?, before, after)?.affine(alpha / size as f64, bias)
}

/// For each channel the sum over so many channels before it, itself, and so many behind it.
fn channel_sums<T: Tensor>(x: &T, before: usize, after: usize) -> Result<T> {
    let channels = x.dims()[1];
    let mut sum = x.clone();
    for shift in 1..channels {
        let (low, high) = (x.narrow(1, 0, channels - shift)?, x.narrow(1, shift, channels - shift)?);
        let nothing = x.narrow(1, 0, shift)?.zeros_like()?;
        if shift <= before {
            sum = sum.add(&T::concat(&[nothing.clone(), low], 1)?)?;
        }
        if shift <= after {
            sum = sum.add(&T::concat(&[high, nothing], 1)?)?;
        }
        if shift >= before.max(after) {
            break;
        }
    }
    Ok(sum)
}

/// The lengths of what is left when axes are reduced.
fn reduced(dims: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let axis = dims.iter().enumerate().filter(|(i, _)| keep || !axes.contains(i));
    axis.map(|(i, &len)| if axes.contains(&i) { 1 } else { len }).collect()
}

/// A value turned so that the axes to reduce are one last axis.
struct Lanes {
    order: Vec<usize>,
    dims: Vec<usize>,
    last: usize,
}

impl Lanes {
    fn of(dims: &[usize], axes: &[usize]) -> Self {
        let kept: Vec<_> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
        let len = axes.iter().map(|&axis| dims[axis]).product();
        let lens = kept.iter().map(|&axis| dims[axis]).chain([len]).collect();
        Lanes { order: [&kept[..], axes].concat(), dims: lens, last: kept.len() }
    }

    fn turned<T: Tensor>(&self, x: &T) -> Result<T> {
        x.permute(&self.order)?.reshape(&self.dims)
    }

    /// The cotangent of the largest numbers, at the first of these, zero elsewhere.
    fn to_largest<K: Kernels>(&self, kernels: &K, x: &K::Tensor, c: &K::Tensor) -> Result<K::Tensor> {
        let turned = self.turned(x)?;
        let mut ones = vec![1; self.dims.len()];
        let first = turned.argmax(self.last)?;
        ones[self.last] = self.dims[self.last];
        let places = (0..self.dims[self.last]).map(|place| place as f64).collect();
        let places = ArrayD::from_shape_vec(IxDyn(&ones), places).expect("BUG: as many places as entries");
        let here = x.like(&places)?.eq(&first)?;
        let c = c.reshape(&first.dims())?.broadcast_to(&self.dims)?;
        let below = select(kernels, &here, &c, &c.zeros_like()?)?;
        let lens: Vec<_> = self.order.iter().map(|&axis| x.dims()[axis]).collect();
        let mut back = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(new, &old)| back[old] = new);
        below.reshape(&lens)?.permute(&back)
    }
}

/// How much each query attends to each key.
fn attention_weights<K: Kernels>(kernels: &K, inputs: &[&K::Tensor], scale: f64) -> Result<K::Tensor> {
    let mut scores = inputs[0].scale(scale)?.matmul(&swapped(inputs[1])?)?;
    if let Some(mask) = inputs.get(3) {
        scores = scores.add(mask)?;
    }
    kernels.forward(&Op::Softmax { axis: scores.dims().len() - 1 }, &[&scores], &[])
}

/// The cotangents of the queries, keys, values and mask.
fn attention_back<K: Kernels>(
    kernels: &K,
    scale: f64,
    call: &Vjp<'_, K::Tensor>,
) -> Result<Vec<Option<K::Tensor>>> {
    let kept = call.inputs.iter().map(|input| input.expect("BUG: an input was not kept for the way back"));
    let inputs: Vec<_> = kept.collect();
    let weights = attention_weights(kernels, &inputs, scale)?;
    let scores = if call.wanted.iter().enumerate().any(|(slot, &wanted)| wanted && slot != 2) {
        let through_softmax = Vjp {
            inputs: &[None],
            input_dims: &[weights.dims()],
            output: Some(&weights),
            params: &[],
            cotangent: &call.cotangent.matmul(&swapped(inputs[2])?)?,
            wanted: &[true],
        };
        kernels.vjp(&Op::Softmax { axis: weights.dims().len() - 1 }, through_softmax)?.pop().flatten()
    } else {
        None
    };
    let scores = || scores.as_ref().expect("BUG: a softmax without a cotangent");
    let back = |slot: usize| {
        let cotangent = match slot {
            0 => scores().matmul(inputs[1])?.scale(scale)?,
            1 => swapped(scores())?.matmul(inputs[0])?.scale(scale)?,
            2 => swapped(&weights)?.matmul(call.cotangent)?,
            _ => sum_to(scores(), &call.input_dims[slot])?,
        };
        Ok(cotangent)
    };
    (0..inputs.len()).map(|slot| call.wanted[slot].then(|| back(slot)).transpose()).collect()
}

/// The lengths of an expanded value.
fn expanded<T: Tensor>(shape: &Shape, inputs: &[&T]) -> Vec<usize> {
    let dims = inputs[0].dims();
    let own = |axis: usize| (axis + dims.len()).checked_sub(shape.rank()).map_or(1, |axis| dims[axis]);
    let len = |(axis, dim): (usize, &Dim)| match (*dim, inputs.get(1)) {
        (Dim::Fixed(len), _) => len,
        (Dim::Batch(each), Some(like)) => each * like.rows(),
        (Dim::Batch(_), None) => own(axis),
    };
    shape.0.iter().enumerate().map(len).collect()
}

/// Each cotangent added up at the entry that its own one was taken from.
fn scatter<K: Kernels>(
    kernels: &K,
    c: &K::Tensor,
    axis: usize,
    entries: &[usize],
    len: usize,
) -> Result<K::Tensor> {
    if len == 1 {
        return c.sum(&[axis]);
    }
    let mut places = vec![Vec::new(); len];
    entries.iter().enumerate().for_each(|(new, &old)| places[old].push(new));
    // One entry of zeros behind the others, for those that nothing more was taken from.
    let nothing = c.narrow(axis, 0, 1)?.zeros_like()?;
    let with_nothing = Tensor::concat(&[c.clone(), nothing], axis)?;
    let most = places.iter().map(Vec::len).max().unwrap_or(0);
    let mut sum: Option<K::Tensor> = None;
    for round in 0..most {
        let entries =
            places.iter().map(|places| places.get(round).copied().unwrap_or(entries.len())).collect();
        let term = kernels.forward(&Op::Gather { axis, entries }, &[&with_nothing], &[])?;
        crate::walk::add_into(&mut sum, term)?;
    }
    Ok(sum.expect("BUG: nothing was gathered"))
}

/// A cotangent summed over the axes along which an input of these lengths was repeated.
fn sum_to<T: Tensor>(c: &T, dims: &[usize]) -> Result<T> {
    let found = c.dims();
    let missing = found.len() - dims.len();
    let repeated: Vec<_> = (0..found.len())
        .filter(|&axis| axis < missing || (dims[axis - missing] == 1 && found[axis] != 1))
        .collect();
    c.sum(&repeated)?.reshape(dims)
}
