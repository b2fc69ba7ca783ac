//! Attention, of the products and the softmax that files have of it.

use super::Chain;
use super::view::View;
use crate::rewrite::{Instead, Source};
use crate::{NodeId, Op};

pub(super) fn ends_at(view: &View<'_>, last: NodeId) -> Option<Chain> {
    let [weights, values] = view.two(&Op::MatMul, last)?;
    let Op::Softmax { axis } = view.op(weights) else { return None };
    if axis + 1 != view.node(weights).shape.rank() {
        return None;
    }
    let masked = view.node(weights).inputs[0];
    let (scores, mask) = match view.two(&Op::Add, masked) {
        None => (Scores::at(view, masked)?, None),
        Some([a, b]) => [(a, b), (b, a)]
            .into_iter()
            .find_map(|(scores, mask)| Some((Scores::at(view, scores)?, Some(mask))))?,
    };
    let (keys, transposition) = keys(view, scores.keys);
    let mut inner = [vec![weights], scores.inner, transposition].concat();
    if mask.is_some() {
        inner.push(masked);
    }
    let inputs = [
        Some(Source::Layer(scores.queries)),
        Some(keys),
        Some(Source::Layer(values)),
        mask.map(Source::Layer),
    ];
    let op = Op::Attention { scale: scores.scale };
    let layer = Instead { op, inputs: inputs.into_iter().flatten().collect(), params: vec![] };
    Some(Chain { layer, inner })
}

/// `scale queries keys`, the keys transposed.
struct Scores {
    scale: f64,
    queries: NodeId,
    keys: NodeId,
    inner: Vec<NodeId>,
}

impl Scores {
    fn at(view: &View<'_>, id: NodeId) -> Option<Self> {
        let (product, outer, mut inner) = scaled(view, id);
        let [queries, keys] = view.two(&Op::MatMul, product)?;
        inner.push(product);
        let (queries, of_queries, layers) = scaled(view, queries);
        inner.extend(layers);
        let (keys, of_keys, layers) = scaled(view, keys);
        inner.extend(layers);
        Some(Scores { scale: outer * of_queries * of_keys, queries, keys, inner })
    }
}

/// A value that is multiplied or divided by numbers, these together, and the layers that do it; the value itself where
/// something else reads what comes of it.
fn scaled(view: &View<'_>, id: NodeId) -> (NodeId, f64, Vec<NodeId>) {
    let product = view.product(id);
    match product.factors[..] {
        [factor] if view.readers(id).is_some_and(|readers| readers.len() == 1) => {
            (factor, product.number, product.inner)
        }
        _ => (id, 1.0, Vec::new()),
    }
}

/// The keys of which the transpose is read, and the layer that transposes them if that alone is what it is for.
fn keys(view: &View<'_>, transposed: NodeId) -> (Source, Vec<NodeId>) {
    let node = view.node(transposed);
    let swap = |mut axes: Vec<usize>| {
        let rank = axes.len();
        axes.swap(rank - 2, rank - 1);
        axes
    };
    match &node.op {
        Op::Transpose { axes } if view.readers(transposed).is_some_and(|readers| readers.len() == 1) => {
            let axes = swap(axes.clone());
            let plain = axes.iter().enumerate().all(|(i, &axis)| i == axis);
            let keys = node.inputs[0];
            let source = if plain { Source::Layer(keys) } else { Source::Transposed(keys, axes) };
            (source, vec![transposed])
        }
        _ => (Source::Transposed(transposed, swap((0..node.shape.rank()).collect())), Vec::new()),
    }
}
