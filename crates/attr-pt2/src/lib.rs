//! PyTorch's exported programs without PyTorch: the archives that `torch.export.save` writes, `.pt2`.
//!
//! ```python
//! program = torch.export.export(model.eval(), (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
//! torch.export.save(program, "model.pt2")
//! ```
//!
//! [`read`] makes the layer graph of one. Layers have the paths of PyTorch's modules: an operator that is all of a module has
//! its path (`features.0`), another one the path of the module it is in and its own name (`layer1.0/add_1`), and the path
//! of a module with others in it is that of its last layer.
//!
//! ```no_run
//! let graph = attr_pt2::read("model.pt2")?;
//! println!("{} layers", graph.nodes().len());
//! # Ok::<(), attr_pt2::Error>(())
//! ```
//!
//! The first axis of the first input is the batch: of any length where it was exported as one, else of the length that it
//! was exported with, and any other in practice. Each operator becomes those of ONNX that PyTorch's exporter writes for
//! it, in memory, which `attr-onnx` then reads: what is recognised there as one layer is so here. Nothing in an archive is
//! run: the program is JSON, and the numbers are read as they lie there, where they are pickled by the restricted reader of
//! `attr-checkpoint`. What is allocated at once while one is read is bounded as in `attr-onnx`, by 64 bytes for each byte and
//! 256 MiB. What there is no exact word for is an error that names every such operator ([`Error::Operators`]). Archives are
//! those of schema versions 7 and 8, as PyTorch 2.5 to 2.15 write them, in each of their layouts; others are an error that
//! says so.

#![forbid(unsafe_code)]

mod aten;
mod call;
mod error;
mod layout;
mod names;
mod places;
mod schema;
mod size;
mod translate;
mod weights;

use std::ops::RangeInclusive;
use std::path::Path;

use attr_checkpoint::Archive;
use attr_core::Graph;
use attr_onnx::Options;
use prost::bytes::Bytes;

pub use error::{Error, Result};

use crate::layout::Layout;
use crate::schema::Program;
use crate::weights::Weights;

/// The layer graph of an archive.
///
/// # Errors
///
/// Where the file is none of `torch.export`'s, of another version, or contradicts itself; [`Error::Operators`] lists all
/// operators that there is no exact word for.
pub fn read(path: impl AsRef<Path>) -> Result<Graph> {
    read_with(path, &Options::default())
}

/// As [`read`], with the options that ONNX files have, too.
pub fn read_with(path: impl AsRef<Path>, options: &Options) -> Result<Graph> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|reason| Error::Io { path: path.into(), reason })?;
    decode_with(bytes.into(), options)
}

/// The layer graph of an archive's bytes.
pub fn decode(bytes: Bytes) -> Result<Graph> {
    decode_with(bytes, &Options::default())
}

/// As [`decode`], with options.
pub fn decode_with(bytes: Bytes, options: &Options) -> Result<Graph> {
    let archive = Archive::open(&bytes)?;
    let (layout, name) = Layout::of(&archive)?;
    let program: Program = layout::json(&archive, name)?;
    let version = &program.schema_version;
    if !SCHEMAS.contains(&version.major) {
        let found = format!("{}.{}", version.major, version.minor);
        return Err(Error::Version { expected: "schema version 7 or 8 of torch.export", found });
    }
    let model = translate::translate(&program, &Weights::new(&archive, layout)?)?;
    drop(program);
    Ok(attr_onnx::from_model(model, archive.size(), options)?)
}

/// The versions of the program's format that are known: that of PyTorch 2.5, and that since 2.6.
const SCHEMAS: RangeInclusive<u32> = 7..=8;
