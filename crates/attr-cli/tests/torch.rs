//! What is the same on libtorch as on candle, and what only libtorch runs.
#![cfg(all(feature = "candle", feature = "torch"))]

mod bench;

use bench::{Bench, assert_close};
use ndarray::{ArrayD, Axis, Slice};
use ndarray_npy::{read_npy, write_npy};

#[test]
fn both_backends_say_the_same_about_digits() {
    let bench = digits("torch-digits");
    let methods = bench.done("methods");
    bench.done("patterns --model digits.onnx --input digits.npy --backend torch --out p.safetensors");
    for method in methods.lines().filter_map(|line| line.split(' ').next()) {
        // The digit network has no global average pooling.
        if method == "cam" {
            continue;
        }
        let more = match method {
            "occlusion" => "--set window=7 --set stride=3",
            "pattern-net" | "pattern-attribution" => "--patterns p.safetensors",
            _ => "",
        };
        let words = format!("explain --model digits.onnx --input digits.npy --method {method} {more}");
        let on = |backend: &str| {
            bench.done(&format!("{words} --backend {backend} --out v.npy --out v.json"));
            assert_eq!(bench.json("v.json")["backend"], backend);
            read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
        };
        assert_close(&on("torch"), &on("candle"), method);
    }
    let predict = |backend: &str| {
        let words = "predict --model digits.onnx --input digits.npy --threads 1 --top 3 --backend";
        bench.done(&format!("{words} {backend}"))
    };
    let (torch, candle) = (predict("torch"), predict("candle"));
    assert_eq!(torch.split_whitespace().count(), candle.split_whitespace().count());
    for (found, expected) in torch.split_whitespace().zip(candle.split_whitespace()) {
        let last_digit = match (found.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(found), Ok(expected)) => (found - expected).abs() < 1.5e-4,
            _ => false,
        };
        assert!(found == expected || last_digit, "{torch}\n{candle}");
    }
    bench.done("compare --model digits.onnx --input digits.npy --methods gradient,grad-cam --backend torch --out g.png");
}

#[test]
fn torch_script_says_the_same_as_the_onnx_file() {
    let bench = torch_script("torch-script");
    for words in [
        "--input x.npy --method gradient",
        "--input photo.png --target golden",
        "--input x.npy --input photo.png --method occlusion --set window=2 --set stride=1",
        "--input rows.npy --method smoothgrad --seed 3 --dtype f64",
    ] {
        let of = |model: &str| {
            bench.done(&format!("explain --model {model} {words} --out v.npz --out v.json"));
            let mut npz =
                ndarray_npy::NpzReader::new(std::fs::File::open(bench.path("v.npz")).unwrap()).unwrap();
            let values = match words.contains("f64") {
                true => {
                    npz.by_index::<ndarray::OwnedRepr<f64>, ndarray::IxDyn>(0).unwrap().mapv(|x| x as f32)
                }
                false => npz.by_index(0).unwrap(),
            };
            (values, bench.json("v.json"))
        };
        let (found, evidence) = of("pictures.pt");
        let (expected, reference) = of("model.onnx");
        assert_close(&found, &expected, words);
        assert_eq!((&evidence["backend"], &reference["backend"]), (&"torch".into(), &"candle".into()));
        assert_eq!(evidence["labels"], reference["labels"]);
    }
    let out = bench.done("predict --model pictures.pt --input photo.png");
    assert_eq!(out, bench.done("predict --model pictures.pt --input photo.png --backend torch --device cpu"));
    // Without a description, the shape comes from the command line.
    bench.write("bare.pt", include_bytes!("fixtures/pictures.pt"));
    let words = "--model bare.pt --shape image=3x6x8 --method gradient --layer image --out w.npy";
    bench.done(&format!("explain --input x.npy {words}"));
    bench.done("explain --input x.npy --model model.onnx --method gradient --out v.npy");
    let read = |name: &str| read_npy::<_, ArrayD<f32>>(bench.path(name)).unwrap();
    assert_close(&read("w.npy"), &read("v.npy"), "with --shape");
    assert!(bench.leftovers().is_empty());
}

#[test]
fn what_torch_script_can_not_do_is_said() {
    let bench = torch_script("torch-script-limits");
    let whole = include_bytes!("fixtures/pictures.pt");
    bench.write("bare.pt", whole);
    let mut broken = whole.to_vec();
    let code = broken.windows(7).position(|part| part == b"forward").unwrap();
    broken[code..code + 7].copy_from_slice(b"for ard");
    bench.write("broken.pt", broken);
    for (words, code, part) in [
        ("layers --model pictures.pt", 1, "the layers of pictures.pt are not known"),
        ("explain --model pictures.pt --input x.npy --method grad-cam", 1, "grad-cam"),
        ("explain --model pictures.pt --input x.npy --layer features/conv", 2, "inputs and outputs only"),
        ("explain --model bare.pt --input x.npy", 2, "expected --shape input=3x224x224, or bare.json"),
        ("predict --model pictures.pt --input x.npy --shape a=3x5x5", 1, "pictures.pt"),
        ("predict --model broken.pt --input x.npy --shape a=3x6x8", 1, "broken.pt"),
        ("predict --model model.onnx --input x.npy --backend torch --device gpu", 2, "cuda:N"),
        (
            "predict --model model.onnx --input x.npy --backend torch --device cuda:1000",
            1,
            "device cuda:1000",
        ),
        ("predict --model model.onnx --input x.npy --device cuda", 2, "device: expected cpu"),
    ] {
        let said = bench.attr(words);
        assert_eq!(said.code, code, "attr {words}\n{}{}", said.out, said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains(part), "attr {words}\n{}", said.err);
        assert_eq!(said.err.lines().count(), 1, "attr {words}\n{}", said.err);
    }
}

/// The built-in digit network, and four digits.
fn digits(name: &str) -> Bench {
    let bench = Bench::new(name);
    bench.write("digits.onnx", include_bytes!("../assets/digits.onnx"));
    bench.write("all.npy", include_bytes!("../assets/digits.npy"));
    let all: ArrayD<f32> = read_npy(bench.path("all.npy")).unwrap();
    write_npy(bench.path("digits.npy"), &all.slice_axis(Axis(0), Slice::from(..4))).unwrap();
    bench
}

/// `pictures.pt`, which is `model.onnx` but for the softmax at its end, and is described like it.
fn torch_script(name: &str) -> Bench {
    let bench = Bench::new(name);
    bench.write("pictures.pt", include_bytes!("fixtures/pictures.pt"));
    bench.write("pictures.json", std::fs::read(bench.path("model.json")).unwrap());
    bench
}
