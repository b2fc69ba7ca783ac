//! How a picture, a text or a row of a table becomes a model's input: what the JSON beside the model, or flags, say
//! about it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use attr_core::{Place, Shape};
use clap::ValueEnum;
use ndarray::Array2;
use serde::Deserialize;

use crate::cli::InputArgs;
use crate::error::{Error, Result};

/// What `model.json` beside `model.onnx` says. Everything is optional; flags come before it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// Height and width of the model's input; that of the model itself if not given.
    size: Option<Size>,
    /// What the picture is resized to before its centre is cut out; the smallest that covers `size`.
    resize: Option<Length>,
    /// Which part is cut out: there is only `center`, but whoever wants another one should hear so.
    #[serde(rename = "crop")]
    _crop: Option<Crop>,
    filter: Option<Filter>,
    order: Option<Order>,
    scale: Option<f64>,
    mean: Option<Channels>,
    std: Option<Channels>,
    /// The names of the classes.
    pub(crate) labels: Option<Labels>,
    /// Table: the names of the columns that are the model's features, in its order; `mean` and `std` are theirs.
    columns: Option<Vec<String>>,
    /// Text: the file of its tokenizer, beside the JSON.
    pub(crate) tokenizer: Option<PathBuf>,
}

/// A number `x` of a table becomes `(x - mean) / std`, column by column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standard {
    /// The names of the columns in the model's order, if they are known.
    pub(crate) columns: Option<Vec<String>>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// A picture's value `x` in 0..1 becomes `(x * scale - mean) / std`, channel by channel in the model's order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preparation {
    pub(crate) layout: Layout,
    pub(crate) resize: Option<Length>,
    pub(crate) filter: Filter,
    pub(crate) order: Order,
    pub(crate) scale: f64,
    /// One number a channel.
    pub(crate) mean: Vec<f64>,
    /// One number a channel.
    pub(crate) std: Vec<f64>,
}

/// An input that is a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// 1 (grey) or 3 (colours).
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// The axis of channels, counted without the batch: 0 or 2.
    pub(crate) channel_axis: usize,
}

impl Layout {
    /// `[B, C, H, W]` or `[B, H, W, C]` with one or three channels; `None` of everything else. Where both could be
    /// meant, it is what the model says of its axis of channels.
    pub(crate) fn of(shape: &Shape, channel_axis: usize) -> Option<Self> {
        if shape.is_batch_first() { Layout::of_row(&shape.at(1)[1..], channel_axis) } else { None }
    }

    /// `[C, H, W]` or `[H, W, C]`, likewise.
    pub(crate) fn of_row(row: &[usize], channel_axis: usize) -> Option<Self> {
        let order = if channel_axis == 3 { [2, 0] } else { [0, 2] };
        let [first, between, last] = *row else { return None };
        let channel_axis = order.into_iter().find(|&axis| [1, 3].contains(&row[axis]))?;
        Some(match channel_axis {
            0 => Layout { channels: first, height: between, width: last, channel_axis },
            _ => Layout { channels: last, height: first, width: between, channel_axis },
        })
    }
}

/// The JSON that describes a model: `model.json` beside `model.onnx`, and `model.v2.json` beside the folder
/// `model.v2`, whose name may have a dot in it.
pub(crate) fn json_beside(model: &Path) -> PathBuf {
    if !model.is_dir() {
        return model.with_extension("json");
    }
    // Such as `.`, which has a name only in the folder above.
    let whole = model.file_name().is_none().then(|| model.canonicalize().ok()).flatten();
    let model = whole.as_deref().unwrap_or(model);
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    model.with_file_name(format!("{name}.json"))
}

/// Height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "Length")]
pub(crate) struct Size(pub(crate) [usize; 2]);

/// The shorter side, or height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Length {
    Shorter(usize),
    Exact([usize; 2]),
}

/// How a picture is resized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filter {
    /// A triangle that widens as the picture shrinks: Pillow's and torchvision's default
    #[default]
    Bilinear,
    /// Catmull and Rom's cubic, as Pillow's bicubic
    Bicubic,
}

/// The order of a model's channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Order {
    #[default]
    #[serde(rename = "RGB")]
    Rgb,
    #[serde(rename = "BGR")]
    Bgr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Crop {
    Center,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Channels {
    Same(f64),
    Each(Vec<f64>),
}

/// The names of the classes: a file beside the JSON, or the names themselves.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Labels {
    File(PathBuf),
    Names(Vec<String>),
}

impl Description {
    /// The JSON beside the model; `None` if there is none.
    pub(crate) fn beside(model: &Path) -> Result<Option<Self>> {
        let path = json_beside(model);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&path, error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| Error::file(&path, error))
    }

    /// The shape of the model's input without the batch, for files that don't say it: channels, height, width.
    /// One channel only where there is a list of one number and no order of channels.
    pub(crate) fn row(&self) -> Option<Vec<usize>> {
        let Size([height, width]) = self.size?;
        let grey = [&self.mean, &self.std]
            .iter()
            .any(|each| matches!(each, Some(Channels::Each(numbers)) if numbers.len() == 1));
        let channels = if grey && self.order.is_none() { 1 } else { 3 };
        Some(vec![channels, height, width])
    }

    /// Height and width of the model's input, if they are said.
    pub(crate) fn size(&self) -> Option<[usize; 2]> {
        self.size.map(|Size(size)| size)
    }

    fn says_what_values_are(&self) -> bool {
        self.scale.is_some() || self.mean.is_some() || self.std.is_some()
    }
}

impl Preparation {
    /// From what the JSON and the flags say; `None` where nothing is said about the values, or the input
    /// is no picture.
    pub(crate) fn new(
        description: Option<&Description>,
        flags: &InputArgs,
        place: &Place,
        channel_axis: usize,
    ) -> Result<Option<Self>> {
        let layout = place.shape.as_ref().and_then(|shape| Layout::of(shape, channel_axis));
        let Some(layout) = layout else { return Ok(None) };
        let none = Description::default();
        let said = description.unwrap_or(&none);
        let flagged = flags.scale.is_some() || flags.mean.is_some() || flags.std.is_some();
        if !flagged && !said.says_what_values_are() {
            return Ok(None);
        }
        if let Some(Size([height, width])) = flags.size.or(said.size)
            && (height, width) != (layout.height, layout.width)
        {
            let (h, w) = (layout.height, layout.width);
            return Err(Error::usage(format!("size: expected {h}x{w}, the model's, found {height}x{width}")));
        }
        let scale = flags.scale.or(said.scale).unwrap_or(1.0);
        if !scale.is_finite() || scale == 0.0 {
            return Err(Error::usage(format!("scale: expected a number other than zero, found {scale}")));
        }
        Ok(Some(Preparation {
            layout,
            resize: flags.resize.or(said.resize),
            filter: flags.filter.or(said.filter).unwrap_or_default(),
            order: flags.order.or(said.order).unwrap_or_default(),
            scale,
            mean: each("mean", layout.channels, "channels", &flags.mean, said.mean.as_ref())?,
            std: each("std", layout.channels, "channels", &flags.std, said.std.as_ref())?,
        }))
    }

    /// What to write where nothing is said about the values: a JSON to paste.
    pub(crate) fn example(model: &Path, layout: Layout) -> String {
        let values = match layout.channels {
            1 => r#""scale":1,"mean":[0],"std":[1]"#,
            _ => r#""order":"RGB","scale":1,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]"#,
        };
        let Layout { height, width, .. } = layout;
        format!(
            "how a picture becomes numbers is not known: expected {} beside the model, such as \
             {{\"size\":[{height},{width}],\"resize\":null,\"crop\":\"center\",{values}}}, for \
             (x * scale - mean) / std of x in 0..1, or --scale, --mean and --std",
            json_beside(model).display()
        )
    }
}

impl Standard {
    /// From what the JSON and the flags say of this many features; numbers stay as they are where nothing is said.
    pub(crate) fn new(description: Option<&Description>, flags: &InputArgs, features: usize) -> Result<Self> {
        let columns = description.and_then(|said| said.columns.clone());
        if let Some(names) = columns.as_ref().filter(|names| names.len() != features) {
            let expected = format!("{features} names, as many as the model has features");
            return Err(Error::failed(format!("columns: expected {expected}, found {}", names.len())));
        }
        let said = |of: fn(&Description) -> Option<&Channels>| description.and_then(of);
        Ok(Standard {
            columns,
            mean: each("mean", features, "columns", &flags.mean, said(|said| said.mean.as_ref()))?,
            std: each("std", features, "columns", &flags.std, said(|said| said.std.as_ref()))?,
        })
    }

    /// Rows as the model takes them: `[rows, features]`.
    pub(crate) fn apply(&self, rows: &Array2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(rows.dim(), |(row, i)| (rows[[row, i]] - self.mean[i]) / self.std[i])
    }
}

/// The mean or the standard deviation of each of several channels or columns: from a flag, else the JSON, else such
/// that it changes nothing.
fn each(
    name: &str,
    count: usize,
    what: &str,
    flag: &Option<Vec<f64>>,
    said: Option<&Channels>,
) -> Result<Vec<f64>> {
    let given = match (flag, said) {
        (Some(numbers), _) | (None, Some(Channels::Each(numbers))) => numbers.clone(),
        (None, Some(Channels::Same(number))) => vec![*number],
        (None, None) => vec![if name == "std" { 1.0 } else { 0.0 }],
    };
    let numbers = if given.len() == 1 { vec![given[0]; count] } else { given };
    let usable = |x: &f64| x.is_finite() && (name == "mean" || *x != 0.0);
    if numbers.len() != count || !numbers.iter().all(usable) {
        let expected = format!("one number, or one for each of {count} {what}");
        let nonzero = if name == "std" { ", none of them zero" } else { "" };
        return Err(Error::usage(format!("{name}: expected {expected}{nonzero}, found {numbers:?}")));
    }
    Ok(numbers)
}

impl From<Length> for Size {
    fn from(length: Length) -> Self {
        match length {
            Length::Shorter(side) => Size([side, side]),
            Length::Exact(size) => Size(size),
        }
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "expected a length as 224, or a height and width as 224x320".to_string();
        let side = |text: &str| text.trim().parse().ok().filter(|&n| n > 0).ok_or_else(wrong);
        match text.split_once(['x', ',']) {
            Some((height, width)) => Ok(Length::Exact([side(height)?, side(width)?])),
            None => Ok(Length::Shorter(side(text)?)),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        text.parse::<Length>().map(Size::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_description() {
        for channels in [1, 3] {
            let layout = Layout { channels, height: 28, width: 32, channel_axis: 0 };
            let text = Preparation::example(Path::new("m.onnx"), layout);
            let json = &text[text.find('{').unwrap()..=text.rfind('}').unwrap()];
            let description: Description = serde_json::from_str(json).unwrap();
            assert_eq!(description.size, Some(Size([28, 32])));
            assert_eq!(description.row(), Some(vec![channels, 28, 32]));
            assert!(description.says_what_values_are() && description._crop == Some(Crop::Center));
        }
    }

    #[test]
    fn layouts_of_pictures() {
        for (row, said, found) in [
            (&[3, 8, 8][..], 1, Some(0)),
            (&[8, 8, 3], 1, Some(2)),
            (&[1, 28, 1], 1, Some(0)),
            (&[1, 28, 1], 3, Some(2)),
            (&[3, 8, 8], 3, Some(0)),
            (&[8, 8, 2], 3, None),
            (&[8, 3], 2, None),
        ] {
            let layout = Layout::of_row(row, said);
            assert_eq!(layout.map(|layout| layout.channel_axis), found, "{row:?} {said}");
        }
        let shape = Shape::batched(&[5, 7, 3]);
        let layout = Layout { channels: 3, height: 5, width: 7, channel_axis: 2 };
        assert_eq!(Layout::of(&shape, 3), Some(layout));
    }

    #[test]
    fn the_json_beside_a_model() {
        let folder = std::env::temp_dir().join(format!("attr-cli-beside-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("net.v2")).unwrap();
        for (model, json) in [("net.onnx", "net.json"), ("net.v2", "net.v2.json"), ("net.v2/", "net.v2.json")]
        {
            assert_eq!(json_beside(&folder.join(model)), folder.join(json), "{model}");
        }
        let found = json_beside(&folder.join("net.v2").join(".."));
        assert_eq!(found.file_name(), folder.with_extension("json").file_name());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_misspelt_word_is_an_error() {
        assert!(serde_json::from_str::<Description>(r#"{"means": [1]}"#).is_err());
        assert!(serde_json::from_str::<Description>(r#"{"crop": "left"}"#).is_err());
    }
}
