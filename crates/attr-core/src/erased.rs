//! A face of a model that does not show its tensor: arrays in, arrays out.
//!
//! For those who choose the adapter at run time: the command, and the suite that runs on every adapter.

use ndarray::ArrayD;

use crate::{
    Attribution, Cut, ModelWrapper, PatternKind, Patterns, Place, Point, Qoi, Question, Result, Run,
    Settings, Slice, Tensor, methods,
};

/// Any model, with arrays on the host.
pub trait ErasedModel {
    /// The framework's name.
    fn backend(&self) -> &'static str;

    /// Every layer, each behind those it reads; empty if they aren't known.
    fn layers(&self) -> Vec<Place>;

    /// The tensors at a cut.
    fn places(&self, cut: &Cut) -> Result<Vec<Place>>;

    /// The axis of channels of each tensor at a cut, if it has one.
    fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>>;

    /// The values at a cut for these inputs.
    fn forward(&self, inputs: &[ArrayD<f64>], at: &Cut) -> Result<Vec<ArrayD<f64>>>;

    /// Whether the method of this name can be asked of this kind of model.
    fn answers(&self, method: &str) -> bool;

    /// Patterns of a kind fitted to batches, each one array for each input; an error where layers aren't known.
    fn fit_patterns(
        &self,
        kind: PatternKind,
        batches: &mut dyn Iterator<Item = Result<Vec<ArrayD<f64>>>>,
    ) -> Result<Patterns>;

    /// The answer of a method, by name and with parameters set by name, to a question.
    fn attribute(
        &self,
        method: &str,
        settings: &Settings,
        inputs: &[ArrayD<f64>],
        slice: &Slice,
        quantity: &Qoi,
        run: &Run<'_>,
    ) -> Result<Attribution<ArrayD<f64>>>;
}

impl<M: ModelWrapper> ErasedModel for M {
    fn backend(&self) -> &'static str {
        ModelWrapper::backend(self)
    }

    fn layers(&self) -> Vec<Place> {
        ModelWrapper::layers(self)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        ModelWrapper::places(self, cut)
    }

    fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        ModelWrapper::channel_axes(self, cut)
    }

    fn forward(&self, inputs: &[ArrayD<f64>], at: &Cut) -> Result<Vec<ArrayD<f64>>> {
        let inputs = tensors(self, inputs)?;
        ModelWrapper::forward(self, Point::at(&inputs), at)?.iter().map(Tensor::to_array).collect()
    }

    fn answers(&self, method: &str) -> bool {
        <M as ModelWrapper>::methods().iter().any(|entry| entry.name == method)
    }

    fn fit_patterns(
        &self,
        kind: PatternKind,
        batches: &mut dyn Iterator<Item = Result<Vec<ArrayD<f64>>>>,
    ) -> Result<Patterns> {
        ModelWrapper::fit_patterns(self, kind, batches)
    }

    fn attribute(
        &self,
        method: &str,
        settings: &Settings,
        inputs: &[ArrayD<f64>],
        slice: &Slice,
        quantity: &Qoi,
        run: &Run<'_>,
    ) -> Result<Attribution<ArrayD<f64>>> {
        let mut method = (methods::find(self, method)?.build)();
        settings.apply(method.as_mut())?;
        let inputs = tensors(self, inputs)?;
        let question = Question::new(self, &inputs).of(quantity.clone()).at(slice.clone()).run(run.clone());
        let answer = method.attribute(&question)?;
        let values = answer.values.iter().map(Tensor::to_array).collect::<Result<_>>()?;
        Ok(Attribution { values, evidence: answer.evidence })
    }
}

fn tensors<M: ModelWrapper>(model: &M, arrays: &[ArrayD<f64>]) -> Result<Vec<M::Tensor>> {
    arrays.iter().map(|array| model.tensor(array)).collect()
}
