//! libtorch's errors as the project's: the one place where they are converted.

use attr_core::Error;
use tch::TchError;

/// The name under which this adapter appears in messages and evidence.
pub(crate) const BACKEND: &str = "torch";

/// Keeps the first line: what follows is a backtrace.
pub(crate) fn convert(error: TchError) -> Error {
    let text = match error {
        TchError::Torch(text) => text,
        other => other.to_string(),
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    Error::Backend { backend: BACKEND, reason: line.into() }
}
