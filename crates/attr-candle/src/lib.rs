//! The default adapter: attribution on [candle](candle_core), in pure Rust.
//!
//! [`compile`] makes a runnable model of a layer graph; [`Candle`] chooses device and precision.
//!
//! ```
//! use attr_candle::compile;
//! use attr_core::{Cut, Graph, ModelWrapper, Op, Point, Precision};
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
//! assert_eq!(attr_core::Tensor::to_array(&y[0])?, array![[3.0, 7.0]].into_dyn());
//! # Ok::<(), attr_core::Error>(())
//! ```

mod error;
mod kernels;
mod native;
pub mod ops;
mod tensor;

use attr_core::{Graph, GraphModel, Precision, Result};

pub use kernels::Candle;
pub use native::{Chain, Native, Taps};
pub use tensor::CandleTensor;

/// A layer graph that runs on candle.
pub type CandleModel = GraphModel<Candle>;

/// Makes a layer graph runnable on the CPU.
///
/// For another device: `GraphModel::new(graph, Candle::new(device, precision))`.
///
/// # Errors
///
/// [`attr_core::Error::Unsupported`] lists the layers that can't be computed.
pub fn compile(graph: Graph, precision: Precision) -> Result<CandleModel> {
    GraphModel::new(graph, Candle::cpu(precision))
}
