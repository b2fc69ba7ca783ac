//! Models of TensorFlow's: by their layers on any backend, and as they are on TensorFlow.
#![cfg(feature = "candle")]

mod bench;

use std::path::{Path, PathBuf};

use attr_graphdef::proto::{AttrValue, GraphDef, NodeDef, data_type};
use bench::{Bench, assert_close};
use ndarray::ArrayD;
use ndarray_npy::{NpzReader, read_npy, write_npy};
use prost::Message;

/// A model, one of its inputs, the last number of its first output: what the gradients that came with it are of, which
/// Python's TensorFlow computed.
const MODELS: &[(&str, &str, &str)] = &[
    ("sequential", "image", "4"),
    ("functional", "image", "4"),
    ("mobile", "image", "4"),
    ("dilated", "image", "2"),
    ("gelu", "sequence", "2"),
    ("silu", "vector", "2"),
    ("frozen.pb", "image", "2"),
];

#[test]
fn candle_runs_the_layers() {
    let bench = models("tensorflow-layers");
    for (model, input, class) in MODELS {
        let words = format!("{} --method gradient --to {}", explain(model), output(model));
        bench.done(&format!("{words} --target {class} --out v.npz --out v.json"));
        let expected: ArrayD<f32> = reference(model, &format!("gradient.{input}"));
        assert_close(&values(&bench, input).mapv(|x| 2.0 * x), &expected, model);
        assert_eq!(bench.json("v.json")["backend"], "candle", "{model}");
    }
    for model in ["sequential", "mobile"] {
        bench.done(&format!("{} --method lrp --set rules=epsilon-plus --out v.png", explain(model)));
        bench.done(&format!("predict {} --top 2", about(model)));
        bench.done(&format!("compare {} --methods gradient,grad-cam,deeplift --out g.png", about(model)));
    }
    bench.done("layers --model sequential/saved_model.pb");
    assert!(bench.leftovers().is_empty());
}

#[test]
fn layers_have_their_names_in_keras_too() {
    let bench = models("tensorflow-names");
    let out = bench.done("layers --model sequential");
    assert!(out.contains("sequential_1/conv_1/Relu (conv) ") && out.contains("[B, 4, 8, 8]"), "{out}");
    // A name that says no more than another is left out.
    assert!(!out.contains("sequential/conv"), "{out}");
    // A scope stands for its last layer.
    let out = bench.done("layers --model sequential --depth 2");
    let line = out.lines().find(|line| line.contains("sequential_1/conv_1")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words.join(" "), "3 sequential_1/conv_1 (conv) 2 layers [B, 4, 8, 8] 112");
    let ask = |layer: &str| {
        let words = format!("{} --method gradient --layer {layer}", explain("sequential"));
        bench.done(&format!("{words} --target 1 --out v.npy --out v.json"));
        (read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap(), bench.json("v.json"))
    };
    let (by_keras, _) = ask("conv");
    let (by_operator, evidence) = ask("sequential_1/conv_1/Relu");
    assert_eq!(by_keras, by_operator);
    assert_eq!(evidence["attributions"][0]["shape"], serde_json::json!([2, 4, 8, 8]));
}

#[test]
fn signatures_are_chosen() {
    let bench = models("tensorflow-signatures");
    bench.write("picture.npy", std::fs::read(bench.path("module-picture.npy")).unwrap());
    let explain = "explain --model module --signature features --input picture.npy --method gradient";
    bench.done(&format!("{explain} --target channel~3 --out v.npy"));
    let of_channel: ArrayD<f32> = read_npy(bench.path("v.npy")).unwrap();
    // The channels of an output are where the model has them, which is last.
    let sum = (0..5).flat_map(|y| (0..4).map(move |x| format!("{y},{x},3")));
    let one_by_one = sum.map(|place| {
        bench.done(&format!("{explain} --target neuron~{place} --out v.npy"));
        read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
    });
    assert_close(&one_by_one.reduce(|sum, x| sum + x).unwrap(), &of_channel, "channel 3");
}

#[test]
fn a_description_lies_beside_the_folder() {
    let bench = models("tensorflow-description");
    std::fs::rename(bench.path("sequential"), bench.path("net.v2")).unwrap();
    let said = bench.attr("predict --model net.v2 --input photo.png");
    let example = "expected net.v2.json beside the model, such as {\"size\":[8,8]";
    assert!(said.code == 1 && said.err.contains(example), "{}", said.err);
    bench.write("net.v2.json", r#"{"scale": 2.0, "mean": 1.0, "labels": ["a", "b", "c", "d", "e"]}"#);
    bench.done("predict --model net.v2/ --input photo.png");
    let words = "explain --model net.v2/ --input photo.png --target e";
    bench.done(&format!(
        "{words} --method occlusion --set window=3 --set stride=1 --plain --out v.png --out v.json"
    ));
    let plain = image::open(bench.path("v.png")).unwrap();
    assert_eq!((plain.width(), plain.height()), (8, 8));
    let evidence = bench.json("v.json");
    assert_eq!(evidence["labels"][0], "e");
    assert_eq!(evidence["attributions"][0]["shape"], serde_json::json!([1, 8, 8, 1]));
    bench.done(&format!("{words} --method grad-cam --out v.npy"));
    assert_eq!(read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap().shape(), [1, 1, 8, 8]);
}

/// A hash of the whole model changes with each part of it, and with nothing else.
#[test]
fn the_evidence_names_the_whole_model() {
    let bench = models("tensorflow-hash");
    let hash = |model: &str| {
        bench.done(&format!(
            "explain --model {model} --input sequential-image.npy --method gradient --out v.json"
        ));
        bench.json("v.json")["model"]["sha256"].as_str().unwrap().to_string()
    };
    let whole = hash("sequential");
    assert_eq!(whole.len(), 64);
    bench.write("sequential/assets.txt", "nothing that is run");
    assert_eq!(hash("sequential"), whole);
    assert_eq!(hash("sequential/saved_model.pb"), whole);
    bench.write("sequential/variables/another", "");
    assert_ne!(hash("sequential"), whole);
}

#[test]
fn bad_models_are_one_clear_line() {
    let bench = models("tensorflow-bad");
    for name in ["cut", "bare", "damaged"] {
        copy(&fixtures().join("sequential"), &bench.path(name));
    }
    let whole = std::fs::read(bench.path("cut/saved_model.pb")).unwrap();
    bench.write("cut/saved_model.pb", &whole[..whole.len() / 2]);
    bench.write("cut.pb", &whole[..whole.len() / 2]);
    bench.write("text.pb", "this is no model");
    std::fs::remove_dir_all(bench.path("bare/variables")).unwrap();
    let data = "damaged/variables/variables.data-00000-of-00001";
    let numbers = std::fs::read(bench.path(data)).unwrap();
    bench.write(data, &numbers[..100]);
    std::fs::create_dir(bench.path("folder")).unwrap();
    let asked = "explain --model sequential --input sequential-image.npy";
    for (words, code, part) in [
        ("layers --model cut", 1, "cut: not a readable TensorFlow model"),
        ("layers --model cut.pb", 1, "cut.pb: not a readable TensorFlow model"),
        ("layers --model text.pb", 1, "text.pb: not a readable TensorFlow model"),
        ("layers --model bare", 1, "variables.index"),
        ("layers --model damaged", 1, "variables"),
        ("layers --model folder", 1, "folder: expected a SavedModel, a folder with saved_model.pb"),
        ("layers --model none.pb", 1, "none.pb"),
        (
            "layers --model recurrent",
            1,
            "recurrent: recurrent layers and control flow can't be explained here: ",
        ),
        ("layers --model sequential --signature no", 2, "the model has \"serve\", \"serving_default\""),
        ("layers --model module", 2, "the model has \"classify\", \"features\" (--signature NAME"),
        ("layers --model frozen.pb --signature no", 2, "it is a frozen graph"),
        ("layers --model model.onnx --signature serve", 2, "signature: expected a model of TensorFlow's"),
        (
            "layers --model sequential --shape imag=8x8x3",
            2,
            "shape: expected an input of image, found \"imag\"",
        ),
        ("layers --model sequential --shape image=9x9x3", 1, "expected 8, found 9"),
        (
            "layers --model sequential --as-is --backend candle",
            2,
            "expected --backend tf, which runs it as it is",
        ),
        ("layers --model odd.pb --backend candle", 2, "odd.pb: 1 operator has no layer: Pow"),
        (
            "layers --model tokens.pb --backend candle",
            2,
            "expected float or double, found int32, so it does not run on",
        ),
        ("explain --model functional --input vector=functional-vector.npy", 2, "expected --input image=FILE"),
    ] {
        check(&bench, words, code, part);
    }
    for (more, code, part) in [
        ("--set baseline=blur~1", 2, "parameter baseline: expected another value"),
        ("--layer con", 2, "conv"),
        ("--target 5", 2, "class 5 is out of range: expected 0 to 4"),
    ] {
        check(&bench, &format!("{asked} {more}"), code, part);
    }
    if cfg!(not(feature = "tf")) {
        for words in [
            "layers --model sequential --backend tf",
            "layers --model sequential --as-is",
            "layers --model odd.pb",
        ] {
            check(&bench, words, 2, "backend tf is not part of this build: expected one by `cargo build");
            check(
                &bench,
                words,
                2,
                "--features tf`, and TENSORFLOW_DIR when it runs, which `cargo xtask setup --tf` prints",
            );
        }
    }
    assert!(bench.leftovers().is_empty());
}

/// Those that need libtensorflow.
#[cfg(feature = "tf")]
mod on_tensorflow {
    use super::*;

    #[test]
    fn all_methods_say_the_same_on_candle_and_tensorflow() {
        let bench = models("tensorflow-methods");
        for model in ["sequential", "mobile"] {
            bench.done(&format!("patterns {} --backend tf --out p.safetensors", about(model)));
            for method in bench.done("methods").lines().filter_map(|line| line.split(' ').next()) {
                let more = match method {
                    // That of `sequential` has no global average pooling.
                    "cam" if model == "sequential" => continue,
                    "occlusion" => "--set window=3 --set stride=2",
                    "pattern-net" | "pattern-attribution" => "--patterns p.safetensors",
                    _ => "",
                };
                let on = |backend: &str| {
                    let words = format!("{} --method {method} {more} --backend {backend}", explain(model));
                    let said = bench.attr(&format!("{words} --out v.npz --out v.json"));
                    assert_eq!((said.code, &said.err[..]), (0, ""), "attr {words}");
                    assert_eq!(bench.json("v.json")["backend"], backend);
                    values(&bench, "image")
                };
                assert_close(&on("tf"), &on("candle"), &format!("{model} {method}"));
            }
        }
    }

    #[test]
    fn as_it_is_a_model_says_the_same_as_by_its_layers() {
        let bench = models("tensorflow-as-is");
        for (model, input, class) in MODELS {
            let words =
                format!("{} --method gradient --to {} --target {class}", explain(model), output(model));
            let said = bench.attr(&format!("{words} --as-is --out v.npz --out v.json"));
            // TensorFlow itself says nothing.
            assert_eq!((said.code, &said.err[..]), (0, ""), "attr {words}");
            assert_eq!(bench.json("v.json")["backend"], "tf", "{model}");
            let expected: ArrayD<f32> = reference(model, &format!("gradient.{input}"));
            assert_close(&values(&bench, input).mapv(|x| 2.0 * x), &expected, model);
        }
        for more in [
            "--method integrated-gradients --set steps=5",
            "--method smoothgrad --seed 3",
            "--method conductance --set steps=3 --layer pool",
            "--method occlusion --set window=3 --set stride=2",
            "--method occlusion --set window=2 --set stride=1 --layer pool",
            "--method grad-cam --layer pool",
            "--method gradient --to pool --target channel~2",
            "--method gradient --layer hidden",
        ] {
            let how = |how: &str| {
                bench.done(&format!("{} {more} {how} --out v.npy", explain("sequential")));
                read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
            };
            let (found, expected) = (how("--as-is"), how("--backend candle"));
            // Inside, layers have their channels as axis 1 and TensorFlow has them last.
            let inside = more.contains("--layer pool") && !more.contains("grad-cam");
            let found = if inside { found.permuted_axes(vec![0, 3, 1, 2]) } else { found };
            assert_close(&found, &expected, more);
        }
        let picture = |how: &str| {
            bench
                .done(&format!("{} --method gradient --layer conv {how} --out v.png", explain("sequential")));
            image::open(bench.path("v.png")).unwrap().into_rgb8()
        };
        let (found, expected) = (picture("--as-is"), picture("--backend candle"));
        assert_eq!(found.dimensions(), expected.dimensions());
        let near =
            |(a, b): (&image::Rgb<u8>, &image::Rgb<u8>)| a.0.iter().zip(b.0).all(|(a, b)| a.abs_diff(b) <= 1);
        assert!(found.pixels().zip(expected.pixels()).all(near));
    }

    #[test]
    fn what_is_not_recognised_runs_as_it_is() {
        let bench = models("tensorflow-odd");
        for backend in ["", "--backend tf"] {
            let said = bench.attr(&format!(
                "explain --model odd.pb --input odd.npy --method gradient --target 0 {backend} --out v.npy"
            ));
            assert_eq!(said.code, 0, "{}", said.err);
            assert_eq!(said.err.lines().count(), 1, "{}", said.err);
            for part in [
                "note: odd.pb: 1 operator has no layer: Pow",
                "methods that need to know the layers are refused",
            ] {
                assert!(said.err.contains(part), "{}", said.err);
            }
            let (x, found): (ArrayD<f32>, ArrayD<f32>) =
                (read_npy(bench.path("odd.npy")).unwrap(), read_npy(bench.path("v.npy")).unwrap());
            // The derivative of s^s with s = softplus(x).
            let expected = ArrayD::from_shape_fn(x.shape(), |at| match at[1] {
                0 => {
                    let s = x[&at].exp().ln_1p();
                    s.powf(s) * (s.ln() + 1.0) / (1.0 + (-x[&at]).exp())
                }
                _ => 0.0,
            });
            assert_close(&found, &expected, "s^s");
        }
        write_npy(bench.path("tokens.npy"), &ndarray::array![[1.0f32, 2.0, 0.0]]).unwrap();
        bench.done(
            "explain --model tokens.pb --input tokens=tokens.npy --method gradient --layer x --out v.npy",
        );
        for (words, code, part) in [
            ("explain --model odd.pb --input odd.npy --method lrp", 1, "it needs to know the layers"),
            ("explain --model odd.pb --input odd.npy --dtype f64", 2, "dtype: expected --dtype f32"),
            (
                "explain --model odd.pb --input odd.npy --device gpu",
                2,
                "on the CPU only: expected --device cpu",
            ),
            (
                "explain --model sequential --input sequential-image.npy --as-is --method lrp",
                1,
                "it needs to know the layers",
            ),
            ("layers --model sequential --as-is --dtype f64", 2, "dtype: expected --dtype f32"),
            (
                "layers --model sequential --as-is --shape image=9x8x3",
                2,
                "shape: expected image=8x8x3, found image=9x8x3",
            ),
            (
                "layers --model sequential --backend tf --device cuda",
                2,
                "device: expected cpu, gpu or gpu:N with tf",
            ),
        ] {
            let said = bench.attr(words);
            assert_eq!(said.code, code, "attr {words}\n{}{}", said.out, said.err);
            assert!(
                said.err.lines().last().is_some_and(|line| line.contains(part)),
                "attr {words}\n{}",
                said.err
            );
        }
    }

    #[test]
    fn onnx_files_run_on_tensorflow() {
        let bench = Bench::new("tensorflow-onnx");
        for method in ["gradient", "lrp", "grad-cam"] {
            let on = |backend: &str| {
                bench.done(&format!("explain --model model.onnx --input rows.npy --method {method} --backend {backend} --threads 1 --dtype f64 --out v.npy"));
                read_npy::<_, ArrayD<f64>>(bench.path("v.npy")).unwrap().mapv(|x| x as f32)
            };
            assert_close(&on("tf"), &on("candle"), method);
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attr-graphdef/tests/fixtures")
}

/// The fixtures that are read here, `MODEL-INPUT.npy` for each of their inputs; `odd.pb`, which has an operator that
/// there is no layer for, and `tokens.pb`, which takes whole numbers.
fn models(name: &str) -> Bench {
    let bench = Bench::new(name);
    for model in ["sequential", "functional", "mobile", "dilated", "gelu", "silu", "module", "recurrent"] {
        copy(&fixtures().join(model), &bench.path(model));
    }
    std::fs::copy(fixtures().join("frozen.pb"), bench.path("frozen.pb")).unwrap();
    let inputs = MODELS.iter().map(|(model, input, _)| (*model, *input));
    for (model, input) in inputs.chain([("functional", "vector"), ("module", "picture")]) {
        let array: ArrayD<f32> = reference(model, &format!("input.{input}"));
        write_npy(bench.path(&format!("{}-{input}.npy", stem(model))), &array).unwrap();
    }
    let kind = || AttrValue::kind(data_type::FLOAT);
    let x = NodeDef::new("Placeholder", "x", [""; 0]).with("dtype", kind());
    let node = vec![
        x.with("shape", AttrValue::shape(&[None, Some(3)])),
        NodeDef::new("Softplus", "s", ["x"]).with("T", kind()),
        NodeDef::new("Pow", "y", ["s", "s"]).with("T", kind()),
    ];
    bench.write("odd.pb", GraphDef { node, ..GraphDef::default() }.encode_to_vec());
    let tokens =
        NodeDef::new("Placeholder", "tokens", [""; 0]).with("dtype", AttrValue::kind(data_type::INT32));
    let node = vec![
        tokens.with("shape", AttrValue::shape(&[None, Some(3)])),
        NodeDef::new("Cast", "x", ["tokens"])
            .with("SrcT", AttrValue::kind(data_type::INT32))
            .with("DstT", kind()),
        NodeDef::new("Softplus", "y", ["x"]).with("T", kind()),
    ];
    bench.write("tokens.pb", GraphDef { node, ..GraphDef::default() }.encode_to_vec());
    write_npy(bench.path("odd.npy"), &ndarray::array![[0.5f32, -1.0, 2.0], [1.5, 0.1, -0.3]]).unwrap();
    bench
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn stem(model: &str) -> &str {
    model.trim_end_matches(".pb")
}

/// An array that Python's TensorFlow computed for a fixture.
fn reference(model: &str, key: &str) -> ArrayD<f32> {
    let file = std::fs::File::open(fixtures().join(format!("{}.npz", stem(model)))).unwrap();
    NpzReader::new(file).unwrap().by_name(key).unwrap()
}

/// The model and its input.
fn about(model: &str) -> String {
    let input = |name: &str| format!("{}-{name}.npy", stem(model));
    let inputs = match MODELS.iter().find(|(name, ..)| *name == model) {
        Some(("functional", ..)) => format!("image={} --input vector={}", input("image"), input("vector")),
        Some((_, name, _)) => input(name),
        None => panic!("BUG: no model {model}"),
    };
    format!("--model {model} --input {inputs}")
}

fn explain(model: &str) -> String {
    format!("explain {}", about(model))
}

/// What the gradients that came with a model are of.
fn output(model: &str) -> &'static str {
    match model {
        "functional" => "logits",
        _ => "output",
    }
}

/// The values that were written for an input.
fn values(bench: &Bench, input: &str) -> ArrayD<f32> {
    let file = std::fs::File::open(bench.path("v.npz")).unwrap();
    NpzReader::new(file).unwrap().by_name(input).unwrap()
}

fn check(bench: &Bench, words: &str, code: i32, part: &str) {
    let said = bench.attr(words);
    assert_eq!(said.code, code, "attr {words}\n{}{}", said.out, said.err);
    assert!(said.err.contains(part), "attr {words}\nexpected: {part}\nfound: {}", said.err);
    assert!(said.err.starts_with("error: "), "attr {words}\n{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "attr {words}\n{}", said.err);
}
