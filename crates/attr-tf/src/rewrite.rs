//! Operators whose derivative TensorFlow's C library lacks or gets wrong, as others that do the same exactly.
//!
//! What was found to be wrong in TensorFlow 2.16, without an error: a convolution with dilations, log-softmax of
//! anything but a matrix. Without a derivative: the complementary error function, several values handed on at once (of
//! which Keras makes SiLU), batch norm of earlier versions, explicit padding. And maxima are rewritten whose derivative
//! is another one at a kink than everywhere here: a bound lets nothing through, the first of equals takes all.

use std::collections::{BTreeMap, HashMap};

use attr_core::{Error, Result};
use attr_graphdef::node::{endpoint, tensor_name};
use attr_graphdef::proto::{Attr, AttrValue, NodeDef, data_type};
use attr_graphdef::tensor::tensor_proto;
use ndarray::{Array1, Array2, ArrayD};

/// The lengths of a tensor's axes as far as they are known, by its name; none at all if not even their number is.
pub(crate) type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<Option<usize>>>;

/// The same graph with operators that can be differentiated; parameters are placeholders by these names.
pub(crate) fn exact(
    nodes: Vec<NodeDef>,
    is_param: &dyn Fn(&str) -> bool,
    shapes: Shapes<'_>,
) -> Result<Vec<NodeDef>> {
    let constants: HashMap<String, NodeDef> = (nodes.iter())
        .filter(|node| node.op == "Const" || is_param(&node.name))
        .map(|node| (node.name.clone(), node.clone()))
        .collect();
    let mut rewriter = Rewriter { constants, shapes, nodes: Vec::new(), renamed: BTreeMap::new() };
    for mut node in nodes {
        for input in &mut node.input {
            if let Some(other) = rewriter.renamed.get(input) {
                *input = other.clone();
            }
        }
        rewriter.node(node)?;
    }
    Ok(rewriter.nodes)
}

struct Rewriter<'a> {
    constants: HashMap<String, NodeDef>,
    shapes: Shapes<'a>,
    nodes: Vec<NodeDef>,
    /// Tensors that have another name now.
    renamed: BTreeMap<String, String>,
}

impl Rewriter<'_> {
    fn node(&mut self, node: NodeDef) -> Result<()> {
        match node.op.as_str() {
            "Conv2D" | "DepthwiseConv2dNative" | "MaxPool" => {
                let node = self.unpadded(node)?;
                match node.ints("dilations") {
                    [_, 1, 1, _] | [] => self.nodes.push(node),
                    _ => self.dilated(node)?,
                }
            }
            "Erfc" => {
                let erf = self.push(&node, "erf", "Erf", [&node.input[0]]);
                let one = self.number(&node, "one", 1.0)?;
                let inputs = [one, erf];
                self.last(&node, "Sub", inputs);
            }
            "IdentityN" => self.identities(&node),
            "LogSoftmax" => self.log_softmax(node)?,
            "FusedBatchNorm" | "FusedBatchNormV2" => {
                let single = AttrValue::kind(data_type::FLOAT);
                self.nodes.push(NodeDef { op: "FusedBatchNormV3".into(), ..node.with("U", single) });
            }
            "Maximum" | "Minimum" => self.bound(node),
            "Max" => self.largest(node)?,
            _ => self.nodes.push(node),
        }
        Ok(())
    }

    /// A helper of an operator, of the same kind of numbers; gives its name.
    fn push<I: AsRef<str>>(
        &mut self,
        of: &NodeDef,
        name: &str,
        op: &str,
        input: impl IntoIterator<Item = I>,
    ) -> String {
        let name = format!("{}/{name}", of.name);
        let input = input.into_iter().map(|input| input.as_ref().to_string());
        self.nodes.push(NodeDef::new(op, &name, input).with("T", kind(of)));
        name
    }

    /// The operator that has the value of the one that is rewritten.
    fn last<I: Into<String>>(&mut self, of: &NodeDef, op: &str, input: impl IntoIterator<Item = I>) {
        self.nodes.push(NodeDef::new(op, &of.name, input).with("T", kind(of)));
    }

    /// Adds an attribute to what was pushed last.
    fn and(&mut self, name: &str, value: AttrValue) {
        let node = self.nodes.pop().expect("BUG: an operator has been pushed");
        self.nodes.push(node.with(name, value));
    }

    fn constant(
        &mut self,
        of: &NodeDef,
        name: &str,
        dtype: i32,
        tensor: attr_graphdef::proto::TensorProto,
    ) -> String {
        let name = format!("{}/{name}", of.name);
        let node = NodeDef::new("Const", &name, [""; 0]).with("dtype", AttrValue::kind(dtype));
        self.nodes.push(node.with("value", AttrValue::tensor(tensor)));
        name
    }

    fn ints(&mut self, of: &NodeDef, name: &str, numbers: ArrayD<i32>) -> String {
        self.constant(of, name, data_type::INT32, tensor_proto(&numbers))
    }

    fn number(&mut self, of: &NodeDef, name: &str, number: f64) -> Result<String> {
        match of.kind("T").unwrap_or(data_type::FLOAT) {
            data_type::DOUBLE => Ok(self.constant(
                of,
                name,
                data_type::DOUBLE,
                tensor_proto(&ArrayD::from_elem(vec![], number)),
            )),
            data_type::FLOAT => Ok(self.constant(
                of,
                name,
                data_type::FLOAT,
                tensor_proto(&ArrayD::from_elem(vec![], number as f32)),
            )),
            other => Err(refused(of, &format!("expected single or double precision, found type {other}"))),
        }
    }

    /// Explicit padding as an operator of its own.
    fn unpadded(&mut self, mut node: NodeDef) -> Result<NodeDef> {
        if node.text("padding") != Some("EXPLICIT") {
            return Ok(node);
        }
        channels_last(&node)?;
        let widths: Vec<_> = node.ints("explicit_paddings").iter().map(|&n| n as i32).collect();
        let widths = Array2::from_shape_vec((4, 2), widths)
            .map_err(|_| refused(&node, "expected explicit padding for four axes"))?;
        let value = if node.op == "MaxPool" { f64::NEG_INFINITY } else { 0.0 };
        let widths = self.ints(&node, "paddings", widths.into_dyn());
        let value = self.number(&node, "padding", value)?;
        node.input[0] = self.push(&node, "padded", "PadV2", [&node.input[0], &widths, &value]);
        self.and("Tpaddings", AttrValue::kind(data_type::INT32));
        node.attr.remove("explicit_paddings");
        Ok(node.with("padding", AttrValue::text("VALID")))
    }

    /// A convolution with dilations as one without, of as many smaller values as fit between the kernel's entries.
    fn dilated(&mut self, node: NodeDef) -> Result<()> {
        channels_last(&node)?;
        let spatial =
            |numbers: &[i64]| [1, 2].map(|axis| numbers.get(axis).map_or(1, |&n| n.max(1) as usize));
        let (stride, apart) = (spatial(node.ints("strides")), spatial(node.ints("dilations")));
        if stride != [1, 1] {
            return Err(refused(&node, "has strides and dilations at once"));
        }
        let known = |tensor: &str, axes: [usize; 2]| -> Result<[usize; 2]> {
            // Padding that was made explicit is not in the graph whose shapes are known.
            let (tensor, more) = match self.padding_of(tensor) {
                Some((source, widths)) => (source, [1, 2].map(|axis| widths[axis])),
                None => (tensor.to_string(), [0, 0]),
            };
            let dims = (self.shapes)(&tensor);
            let along = |place: usize| dims.as_ref()?.get(axes[place]).copied()?.map(|n| n + more[place]);
            match (along(0), along(1)) {
                (Some(a), Some(b)) => Ok([a, b]),
                _ => Err(refused(&node, "has dilations, and its input's height and width are open")),
            }
        };
        let (size, kernel) = (known(&node.input[0], [1, 2])?, known(&node.input[1], [0, 1])?);
        let (mut around, mut cut) = (Array2::zeros((2, 2)), Array2::zeros((2, 2)));
        for axis in 0..2 {
            let same = if node.text("padding") == Some("SAME") {
                kernel[axis].saturating_sub(1) * apart[axis]
            } else {
                0
            };
            let whole = size[axis] + same;
            let more = whole.next_multiple_of(apart[axis]) - whole;
            around[[axis, 0]] = (same / 2) as i32;
            around[[axis, 1]] = (same - same / 2 + more) as i32;
            cut[[axis, 1]] = more as i32;
        }
        let block = Array1::from_iter(apart.iter().map(|&n| n as i32)).into_dyn();
        let block = self.ints(&node, "block", block);
        let (around, cut) =
            (self.ints(&node, "around", around.into_dyn()), self.ints(&node, "cut", cut.into_dyn()));
        let int = AttrValue::kind(data_type::INT32);
        let pieces = self.push(&node, "apart", "SpaceToBatchND", [&node.input[0], &block, &around]);
        self.and("Tblock_shape", int.clone());
        self.and("Tpaddings", int.clone());
        let name = format!("{}/convolved", node.name);
        let mut convolved = node.clone().with("padding", AttrValue::text("VALID"));
        convolved = convolved.with("dilations", AttrValue::ints([1; 4]));
        (convolved.name, convolved.input[0]) = (name.clone(), pieces);
        self.nodes.push(convolved);
        self.last(&node, "BatchToSpaceND", [name, block, cut]);
        self.and("Tblock_shape", int.clone());
        self.and("Tcrops", int);
        Ok(())
    }

    /// What a padding that was made explicit here is around, and how wide both sides of each axis are together.
    fn padding_of(&self, tensor: &str) -> Option<(String, Vec<usize>)> {
        let find = |name: &str| self.nodes.iter().rev().find(|node| node.name == name);
        let padded = find(tensor).filter(|node| node.op == "PadV2" && tensor.ends_with("/padded"))?;
        let widths = find(&padded.input[1])?.tensor("value")?;
        let numbers: Vec<_> = widths
            .tensor_content
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Some((
            padded.input[0].clone(),
            numbers.chunks(2).map(|pair| pair.iter().sum::<i32>() as usize).collect(),
        ))
    }

    /// Several values handed on; with a gradient of their author's only where that is known to be the function's own,
    /// for a file does not hold it.
    fn identities(&mut self, node: &NodeDef) {
        if node.attr.contains_key("_gradient_op_type") && !self.is_silu(node) {
            return self.nodes.push(node.clone());
        }
        let types = match node.attribute("T") {
            Some(Attr::List(list)) => list.r#type.clone(),
            _ => Vec::new(),
        };
        for (output, (input, dtype)) in node.input.iter().zip(types).enumerate() {
            let name = if output == 0 { node.name.clone() } else { format!("{}/{output}", node.name) };
            self.renamed.insert(tensor_name(&node.name, output), name.clone());
            self.nodes.push(NodeDef::new("Identity", &name, [input]).with("T", AttrValue::kind(dtype)));
        }
    }

    /// Whether the first value is `x sigmoid(x)`, or `x sigmoid(b x)`, as Keras makes it.
    fn is_silu(&self, node: &NodeDef) -> bool {
        let find = |tensor: &String| self.nodes.iter().rev().find(|node| node.name == *tensor);
        let Some(product) = node.input.first().and_then(find).filter(|node| node.op == "Mul") else {
            return false;
        };
        let is_gate = |gate: &String, x: &String| {
            let sigmoid = find(gate).filter(|node| node.op == "Sigmoid");
            let Some(of) = sigmoid.and_then(|sigmoid| sigmoid.input.first()) else { return false };
            let scaled = find(of).filter(|node| node.op == "Mul");
            let is_scaled = scaled.is_some_and(|node| {
                node.input.contains(x) && node.input.iter().any(|other| self.constants.contains_key(other))
            });
            of == x || is_scaled
        };
        let [a, b] = &product.input[..] else { return false };
        is_gate(b, a) || is_gate(a, b)
    }

    fn log_softmax(&mut self, node: NodeDef) -> Result<()> {
        let dims = (self.shapes)(&node.input[0]);
        match dims.as_deref() {
            Some([_, _]) => self.nodes.push(node),
            Some([.., Some(last)]) => {
                let int = AttrValue::kind(data_type::INT32);
                let matrix = self.ints(&node, "matrix", Array1::from_vec(vec![-1, *last as i32]).into_dyn());
                let shape = self.push(&node, "shape", "Shape", [&node.input[0]]);
                self.and("out_type", int.clone());
                let rows = self.push(&node, "rows", "Reshape", [&node.input[0], &matrix]);
                self.and("Tshape", int.clone());
                let logarithms = self.push(&node, "logarithms", "LogSoftmax", [&rows]);
                self.last(&node, "Reshape", [logarithms, shape]);
                self.and("Tshape", int);
            }
            _ => return Err(refused(&node, "is over an axis of open length")),
        }
        Ok(())
    }

    /// A value held above or below a constant: the derivative at the bound is 0.
    fn bound(&mut self, node: NodeDef) {
        let is_constant = |input: &String| self.constants.contains_key(endpoint(input).0);
        let (x, bound) = match [is_constant(&node.input[0]), is_constant(&node.input[1])] {
            [false, true] => (node.input[0].clone(), node.input[1].clone()),
            [true, false] => (node.input[1].clone(), node.input[0].clone()),
            _ => return self.nodes.push(node),
        };
        // Compared so that NaN stays NaN.
        let beyond = if node.op == "Maximum" { "LessEqual" } else { "GreaterEqual" };
        let beyond = self.push(&node, "beyond", beyond, [&x, &bound]);
        self.last(&node, "SelectV2", [beyond, bound, x]);
    }

    /// The largest value along axes, one after another from the last: the first of equals in row-major order.
    fn largest(&mut self, node: NodeDef) -> Result<()> {
        let rank = (self.shapes)(&node.input[0]).map(|dims| dims.len());
        let axes = self.constants.get(endpoint(&node.input[1]).0).and_then(|axes| axes.tensor("value"));
        let (Some(rank), Some(axes)) = (rank, axes) else {
            return Err(refused(&node, "is over axes that are not known"));
        };
        let listed: Vec<i32> = match axes.tensor_content.is_empty() {
            true => axes.int_val.clone(),
            false => axes
                .tensor_content
                .chunks_exact(4)
                .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        };
        let mut axes: Vec<_> =
            listed.iter().map(|&axis| if axis < 0 { axis + rank as i32 } else { axis }).collect();
        axes.sort_unstable();
        axes.dedup();
        if axes.iter().any(|&axis| axis < 0 || axis >= rank as i32) {
            return Err(refused(&node, "is over axes that its value does not have"));
        }
        let int = AttrValue::kind(data_type::INT32);
        let (zero, one) = (self.number(&node, "zero", 0.0)?, self.number(&node, "one", 1.0)?);
        let mut value = node.input[0].clone();
        for axis in axes.iter().rev() {
            let along = self.ints(&node, &format!("axis_{axis}"), ArrayD::from_elem(vec![], *axis));
            let name = |what: &str| format!("{what}_{axis}");
            let most = self.push(&node, &name("most"), "Max", [&value, &along]);
            self.and("Tidx", int.clone());
            self.and("keep_dims", AttrValue::flag(true));
            let equal = self.push(&node, &name("equal"), "Equal", [&value, &most]);
            let counts = self.push(&node, &name("counts"), "SelectV2", [&equal, &one, &zero]);
            let number = self.push(&node, &name("number"), "Cumsum", [&counts, &along]);
            self.and("Tidx", int.clone());
            let first = self.push(&node, &name("first"), "Equal", [&number, &one]);
            let both = format!("{}/both_{axis}", node.name);
            self.nodes.push(NodeDef::new("LogicalAnd", &both, [&equal, &first]));
            let chosen = self.push(&node, &name("chosen"), "SelectV2", [&both, &value, &zero]);
            value = self.push(&node, &name("largest"), "Sum", [&chosen, &along]);
            self.and("Tidx", int.clone());
            self.and("keep_dims", AttrValue::flag(true));
        }
        if node.flag("keep_dims") || axes.is_empty() {
            self.last(&node, "Identity", [value]);
        } else {
            self.last(&node, "Squeeze", [value]);
            self.and("squeeze_dims", AttrValue::ints(axes.iter().map(|&axis| i64::from(axis))));
        }
        Ok(())
    }
}

fn kind(node: &NodeDef) -> AttrValue {
    AttrValue::kind(node.kind("T").unwrap_or(data_type::FLOAT))
}

fn channels_last(node: &NodeDef) -> Result<()> {
    match node.text("data_format") {
        None | Some("NHWC") => Ok(()),
        Some(other) => Err(refused(node, &format!("expected channels last, found {other}"))),
    }
}

fn refused(node: &NodeDef, reason: &str) -> Error {
    Error::Unsupported(format!("layer {:?} ({}): {reason}", node.name, node.op))
}
