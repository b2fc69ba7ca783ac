//! Norms.

use crate::call::{Call, Done, broken, float, int, unsupported};

/// The numbers given, or as many times this one.
fn param(c: &mut Call, x: &str, name: &str, len: i64, otherwise: f64) -> Done<String> {
    match c.optional(name)? {
        Some(value) => Ok(value),
        None => c.filled(x, &[len], |_| otherwise),
    }
}

pub(super) fn batch_norm(c: &mut Call) -> Done {
    if c.flag("training")? {
        return unsupported("in training mode");
    }
    let x = c.tensor("input")?;
    let channels = c.length(&x, 1)?;
    let (weight, bias) = (param(c, &x, "weight", channels, 1.0)?, param(c, &x, "bias", channels, 0.0)?);
    let (mean, variance) = (c.tensor("running_mean")?, c.tensor("running_var")?);
    let epsilon = c.number("eps")?.unwrap_or(1e-5);
    c.last("BatchNormalization", &[&x, &weight, &bias, &mean, &variance], vec![float("epsilon", epsilon)])
}

pub(super) fn instance_norm(c: &mut Call) -> Done {
    if !c.flag("use_input_stats")? {
        return unsupported("with running statistics");
    }
    let x = c.tensor("input")?;
    let channels = c.length(&x, 1)?;
    let (weight, bias) = (param(c, &x, "weight", channels, 1.0)?, param(c, &x, "bias", channels, 0.0)?);
    let epsilon = c.number("eps")?.unwrap_or(1e-5);
    c.last("InstanceNormalization", &[&x, &weight, &bias], vec![float("epsilon", epsilon)])
}

pub(super) fn layer_norm(c: &mut Call) -> Done {
    let x = c.tensor("input")?;
    let Some(lens) = c.ints("normalized_shape")? else { return broken("normalized_shape is missing") };
    let weight = match c.optional("weight")? {
        Some(weight) => weight.to_string(),
        None => c.filled(&x, &lens, |_| 1.0)?,
    };
    let epsilon = c.number("eps")?.unwrap_or(1e-5);
    let bias = c.optional("bias")?.unwrap_or_default();
    let attributes = vec![int("axis", -(lens.len() as i64)), float("epsilon", epsilon)];
    c.last("LayerNormalization", &[&x, &weight, &bias], attributes)
}

pub(super) fn group_norm(c: &mut Call) -> Done {
    let x = c.tensor("input")?;
    let groups = match c.int("num_groups")? {
        Some(groups) => Some(groups),
        None => c.int("group")?,
    };
    let Some(groups) = groups else { return broken("the number of groups is missing") };
    let channels = c.length(&x, 1)?;
    let (weight, bias) = (param(c, &x, "weight", channels, 1.0)?, param(c, &x, "bias", channels, 0.0)?);
    let epsilon = c.number("eps")?.unwrap_or(1e-5);
    c.last(
        "GroupNormalization",
        &[&x, &weight, &bias],
        vec![int("num_groups", groups), float("epsilon", epsilon)],
    )
}
