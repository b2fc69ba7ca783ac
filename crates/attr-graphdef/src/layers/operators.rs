//! What each operator becomes: one table, an operator a few lines.

use attr_core::{Activation, NodeId, Op};

use super::dense::{bias_add, einsum, mat_mul, with_bias};
use super::fold::{fold, is_known as is_constant, shape_of, size_of};
use super::importer::Importer;
use super::known::{Known, decimal};
use super::operator::{Carried, Fault, Operator, Value, Values, axes, broken, unsupported};
use super::{fold as folds, moves, norm, windows};
use crate::tensor::type_name;

/// The place of an operator, and the number of its output.
type Source = (usize, usize);

/// What makes layers of an operator and gives its values.
type Import = fn(&mut Importer, &Operator) -> Values;

/// All operators that become layers.
const OPERATORS: &[(&str, Import)] = &[
    ("Abs", |g, n| activation(g, n, Activation::Abs)),
    ("Add", add),
    ("AddN", add_n),
    ("AddV2", add),
    ("AvgPool", windows::average_pool),
    ("BatchMatMul", mat_mul),
    ("BatchMatMulV2", mat_mul),
    ("BatchToSpaceND", windows::batch_to_space),
    ("BiasAdd", bias_add),
    ("BroadcastTo", |g, n| moves::expand(g, n, 0, 1)),
    ("Cast", cast),
    ("CheckNumerics", same),
    ("ClipByValue", |g, n| clip(g, n, n.number(1)?, n.number(2)?)),
    ("ConcatV2", moves::concat),
    ("Conv2DBackpropInput", windows::conv_transpose),
    ("Div", |g, n| binary(g, n, Op::Div)),
    ("Einsum", einsum),
    ("Elu", |g, n| elu(g, n, 1.0, 1.0)),
    ("Erf", |g, n| activation(g, n, Activation::Erf)),
    ("Erfc", erfc),
    ("Exp", |g, n| activation(g, n, Activation::Exp)),
    ("Expm1", expm1),
    ("ExpandDims", moves::expand_dims),
    ("Fill", |g, n| moves::expand(g, n, 1, 0)),
    ("FusedBatchNorm", norm::fused),
    ("FusedBatchNormV2", norm::fused),
    ("FusedBatchNormV3", norm::fused),
    ("Identity", same),
    ("IdentityN", identity_n),
    ("Inv", reciprocal),
    ("LeakyRelu", |g, n| {
        activation(g, n, Activation::LeakyRelu { slope: n.node.float("alpha").map_or(0.2, decimal) })
    }),
    ("LogSoftmax", |g, n| softmax(g, n, |axis| Op::LogSoftmax { axis })),
    ("MatMul", mat_mul),
    ("Max", windows::max),
    ("MaxPool", windows::max_pool),
    ("Maximum", |g, n| bound(g, n, |min| (min, f64::INFINITY))),
    ("Mean", |g, n| reduce(g, n, |axes, keep| Op::Mean { axes, keep })),
    ("Minimum", |g, n| bound(g, n, |max| (f64::NEG_INFINITY, max))),
    ("Mul", |g, n| binary(g, n, Op::Mul)),
    ("Neg", |g, n| activation(g, n, Activation::Neg)),
    ("Pack", moves::pack),
    ("Pad", moves::pad),
    ("PadV2", moves::pad),
    ("PlaceholderWithDefault", same),
    ("Pow", pow),
    ("PreventGradient", same),
    ("RealDiv", |g, n| binary(g, n, Op::Div)),
    ("Reciprocal", reciprocal),
    ("Relu", |g, n| activation(g, n, Activation::Relu)),
    ("Relu6", |g, n| clip(g, n, 0.0, 6.0)),
    ("Reshape", moves::reshape),
    ("ResizeBilinear", moves::resize_bilinear),
    ("ResizeNearestNeighbor", moves::resize_nearest),
    ("Rsqrt", rsqrt),
    ("Selu", |g, n| elu(g, n, SELU_SCALE, SELU_ALPHA)),
    ("Sigmoid", |g, n| activation(g, n, Activation::Sigmoid)),
    ("Slice", moves::slice),
    ("Snapshot", same),
    ("Softmax", |g, n| softmax(g, n, |axis| Op::Softmax { axis })),
    ("Softplus", |g, n| activation(g, n, Activation::Softplus)),
    ("Softsign", softsign),
    ("SpaceToBatchND", windows::space_to_batch),
    ("Split", moves::split),
    ("SplitV", moves::split),
    ("Sqrt", |g, n| activation(g, n, Activation::Sqrt)),
    ("Square", |g, n| power(g, n, 2)),
    ("SquaredDifference", squared_difference),
    ("Squeeze", moves::squeeze),
    ("StridedSlice", moves::strided_slice),
    ("Sub", |g, n| binary(g, n, Op::Sub)),
    ("Sum", |g, n| reduce(g, n, |axes, keep| Op::Sum { axes, keep })),
    ("Tanh", |g, n| activation(g, n, Activation::Tanh)),
    ("Tile", moves::tile),
    ("Transpose", moves::transpose),
    ("Unpack", moves::unpack),
];

/// The two constants of scaled exponential linear units (Klambauer et al. 2017, arXiv 1706.02515).
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;

/// Operators that are known, but not by the table: they need to know their own place, or give what is known.
const OTHERS: [&str; 5] = ["Conv2D", "DepthwiseConv2dNative", "Shape", "Size", "StopGradient"];

/// Whether any use of an operator is supported.
pub(super) fn is_known(op: &str) -> bool {
    fold(op).is_some() || OTHERS.contains(&op) || OPERATORS.iter().any(|(name, _)| *name == op)
}

/// The values of an operator: computed now if all it reads is known, otherwise those of new layers.
pub(super) fn import(g: &mut Importer, n: &Operator, at: usize) -> Values {
    let op = n.node.op.as_str();
    let known = |known: Known| Ok(vec![Value::Known(n.name().into(), known)]);
    if !n.inputs.is_empty() && n.inputs.iter().all(is_constant) && !spreads_over_the_batch(n) {
        return match (fold(op), op) {
            (Some(fold), _) => known(fold(g, n)?),
            (None, "Unpack") => folds::unpack(g, n),
            (None, _) => unsupported("of constants alone"),
        };
    }
    match op {
        "Conv2D" => windows::conv(g, n, at),
        "DepthwiseConv2dNative" => windows::depthwise(g, n, at),
        "StopGradient" => stop_gradient(g, n, at),
        "Shape" => known(shape_of(g, n)?),
        "Size" => known(size_of(g, n)?),
        "Rank" => known(Known::size(super::known::Size::Fixed(g.rank(n.layer(0)?) as i64))),
        _ => match OPERATORS.iter().find(|(name, _)| *name == op) {
            Some((_, import)) => import(g, n),
            None => unsupported(""),
        },
    }
}

/// Whether an operator gives a constant to each row.
fn spreads_over_the_batch(n: &Operator) -> bool {
    let sizes = match n.node.op.as_str() {
        "BroadcastTo" => n.sizes(1),
        "Fill" => n.sizes(0),
        _ => return false,
    };
    sizes.is_ok_and(|sizes| sizes.iter().any(|size| size.fixed().is_none()))
}

fn activation(g: &mut Importer, n: &Operator, activation: Activation) -> Values {
    let x = n.layer(0)?;
    let id = g.add(n.name(), Op::Activation(activation), &[x.id], &[])?;
    g.value(id, x.second)
}

/// The same value, by another name.
fn same(_: &mut Importer, n: &Operator) -> Values {
    Ok(vec![n.input(0)?.clone()])
}

/// Two operands, one of which may be a constant, and the order of axes they are brought to.
fn operands(g: &mut Importer, n: &Operator) -> Result<([NodeId; 2], bool), Fault> {
    let rank = |g: &Importer, value: &Value| match value {
        Value::Layer(x) => Ok(g.rank(*x)),
        Value::Known(_, known) => Ok(known.dims().len()),
        _ => unsupported("of a value that is not one of layers"),
    };
    let (a, b) = (n.input(0)?, n.input(1)?);
    let most = rank(g, a)?.max(rank(g, b)?);
    let layers =
        [a, b].into_iter().filter_map(|value| if let Value::Layer(x) = value { Some(*x) } else { None });
    let layers: Vec<Carried> = layers.collect();
    let second = layers.iter().any(|x| x.second) && layers.iter().all(|&x| g.rank(x) == most);
    let mut operand = |value: &Value| match value {
        Value::Layer(x) => g.ordered(*x, second),
        Value::Known(name, known) => g.constant(name, known, second.then_some(most)),
        _ => unsupported("of a value that is not one of layers"),
    };
    Ok(([operand(a)?, operand(b)?], second))
}

pub(super) fn binary(g: &mut Importer, n: &Operator, op: Op) -> Values {
    let (operands, second) = operands(g, n)?;
    let id = g.add(n.name(), op, &operands, &[])?;
    g.value(id, second)
}

/// A sum, which may be the last step of a batch norm, or a bias.
fn add(g: &mut Importer, n: &Operator) -> Values {
    if let Some(values) = norm::decomposed(g, n)? {
        return Ok(values);
    }
    for (layer, constant) in [(0, 1), (1, 0)] {
        if let (Value::Layer(x), Value::Known(_, bias)) = (n.input(layer)?, n.input(constant)?)
            && bias.dims().len() <= 1.max(g.rank(*x))
            && let Some(id) = with_bias(g, n, layer, bias)?
        {
            return g.value(id, x.second);
        }
    }
    binary(g, n, Op::Add)
}

/// A chain of additions, of which the last has the operator's name.
fn add_n(g: &mut Importer, n: &Operator) -> Values {
    let first = n.layer(0)?;
    let mut total = first.id;
    for i in 1..n.inputs.len() {
        let next = n.layer(i)?;
        let next = g.ordered(next, first.second)?;
        total = match i + 1 == n.inputs.len() {
            true => g.add(n.name(), Op::Add, &[total, next], &[])?,
            false => g.part(n.name(), "sum", Op::Add, &[total, next])?,
        };
    }
    g.value(total, first.second)
}

/// A cast to the kind of numbers that the network computes in anyway.
fn cast(g: &mut Importer, n: &Operator) -> Values {
    match (n.node.kind("SrcT"), n.node.kind("DstT")) {
        (Some(from), Some(to)) if from == g.dtype && to == g.dtype => same(g, n),
        (_, to) => unsupported(format!("of computed values to {}", type_name(to.unwrap_or_default()))),
    }
}

fn clip(g: &mut Importer, n: &Operator, min: f64, max: f64) -> Values {
    activation(g, n, Activation::Clip { min, max })
}

/// The larger or smaller of a value and a number.
fn bound(g: &mut Importer, n: &Operator, bounds: fn(f64) -> (f64, f64)) -> Values {
    let (value, number) = match (n.input(0)?, n.input(1)?) {
        (Value::Layer(x), Value::Known(..)) => (*x, n.number(1)?),
        (Value::Known(..), Value::Layer(x)) => (*x, n.number(0)?),
        _ => return unsupported("of two computed values"),
    };
    let (min, max) = bounds(number);
    // The derivative of a clip at 0 is 0, as that of a ReLU.
    let id = g.add(n.name(), Op::Activation(Activation::Clip { min, max }), &[value.id], &[])?;
    g.value(id, value.second)
}

/// `scale (x - c + alpha (exp(c) - 1))` with `c = min(x, 0)`, whose derivative at 0 is `scale`.
fn elu(g: &mut Importer, n: &Operator, scale: f64, alpha: f64) -> Values {
    let (x, name) = (n.layer(0)?, n.name());
    let below = Activation::Clip { min: f64::NEG_INFINITY, max: 0.0 };
    let below = g.part(name, "below", Op::Activation(below), &[x.id])?;
    let mut above = g.part(name, "above", Op::Sub, &[x.id, below])?;
    let one = g.scalar(name, "one", 1.0)?;
    let exp = g.part(name, "exp", Op::Activation(Activation::Exp), &[below])?;
    let mut curve = g.part(name, "curve", Op::Sub, &[exp, one])?;
    if scale != 1.0 || alpha != 1.0 {
        let (outer, inner) = (g.scalar(name, "scale", scale)?, g.scalar(name, "alpha", scale * alpha)?);
        above = g.part(name, "scaled_above", Op::Mul, &[above, outer])?;
        curve = g.part(name, "scaled_curve", Op::Mul, &[curve, inner])?;
    }
    let id = g.add(name, Op::Add, &[above, curve], &[])?;
    g.value(id, x.second)
}

/// `1 - erf(x)`.
fn erfc(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let erf = g.part(n.name(), "erf", Op::Activation(Activation::Erf), &[x.id])?;
    let one = g.scalar(n.name(), "one", 1.0)?;
    let id = g.add(n.name(), Op::Sub, &[one, erf], &[])?;
    g.value(id, x.second)
}

/// `exp(x) - 1`.
fn expm1(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let exp = g.part(n.name(), "exp", Op::Activation(Activation::Exp), &[x.id])?;
    let one = g.scalar(n.name(), "one", 1.0)?;
    let id = g.add(n.name(), Op::Sub, &[exp, one], &[])?;
    g.value(id, x.second)
}

/// Several values handed on. Where the author has given a gradient of his own, the file does not say which: known is
/// that of `x sigmoid(x)`, which is the function's own.
fn identity_n(g: &mut Importer, n: &Operator) -> Values {
    if n.node.attribute("_gradient_op_type").is_some() {
        let is_swish = n.sources.first().is_some_and(|&source| is_swish(g, source));
        if !is_swish {
            return unsupported("with a gradient of its own");
        }
    }
    Ok(n.inputs.clone())
}

/// Whether a value is `x sigmoid(x)` or `x sigmoid(beta x)` with a constant beta.
fn is_swish(g: &Importer, source: Source) -> bool {
    let (product, factors) = g.behind(source);
    let &[a, b] = &factors[..] else { return false };
    let of_x = |x: Source, sigmoid: Source| {
        let (sigmoid, inside) = g.behind(sigmoid);
        let Some(&inside) = inside.first().filter(|_| sigmoid.op == "Sigmoid") else { return false };
        let (scaled, factors) = g.behind(inside);
        let constant = |source: &Source| matches!(g.made(*source), Value::Known(..));
        let is_scaled = scaled.op == "Mul" && factors.iter().all(|factor| *factor == x || constant(factor));
        inside == x || is_scaled && factors.contains(&x)
    };
    product.op == "Mul" && (of_x(a, b) || of_x(b, a))
}

fn reciprocal(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let one = g.scalar(n.name(), "one", 1.0)?;
    let id = g.add(n.name(), Op::Div, &[one, x.id], &[])?;
    g.value(id, x.second)
}

fn rsqrt(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let one = g.scalar(n.name(), "one", 1.0)?;
    let root = g.part(n.name(), "sqrt", Op::Activation(Activation::Sqrt), &[x.id])?;
    let id = g.add(n.name(), Op::Div, &[one, root], &[])?;
    g.value(id, x.second)
}

/// Powers that are products or roots.
fn pow(g: &mut Importer, n: &Operator) -> Values {
    if !matches!(n.input(1)?, Value::Known(..)) || !matches!(n.input(0)?, Value::Layer(_)) {
        return unsupported("with a computed exponent");
    }
    match n.number(1)? {
        1.0 => same(g, n),
        2.0 => power(g, n, 2),
        3.0 => power(g, n, 3),
        4.0 => power(g, n, 4),
        0.5 => activation(g, n, Activation::Sqrt),
        -0.5 => rsqrt(g, n),
        -1.0 => reciprocal(g, n),
        exponent => unsupported(format!("with exponent {exponent}")),
    }
}

fn power(g: &mut Importer, n: &Operator, exponent: usize) -> Values {
    let x = n.layer(0)?;
    let mut product = x.id;
    for factors in 2..=exponent {
        product = match factors == exponent {
            true => g.add(n.name(), Op::Mul, &[product, x.id], &[])?,
            false => g.part(n.name(), "product", Op::Mul, &[product, x.id])?,
        };
    }
    g.value(product, x.second)
}

fn squared_difference(g: &mut Importer, n: &Operator) -> Values {
    let (operands, second) = operands(g, n)?;
    let difference = g.part(n.name(), "difference", Op::Sub, &operands)?;
    let id = g.add(n.name(), Op::Mul, &[difference, difference], &[])?;
    g.value(id, second)
}

/// `x / (1 + |x|)`.
fn softsign(g: &mut Importer, n: &Operator) -> Values {
    let x = n.layer(0)?;
    let size = g.part(n.name(), "abs", Op::Activation(Activation::Abs), &[x.id])?;
    let one = g.scalar(n.name(), "one", 1.0)?;
    let below = g.part(n.name(), "below", Op::Add, &[size, one])?;
    let id = g.add(n.name(), Op::Div, &[x.id, below], &[])?;
    g.value(id, x.second)
}

/// A value whose gradient the author has cut off, which is only right to overlook where there is none: the mean in a
/// variance, by which the sum of squares is least.
fn stop_gradient(g: &mut Importer, n: &Operator, at: usize) -> Values {
    let &[source] = &n.sources[..] else { return broken("expected one value") };
    let (mean, of_mean) = g.behind(source);
    let over = |source: Option<&Source>| source.and_then(|&source| g.integers(source));
    let is_mean = |&at: &usize| {
        let (node, of) = g.behind((at, 0));
        node.op == "Mean" && over(of.get(1)).is_some_and(|axes| Some(axes) == over(of_mean.get(1)))
    };
    let is_variance = |&at: &usize| {
        let (difference, of) = g.behind((at, 0));
        let same_value = of.iter().any(|source| Some(source) == of_mean.first());
        let squares = &g.readers[at];
        let averaged = !squares.is_empty() && squares.iter().all(is_mean) && !g.is_output[at];
        difference.op == "SquaredDifference" && same_value && averaged
    };
    let (keeps, readers) = (mean.op == "Mean" && mean.flag("keep_dims"), &g.readers[at]);
    match keeps && !g.is_output[at] && !readers.is_empty() && readers.iter().all(is_variance) {
        true => same(g, n),
        false => unsupported("of a value that has a gradient"),
    }
}

fn softmax(g: &mut Importer, n: &Operator, op: fn(usize) -> Op) -> Values {
    let x = n.layer(0)?;
    let last = g.rank(x).checked_sub(1).ok_or_else(|| Fault::Broken("expected an axis".into()))?;
    let axis = g.axis(x, last);
    let id = g.add(n.name(), op(axis), &[x.id], &[])?;
    g.value(id, x.second)
}

fn reduce(g: &mut Importer, n: &Operator, op: fn(Vec<usize>, bool) -> Op) -> Values {
    let x = n.layer(0)?;
    let rank = g.rank(x);
    let over = axes(&n.integers(1)?, rank)?;
    if over.is_empty() {
        return same(g, n);
    }
    if over.len() == rank {
        return unsupported("over the batch");
    }
    let keep = n.node.flag("keep_dims");
    let mut axes: Vec<_> = over.iter().map(|&axis| g.axis(x, axis)).collect();
    axes.sort_unstable();
    let id = g.add(n.name(), op(axes, keep), &[x.id], &[])?;
    g.value(id, x.second && (keep || !over.contains(&(rank - 1))))
}
