//! TensorFlow's errors as the project's: the one place where they are converted.

use attr_core::Error;
use tensorflow::Status;

/// The name under which this adapter appears in messages and evidence.
pub(crate) const BACKEND: &str = "tf";

/// Keeps the first line: what follows lists operators and their attributes.
pub(crate) fn convert(status: Status) -> Error {
    backend(&status.to_string())
}

/// An error of the framework by its text.
pub(crate) fn backend(text: &str) -> Error {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    Error::Backend { backend: BACKEND, reason: line.into() }
}
