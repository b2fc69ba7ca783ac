//! Bad input: an exit code, and one line that says what was expected and what was found.

mod bench;

use bench::Bench;

/// A command line without `--model model.onnx`, the exit code, a part of the message.
const CASES: &[(&str, i32, &str)] = &[
    // Asked for what is not there.
    ("explain --input x.npy --method no-such", 2, "integrated-gradients"),
    ("explain --input x.npy --set stepz=3", 2, "one of baseline, steps"),
    ("explain --input x.npy --set steps", 2, "expected KEY=VALUE"),
    ("explain --input x.npy --set steps=many", 2, "a whole number"),
    ("explain --input x.npy --set steps=0", 2, "steps"),
    ("explain --input x.npy --target 4", 2, "class 4 is out of range: expected 0 to 3"),
    ("explain --input x.npy --target 0:9", 2, "class 9 is out of range"),
    ("explain --input x.npy --target tobby", 2, "did you mean 0 \"tabby cat\""),
    ("explain --input x.npy --target cat", 2, "several classes: 0 \"tabby cat\", 1 \"tiger cat\""),
    ("explain --input x.npy --target channel~x", 2, "target"),
    ("explain --input x.npy --layer conv9", 2, "conv9"),
    ("explain --input x.npy --layer features", 2, "features/conv"),
    ("explain --input x.npy --to 99", 2, "0 to 5"),
    ("explain --input x.npy --backend jax", 2, "[possible values: candle, torch, tf]"),
    ("explain --input x.npy --backend candle --device cuda:1", 2, "device: expected cpu"),
    ("explain --input x.npy --dtype f16", 2, "f16"),
    ("explain --input x.npy --memory lots", 2, "512MiB"),
    ("explain --input x.npy --threads 0", 2, "threads"),
    ("explain --input x.npy --colors jet", 2, "blue_red"),
    ("explain --input x.npy --opacity 2", 2, "0 to 1"),
    ("explain --input x.npy --out x.gif", 2, ".safetensors"),
    ("explain --input photo.png --mean 1,2", 2, "mean: expected one number"),
    ("explain --input photo.png --size 7x7", 2, "size: expected 6x8"),
    ("explain --input photo.png --resize 3", 2, "resize"),
    ("explain --input y=x.npy", 2, "no input is called \"y\": expected image"),
    ("explain --input photo.png --input x.npy --plain --out p.png", 2, "plain: expected one input"),
    ("compare --input x.npy --methods gradient,no-such --out g.png", 2, "no-such"),
    ("compare --input x.npy --methods gradient --out g.npy", 2, ".png or .jpg"),
    ("compare --input x.npy --methods lrp[rules=flat --out g.png", 2, "NAME[KEY=VALUE]"),
    ("compare --input x.npy --methods lrp[rules=fat] --out g.png", 2, "rules"),
    ("explain --input x.npy --method pattern-net", 2, "attr patterns"),
    ("explain --input x.npy --method pattern-net --set patterns=p", 2, "--patterns FILE"),
    ("patterns --input x.npy --out p.npz", 2, "p.npz"),
    ("patterns --input x.npy --kind relu --out p.safetensors", 2, "positive"),
    ("explain", 2, "--input"),
    // The world is not as it should be.
    ("explain --input x.npy --method pattern-net --patterns none.safetensors", 1, "none.safetensors"),
    (
        "explain --input x.npy --method pattern-net --patterns text.npy",
        1,
        "text.npy: parameter patterns: expected",
    ),
    ("patterns --input none.npy --out p.safetensors", 1, "none.npy"),
    ("patterns --input text.npy --out p.safetensors", 1, "text.npy: not a .npy file"),
    ("patterns --input folder.npy --out p.safetensors", 1, "found none"),
    ("explain --input none.npy", 1, "none.npy"),
    ("explain --input none.png", 1, "none.png"),
    ("explain --input text.png", 1, "text.png: expected a PNG or JPEG"),
    ("explain --input cut.png", 1, "cut.png: expected a PNG or JPEG"),
    ("explain --input text.npy", 1, "text.npy: not a .npy file"),
    ("explain --input cut.npy", 1, "cut.npy: expected 8 bytes for each number of shape [1, 3, 6, 8]"),
    ("explain --input nan.npy", 1, "nan.npy: expected finite numbers, found NaN at [0, 1]"),
    ("explain --input a.npy", 1, "a.npy: expected an array of shape [B, 3, 6, 8], found [1, 2]"),
    ("explain --input x.npy --out no/such/folder.png", 1, "no/such/folder.png"),
    ("explain --input x.npy --out folder.npy", 1, "found a folder"),
    ("explain --input x.npy --memory 10", 1, "memory budget is too small"),
    ("explain --input x.npy --labels photo.png", 1, "photo.png"),
    (
        "predict --input x.npy --labels three.txt",
        1,
        "labels: expected 4, one for each class of the model, found 3",
    ),
    ("explain --input x.npy --layer fc --method gradient --out f.png", 1, "height and width"),
];

#[test]
fn each_is_one_clear_line() {
    let bench = Bench::new("bad");
    bench.write("text.png", "this is no picture");
    bench.write("text.npy", "this is no array");
    bench.write("three.txt", "a\nb\nc\n");
    let photo = std::fs::read(bench.path("photo.png")).unwrap();
    bench.write("cut.png", &photo[..photo.len() / 2]);
    let array = std::fs::read(bench.path("x.npy")).unwrap();
    bench.write("cut.npy", &array[..array.len() - 9]);
    ndarray_npy::write_npy(bench.path("nan.npy"), &ndarray::array![[0.0, f64::NAN]]).unwrap();
    std::fs::create_dir(bench.path("folder.npy")).unwrap();
    for (words, code, part) in CASES {
        let (command, rest) = words.split_once(' ').unwrap_or((words, ""));
        check(&bench, &format!("{command} --model model.onnx {rest}"), *code, part);
    }
    assert!(bench.leftovers().is_empty(), "{:?}", bench.leftovers());
}

#[test]
fn models_and_their_descriptions() {
    let bench = Bench::new("models");
    bench.write("text.onnx", "this is no model");
    let model = std::fs::read(bench.path("model.onnx")).unwrap();
    bench.write("cut.onnx", &model[..model.len() / 2]);
    bench.write("bare.onnx", &model);
    bench.write("typo.onnx", &model);
    bench.write("x.npz", b"PK\x03\x04 and nothing more");
    bench.write("typo.json", r#"{"scale": 1, "means": [0, 0, 0]}"#);
    for (words, code, part) in [
        ("layers --model none.onnx", 1, "none.onnx"),
        ("layers --model text.onnx", 1, "text.onnx: not a readable ONNX model"),
        ("layers --model cut.onnx", 1, "cut.onnx"),
        ("layers --model model.onnx --depth 0", 2, "--depth"),
        ("layers --model model.onnx --shape image", 2, "x=3x224x224"),
        (
            "layers --model model.onnx --shape imag=3x6x8",
            2,
            "shape: expected an input of image, found \"imag\"",
        ),
        (
            "predict --model two.onnx --input a=a.npy --input b=b.npy --shape a=2 --shape c=2",
            2,
            "shape: expected an input of a, b, found \"c\"",
        ),
        (
            "layers --model x.npz",
            1,
            "x.npz: expected an ONNX file, an archive of torch.export.save, TorchScript as",
        ),
        (
            "predict --model bare.onnx --input photo.png",
            1,
            "expected bare.json beside the model, such as {\"size\":[6,8]",
        ),
        ("predict --model typo.onnx --input photo.png", 1, "typo.json: unknown field `means`"),
        ("predict --model two.onnx --input a.npy", 2, "NAME=FILE with a name of a, b"),
        ("predict --model two.onnx --input a=a.npy", 2, "expected --input b=FILE"),
        ("predict --model two.onnx --input a=photo.png --input b=b.npy", 1, "is no picture"),
        ("explain --model two.onnx --input a=a.npy --input b=b.npy --target dog", 2, "has no labels"),
        ("explain --model two.onnx --input a=a.npy --input b=b.npy --out v.npy", 2, "use .npz"),
        ("explain --model two.onnx --input a=a.npy --input b=b.npy --out v.png", 1, "for a picture"),
    ] {
        check(&bench, words, code, part);
    }
    // What the error shows is what helps.
    let said = bench.attr("predict --model bare.onnx --input photo.png").err;
    bench.write("bare.json", &said[said.find('{').unwrap()..=said.rfind('}').unwrap()]);
    bench.done("predict --model bare.onnx --input photo.png");
}

/// What PyTorch writes, and what of it can be run in this build.
#[test]
fn files_of_pytorch() {
    let bench = Bench::new("pytorch");
    bench.write("pictures.pt", include_bytes!("fixtures/pictures.pt"));
    bench.write("weights.pth", include_bytes!("fixtures/weights.pth"));
    bench.write("cut.pt", &include_bytes!("fixtures/pictures.pt")[..5000]);
    check(
        &bench,
        "layers --model weights.pth",
        2,
        "weights.pth: the file holds weights and no network: expected --network",
    );
    let expected = "cut.pt: expected an ONNX file, an archive of torch.export.save, TorchScript as";
    check(&bench, "layers --model cut.pt", 1, expected);
    check(&bench, "layers --model cut.pt", 1, "or a broken one");
    if cfg!(not(feature = "torch")) {
        for words in ["layers --model pictures.pt", "layers --model model.onnx --backend torch"] {
            check(&bench, words, 2, "backend torch is not part of this build");
            check(&bench, words, 2, "`cargo xtask setup --torch`");
            check(&bench, words, 2, "--features torch");
        }
    }
    check(
        &bench,
        "layers --model pictures.pt --backend candle",
        2,
        "pictures.pt: TorchScript runs on torch only",
    );
}

fn check(bench: &Bench, words: &str, code: i32, part: &str) {
    let said = bench.attr(words);
    assert_eq!(said.code, code, "attr {words}\n{}{}", said.out, said.err);
    assert!(said.err.contains(part), "attr {words}\nexpected: {part}\nfound: {}", said.err);
    assert!(said.err.starts_with("error: "), "attr {words}\n{}", said.err);
    // clap's own have a hint in more lines.
    let is_ours = !said.err.contains("Usage:") && !said.err.contains("--help");
    assert!(!is_ours || said.err.lines().count() == 1, "attr {words}\n{}", said.err);
    assert!(!said.err.contains("panicked"), "attr {words}\n{}", said.err);
}
