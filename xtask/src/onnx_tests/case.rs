//! One test: how it is run, and what came of it.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use attr_candle::compile;
use attr_core::{Cut, Dim, Graph, ModelWrapper, Point, Precision, Shape, Tensor};
use attr_onnx::{Numbers, Options, decode_with, encode};
use ndarray::{ArrayD, Axis, concatenate};
use prost::Message;

use super::file::{self, Model};
use super::lists::{ALL_OPEN, FOUR_DIGITS, HELD, NOT_HELD, OPERATORS, SKIPPED, TYPES};

/// Relative to the expected number. ONNX's own runner allows 1e-3.
const RELATIVE: f64 = 1e-5;

/// Relative to the largest of the expected numbers, for sums in which large numbers cancel out.
const OF_LARGEST: f64 = 1e-6;

/// Relative, where the expected numbers were rounded to another type than is computed in here: by the type's number
/// half precision (11 digits in base 2) and bfloat16 (8).
const ROUNDED: [(i32, f64); 2] = [(10, 1e-3), (16, 4e-3)];

/// Relative, where the expected numbers have four digits.
const FOUR: f64 = 5e-4;

/// The number of double precision among the types.
const DOUBLE: i32 = 11;

/// What came of a test.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// All numbers are right.
    Passed {
        /// Also with all inputs held at their values.
        in_all: bool,
        /// Also with axis 0 as the batch.
        as_batch: bool,
        /// Also when the layers have been written to a file and read again.
        written: bool,
    },
    /// It is about something that is left out on purpose.
    Skipped(String),
    /// It is refused, and about an operator that need not pass.
    NotListed(String),
    /// A number is wrong, or something is refused that must not be.
    Failed(String),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Passed { in_all, as_batch, written } => {
                let ways = [
                    (*in_all, " (also with all inputs held)"),
                    (*as_batch, " (also as a batch)"),
                    (*written, " (also written and read again)"),
                ];
                let ways = ways.into_iter().filter(|(way, _)| *way).map(|(_, words)| words);
                write!(f, "passed{}", ways.collect::<String>())
            }
            Verdict::Skipped(reason) => write!(f, "skipped: {reason}"),
            Verdict::NotListed(operator) => write!(f, "skipped: {operator} is not on the list"),
            Verdict::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// A model with inputs and the outputs that are right.
pub(super) struct Case {
    name: String,
    bytes: Vec<u8>,
    graph: file::Graph,
    /// The operator that the test is about: the model's, or that of the test whose model this one is in smaller
    /// operators.
    about: Option<file::Node>,
    /// One a value of the graph; none where they are of a type that is not read here.
    inputs: Option<Vec<Numbers>>,
    outputs: Option<Vec<Numbers>>,
}

/// How the model of a test is run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Each axis as long as the file says.
    AsItIs,
    /// Axis 0 as a batch of twice the rows.
    Batch,
    /// The layers written to a file and read again.
    Written,
}

/// Why one way to run a test did not give the right numbers.
enum Trouble {
    /// The model was refused, with the reason.
    Refused(String),
    /// It gave other numbers.
    Wrong(String),
}

impl Case {
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self, Box<dyn Error>> {
        let graph_of = |bytes: &[u8]| -> Result<file::Graph, Box<dyn Error>> {
            Ok(Model::decode(bytes)?.graph.ok_or("a model without a graph")?)
        };
        let bytes = fs::read(folder.join(name).join("model.onnx"))?;
        let graph = graph_of(&bytes)?;
        let whole = name.split("_expanded").next().unwrap_or(name);
        let of_whole = folder.join(whole).join("model.onnx");
        let about = match whole != name && of_whole.is_file() {
            true => graph_of(&fs::read(of_whole)?)?.nodes.into_iter().next(),
            false => graph.nodes.first().cloned(),
        };
        let data = folder.join(name).join("test_data_set_0");
        let numbers = |what: &str, count: usize| {
            let read = |i: usize| fs::read(data.join(format!("{what}_{i}.pb"))).ok();
            (0..count).map(|i| Numbers::decode(&read(i)?).ok()).collect::<Option<Vec<_>>>()
        };
        let (inputs, outputs) =
            (numbers("input", graph.inputs.len()), numbers("output", graph.outputs.len()));
        Ok(Case { name: name.into(), bytes, graph, about, inputs, outputs })
    }

    /// Runs the test in all ways.
    pub(super) fn verdict(&self) -> Verdict {
        let operator = self.about.as_ref().map_or("", |about| &about.operator);
        let (Some(inputs), Some(outputs)) = (&self.inputs, &self.outputs) else {
            return self.refused("its inputs or outputs can't be read".into());
        };
        let must = OPERATORS.contains(&operator);
        if let Some((_, reason)) = SKIPPED.iter().find(|(names, _)| names.contains(&self.name.as_str())) {
            return Verdict::Skipped(reason.to_string());
        }
        let ways = HELD.iter().find(|(name, _)| *name == operator).map_or(ALL_OPEN, |(_, ways)| ways);
        for way in ways.iter().filter(|way| self.name != NOT_HELD.0 || !way.contains(&NOT_HELD.1)) {
            match self.run(inputs, outputs, &self.held(way), Way::AsItIs) {
                Ok(()) => {}
                Err(Trouble::Refused(_)) if !must => {
                    return Verdict::NotListed(operator.into());
                }
                Err(Trouble::Refused(reason)) => return self.refused(reason),
                Err(Trouble::Wrong(reason)) => return Verdict::Failed(format!("{reason}, {way:?} held")),
            }
        }
        let (first, all) = (self.held(ways[0]), (0..inputs.len()).collect::<Vec<_>>());
        let more = [(&all, Way::AsItIs), (&first, Way::Batch), (&first, Way::Written)];
        let mut also = [false; 3];
        for (also, (held, way)) in also.iter_mut().zip(more) {
            match self.run(inputs, outputs, held, way) {
                Ok(()) => *also = true,
                Err(Trouble::Refused(_)) => {}
                Err(Trouble::Wrong(reason)) => {
                    return Verdict::Failed(format!("{reason}, {held:?} held, {way:?}"));
                }
            }
        }
        let [in_all, as_batch, written] = also;
        Verdict::Passed { in_all, as_batch, written }
    }

    /// What was refused counts as skipped where it is about numbers of a type that is listed as not computed with.
    fn refused(&self, reason: String) -> Verdict {
        let values = || self.graph.inputs.iter().chain(&self.graph.outputs);
        let listed = TYPES.iter().find(|(numbers, _)| values().any(|value| value.numbers() == *numbers));
        listed.map_or(Verdict::Failed(reason), |(_, reason)| Verdict::Skipped(reason.to_string()))
    }

    /// The inputs of the model by place, for those of the operator that the test is about.
    fn held(&self, places: &[usize]) -> Vec<usize> {
        let names = self.about.iter().flat_map(|about| places.iter().filter_map(|&i| about.inputs.get(i)));
        names.filter_map(|name| self.graph.inputs.iter().position(|input| input.name == *name)).collect()
    }

    fn run(&self, inputs: &[Numbers], outputs: &[Numbers], held: &[usize], way: Way) -> Result<(), Trouble> {
        let batch = way == Way::Batch;
        let name = |i: usize| self.graph.inputs[i].name.clone();
        let options = Options {
            constants: held.iter().map(|&i| (name(i), inputs[i].clone())).collect(),
            without_batch: !batch,
            ..Options::default()
        };
        let mut graph = decode_with(&self.bytes, &options).map_err(refused)?;
        if way == Way::Written {
            let written = encode(&graph).map_err(refused)?;
            let options = Options { without_batch: true, ..Options::default() };
            // What is written must be readable.
            graph = decode_with(&written, &options).map_err(|error| Trouble::Wrong(error.to_string()))?;
        }
        let by_name: HashMap<_, _> = (0..inputs.len()).map(|i| (name(i), inputs[i].to_f64())).collect();
        let shapes: Vec<_> = graph.outputs().iter().map(|&id| graph.node(id).shape.clone()).collect();
        let points: Vec<_> = graph.inputs().iter().map(|&id| by_name[&graph.node(id).name].clone()).collect();
        let found = computed(graph, self.precision(), &points, batch).map_err(refused)?;
        for (i, ((found, expected), shape)) in found.iter().zip(outputs).zip(&shapes).enumerate() {
            let expected = twice_if(batch, expected.to_f64(), shape);
            compare(found, &expected, self.tolerance(i))
                .map_err(|reason| Trouble::Wrong(format!("output {i}: {reason}")))?;
        }
        Ok(())
    }

    /// Relative to the expected numbers of an output.
    fn tolerance(&self, output: usize) -> f64 {
        let numbers = self.graph.outputs[output].numbers();
        match ROUNDED.iter().find(|(rounded, _)| *rounded == numbers) {
            Some((_, tolerance)) => *tolerance,
            None if self.name == FOUR_DIGITS => FOUR,
            None => RELATIVE,
        }
    }

    /// Double where the test is.
    fn precision(&self) -> Precision {
        let values = self.graph.inputs.iter().chain(&self.graph.outputs);
        match values.map(file::Value::numbers).any(|numbers| numbers == DOUBLE) {
            true => Precision::F64,
            false => Precision::F32,
        }
    }
}

fn refused(error: impl std::fmt::Display) -> Trouble {
    Trouble::Refused(error.to_string())
}

fn computed(
    graph: Graph,
    precision: Precision,
    inputs: &[ArrayD<f64>],
    batch: bool,
) -> attr_core::Result<Vec<ArrayD<f64>>> {
    let shapes: Vec<_> = graph.inputs().iter().map(|&id| graph.node(id).shape.clone()).collect();
    let model = compile(graph, precision)?;
    let inputs =
        inputs.iter().zip(&shapes).map(|(x, shape)| model.tensor(&twice_if(batch, x.clone(), shape)));
    let inputs = inputs.collect::<attr_core::Result<Vec<_>>>()?;
    let outputs = model.forward(Point::at(&inputs), &Cut::output())?;
    outputs.iter().map(Tensor::to_array).collect()
}

/// As a batch, all rows behind one another twice.
fn twice_if(batch: bool, x: ArrayD<f64>, shape: &Shape) -> ArrayD<f64> {
    match shape.0.iter().position(|dim| matches!(dim, Dim::Batch(_))).filter(|_| batch) {
        Some(axis) if axis < x.ndim() => {
            concatenate(Axis(axis), &[x.view(), x.view()]).expect("BUG: an array fits to itself")
        }
        _ => x,
    }
}

fn compare(found: &ArrayD<f64>, expected: &ArrayD<f64>, relative: f64) -> Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("expected shape {:?}, found {:?}", expected.shape(), found.shape()));
    }
    let finite = expected.iter().filter(|x| x.is_finite());
    let largest = finite.fold(0.0f64, |largest, x| largest.max(x.abs()));
    let close = |found: f64, expected: f64| {
        found == expected
            || found.is_nan() && expected.is_nan()
            || (found - expected).abs() <= relative * expected.abs() + OF_LARGEST * largest
    };
    match found.iter().zip(expected).enumerate().find(|(_, (found, expected))| !close(**found, **expected)) {
        None => Ok(()),
        Some((i, (found, expected))) => Err(format!("entry {i}: expected {expected}, found {found}")),
    }
}
