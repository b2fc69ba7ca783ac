//! All tests, with everything they need.

use std::error::Error;
use std::process::Command;

use crate::demo::root;
use crate::models::Models;

/// Runs every test of the workspace; those on real networks find the models that set-up laid out.
pub(crate) fn run(models: &Models) -> Result<(), Box<dyn Error>> {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("ATTR_MODELS", &models.folder)
        .env("ATTR_PHOTOS", &models.photos)
        .current_dir(root())
        .status()?;
    if status.success() { Ok(()) } else { Err("tests failed".into()) }
}
