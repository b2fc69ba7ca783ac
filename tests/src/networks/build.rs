//! A shorter way of writing a graph that is known to be right.

use attr_core::{Activation, Graph, NodeId, Op};
use ndarray::{Array, ArrayD, Dimension};

/// A graph being written down; anything that does not fit is a mistake in this suite.
#[derive(Default)]
pub(super) struct Build(Graph);

impl Build {
    pub(super) fn input(&mut self, name: &str, row: &[usize]) -> NodeId {
        self.0.input(name, row).expect("BUG: a network of the suite")
    }

    pub(super) fn layer(&mut self, name: &str, op: Op, inputs: &[NodeId], params: &[ArrayD<f64>]) -> NodeId {
        let params: Vec<_> = params.iter().map(|param| self.0.param(param.clone())).collect();
        self.0.add(name, op, inputs, &params).expect("BUG: a network of the suite")
    }

    pub(super) fn linear<D: Dimension>(
        &mut self,
        name: &str,
        x: NodeId,
        weight: Array<f64, D>,
        bias: &[f64],
    ) -> NodeId {
        let mut params = vec![weight.into_dyn()];
        if !bias.is_empty() {
            params.push(ndarray::arr1(bias).into_dyn());
        }
        self.layer(name, Op::Linear, &[x], &params)
    }

    pub(super) fn relu(&mut self, name: &str, x: NodeId) -> NodeId {
        self.layer(name, Op::Activation(Activation::Relu), &[x], &[])
    }

    pub(super) fn constant<D: Dimension>(&mut self, name: &str, value: Array<f64, D>) -> NodeId {
        self.layer(name, Op::Constant, &[], &[value.into_dyn()])
    }

    /// The lengths of a row of a layer's value.
    pub(super) fn row(&self, id: NodeId) -> Vec<usize> {
        self.0.node(id).shape.at(1)[1..].to_vec()
    }

    pub(super) fn outputs(mut self, outputs: &[NodeId]) -> Graph {
        self.0.set_outputs(outputs).expect("BUG: a network of the suite");
        self.0
    }
}
