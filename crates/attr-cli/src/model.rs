//! A model from a file, made runnable by the backend that was asked for.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use attr_core::{ErasedModel, Graph};
use sha2::{Digest, Sha256};

use crate::cli::{DeviceArgs, ModelArgs};
use crate::error::{At, Error, Result};

/// A model that runs.
pub(crate) struct Model {
    /// Its file, or what stands for it.
    pub(crate) path: PathBuf,
    /// The hash of the file.
    pub(crate) sha256: String,
    /// What can be asked of it.
    pub(crate) face: Box<dyn ErasedModel>,
}

/// Reads the file and makes its network runnable.
pub(crate) fn open(args: &ModelArgs) -> Result<Model> {
    let path = &args.model;
    set_up(&args.device)?;
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    let sha256 = hash(&bytes);
    drop(bytes);
    let mut options = attr_onnx::Options::default();
    for shape in &args.shapes {
        let (name, row) = parse_shape(shape)?;
        options.input_shapes.insert(name, row);
    }
    let graph = attr_onnx::read_with(path, &options).map_err(|error| from_onnx(path, error))?;
    let face = compile(graph, &args.device).at(path.display())?;
    Ok(Model { path: path.clone(), sha256, face })
}

/// A model that is part of the command.
pub(crate) fn built_in(name: &str, bytes: &[u8], device: &DeviceArgs) -> Result<Model> {
    set_up(device)?;
    let path = PathBuf::from(name);
    let graph = attr_onnx::decode(bytes).map_err(|error| from_onnx(&path, error))?;
    let face = compile(graph, device).at(name)?;
    Ok(Model { path, sha256: hash(bytes), face })
}

/// What can be wrong on the command line before anything is read; then the number of threads.
fn set_up(device: &DeviceArgs) -> Result<()> {
    check_backend(&device.backend)?;
    if let Some(threads) = device.threads {
        // candle's own convolutions aren't used, so rayon's pool is all there is.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().map_err(|error| Error::failed(format!("threads: {error}")))?;
    }
    Ok(())
}

fn check_backend(name: &str) -> Result<()> {
    match name {
        "candle" if cfg!(feature = "candle") => Ok(()),
        "candle" | "torch" | "tf" => Err(Error::usage(format!(
            "backend {name} is not part of this build: expected candle, or a build with \
             `cargo build --release -p attr-cli --features {name}` after `cargo xtask setup`"
        ))),
        _ => Err(Error::usage(format!("backend: expected candle, torch or tf, found {name:?}"))),
    }
}

fn compile(graph: Graph, device: &DeviceArgs) -> Result<Box<dyn ErasedModel>> {
    match device.backend.as_str() {
        #[cfg(feature = "candle")]
        "candle" => Ok(Box::new(attr_candle::compile(graph, device.dtype.into())?)),
        other => Err(Error::usage(format!("backend {other} is not part of this build"))),
    }
}

/// `x=3x224x224`
fn parse_shape(text: &str) -> Result<(String, Vec<usize>)> {
    let wrong = || {
        Error::usage(format!("shape: expected an input's name and lengths as x=3x224x224, found {text:?}"))
    };
    let (name, lengths) = text.rsplit_once('=').ok_or_else(wrong)?;
    let length = |text: &str| text.trim().parse().ok().filter(|&n: &usize| n > 0).ok_or_else(wrong);
    Ok((name.to_string(), lengths.split(['x', ',']).map(length).collect::<Result<_>>()?))
}

fn from_onnx(path: &Path, error: attr_onnx::Error) -> Error {
    match error {
        // Names its file itself, which may be one of weights beside the model.
        error @ attr_onnx::Error::Io { .. } => Error::failed(error.to_string()),
        attr_onnx::Error::Graph(error) => {
            Error::At { place: path.display().to_string(), source: Box::new(Error::Core(error)) }
        }
        error @ attr_onnx::Error::Input { .. } => {
            Error::file(path, format!("{error} (--shape NAME=LENGTHS gives what a file leaves open)"))
        }
        error => Error::file(path, error),
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("BUG: a String takes all text");
        text
    })
}
