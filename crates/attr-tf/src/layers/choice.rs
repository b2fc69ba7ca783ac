//! One of two numbers, and comparisons of them.

use attr_core::{Comparison, Result};

use crate::symbol::Symbol;
use crate::tape::Id;

/// The larger of `a` and `b`; of equals it is `a`, NaN before all.
pub(super) fn maximum(a: &Symbol, b: &Symbol) -> Result<Symbol> {
    first_if("GreaterEqual", a, b)
}

/// The smaller of `a` and `b`; of equals it is `a`, NaN before all.
pub(super) fn minimum(a: &Symbol, b: &Symbol) -> Result<Symbol> {
    first_if("LessEqual", a, b)
}

/// `a` where a comparison holds or it is NaN, else `b`; NaN in `b` fails every comparison.
fn first_if(comparison: &'static str, a: &Symbol, b: &Symbol) -> Result<Symbol> {
    let tape = a.tape();
    let ([a, b], order, dims) = a.meet(b)?;
    let first = tape.truth(comparison, &[a, b]);
    let first = tape.truth("LogicalOr", &[first, tape.truth("NotEqual", &[a, a])]);
    Ok(Symbol::of(tape, tape.op("SelectV2", &[first, a, b]), order, &dims))
}

/// 1 where a comparison holds, else 0.
pub(super) fn compare(comparison: Comparison, a: &Symbol, b: &Symbol) -> Result<Symbol> {
    let op = match comparison {
        Comparison::Equal => "Equal",
        Comparison::NotEqual => "NotEqual",
        Comparison::Greater => "Greater",
        Comparison::GreaterOrEqual => "GreaterEqual",
        Comparison::Less => "Less",
        Comparison::LessOrEqual => "LessEqual",
    };
    a.mask(op, b)
}

/// `a` where the condition is not 0, else `b`.
pub(super) fn select(condition: &Symbol, a: &Symbol, b: &Symbol) -> Result<Symbol> {
    let tape = a.tape();
    let ([condition, a, b], order, dims) = Symbol::together([condition, a, b])?;
    let holds = tape.truth("NotEqual", &[condition, tape.scalar(0.0)]);
    Ok(Symbol::of(tape, tape.op("SelectV2", &[holds, a, b]), order, &dims))
}

/// `a` where x lies above a bound, `b` elsewhere.
pub(super) fn above(x: &Symbol, bound: f64, a: &Symbol, b: &Symbol) -> Result<Symbol> {
    let tape = x.tape();
    let ([x, a, b], order, dims) = Symbol::together([x, a, b])?;
    let above: Id = tape.truth("Greater", &[x, tape.scalar(bound)]);
    Ok(Symbol::of(tape, tape.op("SelectV2", &[above, a, b]), order, &dims))
}

/// `a` to the power of `b`.
pub(super) fn power(a: &Symbol, b: &Symbol) -> Result<Symbol> {
    let (ids, order, dims) = a.meet(b)?;
    Ok(Symbol::of(a.tape(), a.tape().op("Pow", &ids), order, &dims))
}
