//! Files as graphs without calls: names, signatures, and what is refused.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use attr_graphdef::node::endpoint;
use attr_graphdef::proto::{
    ArgDef, Attr, AttrValue, FunctionDef, FunctionDefLibrary, GraphDef, NameAttrList, NodeDef, OpDef,
    data_type,
};
use attr_graphdef::tensor::tensor_proto;
use attr_graphdef::{Error, Function, SavedModel, decode, read};
use ndarray::{ArrayD, IxDyn, array};
use prost::Message;

const KERAS: [&str; 7] = ["sequential", "functional", "mobile", "gelu", "dilated", "silu", "attention"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn function(name: &str, signature: Option<&str>) -> Function {
    read(fixture(name)).unwrap().function(signature).unwrap()
}

fn all() -> Vec<Function> {
    let keras = KERAS.iter().map(|name| function(name, None));
    let serve = KERAS.iter().map(|name| function(name, Some("serve")));
    let others = [("frozen.pb", None), ("module", Some("classify")), ("module", Some("features"))];
    keras.chain(serve).chain(others.map(|(name, signature)| function(name, signature))).collect()
}

#[track_caller]
fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("it should be refused").to_string()
}

#[test]
fn every_operator_reads_those_before_it() {
    for function in all() {
        let mut before = HashSet::new();
        for node in &function.nodes {
            for input in &node.input {
                assert!(before.contains(endpoint(input).0), "{}: {input}", node.name);
            }
            assert!(before.insert(node.name.as_str()), "{} is there twice", node.name);
            assert!(
                !["StatefulPartitionedCall", "ReadVariableOp", "VarHandleOp", "NoOp"].contains(&&node.op[..])
            );
        }
        let ends = function.inputs.iter().chain(&function.outputs);
        ends.for_each(|end| assert!(before.contains(endpoint(&end.tensor).0), "{end:?}"));
        for (name, param) in &function.params {
            let node = function.node(name).unwrap();
            let dims: Vec<_> = param.dims().iter().map(|&n| Some(n)).collect();
            assert_eq!((node.op.as_str(), node.dims("shape")), ("Placeholder", Some(dims)));
        }
    }
}

#[test]
fn layers_of_keras_are_found_by_their_names() {
    let functional = function("functional", None);
    let find = |name: &str| functional.nodes[functional.find(name).unwrap()].name.as_str();
    assert_eq!(find("conv"), "functional_1/conv_1/Relu");
    assert_eq!(find("conv_1"), "functional_1/conv_1_2/Relu");
    assert_eq!(find("conv_2"), "functional_1/conv_2_1/BiasAdd");
    assert_eq!(find("re_lu_1"), "functional_1/re_lu_1_2/LeakyRelu");
    assert_eq!(find("functional/conv_1"), "functional_1/conv_1_2/Relu");
    assert_eq!(find("functional_1/conv_1/BiasAdd"), "functional_1/conv_1/BiasAdd");
    assert_eq!(find("embedding_1/MatMul"), "functional_1/embedding_1/MatMul");
    assert_eq!(find("image"), "serving_default_image");
    let error = functional.find("conv_3").unwrap_err().to_string();
    assert!(error.starts_with("no layer \"conv_3\": there are"), "{error}");
    let error = functional.find("BiasAdd").unwrap_err().to_string();
    assert!(error.contains("did you mean \"functional_1/conv_1/BiasAdd\""), "{error}");

    let frozen = function("frozen.pb", None);
    assert_eq!(frozen.nodes[frozen.find("norm").unwrap()].name, "frozen_1/norm_1/batchnorm/add_1");
    let module = function("module", Some("classify"));
    assert_eq!(module.nodes[module.find("stem").unwrap()].name, "stem/Relu");
}

#[test]
fn a_signature_is_named_where_there_are_several() {
    let module = read(fixture("module")).unwrap();
    assert_eq!(module.signatures(), ["classify", "features"]);
    assert_eq!(
        message(module.function(None)),
        "a signature must be named: the model has \"classify\", \"features\""
    );
    assert_eq!(
        message(module.function(Some("predict"))),
        "no signature \"predict\": the model has \"classify\", \"features\""
    );
    assert_eq!(read(fixture("sequential")).unwrap().signatures(), ["serve", "serving_default"]);
    let frozen = read(fixture("frozen.pb")).unwrap();
    assert!(frozen.signatures().is_empty());
    assert_eq!(
        message(frozen.function(Some("serve"))),
        "no signature \"serve\": the model has no signatures, since it is a frozen graph"
    );
}

#[test]
fn recurrent_layers_are_refused_by_name() {
    let error = message(read(fixture("recurrent")).unwrap().function(None));
    assert!(error.starts_with("recurrent layers and control flow can't be explained here: "), "{error}");
    assert!(error.contains("While (\"recurrent_1/lstm_1/while\")"), "{error}");
}

#[test]
fn operators_without_a_layer_are_listed() {
    let folder = fixture("attention");
    let bytes = std::fs::read(folder.join("saved_model.pb")).unwrap();
    let places: Vec<_> = (0..bytes.len() - 7).filter(|&at| &bytes[at..at + 7] == b"Softmax").collect();
    let mut unknown = bytes;
    places.iter().for_each(|&at| unknown[at..at + 7].copy_from_slice(b"Softmin"));
    let function = decode(unknown.into(), &folder).unwrap().function(None).unwrap();
    assert_eq!(
        message(function.layers()),
        "1 operator has no layer: Softmin (\"transformer_1/attention_1/Softmin\")"
    );
}

#[test]
fn folders_and_files_that_are_none() {
    assert!(matches!(read(fixture("nothing")), Err(Error::Io { .. })));
    assert!(matches!(read(fixture("")), Err(Error::Io { .. })));
    let error = message(read(fixture("frozen.npz")));
    assert!(error.starts_with("not a readable TensorFlow model: "), "{error}");
    // The variables are beside the file, or they are not.
    let bytes = std::fs::read(fixture("module/saved_model.pb")).unwrap();
    let model = decode(bytes.clone().into(), Path::new("nowhere")).unwrap();
    assert!(matches!(model.function(Some("classify")), Err(Error::Io { .. })));
    let model = decode(bytes.into(), &fixture("module")).unwrap();
    assert_eq!(model.function(Some("classify")).unwrap().params.len(), 4);
    assert_eq!(read(fixture("module/saved_model.pb")).unwrap().signatures().len(), 2);
}

fn float(op: &str, name: &str, inputs: &[&str]) -> NodeDef {
    NodeDef::new(op, name, inputs.iter().copied()).with("T", AttrValue::kind(data_type::FLOAT))
}

fn placeholder(dims: &[Option<usize>]) -> NodeDef {
    let node = NodeDef::new("Placeholder", "x", [""; 0]).with("shape", AttrValue::shape(dims));
    node.with("dtype", AttrValue::kind(data_type::FLOAT))
}

fn call(name: &str, function: &str, input: &str) -> NodeDef {
    let function = Attr::Func(NameAttrList { name: function.into() });
    NodeDef::new("PartitionedCall", name, [input]).with("f", function.into())
}

/// A function of one value.
fn of_one(name: &str, ret: &str, node_def: Vec<NodeDef>) -> FunctionDef {
    let argument = |name: &str| vec![ArgDef { name: name.into(), r#type: data_type::FLOAT }];
    let signature = OpDef { name: name.into(), input_arg: argument("a"), output_arg: argument("r") };
    let ret = BTreeMap::from([("r".to_string(), ret.to_string())]);
    FunctionDef { signature: Some(signature), node_def, ret }
}

fn graph(node: Vec<NodeDef>, function: Vec<FunctionDef>) -> SavedModel {
    let graph = GraphDef { node, library: Some(FunctionDefLibrary { function }), versions: None };
    decode(graph.encode_to_vec().into(), Path::new("")).unwrap()
}

#[test]
fn calls_are_put_in_place_under_unique_names() {
    let body = vec![float("Relu", "act", &["a"]), float("Neg", "deep/act_1", &["act:activations:0"])];
    let outer = vec![call("inner", "f", "a"), float("Identity", "Identity", &["inner:output:0"])];
    let functions = vec![of_one("f", "deep/act_1:y:0", body), of_one("g", "Identity:output:0", outer)];
    let nodes = vec![
        placeholder(&[None, Some(2)]),
        call("first", "f", "x"),
        call("second", "g", "first"),
        float("Tanh", "act_1", &["second"]),
    ];
    let function = graph(nodes, functions).function(None).unwrap();
    let read: Vec<_> = function.nodes.iter().map(|n| (n.name.as_str(), n.input.join(" "))).collect();
    let expected = [
        ("x", ""),
        ("act", "x"),
        ("deep/act_1", "act"),
        ("act_2", "deep/act_1"),
        ("deep/act_1_1", "act_2"),
        ("act_1", "deep/act_1_1"),
    ];
    assert_eq!(read, expected.map(|(name, inputs)| (name, inputs.to_string())));
    assert_eq!(function.outputs[0].tensor, "act_1");
}

#[test]
fn outputs_of_several_arguments_are_told_apart() {
    let body = vec![
        NodeDef::new("FusedBatchNormV3", "norm", ["a", "a", "a", "a", "a"]),
        float("Relu", "r", &["norm:batch_variance:0"]),
        NodeDef::new("Split", "split", ["a", "r:activations:0"]),
        float("Add", "sum", &["split:output:1", "norm:y:0"]),
    ];
    let function = graph(vec![placeholder(&[None]), call("c", "f", "x")], vec![of_one("f", "sum:z:0", body)]);
    let function = function.function(None).unwrap();
    assert_eq!(function.node("r").unwrap().input, ["norm:2"]);
    assert_eq!(function.node("sum").unwrap().input, ["split:1", "norm"]);
}

#[test]
fn calls_without_an_end_are_refused() {
    let endless = of_one("f", "again:output:0", vec![call("again", "f", "a")]);
    let error = message(graph(vec![placeholder(&[None]), call("c", "f", "x")], vec![endless]).function(None));
    assert_eq!(error, "operator \"again\": functions call one another more than 64 deep");
    // Each function calls the next one twice.
    let mut functions = vec![of_one("f0", "r:activations:0", vec![float("Relu", "r", &["a"])])];
    for i in 1..40 {
        let below = format!("f{}", i - 1);
        let twice = vec![call("one", &below, "a"), call("two", &below, "one:output:0")];
        functions.push(of_one(&format!("f{i}"), "two:output:0", twice));
    }
    let error = message(graph(vec![placeholder(&[None]), call("c", "f39", "x")], functions).function(None));
    assert!(error.ends_with("its constants and calls are larger than the file allows"), "{error}");
    let circle = vec![placeholder(&[None]), float("Add", "a", &["x", "b"]), float("Neg", "b", &["a"])];
    let error = message(graph([circle, vec![float("Relu", "y", &["a"])]].concat(), vec![]).function(None));
    assert_eq!(error, "operator \"a\": reads a value that is made of its own");
}

#[test]
fn constants_say_their_numbers_in_few() {
    let constant = |tensor| {
        let node = NodeDef::new("Const", "c", [""; 0]).with("dtype", AttrValue::kind(data_type::FLOAT));
        let nodes = vec![placeholder(&[None, Some(2)]), node.with("value", AttrValue::tensor(tensor))];
        graph([nodes, vec![float("Mul", "y", &["x", "c"])]].concat(), vec![]).function(None)
    };
    let mut few = tensor_proto(&ArrayD::<f32>::zeros(IxDyn(&[100, 2])));
    (few.tensor_content, few.float_val) = (Default::default(), vec![3.0, 4.0]);
    let found = constant(few.clone()).unwrap().params["c"].to_f64().unwrap();
    assert_eq!((found[[0, 0]], found[[0, 1]], found[[99, 1]]), (3.0, 4.0, 4.0));
    few.tensor_shape = tensor_proto(&ArrayD::<f32>::zeros(IxDyn(&[1]))).tensor_shape;
    few.tensor_shape.as_mut().unwrap().dim[0].size = 1 << 40;
    assert!(message(constant(few.clone())).ends_with("larger than the file allows"));
    few.tensor_shape.as_mut().unwrap().dim[0].size = -1;
    assert!(message(constant(few).and_then(|function| function.layers())).contains("expected a shape"));
    let short = attr_graphdef::proto::TensorProto {
        tensor_shape: tensor_proto(&ArrayD::<f32>::zeros(IxDyn(&[100]))).tensor_shape,
        ..tensor_proto(&array![1.0f32, 2.0].into_dyn())
    };
    assert_eq!(message(constant(short)), "tensor \"c\": expected 400 bytes, found 8");
}

#[test]
fn lengths_that_are_open_must_be_given() {
    let nodes = || vec![placeholder(&[None, None, Some(3)]), float("Relu", "y", &["x"])];
    let function = graph(nodes(), vec![]).function(None).unwrap();
    assert_eq!(message(function.layers()), "input \"x\": axis 1 has an open length: give the input's shape");
    let given = |row: &[usize]| function.layers_for(&BTreeMap::from([("x".to_string(), row.to_vec())]));
    assert_eq!(given(&[5, 3]).unwrap().node(0).shape.to_string(), "[B, 5, 3]");
    assert_eq!(message(given(&[5, 4])), "input \"x\": axis 2: expected 3, found 4");
}

#[test]
fn gradients_that_are_cut_off_are_not_overlooked() {
    let nodes = vec![placeholder(&[None, Some(3)]), float("StopGradient", "s", &["x"])];
    let function =
        graph([nodes, vec![float("Mul", "y", &["x", "s"])]].concat(), vec![]).function(None).unwrap();
    assert_eq!(
        message(function.layers()),
        "1 operator has no layer: StopGradient of a value that has a gradient (\"s\")"
    );
}
