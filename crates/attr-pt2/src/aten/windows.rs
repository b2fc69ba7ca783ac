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
    adaptive(c, "GlobalAveragePool", "AveragePool")
}

pub(super) fn adaptive_max(c: &mut Call) -> Done {
    adaptive(c, "GlobalMaxPool", "MaxPool")
}

/// Windows of one size, where the output's length divides the input's.
fn adaptive(c: &mut Call, whole: &str, parts: &str) -> Done {
    let x = c.tensor("self")?;
    let axes = spatial_axes(c, &x)?;
    let out = c.out();
    let mut kernel = Vec::new();
    for axis in 2..2 + axes {
        let (from, to) = (c.length(&x, axis)?, c.length(out, axis)?);
        if to < 1 || from < 1 {
            return broken(format!("{from} entries in {to} parts"));
        }
        if from % to != 0 {
            return unsupported(format!("of {from} entries in {to} parts of different lengths"));
        }
        kernel.push((from / to, to));
    }
    if kernel.iter().all(|&(len, _)| len == 1) {
        return c.last("Identity", &[&x], vec![]);
    }
    if kernel.iter().all(|&(_, parts)| parts == 1) {
        return c.last(whole, &[&x], vec![]);
    }
    let kernel: Vec<_> = kernel.into_iter().map(|(len, _)| len).collect();
    c.last(parts, &[&x], vec![ints("kernel_shape", &kernel), ints("strides", &kernel)])
}
