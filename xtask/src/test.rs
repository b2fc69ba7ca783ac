//! All tests, with everything they need.

use std::error::Error;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::root;
use crate::libtorch;
use crate::models::Models;

/// Runs every test of the workspace; those on real networks find the models that set-up laid out.
///
/// Where libtorch can't be had, its adapter is left out.
pub(crate) fn run(cache: &Cache, models: &Models) -> Result<(), Box<dyn Error>> {
    let mut tests = Command::new(env!("CARGO"));
    tests.args(["test", "--no-fail-fast"]).envs(models.variables());
    match libtorch::set_up(cache) {
        Ok((name, value)) => tests.args(["--workspace", "--all-features"]).env(name, value),
        Err(error @ libtorch::Error::Platform) => {
            eprintln!("leaving out all tests of attr-torch: {error}");
            &mut tests
        }
        Err(error) => return Err(error.into()),
    };
    if tests.current_dir(root()).status()?.success() { Ok(()) } else { Err("tests failed".into()) }
}
