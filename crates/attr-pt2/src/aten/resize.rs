//! Pictures in other sizes.

use crate::call::{Call, Done, float, ints, text};
use attr_onnx::proto::TensorProto;

/// With scales they are what coordinates are multiplied with, as in PyTorch; else the ratio of the lengths.
pub(super) fn resize(c: &mut Call) -> Done {
    let x = if c.given_any("input") { c.tensor("input")? } else { c.tensor("self")? };
    let rank = c.rank(&x)?;
    let axes: Vec<_> = (2..rank as i64).collect();
    let (operator, aligned) = (c.operator(), c.flag("align_corners")?);
    let (mode, coordinates) = match operator {
        _ if operator.contains("nearest") => ("nearest", "asymmetric"),
        _ if operator.contains("cubic") => ("cubic", if aligned { "align_corners" } else { "half_pixel" }),
        _ => ("linear", if aligned { "align_corners" } else { "half_pixel" }),
    };
    let mut attributes =
        vec![ints("axes", &axes), text("mode", mode), text("coordinate_transformation_mode", coordinates)];
    match mode {
        "nearest" => attributes.push(text("nearest_mode", "floor")),
        "cubic" => attributes.push(float("cubic_coeff_a", -0.75)),
        _ => {}
    }
    if let Some(scales) = c.numbers_of("scale_factors")?.filter(|_| !aligned) {
        let scales = c.of_kind(TensorProto::FLOAT, &[scales.len() as i64], &scales)?;
        return c.last("Resize", &[&x, "", &scales], attributes);
    }
    let out = c.out();
    let sizes = axes.iter().map(|&axis| c.length(out, axis as usize)).collect::<Done<Vec<_>>>()?;
    let sizes = c.list(&sizes)?;
    c.last("Resize", &[&x, "", "", &sizes], attributes)
}
