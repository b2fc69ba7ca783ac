//! The shape of a layer's output from the shapes of its inputs, checked.

use crate::op::{Conv, ConvTranspose, Op, Pool};
use crate::{Dim, Shape};

/// The output's shape, or what is wrong with the inputs or parameters, in words.
pub(crate) fn infer(op: &Op, inputs: &[&Shape], params: &[Vec<usize>]) -> Result<Shape, String> {
    let (least, most) = arity(op);
    if inputs.len() < least || inputs.len() > most {
        return Err(format!("expected {least} to {most} inputs, found {}", inputs.len()));
    }
    let (least, most) = parameters(op);
    if params.len() < least || params.len() > most {
        return Err(format!("expected {least} to {most} parameters, found {}", params.len()));
    }
    match op {
        Op::Input => Err("an input is added with `input`".into()),
        Op::Constant => Ok(Shape::fixed(&params[0])),
        Op::Identity | Op::Activation(_) => Ok(inputs[0].clone()),
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            own_axis(inputs[0], *axis)?;
            Ok(inputs[0].clone())
        }
        Op::Conv(conv) => convolution(conv, inputs[0], params),
        Op::ConvTranspose(transpose) => transposed_convolution(transpose, inputs[0], params),
        Op::Linear => linear(inputs[0], params),
        Op::BatchNorm { .. } => {
            let channels = fixed(inputs[0], 1)?;
            for param in params {
                expect_dims("parameter", param, &[channels])?;
            }
            Ok(inputs[0].clone())
        }
        Op::MaxPool(pool) | Op::AveragePool { pool, .. } => pooling(pool, inputs[0]),
        Op::LayerNorm { axis, .. } => {
            let rank = inputs[0].rank();
            if *axis >= rank {
                return Err(format!("expected an axis of {}, found {axis}", inputs[0]));
            }
            let normalized =
                (*axis..rank).map(|axis| fixed(inputs[0], axis)).collect::<Result<Vec<_>, _>>()?;
            for param in params {
                expect_dims("parameter", param, &normalized)?;
            }
            Ok(inputs[0].clone())
        }
        Op::GroupNorm { groups, .. } => {
            let channels = spatial(inputs[0], inputs[0].rank().saturating_sub(2)).and(fixed(inputs[0], 1))?;
            if *groups == 0 || !channels.is_multiple_of(*groups) {
                return Err(format!("expected groups that divide {channels} channels, found {groups}"));
            }
            for param in params {
                expect_dims("parameter", param, &[channels])?;
            }
            Ok(inputs[0].clone())
        }
        Op::LocalResponseNorm { size, .. } => {
            own_axis(inputs[0], 1)?;
            match size {
                0 => Err("expected a size of at least 1, found 0".into()),
                _ => Ok(inputs[0].clone()),
            }
        }
        Op::PRelu => match broadcast(inputs[0], &Shape::fixed(&params[0]))? {
            shape if shape == *inputs[0] => Ok(shape),
            _ => Err(format!("expected a slope that broadcasts to {}, found {:?}", inputs[0], params[0])),
        },
        Op::Mean { axes, keep }
        | Op::Sum { axes, keep }
        | Op::Max { axes, keep }
        | Op::Min { axes, keep }
        | Op::Norm { axes, keep } => {
            for &axis in axes {
                own_axis(inputs[0], axis)?;
            }
            if !axes.is_sorted_by(|a, b| a < b) {
                return Err(format!("expected ascending axes, found {axes:?}"));
            }
            let dims = inputs[0].0.iter().enumerate().filter_map(|(i, &dim)| match axes.contains(&i) {
                true => keep.then_some(Dim::Fixed(1)),
                false => Some(dim),
            });
            Ok(Shape(dims.collect()))
        }
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Power => broadcast(inputs[0], inputs[1]),
        Op::Maximum | Op::Minimum | Op::Compare(_) => broadcast(inputs[0], inputs[1]),
        Op::Where => broadcast(inputs[0], &broadcast(inputs[1], inputs[2])?),
        Op::MatMul => matrix_product(inputs[0], inputs[1]),
        Op::Attention { .. } => attention(inputs),
        Op::Embedding => {
            let [_, width] = params[0][..] else {
                return Err(format!("table: expected rank 2, found {:?}", params[0]));
            };
            Ok(Shape(inputs[0].0.iter().copied().chain([Dim::Fixed(width)]).collect()))
        }
        Op::Gather { axis, entries } => {
            let old = fixed(inputs[0], *axis)?;
            if let Some(beyond) = entries.iter().find(|&&entry| entry >= old) {
                return Err(format!("expected entries below {old}, found {beyond}"));
            }
            let mut shape = inputs[0].clone();
            shape.0[*axis] = Dim::Fixed(entries.len());
            Ok(shape)
        }
        Op::Expand { shape } => expand(inputs, shape),
        Op::Concat { axis } => concat(*axis, inputs),
        Op::Reshape { shape } => reshape(inputs[0], shape),
        Op::Transpose { axes } => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if sorted != (0..inputs[0].rank()).collect::<Vec<_>>() {
                return Err(format!("expected a permutation of {} axes, found {axes:?}", inputs[0].rank()));
            }
            Ok(Shape(axes.iter().map(|&axis| inputs[0].0[axis]).collect()))
        }
        Op::Slice { axis, start, len } => {
            let old = fixed(inputs[0], *axis)?;
            if *len == 0 || start.checked_add(*len).is_none_or(|end| end > old) {
                return Err(format!("expected a part of 0..{old}, found {len} entries from {start} on"));
            }
            let mut shape = inputs[0].clone();
            shape.0[*axis] = Dim::Fixed(*len);
            Ok(shape)
        }
        Op::Pad { padding, .. } => {
            if padding.len() != inputs[0].rank() {
                return Err(format!(
                    "expected padding for {} axes, found {}",
                    inputs[0].rank(),
                    padding.len()
                ));
            }
            let dims = inputs[0].0.iter().zip(padding).enumerate().map(|(axis, (&dim, &(before, after)))| {
                match (dim, before, after) {
                    (dim, 0, 0) => Ok(dim),
                    (Dim::Fixed(n), ..) => Ok(Dim::Fixed(
                        n.checked_add(before)
                            .and_then(|n| n.checked_add(after))
                            .ok_or("padding is too large")?,
                    )),
                    (Dim::Batch(_), ..) => Err(format!("the batch (axis {axis}) can't be padded")),
                }
            });
            Ok(Shape(dims.collect::<Result<_, String>>()?))
        }
        Op::Resize(resize) => {
            let spatial = spatial(inputs[0], resize.size.len())?;
            if resize.scale.len() != spatial.len()
                || resize.scale.iter().any(|s| !(s.is_finite() && *s > 0.0))
            {
                return Err(format!("expected {} positive scales, found {:?}", spatial.len(), resize.scale));
            }
            if resize.size.contains(&0) {
                return Err(format!("expected a size of at least 1, found {:?}", resize.size));
            }
            Ok(with_spatial(inputs[0].0[1], inputs[0], &resize.size))
        }
    }
}

fn arity(op: &Op) -> (usize, usize) {
    match op {
        Op::Input | Op::Constant => (0, 0),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Power => (2, 2),
        Op::Maximum | Op::Minimum | Op::Compare(_) | Op::MatMul => (2, 2),
        Op::Where => (3, 3),
        Op::Attention { .. } => (3, 4),
        Op::Expand { .. } => (1, 2),
        Op::Concat { .. } => (1, usize::MAX),
        _ => (1, 1),
    }
}

fn parameters(op: &Op) -> (usize, usize) {
    match op {
        Op::Constant | Op::PRelu | Op::Embedding => (1, 1),
        Op::LayerNorm { .. } | Op::GroupNorm { .. } => (2, 2),
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Linear => (1, 2),
        Op::BatchNorm { .. } => (4, 4),
        _ => (0, 0),
    }
}

fn own_axis(shape: &Shape, axis: usize) -> Result<(), String> {
    fixed(shape, axis).map(|_| ())
}

fn fixed(shape: &Shape, axis: usize) -> Result<usize, String> {
    match shape.0.get(axis) {
        Some(Dim::Fixed(n)) => Ok(*n),
        Some(Dim::Batch(_)) => Err(format!("axis {axis} of {shape} is the batch and can't be worked along")),
        None => Err(format!("expected more than {axis} axes, found {shape}")),
    }
}

fn expect_dims(what: &str, found: &[usize], expected: &[usize]) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}

/// The lengths of the `axes` spatial axes behind batch and channel.
fn spatial(shape: &Shape, axes: usize) -> Result<Vec<usize>, String> {
    let first = shape.is_batch_first() || shape.batch_axis().is_none();
    if shape.rank() != axes + 2 || !first {
        return Err(format!("expected [B, C] and {axes} spatial axes, found {shape}"));
    }
    (2..shape.rank()).map(|axis| fixed(shape, axis)).collect()
}

fn with_spatial(channels: Dim, like: &Shape, spatial: &[usize]) -> Shape {
    Shape([like.0[0], channels].into_iter().chain(spatial.iter().map(|&n| Dim::Fixed(n))).collect())
}

/// The number of windows along one axis.
pub(crate) fn windows(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: (usize, usize),
    dilation: usize,
    ceil: bool,
) -> Result<usize, String> {
    at_least_one(kernel, stride, dilation)?;
    let too_large = || "kernel or padding is too large".to_string();
    let extent = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1)).ok_or_else(too_large)?;
    let padded = size.checked_add(padding.0).and_then(|n| n.checked_add(padding.1)).ok_or_else(too_large)?;
    let free = padded
        .checked_sub(extent)
        .ok_or_else(|| format!("a window of {extent} does not fit into {padded} (padding included)"))?;
    let mut count = if ceil { free.div_ceil(stride) } else { free / stride } + 1;
    // A window that would start in the padding behind the value is left out, as all frameworks do.
    if ceil && (count - 1).saturating_mul(stride) >= size.saturating_add(padding.0) {
        count -= 1;
    }
    Ok(count)
}

/// The number of entries that a transposed convolution gives along one axis.
pub(crate) fn entries(
    transpose: &ConvTranspose,
    axis: usize,
    size: usize,
    kernel: usize,
) -> Result<usize, String> {
    let ConvTranspose { conv, output_padding } = transpose;
    let (stride, dilation, beyond) = (conv.stride[axis], conv.dilation[axis], output_padding[axis]);
    at_least_one(kernel, stride, dilation)?;
    if beyond >= stride.max(dilation) {
        return Err(format!(
            "expected output padding below stride {stride} or dilation {dilation}, found {beyond}"
        ));
    }
    let last = size.checked_sub(1).and_then(|n| n.checked_mul(stride));
    let extent = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
    let reached = last.zip(extent).and_then(|(last, extent)| last.checked_add(extent)?.checked_add(beyond));
    let reached = reached.ok_or("kernel or stride is too large")?;
    let padding = conv.padding[axis];
    match reached.checked_sub(padding.0).and_then(|n| n.checked_sub(padding.1)) {
        None | Some(0) => Err(format!("padding {padding:?} leaves nothing of {reached} entries")),
        Some(left) => Ok(left),
    }
}

fn at_least_one(kernel: usize, stride: usize, dilation: usize) -> Result<(), String> {
    match [kernel, stride, dilation].contains(&0) {
        true => Err("expected kernel, stride and dilation of at least 1".into()),
        false => Ok(()),
    }
}

fn check_spatial(what: &str, axes: usize, lens: &[usize]) -> Result<(), String> {
    match lens.iter().all(|&len| len == axes) {
        true => Ok(()),
        false => Err(format!("{what}: expected attributes for {axes} spatial axes, found {lens:?}")),
    }
}

fn convolution(conv: &Conv, input: &Shape, params: &[Vec<usize>]) -> Result<Shape, String> {
    let weight = &params[0];
    let axes = kernel_axes(weight)?;
    check_spatial("convolution", axes, &[conv.stride.len(), conv.padding.len(), conv.dilation.len()])?;
    let sizes = spatial(input, axes)?;
    let channels = fixed(input, 1)?;
    if conv.groups == 0 || !channels.is_multiple_of(conv.groups) || !weight[0].is_multiple_of(conv.groups) {
        return Err(format!(
            "expected groups that divide {channels} and {} channels, found {}",
            weight[0], conv.groups
        ));
    }
    if weight[1] != channels / conv.groups {
        return Err(format!(
            "weight {weight:?}: expected {} input channels a group, found {}",
            channels / conv.groups,
            weight[1]
        ));
    }
    if let Some(bias) = params.get(1) {
        expect_dims("bias", bias, &[weight[0]])?;
    }
    let out = (0..axes)
        .map(|i| windows(sizes[i], weight[i + 2], conv.stride[i], conv.padding[i], conv.dilation[i], false))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(with_spatial(Dim::Fixed(weight[0]), input, &out))
}

fn transposed_convolution(
    transpose: &ConvTranspose,
    input: &Shape,
    params: &[Vec<usize>],
) -> Result<Shape, String> {
    let (ConvTranspose { conv, output_padding }, weight) = (transpose, &params[0]);
    let axes = kernel_axes(weight)?;
    let lens = [conv.stride.len(), conv.padding.len(), conv.dilation.len(), output_padding.len()];
    check_spatial(&format!("weight {weight:?}"), axes, &lens)?;
    let sizes = spatial(input, axes)?;
    let channels = fixed(input, 1)?;
    if conv.groups == 0 || !channels.is_multiple_of(conv.groups) {
        return Err(format!("expected groups that divide {channels} channels, found {}", conv.groups));
    }
    if weight[0] != channels {
        return Err(format!("weight {weight:?}: expected {channels} input channels, found {}", weight[0]));
    }
    let out_channels = weight[1].checked_mul(conv.groups).ok_or("too many channels")?;
    if let Some(bias) = params.get(1) {
        expect_dims("bias", bias, &[out_channels])?;
    }
    let out =
        (0..axes).map(|i| entries(transpose, i, sizes[i], weight[i + 2])).collect::<Result<Vec<_>, _>>()?;
    Ok(with_spatial(Dim::Fixed(out_channels), input, &out))
}

/// How many spatial axes the weight of a convolution has.
fn kernel_axes(weight: &[usize]) -> Result<usize, String> {
    weight.len().checked_sub(2).ok_or_else(|| format!("weight: expected rank 3 or more, found {weight:?}"))
}

fn pooling(pool: &Pool, input: &Shape) -> Result<Shape, String> {
    let axes = pool.kernel.len();
    check_spatial("pooling", axes, &[pool.stride.len(), pool.padding.len(), pool.dilation.len()])?;
    let sizes = spatial(input, axes)?;
    let out = (0..axes)
        .map(|i| {
            let extent = (pool.kernel[i].max(1) - 1).saturating_mul(pool.dilation[i]).saturating_add(1);
            if pool.padding[i].0 >= extent || pool.padding[i].1 >= extent {
                return Err(format!("padding {:?} is as large as the window", pool.padding[i]));
            }
            // Otherwise every window holds an entry: its first one at or behind the value's beginning.
            if pool.padding[i] != (0, 0) && sizes[i] < pool.dilation[i] {
                return Err(format!(
                    "a window of dilation {} may lie wholly in the padding",
                    pool.dilation[i]
                ));
            }
            windows(sizes[i], pool.kernel[i], pool.stride[i], pool.padding[i], pool.dilation[i], pool.ceil)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(with_spatial(input.0[1], input, &out))
}

fn linear(input: &Shape, params: &[Vec<usize>]) -> Result<Shape, String> {
    let [out, inner] = params[0][..] else {
        return Err(format!("weight: expected rank 2, found {:?}", params[0]));
    };
    let last = input.rank().checked_sub(1).ok_or("expected an axis, found a single number")?;
    if fixed(input, last)? != inner {
        return Err(format!("weight {:?}: expected a last axis of {inner}, found {input}", params[0]));
    }
    if let Some(bias) = params.get(1) {
        expect_dims("bias", bias, &[out])?;
    }
    let mut shape = input.clone();
    shape.0[last] = Dim::Fixed(out);
    Ok(shape)
}

fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let rank = a.rank().max(b.rank());
    let at = |shape: &Shape, axis: usize| {
        (axis + shape.rank()).checked_sub(rank).map_or(Dim::Fixed(1), |axis| shape.0[axis])
    };
    let dims = (0..rank).map(|axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y => Ok(x),
        (x, Dim::Fixed(1)) => Ok(x),
        (Dim::Fixed(1), y) => Ok(y),
        _ => Err(format!("{a} and {b} don't broadcast")),
    });
    let shape = Shape(dims.collect::<Result<_, _>>()?);
    match shape.0.iter().filter(|d| matches!(d, Dim::Batch(_))).count() {
        0 | 1 => Ok(shape),
        _ => Err(format!("{a} and {b} have their batches on different axes")),
    }
}

fn matrix_product(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let (Some((a_front, [rows, inner])), Some((b_front, [other, columns]))) =
        (a.0.split_last_chunk::<2>(), b.0.split_last_chunk::<2>())
    else {
        return Err(format!("expected two axes or more each, found {a} and {b}"));
    };
    match (inner, other) {
        (Dim::Fixed(n), Dim::Fixed(m)) if n == m => {}
        _ => return Err(format!("expected [..., n] and [n, ...], found {a} and {b}")),
    }
    let mut dims = broadcast(&Shape(a_front.into()), &Shape(b_front.into()))?.0;
    dims.extend([*rows, *columns]);
    one_batch(Shape(dims)).ok_or_else(|| format!("{a} and {b} have their batches on different axes"))
}

/// A shape with at most one axis that grows with the batch.
fn one_batch(shape: Shape) -> Option<Shape> {
    let batches = shape.0.iter().filter(|dim| matches!(dim, Dim::Batch(_))).count();
    (batches <= 1).then_some(shape)
}

fn attention(inputs: &[&Shape]) -> Result<Shape, String> {
    let (q, k, v) = (inputs[0], inputs[1], inputs[2]);
    let rank = q.rank();
    if rank < 2 || k.rank() != rank || v.rank() != rank {
        return Err(format!("expected queries, keys and values of the same rank, found {q}, {k} and {v}"));
    }
    let front = &q.0[..rank - 2];
    let (queries, keys) = (q.0[rank - 2], k.0[rank - 2]);
    let width = fixed(q, rank - 1)?;
    let fit = k.0[..rank - 2] == *front
        && v.0[..rank - 2] == *front
        && v.0[rank - 2] == keys
        && fixed(k, rank - 1)? == width;
    if !fit {
        return Err(format!("expected [..., T, D], [..., S, D] and [..., S, E], found {q}, {k} and {v}"));
    }
    own_axis(k, rank - 2)?;
    own_axis(v, rank - 1)?;
    let with = |last: Dim| Shape(front.iter().copied().chain([queries, last]).collect());
    if let Some(mask) = inputs.get(3) {
        let weights = with(keys);
        if broadcast(mask, &weights)? != weights {
            return Err(format!("mask: expected a shape that broadcasts to {weights}, found {mask}"));
        }
    }
    Ok(with(v.0[rank - 1]))
}

fn expand(inputs: &[&Shape], shape: &Shape) -> Result<Shape, String> {
    let (x, fits) = (inputs[0], broadcast(inputs[0], shape));
    if fits.as_ref() != Ok(shape) || one_batch(shape.clone()).is_none() {
        return Err(format!("{x} can't be expanded to {shape}"));
    }
    let rows_known = x.batch_axis().is_some() || inputs.get(1).is_some_and(|like| like.is_batch_first());
    match shape.batch_axis() {
        Some(_) if !rows_known => {
            Err(format!("{x} to {shape}: expected a second input that has its batch first"))
        }
        _ => Ok(shape.clone()),
    }
}

fn concat(axis: usize, inputs: &[&Shape]) -> Result<Shape, String> {
    let mut shape = inputs[0].clone();
    let mut total = 0usize;
    for input in inputs {
        total = total.checked_add(fixed(input, axis)?).ok_or("too long")?;
        let same =
            input.rank() == shape.rank() && (0..input.rank()).all(|i| i == axis || input.0[i] == shape.0[i]);
        if !same {
            return Err(format!("expected shapes alike but for axis {axis}, found {shape} and {input}"));
        }
    }
    shape.0[axis] = Dim::Fixed(total);
    Ok(shape)
}

fn reshape(input: &Shape, shape: &Shape) -> Result<Shape, String> {
    let same_batch = input.batch_axis().is_some() == shape.batch_axis().is_some();
    if !same_batch || input.row_len() != shape.row_len() {
        return Err(format!("{input} can't be reshaped to {shape}"));
    }
    Ok(shape.clone())
}
