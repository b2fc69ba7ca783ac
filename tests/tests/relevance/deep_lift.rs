//! DeepLIFT by the rescale rule: literals, and summation to delta.

use attr_core::{Cut, ModelWrapper, Qoi, Run};
use attr_tests::networks::{RandomNetwork, basic_model2, random_networks};
use attr_tests::{Adapter, Ask, Level, Outcome, on_every_layered_adapter};
use ndarray::{ArrayD, arr2};

use crate::holds;

/// DeepExplain, tests/test_tensorflow.py; Captum's ReLU literal (2, 1) is of the same network with a sum.
#[test]
fn literals() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let inputs = [arr2(&[[-10.0, -5.0], [3.0, 1.0]]).into_dyn()];
        let ask = Ask::named("deeplift");
        let found = ask.answer(adapter, &model, &inputs, Run::default())?;
        adapter.close(&found.values[0], &arr2(&[[0.0, 0.0], [2.0, -1.0]]).into_dyn(), Level::Layer)?;
        let multipliers = ask.with("multiply", false).answer(adapter, &model, &inputs, Run::default())?;
        let expected = arr2(&[[0.0, 0.0], [2.0 / 3.0, -1.0]]).into_dyn();
        Ok(adapter.close(&multipliers.values[0], &expected, Level::Layer)?)
    }
    let kind = attr_tests::networks::Kind::Mlp;
    let network = RandomNetwork { graph: basic_model2(), ..RandomNetwork::new(kind, 1) };
    on_every_layered_adapter!(check, [network]);
}

#[test]
fn summation_to_delta() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        for slice in [(Cut::input(), Cut::logits()), (Cut::layer(case.middle), Cut::logits())] {
            for baselines in ["zeros", "uniform -1 1 5", "uniform -1 1 5, 0.5, uniform -2 1 6"] {
                let ask = Ask::named("deeplift").with("baselines", baselines).at(slice.clone());
                let evidence = ask
                    .of(Qoi::PredictedClass)
                    .answer(adapter, &model, &case.inputs(3), Run { rows: 2, ..Run::default() })?
                    .evidence;
                holds(&evidence, 1.0, Level::Attribution, adapter.precision)
                    .map_err(|reason| format!("baselines {baselines}: {reason}"))?;
            }
        }
        Ok(())
    }
    on_every_layered_adapter!(check, random_networks());
}

/// A row at its own baseline has no difference to be explained.
#[test]
fn the_baseline_itself() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let inputs = case.inputs(2);
        let ask = Ask::named("deeplift").with("baselines", "0.25");
        let even: Vec<_> = inputs.iter().map(|input| input.mapv(|_| 0.25)).collect();
        let answer = ask.answer(adapter, &model, &even, Run::default())?;
        Ok(adapter.close(&answer.values[0], &ArrayD::zeros(even[0].raw_dim()), Level::Layer)?)
    }
    on_every_layered_adapter!(check, random_networks());
}
