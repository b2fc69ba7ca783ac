//! One method's answer, with what the command knows about it.

use std::time::Instant;

use attr_core::{Attribution, Cut, Place, Qoi, Settings, Slice};
use ndarray::{ArrayD, Axis};

use crate::cli::{Post, QuestionArgs};
use crate::error::{At, Error, Result};
use crate::input::Inputs;
use crate::model::Model;
use crate::{place, progress, target};

/// What is asked, whatever the method.
pub(crate) struct Question {
    pub(crate) slice: Slice,
    pub(crate) target: Qoi,
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
        let slice = Slice { from: place::parse(&args.layer), to: place::parse(&args.to) };
        model.face.places(&slice.from)?;
        let to = model.face.places(&slice.to)?;
        let target = target::parse(&args.target, &inputs.labels)?;
        // Only there do the labels mean anything.
        if is_output(&slice.to)
            && let [only] = &to[..]
            && let Some([_, classes]) = only.shape.as_ref().map(|shape| shape.at(1)).as_deref()
        {
            inputs.labels.check(*classes)?;
            target::check(&target, *classes)?;
        }
        Ok(Question { slice, target, post: args.post, memory: args.memory })
    }

    /// Whether the target is a class of the model's output.
    pub(crate) fn is_about_classes(&self) -> bool {
        is_output(&self.slice.to)
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
        let attribution = progress::with_bar(method, self.memory, |run| {
            model.face.attribute(method, settings, &inputs.arrays, &self.slice, &self.target, run)
        });
        let attribution = attribution.at(method)?;
        let places = model.places(&self.slice.from)?;
        let of_places = places.len() == attribution.values.len();
        let axes = model.channel_axes(&self.slice.from)?;
        let axis = |(i, values): (usize, &ArrayD<f64>)| match places.get(i).filter(|_| of_places) {
            Some(place) if is_like(values.shape(), place, axes[i]) => axes[i],
            // The maps that methods make have them behind the batch.
            _ => 1,
        };
        let channel_axes: Vec<_> = attribution.values.iter().enumerate().map(axis).collect();
        let attribution = self.post_process(attribution, &channel_axes)?;
        let seconds = start.elapsed().as_secs_f64();
        let names = match of_places {
            true => places.into_iter().map(|place| place.name).collect(),
            false => (0..attribution.values.len()).map(|i| format!("attribution {i}")).collect(),
        };
        Ok(Explanation { attribution, names, channel_axes, seconds })
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
