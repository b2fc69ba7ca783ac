//! What each command does when all is well.

mod bench;

use attr_core::{Activation, Graph, Op, Shape};
use bench::{Bench, numbers};
use ndarray::{ArrayD, Axis};
use ndarray_npy::{NpzReader, read_npy, write_npy};

#[test]
fn predict_lists_the_top_classes() {
    let bench = Bench::new("predict");
    let out = bench.done("predict --model model.onnx --input photo.jpg --input x.npy --top 2");
    assert_eq!(out.lines().count(), 2 * (2 + 2), "{out}");
    assert!(out.starts_with("photo\n") && out.contains("\nx\n"), "{out}");
    assert!(out.contains("softmax") && out.contains("output") && out.contains('"'), "{out}");
}

/// A generator's output has no classes, also where a reshape hides that there are numbers one by one before its sigmoid.
#[test]
fn a_neuron_of_a_picture_that_is_the_output() {
    let bench = Bench::new("generator");
    let mut graph = Graph::default();
    let z = graph.input("z", &[2]).unwrap();
    let sigmoid = graph.add("sigmoid", Op::Activation(Activation::Sigmoid), &[z], &[]).unwrap();
    let shape = Shape::batched(&[1, 1, 2]);
    let picture = graph.add("picture", Op::Reshape { shape }, &[sigmoid], &[]).unwrap();
    graph.set_outputs(&[picture]).unwrap();
    attr_onnx::write(&graph, bench.path("generator.onnx")).unwrap();
    let explain = "explain --model generator.onnx --input a.npy --method gradient --dtype f64 --out g.npy";
    bench.done(&format!("{explain} --to output --target neuron~0,0,1"));
    let (g, z): (ArrayD<f64>, ArrayD<f64>) =
        (read_npy(bench.path("g.npy")).unwrap(), read_npy(bench.path("a.npy")).unwrap());
    let y = 1.0 / (1.0 + (-z[[0, 1]]).exp());
    assert!(g[[0, 0]] == 0.0 && (g[[0, 1]] - y * (1.0 - y)).abs() < 1e-15, "{g}");
}

#[test]
fn layers_are_lines_in_their_modules() {
    let bench = Bench::new("layers");
    let all = "\
0  image            input        [B, 3, 6, 8]          -
   features         2 layers                         140
1    features/conv  convolution  [B, 5, 6, 8]        140
2    features/relu  relu         [B, 5, 6, 8]          -
3  flat             reshape      [B, 240]              -
4  fc               linear       [B, 4]              960
5  softmax          softmax      [B, 4]                -
6 layers, 1100 parameters
";
    assert_eq!(bench.done("layers --model model.onnx"), all);
    assert_eq!(bench.done("layers --model model.onnx --depth 2"), all);
    let folded = "\
0  image     input     [B, 3, 6, 8]          -
2  features  2 layers  [B, 5, 6, 8]        140
3  flat      reshape   [B, 240]              -
4  fc        linear    [B, 4]              960
5  softmax   softmax   [B, 4]                -
6 layers, 1100 parameters
";
    assert_eq!(bench.done("layers --model model.onnx --depth 1"), folded);
}

#[test]
fn modules_have_the_paths_that_cuts_have() {
    let bench = Bench::new("modules");
    // As PyTorch's older exporter names them.
    bench.write("vit.onnx", include_bytes!("../../../tests/fixtures/relevance/lxt-vit.onnx"));
    let folded = "
 0  x                        input        [B, 3, 12, 12]          -
 1  /conv_proj/Conv          convolution  [B, 8, 3, 3]          392
 2  /Reshape                 reshape      [B, 8, 9]               -
 3  /Transpose               transpose    [B, 9, 8]               -
 4  class_token              constant     [1, 1, 8]               8
 5  /Expand                  expand       [B, 1, 8]               -
 6  /Concat_2                concatenate  [B, 10, 8]              -
    encoder                  37 layers                          696
 7    encoder.pos_embedding  constant     [1, 10, 8]             80
 8    /encoder/Add           add          [B, 10, 8]              -
42    encoder.layers         34 layers    [B, 10, 8]            600
43    /encoder/ln/Add_1      layer norm   [B, 10, 8]             16
44  /Gather_4_1              slice        [B, 1, 8]               -
45  /Gather_4                reshape      [B, 8]                  -
46  /heads/head/Gemm         linear       [B, 3]                 27
47 layers, 1123 parameters
";
    assert_eq!(format!("\n{}", bench.done("layers --model vit.onnx --depth 2")), folded);
    write_npy(bench.path("picture.npy"), &numbers(&[1, 3, 12, 12])).unwrap();
    let gradient = |layer: &str| {
        let words = format!("explain --model vit.onnx --input picture.npy --method gradient --layer {layer}");
        bench.done(&format!("{words} --out v.npy"));
        read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
    };
    assert_eq!(gradient("encoder.layers"), gradient("42"));
}

#[test]
fn methods_are_listed_and_described() {
    let bench = Bench::new("methods");
    let out = bench.done("methods");
    assert!(out.lines().any(|line| line.starts_with("integrated-gradients ")), "{out}");
    let out = bench.done("methods integrated-gradients");
    assert!(out.contains("steps=50") && out.contains("1703.01365"), "{out}");
    assert!(bench.done("methods gradient").contains("No parameters"));
}

#[test]
fn evidence_says_what_an_explanation_rests_on() {
    let bench = Bench::new("evidence");
    let out =
        bench.done("explain --model model.onnx --input photo.png --dtype f64 --set steps=2000 --out e.json");
    for word in ["method", "target", "quantity", "residual", "holds", "e.json"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let json = bench.json("e.json");
    let number = |name: &str| json[name][0].as_f64().unwrap();
    let change = number("quantity") - number("baseline_quantity");
    assert!(number("residual").abs() < 1e-3 * change.abs(), "{json}");
    assert_eq!(json["method"], "integrated-gradients");
    assert_eq!(json["parameters"]["steps"], "2000");
    assert_eq!((&json["backend"], &json["dtype"]), (&"candle".into(), &"f64".into()));
    assert_eq!(json["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(json["model"]["network"], serde_json::Value::Null);
    assert_eq!(json["attributions"][0]["shape"], serde_json::json!([1, 3, 6, 8]));
    assert!(json["labels"][0].is_string() && json["seconds"].is_number() && json["law"].is_string());
    assert!(bench.leftovers().is_empty());
}

#[test]
fn values_are_written_in_every_format() {
    let bench = Bench::new("values");
    bench.done("explain --model model.onnx --input rows.npy --method gradient --out g.npy --out g.npz --out g.safetensors");
    let npy: ArrayD<f32> = read_npy(bench.path("g.npy")).unwrap();
    assert_eq!(npy.shape(), [2, 3, 6, 8]);
    let mut npz = NpzReader::new(std::fs::File::open(bench.path("g.npz")).unwrap()).unwrap();
    let found: ArrayD<f32> = npz.by_name("image").unwrap();
    assert_eq!(found, npy);
    let bytes = std::fs::read(bench.path("g.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("image").unwrap();
    assert_eq!(tensor.shape(), [2, 3, 6, 8]);
    assert_eq!(tensor.data()[..4], npy[[0, 0, 0, 0]].to_le_bytes());
}

#[test]
fn targets_go_by_number_and_name_and_layers_by_index_and_name() {
    let bench = Bench::new("targets");
    let ask = |more: &str| {
        bench.done(&format!(
            "explain --model model.onnx --input x.npy --method gradient {more} --out v.npy --out v.json"
        ));
        let values: ArrayD<f32> = read_npy(bench.path("v.npy")).unwrap();
        (values, bench.json("v.json"))
    };
    let (by_number, json) = ask("--target 2");
    assert_eq!((&json["classes"][0], &json["labels"][0]), (&2.into(), &"golden retriever".into()));
    assert_eq!(ask("--target Golden").0, by_number);
    let (against, _) = ask("--target tabby:golden");
    let (tabby, _) = ask("--target tabby~cat");
    assert!((&tabby - &by_number - &against).iter().all(|x| x.abs() < 1e-6));
    let (by_index, _) = ask("--layer 1 --target 2");
    assert_eq!(by_index.shape(), [1, 5, 6, 8]);
    assert_eq!(ask("--layer conv --target 2").0, by_index);
    assert_eq!(ask("--layer before:features/conv --target 2").0, by_number);
    let (channel, json) = ask("--to relu --target channel~1");
    assert_eq!((channel.shape(), &json["classes"][0]), (&[1, 3, 6, 8][..], &serde_json::Value::Null));
}

#[test]
fn post_processing_changes_values_and_says_so() {
    let bench = Bench::new("post");
    let ask = |post: &str| {
        bench.done(&format!(
            "explain --model model.onnx --input x.npy --method gradient {post} --out v.npy --out v.json"
        ));
        read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
    };
    let signed = ask("");
    assert_eq!(ask("--post abs"), signed.mapv(f32::abs));
    assert_eq!(ask("--post max-channels").shape(), [1, 1, 6, 8]);
    assert_eq!(ask("--post square").index_axis(Axis(0), 0).shape(), [3, 6, 8]);
    assert!(bench.json("v.json")["notes"].to_string().contains("post-processed"));
}

#[test]
fn a_seed_goes_to_methods_that_draw() {
    let bench = Bench::new("seed");
    let ask = |seed: u64| {
        let words = format!(
            "explain --model model.onnx --input x.npy --method smoothgrad --seed {seed} --out v.npy --out v.json"
        );
        bench.done(&words);
        read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap()
    };
    let first = ask(7);
    assert_eq!(bench.json("v.json")["seed"], 7);
    assert_eq!(ask(7), first);
    assert_ne!(ask(8), first);
    let out = bench.done("explain --model model.onnx --input x.npy --method gradient --seed 7");
    assert!(out.contains("--seed has no effect"), "{out}");
}

#[test]
fn pictures_are_drawn() {
    let bench = Bench::new("pictures");
    bench.done(
        "explain --model model.onnx --input photo.jpg --method grad-cam --out tiles.png --out tiles.jpg",
    );
    let tiles = image::open(bench.path("tiles.png")).unwrap();
    assert!(tiles.width() > 2 * 256 && tiles.height() > 192, "{}x{}", tiles.width(), tiles.height());
    bench.done("explain --model model.onnx --input photo.jpg --plain --colors seismic --out plain.png");
    let plain = image::open(bench.path("plain.png")).unwrap();
    assert_eq!((plain.width(), plain.height()), (8, 6));
    let out = bench.done("compare --model model.onnx --input photo.png --input x.npy --methods gradient,occlusion --set occlusion.window=2 --set stride=1 --out grid.png");
    assert!(out.contains("occlusion") && out.contains("grid.png"), "{out}");
    assert!(image::open(bench.path("grid.png")).unwrap().width() > 3 * 160);
    assert!(bench.leftovers().is_empty());
}

#[test]
fn patterns_are_fitted_and_used() {
    let bench = Bench::new("patterns");
    let out = bench
        .done("patterns --model model.onnx --input photo.png --input x.npy --batch 1 --out p.safetensors");
    assert!(out.contains("positive patterns of 2 layers, fitted to 2 rows"), "{out}");
    // The data at once or row by row, from files or a folder, makes no difference.
    std::fs::create_dir(bench.path("data")).unwrap();
    for file in ["photo.png", "x.npy"] {
        std::fs::copy(bench.path(file), bench.path("data").join(file)).unwrap();
    }
    bench.done("patterns --model model.onnx --input data --out q.safetensors");
    let read = |file: &str| {
        attr_core::Patterns::from_safetensors(&std::fs::read(bench.path(file)).unwrap()).unwrap()
    };
    let (p, q) = (read("p.safetensors"), read("q.safetensors"));
    assert_eq!(p.of.keys().collect::<Vec<_>>(), q.of.keys().collect::<Vec<_>>());
    for (p, q) in p.of.values().zip(q.of.values()) {
        assert!(p.iter().zip(q).all(|(p, q)| (p - q).abs() <= 1e-4 * (1.0 + p.abs())), "{p} {q}");
    }
    bench.done(
        "explain --model model.onnx --input photo.png --method pattern-net --patterns p.safetensors --out v.png --out v.json",
    );
    let evidence = bench.json("v.json");
    assert_eq!(evidence["parameters"]["patterns"], "positive, 2 layers, 2 rows");
    assert!(evidence["notes"].to_string().contains("p.safetensors, sha256"));
    let out = bench.done("compare --model model.onnx --input photo.png --patterns p.safetensors --methods gradient,pattern-attribution,lrp[rules=flat],lrp[rules=first~convolutions:~z-box~-1,-2,-3~1,2,3][start=one] --out g.png");
    assert!(
        out.contains("lrp flat") && out.contains("lrp first convolutions: z-box -1,-2,-3 1,2,3 one"),
        "{out}"
    );
}

#[test]
fn several_inputs_go_by_name() {
    let bench = Bench::new("inputs");
    bench.done("explain --model two.onnx --input b=b.npy --input a=a.npy --method input-x-gradient --target 1 --out v.npz");
    let mut npz = NpzReader::new(std::fs::File::open(bench.path("v.npz")).unwrap()).unwrap();
    let (a, b): (ArrayD<f32>, ArrayD<f32>) = (npz.by_name("a").unwrap(), npz.by_name("b").unwrap());
    // Of a product each factor has all of it.
    assert!(a[[0, 0]] == 0.0 && a[[0, 1]] != 0.0 && (a[[0, 1]] - b[[0, 1]]).abs() < 1e-6);
}

#[test]
fn the_demonstration_needs_nothing() {
    let bench = Bench::new("demo");
    bench.done("demo --threads 1 --out digits.png");
    let picture = image::open(bench.path("digits.png")).unwrap();
    assert!(picture.width() > 6 * 84 && picture.height() > 10 * 84);
}
