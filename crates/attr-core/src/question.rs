//! What is asked: which model, at which inputs, about which slice and quantity, and how it may be worked out.

use std::ops::ControlFlow;

use crate::quantity::{Evaluation, Seen};
use crate::{Cut, Error, ModelWrapper, Point, Qoi, Quantity, Result, Slice, Tensor};

/// A question that a method answers: what in `inputs` (or at an inner cut) has an influence on what.
///
/// Without more words: the influence of the inputs on the logit of the predicted class.
pub struct Question<'a, M: ModelWrapper> {
    /// The model.
    pub model: &'a M,
    /// The model's inputs, each `[B, ...]`.
    pub inputs: &'a [M::Tensor],
    /// Whose influence on what part of the network.
    pub slice: Slice,
    /// The quantity made of the values at the slice's upper cut.
    pub quantity: Box<dyn Quantity<M::Tensor> + 'a>,
    /// Limits and reports.
    pub run: Run<'a>,
}

impl<'a, M: ModelWrapper> Question<'a, M> {
    /// The influence of these inputs on the logit of the predicted class.
    pub fn new(model: &'a M, inputs: &'a [M::Tensor]) -> Self {
        Question {
            model,
            inputs,
            slice: Slice::full(),
            quantity: Box::new(Qoi::default()),
            run: Run::default(),
        }
    }

    /// About another quantity.
    pub fn of(mut self, quantity: impl Quantity<M::Tensor> + 'a) -> Self {
        self.quantity = Box::new(quantity);
        self
    }

    /// About another slice: a cut, or a pair of them.
    pub fn at(mut self, slice: impl Into<Slice>) -> Self {
        self.slice = slice.into();
        self
    }

    /// With other limits and reports.
    pub fn run(mut self, run: Run<'a>) -> Self {
        self.run = run;
        self
    }

    /// The same question about another slice.
    pub(crate) fn about(&self, slice: Slice) -> Question<'_, M> {
        let quantity = Box::new(Borrowed(&*self.quantity));
        Question { model: self.model, inputs: self.inputs, slice, quantity, run: self.run.clone() }
    }

    /// Rows of the inputs.
    pub fn rows(&self) -> usize {
        self.inputs.first().map_or(1, Tensor::rows)
    }

    /// That there are rows, that the inputs hold no NaN and no infinity, and that both cuts exist and can be
    /// taken row by row.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_cut(&self.slice.from)?;
        self.check_cut(&self.slice.to)?;
        let places = self.model.places(&Cut::input())?;
        if self.rows() == 0 {
            let (place, found) = ("the model's inputs".into(), self.inputs[0].dims());
            return Err(Error::Shape { place, expected: "at least one row".into(), found });
        }
        for (input, place) in self.inputs.iter().zip(places) {
            if input.rows() != self.rows() {
                let (place, expected) = (format!("input {:?}", place.name), self.rows());
                let expected = format!("{expected} rows, as the first input");
                return Err(Error::Shape { place, expected, found: input.dims() });
            }
            if !input.is_finite()? {
                return Err(Error::NotFinite { place: format!("input {:?}", place.name) });
            }
        }
        Ok(())
    }

    /// That a cut exists and that its values have the batch first.
    pub(crate) fn check_cut(&self, cut: &Cut) -> Result<()> {
        for place in self.model.places(cut)? {
            if let Some(shape) = place.shape.filter(|shape| !shape.is_batch_first()) {
                let name = place.name;
                return Err(Error::Unsupported(format!(
                    "a cut at {name:?}: expected a value with the batch first, found {shape}"
                )));
            }
        }
        Ok(())
    }

    /// The values at a cut for the inputs, worked out in chunks of rows.
    pub(crate) fn values_at(&self, cut: &Cut) -> Result<Vec<M::Tensor>> {
        let rows = self.rows();
        let chunk = self.run.chunk_rows(self.model.row_bytes(), rows)?;
        let mut parts: Vec<Vec<M::Tensor>> = Vec::new();
        for start in (0..rows).step_by(chunk) {
            let len = chunk.min(rows - start);
            let inputs =
                self.inputs.iter().map(|input| input.slice_rows(start, len)).collect::<Result<Vec<_>>>()?;
            parts.push(self.model.forward(Point::at(&inputs), cut)?);
        }
        join(parts)
    }

    /// Does work on chunks of rows, one after another, as many rows as memory allows: `work` gets which rows they are,
    /// and the inputs' part.
    pub(crate) fn in_chunks(
        &self,
        row_bytes: Option<u64>,
        mut work: impl FnMut(&[usize], &[M::Tensor]) -> Result<()>,
    ) -> Result<()> {
        let rows: Vec<_> = (0..self.rows()).collect();
        for seen in rows.chunks(self.run.chunk_rows(row_bytes, rows.len())?) {
            let part = |input: &M::Tensor| input.slice_rows(seen[0], seen.len());
            work(seen, &self.inputs.iter().map(part).collect::<Result<Vec<_>>>()?)?;
            self.run.report(seen[0] + seen.len(), rows.len())?;
        }
        Ok(())
    }

    /// The quantity's value for each row of `values` at the upper cut.
    pub(crate) fn value_of(
        &self,
        quantity: &dyn Quantity<M::Tensor>,
        values: &[M::Tensor],
    ) -> Result<Vec<f64>> {
        let rows: Vec<_> = (0..self.rows()).collect();
        let value = quantity.evaluate(values, self.seen(&rows))?.value.to_array()?;
        finite_rows(&value, "the quantity of interest")
    }

    pub(crate) fn seen<'b>(&self, rows: &'b [usize]) -> Seen<'b> {
        let axes = self.channel_axes(&self.slice.to);
        let channel_axis = axes.ok().and_then(|axes| axes.first().copied());
        Seen { rows, channel_axis: channel_axis.unwrap_or(self.slice.to.channel_axis) }
    }

    /// The axis of channels of each tensor at a cut: what the cut says, or else the model.
    pub(crate) fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        let axes = self.model.channel_axes(cut)?;
        Ok(axes.into_iter().map(|axis| if cut.channel_axis == 1 { axis } else { cut.channel_axis }).collect())
    }
}

impl<M: ModelWrapper> std::fmt::Debug for Question<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {} to {}", self.quantity.describe(), self.slice.from, self.slice.to)
    }
}

/// A quantity that belongs to another question.
struct Borrowed<'a, T>(&'a dyn Quantity<T>);

impl<T: Tensor> Quantity<T> for Borrowed<'_, T> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn evaluate(&self, values: &[T], seen: Seen<'_>) -> Result<Evaluation<T>> {
        self.0.evaluate(values, seen)
    }

    fn pin(&self, values: &[T], seen: Seen<'_>) -> Result<Option<Box<dyn Quantity<T>>>> {
        self.0.pin(values, seen)
    }
}

/// Parts of several tensors, put one behind another along the rows.
pub(crate) fn join<T: Tensor>(parts: Vec<Vec<T>>) -> Result<Vec<T>> {
    let count = parts.first().map_or(0, Vec::len);
    let tensor = |i: usize| match &parts[..] {
        [only] => Ok(only[i].clone()),
        several => T::concat(&several.iter().map(|part| part[i].clone()).collect::<Vec<_>>(), 0),
    };
    (0..count).map(tensor).collect()
}

/// The numbers of `[rows]` on the host; NaN or infinity is an error.
pub(crate) fn finite_rows(value: &ndarray::ArrayD<f64>, place: &str) -> Result<Vec<f64>> {
    if value.iter().any(|x| !x.is_finite()) {
        return Err(Error::NotFinite { place: place.into() });
    }
    Ok(value.iter().copied().collect())
}

/// Limits on how an answer is worked out, and where reports go. The answer does not depend on it, but for the
/// last bits on a framework whose sums depend on the size of the batch (libtorch).
#[derive(Clone)]
pub struct Run<'a> {
    /// Bytes that the values of one chunk may take, about; parameters not counted. 2 GiB by default.
    pub memory: u64,
    /// The most rows in one chunk, whatever the memory; 8 by default: more is seldom faster, and takes more memory.
    pub rows: usize,
    /// Called after each chunk; [`ControlFlow::Break`] stops the work with [`Error::Cancelled`].
    pub progress: Option<&'a dyn Fn(Progress) -> ControlFlow<()>>,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows evaluated.
    pub done: usize,
    /// Rows to be evaluated in all.
    pub total: usize,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Run { memory: 2 << 30, rows: 8, progress: None }
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {} rows a chunk", self.memory, self.rows)
    }
}

impl Run<'_> {
    /// How many rows one chunk may have.
    pub(crate) fn chunk_rows(&self, row_bytes: Option<u64>, total: usize) -> Result<usize> {
        let fitting = match row_bytes {
            Some(needed) if needed > self.memory => {
                return Err(Error::Memory { needed, budget: self.memory });
            }
            Some(needed) => usize::try_from(self.memory / needed.max(1)).unwrap_or(usize::MAX),
            None => self.rows,
        };
        Ok(fitting.min(self.rows).min(total).max(1))
    }

    /// Reports; an error if the work is to stop.
    pub(crate) fn report(&self, done: usize, total: usize) -> Result<()> {
        match self.progress.map(|progress| progress(Progress { done, total })) {
            Some(ControlFlow::Break(())) => Err(Error::Cancelled { done, total }),
            _ => Ok(()),
        }
    }
}
