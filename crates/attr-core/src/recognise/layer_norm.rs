//! Layer norm, of the means, differences and roots that files have of it.

use super::Chain;
use super::view::View;
use crate::rewrite::{Instead, Numbers, Source};
use crate::{Activation, NodeId, Op, Param};

pub(super) fn ends_at(view: &View<'_>, last: NodeId) -> Option<Chain> {
    let Norm { x, axes, epsilon, gamma, beta, layers } =
        Norm::in_order(view, last).or_else(|| Norm::spread_out(view, last))?;
    let shape = &view.node(x).shape;
    let axis = shape.rank() - axes.len();
    if axes != (axis..shape.rank()).collect::<Vec<_>>() {
        return None;
    }
    let lens = &shape.at(1)[axis..];
    let param = |given: Option<&Param>, otherwise| match given {
        Some(param) => view.spread(param, lens),
        None => Some(view.filled(otherwise, lens)),
    };
    let params = vec![Numbers::New(param(gamma, 1.0)?), Numbers::New(param(beta, 0.0)?)];
    let layer = Instead { op: Op::LayerNorm { axis, epsilon }, inputs: vec![Source::Layer(x)], params };
    let inner = layers.into_iter().filter(|&id| id != last).collect();
    Some(Chain { layer, inner })
}

/// What a layer norm is made of.
struct Norm<'a> {
    x: NodeId,
    axes: Vec<usize>,
    epsilon: f64,
    gamma: Option<&'a Param>,
    beta: Option<&'a Param>,
    layers: Vec<NodeId>,
}

impl<'a> Norm<'a> {
    /// `(x - mean) / sqrt(variance + epsilon)`, perhaps times gamma, perhaps plus beta.
    fn in_order(view: &View<'a>, last: NodeId) -> Option<Self> {
        let (scaled, beta) = but_for_constant(view, &Op::Add, last);
        let (normalized, gamma) = but_for_constant(view, &Op::Mul, scaled);
        let (centered, Variance { of, epsilon, layers }, root) = normal(view, normalized)?;
        let centered = Centered::at(view, centered).filter(|centered| centered.is(&of))?;
        let own = [vec![last, scaled, normalized], root, centered.layers.to_vec()].concat();
        Some(Norm { x: of.x, axes: of.axes, epsilon, gamma, beta, layers: [own, layers].concat() })
    }

    /// `x s - mean s` with `s` as `gamma / sqrt(variance + epsilon)`, perhaps plus beta, as Keras has it:
    /// `x s + (beta + (-mean) s)`.
    fn spread_out(view: &View<'a>, last: NodeId) -> Option<Self> {
        let [a, b] = view.two(&Op::Add, last)?;
        [(a, b), (b, a)].into_iter().find_map(|(scaled, offset)| {
            let (shift, beta) = but_for_constant(view, &Op::Add, offset);
            let [one, other] = view.two(&Op::Mul, shift)?;
            [(one, other), (other, one)].into_iter().find_map(|(negative, scale)| {
                let (Activation::Neg, mean) = view.function(negative)? else { return None };
                let (inverse, gamma) = but_for_constant(view, &Op::Mul, scale);
                let (variance, root) = inverse_root(view, inverse)?;
                let Variance { of, epsilon, layers } = Variance::at(view, variance)?;
                let factors = view.two(&Op::Mul, scaled)?;
                if mean != of.layers[1] || ![[of.x, scale], [scale, of.x]].contains(&factors) {
                    return None;
                }
                let own = [vec![last, scaled, offset, shift, negative, scale, inverse], root].concat();
                Some(Norm { x: of.x, axes: of.axes, epsilon, gamma, beta, layers: [own, layers].concat() })
            })
        })
    }
}

/// The value that a constant is added to or multiplied with, and the constant; else the value itself.
fn but_for_constant<'a>(view: &View<'a>, op: &Op, id: NodeId) -> (NodeId, Option<&'a Param>) {
    view.with_constant(op, id).map_or((id, None), |(value, param)| (value, Some(param)))
}

/// A value divided by a root of a variance: the value, the variance, and the layers of the root.
fn normal(view: &View<'_>, id: NodeId) -> Option<(NodeId, Variance, Vec<NodeId>)> {
    if let Some([centered, deviation]) = view.two(&Op::Div, id) {
        let (variance, _) = view.power(deviation).filter(|&(_, exponent)| exponent == 0.5)?;
        return Some((centered, Variance::at(view, variance)?, vec![deviation]));
    }
    let [a, b] = view.two(&Op::Mul, id)?;
    [(a, b), (b, a)].into_iter().find_map(|(centered, inverse)| {
        let (variance, root) = inverse_root(view, inverse)?;
        Some((centered, Variance::at(view, variance)?, root))
    })
}

/// The mean of the squares of a centered value, plus epsilon.
struct Variance {
    of: Centered,
    epsilon: f64,
    layers: Vec<NodeId>,
}

impl Variance {
    fn at(view: &View<'_>, id: NodeId) -> Option<Self> {
        let (mean, epsilon) = view.shifted(id)?;
        let Op::Mean { axes, keep: true } = view.op(mean) else { return None };
        let square = view.product(view.node(mean).inputs[0]);
        let [a, b] = square.factors[..] else { return None };
        let [of, other] = [Centered::at(view, a)?, Centered::at(view, b)?];
        if !other.is(&of) || *axes != of.axes || square.number != 1.0 || epsilon < 0.0 {
            return None;
        }
        let layers = [&[id, mean], &square.inner[..], &of.layers, &other.layers].concat();
        Some(Variance { of, epsilon, layers })
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
    /// Whether both are the same value less the same mean.
    fn is(&self, other: &Self) -> bool {
        (self.x, &self.axes) == (other.x, &other.axes)
    }

    fn at(view: &View<'_>, id: NodeId) -> Option<Self> {
        let [x, mean] = view.two(&Op::Sub, id)?;
        let Op::Mean { axes, keep: true } = view.op(mean) else { return None };
        (view.node(mean).inputs[0] == x).then(|| Centered { x, axes: axes.clone(), layers: [id, mean] })
    }
}
