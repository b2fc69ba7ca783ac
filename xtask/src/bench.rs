//! The benchmark: the same work in this library and in PyTorch, in turn, in one run.
//!
//! One row so far, the input gradient of VGG16; later a matrix of networks, methods, frameworks and peers.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::demo::root;

/// What the peers are run with. Python is used here and nowhere else, in an environment of its own.
const PEERS: [&str; 2] = ["torch==2.13.0", "numpy==2.4.6"];

/// How often each side is run, in turn; each run takes the best of a few repeats.
const ROUNDS: usize = 3;

/// Threads of either side.
const THREADS: &str = "2";

/// Prints the table, and writes it to `target/bench.md`.
pub(crate) fn run(cache: &Cache) -> Result<(), Box<dyn Error>> {
    let python = peers(cache)?;
    let build = ["build", "--release", "--package", "attr-candle", "--example", "vgg16"];
    let status = Command::new(env!("CARGO")).args(build).current_dir(root()).status()?;
    if !status.success() {
        return Err("the benchmark could not be built".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let ours = target.join("release/examples/vgg16");
    let script = root().join("xtask/python/vgg16_gradient.py");

    let mut best: BTreeMap<(String, &str), f64> = BTreeMap::new();
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        let mut sides = [Command::new(&ours), Command::new(&python)];
        sides[0].args(["1,8", "3"]).env("RAYON_NUM_THREADS", THREADS);
        sides[1].arg(&script).args(["1,8", "3", THREADS]);
        let [ours, theirs] = [measure(&mut sides[0])?, measure(&mut sides[1])?];
        for (row, &seconds) in &ours {
            let theirs = *theirs.get(row).ok_or_else(|| format!("PyTorch printed no row {row:?}"))?;
            for (side, figure) in [("attr-candle", seconds), ("PyTorch", theirs)] {
                let rate = row.starts_with("matrix");
                let entry = best.entry((row.clone(), side)).or_insert(figure);
                *entry = if rate { entry.max(figure) } else { entry.min(figure) };
            }
            ratios.entry(row.clone()).or_default().push(seconds / theirs);
        }
    }
    let mut table = String::from(
        "Input gradient of VGG16 at 224 px, f32, 2 threads; best of all rounds, ratio: median over rounds\n\n\
         | | attr-candle | PyTorch 2.13 | ratio |\n| --- | --- | --- | --- |\n",
    );
    for (row, mut ratios) in ratios {
        ratios.sort_by(f64::total_cmp);
        let (ours, theirs) = (best[&(row.clone(), "attr-candle")], best[&(row.clone(), "PyTorch")]);
        let unit = if row.starts_with("matrix") { "GFLOP/s" } else { "s" };
        table +=
            &format!("| {row} | {ours:.3} {unit} | {theirs:.3} {unit} | {:.2} |\n", ratios[ratios.len() / 2]);
    }
    print!("\n{table}");
    fs::write(root().join("target/bench.md"), table)?;
    Ok(())
}

/// Runs one side and reads what it printed: `matrix product: N GFLOP/s` and `NAME batch N: min N s, ...`.
fn measure(command: &mut Command) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    print!("{text}");
    let figure = |rest: &str| rest.trim().trim_start_matches("min ").split(' ').next()?.parse().ok();
    let row = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let name = name.find("batch").map_or(name, |at| &name[at..]);
        Some((name.to_string(), figure(rest)?))
    };
    Ok(text.lines().filter_map(row).collect())
}

/// The Python of an environment with the peers, made once in the cache.
fn peers(cache: &Cache) -> Result<PathBuf, Box<dyn Error>> {
    let folder = cache.root().join("peers-1");
    let python = folder.join("bin/python");
    let finished = folder.join("finished");
    if !finished.is_file() {
        println!("setting up PyTorch in {} (about 5 GB, once)", folder.display());
        call(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        call(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PEERS))?;
        fs::write(&finished, PEERS.join("\n"))?;
    }
    Ok(Path::new(&python).into())
}

fn call(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed with {status}").into()) }
}
