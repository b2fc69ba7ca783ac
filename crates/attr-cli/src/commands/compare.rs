//! `attr compare`: methods side by side.

use std::path::PathBuf;

use crate::cli::{InputArgs, ModelArgs, QuestionArgs, ViewArgs};
use crate::error::{Error, Result};
use crate::explanation::Question;
use crate::grid::{Column, Grid};
use crate::input::Inputs;
use crate::model::Model;
use crate::output::Output;
use crate::picture::{self, Maps, View};
use crate::{catalogue, input, model, terminal};

/// The height and width that a picture's tiles have at least, about.
const TILE: u32 = 160;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// The methods, or `all`
    #[arg(long, value_name = "A,B,..", value_delimiter = ',', required = true)]
    methods: Vec<String>,
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    view: ViewArgs,
    /// The picture to write: .png or .jpg
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A method, and what its parameters are set to.
pub(crate) type Setting = (&'static str, Vec<(String, String)>);

/// Draws what was finished, even if the user stopped it or a method failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let view = View::new(&args.view)?;
    let names = names(&args.methods)?;
    let settings = catalogue::settings(&names, &args.question.settings, args.question.seed)?;
    let output = args.out.as_ref().map(|path| Output::picture(path)).transpose()?;
    let model = model::open(&args.model)?;
    let inputs = input::read(&args.input, &model)?;
    let question = Question::new(&args.question, &model, &inputs)?;
    let methods: Vec<Setting> = names.into_iter().zip(settings).collect();

    let mut grid =
        Grid { photos: picture::photos(&inputs)?, labels: inputs.rows.clone(), columns: Vec::new() };
    let ended = fill(&mut grid, &model, &inputs, &question, &methods);
    if grid.columns.is_empty() {
        return ended;
    }
    let picture = grid.render(&view, TILE)?;
    let place = match &output {
        Some(output) => {
            attr_viz::save(&output.path, &picture).map_err(picture::failed)?;
            terminal::line(format_args!("wrote {}", output.path.display()))?;
            output.path.display().to_string()
        }
        None => "the picture".to_string(),
    };
    if output.is_none() && terminal::is_there() {
        terminal::draw(&picture);
    }
    let finished = format!("{} of {} methods are in {place}", grid.columns.len(), methods.len());
    ended.map_err(|error| match error.is_stop() {
        true => Error::Stopped(finished),
        false => Error::failed(format!("{error}; {finished}")),
    })
}

/// Asks one method after another and prints a line about each. Stops at Ctrl-C; a method that fails is left
/// out, and the first such failure is the error in the end.
pub(crate) fn fill(
    grid: &mut Grid,
    model: &Model,
    inputs: &Inputs,
    question: &Question,
    methods: &[Setting],
) -> Result<()> {
    let width = methods.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut failure = Ok(());
    for (name, settings) in methods {
        let answer = question
            .ask(model, inputs, name, settings)
            .and_then(|explanation| Ok((Maps::new(&explanation.attribution.values, inputs)?, explanation)));
        match answer {
            Ok((maps, explanation)) => {
                if grid.columns.is_empty() {
                    let rows = inputs.rows.iter().enumerate();
                    let about = |row| super::explain::label(&explanation, question, inputs, row);
                    let label = |(row, name): (usize, &String)| match name.is_empty() {
                        true => about(row),
                        false => format!("{name}: {}", about(row)),
                    };
                    grid.labels = rows.map(label).collect();
                }
                let residuals = explanation.attribution.evidence.residual.iter().flatten();
                let worst =
                    residuals.fold(None, |worst: Option<f64>, r| Some(worst.unwrap_or(0.0).max(r.abs())));
                let residual = worst.map_or(String::new(), |r| format!("  residual {r:.1e} at most"));
                terminal::line(format_args!("{name:<width$}  {:>7.2} s{residual}", explanation.seconds))?;
                grid.columns.push(Column { title: name.to_string(), maps });
            }
            Err(error) if error.is_stop() => return Err(error),
            Err(error) => {
                eprintln!("warning: {error}");
                failure = failure.and(Err(error));
            }
        }
    }
    failure
}

fn names(wanted: &[String]) -> Result<Vec<&'static str>> {
    match wanted {
        [all] if all == "all" => Ok(catalogue::all().iter().map(|method| method.name).collect()),
        _ => wanted.iter().map(|name| Ok(catalogue::find(name.trim())?.name)).collect(),
    }
}
