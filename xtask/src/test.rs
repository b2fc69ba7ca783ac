//! All tests, with everything they need.

use std::error::Error;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::root;
use crate::framework;
use crate::models::Models;

/// Runs every test of the workspace; those on real networks find the models that set-up laid out.
///
/// Where a framework can't be had, its adapter is left out.
pub(crate) fn run(cache: &Cache, models: &Models) -> Result<(), Box<dyn Error>> {
    let mut tests = Command::new(env!("CARGO"));
    tests.args(["test", "--workspace", "--no-fail-fast"]).envs(models.variables());
    for framework in framework::ALL {
        let feature = framework.feature;
        match framework.set_up(cache) {
            Ok((name, value)) => {
                tests.args(["--features", &format!("attr-cli/{feature},attr-tests/{feature}")]);
                tests.env(name, value);
            }
            Err(error @ framework::Error::Platform(_)) => {
                eprintln!("leaving out all tests of attr-{feature}: {error}");
                tests.args(["--exclude", &format!("attr-{feature}")]);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if tests.current_dir(root()).status()?.success() { Ok(()) } else { Err("tests failed".into()) }
}
