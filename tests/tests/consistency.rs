//! What is promised across adapters holds on real networks (invariant 4 of `design.md`), every method with few
//! steps; `cargo xtask consistency` does the same with the methods' defaults.

use std::path::Path;

use attr_tests::adapter::say;
use attr_tests::consistency::{Effort, Network, Verdict, compare, digits, set_up};

fn check(networks: &[Network]) {
    let mut broken = Vec::new();
    for network in networks {
        let cells = compare(network, Effort::Quick, |_| {}).unwrap();
        broken.extend(cells.iter().filter(|cell| cell.verdict == Verdict::Broken).map(ToString::to_string));
    }
    assert!(broken.is_empty(), "{} cells are broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn on_digits() {
    check(&[digits().unwrap()]);
}

#[test]
fn on_real_networks() {
    let folder = |name: &str| std::env::var_os(name);
    match (folder("ATTR_MODELS"), folder("ATTR_PHOTOS")) {
        (Some(models), Some(photos)) => check(&set_up(Path::new(&models), Path::new(&photos)).unwrap()),
        _ => say("skipped: real networks (`cargo xtask test` sets them up)"),
    }
}
