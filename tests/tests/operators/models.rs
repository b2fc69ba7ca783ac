//! Every kind of layer as a network of its own: on models, which may compute it in another way than kernels do.

use attr_core::{Cut, Error, Graph, ModelWrapper, Op, Point};
use attr_tests::reference::Reference;
use attr_tests::{Adapter, Case, Level, Outcome, on_every_adapter};
use ndarray::{ArrayD, arr1};

use crate::cases::{OpCase, operators};
use crate::kinks::{shaped, table};
use crate::{cotangent_for, cotangents, value};

/// A layer on values of its own, under a name by which an adapter can leave it out.
struct Network {
    name: String,
    op: Op,
    /// Those with a batch are inputs of the network, the others constants.
    values: Vec<(ArrayD<f64>, bool)>,
    params: Vec<ArrayD<f64>>,
}

impl Case for Network {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Network {
    fn graph(&self) -> attr_core::Result<Graph> {
        let mut graph = Graph::default();
        let mut inputs = Vec::new();
        for (i, (value, is_input)) in self.values.iter().enumerate() {
            inputs.push(match is_input {
                true => graph.input(&format!("x{i}"), &value.shape()[1..])?,
                false => {
                    let param = graph.param(value.clone());
                    graph.add(&format!("c{i}"), Op::Constant, &[], &[param])?
                }
            });
        }
        let params: Vec<_> = self.params.iter().map(|param| graph.param(param.clone())).collect();
        let layer = graph.add("layer", self.op.clone(), &inputs, &params)?;
        graph.set_outputs(&[layer])?;
        Ok(graph)
    }

    fn arrays(&self) -> Vec<ArrayD<f64>> {
        self.values.iter().map(|(value, _)| value.clone()).collect()
    }
}

impl From<OpCase> for Network {
    fn from(case: OpCase) -> Self {
        let is_input = case.inputs.iter().map(|shape| shape.batch_axis().is_some());
        Network {
            name: format!("network of {}", case.name),
            values: case.input_values().into_iter().zip(is_input).collect(),
            params: case.param_values(),
            op: case.op,
        }
    }
}

/// Values and derivatives are what the formulas say.
#[test]
fn networks_of_one_layer() {
    // What more ways to resize there are differs in numbers that a matrix is made of.
    let cases = operators().into_iter().filter(|case| !case.name.ends_with("as ONNX"));
    on_every_adapter!(check, cases.map(Network::from).collect::<Vec<_>>());
}

/// At kinks too.
#[test]
fn kinks_of_networks() {
    let one = |kink: crate::kinks::Kink| Network {
        name: format!("kink of a network of {}", kink.name),
        values: vec![(shaped(&kink.op, &kink.x), true)],
        params: vec![],
        op: kink.op,
    };
    let two = |(name, op, a, b): (&str, Op, f64, f64)| Network {
        name: format!("kink of a network of {name}"),
        values: [a, b].map(|x| (arr1(&[x]).into_dyn(), true)).into(),
        params: vec![],
        op,
    };
    let pairs = [
        ("equal in a maximum", Op::Maximum, 2.0, 2.0),
        ("equal in a minimum", Op::Minimum, 2.0, 2.0),
        ("0 to the power of 0", Op::Power, 0.0, 0.0),
        ("square of 0", Op::Power, 0.0, 2.0),
    ];
    on_every_adapter!(check, table().into_iter().map(one).chain(pairs.map(two)).collect::<Vec<_>>());
}

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Network) -> Outcome {
    let (arrays, model) = (case.arrays(), adapter.model(&case.graph()?)?);
    let is_input: Vec<_> = case.values.iter().map(|(_, is_input)| *is_input).collect();
    let of_inputs = |arrays: Vec<ArrayD<f64>>| -> Vec<_> {
        arrays.into_iter().zip(&is_input).filter(|(_, is_input)| **is_input).map(|(array, _)| array).collect()
    };
    let inputs = adapter.tensors(&of_inputs(arrays.clone()))?;
    let expected = value(&Reference, &case.op, &arrays, &case.params)?;
    let found = model.forward(Point::at(&inputs), &Cut::output())?;
    adapter.all_close(&found, &[expected], Level::Layer).map_err(|reason| format!("value: {reason}"))?;

    let cotangent = cotangent_for(&case.op, &arrays, &case.params)?;
    let expected = cotangents(&Reference, &case.op, &arrays, &case.params, &cotangent, &is_input)?;
    let expected: Vec<_> = expected.into_iter().flatten().collect();
    let back = model.gradient(Point::at(&inputs), &Cut::input(), &Cut::output(), &mut |_| {
        Ok(vec![(adapter.tensor)(&cotangent)?])
    });
    match back {
        // A model may know that nothing flows, and say so.
        Err(Error::NotConnected { .. }) if expected.iter().flatten().all(|&x| x == 0.0) => Ok(()),
        back => Ok(adapter
            .all_close(&back?.gradients, &expected, Level::Layer)
            .map_err(|reason| format!("derivative: {reason}"))?),
    }
}
