//! A model's inputs, from pictures and arrays in files.

use std::path::Path;

use attr_core::{Cut, Place};
use ndarray::{ArrayD, Axis, concatenate};

use crate::cli::InputArgs;
use crate::error::{At, Error, Result};
use crate::labels::Labels;
use crate::model::Model;
use crate::preparation::{Description, Layout, Preparation};
use crate::{npy, photo};

/// What a model is asked about.
pub(crate) struct Inputs {
    /// One array for each input of the model, batch first.
    pub(crate) arrays: Vec<ArrayD<f64>>,
    /// A name for each row of the batch: that of its file.
    pub(crate) rows: Vec<String>,
    /// The axis of channels of the first of them, if it has one.
    pub(crate) channel_axis: usize,
    /// How pictures become numbers, if it is known.
    pub(crate) preparation: Option<Preparation>,
    /// The names of the classes.
    pub(crate) labels: Labels,
}

/// Reads and prepares all inputs; several files of one input become rows of a batch.
pub(crate) fn read(args: &InputArgs, model: &Model) -> Result<Inputs> {
    let reader = Reader::new(args, model)?;
    let labels = Labels::find(args, &model.path, reader.description.as_ref())?;
    let (arrays, rows) = reader.arrays(&args.inputs)?;
    Ok(Inputs { arrays, rows, channel_axis: reader.channel_axes[0], preparation: reader.preparation, labels })
}

/// What is known of a model's inputs before a file is read.
pub(crate) struct Reader<'a> {
    model: &'a Model,
    places: Vec<Place>,
    /// Of each, if it has one.
    channel_axes: Vec<usize>,
    description: Option<Description>,
    preparation: Option<Preparation>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(args: &InputArgs, model: &'a Model) -> Result<Self> {
        let places = model.places(&Cut::input())?;
        let description = Description::beside(&model.path)?;
        let first = places.first().ok_or_else(|| Error::failed("the model has no inputs"))?;
        let channel_axes = model.channel_axes(&Cut::input())?;
        let preparation = Preparation::new(description.as_ref(), args, first, channel_axes[0])?;
        Ok(Reader { model, places, channel_axes, description, preparation })
    }

    /// Whether files need no names of inputs.
    pub(crate) fn has_one_input(&self) -> bool {
        self.places.len() == 1
    }

    /// One array for each input, and a name for each row.
    pub(crate) fn arrays(&self, texts: &[String]) -> Result<(Vec<ArrayD<f64>>, Vec<String>)> {
        let Reader { model, places, channel_axes, preparation, .. } = self;
        let mut parts: Vec<Vec<ArrayD<f64>>> = vec![Vec::new(); places.len()];
        let mut rows = Vec::new();
        for text in texts {
            let (index, path) = split(text, places)?;
            let place = (&places[index], channel_axes[index]);
            let array = file(Path::new(path), place, preparation.as_ref(), model)?;
            if index == 0 {
                let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
                match array.len_of(Axis(0)) {
                    1 => rows.push(name),
                    several => rows.extend((0..several).map(|row| format!("{name} {row}"))),
                }
            }
            parts[index].push(array);
        }
        let join = |(parts, place): (Vec<ArrayD<f64>>, &Place)| {
            if parts.is_empty() {
                let name = &place.name;
                return Err(Error::usage(format!(
                    "input {name:?}: expected --input {name}=FILE, found none"
                )));
            }
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            concatenate(Axis(0), &views).map_err(|error| {
                Error::failed(format!("input {:?}: files don't fit together: {error}", place.name))
            })
        };
        let arrays = parts.into_iter().zip(places).map(join).collect::<Result<Vec<_>>>()?;
        for (array, place) in arrays.iter().zip(places) {
            if array.len_of(Axis(0)) != rows.len() {
                let (expected, found) = (rows.len(), array.len_of(Axis(0)));
                let reason = format!("expected {expected} rows as in the first input, found {found}");
                return Err(Error::failed(format!("input {:?}: {reason}", place.name)));
            }
        }
        Ok((arrays, rows))
    }
}

/// From `[NAME=]FILE` to the input's index and the file.
fn split<'a>(text: &'a str, places: &[Place]) -> Result<(usize, &'a str)> {
    let named = |(name, path): (&str, &'a str)| {
        places.iter().position(|place| place.name == name).map(|index| (index, path))
    };
    if let Some(found) = text.split_once('=').and_then(named) {
        return Ok(found);
    }
    let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
    match (places, text.split_once('=')) {
        // A file's name may have a = in it too.
        ([_], Some((name, _))) if !Path::new(text).exists() => {
            Err(Error::usage(format!("no input is called {name:?}: expected {}", names.join(", "))))
        }
        ([_], _) => Ok((0, text)),
        _ => {
            let expected = format!("NAME=FILE with a name of {}", names.join(", "));
            Err(Error::usage(format!(
                "the model has {} inputs: expected {expected}, found {text:?}",
                places.len()
            )))
        }
    }
}

/// One file, batch first.
fn file(
    path: &Path,
    (place, channel_axis): (&Place, usize),
    preparation: Option<&Preparation>,
    model: &Model,
) -> Result<ArrayD<f64>> {
    let is_array = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
    let array = match is_array {
        true => npy::read(path)?,
        false => picture(path, (place, channel_axis), preparation, model)?,
    };
    match &place.shape {
        Some(shape) if !shape.admits(array.shape()) => {
            let found = array.shape();
            Err(Error::file(path, format!("expected an array of shape {shape}, found {found:?}")))
        }
        _ => Ok(array),
    }
}

fn picture(
    path: &Path,
    (place, channel_axis): (&Place, usize),
    preparation: Option<&Preparation>,
    model: &Model,
) -> Result<ArrayD<f64>> {
    let image = photo::read(path)?;
    let layout = place.shape.as_ref().and_then(|shape| Layout::of(shape, channel_axis));
    let Some(layout) = layout else {
        let shape = place.shape.as_ref().map_or("unknown".to_string(), ToString::to_string);
        let expected =
            format!("an array (.npy), for the input {:?} of shape {shape} is no picture", place.name);
        return Err(Error::file(path, format!("expected {expected}")));
    };
    match preparation.filter(|preparation| preparation.layout == layout) {
        Some(preparation) => photo::prepare(&image, preparation).at(path.display()),
        None => Err(Error::file(path, Preparation::example(&model.path, layout))),
    }
}
