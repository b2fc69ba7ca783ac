//! What can go wrong between a file and a layer graph.

use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file could not be read or written, with the place, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read or write a file.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The bytes are no ONNX model, or one of a version that is not known here.
    #[error("not a readable ONNX model: {0}")]
    Format(String),
    /// A weight or constant contradicts itself or its file.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What was expected and found.
        reason: String,
    },
    /// An input of the network has no usable type or shape.
    #[error("input {name:?}: {reason}")]
    Input {
        /// The input's name.
        name: String,
        /// What was expected and found.
        reason: String,
    },
    /// A layer contradicts itself or the layers it reads.
    #[error("layer {layer:?}: {reason}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// What was expected and found.
        reason: String,
    },
    /// Operators, or uses of them, that the layer graph has no exact word for: all of the file, each with
    /// the layers concerned.
    #[error("{}", sentence(.0))]
    Operators(Vec<(String, Vec<String>)>),
    /// The layer graph refuses a layer.
    #[error(transparent)]
    Graph(#[from] attr_core::Error),
    /// ONNX has no exact word for something in the graph.
    #[error("can't be written as ONNX: {0}")]
    Unwritable(String),
}

fn sentence(operators: &[(String, Vec<String>)]) -> String {
    let each = operators.iter().map(|(operator, layers)| {
        let names: Vec<_> = layers.iter().map(|layer| format!("{layer:?}")).collect();
        let noun = if names.len() == 1 { "layer" } else { "layers" };
        format!("{operator} ({noun} {})", names.join(", "))
    });
    let verb = if operators.len() == 1 { "operator is" } else { "operators are" };
    format!("{} {verb} not supported: {}", operators.len(), each.collect::<Vec<_>>().join(", "))
}
