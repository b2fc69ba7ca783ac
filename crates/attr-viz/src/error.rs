//! What can go wrong, and the checks every array and photo goes through.

use std::path::PathBuf;

use image::RgbImage;
use ndarray::{ArrayView, Dimension};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array or a photo has no elements.
    #[error("{what}: expected at least one element, found shape {shape:?}")]
    Empty {
        /// The array meant.
        what: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An array holds NaN or an infinity.
    #[error("{what}: expected finite values, found {value} at {index:?}")]
    NotFinite {
        /// The array meant.
        what: &'static str,
        /// The first such value.
        value: f64,
        /// Where it is.
        index: Vec<usize>,
    },
    /// A setting, a name, a size or a file extension is not one of those possible.
    #[error("{what}: expected {expected}, found {found}")]
    Invalid {
        /// The setting meant.
        what: String,
        /// What is possible.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A file could not be written.
    #[error("{}: cannot write the image", path.display())]
    Write {
        /// The file meant.
        path: PathBuf,
        /// The cause, an i/o error included.
        source: image::ImageError,
    },
}

pub(crate) fn invalid(what: impl ToString, expected: impl ToString, found: impl ToString) -> Error {
    Error::Invalid { what: what.to_string(), expected: expected.to_string(), found: found.to_string() }
}

/// An error unless `low <= value <= high`; so NaN is one.
pub(crate) fn check_within(what: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(invalid(what, format_args!("a number from {low} to {high}"), value))
}

pub(crate) fn check_array<D: Dimension>(what: &'static str, array: &ArrayView<f64, D>) -> Result<()> {
    if array.is_empty() {
        return Err(Error::Empty { what, shape: array.shape().to_vec() });
    }
    match array.view().into_dyn().indexed_iter().find(|(_, v)| !v.is_finite()) {
        Some((index, &value)) => Err(Error::NotFinite {
            what,
            value,
            index: ndarray::IntoDimension::into_dimension(index).slice().to_vec(),
        }),
        None => Ok(()),
    }
}

pub(crate) fn check_photo(photo: &RgbImage) -> Result<()> {
    if photo.is_empty() {
        let shape = vec![photo.height() as usize, photo.width() as usize, 3];
        return Err(Error::Empty { what: "photo", shape });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn messages_say_the_place_and_what_was_expected_and_found() {
        let nan = check_array("map", &array![[0., 1.], [2., f64::NAN]].view()).unwrap_err();
        assert_eq!(nan.to_string(), "map: expected finite values, found NaN at [1, 1]");
        let infinite = check_array("map", &array![[0., -f64::INFINITY]].view()).unwrap_err();
        assert_eq!(infinite.to_string(), "map: expected finite values, found -inf at [0, 1]");
        let empty = check_array("map", &Array2::zeros((0, 3)).view()).unwrap_err();
        assert_eq!(empty.to_string(), "map: expected at least one element, found shape [0, 3]");
        let low = check_within("opacity", -0.5, 0., 1.).unwrap_err();
        assert_eq!(low.to_string(), "opacity: expected a number from 0 to 1, found -0.5");
        assert!(check_within("opacity", f64::NAN, 0., 1.).is_err());
        assert!(check_photo(&RgbImage::new(0, 3)).is_err());
    }
}
