//! From a file to the layer graph.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use attr_core::Graph;
use prost::Message;
use prost::bytes::Bytes;

use crate::array::Constant;
use crate::import::Context;
use crate::node::{Fault, MAX_RANK, Node, Value};
use crate::operators::{import, is_known};
use crate::proto::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::tensor::{Beside, array};
use crate::{Error, Result};

/// The versions of ONNX's set of operators that are known here.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=22;

/// No row of an input has more numbers than this.
const MAX_ROW_LEN: usize = 1 << 31;

/// What a file does not say, or not clearly enough.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// For an input by its name: the length of each axis behind the batch, as in `[3, 224, 224]`. Needed
    /// where the file leaves one open; an error where it contradicts the file. Default: none.
    pub input_shapes: HashMap<String, Vec<usize>>,
}

/// The layer graph of an ONNX file. Weights in other files are looked for in its directory, not outside.
pub fn read(path: impl AsRef<Path>) -> Result<Graph> {
    read_with(path, &Options::default())
}

/// As [`read`], with [`Options`].
pub fn read_with(path: impl AsRef<Path>, options: &Options) -> Result<Graph> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|reason| Error::Io { path: path.into(), reason })?;
    model(bytes.into(), Beside::new(path.parent()), options)
}

/// The layer graph of an ONNX file's bytes, weights included.
pub fn decode(bytes: &[u8]) -> Result<Graph> {
    decode_with(bytes, &Options::default())
}

/// As [`decode`], with [`Options`].
pub fn decode_with(bytes: &[u8], options: &Options) -> Result<Graph> {
    model(Bytes::copy_from_slice(bytes), Beside::new(None), options)
}

fn model(bytes: Bytes, beside: Beside, options: &Options) -> Result<Graph> {
    let len = bytes.len();
    let model = ModelProto::decode(bytes).map_err(|e| Error::Format(e.to_string()))?;
    let Some(graph) = &model.graph else {
        return Err(Error::Format("expected a graph, found none".into()));
    };
    let version = |domain: &str| model.opset_import.iter().find(|o| o.domain == domain).map(|o| o.version);
    let opset = version("").or(version("ai.onnx"));
    match opset {
        Some(opset) if OPSETS.contains(&opset) => {
            Reader::new(graph, opset, Context::new(len, beside))?.read(graph, options)
        }
        found => {
            let found = found.map_or("none".to_string(), |version| version.to_string());
            let (first, last) = (OPSETS.start(), OPSETS.end());
            Err(Error::Format(format!("expected operator set {first} to {last}, found {found}")))
        }
    }
}

struct Reader<'a> {
    opset: i64,
    context: Context,
    /// Initialisers that no layer has read yet, and what each is called should it become a layer.
    initialisers: HashMap<&'a str, (&'a TensorProto, Rc<str>)>,
    /// The names of the layers, by place in the file.
    names: Vec<Rc<str>>,
    values: HashMap<&'a str, Value>,
    /// Values that some layer gives.
    given: HashSet<&'a str>,
    unsupported: Vec<(String, Vec<String>)>,
    places: HashMap<String, usize>,
}

impl<'a> Reader<'a> {
    /// Gives every layer the name that it has in the file, or else that of its value.
    fn new(graph: &'a GraphProto, opset: i64, mut context: Context) -> Result<Self> {
        let is_weight: HashSet<_> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        for input in graph.input.iter().filter(|input| !is_weight.contains(input.name.as_str())) {
            context.unique(&input.name);
        }
        let names = graph.node.iter().map(|node| {
            let first = node.output.iter().map(String::as_str).find(|name| !name.is_empty());
            let name = if node.name.is_empty() { first.unwrap_or(&node.op_type) } else { &node.name };
            context.unique(if name.is_empty() { "layer" } else { name })
        });
        let names = names.collect();
        let mut initialisers = HashMap::new();
        for tensor in &graph.initializer {
            let layer = context.unique(if tensor.name.is_empty() { "constant" } else { &tensor.name });
            if initialisers.insert(tensor.name.as_str(), (tensor, layer)).is_some() {
                let reason = "two initialisers have this name".into();
                return Err(Error::Tensor { name: tensor.name.clone(), reason });
            }
        }
        let given = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
        Ok(Reader {
            opset,
            context,
            initialisers,
            names,
            values: HashMap::new(),
            given,
            unsupported: Vec::new(),
            places: HashMap::new(),
        })
    }

    fn read(mut self, graph: &'a GraphProto, options: &Options) -> Result<Graph> {
        for input in &graph.input {
            if !self.initialisers.contains_key(input.name.as_str()) {
                self.input(input, options)?;
            }
        }
        let names = std::mem::take(&mut self.names);
        for (node, name) in graph.node.iter().zip(&names) {
            self.node(node, name)?;
        }
        let mut outputs = Vec::new();
        for output in &graph.output {
            match self.value(&output.name, "output")? {
                Value::Layer(id) => outputs.push(id),
                Value::Constant(constant) => {
                    outputs.push(self.context.constant_layer(&constant).map_err(|f| plain(f, &output.name))?);
                }
                Value::Unknown => {}
                Value::Unsupported(operator, layer) => self.report(operator, &layer),
            }
        }
        if !self.unsupported.is_empty() {
            return Err(Error::Operators(self.unsupported));
        }
        if outputs.is_empty() {
            return Err(Error::Format("expected at least one output, found none".into()));
        }
        self.context.graph.set_outputs(&outputs)?;
        Ok(self.context.graph)
    }

    /// Takes axis 0 as the batch, and remembers how many rows the file was made for.
    fn input(&mut self, input: &'a ValueInfoProto, options: &Options) -> Result<()> {
        let broken = |reason: String| Error::Input { name: input.name.clone(), reason };
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| broken("expected a tensor".into()))?;
        if ![TensorProto::FLOAT, TensorProto::DOUBLE].contains(&tensor.elem_type) {
            let found = TensorProto::type_name(tensor.elem_type);
            return Err(broken(format!("expected float or double, found {found}")));
        }
        self.context.float_type = Some(tensor.elem_type);
        let wanted = options.input_shapes.get(&input.name);
        let row = match (&tensor.shape, wanted) {
            (None, Some(row)) => row.clone(),
            (None, None) => return Err(broken("the file does not say its shape: give it".into())),
            (Some(shape), _) => {
                let Some((batch, axes)) = shape.dim.split_first() else {
                    return Err(broken("expected a batch axis, found a single number".into()));
                };
                if let Some(Dimension::Value(rows @ 1..)) = batch.value {
                    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                    if let Some(other) = self.context.rows.replace(rows).filter(|&other| other != rows) {
                        return Err(broken(format!("expected a batch of {other}, found {rows}")));
                    }
                }
                if wanted.is_some_and(|row| row.len() != axes.len()) {
                    let found = wanted.map_or(0, Vec::len);
                    return Err(broken(format!(
                        "expected {} lengths behind the batch, found {found}",
                        axes.len()
                    )));
                }
                let mut row = Vec::new();
                for (i, dim) in axes.iter().enumerate() {
                    let wanted = wanted.map(|row| row[i]);
                    row.push(match (&dim.value, wanted) {
                        (Some(Dimension::Value(n @ 1..)), None) => *n as usize,
                        (Some(Dimension::Value(n @ 1..)), Some(wanted)) if *n as usize == wanted => wanted,
                        (Some(Dimension::Value(n @ 1..)), Some(wanted)) => {
                            return Err(broken(format!("axis {}: expected {n}, found {wanted}", i + 1)));
                        }
                        (_, Some(wanted)) => wanted,
                        (Some(Dimension::Param(name)), None) => {
                            return Err(broken(format!(
                                "axis {} has the open length {name:?}: give the input's shape",
                                i + 1
                            )));
                        }
                        (_, None) => {
                            return Err(broken(format!(
                                "axis {} has an open length: give the input's shape",
                                i + 1
                            )));
                        }
                    });
                }
                row
            }
        };
        let len = row.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        if row.len() >= MAX_RANK || len.is_none_or(|len| len == 0 || len > MAX_ROW_LEN) {
            return Err(broken(format!("a row of shape {row:?} is empty or too large")));
        }
        let id = self.context.graph.input(&input.name, &row)?;
        self.values.insert(&input.name, Value::Layer(id));
        Ok(())
    }

    fn node(&mut self, node: &'a NodeProto, name: &Rc<str>) -> Result<()> {
        let known = ["", "ai.onnx"].contains(&node.domain.as_str()) && is_known(&node.op_type);
        let mut inputs = Vec::new();
        for input in &node.input {
            inputs.push(if input.is_empty() { None } else { Some(self.value(input, name)?) });
        }
        let mut unknown = false;
        for input in inputs.iter().flatten() {
            unknown |= matches!(input, Value::Unknown | Value::Unsupported(..));
            if let Value::Unsupported(operator, layer) = input {
                self.report(operator.clone(), layer);
            }
        }
        if !known {
            let domain = if node.domain.is_empty() { "" } else { "." };
            self.report(format!("{}{domain}{}", node.domain, node.op_type), name);
            return self.set(node, name, Vec::new(), |_| Value::Unknown);
        }
        if unknown {
            return self.set(node, name, Vec::new(), |_| Value::Unknown);
        }
        let n = Node::new(name.clone(), self.opset, node, inputs);
        let result = match import(&mut self.context, &n) {
            Ok(values) => match n.ignored() {
                None => Ok(values),
                Some(attribute) => Err(Fault::Unsupported(with_attribute(attribute))),
            },
            fault => fault,
        };
        match result {
            Ok(values) => self.set(node, name, values, |i| {
                Value::Unsupported(format!("{} with output {i}", node.op_type), name.to_string())
            }),
            Err(Fault::Unsupported(how)) => {
                self.report(format!("{} {how}", node.op_type), name);
                self.set(node, name, Vec::new(), |_| Value::Unknown)
            }
            Err(fault) => Err(plain(fault, name)),
        }
    }

    /// Remembers the values of an operator's outputs, `rest` where it has more outputs than values.
    fn set(
        &mut self,
        node: &'a NodeProto,
        layer: &str,
        values: Vec<Value>,
        rest: impl Fn(usize) -> Value,
    ) -> Result<()> {
        let mut values = values.into_iter();
        for (i, output) in node.output.iter().enumerate() {
            let value = values.next().unwrap_or_else(|| rest(i));
            if output.is_empty() {
                continue;
            }
            let taken = self.initialisers.contains_key(output.as_str());
            if taken || self.values.insert(output, value).is_some() {
                return Err(broken(layer, format!("gives {output:?}, which something else gives too")));
            }
        }
        Ok(())
    }

    /// What a value of the file has become; an initialiser is decoded when it is first read.
    fn value(&mut self, name: &'a str, reader: &str) -> Result<Value> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if let Some((tensor, layer)) = self.initialisers.get(name) {
            let array = array(tensor, &mut self.context.beside)?;
            let origin = self.context.new_origin();
            let value = Value::Constant(Constant { name: layer.clone(), origin, array });
            self.values.insert(name, value.clone());
            return Ok(value);
        }
        Err(broken(
            reader,
            match self.given.contains(name) {
                true => format!("reads {name:?}, which only a later layer or the layer itself gives"),
                false => format!("reads {name:?}, which nothing in the file gives"),
            },
        ))
    }

    fn report(&mut self, operator: String, layer: &str) {
        let place = *self.places.entry(operator).or_insert_with_key(|operator| {
            self.unsupported.push((operator.clone(), Vec::new()));
            self.unsupported.len() - 1
        });
        self.unsupported[place].1.push(layer.into());
    }
}

fn broken(layer: &str, reason: String) -> Error {
    Error::Layer { layer: layer.into(), reason }
}

/// A fault of which nothing good can come, as an error of its layer.
fn plain(fault: Fault, layer: &str) -> Error {
    match fault {
        Fault::Unsupported(reason) | Fault::Broken(reason) => broken(layer, reason),
        Fault::Other(error) => error,
    }
}

fn with_attribute(attribute: &AttributeProto) -> String {
    let text = attribute.s.as_deref().and_then(|s| std::str::from_utf8(s).ok());
    let value = match (attribute.i, attribute.f, text) {
        (Some(i), ..) => format!("={i}"),
        (_, Some(f), _) => format!("={f}"),
        (_, _, Some(text)) => format!("={text:?}"),
        _ if !attribute.ints.is_empty() => format!("={:?}", attribute.ints),
        _ => String::new(),
    };
    format!("with attribute {}{value}", attribute.name)
}
