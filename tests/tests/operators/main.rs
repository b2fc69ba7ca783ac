//! Every kind of layer on every adapter: against finite differences of itself, against the formulas,
//! against numbers from PyTorch and ONNX Runtime, and at kinks.

mod cases;
mod embedding;
mod fixtures;
mod kinks;
mod large;
mod models;

use attr_core::{Graph, Kernels, Op, Precision, Saves, Shape, Tensor, Vjp};
use attr_tests::reference::{RefTensor, Reference};
use attr_tests::sampling::{spread, uniform};
use attr_tests::{Backend, Level, Outcome, Under, on_every_backend};
use ndarray::ArrayD;

use cases::{OpCase, ROWS, operators};

/// An adapter does what it doesn't list among the things it can't, and says so itself.
#[test]
fn supported() {
    fn check<K: Kernels>(adapter: &Backend<K>, case: &OpCase) -> Outcome {
        match (adapter.kernels)().unsupported(&case.op) {
            Some(reason) => Err(format!("not among what it can't do, but says: {reason}").into()),
            None => Ok(()),
        }
    }
    on_every_backend!(check, operators());
}

/// What an adapter's list says it can't do, it refuses itself, so that the list does not go stale.
#[test]
fn refused() {
    fn check<K: Kernels>(adapter: &Backend<K>, _: &Refusals) -> Outcome {
        for case in operators().iter().filter(|case| adapter.skips(&case.name).is_some()) {
            if (adapter.kernels)().unsupported(&case.op).is_none() {
                return Err(format!("{} is listed, but not refused", case.name).into());
            }
        }
        Ok(())
    }
    on_every_backend!(check, [Refusals]);
}

struct Refusals;

impl attr_tests::Case for Refusals {
    fn name(&self) -> &str {
        "refusals"
    }
}

/// The value and its shape are what the formulas and the shape inference say.
#[test]
fn forward() {
    fn check<K: Kernels>(adapter: &Backend<K>, case: &OpCase) -> Outcome {
        let (inputs, params) = (case.input_values(), case.param_values());
        let expected = value(&Reference, &case.op, &inputs, &params)?;
        let inferred = inferred_shape(case)?.at(ROWS);
        if inferred != expected.shape() {
            return Err(format!("inferred shape {inferred:?}, found {:?}", expected.shape()).into());
        }
        let found = value(&(adapter.kernels)(), &case.op, &inputs, &params)?;
        Ok(attr_tests::tolerance::close(&found, &expected, Level::Layer, adapter.precision)?)
    }
    on_every_backend!(check, operators());
}

/// The way back is what the formulas say.
#[test]
fn backward() {
    fn check<K: Kernels>(adapter: &Backend<K>, case: &OpCase) -> Outcome {
        let (inputs, params) = (case.input_values(), case.param_values());
        let cotangent = cotangent_for(&case.op, &inputs, &params)?;
        let wanted = vec![true; inputs.len()];
        let expected = cotangents(&Reference, &case.op, &inputs, &params, &cotangent, &wanted)?;
        let found = cotangents(&(adapter.kernels)(), &case.op, &inputs, &params, &cotangent, &wanted)?;
        for (found, expected) in found.iter().zip(&expected) {
            let (found, expected) = (found.as_ref().ok_or("no cotangent")?, expected.as_ref().unwrap());
            attr_tests::tolerance::close(found, expected, Level::Layer, adapter.precision)?;
        }
        Ok(())
    }
    on_every_backend!(check, operators());
}

/// Only what is asked for is needed to come back, and it is the same whatever else is asked for.
#[test]
fn wanted() {
    fn check<K: Kernels>(adapter: &Backend<K>, case: &OpCase) -> Outcome {
        let (inputs, params) = (case.input_values(), case.param_values());
        let cotangent = cotangent_for(&case.op, &inputs, &params)?;
        let kernels = (adapter.kernels)();
        let all = cotangents(&kernels, &case.op, &inputs, &params, &cotangent, &vec![true; inputs.len()])?;
        for slot in 0..inputs.len() {
            let wanted: Vec<_> = (0..inputs.len()).map(|i| i == slot).collect();
            let found = cotangents(&kernels, &case.op, &inputs, &params, &cotangent, &wanted)?;
            if found.len() != inputs.len() {
                return Err(format!("expected {} entries, found {}", inputs.len(), found.len()).into());
            }
            if found[slot] != all[slot] {
                return Err(format!("input {slot} alone differs from all together").into());
            }
        }
        Ok(())
    }
    on_every_backend!(check, operators());
}

/// The way back is the derivative of the way forward, in double precision.
#[test]
fn finite_differences() {
    const STEP: f64 = 1e-5;
    fn check<K: Kernels>(adapter: &Backend<K>, case: &OpCase) -> Outcome {
        if adapter.precision != Precision::F64 {
            return Ok(());
        }
        let (kernels, params) = ((adapter.kernels)(), case.param_values());
        let mut inputs = case.input_values();
        let cotangent = cotangent_for(&case.op, &inputs, &params)?;
        let wanted = vec![true; inputs.len()];
        let found = cotangents(&kernels, &case.op, &inputs, &params, &cotangent, &wanted)?;
        // The condition of a choice is a step at 0, where the cases have it.
        let first = usize::from(case.op == Op::Where);
        for slot in first..inputs.len() {
            let mut differences = ArrayD::zeros(inputs[slot].raw_dim());
            for at in ndarray::indices(inputs[slot].raw_dim()) {
                let middle = inputs[slot][&at];
                let mut moved = |x: f64| -> attr_core::Result<f64> {
                    inputs[slot][&at] = x;
                    Ok((value(&kernels, &case.op, &inputs, &params)? * &cotangent).sum())
                };
                differences[&at] = (moved(middle + STEP)? - moved(middle - STEP)?) / (2.0 * STEP);
                inputs[slot][&at] = middle;
            }
            let found = found[slot].as_ref().ok_or("no cotangent")?;
            attr_tests::tolerance::close(found, &differences, Level::FiniteDifference, adapter.precision)?;
        }
        Ok(())
    }
    on_every_backend!(check, operators());
}

/// A layer's value on host arrays.
pub(crate) fn value<K: Kernels>(
    kernels: &K,
    op: &Op,
    inputs: &[ArrayD<f64>],
    params: &[ArrayD<f64>],
) -> attr_core::Result<ArrayD<f64>> {
    let (inputs, params) = (on(kernels, inputs)?, on(kernels, params)?);
    kernels.forward(op, &refs(&inputs), &refs(&params))?.to_array()
}

/// A layer's cotangents on host arrays; it gets only the values that its kind says it saves.
pub(crate) fn cotangents<K: Kernels>(
    kernels: &K,
    op: &Op,
    inputs: &[ArrayD<f64>],
    params: &[ArrayD<f64>],
    cotangent: &ArrayD<f64>,
    wanted: &[bool],
) -> attr_core::Result<Vec<Option<ArrayD<f64>>>> {
    let input_dims: Vec<_> = inputs.iter().map(|input| input.shape().to_vec()).collect();
    let (inputs, params) = (on(kernels, inputs)?, on(kernels, params)?);
    let output = kernels.forward(op, &refs(&inputs), &refs(&params))?;
    let saved = op.saves();
    let call = Vjp {
        inputs: &inputs.iter().map(|x| (saved == Saves::Inputs).then_some(x)).collect::<Vec<_>>(),
        input_dims: &input_dims,
        output: (saved == Saves::Output).then_some(&output),
        params: &refs(&params),
        cotangent: &kernels.tensor(cotangent)?,
        wanted,
    };
    kernels.vjp(op, call)?.into_iter().map(|c| c.map(|c| c.to_array()).transpose()).collect()
}

/// A cotangent of the output's shape; its numbers do not add up to zero.
fn cotangent_for(op: &Op, inputs: &[ArrayD<f64>], params: &[ArrayD<f64>]) -> attr_core::Result<ArrayD<f64>> {
    Ok(uniform(value(&Reference, op, inputs, params)?.shape(), 77))
}

/// What a graph says about the layer's shape.
fn inferred_shape(case: &OpCase) -> attr_core::Result<Shape> {
    let mut graph = Graph::default();
    let mut inputs = Vec::new();
    for (i, shape) in case.inputs.iter().enumerate() {
        inputs.push(match shape.batch_axis() {
            Some(_) => graph.input(&format!("x{i}"), &shape.at(1)[1..])?,
            None => {
                let param = graph.param(ArrayD::<f64>::zeros(shape.at(1)));
                graph.add(&format!("c{i}"), Op::Constant, &[], &[param])?
            }
        });
    }
    let params: Vec<_> = case.param_values().into_iter().map(|param| graph.param(param)).collect();
    let layer = graph.add("layer", case.op.clone(), &inputs, &params)?;
    Ok(graph.node(layer).shape.clone())
}

fn on<K: Kernels>(kernels: &K, arrays: &[ArrayD<f64>]) -> attr_core::Result<Vec<K::Tensor>> {
    arrays.iter().map(|array| kernels.tensor(array)).collect()
}

fn refs<T>(tensors: &[T]) -> Vec<&T> {
    tensors.iter().collect()
}

/// The reference's own tensor does not change numbers on their way in and out.
#[test]
fn reference_tensor_keeps_numbers() {
    let array = spread(&[2, 3], 1);
    assert_eq!(RefTensor(array.clone()).to_array().unwrap(), array);
}
