//! The libtorch adapter: attribution on [tch].
//!
//! [`compile`] makes a runnable model of a layer graph; [`Torch`] chooses device and precision.
//!
//! ```
//! use attr_core::{Cut, Graph, ModelWrapper, Op, Point, Precision};
//! use attr_torch::{TorchTensor, compile};
//! use ndarray::array;
//!
//! let mut graph = Graph::default();
//! let x = graph.input("x", &[2])?;
//! let weight = graph.param(array![[1.0, 2.0], [3.0, 4.0]]);
//! let y = graph.add("fc", Op::Linear, &[x], &[weight])?;
//! graph.set_outputs(&[y])?;
//!
//! let model = compile(graph, Precision::F64)?;
//! let x = TorchTensor::from(tch::Tensor::from_slice(&[1.0f64, 1.0]).reshape([1, 2]));
//! let y = model.forward(Point::at(&[x]), &Cut::output())?;
//! assert_eq!(y[0].double_value(&[0, 1]), 7.0);
//! # Ok::<(), attr_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod device;
mod error;
mod kernels;
mod native;
mod tensor;
mod torch_script;
mod variables;

use attr_core::{Graph, GraphModel, Precision, Result};

pub use device::device;
pub use kernels::Torch;
pub use native::{Native, Taps};
pub use tensor::TorchTensor;
pub use torch_script::TorchScript;
pub use variables::variables;

/// A layer graph that runs on libtorch.
pub type TorchModel = GraphModel<Torch>;

/// Makes a layer graph runnable on the CPU.
///
/// For another device: `GraphModel::new(graph, Torch::new(device, precision))`.
///
/// # Errors
///
/// [`attr_core::Error::Unsupported`] lists the layers that can't be computed.
pub fn compile(graph: Graph, precision: Precision) -> Result<TorchModel> {
    GraphModel::new(graph, Torch::cpu(precision))
}

/// How many threads libtorch computes on, in the whole process; as many as there are cores if this is not
/// called.
pub fn set_threads(threads: u16) {
    tch::set_num_threads(threads.max(1).into());
}
