//! What an adapter does for one layer: forward, and the vector-Jacobian product.

use crate::{Error, Op, Param, Result, Tensor};

/// Forward and vector-Jacobian product of every kind of layer on one framework.
///
/// This and [`Tensor`] are all that an adapter has to bring; [`crate::GraphModel`] makes a model of them.
/// Derivatives at kinks are those of [`crate::Activation`]; a maximum goes to the first of equals.
pub trait Kernels {
    /// The framework's tensor.
    type Tensor: Tensor;

    /// The framework's name, for messages and evidence.
    fn backend(&self) -> &'static str;

    /// An array brought to the device, in the precision of this adapter.
    fn tensor(&self, array: &ndarray::ArrayD<f64>) -> Result<Self::Tensor>;

    /// A parameter brought to the device, in the precision of this adapter.
    fn parameter(&self, param: &Param) -> Result<Self::Tensor> {
        self.tensor(&param.to_f64().ok_or_else(|| Error::graph("parameter", "its numbers are on a device"))?)
    }

    /// Why this kind of layer, with these attributes, can't be computed; `None` if it can.
    fn unsupported(&self, op: &Op) -> Option<String>;

    /// The layer's value. The shapes have been checked.
    fn forward(&self, op: &Op, inputs: &[&Self::Tensor], params: &[&Self::Tensor]) -> Result<Self::Tensor>;

    /// The cotangents of the inputs asked for, one entry an input.
    fn vjp(&self, op: &Op, call: Vjp<'_, Self::Tensor>) -> Result<Vec<Option<Self::Tensor>>>;
}

/// One layer on the way back.
#[derive(Debug)]
pub struct Vjp<'a, T> {
    /// The inputs' values, there where [`Op::saves`] asks for inputs.
    pub inputs: &'a [Option<&'a T>],
    /// The inputs' shapes, always there.
    pub input_dims: &'a [Vec<usize>],
    /// The output's value, there where [`Op::saves`] asks for it.
    pub output: Option<&'a T>,
    /// The parameters, in the order that [`Op`] gives.
    pub params: &'a [&'a T],
    /// The derivative of the quantity by the output; of the output's shape.
    pub cotangent: &'a T,
    /// For which inputs a cotangent is asked for.
    pub wanted: &'a [bool],
}
