//! One method's answer, with what the command knows about it.

use std::time::Instant;

use attr_core::{Attribution, Cut, Qoi, Settings, Slice};
use ndarray::{ArrayD, Axis};

use crate::cli::{Post, QuestionArgs};
use crate::error::{At, Result};
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
        let start = Instant::now();
        let attribution = progress::with_bar(method, self.memory, |run| {
            model.face.attribute(method, settings, &inputs.arrays, &self.slice, &self.target, run)
        });
        let attribution = self.post_process(attribution.at(method)?)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut names: Vec<_> =
            model.face.places(&self.slice.from)?.into_iter().map(|place| place.name).collect();
        if names.len() != attribution.values.len() {
            names = (0..attribution.values.len()).map(|i| format!("attribution {i}")).collect();
        }
        Ok(Explanation { attribution, names, seconds })
    }

    fn post_process(&self, attribution: Attribution<ArrayD<f64>>) -> Result<Attribution<ArrayD<f64>>> {
        type Change = fn(&ArrayD<f64>) -> ArrayD<f64>;
        let (what, change): (_, Change) = match self.post {
            None => return Ok(attribution),
            Some(Post::Abs) => ("absolute values", |values| values.abs()),
            Some(Post::Square) => ("squares", |values| values * values),
            Some(Post::MaxChannels) => ("largest over channels", largest_over_channels),
        };
        Ok(attribution.map(what, |values| Ok(change(values)))?)
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

/// Over axis 1, which stays with length 1; nothing to do where there is none.
fn largest_over_channels(values: &ArrayD<f64>) -> ArrayD<f64> {
    if values.ndim() < 2 {
        return values.clone();
    }
    values.fold_axis(Axis(1), f64::NEG_INFINITY, |largest, &x| largest.max(x)).insert_axis(Axis(1))
}
