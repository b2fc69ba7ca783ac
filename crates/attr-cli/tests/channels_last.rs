//! A picture whose channels are its last axis is explained as one whose channels are the first.
#![cfg(feature = "candle")]

mod bench;

use attr_core::{Graph, Op};
use bench::Bench;
use ndarray::ArrayD;
use ndarray_npy::{read_npy, write_npy};

#[test]
fn every_method_says_the_same_about_either_order() {
    let bench = channels_last("channels-last");
    for model in ["model", "last"] {
        let input = if model == "last" { "x-last.npy" } else { "x.npy" };
        bench.done(&format!("patterns --model {model}.onnx --input {input} --out {model}.safetensors"));
    }
    for method in bench.done("methods").lines().filter_map(|line| line.split(' ').next()) {
        let explain = |model: &str, input: &str| {
            let more = match method {
                // The network has no global average pooling.
                "cam" => return None,
                "occlusion" => "--set window=3x2 --set stride=1x2".to_string(),
                "pattern-net" | "pattern-attribution" => format!("--patterns {model}.safetensors"),
                _ => String::new(),
            };
            bench.done(&format!(
                "explain --model {model}.onnx --input {input} --method {method} {more} --out v.npy"
            ));
            Some(read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap())
        };
        let (Some(first), Some(last)) = (explain("model", "x.npy"), explain("last", "x-last.npy")) else {
            continue;
        };
        // A map of the picture has the one place for its channels that maps of layers have.
        let last = if last.shape()[1] == 1 { last } else { last.permuted_axes(vec![0, 3, 1, 2]) };
        // SmoothGrad's noise is drawn number by number, so that its order is another one.
        if !["smoothgrad", "smoothgrad-squared", "vargrad", "smooth-fullgrad"].contains(&method) {
            bench::assert_close(&last, &first, method);
        }
        assert_eq!(last.shape(), first.shape(), "{method}");
    }
}

#[test]
fn pictures_and_post_processing_go_by_the_order() {
    let bench = channels_last("channels-last-pictures");
    let draw = |model: &str, more: &str| {
        bench.done(&format!("explain --model {model}.onnx --input photo.png {more} --out v.png"));
        image::open(bench.path("v.png")).unwrap().into_rgb8()
    };
    for more in [
        "--method gradient --plain",
        "--method occlusion --set window=2 --set stride=1 --plain",
        "--method grad-cam --plain",
        "--method gradient --layer features/conv --plain",
        "--method input-x-gradient --post max-channels --plain",
        "--method gradient",
    ] {
        assert!(draw("last", more) == draw("model", more), "{more}");
    }
    let compare = |model: &str| {
        bench.done(&format!(
            "compare --model {model}.onnx --input photo.png --methods gradient,lrp --out g.png"
        ));
        image::open(bench.path("g.png")).unwrap().into_rgb8()
    };
    assert!(compare("last") == compare("model"));
    // What an array alone is drawn as does not depend on a description of pictures.
    std::fs::remove_file(bench.path("last.json")).unwrap();
    std::fs::remove_file(bench.path("model.json")).unwrap();
    let plain = |model: &str, input: &str| {
        bench.done(&format!(
            "explain --model {model}.onnx --input {input} --method gradient --target 1 --plain --out v.png"
        ));
        image::open(bench.path("v.png")).unwrap().into_rgb8()
    };
    assert!(plain("last", "x-last.npy") == plain("model", "x.npy"));
    assert!(bench.leftovers().is_empty());
}

#[test]
fn what_goes_along_other_axes_is_refused() {
    let bench = channels_last("channels-last-limits");
    let said = bench.attr("explain --model last.onnx --input x-last.npy --set baseline=blur~2");
    assert_eq!((said.code, said.err.lines().count()), (2, 1), "{}", said.err);
    assert!(said.err.contains("parameter baseline") && said.err.contains("channels"), "{}", said.err);
}

/// `last.onnx` is `model.onnx` with a transposition behind its input, and described like it.
fn channels_last(name: &str) -> Bench {
    let bench = Bench::new(name);
    let first = attr_onnx::read(bench.path("model.onnx")).unwrap();
    let mut last = Graph::default();
    let params: Vec<_> = first.params().iter().map(|param| last.param(param.clone())).collect();
    let mut ids = Vec::new();
    for node in first.nodes() {
        let inputs: Vec<_> = node.inputs.iter().map(|&id| ids[id]).collect();
        let own: Vec<_> = node.params.iter().map(|&param| params[param]).collect();
        ids.push(match node.op {
            Op::Input => {
                let x = last.input(&node.name, &[6, 8, 3]).unwrap();
                last.add("first", Op::Transpose { axes: vec![0, 3, 1, 2] }, &[x], &[]).unwrap()
            }
            _ => last.add(&node.name, node.op.clone(), &inputs, &own).unwrap(),
        });
    }
    last.set_outputs(&first.outputs().iter().map(|&id| ids[id]).collect::<Vec<_>>()).unwrap();
    attr_onnx::write(&last, bench.path("last.onnx")).unwrap();
    bench.write("last.json", std::fs::read(bench.path("model.json")).unwrap());
    let x: ArrayD<f64> = read_npy(bench.path("x.npy")).unwrap();
    write_npy(bench.path("x-last.npy"), &x.permuted_axes(vec![0, 2, 3, 1]).as_standard_layout()).unwrap();
    bench
}
