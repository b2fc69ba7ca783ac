//! Convolutions and poolings.

use attr_onnx::proto::AttributeProto;

use crate::call::{Call, Done, broken, int, ints, unsupported};

/// As many on each side, from the beginnings of all axes to their ends.
fn both_sides(padding: &[i64]) -> Vec<i64> {
    [padding, padding].concat()
}

pub(super) fn conv(c: &mut Call) -> Done {
    if c.operator() == "convolution" && c.flag("transposed")? {
        return conv_transpose(c);
    }
    let (x, weight) = (c.tensor("input")?, c.tensor("weight")?);
    let axes = c.rank(&weight)?.saturating_sub(2);
    let (stride, dilation) = (c.spatial("stride", axes, 1)?, c.spatial("dilation", axes, 1)?);
    let pads = match c.overload {
        "padding" => match c.text("padding")?.unwrap_or("valid") {
            "valid" => vec![0; 2 * axes],
            // What is odd is one more at the end.
            _ => {
                let lens = (0..axes).map(|axis| c.length(&weight, axis + 2)).collect::<Done<Vec<_>>>()?;
                let total: Vec<_> =
                    lens.iter().zip(&dilation).map(|(&len, &apart)| apart.saturating_mul(len - 1)).collect();
                let first: Vec<_> = total.iter().map(|&total| total / 2).collect();
                let last = total.iter().map(|&total| total - total / 2);
                first.iter().copied().chain(last).collect()
            }
        },
        _ => both_sides(&c.spatial("padding", axes, 0)?),
    };
    let groups = c.int("groups")?.unwrap_or(1);
    let bias = c.optional("bias")?.unwrap_or_default();
    let attributes = vec![
        ints("strides", &stride),
        ints("pads", &pads),
        ints("dilations", &dilation),
        int("group", groups),
    ];
    c.last("Conv", &[&x, &weight, &bias], attributes)
}

pub(super) fn conv_transpose(c: &mut Call) -> Done {
    let (x, weight) = (c.tensor("input")?, c.tensor("weight")?);
    let axes = c.rank(&weight)?.saturating_sub(2);
    let (stride, dilation) = (c.spatial("stride", axes, 1)?, c.spatial("dilation", axes, 1)?);
    let (padding, more) = (c.spatial("padding", axes, 0)?, c.spatial("output_padding", axes, 0)?);
    let groups = c.int("groups")?.unwrap_or(1);
    let bias = c.optional("bias")?.unwrap_or_default();
    let attributes = vec![
        ints("strides", &stride),
        ints("pads", &both_sides(&padding)),
        ints("dilations", &dilation),
        ints("output_padding", &more),
        int("group", groups),
    ];
    c.last("ConvTranspose", &[&x, &weight, &bias], attributes)
}

/// The axes that windows move along: all but batch and channels.
fn spatial_axes(c: &Call, x: &str) -> Done<usize> {
    let axes = match c.operator() {
        name if name.contains("1d") => 1,
        name if name.contains("3d") => 3,
        _ => 2,
    };
    match c.rank(x)? == axes + 2 {
        true => Ok(axes),
        false => unsupported("without a batch"),
    }
}

fn window(c: &Call, axes: usize) -> Done<Vec<AttributeProto>> {
    let kernel = c.spatial("kernel_size", axes, 1)?;
    let stride = match c.ints("stride")?.is_none_or(|stride| stride.is_empty()) {
        true => kernel.clone(),
        false => c.spatial("stride", axes, 1)?,
    };
    let padding = c.spatial("padding", axes, 0)?;
    let ceil = c.flag("ceil_mode")?;
    Ok(vec![
        ints("kernel_shape", &kernel),
        ints("strides", &stride),
        ints("pads", &both_sides(&padding)),
        int("ceil_mode", i64::from(ceil)),
    ])
}

pub(super) fn max_pool(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let axes = spatial_axes(c, &x)?;
    let mut attributes = window(c, axes)?;
    attributes.push(ints("dilations", &c.spatial("dilation", axes, 1)?));
    c.last("MaxPool", &[&x], attributes)
}

pub(super) fn average_pool(c: &mut Call) -> Done {
    if c.int("divisor_override")?.is_some() {
        return unsupported("with a divisor of its own");
    }
    let x = c.tensor("self")?;
    let mut attributes = window(c, spatial_axes(c, &x)?)?;
    let counts = if c.given_any("count_include_pad") { c.flag("count_include_pad")? } else { true };
    attributes.push(int("count_include_pad", i64::from(counts)));
    c.last("AveragePool", &[&x], attributes)
}

pub(super) fn adaptive_average(c: &mut Call) -> Done {
    adaptive(c, ["GlobalAveragePool", "AveragePool", "ReduceMean"])
}

pub(super) fn adaptive_max(c: &mut Call) -> Done {
    adaptive(c, ["GlobalMaxPool", "MaxPool", "ReduceMax"])
}

/// Windows of one size where the output's length divides the input's, else of several.
fn adaptive(c: &mut Call, [whole, windows, reduce]: [&str; 3]) -> Done {
    let x = c.tensor("self")?;
    let axes = spatial_axes(c, &x)?;
    let out = c.out();
    let mut lengths = Vec::new();
    for axis in 2..2 + axes {
        let (from, to) = (c.length(&x, axis)?, c.length(out, axis)?);
        if to < 1 || from < 1 {
            return broken(format!("{from} entries in {to} parts"));
        }
        lengths.push((from, to));
    }
    let kernel: Vec<_> = lengths.iter().map(|&(from, to)| from / to).collect();
    if lengths.iter().any(|&(from, to)| from % to != 0) {
        return several_sizes(c, &x, reduce, &lengths);
    }
    if kernel.iter().all(|&len| len == 1) {
        return c.last("Identity", &[&x], vec![]);
    }
    if lengths.iter().all(|&(_, to)| to == 1) {
        return c.last(whole, &[&x], vec![]);
    }
    c.last(windows, &[&x], vec![ints("kernel_shape", &kernel), ints("strides", &kernel)])
}

/// More parts than this are not made of slices.
const MOST_PARTS: i64 = 256;

/// Part i of n entries in m parts goes from floor(i n / m) to ceil((i + 1) n / m), along one axis after another: all windows
/// of a part have as many rows.
fn several_sizes(c: &mut Call, x: &str, reduce: &str, lengths: &[(i64, i64)]) -> Done {
    let too_many = |&&(from, to): &&(i64, i64)| to > MOST_PARTS || from > i64::from(i32::MAX);
    if let Some((from, to)) = lengths.iter().find(too_many) {
        return unsupported(format!("of {from} entries in {to} parts of different lengths"));
    }
    let axes: Vec<_> = (2..).zip(lengths).filter(|(_, (from, to))| from != to).collect();
    let mut value = x.to_string();
    for (i, &(axis, &(from, to))) in axes.iter().enumerate() {
        let along = c.list(&[axis])?;
        let mut parts = Vec::new();
        for part in 0..to {
            let [start, end] = c.each([part * from / to, ((part + 1) * from + to - 1) / to])?;
            let window = c.part("Slice", "window", &[&value, &start, &end, &along], vec![])?;
            parts.push(c.part(reduce, "of_window", &[&window, &along], vec![int("keepdims", 1)])?);
        }
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        if i + 1 == axes.len() {
            return c.last("Concat", &parts, vec![int("axis", axis)]);
        }
        value = c.part("Concat", "joined", &parts, vec![int("axis", axis)])?;
    }
    Ok(())
}
