//! Convolution, transposed or not, and pooling.

use attr_core::{Conv, ConvTranspose, Dim, NodeId, Op, ParamId, Pool};

use crate::import::{Context, Form};
use crate::node::{Fault, Node, Values, broken, count, unsupported};

pub(super) fn conv(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let (weight, kernel) = weight(g, n)?;
    let windows = windows(g, n, x, &kernel)?;
    let params = g.with_param(vec![weight], n, 2, Form::Plain)?;
    let Windows { stride, padding, dilation } = windows;
    let groups = count(n.int("group", 1)?)?;
    g.add(n, Op::Conv(Conv { stride, padding, dilation, groups }), &[x], &params)
}

pub(super) fn conv_transpose(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let (weight, kernel) = weight(g, n)?;
    let axes = kernel.len();
    let (stride, dilation) = steps(n, axes)?;
    let sizes = spatial(g, x, axes)?;
    let conv = Conv { stride, padding: vec![(0, 0); axes], dilation, groups: count(n.int("group", 1)?)? };
    let mut op = ConvTranspose { conv, output_padding: each(n, "output_padding", axes, 0)? };
    let lengths = n.ints("output_shape").map(|_| each(n, "output_shape", axes, 0)).transpose()?;
    if let Some(lengths) = &lengths {
        // A length that several inputs of the convolution have may be beyond what is reached without output padding.
        for (i, &length) in lengths.iter().enumerate() {
            let most = op.conv.stride[i].max(op.conv.dilation[i]).saturating_sub(1);
            let missing = length.saturating_sub(op.entries(i, sizes[i], kernel[i]));
            if op.output_padding[i] == 0 && missing == 1 && missing <= most {
                op.output_padding[i] = missing;
            }
        }
    }
    op.conv.padding = match (padding(n, axes)?, lengths) {
        (Padding::Given(padding), None) => padding,
        (Padding::Given(_), Some(lengths)) => cut_to(n, &op, &sizes, &kernel, &lengths, false)?,
        (Padding::Same { upper }, lengths) => {
            let strided = || (0..axes).map(|i| sizes[i].saturating_mul(op.conv.stride[i])).collect();
            cut_to(n, &op, &sizes, &kernel, &lengths.unwrap_or_else(strided), upper)?
        }
    };
    let params = g.with_param(vec![weight], n, 2, Form::Plain)?;
    g.add(n, Op::ConvTranspose(op), &[x], &params)
}

/// The padding that leaves so many entries of what a transposed convolution without any gives.
fn cut_to(
    n: &Node,
    op: &ConvTranspose,
    sizes: &[usize],
    kernel: &[usize],
    lengths: &[usize],
    upper: bool,
) -> Result<Vec<(usize, usize)>, Fault> {
    let total = |i: usize| match op.entries(i, sizes[i], kernel[i]) {
        // What is wrong is said where the layer is added.
        0 => Some(0),
        reached => reached.checked_sub(lengths[i]),
    };
    let Some(totals) = (0..sizes.len()).map(total).collect::<Option<Vec<_>>>() else {
        return unsupported(format!("to {lengths:?} entries, more than it reaches"));
    };
    // Older operator sets contradict themselves about the end that the odd one goes to.
    if n.opset < 11 && totals.iter().any(|total| total % 2 == 1) {
        return unsupported(format!("of operator set {} with an odd padding to be found", n.opset));
    }
    Ok(totals.into_iter().map(|total| halves(total, upper)).collect())
}

pub(super) fn max_pool(g: &mut Context, n: &Node) -> Values {
    // The order in which the second output, of which there is no word here, counts.
    n.attribute("storage_order");
    let (x, pool) = pool(g, n)?;
    let op = if moves_nothing(&pool) { Op::Identity } else { Op::MaxPool(pool) };
    g.add(n, op, &[x], &[])
}

pub(super) fn average_pool(g: &mut Context, n: &Node) -> Values {
    let (x, pool) = pool(g, n)?;
    let count_include_pad = n.flag("count_include_pad", false)?;
    let op = if moves_nothing(&pool) { Op::Identity } else { Op::AveragePool { pool, count_include_pad } };
    g.add(n, op, &[x], &[])
}

pub(super) fn global_average_pool(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let axes = (2..g.shape(x).rank()).collect();
    g.add(n, Op::Mean { axes, keep: true }, &[x], &[])
}

pub(super) fn global_max_pool(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let kernel = spatial(g, x, g.shape(x).rank().saturating_sub(2))?;
    let axes = kernel.len();
    let pool = Pool {
        kernel,
        stride: vec![1; axes],
        padding: vec![(0, 0); axes],
        dilation: vec![1; axes],
        ceil: false,
    };
    g.add(n, Op::MaxPool(pool), &[x], &[])
}

/// Whether each window is the number at its place, as where a network of adaptive pooling is exported for a small picture: a
/// layer that has no rules of its own then.
fn moves_nothing(pool: &Pool) -> bool {
    pool.kernel.iter().chain(&pool.stride).all(|&n| n == 1) && pool.padding.iter().all(|&pad| pad == (0, 0))
}

fn pool(g: &mut Context, n: &Node) -> Result<(NodeId, Pool), Fault> {
    let x = g.layer(n, 0)?;
    let kernel = counts(n.ints("kernel_shape").unwrap_or_default())?;
    let ceil = n.flag("ceil_mode", false)?;
    let Windows { stride, padding, dilation } = windows(g, n, x, &kernel)?;
    Ok((x, Pool { kernel, stride, padding, dilation, ceil }))
}

/// A convolution's weight and the lengths of its kernel.
fn weight(g: &mut Context, n: &Node) -> Result<(ParamId, Vec<usize>), Fault> {
    let weight = g.param(n, 1, Form::Plain)?;
    let Some(kernel) = g.dims(weight).get(2..).map(<[usize]>::to_vec) else {
        return broken(format!("weight: expected rank 3 to 5, found {:?}", g.dims(weight)));
    };
    if let Some(said) = n.ints("kernel_shape")
        && counts(said)? != kernel
    {
        return broken(format!("expected a kernel of {said:?}, found weight {:?}", g.dims(weight)));
    }
    Ok((weight, kernel))
}

/// What convolution and pooling have in common.
struct Windows {
    stride: Vec<usize>,
    padding: Vec<(usize, usize)>,
    dilation: Vec<usize>,
}

fn windows(g: &Context, n: &Node, x: NodeId, kernel: &[usize]) -> Result<Windows, Fault> {
    let axes = kernel.len();
    let (stride, dilation) = steps(n, axes)?;
    let padding = match padding(n, axes)? {
        Padding::Given(padding) => padding,
        Padding::Same { upper } => {
            if stride.contains(&0) || kernel.contains(&0) {
                return broken("expected kernel and stride of at least 1");
            }
            let sizes = spatial(g, x, axes)?;
            let total = |i: usize| same_padding(sizes[i], kernel[i], stride[i], dilation[i]);
            (0..axes).map(|i| halves(total(i), upper)).collect()
        }
    };
    Ok(Windows { stride, padding, dilation })
}

/// Strides and dilations along so many axes.
fn steps(n: &Node, axes: usize) -> Result<(Vec<usize>, Vec<usize>), Fault> {
    if !(1..=3).contains(&axes) {
        return unsupported(format!("with {axes} spatial axes"));
    }
    Ok((each(n, "strides", axes, 1)?, each(n, "dilations", axes, 1)?))
}

/// An attribute of so many numbers.
fn each(n: &Node, name: &'static str, len: usize, default: usize) -> Result<Vec<usize>, Fault> {
    match n.ints(name) {
        None => Ok(vec![default; len]),
        Some(list) if list.len() == len => counts(list),
        Some(list) => broken(format!("attribute {name}: expected {len} numbers, found {list:?}")),
    }
}

/// What a file says about padding.
enum Padding {
    /// Before and after each axis.
    Given(Vec<(usize, usize)>),
    /// Such that the stride alone changes an axis's length; where it is odd, `upper` has the larger part after.
    Same { upper: bool },
}

fn padding(n: &Node, axes: usize) -> Result<Padding, Fault> {
    if n.ints("pads").is_some_and(|pads| pads.iter().any(|&pad| pad < 0)) {
        return unsupported("with negative pads");
    }
    let pads = each(n, "pads", 2 * axes, 0)?;
    match n.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => Ok(Padding::Given((0..axes).map(|i| (pads[i], pads[i + axes])).collect())),
        "VALID" => Ok(Padding::Given(vec![(0, 0); axes])),
        "SAME_UPPER" => Ok(Padding::Same { upper: true }),
        "SAME_LOWER" => Ok(Padding::Same { upper: false }),
        other => unsupported(format!("with attribute auto_pad={other}")),
    }
}

/// Padding with which there is one window for each `stride` entries.
fn same_padding(size: usize, kernel: usize, stride: usize, dilation: usize) -> usize {
    let extent = (kernel - 1).saturating_mul(dilation).saturating_add(1);
    let last = (size.div_ceil(stride).max(1) - 1).saturating_mul(stride);
    last.saturating_add(extent).saturating_sub(size)
}

/// Padding before and after an axis; where it is odd, the larger part is after, or else before.
fn halves(total: usize, upper: bool) -> (usize, usize) {
    let smaller = total / 2;
    if upper { (smaller, total - smaller) } else { (total - smaller, smaller) }
}

/// The lengths of the axes behind batch and channel, so many.
fn spatial(g: &Context, x: NodeId, axes: usize) -> Result<Vec<usize>, Fault> {
    let shape = g.shape(x);
    let sizes = shape.0.iter().skip(2).map(|dim| match dim {
        Dim::Fixed(n) => Some(*n),
        Dim::Batch(_) => None,
    });
    match sizes.collect::<Option<Vec<_>>>() {
        Some(sizes) if sizes.len() == axes => Ok(sizes),
        _ => broken(format!("expected [B, C] and {axes} spatial axes, found {shape}")),
    }
}

fn counts(list: &[i64]) -> Result<Vec<usize>, Fault> {
    list.iter().map(|&n| count(n)).collect()
}
