//! The adapters under test, and the one place through which a case runs on all of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use attr_candle::Candle;
use attr_core::{Graph, GraphModel, Kernels, Precision, Tensor};
use candle_core::Device;
use ndarray::ArrayD;

use crate::reference::Reference;
use crate::tolerance::{Level, close};

/// Checks each case on each adapter: `on_every_adapter!(check, cases)`, where `check` is a function
/// `fn check<K: Kernels>(adapter: &Adapter<K>, case: &C) -> Outcome` and `cases` a slice of [`Case`]s.
///
/// This is the list of adapters. Adding one is one line here, and a function below that says what it is.
#[macro_export]
macro_rules! on_every_adapter {
    ($check:path, $cases:expr) => {{
        let (cases, mut failures) = ($cases, Vec::new());
        failures.extend($crate::adapter::run(&$crate::adapter::reference(), &cases, $check));
        failures.extend($crate::adapter::run(&$crate::adapter::candle_f64(), &cases, $check));
        failures.extend($crate::adapter::run(&$crate::adapter::candle_f32(), &cases, $check));
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }};
}

/// The formulas themselves.
pub fn reference() -> Adapter<Reference> {
    Adapter { name: "reference", precision: Precision::F64, kernels: || Reference, cannot: &[] }
}

/// Candle in double precision.
pub fn candle_f64() -> Adapter<Candle> {
    Adapter {
        name: "candle f64",
        precision: Precision::F64,
        kernels: || Candle::new(Device::Cpu, Precision::F64),
        cannot: CANDLE_CANNOT,
    }
}

/// Candle in single precision.
pub fn candle_f32() -> Adapter<Candle> {
    Adapter {
        name: "candle f32",
        precision: Precision::F32,
        kernels: || Candle::new(Device::Cpu, Precision::F32),
        cannot: CANDLE_CANNOT,
    }
}

const CANDLE_CANNOT: &[Cannot] =
    &[Cannot { case: "3-d", reason: "candle's kernels know one and two spatial axes" }];

/// One framework in one precision.
pub struct Adapter<K> {
    /// For messages.
    pub name: &'static str,
    /// The precision it computes in.
    pub precision: Precision,
    /// Makes its kernels.
    pub kernels: fn() -> K,
    /// What it can't do.
    pub cannot: &'static [Cannot],
}

/// A kind of case that an adapter can't do.
pub struct Cannot {
    /// A part of the names of these cases.
    pub case: &'static str,
    /// Why not.
    pub reason: &'static str,
}

impl<K: Kernels> Adapter<K> {
    /// A graph compiled for this adapter.
    pub fn model(&self, graph: &Graph) -> attr_core::Result<GraphModel<K>> {
        GraphModel::new(graph.clone(), (self.kernels)())
    }

    /// Arrays brought to the adapter.
    pub fn tensors(&self, arrays: &[ArrayD<f64>]) -> attr_core::Result<Vec<K::Tensor>> {
        let kernels = (self.kernels)();
        arrays.iter().map(|array| kernels.tensor(array)).collect()
    }

    /// Whether a tensor holds the numbers expected.
    pub fn close(&self, found: &K::Tensor, expected: &ArrayD<f64>, level: Level) -> Result<(), String> {
        close(&found.to_array().map_err(|error| error.to_string())?, expected, level, self.precision)
    }

    /// Whether tensors hold the numbers expected, one after another.
    pub fn all_close(
        &self,
        found: &[K::Tensor],
        expected: &[ArrayD<f64>],
        level: Level,
    ) -> Result<(), String> {
        if found.len() != expected.len() {
            return Err(format!("expected {} tensors, found {}", expected.len(), found.len()));
        }
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            self.close(found, expected, level).map_err(|reason| format!("tensor {i}: {reason}"))?;
        }
        Ok(())
    }

    /// Why a case can't be run, if it can't.
    pub fn skips(&self, case: &str) -> Option<&'static str> {
        self.cannot.iter().find(|cannot| case.contains(cannot.case)).map(|cannot| cannot.reason)
    }
}

/// A case is a value with a name.
pub trait Case {
    /// The name, for messages and for the lists of what adapters can't do.
    fn name(&self) -> &str;
}

/// What became of a case: nothing to say, or what was expected and found.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Checks all cases on one adapter; gives what failed and prints what was left out, and why.
pub fn run<K: Kernels, C: Case>(
    adapter: &Adapter<K>,
    cases: &[C],
    check: fn(&Adapter<K>, &C) -> Outcome,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut skipped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        if let Some(reason) = adapter.skips(case.name()) {
            skipped.entry(reason).or_default().push(case.name());
        } else if let Err(error) = check(adapter, case) {
            failures.push(format!("{}: {}: {error}", adapter.name, case.name()));
        }
    }
    for (reason, names) in skipped {
        // Past the test harness, which shows what is printed only where a test fails.
        let line = format!("skipped on {}: {} ({reason})\n", adapter.name, names.join("; "));
        std::io::stderr().write_all(line.as_bytes()).expect("a line can be written");
    }
    failures
}
