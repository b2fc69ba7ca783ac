//! What can go wrong in the command, and with which exit code.

use std::path::Path;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why the command could not do what was asked: one line, with the place, what was expected and found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
    /// Something in the world is not as it should be: a file, mostly.
    #[error("{0}")]
    Failed(String),
    /// The library refused.
    #[error(transparent)]
    Core(#[from] attr_core::Error),
    /// An error with the place it came from.
    #[error("{place}: {source}")]
    At {
        place: String,
        #[source]
        source: Box<Error>,
    },
    /// Ctrl-C; with what was finished and kept, if anything.
    #[error("stopped by Ctrl-C: {0}")]
    Stopped(String),
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Error::Usage(message.into())
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Error::Failed(message.into())
    }

    /// A file that can't be read or written, or is not what it should be.
    pub(crate) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Error::Failed(format!("{}: {}", path.display(), one_line(&reason.to_string())))
    }

    /// The process's exit code: 2 where another command line would help, 130 for Ctrl-C, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Core(
                attr_core::Error::Parameter { .. }
                | attr_core::Error::UnknownLayer { .. }
                | attr_core::Error::OutOfRange { .. },
            ) => 2,
            Error::Core(attr_core::Error::Cancelled { .. }) | Error::Stopped(_) => 130,
            Error::At { source, .. } => source.exit_code(),
            Error::Failed(_) | Error::Core(_) => 1,
        }
    }

    /// Whether the user stopped it.
    pub(crate) fn is_stop(&self) -> bool {
        self.exit_code() == 130
    }
}

/// Adds the place an error came from.
pub(crate) trait At<T> {
    fn at(self, place: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> At<T> for std::result::Result<T, E> {
    fn at(self, place: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| Error::At { place: place.to_string(), source: Box::new(error.into()) })
    }
}

/// Other people's messages may have several lines; ours have one.
fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
