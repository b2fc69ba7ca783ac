//! The suite: cases are values, and one function runs each on every adapter.
//!
//! * [`mod@reference`] is the yardstick: every layer by its formula, in double precision.
//! * [`adapter`] lists the adapters and runs cases on them; [`on_every_adapter`] is the way in.
//! * [`any_method`] makes a method, and what is asked of it, a value.
//! * [`networks`] has the networks: literal ones from papers and peers' tests, and random ones.
//! * [`tolerance`] says how close is close.
//!
//! The tests are in `tests/`: a tensor's operations, layers (`operators`), the two verbs of a model (`sweep`),
//! literal attributions, axioms, bad input.

pub mod adapter;
pub mod any_method;
pub mod networks;
pub mod reference;
pub mod sampling;
pub mod tolerance;

pub use adapter::{Adapter, Cannot, Case, Outcome};
pub use any_method::{AnyMethod, Ask};
pub use tolerance::Level;
