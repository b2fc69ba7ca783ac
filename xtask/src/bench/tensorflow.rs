//! Integrated gradients on libtensorflow, beside a `tf.function` with a `GradientTape`.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::comparison::measure;
use super::integrated_gradients::{beside_fastest, export, written_once};
use super::{ROUNDS, THREADS};
use crate::cache::Cache;
use crate::demo::{built, root};
use crate::framework::LIBTENSORFLOW;
use crate::peers::{self, call};

/// The example, which takes a SavedModel or an ONNX file. Cargo wants a name that no other package's has.
const EXAMPLE: &str = "integrated_gradients_tf";

/// How many points are one call in Python: all are tried in the first round, the fastest is kept.
const BATCHES: [&str; 3] = ["5", "10", "25"];

/// Rows of one chunk here, the fastest of a few.
const ROWS: &str = "10";

/// Repeats a round.
const REPEATS: &str = "1";

/// Measures the table. `torch` is the Python that exports layer graphs.
pub(super) fn table(cache: &Cache, torch: &Path) -> Result<String, Box<dyn Error>> {
    let (name, value) = LIBTENSORFLOW.set_up(cache)?;
    let build = ["build", "--release", "--package", "attr-tf", "--example", EXAMPLE];
    call(Command::new(env!("CARGO")).args(build).current_dir(root()))?;
    let example = built("release", &format!("examples/{EXAMPLE}"));
    let python = peers::set_up(cache, &peers::TENSORFLOW)?;
    let script = root().join("xtask/python/tensorflow_gradient.py");
    let saved = written_once(cache, "vgg16.savedmodel", |part| {
        call(Command::new(&python).arg(&script).arg("export").arg(part))
    })?;
    let (mut rows, mut tried) = (String::new(), String::new());
    for (kind, model) in [("SavedModel", &saved), ("layer graph", &export(cache, torch, "vgg16")?)] {
        let ours = |round| {
            println!("integrated gradients on TensorFlow, {kind}, round {round} of {ROUNDS}");
            measure(Command::new(&example).arg(model).args([REPEATS, THREADS, ROWS]).env(name, &value))
        };
        let theirs = |batch: &str| {
            println!("tf.function with {batch} points a call");
            measure(Command::new(&python).arg(&script).args(["measure", REPEATS, THREADS, batch]))
        };
        let (comparison, sizes) = beside_fastest(&BATCHES, ours, theirs)?;
        rows += &comparison.rows(&format!("{kind}, "));
        tried += &format!("- beside the {kind}: {sizes}\n");
    }
    Ok(format!(
        "Integrated gradients with 50 steps on VGG16, one image of 224 px, f32, {THREADS} threads, random weights; \
         best of all rounds, ratio: median over rounds\n\n\
         | | attr-tf | tf.function, TensorFlow 2.16 | ratio |\n| --- | --- | --- | --- |\n{rows}\n\
         Points a call in Python, in the first round:\n\n{tried}"
    ))
}
