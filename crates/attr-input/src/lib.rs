//! Pictures and arrays out of the bytes of files, for a network to be asked about.
//!
//! Both readers take bytes of which nothing is known, and give an array, a picture or an error that says what was
//! expected and found. They never panic; what they allocate at once is bounded by the file's length, see [`npy`] and
//! [`picture`].

#![forbid(unsafe_code)]

pub mod npy;
pub mod picture;

/// Why bytes are no array or picture: what was expected and what was found, without the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;
