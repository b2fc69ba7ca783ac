//! Every method on the networks of set-up, adapter against adapter: `cargo xtask consistency [--quick]`.
//!
//! The table is printed as it grows and written to `target/consistency.md`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attr_tests::consistency::{self, Cell, Effort, Verdict};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no cell is broken.
fn run() -> Result<bool, Box<dyn Error>> {
    let effort = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => Effort::Default,
        [word] if word == "--quick" => Effort::Quick,
        others => return Err(format!("expected --quick or nothing, found {}", others.join(" ")).into()),
    };
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .ok_or(format!("expected the folder {name} in the environment"))
    };
    let mut networks = vec![consistency::digits()?];
    networks.extend(consistency::set_up(&folder("ATTR_MODELS")?, &folder("ATTR_PHOTOS")?)?);
    let mut table = format!("{}\n", Cell::HEAD);
    print!("{table}");
    let mut all = true;
    for network in &networks {
        consistency::compare(network, effort, |cell| {
            println!("{cell}");
            table += &format!("{cell}\n");
            all &= cell.verdict != Verdict::Broken;
        })?;
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("consistency.md"), table)?;
    Ok(all)
}
