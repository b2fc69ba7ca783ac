//! A model's inputs, from texts, and from pictures, arrays and tables in files.

use std::path::Path;

use attr_core::{Cut, Place};
use ndarray::{ArrayD, Axis, concatenate};

use crate::cli::{InputArgs, ModelArgs};
use crate::error::{At, Error, Result};
use crate::labels::Labels;
use crate::model::Model;
use crate::preparation::{Description, Layout, Preparation, Standard};
use crate::table::Table;
use crate::text::Text;
use crate::{model, npy, photo};

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
    /// What else is known of them.
    pub(crate) kind: Kind,
}

/// What inputs were before they became numbers, where their parts have names.
pub(crate) enum Kind {
    /// Pictures, or arrays of which nothing else is known.
    Arrays,
    /// Texts, of tokens.
    Text(Box<Text>),
    /// Rows of a table, of columns.
    Table(Box<Table>),
}

/// Opens a model and prepares its inputs, for a model may take texts of any length, and has to be told which.
/// `other` is a text that the texts are compared with.
pub(crate) fn open(args: &ModelArgs, input: &InputArgs, other: Option<&str>) -> Result<(Model, Inputs)> {
    if input.texts.is_empty() {
        let model = model::open(args, None)?;
        let inputs = read(input, &model)?;
        return Ok((model, inputs));
    }
    let text = Text::read(&input.texts, other, input.tokenizer.as_deref(), &args.model)?;
    let model = model::open(args, Some(text.longest()))?;
    let labels = Labels::find(input, &model.path, Description::beside(&model.path)?.as_ref())?;
    let arrays = text.arrays(&text.rows, &model.places(&Cut::input())?)?;
    let rows = input.texts.clone();
    let kind = Kind::Text(Box::new(text));
    Ok((model, Inputs { arrays, rows, channel_axis: 1, preparation: None, labels, kind }))
}

/// Reads and prepares all files; several of one input become rows of a batch.
fn read(args: &InputArgs, model: &Model) -> Result<Inputs> {
    let reader = Reader::new(args, model)?;
    let labels = Labels::find(args, &model.path, reader.description.as_ref())?;
    let Read { arrays, rows, mut tables } = reader.arrays(&args.inputs)?;
    let kind = match tables.pop() {
        Some(table) if tables.is_empty() && arrays.len() == 1 && table.rows.len() == rows.len() => {
            Kind::Table(Box::new(table))
        }
        _ => Kind::Arrays,
    };
    let channel_axis = reader.channel_axes[0];
    Ok(Inputs { arrays, rows, channel_axis, preparation: reader.preparation, labels, kind })
}

/// What files hold.
pub(crate) struct Read {
    /// One array for each input, batch first.
    pub(crate) arrays: Vec<ArrayD<f64>>,
    /// A name for each row.
    rows: Vec<String>,
    /// Those of the files that are tables.
    tables: Vec<Table>,
}

/// What is known of a model's inputs before a file is read.
pub(crate) struct Reader<'a> {
    model: &'a Model,
    args: &'a InputArgs,
    places: Vec<Place>,
    /// Of each, if it has one.
    channel_axes: Vec<usize>,
    description: Option<Description>,
    preparation: Option<Preparation>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(args: &'a InputArgs, model: &'a Model) -> Result<Self> {
        let places = model.places(&Cut::input())?;
        let description = Description::beside(&model.path)?;
        let first = places.first().ok_or_else(|| Error::failed("the model has no inputs"))?;
        let channel_axes = model.channel_axes(&Cut::input())?;
        let preparation = Preparation::new(description.as_ref(), args, first, channel_axes[0])?;
        Ok(Reader { model, args, places, channel_axes, description, preparation })
    }

    /// Whether files need no names of inputs.
    pub(crate) fn has_one_input(&self) -> bool {
        self.places.len() == 1
    }

    /// The content of files.
    pub(crate) fn arrays(&self, texts: &[String]) -> Result<Read> {
        let places = &self.places;
        let mut parts: Vec<Vec<ArrayD<f64>>> = vec![Vec::new(); places.len()];
        let (mut rows, mut tables) = (Vec::new(), Vec::new());
        for text in texts {
            let (index, path) = split(text, places)?;
            let (array, table) = self.file(Path::new(path), index)?;
            if index == 0 {
                let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
                match (array.len_of(Axis(0)), &table) {
                    (_, Some(table)) => rows.extend(table.rows.iter().map(|row| format!("{name} row {row}"))),
                    (1, None) => rows.push(name),
                    (several, None) => rows.extend((0..several).map(|row| format!("{name} {row}"))),
                }
            }
            tables.extend(table);
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
        if tables.is_empty() && !self.args.rows.is_empty() {
            return Err(Error::usage("row: expected a table (.csv or .tsv) to take it from, found none"));
        }
        Ok(Read { arrays, rows, tables })
    }

    /// One file, batch first.
    fn file(&self, path: &Path, index: usize) -> Result<(ArrayD<f64>, Option<Table>)> {
        let place = &self.places[index];
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let (array, table) = match ending.as_str() {
            "npy" => (npy::read(path)?, None),
            "csv" | "tsv" => {
                let dims = place.shape.as_ref().map(|shape| shape.at(1));
                let Some(&[1, features]) = dims.as_deref() else {
                    let found = place.shape.as_ref().map_or("unknown".to_string(), ToString::to_string);
                    let expected = "expected an input of shape [B, features] for a table";
                    return Err(Error::file(path, format!("{expected}, found {found}")));
                };
                let standard = Standard::new(self.description.as_ref(), self.args, features)?;
                let table = Table::read(path, features, standard, &self.args.rows)?;
                (table.array(), Some(table))
            }
            _ => {
                let place = (place, self.channel_axes[index]);
                (picture(path, place, self.preparation.as_ref(), self.model)?, None)
            }
        };
        match &place.shape {
            Some(shape) if !shape.admits(array.shape()) => {
                let found = array.shape();
                Err(Error::file(path, format!("expected an array of shape {shape}, found {found:?}")))
            }
            _ => Ok((array, table)),
        }
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
        let expected = format!(
            "an array (.npy) or table (.csv), for the input {:?} of shape {shape} is no picture",
            place.name
        );
        return Err(Error::file(path, format!("expected {expected}")));
    };
    match preparation.filter(|preparation| preparation.layout == layout) {
        Some(preparation) => photo::prepare(&image, preparation).at(path.display()),
        None => Err(Error::file(path, Preparation::example(&model.path, layout))),
    }
}
