//! Arrays from `.npy` files.

use std::path::Path;

use ndarray::ArrayD;

use crate::error::{Error, Result};

/// The array in a file; an error if it holds NaN or infinity.
pub(crate) fn read(path: &Path) -> Result<ArrayD<f64>> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    let array = attr_input::npy::decode(&bytes).map_err(|error| Error::file(path, error))?;
    match array.indexed_iter().find(|(_, x)| !x.is_finite()) {
        None => Ok(array),
        Some((index, x)) => {
            let index = ndarray::Dimension::slice(&index);
            Err(Error::file(path, format!("expected finite numbers, found {x} at {index:?}")))
        }
    }
}
