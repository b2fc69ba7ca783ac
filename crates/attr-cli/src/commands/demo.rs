//! `attr demo`: every method on handwritten digits, as iNNvestigate shows them: digits down, methods across.

use std::path::PathBuf;
use std::sync::Arc;

use attr_core::{Patterns, Qoi};
use ndarray::{Axis, Slice};

use super::compare;
use crate::catalogue::{self, Common};
use crate::cli::DeviceArgs;
use crate::error::{At, Error, Result};
use crate::explanation::Question;
use crate::grid::Grid;
use crate::input::{Inputs, Kind};
use crate::labels::Labels;
use crate::output::Output;
use crate::picture::{self, View};
use crate::{model, terminal};

const MODEL: &[u8] = include_bytes!("../../assets/digits.onnx");
const PATTERNS: &[u8] = include_bytes!("../../assets/digits.patterns.safetensors");
const DIGITS: &[u8] = include_bytes!("../../assets/digits.npy");
const LABELS: &str = include_str!("../../assets/digits.labels.txt");

/// The height and width of a digit, about.
const TILE: u32 = 84;

/// What suits digits of 28 x 28 pixels better than the defaults, which are for photos.
const SETTINGS: [&str; 2] = ["occlusion.window=7", "occlusion.stride=2"];

/// What the digit network is not made for: it has no global average pooling.
const NOT_ON_DIGITS: [&str; 1] = ["cam"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// The picture to write: .png or .jpg
    #[arg(long, value_name = "FILE", default_value = "digits.png")]
    out: PathBuf,
}

/// Draws the grid.
pub(crate) fn run(args: &Args) -> Result<()> {
    let output = Output::picture(&args.out)?;
    let model = model::built_in("the built-in digit network", MODEL, &args.device)?;
    let inputs = digits()?;
    let question = Question::of_classes(Qoi::PredictedClass);
    let patterns = Patterns::from_safetensors(PATTERNS).at("the built-in patterns")?;
    let settings = SETTINGS.map(str::to_string);
    let common = Common { settings: &settings, seed: None, patterns: Some(Arc::new(patterns)) };
    let names: Vec<_> = catalogue::all().iter().map(|method| method.name).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !NOT_ON_DIGITS.contains(name)).collect();
    let methods = catalogue::asked(&names, &common)?;
    let mut grid =
        Grid { photos: picture::photos(&inputs)?, labels: inputs.rows.clone(), columns: Vec::new() };
    let ended = compare::fill(&mut grid, &model, &inputs, &question, &methods);
    if grid.columns.is_empty() {
        return ended;
    }
    let picture = grid.render(&View::opaque(), TILE)?;
    attr_viz::save(&output.path, &picture).map_err(picture::failed)?;
    terminal::line(format_args!("wrote {}", output.path.display()))?;
    if terminal::is_there() {
        terminal::draw(&picture);
    }
    let finished =
        format!("{} of {} methods are in {}", grid.columns.len(), methods.len(), output.path.display());
    ended.map_err(|error| match error.is_stop() {
        true => Error::Stopped(finished),
        false => Error::failed(format!("{error}; {finished}")),
    })
}

/// The first of each class among the digits that are built in, which are in the order of their classes.
fn digits() -> Result<Inputs> {
    let all = attr_input::npy::decode(DIGITS)
        .map_err(|reason| Error::failed(format!("the built-in digits: {reason}")))?;
    let each = all.shape().first().map_or(1, |rows| (rows / LABELS.lines().count().max(1)).max(1));
    let array = all.slice_axis(Axis(0), Slice::new(0, None, each as isize)).to_owned();
    // What the network says about a digit is enough beside its picture.
    let rows = vec![String::new(); array.len_of(Axis(0))];
    let labels = Labels::from_lines(LABELS);
    Ok(Inputs { arrays: vec![array], rows, channel_axis: 1, preparation: None, labels, kind: Kind::Arrays })
}
