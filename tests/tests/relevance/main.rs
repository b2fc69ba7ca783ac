//! Methods that need to know the layers, held against literals, against formulas in plain double precision, and
//! against the laws that they claim.

mod conservation;
mod deep_lift;
mod errors;
mod formulas;
mod full_grad;
mod literals;
mod peers;
