//! What can go wrong, by cause.

use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there are no tensors, with what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read a file.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The bytes are no checkpoint, or one that contradicts itself.
    #[error("not a readable checkpoint of PyTorch's: {0}")]
    Format(String),
    /// The pickle names a class or a function: it holds more than plain data and tensors, as a whole module would.
    #[error("expected only tensors and plain data in the pickle, found {0} (save a module's state_dict())")]
    Global(String),
    /// Numbers contradict their shape.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The path to it.
        name: String,
        /// What was expected and found.
        reason: String,
    },
}

pub(crate) fn format<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Format(reason.into()))
}
