//! TensorFlow's models: SavedModels and frozen graphs, without TensorFlow.
//!
//! [`read`] takes a SavedModel's folder, as Keras' `model.export` and `tf.saved_model.save` of a `tf.Module` write
//! them, or a frozen graph. [`SavedModel::function`] makes one graph of all that a signature needs: calls are put in
//! place, variables are read, and Keras' layers are found by their names ([`Function::find`]). That graph can be run as
//! it is, or recognised as layers: [`Function::layers`].
//!
//! ```no_run
//! let model = attr_graphdef::read("my_model")?;
//! let function = model.function(None)?;
//! let cut = function.find("block4_conv3")?;
//! println!("{}", function.nodes[cut].name);
//! let graph = function.layers()?;
//! println!("{} layers", graph.nodes().len());
//! # Ok::<(), attr_graphdef::Error>(())
//! ```
//!
//! A file may be broken in any way. What is allocated at once while it and its variables are read is bounded by their
//! length: 64 bytes for each byte and 256 MiB, where a sound file takes a few times its own length.
//!
//! What there is no exact word for is an error that names every such operator ([`Error::Operators`]), never an
//! approximation.

#![forbid(unsafe_code)]

mod budget;
mod bundle;
mod cost;
mod error;
pub mod function;
mod inline;
mod layers;
mod names;
pub mod node;
pub mod proto;
mod read;
mod restore;
pub mod tensor;

pub use budget::Budget;
pub use error::{Error, Result};
pub use function::{Endpoint, Function};
pub use read::{SavedModel, decode, read};
