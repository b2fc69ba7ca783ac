//! What can go wrong between an archive and a graph.

use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an archive could not be read, with the place, what was expected and what was found.
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
    /// The bytes are no archive of `torch.export`, or one that contradicts itself as a whole.
    #[error("not a readable archive of torch.export: {0}")]
    Format(String),
    /// A version of the format that is not known here.
    #[error("expected {expected}, found {found}")]
    Version {
        /// What is known, and of what.
        expected: &'static str,
        /// What the archive says.
        found: String,
    },
    /// Numbers contradict their shape, or are of a kind that is not computed with here.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The parameter, buffer or constant.
        name: String,
        /// What was expected and found.
        reason: String,
    },
    /// Operators that have no layer: each with the names of its layers.
    #[error("{}", attr_onnx::Error::Operators(.0.clone()))]
    Operators(Vec<(String, Vec<String>)>),
    /// An operator contradicts itself or what it reads.
    #[error("layer {layer:?}: {reason}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// What was expected and found.
        reason: String,
    },
    /// What the operators became is no network.
    #[error(transparent)]
    Graph(#[from] attr_onnx::Error),
}

impl From<attr_checkpoint::Error> for Error {
    fn from(error: attr_checkpoint::Error) -> Self {
        match error {
            attr_checkpoint::Error::Tensor { name, reason } => Error::Tensor { name, reason },
            attr_checkpoint::Error::Format(reason) => Error::Format(reason),
            other => Error::Format(other.to_string()),
        }
    }
}
