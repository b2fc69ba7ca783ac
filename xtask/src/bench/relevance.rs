//! Relevance by the rules that Zennit calls EpsilonPlusFlat, beside Zennit.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::comparison::{Comparison, measure, without_side};
use super::integrated_gradients::export;
use super::{ROUNDS, THREADS};
use crate::cache::Cache;
use crate::demo::{built, root};
use crate::framework::LIBTORCH;
use crate::peers::call;

const RULES: &str = "epsilon-plus-flat";

/// Repeats a round.
const REPEATS: &str = "3";

/// Measures the table.
pub(super) fn table(cache: &Cache, python: &Path) -> Result<String, Box<dyn Error>> {
    let (name, value) = LIBTORCH.set_up(cache)?;
    for (package, example) in [("attr-candle", "vgg16"), ("attr-torch", "integrated_gradients")] {
        let build = ["build", "--release", "--package", package, "--example", example];
        call(Command::new(env!("CARGO")).args(build).env(name, &value).current_dir(root()))?;
    }
    let script = root().join("xtask/python/relevance.py");
    let zennit = |network: &str, batches: &str| {
        let words = [network, batches, REPEATS, THREADS];
        measure(Command::new(python).arg(&script).args(words))
    };
    let mut rows = String::new();

    let mut candle = Comparison::default();
    for round in 1..=ROUNDS {
        println!("relevance of VGG16 on candle, round {round} of {ROUNDS}");
        let mut command = Command::new(built("release", "examples/vgg16"));
        let ours = measure(command.args(["1,8", REPEATS, RULES]).env("RAYON_NUM_THREADS", THREADS))?;
        let mut theirs = zennit("vgg16", "1,8")?;
        // The other side does not say.
        theirs.remove("peak memory");
        candle.add(&without_side(ours), &theirs)?;
    }
    rows += &candle.rows("attr-candle, VGG16, ");

    for (label, network) in [("VGG16", "vgg16"), ("ResNet-18", "resnet18")] {
        let model = export(cache, python, network)?;
        let mut torch = Comparison::default();
        for round in 1..=ROUNDS {
            println!("relevance of {label} on libtorch, round {round} of {ROUNDS}");
            let mut command = Command::new(built("release", "examples/integrated_gradients"));
            let ours = measure(command.arg(&model).args([REPEATS, THREADS, "1", RULES]))?;
            torch.add(&ours, &zennit(network, "1")?)?;
        }
        rows += &torch.rows(&format!("attr-torch, {label}, "));
    }
    Ok(format!(
        "Relevance by {RULES} at 224 px, f32, {THREADS} threads; best of all rounds, ratio: median over rounds\n\n\
         | | attr | Zennit 0.5 | ratio |\n| --- | --- | --- | --- |\n{rows}"
    ))
}
