//! The yardstick: every layer by its formula, in double precision, one number after another.
//!
//! Nothing here is fast or clever, and nothing is shared with an adapter: neither `Activation::derivative`
//! nor `Resize::taps`. Most layers are linear in their inputs, so a layer is the list of its terms
//! (`linear.rs`); the way back is the same list read from the other side. The few that are not linear
//! have their derivative written out (`nonlinear.rs`). Any number of spatial axes.

mod linear;
mod nonlinear;
mod resize;
mod tensor;
mod window;

use attr_core::{Error, Kernels, Op, Result, Vjp};
use ndarray::ArrayD;

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
        (!linear::is_linear(op) && !nonlinear::is_nonlinear(op))
            .then(|| format!("{} has no formula here yet", op.kind()))
    }

    fn forward(&self, op: &Op, inputs: &[&RefTensor], params: &[&RefTensor]) -> Result<RefTensor> {
        let inputs: Vec<_> = inputs.iter().map(|tensor| &tensor.0).collect();
        let params: Vec<_> = params.iter().map(|tensor| &tensor.0).collect();
        match op {
            Op::Input => Err(backend("an input computes nothing")),
            Op::Constant => Ok(RefTensor(params[0].clone())),
            op if linear::is_linear(op) => Ok(RefTensor(linear::forward(op, &inputs, &params))),
            op => Ok(RefTensor(nonlinear::forward(op, &inputs))),
        }
    }

    fn vjp(&self, op: &Op, call: Vjp<'_, RefTensor>) -> Result<Vec<Option<RefTensor>>> {
        let params: Vec<_> = call.params.iter().map(|tensor| &tensor.0).collect();
        let cotangents = match op {
            Op::Input | Op::Constant => vec![],
            op if linear::is_linear(op) => linear::vjp(op, call.input_dims, &params, &call.cotangent.0),
            op => {
                let inputs: Vec<_> = call.inputs.iter().map(|input| input.map(|tensor| &tensor.0)).collect();
                nonlinear::vjp(op, &inputs, call.output.map(|tensor| &tensor.0), &call.cotangent.0)
            }
        };
        let wanted = call.wanted.iter();
        Ok(cotangents.into_iter().zip(wanted).map(|(c, &wanted)| wanted.then_some(RefTensor(c))).collect())
    }
}

fn backend(reason: impl Into<String>) -> Error {
    Error::Backend { backend: "reference", reason: reason.into() }
}
