//! A model from a file, made runnable by the backend that was asked for.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use attr_core::ErasedModel;
use sha2::{Digest, Sha256};

use crate::backend;
use crate::cli::{DeviceArgs, ModelArgs};
use crate::error::{At, Error, Result};
use crate::format::Format;
use crate::preparation::Description;

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
    backend::set_up(&args.device)?;
    let shapes = args.shapes.iter().map(|text| parse_shape(text)).collect::<Result<Shapes>>()?;
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    let (sha256, format) = (hash(&bytes), Format::of(&bytes));
    drop(bytes);
    let refuse = |what: &str| {
        let expected = "an ONNX file, or TorchScript as torch.jit.trace(..).save(..) writes it";
        Err(Error::file(path, format!("expected {expected}, found {what}")))
    };
    let face = match format {
        Format::Onnx => onnx(path, shapes, &args.device)?,
        Format::TorchScript => torch_script(path, shapes, &args.device)?,
        Format::Exported => return refuse("an archive of torch.export, which is not supported yet"),
        Format::Weights => return refuse("a file of torch.save, which holds weights and no network"),
        Format::Zip => return refuse("a zip archive that PyTorch did not write, or a broken one"),
    };
    Ok(Model { path: path.clone(), sha256, face })
}

/// A model that is part of the command.
pub(crate) fn built_in(name: &str, bytes: &[u8], device: &DeviceArgs) -> Result<Model> {
    backend::set_up(device)?;
    let path = PathBuf::from(name);
    let graph = attr_onnx::decode(bytes).map_err(|error| from_onnx(&path, error))?;
    let face = backend::compile(graph, device).at(name)?;
    Ok(Model { path, sha256: hash(bytes), face })
}

fn onnx(path: &Path, shapes: Shapes, device: &DeviceArgs) -> Result<Box<dyn ErasedModel>> {
    let mut options = attr_onnx::Options::default();
    options.input_shapes.extend(shapes);
    let graph = attr_onnx::read_with(path, &options).map_err(|error| from_onnx(path, error))?;
    backend::compile(graph, device).at(path.display())
}

fn torch_script(path: &Path, mut shapes: Shapes, device: &DeviceArgs) -> Result<Box<dyn ErasedModel>> {
    backend::check_torch_script(device).at(path.display())?;
    if shapes.is_empty() {
        let row = Description::beside(path)?.and_then(|description| description.row());
        let unknown = || {
            Error::usage(format!(
                "{}: a TorchScript file does not say the shape of its input: expected --shape input=3x224x224, \
                 or {} beside it with \"size\"",
                path.display(),
                path.with_extension("json").display()
            ))
        };
        shapes.push(("input".to_string(), row.ok_or_else(unknown)?));
    }
    backend::torch_script(path, &shapes, device).at(path.display())
}

/// The lengths behind the batch of inputs, by name.
type Shapes = Vec<(String, Vec<usize>)>;

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

/// The hash of a file's bytes.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("BUG: a String takes all text");
        text
    })
}
