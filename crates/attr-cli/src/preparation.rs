//! How a picture becomes a model's input: what the JSON beside the model, or flags, say about it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use attr_core::{Place, Shape};
use clap::ValueEnum;
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
    /// `[B, C, H, W]` or `[B, H, W, C]` with one or three channels; `None` of everything else.
    pub(crate) fn of(shape: &Shape) -> Option<Self> {
        let has_channels = |n| n == 1 || n == 3;
        match shape.at(1)[..] {
            _ if !shape.is_batch_first() => None,
            [_, channels, height, width] if has_channels(channels) => {
                Some(Layout { channels, height, width, channel_axis: 0 })
            }
            [_, height, width, channels] if has_channels(channels) => {
                Some(Layout { channels, height, width, channel_axis: 2 })
            }
            _ => None,
        }
    }
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
        let path = model.with_extension("json");
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
    ) -> Result<Option<Self>> {
        let Some(layout) = place.shape.as_ref().and_then(Layout::of) else { return Ok(None) };
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
        let each = |name: &str, flag: &Option<Vec<f64>>, said: &Option<Channels>, default: f64| {
            let given = match (flag, said) {
                (Some(numbers), _) | (None, Some(Channels::Each(numbers))) => numbers.clone(),
                (None, Some(Channels::Same(number))) => vec![*number],
                (None, None) => vec![default],
            };
            let numbers = if given.len() == 1 { vec![given[0]; layout.channels] } else { given };
            let usable = |x: &f64| x.is_finite() && (name == "mean" || *x != 0.0);
            if numbers.len() != layout.channels || !numbers.iter().all(usable) {
                let expected = format!("one number, or one for each of {} channels", layout.channels);
                let nonzero = if name == "std" { ", none of them zero" } else { "" };
                return Err(Error::usage(format!("{name}: expected {expected}{nonzero}, found {numbers:?}")));
            }
            Ok(numbers)
        };
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
            mean: each("mean", &flags.mean, &said.mean, 0.0)?,
            std: each("std", &flags.std, &said.std, 1.0)?,
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
            model.with_extension("json").display()
        )
    }
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
    fn a_misspelt_word_is_an_error() {
        assert!(serde_json::from_str::<Description>(r#"{"means": [1]}"#).is_err());
        assert!(serde_json::from_str::<Description>(r#"{"crop": "left"}"#).is_err());
    }
}
