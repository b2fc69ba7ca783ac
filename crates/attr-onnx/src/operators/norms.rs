//! Normalisations.

use attr_core::{Activation, NodeId, Op, ParamId};

use crate::array::{Array, Constant, map_array};
use crate::import::{Context, Form};
use crate::node::{Fault, Node, Value, Values, axis, broken, count, unsupported};

pub(super) fn batch_norm(g: &mut Context, n: &Node) -> Values {
    n.attribute("momentum");
    if n.flag("training_mode", false)? {
        return unsupported("in training mode");
    }
    if n.opset < 9 && !n.flag("spatial", true)? {
        return unsupported("with attribute spatial=0");
    }
    let x = g.layer(n, 0)?;
    let params = (1..5).map(|i| g.param(n, i, Form::Plain)).collect::<Result<Vec<_>, _>>()?;
    g.add(n, Op::BatchNorm { epsilon: n.float("epsilon", 1e-5)? }, &[x], &params)
}

/// Its further outputs are the mean and the inverse of the standard deviation.
pub(super) fn layer_norm(g: &mut Context, n: &Node) -> Values {
    // The precision in which mean and deviation are computed: the network's own here.
    n.attribute("stash_type");
    let x = g.layer(n, 0)?;
    let shape = g.shape(x);
    let (axis, epsilon) = (axis(n.int("axis", -1)?, shape.rank())?, n.float("epsilon", 1e-5)?);
    if shape.batch_axis().is_some_and(|batch| batch >= axis) {
        return unsupported(format!("along axis {axis} of {shape}, over the batch"));
    }
    let dims = &shape.at(1)[axis..];
    let normed = affine(g, n, Op::LayerNorm { axis, epsilon }, x, dims, Broadcast::Last)?;
    let mut values = vec![Value::Layer(normed)];
    let asked = |i: usize| n.proto.output.get(i).is_some_and(|name| !name.is_empty());
    if asked(1) || asked(2) {
        let axes: Vec<_> = (axis..shape.rank()).collect();
        let mean = g.step(n, Op::Mean { axes: axes.clone(), keep: true }, &[x])?;
        values.push(Value::Layer(mean));
        let away = g.step(n, Op::Sub, &[x, mean])?;
        let square = g.step(n, Op::Mul, &[away, away])?;
        let variance = g.step(n, Op::Mean { axes, keep: true }, &[square])?;
        let epsilon = g.number(n, epsilon)?;
        let variance = g.step(n, Op::Add, &[variance, epsilon])?;
        let inverse = Op::Activation(Activation::Power { exponent: -0.5 });
        values.push(Value::Layer(g.step(n, inverse, &[variance])?));
    }
    Ok(values)
}

/// Up to operator set 20 a scale and bias for each group, from then on for each channel.
pub(super) fn group_norm(g: &mut Context, n: &Node) -> Values {
    n.attribute("stash_type");
    let x = g.layer(n, 0)?;
    let groups = count(n.int("num_groups", 0)?)?;
    let channels = channels(g, x)?;
    if groups == 0 || !channels.is_multiple_of(groups) {
        return broken(format!("expected groups that divide {channels} channels, found {groups}"));
    }
    let each = if n.opset < 21 { channels / groups } else { 1 };
    let op = Op::GroupNorm { groups, epsilon: n.float("epsilon", 1e-5)? };
    Ok(vec![Value::Layer(affine(g, n, op, x, &[channels], Broadcast::Channel { each })?)])
}

pub(super) fn instance_norm(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let groups = channels(g, x)?;
    let op = Op::GroupNorm { groups, epsilon: n.float("epsilon", 1e-5)? };
    Ok(vec![Value::Layer(affine(g, n, op, x, &[groups], Broadcast::Channel { each: 1 })?)])
}

pub(super) fn local_response_norm(g: &mut Context, n: &Node) -> Values {
    let x = g.layer(n, 0)?;
    let op = Op::LocalResponseNorm {
        size: count(n.int("size", 0)?)?,
        alpha: n.float("alpha", 1e-4)?,
        beta: n.float("beta", 0.75)?,
        bias: n.float("bias", 1.0)?,
    };
    g.add(n, op, &[x], &[])
}

fn channels(g: &Context, x: NodeId) -> Result<usize, Fault> {
    let shape = g.shape(x);
    match shape.0.get(1) {
        Some(attr_core::Dim::Fixed(channels)) => Ok(*channels),
        _ => broken(format!("expected channels on axis 1, found {shape}")),
    }
}

/// Which axes of a value a scale and a bias belong to.
#[derive(Clone, Copy)]
enum Broadcast {
    /// Its last ones.
    Last,
    /// Its channels, each entry to so many.
    Channel { each: usize },
}

/// A norm with its scale (input 1) and bias (input 2, if it is there), whose parameters have these lengths. Computed
/// ones are layers behind a norm without.
fn affine(
    g: &mut Context,
    n: &Node,
    op: Op,
    x: NodeId,
    dims: &[usize],
    broadcast: Broadcast,
) -> Result<NodeId, Fault> {
    let open = |i: usize| matches!(n.input(i), Some(Value::Layer(_)));
    if n.input(1).is_none() {
        return broken("input 1 is missing");
    }
    if !open(1) && !open(2) {
        let params = [param(g, n, 1, dims, broadcast)?, param(g, n, 2, dims, broadcast)?];
        return g.add_named(&n.name, op, &[x], &params);
    }
    let plain = [g.filled(dims, 1.0)?, g.filled(dims, 0.0)?];
    let name = g.unique(&n.name);
    let mut y = g.add_named(&name, op, &[x], &plain)?;
    for (i, op) in [(1, Op::Mul), (2, Op::Add)] {
        if n.input(i).is_none() {
            continue;
        }
        let term = g.layer(n, i)?;
        let term = spread(g, n, term, x, broadcast)?;
        let last = i == 2 || n.input(2).is_none();
        y = if last { g.add_named(&n.name, op, &[y, term], &[])? } else { g.step(n, op, &[y, term])? };
    }
    Ok(y)
}

/// A computed scale or bias, so that it broadcasts to the value.
fn spread(g: &mut Context, n: &Node, term: NodeId, x: NodeId, broadcast: Broadcast) -> Result<NodeId, Fault> {
    let Broadcast::Channel { each } = broadcast else { return Ok(term) };
    let dims = g.shape(term);
    let [attr_core::Dim::Fixed(len)] = dims.0[..] else {
        return broken(format!("expected a scale and bias of one axis, found {dims}"));
    };
    let mut term = term;
    if each > 1 {
        g.spend(len.saturating_mul(each))?;
        let entries = (0..len.saturating_mul(each)).map(|i| i / each).collect();
        term = g.step(n, Op::Gather { axis: 0, entries }, &[term])?;
    }
    let mut to = vec![len * each];
    to.resize(g.shape(x).rank() - 1, 1);
    g.step(n, Op::Reshape { shape: attr_core::Shape::fixed(&to) }, &[term])
}

/// A known scale (1) or bias (2) at the lengths that the layer's parameters have; a missing bias is 0.
fn param(
    g: &mut Context,
    n: &Node,
    i: usize,
    dims: &[usize],
    broadcast: Broadcast,
) -> Result<ParamId, Fault> {
    let Some(constant) = n.optional(i)? else { return g.filled(dims, 0.0) };
    if constant.array.dims() == dims {
        return g.param(n, i, Form::Plain);
    }
    g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim)))?;
    let found = constant.array.dims().to_vec();
    let array = match broadcast {
        Broadcast::Last => broadcast_to(&constant.array, dims),
        Broadcast::Channel { each } if found.len() == 1 && found[0].checked_mul(each) == Some(dims[0]) => {
            let entries: Vec<_> = (0..dims[0]).map(|i| i / each).collect();
            Some(map_array!(&constant.array, a => a.select(ndarray::Axis(0), &entries).into_shared()))
        }
        Broadcast::Channel { .. } => None,
    };
    let Some(array) = array else {
        return broken(format!("expected a scale and bias of {dims:?}, found {found:?}"));
    };
    let origin = g.derived_origin(constant.origin, format!("{dims:?}"));
    let constant = Constant { name: constant.name.clone(), origin, array };
    g.param_of(&constant, Form::Plain)
}

fn broadcast_to(array: &Array, dims: &[usize]) -> Option<Array> {
    Some(map_array!(array, a => a.broadcast(ndarray::IxDyn(dims))?.to_shared()))
}
