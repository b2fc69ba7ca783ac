//! What one signature needs, as one graph.

use std::collections::{BTreeMap, HashMap, HashSet};

use attr_core::Param;
use ndarray::ArrayD;

use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::inline::{Flat, Inliner, Source};
use crate::names::aliases;
use crate::node::{constant, tensor_name};
use crate::proto::{AttrValue, NodeDef, TensorProto, data_type};
use crate::read::SavedModel;
use crate::restore::restored;
use crate::tensor::{Array, array, tensor_proto, type_name};
use crate::{Error, Result};

/// A place to feed or to fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// What its author calls it: its key in the signature, or the operator's name in a frozen graph.
    pub name: String,
    /// The operator and the number of its output: `x` or `x:1`.
    pub tensor: String,
    /// Its numbers, as in [`data_type`]; 0 if the file does not say.
    pub dtype: i32,
    /// The length of each axis, `None` for those that are open; none at all if not even their number is known.
    pub shape: Option<Vec<Option<usize>>>,
}

/// All that a signature needs, as one graph without calls, variables or files.
///
/// What was a variable, and every constant of many floating-point numbers, is a `Placeholder` of known shape, whose
/// numbers are in `params`. An operator has the name that it has in its function, with a number behind it only where
/// another one has that name already.
#[derive(Debug, Clone)]
pub struct Function {
    /// The operators, each behind those it reads, by unique names. Inputs are `x` or `x:1`; none only waits for another.
    pub nodes: Vec<NodeDef>,
    /// What to feed, in order.
    pub inputs: Vec<Endpoint>,
    /// What to fetch, in order.
    pub outputs: Vec<Endpoint>,
    /// The numbers of the placeholders that are no inputs, by their names.
    pub params: BTreeMap<String, Param>,
    /// Other names of operators: of inputs and outputs in the signature, and of Keras' layers, each for the last
    /// operator of the layer that gives floating-point numbers and depends on an input.
    pub aliases: BTreeMap<String, usize>,
    /// By name.
    pub(crate) places: HashMap<String, usize>,
    /// How many bytes it was read from, about.
    pub(crate) bytes: usize,
}

/// A constant of more floating-point numbers is a parameter.
const SMALL: usize = 64;

impl Function {
    pub(crate) fn new(
        saved: &SavedModel,
        mut inputs: Vec<Endpoint>,
        mut outputs: Vec<Endpoint>,
    ) -> Result<Self> {
        let mut budget = Budget::new(saved.bytes);
        let mut inliner = Inliner::new(saved);
        let wanted: Vec<_> = outputs.iter().chain(&inputs).map(|end| end.tensor.clone()).collect();
        let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
        let mut found = inliner.add(&wanted, &mut budget)?;
        let fed = found.split_off(outputs.len());
        let mut writer = Writer::new(saved, inliner, budget);
        for (input, &source) in inputs.iter_mut().zip(&fed) {
            let node = writer.flat[source.0].node;
            if node.op != "Placeholder" {
                return Err(Error::operator(
                    &node.name,
                    format!("expected a placeholder, found {}", node.op),
                ));
            }
            input.shape = input.shape.take().or(node.dims("shape"));
            writer.fed.insert(source.0);
        }
        let mut written = writer.write(&found)?;
        for (output, &source) in outputs.iter_mut().zip(&found) {
            output.tensor = written.tensor(source);
        }
        for (input, &source) in inputs.iter_mut().zip(&fed) {
            input.tensor = written.tensor(source);
        }
        let places: HashMap<_, _> =
            written.nodes.iter().enumerate().map(|(at, n)| (n.name.clone(), at)).collect();
        let aliases = aliases(&written.nodes, &places, &inputs, &outputs, &written.variables);
        let (nodes, params) = (written.nodes, std::mem::take(&mut written.params));
        let bytes = params.values().fold(saved.bytes, |bytes, param| bytes.saturating_add(8 * param.len()));
        Ok(Function { nodes, inputs, outputs, params, aliases, places, bytes })
    }

    /// The operator that a cut of this name is at: of exactly this name, or one that is called so in
    /// [`Function::aliases`], or the only one whose name ends so behind a `/`.
    ///
    /// # Errors
    ///
    /// [`attr_core::Error::UnknownLayer`] with the names that are like it.
    pub fn find(&self, name: &str) -> attr_core::Result<usize> {
        if let Some(&at) = self.places.get(name).or_else(|| self.aliases.get(name)) {
            return Ok(at);
        }
        let aliases = self.aliases.iter().map(|(alias, &at)| (alias.as_str(), at));
        // Constants are no layers, whatever their names.
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.op != "Const");
        let nodes = nodes.filter(|(_, node)| !self.params.contains_key(&node.name));
        let (names, places): (Vec<_>, Vec<_>) =
            aliases.chain(nodes.map(|(at, node)| (node.name.as_str(), at))).unzip();
        attr_core::cut::find_layer(name, &names).map(|found| places[found])
    }

    /// The operator of exactly this name.
    pub fn node(&self, name: &str) -> Option<&NodeDef> {
        self.places.get(name).map(|&at| &self.nodes[at])
    }
}

/// Makes operators of a graph without calls.
struct Writer<'a> {
    saved: &'a SavedModel,
    flat: Vec<Flat<'a>>,
    changed: HashSet<usize>,
    /// The placeholders that are inputs.
    fed: HashSet<usize>,
    budget: Budget,
    names: HashSet<String>,
    /// The last number put behind a name.
    numbers: HashMap<String, usize>,
    bundle: Option<Bundle>,
    /// By the variables' names, the keys of their numbers.
    keys: HashMap<&'a str, &'a [u8]>,
    /// The numbers of variables that have been read, by their names.
    read: HashMap<&'a str, Numbers>,
    written: Written,
}

/// The graph so far.
#[derive(Default)]
struct Written {
    nodes: Vec<NodeDef>,
    params: BTreeMap<String, Param>,
    /// What the operators of the graph with calls have become.
    places: HashMap<usize, usize>,
    /// Of parameters, the variables.
    variables: HashMap<usize, String>,
}

/// The numbers of a variable or constant.
#[derive(Clone)]
enum Numbers {
    Param(Param),
    Whole(TensorProto),
}

impl Written {
    fn tensor(&self, (flat, output): Source) -> String {
        let place = self.places.get(&flat).expect("BUG: an operator that is needed has not been written");
        tensor_name(&self.nodes[*place].name, output)
    }
}

impl<'a> Writer<'a> {
    fn new(saved: &'a SavedModel, inliner: Inliner<'a>, budget: Budget) -> Self {
        let Inliner { flat, changed, .. } = inliner;
        let (fed, names, numbers, read, written) = Default::default();
        Writer {
            saved,
            flat,
            changed,
            fed,
            budget,
            names,
            numbers,
            bundle: None,
            keys: HashMap::new(),
            read,
            written,
        }
    }

    /// Writes what is needed: by `wanted`, and all inputs.
    fn write(mut self, wanted: &[Source]) -> Result<Written> {
        let needed = self.needed(wanted);
        let own: HashSet<&str> = needed.iter().map(|&at| self.flat[at].node.name.as_str()).collect();
        for &at in &needed {
            let node = self.flat[at].node;
            let name = self.unique(&node.name, &own);
            self.operator(at, name)?;
        }
        Ok(self.written)
    }

    /// In order; without the variables themselves.
    fn needed(&self, wanted: &[Source]) -> Vec<usize> {
        let mut needed = vec![false; self.flat.len()];
        wanted.iter().for_each(|&(at, _)| needed[at] = true);
        self.fed.iter().for_each(|&at| needed[at] = true);
        for at in (0..needed.len()).rev() {
            if needed[at] {
                self.flat[at].inputs.iter().for_each(|&(input, _)| needed[input] = true);
            }
        }
        (0..needed.len()).filter(|&at| needed[at]).collect()
    }

    /// The operator's own name, or where another has it the first of `name_1`, `name_2`... that none has.
    fn unique(&mut self, name: &str, own: &HashSet<&str>) -> String {
        let mut unique = name.to_string();
        if self.names.contains(name) {
            let number = self.numbers.entry(name.into()).or_default();
            while self.names.contains(&unique) || own.contains(unique.as_str()) {
                *number += 1;
                unique = format!("{name}_{number}");
            }
        }
        self.names.insert(unique.clone());
        unique
    }

    fn operator(&mut self, at: usize, name: String) -> Result<()> {
        let node = self.flat[at].node;
        match node.op.as_str() {
            // Read by the operators that use it.
            "VarHandleOp" => return Ok(()),
            "Identity" if self.variable(at).is_some() => return Ok(()),
            "Placeholder" if !self.fed.contains(&at) => {
                return Err(Error::operator(&node.name, "is a placeholder, but no input of the signature"));
            }
            "ReadVariableOp" => {
                let (variable, numbers) = self.read_variable(at)?;
                return self.param(at, name, Some(variable), numbers);
            }
            "VariableV2" | "Variable" => {
                let numbers = self.variable_numbers(at)?;
                return self.param(at, name, Some(node), numbers);
            }
            "ResourceGather" => return self.gather(at, name),
            "Const" => {
                let tensor = constant(node)?;
                let floats = [data_type::FLOAT, data_type::DOUBLE].contains(&tensor.dtype);
                if floats && large(tensor) {
                    let numbers = numbers(&node.name, tensor.clone(), &mut self.budget)?;
                    return self.param(at, name, None, numbers);
                }
            }
            _ => {}
        }
        let inputs = self.flat[at].inputs.clone();
        let mut input = Vec::with_capacity(inputs.len());
        for source in inputs {
            if self.variable(source.0).is_some() {
                let reason = format!("{} uses a variable in a way that is not known here", node.op);
                return Err(Error::operator(&node.name, reason));
            }
            input.push(self.written.tensor(source));
        }
        // Of what frameworks note for themselves only what changes a gradient is of use.
        let kept = |name: &str| !name.starts_with('_') || name == "_gradient_op_type";
        let attr = node.attr.iter().filter(|(name, _)| kept(name));
        let attr = attr.map(|(name, value)| (name.clone(), value.detached())).collect();
        self.push(at, NodeDef { name, op: node.op.clone(), input, device: String::new(), attr });
        Ok(())
    }

    /// The variable that an operator stands for, if it does.
    fn variable(&self, mut at: usize) -> Option<usize> {
        loop {
            let Flat { node, inputs } = &self.flat[at];
            match node.op.as_str() {
                "VarHandleOp" => return Some(at),
                "Identity" if node.kind("T") == Some(data_type::RESOURCE) => at = inputs.first()?.0,
                _ => return None,
            }
        }
    }

    /// The variable that an operator reads, and its numbers.
    fn read_variable(&mut self, at: usize) -> Result<(&'a NodeDef, Numbers)> {
        let node = self.flat[at].node;
        let variable = self.flat[at].inputs.first().and_then(|&(input, _)| self.variable(input));
        let Some(variable) = variable else {
            return Err(Error::operator(&node.name, "expected to read a variable"));
        };
        if self.changed.contains(&variable) {
            let reason =
                format!("reads {:?}, which the model changes while it runs", self.flat[variable].node.name);
            return Err(Error::operator(&node.name, reason));
        }
        Ok((self.flat[variable].node, self.variable_numbers(variable)?))
    }

    fn variable_numbers(&mut self, variable: usize) -> Result<Numbers> {
        let node = self.flat[variable].node;
        let name = node.name.as_str();
        if let Some(numbers) = self.read.get(name) {
            return Ok(numbers.clone());
        }
        let bundle = match &mut self.bundle {
            Some(bundle) => bundle,
            None => {
                let Some((prefix, restore)) = &self.saved.variables else {
                    return Err(Error::operator(name, "is a variable, but a frozen graph has none"));
                };
                self.keys = restored(self.saved, restore)?;
                self.bundle.insert(Bundle::open(prefix)?)
            }
        };
        let Some(key) = self.keys.get(name) else {
            return Err(Error::Variables(format!("{name:?} is not among those that the model restores")));
        };
        let tensor = bundle.read(key, &mut self.budget)?;
        if node.kind("dtype").is_some_and(|dtype| dtype != tensor.dtype) {
            let (expected, found) =
                (type_name(node.kind("dtype").unwrap_or_default()), type_name(tensor.dtype));
            return Err(Error::tensor(name, format!("expected {expected}, found {found}")));
        }
        let numbers = numbers(name, tensor, &mut self.budget)?;
        self.read.insert(name, numbers.clone());
        Ok(numbers)
    }

    /// Writes a parameter, or a constant of whole numbers.
    fn param(&mut self, at: usize, name: String, variable: Option<&NodeDef>, numbers: Numbers) -> Result<()> {
        let node = match numbers {
            Numbers::Param(param) => {
                let dtype = match param {
                    Param::F64(_) => data_type::DOUBLE,
                    _ => data_type::FLOAT,
                };
                let dims: Vec<_> = param.dims().iter().map(|&n| Some(n)).collect();
                self.written.params.insert(name.clone(), param);
                let node = NodeDef::new("Placeholder", &name, [""; 0]);
                node.with("dtype", AttrValue::kind(dtype)).with("shape", AttrValue::shape(&dims))
            }
            Numbers::Whole(tensor) => {
                let node = NodeDef::new("Const", &name, [""; 0]).with("dtype", AttrValue::kind(tensor.dtype));
                node.with("value", AttrValue::tensor(tensor))
            }
        };
        if let Some(variable) = variable {
            self.written.variables.insert(self.written.nodes.len(), variable.name.clone());
        }
        self.push(at, node);
        Ok(())
    }

    /// Rows of a variable: as a parameter, and rows of it.
    fn gather(&mut self, at: usize, name: String) -> Result<()> {
        let node = self.flat[at].node;
        let Some(&indices) = self.flat[at].inputs.get(1) else {
            return Err(Error::operator(&node.name, "expected a variable and indices"));
        };
        let (variable, numbers) = self.read_variable(at)?;
        let batch_dims = node.int("batch_dims").unwrap_or(0);
        let (own, none) = (HashSet::new(), String::new());
        let param = self.unique(&format!("{name}/ReadVariableOp"), &own);
        self.param(at, param.clone(), Some(variable), numbers)?;
        let axis = self.unique(&format!("{name}/axis"), &own);
        let value = tensor_proto(&ArrayD::from_elem(vec![], batch_dims as i32));
        let constant =
            NodeDef::new("Const", &axis, [none; 0]).with("dtype", AttrValue::kind(data_type::INT32));
        self.push(at, constant.with("value", AttrValue::tensor(value)));
        let gather = NodeDef::new("GatherV2", &name, [param, self.written.tensor(indices), axis]);
        let kind = |name: &str| AttrValue::kind(node.kind(name).unwrap_or_default());
        let gather = gather.with("Tparams", kind("dtype")).with("Tindices", kind("Tindices"));
        let gather = gather.with("Taxis", AttrValue::kind(data_type::INT32));
        self.push(at, gather.with("batch_dims", AttrValue::int(batch_dims)));
        Ok(())
    }

    fn push(&mut self, at: usize, node: NodeDef) {
        self.written.places.insert(at, self.written.nodes.len());
        self.written.nodes.push(node);
    }
}

fn numbers(name: &str, tensor: TensorProto, budget: &mut Budget) -> Result<Numbers> {
    Ok(match array(name, &tensor, budget)? {
        Array::F32(array) => Numbers::Param(Param::F32(array)),
        Array::F64(array) => Numbers::Param(Param::F64(array)),
        Array::Int(_) => Numbers::Whole(tensor),
    })
}

fn large(tensor: &TensorProto) -> bool {
    let dims = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
    let len = dims.fold(1usize, |len, dim| len.saturating_mul(usize::try_from(dim.size).unwrap_or(1)));
    len > SMALL
}
