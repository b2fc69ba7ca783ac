//! Layers against numbers from PyTorch and ONNX Runtime, written by `xtask/python/operator_fixtures.py`.

use std::collections::BTreeMap;

use attr_core::Kernels;
use attr_tests::tolerance::close;
use attr_tests::{Backend, Case, Level, Outcome, on_every_backend};
use ndarray::ArrayD;
use serde::Deserialize;

use crate::cases::{OpCase, operators};
use crate::{cotangents, value};

/// The case of the table, and another tool's numbers for it.
struct Fixture {
    case: OpCase,
    numbers: Numbers,
}

#[derive(Deserialize)]
struct Numbers {
    source: String,
    precision: String,
    inputs: Vec<Packed>,
    params: Vec<Packed>,
    output: Packed,
    cotangent: Option<Packed>,
    #[serde(default)]
    gradients: Vec<Packed>,
}

#[derive(Deserialize)]
struct Packed {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Case for Fixture {
    fn name(&self) -> &str {
        &self.case.name
    }
}

#[test]
fn fixtures() {
    fn check<K: Kernels>(adapter: &Backend<K>, fixture: &Fixture) -> Outcome {
        let (kernels, op, numbers) = ((adapter.kernels)(), &fixture.case.op, &fixture.numbers);
        let level = if numbers.precision == "f64" { Level::Layer } else { Level::SinglePrecisionFixture };
        let (inputs, params) = (unpack(&numbers.inputs), unpack(&numbers.params));
        let against = |found: &ArrayD<f64>, expected: &Packed| {
            close(found, &array(expected), level, adapter.precision)
                .map_err(|reason| format!("{}: {reason}", numbers.source))
        };
        against(&value(&kernels, op, &inputs, &params)?, &numbers.output)?;
        let Some(cotangent) = &numbers.cotangent else { return Ok(()) };
        let wanted = vec![true; inputs.len()];
        let found = cotangents(&kernels, op, &inputs, &params, &array(cotangent), &wanted)?;
        for (found, expected) in found.iter().zip(&numbers.gradients) {
            against(found.as_ref().ok_or("no cotangent")?, expected)?;
        }
        Ok(())
    }
    on_every_backend!(check, read());
}

fn read() -> Vec<Fixture> {
    let text = include_str!("../../fixtures/operators.json");
    let all: BTreeMap<String, Numbers> = serde_json::from_str(text).expect("fixtures are well-formed");
    let cases = operators();
    let find = |name: &str| cases.iter().find(|case| case.name == name).cloned();
    all.into_iter()
        .map(|(name, numbers)| Fixture {
            case: find(&name).unwrap_or_else(|| panic!("no case is called {name:?}")),
            numbers,
        })
        .collect()
}

fn unpack(all: &[Packed]) -> Vec<ArrayD<f64>> {
    all.iter().map(array).collect()
}

fn array(packed: &Packed) -> ArrayD<f64> {
    ArrayD::from_shape_vec(&packed.shape[..], packed.data.clone()).expect("fixtures are well-formed")
}
