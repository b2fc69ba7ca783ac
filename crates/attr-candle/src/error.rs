//! candle's errors as the project's: the one place where they are converted.

use attr_core::Error;

/// The name under which this adapter appears in messages and evidence.
pub(crate) const BACKEND: &str = "candle";

/// Keeps the first line: what follows is a backtrace.
pub(crate) fn convert(error: candle_core::Error) -> Error {
    let text = error.to_string();
    Error::Backend { backend: BACKEND, reason: text.lines().next().unwrap_or_default().trim().into() }
}
