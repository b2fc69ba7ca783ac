//! Random networks: every layer against the reference, and whole networks against finite differences.

use attr_core::{Cut, ModelWrapper, Point, Precision, Tensor};
use attr_tests::adapter::reference;
use attr_tests::networks::{RandomNetwork, random_networks};
use attr_tests::sampling::uniform;
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Level, Outcome, on_every_adapter};
use ndarray::{ArrayD, Axis, Slice, concatenate};

/// Every layer's value, and the derivative of the logits by it, as on the reference.
#[test]
fn every_layer_of_random_networks() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, network: &RandomNetwork) -> Outcome {
        let arrays = network.inputs(3);
        let (expected, found) = (reference().model(&network.graph)?, adapter.model(&network.graph)?);
        let (expected_at, found_at) = (reference().tensors(&arrays)?, adapter.tensors(&arrays)?);
        let logits = network.graph.logits(network.graph.outputs()[0]);
        // All but constants, of which rows have no copies.
        let has_rows = |id: &usize| network.graph.node(*id).shape.batch_axis().is_some();
        let below: Vec<_> = (0..=logits).filter(has_rows).collect();
        let from = Cut::several(below.iter().map(|&id| network.graph.node(id).name.as_str()));
        let expected = gradient_by(&expected, &expected_at, &from)?;
        let found = gradient_by(&found, &found_at, &from)?;
        for (&id, (found, expected)) in below.iter().zip(found.into_iter().zip(expected)) {
            for (what, found, expected) in
                [("value", &found.0, &expected.0), ("gradient", &found.1, &expected.1)]
            {
                close(found, expected, Level::Attribution, adapter.precision)
                    .map_err(|reason| format!("{what} of {}: {reason}", network.graph.node(id).name))?;
            }
        }
        Ok(())
    }
    on_every_adapter!(check, random_networks());
}

/// Values at a cut, and the derivative by them of a weighted sum of the logits.
fn gradient_by<M: ModelWrapper>(
    model: &M,
    inputs: &[M::Tensor],
    from: &Cut,
) -> attr_core::Result<Vec<(ArrayD<f64>, ArrayD<f64>)>> {
    let gradient = model.gradient(Point::at(inputs), from, &Cut::logits(), &mut |logits| {
        let dims = logits[0].dims();
        Ok(vec![logits[0].like(&uniform(&dims, 5))?])
    })?;
    let pairs = gradient.values.iter().zip(&gradient.gradients);
    pairs.map(|(value, gradient)| Ok((value.to_array()?, gradient.to_array()?))).collect()
}

/// The derivative of a whole network is that of its values: the sweep adds up what its layers say.
#[test]
fn whole_networks_against_finite_differences() {
    const STEP: f64 = 1e-6;
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, network: &RandomNetwork) -> Outcome {
        if adapter.precision != Precision::F64 {
            return Ok(());
        }
        let model = adapter.model(&network.graph)?;
        let x = network.inputs(1).remove(0);
        let found =
            gradient_by(&model, &adapter.tensors(std::slice::from_ref(&x))?, &Cut::input())?.remove(0).1;
        // All steps of all numbers as one batch.
        let moved = |step: f64| {
            let mut batch = concatenate(Axis(0), &vec![x.view(); x.len()]).unwrap();
            for (i, mut row) in batch.axis_iter_mut(Axis(0)).enumerate() {
                *row.iter_mut().nth(i).unwrap() += step;
            }
            batch
        };
        let value = |batch: ArrayD<f64>| -> attr_core::Result<ArrayD<f64>> {
            let logits =
                model.forward(Point::at(&adapter.tensors(&[batch])?), &Cut::logits())?[0].to_array()?;
            let classes = logits.len_of(Axis(1));
            let weights = uniform(&[1, classes], 5);
            Ok((logits * weights).sum_axis(Axis(1)))
        };
        let differences = (value(moved(STEP))? - value(moved(-STEP))?) / (2.0 * STEP);
        let differences = differences.into_shape_with_order(x.shape()).unwrap();
        Ok(close(&found, &differences, Level::FiniteDifference, adapter.precision)?)
    }
    on_every_adapter!(check, random_networks());
}

/// Rows don't depend on each other, and replacing a value by itself changes nothing.
#[test]
fn replacing_a_value_by_itself() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, network: &RandomNetwork) -> Outcome {
        let model = adapter.model(&network.graph)?;
        let inputs = adapter.tensors(&network.inputs(2))?;
        let output = model.forward(Point::at(&inputs), &Cut::output())?[0].to_array()?;
        let nodes = network.graph.nodes().iter();
        for node in nodes.filter(|node| node.shape.batch_axis().is_some()) {
            let cut = Cut::from(node.name.as_str());
            let value = model.forward(Point::at(&inputs), &cut)?;
            let twice = [value[0].tile_rows(2)?];
            let found =
                model.forward(Point { inputs: &inputs, replace: Some((&cut, &twice)) }, &Cut::output())?;
            for copy in 0..2 {
                let part =
                    found[0].to_array()?.slice_axis(Axis(0), Slice::from(2 * copy..2 * copy + 2)).to_owned();
                close(&part, &output, Level::Layer, adapter.precision)
                    .map_err(|reason| format!("{}: {reason}", node.name))?;
            }
        }
        Ok(())
    }
    on_every_adapter!(check, random_networks());
}
