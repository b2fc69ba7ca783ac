//! Layers that a file has as chains of simpler ones, recognised as one: a graph to a graph.

mod attention;
mod gates;
mod layer_norm;
mod linear;
mod view;

use std::collections::{HashMap, HashSet};

use self::view::View;
use crate::infer::infer;
use crate::rewrite::{Instead, Source};
use crate::{Graph, NodeId, Op, Result};

/// Several layers that are one: what they are together, and which of them are part of it besides the last one.
struct Chain {
    layer: Instead,
    inner: Vec<NodeId>,
}

/// What may end at a layer. A new chain is a line here and a file.
const PATTERNS: [fn(&View<'_>, NodeId) -> Option<Chain>; 4] =
    [layer_norm::ends_at, gates::ends_at, attention::ends_at, linear::ends_at];

impl Graph {
    /// The same function with chains of simple layers as the one layer that they are together:
    ///
    /// - layer norm: the value less its mean over the last axes, divided by the root of the mean of its squares plus a
    ///   number, times gamma, plus beta; with or without the last two; also with value and mean scaled each by itself;
    /// - GELU by the error function or by the hyperbolic tangent, SiLU, hard swish and Mish, in any order of their
    ///   factors;
    /// - attention: the product of queries with transposed keys, scaled by numbers anywhere in it, perhaps plus a mask,
    ///   its softmax over the last axis, times the values;
    /// - a linear layer and the bias that is added to it.
    ///
    /// Only where the arithmetic is the same up to rounding: numbers such as the square root of 2 are as exact as single
    /// precision has them, and nothing else reads a value within the chain, nor is one an output. The layer has the name
    /// of the last one of the chain, since it has its value. The other names are gone, and a cut by one of them is an
    /// error that tells where it went ([`Graph::part_of`]). Where keys are not transposed by a layer of their own, one is
    /// added that transposes them back, called `NAME/input 1`.
    ///
    /// Parameters whose numbers are on a device are not looked at: recognise before compiling.
    ///
    /// # Errors
    ///
    /// None for a graph that is right.
    pub fn recognise(&self) -> Result<Graph> {
        let view = View::of(self);
        let (mut instead, mut gone) = (HashMap::new(), HashMap::new());
        // From the end, since a chain is known by its last layer, and the longest one counts.
        for id in (0..self.nodes().len()).rev() {
            if gone.contains_key(&id) {
                continue;
            }
            let chains = PATTERNS.iter().filter_map(|ends_at| ends_at(&view, id));
            if let Some(chain) = chains.into_iter().find(|chain| view.is_whole(chain, id, &gone)) {
                gone.extend(chain.inner.iter().map(|&inner| (inner, id)));
                instead.insert(id, chain.layer);
            }
        }
        gone.extend(unread_constants(&view, &instead, &gone));
        self.rewritten(&instead, &gone)
    }
}

/// Constants that nothing reads any more, and what they have become part of.
fn unread_constants(
    view: &View<'_>,
    instead: &HashMap<NodeId, Instead>,
    gone: &HashMap<NodeId, NodeId>,
) -> Vec<(NodeId, NodeId)> {
    let whole = |id: NodeId| gone.get(&id).copied().unwrap_or(id);
    let mut still_read: HashSet<NodeId> = HashSet::new();
    for source in instead.values().flat_map(|layer| &layer.inputs) {
        let (Source::Layer(id) | Source::Transposed(id, _)) = source;
        still_read.insert(*id);
    }
    let constants = view.nodes().filter(|(id, node)| node.op == Op::Constant && !still_read.contains(id));
    let part_of = |(id, _): (NodeId, _)| {
        let readers = view.readers(id)?;
        let taken = readers.iter().all(|reader| gone.contains_key(reader) || instead.contains_key(reader));
        Some((id, whole(*readers.first()?))).filter(|_| taken)
    };
    constants.filter_map(part_of).collect()
}

impl View<'_> {
    /// Whether nothing else reads what is within a chain, and the one layer gives the same shape.
    fn is_whole(&self, chain: &Chain, last: NodeId, gone: &HashMap<NodeId, NodeId>) -> bool {
        let is_part = |id: &NodeId| *id == last || chain.inner.contains(id);
        let is_inner = |&id: &NodeId| {
            id != last
                && !gone.contains_key(&id)
                && self.readers(id).is_some_and(|readers| readers.iter().all(is_part))
        };
        let shapes = chain.layer.inputs.iter().map(|source| match source {
            Source::Layer(id) => self.node(*id).shape.clone(),
            Source::Transposed(id, axes) => {
                let shape = &self.node(*id).shape;
                crate::Shape(axes.iter().map(|&axis| shape.0[axis]).collect())
            }
        });
        let shapes: Vec<_> = shapes.collect();
        let dims: Vec<_> = chain.layer.params.iter().map(|numbers| self.dims(numbers)).collect();
        let shape = infer(&chain.layer.op, &shapes.iter().collect::<Vec<_>>(), &dims);
        chain.inner.iter().all(is_inner) && shape.as_ref() == Ok(&self.node(last).shape)
    }
}
