//! A model of TensorFlow's: by its layers on any backend, or as it is on TensorFlow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attr_core::{Cut, Graph};
use attr_graphdef::proto::data_type;
use attr_graphdef::{Endpoint, Function, SavedModel};

use crate::backend;
use crate::cli::ModelArgs;
use crate::error::{At, Error, Result};
use crate::model::{Model, Shapes, check_shapes, hash};

/// The file in a SavedModel's folder.
const FILE: &str = "saved_model.pb";

/// The folder beside it with the numbers of its variables.
const VARIABLES: &str = "variables";

/// Reads a folder or file and makes one signature of it runnable.
pub(crate) fn open(args: &ModelArgs, shapes: Shapes) -> Result<Model> {
    let path = &args.model;
    let place = path.display();
    if path.is_dir() && !path.join(FILE).is_file() {
        return Err(Error::file(
            path,
            format!("expected a SavedModel, a folder with {FILE}, found none in it"),
        ));
    }
    if args.as_is {
        backend::check_as_is(&args.device, "--as-is leaves the layers out").at(&place)?;
    }
    let saved = attr_graphdef::read(path).map_err(|error| from_graphdef(path, error))?;
    let function = saved.function(args.signature.as_deref()).map_err(|error| from_graphdef(path, error))?;
    let shapes: BTreeMap<_, _> = shapes.into_iter().collect();
    let inputs: Vec<_> = function.inputs.iter().map(|input| input.name.as_str()).collect();
    check_shapes(shapes.keys(), &inputs)?;
    let (path, sha256) = (path.clone(), sha256(path, &saved)?);
    if !args.as_is {
        let reason = match function.layers_for(&shapes) {
            Ok(graph) => {
                let names = names(&function, &graph);
                let face = backend::compile(graph, &args.device).at(&place)?;
                return Ok(Model { path, sha256, network: None, face, names });
            }
            Err(error) if needs_tensorflow(&error, &function) => error,
            Err(error) => return Err(from_graphdef(&path, error)),
        };
        backend::check_as_is(&args.device, &reason.to_string()).at(&place)?;
        eprintln!(
            "note: {place}: {reason}, so it runs as it is on tf, and methods that need to know the layers are refused"
        );
    }
    as_is(args, function, &shapes, sha256)
}

/// Whether this is something that TensorFlow itself may do with the model, though there are no layers for it.
fn needs_tensorflow(error: &attr_graphdef::Error, function: &Function) -> bool {
    let takes_floats = |input: &Endpoint| [data_type::FLOAT, data_type::DOUBLE].contains(&input.dtype);
    match error {
        attr_graphdef::Error::Operators(_) | attr_graphdef::Error::Graph(_) => true,
        // Such as the numbers of words, in which there is no derivative, but there is one in what becomes of them.
        attr_graphdef::Error::Input { .. } => !function.inputs.iter().all(takes_floats),
        _ => false,
    }
}

fn as_is(
    args: &ModelArgs,
    mut function: Function,
    shapes: &BTreeMap<String, Vec<usize>>,
    sha256: String,
) -> Result<Model> {
    let place = args.model.display();
    give_shapes(&mut function, shapes).at(&place)?;
    let inputs: Vec<_> = function.inputs.iter().map(|input| input.name.clone()).collect();
    let aliases = function.aliases.iter();
    let aliases: Vec<_> =
        aliases.map(|(alias, &at)| (function.nodes[at].name.clone(), alias.clone())).collect();
    let face = backend::as_is(function, &args.device).at(&place)?;
    let mut names = by_layer(aliases.into_iter());
    for (input, name) in face.places(&Cut::input()).at(&place)?.into_iter().zip(inputs) {
        if input.name != name {
            names.insert(input.name, vec![name]);
        }
    }
    Ok(Model { path: args.model.clone(), sha256, network: None, face, names })
}

/// Gives inputs the lengths that the file leaves open.
fn give_shapes(function: &mut Function, shapes: &BTreeMap<String, Vec<usize>>) -> Result<()> {
    for input in &mut function.inputs {
        let Some(row) = shapes.get(&input.name) else { continue };
        let given: Vec<_> = std::iter::once(None).chain(row.iter().map(|&n| Some(n))).collect();
        let known = input.shape.clone().unwrap_or_else(|| vec![None; given.len()]);
        let fits = |(known, given): (&Option<usize>, &Option<usize>)| {
            given.is_none() || known.is_none_or(|n| *given == Some(n))
        };
        if known.len() != given.len() || !known.iter().zip(&given).all(fits) {
            let lengths = known.iter().skip(1).map(|n| n.map_or("?".to_string(), |n| n.to_string()));
            let (expected, name) = (lengths.collect::<Vec<_>>().join("x"), &input.name);
            let found: Vec<_> = row.iter().map(ToString::to_string).collect();
            return Err(Error::usage(format!(
                "shape: expected {name}={expected}, found {name}={}",
                found.join("x")
            )));
        }
        input.shape = Some(given);
    }
    Ok(())
}

/// What layers are called besides the names of their operators: their names in Keras and in the signature.
fn names(function: &Function, graph: &Graph) -> BTreeMap<String, Vec<String>> {
    let named = function.aliases.keys().filter_map(|alias| {
        let layer = &graph.node(graph.find(alias)?).name;
        let is_input = function.inputs.iter().any(|input| input.name == *layer);
        (layer != alias && !is_input).then(|| (layer.clone(), alias.clone()))
    });
    by_layer(named)
}

/// Of many names only those that say something new: without the scopes around them and without the numbers that
/// TensorFlow gives scopes, as far as there are such.
fn by_layer(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    pairs.for_each(|(layer, name)| all.entry(layer).or_default().push(name));
    for names in all.values_mut() {
        if names.iter().any(|name| !name.contains('/')) {
            names.retain(|name| !name.contains('/'));
        }
        let stem = |name: &str| {
            name.rsplit_once('_')
                .filter(|(_, end)| end.parse::<u64>().is_ok())
                .map(|(stem, _)| stem.to_string())
        };
        let known = names.clone();
        names.retain(|name| stem(name).is_none_or(|stem| !known.contains(&stem)));
    }
    all
}

/// The hash of a frozen graph's file; of a SavedModel that of a text with a line for each of its files, in the order
/// of their names: `saved_model.pb`, then those in `variables`. It is what
/// `LC_ALL=C; sha256sum saved_model.pb variables/* | sha256sum` prints in the folder.
fn sha256(path: &Path, saved: &SavedModel) -> Result<String> {
    let read = |file: &Path| std::fs::read(file).map_err(|error| Error::file(file, error));
    let is_frozen = saved.signatures().is_empty();
    if is_frozen {
        return Ok(hash(&read(path)?));
    }
    let file = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut files: Vec<PathBuf> = vec![file.clone()];
    let variables = folder.join(VARIABLES);
    if variables.is_dir() {
        let entries = std::fs::read_dir(&variables).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
        });
        let mut found = entries.map_err(|error| Error::file(&variables, error))?;
        found.retain(|file| file.is_file());
        found.sort();
        files.extend(found);
    }
    let mut text = String::new();
    for file in &files {
        let name = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().replace('\\', "/");
        text += &format!("{}  {name}\n", hash(&read(file)?));
    }
    Ok(hash(text.as_bytes()))
}

fn from_graphdef(path: &Path, error: attr_graphdef::Error) -> Error {
    match error {
        // Names its file itself, which may be one of the variables'.
        error @ attr_graphdef::Error::Io { .. } => Error::failed(error.to_string()),
        attr_graphdef::Error::Graph(error) => {
            Error::At { place: path.display().to_string(), source: Box::new(Error::Core(error)) }
        }
        error @ attr_graphdef::Error::Signature { .. } => {
            Error::usage(format!("{}: {error} (--signature NAME picks one)", path.display()))
        }
        error @ attr_graphdef::Error::Input { .. } => {
            Error::file(path, format!("{error} (--shape NAME=LENGTHS gives what a file leaves open)"))
        }
        error => Error::file(path, error),
    }
}
