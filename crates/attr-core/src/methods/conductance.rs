use super::Method;
use super::internal_influence::Ground;
use crate::expectation::{Visit, add_weighted, visit_points};
use crate::parameter::{Parameters, parameters};
use crate::{
    Attribution, Baseline, Cut, Distribution, Doi, ModelWrapper, Quadrature, Question, Result, Tensor,
};

/// Layer conductance: what flows through each number `y` at the lower cut while the inputs go straight from
/// a baseline to where they are, `integral of d quantity / d y * dy` (Dhamdhere et al. 2018).
///
/// The integral is taken in `y` itself, step by step along the path, with the mean of the gradients at both
/// ends of a step (after Shrikumar et al. 2018, who take the one at its beginning). The first step has the
/// gradient at its end alone: at the baseline itself, an even image, all entries of a max pooling's window are
/// equal but for rounding, and which of them takes the gradient would be chance. It adds up to the quantity at
/// the input minus that at the baseline where the lower cut separates input from output.
#[derive(Debug, Clone)]
pub struct Conductance {
    /// Where the path of the inputs begins.
    pub baseline: Baseline,
    /// How many steps, at least 1; 50.
    pub steps: usize,
}

parameters!(Conductance {
    baseline: "where the path begins: zeros, a number, `blur SIGMA` or `uniform LOW HIGH SEED`",
    steps: "steps on the path, at least 1",
});

impl Default for Conductance {
    fn default() -> Self {
        Conductance { baseline: Baseline::Zeros, steps: 50 }
    }
}

impl<M: ModelWrapper> Method<M> for Conductance {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let ends = self.steps.checked_add(1).filter(|_| self.steps > 0);
        let resolution = ends.ok_or_else(|| crate::Error::parameter("steps", "at least 1", self.steps))?;
        let path =
            Doi::Linear { baseline: self.baseline.clone(), resolution, quadrature: Quadrature::Trapezoid };
        let cut = Cut::input();
        let ground = Ground::new(question, &cut)?;
        let points = path.points(&ground.values, question.inputs)?;
        let (mut flow, mut last): (_, Option<Visit<M::Tensor>>) = (None, None);
        let mut at_baseline = true;
        visit_points(question, &cut, ground.quantity(question), &points, &mut |visit| {
            if let Some(last) = &last {
                let step = |i: usize| {
                    let before = if at_baseline { &visit.gradients[i] } else { &last.gradients[i] };
                    let gradient = before.add(&visit.gradients[i])?;
                    gradient.mul(&visit.values[i].sub(&last.values[i])?)
                };
                let steps = (0..visit.values.len()).map(step).collect::<Result<Vec<_>>>()?;
                add_weighted(&mut flow, 0.5, &steps)?;
                at_baseline = false;
            }
            last = Some(visit);
            Ok(())
        })?;
        let values = flow.expect("BUG: at least one step");
        let mut evidence = ground.evidence(question, "conductance", self.parameters())?;
        evidence.evaluations += resolution * question.rows();
        let baseline = points.baseline.expect("BUG: a path has a beginning");
        ground.complete(question, &cut, &baseline, &values, &mut evidence)?;
        Attribution::new(values, evidence)
    }
}
