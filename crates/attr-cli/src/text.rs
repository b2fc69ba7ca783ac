//! A model's inputs from texts: token numbers, and what goes with them.

use std::path::{Path, PathBuf};

use attr_core::{Cut, Place};
use attr_viz::tokens::Token;
use ndarray::{Array2, ArrayD};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::preparation::{Description, json_beside};
use crate::tokenizer::Tokenizer;

/// Texts as tokens.
pub(crate) struct Text {
    /// The explained ones, a row each.
    pub(crate) rows: Vec<Encoded>,
    /// The one that they are compared with.
    pub(crate) other: Option<Encoded>,
    tokenizer: Tokenizer,
}

/// A text as tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
    /// Which of two texts each token belongs to.
    pub(crate) types: Vec<u32>,
    /// Each token's name, the bytes of the text that it stands for, and whether it is none of the text's own.
    pub(crate) tokens: Vec<(String, (usize, usize), bool)>,
}

/// What one input of a model takes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The tokens' numbers.
    Ids,
    /// 1 for each token, 0 where it is only there to fill up.
    Mask,
    /// Which of two texts a token belongs to.
    Types,
    /// The tokens' places, from 0.
    Positions,
}

impl Text {
    /// Reads the tokenizer, which is the given file, or what the JSON beside the model says, or `tokenizer.json` in
    /// the model's folder; then makes tokens of the texts.
    pub(crate) fn read(
        texts: &[String],
        other: Option<&str>,
        given: Option<&Path>,
        model: &Path,
    ) -> Result<Self> {
        let said = Description::beside(model)?.and_then(|description| description.tokenizer);
        let said = said.map(|file| json_beside(model).with_file_name("").join(file));
        let beside = model.with_file_name("tokenizer.json");
        let path = match (given, said) {
            (Some(path), _) => path.to_path_buf(),
            (None, Some(path)) => path,
            (None, None) if beside.is_file() => beside,
            (None, None) => return Err(no_tokenizer(&beside)),
        };
        let tokenizer = Tokenizer::read(&path)?;
        let encode = |text: &str| {
            let encoded = tokenizer.encode(text)?;
            match encoded.ids.is_empty() {
                true => Err(Error::usage(format!("text: expected one with tokens, found {text:?}"))),
                false => Ok(encoded),
            }
        };
        let rows = texts.iter().map(|text| encode(text)).collect::<Result<_>>()?;
        let other = other.map(encode).transpose()?;
        Ok(Text { rows, other, tokenizer })
    }

    /// How many tokens the longest text has.
    pub(crate) fn longest(&self) -> usize {
        self.rows.iter().chain(&self.other).map(|row| row.ids.len()).max().unwrap_or(0)
    }

    /// One array `[B, T]` for each input of the model, for these texts.
    pub(crate) fn arrays(&self, rows: &[Encoded], places: &[Place]) -> Result<Vec<ArrayD<f64>>> {
        let roles = places.iter().map(|place| role(place, places)).collect::<Result<Vec<_>>>()?;
        let mut arrays = Vec::new();
        for (place, role) in places.iter().zip(&roles) {
            let len = self.length(place)?;
            if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.ids.len() > len) {
                let found = row.ids.len();
                return Err(Error::usage(format!(
                    "text {}: expected at most {len} tokens, which the model takes, found {found}",
                    i + 1
                )));
            }
            if rows.iter().any(|row| row.ids.len() != len) && !roles.contains(&Role::Mask) {
                let found: Vec<_> = rows.iter().map(|row| row.ids.len().to_string()).collect();
                return Err(Error::usage(format!(
                    "text: expected {len} tokens in each, for the model has no input attention_mask that says which of \
                     them are there to fill up, found {}",
                    found.join(", ")
                )));
            }
            let pad = self.tokenizer.pad().map_or(0, |(_, id)| id);
            let number = |(row, i): (usize, usize)| {
                let row: &Encoded = &rows[row];
                f64::from(match role {
                    Role::Ids => row.ids.get(i).copied().unwrap_or(pad),
                    Role::Mask => u32::from(i < row.ids.len()),
                    Role::Types => row.types.get(i).copied().unwrap_or(0),
                    Role::Positions => i as u32,
                })
            };
            arrays.push(Array2::from_shape_fn((rows.len(), len), number).into_dyn());
        }
        Ok(arrays)
    }

    /// The same texts with another token in the place of each of their own: `pad`, `mask`, or a token by its name.
    pub(crate) fn without_words(&self, word: &str) -> Result<(String, Vec<Encoded>)> {
        let found = match word {
            "pad" => self.tokenizer.pad(),
            "mask" => self.tokenizer.mask(),
            name => self.tokenizer.id(name).map(|id| (name.to_string(), id)),
        };
        let (name, id) = found.ok_or_else(|| {
            Error::usage(format!(
                "baseline: expected zeros, a number, or a token that the tokenizer has (pad, mask, or its name), found \
                 {word:?}"
            ))
        })?;
        let mut rows = self.rows.clone();
        for row in &mut rows {
            for (number, (.., special)) in row.ids.iter_mut().zip(&row.tokens) {
                *number = if *special { *number } else { id };
            }
        }
        Ok((name, rows))
    }

    /// Whether there is a token that fills up shorter texts.
    pub(crate) fn has_pad(&self) -> bool {
        self.tokenizer.pad().is_some()
    }

    fn length(&self, place: &Place) -> Result<usize> {
        match place.shape.as_ref().map(|shape| shape.at(1)).as_deref() {
            Some([1, len]) => Ok(*len),
            Some(dims) => Err(Error::usage(format!(
                "text: expected input {:?} to take numbers of tokens, [B, T], found {} axes",
                place.name,
                dims.len()
            ))),
            None => Ok(self.longest()),
        }
    }
}

impl Encoded {
    /// The tokens as they stand in the text, with these values.
    pub(crate) fn shown(&self, values: &[f64]) -> Vec<Token> {
        let mut end = 0;
        let token = |((name, (from, to), is_special), &value): (&(String, (usize, usize), bool), &f64)| {
            let piece = self.text.get(*from..*to).filter(|piece| !is_special && !piece.trim().is_empty());
            let Some(piece) = piece else {
                // What stands for no part of the text, or for a part of a character.
                return Token { text: name.clone(), before: String::new(), value, is_special: *is_special };
            };
            let text = piece.trim_start();
            let before = self.text.get(end..*to - text.len()).unwrap_or_default().to_string();
            end = *to;
            Token { text: text.to_string(), before, value, is_special: false }
        };
        self.tokens.iter().zip(values).map(token).collect()
    }
}

/// The output of the layer that looks up the embeddings of token numbers: where a text is explained. It is the first of
/// its kind that reads these very numbers for the given inputs, whatever handed them on.
pub(crate) fn embeddings(model: &Model, inputs: &[ArrayD<f64>]) -> Result<Cut> {
    let places = model.face.places(&Cut::input())?;
    let roles = places.iter().map(|place| role(place, &places)).collect::<Result<Vec<_>>>()?;
    let ids = roles.iter().position(|role| *role == Role::Ids).ok_or_else(|| no_ids(&places))?;
    for layer in model.face.layers().iter().filter(|layer| layer.kind == "embedding") {
        let cut = Cut::layer(&layer.name);
        if model.face.forward(inputs, &cut.clone().before())?.first() == Some(&inputs[ids]) {
            // The axis behind the tokens is that of what an embedding is made of.
            return Ok(cut.channel_axis(2));
        }
    }
    Err(Error::usage(format!(
        "text: expected a layer that looks up the embeddings of {:?}, found none: --layer says where else to explain",
        places[ids].name
    )))
}

fn no_ids(places: &[Place]) -> Error {
    let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
    Error::usage(format!("text: expected an input input_ids, found {}", names.join(", ")))
}

/// By the names that Hugging Face gives inputs; an only input takes the tokens' numbers.
fn role(place: &Place, places: &[Place]) -> Result<Role> {
    match place.name.as_str() {
        "input_ids" => Ok(Role::Ids),
        "attention_mask" => Ok(Role::Mask),
        "token_type_ids" => Ok(Role::Types),
        "position_ids" => Ok(Role::Positions),
        _ if places.len() == 1 => Ok(Role::Ids),
        name => Err(Error::usage(format!(
            "text: expected inputs input_ids, attention_mask, token_type_ids or position_ids, or a single one, found \
             {name:?}"
        ))),
    }
}

fn no_tokenizer(beside: &Path) -> Error {
    let beside: PathBuf = beside.into();
    Error::usage(format!(
        "text: expected --tokenizer FILE, a \"tokenizer\" in the JSON beside the model, or {}, found none",
        beside.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, tokens: &[(&str, (usize, usize), bool)]) -> Encoded {
        let tokens = tokens.iter().map(|(name, place, special)| (name.to_string(), *place, *special));
        let tokens = tokens.collect();
        Encoded { text: text.into(), tokens, ..Encoded::default() }
    }

    #[test]
    fn tokens_are_shown_as_they_stand_in_the_text() {
        let row = encoded(
            "Two  cats.",
            &[
                ("[CLS]", (0, 0), true),
                ("two", (0, 3), false),
                // With the space before it, as byte-level tokenizers have it.
                ("Ġcat", (3, 8), false),
                ("##s", (8, 9), false),
                (".", (9, 10), false),
                ("[SEP]", (0, 0), true),
            ],
        );
        let shown = row.shown(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let found: Vec<_> = shown.iter().map(|t| (t.before.as_str(), t.text.as_str(), t.value)).collect();
        let expected = [
            ("", "[CLS]", 0.0),
            ("", "Two", 1.0),
            ("  ", "cat", 2.0),
            ("", "s", 3.0),
            ("", ".", 4.0),
            ("", "[SEP]", 5.0),
        ];
        assert_eq!(found, expected);
        assert!(shown[0].is_special && !shown[1].is_special);
        // Half of a character is called by its token's name.
        let row = encoded("ä", &[("Ã", (0, 1), false), ("¤", (1, 2), false)]);
        assert_eq!(row.shown(&[0.0; 2])[1].text, "¤");
    }
}
