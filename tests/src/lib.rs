//! The suite: cases are values, and one function runs each on every adapter.
//!
//! * [`mod@reference`] is the yardstick: every layer by its formula, in double precision.
//! * [`adapter`] lists the adapters and runs cases on their models; [`on_every_adapter`] is the way in.
//! * [`backend`] lists their kernels, for cases of single layers; [`on_every_backend`] is the way in.
//! * [`any_method`] makes a method, and what is asked of it, a value.
//! * `consistency` holds adapter against adapter on real networks; it needs the feature `torch`.
//! * `exports` holds what PyTorch exports against what PyTorch computes; it needs the feature `torch`.
//! * [`networks`] has the networks: literal ones from papers and peers' tests, and random ones.
//! * [`tolerance`] says how close is close.
//!
//! The tests are in `tests/`: a tensor's operations, layers (`operators`), the two verbs of a model (`sweep`),
//! literal attributions, methods that need to know the layers (`relevance`), axioms, bad input.

#![forbid(unsafe_code)]

pub mod adapter;
pub mod any_method;
pub mod backend;
#[cfg(feature = "torch")]
pub mod consistency;
#[cfg(feature = "torch")]
pub mod exports;
pub mod networks;
pub mod reference;
pub mod sampling;
pub mod tolerance;

pub use adapter::{Adapter, Cannot, Case, Outcome, Under};
pub use any_method::{AnyMethod, Ask};
pub use backend::Backend;
pub use tolerance::Level;
