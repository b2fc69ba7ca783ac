//! The command line: what can be asked for, and in which words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::backend::Backend;
use crate::commands::{compare, demo, explain, layers, methods, patterns, predict};
use crate::preparation::{Filter, Length, Order, Size};

/// What a network responds to: attributions of its inputs and layers.
#[derive(Debug, Parser)]
#[command(name = "attr", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What the model says about an input: the top classes
    Predict(predict::Args),
    /// The model's layers in the tree of its modules, one line each: index, name, kind, shape, parameters
    Layers(layers::Args),
    /// The methods there are; with a name, its parameters, defaults and source
    Methods(methods::Args),
    /// What in the input (or a layer) mattered for a class, by one method
    Explain(explain::Args),
    /// Several methods side by side, as one picture
    Compare(compare::Args),
    /// Fits the patterns that pattern-net and pattern-attribution need to data, once for a model
    Patterns(patterns::Args),
    /// A grid of methods on handwritten digits, with a network that is built in
    Demo(demo::Args),
}

/// Which model, and on what.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// The model: an ONNX file, an exported program (.pt2), TorchScript, TensorFlow's (a SavedModel's folder or a frozen
    /// graph, .pb), or weights with torchvision's names (.safetensors, .pth) with --network
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// The lengths behind the batch of an input whose file leaves them open, as x=3x224x224: TorchScript
    /// always does
    #[arg(long = "shape", value_name = "NAME=LENGTHS")]
    pub(crate) shapes: Vec<String>,
    /// Weights: the network that they are of, as torchvision calls it: resnet50, vit_b_16.. Its input is 224 pixels
    /// high and wide, or what it was made for, or what "size" in the JSON beside the file or --shape says
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// Which signature of a SavedModel; without it `serving_default`, or the only one there is
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// Runs a model of TensorFlow's as its file has it, on tf and in its own precision, as is done where its
    /// layers are not recognised: methods that need to know the layers are refused. Of an ONNX file it leaves
    /// chains of operators as they are written, where several are one layer: for cuts within them
    #[arg(long)]
    pub(crate) as_is: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// What a model is run on.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeviceArgs {
    /// The framework, if this build has it; without it, candle where the layers are known, torch for
    /// TorchScript, tf for a model of TensorFlow's whose layers are not recognised
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Backend>,
    /// What is computed on: cpu; with torch also cuda, cuda:1.. or mps; with tf also gpu, gpu:1..
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub(crate) device: String,
    /// The precision of all arithmetic
    #[arg(long, default_value = "f32", value_name = "f32|f64")]
    pub(crate) dtype: Dtype,
    /// How many threads to compute on; all processors if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// The precision of all arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    F64,
}

impl From<Dtype> for attr_core::Precision {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => attr_core::Precision::F32,
            Dtype::F64 => attr_core::Precision::F64,
        }
    }
}

/// The inputs, and how they become numbers where no JSON beside the model says it.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// A picture (.png, .jpg), an array with its batch axis (.npy) or a table with a header (.csv, .tsv), given once
    /// or more: rows of the batch. Of a model with several inputs each is NAME=FILE
    #[arg(long = "input", required_unless_present = "texts", value_name = "[NAME=]FILE")]
    pub(crate) inputs: Vec<String>,
    /// A text for a model that takes token numbers, once or more: explained at the embeddings of its tokens
    #[arg(long = "text", value_name = "TEXT", conflicts_with = "inputs")]
    pub(crate) texts: Vec<String>,
    /// Text: the model's tokenizer; without it what the JSON beside the model says, or tokenizer.json there
    #[arg(long, value_name = "FILE", requires = "texts")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Table: which row, counted from 1 below the header, once or more; all of them if not given
    #[arg(long = "row", value_name = "N", conflicts_with = "texts")]
    pub(crate) rows: Vec<usize>,
    /// Picture: height and width of the model's input, as 224 or 224x320
    #[arg(long, value_name = "SIZE", help_heading = "Preparing pictures")]
    pub(crate) size: Option<Size>,
    /// Picture: length of the shorter side before the centre is cut out, or height and width;
    /// without it, the smallest that covers the input
    #[arg(long, value_name = "SIZE", help_heading = "Preparing pictures")]
    pub(crate) resize: Option<Length>,
    /// Picture: how it is resized: bilinear or bicubic
    #[arg(long, value_name = "FILTER", help_heading = "Preparing pictures")]
    pub(crate) filter: Option<Filter>,
    /// Picture: what values of 0..1 are multiplied by before the mean is taken away
    #[arg(long, value_name = "X", help_heading = "Preparing pictures", allow_negative_numbers = true)]
    pub(crate) scale: Option<f64>,
    /// Picture or table: taken away, one number or one a channel or column: 0.485,0.456,0.406
    #[arg(
        long,
        value_name = "X,..",
        help_heading = "Preparing pictures",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub(crate) mean: Option<Vec<f64>>,
    /// Picture or table: divided by, one number or one a channel or column
    #[arg(
        long,
        value_name = "X,..",
        help_heading = "Preparing pictures",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub(crate) std: Option<Vec<f64>>,
    /// Picture: the order of channels, RGB or BGR
    #[arg(long, value_name = "ORDER", help_heading = "Preparing pictures", ignore_case = true)]
    pub(crate) order: Option<Order>,
    /// Names of the classes: a text file with one a line, or a JSON list
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
}

/// What is asked, whatever the method.
#[derive(Debug, Clone, Args)]
pub(crate) struct QuestionArgs {
    /// What is explained: a class by number or name, `predicted`, `max`, A:B (A against B), `channel 4`,
    /// `neuron 1,2,3`; behind `softmax`, `log-softmax` or `sigmoid` if wanted
    #[arg(long, default_value = "predicted", value_name = "TARGET")]
    pub(crate) target: String,
    /// Text: what is explained is the cosine of the model's output, an embedding, with that of this other text
    #[arg(long, value_name = "TEXT", requires = "texts", conflicts_with = "target")]
    pub(crate) similar_to: Option<String>,
    /// Whose influence: a layer by name or index, `input`, `logits` or `output`; `before:` takes its input.
    /// Without it the input, of a text the embeddings of its tokens
    #[arg(long, value_name = "LAYER")]
    pub(crate) layer: Option<String>,
    /// On what: likewise
    #[arg(long, default_value = "logits", value_name = "LAYER")]
    pub(crate) to: String,
    /// A parameter of the method (`attr methods NAME` lists them); METHOD.KEY=VALUE for one of several
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// What is compared with, for all methods that have a baseline: `zeros`, a number; text: `pad` (the default),
    /// `mask` or a token by name, in the place of each of its own; table: `mean`, of all rows of the file
    #[arg(long, value_name = "BASELINE", allow_hyphen_values = true)]
    pub(crate) baseline: Option<String>,
    /// For pattern-net and pattern-attribution: the model's patterns, as `attr patterns` writes them
    #[arg(long, value_name = "FILE")]
    pub(crate) patterns: Option<PathBuf>,
    /// The seed of methods that draw random numbers
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Bytes that one chunk of work may take, as 512MiB or 2GB
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// What is done with the attributions afterwards; of a text, before they are summed over each embedding
    #[arg(long, value_name = "abs|square|max-channels|norm")]
    pub(crate) post: Option<Post>,
}

/// How attributions are drawn.
#[derive(Debug, Clone, Args)]
pub(crate) struct ViewArgs {
    /// Colours: blue_red, seismic, purple_green.. around zero (the default where values have both signs);
    /// inferno, viridis, magma.. from zero on (the default where none is negative)
    #[arg(long, value_name = "NAME", help_heading = "Drawing")]
    pub(crate) colors: Option<String>,
    /// The percentile of magnitudes that has the strongest colour; 100 clips nothing
    #[arg(long, value_name = "PERCENT", default_value_t = 99.0, help_heading = "Drawing")]
    pub(crate) clip: f64,
    /// How much of the grey picture the heat map covers, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.7, help_heading = "Drawing")]
    pub(crate) opacity: f64,
}

/// What is done with attributions afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Post {
    /// Absolute values
    Abs,
    /// Squares
    Square,
    /// The largest value over the channels
    MaxChannels,
    /// The Euclidean norm over the channels
    Norm,
}

/// Reads a size in bytes: `2GiB`, `512 MiB`, `2GB`, `1000000`.
fn memory(text: &str) -> Result<u64, String> {
    let wrong = || "expected a size as 512MiB, 2GiB, 2GB or a number of bytes".to_string();
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    Ok((number * unit as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn memory_sizes() {
        let cases =
            [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("1.5 kb", 1500), ("7", 7), ("2GB", 2_000_000_000)];
        for (text, bytes) in cases {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "2 potatoes", "1.2.3GB", "-1"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }
}
