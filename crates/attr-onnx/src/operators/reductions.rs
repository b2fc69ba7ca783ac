//! Operators that work along axes: sums, means, extremes, norms, softmax.

use attr_core::{Activation, Dim, NodeId, Op, Shape};

use super::moves::product;
use crate::import::Context;
use crate::node::{Fault, Node, Values, axes, axis, unsupported};

/// Which axes an operator reduces, and whether they stay with length 1; from operator set `since` on they are input 1.
struct Along {
    /// None of them where the value stays as it is.
    axes: Option<Vec<usize>>,
    keep: bool,
}

impl Along {
    fn of(n: &Node, rank: usize, since: i64) -> Result<Self, Fault> {
        let list = n.ints_or_input("axes", since, 1)?.unwrap_or_default();
        let none = n.opset >= since && n.flag("noop_with_empty_axes", false)?;
        let keep = n.flag("keepdims", true)?;
        let axes = match list.is_empty() {
            true if none => None,
            true => Some((0..rank).collect()),
            false => Some(axes(&list, rank)?),
        };
        Ok(Along { axes, keep })
    }
}

pub(super) fn reduce(g: &mut Context, n: &Node, since: i64, op: fn(Vec<usize>, bool) -> Op) -> Values {
    let x = g.layer(n, 0)?;
    let along = Along::of(n, g.shape(x).rank(), since)?;
    let Some(axes) = along.axes else { return g.add(n, Op::Identity, &[x], &[]) };
    let op = op(axes, along.keep);
    if g.whole.contains(&x) && matches!(op, Op::Mean { .. } | Op::Norm { .. }) {
        return unsupported("of whole numbers");
    }
    g.add(n, op, &[x], &[])
}

/// The sum of what layers in between make of each number.
fn sum_of(g: &mut Context, n: &Node, each: impl Fn(&mut Context, NodeId) -> Result<NodeId, Fault>) -> Values {
    let x = g.layer(n, 0)?;
    let along = Along::of(n, g.shape(x).rank(), 18)?;
    let Some(axes) = along.axes else { return unsupported("of no axes") };
    let x = each(g, x)?;
    g.add(n, Op::Sum { axes, keep: along.keep }, &[x], &[])
}

pub(super) fn l1(g: &mut Context, n: &Node) -> Values {
    sum_of(g, n, |g, x| g.step(n, Op::Activation(Activation::Abs), &[x]))
}

pub(super) fn sum_square(g: &mut Context, n: &Node) -> Values {
    sum_of(g, n, |g, x| g.step(n, Op::Mul, &[x, x]))
}

pub(super) fn log_sum(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let along = Along::of(n, g.shape(x).rank(), 18)?;
    let Some(axes) = along.axes else { return unsupported("of no axes") };
    let sum = g.step(n, Op::Sum { axes, keep: along.keep }, &[x])?;
    g.add(n, Op::Activation(Activation::Log), &[sum], &[])
}

/// The largest is taken out of the sum before and added to the logarithm afterwards, so that nothing overflows.
pub(super) fn log_sum_exp(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let along = Along::of(n, g.shape(x).rank(), 18)?;
    let (Some(axes), keep) = (along.axes, along.keep) else { return unsupported("of no axes") };
    let largest = g.step(n, Op::Max { axes: axes.clone(), keep: true }, &[x])?;
    let below = g.step(n, Op::Sub, &[x, largest])?;
    let exp = g.step(n, Op::Activation(Activation::Exp), &[below])?;
    let sum = g.step(n, Op::Sum { axes: axes.clone(), keep: true }, &[exp])?;
    let log = g.step(n, Op::Activation(Activation::Log), &[sum])?;
    if keep {
        return g.add(n, Op::Add, &[log, largest], &[]);
    }
    let total = g.step(n, Op::Add, &[log, largest])?;
    let left = g.shape(total).0.into_iter().enumerate().filter(|(i, _)| !axes.contains(i));
    let shape = Shape(left.map(|(_, dim)| dim).collect());
    g.add(n, Op::Reshape { shape }, &[total], &[])
}

/// Before operator set 13 all axes from the given one on were taken as one.
pub(super) fn softmax(g: &mut Context, n: &Node, op: fn(usize) -> Op) -> Values {
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let axis = axis(n.int("axis", if n.opset < 13 { 1 } else { -1 })?, shape.rank())?;
    if n.opset >= 13 || shape.0[axis + 1..].iter().all(|&dim| dim == Dim::Fixed(1)) {
        return g.add(n, op(axis), &[x], &[]);
    }
    let (before, after) = shape.0.split_at(axis);
    let flat = Shape(vec![product(before), product(after)]);
    let flat = g.step(n, Op::Reshape { shape: flat }, &[x])?;
    let y = g.step(n, op(1), &[flat])?;
    g.add(n, Op::Reshape { shape }, &[y], &[])
}
