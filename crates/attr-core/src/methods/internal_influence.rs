use super::Method;
use crate::attribution::row_totals;
use crate::distribution::doi_text;
use crate::expectation::{add_weighted, visit_points};
use crate::parameter::{Parameter, Parameters, parameters};
use crate::question::finite_rows;
use crate::{Attribution, Cut, Distribution, Doi, Evidence, ModelWrapper, Point, Quantity, Question};
use crate::{Result, Tensor};

/// The influence of the values at the lower cut on a quantity, averaged over a distribution of interest:
/// `sum over points of weight * d quantity / d value`, times the value if asked (Leino et al. 2018).
///
/// Every method that averages gradients is this one with its choice of slice, quantity and distribution.
/// A distribution of the caller's own is given to [`Self::over`].
#[derive(Debug, Clone)]
pub struct InternalInfluence {
    /// The points at which the gradient is taken.
    pub distribution: Doi,
    /// Whether the mean gradient is multiplied by the value minus the distribution's baseline.
    pub multiply: bool,
    /// Where the points are put in; the slice's lower cut unless said otherwise.
    pub doi_cut: Option<Cut>,
}

impl Default for InternalInfluence {
    fn default() -> Self {
        InternalInfluence { distribution: Doi::Point, multiply: false, doi_cut: None }
    }
}

parameters!(InternalInfluence {
    distribution: concat!("where the gradient is taken: ", doi_text!()),
    multiply: "whether to multiply by the value minus the distribution's baseline",
});

impl<M: ModelWrapper> Method<M> for InternalInfluence {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        self.over(question, &self.distribution, "internal-influence", self.parameters())
    }
}

impl InternalInfluence {
    /// As [`Method::attribute`], over a distribution of the caller's own, under a name and parameters for
    /// the evidence.
    pub fn over<M: ModelWrapper>(
        &self,
        question: &Question<'_, M>,
        distribution: &dyn Distribution<M::Tensor>,
        name: &str,
        parameters: Vec<Parameter>,
    ) -> Result<Attribution<M::Tensor>> {
        let doi_cut = self.doi_cut.as_ref().unwrap_or(&question.slice.from);
        let ground = Ground::new(question, doi_cut)?;
        let points = distribution.points(&ground.values, question.inputs)?;
        let mut mean = None;
        visit_points(question, doi_cut, ground.quantity(question), &points, &mut |visit| {
            add_weighted(&mut mean, visit.weight, &visit.gradients)
        })?;
        let mut values = mean.expect("BUG: a distribution has at least one point");
        let mut evidence = ground.evidence(question, name, parameters)?;
        evidence.evaluations += points.weights.len() * question.rows();
        if self.multiply {
            let inner = match doi_cut == &question.slice.from {
                true => ground.values.clone(),
                false => question.values_at(&question.slice.from)?,
            };
            let same_cut = points.baseline.as_ref().filter(|_| doi_cut == &question.slice.from);
            let ways = match same_cut {
                Some(baseline) => {
                    inner.iter().zip(baseline).map(|(z, b)| z.sub(b)).collect::<Result<Vec<_>>>()?
                }
                None => inner,
            };
            values =
                values.iter().zip(&ways).map(|(gradient, way)| gradient.mul(way)).collect::<Result<_>>()?;
            if let Some(baseline) = same_cut {
                ground.complete(question, doi_cut, baseline, &values, &mut evidence)?;
            }
        }
        Attribution::new(values, evidence)
    }
}

/// What every path or noise method needs first: the values at the cut, and the quantity held fixed.
pub(super) struct Ground<T> {
    /// The values at the cut where points are put in.
    pub(super) values: Vec<T>,
    upper: Vec<T>,
    pinned: Option<Box<dyn Quantity<T>>>,
}

impl<T: Tensor> Ground<T> {
    pub(super) fn new<M: ModelWrapper<Tensor = T>>(
        question: &Question<'_, M>,
        doi_cut: &Cut,
    ) -> Result<Self> {
        question.check()?;
        question.check_cut(doi_cut)?;
        // Both cuts in one pass.
        let mut values = question.values_at(&Cut::several([doi_cut.clone(), question.slice.to.clone()]))?;
        let upper = values.split_off(question.model.places(doi_cut)?.len());
        let rows: Vec<_> = (0..question.rows()).collect();
        let pinned = question.quantity.pin(&upper, question.seen(&rows))?;
        Ok(Ground { values, upper, pinned })
    }

    pub(super) fn quantity<'a, M: ModelWrapper<Tensor = T>>(
        &'a self,
        question: &'a Question<'_, M>,
    ) -> &'a dyn Quantity<T> {
        self.pinned.as_deref().unwrap_or(&*question.quantity)
    }

    pub(super) fn evidence<M: ModelWrapper<Tensor = T>>(
        &self,
        question: &Question<'_, M>,
        method: &str,
        parameters: Vec<Parameter>,
    ) -> Result<Evidence> {
        let quantity = question.value_of(self.quantity(question), &self.upper)?;
        evidence(question, method, parameters, &self.upper, quantity)
    }

    /// The law of completeness: the attributions add up to the quantity at the input minus that at the
    /// baseline (Sundararajan et al. 2017).
    pub(super) fn complete<M: ModelWrapper<Tensor = T>>(
        &self,
        question: &Question<'_, M>,
        doi_cut: &Cut,
        baseline: &[T],
        attributions: &[T],
        evidence: &mut Evidence,
    ) -> Result<()> {
        let rows: Vec<_> = (0..question.rows()).collect();
        let chunk = question.run.chunk_rows(question.model.row_bytes(), rows.len())?;
        let mut start_quantity = Vec::new();
        for seen in rows.chunks(chunk) {
            let part = |tensors: &[T]| {
                tensors
                    .iter()
                    .map(|tensor| tensor.slice_rows(seen[0], seen.len()))
                    .collect::<Result<Vec<_>>>()
            };
            let (inputs, replaced) = (part(question.inputs)?, part(baseline)?);
            let point = Point { inputs: &inputs, replace: Some((doi_cut, &replaced)) };
            let upper = question.model.forward(point, &question.slice.to)?;
            let value = self.quantity(question).evaluate(&upper, question.seen(seen))?.value.to_array()?;
            start_quantity.extend(finite_rows(&value, "the quantity at the baseline")?);
        }
        let totals = row_totals(attributions)?;
        let residual = totals.iter().zip(&evidence.quantity).zip(&start_quantity);
        evidence.residual = Some(residual.map(|((total, end), start)| total - (end - start)).collect());
        let change = evidence.quantity.iter().zip(&start_quantity).map(|(end, start)| end - start);
        evidence.claimed = Some(change.collect());
        evidence.law =
            Some("completeness: the attributions add up to quantity - baseline quantity, with steps enough");
        evidence.baseline_quantity = Some(start_quantity);
        evidence.evaluations += rows.len();
        Ok(())
    }
}

/// The evidence that every method gives, for values at the upper cut and the quantity made of them.
pub(crate) fn evidence<M: ModelWrapper>(
    question: &Question<'_, M>,
    method: &str,
    parameters: Vec<Parameter>,
    upper: &[M::Tensor],
    quantity: Vec<f64>,
) -> Result<Evidence> {
    let target = question.quantity.describe();
    let chosen = target.split(' ').next_back().is_some_and(|word| word == "predicted");
    let classes = match upper.first().filter(|value| chosen && value.dims().len() == 2) {
        Some(value) => Some(value.argmax(1)?.to_array()?.iter().map(|&class| class as usize).collect()),
        None => None,
    };
    let mut notes = Vec::new();
    if question.slice.to == Cut::logits() {
        let (logits, output) =
            (question.model.places(&Cut::logits())?, question.model.places(&Cut::output())?);
        if logits.first().map(|place| &place.name) != output.first().map(|place| &place.name) {
            let (last, kind) = (&output[0].name, output[0].kind);
            notes.push(format!("the quantity is made of the values before the last {kind} {last:?}"));
        }
    }
    Ok(Evidence {
        method: method.into(),
        parameters,
        from: question.slice.from.to_string(),
        to: question.slice.to.to_string(),
        target,
        classes,
        quantity,
        baseline_quantity: None,
        claimed: None,
        residual: None,
        law: None,
        evaluations: question.rows(),
        backend: question.model.backend(),
        precision: upper.first().map_or(crate::Precision::F32, Tensor::precision),
        notes,
    })
}
