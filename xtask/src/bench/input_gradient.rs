//! The input gradient of VGG16, beside PyTorch's.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::comparison::{Comparison, measure, without_side};
use super::{ROUNDS, THREADS};
use crate::demo::{built, root};
use crate::peers::call;

/// Images a batch, and repeats a round.
const WORK: [&str; 2] = ["1,8", "3"];

/// Measures the table.
pub(super) fn table(python: &Path) -> Result<String, Box<dyn Error>> {
    let build = ["build", "--release", "--package", "attr-candle", "--example", "vgg16"];
    call(Command::new(env!("CARGO")).args(build).current_dir(root()))?;
    let ours = built("release", "examples/vgg16");
    let script = root().join("xtask/python/vgg16_gradient.py");
    let mut comparison = Comparison::default();
    for round in 1..=ROUNDS {
        println!("input gradient, round {round} of {ROUNDS}");
        let ours = measure(Command::new(&ours).args(WORK).env("RAYON_NUM_THREADS", THREADS))?;
        let theirs = measure(Command::new(python).arg(&script).args(WORK).arg(THREADS))?;
        comparison.add(&without_side(ours), &without_side(theirs))?;
    }
    Ok(format!(
        "Input gradient of VGG16 at 224 px, f32, {THREADS} threads; best of all rounds, ratio: median over \
         rounds\n\n| | attr-candle | PyTorch 2.13 | ratio |\n| --- | --- | --- | --- |\n{}",
        comparison.rows("")
    ))
}
