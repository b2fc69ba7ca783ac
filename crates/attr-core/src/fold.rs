//! Batch norm folded into the layer before it: a graph to a graph.

use std::collections::HashMap;

use ndarray::{Array1, ArrayD, Axis};

use crate::rewrite::{Instead, Numbers, Source};
use crate::{Error, Graph, Node, NodeId, Op, Param, Result};

impl Graph {
    /// The same function with each batch norm folded into the convolution (transposed or not) or linear layer
    /// before it, where nothing else reads that layer. The folded layer has the batch norm's name, since it has
    /// its value; the name of the other is gone. A batch norm behind anything else stays.
    ///
    /// New weights are `w * s` and `(b - mean) * s + beta` with `s = gamma / sqrt(variance + epsilon)`, worked
    /// out in double precision and kept in the precision of the old ones.
    ///
    /// # Errors
    ///
    /// [`Error::Graph`] if the numbers of a batch norm are on a device: fold before compiling.
    pub fn fold_batch_norm(&self) -> Result<Graph> {
        let (mut instead, mut gone) = (HashMap::new(), HashMap::new());
        for (before, norm) in self.norms_behind().into_iter().enumerate() {
            let Some(norm) = norm.filter(|_| takes_batch_norm(self.node(before))) else { continue };
            let layer = self.node(before);
            let inputs = layer.inputs.iter().map(|&id| Source::Layer(id)).collect();
            let params = self.fold(layer, self.node(norm))?.map(Numbers::New).into();
            instead.insert(norm, Instead { op: layer.op.clone(), inputs, params });
            gone.insert(before, norm);
        }
        self.rewritten(&instead, &gone)
    }

    /// For each layer the batch norm that alone reads it.
    pub(crate) fn norms_behind(&self) -> Vec<Option<NodeId>> {
        let readers = self.readers();
        let mut behind = vec![None; readers.len()];
        let nodes = self.nodes().iter().enumerate();
        for (id, node) in nodes.filter(|(_, node)| matches!(node.op, Op::BatchNorm { .. })) {
            let before = node.inputs[0];
            behind[before] = Some(id).filter(|_| readers[before] == 1);
        }
        behind
    }

    /// The weight and bias of a layer with the batch norm behind it.
    fn fold(&self, layer: &Node, norm: &Node) -> Result<[Param; 2]> {
        let Op::BatchNorm { epsilon } = norm.op else { unreachable!("BUG: not a batch norm") };
        let numbers = |node: &Node, index: usize| -> Result<ArrayD<f64>> {
            let numbers = self.params()[node.params[index]].to_f64();
            numbers
                .ok_or_else(|| Error::graph(&node.name, "its numbers are on a device: fold before compiling"))
        };
        let row = |index: usize| -> Result<Array1<f64>> { Ok(numbers(norm, index)?.into_iter().collect()) };
        let [gamma, beta, mean, variance] = [row(0)?, row(1)?, row(2)?, row(3)?];
        let scale = gamma / (variance + epsilon).sqrt();
        let mut weight = numbers(layer, 0)?;
        match &layer.op {
            // Each group has so many of the input channels, axis 0, and its output channels in axis 1.
            Op::ConvTranspose(transpose) => {
                let (ins, outs) = (weight.len_of(Axis(0)) / transpose.conv.groups, weight.len_of(Axis(1)));
                for (channel, mut kernels) in weight.axis_iter_mut(Axis(0)).enumerate() {
                    let scale = scale.iter().skip(channel / ins * outs);
                    kernels.axis_iter_mut(Axis(0)).zip(scale).for_each(|(mut kernel, &s)| kernel *= s);
                }
            }
            _ => weight.axis_iter_mut(Axis(0)).zip(&scale).for_each(|(mut part, &s)| part *= s),
        }
        let bias: Array1<f64> = match layer.params.len() {
            2 => numbers(layer, 1)?.into_iter().collect(),
            _ => Array1::zeros(scale.len()),
        };
        let bias = (bias - mean) * &scale + beta;
        Ok(match &self.params()[layer.params[0]] {
            Param::F32(_) => [weight.mapv(|x| x as f32).into(), bias.mapv(|x| x as f32).into()],
            _ => [weight.into(), bias.into()],
        })
    }
}

/// Whether a batch norm can go into a layer: it has a weight for each channel.
pub(crate) fn takes_batch_norm(node: &Node) -> bool {
    // Behind a linear layer of more axes, the channels of the batch norm are not the last ones.
    matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_))
        || (matches!(node.op, Op::Linear) && node.shape.rank() == 2)
}
