//! Linearity in the quantity (Sundararajan et al. 2017) and in the distribution (Leino et al. 2018).

use attr_core::distribution::Points;
use attr_core::methods::InternalInfluence;
use attr_core::{Distribution, ModelWrapper, Qoi, Question, Run, Tensor};
use attr_tests::networks::Kind;
use attr_tests::{Adapter, Level, Outcome, on_every_adapter};
use ndarray::{ArrayD, arr1};
use proptest::proptest;

use crate::{Asked, config, every_method, network};

proptest! {
    #![proptest_config(config())]

    /// The attribution of `2 a - 3 b` is twice that of `a` minus thrice that of `b`.
    #[test]
    fn in_the_quantity(network in network(&Kind::ALL)) {
        // Squares, variances and what is cut off below zero are not linear.
        let linear = |asked: &Asked| {
            !["squared", "vargrad", "grad-cam on"].iter().any(|name| asked.name.contains(name))
        };
        let cases: Vec<_> = every_method(&network).into_iter().filter(linear).collect();
        on_every_adapter!(linear_in_the_quantity, cases);
    }

    /// Over a point with weight 1/4 and another with weight 3/4: the mean of both, so weighted.
    #[test]
    fn in_the_distribution(network in network(&Kind::ALL)) {
        let cases: Vec<_> = every_method(&network).into_iter().take(2).collect();
        on_every_adapter!(linear_in_the_distribution, cases);
    }
}

fn linear_in_the_quantity<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
    let (model, inputs) = (adapter.model(&asked.network.graph)?, asked.network.inputs(2));
    let of = |quantity: Qoi| -> attr_core::Result<ArrayD<f64>> {
        let answer = asked.ask.clone().of(quantity).answer(adapter, &model, &inputs, Run::default())?;
        answer.values[0].to_array()
    };
    let mut weights = vec![0.0; if matches!(asked.network.kind, Kind::Smooth | Kind::Mlp) { 3 } else { 4 }];
    (weights[0], weights[2]) = (2.0, -3.0);
    let (a, b) = (of(Qoi::Class(0))?, of(Qoi::Class(2))?);
    let together = of(Qoi::WeightedSum(arr1(&weights).into_dyn()))?;
    let scale = a.iter().chain(&b).fold(0f64, |largest, x| largest.max(x.abs()));
    // Relative to the parts, which may cancel.
    let near = (together - (2.0 * &a - 3.0 * &b)) / (5.0 * scale) + 1.0;
    Ok(attr_tests::tolerance::close(
        &near,
        &ArrayD::ones(near.raw_dim()),
        Level::Attribution,
        adapter.precision,
    )?)
}

/// A distribution of the caller's own: the value with weight 1/4, and the value moved with weight 3/4.
struct TwoPoints(f64);

impl<T: Tensor + 'static> Distribution<T> for TwoPoints {
    fn describe(&self) -> String {
        "two points".into()
    }

    fn points(&self, values: &[T], _inputs: &[T]) -> attr_core::Result<Points<T>> {
        let (values, step) = (values.to_vec(), self.0);
        let make = move |i: usize| values.iter().map(|value| value.affine(1.0, step * i as f64)).collect();
        Ok(Points { weights: vec![0.25, 0.75], baseline: None, make: Box::new(make) })
    }
}

fn linear_in_the_distribution<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome
where
    M::Tensor: 'static,
{
    const STEP: f64 = 0.5;
    let model = adapter.model(&asked.network.graph)?;
    let over = |distribution: &dyn Distribution<M::Tensor>| -> attr_core::Result<ArrayD<f64>> {
        let inputs = adapter.tensors(&asked.network.inputs(2))?;
        let question = Question::new(&model, &inputs).at(asked.ask.slice.clone()).of(Qoi::Class(0));
        let influence = InternalInfluence::default();
        influence.over(&question, distribution, "test", vec![])?.values[0].to_array()
    };
    let moved = |step: f64| OnePoint(step);
    let expected = 0.25 * over(&moved(0.0))? + 0.75 * over(&moved(STEP))?;
    let found = over(&TwoPoints(STEP))?;
    Ok(attr_tests::tolerance::close(&found, &expected, Level::Attribution, adapter.precision)?)
}

/// One point, moved.
struct OnePoint(f64);

impl<T: Tensor + 'static> Distribution<T> for OnePoint {
    fn describe(&self) -> String {
        "one point".into()
    }

    fn points(&self, values: &[T], _inputs: &[T]) -> attr_core::Result<Points<T>> {
        let (values, step) = (values.to_vec(), self.0);
        let make = move |_| values.iter().map(|value| value.affine(1.0, step)).collect();
        Ok(Points { weights: vec![1.0], baseline: None, make: Box::new(make) })
    }
}
