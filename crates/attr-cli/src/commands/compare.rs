//! `attr compare`: methods side by side.

use std::path::PathBuf;

use attr_viz::ColorMap;

use super::patterns;
use crate::catalogue::{self, Asked};
use crate::cli::{InputArgs, ModelArgs, QuestionArgs, ViewArgs};
use crate::error::{Error, Result};
use crate::explanation::{Explanation, Question};
use crate::grid::{Column, Grid};
use crate::input::{Inputs, Kind};
use crate::model::Model;
use crate::output::Output;
use crate::picture::{self, Maps, View};
use crate::{baseline, evidence, files, input, parts, terminal};

/// The height and width that a picture's tiles have at least, about.
const TILE: u32 = 160;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// The methods, or `all`; one may come several times with settings of its own:
    /// `lrp[rules=epsilon-plus],lrp[rules=z-plus][start=one]`
    #[arg(long, value_name = "A,B[KEY=VALUE],..")]
    methods: String,
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    view: ViewArgs,
    /// The picture to write: .png or .jpg; of texts the page: .html
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Draws what was finished, even if the user stopped it or a method failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let view = View::new(&args.view)?;
    let patterns = patterns::Read::of(&args.question)?;
    let common = patterns::common(&args.question, patterns.as_ref());
    let mut methods = catalogue::asked(&names(&args.methods, patterns.is_some()), &common)?;
    let output = match (&args.out, args.input.texts.is_empty()) {
        (None, _) => None,
        (Some(path), true) => Some(Output::picture(path)?),
        (Some(path), false) => Some(Output::page(path)?),
    };
    let (model, inputs) = input::open(&args.model, &args.input, args.question.similar_to.as_deref())?;
    let question = Question::new(&args.question, &model, &inputs)?;
    baseline::set(&mut methods, args.question.baseline.as_deref(), &model, &inputs, &question)?;
    if let Kind::Text(_) = inputs.kind {
        return texts(&model, &inputs, &question, &methods, view.colors, output.as_ref());
    }

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
    methods: &[Asked],
) -> Result<()> {
    let width = methods.iter().map(|asked| asked.title.len()).max().unwrap_or(0);
    let mut failure = Ok(());
    for Asked { method, title, settings, .. } in methods {
        let answer = question
            .ask(model, inputs, method, settings)
            .and_then(|explanation| Ok((Maps::new(&explanation)?, explanation)));
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
                terminal::line(format_args!("{title:<width$}  {}", took(&explanation)))?;
                grid.columns.push(Column { title: title.clone(), maps });
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

/// Asks one method after another about texts: prints what each token got, and writes a page.
fn texts(
    model: &Model,
    inputs: &Inputs,
    question: &Question,
    methods: &[Asked],
    colors: Option<ColorMap>,
    output: Option<&Output>,
) -> Result<()> {
    let mut explained = Vec::new();
    let mut ended = Ok(());
    for asked in methods {
        match question.ask(model, inputs, asked.method, &asked.settings) {
            Ok(mut explanation) => {
                explanation.attribution.evidence.notes.extend(asked.notes.iter().cloned());
                terminal::line(format_args!("\n{}  {}", asked.title, took(&explanation)))?;
                parts::print(&explanation, inputs, colors)?;
                explained.push((asked.title.clone(), explanation));
            }
            Err(error) if error.is_stop() => {
                ended = Err(error);
                break;
            }
            Err(error) => {
                eprintln!("warning: {error}");
                ended = ended.and(Err(error));
            }
        }
    }
    let finished = format!("{} of {} methods are finished", explained.len(), methods.len());
    if let Some(output) = output.filter(|_| !explained.is_empty()) {
        let evidence =
            explained.iter().map(|(_, one)| evidence::json(one, question, model, inputs)).collect();
        let explained: Vec<_> = explained.iter().map(|(title, one)| (title.clone(), one)).collect();
        let title = question.describe(&inputs.labels);
        let page = parts::page(&title, &explained, question, inputs, colors, &evidence)?;
        files::write(&output.path, page.as_bytes())?;
        terminal::line(format_args!("\nwrote {}", output.path.display()))?;
    }
    ended.map_err(|error| match error.is_stop() {
        true => Error::Stopped(finished),
        false => Error::failed(format!("{error}; {finished}")),
    })
}

/// How long an answer took, and how far it is from its law.
fn took(explanation: &Explanation) -> String {
    let residuals = explanation.attribution.evidence.residual.iter().flatten();
    let worst = residuals.fold(None, |worst: Option<f64>, r| Some(worst.unwrap_or(0.0).max(r.abs())));
    let residual = worst.map_or(String::new(), |r| format!("  residual {r:.1e} at most"));
    format!("{:>7.2} s{residual}", explanation.seconds)
}

/// The methods one by one; with `all`, those that need patterns only where there are some.
fn names(wanted: &str, with_patterns: bool) -> Vec<&str> {
    if wanted == "all" {
        let all = catalogue::all().into_iter();
        let usable = all.filter(|method| with_patterns || !method.has(catalogue::PATTERNS));
        return usable.map(|method| method.name).collect();
    }
    // Commas in brackets are the settings' own.
    let mut depth = 0;
    let between = |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    wanted.split(between).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn commas_in_brackets_are_not_between_methods() {
        let found = names("gradient, lrp[rules=z-box -1,-2 1,2][start=one],lrp", false);
        assert_eq!(found, ["gradient", "lrp[rules=z-box -1,-2 1,2][start=one]", "lrp"]);
        assert_eq!(names("all", true).len(), names("all", false).len() + 2);
    }
}
