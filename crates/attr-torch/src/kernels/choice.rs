//! One of two numbers, and comparisons of them.

use attr_core::Comparison;
use tch::{Kind, Tensor};

use super::Tch;

/// The larger of `a` and `b`; of equals it is `a`, NaN before all.
pub(super) fn maximum(a: &Tensor, b: &Tensor) -> Tch<Tensor> {
    if is_recorded(&[a, b]) { first_if(&a.f_ge_tensor(b)?, a, b) } else { a.f_maximum(b) }
}

/// The smaller of `a` and `b`; of equals it is `a`, NaN before all.
pub(super) fn minimum(a: &Tensor, b: &Tensor) -> Tch<Tensor> {
    if is_recorded(&[a, b]) { first_if(&a.f_le_tensor(b)?, a, b) } else { a.f_minimum(b) }
}

/// libtorch's own derivative is shared by equals; this one goes to one of them alone.
fn first_if(first: &Tensor, a: &Tensor, b: &Tensor) -> Tch<Tensor> {
    a.f_where_self(&first.f_logical_or(&a.f_isnan()?)?, b)
}

/// 1 where a comparison holds, else 0.
pub(super) fn compare(comparison: Comparison, a: &Tensor, b: &Tensor) -> Tch<Tensor> {
    let holds = match comparison {
        Comparison::Equal => a.f_eq_tensor(b),
        Comparison::NotEqual => a.f_ne_tensor(b),
        Comparison::Greater => a.f_gt_tensor(b),
        Comparison::GreaterOrEqual => a.f_ge_tensor(b),
        Comparison::Less => a.f_lt_tensor(b),
        Comparison::LessOrEqual => a.f_le_tensor(b),
    };
    constant_in(constant_in(holds?.f_to_kind(a.kind())?, a)?, b)
}

/// `a` where the condition is not 0, else `b`.
pub(super) fn select(condition: &Tensor, a: &Tensor, b: &Tensor) -> Tch<Tensor> {
    constant_in(a.f_where_self(&condition.f_ne(0.0)?, b)?, condition)
}

/// `a` to the power of `b`.
pub(super) fn power(a: &Tensor, b: &Tensor) -> Tch<Tensor> {
    match b.requires_grad() {
        false => a.f_pow(b),
        // Nothing is recorded of the exponents of 0, by which the derivative is 0.
        true => a.f_pow(&b.f_detach()?.f_where_self(&a.f_eq(0.0)?, b)?),
    }
}

/// A value that has the derivative 0 by another one, and not none at all.
pub(super) fn constant_in(value: Tensor, x: &Tensor) -> Tch<Tensor> {
    if !x.requires_grad() || x.numel() == 0 {
        return Ok(value);
    }
    // One number of the other's, to choose it nowhere.
    let number = x.f_reshape([-1])?.f_get(0)?;
    value.f_where_self(&number.f_detach()?.f_ones_like()?.f_to_kind(Kind::Bool)?, &number)
}

/// Whether libtorch will differentiate by any of these.
pub(super) fn is_recorded(tensors: &[&Tensor]) -> bool {
    tensors.iter().any(|tensor| tensor.requires_grad())
}
