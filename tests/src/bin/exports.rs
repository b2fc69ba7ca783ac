//! What PyTorch wrote and computed, held against what is computed here of it: `cargo xtask torchvision` and
//! `cargo xtask network-weights`.
//!
//! `exports WHICH FOLDER PAGE NAME...`, where WHICH is torchvision or networks; PAGE is where the table goes, - for
//! nowhere.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use attr_tests::exports::{networks, torchvision};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: not all of them agree with PyTorch");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [which, folder, page, names @ ..] = &arguments[..] else {
        return Err("expected torchvision or networks, a folder, a page, and names".into());
    };
    let (folder, tell) = (Path::new(folder), |text: &str| print!("{text}"));
    let (table, equal) = match which.as_str() {
        "torchvision" => torchvision::compare(folder, names, tell)?,
        "networks" => networks::compare(folder, names, tell)?,
        other => return Err(format!("expected torchvision or networks, found {other}").into()),
    };
    if page != "-" {
        std::fs::write(page, table)?;
    }
    Ok(equal)
}
