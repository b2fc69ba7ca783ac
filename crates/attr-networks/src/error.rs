//! What can go wrong, by cause.

use std::path::PathBuf;

use crate::NAMES;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no network, or no weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No network has this name.
    #[error("no network is called {name:?}: expected one of {}", NAMES.join(", "))]
    UnknownNetwork {
        /// The name asked for.
        name: String,
    },
    /// The weights are not those of the network: all that is wrong with them.
    #[error("these are not the weights of {network}: {0}", network = .0.network)]
    Weights(Box<Mismatch>),
    /// A file that can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is neither a safetensors file nor a checkpoint, or a broken one, or has numbers of another kind in it.
    #[error("not a readable file of weights: {0}")]
    Format(String),
    /// The network does not take an input of that size.
    #[error("input: expected {expected}, found {height}x{width}", height = .found[0], width = .found[1])]
    Size {
        /// The sizes it takes.
        expected: String,
        /// Height and width asked for.
        found: [usize; 2],
    },
    /// A layer that does not fit the one before it: the input is too small, mostly.
    #[error(transparent)]
    Graph(#[from] attr_core::Error),
}

/// How weights differ from those of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The network's name.
    pub network: String,
    /// The names of weights that are not there, in the network's order.
    pub missing: Vec<String>,
    /// The names of weights that the network does not have, in alphabetical order.
    pub unexpected: Vec<String>,
    /// The weights of another shape, in the network's order.
    pub shapes: Vec<WrongShape>,
}

/// A weight of another shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// Its name.
    pub name: String,
    /// The shape that the network has.
    pub expected: Vec<usize>,
    /// The shape that is there.
    pub found: Vec<usize>,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        for (what, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            if !names.is_empty() {
                parts.push(format!("{what} {}", names.join(", ")));
            }
        }
        parts.extend(self.shapes.iter().map(|WrongShape { name, expected, found }| {
            format!("{name}: expected shape {expected:?}, found {found:?}")
        }));
        f.write_str(&parts.join("; "))
    }
}
