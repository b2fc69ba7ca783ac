//! What cuts can call operators besides their own names: Keras' layers, inputs and outputs.
//!
//! An operator's name is a path of scopes, of which a layer is one. Keras 3 opens the scope of each layer twice when
//! it exports a model, and TensorFlow gives a scope that has been opened before the first free number: a layer `conv`
//! is the scope `conv_1` in the file, and a layer `conv_1` beside it is `conv_1_2`. So who looks for `conv_1` must not
//! be given the scope of that name. Whether a file is of that kind is seen by the variables, which keep their layers'
//! names, or else by whether all numbers are those that opening twice gives.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::function::Endpoint;
use crate::node::endpoint;
use crate::proto::NodeDef;

/// How often a layer's scope has been opened.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Opened {
    Once,
    Twice,
    /// The file does not tell: a name counts if both readings agree on it.
    Unknown,
}

/// Other names of operators, by their places.
pub(crate) fn aliases(
    nodes: &[NodeDef],
    places: &HashMap<String, usize>,
    inputs: &[Endpoint],
    outputs: &[Endpoint],
    variables: &HashMap<usize, String>,
) -> BTreeMap<String, usize> {
    let place = |end: &Endpoint| places.get(endpoint(&end.tensor).0).copied();
    let scopes = scopes(nodes, &on_path(nodes, places, inputs));
    let opened = opened(nodes, &scopes, variables);
    let mut named = Named::default();
    for (scope, last) in &scopes.last {
        if opened != Opened::Once {
            named.scope(&path(scope, without_number), scopes.root, *last);
        }
        if opened != Opened::Twice {
            named.scope(&path(scope, |part| part), scopes.root, *last);
        }
    }
    let mut aliases = named.unique();
    for end in inputs.iter().chain(outputs) {
        if let Some(at) = place(end) {
            aliases.entry(end.name.clone()).or_insert(at);
        }
    }
    aliases.retain(|alias, _| !places.contains_key(alias));
    aliases
}

/// The operators whose numbers depend on an input, not only on its shape.
fn on_path(nodes: &[NodeDef], places: &HashMap<String, usize>, inputs: &[Endpoint]) -> Vec<bool> {
    const SHAPES: [&str; 6] = ["Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"];
    let mut on_path = vec![false; nodes.len()];
    for input in inputs {
        places.get(endpoint(&input.tensor).0).into_iter().for_each(|&at| on_path[at] = true);
    }
    for (at, node) in nodes.iter().enumerate() {
        let mut read = node.data_inputs().filter_map(|input| places.get(endpoint(input).0));
        on_path[at] |= !SHAPES.contains(&node.op.as_str()) && read.any(|&read| on_path[read]);
    }
    on_path
}

/// The scopes of a graph.
struct Scopes<'a> {
    /// Each scope's last operator.
    last: BTreeMap<&'a str, usize>,
    /// In order.
    all: Vec<&'a str>,
    /// Whether all operators are in one scope, that of the whole model.
    root: bool,
}

/// No operator is in more scopes than this.
const MAX_DEPTH: usize = 32;

fn scopes<'a>(nodes: &'a [NodeDef], on_path: &[bool]) -> Scopes<'a> {
    let (mut last, mut all, mut roots) = (BTreeMap::new(), Vec::new(), HashSet::new());
    for (at, node) in nodes.iter().enumerate() {
        if !on_path[at] || !node.gives_floats() || node.op == "Placeholder" {
            continue;
        }
        let ends = node.name.match_indices('/').map(|(end, _)| end).take(MAX_DEPTH);
        let mut inside = None;
        for scope in ends.map(|end| &node.name[..end]) {
            inside.get_or_insert(scope);
            if last.insert(scope, at).is_none() {
                all.push(scope);
            }
        }
        // What a function hands out is in no scope.
        if inside.is_some() || node.op != "Identity" {
            roots.insert(inside);
        }
    }
    let root = roots.len() == 1 && roots.iter().all(Option::is_some);
    Scopes { last, all, root }
}

fn opened(nodes: &[NodeDef], scopes: &Scopes, variables: &HashMap<usize, String>) -> Opened {
    let (mut once, mut twice) = (false, false);
    for (&at, variable) in variables {
        let Some(layer) = variable.rsplit('/').nth(1) else { continue };
        let mut parts = nodes[at].name.split('/');
        match parts.clone().any(|part| part == layer) {
            true => once = true,
            false => twice |= parts.any(|part| without_number(part) == layer),
        }
    }
    match (once, twice) {
        (true, false) => Opened::Once,
        (false, true) => Opened::Twice,
        (true, true) => Opened::Unknown,
        (false, false) => {
            let depth = usize::from(scopes.root);
            let layers = scopes.all.iter().filter(|scope| scope.matches('/').count() == depth);
            let layers: Vec<_> = layers.map(|scope| scope.rsplit('/').next().unwrap_or_default()).collect();
            match layers.iter().all(|layer| without_number(layer) == *layer) {
                true => Opened::Once,
                false if are_opened_twice(&layers) => Opened::Twice,
                false => Opened::Unknown,
            }
        }
    }
}

/// Whether these are the names of scopes each of which has been opened twice, in order.
fn are_opened_twice(scopes: &[&str]) -> bool {
    let mut used: HashMap<String, usize> = HashMap::new();
    scopes.iter().all(|scope| {
        let layer = without_number(scope);
        open(&mut used, layer);
        layer != *scope && open(&mut used, layer) == *scope
    })
}

/// The name that TensorFlow gives a scope, by those it has given: numbers from 1 on are tried until one is free,
/// whatever the letters' case.
fn open(used: &mut HashMap<String, usize>, scope: &str) -> String {
    let key = scope.to_lowercase();
    let mut number = used.get(&key).copied().unwrap_or(0);
    used.insert(key.clone(), number + 1);
    if number == 0 {
        return scope.into();
    }
    loop {
        let free = format!("{key}_{number}");
        number += 1;
        if !used.contains_key(&free) {
            used.insert(key, number);
            used.insert(free, 1);
            return format!("{scope}_{}", number - 1);
        }
    }
}

/// `conv_1` of `conv_1_2`; the name itself where it does not end in a number.
fn without_number(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((stem, number)) if !stem.is_empty() && !number.is_empty() => {
            if number.bytes().all(|b| b.is_ascii_digit()) { stem } else { name }
        }
        _ => name,
    }
}

fn path<'a>(scope: &'a str, part: impl Fn(&'a str) -> &'a str) -> String {
    scope.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Names and what they may mean: in full, and by ends of the full ones.
#[derive(Default)]
struct Named {
    full: BTreeMap<String, HashSet<usize>>,
    ends: BTreeMap<String, HashSet<usize>>,
}

impl Named {
    /// A scope is called by its path, with or without the model's own name, or by an end of it.
    fn scope(&mut self, path: &str, root: bool, last: usize) {
        self.full.entry(path.into()).or_default().insert(last);
        let mut rest = path;
        let mut within_root = root;
        while let Some((_, end)) = rest.split_once('/') {
            let names = if within_root { &mut self.full } else { &mut self.ends };
            names.entry(end.into()).or_default().insert(last);
            within_root = false;
            rest = end;
        }
    }

    /// The names that mean one operator.
    fn unique(self) -> BTreeMap<String, usize> {
        let Named { full, ends } = self;
        let ends: Vec<_> = ends.into_iter().filter(|(name, _)| !full.contains_key(name)).collect();
        let single = |(name, places): (String, HashSet<usize>)| match places.len() {
            1 => places.into_iter().next().map(|place| (name, place)),
            _ => None,
        };
        full.into_iter().chain(ends).filter_map(single).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{are_opened_twice, without_number};

    #[test]
    fn numbers_of_scopes_are_those_of_opening_twice() {
        // What Keras 3 with TensorFlow 2.16 exports for the layers conv, conv_1, conv_2, dense_1, dense.
        let scopes = ["conv_1", "conv_1_2", "conv_2_1", "dense_1_1", "dense_2"];
        assert!(are_opened_twice(&scopes));
        let layers: Vec<_> = scopes.iter().map(|scope| without_number(scope)).collect();
        assert_eq!(layers, ["conv", "conv_1", "conv_2", "dense_1", "dense"]);
        assert!(!are_opened_twice(&["conv", "conv_1"]));
        assert!(!are_opened_twice(&["conv_1", "conv_2"]));
        assert_eq!(without_number("block2"), "block2");
    }
}
