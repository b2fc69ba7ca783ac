//! Layer norm, of the means, differences and roots that files have of it.

use super::Chain;
use super::view::View;
use crate::rewrite::{Instead, Numbers, Source};
use crate::{NodeId, Op};

pub(super) fn ends_at(view: &View<'_>, last: NodeId) -> Option<Chain> {
    let shifted = view.with_constant(&Op::Add, last);
    let scaled = shifted.map_or(last, |(scaled, _)| scaled);
    let multiplied = view.with_constant(&Op::Mul, scaled);
    let normalized = multiplied.map_or(scaled, |(normalized, _)| normalized);
    let Normalized { centered: Centered { x, axes, .. }, epsilon, layers } =
        Normalized::at(view, normalized)?;

    let shape = &view.node(x).shape;
    let axis = shape.rank() - axes.len();
    if axes != (axis..shape.rank()).collect::<Vec<_>>() {
        return None;
    }
    let lens = &shape.at(1)[axis..];
    let param = |given: Option<(NodeId, _)>, otherwise| match given {
        Some((_, param)) => view.spread(param, lens),
        None => Some(view.filled(otherwise, lens)),
    };
    let params = vec![Numbers::New(param(multiplied, 1.0)?), Numbers::New(param(shifted, 0.0)?)];
    let layer = Instead { op: Op::LayerNorm { axis, epsilon }, inputs: vec![Source::Layer(x)], params };
    let inner = [vec![scaled, normalized], layers].concat().into_iter().filter(|&id| id != last).collect();
    Some(Chain { layer, inner })
}

/// `(x - mean) / sqrt(mean of (x - mean)^2 + epsilon)`.
struct Normalized {
    centered: Centered,
    epsilon: f64,
    layers: Vec<NodeId>,
}

impl Normalized {
    fn at(view: &View<'_>, id: NodeId) -> Option<Self> {
        if let Some([centered, deviation]) = view.two(&Op::Div, id) {
            let (variance, exponent) = view.power(deviation)?;
            return Self::of(view, centered, variance, vec![deviation]).filter(|_| exponent == 0.5);
        }
        let [a, b] = view.two(&Op::Mul, id)?;
        [(a, b), (b, a)].into_iter().find_map(|(centered, inverse)| {
            let (variance, layers) = inverse_root(view, inverse)?;
            Self::of(view, centered, variance, layers)
        })
    }

    /// From the two factors: the centered value, and the variance with epsilon.
    fn of(view: &View<'_>, centered: NodeId, variance: NodeId, mut layers: Vec<NodeId>) -> Option<Self> {
        let (mean, epsilon) = view.shifted(variance)?;
        let centered = Centered::at(view, centered)?;
        let Op::Mean { axes, keep: true } = view.op(mean) else { return None };
        let squared = view.node(mean).inputs[0];
        let square = view.product(squared);
        let [a, b] = square.factors[..] else { return None };
        let [first, second] = [Centered::at(view, a)?, Centered::at(view, b)?];
        let same =
            [&first, &second].iter().all(|other| (other.x, &other.axes) == (centered.x, &centered.axes));
        if !same || *axes != centered.axes || square.number != 1.0 || epsilon < 0.0 {
            return None;
        }
        layers.extend([variance, mean]);
        layers.extend([&square.inner[..], &centered.layers, &first.layers, &second.layers].concat());
        Some(Normalized { centered, epsilon, layers })
    }
}

/// What a layer that gives `1 / sqrt(v)` reads, and the layers that it is made of.
fn inverse_root(view: &View<'_>, id: NodeId) -> Option<(NodeId, Vec<NodeId>)> {
    if let Some([one, root]) = view.two(&Op::Div, id) {
        let (v, exponent) = view.power(root)?;
        return (view.number(one)? == 1.0 && exponent == 0.5).then(|| (v, vec![id, root]));
    }
    let (inside, outer) = view.power(id)?;
    if outer == -0.5 {
        return Some((inside, vec![id]));
    }
    let (v, inner) = view.power(inside)?;
    ([outer, inner] == [-1.0, 0.5] || [outer, inner] == [0.5, -1.0]).then(|| (v, vec![id, inside]))
}

/// `x` less its mean over some axes.
struct Centered {
    x: NodeId,
    axes: Vec<usize>,
    layers: [NodeId; 2],
}

impl Centered {
    fn at(view: &View<'_>, id: NodeId) -> Option<Self> {
        let [x, mean] = view.two(&Op::Sub, id)?;
        let Op::Mean { axes, keep: true } = view.op(mean) else { return None };
        (view.node(mean).inputs[0] == x).then(|| Centered { x, axes: axes.clone(), layers: [id, mean] })
    }
}
