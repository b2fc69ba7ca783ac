//! What rules claim: relevance is kept, and on networks of ReLUs without biases LRP-0 is the input times the gradient.

use attr_core::{Cut, Graph, ModelWrapper, Op, Qoi, Run};
use attr_tests::networks::{Kind, RandomNetwork, random_networks};
use attr_tests::{Adapter, Ask, Case, Level, Outcome, on_every_layered_adapter};
use ndarray::arr1;

use crate::holds;

/// A network without biases and batch norms.
fn without_biases(graph: &Graph) -> Graph {
    let mut bare = Graph::default();
    let mut ids = Vec::new();
    for node in graph.nodes() {
        let inputs: Vec<_> = node.inputs.iter().map(|&id| ids[id]).collect();
        ids.push(match node.op {
            Op::Input => bare.input(&node.name, &node.shape.at(1)[1..]).unwrap(),
            Op::BatchNorm { .. } => inputs[0],
            _ => {
                let weight = node.params.first().map(|&id| bare.param(graph.params()[id].clone()));
                bare.add(&node.name, node.op.clone(), &inputs, weight.as_slice()).unwrap()
            }
        });
    }
    bare.set_outputs(&graph.outputs().iter().map(|&id| ids[id]).collect::<Vec<_>>()).unwrap();
    bare
}

fn bare_networks() -> Vec<RandomNetwork> {
    let kinks_at_zero = |network: &RandomNetwork| matches!(network.kind, Kind::Plain | Kind::Residual);
    let networks = random_networks().into_iter().filter(kinks_at_zero);
    networks.map(|network| RandomNetwork { graph: without_biases(&network.graph), ..network }).collect()
}

#[test]
fn lrp_zero_is_the_input_times_the_gradient() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        for slice in [(Cut::input(), Cut::logits()), (Cut::layer(case.middle), Cut::logits())] {
            let of =
                |ask: Ask| ask.at(slice.clone()).answer(adapter, &model, &case.inputs(3), Run::default());
            let gradient = of(Ask::named("input-x-gradient"))?;
            let relevance = of(Ask::named("lrp").with("rules", "zero; sums: zero"))?;
            let expected = attr_core::Tensor::to_array(&gradient.values[0])?;
            adapter.close(&relevance.values[0], &expected, Level::Quotient)?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, bare_networks());
}

struct Kept {
    name: String,
    network: RandomNetwork,
    rules: &'static str,
}

impl Case for Kept {
    fn name(&self) -> &str {
        &self.name
    }
}

#[test]
fn relevance_is_kept() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Kept) -> Outcome {
        let model = adapter.model(&case.network.graph)?;
        // Each row's relevance is the sum of all its logits, which none of the rules may change.
        let all = Qoi::WeightedSum(arr1(&[1.0]).into_dyn());
        for slice in [(Cut::input(), Cut::logits()), (Cut::layer(case.network.middle), Cut::logits())] {
            let ask = Ask::named("lrp").with("rules", case.rules).at(slice).of(all.clone());
            let answer = ask.answer(adapter, &model, &case.network.inputs(3), Run::default())?;
            holds(&answer.evidence, 1.0, Level::Quotient, adapter.precision)?;
        }
        Ok(())
    }
    let mut cases = Vec::new();
    // A transformer has rules of its own.
    for network in random_networks().into_iter().filter(|network| network.kind != Kind::Transformer) {
        let bare = RandomNetwork { graph: without_biases(&network.graph), ..network.clone() };
        // Relevance is lost where the bias alone makes a value; the smooth network has no such layer.
        let smooth = network.kind == Kind::Smooth;
        for (rules, network, holds) in [
            ("flat; sums: flat; stabilizer 0", &network, true),
            ("w-square; sums: flat; stabilizer 0", &network, true),
            ("zero; sums: zero", &bare, true),
            ("gamma 0.5; sums: zero; stabilizer 0", &bare, true),
            ("first weighted: z-box -1 1; weighted: zero; sums: zero; stabilizer 0", &bare, true),
            ("epsilon 0 no-bias", &network, smooth),
        ] {
            if holds {
                let name = format!("{rules} on {}", network.name);
                cases.push(Kept { name, network: network.clone(), rules });
            }
        }
    }
    on_every_layered_adapter!(check, cases);
}

#[test]
fn chunks_do_not_matter() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let rules = if case.kind == Kind::Transformer { "attn-lrp" } else { "epsilon-plus-flat" };
        let ask = Ask::named("lrp").with("rules", rules);
        let whole = ask.answer(adapter, &model, &case.inputs(5), Run::default())?;
        let cut = ask.answer(adapter, &model, &case.inputs(5), Run { rows: 2, ..Run::default() })?;
        let expected = attr_core::Tensor::to_array(&whole.values[0])?;
        Ok(adapter.close(&cut.values[0], &expected, adapter.same)?)
    }
    on_every_layered_adapter!(check, random_networks());
}
