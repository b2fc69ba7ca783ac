//! The comparison of the adapters, on everything that all of them can do.

use std::error::Error;
use std::ffi::OsString;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::{built, root};
use crate::framework;
use crate::models::Models;

/// Runs the comparison, which prints a table and writes it to `target/consistency.md`.
pub(crate) fn run(cache: &Cache, models: &Models, arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let frameworks = framework::ALL.map(|framework| framework.set_up(cache));
    let frameworks = frameworks.into_iter().collect::<Result<Vec<_>, _>>()?;
    // With the features of the tests, so that nothing is built twice.
    let build = ["build", "--workspace", "--all-features", "--bin", "consistency"];
    let mut cargo = Command::new(env!("CARGO"));
    let status = cargo.args(build).envs(frameworks.iter().cloned()).current_dir(root()).status()?;
    if !status.success() {
        return Err("the comparison could not be built".into());
    }
    let mut comparison = Command::new(built("debug", "consistency"));
    comparison.args(arguments).envs(models.variables()).envs(frameworks);
    let status = comparison.current_dir(root()).status()?;
    if status.success() { Ok(()) } else { Err("the comparison failed".into()) }
}
