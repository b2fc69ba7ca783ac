//! The operators of a function as layers.
//!
//! TensorFlow's channels are the last axis, a layer's are axis 1. So for each tensor it is kept in mind which layer
//! has its numbers, and in which of the two orders; layers that don't mind the order take what comes, the others have
//! a transposition before them. Inputs and outputs of the model keep TensorFlow's order.

mod dense;
mod fold;
mod importer;
mod known;
mod moves;
mod norm;
mod operator;
mod operators;
mod windows;

use std::collections::{BTreeMap, HashMap, HashSet};

use attr_core::{Graph, NodeId, Op, Param};

use self::importer::Importer;
use self::known::Known;
use self::operator::{Carried, Fault, Operator, Value};
use self::operators::import;
use crate::function::Function;
use crate::node::{constant, endpoint};
use crate::proto::NodeDef;
use crate::tensor::array;
use crate::{Error, Result};

impl Function {
    /// The function as layers, under the operators' names; the other names are kept, too, where a layer has the
    /// operator's value. A bias is part of the layer that it is added to, which then has the addition's name, and chains
    /// of operators that are a layer norm, an activation or attention are one layer ([`Graph::recognise`]).
    ///
    /// A value of three or more axes that comes from a convolution or the like has its channels as axis 1; those of
    /// inputs and outputs are where the model has them.
    ///
    /// # Errors
    ///
    /// [`Error::Operators`] lists all operators that there is no exact word for; others where the function contradicts
    /// itself or an input has an open length.
    pub fn layers(&self) -> Result<Graph> {
        self.layers_for(&BTreeMap::new())
    }

    /// As [`Function::layers`], for inputs of these lengths behind the batch, by their names: needed where the file
    /// leaves one open, an error where it contradicts the file.
    pub fn layers_for(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Graph> {
        let mut importer = Importer::new(self);
        let mut refused = Refused::default();
        for input in &self.inputs {
            importer.input(input, shapes.get(&input.name).map(Vec::as_slice))?;
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let leaf = self.leaf(&mut importer, at, node)?;
            importer.values[at].extend(leaf);
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if !importer.values[at].is_empty() {
                continue;
            }
            let mut sources = Vec::new();
            for input in node.data_inputs() {
                let (name, output) = endpoint(input);
                let place = self.places.get(name).copied().filter(|&place| place < at);
                let place =
                    place.ok_or_else(|| Error::operator(&node.name, format!("reads {input:?} too early")))?;
                sources.push((place, output));
            }
            let inputs: Vec<_> = sources.iter().map(|&source| importer.made(source)).collect();
            let mut unknown = false;
            for (input, source) in inputs.iter().zip(&sources) {
                unknown |= matches!(input, Value::Unknown | Value::Missing(_));
                if let Value::Missing(what) = input {
                    refused.add(what.clone(), &self.nodes[source.0].name);
                }
            }
            if unknown {
                if !importer.is_known(&node.op) {
                    refused.add(node.op.clone(), &node.name);
                }
                importer.values[at] = vec![Value::Unknown];
                continue;
            }
            let operator = Operator { node, sources, inputs };
            match import(&mut importer, &operator, at) {
                Ok(new) => importer.values[at] = new,
                Err(Fault::Unsupported(how)) => {
                    let space = if how.is_empty() { "" } else { " " };
                    refused.add(format!("{}{space}{how}", node.op), &node.name);
                    importer.values[at] = vec![Value::Unknown];
                }
                Err(Fault::Broken(reason)) => return Err(Error::operator(&node.name, reason)),
                Err(Fault::Other(error)) => return Err(error),
            }
        }
        let mut outputs = Vec::new();
        for output in &self.outputs {
            let (name, number) = endpoint(&output.tensor);
            let place =
                self.places.get(name).copied().ok_or_else(|| Error::operator(name, "is not there"))?;
            match importer.made((place, number)) {
                Value::Unknown => {}
                Value::Missing(what) => refused.add(what, name),
                value => match importer.layer(&value) {
                    Ok(id) => outputs.push(id),
                    Err(Fault::Unsupported(how) | Fault::Broken(how)) => {
                        refused.add(format!("{} as an output {how}", self.nodes[place].op), name);
                    }
                    Err(Fault::Other(error)) => return Err(error),
                },
            }
        }
        refused.check()?;
        Ok(self.finished(&importer.graph, &outputs, &importer.values)?.recognise()?)
    }

    /// What reads nothing: an input, or what is known.
    fn leaf(&self, importer: &mut Importer, at: usize, node: &NodeDef) -> Result<Option<Value>> {
        let known = |known: Known| Value::Known(node.name.as_str().into(), known);
        if let Some(carried) = importer.inputs.get(&at) {
            return Ok(Some(Value::Layer(*carried)));
        }
        if let Some(param) = self.params.get(&node.name) {
            return Ok(Some(known(Known::of_param(param))));
        }
        if node.op != "Const" {
            return Ok(None);
        }
        match array(&node.name, constant(node)?, &mut importer.budget) {
            Ok(array) => Ok(Some(known(Known::of(array)))),
            // A text, say, which matters only if a layer reads it.
            Err(Error::Tensor { reason, .. }) => Ok(Some(Value::Missing(format!("Const ({reason})")))),
            Err(error) => Err(error),
        }
    }

    /// The graph without the layers that lead to no output, with all names that its layers have.
    fn finished(&self, draft: &Graph, outputs: &[NodeId], values: &[Vec<Value>]) -> Result<Graph> {
        let mut needed = vec![false; draft.nodes().len()];
        draft.inputs().iter().chain(outputs).for_each(|&id| needed[id] = true);
        for id in (0..needed.len()).rev() {
            if needed[id] {
                draft.node(id).inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        let mut graph = Graph::default();
        let mut params: HashMap<usize, usize> = HashMap::new();
        let mut ids = vec![None; needed.len()];
        for (id, node) in draft.nodes().iter().enumerate().filter(|&(id, _)| needed[id]) {
            let inputs = node.inputs.iter().map(|&input| ids[input]);
            let inputs: Option<Vec<_>> = inputs.collect();
            let inputs = inputs.expect("BUG: a layer reads one that is not needed");
            ids[id] = Some(match node.op {
                Op::Input => graph.input(&node.name, &node.shape.at(1)[1..])?,
                _ => {
                    let mut own = Vec::new();
                    for &param in &node.params {
                        own.push(
                            *params
                                .entry(param)
                                .or_insert_with(|| graph.param(Param::clone(&draft.params()[param]))),
                        );
                    }
                    graph.add(&node.name, node.op.clone(), &inputs, &own)?
                }
            });
        }
        let outputs: Option<Vec<_>> = outputs.iter().map(|&id| ids[id]).collect();
        graph.set_outputs(&outputs.expect("BUG: an output is not needed"))?;
        let layer = |at: usize| match values[at].first() {
            Some(Value::Layer(carried)) => ids[carried.id],
            _ => None,
        };
        let mut last: HashMap<NodeId, bool> = HashMap::new();
        for value in values.iter().flatten() {
            if let Value::Layer(Carried { id, second }) = *value {
                *last.entry(id).or_insert(true) &= !second;
            }
        }
        let mut are_last: Vec<bool> = Vec::with_capacity(ids.len());
        for (old, &new) in ids.iter().enumerate() {
            let node = draft.node(old);
            let is_last = last.get(&old).copied().unwrap_or(draft.channel_axis(old) != 1);
            // What is made of a value that the model itself has turned has its channels where that has them.
            let is_turned =
                |&input: &NodeId| !are_last[input] && draft.node(input).shape.rank() == node.shape.rank();
            let is_last =
                is_last && (matches!(node.op, Op::Transpose { .. }) || !node.inputs.iter().any(is_turned));
            are_last.push(is_last);
            if let Some(new) = new.filter(|_| is_last && node.shape.rank() > 2) {
                graph.set_channel_axis(new, node.shape.rank() - 1)?;
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(id) = layer(at) {
                graph.also_called(id, &node.name)?;
            }
        }
        for (alias, &at) in &self.aliases {
            if let Some(id) = layer(at) {
                graph.also_called(id, alias)?;
            }
        }
        Ok(graph)
    }
}

/// Operators that there is no word for, by kind.
#[derive(Default)]
struct Refused {
    all: Vec<(String, Vec<String>)>,
    places: HashMap<String, usize>,
    seen: HashSet<(usize, String)>,
}

impl Refused {
    fn add(&mut self, operator: String, name: &str) {
        let place = *self.places.entry(operator).or_insert_with_key(|operator| {
            self.all.push((operator.clone(), Vec::new()));
            self.all.len() - 1
        });
        if self.seen.insert((place, name.into())) {
            self.all[place].1.push(name.into());
        }
    }

    fn check(self) -> Result<()> {
        if self.all.is_empty() { Ok(()) } else { Err(Error::Operators(self.all)) }
    }
}
