//! Convolution and pooling.

use attr_core::{Conv, Dim, NodeId, Op, Pool};

use crate::import::{Context, Form};
use crate::node::{Fault, Node, Values, broken, count, unsupported};

pub(super) fn conv(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let weight = g.param(n, 1, Form::Plain)?;
    let Some(kernel) = g.dims(weight).get(2..).map(<[usize]>::to_vec) else {
        return broken(format!("weight: expected rank 3 or 4, found {:?}", g.dims(weight)));
    };
    if let Some(said) = n.ints("kernel_shape")
        && counts(said)? != kernel
    {
        return broken(format!("expected a kernel of {said:?}, found weight {:?}", g.dims(weight)));
    }
    let windows = windows(g, n, x, &kernel)?;
    let params = g.with_param(vec![weight], n, 2, Form::Plain)?;
    let Windows { stride, padding, dilation } = windows;
    let groups = count(n.int("group", 1)?)?;
    g.add(n, Op::Conv(Conv { stride, padding, dilation, groups }), &[x], &params)
}

pub(super) fn max_pool(g: &mut Context, n: &Node) -> Values {
    // The order in which the second output, of which there is no word here, counts.
    n.attribute("storage_order");
    let (x, pool) = pool(g, n)?;
    g.add(n, Op::MaxPool(pool), &[x], &[])
}

pub(super) fn average_pool(g: &mut Context, n: &Node) -> Values {
    let (x, pool) = pool(g, n)?;
    let count_include_pad = n.flag("count_include_pad", false)?;
    g.add(n, Op::AveragePool { pool, count_include_pad }, &[x], &[])
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

fn pool(g: &mut Context, n: &Node) -> Result<(NodeId, Pool), Fault> {
    let x = g.layer(n, 0)?;
    let kernel = counts(n.ints("kernel_shape").unwrap_or_default())?;
    let ceil = n.flag("ceil_mode", false)?;
    let Windows { stride, padding, dilation } = windows(g, n, x, &kernel)?;
    Ok((x, Pool { kernel, stride, padding, dilation, ceil }))
}

/// What convolution and pooling have in common.
struct Windows {
    stride: Vec<usize>,
    padding: Vec<(usize, usize)>,
    dilation: Vec<usize>,
}

fn windows(g: &Context, n: &Node, x: NodeId, kernel: &[usize]) -> Result<Windows, Fault> {
    let axes = kernel.len();
    if axes != 1 && axes != 2 {
        return unsupported(format!("with {axes} spatial axes"));
    }
    let each = |name: &'static str, len: usize, default: usize| match n.ints(name) {
        None => Ok(vec![default; len]),
        Some(list) if list.len() == len => counts(list),
        Some(list) => broken(format!("attribute {name}: expected {len} numbers, found {list:?}")),
    };
    let stride = each("strides", axes, 1)?;
    let dilation = each("dilations", axes, 1)?;
    if n.ints("pads").is_some_and(|pads| pads.iter().any(|&pad| pad < 0)) {
        return unsupported("with negative pads");
    }
    let pads = each("pads", 2 * axes, 0)?;
    let padding = match n.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => (0..axes).map(|i| (pads[i], pads[i + axes])).collect(),
        "VALID" => vec![(0, 0); axes],
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            if stride.contains(&0) || kernel.contains(&0) {
                return broken("expected kernel and stride of at least 1");
            }
            let sizes = spatial(g, x, axes)?;
            (0..axes).map(|i| same_padding(sizes[i], kernel[i], stride[i], dilation[i], same)).collect()
        }
        other => return unsupported(format!("with attribute auto_pad={other}")),
    };
    Ok(Windows { stride, padding, dilation })
}

/// Padding with which there is one window for each `stride` entries; the odd one goes to the end that is
/// named.
fn same_padding(size: usize, kernel: usize, stride: usize, dilation: usize, same: &str) -> (usize, usize) {
    let extent = (kernel - 1).saturating_mul(dilation).saturating_add(1);
    let last = (size.div_ceil(stride).max(1) - 1).saturating_mul(stride);
    let total = last.saturating_add(extent).saturating_sub(size);
    match same {
        "SAME_UPPER" => (total / 2, total - total / 2),
        _ => (total - total / 2, total / 2),
    }
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
