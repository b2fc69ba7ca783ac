//! Graphs as layers, run on candle: TensorFlow's outputs and gradients, and values at Keras' layers.
//!
//! The fixtures and what TensorFlow computes with them are made by `xtask/python/tensorflow_fixtures.py`.

use std::fs::File;
use std::path::PathBuf;

use attr_candle::{CandleModel, CandleTensor, compile};
use attr_core::{Cut, Graph, LayeredModel, ModelWrapper, Op, Point, Precision, Tensor};
use attr_graphdef::{Function, read};
use ndarray::{ArrayD, Axis, IxDyn};
use ndarray_npy::NpzReader;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn function(name: &str, signature: Option<&str>) -> Function {
    read(fixture(name)).unwrap().function(signature).unwrap()
}

/// What TensorFlow computes with a model.
struct Computed(NpzReader<File>);

impl Computed {
    fn of(name: &str) -> Self {
        Computed(NpzReader::new(File::open(fixture(name).with_extension("npz")).unwrap()).unwrap())
    }

    fn get(&mut self, name: &str) -> ArrayD<f64> {
        self.find(name).unwrap_or_else(|| panic!("no array {name}"))
    }

    fn find(&mut self, name: &str) -> Option<ArrayD<f64>> {
        let array: ArrayD<f32> = self.0.by_name(&format!("{name}.npy")).ok()?;
        Some(array.mapv(f64::from))
    }
}

/// That two arrays agree but for the rounding of single precision, in which TensorFlow has computed.
#[track_caller]
fn agree(what: &str, found: &ArrayD<f64>, expected: &ArrayD<f64>) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let gap = found.iter().zip(expected).fold(0.0f64, |gap, (a, b)| gap.max((a - b).abs()));
    assert!(largest > 0.0 && gap <= 1e-5 * largest, "{what}: {gap} of {largest}");
}

/// Channels where a layer has them.
fn channels_second(array: &ArrayD<f64>) -> ArrayD<f64> {
    let rank = array.ndim();
    let axes: Vec<_> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    array.view().permuted_axes(IxDyn(&axes)).as_standard_layout().to_owned()
}

/// Twice the last number of each row.
fn cotangent(values: &[CandleTensor]) -> attr_core::Result<Vec<CandleTensor>> {
    let mut first = values[0].to_array()? * 0.0;
    let row = first.len() / first.shape()[0];
    first.iter_mut().skip(row - 1).step_by(row).for_each(|x| *x = 2.0);
    let rest = values[1..].iter().map(|value| value.like(&(value.to_array()? * 0.0)));
    std::iter::once(values[0].like(&first)).chain(rest).collect()
}

/// What is left of a gradient where the largest of several equal entries may be any of them.
fn summed(gradient: &ArrayD<f64>) -> ArrayD<f64> {
    gradient.sum_axis(Axis(3)).sum_axis(Axis(2))
}

fn check(name: &str, signature: Option<&str>, layers: &[&str], second: &[&str]) -> CandleModel {
    check_but(name, signature, layers, second, &[])
}

/// Runs a model's layers, and holds all that TensorFlow computed against them; `second` are the layers whose values
/// have channels in another place, `ties` those behind which the largest of several equal entries is taken.
fn check_but(
    name: &str,
    signature: Option<&str>,
    layers: &[&str],
    second: &[&str],
    ties: &[&str],
) -> CandleModel {
    let function = function(name, signature);
    let mut computed = Computed::of(name);
    let model = compile(function.layers().unwrap(), Precision::F64).unwrap();
    let inputs = function.inputs.iter().map(|input| computed.get(&format!("input.{}", input.name)));
    let inputs: Vec<_> = inputs.map(|input| model.tensor(&input).unwrap()).collect();
    let (input, output) = (Cut::input(), Cut::output());
    let run = |point: Point<'_, CandleTensor>, from: &Cut| {
        let found = model.gradient(point, from, &output, &mut |values| cotangent(values)).unwrap();
        found.gradients.iter().map(|gradient| gradient.to_array().unwrap()).collect::<Vec<_>>()
    };
    let outputs = model.forward(Point::at(&inputs), &output).unwrap();
    for (end, found) in function.outputs.iter().zip(&outputs) {
        agree(&end.name, &found.to_array().unwrap(), &computed.get(&format!("output.{}", end.name)));
    }
    for (end, found) in function.inputs.iter().zip(run(Point::at(&inputs), &input)) {
        agree(&end.name, &found, &computed.get(&format!("gradient.{}", end.name)));
    }
    for &layer in layers {
        let mut get = |kind: &str| {
            let array = computed.get(&format!("{kind}.{layer}"));
            if second.contains(&layer) { channels_second(&array) } else { array }
        };
        let cut = Cut::layer(layer);
        let value = model.forward(Point::at(&inputs), &cut).unwrap().remove(0).to_array().unwrap();
        agree(layer, &value, &get("layer"));
        let (found, expected) = (run(Point::at(&inputs), &cut).remove(0), get("layer_gradient"));
        match ties.contains(&layer) {
            false => agree(layer, &found, &expected),
            true => agree(layer, &summed(&found), &summed(&expected)),
        }
        let other = [model.tensor(&get("replaced")).unwrap()];
        let point = Point { inputs: &inputs, replace: Some((&cut, &other)) };
        agree(layer, &run(point, &cut)[0], &get("replaced_gradient"));
        for (end, found) in function.outputs.iter().zip(model.forward(point, &output).unwrap()) {
            let expected = computed.get(&format!("replaced_output.{layer}.{}", end.name));
            agree(layer, &found.to_array().unwrap(), &expected);
        }
    }
    model
}

fn kinds(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|node| node.op.kind()).collect()
}

#[test]
fn sequential() {
    let layers = ["conv", "norm", "pool", "norm2", "relu", "flatten", "hidden"];
    let model = check("sequential", None, &layers, &layers[..5]);
    // One layer an operator that its author would name, and the channels to their place and back.
    let expected = [
        "input",
        "transpose",
        "convolution",
        "relu",
        "batch norm",
        "max pooling",
        "convolution",
        "batch norm",
        "relu",
        "transpose",
        "reshape",
        "linear",
        "relu",
        "linear",
        "softmax",
    ];
    assert_eq!(kinds(model.graph()), expected);
    let norm = model.graph().node(model.graph().find("norm").unwrap());
    assert_eq!(norm.op, Op::BatchNorm { epsilon: 0.001 });
}

#[test]
fn functional() {
    let second = ["conv", "conv_1", "conv_2", "re_lu", "re_lu_1", "re_lu_2", "add"];
    check("functional", None, &[&second[..], &["embedding", "both"]].concat(), &second);
}

#[test]
fn mobile() {
    let layers = ["Conv1", "bn_Conv1_relu", "depthwise", "project_BN", "block_add", "average"];
    check("mobile", None, &layers, &layers);
}

#[test]
fn gelu() {
    check("gelu", None, &["norm", "exact", "add", "permute", "mixed", "reshape"], &[]);
}

/// Keras' attention is two Einstein sums of computed values and a softmax between them.
#[test]
fn attention() {
    let model = check("attention", None, &["attention", "norm"], &[]);
    let kinds = kinds(model.graph());
    for kind in ["attention", "layer norm"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn dilated() {
    let layers = ["same", "valid", "padded", "nearest", "bilinear", "transposed", "all", "depthwise"];
    // Upsampling makes equal entries, of which global pooling takes the largest.
    check_but("dilated", None, &layers, &layers, &["nearest", "all", "depthwise"]);
}

#[test]
fn activations() {
    check("silu", None, &["silu", "elu", "hard_sigmoid", "prelu", "all", "hidden"], &[]);
}

#[test]
fn frozen() {
    check("frozen.pb", None, &["conv", "norm", "pool"], &["conv", "norm", "pool"]);
}

#[test]
fn module() {
    check("module", Some("classify"), &["stem"], &["stem"]);
    check("module", Some("features"), &[], &[]);
}

/// A few operators to an output; the fixture is made by `xtask/python/tensorflow_operators.py`.
#[test]
fn operators() {
    let function = function("operators.pb", None);
    let mut computed = Computed::of("operators");
    let model = compile(function.layers().unwrap(), Precision::F64).unwrap();
    let inputs = function.inputs.iter().map(|input| computed.get(&format!("input.{}", input.name)));
    let inputs: Vec<_> = inputs.map(|input| model.tensor(&input).unwrap()).collect();
    let output = Cut::output();
    let values = model.forward(Point::at(&inputs), &output).unwrap();
    assert!(function.outputs.len() > 70);
    for (i, end) in function.outputs.iter().enumerate() {
        // Outputs are called `Identity_1` and so on; what they hand on has the case's name.
        let case = function.node(&end.tensor).unwrap().input[0].trim_start_matches("case.");
        agree(case, &values[i].to_array().unwrap(), &computed.get(&format!("output.{case}")));
        let mut of_this = |values: &[CandleTensor]| {
            let mut cotangents =
                values.iter().map(|value| value.zeros_like()).collect::<Result<Vec<_>, _>>()?;
            cotangents[i] = cotangent(&values[i..=i])?.remove(0);
            Ok(cotangents)
        };
        let found = model.gradient(Point::at(&inputs), &Cut::input(), &output, &mut of_this).unwrap();
        for (input, found) in function.inputs.iter().zip(&found.gradients) {
            let found = found.to_array().unwrap();
            match computed.find(&format!("gradient.{case}.{}", input.name)) {
                Some(expected) => agree(case, &found, &expected),
                None => assert!(found.iter().all(|&x| x == 0.0), "{case} does not depend on {}", input.name),
            }
        }
    }
}
