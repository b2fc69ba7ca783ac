//! The suite: cases are values, and one function runs each on every adapter.
//!
//! * [`reference`] is the yardstick: every layer by its formula, in double precision.
//! * [`adapter`] lists the adapters and runs cases on them; [`on_every_adapter`] is the way in.
//! * [`networks`] has the networks: literal ones from papers and peers' tests, and random ones.
//! * [`tolerance`] says how close is close.
//!
//! The tests are in `tests/`: operators, the two verbs of a model, literal attributions, axioms, bad input.

pub mod adapter;
pub mod networks;
pub mod reference;
pub mod sampling;
pub mod tolerance;

pub use adapter::{Adapter, Cannot, Case, Outcome};
pub use tolerance::Level;
