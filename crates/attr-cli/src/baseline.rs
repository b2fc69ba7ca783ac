//! What an input is compared with, where only the command knows it: another token, the mean of a table.

use attr_core::Cut;
use ndarray::ArrayD;

use crate::catalogue::{self, Asked};
use crate::error::{At, Error, Result};
use crate::explanation::Question;
use crate::input::{Inputs, Kind};
use crate::model::Model;

/// The parameters that are baselines, and whether they are put in at the model's inputs, and not at the lower cut.
const PARAMETERS: [(&str, bool); 3] = [("baseline", false), ("root", false), ("baselines", true)];

/// Sets the baseline of all methods that have one; and what suits tokens and columns, which stand for themselves, better
/// than the defaults for pictures.
///
/// For a text it is the token that fills up shorter texts, in the place of each token of the text's own, unless
/// something else is asked for.
pub(crate) fn set(
    asked: &mut [Asked],
    words: Option<&str>,
    model: &Model,
    inputs: &Inputs,
    question: &Question,
) -> Result<()> {
    let of = |method: &str| -> Result<Option<(&'static str, bool)>> {
        let method = catalogue::find(method)?;
        Ok(PARAMETERS.into_iter().find(|(name, _)| method.has(name)))
    };
    let mut taken = words.is_none();
    for asked in asked {
        if asked.method == "occlusion" && !matches!(inputs.kind, Kind::Arrays) {
            let one = |name: &str| (name.to_string(), "1".to_string());
            asked.settings.values.splice(0..0, [one("window"), one("stride")]);
        }
        let Some((name, at_input)) = of(asked.method)? else { continue };
        taken = true;
        if asked.settings.values.iter().any(|(set, _)| set == name) {
            continue;
        }
        let Some((note, instead)) = instead(words, model, inputs)? else {
            asked.settings.values.extend(words.map(|words| (name.to_string(), words.to_string())));
            continue;
        };
        let from = if at_input { Cut::input() } else { question.slice.from.clone() };
        let arrays = model.face.forward(&instead, &from).at("baseline")?;
        asked.settings.arrays.push((name.to_string(), arrays));
        asked.notes.push(note);
    }
    match taken {
        true => Ok(()),
        false => Err(Error::usage("baseline: expected a method that has one, as integrated-gradients")),
    }
}

/// The model's inputs that stand for nothing, and what they are in words; `None` where the method's own are meant.
fn instead(
    words: Option<&str>,
    model: &Model,
    inputs: &Inputs,
) -> Result<Option<(String, Vec<ArrayD<f64>>)>> {
    match (&inputs.kind, words) {
        (Kind::Text(text), words) => {
            let word = words.unwrap_or("pad");
            let is_number = word == "zeros" || word.parse::<f64>().is_ok() || word.contains(' ');
            if is_number || (words.is_none() && !text.has_pad()) {
                return Ok(None);
            }
            let (name, rows) = text.without_words(word)?;
            let arrays = text.arrays(&rows, &model.face.places(&Cut::input())?)?;
            Ok(Some((format!("baseline: {name} in the place of each token of the text's own"), arrays)))
        }
        (Kind::Table(table), Some("mean")) => {
            let note = "baseline: the mean of all rows of the table".to_string();
            Ok(Some((note, vec![table.mean()?])))
        }
        (_, Some(word @ ("mean" | "pad" | "mask"))) => {
            let what = if word == "mean" { "a table" } else { "a text" };
            Err(Error::usage(format!("baseline: expected {what} for {word}, found another input")))
        }
        _ => Ok(None),
    }
}
