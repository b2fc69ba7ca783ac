//! GELU, SiLU, hard swish and Mish: a value times a function of itself.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::Chain;
use super::view::{View, is};
use crate::rewrite::{Instead, Source};
use crate::{Activation, NodeId, Op};

pub(super) fn ends_at(view: &View<'_>, last: NodeId) -> Option<Chain> {
    let product = view.product(last);
    let [a, b] = product.factors[..] else { return None };
    let (x, (activation, mut inner)) = [(a, b), (b, a)]
        .into_iter()
        .find_map(|(x, gate)| Some((x, function_of(view, x, gate, product.number)?)))?;
    inner.extend(product.inner.into_iter().filter(|&id| id != last));
    let layer = Instead { op: Op::Activation(activation), inputs: vec![Source::Layer(x)], params: vec![] };
    Some(Chain { layer, inner })
}

/// Which function `number * x * gate` is, and the layers of which the gate is made.
fn function_of(view: &View<'_>, x: NodeId, gate: NodeId, number: f64) -> Option<(Activation, Vec<NodeId>)> {
    let Some((activation, input)) = view.function(gate) else { return gelu(view, x, gate, number) };
    match activation {
        Activation::Sigmoid if input == x && is(number, 1.0) => Some((Activation::Silu, vec![gate])),
        Activation::HardSigmoid { alpha, beta } if input == x && is(number, 1.0) => {
            (is(alpha, 1.0 / 6.0) && is(beta, 0.5)).then_some((Activation::HardSwish, vec![gate]))
        }
        Activation::Clip { min: 0.0, max: 6.0 } if is(number, 1.0 / 6.0) => {
            (view.shifted(input)? == (x, 3.0)).then_some((Activation::HardSwish, vec![gate, input]))
        }
        Activation::Tanh if is(number, 1.0) => (view.function(input)? == (Activation::Softplus, x))
            .then_some((Activation::Mish, vec![gate, input])),
        _ => None,
    }
}

/// `number * x * gate` where the gate is a number plus a number times a function of x.
fn gelu(view: &View<'_>, x: NodeId, gate: NodeId, number: f64) -> Option<(Activation, Vec<NodeId>)> {
    let (scaled, shift) = view.shifted(gate)?;
    let scaled = view.product(scaled);
    let [function] = scaled.factors[..] else { return None };
    let (activation, argument) = view.function(function)?;
    if !is(number * shift, 0.5) || !is(number * scaled.number, 0.5) {
        return None;
    }
    let argument = view.product(argument);
    let mut inner = [vec![gate, function], scaled.inner, argument.inner].concat();
    match (activation, &argument.factors[..]) {
        (Activation::Erf, &[of]) if of == x && is(argument.number, FRAC_1_SQRT_2) => {
            Some((Activation::Gelu, inner))
        }
        (Activation::Tanh, factors) if is(argument.number, FRAC_1_SQRT_2 * FRAC_2_SQRT_PI) => {
            inner.extend(with_cube(view, x, factors)?);
            Some((Activation::GeluTanh, inner))
        }
        _ => None,
    }
}

/// The layers of which `x + 0.044715 x^3` is made, here the product of these factors.
fn with_cube(view: &View<'_>, x: NodeId, factors: &[NodeId]) -> Option<Vec<NodeId>> {
    let (sum, cube, power) = match *factors {
        [sum] => {
            let [a, b] = view.two(&Op::Add, sum)?;
            (
                sum,
                if a == x {
                    b
                } else if b == x {
                    a
                } else {
                    return None;
                },
                3,
            )
        }
        // x (1 + 0.044715 x^2)
        [a, b] => {
            let sum = if a == x {
                b
            } else if b == x {
                a
            } else {
                return None;
            };
            let (square, one) = view.shifted(sum)?;
            (sum, if one == 1.0 { square } else { return None }, 2)
        }
        _ => return None,
    };
    let cube = view.product(cube);
    (is(cube.number, 0.044715) && cube.factors == vec![x; power]).then(|| [vec![sum], cube.inner].concat())
}
