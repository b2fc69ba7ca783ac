//! Attributions of parts that have names: the tokens of a text, the columns of a table.

use attr_core::Cut;
use attr_viz::tokens::{Fact, Page, Passage};
use attr_viz::{Bar, Bars, ColorMap, RgbImage};
use ndarray::{ArrayD, ArrayViewD, Axis};
use serde_json::{Value, json};

use crate::commands::explain;
use crate::error::{Error, Result};
use crate::explanation::{Explanation, Question};
use crate::input::{Inputs, Kind};
use crate::picture::failed;
use crate::{evidence, terminal};

/// So many columns are shown, those with the largest magnitudes; all are in the evidence.
const SHOWN: usize = 30;

/// The most characters of a bar in a terminal.
const BAR: usize = 40;

/// Sums that are so small beside the numbers are what rounding left over.
const CANCELLED: f64 = 1e-4;

/// What each part of each row got, an embedding's numbers summed; `None` where the attributions are not of the tokens or
/// columns.
pub(crate) fn values(explanation: &Explanation, inputs: &Inputs) -> Option<Vec<Vec<f64>>> {
    let [values] = &explanation.attribution.values[..] else { return None };
    let len = |row: usize| match &inputs.kind {
        Kind::Arrays => None,
        Kind::Text(text) => text.rows.get(row).map(|row| row.ids.len()),
        Kind::Table(table) => Some(table.columns.len()),
    };
    // A layer of another rank, or any layer behind a table, may have as many of something else as there are parts.
    let is_of_parts = match &inputs.kind {
        Kind::Arrays => false,
        Kind::Text(_) => values.ndim() == 3,
        Kind::Table(_) => {
            values.ndim() == 2 && explanation.attribution.evidence.from == Cut::input().to_string()
        }
    };
    if !is_of_parts || values.shape()[..2] != inputs.arrays[0].shape()[..2] {
        return None;
    }
    let row = |row: usize| {
        let parts = values.index_axis(Axis(0), row);
        Some(parts.axis_iter(Axis(0)).take(len(row)?).map(|part| part.sum()).collect())
    };
    (0..inputs.rows.len()).map(row).collect()
}

/// A note where the numbers of each embedding cancel, so that their sum says nothing: a layer norm does not see what is
/// the same in all of an embedding's numbers, and the gradient before it has mean zero.
pub(crate) fn cancelled(values: &[ArrayD<f64>], inputs: &Inputs) -> Option<String> {
    let (Kind::Text(_), [values]) = (&inputs.kind, values) else { return None };
    let largest = |of: &dyn Fn(ArrayViewD<'_, f64>) -> f64| {
        let tokens = values.axis_iter(Axis(0)).flat_map(|row| {
            let tokens: Vec<_> =
                if row.ndim() > 0 { row.axis_iter(Axis(0)).map(of).collect() } else { vec![] };
            tokens
        });
        tokens.fold(0.0, f64::max)
    };
    let sum = largest(&|token| token.sum().abs());
    let norm = largest(&|token| token.iter().map(|x| x * x).sum::<f64>().sqrt());
    (sum < CANCELLED * norm).then(|| {
        "the numbers of each embedding cancel in the sum, as gradients before a layer norm do: --post norm gives their \
         length instead"
            .to_string()
    })
}

/// The parts with their names and attributions, for a program: the evidence's `tokens` or `columns`.
pub(crate) fn json(explanation: &Explanation, inputs: &Inputs) -> Option<(&'static str, Value)> {
    let values = values(explanation, inputs)?;
    let rows = values.iter().enumerate();
    match &inputs.kind {
        Kind::Arrays => None,
        Kind::Text(text) => {
            let row = |(row, values): (usize, &Vec<f64>)| {
                let row = &text.rows[row];
                let parts = row.tokens.iter().zip(&row.ids).zip(values);
                let part = parts.map(|(((token, (from, to), special), id), value)| {
                    json!({"token": token, "id": id, "from": from, "to": to, "special": special, "attribution": value})
                });
                part.collect::<Vec<_>>()
            };
            Some(("tokens", rows.map(row).collect()))
        }
        Kind::Table(table) => {
            let row = |(row, values): (usize, &Vec<f64>)| {
                let parts = table.columns.iter().zip(table.cells.row(row)).zip(values);
                let part = parts.map(
                    |((column, cell), value)| json!({"column": column, "value": cell, "attribution": value}),
                );
                part.collect::<Vec<_>>()
            };
            Some(("columns", rows.map(row).collect()))
        }
    }
}

/// Prints each row: a text in colour where the terminal has some, and bars.
pub(crate) fn print(explanation: &Explanation, inputs: &Inputs, colors: Option<ColorMap>) -> Result<()> {
    let Some(values) = values(explanation, inputs) else { return Ok(()) };
    let depth = terminal::depth();
    for (row, values) in values.iter().enumerate() {
        terminal::line("")?;
        if inputs.rows.len() > 1 {
            terminal::line(format_args!("{}:", inputs.rows[row]))?;
        }
        if let (Kind::Text(text), Some(depth)) = (&inputs.kind, depth) {
            let passage = Passage { tokens: text.rows[row].shown(values), ..Passage::default() };
            let colors = colors.unwrap_or_else(|| passage.usual_colors());
            terminal::line(format_args!("{}\n", passage.ansi(colors, depth).map_err(failed)?))?;
        }
        let bars = bars(inputs, row, values, colors.unwrap_or_default());
        terminal::print(&bars.lines(BAR, depth).map_err(failed)?)?;
        let more = values.len() - bars.bars.len();
        if more > 0 {
            terminal::line(format_args!("and {more} more, none of them larger"))?;
        }
    }
    Ok(())
}

/// Texts in colour with what they rest on, a heading each; `evidence` is for programs.
pub(crate) fn page(
    title: &str,
    explained: &[(String, &Explanation)],
    question: &Question,
    inputs: &Inputs,
    colors: Option<ColorMap>,
    evidence: &Value,
) -> Result<String> {
    let Kind::Text(text) = &inputs.kind else { return Err(no_page()) };
    let mut passages = Vec::new();
    for (heading, explanation) in explained {
        let values = values(explanation, inputs).ok_or_else(|| not_of("the tokens", explanation))?;
        for (row, values) in values.iter().enumerate() {
            let facts = evidence::facts(explanation, question, inputs, &[row]);
            let facts = facts.into_iter().map(|(name, value)| Fact { name: name.to_string(), value });
            let tokens = text.rows[row].shown(values);
            passages.push(Passage { heading: heading.clone(), tokens, facts: facts.collect() });
        }
    }
    let evidence =
        serde_json::to_string_pretty(evidence).map_err(|error| Error::failed(error.to_string()))?;
    Page { title: title.to_string(), passages, colors, evidence }.html().map_err(failed)
}

/// The one row's columns as bars; an error for several rows.
pub(crate) fn picture(
    explanation: &Explanation,
    question: &Question,
    inputs: &Inputs,
    colors: Option<ColorMap>,
) -> Result<RgbImage> {
    let values = values(explanation, inputs).ok_or_else(|| not_of("the columns", explanation))?;
    let [values] = &values[..] else {
        let found = values.len();
        return Err(Error::usage(format!(
            "row: expected one for a picture of bars, found {found}: --row N takes one"
        )));
    };
    let about = explain::label(explanation, question, inputs, 0);
    let mut bars = bars(inputs, 0, values, colors.unwrap_or_default());
    let more = match values.len() - bars.bars.len() {
        0 => String::new(),
        more => format!(" ({more} smaller ones left out)"),
    };
    bars.heading = format!("{}: {about}, {}{more}", inputs.rows[0], explanation.attribution.evidence.method);
    bars.render().map_err(failed)
}

/// That there are parts to show as a page, found out before the work.
pub(crate) fn check_page(inputs: &Inputs) -> Result<()> {
    if matches!(inputs.kind, Kind::Text(_)) { Ok(()) } else { Err(no_page()) }
}

/// Tokens in their order, columns from the largest magnitude on.
fn bars(inputs: &Inputs, row: usize, values: &[f64], colors: ColorMap) -> Bars {
    let bars = match &inputs.kind {
        Kind::Arrays => Vec::new(),
        Kind::Text(text) => {
            let tokens = text.rows[row].tokens.iter().zip(values);
            tokens.map(|((name, ..), &value)| Bar { label: name.clone(), value }).collect()
        }
        Kind::Table(table) => {
            let cells = table.columns.iter().zip(table.cells.row(row)).zip(values);
            let label = |name: &str, cell: &f64| format!("{name} = {cell}");
            let mut bars: Vec<_> =
                cells.map(|((name, cell), &value)| Bar { label: label(name, cell), value }).collect();
            bars.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
            bars.truncate(SHOWN);
            bars
        }
    };
    Bars { heading: String::new(), bars, colors }
}

fn no_page() -> Error {
    Error::usage("out: expected a text for .html, found another input: .png draws it")
}

fn not_of(parts: &str, explanation: &Explanation) -> Error {
    let shapes: Vec<_> =
        explanation.attribution.values.iter().map(|values| values.shape().to_vec()).collect();
    Error::usage(format!(
        "out: expected attributions of {parts}, found shapes {shapes:?}: write .npz or .json"
    ))
}
