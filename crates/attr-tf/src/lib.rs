//! The TensorFlow adapter: attribution on libtensorflow, which is loaded at run time.
//!
//! [`compile`] makes a runnable model of a layer graph.
//!
//! ```
//! use attr_core::{Cut, Graph, ModelWrapper, Op, Point, Precision, Tensor};
//! use attr_tf::compile;
//! use ndarray::array;
//!
//! let mut graph = Graph::default();
//! let x = graph.input("x", &[2])?;
//! let weight = graph.param(array![[1.0, 2.0], [3.0, 4.0]]);
//! let y = graph.add("fc", Op::Linear, &[x], &[weight])?;
//! graph.set_outputs(&[y])?;
//!
//! let model = compile(graph, Precision::F64)?;
//! let x = model.tensor(&array![[1.0, 1.0]].into_dyn())?;
//! let y = model.forward(Point::at(&[x]), &Cut::output())?;
//! assert_eq!(y[0].to_array()?, array![[3.0, 7.0]].into_dyn());
//! # Ok::<(), attr_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod derivatives;
mod error;
mod guess;
mod kernels;
mod layers;
mod library;
mod model;
mod plan;
mod recent;
mod rewrite;
mod saved_model;
mod symbol;
mod tape;
mod tensor;
mod write;

use attr_core::{Graph, Precision, Result};

pub use kernels::Tf;
pub use library::{load, set_threads};
pub use model::TfModel;
pub use saved_model::SavedModel;
pub use tensor::TfTensor;
pub use write::write;

/// Makes a layer graph runnable on the CPU.
///
/// For another device: `TfModel::new(graph, Tf::new(device, precision))`.
///
/// # Errors
///
/// As [`TfModel::new`].
pub fn compile(graph: Graph, precision: Precision) -> Result<TfModel> {
    TfModel::new(graph, Tf::cpu(precision))
}
