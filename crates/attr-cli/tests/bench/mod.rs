//! A folder with tiny models and inputs, and the command run in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use attr_core::{Activation, Conv, Graph, Op, Shape};
use ndarray::{Array, ArrayD, Dimension};
use ndarray_npy::write_npy;

/// A folder that is gone in the end.
pub(crate) struct Bench(PathBuf);

/// What the command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    /// `model.onnx` takes `[B, 3, 6, 8]` and knows four classes; `two.onnx` takes `a` and `b`, `[B, 2]` each.
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("attr-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bench = Bench(folder);
        attr_onnx::write(&pictures(), bench.path("model.onnx")).unwrap();
        attr_onnx::write(&two_inputs(), bench.path("two.onnx")).unwrap();
        bench.write(
            "model.json",
            r#"{"size": [6, 8], "resize": null, "crop": "center", "order": "RGB", "scale": 1.0,
                "mean": [0.5, 0.5, 0.5], "std": 0.25, "labels": "labels.txt"}"#,
        );
        bench.write("labels.txt", "tabby cat\ntiger cat\ngolden retriever\nspace shuttle\n");
        let photo = image::RgbImage::from_fn(20, 12, |x, y| image::Rgb([x as u8 * 9, y as u8 * 20, 60]));
        photo.save(bench.path("photo.png")).unwrap();
        photo.save(bench.path("photo.jpg")).unwrap();
        write_npy(bench.path("x.npy"), &numbers(&[1, 3, 6, 8])).unwrap();
        write_npy(bench.path("rows.npy"), &numbers(&[2, 3, 6, 8]).mapv(|x| x as f32)).unwrap();
        write_npy(bench.path("a.npy"), &numbers(&[1, 2])).unwrap();
        write_npy(bench.path("b.npy"), &numbers(&[1, 2]).mapv(|x| x + 1.0)).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs the command with these words in the folder.
    pub(crate) fn attr(&self, words: &str) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_attr"))
            .args(words.split_whitespace().map(|word| word.replace('~', " ")))
            .current_dir(&self.0)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs it and expects that it goes well.
    pub(crate) fn done(&self, words: &str) -> String {
        let said = self.attr(words);
        assert_eq!(said.code, 0, "attr {words}\n{}", said.err);
        said.out
    }

    /// The files in the folder that nobody asked for.
    #[allow(dead_code)] // Not every test file looks for them.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|n| n.starts_with('.'))
            .collect()
    }

    #[allow(dead_code)] // Not every test file reads JSON.
    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

/// Numbers without a pattern that a network could stumble on.
pub(crate) fn numbers(dims: &[usize]) -> ArrayD<f64> {
    let mut i = 0.0f64;
    ArrayD::from_shape_simple_fn(dims, || {
        i += 1.0;
        (i * 1.7).sin()
    })
}

/// Of the largest number.
#[allow(dead_code)] // Not every test file compares arrays.
pub(crate) const TOLERANCE: f32 = 1e-5;

/// That no number is further away than the tolerance.
#[allow(dead_code)] // Likewise.
pub(crate) fn assert_close(found: &ArrayD<f32>, expected: &ArrayD<f32>, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let worst = found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= TOLERANCE * largest, "{what}: {worst:e} beside {largest:e}");
}

fn weight<D: Dimension>(graph: &mut Graph, array: Array<f64, D>) -> usize {
    graph.param(array.mapv(|x| x as f32))
}

fn pictures() -> Graph {
    let mut graph = Graph::default();
    let x = graph.input("image", &[3, 6, 8]).unwrap();
    let kernel = weight(&mut graph, numbers(&[5, 3, 3, 3]) * 0.3);
    let bias = weight(&mut graph, numbers(&[5]) * 0.1);
    let conv = graph.add("features/conv", Op::Conv(Conv::square(1, 1)), &[x], &[kernel, bias]).unwrap();
    let relu = graph.add("features/relu", Op::Activation(Activation::Relu), &[conv], &[]).unwrap();
    let flat = graph.add("flat", Op::Reshape { shape: Shape::batched(&[240]) }, &[relu], &[]).unwrap();
    let matrix = weight(&mut graph, numbers(&[4, 240]) * 0.1);
    let logits = graph.add("fc", Op::Linear, &[flat], &[matrix]).unwrap();
    let softmax = graph.add("softmax", Op::Softmax { axis: 1 }, &[logits], &[]).unwrap();
    graph.set_outputs(&[softmax]).unwrap();
    graph
}

fn two_inputs() -> Graph {
    let mut graph = Graph::default();
    let (a, b) = (graph.input("a", &[2]).unwrap(), graph.input("b", &[2]).unwrap());
    let product = graph.add("product", Op::Mul, &[a, b], &[]).unwrap();
    graph.set_outputs(&[product]).unwrap();
    graph
}
