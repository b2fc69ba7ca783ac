//! The names that a network's author knows its layers by: the paths of PyTorch's modules, as its exporters leave them in
//! the names of operators (`/layer4/layer4.1/conv2/Conv`), in their metadata, or in the names of weights. Where they are in
//! the metadata, operators have numbers for names (`node_conv2d_7`), and layers are called by the modules instead.

use std::collections::{HashMap, HashSet};

use attr_core::{Graph, NodeId};

use crate::Result;
use crate::proto::NodeProto;

/// Modules further in have no names: a long name must not make very many.
const MAX_DEPTH: usize = 16;

/// The key under which PyTorch's exporter keeps the modules that an operator is in, from the outside in.
const SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// The key under which files written here keep the names that a layer has besides its own, one a line.
pub(crate) const NAMES: &str = "attr.names";

/// The operators that a module with weights consists of, as a whole.
const WITH_WEIGHTS: [&str; 6] =
    ["BatchNormalization", "Conv", "ConvTranspose", "Gemm", "GroupNormalization", "LayerNormalization"];

/// The names of operators by their modules, for those with modules in their metadata: of one that is all of a module, or has
/// its weight, the module's path; of another the path and, behind a slash, the name of its value in PyTorch. Of several that
/// are one there, the last has the name, and the others theirs behind it.
pub(crate) fn by_modules<'a>(nodes: impl Iterator<Item = &'a NodeProto> + Clone) -> Vec<Option<String>> {
    let scopes: Vec<_> = nodes.clone().map(Scopes::of).collect();
    let mut values = HashMap::<&str, HashSet<&str>>::new();
    let mut with_others = HashSet::<&str>::new();
    let mut last = HashMap::new();
    for (at, scopes) in scopes.iter().enumerate() {
        let Some(Scopes { paths, value }) = scopes else { continue };
        let Some((inner, outer)) = paths.split_last() else { continue };
        values.entry(inner).or_default().insert(value);
        with_others.extend(outer.iter().map(String::as_str));
        last.insert((inner, value), at);
    }
    let mut names = Vec::new();
    for (at, (node, scopes)) in nodes.zip(&scopes).enumerate() {
        let inner = scopes.as_ref().and_then(|scopes| Some((scopes.paths.last()?, &scopes.value)));
        let behind = inner.and_then(|(path, _)| node.name.strip_prefix(path.as_str()));
        let is_by_modules = behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']));
        names.push(inner.filter(|_| !is_by_modules).map(|(path, value)| {
            let is_all = values[path.as_str()].len() == 1 && !with_others.contains(path.as_str());
            let base = match module_of_weight(node) {
                Some(module) => module.to_string(),
                None if is_all => path.clone(),
                None => format!("{path}/{value}"),
            };
            if last[&(path, value)] == at { base } else { format!("{base}/{}", node.name) }
        }));
    }
    names
}

/// What an operator's metadata say of its place.
struct Scopes {
    /// The modules that it is in.
    paths: Vec<String>,
    /// Its value's name in PyTorch.
    value: String,
}

impl Scopes {
    fn of(node: &NodeProto) -> Option<Self> {
        let list = entry(node, SCOPES)?;
        let value = list.trim().trim_end_matches(']').rsplit(',').next()?.trim().trim_matches(['\'', '"']);
        Some(Scopes { paths: paths_in_scopes(list), value: value.to_string() })
    }
}

fn entry<'a>(node: &'a NodeProto, key: &str) -> Option<&'a str> {
    node.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

/// The module whose weight an operator has.
fn module_of_weight(node: &NodeProto) -> Option<&str> {
    let module = node.input.get(1)?.strip_suffix(".weight")?;
    WITH_WEIGHTS.contains(&node.op_type.as_str()).then_some(module)
}

/// What is known of the modules that layers belong to, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    layers: Vec<(Vec<String>, NodeId)>,
    /// Names that hold where no path is the same.
    others: Vec<(String, NodeId)>,
}

impl Modules {
    /// Remembers an operator that has become a layer.
    pub(crate) fn note(&mut self, node: &NodeProto, id: NodeId) {
        if let Some(names) = entry(node, NAMES) {
            self.others.extend(names.lines().map(|name| (name.into(), id)));
            return;
        }
        let scopes = entry(node, SCOPES);
        let paths = scopes.map_or_else(|| paths_in_name(&node.name), paths_in_scopes);
        if !paths.is_empty() {
            self.layers.push((paths, id));
        }
        self.others.extend(module_of_weight(node).map(|module| (module.into(), id)));
        if scopes.is_some() && !node.name.is_empty() {
            self.others.push((node.name.clone(), id));
        }
    }

    /// Gives layers the names of the modules that they are the outputs of: the last layer of each. A module without
    /// others in it that is used several times is `relu`, `relu_1`, `relu_2`... in the order of its uses. A module that
    /// an exporter has merged into another, so that no layer is left in it, is found by its weight.
    pub(crate) fn name(self, graph: &mut Graph) -> Result<()> {
        let mut runs = HashMap::<&str, Vec<NodeId>>::new();
        let mut order = Vec::new();
        let mut with_others = HashSet::<&str>::new();
        let mut before: &[String] = &[];
        for (paths, id) in &self.layers {
            for (depth, path) in paths.iter().enumerate() {
                let uses = runs.entry(path).or_insert_with(|| {
                    order.push(path);
                    Vec::new()
                });
                match uses.last_mut() {
                    Some(last) if before.contains(path) => *last = *id,
                    _ => uses.push(*id),
                }
                if depth + 1 < paths.len() {
                    with_others.insert(path);
                }
            }
            before = paths;
        }
        let used = |path: &String| (runs[path.as_str()].as_slice(), with_others.contains(path.as_str()));
        for path in &order {
            match used(path) {
                (uses, true) => uses.last().map_or(Ok(()), |&id| graph.also_called(id, path))?,
                (uses, false) => uses.first().map_or(Ok(()), |&id| graph.also_called(id, path))?,
            }
        }
        for path in &order {
            if let (uses, false) = used(path) {
                for (i, &id) in uses.iter().enumerate().skip(1) {
                    graph.also_called(id, &format!("{path}_{i}"))?;
                }
            }
        }
        for (name, id) in &self.others {
            graph.also_called(*id, name)?;
        }
        Ok(())
    }
}

/// The paths in a list as Python writes it, `['', 'layer4', 'layer4.1', 'relu_45']`: all but the first, which is the
/// whole network, and the last, which is the value.
fn paths_in_scopes(list: &str) -> Vec<String> {
    let inner = list.trim().trim_start_matches('[').trim_end_matches(']');
    let mut paths: Vec<_> = inner.split(',').map(|entry| entry.trim().trim_matches(['\'', '"'])).collect();
    paths.pop();
    let paths = paths.into_iter().filter(|path| !path.is_empty());
    paths.take(MAX_DEPTH).map(str::to_string).collect()
}

/// The paths in a name like `/layer4/layer4.1/conv2/Conv`, whose last part is the operator. Where modules are kept in a
/// list, a part begins with the one before it.
fn paths_in_name(name: &str) -> Vec<String> {
    let Some((modules, _)) = name.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) else {
        return Vec::new();
    };
    let mut paths: Vec<String> = Vec::new();
    let mut before = "";
    for part in modules.split('/').take(MAX_DEPTH) {
        let extends =
            part.strip_prefix(before).is_some_and(|rest| !before.is_empty() && rest.starts_with('.'));
        let path = match paths.last() {
            None => part.to_string(),
            Some(path) if extends => format!("{path}{}", &part[before.len()..]),
            Some(path) => format!("{path}.{part}"),
        };
        paths.push(path);
        before = part;
    }
    paths
}
