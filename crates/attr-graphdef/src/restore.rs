//! Which numbers of the variables' files each variable is restored from.

use std::collections::{HashMap, HashSet};

use crate::node::{constant, endpoint};
use crate::proto::{FunctionDef, NodeDef};
use crate::read::SavedModel;
use crate::tensor::texts;
use crate::{Error, Result};

/// By the names of the variables in the main graph, the keys of their numbers, as the operator `restore` assigns them.
pub(crate) fn restored<'a>(saved: &'a SavedModel, restore: &str) -> Result<HashMap<&'a str, &'a [u8]>> {
    let body = Body::new(&saved.nodes);
    let Some(restore) = body.nodes.get(restore) else {
        return Err(Error::Variables("the model does not say how they are restored".into()));
    };
    let mut keys = HashMap::new();
    let mut seen = HashSet::new();
    let mut stack = vec![*restore];
    while let Some(node) = stack.pop() {
        if !seen.insert(node.name.as_str()) {
            continue;
        }
        stack.extend(node.input.iter().filter_map(|input| body.node(input.trim_start_matches('^'))));
        match node.op.as_str() {
            "StatefulPartitionedCall" | "PartitionedCall" => {
                let function = node.function("f").and_then(|name| saved.functions.get(name));
                let function = function
                    .ok_or_else(|| Error::operator(&node.name, "no function to restore variables with"))?;
                in_function(node, function, &mut keys)?;
            }
            _ => body.assigned(node, &mut keys, |target| body.node(target).map(|node| node.name.as_str()))?,
        }
    }
    Ok(keys)
}

/// What a function restores that is called with these variables.
fn in_function<'a>(
    call: &'a NodeDef,
    function: &'a FunctionDef,
    keys: &mut HashMap<&'a str, &'a [u8]>,
) -> Result<()> {
    let arguments = function.signature.iter().flat_map(|signature| &signature.input_arg);
    let variables = call.data_inputs().map(|input| endpoint(input).0);
    let arguments: HashMap<_, _> = arguments.map(|argument| argument.name.as_str()).zip(variables).collect();
    let body = Body::new(&function.node_def);
    for node in &function.node_def {
        body.assigned(node, keys, |target| arguments.get(target).copied())?;
    }
    Ok(())
}

struct Body<'a> {
    nodes: HashMap<&'a str, &'a NodeDef>,
}

impl<'a> Body<'a> {
    fn new(nodes: &'a [NodeDef]) -> Self {
        Body { nodes: nodes.iter().map(|node| (node.name.as_str(), node)).collect() }
    }

    fn node(&self, input: &str) -> Option<&'a NodeDef> {
        self.nodes.get(input.split(':').next().unwrap_or_default()).copied()
    }

    /// Notes what an assignment restores.
    fn assigned(
        &self,
        node: &'a NodeDef,
        keys: &mut HashMap<&'a str, &'a [u8]>,
        variable: impl Fn(&'a str) -> Option<&'a str>,
    ) -> Result<()> {
        if !["Assign", "AssignVariableOp"].contains(&node.op.as_str()) {
            return Ok(());
        }
        let mut inputs = node.data_inputs();
        let (Some(target), Some(mut value)) = (inputs.next().and_then(variable), inputs.next()) else {
            return Ok(());
        };
        // What it assigns may be handed on a few times.
        for _ in 0..8 {
            let Some(from) = self.node(value) else { return Ok(()) };
            match from.op.as_str() {
                "Identity" => match from.data_inputs().next() {
                    Some(input) => value = input,
                    None => return Ok(()),
                },
                "RestoreV2" => {
                    let number = endpoint(value).1;
                    let number = if value.contains(':') { number } else { 0 };
                    keys.insert(target, self.key(from, number)?);
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// The key of what a restoring operator gives as its output with this number.
    fn key(&self, restore: &'a NodeDef, number: usize) -> Result<&'a [u8]> {
        let broken = |reason: String| Error::operator(&restore.name, reason);
        let inputs: Vec<_> = restore.data_inputs().collect();
        let list = |at: usize| {
            let node = inputs.get(at).and_then(|input| self.node(input));
            let node = node.ok_or_else(|| broken(format!("input {at} is missing")))?;
            texts(&node.name, constant(node)?)
        };
        if list(2)?.iter().any(|slice| !slice.is_empty()) {
            return Err(broken("restores parts of variables, which is not known here".into()));
        }
        let key = list(1)?.get(number);
        key.map(|key| &key[..]).ok_or_else(|| broken(format!("does not name what its output {number} is")))
    }
}
