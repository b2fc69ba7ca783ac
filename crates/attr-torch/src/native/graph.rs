//! A layer graph run as a forward function.

use std::collections::HashMap;

use attr_core::{Cut, Graph, GraphModel, LayeredModel, ModelWrapper, Op, Precision, Result};
use tch::Tensor;

use super::taps::Port;
use super::{Layer, Native, Taps, Tch};
use crate::kernels::forward;
use crate::{Torch, TorchModel};

impl Native {
    /// A layer graph run by libtorch forward and back, every layer tapped under its name.
    ///
    /// It has the cuts of [`crate::compile`]'s model and gives the same numbers. That model computes the
    /// parts asked for alone and keeps less; this one is libtorch's autograd on the whole graph.
    ///
    /// # Errors
    ///
    /// As [`GraphModel::new`].
    pub fn of_graph(graph: Graph, torch: Torch) -> Result<Native> {
        let model = GraphModel::new(graph, torch)?;
        let graph = model.graph();
        let layer = |(id, place)| {
            let edges = match graph.node(id).inputs.is_empty() {
                true => Vec::new(),
                false => model.places(&Cut::index(id).before())?,
            };
            Ok(Layer { place, edges })
        };
        let layers = model.layers().into_iter().enumerate().map(layer).collect::<Result<Vec<_>>>()?;
        let index = graph.nodes().iter().enumerate().map(|(id, node)| (node.name.clone(), id));
        let index: HashMap<_, _> = index.collect();
        // All values are kept, and besides them there are some cotangents on the way back.
        let lengths = || graph.nodes().iter().map(|node| node.shape.row_len() as u64);
        let width = if torch.precision() == Precision::F64 { 8 } else { 4 };
        let row_bytes = (lengths().sum::<u64>() + 4 * lengths().max().unwrap_or(0)) * width;
        Ok(Native {
            torch,
            layers,
            index: index.into(),
            inputs: graph.inputs().to_vec(),
            outputs: graph.outputs().iter().map(|&id| Port::Value(id)).collect(),
            output_places: Vec::new(),
            logits: Port::Value(graph.logits(graph.outputs()[0])),
            row_bytes: Some(row_bytes),
            function: Box::new(move |inputs, taps| run(&model, inputs, taps)),
        })
    }
}

/// Layer by layer; a value is dropped when nobody will read it any more.
fn run(model: &TorchModel, inputs: &[Tensor], taps: &mut Taps) -> Tch<Vec<Tensor>> {
    let graph = model.graph();
    let mut readers = vec![0; graph.nodes().len()];
    for &id in graph.nodes().iter().flat_map(|node| &node.inputs).chain(graph.outputs()) {
        readers[id] += 1;
    }
    let mut values: Vec<Option<Tensor>> = readers.iter().map(|_| None).collect();
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        values[id] = Some(input.shallow_clone());
    }
    let read = |values: &[Option<Tensor>], id: usize| {
        values[id].as_ref().expect("BUG: a value was dropped too early").shallow_clone()
    };
    for (id, node) in graph.nodes().iter().enumerate().filter(|(_, node)| node.op != Op::Input) {
        let params: Vec<_> = model.parameters(id).into_iter().map(|param| &**param).collect();
        let inputs: Vec<_> = node.inputs.iter().map(|&src| read(&values, src)).collect();
        let inputs: Vec<_> = inputs.iter().collect();
        values[id] = Some(taps.layer_of(&node.name, &inputs, |inputs| forward(&node.op, inputs, &params))?);
        for &src in &node.inputs {
            readers[src] -= 1;
            if readers[src] == 0 {
                values[src] = None;
            }
        }
    }
    Ok(graph.outputs().iter().map(|&id| read(&values, id)).collect())
}
