//! The yardstick: every layer by its formula, in double precision, one number after another.
//!
//! Nothing here is fast or clever, and nothing is shared with an adapter: neither `Activation::derivative`
//! nor `Resize::taps`. Most layers are linear in their inputs, so a layer is the list of its terms
//! (`linear.rs`); the way back is the same list read from the other side. The few that are not linear
//! have their derivative written out (`nonlinear.rs`), or found by numbers that remember
//! what they were computed from (`traced.rs`).
//! Any number of spatial axes.

mod linear;
mod nonlinear;
mod resize;
mod tensor;
mod traced;
mod window;

use attr_core::{Error, Kernels, Op, Result, Vjp};
use ndarray::{ArrayD, Dimension};

pub use tensor::RefTensor;

/// Kernels by the formulas, in double precision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl Kernels for Reference {
    type Tensor = RefTensor;

    fn backend(&self) -> &'static str {
        "reference"
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<RefTensor> {
        Ok(RefTensor(array.clone()))
    }

    fn unsupported(&self, op: &Op) -> Option<String> {
        let known = linear::is_linear(op) || traced::knows(op) || nonlinear::is_nonlinear(op);
        (!known && *op != Op::Embedding).then(|| format!("{} has no formula here yet", op.kind()))
    }

    fn forward(&self, op: &Op, inputs: &[&RefTensor], params: &[&RefTensor]) -> Result<RefTensor> {
        let inputs: Vec<_> = inputs.iter().map(|tensor| &tensor.0).collect();
        let params: Vec<_> = params.iter().map(|tensor| &tensor.0).collect();
        match op {
            Op::Input => Err(backend("an input computes nothing")),
            Op::Constant => Ok(RefTensor(params[0].clone())),
            op if linear::is_linear(op) => Ok(RefTensor(linear::forward(op, &inputs, &params))),
            op if traced::knows(op) => Ok(RefTensor(traced::forward(op, &inputs, &params))),
            Op::Embedding => embedding(inputs[0], params[0]),
            op => Ok(RefTensor(nonlinear::forward(op, &inputs))),
        }
    }

    fn vjp(&self, op: &Op, call: Vjp<'_, RefTensor>) -> Result<Vec<Option<RefTensor>>> {
        let params: Vec<_> = call.params.iter().map(|tensor| &tensor.0).collect();
        let cotangents = match op {
            Op::Input | Op::Constant => vec![],
            op if linear::is_linear(op) => linear::vjp(op, call.input_dims, &params, &call.cotangent.0),
            // A step has no slope, whatever was compared.
            Op::Compare(_) => call.input_dims.iter().map(|dims| ArrayD::zeros(&dims[..])).collect(),
            op if traced::knows(op) => {
                let inputs: Vec<_> =
                    call.inputs.iter().map(|input| &input.expect("BUG: not saved").0).collect();
                traced::vjp(op, &inputs, &params, &call.cotangent.0)
            }
            Op::Embedding => {
                return Err(Error::NoDerivative { layer: String::new(), hint: "of token numbers".into() });
            }
            op => {
                let inputs: Vec<_> = call.inputs.iter().map(|input| input.map(|tensor| &tensor.0)).collect();
                nonlinear::vjp(op, &inputs, call.output.map(|tensor| &tensor.0), &call.cotangent.0)
            }
        };
        let wanted = call.wanted.iter();
        Ok(cotangents.into_iter().zip(wanted).map(|(c, &wanted)| wanted.then_some(RefTensor(c))).collect())
    }
}

/// Row `x` of the table for each number `x`.
fn embedding(x: &ArrayD<f64>, table: &ArrayD<f64>) -> Result<RefTensor> {
    let rows = table.shape()[0];
    if let Some(other) = x.iter().find(|&&x| !(0..rows).any(|row| row as f64 == x)) {
        return Err(backend(format!("expected whole numbers from 0 to {}, found {other}", rows - 1)));
    }
    Ok(RefTensor(ArrayD::from_shape_fn([x.shape(), &table.shape()[1..]].concat(), |at| {
        let at = at.as_array_view().to_vec();
        let (last, front) = at.split_last().expect("a row has an axis");
        table[[x[front] as usize, *last]]
    })))
}

fn backend(reason: impl Into<String>) -> Error {
    Error::Backend { backend: "reference", reason: reason.into() }
}
