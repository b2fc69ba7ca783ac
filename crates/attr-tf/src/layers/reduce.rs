//! Axes reduced to one number each.

use attr_core::{Result, Tensor};

use crate::symbol::Symbol;

/// The largest or smallest over axes, by TensorFlow's name of it; NaN before all.
pub(super) fn extreme(op: &'static str, x: &Symbol, axes: &[usize], keep: bool) -> Result<Symbol> {
    Ok(x.reduce(op, axes, keep))
}

/// The Euclidean norm over axes.
pub(super) fn norm(x: &Symbol, axes: &[usize], keep: bool) -> Result<Symbol> {
    let (squares, tape) = (x.square()?.reduce("Sum", axes, keep), x.tape());
    // The root is of what is above 0 alone, so that for whoever differentiates this the derivative at 0 is 0.
    let (id, zero) = (squares.node().0, tape.scalar(0.0));
    let is_above = tape.truth("Greater", &[id, zero]);
    let above = tape.op("SelectV2", &[is_above, id, tape.scalar(1.0)]);
    Ok(squares.then(tape.op("SelectV2", &[is_above, tape.op("Sqrt", &[above]), id])))
}
