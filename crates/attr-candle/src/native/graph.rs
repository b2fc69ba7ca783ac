//! A layer graph run as a forward function.

use attr_core::tapped::{Port, Tap, Tapped};
use attr_core::{Cut, Graph, GraphModel, LayeredModel, ModelWrapper, Op, Precision, Result};
use candle_core::Tensor;

use super::{Native, Taps};
use crate::{Candle, CandleModel, ops};

impl Native {
    /// A layer graph run forward and back by candle's autograd over the operators of [`crate::ops`], every layer tapped
    /// under its name.
    ///
    /// It has the cuts of [`crate::compile`]'s model and gives the same numbers. That model computes the
    /// parts asked for alone and keeps less.
    ///
    /// # Errors
    ///
    /// As [`GraphModel::new`].
    pub fn of_graph(graph: Graph, candle: Candle) -> Result<Native> {
        let model = GraphModel::new(graph, candle.clone())?;
        let graph = model.graph();
        let tap = |(id, place)| {
            let edges = match graph.node(id).inputs.is_empty() {
                true => Vec::new(),
                false => model.places(&Cut::index(id).before())?,
            };
            Ok(Tap { place, edges })
        };
        let taps = model.layers().into_iter().enumerate().map(tap).collect::<Result<Vec<_>>>()?;
        // All values are kept, most of them twice, and besides them there are some cotangents on the way back.
        let lengths = || graph.nodes().iter().map(|node| node.shape.row_len() as u64);
        let width = if candle.precision() == Precision::F64 { 8 } else { 4 };
        let row_bytes = (2 * lengths().sum::<u64>() + 4 * lengths().max().unwrap_or(0)) * width;
        let outputs = graph.outputs().iter().map(|&id| Port::Value(id)).collect();
        let logits = Port::Value(graph.logits(graph.outputs()[0]));
        let tapped = Tapped::new(taps, graph.inputs().to_vec(), outputs, logits);
        let function = Box::new(move |inputs: &[Tensor], taps: &mut Taps| run(&model, inputs, taps));
        Ok(Native { row_bytes: Some(row_bytes), ..Native::of(candle, tapped, function) })
    }
}

/// Layer by layer; a value is dropped when nobody will read it any more.
fn run(model: &CandleModel, inputs: &[Tensor], taps: &mut Taps) -> candle_core::Result<Vec<Tensor>> {
    let graph = model.graph();
    let mut readers = vec![0; graph.nodes().len()];
    for &id in graph.nodes().iter().flat_map(|node| &node.inputs).chain(graph.outputs()) {
        readers[id] += 1;
    }
    let mut values: Vec<Option<Tensor>> = readers.iter().map(|_| None).collect();
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        values[id] = Some(input.clone());
    }
    let read = |values: &[Option<Tensor>], id: usize| {
        values[id].as_ref().expect("BUG: a value was dropped too early").clone()
    };
    for (id, node) in graph.nodes().iter().enumerate().filter(|(_, node)| node.op != Op::Input) {
        let params: Vec<_> = model.parameters(id).into_iter().map(|param| &param.0).collect();
        let inputs: Vec<_> = node.inputs.iter().map(|&src| read(&values, src)).collect();
        let inputs: Vec<_> = inputs.iter().collect();
        values[id] =
            Some(taps.layer_of(&node.name, &inputs, |inputs| ops::record(&node.op, inputs, &params))?);
        for &src in &node.inputs {
            readers[src] -= 1;
            if readers[src] == 0 {
                values[src] = None;
            }
        }
    }
    Ok(graph.outputs().iter().map(|&id| read(&values, id)).collect())
}
