//! The comparison of the adapters, on everything that all of them can do.

use std::error::Error;
use std::ffi::OsString;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::{built, root};
use crate::libtorch;
use crate::models::Models;

/// Runs the comparison, which prints a table and writes it to `target/consistency.md`.
pub(crate) fn run(cache: &Cache, models: &Models, arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let (name, value) = libtorch::set_up(cache)?;
    // With the features of the tests, so that nothing is built twice.
    let build = ["build", "--workspace", "--all-features", "--bin", "consistency"];
    let status = Command::new(env!("CARGO")).args(build).env(name, value).current_dir(root()).status()?;
    if !status.success() {
        return Err("the comparison could not be built".into());
    }
    let mut comparison = Command::new(built("debug", "consistency"));
    let status = comparison.args(arguments).envs(models.variables()).current_dir(root()).status()?;
    if status.success() { Ok(()) } else { Err("the comparison failed".into()) }
}
