//! Normalisation.

use attr_core::{Op, ParamId};
use ndarray::Array1;

use super::importer::Importer;
use super::known::{Known, decimal};
use super::operator::{Carried, Fault, Operator, Value, Values, broken, unsupported};
use crate::proto::data_type;

type Source = (usize, usize);

/// What a batch norm is made of: constants of one number a channel, or one for all.
struct Parts {
    x: Carried,
    gamma: Option<Known>,
    beta: Option<Known>,
    mean: Known,
    variance: Known,
    epsilon: f64,
}

/// A batch norm as one operator.
pub(super) fn fused(g: &mut Importer, n: &Operator) -> Values {
    n.channels_last()?;
    if n.node.attribute("is_training").is_none() || n.node.flag("is_training") {
        return unsupported("in training mode");
    }
    let known = |i: usize| n.known(i).cloned();
    let parts = Parts {
        x: n.layer(0)?,
        gamma: Some(known(1)?),
        beta: Some(known(2)?),
        mean: known(3)?,
        variance: known(4)?,
        epsilon: n.node.float("epsilon").map_or(1e-4, decimal),
    };
    match layer(g, n, parts)? {
        Some(values) => Ok(values),
        None => broken("expected parameters of one number a channel"),
    }
}

/// A batch norm as Keras exports it: `x s + (beta - mean s)` with `s = rsqrt(variance + epsilon) gamma`, if the sum is
/// one. All that it is made of is read back, so that it is the layer that its author wrote.
pub(super) fn decomposed(g: &mut Importer, n: &Operator) -> Result<Option<Vec<Value>>, Fault> {
    let &[left, right] = &n.sources[..] else { return Ok(None) };
    let parts = match parts(g, left, right) {
        Some(parts) => parts,
        None => match parts(g, right, left) {
            Some(parts) => parts,
            None => return Ok(None),
        },
    };
    layer(g, n, parts)
}

fn parts(g: &Importer, product: Source, shift: Source) -> Option<Parts> {
    let &[a, b] = &read_by(g, "Mul", product)?[..] else { return None };
    let (x, scale) = match (g.made(a), g.made(b)) {
        (Value::Layer(x), Value::Known(..)) => (x, b),
        (Value::Known(..), Value::Layer(x)) => (x, a),
        _ => return None,
    };
    let known = |source: Source| match g.made(source) {
        Value::Known(_, known) if known.is_float() => Some(known),
        _ => None,
    };
    let (deviation, gamma) = match read_by(g, "Rsqrt", scale) {
        Some(of_rsqrt) => (of_rsqrt, None),
        None => {
            let &[a, b] = &read_by(g, "Mul", scale)?[..] else { return None };
            match (read_by(g, "Rsqrt", a), read_by(g, "Rsqrt", b)) {
                (Some(of_rsqrt), _) => (of_rsqrt, Some(known(b)?)),
                (_, Some(of_rsqrt)) => (of_rsqrt, Some(known(a)?)),
                _ => return None,
            }
        }
    };
    let (sum, terms) = g.behind(*deviation.first()?);
    let &[a, b] = &terms[..] else { return None };
    let number = |source: Source| match known(source)?.numbers()?[..] {
        [x] => Some(x),
        _ => None,
    };
    // Of two single numbers the second is the epsilon.
    let (variance, epsilon) = match (sum.op.as_str(), number(a), number(b)) {
        ("AddV2" | "Add", _, Some(epsilon)) => (known(a)?, epsilon),
        ("AddV2" | "Add", Some(epsilon), None) => (known(b)?, epsilon),
        _ => return None,
    };
    let (sub, terms) = g.behind(shift);
    let (beta, mean) = match (sub.op.as_str(), &terms[..]) {
        ("Sub", &[beta, product]) => (Some(known(beta)?), times(g, product, scale)?),
        ("Neg", &[product]) => (None, times(g, product, scale)?),
        ("Mul", &[..]) => (None, *read_by(g, "Neg", times(g, shift, scale)?)?.first()?),
        _ => return None,
    };
    Some(Parts { x, gamma, beta, mean: known(mean)?, variance, epsilon })
}

/// The other factor of a product with `scale`.
fn times(g: &Importer, product: Source, scale: Source) -> Option<Source> {
    match read_by(g, "Mul", product)?[..] {
        [a, b] if b == scale => Some(a),
        [a, b] if a == scale => Some(b),
        _ => None,
    }
}

/// What an operator of this kind reads, if it is one.
fn read_by(g: &Importer, op: &str, source: Source) -> Option<Vec<Source>> {
    let (node, sources) = g.behind(source);
    (node.op == op).then_some(sources)
}

/// The batch norm; none if its parameters are not by channel.
fn layer(g: &mut Importer, n: &Operator, parts: Parts) -> Result<Option<Vec<Value>>, Fault> {
    let Parts { x, gamma, beta, mean, variance, epsilon } = parts;
    let dims = g.dims(x);
    let channels = match dims.last() {
        Some(&attr_core::Dim::Fixed(channels)) if dims.len() > 1 => channels,
        _ => return Ok(None),
    };
    let by_channel = |known: &Known| {
        known.dims().len() <= dims.len()
            && (known.len() == 1 || known.len() == channels && known.dims().last() == Some(&channels))
    };
    if ![gamma.as_ref(), beta.as_ref(), Some(&mean), Some(&variance)].into_iter().flatten().all(by_channel) {
        return Ok(None);
    }
    let params = [
        or_fill(g, gamma, channels, 1.0)?,
        or_fill(g, beta, channels, 0.0)?,
        g.row_param(&mean, channels)?,
        g.row_param(&variance, channels)?,
    ];
    let id = g.channels_second(x)?;
    let id = g.add(n.name(), Op::BatchNorm { epsilon }, &[id], &params)?;
    g.value(id, true).map(Some)
}

fn or_fill(g: &mut Importer, known: Option<Known>, len: usize, x: f64) -> Result<ParamId, Fault> {
    match known {
        Some(known) => g.row_param(&known, len),
        None => {
            let row = Array1::from_elem(len, x);
            Ok(if g.dtype == data_type::DOUBLE {
                g.graph.param(row)
            } else {
                g.graph.param(row.mapv(|x| x as f32))
            })
        }
    }
}
