//! A short run of `cargo xtask hostile`.

use std::process::Command;

#[test]
fn some_thousand_broken_models_keep_the_bounds() {
    let run = Command::new(env!("CARGO_BIN_EXE_hostile"))
        .args(["--count", "2000", "--seed", "7"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}{err}");
    // Most changes are noticed, but not all do harm.
    let opened = out.split("; ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    assert!(opened.is_some_and(|opened| (100..1900).contains(&opened)), "{out}");
}
