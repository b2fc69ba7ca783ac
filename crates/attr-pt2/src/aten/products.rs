//! Products of matrices, and attention.

use crate::call::{Call, Done, int, unsupported};
use crate::size::Size;

use super::elementwise::mask_of_choices;

pub(super) fn product(c: &mut Call) -> Done {
    let second = if c.given_any("mat2") { "mat2" } else { "other" };
    let (a, b) = (c.tensor("self")?, c.tensor(second)?);
    // A matrix that is repeated for each of a batch, as decomposed programs have weights, is one matrix for all.
    let b = if c.operator() == "bmm" { c.unrepeated(&b)? } else { b };
    c.last("MatMul", &[&a, &b], vec![])
}

pub(super) fn linear(c: &mut Call) -> Done {
    let (x, weight, bias) = (c.tensor("input")?, c.tensor("weight")?, c.optional("bias")?);
    if c.rank(&x)? == 2 {
        return c.last("Gemm", &[&x, &weight, bias.as_deref().unwrap_or("")], vec![int("transB", 1)]);
    }
    let turned = c.part("Transpose", "weight", &[&weight], vec![])?;
    match bias {
        None => c.last("MatMul", &[&x, &turned], vec![]),
        Some(bias) => {
            let product = c.part("MatMul", "product", &[&x, &turned], vec![])?;
            c.last("Add", &[&product, &bias], vec![])
        }
    }
}

/// `beta x + alpha a b`.
pub(super) fn addmm(c: &mut Call) -> Done {
    let (x, a, b) = (c.tensor("self")?, c.tensor("mat1")?, c.tensor("mat2")?);
    if [c.number("beta")?, c.number("alpha")?].iter().flatten().any(|&factor| factor != 1.0) {
        return unsupported("with factors");
    }
    if c.rank(&x)? == 1 {
        return c.last("Gemm", &[&a, &b, &x], vec![]);
    }
    let product = c.part("MatMul", "product", &[&a, &b], vec![])?;
    c.last("Add", &[&x, &product], vec![])
}

pub(super) fn baddbmm(c: &mut Call) -> Done {
    let (x, a, b) = (c.tensor("self")?, c.tensor("batch1")?, c.tensor("batch2")?);
    let (beta, alpha) = (c.number("beta")?.unwrap_or(1.0), c.number("alpha")?.unwrap_or(1.0));
    let product = c.part("MatMul", "product", &[&a, &b], vec![])?;
    let product = c.scaled(product, alpha, &a, "scaled")?;
    let x = c.scaled(x, beta, &a, "added")?;
    c.last("Add", &[&x, &product], vec![])
}

/// Queries times keys, scaled, perhaps plus a mask, softmax, times values.
pub(super) fn attention(c: &mut Call) -> Done {
    if c.number("dropout_p")?.unwrap_or(0.0) != 0.0 {
        return unsupported("with dropout");
    }
    if c.flag("enable_gqa")? {
        return unsupported("with grouped queries");
    }
    let (q, k, v) = (c.tensor("query")?, c.tensor("key")?, c.tensor("value")?);
    let rank = c.rank(&q)?;
    if rank < 2 || c.rank(&k)? != rank {
        return unsupported("of other than matrices");
    }
    let width = c.length(&q, rank - 1)?;
    let scale = c.number("scale")?.unwrap_or_else(|| 1.0 / (width as f64).sqrt());
    let mut axes: Vec<_> = (0..rank as i64).collect();
    axes.swap(rank - 2, rank - 1);
    let turned = c.part("Transpose", "keys", &[&k], vec![crate::call::ints("perm", &axes)])?;
    let product = c.part("MatMul", "product", &[&q, &turned], vec![])?;
    let scale = c.numbers(&q, &[], &[scale])?;
    let mut scores = c.part("Mul", "scores", &[&product, &scale], vec![])?;
    let mask = match c.optional("attn_mask")? {
        Some(mask) => Some(mask_of_choices(c, &mask, &q)?),
        None if c.flag("is_causal")? => Some(causal(c, &q, &k, rank)?),
        None => None,
    };
    if let Some(mask) = mask {
        scores = c.part("Add", "masked", &[&scores, &mask], vec![])?;
    }
    let weights = c.part("Softmax", "weights", &[&scores], vec![int("axis", -1)])?;
    c.last("MatMul", &[&weights, &v], vec![])
}

/// No token looks at a later one.
fn causal(c: &mut Call, q: &str, k: &str, rank: usize) -> Done<String> {
    let lens = [q, k].map(|value| c.dims(value).map(|dims| dims[rank - 2]));
    let [Ok(Size::Fixed(rows)), Ok(Size::Fixed(columns))] = lens else {
        return unsupported("of a number of tokens that is not known");
    };
    let entry = |i: i64| if i % columns > i / columns { f64::NEG_INFINITY } else { 0.0 };
    c.filled(q, &[rows, columns], entry)
}
