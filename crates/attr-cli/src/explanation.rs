//! One method's answer, with what the command knows about it.

use std::time::Instant;

use attr_core::{Attribution, Cut, Place, Qoi, Settings, Slice, Squash};
use ndarray::{ArrayD, Axis, concatenate};

use crate::cli::{Post, QuestionArgs};
use crate::error::{At, Error, Result};
use crate::input::{Inputs, Kind};
use crate::labels::Labels;
use crate::model::Model;
use crate::{parts, place, progress, target, text};

/// What is asked, whatever the method.
pub(crate) struct Question {
    pub(crate) slice: Slice,
    pub(crate) target: Qoi,
    /// What the target is in words, where it is more than the library knows.
    words: Option<String>,
    pub(crate) post: Option<Post>,
    pub(crate) memory: Option<u64>,
}

/// What came out.
pub(crate) struct Explanation {
    pub(crate) attribution: Attribution<ArrayD<f64>>,
    /// A name for each of its arrays.
    pub(crate) names: Vec<String>,
    /// The axis of channels of each of its arrays, as far as they have one.
    pub(crate) channel_axes: Vec<usize>,
    pub(crate) seconds: f64,
}

impl Question {
    /// From the words of the command line; an error names a layer or class that is not there.
    pub(crate) fn new(args: &QuestionArgs, model: &Model, inputs: &Inputs) -> Result<Self> {
        let from = match (&args.layer, &inputs.kind) {
            (Some(layer), Kind::Text(_)) => place::parse(layer).channel_axis(2),
            (Some(layer), _) => place::parse(layer),
            (None, Kind::Text(_)) => text::embeddings(model, &inputs.arrays)?,
            (None, _) => Cut::input(),
        };
        let slice = Slice { from, to: place::parse(&args.to) };
        model.face.places(&slice.from)?;
        let to = model.face.places(&slice.to)?;
        if let Some(other) = &args.similar_to {
            let target = similarity(model, inputs, &slice.to)?;
            let words = Some(format!("similarity (cosine) to {other:?}"));
            return Ok(Question { slice, target, words, post: args.post, memory: args.memory });
        }
        let target = target::parse(&args.target, &inputs.labels)?;
        // Only there do the labels mean anything.
        if is_output(&slice.to)
            && let [only] = &to[..]
            && let Some([_, classes]) = only.shape.as_ref().map(|shape| shape.at(1)).as_deref()
        {
            inputs.labels.check(*classes)?;
            target::check(&target, *classes)?;
        }
        Ok(Question { slice, target, words: None, post: args.post, memory: args.memory })
    }

    /// Of the model's inputs, about classes of its output.
    pub(crate) fn of_classes(target: Qoi) -> Self {
        Question { slice: Slice::full(), target, words: None, post: None, memory: None }
    }

    /// The target in words, where it is more than the library knows.
    pub(crate) fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }

    /// The target in words.
    pub(crate) fn describe(&self, labels: &Labels) -> String {
        self.words.clone().unwrap_or_else(|| target::describe(&self.target, labels))
    }

    /// Whether the target is a class of the model's output.
    pub(crate) fn is_about_classes(&self) -> bool {
        is_output(&self.slice.to) && self.words.is_none()
    }

    /// Asks a method.
    pub(crate) fn ask(
        &self,
        model: &Model,
        inputs: &Inputs,
        method: &str,
        settings: &Settings,
    ) -> Result<Explanation> {
        progress::check()?;
        self.check_blur(model, settings).at(method)?;
        let start = Instant::now();
        let attribution = self.answer(model, inputs, method, settings).at(method)?;
        let places = model.places(&self.slice.from)?;
        let of_places = places.len() == attribution.values.len();
        let mut axes = model.channel_axes(&self.slice.from)?;
        if self.slice.from.channel_axis != 1 {
            axes.fill(self.slice.from.channel_axis);
        }
        let axis = |(i, values): (usize, &ArrayD<f64>)| match places.get(i).filter(|_| of_places) {
            Some(place) if is_like(values.shape(), place, axes[i]) => axes[i],
            // The maps that methods make have them behind the batch.
            _ => 1,
        };
        let channel_axes: Vec<_> = attribution.values.iter().enumerate().map(axis).collect();
        let mut attribution = self.post_process(attribution, &channel_axes)?;
        attribution.evidence.notes.extend(parts::cancelled(&attribution.values, inputs));
        let seconds = start.elapsed().as_secs_f64();
        let names = match of_places {
            true => places.into_iter().map(|place| place.name).collect(),
            false => (0..attribution.values.len()).map(|i| format!("attribution {i}")).collect(),
        };
        Ok(Explanation { attribution, names, channel_axes, seconds })
    }

    /// The method's answer; row by row where a baseline is another one for each.
    fn answer(
        &self,
        model: &Model,
        inputs: &Inputs,
        method: &str,
        settings: &Settings,
    ) -> Result<Attribution<ArrayD<f64>>> {
        let ask = |settings: &Settings, arrays: &[ArrayD<f64>]| {
            progress::with_bar(method, self.memory, |run| {
                model.face.attribute(method, settings, arrays, &self.slice, &self.target, run)
            })
        };
        let rows = inputs.rows.len();
        let mut given = settings.arrays.iter().flat_map(|(_, arrays)| arrays);
        if rows == 1 || given.all(|array| array.len_of(Axis(0)) == 1) {
            return Ok(ask(settings, &inputs.arrays)?);
        }
        let mut answers = Vec::new();
        for row in 0..rows {
            let of_row =
                |arrays: &[ArrayD<f64>]| arrays.iter().map(|array| take(array, row)).collect::<Vec<_>>();
            let arrays = settings.arrays.iter().map(|(name, arrays)| (name.clone(), of_row(arrays)));
            let settings = Settings { arrays: arrays.collect(), ..settings.clone() };
            answers.push(ask(&settings, &of_row(&inputs.arrays))?);
        }
        join(answers)
    }

    /// That a blur goes along the axes of a picture and not along its channels.
    fn check_blur(&self, model: &Model, settings: &Settings) -> Result<()> {
        let blur = settings.values.iter().find(|(_, value)| value.trim().starts_with("blur"));
        let axes = [model.channel_axes(&Cut::input())?, model.channel_axes(&self.slice.from)?].concat();
        match blur {
            Some((name, value)) if axes.iter().any(|&axis| axis != 1) => Err(Error::usage(format!(
                "parameter {name}: expected another value than {value}, for a blur expects channels behind the batch, \
                 and those of this model's input or layer are last"
            ))),
            _ => Ok(()),
        }
    }

    fn post_process(
        &self,
        attribution: Attribution<ArrayD<f64>>,
        channel_axes: &[usize],
    ) -> Result<Attribution<ArrayD<f64>>> {
        type Change = fn(&ArrayD<f64>, Axis) -> ArrayD<f64>;
        let (what, change): (_, Change) = match self.post {
            None => return Ok(attribution),
            Some(Post::Abs) => ("absolute values", |values, _| values.abs()),
            Some(Post::Square) => ("squares", |values, _| values * values),
            Some(Post::MaxChannels) => ("largest over channels", largest_over_channels),
            Some(Post::Norm) => ("norms over channels", norms_over_channels),
        };
        let mut changed = attribution.map(what, |values| Ok(values.clone()))?;
        for (values, &axis) in changed.values.iter_mut().zip(channel_axes) {
            *values = change(values, Axis(axis));
        }
        Ok(changed)
    }
}

impl Explanation {
    /// The class that a row is about, if it is about one.
    pub(crate) fn class(&self, question: &Question, row: usize) -> Option<usize> {
        let chosen = self.attribution.evidence.classes.as_ref().and_then(|classes| classes.get(row).copied());
        target::class_of(&question.target, chosen).filter(|_| question.is_about_classes())
    }
}

/// Likewise, the Euclidean norm.
fn norms_over_channels(values: &ArrayD<f64>, channels: Axis) -> ArrayD<f64> {
    if values.ndim() <= channels.index() {
        return values.abs();
    }
    (values * values).sum_axis(channels).sqrt().insert_axis(channels)
}

/// The cosine with the model's output for the other text: the sum of the output at length 1 times that one's at
/// length 1.
fn similarity(model: &Model, inputs: &Inputs, to: &Cut) -> Result<Qoi> {
    let Kind::Text(text) = &inputs.kind else {
        return Err(Error::usage("similar-to: expected a text to compare, by --text, found another input"));
    };
    let other: Vec<_> = text.other.iter().cloned().collect();
    let arrays = text.arrays(&other, &model.face.places(&Cut::input())?)?;
    let output = model.face.forward(&arrays, to)?.swap_remove(0);
    if output.ndim() != 2 {
        return Err(Error::usage(format!(
            "similar-to: expected an output of shape [B, D], one embedding a text, found {:?}: --to says which layer \
             gives it",
            output.shape()
        )));
    }
    let embedding = output.remove_axis(Axis(0));
    let length = embedding.iter().map(|x| x * x).sum::<f64>().sqrt();
    if !(length.is_finite() && length > 0.0) {
        return Err(Error::failed(format!(
            "similar-to: expected an embedding with a length, found {length}"
        )));
    }
    Ok(Qoi::WeightedSum(embedding / length).after(Squash::Unit))
}

/// One row of an array, or what stands for all rows.
fn take(array: &ArrayD<f64>, row: usize) -> ArrayD<f64> {
    let row = if array.len_of(Axis(0)) == 1 { 0 } else { row };
    array.slice_axis(Axis(0), ndarray::Slice::from(row..=row)).to_owned()
}

/// Answers for one row each as one answer for all of them.
fn join(answers: Vec<Attribution<ArrayD<f64>>>) -> Result<Attribution<ArrayD<f64>>> {
    let mut answers = answers.into_iter();
    let mut all = answers.next().ok_or_else(|| Error::failed("expected at least one row, found none"))?;
    for one in answers {
        for (values, more) in all.values.iter_mut().zip(&one.values) {
            let joined = concatenate(Axis(0), &[values.view(), more.view()]);
            *values = joined.map_err(|error| Error::failed(format!("rows don't fit together: {error}")))?;
        }
        let (evidence, more) = (&mut all.evidence, one.evidence);
        evidence.quantity.extend(more.quantity);
        evidence.evaluations += more.evaluations;
        for (rows, more) in [
            (&mut evidence.baseline_quantity, more.baseline_quantity),
            (&mut evidence.claimed, more.claimed),
            (&mut evidence.residual, more.residual),
        ] {
            rows.iter_mut().for_each(|rows| rows.extend(more.iter().flatten()));
        }
        evidence.classes.iter_mut().for_each(|rows| rows.extend(more.classes.iter().flatten()));
    }
    Ok(all)
}

fn is_output(cut: &Cut) -> bool {
    *cut == Cut::logits() || *cut == Cut::output()
}

/// Whether these are the lengths of a value at a place, but that its channels may be one.
fn is_like(dims: &[usize], place: &Place, channels: usize) -> bool {
    let Some(shape) = &place.shape else { return true };
    let mut dims = dims.to_vec();
    if let (Some(len), Some(whole)) = (dims.get_mut(channels), shape.at(1).get(channels)) {
        *len = if *len == 1 { *whole } else { *len };
    }
    shape.admits(&dims)
}

/// Over this axis, which stays with length 1; nothing to do where there is none.
fn largest_over_channels(values: &ArrayD<f64>, channels: Axis) -> ArrayD<f64> {
    if values.ndim() <= channels.index() {
        return values.clone();
    }
    values.fold_axis(channels, f64::NEG_INFINITY, |largest, &x| largest.max(x)).insert_axis(channels)
}
