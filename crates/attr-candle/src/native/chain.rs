//! Stages one behind another as a model.

use attr_core::Result;
use candle_core::Module;

use super::Native;
use crate::Candle;

/// Named stages, each of which reads what the one before it gives.
///
/// A stage is one of candle's modules, or a function from a tensor to a tensor.
///
/// ```
/// use attr_candle::{Candle, Chain, Native, ops};
/// use attr_core::{ModelWrapper, Precision};
/// use candle_core::{Device, Tensor};
///
/// let weight = Tensor::rand(-1f32, 1.0, (3, 4), &Device::Cpu)?;
/// let stages = Chain::default()
///     .then("fc", move |x: &Tensor| ops::linear(x, &weight, None))
///     .then("relu", ops::relu)
///     .then("probabilities", ops::softmax_last_dim);
/// let model = Native::chain(Candle::cpu(Precision::F32), ("x", &[4]), stages)?.with_logits("relu")?;
/// assert_eq!(model.layers().len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Chain {
    stages: Vec<(String, Box<dyn Module + Send>)>,
}

impl Chain {
    /// With one more stage behind the others.
    pub fn then(mut self, name: &str, stage: impl Module + Send + 'static) -> Self {
        self.stages.push((name.into(), Box::new(stage)));
        self
    }
}

impl Native {
    /// A model of stages one behind another, each of them a layer under its name, whose input has this name and rows
    /// of these lengths.
    ///
    /// # Errors
    ///
    /// As [`Native::new`].
    pub fn chain(candle: Candle, input: (&str, &[usize]), stages: Chain) -> Result<Self> {
        Native::new(candle, &[input], move |inputs, taps| {
            let mut x = inputs[0].clone();
            for (name, stage) in &stages.stages {
                x = taps.layer(name, [&x], |[x]| stage.forward(x))?;
            }
            Ok(vec![x])
        })
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.stages.iter().map(|(name, _)| name).collect();
        write!(f, "Chain({names:?})")
    }
}
