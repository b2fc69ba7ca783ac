//! Operators that a file itself defines.

use attr_core::{Activation, Op};
use prost::Message;

use super::{message, model, names, node};
use crate::decode;
use crate::proto::*;

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn function(name: &str, inputs: &[&str], outputs: &[&str], node: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "mine".into(),
        input: strings(inputs),
        output: strings(outputs),
        node,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        ..FunctionProto::default()
    }
}

fn used(name: &str, layer: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto { domain: "mine".into(), ..node(name, layer, inputs, outputs) }
}

/// An attribute that has the value of one of the use.
fn of_use(mut node: NodeProto, name: &str, of: &str) -> NodeProto {
    let (name, ref_attr_name) = (name.into(), of.into());
    node.attribute.push(AttributeProto { name, ref_attr_name, ..AttributeProto::default() });
    node
}

fn with(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> Vec<u8> {
    ModelProto { functions, ..model(17, &[0, 3], vec![], nodes) }.encode_to_vec()
}

#[test]
fn a_use_becomes_the_operators_of_the_definition() {
    let leaky = of_use(node("LeakyRelu", "", &["a"], &["t"]), "alpha", "slope");
    let twice = FunctionProto {
        attribute_proto: vec![AttributeProto {
            name: "slope".into(),
            f: Some(0.25),
            ..AttributeProto::default()
        }],
        ..function("Twice", &["a"], &["b"], vec![leaky, node("Add", "sum", &["t", "t"], &["b"])])
    };
    let outer = function("Outer", &["p"], &["q"], vec![used("Twice", "inner", &["p"], &["q"])]);
    let nodes = vec![
        used("Twice", "first", &["x"], &["y"]),
        used("Twice", "second", &["y"], &["z"]).float("slope", 0.5),
        used("Outer", "third", &["z"], &["w"]),
    ];
    let graph = decode(&with(nodes, vec![twice, outer])).unwrap();
    // The operator that gives the value has the name of the use.
    assert_eq!(names(&graph), ["x", "first/t", "first", "second/t", "second", "third/t", "third"]);
    let slopes = graph.nodes().iter().filter_map(|node| match node.op {
        Op::Activation(Activation::LeakyRelu { slope }) => Some(slope),
        _ => None,
    });
    assert_eq!(slopes.collect::<Vec<_>>(), [0.25, 0.5, 0.25]);
}

#[test]
fn definitions_that_grow_without_bound_are_refused() {
    let itself = function("F", &["a"], &["b"], vec![used("F", "again", &["a"], &["b"])]);
    let file = with(vec![used("F", "f", &["x"], &["y"])], vec![itself]);
    assert!(message(decode(&file)).contains("too deep"), "{}", message(decode(&file)));
    let level = |i: usize| {
        let (this, next) = (format!("F{i}"), format!("F{}", i + 1));
        let uses = (0..8).map(|k| used(&next, &format!("u{k}"), &["a"], &[&format!("b{k}")])).collect();
        function(&this, &["a"], &["b0"], uses)
    };
    let functions = (0..12).map(level).collect();
    let file = with(vec![used("F0", "f", &["x"], &["y"])], functions);
    assert!(message(decode(&file)).contains("grow too large"));
}

#[test]
fn a_use_that_does_not_fit_is_an_error() {
    let f = || function("F", &["a"], &["b"], vec![node("Relu", "r", &["a"], &["b"])]);
    let file = with(vec![used("F", "f", &["x", "x"], &["y"])], vec![f()]);
    assert_eq!(
        message(decode(&file)),
        "layer \"f\": function \"F\" has 1 inputs and 1 outputs, found 2 and 1"
    );
    let file = with(vec![used("G", "f", &["x"], &["y"])], vec![f()]);
    assert_eq!(message(decode(&file)), "1 operator is not supported: mine.G (layer \"f\")");
}
