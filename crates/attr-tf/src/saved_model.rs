//! A SavedModel or frozen graph as it is, differentiated by TensorFlow.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use attr_core::{
    Anchor, At, Cut, Dim, Error, Expected, Gradient, ModelWrapper, Param, Place, Point, Precision, Result,
    Shape, Tensor,
};
use attr_graphdef::Function;
use attr_graphdef::node::endpoint;
use attr_graphdef::proto::{Attr, AttrValue, NodeDef, data_type};
use ndarray::ArrayD;
use tensorflow::{DataType, Graph, Operation, Session};

use crate::derivatives::check_path;
use crate::error::{BACKEND, backend, convert};
use crate::guess::Guess;
use crate::plan::{self, Out, Plan, Role, Source};
use crate::recent::Recent;
use crate::rewrite;
use crate::tensor::{Numbers, from_single};
use crate::{TfTensor, library};

/// One signature of a SavedModel, or a frozen graph, run by TensorFlow as it is, in the precision and layout of the
/// file.
///
/// Every operator that gives floating-point numbers is a cut, by its name or its Keras layer's
/// ([`Function::find`]). Gradients are TensorFlow's own; operators that its C library has no derivative of, or a wrong
/// one, are rewritten as others that do exactly the same, or refused by name. Methods that need to know the layers want
/// [`Function::layers`] and [`crate::compile`] instead.
///
/// ```no_run
/// use attr_tf::SavedModel;
///
/// let model = SavedModel::open("exported", None)?;
/// # Ok::<(), attr_core::Error>(())
/// ```
pub struct SavedModel {
    function: Function,
    /// Operators that can be differentiated.
    nodes: Vec<NodeDef>,
    params: BTreeMap<String, Numbers>,
    precision: Precision,
    /// The inputs' operators, in order.
    inputs: Vec<String>,
    /// The tensors that are outputs and made of floating-point numbers, in order.
    outputs: Vec<String>,
    logits: String,
    layers: Vec<Layer>,
    /// By name, places in `layers`.
    known: HashMap<String, usize>,
    row_bytes: Option<u64>,
    channels_last: bool,
    plans: Recent<Asked, Way>,
    guess: Guess,
}

/// An operator that gives floating-point numbers which depend on an input.
struct Layer {
    place: Place,
    /// Which of the tensors that it reads are such numbers, too: by slot, name and shape.
    edges: Vec<(usize, String, Option<Shape>)>,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Port {
    /// What an operator gives.
    Value(String),
    /// What an operator reads in a slot.
    Edge(String, usize),
}

/// How many pairs of cuts and shapes are kept.
const PLANS: usize = 24;

/// What a plan is for.
#[derive(PartialEq)]
struct Asked {
    dims: Vec<Vec<usize>>,
    replaced: Option<Cut>,
    from: Option<Cut>,
    to: Cut,
}

/// A plan, and which of the tensors at the lower cut the upper one depends on.
struct Way {
    plan: Plan,
    reached: Vec<bool>,
}

impl SavedModel {
    /// Reads a SavedModel's folder, or a frozen graph's `.pb` file; of several signatures `serving_default`, if no
    /// other one is named.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] with what is wrong with the file, [`SavedModel::new`]'s otherwise.
    pub fn open(path: impl AsRef<Path>, signature: Option<&str>) -> Result<Self> {
        let function = attr_graphdef::read(path).and_then(|saved| saved.function(signature));
        Self::new(function.map_err(|error| backend(&error.to_string()))?)
    }

    /// Makes a signature runnable on the CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for operators that can't be run or rewritten, with their names; [`Error::Backend`] says
    /// how to get libtensorflow where it is not there.
    pub fn new(function: Function) -> Result<Self> {
        library::load()?;
        let (nodes, inputs) = with_float_inputs(&function);
        let graph = plan::graph(nodes.clone())?;
        let shapes = |tensor: &str| dims(&graph, tensor);
        let is_param = |name: &str| function.params.contains_key(name);
        let nodes = rewrite::exact(nodes, &is_param, &shapes)?;
        let precision = precision(&function)?;
        let params = function.params.iter().map(|(name, param)| Ok((name.clone(), numbers(param)?)));
        let params = params.collect::<Result<_>>()?;
        let layers = layers(&function, &graph, &inputs);
        let known = layers.iter().enumerate().map(|(i, layer)| (layer.place.name.clone(), i)).collect();
        let lens: Option<Vec<u64>> = layers
            .iter()
            .map(|layer| layer.place.shape.as_ref().map(|shape| shape.row_len() as u64))
            .collect();
        let width = if precision == Precision::F64 { 8 } else { 4 };
        let row_bytes = lens.map(|lens| lens.iter().sum::<u64>() * width);
        let outputs = function.outputs.iter().map(|output| output.tensor.clone());
        let is_known = |tensor: &String| layers.iter().any(|layer| layer.place.name == endpoint(tensor).0);
        let outputs: Vec<_> = outputs.filter(is_known).collect();
        let Some(first) = outputs.first() else {
            let reason = "expected an output of floating-point numbers that depends on an input, found none";
            return Err(Error::graph("output", reason));
        };
        let logits = logits(&function, first);
        let (plans, guess) = (Recent::new(PLANS), Guess::default());
        Ok(SavedModel {
            function,
            nodes,
            params,
            precision,
            inputs,
            outputs,
            logits,
            layers,
            known,
            row_bytes,
            channels_last: true,
            plans,
            guess,
        })
    }

    /// The same for a model whose values have their channels second, as those of [`crate::write`] do.
    pub fn with_channels_second(self) -> Self {
        SavedModel { channels_last: false, ..self }
    }

    /// The signature that is run.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The precision of the file, in which it is run.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn layer(&self, operator: &str) -> Result<&Layer> {
        match self.known.get(operator) {
            Some(&place) => Ok(&self.layers[place]),
            None => Err(Error::UnknownLayer {
                wanted: format!("{operator:?}"),
                hint: "it gives no floating-point numbers that depend on an input".into(),
            }),
        }
    }

    fn ports(&self, cut: &Cut) -> Result<Vec<Port>> {
        let values = match &cut.at {
            At::Several(cuts) => {
                return Ok(cuts.iter().map(|cut| self.ports(cut)).collect::<Result<Vec<_>>>()?.concat());
            }
            At::Input => self.inputs.clone(),
            At::Output => self.outputs.clone(),
            At::Logits => vec![self.logits.clone()],
            At::Layer(name) => vec![self.function.nodes[self.function.find(name)?].name.clone()],
            At::Index(index) => match self.layers.get(*index) {
                Some(layer) => vec![layer.place.name.clone()],
                None => {
                    let hint = format!("expected an index of 0 to {}", self.layers.len() - 1);
                    return Err(Error::UnknownLayer { wanted: index.to_string(), hint });
                }
            },
        };
        let mut ports = Vec::new();
        for tensor in values {
            let layer = self.layer(endpoint(&tensor).0)?;
            match cut.anchor {
                Anchor::In if !layer.edges.is_empty() => {
                    ports.extend(
                        layer.edges.iter().map(|(slot, ..)| Port::Edge(layer.place.name.clone(), *slot)),
                    );
                }
                _ => ports.push(Port::Value(tensor)),
            }
        }
        Ok(ports)
    }

    fn place(&self, port: &Port) -> Result<Place> {
        match port {
            Port::Value(tensor) => {
                let (operator, output) = endpoint(tensor);
                let place = self.layer(operator)?.place.clone();
                Ok(if output == 0 { place } else { Place { name: tensor.clone(), shape: None, ..place } })
            }
            Port::Edge(operator, slot) => {
                let layer = self.layer(operator)?;
                let edge =
                    layer.edges.iter().find(|(other, ..)| other == slot).expect("BUG: an edge is known");
                let source = self.layer(endpoint(&edge.1).0).map(|layer| layer.place.clone());
                let name = format!("input {slot} of {operator}");
                Ok(Place { name, shape: edge.2.clone(), ..source.unwrap_or(layer.place.clone()) })
            }
        }
    }

    /// How many times the inputs' rows the replaced values have.
    fn check(&self, point: Point<'_, TfTensor>) -> Result<usize> {
        let inputs = self.places(&Cut::input())?;
        let at_cut = point.replace.map(|(cut, _)| self.places(cut)).transpose()?.unwrap_or_default();
        fn expected(places: &[Place]) -> Vec<Expected<'_>> {
            places.iter().map(|place| (place.name.as_str(), place.shape.as_ref())).collect()
        }
        let copies = point.check(&expected(&inputs), &expected(&at_cut))?;
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        match point.inputs.iter().chain(values).find(|tensor| tensor.precision() != self.precision) {
            None => Ok(copies),
            Some(other) => {
                Err(backend(&format!("expected numbers in {}, found {}", self.precision, other.precision())))
            }
        }
    }

    /// All tensors that a run at a point is given.
    fn given(&self, point: Point<'_, TfTensor>) -> Result<Vec<TfTensor>> {
        let copies = self.check(point)?;
        let inputs = point.inputs.iter().map(|input| input.tile_rows(copies)).collect::<Result<Vec<_>>>()?;
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        Ok(inputs.into_iter().chain(values.iter().cloned()).collect())
    }

    fn way(
        &self,
        given: &[TfTensor],
        point: Point<'_, TfTensor>,
        from: Option<&Cut>,
        to: &Cut,
    ) -> Result<std::rc::Rc<Way>> {
        let asked = Asked {
            dims: given.iter().map(Tensor::dims).collect(),
            replaced: point.replace.map(|(cut, _)| cut.clone()),
            from: from.cloned(),
            to: to.clone(),
        };
        self.plans.get(asked, |asked| {
            let ports =
                |cut: Option<&Cut>| cut.map(|cut| self.ports(cut)).transpose().map(Option::unwrap_or_default);
            let draft = Draft::new(
                self,
                &ports(asked.replaced.as_ref())?,
                &ports(asked.from.as_ref())?,
                &ports(Some(to))?,
            );
            let rows = asked.dims.first().and_then(|dims| dims.first()).copied().unwrap_or(1);
            let cotangents =
                self.places(to)?.iter().map(|place| Some(place.shape.as_ref()?.at(rows))).collect();
            draft.plan(self, asked, cotangents)
        })
    }
}

/// A graph with values put in, and with what is to be fetched from it.
struct Draft {
    nodes: Vec<NodeDef>,
    /// The tensors at the lower and the upper cut.
    from: Vec<String>,
    to: Vec<String>,
}

impl Draft {
    fn new(model: &SavedModel, replaced: &[Port], from: &[Port], to: &[Port]) -> Self {
        let mut nodes = model.nodes.clone();
        let mut edges: Vec<(&str, usize)> = Vec::new();
        for port in replaced.iter().chain(from).chain(to) {
            match port {
                Port::Edge(operator, slot) if !edges.contains(&(operator, *slot)) => {
                    edges.push((operator, *slot))
                }
                _ => {}
            }
        }
        for (operator, slot) in edges {
            let name = edge_name(operator, slot);
            let node = nodes.iter_mut().find(|node| node.name == operator);
            let input = &mut node.expect("BUG: an operator with an edge is there").input[slot];
            let tensor = std::mem::replace(input, name.clone());
            nodes.push(NodeDef::new("Identity", &name, [tensor]).with("T", model.kind()));
        }
        let mut put: HashMap<String, String> = HashMap::new();
        for (i, port) in replaced.iter().enumerate() {
            let name = put_name(i);
            nodes.push(
                NodeDef::new("Placeholder", &name, [""; 0])
                    .with("dtype", model.kind())
                    .with("shape", model.shape_at(port)),
            );
            put.insert(tensor_of(port), name);
        }
        if !put.is_empty() {
            for input in nodes.iter_mut().flat_map(|node| &mut node.input) {
                if let Some(name) = put.get(input) {
                    *input = name.clone();
                }
            }
        }
        let read = |ports: &[Port]| -> Vec<String> {
            let tensor = |port: &Port| {
                let tensor = tensor_of(port);
                put.get(&tensor).cloned().unwrap_or(tensor)
            };
            ports.iter().map(tensor).collect()
        };
        Draft { from: read(from), to: read(to), nodes }
    }

    fn plan(mut self, model: &SavedModel, asked: &Asked, cotangents: Option<Vec<Vec<usize>>>) -> Result<Way> {
        let mut fetch = |tensor: &String, name: String| {
            self.nodes.push(NodeDef::new("Identity", &name, [tensor]).with("T", model.kind()));
            name
        };
        let there: Vec<_> = (self.to.iter().chain(&self.from).enumerate())
            .map(|(i, tensor)| fetch(tensor, format!("fetched_{i}")))
            .collect();
        let differentiates = asked.from.is_some();
        for (i, tensor) in self.to.iter().enumerate().filter(|_| differentiates) {
            let (cotangent, product) = (cotangent_name(i), product_name(i));
            let open = AttrValue::from(Attr::Shape(attr_graphdef::proto::TensorShapeProto {
                unknown_rank: true,
                ..Default::default()
            }));
            self.nodes.push(
                NodeDef::new("Placeholder", &cotangent, [""; 0])
                    .with("dtype", model.kind())
                    .with("shape", open),
            );
            self.nodes.push(NodeDef::new("Mul", &product, [tensor, &cotangent]).with("T", model.kind()));
        }
        let reached: Vec<_> = {
            let leads = below(&self.nodes, &self.to);
            self.from.iter().map(|tensor| leads.contains(tensor)).collect()
        };
        if differentiates && !reached.contains(&true) {
            let (from, to) = (asked.from.as_ref().expect("BUG: there is a lower cut"), &asked.to);
            return Err(Error::NotConnected { from: from.to_string(), to: to.to_string() });
        }
        if differentiates {
            check_path(&self.nodes, &self.from, &self.to)?;
        }
        let mut graph = plan::graph(self.nodes.clone())?;
        let out = |graph: &Graph, tensor: &str| -> Result<Out> {
            let (name, output) = endpoint(tensor);
            Ok((plan::operation(graph, name)?, output))
        };
        let mut back = Vec::new();
        if differentiates {
            let output = |tensor: &str| {
                out(&graph, tensor)
                    .map(|(operation, index)| tensorflow::Output { operation, index: index as i32 })
            };
            let products =
                (0..self.to.len()).map(|i| output(&product_name(i))).collect::<Result<Vec<_>>>()?;
            let by = self.from.iter().zip(&reached).filter(|(_, reached)| **reached);
            let by = by.map(|(tensor, _)| output(tensor)).collect::<Result<Vec<_>>>()?;
            let found = graph.add_gradients(Some("back"), &products, &by, None).map_err(convert)?;
            back.extend(
                found.into_iter().map(|found| found.map(|output| (output.operation, output.index as usize))),
            );
        }
        // Where TensorFlow finds no way there is none.
        let mut found = back.iter();
        let reached: Vec<bool> =
            reached.into_iter().map(|reached| reached && found.next().is_some_and(Option::is_some)).collect();
        let back: Vec<_> = back.into_iter().flatten().collect();
        let there = there.iter().map(|name| out(&graph, name)).collect::<Result<Vec<_>>>()?;

        let depends =
            above(&self.nodes, |node| model.inputs.contains(&node.name) || node.name.starts_with(PUT));
        let forward =
            self.nodes.iter().map(|node| node.name.as_str()).filter(|name| !name.starts_with(PRODUCT));
        let forward: HashSet<&str> = forward.collect();
        let role = |(operation, output): &Out, _: &Session| -> Result<Role> {
            let name = operation.name().map_err(|error| backend(&error.to_string()))?;
            if let Some(numbers) = model.params.get(&name) {
                return Ok(Role::Feed(Source::Constant(numbers.clone())));
            }
            let numbered = |prefix: &str| name.strip_prefix(prefix).and_then(|number| number.parse().ok());
            if let Some(i) = model.inputs.iter().position(|input| *input == name) {
                return Ok(Role::Feed(Source::Given(i)));
            }
            if let Some(i) = numbered(PUT) {
                let i: usize = i;
                return Ok(Role::Feed(Source::Given(model.inputs.len() + i)));
            }
            if let Some(i) = numbered(COTANGENT) {
                return Ok(Role::Feed(Source::Cotangent(i)));
            }
            Ok(
                match forward.contains(name.as_str())
                    && depends.contains(&name)
                    && is_float(operation, *output)
                {
                    true => Role::Forward,
                    false => Role::Anywhere,
                },
            )
        };
        let upper = self.to.len();
        let plan = Plan::new(plan::session(&graph)?, &there, &back, upper, cotangents, &role)?;
        Ok(Way { plan, reached })
    }
}

const PUT: &str = "attr_put_";
const COTANGENT: &str = "attr_cotangent_";
/// Values times their cotangents, of which the derivative is taken.
const PRODUCT: &str = "attr_product_";

fn put_name(i: usize) -> String {
    format!("{PUT}{i}")
}

fn cotangent_name(i: usize) -> String {
    format!("{COTANGENT}{i}")
}

fn product_name(i: usize) -> String {
    format!("{PRODUCT}{i}")
}

fn edge_name(operator: &str, slot: usize) -> String {
    format!("{operator}/attr_edge_{slot}")
}

/// The tensor at a port, where it is not replaced.
fn tensor_of(port: &Port) -> String {
    match port {
        Port::Value(tensor) => tensor.clone(),
        Port::Edge(operator, slot) => edge_name(operator, *slot),
    }
}

fn is_float(operation: &Operation, output: usize) -> bool {
    matches!(operation.output_type(output), DataType::Float | DataType::Double)
}

/// All tensors that these are computed from, and these.
fn below(nodes: &[NodeDef], tensors: &[String]) -> HashSet<String> {
    let by_name: HashMap<&str, &NodeDef> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let (mut below, mut open) = (HashSet::new(), tensors.to_vec());
    while let Some(tensor) = open.pop() {
        if below.insert(tensor.clone()) {
            open.extend(
                by_name.get(endpoint(&tensor).0).into_iter().flat_map(|node| node.input.iter().cloned()),
            );
        }
    }
    below
}

/// The names of all operators that are computed from one of some, and of those.
fn above(nodes: &[NodeDef], is_one: impl Fn(&NodeDef) -> bool) -> HashSet<String> {
    let mut above: HashSet<String> = HashSet::new();
    loop {
        let before = above.len();
        for node in nodes {
            let reads = |input: &String| above.contains(endpoint(input.trim_start_matches('^')).0);
            if is_one(node) || node.input.iter().any(reads) {
                above.insert(node.name.clone());
            }
        }
        if above.len() == before {
            return above;
        }
    }
}

/// Inputs of whole numbers take whole floating-point numbers; what reads them sees what it has seen.
fn with_float_inputs(function: &Function) -> (Vec<NodeDef>, Vec<String>) {
    let mut nodes = Vec::with_capacity(function.nodes.len());
    let is_input = |name: &str| function.inputs.iter().any(|input| endpoint(&input.tensor).0 == name);
    for node in &function.nodes {
        let dtype = node.kind("dtype").unwrap_or(data_type::FLOAT);
        if !is_input(&node.name) || [data_type::FLOAT, data_type::DOUBLE].contains(&dtype) {
            nodes.push(node.clone());
            continue;
        }
        let numbers = float_input(&node.name);
        let float = AttrValue::kind(data_type::FLOAT);
        let mut placeholder = node.clone().with("dtype", float.clone());
        placeholder.name.clone_from(&numbers);
        let cast = NodeDef::new("Cast", &node.name, [numbers]).with("SrcT", float);
        nodes.extend([placeholder, cast.with("DstT", AttrValue::kind(dtype))]);
    }
    let name = |input: &attr_graphdef::Endpoint| {
        let name = endpoint(&input.tensor).0;
        let is_there = nodes.iter().any(|node| node.name == float_input(name));
        if is_there { float_input(name) } else { name.to_string() }
    };
    let inputs = function.inputs.iter().map(name).collect();
    (nodes, inputs)
}

fn float_input(name: &str) -> String {
    format!("{name}/attr_numbers")
}

/// The lengths of a tensor's axes as far as TensorFlow knows them.
fn dims(graph: &Graph, tensor: &str) -> Option<Vec<Option<usize>>> {
    let (name, output) = endpoint(tensor);
    let operation = graph.operation_by_name(name).ok()??;
    let shape = graph.tensor_shape(tensorflow::Output { operation, index: output as i32 }).ok()?;
    let dims: Option<Vec<Option<i64>>> = shape.into();
    Some(dims?.into_iter().map(|n| n.and_then(|n| usize::try_from(n).ok())).collect())
}

/// A shape in which the first axis is open and no other one.
fn batched(dims: Option<Vec<Option<usize>>>) -> Option<Shape> {
    let dims = dims?;
    let [None, row @ ..] = &dims[..] else { return None };
    let row: Option<Vec<_>> = row.iter().map(|n| n.filter(|&n| n > 0).map(Dim::Fixed)).collect();
    Some(Shape([Dim::Batch(1)].into_iter().chain(row?).collect()))
}

fn precision(function: &Function) -> Result<Precision> {
    let is_double = |dtype: i32| dtype == data_type::DOUBLE;
    let inputs = function.inputs.iter().map(|input| input.dtype);
    let params = function.params.values().map(|param| match param {
        Param::F64(_) => data_type::DOUBLE,
        _ => data_type::FLOAT,
    });
    let floats = inputs.chain(params).filter(|dtype| [data_type::FLOAT, data_type::DOUBLE].contains(dtype));
    let floats: Vec<_> = floats.map(is_double).collect();
    match (floats.contains(&true), floats.contains(&false)) {
        (true, true) => {
            Err(Error::Unsupported("a model that computes in single and in double precision".into()))
        }
        (true, false) => Ok(Precision::F64),
        _ => Ok(Precision::F32),
    }
}

fn numbers(param: &Param) -> Result<Numbers> {
    let tensor = match param {
        Param::F32(array) => from_single(array)?,
        Param::F64(array) => TfTensor::from_array(&array.to_owned(), Precision::F64)?,
        Param::OnDevice(_) => return Err(Error::graph("parameter", "its numbers are on a device already")),
    };
    tensor.to_feed()
}

/// What the first output is before a last softmax, log-softmax or sigmoid, and what only hands it on.
fn logits(function: &Function, output: &str) -> String {
    let mut tensor = output;
    loop {
        let Some(node) = function.node(endpoint(tensor).0) else { return output.into() };
        let Some(input) = node.input.first() else { return output.into() };
        match node.op.as_str() {
            "Softmax" | "LogSoftmax" | "Sigmoid" => return input.clone(),
            "Identity" | "IdentityN" | "Reshape" | "Squeeze" => tensor = input,
            _ => return output.into(),
        }
    }
}

/// Operators that give floating-point numbers which depend on an input, in order.
fn layers(function: &Function, graph: &Graph, inputs: &[String]) -> Vec<Layer> {
    let own = |name: &str| inputs.iter().any(|input| input == name || *input == float_input(name));
    let depends = above(&function.nodes, |node| own(&node.name));
    let leads = below(&function.nodes, std::slice::from_ref(&function.outputs[0].tensor));
    let is_value = |name: &str, output: usize| {
        let operation = graph.operation_by_name(name).ok().flatten();
        depends.contains(name)
            && operation
                .is_some_and(|operation| output < operation.num_outputs() && is_float(&operation, output))
    };
    let mut layers = Vec::new();
    for node in &function.nodes {
        let is_input = own(&node.name);
        let name = if is_input && inputs.contains(&float_input(&node.name)) {
            float_input(&node.name)
        } else {
            node.name.clone()
        };
        if !is_input && !is_value(&node.name, 0) {
            continue;
        }
        let edges = node.input.iter().enumerate().filter(|(_, input)| {
            let (name, output) = endpoint(input);
            is_value(name, output)
        });
        let edges: Vec<_> =
            edges.map(|(slot, input)| (slot, input.clone(), batched(dims(graph, input)))).collect();
        let params = node.input.iter().filter_map(|input| function.params.get(endpoint(input).0));
        let place = Place {
            kind: if is_input { "input" } else { kind(&node.op) },
            shape: batched(dims(graph, &name)),
            parameters: params.map(Param::len).sum(),
            leads_to_output: leads.contains(&node.name),
            name,
        };
        layers.push(Layer { place, edges: if is_input { Vec::new() } else { edges } });
    }
    layers
}

/// An operator's kind in the field's words.
fn kind(op: &str) -> &'static str {
    match op {
        "Conv2D" | "DepthwiseConv2dNative" => "convolution",
        "Conv2DBackpropInput" => "transposed convolution",
        "MatMul" | "BatchMatMulV2" | "Einsum" => "matrix product",
        "BiasAdd" | "AddV2" | "Add" | "AddN" => "add",
        "Sub" => "subtract",
        "Mul" => "multiply",
        "RealDiv" => "divide",
        "Relu" => "relu",
        "Relu6" => "clip",
        "LeakyRelu" => "leaky relu",
        "Sigmoid" => "sigmoid",
        "Tanh" => "tanh",
        "Erf" => "erf",
        "Softmax" => "softmax",
        "LogSoftmax" => "log-softmax",
        "MaxPool" => "max pooling",
        "AvgPool" => "average pooling",
        "Mean" => "mean",
        "Sum" => "sum",
        "Max" => "max",
        "ConcatV2" => "concatenate",
        "Reshape" => "reshape",
        "Transpose" => "transpose",
        "Pad" | "PadV2" => "pad",
        _ => "operator",
    }
}

impl SavedModel {
    /// The kind of its numbers as an attribute.
    fn kind(&self) -> AttrValue {
        AttrValue::kind(if self.precision == Precision::F64 { data_type::DOUBLE } else { data_type::FLOAT })
    }

    /// The shape of what may be put at a port.
    fn shape_at(&self, port: &Port) -> AttrValue {
        let shape = self.place(port).ok().and_then(|place| place.shape);
        match shape {
            Some(shape) => AttrValue::shape(
                &shape
                    .0
                    .iter()
                    .map(|dim| match *dim {
                        Dim::Fixed(n) => Some(n),
                        Dim::Batch(_) => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            None => Attr::Shape(attr_graphdef::proto::TensorShapeProto {
                unknown_rank: true,
                ..Default::default()
            })
            .into(),
        }
    }
}

impl std::fmt::Debug for SavedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SavedModel({} operators, {})", self.nodes.len(), self.precision)
    }
}

impl ModelWrapper for SavedModel {
    type Tensor = TfTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<TfTensor> {
        TfTensor::from_array(array, self.precision)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        self.ports(cut)?.iter().map(|port| self.place(port)).collect()
    }

    /// The last one, as is TensorFlow's way, unless it was said to be the second.
    fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        let last = |place: Place| place.shape.map_or(1, |shape| shape.rank().max(2) - 1);
        let axis = |place| if self.channels_last { last(place) } else { 1 };
        Ok(self.places(cut)?.into_iter().map(axis).collect())
    }

    fn layers(&self) -> Vec<Place> {
        self.layers.iter().map(|layer| layer.place.clone()).collect()
    }

    fn forward(&self, point: Point<'_, TfTensor>, at: &Cut) -> Result<Vec<TfTensor>> {
        let given = self.given(point)?;
        let way = self.way(&given, point, None, at)?;
        Ok(way.plan.there(&given.iter().collect::<Vec<_>>())?.0)
    }

    fn gradient(
        &self,
        point: Point<'_, TfTensor>,
        from: &Cut,
        to: &Cut,
        cotangent: &mut dyn FnMut(&[TfTensor]) -> Result<Vec<TfTensor>>,
    ) -> Result<Gradient<TfTensor>> {
        let given = self.given(point)?;
        let way = self.way(&given, point, Some(from), to)?;
        let given: Vec<_> = given.iter().collect();
        let (values, found) = self.guess.gradient(&way.plan, &given, (from, to), cotangent)?;
        let mut found = found.into_iter();
        let gradients = values.iter().zip(&way.reached).map(|(value, &reached)| match reached {
            true => Ok(found.next().expect("BUG: a gradient for each tensor that is reached")),
            false => value.zeros_like(),
        });
        Ok(Gradient { gradients: gradients.collect::<Result<_>>()?, values })
    }

    fn row_bytes(&self) -> Option<u64> {
        self.row_bytes
    }
}
