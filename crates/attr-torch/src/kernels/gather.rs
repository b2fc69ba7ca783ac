//! Entries of an axis by their numbers, and rows of a table by theirs.

use tch::{Kind, TchError, Tensor};

use super::Tch;
use crate::tensor::{lengths, signed};

/// The entries with these numbers along an axis.
pub(super) fn entries(x: &Tensor, axis: usize, entries: &[usize]) -> Tch<Tensor> {
    x.f_index_select(axis as i64, &numbers(entries, x)?)
}

/// Each cotangent added up at the entry that its own one was taken from, of a value of these lengths.
pub(super) fn entries_back(c: &Tensor, axis: usize, entries: &[usize], dims: &[usize]) -> Tch<Tensor> {
    let zeros = Tensor::f_zeros(signed(dims), (c.kind(), c.device()))?;
    zeros.f_index_add(axis as i64, &numbers(entries, c)?, c)
}

fn numbers(entries: &[usize], like: &Tensor) -> Tch<Tensor> {
    Tensor::f_from_slice(&signed(entries))?.f_to_device(like.device())
}

/// Rows of a table `[N, D]` by their numbers `[...]`: `[..., D]`.
pub(super) fn rows(numbers: &Tensor, table: &Tensor) -> Tch<Tensor> {
    if numbers.requires_grad() {
        let reason =
            "whole numbers that stand for rows of a table have no derivative; ask at this layer's output";
        return Err(TchError::Torch(reason.into()));
    }
    let count = lengths(table)[0];
    let inside = numbers.f_ge(0.0)?.f_logical_and(&numbers.f_lt(count as f64)?)?;
    let is_row = inside.f_logical_and(&numbers.f_eq_tensor(&numbers.f_floor()?)?)?;
    let others = numbers.f_masked_select(&is_row.f_logical_not()?)?;
    if others.numel() > 0 {
        let found = others.f_double_value(&[0])?;
        let reason = format!("expected whole numbers from 0 to {}, found {found}", count as i64 - 1);
        return Err(TchError::Torch(reason));
    }
    let flat = numbers.f_reshape([-1])?.f_to_kind(Kind::Int64)?;
    table.f_index_select(0, &flat)?.f_reshape([numbers.size(), table.size()[1..].to_vec()].concat())
}
