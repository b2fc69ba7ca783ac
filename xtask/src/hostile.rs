//! Broken files for the readers: changed ones by the thousand, and the fuzz targets.

use std::error::Error;
use std::ffi::OsString;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::{built, root};
use crate::packages;

/// The fuzz targets in `fuzz/`.
const TARGETS: [&str; 6] = ["onnx", "graphdef", "picture", "npy", "program", "weights"];

/// Reads broken model files; `arguments` are those of the program `hostile`.
pub(crate) fn run(cache: &Cache, arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let status = hostile(cache)?.args(arguments).status()?;
    if status.success() { Ok(()) } else { Err("a file did not keep the bounds".into()) }
}

/// Runs each fuzz target, or the one of this name, for so many seconds. Needs a nightly compiler and cargo-fuzz.
pub(crate) fn fuzz(cache: &Cache, target: Option<&str>, seconds: u64) -> Result<(), Box<dyn Error>> {
    if let Some(unknown) = target.filter(|target| !TARGETS.contains(target)) {
        return Err(format!("expected one of {}, found {unknown}", TARGETS.join(", ")).into());
    }
    let corpus = root().join("fuzz/corpus");
    if !hostile(cache)?.arg("--corpus").arg(&corpus).status()?.success() {
        return Err("the corpora could not be written".into());
    }
    for name in TARGETS.iter().filter(|name| target.is_none_or(|target| target == **name)) {
        let mut fuzz = Command::new("cargo");
        fuzz.args(["+nightly", "fuzz", "run", name]).arg(corpus.join(name)).arg("--");
        fuzz.args([
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-max_len=32768",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        fuzz.arg(format!("-max_total_time={seconds}"));
        // Cargo says to what it runs which toolchain it is of.
        fuzz.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").current_dir(root());
        if !fuzz.status()?.success() {
            return Err(format!("the target {name} failed; its input is in fuzz/artifacts/{name}").into());
        }
    }
    Ok(())
}

/// The program that reads broken files, built, with the ONNX project's tests as further files to change.
fn hostile(cache: &Cache) -> Result<Command, Box<dyn Error>> {
    let build =
        Command::new(env!("CARGO")).args(["build", "--bin", "hostile"]).current_dir(root()).status()?;
    if !build.success() {
        return Err("the program hostile could not be built".into());
    }
    let mut hostile = Command::new(built("debug", "hostile"));
    hostile.arg("--seeds").arg(cache.lay_out(&packages::ONNX_TESTS)?).current_dir(root());
    Ok(hostile)
}
