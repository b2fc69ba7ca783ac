//! PyTorch's checkpoints without PyTorch: the tensors of what `torch.save` writes, `.pth` and `.pt`.
//!
//! Such a file is a pickle, which is a program. It is read here by an interpreter of the few instructions that make plain
//! data; what a pickle names beside them, a class or a function, is an error that says its name. Nothing from a file is
//! looked up or run.
//!
//! ```no_run
//! let tensors = attr_checkpoint::read("resnet50.pth")?;
//! for (name, tensor) in &tensors {
//!     println!("{name} {:?}", tensor.shape());
//! }
//! # Ok::<(), attr_checkpoint::Error>(())
//! ```
//!
//! Both of PyTorch's formats are read: the zip archive of today, and the one before version 1.6, several pickles and the
//! numbers behind them. A pickle that holds arrays of NumPy's is read, too.
//!
//! A file may be broken in any way. What is allocated at once while it is read is bounded by its length: 64 bytes for each
//! byte and 128 MiB, where a sound file takes a few hundred bytes for each tensor.

#![forbid(unsafe_code)]

mod archive;
mod error;
mod legacy;
mod pickle;
mod tensor;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

pub use archive::Archive;
pub use error::{Error, Result};
pub use tensor::{Element, Tensor};

/// Tensors by the path to them.
///
/// A path is made of the keys of dictionaries and the places in lists, with dots between them: `fc.weight` where the file is
/// a module's state, `state_dict.fc.weight` where it holds that under a key.
pub type Tensors = BTreeMap<String, Tensor>;

/// The tensors in a file; whatever else is in it is left out.
///
/// # Errors
///
/// [`Error::Io`] where it can't be read, and those of [`decode`].
pub fn read(path: impl AsRef<Path>) -> Result<Tensors> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|reason| Error::Io { path: path.into(), reason })?;
    decode(&bytes.into())
}

/// The tensors in a file's bytes, of which they are parts.
///
/// # Errors
///
/// [`Error::Global`] where the file holds anything else than plain data, tensors and arrays; [`Error::Format`] where it is
/// no such file, or a broken one.
pub fn decode(bytes: &Bytes) -> Result<Tensors> {
    if bytes.starts_with(b"PK\x03\x04") {
        let archive = Archive::open(bytes)?;
        if archive.find("byteorder").is_some_and(|order| &order[..] != b"little") {
            return Err(Error::Format("expected little-endian numbers, found others".into()));
        }
        let value = pickle::Pickle::new(archive.get("data.pkl")?).load()?;
        return tree::tensors(&value, bytes.len(), |key| archive.find(&format!("data/{key}")).cloned());
    }
    legacy::decode(bytes)
}
