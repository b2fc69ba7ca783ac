//! The networks of `attr-networks` with weights that PyTorch wrote, held against PyTorch's own numbers.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use attr_candle::compile;
use attr_core::{Cut, Graph, ModelWrapper, Point, Precision, Tensor};
use attr_networks::{Options, Weights, build_with};
use ndarray::ArrayD;

use super::{Figures, Reference, Verdict, in_a_cell};

/// The largest difference in double precision that counts as equal. No file comes between the two here.
const EXACT: f64 = 1e-10;

/// Builds and runs these networks with the weights in a folder; gives the page, row by row to `tell` first, and whether all
/// are equal.
pub fn compare(
    folder: &Path,
    names: &[String],
    mut tell: impl FnMut(&str),
) -> Result<(String, bool), Box<dyn Error>> {
    let (mut rows, mut equal) = (String::new(), 0);
    let head = Figures::head("| network | size | layers | modules | ");
    tell(&head);
    for name in names {
        let compared =
            Compared::network(name, &folder.join(name)).map_err(|error| in_a_cell(&error.to_string()));
        equal += usize::from(compared.as_ref().is_ok_and(|compared| compared.verdict() != Verdict::Differs));
        let row = match compared {
            Ok(compared) => compared.row(name),
            Err(reason) => format!("| {name} | {}{reason} |\n", "- | ".repeat(12)),
        };
        tell(&row);
        rows += &row;
    }
    let summary = format!("{equal} of {} networks agree with PyTorch.\n", names.len());
    tell(&format!("\n{summary}"));
    Ok((format!("{INTRODUCTION}\n{summary}\n{head}{rows}"), equal == names.len()))
}

/// How near a network is to PyTorch.
struct Compared {
    /// Height and width.
    size: [usize; 2],
    layers: usize,
    modules: usize,
    figures: Figures,
    /// Of the modules' mean squares, in double precision, the largest difference in parts of the number itself.
    squares: f64,
}

impl Compared {
    fn network(name: &str, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let reference = Reference::read(folder)?;
        let &[_, _, height, width] = reference.input.shape() else { return Err("expected pictures".into()) };
        let options = Options { size: Some([height, width]) };
        let stored = Weights::read(folder.join("weights.safetensors"))?;
        if stored != Weights::read(folder.join("weights.pth"))? {
            return Err("the two files of weights differ".into());
        }
        let graph = build_with(name, &stored, &options)?;
        let theirs: BTreeMap<String, f64> = serde_json::from_slice(&fs::read(folder.join("modules.json"))?)?;
        Ok(Compared {
            size: [height, width],
            layers: graph.nodes().len(),
            modules: theirs.len(),
            figures: reference.figures(&graph)?,
            squares: squares(graph, &reference.input, &theirs)?,
        })
    }

    fn verdict(&self) -> Verdict {
        if self.squares <= EXACT { self.figures.verdict(EXACT) } else { Verdict::Differs }
    }

    fn row(&self, name: &str) -> String {
        let Compared { size: [height, width], layers, modules, figures, squares } = self;
        let (figures, verdict) = (figures.cells(), self.verdict().text());
        format!(
            "| {name} | {height} x {width} | {layers} | {squares:.1e} of {modules} | {figures}{verdict} |\n"
        )
    }
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

const INTRODUCTION: &str = "\
# Networks in code

`cargo xtask network-weights` writes this page. PyTorch 2.13.0 writes the state of networks of torchvision 0.28.0, with random
weights of a fixed seed and ten classes, as safetensors files and as checkpoints of a training, which must hold the same;
`attr-networks` builds the networks and reads the weights, and candle and libtorch compute the logits of two rows and the
gradient of a randomly weighted sum of the logits by the input. What counts as equal, and what the verdicts say, is as in
[torchvision.md](torchvision.md), but that in double precision 1e-10 is asked for: no exporter comes between the two.
**Modules** is the largest difference, in parts of the number itself, of the mean squares of what PyTorch's modules give in
double precision, each against the layer that is called by the module's path.

Pictures are small and mostly not square, so that the pooling before a classifier has windows of several lengths.
";
