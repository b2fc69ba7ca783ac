//! Archives of `torch.export` are models like ONNX files.
#![cfg(feature = "candle")]

mod bench;

use std::path::Path;

use bench::Bench;
use ndarray::{ArrayD, Axis};
use ndarray_npy::{NpzReader, read_npy, write_npy};

/// Programs beside the inputs that they were exported with.
fn programs(name: &str) -> Bench {
    let bench = Bench::new(name);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attr-pt2/tests/fixtures");
    for (program, inputs) in
        [("convolutions", &["image"][..]), ("two", &["a", "b"]), ("text", &["tokens"]), ("residual", &[])]
    {
        std::fs::copy(fixtures.join(format!("{program}.pt2")), bench.path(&format!("{program}.pt2")))
            .unwrap();
        let file = std::fs::File::open(fixtures.join(format!("{program}.npz"))).unwrap();
        let mut computed = NpzReader::new(file).unwrap();
        for input in inputs {
            let array: ArrayD<f64> = computed.by_name(&format!("input.{input}.npy")).unwrap();
            write_npy(bench.path(&format!("{input}.npy")), &array.mapv(|x| x as f32)).unwrap();
        }
    }
    bench
}

#[test]
fn layers_have_the_paths_of_modules() {
    let bench = programs("programs-layers");
    let said = bench.done("layers --model convolutions.pt2");
    for name in ["features.0", "features.1", "classifier.3"] {
        assert!(said.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{name}\n{said}");
    }
    assert!(bench.done("layers --model text.pt2").contains("encoder.self_attn/scaled_dot_product_attention"));
}

#[test]
fn layers_are_a_tree_of_modules() {
    let bench = programs("programs-tree");
    let one = "
 0  tokens   input      [B, 5]             -
 1  embed    embedding  [B, 5, 8]        160
 2  places   constant   [1, 5, 8]         40
 3  add      add        [B, 5, 8]          -
41  encoder  38 layers  [B, 5, 8]        532
42  mean     mean       [B, 8]             -
43  head     linear     [B, 3]            27
44 layers, 759 parameters
";
    assert_eq!(format!("\n{}", bench.done("layers --model text.pt2 --depth 1")), one);
    let two = "
 0  tokens               input       [B, 5]              -
 1  embed                embedding   [B, 5, 8]         160
 2  places               constant    [1, 5, 8]          40
 3  add                  add         [B, 5, 8]           -
    encoder              38 layers                     532
31    encoder.self_attn  28 layers   [B, 5, 8]         288
32    encoder.dropout1   identity    [B, 5, 8]           -
33    encoder/add_1      add         [B, 5, 8]           -
34    encoder.norm1      layer norm  [B, 5, 8]          16
35    encoder.linear1    linear      [B, 5, 12]        108
36    encoder/gelu       gelu        [B, 5, 12]          -
37    encoder.dropout    identity    [B, 5, 12]          -
38    encoder.linear2    linear      [B, 5, 8]         104
39    encoder.dropout2   identity    [B, 5, 8]           -
40    encoder/add_2      add         [B, 5, 8]           -
41    encoder.norm2      layer norm  [B, 5, 8]          16
42  mean                 mean        [B, 8]              -
43  head                 linear      [B, 3]             27
44 layers, 759 parameters
";
    assert_eq!(format!("\n{}", bench.done("layers --model text.pt2 --depth 2")), two);
    let all = bench.done("layers --model text.pt2");
    let rows: Vec<_> = all.lines().skip(4).take(3).collect();
    let expected = [
        "    encoder                                             38 layers                          532",
        "      encoder.self_attn                                 28 layers                          288",
        " 4      encoder.self_attn/transpose                     transpose   [5, B, 8]                -",
    ];
    assert_eq!(rows, expected);
    // What a path says here is what it is as a cut.
    let explain = "explain --model text.pt2 --input tokens.npy --layer embed --method gradient";
    let ask = |to: &str| {
        bench.done(&format!("{explain} --to {to} --target neuron~0,0 --out v.npy"));
        read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
    };
    assert_eq!(ask("encoder.self_attn"), ask("31"));

    // A network without modules, but for a ReLU that it takes twice, is a list.
    let said = bench.done("layers --model residual.pt2");
    assert_eq!(bench.done("layers --model residual.pt2 --depth 1"), said);
    assert_eq!(said.lines().count(), 31 + 1, "{said}");
    let row = |i: usize| said.lines().nth(i).unwrap();
    assert_eq!(row(2), " 2  relu/relu_           relu         [B, 4, 4, 5]           -");
    assert_eq!(row(9), " 9  mul_/kept            slice        [B, 1, 4, 5]           -");
    assert_eq!(row(27), "27  relu/relu__1         relu         [B, 4, 4, 5]           -");
}

#[test]
fn every_method_runs() {
    let bench = programs("programs-methods");
    let words = "explain --model convolutions.pt2 --input image.npy --to classifier.2";
    bench.done("patterns --model convolutions.pt2 --input image.npy --out p.safetensors");
    for method in bench.done("methods").lines().filter_map(|line| line.split(' ').next()) {
        let more = match method {
            // The network has no global average pooling; PatternNet has no rule for transposed convolutions.
            "cam" | "pattern-net" | "pattern-attribution" => continue,
            "occlusion" => "--set window=3 --set stride=2",
            "grad-cam" | "grad-cam++" | "guided-grad-cam" => "--layer features.5",
            "lrp" => "--set rules=epsilon-plus",
            _ => "",
        };
        bench.done(&format!("{words} --method {method} {more} --out v.npy --out v.json"));
    }
    let gradient = |layer: &str| {
        bench.done(&format!("{words} --method gradient --layer {layer} --target channel~0 --out v.npy"));
        read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
    };
    assert_eq!(gradient("features.3").shape(), [2, 4, 5, 4]);
    assert_eq!(gradient("features").shape(), gradient("features.9").shape());
}

#[test]
fn several_inputs() {
    let bench = programs("programs-inputs");
    bench.done("explain --model two.pt2 --input a=a.npy --input b=b.npy --to cat --target 0 --out v.npz");
    let file = std::fs::File::open(bench.path("v.npz")).unwrap();
    let mut values = NpzReader::new(file).unwrap();
    for (input, width) in [("a", 4), ("b", 3)] {
        let array: ArrayD<f32> = values.by_name(input).unwrap();
        assert_eq!(array.shape(), [2, width]);
        assert!(array.axis_iter(Axis(0)).all(|row| row.iter().any(|&x| x != 0.0)));
    }
}

#[test]
fn what_is_missing_or_wrong_is_one_clear_line() {
    let bench = programs("programs-broken");
    let bytes = std::fs::read(bench.path("two.pt2")).unwrap();
    std::fs::write(bench.path("short.pt2"), &bytes[..bytes.len() / 2]).unwrap();
    for (words, code, part) in [
        ("layers --model short.pt2", 1, "short.pt2"),
        ("layers --model two.pt2 --signature serve", 2, "expected a model of TensorFlow's"),
        ("layers --model two.pt2 --shape c=4", 2, "shape: expected an input of a, b, found \"c\""),
    ] {
        let said = bench.attr(words);
        assert_eq!(said.code, code, "attr {words}\n{}{}", said.out, said.err);
        assert!(said.err.contains(part) && said.err.lines().count() == 1, "attr {words}\n{}", said.err);
    }
}
