//! The kernels, in which alone there is unsafe code that touches memory, under the address sanitizer.

use std::error::Error;
use std::process::Command;

use crate::demo::root;

/// The platform that the kernels of vector instructions are for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs all tests of `attr-candle` with the sanitizer of a nightly compiler.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut tests = Command::new("cargo");
    tests.args(["+nightly", "test", "-p", "attr-candle", "--lib", "--tests", "--target", TARGET]);
    tests.arg("--target-dir").arg(root().join("target/sanitize")).current_dir(root());
    // With a target, what runs while building is built without.
    tests.env("RUSTFLAGS", "-Zsanitizer=address").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    if tests.status()?.success() { Ok(()) } else { Err("the sanitizer found something".into()) }
}
