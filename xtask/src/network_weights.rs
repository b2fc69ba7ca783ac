//! The networks of `attr-networks` with weights that PyTorch wrote, held against PyTorch's own numbers.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use attr_candle::compile;
use attr_core::{Cut, Graph, ModelWrapper, Point, Precision, Tensor};
use attr_networks::{Options, Weights, build_with};
use ndarray::{ArrayD, Axis, Slice};

use crate::cache::Cache;
use crate::demo::root;
use crate::peers::{self, call};
use crate::torchvision::{Distance, Reference, Verdict, distances, in_a_cell, run_on, verdict};

/// Raised when the writing script changes, so that old files are made anew.
const VERSION: u32 = 2;

/// Some of each kind; any of [`attr_networks::NAMES`] can be asked for by name.
const NETWORKS: [&str; 16] = [
    "alexnet",
    "vgg11",
    "vgg13",
    "vgg16_bn",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "squeezenet1_0",
    "squeezenet1_1",
    "mobilenet_v2",
    "efficientnet_b0",
    "efficientnet_b3",
    "efficientnet_b5",
    "vit_b_16",
    "vit_b_32",
];

/// The largest difference in double precision that counts as equal. No file comes between the two here.
const EXACT: f64 = 1e-10;

/// Writes the weights that are missing, runs everything, and writes the table, unless it is of some networks only.
pub(crate) fn run(cache: &Cache, names: &[String]) -> Result<(), Box<dyn Error>> {
    let folder = cache.root().join(format!("networks-{VERSION}"));
    let chosen: Vec<_> = match names {
        [] => NETWORKS.to_vec(),
        _ => names.iter().map(String::as_str).collect(),
    };
    let (mut rows, mut equal) = (String::new(), 0);
    print!("{HEAD}");
    for name in &chosen {
        let files = folder.join(name);
        if !files.is_dir() {
            let python = peers::set_up(cache, &peers::TORCH)?;
            let script = root().join("xtask/python/network_weights.py");
            call(Command::new(python).arg(script).args([folder.as_path(), Path::new(name)]))?;
        }
        let answer = answer(name, &files).map_err(|error| in_a_cell(&error.to_string()));
        equal += usize::from(answer.as_ref().is_ok_and(|answer| answer.verdict() != Verdict::Differs));
        let row = row(name, &answer)?;
        print!("{row}");
        rows += &row;
    }
    let summary = format!("{equal} of {} networks agree with PyTorch.\n", chosen.len());
    print!("\n{summary}");
    if names.is_empty() {
        fs::write(root().join("docs/networks.md"), format!("{INTRODUCTION}\n{summary}\n{HEAD}{rows}"))?;
    }
    if equal == chosen.len() { Ok(()) } else { Err("not all of them agree with PyTorch".into()) }
}

/// How far we are from PyTorch, each the largest difference in parts of the largest number there.
struct Answer {
    /// Height and width.
    size: [usize; 2],
    layers: usize,
    modules: usize,
    single: Distance,
    double: Distance,
    /// The first row without the second, in double precision.
    alone: Distance,
    /// PyTorch's single precision from its own double precision.
    theirs: Distance,
    /// Of the modules' mean squares, in double precision, the largest difference in parts of the number itself.
    squares: f64,
}

impl Answer {
    fn verdict(&self) -> Verdict {
        match self.squares <= EXACT {
            true => verdict(self.single, self.double, self.alone, self.theirs, EXACT),
            false => Verdict::Differs,
        }
    }
}

fn answer(name: &str, folder: &Path) -> Result<Answer, Box<dyn Error>> {
    let reference = Reference::read(folder)?;
    let Reference { input, weights, .. } = &reference;
    let &[_, _, height, width] = input.shape() else { return Err("expected pictures".into()) };
    let options = Options { size: Some([height, width]) };
    let stored = Weights::read(folder.join("weights.safetensors"))?;
    if stored != Weights::read(folder.join("weights.pth"))? {
        return Err("the two files of weights differ".into());
    }
    let graph = build_with(name, &stored, &options)?;
    let theirs: BTreeMap<String, f64> = serde_json::from_slice(&fs::read(folder.join("modules.json"))?)?;
    let first = |array: &ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(..1)).to_owned();
    let single = run_on(graph.clone(), Precision::F32, input, weights)?;
    let double = run_on(graph.clone(), Precision::F64, input, weights)?;
    let alone = run_on(graph.clone(), Precision::F64, &first(input), weights)?;
    Ok(Answer {
        size: [height, width],
        layers: graph.nodes().len(),
        modules: theirs.len(),
        single: distances(&single, &reference.single),
        double: distances(&double, &reference.double),
        alone: distances(&alone, &reference.double.each_ref().map(first)),
        theirs: distances(&reference.single, &reference.double),
        squares: squares(graph, input, &theirs)?,
    })
}

/// How far the mean squares of what modules give are from theirs. An error names the modules that are no layers.
fn squares(graph: Graph, input: &ArrayD<f64>, theirs: &BTreeMap<String, f64>) -> Result<f64, Box<dyn Error>> {
    let unknown: Vec<_> =
        theirs.keys().filter(|name| graph.find(name).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("no layers are called {}", unknown.join(", ")).into());
    }
    let model = compile(graph, Precision::F64)?;
    let values = model.forward(Point::at(&[model.tensor(input)?]), &Cut::several(theirs.keys().cloned()))?;
    let mut furthest: f64 = 0.0;
    for (value, theirs) in values.iter().zip(theirs.values()) {
        let value = value.to_array()?;
        let ours = value.iter().map(|x| x * x).sum::<f64>() / value.len() as f64;
        let distance = (ours - theirs).abs() / theirs.abs();
        // Both may be zero; NaN is far away.
        furthest = furthest.max(match distance {
            _ if ours == *theirs => 0.0,
            distance if distance.is_finite() => distance,
            _ => f64::INFINITY,
        });
    }
    Ok(furthest)
}

fn row(name: &str, answer: &Result<Answer, String>) -> Result<String, std::fmt::Error> {
    let mut row = format!("| {name} | ");
    match answer {
        Ok(answer) => {
            let Answer { size: [height, width], layers, modules, single, double, alone, theirs, squares } =
                answer;
            writeln!(
                row,
                "{height} x {width} | {layers} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | {:.1e} | \
                 {squares:.1e} of {modules} | {} |",
                single.logits,
                theirs.logits,
                single.gradient,
                theirs.gradient,
                double.logits,
                double.gradient,
                alone.logits.max(alone.gradient),
                answer.verdict().text(),
            )?;
        }
        Err(reason) => writeln!(row, "- | - | - | - | - | - | - | - | - | - | {reason} |")?,
    }
    Ok(row)
}

const INTRODUCTION: &str = "\
# Networks in code

`cargo xtask network-weights` writes this page. PyTorch 2.13.0 writes the state of networks of torchvision 0.28.0, with random
weights of a fixed seed and ten classes, as safetensors files; `attr-networks` builds the networks, reads the weights, and
candle computes the logits of two rows and the gradient of a randomly weighted sum of the logits by the input. What counts as
equal, and what the verdicts say, is as in [torchvision.md](torchvision.md), but that in double precision 1e-10 is asked for:
no exporter comes between the two. **Modules** is the largest difference, in parts of the number itself, of the mean squares
of what PyTorch's modules give in double precision, each against the layer that is called by the module's path.

Pictures are small and mostly not square, so that the pooling before a classifier has windows of several lengths.
";

/// A row's figures are in the order of the text above.
const HEAD: &str = "\
| network | size | layers | logits | PyTorch's own | gradient | PyTorch's own | logits, double | gradient, double | one row | modules | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";
