//! A layer graph made runnable by an adapter's kernels.

use ndarray::ArrayD;

use crate::cut::Port;
use crate::methods::{self, Entry, Method};
use crate::model::Cotangent;
use crate::sweep::Sweep;
use crate::{Cut, Error, Gradient, Graph, Kernels, LayeredModel, ModelWrapper, NodeId, Op, Place, Point};
use crate::{PatternKind, Patterns, Precision, Result, Saves, Tensor, Vjp};

/// A layer graph with its parameters on a device: a [`LayeredModel`] on any adapter's [`Kernels`].
#[derive(Debug)]
pub struct GraphModel<K: Kernels> {
    graph: Graph,
    kernels: K,
    params: Vec<K::Tensor>,
    precision: Precision,
}

impl<K: Kernels> GraphModel<K> {
    /// Brings a graph's parameters to the device. An error lists every layer that the adapter can't compute.
    /// The numbers live on the device from then on, and the graph keeps their shapes ([`crate::Param::OnDevice`]).
    pub fn new(mut graph: Graph, kernels: K) -> Result<Self> {
        if graph.outputs().is_empty() {
            return Err(Error::graph("output", "the graph has no output"));
        }
        let refused: Vec<_> = graph
            .nodes()
            .iter()
            .filter_map(|node| Some(format!("layer {:?}: {}", node.name, kernels.unsupported(&node.op)?)))
            .collect();
        if !refused.is_empty() {
            return Err(Error::Unsupported(format!("on {}: {}", kernels.backend(), refused.join("; "))));
        }
        let params = graph.take_params(|param| kernels.parameter(&param))?;
        let precision = kernels.tensor(&ndarray::ArrayD::zeros(vec![1]))?.precision();
        Ok(GraphModel { graph, kernels, params, precision })
    }

    /// The adapter's kernels.
    pub fn kernels(&self) -> &K {
        &self.kernels
    }

    pub(crate) fn node_params(&self, id: NodeId) -> Vec<&K::Tensor> {
        self.graph.node(id).params.iter().map(|&param| &self.params[param]).collect()
    }

    fn place(&self, id: NodeId, leads: bool) -> Place {
        let node = self.graph.node(id);
        Place {
            name: node.name.clone(),
            kind: node.op.kind(),
            shape: Some(node.shape.clone()),
            parameters: node.params.iter().map(|&param| self.graph.params()[param].len()).sum(),
            leads_to_output: leads,
        }
    }

    /// Which layers the first output depends on.
    fn leading(&self) -> Vec<bool> {
        let mut leads = vec![false; self.graph.nodes().len()];
        leads[self.graph.outputs()[0]] = true;
        for id in (0..leads.len()).rev() {
            if leads[id] {
                self.graph.node(id).inputs.iter().for_each(|&src| leads[src] = true);
            }
        }
        leads
    }
}

impl<K: Kernels> ModelWrapper for GraphModel<K> {
    type Tensor = K::Tensor;

    fn backend(&self) -> &'static str {
        self.kernels.backend()
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<K::Tensor> {
        self.kernels.tensor(array)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        let leads = self.leading();
        let place = |port: &Port| match *port {
            Port::Value(id) => self.place(id, leads[id]),
            Port::Edge(id, slot) => {
                let src = self.graph.node(id).inputs[slot];
                Place {
                    name: format!("input {slot} of {}", self.graph.node(id).name),
                    ..self.place(src, leads[id])
                }
            }
        };
        Ok(self.graph.ports(cut)?.iter().map(place).collect())
    }

    fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        let axis = |port: &Port| self.graph.channel_axis(self.graph.source(*port));
        Ok(self.graph.ports(cut)?.iter().map(axis).collect())
    }

    fn layers(&self) -> Vec<Place> {
        let leads = self.leading();
        (0..self.graph.nodes().len()).map(|id| self.place(id, leads[id])).collect()
    }

    fn forward(&self, point: Point<'_, K::Tensor>, at: &Cut) -> Result<Vec<K::Tensor>> {
        Sweep::new(self, point, &[], &self.graph.ports(at)?)?.forward()
    }

    fn gradient(
        &self,
        point: Point<'_, K::Tensor>,
        from: &Cut,
        to: &Cut,
        cotangent: Cotangent<'_, K::Tensor>,
    ) -> Result<Gradient<K::Tensor>> {
        let sweep = Sweep::new(self, point, &self.graph.ports(from)?, &self.graph.ports(to)?)?;
        if !sweep.is_connected() {
            return Err(Error::NotConnected { from: from.to_string(), to: to.to_string() });
        }
        sweep.gradient(cotangent)
    }

    fn row_bytes(&self) -> Option<u64> {
        let nodes = self.graph.nodes();
        let mut kept = vec![false; nodes.len()];
        for (id, node) in nodes.iter().enumerate() {
            match node.op.saves() {
                Saves::Nothing => {}
                Saves::Inputs => node.inputs.iter().for_each(|&src| kept[src] = true),
                Saves::Output => kept[id] = true,
            }
        }
        let len = |id: NodeId| nodes[id].shape.row_len() as u64;
        let saved: u64 = (0..nodes.len()).filter(|&id| kept[id]).map(len).sum();
        // Besides what is saved: a layer's input, its output and a cotangent or two of that size.
        let passing = 4 * (0..nodes.len()).map(len).max().unwrap_or(0);
        let width = if self.precision == Precision::F64 { 8 } else { 4 };
        Some((saved + passing) * width)
    }

    fn methods() -> Vec<Entry<dyn Method<Self>>> {
        methods::of_layers()
    }

    fn fit_patterns(
        &self,
        kind: PatternKind,
        batches: &mut dyn Iterator<Item = Result<Vec<ArrayD<f64>>>>,
    ) -> Result<Patterns> {
        Patterns::fit(self, kind, batches)
    }
}

impl<K: Kernels> LayeredModel for GraphModel<K> {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn parameters(&self, node: NodeId) -> Vec<&K::Tensor> {
        self.node_params(node)
    }

    fn layer_forward(&self, op: &Op, inputs: &[&K::Tensor], params: &[&K::Tensor]) -> Result<K::Tensor> {
        match op {
            Op::Input => Err(Error::graph("input", "an input computes nothing")),
            Op::Constant => Ok(params[0].clone()),
            op => self.kernels.forward(op, inputs, params),
        }
    }

    fn layer_vjp(
        &self,
        op: &Op,
        inputs: &[&K::Tensor],
        params: &[&K::Tensor],
        cotangent: &K::Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<K::Tensor>>> {
        let output = match op.saves() {
            Saves::Output => Some(self.layer_forward(op, inputs, params)?),
            _ => None,
        };
        let call = Vjp {
            inputs: &inputs.iter().copied().map(Some).collect::<Vec<_>>(),
            input_dims: &inputs.iter().map(|input| input.dims()).collect::<Vec<_>>(),
            output: output.as_ref(),
            params,
            cotangent,
            wanted,
        };
        self.kernels.vjp(op, call)
    }
}

impl<K: Kernels> GraphModel<K> {
    /// An error from the framework, with the layer's name.
    pub(crate) fn at(&self, node: NodeId, error: Error) -> Error {
        let node = self.graph.node(node);
        error.in_layer(&node.name, node.op.kind())
    }
}
