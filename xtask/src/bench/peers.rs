//! The peers: Python is used here and nowhere else, in an environment of its own.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cache::Cache;

const PEERS: [&str; 6] = [
    "torch==2.13.0",
    "torchvision==0.28.0",
    "captum==0.9.0",
    "zennit==0.5.1",
    "onnx==1.23.2",
    "numpy==2.4.6",
];

/// The Python of an environment with the peers, made once in the cache.
pub(super) fn set_up(cache: &Cache) -> Result<PathBuf, Box<dyn Error>> {
    let folder = cache.root().join("peers-2");
    let python = folder.join("bin/python");
    let finished = folder.join("finished");
    let wanted = PEERS.join("\n");
    if fs::read_to_string(&finished).ok().as_deref() != Some(&wanted) {
        println!("setting up PyTorch, Captum and Zennit in {} (about 5 GB, once)", folder.display());
        // An environment with other peers is added to.
        if !finished.is_file() {
            call(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        }
        call(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PEERS))?;
        fs::write(&finished, wanted)?;
    }
    Ok(python)
}

/// Runs a command to its end.
pub(super) fn call(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed with {status}").into()) }
}
