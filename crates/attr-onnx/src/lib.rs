//! ONNX files to and from the layer graph of `attr-core`.
//!
//! [`read`] takes a file of operator set 7 to 24, as PyTorch and others export them, and [`write`](fn@write)
//! gives one that every ONNX run time takes. One operator of the file is one layer, under the name that it
//! has there; arithmetic on shapes and constants is done while reading. The first axis of every input is
//! the batch, whatever length the file says.
//!
//! ```
//! use attr_core::{Activation, Graph, Op};
//! use ndarray::array;
//!
//! let mut graph = Graph::default();
//! let x = graph.input("x", &[2])?;
//! let weight = graph.param(array![[1.0f32, 2.0], [3.0, 4.0]]);
//! let y = graph.add("fc", Op::Linear, &[x], &[weight])?;
//! let z = graph.add("relu", Op::Activation(Activation::Relu), &[y], &[])?;
//! graph.set_outputs(&[z])?;
//!
//! let file = attr_onnx::encode(&graph)?;
//! assert_eq!(attr_onnx::decode(&file)?, graph);
//! # Ok::<(), attr_onnx::Error>(())
//! ```
//!
//! A file may be broken in any way. What is allocated at once while it is read is bounded by its length: 64 bytes for
//! each byte and 256 MiB, where a sound file takes two or three times its own length.
//!
//! What there is no exact word for is an error that names every such operator of the file
//! ([`Error::Operators`]), never an approximation.

#![forbid(unsafe_code)]

mod array;
mod cost;
mod error;
mod fold;
mod functions;
mod import;
mod names;
mod node;
mod numbers;
mod operators;
pub mod proto;
mod read;
mod tensor;
#[cfg(test)]
mod tests;
mod write;

pub use error::{Error, Result};
pub use numbers::Numbers;
pub use read::{Options, decode, decode_with, from_model, read, read_with};
pub use write::{encode, encode_open, write};
