//! Where things are in an archive: versions of PyTorch differ.

use std::borrow::Cow;

use attr_checkpoint::Archive;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// How an archive is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Of PyTorch 2.5 to 2.7: a few files, the numbers as `torch.save` writes them.
    Plain,
    /// Since PyTorch 2.8: folders, the numbers as `torch.save` writes them or each for itself.
    Folders,
}

/// The program where there are no folders.
const PLAIN: &str = "serialized_exported_program.json";

impl Layout {
    /// The layout, and the name of the member that is the program.
    pub(crate) fn of(archive: &Archive) -> Result<(Self, &str)> {
        match archive.find(PLAIN) {
            Some(_) => Ok((Layout::Plain, PLAIN)),
            None => Ok((Layout::Folders, only(archive, "models/", ".json")?)),
        }
    }
}

/// The only member whose name begins and ends so.
pub(crate) fn only<'a>(archive: &'a Archive, folder: &str, ending: &str) -> Result<&'a str> {
    let mut names = archive.names().filter(|name| name.starts_with(folder) && name.ends_with(ending));
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err(Error::Format(format!("expected a member {folder}*{ending}, found none"))),
        _ => Err(Error::Format(format!("expected one member {folder}*{ending}, found several"))),
    }
}

/// A member that is JSON as Python writes it, where numbers may be infinite or none.
pub(crate) fn json<T: DeserializeOwned>(archive: &Archive, name: &str) -> Result<T> {
    let text = archive.get(name)?;
    let most = text.len().saturating_mul(EACH).saturating_add(LEAST);
    if cost(text) > most {
        let reason = format!("{name}: expected values that take at most {most} bytes of memory, found more");
        return Err(Error::Format(reason));
    }
    let text = with_names_of_numbers(text);
    serde_json::from_slice(&text).map_err(|reason| Error::Format(format!("{name}: {reason}")))
}

/// What the values of a text may take: so many bytes for each of the text, and so many in any case. Those of a sound one take
/// about 25 for each.
const EACH: usize = 48;
const LEAST: usize = 16 << 20;

/// An object of one field: a node of a tree, with place for eleven.
const OBJECT: usize = 704;

/// An entry of a list, while the list grows.
const ENTRY: usize = 96;

/// About how many bytes the values of a text take, at most.
fn cost(text: &[u8]) -> usize {
    let (mut at, mut cost) = (0, 0usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (len, more) = match rest[0] {
            b'"' => (string(rest), 0),
            b'{' => (1, OBJECT),
            b'[' | b',' => (1, ENTRY),
            _ => (1, 0),
        };
        at += len;
        cost = cost.saturating_add(more);
    }
    cost
}

/// Puts `Infinity`, `-Infinity` and `NaN` into quotes, as newer versions of PyTorch write them; JSON has no such numbers.
fn with_names_of_numbers(text: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted = Vec::new();
    // As far as the text has been copied, and looked at.
    let (mut copied, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let name = ["-Infinity", "Infinity", "NaN"].iter().find(|name| rest.starts_with(name.as_bytes()));
        at += match (rest[0], name) {
            (b'"', _) => string(rest),
            (_, Some(name)) => {
                quoted.extend_from_slice(&text[copied..at]);
                quoted.extend_from_slice(format!("\"{name}\"").as_bytes());
                copied = at + name.len();
                name.len()
            }
            _ => 1,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    quoted.extend_from_slice(&text[copied..]);
    Cow::Owned(quoted)
}

/// The length of the string, with its quotes, that a text begins with.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_word_in_json_are_quoted() {
        for (text, expected) in [
            (r#"{"a": Infinity, "b": [-Infinity,NaN]}"#, r#"{"a": "Infinity", "b": ["-Infinity","NaN"]}"#),
            (r#"{"Infinity": "NaN \" NaN"}"#, r#"{"Infinity": "NaN \" NaN"}"#),
            (r#"["\\", NaN"#, r#"["\\", "NaN""#),
            (r#""no end \"#, r#""no end \"#),
            ("-1", "-1"),
            ("", ""),
        ] {
            assert_eq!(str::from_utf8(&with_names_of_numbers(text.as_bytes())).unwrap(), expected);
        }
    }

    #[test]
    fn costs_of_values() {
        for (text, expected) in
            [("[1, 2]", 2 * ENTRY), (r#"{"a,{": "b,["}"#, OBJECT), ("", 0), ("\"", 0), ("[{", ENTRY + OBJECT)]
        {
            assert_eq!(cost(text.as_bytes()), expected, "{text}");
        }
    }
}
