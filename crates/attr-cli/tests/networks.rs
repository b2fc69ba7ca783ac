//! Weights with torchvision's names, and the network that they are of.

mod bench;

use std::path::Path;

use attr_networks::weight_shapes;
use bench::{Bench, numbers};
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, TensorView};

/// SqueezeNet for five classes, with numbers that keep the size of values.
fn squeezenet(path: &Path) {
    let arrays = weight_shapes("squeezenet1_1").unwrap().into_iter().map(|(name, mut dims)| {
        if name.starts_with("classifier.1.") {
            dims[0] = 5;
        }
        let inputs = dims[1..].iter().product::<usize>().max(1);
        let scale = (4.0 / inputs as f64).sqrt();
        let bytes: Vec<_> = numbers(&dims).iter().flat_map(|x| ((x * scale) as f32).to_le_bytes()).collect();
        (name, dims, bytes)
    });
    let arrays: Vec<_> = arrays.collect();
    let views = arrays.iter().map(|(name, dims, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, dims.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_network_of_weights_is_a_model() {
    let bench = Bench::new("networks");
    squeezenet(&bench.path("net.safetensors"));
    let net = "--model net.safetensors --network squeezenet1_1";
    let layers = |words: &str| -> Vec<_> {
        let out = bench.done(&format!("layers {net} {words}"));
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let lines = layers("");
    assert_eq!(lines[0], "0 input input [B, 3, 224, 224] -", "{lines:?}");
    assert_eq!(lines[1..3], ["features 61 layers 722496", "1 features.0 convolution [B, 64, 111, 111] 1792"]);
    assert_eq!(lines.last().unwrap(), "66 layers, 725061 parameters");
    assert_eq!(layers("--shape input=3x64x48")[0], "0 input input [B, 3, 64, 48] -");

    // The JSON beside the weights says how a picture is prepared, and how large it is.
    bench.write("net.json", r#"{"size": [48, 40], "scale": 1, "mean": 0.5, "std": 0.25}"#);
    assert_eq!(layers("")[0], "0 input input [B, 3, 48, 40] -");
    bench.done(&format!("explain {net} --input photo.png --method gradient --out g.npy --out g.json"));
    let gradient: ArrayD<f32> = ndarray_npy::read_npy(bench.path("g.npy")).unwrap();
    assert_eq!(gradient.shape(), [1, 3, 48, 40]);
    assert!(gradient.iter().any(|&x| x != 0.0));
    // The weights alone do not say what was explained.
    let model = &bench.json("g.json")["model"];
    assert_eq!((&model["file"], &model["network"]), (&"net.safetensors".into(), &"squeezenet1_1".into()));
    // A module of several layers, by its path.
    bench.done(&format!("explain {net} --input photo.png --method grad-cam --layer features.12 --out m.png"));
    let out = bench.done(&format!("compare {net} --input photo.png --methods gradient,lrp --out g.png"));
    assert!(out.contains("lrp"), "{out}");
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let bench = Bench::new("networks-bad");
    squeezenet(&bench.path("net.safetensors"));
    let whole = std::fs::read(bench.path("net.safetensors")).unwrap();
    bench.write("cut.safetensors", &whole[..whole.len() / 2]);
    bench.write("text.safetensors", "these are no weights");
    bench.write("weights.pth", include_bytes!("../../attr-checkpoint/tests/fixtures/legacy.pth"));
    bench.write("module.pth", include_bytes!("../../attr-checkpoint/tests/fixtures/module.pth"));
    for (words, code, part) in [
        (
            "--model net.safetensors",
            2,
            "holds weights and no network: expected --network with one of alexnet, vgg11,",
        ),
        (
            "--model net.safetensors --network squeezenet",
            2,
            "no network is called \"squeezenet\": expected one of",
        ),
        (
            "--model net.safetensors --network squeezenet1_0",
            1,
            "net.safetensors: these are not the weights of",
        ),
        (
            "--model net.safetensors --network squeezenet1_0",
            1,
            "features.0.weight: expected shape [96, 3, 7, 7], found",
        ),
        ("--model net.safetensors --network resnet18", 1, "missing conv1.weight, bn1.weight"),
        (
            "--model net.safetensors --network squeezenet1_1 --shape image=3x64x64",
            2,
            "expected input=3xHEIGHTxWIDTH",
        ),
        (
            "--model net.safetensors --network squeezenet1_1 --shape input=1x64x64",
            2,
            "expected input=3xHEIGHTxWIDTH",
        ),
        ("--model net.safetensors --network squeezenet1_1 --shape input=3x9x9", 1, "layer \"features.5\""),
        ("--model net.safetensors --network squeezenet1_1 --as-is", 2, "as-is: expected"),
        (
            "--model cut.safetensors --network squeezenet1_1",
            1,
            "cut.safetensors: not a readable file of weights",
        ),
        (
            "--model text.safetensors --network squeezenet1_1",
            1,
            "text.safetensors: not a readable file of weights",
        ),
        (
            "--model weights.pth --network resnet18",
            1,
            "weights.pth: these are not the weights of resnet18: missing",
        ),
        ("--model module.pth --network resnet18", 1, "found torch.nn.modules.container.Sequential"),
        ("--model none.safetensors --network squeezenet1_1", 1, "none.safetensors"),
        (
            "--model model.onnx --network squeezenet1_1",
            2,
            "network: expected a file of weights, safetensors or a checkpoint of torch.save, found model.onnx",
        ),
        ("--model . --network squeezenet1_1", 2, "network: expected a file of weights"),
    ] {
        let said = bench.attr(&format!("layers {words}"));
        assert_eq!(said.code, code, "attr layers {words}\n{}{}", said.out, said.err);
        assert!(said.err.contains(part), "attr layers {words}\nexpected: {part}\nfound: {}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    }
}
