//! Operators that a file itself defines: each use becomes the operators of the definition.

use std::collections::HashMap;

use prost::Message;

use crate::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto, OperatorSetIdProto};
use crate::{Error, Result};

/// A definition may use others, so deep.
const MAX_DEPTH: usize = 16;

/// All operators together, with their names and attributes, are at most so many times as long as the file.
const MAX_GROWTH: usize = 16;

/// An operator and the version of ONNX's set of operators that it is to be read by.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) node: NodeProto,
    pub(crate) opset: i64,
}

/// The version of ONNX's own set of operators that a list asks for.
pub(crate) fn opset(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let version = |domain: &str| imports.iter().find(|o| o.domain == domain).map(|o| o.version);
    version("").or(version("ai.onnx"))
}

/// The operators of a model, in order, none of which the file defines itself. Definitions that use each other twice
/// could grow without bound, so there is one, for a file of so many bytes.
///
/// The operator that gives a use's first value has the name of the use; the others have it before their own.
pub(crate) fn inlined(model: &mut ModelProto, opset: i64, bytes: usize) -> Result<Vec<Placed>> {
    let nodes = model.graph.as_mut().map(|graph| std::mem::take(&mut graph.node)).unwrap_or_default();
    if model.functions.is_empty() {
        return Ok(nodes.into_iter().map(|node| Placed { node, opset }).collect());
    }
    let key = |f: &'_ FunctionProto| (f.domain.clone(), f.name.clone(), f.overload.clone());
    let functions = model.functions.iter().map(|f| (key(f), f)).collect();
    let mut inliner =
        Inliner { functions, left: bytes.saturating_mul(MAX_GROWTH), placed: Vec::new(), calls: 0 };
    for node in nodes {
        inliner.place(node, opset, 0)?;
    }
    Ok(inliner.placed)
}

struct Inliner<'a> {
    functions: HashMap<(String, String, String), &'a FunctionProto>,
    /// How many more bytes of operators there may be.
    left: usize,
    placed: Vec<Placed>,
    calls: usize,
}

impl Inliner<'_> {
    fn place(&mut self, node: NodeProto, opset: i64, depth: usize) -> Result<()> {
        let refuse = |reason: String| Err(Error::Layer { layer: name_of(&node).into(), reason });
        self.spend(&node, node.encoded_len())?;
        let key = (node.domain.clone(), node.op_type.clone(), node.overload.clone());
        let Some(&function) = self.functions.get(&key) else {
            self.placed.push(Placed { node, opset });
            return Ok(());
        };
        if depth == MAX_DEPTH {
            return refuse(format!("function {:?} is used too deep in others", function.name));
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return refuse(format!(
                "function {:?} has {} inputs and {} outputs, found {} and {}",
                function.name,
                function.input.len(),
                function.output.len(),
                node.input.len(),
                node.output.len()
            ));
        }
        let opset = self::opset(&function.opset_import).unwrap_or(opset);
        self.calls += 1;
        self.spend(&node, function.input.len() + function.output.len() + function.attribute_proto.len())?;
        let defaults = function.attribute_proto.iter();
        // What a use says goes before what the definition says.
        let attributes: HashMap<_, _> =
            defaults.chain(&node.attribute).map(|attribute| (attribute.name.as_str(), attribute)).collect();
        let mut values = HashMap::new();
        for (inner, i) in function.input.iter().zip(0..) {
            values.insert(inner.as_str(), node.input.get(i).cloned().unwrap_or_default());
        }
        for (inner, outer) in function.output.iter().zip(&node.output) {
            // An output that is an input of the function as well is given by nothing inside.
            if values.contains_key(inner.as_str()) {
                return refuse(format!("function {:?} gives its own input {inner:?}", function.name));
            }
            if !outer.is_empty() {
                values.insert(inner, outer.clone());
            }
        }
        let prefix = name_of(&node);
        for inner in &function.node {
            let mut inner = inner.clone();
            let call = self.calls;
            let outer = |name: &mut String| {
                *name = match values.get(name.as_str()) {
                    Some(outer) => outer.clone(),
                    // No value of the file outside of functions has such a name by accident.
                    None if !name.is_empty() => format!("{prefix}\u{0}{call}/{name}"),
                    None => String::new(),
                };
            };
            inner.name = match function.output.first().is_some_and(|first| inner.output.contains(first)) {
                true => prefix.to_string(),
                false => format!("{prefix}/{}", name_of(&inner)),
            };
            inner.input.iter_mut().for_each(outer);
            inner.output.iter_mut().for_each(outer);
            for mut attribute in std::mem::take(&mut inner.attribute) {
                if !attribute.ref_attr_name.is_empty() {
                    let Some(&given) = attributes.get(attribute.ref_attr_name.as_str()) else { continue };
                    self.spend(&node, given.encoded_len())?;
                    attribute = AttributeProto { name: attribute.name, ..given.clone() };
                }
                inner.attribute.push(attribute);
            }
            self.place(inner, opset, depth + 1)?;
        }
        Ok(())
    }

    fn spend(&mut self, node: &NodeProto, bytes: usize) -> Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => {
                let reason = "the functions of this file grow too large".into();
                return Err(Error::Layer { layer: name_of(node).into(), reason });
            }
        }
        Ok(())
    }
}

/// The name of an operator's layer: its own, or else that of its first value, or of its kind.
pub(crate) fn name_of(node: &NodeProto) -> &str {
    let first = || node.output.iter().map(String::as_str).find(|name| !name.is_empty());
    match node.name.as_str() {
        "" => match first().unwrap_or(&node.op_type) {
            "" => "layer",
            name => name,
        },
        name => name,
    }
}
