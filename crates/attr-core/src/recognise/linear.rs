//! A linear layer whose bias is added by a layer of its own.

use super::Chain;
use super::view::View;
use crate::rewrite::{Instead, Numbers, Source};
use crate::{NodeId, Op};

pub(super) fn ends_at(view: &View<'_>, last: NodeId) -> Option<Chain> {
    let (product, bias) = view.with_constant(&Op::Add, last)?;
    let node = view.node(product);
    let (Op::Linear, [weight]) = (&node.op, &node.params[..]) else { return None };
    let bias = view.spread(bias, &view.param(*weight).dims()[..1])?;
    let inputs = vec![Source::Layer(node.inputs[0])];
    let layer = Instead { op: Op::Linear, inputs, params: vec![Numbers::Kept(*weight), Numbers::New(bias)] };
    Some(Chain { layer, inner: vec![product] })
}
