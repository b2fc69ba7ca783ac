use super::Method;
use super::lrp::Start;
use crate::parameter::parameters;
use crate::walk::{Layer, Outcome, answer};
use crate::{Activation, Attribution, LayeredModel, Op, Question, Result, Tensor};

/// Guided backpropagation: the gradient, but at each ReLU only what is positive goes on (Springenberg et al. 2014).
///
/// ReLU6, leaky ReLU and PReLU count as ReLUs; other functions have their gradient.
#[derive(Debug, Clone)]
pub struct GuidedBackprop {
    /// What is sent back: the derivative of the quantity (one, the default), or the values themselves (iNNvestigate).
    pub start: Start,
}

/// The deconvolutional network: from the quantity back through transposed layers, with max pooling's switches, and a
/// ReLU on what goes back instead of the ReLU's derivative (Zeiler, Fergus 2013).
///
/// With an inner layer as the upper cut and a channel or neuron as the quantity it reconstructs what excited that
/// feature.
#[derive(Debug, Clone)]
pub struct DeconvNet {
    /// What is sent back: the derivative of the quantity, as a gradient does (one, the default), or the feature's own
    /// values, as the paper does.
    pub start: Start,
}

/// What [`Start`] means where a gradient is what goes back.
const START: &str = "what is sent back: one (the derivative of the quantity), value (times the feature's own value) or positive";

parameters!(GuidedBackprop { start: START });
parameters!(DeconvNet { start: START });

impl Default for GuidedBackprop {
    fn default() -> Self {
        GuidedBackprop { start: Start::One }
    }
}

impl Default for DeconvNet {
    fn default() -> Self {
        DeconvNet { start: Start::One }
    }
}

impl<M: LayeredModel> Method<M> for GuidedBackprop {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        answer(question, "guided-backprop", self, 1, None, &mut |pass| {
            let values = pass.back(self.start.signals(pass)?, &mut |layer, signal| match is_relu(layer) {
                true => layer.vjp(&signal.relu()?),
                false => layer.vjp(signal),
            })?;
            Ok(Outcome::of(values))
        })
    }
}

impl<M: LayeredModel> Method<M> for DeconvNet {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        answer(question, "deconvnet", self, 1, None, &mut |pass| {
            let values = pass.back(self.start.signals(pass)?, &mut |layer, signal| match is_relu(layer) {
                true => Ok(vec![Some(signal.relu()?)]),
                false => layer.vjp(signal),
            })?;
            Ok(Outcome::of(values))
        })
    }
}

/// Whether a layer cuts off what is negative, or most of it.
fn is_relu<M: LayeredModel>(layer: &Layer<'_, M>) -> bool {
    let activation = match layer.op() {
        Op::Activation(activation) => activation,
        op => return *op == Op::PRelu,
    };
    match activation {
        Activation::Relu | Activation::LeakyRelu { .. } => true,
        Activation::Clip { min, .. } => *min == 0.0,
        _ => false,
    }
}
