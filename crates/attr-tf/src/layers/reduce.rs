//! Axes reduced to one number each.

use attr_core::{Result, Tensor};

use crate::symbol::Symbol;

/// The smallest over axes: of others' operators the derivative is known of the largest.
pub(super) fn min(x: &Symbol, axes: &[usize], keep: bool) -> Symbol {
    x.unary("Neg").reduce("Max", axes, keep).unary("Neg")
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
