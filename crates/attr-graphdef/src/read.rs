//! From a file to what can be asked of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::cost;
use crate::function::{Endpoint, Function};
use crate::node::endpoint;
use crate::proto::{self, FunctionDef, GraphDef, MetaGraphDef, NodeDef, SignatureDef};
use crate::tensor::dims;
use crate::{Error, Result};

/// A model of TensorFlow's: a graph, the functions it calls, and what can be asked of it.
#[derive(Debug)]
pub struct SavedModel {
    pub(crate) nodes: Vec<NodeDef>,
    /// By name.
    pub(crate) functions: HashMap<String, FunctionDef>,
    /// What can be asked, by name; none for a frozen graph.
    signatures: Option<BTreeMap<String, SignatureDef>>,
    /// What the files of the variables begin with, and the operator that restores them.
    pub(crate) variables: Option<(PathBuf, String)>,
    /// How many bytes the file has.
    pub(crate) bytes: usize,
}

/// The name of the file in a SavedModel's folder.
const FILE: &str = "saved_model.pb";

/// The signature that is meant where none is named.
const DEFAULT: &str = "serving_default";

/// Reads a SavedModel's folder, or a file: a frozen graph or the folder's own `saved_model.pb`.
///
/// The variables' numbers are read with [`SavedModel::function`], those that it needs.
pub fn read(path: impl AsRef<Path>) -> Result<SavedModel> {
    let path = path.as_ref();
    let file = if path.is_dir() { path.join(FILE) } else { path.into() };
    let bytes = std::fs::read(&file).map_err(|reason| Error::Io { path: file.clone(), reason })?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    match decode(bytes.into(), &folder) {
        Err(Error::Format(reason)) => Err(Error::Format(format!("{}: {reason}", file.display()))),
        other => other,
    }
}

/// As [`read`], from the bytes of a file; the variables of a SavedModel are in `folder`.
pub fn decode(bytes: Bytes, folder: &Path) -> Result<SavedModel> {
    let len = bytes.len();
    let saved = attr_wire::check(&bytes, &cost::SAVED_MODEL).ok();
    let saved = saved.map(|()| proto::SavedModel::decode(bytes.clone()));
    let (graph, saved) = match saved {
        Some(Ok(saved)) if !saved.meta_graphs.is_empty() => {
            let mut meta = served(saved.meta_graphs)?;
            let graph =
                meta.graph_def.take().ok_or_else(|| Error::Format("expected a graph, found none".into()))?;
            (graph, Some(meta))
        }
        other => {
            drop(other);
            attr_wire::check(&bytes, &cost::GRAPH).map_err(Error::Format)?;
            match GraphDef::decode(bytes) {
                Ok(graph) if !graph.node.is_empty() => (graph, None),
                Ok(_) => return Err(Error::Format("expected operators, found none".into())),
                Err(reason) => return Err(Error::Format(reason.to_string())),
            }
        }
    };
    let variables = saved.as_ref().map(|meta| {
        let restore = meta.saver_def.as_ref().map(|saver| saver.restore_op_name.clone());
        (folder.join("variables").join("variables"), restore.unwrap_or_default())
    });
    let mut functions = HashMap::new();
    for function in graph.library.map(|library| library.function).unwrap_or_default() {
        let name = function.signature.as_ref().map(|signature| signature.name.clone()).unwrap_or_default();
        functions.insert(name, function);
    }
    let signatures = saved.map(|meta| meta.signature_def);
    Ok(SavedModel { nodes: graph.node, functions, signatures, variables, bytes: len })
}

/// The graph that is meant to be run.
fn served(mut graphs: Vec<MetaGraphDef>) -> Result<MetaGraphDef> {
    let tags = |graph: &MetaGraphDef| {
        graph.meta_info_def.as_ref().map(|about| about.tags.clone()).unwrap_or_default()
    };
    if graphs.len() == 1 {
        return Ok(graphs.remove(0));
    }
    match graphs.iter().position(|graph| tags(graph) == ["serve"]) {
        Some(at) => Ok(graphs.swap_remove(at)),
        None => {
            let found: Vec<_> = graphs.iter().map(tags).collect();
            Err(Error::Format(format!("expected a graph tagged \"serve\", found graphs tagged {found:?}")))
        }
    }
}

impl SavedModel {
    /// What can be asked of the model, by name, without what only sets it up. None for a frozen graph, of which one
    /// thing alone can be asked.
    pub fn signatures(&self) -> Vec<&str> {
        let all = self.signatures.iter().flatten();
        let asked = all.filter(|(name, signature)| !name.starts_with("__") && !signature.outputs.is_empty());
        asked.map(|(name, _)| name.as_str()).collect()
    }

    /// All that one signature needs as one graph, calls put in place and variables read.
    ///
    /// Where none is named: `serving_default`, or else the only one there is. For a frozen graph: from its
    /// placeholders to the operators that nothing reads.
    ///
    /// # Errors
    ///
    /// [`Error::Signature`] if there is none of this name, or none is named and there are several;
    /// [`Error::ControlFlow`] for recurrent layers; others where the file contradicts itself.
    pub fn function(&self, signature: Option<&str>) -> Result<Function> {
        let Some(signatures) = &self.signatures else {
            if let Some(name) = signature {
                let known = "no signatures, since it is a frozen graph".into();
                return Err(Error::Signature { wanted: format!("no signature {name:?}"), known });
            }
            let (inputs, outputs) = self.ends()?;
            return Function::new(self, inputs, outputs);
        };
        let known = self.signatures();
        let list = || match known.is_empty() {
            true => "none".to_string(),
            false => known.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
        };
        let chosen = match signature {
            Some(name) if known.contains(&name) => name,
            Some(name) => {
                return Err(Error::Signature { wanted: format!("no signature {name:?}"), known: list() });
            }
            None if known.contains(&DEFAULT) => DEFAULT,
            None => match known[..] {
                [only] => only,
                _ => {
                    return Err(Error::Signature {
                        wanted: "a signature must be named".into(),
                        known: list(),
                    });
                }
            },
        };
        let signature = &signatures[chosen];
        let ends = |ends: &BTreeMap<String, proto::TensorInfo>| {
            let ends = ends.iter().map(|(name, info)| {
                let shape = dims(info.tensor_shape.as_ref());
                Endpoint { name: name.clone(), tensor: info.name.clone(), dtype: info.dtype, shape }
            });
            let mut ends: Vec<_> = ends.collect();
            ends.sort_by_key(|end| natural(&end.name));
            ends
        };
        Function::new(self, ends(&signature.inputs), ends(&signature.outputs))
    }

    /// The placeholders of a frozen graph, and what nothing reads.
    fn ends(&self) -> Result<(Vec<Endpoint>, Vec<Endpoint>)> {
        let end = |node: &NodeDef, kind: &str| Endpoint {
            name: node.name.clone(),
            tensor: node.name.clone(),
            dtype: node.kind(kind).unwrap_or_default(),
            shape: node.dims("shape"),
        };
        let is_input = |node: &NodeDef| node.op == "Placeholder";
        let inputs = self.nodes.iter().flat_map(NodeDef::data_inputs);
        let read: HashSet<_> = inputs.map(|input| endpoint(input).0).collect();
        let without_value = ["NoOp", "Assert", "Const", "Print"];
        // Beside a value with a gradient of its own stands the same value without.
        let with_gradient = self.nodes.iter().filter(|node| node.op == "IdentityN");
        let with_gradient: HashSet<_> = with_gradient.flat_map(NodeDef::data_inputs).collect();
        let is_beside = |node: &NodeDef| {
            node.op == "Identity" && node.data_inputs().any(|input| with_gradient.contains(input))
        };
        let is_output = |node: &&NodeDef| {
            let has_value = !is_input(node) && !without_value.contains(&node.op.as_str());
            has_value && !read.contains(node.name.as_str()) && !is_beside(node)
        };
        let inputs: Vec<_> = self.nodes.iter().filter(|n| is_input(n)).map(|n| end(n, "dtype")).collect();
        let outputs: Vec<_> = self.nodes.iter().filter(is_output).map(|n| end(n, "T")).collect();
        match (inputs.is_empty(), outputs.is_empty()) {
            (true, _) => Err(Error::Format("expected a placeholder, found none".into())),
            (_, true) => Err(Error::Format("expected an operator that nothing reads, found none".into())),
            _ => Ok((inputs, outputs)),
        }
    }
}

/// An order in which `output_10` comes after `output_9`.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.into(), name[stem.len()..].parse().unwrap_or(0), name.into())
}
