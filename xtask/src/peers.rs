//! The peers: Python is used here and nowhere else, in an environment of its own.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cache::Cache;

/// Peers that share an environment, for they agree on what they need.
#[derive(Debug)]
pub(crate) struct Peers {
    /// What they are called in a sentence, and how much they take.
    names: &'static str,
    size: &'static str,
    /// The environment's folder in the cache.
    folder: &'static str,
    packages: &'static [&'static str],
}

/// PyTorch, and what builds on it.
pub(crate) const TORCH: Peers = Peers {
    names: "PyTorch, Captum and Zennit",
    size: "5 GB",
    folder: "peers-2",
    packages: &[
        "torch==2.13.0",
        "torchvision==0.28.0",
        "captum==0.9.0",
        "zennit==0.5.1",
        "onnx==1.23.2",
        "onnxscript==0.7.2",
        "numpy==2.4.6",
    ],
};

/// TensorFlow of the version that set-up lays out.
pub(crate) const TENSORFLOW: Peers = Peers {
    names: "TensorFlow",
    size: "1 GB",
    folder: "peers-tf-1",
    packages: &["tensorflow-cpu==2.16.2", "keras==3.15.1", "numpy==1.26.4"],
};

/// The Python of an environment with the peers, made once in the cache.
pub(crate) fn set_up(cache: &Cache, peers: &Peers) -> Result<PathBuf, Box<dyn Error>> {
    let folder = cache.root().join(peers.folder);
    let python = folder.join("bin/python");
    let finished = folder.join("finished");
    let wanted = peers.packages.join("\n");
    if fs::read_to_string(&finished).ok().as_deref() != Some(&wanted) {
        println!("setting up {} in {} (about {}, once)", peers.names, folder.display(), peers.size);
        // An environment with other peers is added to.
        if !finished.is_file() {
            call(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        }
        call(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(peers.packages))?;
        fs::write(&finished, wanted)?;
    }
    Ok(python)
}

/// Runs a command to its end.
pub(crate) fn call(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed with {status}").into()) }
}
