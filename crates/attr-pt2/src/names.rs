//! What layers are called: by the paths of PyTorch's modules.

use std::collections::{HashMap, HashSet};

use crate::schema::Node;
use crate::translate::call_outputs;

/// A name for each operator, and the modules that it is in.
pub(crate) struct Names {
    names: Vec<String>,
    scopes: Vec<String>,
}

impl Names {
    /// An operator that is all of a module has the module's path, another one in a module the path and, behind a slash, its
    /// own name.
    pub(crate) fn of(nodes: &[Node]) -> Self {
        let paths: Vec<_> = nodes.iter().map(paths).collect();
        let own: Vec<_> = nodes
            .iter()
            .map(|node| {
                node.name
                    .clone()
                    .or_else(|| call_outputs(node).first().map(|name| name.to_string()))
                    .unwrap_or_default()
            })
            .collect();
        let mut uses = HashMap::<&str, usize>::new();
        let mut with_others = HashSet::<&str>::new();
        for paths in &paths {
            if let Some((last, outer)) = paths.split_last() {
                *uses.entry(last).or_default() += 1;
                with_others.extend(outer.iter().map(String::as_str));
            }
        }
        let name = |(own, paths): (&String, &Vec<String>)| match paths.last() {
            Some(path) if uses[path.as_str()] == 1 && !with_others.contains(path.as_str()) => path.clone(),
            Some(path) => format!("{path}/{own}"),
            None => own.clone(),
        };
        let names = own.iter().zip(&paths).map(name).collect();
        let list = |(own, paths): (&String, &Vec<String>)| {
            let quoted = paths.iter().chain([own]).map(|path| format!(", '{path}'"));
            if paths.is_empty() { String::new() } else { format!("[''{}]", quoted.collect::<String>()) }
        };
        let scopes = own.iter().zip(&paths).map(list).collect();
        Names { names, scopes }
    }

    pub(crate) fn name(&self, at: usize) -> &str {
        &self.names[at]
    }

    /// The modules as ONNX files of PyTorch have them in their metadata.
    pub(crate) fn scopes(&self, at: usize) -> &str {
        &self.scopes[at]
    }
}

/// The modules around an operator from the outside in, `L__self__,,Net;L__self__features,features,Sequential`.
fn paths(node: &Node) -> Vec<String> {
    let stack = node.metadata.get("nn_module_stack").and_then(|stack| stack.as_str()).unwrap_or_default();
    let path = |entry: &str| {
        let path = entry.split(',').nth(1)?;
        // A module that is called again.
        let path = path.split('@').next()?;
        // Not `getattr(L['self'], '0')`, and nothing that a list of paths in quotes has no room for.
        let plain = |c: char| !c.is_control() && !"'\"()[],;".contains(c);
        (!path.is_empty() && path.chars().all(plain) && !path.starts_with("_empty_nn_module_stack"))
            .then(|| path.to_string())
    };
    stack.split(';').filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_modules() {
        let node = |stack: &str, output: &str| -> Node {
            serde_json::from_value(serde_json::json!({
                "target": "torch.ops.aten.relu.default",
                "inputs": [],
                "outputs": [{"as_tensor": {"name": output}}],
                "metadata": {"nn_module_stack": stack},
            }))
            .unwrap()
        };
        let nodes = [
            node("L__self__,,Net;L__self___a,a,Block;L__self___a_1-0,a.block1-0,Conv", "conv"),
            node("L__self__,,Net;L__self___a,a,Block;L__self___a_act,a.act,ReLU", "relu"),
            node("L__self__,,Net;L__self___a,a,Block;L__self___a_act,a.act@1,ReLU", "relu_1"),
            node("L__self__,,Net;L__self___a,a,Block;x,getattr(L['self'].a, '0'),ReLU", "relu_2"),
            node("", "relu_3"),
        ];
        let names = Names::of(&nodes);
        let found: Vec<_> = (0..nodes.len()).map(|at| names.name(at)).collect();
        assert_eq!(found, ["a.block1-0", "a.act/relu", "a.act/relu_1", "a/relu_2", "relu_3"]);
        assert_eq!(names.scopes(0), "['', 'a', 'a.block1-0', 'conv']");
    }
}
