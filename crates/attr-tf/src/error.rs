//! TensorFlow's errors as the project's: the one place where they are converted.

use attr_core::Error;
use tensorflow::Status;

use crate::layers::gather::NOT_WHOLE;

/// The name under which this adapter appears in messages and evidence.
pub(crate) const BACKEND: &str = "tf";

/// Keeps the first line: what follows lists operators and their attributes.
pub(crate) fn convert(status: Status) -> Error {
    let text = status.to_string();
    backend(&no_row(&text).unwrap_or(text))
}

/// An error of the framework by its text.
pub(crate) fn backend(text: &str) -> Error {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    Error::Backend { backend: BACKEND, reason: line.into() }
}

/// What TensorFlow says of a number that stands for no row of a table (`indices[0,1] = 7 is not in [0, 5)`), as all
/// adapters say it.
fn no_row(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("indices[")?;
    let (place, rest) = rest.split_once("] = ")?;
    let (found, rest) = rest.split_once(" is not in [0, ")?;
    let rows: i64 = rest.split_once(')')?.0.parse().ok()?;
    let found = match found.parse::<i32>().ok()? {
        NOT_WHOLE => "another",
        _ => found,
    };
    Some(format!("expected whole numbers from 0 to {}, found {found} at [{place}]", rows - 1))
}
