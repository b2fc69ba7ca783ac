//! A program as an ONNX model in memory: each of PyTorch's operators as those of ONNX that PyTorch's own exporter writes
//! for it, under the names of PyTorch's modules.

use std::collections::{HashMap, HashSet};

use attr_onnx::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

use crate::aten;
use crate::call::{Call, Fault};
use crate::names::Names;
use crate::places::Places;
use crate::schema::{Graph, Node, Program, SymInt, TensorMeta};
use crate::size::{Size, symbol};
use crate::weights::{Weights, kind};
use crate::{Error, Result};

/// The version of ONNX's operators that are written.
const OPERATOR_SET: i64 = 21;

/// The value that is the number of rows.
const BATCH: &str = "attr.batch";

/// No value has more axes.
const MOST_AXES: usize = 16;

/// What a translation may take: so many bytes for each of the archive, and so many in any case.
const EACH: usize = 16;
const LEAST: usize = 64 << 20;

/// About what a name takes here and where the layers are made of it, and what a number does, which has eight bytes at each
/// of the two.
const NAME: usize = 96;
const NUMBER: usize = 16;

/// What has been written so far.
pub(crate) struct Translator<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) numbers: Vec<TensorProto>,
    batch: Option<&'a str>,
    first_input: Option<String>,
    places: Places<'a>,
    /// The shapes of values that the program itself does not have.
    metas: HashMap<String, &'a TensorMeta>,
    taken: HashSet<String>,
    /// The last number put behind a name.
    numbered: HashMap<String, usize>,
    /// How many bytes the translation may still take.
    left: usize,
}

/// The ONNX model of a program.
pub(crate) fn translate(program: &Program, weights: &Weights) -> Result<ModelProto> {
    let graph = &program.graph_module.graph;
    let mut translator = Translator::new(program, weights.size());
    let inputs = translator.inputs(program, weights)?;
    let names = Names::of(&graph.nodes);
    let mut unsupported: Vec<(String, Vec<String>)> = Vec::new();
    let mut listed = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        if is_about_sizes(node) {
            continue;
        }
        let name = names.name(at);
        match translator.node(at, node, &names) {
            Ok(()) => {}
            Err(Fault::Unsupported(how)) => {
                let space = if how.is_empty() { "" } else { " " };
                let operator = format!("{}{space}{how}", short(&node.target));
                let place = *listed.entry(operator).or_insert_with_key(|operator| {
                    unsupported.push((operator.clone(), Vec::new()));
                    unsupported.len() - 1
                });
                unsupported[place].1.push(name.to_string());
            }
            Err(Fault::Broken(reason)) => return Err(Error::Layer { layer: name.into(), reason }),
        }
    }
    if !unsupported.is_empty() {
        return Err(Error::Operators(unsupported));
    }
    let outputs = translator.outputs(program)?;
    let nodes = needed(translator.nodes, &outputs);
    Ok(ModelProto {
        ir_version: 10,
        producer_name: "torch.export".into(),
        producer_version: program.torch_version.clone().unwrap_or_default(),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATOR_SET }],
        graph: Some(GraphProto {
            node: nodes,
            name: "program".into(),
            initializer: translator.numbers,
            input: inputs,
            output: outputs,
        }),
        ..Default::default()
    })
}

/// The operators that outputs depend on.
fn needed(mut nodes: Vec<NodeProto>, outputs: &[ValueInfoProto]) -> Vec<NodeProto> {
    let mut read: HashSet<_> = outputs.iter().map(|output| output.name.clone()).collect();
    let mut is_needed = vec![false; nodes.len()];
    for (node, is_needed) in nodes.iter().zip(&mut is_needed).rev() {
        *is_needed = node.output.iter().any(|output| read.contains(output));
        if *is_needed {
            read.extend(node.input.iter().cloned());
        }
    }
    let mut is_needed = is_needed.into_iter();
    nodes.retain(|_| is_needed.next().unwrap_or(true));
    nodes
}

/// `aten.conv2d.default` of `torch.ops.aten.conv2d.default`.
fn short(target: &str) -> &str {
    target.strip_prefix("torch.ops.").unwrap_or(target)
}

/// Whether an operator computes lengths, which every value's shape says anyway, or checks something.
fn is_about_sizes(node: &Node) -> bool {
    let sizes = |output: &HashMap<String, serde_json::Value>| {
        output.keys().all(|key| ["as_sym_int", "as_sym_bool", "as_sym_float"].contains(&key.as_str()))
    };
    let checks = ["_assert", "sym_constrain_range", "_check"];
    node.outputs.iter().all(sizes) && !node.outputs.is_empty()
        || checks.iter().any(|check| node.target.contains(check))
}

/// The one thing in an object that says what it is.
pub(crate) fn only<'v>(object: &'v serde_json::Value, key: &str) -> Option<&'v serde_json::Value> {
    object.as_object()?.get(key)
}

impl<'a> Translator<'a> {
    fn new(program: &'a Program, len: usize) -> Self {
        let graph = &program.graph_module.graph;
        let mut last_read = HashMap::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            for argument in &node.inputs {
                argument.arg.values().for_each(|value| {
                    each_name(value, &mut |name| {
                        last_read.insert(name, at);
                    })
                });
            }
        }
        for output in program.graph_module.signature.output_specs.iter().filter_map(user_output) {
            last_read.insert(output, graph.nodes.len());
        }
        Translator {
            graph,
            nodes: Vec::new(),
            numbers: Vec::new(),
            batch: None,
            first_input: None,
            places: Places::new(last_read),
            metas: HashMap::new(),
            taken: graph.tensor_values.keys().cloned().collect(),
            numbered: HashMap::new(),
            left: len.saturating_mul(EACH).saturating_add(LEAST),
        }
    }

    /// The user's inputs; the numbers of all others are taken from the archive.
    fn inputs(&mut self, program: &'a Program, weights: &Weights) -> Result<Vec<ValueInfoProto>> {
        let broken = |reason: &str| Error::Format(format!("signature: {reason}"));
        let mut inputs = Vec::new();
        for spec in &program.graph_module.signature.input_specs {
            let (what, spec) = spec.iter().next().ok_or_else(|| broken("an input without a kind"))?;
            let name = only(spec, "arg").and_then(|arg| {
                let name = arg.get("name").or_else(|| arg.get("as_tensor")?.get("name"))?;
                name.as_str()
            });
            let numbers = match what.as_str() {
                "parameter" => spec.get("parameter_name"),
                "buffer" => spec.get("buffer_name"),
                "tensor_constant" => spec.get("tensor_constant_name"),
                "user_input" => {
                    if let Some(name) = name {
                        inputs.push(self.input(name)?);
                    }
                    continue;
                }
                // Numbers that the program was exported with, and that are written where they are used.
                "constant_input" => continue,
                other => return Err(broken(&format!("an input that is a {other} is not known"))),
            };
            let (Some(name), Some(numbers)) = (name, numbers.and_then(|numbers| numbers.as_str())) else {
                return Err(broken("a parameter without a name"));
            };
            // Counters of training are read by nothing.
            if self.places.is_read(name) {
                // By the path that PyTorch has for them, which is the layer's name where they are a layer of their own.
                let unique = self.unique(numbers);
                let path = unique.map_err(|fault| broken(&fault.to_string()))?;
                self.numbers.push(TensorProto { name: path.clone(), ..weights.get(numbers)? });
                self.metas.insert(path.clone(), self.meta(name)?);
                self.places.set(name, path);
            }
        }
        Ok(inputs)
    }

    fn input(&mut self, name: &'a str) -> Result<ValueInfoProto> {
        let meta = self.meta(name)?;
        if self.batch.is_none() {
            self.batch = meta.sizes.first().and_then(symbol);
        }
        if self.first_input.is_none() && !meta.sizes.is_empty() {
            self.first_input = Some(name.into());
        }
        self.value_info(name)
    }

    fn value_info(&self, name: &str) -> Result<ValueInfoProto> {
        let meta = self.meta(name)?;
        let broken = |reason: String| Error::Tensor { name: name.into(), reason };
        let elem_type =
            kind(meta.dtype).ok_or_else(|| broken(format!("type number {} is not known", meta.dtype)))?;
        let dims = self.sizes(meta).ok_or_else(|| {
            broken(
                "a length depends on something else than the batch, the first axis of the first input".into(),
            )
        })?;
        let dim = |size: Size| DimensionProto {
            value: Some(match size {
                Size::Fixed(n) => Dimension::Value(n),
                Size::Batch(_) => Dimension::Param("batch".into()),
            }),
        };
        let shape = Some(TensorShapeProto { dim: dims.into_iter().map(dim).collect() });
        let tensor_type = Some(TensorTypeProto { elem_type, shape });
        Ok(ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) })
    }

    fn outputs(&self, program: &Program) -> Result<Vec<ValueInfoProto>> {
        let mut outputs = Vec::new();
        for name in program.graph_module.signature.output_specs.iter().filter_map(user_output) {
            outputs.push(self.value_info(self.current(name))?);
        }
        Ok(outputs)
    }

    fn node(&mut self, at: usize, node: &'a Node, names: &Names) -> Result<(), Fault> {
        let target = node.target.strip_prefix("torch.ops.aten.").ok_or_else(Fault::plain)?;
        let (operator, overload) = target.split_once('.').unwrap_or((target, "default"));
        let in_place = operator.ends_with('_') && !operator.ends_with("__");
        let operator = if in_place { &operator[..operator.len() - 1] } else { operator };
        let import = aten::find(operator).ok_or_else(Fault::plain)?;
        let mut call = Call::new(self, node, overload, names.name(at), names.scopes(at))?;
        import(&mut call)?;
        let first = call.outputs.first().copied();
        let looked_at = ["self", "input"].iter().find_map(|name| {
            let argument = node.inputs.iter().find(|argument| argument.name == *name)?;
            argument.arg.get("as_tensor")?.get("name")?.as_str()
        });
        if let (Some(new), Some(old)) = (first, looked_at) {
            if in_place {
                self.change(at, old, new, names)?;
            } else if aten::is_view(operator) {
                call_outputs(node).into_iter().for_each(|output| self.places.view(output, node, old));
            }
        }
        Ok(())
    }

    /// An operator has changed a value in place.
    fn change(&mut self, at: usize, old: &'a str, new: &'a str, names: &Names) -> Result<(), Fault> {
        let mut value = new.to_string();
        for view in self.places.change(at, old, new)? {
            let meta = self.meta(view.parent)?;
            let mut call = Call::new(self, view.node, "default", names.name(at), names.scopes(at))?;
            value = aten::put_back(&mut call, &value)?;
            self.metas.insert(value.clone(), meta);
            self.places.set(view.parent, value.clone());
        }
        Ok(())
    }

    /// The name of a value as it is now.
    pub(crate) fn current<'n>(&'n self, name: &'n str) -> &'n str {
        self.places.current(name)
    }

    /// Takes so many bytes of those that a translation may have.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        let left = self.left.checked_sub(bytes);
        let too_large = || Fault::Broken("the operators of this program are too large for its length".into());
        self.left = left.ok_or_else(too_large)?;
        Ok(())
    }

    pub(crate) fn meta(&self, name: &str) -> Result<&'a TensorMeta> {
        let missing = || Error::Format(format!("the shape of value {name:?} is missing"));
        let meta = self.metas.get(name).copied().or_else(|| self.graph.tensor_values.get(name));
        let meta = meta.ok_or_else(missing)?;
        if meta.sizes.len() > MOST_AXES {
            let reason = format!("expected at most {MOST_AXES} axes, found {}", meta.sizes.len());
            return Err(Error::Tensor { name: name.into(), reason });
        }
        Ok(meta)
    }

    pub(crate) fn sizes(&self, meta: &TensorMeta) -> Option<Vec<Size>> {
        meta.sizes.iter().map(|size| self.size(size)).collect()
    }

    pub(crate) fn size(&self, said: &SymInt) -> Option<Size> {
        Size::of(said, self.batch)
    }

    /// The length that a program calls by this name.
    pub(crate) fn named_size(&self, name: &str) -> Option<Size> {
        Size::of(self.graph.sym_int_values.get(name)?, self.batch)
    }

    /// A name that nothing has yet.
    pub(crate) fn unique(&mut self, name: &str) -> Result<String, Fault> {
        self.spend(NAME + 2 * name.len())?;
        let mut unique = name.to_string();
        while !self.taken.insert(unique.clone()) {
            let number = self.numbered.entry(name.into()).or_default();
            *number += 1;
            unique = format!("{name}.{number}");
        }
        Ok(unique)
    }

    /// The value that is the number of rows, as a list of one.
    pub(crate) fn batch(&mut self) -> Result<String, Fault> {
        if self.taken.insert(BATCH.into()) {
            let input = self.first_input.clone().ok_or_else(|| Fault::Broken("there is no batch".into()))?;
            let zero = TensorProto {
                name: format!("{BATCH}.first"),
                dims: vec![1],
                data_type: TensorProto::INT64,
                int64_data: vec![0],
                ..Default::default()
            };
            let node = |inputs: &[&str], output: &str, op: &str| NodeProto {
                input: inputs.iter().map(|name| name.to_string()).collect(),
                output: vec![output.into()],
                name: output.into(),
                op_type: op.into(),
                ..Default::default()
            };
            self.nodes.push(node(&[&input], "attr.shape", "Shape"));
            self.nodes.push(node(&["attr.shape", &zero.name], BATCH, "Gather"));
            self.numbers.push(zero);
        }
        Ok(BATCH.into())
    }

    pub(crate) fn push(&mut self, mut node: NodeProto, scopes: &str) -> Result<(), Fault> {
        let names = node.input.iter().chain(&node.output).map(|name| NAME + name.len());
        let attributes = node.attribute.len() * size_of::<AttributeProto>();
        let texts = names.sum::<usize>() + node.name.len() + scopes.len();
        self.spend(size_of::<NodeProto>() + attributes + texts)?;
        if !scopes.is_empty() {
            let key = "pkg.torch.onnx.name_scopes".into();
            node.metadata_props.push(StringStringEntryProto { key, value: scopes.into() });
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Numbers under a name of their own.
    pub(crate) fn constant(&mut self, tensor: TensorProto, count: usize) -> Result<(), Fault> {
        self.spend(size_of::<TensorProto>().saturating_add(count.saturating_mul(NUMBER)))?;
        self.numbers.push(tensor);
        Ok(())
    }
}

/// The value that is an output of the user's.
fn user_output(spec: &HashMap<String, serde_json::Value>) -> Option<&str> {
    only(spec.get("user_output")?, "arg")?.get("as_tensor")?.get("name")?.as_str()
}

/// The names of an operator's values, in order.
pub(crate) fn call_outputs(node: &Node) -> Vec<&str> {
    let mut names = Vec::new();
    for output in &node.outputs {
        output.values().for_each(|value| each_name(value, &mut |name| names.push(name)));
    }
    names
}

/// All names within an argument.
fn each_name<'v>(value: &'v serde_json::Value, see: &mut impl FnMut(&'v str)) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(name) if key == "name" || key == "as_name" => see(name),
                    _ => each_name(value, see),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| each_name(value, see)),
        _ => {}
    }
}
