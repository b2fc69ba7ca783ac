//! From a file to the layer graph.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use attr_core::Graph;
use prost::Message;
use prost::bytes::Bytes;

use crate::array::Constant;
use crate::functions::{Placed, inlined, name_of, opset};
use crate::import::Context;
use crate::names::{Modules, by_modules};
use crate::node::{Fault, MAX_RANK, Node, Value};
use crate::numbers::Numbers;
use crate::operators::{import, is_known};
use crate::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::tensor::{Beside, array};
use crate::{Error, Result};

/// The versions of ONNX's set of operators that are known here.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=24;

/// No row of an input has more numbers than this.
const MAX_ROW_LEN: usize = 1 << 31;

/// What a file does not say, or not clearly enough.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// For an input by its name: the length of each axis behind the batch, as in `[3, 224, 224]`. Needed
    /// where the file leaves one open; an error where it contradicts the file. Default: none.
    pub input_shapes: HashMap<String, Vec<usize>>,
    /// Inputs by name that are held at a value: they become constants of the network, as if the file had them
    /// as weights. Default: none.
    pub constants: HashMap<String, Numbers>,
    /// Whether inputs are taken to have no batch: each has exactly the lengths that the file says, and so many
    /// that [`Self::input_shapes`] gives all of them. Such a network can be computed and differentiated, for
    /// one input at a time; methods need a batch. Default: no, axis 0 of every input is the batch.
    pub without_batch: bool,
    /// Whether chains of operators stay as they are written, where several together are a layer norm, an activation or
    /// attention ([`Graph::recognise`]): for cuts within such a chain. Default: no.
    pub as_written: bool,
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
    attr_wire::check(&bytes, &crate::cost::MODEL).map_err(Error::Format)?;
    let model = ModelProto::decode(bytes).map_err(|e| Error::Format(e.to_string()))?;
    opened(model, len, beside, options)
}

/// As [`decode_with`], of a model that is decoded already, or was made by a reader of another format. What is computed
/// while reading is bounded in proportion to `len`, the bytes that the model came from.
pub fn from_model(model: ModelProto, len: usize, options: &Options) -> Result<Graph> {
    opened(model, len, Beside::new(None), options)
}

fn opened(mut model: ModelProto, len: usize, beside: Beside, options: &Options) -> Result<Graph> {
    if model.graph.is_none() {
        return Err(Error::Format("expected a graph, found none".into()));
    }
    let opset = known(opset(&model.opset_import))?;
    let nodes = inlined(&mut model, opset, len)?;
    let graph = model.graph.as_ref().expect("BUG: the graph was there before its operators were taken");
    Reader::new(graph, &nodes, Context::new(len, beside))?.read(graph, &nodes, options)
}

/// The version of the set of operators, if it is known here.
fn known(opset: Option<i64>) -> Result<i64> {
    match opset {
        Some(opset) if OPSETS.contains(&opset) => Ok(opset),
        found => {
            let found = found.map_or("none".to_string(), |version| version.to_string());
            let (first, last) = (OPSETS.start(), OPSETS.end());
            Err(Error::Format(format!("expected operator set {first} to {last}, found {found}")))
        }
    }
}

struct Reader<'a> {
    context: Context,
    /// Initialisers that no layer has read yet, and what each is called should it become a layer.
    initialisers: HashMap<&'a str, (&'a TensorProto, Rc<str>)>,
    /// The names of the layers, by place in the file.
    names: Vec<Rc<str>>,
    values: HashMap<&'a str, Value>,
    /// Values that some layer gives.
    given: HashSet<&'a str>,
    modules: Modules,
    unsupported: Vec<(String, Vec<String>)>,
    places: HashMap<String, usize>,
}

impl<'a> Reader<'a> {
    /// Gives every layer the name that it has by its modules, or else in the file, or else that of its value.
    fn new(graph: &'a GraphProto, nodes: &'a [Placed], mut context: Context) -> Result<Self> {
        let is_weight: HashSet<_> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        for input in graph.input.iter().filter(|input| !is_weight.contains(input.name.as_str())) {
            context.unique(&input.name);
        }
        let by_modules = by_modules(nodes.iter().map(|placed| &placed.node));
        let names = nodes
            .iter()
            .zip(&by_modules)
            .map(|(placed, name)| context.unique(name.as_deref().unwrap_or_else(|| name_of(&placed.node))));
        let names = names.collect();
        let mut initialisers = HashMap::new();
        for tensor in &graph.initializer {
            let layer = context.unique(if tensor.name.is_empty() { "constant" } else { &tensor.name });
            if initialisers.insert(tensor.name.as_str(), (tensor, layer)).is_some() {
                let reason = "two initialisers have this name".into();
                return Err(Error::Tensor { name: tensor.name.clone(), reason });
            }
        }
        let given = nodes.iter().flat_map(|placed| placed.node.output.iter().map(String::as_str)).collect();
        Ok(Reader {
            context,
            initialisers,
            names,
            values: HashMap::new(),
            given,
            modules: Modules::default(),
            unsupported: Vec::new(),
            places: HashMap::new(),
        })
    }

    fn read(mut self, graph: &'a GraphProto, nodes: &'a [Placed], options: &Options) -> Result<Graph> {
        let mut constants: HashMap<_, _> = options.constants.iter().collect();
        for input in &graph.input {
            match constants.remove(&input.name) {
                Some(numbers) => self.known_input(&input.name, numbers)?,
                None if !self.initialisers.contains_key(input.name.as_str()) => self.input(input, options)?,
                None => {}
            }
        }
        if let Some(name) = constants.keys().next() {
            let reason = "expected an input of the network, found none of this name".into();
            return Err(Error::Input { name: name.to_string(), reason });
        }
        let names = std::mem::take(&mut self.names);
        for (placed, name) in nodes.iter().zip(&names) {
            self.node(&placed.node, known(Some(placed.opset))?, name)?;
        }
        let mut outputs = Vec::new();
        for output in &graph.output {
            match self.supported(&output.name, "output")? {
                Value::Layer(id) => outputs.push(id),
                Value::Constant(constant) => {
                    outputs.push(self.context.constant_layer(&constant).map_err(|f| plain(f, &output.name))?);
                }
                Value::Rows(_) => {
                    self.report("an output that is the number of a row".into(), &output.name)?
                }
                Value::Unknown | Value::Unsupported(..) => {}
            }
        }
        if !self.unsupported.is_empty() {
            return Err(Error::Operators(self.unsupported));
        }
        if outputs.is_empty() {
            return Err(Error::Format("expected at least one output, found none".into()));
        }
        let mut graph = self.context.graph;
        graph.set_outputs(&outputs)?;
        self.modules.name(&mut graph)?;
        if options.as_written { Ok(graph) } else { Ok(graph.recognise()?) }
    }

    /// An input whose value the user gives.
    fn known_input(&mut self, name: &'a str, numbers: &Numbers) -> Result<()> {
        if numbers.dims().len() > MAX_RANK {
            let reason = format!("expected at most {MAX_RANK} axes, found {}", numbers.dims().len());
            return Err(Error::Input { name: name.into(), reason });
        }
        // As the value that the user gives replaces one in the file, the file's is not looked at.
        let layer = self.initialisers.remove(name).map_or_else(|| name.into(), |(_, layer)| layer);
        let origin = self.context.new_origin();
        let constant = Constant { name: layer, origin, array: numbers.into() };
        self.values.insert(name, Value::Constant(constant));
        Ok(())
    }

    fn input(&mut self, input: &'a ValueInfoProto, options: &Options) -> Result<()> {
        let broken = |reason: String| Error::Input { name: input.name.clone(), reason };
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| broken("expected a tensor".into()))?;
        let (float, whole) = (TensorProto::is_float, TensorProto::is_whole);
        if !float(tensor.elem_type) && !whole(tensor.elem_type) {
            let found = TensorProto::type_name(tensor.elem_type);
            let expected = "float, double, float16, bfloat16, int64, int32 or bool";
            return Err(broken(format!("expected {expected}, found {found}")));
        }
        let said = tensor.shape.as_ref().map(|shape| &shape.dim[..]);
        let batch = if options.without_batch { None } else { self.batch(said).map_err(broken)? };
        let wanted = options.input_shapes.get(&input.name).map(Vec::as_slice);
        let first = usize::from(!options.without_batch);
        let dims = lengths(said.map(|dims| dims.get(first..).unwrap_or_default()), wanted, first);
        let dims = dims.map_err(broken)?;
        let len = dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        if dims.len() >= MAX_RANK || len.is_none_or(|len| len == 0 || len > MAX_ROW_LEN) {
            return Err(broken(format!("a value of shape {dims:?} is empty or too large")));
        }
        self.context.rows = self.context.rows.or(batch);
        let id = match options.without_batch {
            true => self.context.graph.fixed_input(&input.name, &dims)?,
            false => self.context.graph.input(&input.name, &dims)?,
        };
        self.context.double |= tensor.elem_type == TensorProto::DOUBLE;
        if whole(tensor.elem_type) {
            self.context.whole.insert(id);
        }
        self.values.insert(&input.name, Value::Layer(id));
        Ok(())
    }

    /// How many rows the file was made for, by the first axis of an input, if it says so.
    fn batch(&self, dims: Option<&[DimensionProto]>) -> std::result::Result<Option<usize>, String> {
        let Some(dims) = dims else { return Ok(None) };
        match dims.first().ok_or("expected a batch axis, found a single number")?.value {
            Some(Dimension::Value(rows @ 1..)) => {
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                match self.context.rows.filter(|&other| other != rows) {
                    Some(other) => Err(format!("expected a batch of {other}, found {rows}")),
                    None => Ok(Some(rows)),
                }
            }
            _ => Ok(None),
        }
    }

    fn node(&mut self, node: &'a NodeProto, opset: i64, name: &Rc<str>) -> Result<()> {
        let known = ["", "ai.onnx"].contains(&node.domain.as_str()) && is_known(&node.op_type);
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            inputs.push(if input.is_empty() { None } else { Some(self.supported(input, name)?) });
        }
        let unknown = inputs.iter().flatten().any(|input| matches!(input, Value::Unknown));
        if !known {
            let domain = if node.domain.is_empty() { "" } else { "." };
            self.report(format!("{}{domain}{}", node.domain, node.op_type), name)?;
            return self.set(node, name, Vec::new(), |_| Value::Unknown);
        }
        if unknown {
            return self.set(node, name, Vec::new(), |_| Value::Unknown);
        }
        let n = Node::new(name.clone(), opset, node, inputs);
        let result = match import(&mut self.context, &n) {
            Ok(values) => match n.ignored() {
                None => Ok(values),
                Some(attribute) => Err(Fault::Unsupported(with_attribute(attribute))),
            },
            fault => fault,
        };
        match result {
            Ok(values) => {
                if let Some(Value::Layer(id)) = values.first() {
                    self.modules.note(node, *id);
                }
                self.set(node, name, values, |i| {
                    Value::Unsupported(format!("{} with output {i}", node.op_type).into(), name.clone())
                })
            }
            Err(Fault::Unsupported(how)) => {
                self.report(format!("{} {how}", node.op_type), name)?;
                self.set(node, name, Vec::new(), |_| Value::Unknown)
            }
            Err(fault) => Err(plain(fault, name)),
        }
    }

    /// Remembers the values of an operator's outputs, `rest` where it has more outputs than values.
    fn set(
        &mut self,
        node: &'a NodeProto,
        layer: &Rc<str>,
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

    /// As [`Self::value`]. What is unsupported when it is read is reported, once, and unknown from then on.
    fn supported(&mut self, name: &'a str, reader: &str) -> Result<Value> {
        let value = self.value(name, reader)?;
        let Value::Unsupported(operator, layer) = value else { return Ok(value) };
        self.report(operator.to_string(), &layer)?;
        self.values.insert(name, Value::Unknown);
        Ok(Value::Unknown)
    }

    /// What a value of the file has become; an initialiser is decoded when it is first read.
    fn value(&mut self, name: &'a str, reader: &str) -> Result<Value> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if let Some((tensor, layer)) = self.initialisers.get(name) {
            let array = array(tensor, &mut self.context.beside)?;
            if tensor.data_location == TensorProto::EXTERNAL {
                self.context.grant(array.len());
            }
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

    fn report(&mut self, operator: String, layer: &str) -> Result<()> {
        let place = *self.places.entry(operator).or_insert_with_key(|operator| {
            self.unsupported.push((operator.clone(), Vec::new()));
            self.unsupported.len() - 1
        });
        self.context.spend(layer.len()).map_err(|fault| plain(fault, layer))?;
        self.unsupported[place].1.push(layer.to_string());
        Ok(())
    }
}

/// The length of each axis as the file says it, or else as it is wanted; `first` axes are before them.
fn lengths(
    said: Option<&[DimensionProto]>,
    wanted: Option<&[usize]>,
    first: usize,
) -> std::result::Result<Vec<usize>, String> {
    let said = match (said, wanted) {
        (None, Some(wanted)) => return Ok(wanted.into()),
        (None, None) => return Err("the file does not say its shape: give it".into()),
        (Some(said), _) => said,
    };
    if let Some(wanted) = wanted.filter(|wanted| wanted.len() != said.len()) {
        let behind = if first == 0 { "" } else { " behind the batch" };
        return Err(format!("expected {} lengths{behind}, found {}", said.len(), wanted.len()));
    }
    let length = |(i, dim): (usize, &DimensionProto)| match (&dim.value, wanted.map(|wanted| wanted[i])) {
        (Some(Dimension::Value(n @ 1..)), wanted) => match usize::try_from(*n).unwrap_or(usize::MAX) {
            n if wanted.is_none_or(|wanted| wanted == n) => Ok(n),
            n => Err(format!("axis {}: expected {n}, found {}", i + first, wanted.unwrap_or(0))),
        },
        (_, Some(wanted)) => Ok(wanted),
        (Some(Dimension::Param(name)), None) => {
            Err(format!("axis {} has the open length {name:?}: give the input's shape", i + first))
        }
        (_, None) => Err(format!("axis {} has an open length: give the input's shape", i + first)),
    };
    said.iter().enumerate().map(length).collect()
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
