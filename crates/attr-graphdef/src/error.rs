//! What can go wrong between a file and a graph.

use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file could not be read or recognised, with the place, what was expected and what was found.
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
    /// The bytes are no model, or a model that contradicts itself as a whole.
    #[error("not a readable TensorFlow model: {0}")]
    Format(String),
    /// The files of the variables contradict themselves or the model.
    #[error("variables: {0}")]
    Variables(String),
    /// Numbers contradict their shape, or are of a kind that is not computed with here.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The operator or variable.
        name: String,
        /// What was expected and found.
        reason: String,
    },
    /// The model has no signature of this name, or several of which one must be chosen.
    #[error("{wanted}: the model has {known}")]
    Signature {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// An input of the layer graph has no usable numbers or shape.
    #[error("input {name:?}: {reason}")]
    Input {
        /// The input's name.
        name: String,
        /// What was expected and found.
        reason: String,
    },
    /// An operator contradicts itself or what it reads.
    #[error("operator {operator:?}: {reason}")]
    Operator {
        /// The operator's name.
        operator: String,
        /// What was expected and found.
        reason: String,
    },
    /// Loops, branches and lists of tensors, of which recurrent layers are made: by kind, with the operators'
    /// names.
    #[error("recurrent layers and control flow can't be explained here: {}", listed(.0))]
    ControlFlow(Vec<(String, Vec<String>)>),
    /// Operators, or uses of them, that the layer graph has no exact word for: all of the graph, each with their
    /// names.
    #[error("{}", sentence(.0))]
    Operators(Vec<(String, Vec<String>)>),
    /// The layer graph refuses a layer, or there is none of a name.
    #[error(transparent)]
    Graph(#[from] attr_core::Error),
}

impl Error {
    pub(crate) fn operator(operator: &str, reason: impl Into<String>) -> Self {
        Error::Operator { operator: operator.into(), reason: reason.into() }
    }

    pub(crate) fn graph_input(name: &str, reason: String) -> Self {
        Error::Input { name: name.into(), reason }
    }

    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Error::Tensor { name: name.into(), reason: reason.into() }
    }
}

fn sentence(operators: &[(String, Vec<String>)]) -> String {
    let verb = if operators.len() == 1 { "operator has" } else { "operators have" };
    format!("{} {verb} no layer: {}", operators.len(), listed(operators))
}

fn listed(operators: &[(String, Vec<String>)]) -> String {
    let each = operators.iter().map(|(kind, names)| {
        let shown: Vec<_> = names.iter().take(8).map(|name| format!("{name:?}")).collect();
        let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
        format!("{kind} ({}{more})", shown.join(", "))
    });
    each.collect::<Vec<_>>().join(", ")
}
