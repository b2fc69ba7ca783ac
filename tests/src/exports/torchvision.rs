//! torchvision's networks, as PyTorch exports them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use attr_core::{ErasedModel, Graph, Precision, Qoi, Reduce, Run, Settings, Slice};
use ndarray::{ArrayD, Axis};
use serde::Deserialize;

use super::{Figures, Reference, Verdict, distance, in_a_cell};

/// What files there are of a network, and what the table calls them.
const EXPORTERS: [(&str, &str); 5] = [
    ("torchscript.onnx", "ONNX, TorchScript"),
    ("older.onnx", "ONNX, TorchScript, older"),
    ("dynamo.onnx", "ONNX, dynamo"),
    (PROGRAM, "torch.export"),
    ("core.pt2", "torch.export, decomposed"),
];

/// The file whose attributions are held against those of all others.
const PROGRAM: &str = "program.pt2";

/// What is asked of each file in double precision: the method, and its settings where they are not the defaults.
const METHODS: [(&str, &[(&str, &str)]); 6] = [
    ("gradient", &[]),
    ("integrated-gradients", &[("steps", "4")]),
    ("guided-backprop", &[]),
    ("lrp", &[]),
    ("deeplift", &[]),
    ("fullgrad", &[]),
];

/// FullGrad is of the biases that there are. Exporters to ONNX fold those of batch norms, which is done here, too, and make
/// masks of Swin's tables of biases for places; decomposed programs have rows where there were places: it isn't asked of these.
const OTHER_BIASES: [(&str, &str); 2] = [("swin_t", ""), ("", "core.pt2")];

/// What counts as equal in double precision; of attributions, what counts as the same.
const DOUBLE: f64 = 1e-6;
const SAME: f64 = 1e-5;

/// Opens and runs all files of these networks in a folder; gives the page, row by row to `tell` first, and whether all is
/// equal.
pub fn compare(
    folder: &Path,
    names: &[String],
    mut tell: impl FnMut(&str),
) -> Result<(String, bool), Box<dyn Error>> {
    let (mut rows, mut count, mut equal) = (String::new(), 0, 0);
    let head =
        Figures::head("| network | exporter | version | operators | layers | opens in | attributions | ");
    tell(&head);
    for name in names {
        let reference = Reference::read(&folder.join(name))?;
        let mut first = None;
        // The program comes first, and its row in its place.
        let mut files = EXPORTERS.to_vec();
        files.sort_by_key(|&(file, _)| file != PROGRAM);
        let mut own = Vec::new();
        for (file, exporter) in files {
            let Some(opened) = Opened::file(&folder.join(name).join(file))? else { continue };
            let same_biases =
                !OTHER_BIASES.iter().any(|other| *other == (name.as_str(), "") || *other == ("", file));
            let compared = opened.compare(same_biases, &reference, &mut first);
            count += 1;
            equal += usize::from(compared.as_ref().is_ok_and(|compared| compared.is_equal()));
            own.push((exporter, opened.row(name, exporter, &compared)?));
        }
        own.sort_by_key(|&(exporter, _)| EXPORTERS.iter().position(|&(_, other)| other == exporter));
        for (_, row) in own {
            tell(&row);
            rows += &row;
        }
    }
    let summary = format!("{equal} of {count} files agree with PyTorch.\n");
    tell(&format!("\n{summary}"));
    Ok((format!("{INTRODUCTION}\n{summary}\n{head}{rows}"), equal == count))
}

/// What is in a file, as ONNX's own reader or the archive says.
#[derive(Deserialize)]
struct Description {
    opset: u32,
    operators: BTreeMap<String, usize>,
}

/// An exported file, and the graph in it or why there is none.
struct Opened {
    description: Option<Description>,
    graph: Result<Graph, String>,
    /// How long it took.
    time: Duration,
}

/// How near a file is to PyTorch.
struct Compared {
    figures: Figures,
    /// How far its attributions are from the program's; of the program itself none.
    attributions: Option<Furthest>,
}

impl Compared {
    fn is_equal(&self) -> bool {
        let same =
            self.attributions.is_none_or(|Furthest { distance, count, .. }| distance <= SAME && count > 0);
        same && self.figures.verdict(DOUBLE) != Verdict::Differs
    }
}

impl Opened {
    /// One exporter's file, if there is one; an error here is one of the exports' own.
    fn file(path: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let [description, failure] = ["json", "txt"].map(|kind| path.with_extension(kind));
        if failure.is_file() {
            let graph = Err(format!("the exporter failed: {}", fs::read_to_string(failure)?));
            return Ok(Some(Opened { description: None, graph, time: Duration::ZERO }));
        }
        if !path.is_file() {
            return Ok(None);
        }
        let start = Instant::now();
        let graph = match path.extension().is_some_and(|ending| ending == "pt2") {
            true => attr_pt2::read(path).map_err(|error| error.to_string()),
            false => attr_onnx::read(path).map_err(|error| error.to_string()),
        };
        let description = serde_json::from_slice(&fs::read(description)?)?;
        Ok(Some(Opened { description: Some(description), graph, time: start.elapsed() }))
    }

    /// Runs it; what the first file of a network is asked stays in `first`.
    fn compare(
        &self,
        same_biases: bool,
        reference: &Reference,
        first: &mut Option<Attributions>,
    ) -> Result<Compared, String> {
        let graph = self.graph.as_ref().map_err(String::clone)?;
        let text = |error: attr_core::Error| error.to_string();
        let figures = reference.figures(graph).map_err(text)?;
        let input = reference.input.index_axis(Axis(0), 0).insert_axis(Axis(0)).to_owned();
        let own = Attributions::of(same_biases, graph, &input)?;
        let attributions = first.as_ref().map(|first| own.furthest(first));
        first.get_or_insert(own);
        Ok(Compared { figures, attributions })
    }

    fn row(
        &self,
        name: &str,
        exporter: &str,
        compared: &Result<Compared, String>,
    ) -> Result<String, std::fmt::Error> {
        let mut row = format!("| {name} | {exporter} | ");
        match &self.description {
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
        match (compared, &self.graph) {
            (Ok(compared), Ok(graph)) => {
                let attributions = match compared.attributions {
                    Some(Furthest { distance, count, method }) if distance > SAME => {
                        format!("{distance:.1e} of {count} ({method})")
                    }
                    Some(Furthest { distance, count, .. }) => format!("{distance:.1e} of {count}"),
                    None => "-".into(),
                };
                let verdict = match compared.is_equal() {
                    true => compared.figures.verdict(DOUBLE),
                    false => Verdict::Differs,
                };
                let (layers, seconds) = (graph.nodes().len(), self.time.as_secs_f64());
                let figures = compared.figures.cells();
                writeln!(row, "{layers} | {seconds:.2} s | {attributions} | {figures}{} |", verdict.text())?;
            }
            (Err(reason), _) | (_, Err(reason)) => {
                writeln!(row, "{}{} |", "- | ".repeat(12), in_a_cell(reason))?;
            }
        }
        Ok(row)
    }
}

/// What each method says of a file, or that it refuses it.
struct Attributions(Vec<Option<ArrayD<f64>>>);

impl Attributions {
    fn of(same_biases: bool, graph: &Graph, input: &ArrayD<f64>) -> Result<Self, String> {
        let compiled = |graph: Graph| attr_candle::compile(graph, Precision::F64);
        let text = |error: attr_core::Error| error.to_string();
        let model = compiled(graph.clone()).map_err(text)?;
        let folded = graph.fold_batch_norm().and_then(compiled).map_err(text)?;
        // A segmenter has a map for each class.
        let has_maps = graph.node(graph.outputs()[0]).shape.rank() > 2;
        let quantity = if has_maps {
            Qoi::Channel { channels: vec![0], reduce: Reduce::Sum }
        } else {
            Qoi::PredictedClass
        };
        let ask = |&(method, values): &(&str, &[(&str, &str)])| {
            let values = values.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            let settings = Settings { values, ..Settings::default() };
            if method == "fullgrad" && !same_biases {
                return None;
            }
            let model: &dyn ErasedModel = if method == "fullgrad" { &folded } else { &model };
            let (inputs, slice, run) = (std::slice::from_ref(input), Slice::full(), Run::default());
            let answer = model.attribute(method, &settings, inputs, &slice, &quantity, &run);
            answer.ok()?.values.into_iter().next()
        };
        Ok(Attributions(METHODS.iter().map(ask).collect()))
    }

    fn furthest(&self, other: &Self) -> Furthest {
        let mut furthest = Furthest { distance: 0.0, method: METHODS[0].0, count: 0 };
        for (pair, (method, _)) in self.0.iter().zip(&other.0).zip(METHODS) {
            let (Some(ours), Some(theirs)) = pair else { continue };
            let distance = distance(ours, theirs);
            furthest.count += 1;
            if distance > furthest.distance {
                furthest = Furthest { distance, method, ..furthest };
            }
        }
        furthest
    }
}

/// The attributions that are furthest from another file's.
#[derive(Clone, Copy)]
struct Furthest {
    distance: f64,
    method: &'static str,
    /// How many methods answer both.
    count: usize,
}

const INTRODUCTION: &str = "\
# torchvision's networks

`cargo xtask torchvision` writes this page. PyTorch 2.13.0 exports networks of torchvision 0.28.0, with random weights of a
fixed seed, by both of its exporters to ONNX, as these work unless told otherwise; some networks with an older operator set,
in which layer norms, GELUs, hard-swishes and attention are chains of simpler operators; and as programs of `torch.export`,
some of them decomposed into core operators. All files have a batch of any length, those of the dynamo exporter have their
weights in a second file. Each is opened, run on candle and on libtorch, and compared with what PyTorch computes: the logits
of two rows, and the gradient of a randomly weighted sum of the logits by the input. A figure is the largest difference in
parts of PyTorch's largest number.

- In **single precision** 1e-4 counts as equal on candle, 1e-5 on libtorch, which is what PyTorch computes with. Rounding
  takes some units of deep networks to the other side of a kink, of a ReLU or a max pooling, where the derivative jumps; each
  way of computing rounds differently, so there the gradients differ by more although both are right. Double precision, which
  hardly ever does that, tells this from an error: such a network is *equal but for kinks* if it is equal there and its logits
  are equal in single precision, too.
- **Rounding** is how far the logits in single precision are from PyTorch's in double precision: those of candle, of libtorch
  and of PyTorch itself; beside it how far PyTorch's own gradient is. *Equal but for rounding* is a network that is equal in
  double precision, and whose logits are rounded by at most four times as much as PyTorch's own (sums in another order).
- In **double precision** 1e-6 counts as equal, of the logits and of the gradient. What is above rounding comes from the files,
  which have constants such as the scale of attention, 1/6 or the epsilon of a norm in single precision. (Batch norms are
  chosen such that the exporters fold them into convolutions without rounding, or else the weights in the file would be others
  than PyTorch's.)
- **One row** is the first row alone, on candle in double precision, against PyTorch's numbers for both.
- **Attributions** are those of the first row (of the segmenters, of one class's whole map) by gradient, integrated gradients,
  guided backpropagation, LRP, DeepLIFT and FullGrad, on candle in double precision: how far those through this file are from those through the program of
  `torch.export`, the furthest, and of how many methods (some refuse some networks). 1e-5 counts as the same. FullGrad is of
  the biases that a network has, and exporters to ONNX fold batch norms into others: it is asked with all of them folded, and
  not of Swin, whose tables of biases for places become masks, nor of decomposed programs, which have rows where there were
  places.

Images have 224 pixels on each side, Inception's 299, the segmenters' 131, which no resize divides.
";

#[cfg(test)]
mod tests {
    use attr_core::methods;

    #[test]
    fn the_methods_are_there() {
        for (method, settings) in super::METHODS {
            let entry = methods::catalogue().into_iter().find(|entry| entry.name == method);
            let entry = entry.unwrap_or_else(|| panic!("{method}"));
            assert!(settings.iter().all(|(key, _)| entry.has(key)), "{method}");
        }
    }
}
