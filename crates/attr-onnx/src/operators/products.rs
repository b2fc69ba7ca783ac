//! Matrix products.

use attr_core::{Dim, NodeId, Op, Shape};

use crate::import::{Context, Form};
use crate::node::{Fault, Node, Value, Values, broken};

/// `alpha A B + beta C`. With constant B and C it is a linear layer that has the factors in its parameters.
pub(super) fn gemm(g: &mut Context, n: &Node) -> Values {
    let (turned_a, turned_b) = (n.flag("transA", false)?, n.flag("transB", false)?);
    let (alpha, beta) = (n.float("alpha", 1.0)?, n.float("beta", 1.0)?);
    let mut a = g.layer(n, 0)?;
    for (i, value) in [(0, g.shape(a).rank()), (1, rank(g, n, 1)?)] {
        if value != 2 {
            return broken(format!("input {i}: expected rank 2, found {value}"));
        }
    }
    if turned_a {
        a = g.step(n, Op::Transpose { axes: vec![1, 0] }, &[a])?;
    }
    let is_constant = |i: usize| matches!(n.input(i), Some(Value::Constant(_)));
    if !matches!(n.input(0), Some(Value::Constant(_))) && is_constant(1) {
        let weight = g.param(n, 1, Form::Matrix { transposed: !turned_b, factor: alpha })?;
        let len = g.dims(weight)[0];
        let row = |dims: &[usize]| {
            dims.iter().product::<usize>() == 1 && dims.len() <= 2
                || dims.last() == Some(&len) && dims.iter().rev().skip(1).all(|&d| d == 1) && dims.len() <= 2
        };
        match n.input(2) {
            None => return g.add(n, Op::Linear, &[a], &[weight]),
            Some(Value::Constant(c)) if row(c.array.dims()) => {
                let bias = g.param(n, 2, Form::Row { len, factor: beta })?;
                return g.add(n, Op::Linear, &[a], &[weight, bias]);
            }
            Some(_) => {}
        }
        let name = g.unique(&n.name);
        let product = g.add_named(&name, Op::Linear, &[a], &[weight])?;
        return plus(g, n, product, beta);
    }
    let mut b = g.layer(n, 1)?;
    if turned_b {
        b = g.step(n, Op::Transpose { axes: vec![1, 0] }, &[b])?;
    }
    if n.input(2).is_none() && alpha == 1.0 {
        return g.add(n, Op::MatMul, &[a, b], &[]);
    }
    let product = g.step(n, Op::MatMul, &[a, b])?;
    let product = match (alpha, n.input(2).is_none()) {
        (1.0, _) => product,
        (alpha, last) => {
            let factor = g.number(n, alpha)?;
            if last {
                return g.add(n, Op::Mul, &[product, factor], &[]);
            }
            g.step(n, Op::Mul, &[product, factor])?
        }
    };
    plus(g, n, product, beta)
}

/// The product and `beta C`.
fn plus(g: &mut Context, n: &Node, product: NodeId, beta: f64) -> Values {
    let mut c = g.layer(n, 2)?;
    if beta != 1.0 {
        let factor = g.number(n, beta)?;
        c = g.step(n, Op::Mul, &[c, factor])?;
    }
    g.add(n, Op::Add, &[product, c], &[])
}

fn rank(g: &Context, n: &Node, i: usize) -> Result<usize, Fault> {
    match n.input(i) {
        Some(Value::Layer(id)) => Ok(g.shape(*id).rank()),
        _ => Ok(n.constant(i)?.array.dims().len()),
    }
}

/// With a constant matrix on the right it is a linear layer. Operands of one axis are a row on the left, a column on
/// the right, and that axis is not in the product.
pub(super) fn mat_mul(g: &mut Context, n: &Node) -> Values {
    let ranks = (rank(g, n, 0)?, rank(g, n, 1)?);
    if ranks.0 == 0 || ranks.1 == 0 {
        return broken("expected operands with axes, found a single number");
    }
    if let (Some(Value::Layer(x)), Some(Value::Constant(_)), 2) = (n.input(0), n.input(1), ranks.1) {
        let weight = g.param(n, 1, Form::Matrix { transposed: true, factor: 1.0 })?;
        return g.add(n, Op::Linear, &[*x], &[weight]);
    }
    let (mut a, mut b) = (g.layer(n, 0)?, g.layer(n, 1)?);
    if ranks.0 == 1 {
        let shape = Shape(std::iter::once(Dim::Fixed(1)).chain(g.shape(a).0).collect());
        a = g.step(n, Op::Reshape { shape }, &[a])?;
    }
    if ranks.1 == 1 {
        let shape = Shape(g.shape(b).0.into_iter().chain([Dim::Fixed(1)]).collect());
        b = g.step(n, Op::Reshape { shape }, &[b])?;
    }
    if ranks.0 > 1 && ranks.1 > 1 {
        return g.add(n, Op::MatMul, &[a, b], &[]);
    }
    let product = g.step(n, Op::MatMul, &[a, b])?;
    let mut dims = g.shape(product).0;
    if ranks.1 == 1 {
        dims.pop();
    }
    if ranks.0 == 1 {
        let row = dims.len() - usize::from(ranks.1 > 1) - 1;
        dims.remove(row);
    }
    g.add(n, Op::Reshape { shape: Shape(dims) }, &[product], &[])
}
