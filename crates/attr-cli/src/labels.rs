//! Names of classes: from a file, to a number and back.

use std::path::Path;

use crate::cli::InputArgs;
use crate::error::{Error, Result};
use crate::preparation::{self, Description, json_beside};

/// The names of a model's classes, in order; none at all if they are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<String>);

impl Labels {
    /// Those of `--labels`, or else those that the JSON beside the model gives or points to.
    pub(crate) fn find(flags: &InputArgs, model: &Path, said: Option<&Description>) -> Result<Self> {
        if let Some(path) = &flags.labels {
            return Labels::read(path);
        }
        match said.and_then(|description| description.labels.as_ref()) {
            None => Ok(Labels::default()),
            Some(preparation::Labels::Names(names)) => Ok(Labels(names.clone())),
            Some(preparation::Labels::File(file)) => {
                Labels::read(&json_beside(model).with_file_name("").join(file))
            }
        }
    }

    /// From a text file with a name a line, or a JSON list.
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            let names = serde_json::from_str(&text).map_err(|error| {
                Error::file(path, format!("expected a JSON list of class names: {error}"))
            })?;
            return Ok(Labels(names));
        }
        Ok(Labels::from_lines(&text))
    }

    /// One name a line.
    pub(crate) fn from_lines(text: &str) -> Self {
        Labels(text.trim_end().lines().map(|line| line.trim().to_string()).collect())
    }

    /// An error unless there is one for each class, or none at all.
    pub(crate) fn check(&self, classes: usize) -> Result<()> {
        if self.0.is_empty() || self.0.len() == classes {
            return Ok(());
        }
        Err(Error::failed(format!(
            "labels: expected {classes}, one for each class of the model, found {}",
            self.0.len()
        )))
    }

    /// A class in words: `285 "Egyptian cat"`.
    pub(crate) fn describe(&self, class: usize) -> String {
        match self.0.get(class) {
            // Digits are classes whose name is their number.
            Some(name) if *name != class.to_string() => format!("{class} {name:?}"),
            _ => class.to_string(),
        }
    }

    /// A class in few words: its name, or its number.
    pub(crate) fn name(&self, class: usize) -> String {
        self.0.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// The class of this name, whatever the case: the whole name, one of its synonyms (between commas), or
    /// a part that only one name has.
    pub(crate) fn class(&self, text: &str) -> Result<usize> {
        let wanted = text.trim().to_lowercase();
        if self.0.is_empty() {
            return Err(Error::usage(format!(
                "target {text:?}: expected the number of a class, for the model has no labels; --labels gives them"
            )));
        }
        let names: Vec<_> = self.0.iter().map(|name| name.to_lowercase()).collect();
        let of = |is_it: &dyn Fn(&String) -> bool| -> Vec<usize> {
            (0..names.len()).filter(|&class| is_it(&names[class])).collect()
        };
        let ways: [&dyn Fn(&String) -> bool; 3] = [
            &|name| *name == wanted,
            &|name| name.split(',').any(|synonym| synonym.trim() == wanted),
            &|name| !wanted.is_empty() && name.contains(&wanted),
        ];
        for way in ways {
            match of(way)[..] {
                [] => continue,
                [class] => return Ok(class),
                ref several => {
                    let list = self.list(several);
                    return Err(Error::usage(format!(
                        "target {text:?} is the name of several classes: {list}"
                    )));
                }
            }
        }
        let mut near: Vec<_> = (0..names.len()).collect();
        near.sort_by_key(|&class| distance(&wanted, &names[class]));
        near.truncate(5);
        Err(Error::usage(format!("no class is called {text:?}: did you mean {}", self.list(&near))))
    }

    fn list(&self, classes: &[usize]) -> String {
        let shown: Vec<_> = classes.iter().take(12).map(|&class| self.describe(class)).collect();
        let more =
            if classes.len() > 12 { format!(" and {} more", classes.len() - 12) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    }
}

/// How many letters have to be put in, taken out or changed (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_by_name() {
        let labels = Labels::from_lines("tench, Tinca tinca\ncrane\nmaillot\ntabby cat\ntiger cat\ncrane\n");
        for (text, class) in [("Tench", 0), ("tinca TINCA", 0), ("tabby", 3), ("tiger cat", 4)] {
            assert_eq!(labels.class(text).unwrap(), class, "{text}");
        }
        for (text, expected) in [
            ("crane", "several classes: 1 \"crane\", 5 \"crane\""),
            ("cat", "several classes: 3"),
            ("mallot", "did you mean 2 \"maillot\""),
            ("", "did you mean"),
        ] {
            let error = labels.class(text).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
        assert!(labels.check(6).is_ok() && labels.check(7).is_err());
    }

    #[test]
    fn letters_between_words() {
        for (a, b, letters) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), letters);
        }
    }
}
