//! Which operators TensorFlow's C library has the derivative of.

use std::collections::{HashMap, HashSet};

use attr_core::{Error, Result};
use attr_graphdef::node::endpoint;
use attr_graphdef::proto::NodeDef;

/// Operators whose derivative is right: each is held against finite differences in `tests/derivatives.rs`.
pub(crate) const KNOWN: &[&str] = &[
    "Abs",
    "Add",
    "AddN",
    "AddV2",
    "AvgPool",
    "BatchMatMulV2",
    "BatchToSpaceND",
    "BiasAdd",
    "BroadcastTo",
    "Cast",
    "ConcatV2",
    "Conv2D",
    "Conv2DBackpropInput",
    "Cos",
    "DepthwiseConv2dNative",
    "Einsum",
    "Elu",
    "Erf",
    "Exp",
    "ExpandDims",
    "Expm1",
    "FusedBatchNormV3",
    "Identity",
    "LeakyRelu",
    "Log",
    "Log1p",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Maximum",
    "Mean",
    "Minimum",
    "Mul",
    "Neg",
    "Pack",
    "Pad",
    "PadV2",
    "Pow",
    "RealDiv",
    "Relu",
    "Relu6",
    "Reshape",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "Rsqrt",
    "SelectV2",
    "Selu",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToBatchND",
    "Split",
    "SplitV",
    "Sqrt",
    "Square",
    "SquaredDifference",
    "Squeeze",
    "StridedSlice",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "Transpose",
    "Unpack",
];

/// Operators through which no derivative goes.
const ENDS: &[&str] = &[
    "StopGradient",
    "Shape",
    "ShapeN",
    "Size",
    "Rank",
    "ZerosLike",
    "OnesLike",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
];

/// That all operators between two cuts can be differentiated.
///
/// # Errors
///
/// [`Error::Unsupported`] lists those that can't.
pub(crate) fn check_path(nodes: &[NodeDef], from: &[String], to: &[String]) -> Result<()> {
    let by_name: HashMap<&str, &NodeDef> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    // Upward from the lower cut, as far as floating-point numbers go.
    let mut depends: HashSet<&str> = HashSet::new();
    let begins: HashSet<&str> = from.iter().map(String::as_str).collect();
    let passes = |node: &NodeDef| node.gives_floats() && !ENDS.contains(&node.op.as_str());
    loop {
        let before = depends.len();
        for node in nodes.iter().filter(|node| passes(node)) {
            let reads =
                |input: &String| begins.contains(input.as_str()) || depends.contains(endpoint(input).0);
            if node.input.iter().any(reads) {
                depends.insert(&node.name);
            }
        }
        if depends.len() == before {
            break;
        }
    }
    // Downward from the upper cut, through what depends on the lower one.
    let (mut between, mut open) = (HashSet::new(), Vec::new());
    open.extend(
        to.iter().filter(|tensor| !begins.contains(tensor.as_str())).map(|tensor| endpoint(tensor).0),
    );
    while let Some(name) = open.pop() {
        let node = by_name.get(name).filter(|node| depends.contains(node.name.as_str()));
        if let Some(node) = node.filter(|_| between.insert(name)) {
            let further = node.input.iter().filter(|input| !begins.contains(input.as_str()));
            open.extend(further.map(|input| endpoint(input).0));
        }
    }
    let mut refused: Vec<_> = (between.into_iter().map(|name| by_name[name]))
        .filter(|node| !KNOWN.contains(&node.op.as_str()) || is_wrong(node))
        .map(|node| format!("layer {:?}: {}", node.name, node.op))
        .collect();
    refused.sort();
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Error::Unsupported(format!(
            "on tf: there is no derivative that can be relied on of {}",
            refused.join("; ")
        ))),
    }
}

/// Attributes with which a derivative is not right, and which could not be rewritten.
fn is_wrong(node: &NodeDef) -> bool {
    let is_plain = |numbers: &[i64]| numbers.iter().all(|&n| n == 1);
    let is_training = || !matches!(node.attribute("is_training"), Some(attr_graphdef::proto::Attr::B(false)));
    match node.op.as_str() {
        "Conv2D" | "DepthwiseConv2dNative" | "Conv2DBackpropInput" => !is_plain(node.ints("dilations")),
        "FusedBatchNormV3" => is_training(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
