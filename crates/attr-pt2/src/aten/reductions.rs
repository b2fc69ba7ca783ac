//! Sums, means and largest numbers over axes, and softmax.

use attr_onnx::proto::TensorProto;

use crate::call::{Call, Done, broken, int, unsupported};

pub(super) fn softmax(c: &mut Call, op: &str) -> Done {
    let (x, axis) = (c.tensor("self")?, c.int("dim")?);
    let Some(axis) = axis else { return broken("dim is missing") };
    c.last(op, &[&x], vec![int("axis", axis)])
}

/// The axes named, or all of them.
fn axes(c: &Call, x: &str) -> Done<Vec<i64>> {
    let rank = c.rank(x)?;
    match c.ints("dim")? {
        Some(axes) if !axes.is_empty() => {
            axes.iter().map(|&axis| c.axis(axis, rank).map(|axis| axis as i64)).collect()
        }
        _ => Ok((0..rank as i64).collect()),
    }
}

pub(super) fn reduce(c: &mut Call, op: &str) -> Done {
    let x = c.tensor("self")?;
    let (axes, keep) = (axes(c, &x)?, c.flag("keepdim")?);
    let axes = c.list(&axes)?;
    c.last(op, &[&x, &axes], vec![int("keepdims", i64::from(keep))])
}

/// Of one value along an axis, of which the first output alone is a layer; or of two values.
pub(super) fn extreme(c: &mut Call, along: &str, of_two: &str) -> Done {
    match c.overload {
        "other" => {
            let (x, y) = (c.tensor("self")?, c.tensor("other")?);
            c.last(of_two, &[&x, &y], vec![])
        }
        _ => reduce(c, along),
    }
}

pub(super) fn norm(c: &mut Call) -> Done {
    match c.number("ord")?.unwrap_or(2.0) {
        2.0 => reduce(c, "ReduceL2"),
        1.0 => reduce(c, "ReduceL1"),
        order => unsupported(format!("of order {order}")),
    }
}

/// Whether any of several is true: their largest number is one.
pub(super) fn any(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let (axes, keep) = (axes(c, &x)?, c.flag("keepdim")?);
    let axes = c.list(&axes)?;
    let numbers = c.part("Cast", "numbers", &[&x], vec![int("to", i64::from(TensorProto::FLOAT))])?;
    let largest =
        c.part("ReduceMax", "largest", &[&numbers, &axes], vec![int("keepdims", i64::from(keep))])?;
    let zero = c.of_kind(TensorProto::FLOAT, &[], &[0.0])?;
    c.last("Greater", &[&largest, &zero], vec![])
}
