//! Texts: explained at the embeddings of their tokens, which get the sums.

#![cfg(feature = "text")]

mod bench;

use attr_core::{Activation, Graph, Op, Shape};
use bench::{Bench, numbers};
use ndarray::{Array1, Array2, Axis};
use serde_json::{Value, json};

const WORDS: [&str; 8] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"];
const WIDTH: usize = 3;

/// Embeddings `[8, 3]` and the weights of two classes `[2, 3]`.
fn parameters() -> (Array2<f64>, Array2<f64>) {
    let matrix = |dims: &[usize]| numbers(dims).into_dimensionality().unwrap();
    (matrix(&[WORDS.len(), WIDTH]), matrix(&[2, WIDTH]) * 2.0)
}

/// The classes of these tokens: `W tanh(sum of embeddings)`.
fn logits(tokens: &[usize]) -> (Array1<f64>, Array1<f64>) {
    let (table, weight) = parameters();
    let sum = table.select(Axis(0), tokens).sum_axis(Axis(0)).mapv(f64::tanh);
    (weight.dot(&sum), sum)
}

fn classifier(tokens: usize) -> Graph {
    let (table, weight) = parameters();
    let mut graph = Graph::default();
    let single = |array: Array2<f64>| array.mapv(|x| x as f32);
    let (table, weight) = (graph.param(single(table)), graph.param(single(weight)));
    let ids = graph.input("input_ids", &[tokens]).unwrap();
    let mask = graph.input("attention_mask", &[tokens]).unwrap();
    let words = graph.add("model/words", Op::Embedding, &[ids], &[table]).unwrap();
    let shape = Shape::batched(&[tokens, 1]);
    let mask = graph.add("mask", Op::Reshape { shape }, &[mask], &[]).unwrap();
    let seen = graph.add("seen", Op::Mul, &[words, mask], &[]).unwrap();
    let sum = graph.add("sum", Op::Sum { axes: vec![1], keep: false }, &[seen], &[]).unwrap();
    let tanh = graph.add("tanh", Op::Activation(Activation::Tanh), &[sum], &[]).unwrap();
    let classes = graph.add("classes", Op::Linear, &[tanh], &[weight]).unwrap();
    graph.set_outputs(&[classes]).unwrap();
    graph
}

fn tokenizer() -> Value {
    let special = |id: usize| {
        json!({"id": id, "content": WORDS[id], "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().zip(0..).map(|(word, id)| (word.to_string(), json!(id))).collect();
    let end = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let ends = json!({"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                      "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}});
    json!({
        "version": "1.0",
        // Both are to be ignored.
        "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": (0..5).map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "TemplateProcessing", "special_tokens": ends,
                           "single": [end("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, end("[SEP]")],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]},
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    })
}

/// `text.onnx` takes texts of any length, `six.onnx` of six tokens at most; `labels` are in the JSON beside the first.
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    let open = attr_onnx::encode_open(&classifier(5), Some("tokens")).unwrap();
    assert_eq!(open, attr_onnx::encode_open(&classifier(7), Some("tokens")).unwrap());
    bench.write("text.onnx", open);
    attr_onnx::write(&classifier(6), bench.path("six.onnx")).unwrap();
    bench.write("text.json", r#"{"labels": ["negative", "positive"]}"#);
    bench.write("tokenizer.json", tokenizer().to_string());
    bench
}

fn attributions(json: &Value, row: usize) -> Vec<f64> {
    json["tokens"][row]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["attribution"].as_f64().unwrap())
        .collect()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-5, "{what}: {found:?} beside {expected:?}");
}

const TOKENS: [usize; 5] = [2, 5, 7, 6, 3];

#[test]
fn a_token_gets_the_sum_over_its_embedding() {
    let bench = bench("tokens");
    let (here, squashed) = logits(&TOKENS);
    let ask = |model: &str, more: &str| {
        bench.done(&format!(
            "explain --model {model} --text Good~film,~bad --target positive {more} --out e.json"
        ));
        bench.json("e.json")
    };
    // "Good film, bad" has a comma, which is unknown; without it the text is that of `TOKENS`.
    let json = ask("text.onnx", "--method gradient");
    assert_eq!(json["tokens"][0][3]["token"], "[UNK]");
    let ask = |model: &str, more: &str| {
        bench.done(&format!("explain --model {model} --text Good~film~bad --target 1 {more} --out e.json"));
        bench.json("e.json")
    };
    for model in ["text.onnx", "six.onnx"] {
        let json = ask(model, "--method gradient");
        let weight = parameters().1;
        let slope = weight.row(1).iter().zip(&squashed).map(|(w, s)| w * (1.0 - s * s)).sum::<f64>();
        assert_close(&attributions(&json, 0), &[slope; 5], "gradient");
        assert_close(&[json["quantity"][0].as_f64().unwrap()], &[here[1]], "logit");

        for (baseline, instead) in [("", 0), ("--baseline mask", 4), ("--baseline film", 7)] {
            let replaced = |i: usize| {
                let mut tokens = TOKENS;
                tokens[i] = instead;
                here[1] - logits(&tokens).0[1]
            };
            let json = ask(model, &format!("--method occlusion {baseline}"));
            let expected = [0.0, replaced(1), replaced(2), replaced(3), 0.0];
            assert_close(&attributions(&json, 0), &expected, &format!("occlusion {baseline}"));

            let there = logits(&[2, instead, instead, instead, 3]).0[1];
            for method in ["integrated-gradients", "deeplift"] {
                let json = ask(model, &format!("--method {method} {baseline}"));
                let found = attributions(&json, 0);
                assert_close(&[found.iter().sum()], &[here[1] - there], &format!("{method} {baseline}"));
                assert_close(&[json["baseline_quantity"][0].as_f64().unwrap()], &[there], "baseline");
                assert!(json["notes"].to_string().contains(WORDS[instead]), "{}", json["notes"]);
            }
        }
        let zeros = ask(model, "--baseline zeros");
        assert_close(&[attributions(&zeros, 0).iter().sum()], &[here[1]], "zeros");
    }
}

#[test]
fn texts_of_different_lengths_are_a_batch() {
    let bench = bench("text-batch");
    let out = bench.done(
        "explain --model text.onnx --text good --text bad~film~good --target 0 --out both.json --out both.html",
    );
    assert!(out.contains("good:\n") && !out.contains('\x1b'), "{out}");
    for (row, text) in ["good", "bad~film~good"].into_iter().enumerate() {
        bench.done(&format!("explain --model text.onnx --text {text} --target 0 --out one.json"));
        let (both, one) = (bench.json("both.json"), bench.json("one.json"));
        assert_close(&attributions(&both, row), &attributions(&one, 0), text);
        for name in ["quantity", "baseline_quantity"] {
            assert_close(&[both[name][row].as_f64().unwrap()], &[one[name][0].as_f64().unwrap()], name);
        }
    }
    let page = std::fs::read_to_string(bench.path("both.html")).unwrap();
    assert_eq!(page.matches("<section>").count(), 2);
    assert!(page.contains(">film</span>") && page.contains("completeness"), "{page}");
    assert!(bench.done("predict --model text.onnx --text good").contains("\"positive\""));
}

#[test]
fn similarity_is_the_cosine() {
    let bench = bench("similarity");
    let words = "--model text.onnx --text good~film --similar-to bad~film";
    bench.done(&format!("explain {words} --out e.json"));
    let json = bench.json("e.json");
    let ((a, _), (b, _)) = (logits(&[2, 5, 7, 3]), logits(&[2, 6, 7, 3]));
    let cosine = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
    assert_close(&[json["quantity"][0].as_f64().unwrap()], &[cosine], "cosine");
    assert_eq!(json["target"], "similarity (cosine) to \"bad film\"");
    let out = bench.done(&format!("compare {words} --methods gradient,integrated-gradients --out page.html"));
    assert!(out.contains("integrated-gradients") && out.contains("film"), "{out}");
    let page = std::fs::read_to_string(bench.path("page.html")).unwrap();
    assert!(page.contains("<h2>gradient</h2>") && page.contains("cosine"), "{page}");
}

/// A command line, the exit code, a part of the message.
const CASES: &[(&str, i32, &str)] = &[
    (
        "explain --model six.onnx --text a~b~c~d~e",
        2,
        "text 1: expected at most 6 tokens, which the model takes, found 7",
    ),
    ("explain --model text.onnx --text good --tokenizer none.json", 1, "none.json"),
    ("explain --model text.onnx --text good --tokenizer text.json", 1, "expected a tokenizer"),
    ("explain --model text.onnx --text good --input x.npy", 2, "cannot be used with"),
    (
        "explain --model model.onnx --similar-to good --input x.npy",
        2,
        "expected a text to compare, by --text",
    ),
    ("explain --model text.onnx --text good --similar-to bad --target 1", 2, "cannot be used with"),
    ("explain --model text.onnx --text good --similar-to bad --to seen", 2, "one embedding a text"),
    ("explain --model text.onnx --text good --baseline grape", 2, "a token that the tokenizer has"),
    ("explain --model text.onnx --text good --baseline mean", 2, "a token that the tokenizer has"),
    ("explain --model text.onnx --text good --row 1", 2, "cannot be used with"),
    (
        "explain --model text.onnx --text good --layer input",
        1,
        "have no derivative; ask at this layer's output",
    ),
    (
        "explain --model text.onnx --text good --layer tanh --out x.html",
        2,
        "expected attributions of the tokens",
    ),
    ("explain --model text.onnx --text good --out x.png", 2, "expected .html for a text in colour"),
    ("explain --model model.onnx --input x.npy --out x.html", 2, "expected a text for .html"),
    (
        "explain --model model.onnx --text good",
        2,
        "expected input \"image\" to take numbers of tokens, [B, T], found 4 axes",
    ),
    ("explain --model two.onnx --text good", 2, "expected inputs input_ids, attention_mask"),
    ("compare --model text.onnx --text good --methods gradient --out x.png", 2, "expected a .html file"),
];

#[test]
fn what_is_wrong_with_a_text_is_one_clear_line() {
    let bench = bench("bad-texts");
    for (words, code, message) in CASES {
        let said = bench.attr(words);
        assert_eq!(said.code, *code, "{words}: {said:?}");
        assert!(said.err.contains(message), "{words}: {}", said.err);
    }
    std::fs::remove_file(bench.path("tokenizer.json")).unwrap();
    let said = bench.attr("explain --model text.onnx --text good");
    assert!(said.code == 2 && said.err.contains("expected --tokenizer FILE"), "{said:?}");
}
