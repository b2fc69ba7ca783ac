//! Methods that need to know the layers, held against literals, against formulas in plain double precision, and
//! against the laws that they claim.

mod conservation;
mod deep_lift;
mod errors;
mod formulas;
mod full_grad;
mod innvestigate;
mod literals;
mod patterns;
mod peers;
mod slices;
mod transformers;

use attr_core::{Evidence, Graph, ModelWrapper, Precision, Run};
use attr_tests::tolerance::{Level, close};
use attr_tests::{Adapter, Ask, Case, Outcome};
use ndarray::{ArrayD, arr1};

/// What a paper or a peer gives for a network.
struct Literal {
    name: &'static str,
    net: Graph,
    input: ArrayD<f64>,
    ask: Ask,
    expected: ArrayD<f64>,
}

impl Case for Literal {
    fn name(&self) -> &str {
        self.name
    }
}

impl Literal {
    /// That an adapter gives the same.
    fn holds<M: ModelWrapper>(&self, adapter: &Adapter<M>, level: Level) -> Outcome {
        let inputs = std::slice::from_ref(&self.input);
        let answer = self.ask.answer(adapter, &adapter.model(&self.net)?, inputs, Run::default())?;
        Ok(adapter.close(&answer.values[0], &self.expected, level)?)
    }
}

/// That nothing is left over of the law, relative to the largest quantity, which counts as at least `least`.
fn holds(evidence: &Evidence, least: f64, level: Level, precision: Precision) -> Result<(), String> {
    let residual = arr1(evidence.residual.as_ref().ok_or("no residual")?).into_dyn();
    let largest = evidence.quantity.iter().fold(least, |most, quantity| most.max(quantity.abs()));
    close(&(&residual / largest), &ArrayD::zeros(residual.raw_dim()), level, precision)
}
