//! Calls put in place: one graph without functions, of the operators that some values need.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use prost::Message;

use crate::budget::Budget;
use crate::node::endpoint;
use crate::proto::{FunctionDef, NodeDef};
use crate::read::SavedModel;
use crate::{Error, Result};

/// An output of an operator of the graph so far: which operator, and the number of its output.
pub(crate) type Source = (usize, usize);

/// An operator of the graph so far.
#[derive(Debug)]
pub(crate) struct Flat<'a> {
    pub(crate) node: &'a NodeDef,
    pub(crate) inputs: Vec<Source>,
}

/// The graph so far.
pub(crate) struct Inliner<'a> {
    saved: &'a SavedModel,
    pub(crate) flat: Vec<Flat<'a>>,
    /// The variables that are changed, by the operators that stand for them.
    pub(crate) changed: HashSet<usize>,
    bodies: HashMap<&'a str, Rc<Body<'a>>>,
    control_flow: Vec<(String, Vec<String>)>,
}

/// The main graph, or a function.
struct Body<'a> {
    nodes: &'a [NodeDef],
    places: HashMap<&'a str, usize>,
    function: Option<&'a FunctionDef>,
}

/// What an operator of a body has become.
enum Made<'a> {
    Operator(usize),
    Call(Vec<Source>, &'a FunctionDef),
}

/// Functions call functions no deeper than this.
const MAX_DEPTH: usize = 64;

/// What each operator and each operator looked at costs at least, in bytes.
const OPERATOR: usize = 256;
const LOOK: usize = 8;

impl<'a> Inliner<'a> {
    pub(crate) fn new(saved: &'a SavedModel) -> Self {
        let control_flow = Vec::new();
        Inliner { saved, flat: Vec::new(), changed: HashSet::new(), bodies: HashMap::new(), control_flow }
    }

    /// Adds what these tensors of the main graph need, and gives what they have become.
    pub(crate) fn add(&mut self, wanted: &[&str], budget: &mut Budget) -> Result<Vec<Source>> {
        let main = Body::new(&self.saved.nodes, None)?;
        let found = self.expand(&main, &HashMap::new(), wanted, 0, budget)?;
        match self.control_flow.is_empty() {
            true => Ok(found),
            false => Err(Error::ControlFlow(std::mem::take(&mut self.control_flow))),
        }
    }

    fn expand(
        &mut self,
        body: &Body<'a>,
        arguments: &HashMap<&'a str, Source>,
        wanted: &[&str],
        depth: usize,
        budget: &mut Budget,
    ) -> Result<Vec<Source>> {
        budget.spend(LOOK * body.nodes.len())?;
        let mut made: HashMap<usize, Made> = HashMap::new();
        for at in body.order(wanted)? {
            let node = &body.nodes[at];
            let inputs = node.data_inputs().map(|input| body.source(input, arguments, &made, &node.name));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let new = match self.callee(node)? {
                Some(function) => Made::Call(self.call(node, function, inputs, depth, budget)?, function),
                None => {
                    if let Some(kind) = control_flow(&node.op) {
                        self.report(kind, &node.name);
                    }
                    budget.spend(OPERATOR + node.encoded_len())?;
                    self.flat.push(Flat { node, inputs });
                    Made::Operator(self.flat.len() - 1)
                }
            };
            made.insert(at, new);
        }
        self.note_changes(body, arguments, &made);
        wanted.iter().map(|wanted| body.source(wanted, arguments, &made, "output")).collect()
    }

    /// The function that an operator calls.
    fn callee(&self, node: &NodeDef) -> Result<Option<&'a FunctionDef>> {
        let name = match node.op.as_str() {
            "StatefulPartitionedCall" | "PartitionedCall" => match node.function("f") {
                Some(name) => name,
                None => {
                    return Err(Error::operator(&node.name, "expected the name of a function, found none"));
                }
            },
            op => match self.saved.functions.get(op) {
                Some(function) => return Ok(Some(function)),
                None => return Ok(None),
            },
        };
        let function = self.saved.functions.get(name);
        function.map(Some).ok_or_else(|| Error::operator(&node.name, format!("no function {name:?} to call")))
    }

    fn call(
        &mut self,
        node: &NodeDef,
        function: &'a FunctionDef,
        inputs: Vec<Source>,
        depth: usize,
        budget: &mut Budget,
    ) -> Result<Vec<Source>> {
        let broken = |reason: String| Err(Error::operator(&node.name, reason));
        if depth == MAX_DEPTH {
            return broken(format!("functions call one another more than {MAX_DEPTH} deep"));
        }
        let Some(signature) = &function.signature else {
            return broken("calls a function without a name".into());
        };
        let name = signature.name.as_str();
        if signature.input_arg.len() != inputs.len() {
            let (expected, found) = (signature.input_arg.len(), inputs.len());
            return broken(format!("{name:?} takes {expected} arguments, found {found}"));
        }
        let arguments =
            signature.input_arg.iter().map(|argument| argument.name.as_str()).zip(inputs).collect();
        let mut wanted = Vec::new();
        for output in &signature.output_arg {
            match function.ret.get(&output.name) {
                Some(ret) => wanted.push(ret.as_str()),
                None => return broken(format!("{name:?} does not say what its output {:?} is", output.name)),
            }
        }
        let body = match self.bodies.get(name) {
            Some(body) => body.clone(),
            None => {
                let body = Rc::new(Body::new(&function.node_def, Some(function))?);
                self.bodies.insert(name, body.clone());
                body
            }
        };
        let wanted: Vec<_> = wanted.into_iter().map(|ret| body.behind_identities(ret)).collect();
        self.expand(&body, &arguments, &wanted, depth + 1, budget)
    }

    /// Remembers the variables that operators of this body assign to, whether their own values are needed or not.
    fn note_changes(
        &mut self,
        body: &Body<'a>,
        arguments: &HashMap<&'a str, Source>,
        made: &HashMap<usize, Made>,
    ) {
        for node in body.nodes.iter().filter(|node| body.function.is_some() && assigns(&node.op)) {
            let variable = node.data_inputs().next();
            if let Some(Ok(source)) = variable.map(|input| body.source(input, arguments, made, &node.name)) {
                self.changed.insert(source.0);
            }
        }
    }

    fn report(&mut self, kind: &str, name: &str) {
        match self.control_flow.iter_mut().find(|(known, _)| known == kind) {
            Some((_, names)) => names.push(name.into()),
            None => self.control_flow.push((kind.into(), vec![name.into()])),
        }
    }
}

impl<'a> Body<'a> {
    fn new(nodes: &'a [NodeDef], function: Option<&'a FunctionDef>) -> Result<Self> {
        let mut places = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            if places.insert(node.name.as_str(), at).is_some() {
                return Err(Error::operator(&node.name, "two operators have this name"));
            }
        }
        Ok(Body { nodes, places, function })
    }

    /// The operators that these values need, each behind those it reads, otherwise in the file's order.
    fn order(&self, wanted: &[&str]) -> Result<Vec<usize>> {
        let place = |input: &str| self.places.get(parts(input).0).copied();
        let reads = |at: usize| self.nodes[at].data_inputs().filter_map(place);
        let mut needed = HashMap::new();
        let mut stack: Vec<usize> = wanted.iter().filter_map(|wanted| place(wanted)).collect();
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut ready = BinaryHeap::new();
        while let Some(at) = stack.pop() {
            if needed.contains_key(&at) {
                continue;
            }
            let read: Vec<_> = reads(at).collect();
            needed.insert(at, read.len());
            if read.is_empty() {
                ready.push(Reverse(at));
            }
            read.iter().for_each(|&read| readers.entry(read).or_default().push(at));
            stack.extend(read);
        }
        let mut order = Vec::new();
        while let Some(Reverse(at)) = ready.pop() {
            order.push(at);
            for reader in readers.get(&at).into_iter().flatten() {
                let left = needed.get_mut(reader).expect("BUG: a reader that is not needed");
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(*reader));
                }
            }
        }
        if order.len() < needed.len() {
            let ordered: HashSet<_> = order.into_iter().collect();
            let stuck = needed.keys().filter(|at| !ordered.contains(at)).min();
            let name = stuck.map_or("", |&at| &self.nodes[at].name);
            return Err(Error::operator(name, "reads a value that is made of its own"));
        }
        Ok(order)
    }

    /// What an input of the operator `reader` is.
    fn source(
        &self,
        input: &str,
        arguments: &HashMap<&'a str, Source>,
        made: &HashMap<usize, Made>,
        reader: &str,
    ) -> Result<Source> {
        let (name, output) = if self.function.is_some() { parts(input) } else { in_graph(input) };
        if let (Some(&source), None) = (arguments.get(name), output.argument) {
            return Ok(source);
        }
        let nothing = || Error::operator(reader, format!("reads {input:?}, which nothing gives"));
        let at = self.places.get(name).ok_or_else(nothing)?;
        match made.get(at).ok_or_else(nothing)? {
            Made::Operator(flat) => {
                let before =
                    output.argument.map_or(0, |argument| first_output(&self.nodes[*at].op, argument));
                Ok((*flat, before.checked_add(output.number).ok_or_else(nothing)?))
            }
            Made::Call(outputs, function) => {
                // A call's only argument is the list of all outputs; an operator that is a function has one an output.
                let named = function.signature.iter().flat_map(|signature| &signature.output_arg);
                let before = named.into_iter().position(|named| Some(named.name.as_str()) == output.argument);
                let is_call = self.nodes[*at].op.ends_with("PartitionedCall");
                let before = if is_call { 0 } else { before.unwrap_or(0) };
                let number = before.checked_add(output.number).ok_or_else(nothing)?;
                outputs.get(number).copied().ok_or_else(nothing)
            }
        }
    }

    /// The value itself where a function hands it out through an operator that does nothing and has no name of its
    /// own to be called by.
    fn behind_identities(&self, mut value: &'a str) -> &'a str {
        for _ in 0..self.nodes.len() {
            let node = self.places.get(parts(value).0).map(|&at| &self.nodes[at]);
            let Some(node) = node.filter(|node| node.op == "Identity" && node.name.starts_with("Identity"))
            else {
                break;
            };
            let Some(input) = node.data_inputs().next() else { break };
            value = input;
        }
        value
    }
}

/// Which output of an operator.
#[derive(Debug, Clone, Copy)]
struct Output<'a> {
    /// The name of an output argument, which may be several outputs.
    argument: Option<&'a str>,
    /// The number, within the argument if there is one.
    number: usize,
}

/// `x:argument:1`, as functions call values; `x` alone is an argument of the function.
fn parts(input: &str) -> (&str, Output<'_>) {
    let mut parts = input.split(':');
    let name = parts.next().unwrap_or_default();
    let argument = parts.next();
    let number = parts.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    (name, Output { argument, number })
}

/// `x:1`, as graphs call values.
fn in_graph(input: &str) -> (&str, Output<'_>) {
    let (name, number) = endpoint(input);
    (name, Output { argument: None, number })
}

/// The output arguments of operators that have several, each of them one output.
const OUTPUTS: &[(&str, &[&str])] = &[
    ("ApproxTopK", &["values", "indices"]),
    ("CombinedNonMaxSuppression", &["nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"]),
    ("Eig", &["e", "v"]),
    ("FractionalAvgPool", &["output", "row_pooling_sequence", "col_pooling_sequence"]),
    ("FractionalMaxPool", &["output", "row_pooling_sequence", "col_pooling_sequence"]),
    ("FusedBatchNorm", BATCH_NORM),
    ("FusedBatchNormV2", BATCH_NORM),
    ("FusedBatchNormV3", BATCH_NORM),
    ("IsotonicRegression", &["output", "segments"]),
    ("ListDiff", &["out", "idx"]),
    ("LogMatrixDeterminant", &["sign", "log_abs_determinant"]),
    ("Lu", &["lu", "p"]),
    ("MaxPoolWithArgmax", &["output", "argmax"]),
    ("NonMaxSuppressionV4", &["selected_indices", "valid_outputs"]),
    ("NonMaxSuppressionV5", &["selected_indices", "selected_scores", "valid_outputs"]),
    ("Qr", &["q", "r"]),
    ("SelfAdjointEigV2", &["e", "v"]),
    ("SoftmaxCrossEntropyWithLogits", &["loss", "backprop"]),
    ("SparseSoftmaxCrossEntropyWithLogits", &["loss", "backprop"]),
    ("Svd", &["s", "u", "v"]),
    ("TopK", &["values", "indices"]),
    ("TopKV2", &["values", "indices"]),
    ("Unique", &["y", "idx"]),
    ("UniqueV2", &["y", "idx"]),
    ("UniqueWithCounts", &["y", "idx", "count"]),
    ("UniqueWithCountsV2", &["y", "idx", "count"]),
];

const BATCH_NORM: &[&str] =
    &["y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"];

/// The number of an output argument's first output; 0 for the operators that have a single argument.
fn first_output(op: &str, argument: &str) -> usize {
    let outputs = OUTPUTS.iter().find(|(name, _)| *name == op).map_or(&[][..], |(_, outputs)| outputs);
    outputs.iter().position(|name| *name == argument).unwrap_or(0)
}

/// What an operator is called if it is part of a loop, a branch or a list of tensors.
fn control_flow(op: &str) -> Option<&str> {
    const KINDS: [&str; 19] = [
        "While",
        "StatelessWhile",
        "If",
        "StatelessIf",
        "Case",
        "StatelessCase",
        "For",
        "Switch",
        "RefSwitch",
        "Merge",
        "Enter",
        "Exit",
        "NextIteration",
        "LoopCond",
        "MapDefun",
        "RemoteCall",
        "PyFunc",
        "EagerPyFunc",
        "SymbolicGradient",
    ];
    let is = KINDS.contains(&op) || op.starts_with("TensorList") || op.starts_with("TensorArray");
    is.then_some(op)
}

/// Whether an operator changes the variable that is its first input.
fn assigns(op: &str) -> bool {
    op.starts_with("Assign") || op.starts_with("ResourceScatter") || op.starts_with("ResourceApply")
}
