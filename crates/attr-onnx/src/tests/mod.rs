//! Files made by hand, sound and broken.

mod constants;
mod functions;
mod hostile;
mod names;
mod operators;
mod rows;

use std::collections::HashMap;

use attr_core::{Activation, Graph, Op};
use prost::Message;

use crate::proto::*;
use crate::{Error, Options, decode, decode_with, read};

fn node(op_type: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    NodeProto {
        input: list(inputs),
        output: list(outputs),
        name: name.into(),
        op_type: op_type.into(),
        ..NodeProto::default()
    }
}

impl NodeProto {
    fn int(mut self, name: &str, i: i64) -> Self {
        self.attribute.push(AttributeProto { name: name.into(), i: Some(i), ..AttributeProto::default() });
        self
    }

    fn float(mut self, name: &str, f: f32) -> Self {
        self.attribute.push(AttributeProto { name: name.into(), f: Some(f), ..AttributeProto::default() });
        self
    }

    fn ints(mut self, name: &str, ints: &[i64]) -> Self {
        self.attribute.push(AttributeProto {
            name: name.into(),
            ints: ints.into(),
            ..AttributeProto::default()
        });
        self
    }

    fn text(mut self, name: &str, text: &'static str) -> Self {
        let s = Some(text.as_bytes().into());
        self.attribute.push(AttributeProto { name: name.into(), s, ..AttributeProto::default() });
        self
    }
}

fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let len = dims.iter().product::<i64>();
    let float_data = (0..len).map(|i| i as f32).collect();
    TensorProto { name: name.into(), dims: dims.into(), data_type: 1, float_data, ..TensorProto::default() }
}

fn list(name: &str, list: &[i64]) -> TensorProto {
    let (dims, int64_data) = (vec![list.len() as i64], list.to_vec());
    TensorProto { name: name.into(), dims, data_type: 7, int64_data, ..TensorProto::default() }
}

/// An input's or output's type; 0 is an open length.
fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&n| DimensionProto {
        value: Some(if n == 0 { Dimension::Param("open".into()) } else { Dimension::Value(n) }),
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: 1, shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}

/// A file with one input `x` whose output is the last operator's.
fn model(opset: i64, dims: &[i64], initializer: Vec<TensorProto>, node: Vec<NodeProto>) -> ModelProto {
    let output = node.last().map(|node| value(&node.output[0], &[])).into_iter().collect();
    let graph =
        GraphProto { node, initializer, input: vec![value("x", dims)], output, ..GraphProto::default() };
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        ..ModelProto::default()
    }
}

fn import(
    opset: i64,
    dims: &[i64],
    weights: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
) -> Result<Graph, Error> {
    decode(&model(opset, dims, weights, nodes).encode_to_vec())
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes().iter().map(|node| node.name.as_str()).collect()
}

fn shape(graph: &Graph) -> String {
    graph.node(graph.outputs()[0]).shape.to_string()
}

fn message(result: Result<Graph, Error>) -> String {
    result.expect_err("the file is broken").to_string()
}

#[test]
fn windows_of_one_number_are_no_pooling() {
    for operator in ["MaxPool", "AveragePool"] {
        for (kernel, strides, pools) in
            [([1, 1], [1, 1], false), ([2, 1], [1, 1], true), ([1, 1], [1, 2], true)]
        {
            let pool = node(operator, "p", &["x"], &["y"]).ints("kernel_shape", &kernel);
            let graph = import(17, &[0, 1, 4, 4], vec![], vec![pool.ints("strides", &strides)]).unwrap();
            let last = graph.node(graph.outputs()[0]);
            assert_eq!(last.op != Op::Identity, pools, "{operator} {kernel:?} {strides:?}");
        }
    }
}

#[test]
fn all_unsupported_operators_are_listed_with_their_layers() {
    let nodes = vec![
        node("Foo", "a", &["x"], &["1"]),
        node("Relu", "fine", &["1"], &["2"]),
        node("Foo", "b", &["2"], &["3"]),
        node("Acos", "c", &["x"], &["4"]).float("alpha", 2.0),
        node("MaxPool", "d", &["x"], &["5", "indices"]).ints("kernel_shape", &[1, 1]).int("x", 2),
        node("Add", "e", &["5", "4"], &["6"]),
        NodeProto { domain: "mine".into(), ..node("Relu", "f", &["6"], &["7"]) },
    ];
    assert_eq!(
        message(import(17, &[0, 1, 4, 4], vec![], nodes)),
        "4 operators are not supported: Foo (layers \"a\", \"b\"), Acos (layer \"c\"), \
         MaxPool with attribute x=2 (layer \"d\"), mine.Relu (layer \"f\")"
    );
    let mask = vec![node("Dropout", "drop", &["x"], &["y", "mask"]), node("Relu", "r", &["mask"], &["z"])];
    assert_eq!(
        message(import(17, &[0, 3], vec![], mask)),
        "1 operator is not supported: Dropout with output 1 (layer \"drop\")"
    );
}

#[test]
fn reshape_targets_keep_the_batch() {
    // (rows the file was made for, a row's shape, target, shape of the layer)
    let cases: [(i64, &[i64], &[i64], &str); 11] = [
        (0, &[3, 4], &[0, -1], "[B, 12]"),
        (0, &[3, 4], &[-1, 12], "[B, 12]"),
        (0, &[3, 4], &[-1, 4], "[3B, 4]"),
        (0, &[3, 4], &[1, -1], "[1, 12B]"),
        (0, &[3, 4], &[0, 0, 2, 2], "[B, 3, 2, 2]"),
        (1, &[3, 4], &[1, -1], "[B, 12]"),
        (2, &[3, 4], &[2, 12], "[B, 12]"),
        (2, &[3, 4], &[2, -1, 2], "[B, 6, 2]"),
        (2, &[3, 4], &[6, 4], "[3B, 4]"),
        (2, &[3, 4], &[-1, 6], "[2B, 6]"),
        (5, &[3, 4], &[-1], "[12B]"),
    ];
    for (rows, row, target, expected) in cases {
        let graph = import(
            17,
            &[&[rows], row].concat(),
            vec![list("to", target)],
            vec![node("Reshape", "r", &["x", "to"], &["y"])],
        );
        assert_eq!(shape(&graph.unwrap()), expected, "{rows} rows of {row:?} to {target:?}");
    }
    let unclear = vec![node("Reshape", "r", &["x", "to"], &["y"])];
    let unclear = import(17, &[1, 3, 4], vec![list("to", &[3, -1])], unclear);
    assert!(message(unclear).contains("where the batch goes"));
}

#[test]
fn arithmetic_on_shapes_is_done_while_reading() {
    let nodes = vec![
        node("Shape", "", &["x"], &["shape"]),
        node("Gather", "", &["shape", "zero"], &["rows"]),
        node("Unsqueeze", "", &["rows", "first"], &["rows1"]),
        node("Slice", "", &["shape", "first_one", "last"], &["rest"]),
        node("Slice", "", &["rest", "first", "first_one"], &["channels"]),
        node("Gather", "", &["rest", "first_one"], &["columns"]),
        node("Mul", "", &["channels", "columns"], &["product"]),
        node("Cast", "", &["product"], &["product64"]).int("to", 7),
        node("Concat", "", &["rows1", "product64"], &["target"]).int("axis", 0),
        node("Reshape", "flat", &["x", "target"], &["y"]),
    ];
    let lists = vec![
        TensorProto { dims: vec![], ..list("zero", &[0]) },
        list("first", &[0]),
        list("first_one", &[1]),
        list("last", &[i64::MAX]),
    ];
    let graph = import(17, &[0, 3, 4], lists, nodes).unwrap();
    assert_eq!((names(&graph), shape(&graph)), (vec!["x", "flat"], "[B, 12]".into()));
}

#[test]
fn layers_keep_the_names_of_the_file() {
    let nodes = vec![
        node("Relu", "", &["x"], &["a"]),
        node("Split", "cut", &["a"], &["b", "c", "d"]).int("axis", 1),
        node("Sum", "total", &["b", "c", "d"], &["e"]),
        node("Relu", "cut", &["e"], &["f"]),
    ];
    let graph = import(11, &[0, 6], vec![], nodes).unwrap();
    assert_eq!(names(&graph), ["x", "a", "cut", "cut_1_1", "cut_2", "total_1", "total", "cut_1"]);
}

#[test]
fn a_product_with_factors_is_one_layer_and_sharing_remains() {
    let nodes = vec![
        node("Gemm", "one", &["x", "w", "b"], &["1"]).float("alpha", 0.5).float("beta", 2.0),
        node("Gemm", "two", &["1", "w", "b"], &["2"]).float("alpha", 0.5).float("beta", 2.0),
        node("Identity", "", &["w"], &["same"]),
        node("MatMul", "three", &["2", "w"], &["3"]),
        node("MatMul", "four", &["3", "same"], &["4"]),
    ];
    let graph = import(13, &[0, 2], vec![floats("w", &[2, 2]), floats("b", &[1, 2])], nodes).unwrap();
    let params: Vec<_> = graph.nodes()[1..].iter().map(|node| node.params.clone()).collect();
    assert_eq!((&params[0], &params[2]), (&params[1], &params[3]));
    let numbers = |id: usize| graph.params()[id].to_f64().unwrap().iter().copied().collect::<Vec<_>>();
    assert_eq!(numbers(params[0][0]), [0.0, 1.0, 0.5, 1.5]);
    assert_eq!(numbers(params[0][1]), [0.0, 2.0]);
    assert_eq!(numbers(params[2][0]), [0.0, 2.0, 1.0, 3.0]);
    assert_eq!(graph.params().len(), 3);
}

#[test]
fn automatic_padding_is_made_explicit() {
    for (auto_pad, expected) in [("SAME_UPPER", (0, 1)), ("SAME_LOWER", (1, 0)), ("VALID", (0, 0))] {
        let conv = node("Conv", "c", &["x", "w"], &["y"]).text("auto_pad", auto_pad).ints("strides", &[2, 2]);
        let graph = import(17, &[0, 1, 6, 6], vec![floats("w", &[1, 1, 3, 3])], vec![conv]).unwrap();
        let Op::Conv(conv) = &graph.node(1).op else { panic!("expected a convolution") };
        assert_eq!(conv.padding, [expected; 2], "{auto_pad}");
    }
}

/// A transposed convolution of four entries with a kernel of three.
fn transposed(opset: i64, told: impl Fn(NodeProto) -> NodeProto) -> Result<Graph, Error> {
    let layer = told(node("ConvTranspose", "up", &["x", "w", "b"], &["y"]));
    import(opset, &[0, 2, 4], vec![floats("w", &[2, 3, 3]), floats("b", &[3])], vec![layer])
}

/// As ONNX Runtime does, whose values are those of the padding expected here.
#[test]
fn padding_of_transposed_convolutions() {
    type Told = fn(NodeProto) -> NodeProto;
    let cases: [(Told, (usize, usize), &str); 11] = [
        (|n| n, (0, 0), "[B, 3, 6]"),
        (|n| n.ints("strides", &[2]).ints("pads", &[1, 2]), (1, 2), "[B, 3, 6]"),
        (|n| n.ints("strides", &[2]).ints("output_padding", &[1]), (0, 0), "[B, 3, 10]"),
        (|n| n.ints("strides", &[2]).text("auto_pad", "VALID"), (0, 0), "[B, 3, 9]"),
        (|n| n.ints("strides", &[2]).text("auto_pad", "SAME_UPPER"), (0, 1), "[B, 3, 8]"),
        (|n| n.ints("strides", &[2]).text("auto_pad", "SAME_LOWER"), (1, 0), "[B, 3, 8]"),
        (|n| n.ints("strides", &[2]).ints("output_shape", &[8]), (1, 0), "[B, 3, 8]"),
        (|n| n.ints("strides", &[2]).ints("output_shape", &[6]).ints("pads", &[0, 3]), (2, 1), "[B, 3, 6]"),
        (
            |n| n.ints("strides", &[2]).ints("output_shape", &[6]).text("auto_pad", "SAME_UPPER"),
            (1, 2),
            "[B, 3, 6]",
        ),
        (
            |n| n.ints("strides", &[2]).ints("output_shape", &[8]).ints("output_padding", &[1]),
            (1, 1),
            "[B, 3, 8]",
        ),
        (
            |n| n.ints("dilations", &[2]).ints("kernel_shape", &[3]).text("auto_pad", "SAME_UPPER"),
            (2, 2),
            "[B, 3, 4]",
        ),
    ];
    for (told, padding, expected) in cases {
        let graph = transposed(17, told).unwrap();
        let Op::ConvTranspose(op) = &graph.node(1).op else { panic!("expected a transposed convolution") };
        assert_eq!((&op.conv.padding[..], shape(&graph).as_str()), (&[padding][..], expected));
    }
}

#[test]
fn transposed_convolutions_that_are_refused() {
    type Told = fn(NodeProto) -> NodeProto;
    let cases: [(i64, Told, &str); 8] = [
        (
            17,
            |n| n.ints("output_shape", &[7]),
            "ConvTranspose to [7] entries, more than it reaches (layer \"up\")",
        ),
        (
            17,
            |n| n.ints("strides", &[4]).text("auto_pad", "SAME_UPPER"),
            "to [16] entries, more than it reaches",
        ),
        (10, |n| n.ints("output_shape", &[5]), "operator set 10 with an odd padding"),
        (17, |n| n.ints("output_shape", &[1, 3, 5]), "attribute output_shape: expected 1 numbers"),
        (17, |n| n.ints("output_shape", &[0]), "padding (3, 3) leaves nothing of 6 entries"),
        (17, |n| n.ints("output_padding", &[1]), "output padding below stride 1"),
        (17, |n| n.ints("kernel_shape", &[4]), "expected a kernel of [4]"),
        (17, |n| n.int("group", 3), "groups that divide 2 channels"),
    ];
    for (opset, told, part) in cases {
        let message = message(transposed(opset, told));
        assert!(message.contains(part) && message.contains("\"up\""), "{message}");
    }
    assert!(transposed(10, |n| n.ints("output_shape", &[4])).is_ok());
    for name in ["strides", "dilations", "pads", "output_padding", "output_shape", "kernel_shape"] {
        for (i, auto_pad) in hostile::EXTREMES.into_iter().flat_map(|i| [(i, "NOTSET"), (i, "SAME_UPPER")]) {
            let list: &[i64] = if name == "pads" { &[i, i] } else { &[i] };
            let _ = transposed(17, |n| n.ints("strides", &[i]).ints(name, list).text("auto_pad", auto_pad));
        }
    }
}

#[test]
fn older_operator_sets() {
    let clip = node("Clip", "c", &["x"], &["y"]).float("min", 0.0).float("max", 6.0);
    let graph = import(7, &[0, 3], vec![], vec![clip]).unwrap();
    assert_eq!(graph.node(1).op, Op::Activation(Activation::Clip { min: 0.0, max: 6.0 }));
    let softmax = |dims: &[i64]| import(11, dims, vec![], vec![node("Softmax", "s", &["x"], &["y"])]);
    assert_eq!(softmax(&[0, 3]).unwrap().node(1).op, Op::Softmax { axis: 1 });
    assert_eq!(softmax(&[0, 3, 1, 1]).unwrap().node(1).op, Op::Softmax { axis: 1 });
    let flat = softmax(&[0, 3, 2]).unwrap();
    let shapes: Vec<_> = flat.nodes().iter().map(|node| node.shape.to_string()).collect();
    assert_eq!(
        (names(&flat), flat.node(2).op.clone()),
        (vec!["x", "s_1", "s_2", "s"], Op::Softmax { axis: 1 })
    );
    assert_eq!(shapes, ["[B, 3, 2]", "[B, 6]", "[B, 6]", "[B, 3, 2]"]);
    let slice = node("Slice", "s", &["x"], &["y"]).ints("starts", &[1, -2]).ints("ends", &[9, -1]);
    let graph = import(9, &[0, 3, 4], vec![], vec![slice.ints("axes", &[1, 2])]).unwrap();
    assert_eq!((names(&graph), shape(&graph)), (vec!["x", "s_1", "s"], "[B, 2, 1]".into()));
    assert!(message(import(25, &[0, 3], vec![], vec![])).contains("expected operator set 7 to 24, found 25"));
}

#[test]
fn open_lengths_are_named_and_can_be_given() {
    let bytes = model(17, &[0, 3, 0], vec![], vec![node("Relu", "r", &["x"], &["y"])]).encode_to_vec();
    assert_eq!(
        message(decode(&bytes)),
        "input \"x\": axis 2 has the open length \"open\": give the input's shape"
    );
    let given = |row: &[usize]| {
        let input_shapes = HashMap::from([("x".into(), row.to_vec())]);
        decode_with(&bytes, &Options { input_shapes, ..Options::default() })
    };
    assert_eq!(shape(&given(&[3, 7]).unwrap()), "[B, 3, 7]");
    assert_eq!(message(given(&[4, 7])), "input \"x\": axis 1: expected 3, found 4");
    assert!(message(given(&[3])).contains("expected 2 lengths"));
}

#[test]
fn contradictions_are_errors_with_their_place() {
    let relu = |input: &str| vec![node("Relu", "r", &[input], &["y"])];
    assert_eq!(
        message(import(17, &[0, 3], vec![], relu("z"))),
        "layer \"r\": reads \"z\", which nothing in the file gives"
    );
    assert!(message(import(17, &[0, 3], vec![], relu("y"))).contains("which only a later layer"));
    let twice = vec![node("Relu", "r", &["x"], &["y"]), node("Relu", "s", &["x"], &["y"])];
    assert!(message(import(17, &[0, 3], vec![], twice)).contains("layer \"s\": gives \"y\""));
    assert!(message(import(17, &[0, 3], vec![], vec![])).contains("at least one output"));
    assert!(message(decode(b"PK\x03\x04")).contains("not a readable ONNX model"));
    assert!(message(decode(b"")).contains("expected a graph"));
    let ranks = vec![node("Concat", "c", &["a", "b"], &["y"]).int("axis", 1)];
    let weights = vec![floats("a", &[2, 2]), floats("b", &[2])];
    assert!(message(import(17, &[0, 2], weights, ranks)).contains("expected inputs of the same rank"));
    let conv = vec![node("Conv", "c", &["x", "w"], &["y"])];
    assert!(
        message(import(17, &[0, 2, 5, 5], vec![floats("w", &[1, 3, 3, 3])], conv)).contains("layer \"c\"")
    );
}

#[test]
fn weights_beside_the_file() {
    let directory = std::env::temp_dir().join(format!("attr-onnx-beside-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let numbers: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(directory.join("weights"), numbers).unwrap();
    let attempt = |location: &str, offset: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
        let weight = TensorProto {
            name: "w".into(),
            dims: vec![2],
            data_type: 1,
            data_location: 1,
            external_data: vec![entry("location", location), entry("offset", offset), entry("length", "8")],
            ..TensorProto::default()
        };
        let model = model(17, &[0, 2], vec![weight], vec![node("Add", "a", &["x", "w"], &["y"])]);
        let path = directory.join("m.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        assert!(message(decode(&model.encode_to_vec())).contains("another file"));
        read(path)
    };
    let graph = attempt("weights", "4").unwrap();
    assert_eq!(graph.params()[0].to_f64().unwrap().iter().copied().collect::<Vec<_>>(), [2.0, 3.0]);
    assert!(message(attempt("weights", "8")).contains("expected 8 bytes from 8 on"));
    assert!(message(attempt("weights", "18446744073709551615")).contains("expected 8 bytes"));
    assert!(message(attempt("weights", "many")).contains("offset is no number"));
    for outside in ["../weights", "/etc/hostname", "", "a/../../b"] {
        assert!(message(attempt(outside, "0")).contains("leads out of the directory"), "{outside}");
    }
    assert!(message(attempt(".", "0")).contains("not a file"));
    std::fs::remove_dir_all(directory).unwrap();
}
