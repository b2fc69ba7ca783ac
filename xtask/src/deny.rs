//! The licences and sources of all dependencies, by cargo-deny.

use std::error::Error;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::root;

/// The version that is used, so that all see the same.
const VERSION: &str = "0.20.2";

/// Builds cargo-deny into the cache, once, and checks what `deny.toml` says.
pub(crate) fn run(cache: &Cache, advisories: bool) -> Result<(), Box<dyn Error>> {
    let folder = cache.root().join(format!("cargo-deny-{VERSION}"));
    let program = folder.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        eprintln!("building cargo-deny {VERSION} into {}", folder.display());
        // It runs for a second: that it builds sooner counts for more than that it is fast.
        let mut install = Command::new(env!("CARGO"));
        install
            .args(["install", "cargo-deny", "--locked", "--debug", "--version", VERSION, "--root"])
            .arg(&folder);
        if !install.env_remove("CARGO_TARGET_DIR").status()?.success() {
            return Err("cargo-deny could not be built".into());
        }
    }
    let checks: &[&str] = if advisories { &["advisories"] } else { &["licenses", "bans", "sources"] };
    let status = Command::new(program).arg("check").args(checks).current_dir(root()).status()?;
    if status.success() { Ok(()) } else { Err("dependencies are not as deny.toml allows".into()) }
}
