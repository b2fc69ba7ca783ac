//! Functions of each element, and of the elements of two values.

use attr_onnx::proto::TensorProto;

use crate::call::{Call, Done, float, int, text, unsupported};

pub(super) fn unary(c: &mut Call, op: &str) -> Done {
    let x = c.tensor("self")?;
    c.last(op, &[&x], vec![])
}

pub(super) fn same(c: &mut Call) -> Done {
    unary(c, "Identity")
}

pub(super) fn dropout(c: &mut Call) -> Done {
    if c.flag("train")? {
        return unsupported("in training mode");
    }
    let x = if c.given_any("input") { c.tensor("input")? } else { c.tensor("self")? };
    c.last("Identity", &[&x], vec![])
}

/// Kinds of numbers that are computed with as floating-point numbers are all one.
pub(super) fn to(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let (from, to) = (c.kind(&x)?, c.kind(c.out())?);
    if from == to {
        return c.last("Identity", &[&x], vec![]);
    }
    c.last("Cast", &[&x], vec![int("to", i64::from(to))])
}

/// The second operand: a value, or a number of the first one's kind.
fn other(c: &mut Call, like: &str, name: &str) -> Done<String> {
    if c.is_tensor(name) {
        return c.tensor(name);
    }
    match c.number(name)? {
        Some(number) => c.numbers(like, &[], &[number]),
        None => unsupported(format!("without {name}")),
    }
}

pub(super) fn binary(c: &mut Call, op: &str) -> Done {
    if let Some(mode) = c.text("rounding_mode")? {
        return unsupported(format!("with rounding mode {mode}"));
    }
    let x = c.tensor("self")?;
    let y = other(c, &x, "other")?;
    c.last(op, &[&x, &y], vec![])
}

/// What is left of a quotient: with the sign of what is divided, or of what divides it.
pub(super) fn modulo(c: &mut Call, of_the_first: bool) -> Done {
    let x = c.tensor("self")?;
    let y = other(c, &x, "other")?;
    c.last("Mod", &[&x, &y], vec![int("fmod", i64::from(of_the_first))])
}

/// `x + alpha y`, `x - alpha y`, and `y - alpha x`.
pub(super) fn add(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let y = other(c, &x, "other")?;
    let alpha = c.number("alpha")?.unwrap_or(1.0);
    let (first, second, op) = match c.operator() {
        "rsub" => (y, x.to_string(), "Sub"),
        "sub" => (x.to_string(), y, "Sub"),
        _ => (x.to_string(), y, "Add"),
    };
    let second = c.scaled(second, alpha, &x, "scaled")?;
    c.last(op, &[&first, &second], vec![])
}

pub(super) fn not_equal(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let y = other(c, &x, "other")?;
    let equal = c.part("Equal", "equal", &[&x, &y], vec![])?;
    c.last("Not", &[&equal], vec![])
}

pub(super) fn power(c: &mut Call) -> Done {
    if !c.is_tensor("self") {
        let y = c.tensor("exponent")?;
        let x = other(c, &y, "self")?;
        return c.last("Pow", &[&x, &y], vec![]);
    }
    let x = c.tensor("self")?;
    let y = other(c, &x, "exponent")?;
    c.last("Pow", &[&x, &y], vec![])
}

pub(super) fn square(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    c.last("Mul", &[&x, &x], vec![])
}

pub(super) fn rsqrt(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let root = c.part("Sqrt", "root", &[&x], vec![])?;
    c.last("Reciprocal", &[&root], vec![])
}

/// `clamp`, `hardtanh`, whose bounds are -1 and 1 unless told, and `relu6`.
pub(super) fn clamp(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let (low, high) = match c.operator() {
        "relu6" => (Some(0.0), Some(6.0)),
        "hardtanh" => (Some(c.number("min_val")?.unwrap_or(-1.0)), Some(c.number("max_val")?.unwrap_or(1.0))),
        _ if c.is_tensor("min") || c.is_tensor("max") => return unsupported("with computed bounds"),
        _ => (c.number("min")?, c.number("max")?),
    };
    let low = low.map(|low| c.numbers(&x, &[], &[low])).transpose()?;
    let high = high.map(|high| c.numbers(&x, &[], &[high])).transpose()?;
    let bounds = [low.as_deref().unwrap_or(""), high.as_deref().unwrap_or("")];
    c.last("Clip", &[&x, bounds[0], bounds[1]], vec![])
}

pub(super) fn leaky_relu(c: &mut Call) -> Done {
    let (x, slope) = (c.tensor("self")?, c.number("negative_slope")?.unwrap_or(0.01));
    c.last("LeakyRelu", &[&x], vec![float("alpha", slope)])
}

pub(super) fn elu(c: &mut Call, op: &str) -> Done {
    if [c.number("scale")?, c.number("input_scale")?].iter().flatten().any(|&scale| scale != 1.0) {
        return unsupported("with a scale");
    }
    let (x, alpha) = (c.tensor("self")?, c.number("alpha")?.unwrap_or(1.0));
    c.last(op, &[&x], vec![float("alpha", alpha)])
}

pub(super) fn gelu(c: &mut Call) -> Done {
    let (x, how) = (c.tensor("self")?, c.text("approximate")?.unwrap_or("none"));
    c.last("Gelu", &[&x], vec![text("approximate", how)])
}

pub(super) fn silu(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let gate = c.part("Sigmoid", "gate", &[&x], vec![])?;
    c.last("Mul", &[&x, &gate], vec![])
}

pub(super) fn hard_sigmoid(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    c.last("HardSigmoid", &[&x], vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)])
}

/// With a threshold PyTorch takes the straight line itself beyond it, where the two are the same in double precision up to
/// 2e-9.
pub(super) fn softplus(c: &mut Call) -> Done {
    if c.number("beta")?.unwrap_or(1.0) != 1.0 {
        return unsupported("with a beta");
    }
    unary(c, "Softplus")
}

pub(super) fn prelu(c: &mut Call) -> Done {
    let (x, slope) = (c.tensor("self")?, c.tensor("weight")?);
    let (rank, slopes) = (c.rank(&x)?, c.length(&slope, 0)?);
    if rank < 3 || slopes == 1 {
        return c.last("PRelu", &[&x, &slope], vec![]);
    }
    let dims: Vec<_> = std::iter::once(slopes).chain(vec![1; rank - 2]).collect();
    let dims = c.list(&dims)?;
    let slope = c.part("Reshape", "slopes", &[&slope, &dims], vec![])?;
    c.last("PRelu", &[&x, &slope], vec![])
}

pub(super) fn choice(c: &mut Call) -> Done {
    let condition = c.tensor("condition")?;
    if !c.is_tensor("self") && !c.is_tensor("other") {
        return unsupported("of two numbers");
    }
    let like = if c.is_tensor("self") { c.tensor("self")? } else { c.tensor("other")? };
    let (a, b) = (other(c, &like, "self")?, other(c, &like, "other")?);
    c.last("Where", &[&condition, &a, &b], vec![])
}

pub(super) fn masked_fill(c: &mut Call) -> Done {
    let (x, mask) = (c.tensor("self")?, c.tensor("mask")?);
    let value = other(c, &x, "value")?;
    c.last("Where", &[&mask, &value, &x], vec![])
}

/// Numbers for a mask that leaves out what is false.
pub(super) fn mask_of_choices(c: &mut Call, mask: &str, like: &str) -> Done<String> {
    if c.kind(mask)? != TensorProto::BOOL {
        return Ok(mask.into());
    }
    let (kept, left_out) = (c.numbers(like, &[], &[0.0])?, c.numbers(like, &[], &[f64::NEG_INFINITY])?);
    c.part("Where", "mask", &[mask, &kept, &left_out], vec![])
}
