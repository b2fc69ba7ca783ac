//! What Captum and Zennit make of small random networks, written by `xtask/python/relevance_fixtures.py`, and the
//! words in which this library asks for the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use attr_core::{Cut, Graph, ModelWrapper, Qoi, Run, Slice};
use attr_tests::{Adapter, Ask, Case, Level, Outcome, on_every_layered_adapter};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::NpzReader;
use serde::Deserialize;

#[derive(Deserialize)]
struct Network {
    network: String,
    cases: Vec<Words>,
}

#[derive(Deserialize)]
struct Words {
    key: String,
    peer: String,
    what: String,
    method: String,
    layer: Option<String>,
    settings: BTreeMap<String, String>,
}

struct Fixture {
    name: String,
    net: Graph,
    input: ArrayD<f64>,
    ask: Ask,
    expected: ArrayD<f64>,
}

impl Case for Fixture {
    fn name(&self) -> &str {
        &self.name
    }
}

fn fixtures() -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/relevance");
    let index: Vec<Network> =
        serde_json::from_reader(File::open(folder.join("index.json")).unwrap()).unwrap();
    let mut fixtures = Vec::new();
    for network in index {
        let net = attr_onnx::read(folder.join(format!("{}.onnx", network.network))).unwrap();
        let file = File::open(folder.join(format!("{}.npz", network.network))).unwrap();
        let mut arrays = NpzReader::new(file).unwrap();
        let mut array =
            |key: &str| -> ArrayD<f64> { arrays.by_name::<ndarray::OwnedRepr<f64>, IxDyn>(key).unwrap() };
        let input = array("x");
        for words in network.cases {
            let mut ask = Ask::named(leak(words.method)).of(Qoi::PredictedClass);
            for (key, value) in words.settings {
                ask = ask.with(leak(key), value);
            }
            if let Some(layer) = words.layer {
                ask = ask.at(Slice { from: Cut::layer(layer), to: Cut::logits() });
            }
            let name = format!("{}, {}, {}", network.network, words.peer, words.what);
            let (net, input, expected) = (net.clone(), input.clone(), array(&words.key));
            fixtures.push(Fixture { name, net, input, ask, expected });
        }
    }
    fixtures
}

/// The words of a fixture live as long as the test.
fn leak(word: String) -> &'static str {
    Box::leak(word.into_boxed_str())
}

#[test]
fn the_same_as_peers() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Fixture) -> Outcome {
        let model = adapter.model(&case.net)?;
        let answer = case.ask.answer(adapter, &model, std::slice::from_ref(&case.input), Run::default())?;
        Ok(adapter.close(&answer.values[0], &case.expected, Level::Peer)?)
    }
    let fixtures = fixtures();
    assert!(fixtures.len() > 230, "only {} cases", fixtures.len());
    on_every_layered_adapter!(check, fixtures);
}
