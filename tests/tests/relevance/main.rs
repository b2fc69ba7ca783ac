//! Methods that need to know the layers, held against literals, against formulas in plain double precision, and
//! against the laws that they claim.

mod conservation;
mod deep_lift;
mod errors;
mod formulas;
mod full_grad;
mod innvestigate;
mod literals;
mod patterns;
mod peers;
mod slices;

use attr_core::{Evidence, Precision};
use attr_tests::tolerance::{Level, close};
use ndarray::{ArrayD, arr1};

/// That nothing is left over of the law, relative to the largest quantity, which counts as at least `least`.
fn holds(evidence: &Evidence, least: f64, level: Level, precision: Precision) -> Result<(), String> {
    let residual = arr1(evidence.residual.as_ref().ok_or("no residual")?).into_dyn();
    let largest = evidence.quantity.iter().fold(least, |most, quantity| most.max(quantity.abs()));
    close(&(&residual / largest), &ArrayD::zeros(residual.raw_dim()), level, precision)
}
