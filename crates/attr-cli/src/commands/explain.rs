//! `attr explain`: one method's answer, as a summary, numbers and pictures.

use std::path::PathBuf;

use attr_core::Qoi;

use super::patterns;
use crate::cli::{InputArgs, ModelArgs, QuestionArgs, ViewArgs};
use crate::error::{Error, Result};
use crate::explanation::{Explanation, Question};
use crate::grid::{Column, Grid};
use crate::input::{Inputs, Kind};
use crate::model::Model;
use crate::output::{Format, Output};
use crate::picture::{self, Maps, View};
use crate::{baseline, catalogue, evidence, files, input, parts, prediction, terminal};

/// The height and width that a picture's tiles have at least, about.
const TILE: u32 = 256;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// The method: `attr methods` lists them
    #[arg(long, value_name = "NAME", default_value = "integrated-gradients")]
    method: String,
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    view: ViewArgs,
    /// The heat map alone, a pixel for each value
    #[arg(long, help_heading = "Drawing")]
    plain: bool,
    /// Where to write, once or more; the ending says what: .png or .jpg a picture (of a table bars), .html a text in
    /// colour, .npy, .npz or .safetensors the values, .json the evidence
    #[arg(long = "out", value_name = "FILE")]
    outputs: Vec<PathBuf>,
}

/// Explains, prints a summary, writes what was asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let view = View::new(&args.view)?;
    let method = catalogue::find(&args.method)?;
    let patterns = patterns::Read::of(&args.question)?;
    let common = patterns::common(&args.question, patterns.as_ref());
    let mut asked = catalogue::asked(&[method.name], &common)?;
    let outputs = args.outputs.iter().map(|path| Output::new(path)).collect::<Result<Vec<_>>>()?;
    let (model, inputs) = input::open(&args.model, &args.input, args.question.similar_to.as_deref())?;
    let question = Question::new(&args.question, &model, &inputs)?;
    // Found out before the work and not after it.
    for output in &outputs {
        match (output.format, &inputs.kind) {
            (Format::Picture, Kind::Arrays) => drop(picture::photos(&inputs)?),
            (Format::Picture, Kind::Text(_)) => {
                let found = output.path.display();
                return Err(Error::usage(format!("out: expected .html for a text in colour, found {found}")));
            }
            (Format::Page, _) => parts::check_page(&inputs)?,
            _ => {}
        }
    }
    baseline::set(&mut asked, args.question.baseline.as_deref(), &model, &inputs, &question)?;
    let asked = asked.remove(0);

    let mut explanation = question.ask(&model, &inputs, method.name, &asked.settings)?;
    if args.question.seed.is_some() && !method.has("seed") {
        let note = format!("{} draws no random numbers: --seed has no effect", method.name);
        explanation.attribution.evidence.notes.push(note);
    }
    explanation.attribution.evidence.notes.extend(patterns.map(|read| read.note));
    explanation.attribution.evidence.notes.extend(asked.notes);
    let is_of_its_own = question.is_about_classes() && question.target != Qoi::PredictedClass;
    if is_of_its_own && prediction::has_classes(&model)? {
        print_predictions(&model, &inputs)?;
    }
    terminal::print(&evidence::summary(&explanation, &question, &inputs))?;
    parts::print(&explanation, &inputs, view.colors)?;

    let evidence = evidence::json(&explanation, &question, &model, &inputs);
    for output in &outputs {
        match output.format {
            Format::Picture if matches!(inputs.kind, Kind::Table(_)) => {
                let picture = parts::picture(&explanation, &question, &inputs, view.colors)?;
                attr_viz::save(&output.path, &picture).map_err(picture::failed)?;
            }
            Format::Page => {
                let title = question.describe(&inputs.labels);
                let explained = [(String::new(), &explanation)];
                let page = parts::page(&title, &explained, &question, &inputs, view.colors, &evidence)?;
                files::write(&output.path, page.as_bytes())?;
            }
            Format::Picture => {
                let picture = draw(&explanation, &question, &inputs, &view, args.plain)?;
                attr_viz::save(&output.path, &picture).map_err(picture::failed)?;
            }
            _ => output.write(&explanation, &evidence)?,
        }
        terminal::line(format_args!("{:<10} {}", "wrote", output.path.display()))?;
    }
    if outputs.is_empty() && terminal::is_there() {
        // Nobody asked for a picture: where there can't be one, the summary is all.
        if let Ok(picture) = draw(&explanation, &question, &inputs, &view, args.plain) {
            terminal::draw(&picture);
        }
    }
    Ok(())
}

/// What the model itself says, where another class is explained.
fn print_predictions(model: &Model, inputs: &Inputs) -> Result<()> {
    for (name, prediction) in inputs.rows.iter().zip(prediction::rows(model, inputs)?) {
        if let Some(&class) = prediction.ranking().first() {
            let (label, logit) = (inputs.labels.describe(class), prediction.logits[class]);
            terminal::line(format_args!("{:<10} {label}, {logit:.6} ({name})", "predicted"))?;
        }
    }
    Ok(())
}

fn draw(
    explanation: &Explanation,
    question: &Question,
    inputs: &Inputs,
    view: &View,
    plain: bool,
) -> Result<attr_viz::RgbImage> {
    let maps = Maps::new(explanation)?;
    if plain {
        return match maps.rows.len() {
            1 => view.plain(&maps, 0),
            several => Err(Error::usage(format!("plain: expected one input, found {several}"))),
        };
    }
    let photos = picture::photos(inputs)?;
    let title = explanation.attribution.evidence.method.clone();
    let labels = (0..photos.len()).map(|row| label(explanation, question, inputs, row)).collect();
    Grid { photos, labels, columns: vec![Column { title, maps }] }.render_one(view, TILE)
}

/// A row in few words: what is explained, and its value.
pub(crate) fn label(explanation: &Explanation, question: &Question, inputs: &Inputs, row: usize) -> String {
    let about = match explanation.class(question, row) {
        Some(class) => inputs.labels.name(class),
        None => question.describe(&inputs.labels),
    };
    let quantity = explanation.attribution.evidence.quantity.get(row);
    format!("{about} {}", quantity.map_or(String::new(), |value| format!("{value:.2}")))
}
