//! The names that layers have besides their own.

use super::{floats, import, list, model, node};
use crate::proto::*;
use crate::{Error, decode, encode};
use attr_core::Graph;
use prost::Message;

/// The layer that is found by a name.
fn called<'a>(graph: &'a Graph, name: &str) -> Option<&'a str> {
    graph.find(name).map(|id| graph.node(id).name.as_str())
}

#[test]
fn modules_in_the_names_of_operators() {
    let nodes = vec![
        node("Relu", "/layer4/layer4.1/relu/Relu", &["x"], &["1"]),
        node("Neg", "/layer4/layer4.1/Neg", &["1"], &["2"]),
        node("Relu", "/layer4/layer4.1/relu_1/Relu", &["2"], &["3"]),
        node("Neg", "/Neg", &["3"], &["4"]),
    ];
    let graph = import(17, &[0, 3], vec![], nodes).unwrap();
    for (name, expected) in [
        ("layer4.1.relu", Some("/layer4/layer4.1/relu/Relu")),
        ("layer4.1.relu_1", Some("/layer4/layer4.1/relu_1/Relu")),
        ("layer4.1", Some("/layer4/layer4.1/relu_1/Relu")),
        ("layer4", Some("/layer4/layer4.1/relu_1/Relu")),
        ("Neg", None),
    ] {
        assert_eq!(called(&graph, name), expected, "{name}");
    }
}

fn within(mut node: NodeProto, scopes: &str) -> NodeProto {
    let key = "pkg.torch.onnx.name_scopes".into();
    node.metadata_props.push(StringStringEntryProto { key, value: scopes.into() });
    node
}

fn network() -> Result<Graph, Error> {
    let conv = node("Conv", "node_Conv_8", &["x", "block.conv.weight"], &["a"]);
    let nodes = vec![
        within(conv, "['', 'block', 'block.bn', 'native_batch_norm']"),
        within(node("Relu", "node_relu", &["a"], &["b"]), "['', 'block', 'block.relu', 'relu']"),
        within(node("Mul", "node_mul", &["b", "b"], &["c"]), "['', 'block', 'mul']"),
        within(node("Relu", "node_relu_1", &["c"], &["d"]), "['', 'block', 'block.relu', 'relu_1']"),
        // Arithmetic on shapes is no layer.
        within(node("Shape", "node_Shape", &["d"], &["s"]), "['', 'block', 'block.relu', 'sym_size']"),
        node("Reshape", "n0", &["d", "to"], &["e"]),
    ];
    import(17, &[0, 2, 1, 1], vec![floats("block.conv.weight", &[2, 2, 1, 1]), list("to", &[0, -1])], nodes)
}

#[test]
fn modules_in_the_metadata_and_in_the_names_of_weights() {
    let graph = network().unwrap();
    for (name, expected) in [
        ("block.bn", "block.conv"),
        ("node_Conv_8", "block.conv"),
        ("block.relu", "block.relu/relu"),
        ("node_relu", "block.relu/relu"),
        ("block.relu_1", "block.relu/relu_1"),
        ("node_relu_1", "block.relu/relu_1"),
        ("node_mul", "block/mul"),
        ("block", "block.relu/relu_1"),
    ] {
        assert_eq!(called(&graph, name), Some(expected), "{name}");
    }
    let own: Vec<_> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(own, ["x", "block.conv", "block.relu/relu", "block/mul", "block.relu/relu_1", "n0"]);
    assert_eq!(graph.other_names().count(), 8);
}

#[test]
fn a_written_file_keeps_them() {
    let graph = network().unwrap();
    assert_eq!(decode(&encode(&graph).unwrap()).unwrap(), graph);
}

#[test]
fn a_layers_own_name_goes_before_one_that_another_is_called_by() {
    let nodes = vec![node("Relu", "/a/b/Relu", &["x"], &["1"]), node("Relu", "a.b", &["1"], &["2"])];
    let graph = import(17, &[0, 3], vec![], nodes).unwrap();
    assert_eq!(called(&graph, "a.b"), Some("a.b"));
    // A long name does not make very many.
    let long = format!("/{}/Relu", vec!["m"; 1000].join("/"));
    let file = model(17, &[0, 3], vec![], vec![node("Relu", &long, &["x"], &["1"])]).encode_to_vec();
    assert_eq!(decode(&file).unwrap().other_names().count(), 16);
}
