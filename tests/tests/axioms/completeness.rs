//! Completeness and sensitivity (Sundararajan et al. 2017): attributions add up to what the quantity rose by
//! from the baseline, and only what differs from the baseline has one.

use attr_core::methods::{Conductance, IntegratedGradients};
use attr_core::{Attribution, Baseline, Cut, ModelWrapper, Point, Qoi, Run, Tensor};
use attr_tests::networks::{Kind, RandomNetwork, two_inputs};
use attr_tests::{Adapter, AnyMethod, Ask, Level, Outcome, on_every_adapter};
use ndarray::{Array1, ArrayD, Axis, arr1, arr2};
use proptest::proptest;

use crate::{Asked, config, network};

const CLASS: usize = 1;
const BASELINE: f64 = 0.25;

proptest! {
    #![proptest_config(config())]

    /// Without a kink the path integral is exact, up to rounding.
    #[test]
    fn exact_on_smooth_networks(network in network(&[Kind::Smooth])) {
        let method = IntegratedGradients { baseline: Baseline::Constant(BASELINE), ..Default::default() };
        on_every_adapter!(complete_to::<_, Exact>, [asked(&network, method)]);
    }

    /// With kinks the error falls with the number of steps.
    #[test]
    fn near_on_any_network(network in network(&Kind::ALL)) {
        let method = IntegratedGradients {
            baseline: Baseline::Constant(BASELINE),
            steps: 200,
            ..Default::default()
        };
        on_every_adapter!(complete_to::<_, Near>, [asked(&network, method)]);
    }

    /// What flows through a layer that separates input from output is all that flows.
    #[test]
    fn conductance_near_on_any_network(network in network(&Kind::ALL)) {
        let method = Conductance { baseline: Baseline::Constant(BASELINE), steps: 200 };
        let asked = Asked { ask: Ask::by(method).at(network.middle), ..asked(&network, integrated()) };
        on_every_adapter!(complete_to::<_, Near>, [asked]);
    }

    /// Where one number alone differs from the baseline, the whole rise is its own, and no other has any.
    #[test]
    fn sensitivity(network in network(&[Kind::Smooth]), place in 0usize..5) {
        let x = network.inputs(1).remove(0);
        let mut baseline = x.clone();
        baseline[[0, place]] -= 1.5;
        let method = IntegratedGradients { baseline: Baseline::Arrays(vec![baseline]), ..Default::default() };
        on_every_adapter!(only_where_it_differs, [asked(&network, method)]);
    }
}

/// The law is that of all inputs together.
#[test]
fn of_several_inputs() {
    struct Several;
    impl attr_tests::Case for Several {
        fn name(&self) -> &str {
            "two inputs"
        }
    }
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, _: &Several) -> Outcome {
        let model = adapter.model(&two_inputs())?;
        let inputs = [arr2(&[[1.0, 2.0]]).into_dyn(), arr2(&[[3.0, 1.0]]).into_dyn()];
        let ask = Ask::by(integrated()).of(Qoi::WeightedSum(arr1(&[1.0; 4]).into_dyn()));
        let evidence = ask.answer(adapter, &model, &inputs, Run::default())?.evidence;
        let found = (evidence.quantity[0], evidence.residual.ok_or("no residual")?[0]);
        match found {
            (quantity, residual) if (quantity - 17.0).abs() < 1e-5 && residual.abs() < 1e-5 => Ok(()),
            _ => Err(format!("expected a quantity of 17 and no residual, found {found:?}").into()),
        }
    }
    on_every_adapter!(check, [Several]);
}

fn integrated() -> AnyMethod {
    IntegratedGradients::default().into()
}

fn asked(network: &RandomNetwork, method: impl Into<AnyMethod>) -> Asked {
    Asked { name: network.name.clone(), network: network.clone(), ask: Ask::by(method) }
}

/// How large a residual may be.
trait Bound {
    const LEVEL: Level;
}

struct Exact;

impl Bound for Exact {
    const LEVEL: Level = Level::Attribution;
}

struct Near;

impl Bound for Near {
    const LEVEL: Level = Level::KinkedPath;
}

/// The attributions add up to the rise, and the evidence says by how much not.
fn complete_to<M: ModelWrapper, B: Bound>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
    let inputs = asked.network.inputs(3);
    let model = adapter.model(&asked.network.graph)?;
    let quantity = |x: &ArrayD<f64>| -> attr_core::Result<Array1<f64>> {
        let x = adapter.tensors(std::slice::from_ref(x))?;
        let logits = model.forward(Point::at(&x), &Cut::logits())?[0].to_array()?;
        Ok(logits.index_axis(Axis(1), CLASS).to_owned().into_dimensionality().unwrap())
    };
    let (end, start) = (quantity(&inputs[0])?, quantity(&ArrayD::from_elem(inputs[0].raw_dim(), BASELINE))?);
    let answer = asked.ask.clone().of(Qoi::Class(CLASS)).answer(adapter, &model, &inputs, Run::default())?;
    let totals = totals(&answer)?;
    let is = |what: &str, found: &Array1<f64>, expected: &Array1<f64>, level| {
        let scale = end.iter().chain(&start).fold(0f64, |largest, x| largest.max(x.abs()));
        let scaled = |x: &Array1<f64>| (x / scale).into_dyn();
        // Relative to the quantity, not to its rise, which may be small by chance.
        let near = scaled(found) - scaled(expected) + 1.0;
        attr_tests::tolerance::close(&near, &ArrayD::ones(near.raw_dim()), level, adapter.precision)
            .map_err(|reason| format!("{what}: {reason}"))
    };
    let evidence = &answer.evidence;
    let reported = |numbers: &Option<Vec<f64>>| numbers.clone().map(Array1::from).ok_or("no evidence of it");
    is("sum", &totals, &(&end - &start), B::LEVEL)?;
    is("quantity", &Array1::from(evidence.quantity.clone()), &end, Level::Attribution)?;
    is("quantity at the baseline", &reported(&evidence.baseline_quantity)?, &start, Level::Attribution)?;
    is("residual", &reported(&evidence.residual)?, &(&totals - &(&end - &start)), Level::Attribution)?;
    Ok(())
}

fn only_where_it_differs<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
    let answer = asked.ask.clone().of(Qoi::Class(CLASS)).answer(
        adapter,
        &adapter.model(&asked.network.graph)?,
        &asked.network.inputs(1),
        Run::default(),
    )?;
    let values = answer.values[0].to_array()?;
    let (rise, start) =
        (answer.evidence.quantity[0], answer.evidence.baseline_quantity.ok_or("no evidence")?[0]);
    let nonzero: Vec<_> = values.iter().filter(|x| **x != 0.0).collect();
    match nonzero[..] {
        [only] if (only - (rise - start)).abs() <= 1e-5 * rise.abs().max(start.abs()) => Ok(()),
        _ => Err(format!("expected {} at one place, found {values}", rise - start).into()),
    }
}

fn totals<T: Tensor>(answer: &Attribution<T>) -> attr_core::Result<Array1<f64>> {
    let mut totals = Array1::zeros(answer.values[0].rows());
    for values in &answer.values {
        for (total, row) in totals.iter_mut().zip(values.to_array()?.axis_iter(Axis(0))) {
            *total += row.sum();
        }
    }
    Ok(totals)
}
