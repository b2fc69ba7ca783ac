//! A model from a file, made runnable by the backend that was asked for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use attr_core::{Cut, ErasedModel, Place};
use sha2::{Digest, Sha256};

use crate::backend;
use crate::cli::{DeviceArgs, ModelArgs};
use crate::error::{At, Error, Result};
use crate::format::Format;
use crate::preparation::{self, Description, Layout};
use crate::saved_model;

/// A model that runs.
pub(crate) struct Model {
    /// Its file or folder, or what stands for it.
    pub(crate) path: PathBuf,
    /// The hash of the file; of a SavedModel that of a list of the hashes of its files, which is what
    /// `LC_ALL=C; sha256sum saved_model.pb variables/* | sha256sum` prints in its folder.
    pub(crate) sha256: String,
    /// What network its file holds the weights of, if it holds no network.
    pub(crate) network: Option<String>,
    /// What can be asked of it.
    pub(crate) face: Box<dyn ErasedModel>,
    /// What layers are called besides their own names, by these.
    pub(crate) names: BTreeMap<String, Vec<String>>,
}

impl Model {
    /// The tensors at a cut; inputs by the names that their author gave them.
    pub(crate) fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        let mut places = self.face.places(cut)?;
        for place in places.iter_mut().filter(|place| place.kind == "input") {
            if let Some(name) = self.names.get(&place.name).and_then(|names| names.first()) {
                place.name.clone_from(name);
            }
        }
        Ok(places)
    }

    /// The axis of channels of each tensor at a cut, if it has one.
    pub(crate) fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        let places = self.face.places(cut)?.into_iter().zip(self.face.channel_axes(cut)?);
        let axis = |(place, said): (Place, usize)| {
            let picture = place.shape.as_ref().filter(|_| place.kind == "input");
            picture.and_then(|shape| Layout::of(shape, said)).map_or(said, |layout| layout.channel_axis + 1)
        };
        Ok(places.map(axis).collect())
    }
}

/// Reads the file and makes its network runnable; for texts of so many tokens, if it is for texts.
pub(crate) fn open(args: &ModelArgs, tokens: Option<usize>) -> Result<Model> {
    let path = &args.model;
    backend::set_up(&args.device)?;
    let shapes = args.shapes.iter().map(|text| parse_shape(text)).collect::<Result<Shapes>>()?;
    let no_weights = || {
        let expected = "a file of weights, safetensors or a checkpoint of torch.save";
        Error::usage(format!("network: expected {expected}, found {}", path.display()))
    };
    if path.is_dir() {
        return if args.network.is_some() { Err(no_weights()) } else { saved_model::open(args, shapes) };
    }
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    let format = Format::of(path, &bytes);
    if args.network.is_some() && format != Format::Weights {
        return Err(no_weights());
    }
    if format == Format::TensorFlow {
        drop(bytes);
        return saved_model::open(args, shapes);
    }
    let sha256 = hash(&bytes);
    let only = [
        ("signature", args.signature.is_some(), "a model of TensorFlow's"),
        (
            "as-is",
            args.as_is && ![Format::Onnx, Format::Exported].contains(&format),
            "an ONNX file, an archive of torch.export or a model of TensorFlow's",
        ),
    ];
    if let Some((flag, _, expected)) = only.iter().find(|(_, given, _)| *given) {
        return Err(Error::usage(format!("{flag}: expected {expected}, found {}", path.display())));
    }
    if format == Format::Weights {
        let face = network(args, bytes, shapes)?;
        let network = args.network.clone();
        return Ok(Model { path: path.clone(), sha256, network, face, names: BTreeMap::new() });
    }
    drop(bytes);
    let refuse = |what: &str| {
        let expected = "an ONNX file, an archive of torch.export.save, TorchScript as torch.jit.trace(..).save(..) \
                        writes it, TensorFlow's SavedModel or frozen graph, or weights (safetensors, torch.save)";
        Err(Error::file(path, format!("expected {expected}, found {what}")))
    };
    let face = match format {
        Format::Onnx | Format::Exported => layers(path, format, shapes, tokens, args)?,
        Format::TorchScript => torch_script(path, shapes, &args.device)?,
        Format::TensorFlow | Format::Weights => unreachable!("BUG: these are opened elsewhere"),
        Format::Zip => return refuse("a zip archive that PyTorch did not write, or a broken one"),
    };
    Ok(Model { path: path.clone(), sha256, network: None, face, names: BTreeMap::new() })
}

/// A model that is part of the command.
pub(crate) fn built_in(name: &str, bytes: &[u8], device: &DeviceArgs) -> Result<Model> {
    backend::set_up(device)?;
    let path = PathBuf::from(name);
    let graph = attr_onnx::decode(bytes).map_err(|error| from_onnx(&path, error))?;
    let face = backend::compile(graph, device).at(name)?;
    Ok(Model { path, sha256: hash(bytes), network: None, face, names: BTreeMap::new() })
}

fn layers(
    path: &Path,
    format: Format,
    shapes: Shapes,
    tokens: Option<usize>,
    args: &ModelArgs,
) -> Result<Box<dyn ErasedModel>> {
    let mut options = attr_onnx::Options { as_written: args.as_is, ..Default::default() };
    options.input_shapes.extend(shapes.iter().cloned());
    let mut graph = loop {
        let read = match format {
            Format::Exported => attr_pt2::read_with(path, &options),
            _ => attr_onnx::read_with(path, &options).map_err(attr_pt2::Error::from),
        };
        match read {
            Ok(graph) => break graph,
            // An input whose length the file leaves open is as long as the text.
            Err(attr_pt2::Error::Graph(attr_onnx::Error::Input { name, .. }))
                if tokens.is_some() && !options.input_shapes.contains_key(&name) =>
            {
                options.input_shapes.insert(name, tokens.into_iter().collect());
            }
            Err(attr_pt2::Error::Graph(error)) => return Err(from_onnx(path, error)),
            Err(error) => return Err(Error::file(path, error)),
        }
    };
    let inputs: Vec<_> = graph.inputs().iter().map(|&id| graph.node(id).name.as_str()).collect();
    check_shapes(shapes.iter().map(|(name, _)| name), &inputs)?;
    // A picture may have its channels last, and an ONNX file does not say so.
    for id in graph.inputs().to_vec() {
        if let Some(layout) = Layout::of(&graph.node(id).shape, 1) {
            graph.set_channel_axis(id, layout.channel_axis + 1)?;
        }
    }
    backend::compile(graph, &args.device).at(path.display())
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
                preparation::json_beside(path).display()
            ))
        };
        shapes.push(("input".to_string(), row.ok_or_else(unknown)?));
    }
    backend::torch_script(path, &shapes, device).at(path.display())
}

/// The network that the weights in a file are of.
fn network(args: &ModelArgs, bytes: Vec<u8>, shapes: Shapes) -> Result<Box<dyn ErasedModel>> {
    let path = &args.model;
    let Some(name) = &args.network else {
        return Err(Error::usage(format!(
            "{}: the file holds weights and no network: expected --network with one of {}",
            path.display(),
            attr_networks::NAMES.join(", ")
        )));
    };
    let size = match &shapes[..] {
        [] => Description::beside(path)?.and_then(|description| description.size()),
        [(input, row)] if input == "input" && matches!(row[..], [3, _, _]) => Some([row[1], row[2]]),
        _ => {
            let found = args.shapes.join(" ");
            return Err(Error::usage(format!("shape: expected input=3xHEIGHTxWIDTH, found {found}")));
        }
    };
    let options = attr_networks::Options { size };
    let graph = attr_networks::Weights::decode(bytes)
        .and_then(|weights| attr_networks::build_with(name, &weights, &options));
    backend::compile(graph.map_err(|error| from_networks(path, error))?, &args.device).at(path.display())
}

/// The lengths behind the batch of inputs, by name.
pub(crate) type Shapes = Vec<(String, Vec<usize>)>;

/// That there are the inputs whose lengths are given.
pub(crate) fn check_shapes<'a>(given: impl IntoIterator<Item = &'a String>, inputs: &[&str]) -> Result<()> {
    let unknown = given.into_iter().find(|name| !inputs.contains(&name.as_str()));
    unknown.map_or(Ok(()), |unknown| {
        let expected = format!("an input of {}", inputs.join(", "));
        Err(Error::usage(format!("shape: expected {expected}, found {unknown:?}")))
    })
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

fn from_networks(path: &Path, error: attr_networks::Error) -> Error {
    match error {
        attr_networks::Error::Graph(error) => {
            Error::At { place: path.display().to_string(), source: Box::new(Error::Core(error)) }
        }
        error @ attr_networks::Error::UnknownNetwork { .. } => Error::usage(format!("network: {error}")),
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
