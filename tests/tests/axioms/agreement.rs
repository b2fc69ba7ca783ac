//! On the same network and input every adapter gives the reference's attribution (invariant 4 of
//! `design.md`).

use attr_core::{ModelWrapper, Qoi, Run, Tensor};
use attr_tests::adapter::reference;
use attr_tests::networks::random_networks;
use attr_tests::{Adapter, Level, Outcome, on_every_adapter};

use crate::{Asked, every_method};

#[test]
fn with_the_reference() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
        let inputs = asked.network.inputs(2);
        let ask = asked.ask.clone().of(Qoi::PredictedClass);
        let yardstick = reference();
        let expected =
            ask.answer(&yardstick, &yardstick.model(&asked.network.graph)?, &inputs, Run::default())?;
        let found = ask.answer(adapter, &adapter.model(&asked.network.graph)?, &inputs, Run::default())?;
        let arrays = expected.values.iter().map(Tensor::to_array).collect::<Result<Vec<_>, _>>()?;
        adapter.all_close(&found.values, &arrays, Level::Attribution)?;
        if found.evidence.classes != expected.evidence.classes {
            return Err("another class was predicted".into());
        }
        Ok(())
    }
    let cases: Vec<_> = random_networks().iter().flat_map(every_method).collect();
    on_every_adapter!(check, cases);
}
