//! Attributions as pictures: heat maps over what the model saw.

use attr_viz::{ColorMap, Heatmap, RgbImage, resize};
use image::Rgb;
use ndarray::{Array2, ArrayViewD, Axis, Ix2, Ix3};

use crate::cli::ViewArgs;
use crate::error::{Error, Result};
use crate::explanation::Explanation;
use crate::input::Inputs;
use crate::photo;

/// How heat maps are drawn.
pub(crate) struct View {
    /// Where none are given, those that are usual for the values.
    pub(crate) colors: Option<ColorMap>,
    clip: f64,
    opacity: f64,
}

/// One map for each row of a batch.
pub(crate) struct Maps {
    pub(crate) rows: Vec<Array2<f64>>,
    /// Whether zero is the centre of the colours, and not their lower end.
    is_signed: bool,
}

impl View {
    /// From flags; an error if one is out of range.
    pub(crate) fn new(args: &ViewArgs) -> Result<Self> {
        let within = |name: &str, value: f64, last: f64| match (0.0..=last).contains(&value) {
            true => Ok(value),
            false => Err(Error::usage(format!("{name}: expected a number of 0 to {last}, found {value}"))),
        };
        let colors = args.colors.as_ref().map(|name| name.parse::<ColorMap>()).transpose();
        Ok(View {
            colors: colors.map_err(|error| Error::usage(error.to_string()))?,
            clip: within("clip", args.clip, 100.0)?,
            opacity: within("opacity", args.opacity, 1.0)?,
        })
    }

    /// Heat maps that cover what is below them.
    pub(crate) fn opaque() -> Self {
        View { colors: None, clip: 99.0, opacity: 1.0 }
    }

    /// The settings for maps of this kind.
    pub(crate) fn heatmap(&self, maps: &Maps) -> Heatmap {
        let usual = if maps.is_signed { ColorMap::BlueRed } else { ColorMap::Inferno };
        Heatmap {
            colors: self.colors.unwrap_or(usual),
            clip: self.clip,
            opacity: self.opacity,
            ..Heatmap::default()
        }
    }

    /// The heat map of a row over its photo in grey.
    pub(crate) fn overlay(&self, maps: &Maps, row: usize, photo: &RgbImage) -> Result<RgbImage> {
        self.heatmap(maps).overlay(maps.rows[row].view(), &grey(photo)).map_err(failed)
    }

    /// The heat map of a row alone, a pixel for each value.
    pub(crate) fn plain(&self, maps: &Maps, row: usize) -> Result<RgbImage> {
        self.heatmap(maps).render(maps.rows[row].view()).map_err(failed)
    }
}

impl Maps {
    /// The sum over the channels of each row's attributions; an error if they have no height and width.
    pub(crate) fn new(explanation: &Explanation) -> Result<Self> {
        let values = &explanation.attribution.values;
        let [values] = &values[..] else {
            return Err(Error::failed(format!("expected one attribution to draw, found {}", values.len())));
        };
        // Rows have no axis for the batch.
        let channels = Axis(explanation.channel_axes[0] - 1);
        let rows = values.axis_iter(Axis(0)).map(|row| map(row, channels));
        let rows = rows.collect::<Option<Vec<_>>>().ok_or_else(|| {
            let expected = "expected attributions with height and width for a picture";
            let found = values.shape();
            Error::failed(format!("{expected}, found shape {found:?}: write .npy, .npz or .safetensors"))
        })?;
        let is_signed = rows.iter().flatten().any(|x| *x < 0.0);
        Ok(Maps { rows, is_signed })
    }

    /// The values that the ends of the colours stand for, in the overlay on this photo.
    pub(crate) fn limits(&self, view: &View, row: usize, photo: &RgbImage) -> Result<(f64, f64)> {
        let (height, width) = (photo.height() as usize, photo.width() as usize);
        let map = resize(self.rows[row].view(), height, width).map_err(failed)?;
        view.heatmap(self).limits(map.view()).map_err(failed)
    }
}

/// What the model saw in each row, as pictures; an error if its first input is none.
pub(crate) fn photos(inputs: &Inputs) -> Result<Vec<RgbImage>> {
    let first = &inputs.arrays[0];
    let rows = first
        .axis_iter(Axis(0))
        .map(|row| photo::show(row, inputs.channel_axis, inputs.preparation.as_ref()));
    rows.collect::<Option<Vec<_>>>().ok_or_else(|| {
        let expected = "expected an input with height, width and 1 or 3 channels for a picture";
        let found = first.shape();
        Error::failed(format!("{expected}, found shape {found:?}: write .npy, .npz, .safetensors or .json"))
    })
}

/// An error of the drawing library, with its cause.
pub(crate) fn failed(error: attr_viz::Error) -> Error {
    use std::error::Error as _;
    let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
    Error::failed(format!("{error}{cause}"))
}

fn map(row: ArrayViewD<'_, f64>, channels: Axis) -> Option<Array2<f64>> {
    match row.ndim() {
        3 => Some(row.into_dimensionality::<Ix3>().ok()?.sum_axis(channels)),
        2 => Some(row.into_dimensionality::<Ix2>().ok()?.to_owned()),
        _ => None,
    }
    .filter(|map| !map.is_empty())
}

fn grey(photo: &RgbImage) -> RgbImage {
    let mut grey = photo.clone();
    for Rgb(pixel) in grey.pixels_mut() {
        let [r, g, b] = pixel.map(u32::from);
        *pixel = [((299 * r + 587 * g + 114 * b) / 1000) as u8; 3];
    }
    grey
}
