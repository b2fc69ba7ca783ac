//! Attribution methods for neural networks, written once for every framework.
//!
//! The theory is that of Leino et al., "Influence-Directed Explanations for Deep Convolutional Networks"
//! (2018): a [`Slice`] of the network between two [`Cut`]s, a [`Quantity`] of interest, a [`Distribution`]
//! of interest. A [`Question`] names them; a [`methods::Method`] answers with an [`Attribution`].
//!
//! An adapter brings a framework: [`Tensor`] and [`Kernels`] for layer graphs, or [`ModelWrapper`] for its
//! own models. This crate knows no framework and touches no file.

#![forbid(unsafe_code)]

pub mod attribution;
pub mod baseline;
mod bilinear;
pub mod composite;
pub mod cut;
pub mod derived;
pub mod distribution;
pub mod erased;
pub mod error;
mod expectation;
mod fold;
pub mod graph;
pub mod graph_model;
mod infer;
pub mod kernels;
mod linear_form;
pub mod methods;
pub mod model;
pub mod noise;
pub mod op;
pub mod parameter;
pub mod patterns;
pub mod quadrature;
pub mod quantity;
pub mod question;
mod recognise;
mod resample;
mod rewrite;
pub mod rule;
pub mod shape;
mod sweep;
pub mod tapped;
pub mod tensor;
mod walk;

pub use attribution::{Attribution, Evidence};
pub use baseline::Baseline;
pub use composite::Composite;
pub use cut::{Anchor, At, Cut, Slice};
pub use distribution::{Distribution, Doi, Points};
pub use erased::ErasedModel;
pub use error::{Error, Result};
pub use graph::{Graph, Node, NodeId, Param, ParamId};
pub use graph_model::GraphModel;
pub use kernels::{Kernels, Vjp};
pub use methods::Method;
pub use model::{Expected, Gradient, LayeredModel, ModelWrapper, Place, Point};
pub use noise::Noise;
pub use op::{
    Activation, Comparison, Conv, ConvTranspose, Coordinates, Interpolation, Op, Pool, Resize, Saves,
};
pub use parameter::{Parameter, Parameters, Settings};
pub use patterns::{PatternKind, Patterns};
pub use quadrature::Quadrature;
pub use quantity::{Evaluation, Qoi, Quantity, Reduce, Seen, Squash};
pub use question::{Progress, Question, Run};
pub use rule::Rule;
pub use shape::{Dim, Shape};
pub use tensor::{Precision, Tensor};
