//! The answer: how much each part mattered, with the evidence for it.

use crate::parameter::Parameter;
use crate::{Error, Precision, Result, Tensor};

/// How much each number at the lower cut mattered for the quantity.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attribution<T> {
    /// One tensor for each tensor at the lower cut, batch first; its shape is that of the value there unless
    /// the method says otherwise.
    pub values: Vec<T>,
    /// What it rests on.
    pub evidence: Evidence,
}

/// What an attribution rests on, so that a reader sees when not to trust it.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The method's name.
    pub method: String,
    /// All its parameters as they were.
    pub parameters: Vec<Parameter>,
    /// Whose influence: the lower cut.
    pub from: String,
    /// On what: the upper cut.
    pub to: String,
    /// The quantity of interest, in words.
    pub target: String,
    /// The class of each row where the quantity chose one: the predicted class.
    pub classes: Option<Vec<usize>>,
    /// The quantity at the input, for each row.
    pub quantity: Vec<f64>,
    /// The quantity at the baseline, for each row, where the method has one.
    pub baseline_quantity: Option<Vec<f64>>,
    /// What the attributions of each row should add up to by the conservation law, where the method claims one.
    pub claimed: Option<Vec<f64>>,
    /// What is left over of the conservation law, for each row, where the method claims one: zero if it
    /// holds exactly.
    pub residual: Option<Vec<f64>>,
    /// The conservation law, in words.
    pub law: Option<&'static str>,
    /// How many rows were evaluated, forward or forward and back.
    pub evaluations: usize,
    /// The framework.
    pub backend: &'static str,
    /// The precision.
    pub precision: Precision,
    /// What the reader should know besides.
    pub notes: Vec<String>,
}

impl<T: Tensor> Attribution<T> {
    /// What every method returns. Values that are NaN or infinite are [`Error::NotFinite`], with the method and
    /// the lower cut.
    pub fn new(values: Vec<T>, evidence: Evidence) -> Result<Self> {
        for value in &values {
            if !value.is_finite()? {
                let place = format!("the attribution of {} by {}", evidence.from, evidence.method);
                return Err(Error::NotFinite { place });
            }
        }
        Ok(Attribution { values, evidence })
    }

    /// The absolute values.
    pub fn abs(self) -> Result<Self> {
        self.map("absolute values", Tensor::abs)
    }

    /// The squares.
    pub fn square(self) -> Result<Self> {
        self.map("squares", Tensor::square)
    }

    /// The largest value over the channels (axis 1), which stay as an axis of length 1.
    pub fn max_over_channels(self) -> Result<Self> {
        self.map("largest over channels", |values| values.max(1))
    }
}

impl<T> Attribution<T> {
    /// The values put through `f`, with a note about it in the evidence: `what` they are now, in words.
    pub fn map<U>(mut self, what: &str, f: impl Fn(&T) -> Result<U>) -> Result<Attribution<U>> {
        let values = self.values.iter().map(f).collect::<Result<_>>()?;
        let note = format!("post-processed: {what}; the conservation law is that of the values before");
        self.evidence.notes.push(note);
        Ok(Attribution { values, evidence: self.evidence })
    }
}

/// The sum of each row over several tensors, on the host.
pub(crate) fn row_totals<T: Tensor>(tensors: &[T]) -> Result<Vec<f64>> {
    let mut totals: Vec<f64> = Vec::new();
    for tensor in tensors {
        // Summed in double precision, so that the residual shows the method's error and not the sum's.
        let array = tensor.to_array()?;
        let sums = array.axis_iter(ndarray::Axis(0)).map(|row| row.sum());
        match totals.is_empty() {
            true => totals = sums.collect(),
            false => totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum),
        }
    }
    Ok(totals)
}
