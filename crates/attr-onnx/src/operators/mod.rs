//! What each operator of a file becomes: one table, an operator a few lines.

mod einsum;
mod elementwise;
mod moves;
mod norms;
mod parts;
mod products;
mod reductions;
pub(crate) mod resize;
pub(crate) mod rows;
mod windows;

use attr_core::{Activation, Comparison, Op};

use crate::array::{Array, Size, map_array};
use crate::fold::{fold, is_constant, shape_of, shape_of_constant};
use crate::import::Context;
use crate::node::{Fault, Node, Value, Values, unsupported};

use self::elementwise::{activation, binary, chain, compare};
use self::reductions::reduce;

/// What makes layers of an operator and gives its values.
type Operator = fn(&mut Context, &Node) -> Values;

/// All operators that become layers.
const OPERATORS: &[(&str, Operator)] = &[
    ("Abs", |g, n| activation(g, n, Activation::Abs)),
    ("Add", |g, n| binary(g, n, Op::Add)),
    ("And", |g, n| binary(g, n, Op::Mul)),
    ("AveragePool", windows::average_pool),
    ("BatchNormalization", norms::batch_norm),
    ("Cast", elementwise::cast),
    ("CastLike", elementwise::cast_like),
    ("Ceil", |g, n| activation(g, n, Activation::Ceil)),
    ("Celu", elementwise::celu),
    ("Clip", elementwise::clip),
    ("Concat", moves::concat),
    ("ConstantOfShape", moves::constant_of_shape),
    ("Conv", windows::conv),
    ("ConvTranspose", windows::conv_transpose),
    ("Cos", |g, n| activation(g, n, Activation::Cos)),
    ("DepthToSpace", moves::depth_to_space),
    ("Div", elementwise::divide),
    ("Dropout", elementwise::dropout),
    ("Einsum", einsum::einsum),
    ("Elu", |g, n| activation(g, n, Activation::Elu { alpha: n.float("alpha", 1.0)? })),
    ("Equal", |g, n| compare(g, n, Comparison::Equal)),
    ("Erf", |g, n| activation(g, n, Activation::Erf)),
    ("Exp", |g, n| activation(g, n, Activation::Exp)),
    ("Expand", moves::expand),
    ("Flatten", moves::flatten),
    ("Floor", |g, n| activation(g, n, Activation::Floor)),
    ("Gather", parts::gather),
    ("Gelu", elementwise::gelu),
    ("Gemm", products::gemm),
    ("GlobalAveragePool", windows::global_average_pool),
    ("GlobalMaxPool", windows::global_max_pool),
    ("Greater", |g, n| compare(g, n, Comparison::Greater)),
    ("GreaterOrEqual", |g, n| compare(g, n, Comparison::GreaterOrEqual)),
    ("GroupNormalization", norms::group_norm),
    ("HardSigmoid", elementwise::hard_sigmoid),
    ("HardSwish", |g, n| activation(g, n, Activation::HardSwish)),
    ("Identity", elementwise::identity),
    ("InstanceNormalization", norms::instance_norm),
    ("IsNaN", elementwise::is_nan),
    ("LRN", norms::local_response_norm),
    ("LayerNormalization", norms::layer_norm),
    ("LeakyRelu", |g, n| activation(g, n, Activation::LeakyRelu { slope: n.float("alpha", 0.01)? })),
    ("Less", |g, n| compare(g, n, Comparison::Less)),
    ("LessOrEqual", |g, n| compare(g, n, Comparison::LessOrEqual)),
    ("Log", |g, n| activation(g, n, Activation::Log)),
    ("LogSoftmax", |g, n| reductions::softmax(g, n, |axis| Op::LogSoftmax { axis })),
    ("MatMul", products::mat_mul),
    ("Max", |g, n| chain(g, n, Op::Maximum)),
    ("MaxPool", windows::max_pool),
    ("Mean", elementwise::mean),
    ("Min", |g, n| chain(g, n, Op::Minimum)),
    ("Mish", |g, n| activation(g, n, Activation::Mish)),
    ("Mul", |g, n| binary(g, n, Op::Mul)),
    ("Neg", |g, n| activation(g, n, Activation::Neg)),
    ("Not", elementwise::not),
    ("Or", |g, n| binary(g, n, Op::Maximum)),
    ("PRelu", elementwise::prelu),
    ("Pad", parts::pad),
    ("Pow", elementwise::power),
    ("Range", rows::range),
    ("Reciprocal", |g, n| activation(g, n, Activation::Reciprocal)),
    ("ReduceL1", reductions::l1),
    ("ReduceL2", |g, n| reduce(g, n, 18, |axes, keep| Op::Norm { axes, keep })),
    ("ReduceLogSum", reductions::log_sum),
    ("ReduceLogSumExp", reductions::log_sum_exp),
    ("ReduceMax", |g, n| reduce(g, n, 18, |axes, keep| Op::Max { axes, keep })),
    ("ReduceMean", |g, n| reduce(g, n, 18, |axes, keep| Op::Mean { axes, keep })),
    ("ReduceMin", |g, n| reduce(g, n, 18, |axes, keep| Op::Min { axes, keep })),
    ("ReduceSum", |g, n| reduce(g, n, 13, |axes, keep| Op::Sum { axes, keep })),
    ("ReduceSumSquare", reductions::sum_square),
    ("Relu", |g, n| activation(g, n, Activation::Relu)),
    ("Reshape", moves::reshape),
    ("Resize", resize::resize),
    ("Round", |g, n| activation(g, n, Activation::Round)),
    ("Selu", elementwise::selu),
    ("Shape", shape),
    ("Sigmoid", |g, n| activation(g, n, Activation::Sigmoid)),
    ("Sign", |g, n| activation(g, n, Activation::Sign)),
    ("Sin", |g, n| activation(g, n, Activation::Sin)),
    ("Size", size),
    ("Slice", parts::slice),
    ("Softmax", |g, n| reductions::softmax(g, n, |axis| Op::Softmax { axis })),
    ("Softplus", |g, n| activation(g, n, Activation::Softplus)),
    ("Softsign", |g, n| activation(g, n, Activation::Softsign)),
    ("SpaceToDepth", moves::space_to_depth),
    ("Split", parts::split),
    ("Sqrt", |g, n| activation(g, n, Activation::Sqrt)),
    ("Squeeze", moves::squeeze),
    ("Sub", |g, n| binary(g, n, Op::Sub)),
    ("Sum", |g, n| chain(g, n, Op::Add)),
    ("Tanh", |g, n| activation(g, n, Activation::Tanh)),
    ("Tile", parts::tile),
    ("Transpose", moves::transpose),
    ("Trilu", parts::trilu),
    ("Unsqueeze", moves::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", elementwise::choose),
    ("Xor", |g, n| compare(g, n, Comparison::NotEqual)),
];

/// Whether any use of an operator is supported.
pub(crate) fn is_known(op_type: &str) -> bool {
    fold(op_type).is_some() || OPERATORS.iter().any(|(name, _)| *name == op_type)
}

/// The values of an operator: computed now if all it reads is known, otherwise those of new layers. What is known of the
/// batch alone may be a layer as well.
pub(crate) fn import(g: &mut Context, n: &Node) -> Values {
    if n.inputs().iter().any(rows::is_rows) {
        return rows::import(g, n);
    }
    let op_type = n.proto.op_type.as_str();
    let operator = OPERATORS.iter().find(|(name, _)| *name == op_type).map(|(_, operator)| operator);
    if n.inputs().iter().all(is_constant)
        && let Some(fold) = fold(op_type)
    {
        return match (fold(g, n), operator) {
            (Ok(array), _) => {
                let origin = g.new_origin();
                Ok(vec![n.value(origin, array)])
            }
            (Err(Fault::Unsupported(why)), Some(operator)) => match operator(g, n) {
                Err(Fault::Unsupported(_)) => unsupported(why),
                values => values,
            },
            (Err(fault), _) => Err(fault),
        };
    }
    match operator {
        Some(operator) => operator(g, n),
        None => unsupported("of computed values"),
    }
}

fn shape(g: &mut Context, n: &Node) -> Values {
    let array = match n.input(0) {
        Some(Value::Layer(id)) => shape_of(g, n, *id)?,
        _ => shape_of_constant(n)?,
    };
    let origin = g.new_origin();
    Ok(vec![n.value(origin, array)])
}

/// How many numbers a value has.
fn size(g: &mut Context, n: &Node) -> Values {
    let sizes: Vec<Size> = match n.input(0) {
        Some(Value::Layer(id)) => g.shape(*id).0.into_iter().map(Size::from).collect(),
        _ => n.constant(0)?.array.dims().iter().map(|&d| Size::Fixed(d as i64)).collect(),
    };
    let Some(size) = sizes.into_iter().try_fold(Size::Fixed(1), Size::mul) else {
        return unsupported("of a value that is too large to count");
    };
    let origin = g.new_origin();
    Ok(vec![n.value(origin, Array::Int(ndarray::arr0(size).into_dyn().into_shared()))])
}

/// The transpose of a constant shares its numbers, and is the same wherever it is taken.
fn transposed_constant(g: &mut Context, n: &Node, axes: &[usize]) -> Values {
    let constant = n.constant(0)?;
    let origin = g.derived_origin(constant.origin, format!("{axes:?}"));
    let array = map_array!(&constant.array, a => a.clone().permuted_axes(ndarray::IxDyn(axes)));
    Ok(vec![n.value(origin, array)])
}
