//! What must hold of every method whatever the network: axioms on random networks, on every adapter; and
//! that an answer does not depend on how it is worked out.
//!
//! Networks are drawn by proptest from a fixed seed: the same ones in every run.

mod agreement;
mod completeness;
mod invariance;
mod linearity;

use attr_core::methods::{
    Conductance, GradCam, Gradient, InputTimesGradient, IntegratedGradients, InternalInfluence, Occlusion,
    Sizes, SmoothGrad, Statistic,
};
use attr_core::{Baseline, Cut, Doi, Quadrature};
use attr_tests::networks::{Kind, RandomNetwork};
use attr_tests::{AnyMethod, Ask, Case};
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};

/// A method on a network.
#[derive(Debug)]
struct Asked {
    name: String,
    network: RandomNetwork,
    ask: Ask,
}

impl Case for Asked {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Few networks, the same in every run, and no file of failures.
fn config() -> Config {
    Config {
        cases: 4,
        rng_seed: RngSeed::Fixed(2020),
        failure_persistence: None,
        // A smaller seed is no simpler a network.
        max_shrink_iters: 0,
        ..Config::default()
    }
}

/// A network of one of these kinds with any weights.
fn network(kinds: &'static [Kind]) -> impl Strategy<Value = RandomNetwork> {
    (select(kinds), any::<u16>()).prop_map(|(kind, seed)| RandomNetwork::new(kind, u64::from(seed)))
}

/// Every method, with few points, on a network.
fn every_method(network: &RandomNetwork) -> Vec<Asked> {
    let mut methods: Vec<(&str, Ask)> = vec![
        ("gradient", Ask::by(Gradient {})),
        ("gradient by a layer", Ask::by(Gradient {}).at(network.middle)),
        ("input x gradient", Ask::by(InputTimesGradient {})),
        ("integrated gradients", Ask::by(integrated(8))),
        ("integrated gradients of a layer", Ask::by(integrated(5)).at(network.middle)),
        ("smoothgrad", Ask::by(smooth(Statistic::Mean))),
        ("smoothgrad squared", Ask::by(smooth(Statistic::Square))),
        ("vargrad", Ask::by(smooth(Statistic::Variance))),
        ("internal influence", Ask::by(influence()).at(network.middle)),
        ("conductance", Ask::by(Conductance { steps: 6, ..Default::default() }).at(network.middle)),
        ("occlusion", Ask::by(occlusion())),
    ];
    if !matches!(network.kind, Kind::Smooth | Kind::Mlp | Kind::Transformer) {
        methods.push(("grad-cam", Ask::by(GradCam::default())));
        methods.push(("grad-cam of a layer", Ask::by(GradCam::captum()).at(network.middle)));
    }
    let asked = |(name, ask): (&str, Ask)| Asked {
        name: format!("{name} on {}", network.name),
        network: network.clone(),
        ask,
    };
    methods.into_iter().map(asked).collect()
}

fn integrated(steps: usize) -> IntegratedGradients {
    IntegratedGradients { steps, baseline: Baseline::Constant(0.25), ..Default::default() }
}

fn smooth(statistic: Statistic) -> AnyMethod {
    SmoothGrad { samples: 7, statistic, ..Default::default() }.into()
}

fn influence() -> InternalInfluence {
    InternalInfluence {
        distribution: Doi::Linear {
            baseline: Baseline::Zeros,
            resolution: 6,
            quadrature: Quadrature::Midpoint,
        },
        multiply: true,
        doi_cut: Some(Cut::input()),
    }
}

fn occlusion() -> Occlusion {
    Occlusion { window: Sizes(vec![3]), stride: Sizes(vec![2]), ..Default::default() }
}
