//! Integrated gradients on libtorch, beside Captum's, on the same weights.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::comparison::{Comparison, Figures, measure};
use super::{ROUNDS, THREADS};
use crate::cache::Cache;
use crate::demo::{built, root};
use crate::framework::LIBTORCH;
use crate::peers::call;

/// What is measured: the row's name, the name that the script knows, and the repeats a round.
const NETWORKS: [(&str, &str, &str); 3] = [
    ("VGG16", "vgg16", "1"),
    ("ResNet-18", "resnet18", "3"),
    ("ResNet-18, batch norm in the file", "resnet18+bn", "3"),
];

/// Captum's internal batch sizes: all are tried in the first round, the fastest is kept.
const BATCHES: [&str; 6] = ["1", "5", "10", "16", "25", "50"];

/// Raised when the exported networks change.
const VERSION: u32 = 1;

/// Measures the table.
pub(super) fn table(cache: &Cache, python: &Path) -> Result<String, Box<dyn Error>> {
    let (name, value) = LIBTORCH.set_up(cache)?;
    let build = ["build", "--release", "--package", "attr-torch", "--example", "integrated_gradients"];
    call(Command::new(env!("CARGO")).args(build).env(name, value).current_dir(root()))?;
    let ours = built("release", "examples/integrated_gradients");
    let script = script();
    let (mut rows, mut tried) = (String::new(), String::new());
    for (network, name, repeats) in NETWORKS {
        let model = export(cache, python, name)?;
        let ours = |round| {
            println!("integrated gradients, {network}, round {round} of {ROUNDS}");
            measure(Command::new(&ours).arg(&model).args([repeats, THREADS]))
        };
        let theirs = |batch: &str| {
            println!("Captum with internal batch size {batch}");
            measure(Command::new(python).arg(&script).args(["measure", name, repeats, THREADS, batch]))
        };
        let (comparison, sizes) = beside_fastest(&BATCHES, ours, theirs)?;
        rows += &comparison.rows(&format!("{network}, "));
        tried += &format!("- {network}: {sizes}\n");
    }
    Ok(format!(
        "Integrated gradients with 50 steps, one image of 224 px, f32, {THREADS} threads, the same random \
         weights; best of all rounds, ratio: median over rounds. ResNet-18's batch norm is folded into its \
         convolutions, by the exporter or, where the file still has it, by `Graph::fold_batch_norm`; in \
         Captum's model it stays.\n\n\
         | | attr-torch | Captum 0.9 | ratio |\n| --- | --- | --- | --- |\n{rows}\n\
         Captum's internal batch sizes, in the first round:\n\n{tried}"
    ))
}

/// Compares with the fastest of the batch sizes of a peer, all of which are tried in the first round; and what each of
/// them took.
pub(super) fn beside_fastest(
    batches: &[&str],
    ours: impl Fn(usize) -> Result<Figures, Box<dyn Error>>,
    theirs: impl Fn(&str) -> Result<Figures, Box<dyn Error>>,
) -> Result<(Comparison, String), Box<dyn Error>> {
    let mut comparison = Comparison::default();
    let first = ours(1)?;
    let all = batches
        .iter()
        .map(|&batch| Ok((batch, theirs(batch)?)))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let fastest = all.iter().min_by(|(_, a), (_, b)| seconds(a).total_cmp(&seconds(b)));
    let (batch, figures) = fastest.expect("BUG: no batch size");
    comparison.add(&first, figures)?;
    for round in 2..=ROUNDS {
        comparison.add(&ours(round)?, &theirs(batch)?)?;
    }
    Ok((comparison, format!("{}; best {batch}", listed(&all))))
}

fn seconds(figures: &Figures) -> f64 {
    figures.get("integrated gradients").map_or(f64::INFINITY, |figure| figure.value)
}

/// Every batch size with its time and memory.
fn listed(all: &[(&str, Figures)]) -> String {
    let one = |(batch, figures): &(&str, Figures)| {
        let of = |name| figures.get(name).map(ToString::to_string).unwrap_or_default();
        format!("{batch}: {}, {}", of("integrated gradients"), of("peak memory"))
    };
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn script() -> PathBuf {
    root().join("xtask/python/integrated_gradients.py")
}

/// The network as an ONNX file, written once into the cache.
pub(super) fn export(cache: &Cache, python: &Path, name: &str) -> Result<PathBuf, Box<dyn Error>> {
    written_once(cache, &format!("{name}.onnx"), |part| {
        call(Command::new(python).arg(script()).args(["export", name]).arg(part))
    })
}

/// A model in the cache, a file or a folder, which is written under another name if it is not there yet.
pub(super) fn written_once(
    cache: &Cache,
    name: &str,
    write: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>,
) -> Result<PathBuf, Box<dyn Error>> {
    let folder = cache.root().join(format!("bench-{VERSION}"));
    let model = folder.join(name);
    if !model.exists() {
        fs::create_dir_all(&folder)?;
        let part = folder.join(format!("{name}.{}.part", std::process::id()));
        let written = write(&part).and_then(|()| Ok(fs::rename(&part, &model)?));
        if let Err(error) = written {
            let _ = if part.is_dir() { fs::remove_dir_all(&part) } else { fs::remove_file(&part) };
            return Err(error);
        }
    }
    Ok(model)
}
