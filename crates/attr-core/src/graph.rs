//! The layer graph: named layers in an order in which each comes after those it reads.

use std::collections::HashMap;

use ndarray::{ArcArray, ArrayD, IxDyn};

use crate::infer::infer;
use crate::{Activation, Error, Interpolation, Op, Result, Shape};

/// A layer's place in its graph.
pub type NodeId = usize;

/// A parameter's place in its graph.
pub type ParamId = usize;

/// A parameter in the precision of its file. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// Single precision.
    F32(ArcArray<f32, IxDyn>),
    /// Double precision.
    F64(ArcArray<f64, IxDyn>),
    /// The shape alone: its numbers have been brought to a model's device ([`crate::LayeredModel::parameters`]),
    /// and memory does not hold them twice.
    OnDevice(Vec<usize>),
}

impl Param {
    /// The length of each axis.
    pub fn dims(&self) -> &[usize] {
        match self {
            Param::F32(array) => array.shape(),
            Param::F64(array) => array.shape(),
            Param::OnDevice(dims) => dims,
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether there are no numbers at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in double precision; none if they are on a device.
    pub fn to_f64(&self) -> Option<ArrayD<f64>> {
        match self {
            Param::F32(array) => Some(array.mapv(f64::from)),
            Param::F64(array) => Some(array.to_owned()),
            Param::OnDevice(_) => None,
        }
    }
}

impl<D: ndarray::Dimension> From<ndarray::Array<f32, D>> for Param {
    fn from(array: ndarray::Array<f32, D>) -> Self {
        Param::F32(array.into_dyn().into_shared())
    }
}

impl<D: ndarray::Dimension> From<ndarray::Array<f64, D>> for Param {
    fn from(array: ndarray::Array<f64, D>) -> Self {
        Param::F64(array.into_dyn().into_shared())
    }
}

/// One layer: what it is, what it reads, and the shape of what it gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The layer's name, unique in its graph.
    pub name: String,
    /// Its kind and attributes.
    pub op: Op,
    /// The layers whose values it reads, in order.
    pub inputs: Vec<NodeId>,
    /// Its parameters, in the order that [`Op`] gives. Layers that share weights name the same ones.
    pub params: Vec<ParamId>,
    /// The shape of its value.
    pub shape: Shape,
}

/// A network as a directed acyclic graph of layers. Every layer has one value.
///
/// ```
/// use attr_core::{Activation, Graph, Op};
/// use ndarray::array;
///
/// let mut graph = Graph::default();
/// let x = graph.input("x", &[2])?;
/// let weight = graph.param(array![[1.0, 2.0], [3.0, 4.0]]);
/// let y = graph.add("fc", Op::Linear, &[x], &[weight])?;
/// let z = graph.add("relu", Op::Activation(Activation::Relu), &[y], &[])?;
/// graph.set_outputs(&[z])?;
/// assert_eq!(graph.node(z).shape.to_string(), "[B, 2]");
/// # Ok::<(), attr_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    params: Vec<Param>,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    by_name: HashMap<String, NodeId>,
    /// Whether each layer's value has no negative numbers, as far as its kind tells.
    non_negative: Vec<bool>,
    /// Where it is not 1.
    channel_axes: HashMap<NodeId, usize>,
    /// Layers that have become part of another.
    parts: HashMap<String, NodeId>,
}

impl Graph {
    /// Adds an input that takes a batch of rows of these lengths.
    pub fn input(&mut self, name: &str, row: &[usize]) -> Result<NodeId> {
        let id = self.push(name, Op::Input, &[], &[], Shape::batched(row))?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds an input of exactly these lengths, without a batch. What depends on no other input has no batch
    /// either: it can be computed and differentiated, and methods, which need rows, refuse it.
    pub fn fixed_input(&mut self, name: &str, dims: &[usize]) -> Result<NodeId> {
        let id = self.push(name, Op::Input, &[], &[], Shape::fixed(dims))?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a parameter, to be named by the layers that use it.
    pub fn param(&mut self, value: impl Into<Param>) -> ParamId {
        self.params.push(value.into());
        self.params.len() - 1
    }

    /// Adds a layer behind the layers it reads; an error says what does not fit.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[NodeId], params: &[ParamId]) -> Result<NodeId> {
        if let Some(missing) = inputs.iter().find(|&&id| id >= self.nodes.len()) {
            return Err(Error::graph(name, format!("reads layer number {missing}, which is not there yet")));
        }
        if let Some(missing) = params.iter().find(|&&id| id >= self.params.len()) {
            return Err(Error::graph(
                name,
                format!("uses parameter number {missing}, which is not there yet"),
            ));
        }
        let shapes: Vec<_> = inputs.iter().map(|&id| &self.nodes[id].shape).collect();
        let dims: Vec<_> = params.iter().map(|&id| self.params[id].dims().to_vec()).collect();
        let shape = infer(&op, &shapes, &dims)
            .map_err(|reason| Error::graph(name, format!("{}: {reason}", op.kind())))?;
        self.push(name, op, inputs, params, shape)
    }

    /// Says which layers' values the network gives; at least one.
    pub fn set_outputs(&mut self, outputs: &[NodeId]) -> Result<()> {
        if outputs.is_empty() || outputs.iter().any(|&id| id >= self.nodes.len()) {
            return Err(Error::graph("output", format!("expected layers of the graph, found {outputs:?}")));
        }
        self.outputs = outputs.to_vec();
        Ok(())
    }

    /// All layers, each behind those it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One layer.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Gives a layer one more name that cuts can call it by. Nothing changes where a layer has that name already,
    /// and no layer can be added under it any more.
    pub fn also_called(&mut self, id: NodeId, name: &str) -> Result<()> {
        if id >= self.nodes.len() {
            return Err(Error::graph(name, format!("names layer number {id}, which is not there yet")));
        }
        self.by_name.entry(name.into()).or_insert(id);
        Ok(())
    }

    /// Says that a layer has become part of another one, so that a cut by its name is an error that tells where it went.
    pub(crate) fn takes(&mut self, id: NodeId, name: &str) {
        self.parts.insert(name.into(), id);
    }

    /// The names of layers that have become part of others, in no order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, NodeId)> {
        self.parts.iter().map(|(name, &id)| (name.as_str(), id))
    }

    /// The layer that the layer of this name has become part of ([`Graph::recognise`], [`Graph::fold_batch_norm`]), and
    /// so has no value of its own any more.
    pub fn part_of(&self, name: &str) -> Option<NodeId> {
        self.parts.get(name).copied()
    }

    /// Says which axis of a layer's value is its channels, where it is another one than 1: of an input that is a picture
    /// with its channels last, say. Methods go by it that move windows over a value or make maps of it.
    pub fn set_channel_axis(&mut self, id: NodeId, axis: usize) -> Result<()> {
        let Some(node) = self.nodes.get(id) else {
            return Err(Error::graph("channels", format!("expected a layer of the graph, found {id}")));
        };
        if axis == 0 || axis >= node.shape.rank() {
            let reason =
                format!("expected channels on an axis behind the batch of {}, found {axis}", node.shape);
            return Err(Error::graph(&node.name, reason));
        }
        self.channel_axes.insert(id, axis);
        Ok(())
    }

    /// The axis of channels of a layer's value, if it has one.
    pub fn channel_axis(&self, id: NodeId) -> usize {
        self.channel_axes.get(&id).copied().unwrap_or(1)
    }

    /// The names that layers have besides their own, in no order.
    pub fn other_names(&self) -> impl Iterator<Item = (NodeId, &str)> {
        let names = self.by_name.iter().map(|(name, &id)| (id, name.as_str()));
        names.filter(|&(id, name)| self.nodes[id].name != name)
    }

    /// The layer of exactly this name, or also called so.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// All parameters.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Takes each parameter's numbers away, one after another.
    pub(crate) fn take_params<T>(&mut self, mut take: impl FnMut(Param) -> Result<T>) -> Result<Vec<T>> {
        let params = self.params.iter_mut().map(|param| {
            let left = Param::OnDevice(param.dims().to_vec());
            take(std::mem::replace(param, left))
        });
        params.collect()
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[NodeId] {
        &self.outputs
    }

    /// How often each layer's value is read, by layers and as an output.
    pub fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.nodes.len()];
        let read = self.nodes.iter().flat_map(|node| &node.inputs).chain(&self.outputs);
        read.for_each(|&id| readers[id] += 1);
        readers
    }

    /// Whether a layer's value has no negative numbers, as far as its kind tells.
    pub(crate) fn is_non_negative(&self, id: NodeId) -> bool {
        self.non_negative[id]
    }

    /// The layer whose value the output is made of when a last softmax, log-softmax or sigmoid (and
    /// reshapes around it) is left out; the output itself where there is none.
    pub fn logits(&self, output: NodeId) -> NodeId {
        let mut id = output;
        loop {
            let node = &self.nodes[id];
            match node.op {
                Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::Activation(Activation::Sigmoid) => {
                    return node.inputs[0];
                }
                Op::Identity | Op::Reshape { .. } => id = node.inputs[0],
                _ => return output,
            }
        }
    }

    /// Whether the value of a layer that reads these has no negative numbers, as far as its kind tells.
    fn gives_non_negative(&self, op: &Op, inputs: &[NodeId]) -> bool {
        match op {
            Op::Activation(activation) => match activation {
                Activation::Relu | Activation::Sigmoid | Activation::Softplus => true,
                Activation::Abs | Activation::Exp | Activation::Sqrt | Activation::HardSigmoid { .. } => true,
                Activation::Clip { min, .. } => *min >= 0.0,
                _ => false,
            },
            Op::Softmax { .. } | Op::Norm { .. } | Op::Compare(_) => true,
            Op::Resize(resize) if matches!(resize.mode, Interpolation::Cubic { .. }) => false,
            Op::Pad { value, .. } if *value < 0.0 => false,
            // All other interpolations take means with positive weights.
            Op::Identity
            | Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::Mean { .. }
            | Op::Sum { .. }
            | Op::Add
            | Op::Concat { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::Max { .. }
            | Op::Min { .. }
            | Op::Minimum
            | Op::Pad { .. }
            | Op::Resize(_) => inputs.iter().all(|&src| self.non_negative[src]),
            _ => false,
        }
    }

    fn push(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[NodeId],
        params: &[ParamId],
        shape: Shape,
    ) -> Result<NodeId> {
        if name.is_empty() || self.by_name.contains_key(name) {
            return Err(Error::graph(name, "expected a name that no other layer has"));
        }
        let len = shape.at(1).iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        if len.is_none_or(|len| len == 0 || len > MAX_ROW_LEN) {
            return Err(Error::graph(name, format!("a value of shape {shape} is empty or too large")));
        }
        let id = self.nodes.len();
        self.non_negative.push(self.gives_non_negative(&op, inputs));
        self.by_name.insert(name.into(), id);
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.into(), params: params.into(), shape });
        Ok(id)
    }
}

/// No value of one row is larger than this many numbers (8 GiB in single precision): a broken file must
/// not make us ask for more.
const MAX_ROW_LEN: usize = 1 << 31;
