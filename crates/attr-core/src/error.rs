//! What can go wrong, by cause. Adapters convert their framework's errors here, in one place each.

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done, with the place, what was expected and what was found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor does not have the shape that its place asks for.
    #[error("{place}: expected shape {expected}, found {found:?}")]
    Shape {
        /// Where: an input's or a layer's name.
        place: String,
        /// The shape asked for; `B` stands for the batch.
        expected: String,
        /// The shape given.
        found: Vec<usize>,
    },
    /// A value that should be a number is not one.
    #[error("{place}: expected finite numbers, found NaN or infinity")]
    NotFinite {
        /// Where: an input's name or what was computed.
        place: String,
    },
    /// No layer answers to the name or index of a cut.
    #[error("no layer {wanted}: {hint}")]
    UnknownLayer {
        /// The name or index asked for.
        wanted: String,
        /// What there is instead.
        hint: String,
    },
    /// A class, channel or neuron that the value at the cut does not have.
    #[error("{what} {wanted} is out of range: expected 0 to {last}")]
    OutOfRange {
        /// "class", "channel", "neuron" or "output".
        what: &'static str,
        /// The index asked for.
        wanted: String,
        /// The largest index there is.
        last: String,
    },
    /// A parameter of a method has a value that makes no sense.
    #[error("parameter {name}: expected {expected}, found {found}")]
    Parameter {
        /// The parameter.
        name: String,
        /// The values it can take.
        expected: String,
        /// The value given.
        found: String,
    },
    /// One end of a slice cannot be reached from the other.
    #[error("{from} does not lead to {to}, so nothing flows between them")]
    NotConnected {
        /// The lower end of the slice.
        from: String,
        /// The upper end of the slice.
        to: String,
    },
    /// A layer graph that contradicts itself.
    #[error("layer {layer:?}: {reason}")]
    Graph {
        /// The layer.
        layer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A derivative was asked for by something that has none.
    #[error("layer {layer:?}: {hint}")]
    NoDerivative {
        /// The layer.
        layer: String,
        /// Why, and what to ask instead.
        hint: String,
    },
    /// Something that cannot be computed exactly as asked, with the layers concerned.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// One row alone needs more memory than the budget grants.
    #[error("the memory budget is too small: one row needs about {needed} bytes, the budget is {budget}")]
    Memory {
        /// Bytes that one row needs.
        needed: u64,
        /// Bytes granted.
        budget: u64,
    },
    /// The progress callback asked to stop.
    #[error("cancelled after {done} of {total} evaluations")]
    Cancelled {
        /// Rows finished.
        done: usize,
        /// Rows asked for.
        total: usize,
    },
    /// The framework beneath an adapter failed.
    #[error("{backend}: {reason}")]
    Backend {
        /// The framework.
        backend: &'static str,
        /// Its own first line about it.
        reason: String,
    },
}

impl Error {
    /// A contradiction in the graph at `layer`.
    pub fn graph(layer: &str, reason: impl Into<String>) -> Self {
        Error::Graph { layer: layer.into(), reason: reason.into() }
    }

    /// An error from the framework, with the layer's name and kind; others have their place already.
    pub(crate) fn in_layer(self, name: &str, kind: &str) -> Self {
        match self {
            Error::Backend { backend, reason } => {
                Error::Backend { backend, reason: format!("layer {name:?} ({kind}): {reason}") }
            }
            Error::Shape { place, expected, found } => {
                Error::Shape { place: format!("layer {name:?} ({kind}): {place}"), expected, found }
            }
            Error::NoDerivative { layer, hint } if layer.is_empty() => {
                Error::NoDerivative { layer: name.into(), hint }
            }
            other => other,
        }
    }

    /// A parameter `name` that should be `expected` but is `found`.
    pub fn parameter(name: &str, expected: &str, found: impl std::fmt::Display) -> Self {
        Error::Parameter { name: name.into(), expected: expected.into(), found: found.to_string() }
    }
}
