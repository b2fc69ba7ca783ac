//! A real sentence encoder on real sentences, against what PyTorch says (`xtask/python/minilm.py`).
//!
//! `cargo xtask test` lays the model out and says where it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array1, Array2, Array3, Axis};
use ndarray_npy::{NpzReader, read_npy};
use serde_json::Value;

const SENTENCES: [&str; 3] = [
    "A cat sits on the warm windowsill.",
    "A feline rests in the sun.",
    "Interest rates rose again, said the bank.",
];

/// PyTorch computed in double precision, the command in single precision.
const TOLERANCE: f64 = 1e-5;

struct Encoder {
    model: PathBuf,
    out: PathBuf,
    expected: NpzReader<std::fs::File>,
}

impl Encoder {
    /// `None` where the model is not set up.
    fn new(name: &str) -> Option<Self> {
        let Some(models) = std::env::var_os("ATTR_MODELS").map(PathBuf::from) else {
            let line = "skipped: a real sentence encoder, which is not set up; `cargo xtask test` does it";
            eprintln!("{line}");
            return None;
        };
        let out = std::env::temp_dir().join(format!("attr-minilm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&out).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/minilm.npz");
        let expected = NpzReader::new(std::fs::File::open(fixture).unwrap()).unwrap();
        Some(Encoder { model: models.join("all-minilm-l6-v2.onnx"), out, expected })
    }

    /// Explains texts; the values and the evidence.
    fn explain(&self, words: &[&str]) -> (PathBuf, Value) {
        let (values, evidence) = (self.out.join("values.npy"), self.out.join("evidence.json"));
        let mut attr = Command::new(env!("CARGO_BIN_EXE_attr"));
        attr.args(["explain", "--model"]).arg(&self.model).args(words);
        let output = attr.arg("--out").arg(&values).arg("--out").arg(&evidence).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let evidence = serde_json::from_str(&std::fs::read_to_string(&evidence).unwrap()).unwrap();
        (values, evidence)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.out);
    }
}

fn assert_close(found: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>, what: &str) {
    let worst = found.into_iter().zip(expected).fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= TOLERANCE, "{what}: {worst:e}");
}

fn attributions(row: &Value) -> Vec<f64> {
    row.as_array().unwrap().iter().map(|token| token["attribution"].as_f64().unwrap()).collect()
}

/// All texts in one batch, the shorter ones filled up, and each alone: the embedding is that of PyTorch. All of it is seen
/// as input times gradient at the output, of the sum of the numbers above -10.
#[test]
fn embeddings_and_similarity() {
    let Some(mut encoder) = Encoder::new("embeddings") else { return };
    let embeddings: Array2<f32> = encoder.expected.by_name("embeddings.npy").unwrap();
    let similarity: Array1<f64> = encoder.expected.by_name("similarity.npy").unwrap();
    let all = ["--method", "input-x-gradient", "--layer", "output", "--target", "threshold -10"];
    let float = |x: &f32| f64::from(*x);
    let texts: Vec<_> = SENTENCES.iter().flat_map(|text| ["--text", text]).collect();
    let together: Array2<f32> = read_npy(encoder.explain(&[&all[..], &texts].concat()).0).unwrap();
    assert_eq!(together.shape(), [3, 384]);
    assert_close(together.iter().map(float), embeddings.iter().map(float), "together");
    for (row, text) in SENTENCES.iter().enumerate() {
        let (values, _) = encoder.explain(&[&all[..], &["--text", text]].concat());
        let alone: Array2<f32> = read_npy(values).unwrap();
        assert_close(alone.iter().map(float), embeddings.row(row).iter().map(float), text);
    }
    for (row, other) in SENTENCES.iter().enumerate() {
        let words = ["--method", "gradient", "--text", SENTENCES[0], "--similar-to", other];
        let (_, json) = encoder.explain(&words);
        let cosine: f64 = embeddings
            .row(0)
            .iter()
            .zip(embeddings.row(row))
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum();
        assert_close([json["quantity"][0].as_f64().unwrap()], [cosine], other);
        if row == 1 {
            assert_close([cosine], [similarity[0]], "the fixture");
        }
    }
}

#[test]
fn gradients_and_integrated_gradients_are_those_of_pytorch() {
    let Some(mut encoder) = Encoder::new("gradients") else { return };
    let text = ["--text", SENTENCES[0], "--similar-to", SENTENCES[1]];
    let gradient: Array2<f32> = encoder.expected.by_name("gradient.npy").unwrap();
    let (values, json) = encoder.explain(&[&text[..], &["--method", "gradient"]].concat());
    let found: Array3<f32> = read_npy(values).unwrap();
    assert_eq!(found.shape(), [1, 11, 384]);
    let float = |x: &f32| f64::from(*x);
    assert_close(found.iter().map(float), gradient.iter().map(float), "gradient");
    // A layer norm follows, so the sum over an embedding is nothing, and that is said.
    let sums = gradient.sum_axis(Axis(1));
    assert_close(attributions(&json["tokens"][0]), sums.iter().map(float), "tokens");
    assert!(json["notes"].to_string().contains("--post norm"), "{}", json["notes"]);
    let (_, json) = encoder.explain(&[&text[..], &["--method", "gradient", "--post", "norm"]].concat());
    let norms = gradient.outer_iter().map(|token| token.iter().map(|x| float(x).powi(2)).sum::<f64>().sqrt());
    assert_close(attributions(&json["tokens"][0]), norms, "norms");
    assert!(!json["notes"].to_string().contains("--post norm"), "{}", json["notes"]);

    let tokens: Array1<f64> = encoder.expected.by_name("tokens.npy").unwrap();
    let similarity: Array1<f64> = encoder.expected.by_name("similarity.npy").unwrap();
    let (_, json) = encoder.explain(&text);
    let found = attributions(&json["tokens"][0]);
    assert_close(found.iter().copied(), tokens, "integrated gradients");
    // What is compared with has the same tokens at its ends, so they get nothing.
    assert_eq!((found[0], found[10]), (0.0, 0.0));
    let at = |name: &str| json[name][0].as_f64().unwrap();
    assert_close([at("quantity"), at("baseline_quantity")], similarity, "similarity");
    let sum: f64 = found.iter().sum();
    assert_close([sum + at("residual")], [at("quantity") - at("baseline_quantity")], "conservation");
    assert!(at("residual").abs() < 1e-4, "{}", at("residual"));
    // The cat is what makes it similar to a text about a feline.
    let most = (0..found.len()).max_by(|&a, &b| found[a].total_cmp(&found[b])).unwrap();
    assert_eq!(json["tokens"][0][most]["token"], "cat");
}
