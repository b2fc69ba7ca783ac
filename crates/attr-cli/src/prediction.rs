//! What a model says about its inputs.

use attr_core::Cut;
use ndarray::{ArrayD, Axis, Slice};

use crate::error::{Error, Result};
use crate::input::Inputs;
use crate::model::Model;
use crate::progress;

/// So many rows go through the model at once.
const CHUNK: usize = 16;

/// What a model says about one row.
pub(crate) struct Prediction {
    /// The values before a last softmax or sigmoid.
    pub(crate) logits: Vec<f64>,
    /// The values after it; `None` if there is none.
    pub(crate) output: Option<Vec<f64>>,
}

/// Whether the model's output is one number a class, as far as its shape is known.
pub(crate) fn has_classes(model: &Model) -> Result<bool> {
    for cut in [Cut::logits(), Cut::output()] {
        let place = model.face.places(&cut)?.swap_remove(0);
        if place.shape.is_some_and(|shape| shape.rank() != 2) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the model says about each row; an error if its output is not `[B, classes]`.
pub(crate) fn rows(model: &Model, inputs: &Inputs) -> Result<Vec<Prediction>> {
    let name = |cut: &Cut| Ok::<_, Error>(model.face.places(cut)?.swap_remove(0).name);
    let has_end = name(&Cut::logits())? != name(&Cut::output())?;
    let mut predictions = Vec::new();
    for start in (0..inputs.rows.len()).step_by(CHUNK) {
        progress::check()?;
        let end = inputs.rows.len().min(start + CHUNK);
        let part = |array: &ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(start..end)).to_owned();
        let part: Vec<_> = inputs.arrays.iter().map(part).collect();
        let values = |cut: &Cut| {
            let values = model.face.forward(&part, cut)?.swap_remove(0);
            match values.ndim() {
                2 => Ok(values),
                _ => Err(Error::failed(format!(
                    "expected an output of shape [B, classes], found {:?}: `attr explain --target` takes a channel \
                     or neuron",
                    values.shape()
                ))),
            }
        };
        let logits = values(&Cut::logits())?;
        let output = if has_end { Some(values(&Cut::output())?) } else { None };
        for row in 0..end - start {
            let row_of = |values: &ArrayD<f64>| values.index_axis(Axis(0), row).iter().copied().collect();
            predictions.push(Prediction { logits: row_of(&logits), output: output.as_ref().map(row_of) });
        }
    }
    Ok(predictions)
}

impl Prediction {
    /// The classes from the likeliest on; the first of equals first.
    pub(crate) fn ranking(&self) -> Vec<usize> {
        let mut classes: Vec<_> = (0..self.logits.len()).collect();
        classes.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        classes
    }

    /// `exp(y) / sum(exp(y))` of the logits.
    pub(crate) fn softmax(&self) -> Vec<f64> {
        let largest = self.logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.logits.iter().map(|y| (y - largest).exp()).sum();
        self.logits.iter().map(|y| (y - largest).exp() / sum).collect()
    }
}
