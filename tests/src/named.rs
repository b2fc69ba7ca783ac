//! A method by its name, with settings as text: what the command asks, and what methods that need to know the layers
//! are asked by.

use attr_core::{Attribution, ModelWrapper, Qoi, Question, Result, Run, Slice, methods};
use ndarray::ArrayD;

use crate::Adapter;

/// What a case asks: a method by name, of what slice, about what quantity.
#[derive(Debug, Clone)]
pub struct Named {
    /// The method's name.
    pub method: &'static str,
    /// Its parameters that are not as they are by default.
    pub settings: Vec<(&'static str, String)>,
    /// The slice.
    pub slice: Slice,
    /// The quantity.
    pub quantity: Qoi,
}

impl Named {
    /// By this method, of the inputs and the first class.
    pub fn by(method: &'static str) -> Self {
        Named { method, settings: Vec::new(), slice: Slice::full(), quantity: Qoi::Class(0) }
    }

    /// With a parameter.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }

    /// Of another slice.
    pub fn at(mut self, slice: impl Into<Slice>) -> Self {
        self.slice = slice.into();
        self
    }

    /// About another quantity.
    pub fn of(mut self, quantity: Qoi) -> Self {
        self.quantity = quantity;
        self
    }

    /// The answer on a model.
    pub fn answer<M: ModelWrapper>(
        &self,
        adapter: &Adapter<M>,
        model: &M,
        inputs: &[ArrayD<f64>],
        run: Run<'_>,
    ) -> Result<Attribution<M::Tensor>> {
        let mut method = (methods::find(model, self.method)?.build)();
        for (name, value) in &self.settings {
            method.set(name, value)?;
        }
        let inputs = adapter.tensors(inputs)?;
        let question =
            Question::new(model, &inputs).at(self.slice.clone()).of(self.quantity.clone()).run(run);
        method.attribute(&question)
    }
}
