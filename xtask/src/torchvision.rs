//! torchvision's networks, written as ONNX by both of PyTorch's exporters, held against PyTorch's own numbers.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use attr_candle::compile;
use attr_core::{Cut, Graph, ModelWrapper, Point, Precision, Tensor};
use ndarray::{ArrayD, Axis, Slice};
use serde::Deserialize;

use crate::cache::Cache;
use crate::demo::root;
use crate::peers::{self, call};

/// Raised when the exporting script changes, so that old files are made anew.
const VERSION: u32 = 2;

/// The networks, as torchvision calls them.
const NETWORKS: [&str; 19] = [
    "alexnet",
    "vgg16_bn",
    "resnet50",
    "squeezenet1_1",
    "densenet121",
    "inception_v3",
    "googlenet",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v2_x1_0",
    "mnasnet1_0",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "deeplabv3_resnet50",
    "fcn_resnet50",
];

/// What files there are of a network, and what the table calls them.
const EXPORTERS: [(&str, &str); 5] = [
    ("torchscript.onnx", "ONNX, TorchScript"),
    ("older.onnx", "ONNX, TorchScript, older"),
    ("dynamo.onnx", "ONNX, dynamo"),
    ("program.pt2", "torch.export"),
    ("core.pt2", "torch.export, decomposed"),
];

/// The largest difference to PyTorch's number, in parts of the largest of these, that counts as equal.
const SINGLE: f64 = 1e-4;
const DOUBLE: f64 = 1e-6;

/// Exports what is missing, opens and runs everything, and writes the table, unless it is of some networks only.
pub(crate) fn run(cache: &Cache, names: &[String]) -> Result<(), Box<dyn Error>> {
    let folder = cache.root().join(format!("torchvision-{VERSION}"));
    let mut table = Table::default();
    let chosen: Vec<_> = match names {
        [] => NETWORKS.to_vec(),
        _ => names.iter().map(String::as_str).collect(),
    };
    print!("{HEAD}");
    for name in chosen {
        let files = folder.join(name);
        if !files.is_dir() {
            let python = peers::set_up(cache, &peers::TORCH)?;
            let script = root().join("xtask/python/torchvision_export.py");
            call(Command::new(python).arg(script).args([folder.as_path(), Path::new(name)]))?;
        }
        for (file, exporter) in EXPORTERS {
            if let Some(comparison) = compare(&files, file)? {
                print!("{}", table.add(name, exporter, comparison)?);
            }
        }
    }
    let summary = table.summary();
    print!("\n{summary}");
    if names.is_empty() {
        fs::write(
            root().join("docs/torchvision.md"),
            format!("{INTRODUCTION}\n{summary}\n{HEAD}{}", table.rows),
        )?;
    }
    if table.equal == table.count { Ok(()) } else { Err("not all of them agree with PyTorch".into()) }
}

/// What is in a file, as ONNX's own reader says.
#[derive(Deserialize)]
struct Description {
    opset: u32,
    operators: std::collections::BTreeMap<String, usize>,
}

/// An exported file, and what came of it or why nothing did.
struct Comparison {
    description: Option<Description>,
    answer: Result<Answer, String>,
}

/// How far we are from PyTorch, each the largest difference in parts of the largest number there.
struct Answer {
    layers: usize,
    open: Duration,
    single: Distance,
    double: Distance,
    /// The first row without the second, in double precision.
    alone: Distance,
    /// PyTorch's single precision from its own double precision.
    theirs: Distance,
}

#[derive(Clone, Copy)]
pub(crate) struct Distance {
    pub(crate) logits: f64,
    pub(crate) gradient: f64,
}

/// Runs one exporter's file, if there is one; an error here is one of this command's own files.
fn compare(folder: &Path, file: &str) -> Result<Option<Comparison>, Box<dyn Error>> {
    let model = folder.join(file);
    let [description, failure] = ["json", "txt"].map(|kind| model.with_extension(kind));
    if failure.is_file() {
        let answer = Err(format!("the exporter failed: {}", in_a_cell(&fs::read_to_string(failure)?)));
        return Ok(Some(Comparison { description: None, answer }));
    }
    if !model.is_file() {
        return Ok(None);
    }
    let description = serde_json::from_slice(&fs::read(description)?)?;
    let answer = answer(&model, &Reference::read(folder)?);
    let answer = answer.map_err(|error| in_a_cell(&error.to_string()));
    Ok(Some(Comparison { description: Some(description), answer }))
}

/// The first line of a message, as far as a table has room for it.
pub(crate) fn in_a_cell(text: &str) -> String {
    const ROOM: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    let cut = if line.chars().count() > ROOM { "..." } else { "" };
    let shown: String = line.chars().take(ROOM).collect();
    format!("{}{cut}", shown.replace('|', "\\|"))
}

/// PyTorch's side: the question, and its answers in both precisions.
pub(crate) struct Reference {
    pub(crate) input: ArrayD<f64>,
    pub(crate) weights: ArrayD<f64>,
    pub(crate) single: [ArrayD<f64>; 2],
    pub(crate) double: [ArrayD<f64>; 2],
}

impl Reference {
    pub(crate) fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let single = |name: &str| -> Result<ArrayD<f64>, Box<dyn Error>> {
            let array: ArrayD<f32> = ndarray_npy::read_npy(folder.join(format!("{name}.npy")))?;
            Ok(array.mapv(f64::from))
        };
        let double = |name: &str| ndarray_npy::read_npy(folder.join(format!("{name}.npy")));
        Ok(Self {
            input: single("input")?,
            weights: single("weights")?.insert_axis(Axis(0)),
            single: [single("logits")?, single("gradient")?],
            double: [double("logits64")?, double("gradient64")?],
        })
    }
}

fn answer(path: &Path, reference: &Reference) -> Result<Answer, Box<dyn Error>> {
    let start = Instant::now();
    let graph = match path.extension().is_some_and(|ending| ending == "pt2") {
        true => attr_pt2::read(path)?,
        false => attr_onnx::read(path)?,
    };
    let open = start.elapsed();
    let layers = graph.nodes().len();
    let Reference { input, weights, .. } = reference;
    let single = distances(&run_on(graph.clone(), Precision::F32, input, weights)?, &reference.single);
    let first = |array: &ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(..1)).to_owned();
    let both = run_on(graph.clone(), Precision::F64, input, weights)?;
    let alone = run_on(graph, Precision::F64, &first(input), weights)?;
    Ok(Answer {
        theirs: distances(&reference.single, &reference.double),
        layers,
        open,
        single,
        double: distances(&both, &reference.double),
        alone: distances(&alone, &reference.double.each_ref().map(first)),
    })
}

/// The logits, and the gradient of their weighted sum by the input.
pub(crate) fn run_on(
    graph: Graph,
    precision: Precision,
    input: &ArrayD<f64>,
    weights: &ArrayD<f64>,
) -> attr_core::Result<[ArrayD<f64>; 2]> {
    let model = compile(graph, precision)?;
    let x = [model.tensor(input)?];
    let mut logits = None;
    let gradient = model.gradient(Point::at(&x), &Cut::input(), &Cut::output(), &mut |upper| {
        let value = upper[0].to_array()?;
        let cotangent = model.tensor(
            &weights
                .broadcast(value.raw_dim())
                .map_or_else(|| ArrayD::zeros(value.raw_dim()), |weights| weights.to_owned()),
        )?;
        logits = Some(value);
        Ok(vec![cotangent])
    })?;
    let logits = logits.expect("BUG: the values at the output have not been seen");
    Ok([logits, gradient.gradients[0].to_array()?])
}

pub(crate) fn distances(ours: &[ArrayD<f64>; 2], theirs: &[ArrayD<f64>; 2]) -> Distance {
    Distance { logits: distance(&ours[0], &theirs[0]), gradient: distance(&ours[1], &theirs[1]) }
}

/// The largest difference in parts of the largest number; infinite where the shapes differ, a number is none, or all
/// of theirs are zero.
fn distance(ours: &ArrayD<f64>, theirs: &ArrayD<f64>) -> f64 {
    let largest = theirs.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let differences = || ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    if ours.shape() != theirs.shape() || largest == 0.0 || !differences().all(f64::is_finite) {
        return f64::INFINITY;
    }
    differences().fold(0.0, f64::max) / largest
}

impl Distance {
    fn within(self, tolerance: f64) -> bool {
        self.logits <= tolerance && self.gradient <= tolerance
    }
}

/// The rows so far.
#[derive(Default)]
struct Table {
    rows: String,
    count: usize,
    equal: usize,
}

impl Table {
    /// Adds a row and gives it.
    fn add(&mut self, name: &str, exporter: &str, comparison: Comparison) -> Result<String, std::fmt::Error> {
        let mut row = format!("| {name} | {exporter} | ");
        match &comparison.description {
            Some(Description { opset, operators }) => {
                write!(
                    row,
                    "{opset} | {} of {} kinds | ",
                    operators.values().sum::<usize>(),
                    operators.len()
                )?;
            }
            None => row += "- | - | ",
        }
        match &comparison.answer {
            Ok(Answer { layers, open, single, double, alone, theirs }) => {
                let verdict = verdict(*single, *double, *alone, *theirs, DOUBLE);
                self.equal += usize::from(verdict != Verdict::Differs);
                writeln!(
                    row,
                    "{layers} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.2} s | {} |",
                    single.logits,
                    theirs.logits,
                    single.gradient,
                    theirs.gradient,
                    double.logits,
                    double.gradient,
                    alone.logits.max(alone.gradient),
                    open.as_secs_f64(),
                    verdict.text(),
                )?;
            }
            Err(reason) => writeln!(row, "- | - | - | - | - | - | - | - | - | {reason} |")?,
        }
        self.count += 1;
        self.rows += &row;
        Ok(row)
    }

    fn summary(&self) -> String {
        format!("{} of {} files agree with PyTorch.\n", self.equal, self.count)
    }
}

/// What a row's figures say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// In both precisions.
    Equal,
    /// In double precision; in single precision rounding has taken a unit across a kink.
    EqualButForKinks,
    /// In double precision; in single precision rounding adds up to more than counts as equal, in PyTorch as well.
    EqualButForRounding,
    Differs,
}

/// `exact` is what counts as equal in double precision.
pub(crate) fn verdict(
    single: Distance,
    double: Distance,
    alone: Distance,
    theirs: Distance,
    exact: f64,
) -> Verdict {
    match (double.within(exact) && alone.within(exact), single.within(SINGLE)) {
        (true, true) => Verdict::Equal,
        (true, false) if single.logits <= SINGLE => Verdict::EqualButForKinks,
        // Each of the two is rounded.
        (true, false) if single.logits <= 2.0 * theirs.logits => Verdict::EqualButForRounding,
        _ => Verdict::Differs,
    }
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::EqualButForKinks => "equal but for kinks",
            Verdict::EqualButForRounding => "equal but for rounding",
            Verdict::Differs => "differs",
        }
    }
}

const INTRODUCTION: &str = "\
# torchvision's networks

`cargo xtask torchvision` writes this page. PyTorch 2.13.0 exports networks of torchvision 0.28.0, with random weights of a
fixed seed, by both of its exporters, as these work unless told otherwise; and some networks with an older operator set, in
which layer norms, GELUs, hard-swishes and attention are chains of simpler operators; and as programs of `torch.export`, of
which some are decomposed into core operators. All files have a batch of any length,
those of the dynamo exporter have their weights in a second file. Each is opened, run on candle, and compared with what
PyTorch computes: the logits of two rows, and the gradient of a randomly weighted sum of the logits by the input. A figure is
the largest difference in parts of PyTorch's largest number.

- In **single precision** 1e-4 counts as equal. Rounding takes some units of deep networks to the other side of a kink, of a
  ReLU or a max pooling, where the derivative jumps; each way of computing rounds differently, so there the gradients differ
  by more although both are right. Double precision, which hardly ever does that, tells this from an error: such a network is
  *equal but for kinks* if it is equal there and its logits are equal in single precision, too. **PyTorch's own** is how
  far its numbers in single precision are from its own in double precision. *Equal but for rounding* is a network that is
  equal in double precision and whose logits are in single precision at most twice as far from PyTorch's as those are from
  PyTorch's in double precision.
- In **double precision** 1e-6 counts as equal. What is above rounding comes from the files, which have constants such as the
  scale of attention, 1/6 or the epsilon of a norm in single precision. (Batch norms are chosen such that the exporters
  fold them into convolutions without rounding, or else the weights in the file would be others than PyTorch's.)
- **One row** is the first row alone, in double precision, against PyTorch's numbers for both.

Images have 224 pixels on each side, Inception's 299, the segmenters' 131, which no resize divides.
";

/// A row's figures are in the order of the text above.
const HEAD: &str = "\
| network | exporter | operator set | operators | layers | logits | PyTorch's own | gradient | PyTorch's own | logits, double | gradient, double | one row | opens in | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn a_distance_is_the_largest_difference_in_parts_of_the_largest_number() {
        let distance =
            |ours: &[f64], theirs: &[f64]| distance(&arr1(ours).into_dyn(), &arr1(theirs).into_dyn());
        assert_eq!(distance(&[1.0, -3.5], &[1.5, -4.0]), 0.125);
        for (ours, theirs) in
            [(&[f64::NAN, 1.0][..], &[1.0, 1.0]), (&[1.0], &[1.0, 1.0]), (&[0.0, 0.0], &[0.0, 0.0])]
        {
            assert_eq!(distance(ours, theirs), f64::INFINITY, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn only_kinks_excuse_a_gradient() {
        let at = |logits, gradient| Distance { logits, gradient };
        let (good, exact) = (at(1e-6, 1e-6), at(1e-15, 1e-15));
        let verdict = |single, double, alone| super::verdict(single, double, alone, at(1e-4, 1e-2), DOUBLE);
        assert_eq!(verdict(good, exact, exact), Verdict::Equal);
        assert_eq!(verdict(at(1e-6, 1e-2), exact, exact), Verdict::EqualButForKinks);
        assert_eq!(verdict(at(1.9e-4, 1e-2), exact, exact), Verdict::EqualButForRounding);
        for (single, double, alone) in [
            (at(1e-3, 1e-2), exact, exact),
            (at(1e-6, 1e-2), at(1e-15, 1e-5), exact),
            (good, at(1e-5, 1e-15), exact),
            (good, exact, at(1e-15, f64::INFINITY)),
        ] {
            assert_eq!(verdict(single, double, alone), Verdict::Differs);
        }
    }

    #[test]
    fn a_long_reason_is_cut() {
        assert_eq!(in_a_cell("layer \"a|b\"\nbacktrace"), "layer \"a\\|b\"");
        let long = in_a_cell(&"é".repeat(301));
        assert_eq!((long.chars().count(), long.ends_with("é...")), (303, true));
    }
}
