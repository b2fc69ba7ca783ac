//! Programs run on candle in double precision, against what PyTorch computes with them in double precision.
//!
//! The fixtures are made by `xtask/python/program_fixtures.py`.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use attr_candle::{CandleModel, CandleTensor, compile};
use attr_core::{Cut, Graph, ModelWrapper, Op, Point, Precision, Tensor};
use attr_pt2::Error;
use ndarray::ArrayD;
use ndarray_npy::NpzReader;

/// PyTorch's versions, and the version of its format that each writes.
const VERSIONS: [(&str, &str); 11] = [
    ("2.5", "7.3"),
    ("2.6", "8.2"),
    ("2.7", "8.7"),
    ("2.8", "8.8"),
    ("2.9", "8.14"),
    ("2.10", "8.15"),
    ("2.11", "8.17"),
    ("2.12", "8.20"),
    ("2.13", "8.20"),
    ("2.14", "8.20"),
    ("2.15", "8.20"),
];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn graph(name: &str) -> Graph {
    attr_pt2::read(fixture(&format!("{name}.pt2"))).unwrap()
}

/// Each number weighted by its place among those of a row.
fn weighted(values: &[CandleTensor]) -> attr_core::Result<Vec<CandleTensor>> {
    let places = values.iter().map(|value| {
        let mut array = value.to_array()?;
        let row = array.len() / array.shape()[0];
        array.iter_mut().enumerate().for_each(|(i, x)| *x = (i % row + 1) as f64);
        value.like(&array)
    });
    places.collect()
}

#[track_caller]
fn agree(what: &str, found: &ArrayD<f64>, expected: &ArrayD<f64>) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let gap = found.iter().zip(expected).fold(0.0f64, |gap, (a, b)| gap.max((a - b).abs()));
    assert!(largest > 0.0 && gap <= 1e-12 * largest, "{what}: {gap} of {largest}");
}

/// All outputs, and the derivative by each input that has one.
fn check(name: &str) -> Graph {
    let mut computed = NpzReader::new(File::open(fixture(&format!("{name}.npz"))).unwrap()).unwrap();
    let mut get = |key: &str| -> Option<ArrayD<f64>> { computed.by_name(&format!("{key}.npy")).ok() };
    let graph = graph(name);
    let model: CandleModel = compile(graph.clone(), Precision::F64).unwrap();
    let names: Vec<_> = graph.inputs().iter().map(|&id| graph.node(id).name.clone()).collect();
    let inputs: Vec<_> = names.iter().map(|name| get(&format!("input.{name}")).unwrap()).collect();
    // Rows don't depend on each other, whatever batch the program was exported with.
    for rows in [2, 1, 3] {
        let rows: Vec<_> = (0..rows).map(|row| row % 2).collect();
        let of = |array: &ArrayD<f64>| array.select(ndarray::Axis(0), &rows);
        let inputs: Vec<_> = inputs.iter().map(|input| model.tensor(&of(input)).unwrap()).collect();
        let found = model.forward(Point::at(&inputs), &Cut::output()).unwrap();
        assert!(get(&format!("output.{}", found.len())).is_none());
        for (i, found) in found.iter().enumerate() {
            let expected = of(&get(&format!("output.{i}")).unwrap());
            agree(&format!("{name}: output {i}"), &found.to_array().unwrap(), &expected);
        }
        let expected: Vec<_> =
            names.iter().filter_map(|name| Some((name, get(&format!("gradient.{name}"))?))).collect();
        if expected.is_empty() {
            continue;
        }
        let from = Cut::several(expected.iter().map(|(name, _)| Cut::layer(*name)));
        let gradient = model.gradient(Point::at(&inputs), &from, &Cut::output(), &mut weighted).unwrap();
        for ((name, expected), found) in expected.iter().zip(&gradient.gradients) {
            agree(&format!("gradient by {name}"), &found.to_array().unwrap(), &of(expected));
        }
    }
    graph
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes().iter().map(|node| node.name.as_str()).collect()
}

#[test]
fn layers_in_a_sequence() {
    let graph = check("convolutions");
    for name in ["features.0", "features.1", "features.2", "pool", "classifier.0", "classifier.3"] {
        assert!(names(&graph).contains(&name), "{name}: {:?}", names(&graph));
    }
    // A module with others in it is its last layer.
    assert_eq!(graph.find("features"), graph.find("features.9"));
    assert_eq!(graph.find("classifier"), graph.find("classifier.3"));
    let kinds: Vec<_> = graph.nodes().iter().map(|node| node.op.kind()).collect();
    assert!(kinds.contains(&"batch norm") && kinds.contains(&"transposed convolution"), "{kinds:?}");
}

#[test]
fn layers_in_core_operators() {
    check("convolutions-core");
}

#[test]
fn a_batch_of_fixed_length_is_any() {
    check("convolutions-fixed");
}

#[test]
fn values_changed_in_place() {
    let graph = check("residual");
    assert_eq!(graph.outputs().len(), 2);
    check("residual-core");
}

#[test]
fn texts() {
    let graph = check("text");
    let found = |name: &str| &graph.node(graph.find(name).unwrap_or_else(|| panic!("{name}"))).op;
    assert_eq!(found("embed"), &Op::Embedding);
    assert!(matches!(found("encoder.norm1"), Op::LayerNorm { .. }));
    assert!(matches!(found("encoder.self_attn/scaled_dot_product_attention"), Op::Attention { .. }));
    check("text-core");
}

#[test]
fn pooling_with_windows_of_several_lengths() {
    check("parts");
    check("parts-core");
}

#[test]
fn several_inputs_and_constants() {
    check("two");
    check("two-core");
}

/// One network in every format that there has been.
#[test]
fn every_version_of_pytorch() {
    for (version, schema) in VERSIONS {
        let name = format!("exported-{version}");
        let bytes = std::fs::read(fixture(&format!("{name}.pt2"))).unwrap();
        let numbers =
            schema.split_once('.').map(|(major, minor)| format!("{{\"major\": {major}, \"minor\": {minor}"));
        let numbers = numbers.unwrap();
        assert!(bytes.windows(numbers.len()).any(|part| part == numbers.as_bytes()), "{version}: {schema}");
        check(&name);
    }
}

/// An operator's name, what it reads, and what it gives.
type Operator<'a> = (&'a str, &'a str, &'a str);

/// A program of these operators, each of one value.
fn archive(nodes: &[Operator], output: &str) -> Vec<u8> {
    use serde_json::json;
    let value = |name: &str| json!({"as_tensor": {"name": name}});
    let node = |&(operator, x, y): &Operator| {
        json!({
            "target": format!("torch.ops.aten.{operator}.default"),
            "inputs": [{"name": "self", "arg": value(x)}],
            "outputs": [value(y)],
        })
    };
    let meta = json!({"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 3}]});
    let nodes: Vec<_> = nodes.iter().map(node).collect();
    let values: serde_json::Map<_, _> =
        ["x", "y", "z", "v"].into_iter().map(|name| (name.to_string(), meta.clone())).collect();
    let program = json!({
        "graph_module": {
            "graph": {"nodes": nodes, "tensor_values": values},
            "signature": {
                "input_specs": [{"user_input": {"arg": value("x")}}],
                "output_specs": [{"user_output": {"arg": value(output)}}],
            },
        },
        "schema_version": {"major": 8, "minor": 8},
    });
    let members = [
        ("a/models/model.json", program.to_string().into_bytes()),
        ("a/data/weights/_config.json", br#"{"config": {}}"#.into()),
        ("a/data/constants/_config.json", br#"{"config": {}}"#.into()),
    ];
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in members {
        zip.start_file(name, stored).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Which layer an output is where operators before it have worked in place, or why that is not known.
#[test]
fn who_sees_what_was_changed_in_place() {
    let shared = "in place, of numbers that another value has, too";
    let cases: [(&[Operator], &str, Result<&str, &str>); 8] = [
        (&[("relu_", "x", "y"), ("neg_", "y", "z")], "x", Ok("z")),
        (&[("relu_", "x", "y"), ("neg_", "x", "z")], "y", Ok("z")),
        (&[("neg", "x", "y"), ("relu_", "x", "z")], "y", Ok("y")),
        (&[("detach", "x", "v"), ("neg_", "v", "y")], "x", Ok("y")),
        (&[("detach", "x", "v"), ("neg_", "x", "y")], "v", Err(shared)),
        (&[("relu_", "x", "y"), ("detach", "y", "v"), ("neg_", "x", "z")], "v", Err(shared)),
        (&[("relu_", "x", "x")], "x", Err("gives \"x\", which something else gives too")),
        (&[("relu_", "y", "z"), ("relu_", "z", "y")], "y", Err("which only a later layer")),
    ];
    for (nodes, output, expected) in cases {
        let found = attr_pt2::decode(archive(nodes, output).into());
        match (found, expected) {
            (Ok(graph), Ok(layer)) => assert_eq!(graph.node(graph.outputs()[0]).name, layer, "{nodes:?}"),
            (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{nodes:?}: {error}"),
            (found, _) => panic!("{nodes:?}: expected {expected:?}, found {found:?}"),
        }
    }
}

#[test]
fn what_is_missing_is_one_list() {
    let bytes = std::fs::read(fixture("convolutions.pt2")).unwrap();
    let text = |from: &str, to: &str, bytes: Vec<u8>| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut bytes = bytes;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let bytes = text("aten.hardswish.default", "aten.softswish.default", bytes);
    let bytes = text("aten.leaky_relu.default", "aten.leaky_gelu.default", bytes);
    let error = attr_pt2::decode(bytes.into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 operators are not supported: aten.leaky_gelu.default (layer \"features.5\"), aten.softswish.default (layer \
         \"features.8\")"
    );
    assert!(matches!(error, Error::Operators(_)));
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"PK\x03\x04", b"no archive"] {
        assert!(matches!(attr_pt2::decode(bytes.to_vec().into()), Err(Error::Format(_))), "{bytes:?}");
    }
    // Another zip archive.
    assert!(matches!(attr_pt2::read(fixture("two.npz")), Err(Error::Format(_))));
    assert!(matches!(attr_pt2::read(fixture("none.pt2")), Err(Error::Io { .. })));
    let bytes = std::fs::read(fixture("two.pt2")).unwrap();
    let version = b"\"schema_version\": {\"major\": 8";
    let at = bytes.windows(version.len()).position(|part| part == version).unwrap() + version.len() - 1;
    let mut other = bytes;
    other[at] = b'9';
    assert!(matches!(attr_pt2::decode(other.into()), Err(Error::Version { .. })));
}

/// Every length, and every byte in a few ways: an error or a network, and no panic.
#[test]
fn broken_archives() {
    broken("residual.pt2");
    broken("exported-2.5.pt2");
    broken("exported-2.8.pt2");
}

fn broken(name: &str) {
    let bytes = std::fs::read(fixture(name)).unwrap();
    for len in (0..bytes.len()).step_by(37) {
        assert!(attr_pt2::decode(bytes[..len].to_vec().into()).is_err(), "{len}");
    }
    let (mut opened, mut refused) = (0, 0);
    for at in (0..bytes.len()).step_by(19) {
        for change in [0x01, 0xff] {
            let mut broken = bytes.clone();
            broken[at] ^= change;
            match attr_pt2::decode(broken.into()) {
                Ok(_) => opened += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} {refused}");
}
