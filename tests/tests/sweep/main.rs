//! The two verbs of a model on every adapter: values at cuts, and derivatives between cuts, with and
//! without values replaced on the way.

mod cases;
mod errors;
mod random;
mod without_batch;

use attr_core::{Conv, ConvTranspose, Cut, Graph, GraphModel, ModelWrapper, Op, Point, Precision, Tensor};
use attr_tests::networks::{random_networks, two_outputs};
use attr_tests::reference::Reference;
use attr_tests::sampling::{positive, spread};
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Case, Level, Outcome, on_every_adapter};
use ndarray::{ArrayD, Axis, arr2, concatenate};

/// A model, a point, a verb, and what it gives.
struct Sweep {
    name: &'static str,
    net: Graph,
    inputs: Vec<ArrayD<f64>>,
    replace: Option<(Cut, Vec<ArrayD<f64>>)>,
    verb: Verb,
    expected: Expected,
}

enum Verb {
    /// The values at a cut.
    Forward(Cut),
    /// The derivative by the values at `from` of a sum over all numbers at `to`, where each tensor has
    /// a weight.
    Gradient { from: Cut, to: Cut, weights: Vec<f64> },
}

enum Expected {
    /// One array for each tensor at the cut.
    Arrays(Vec<ArrayD<f64>>),
    /// An error whose message has these parts.
    Error(&'static [&'static str]),
}

impl Case for Sweep {
    fn name(&self) -> &str {
        self.name
    }
}

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Sweep) -> Outcome {
    let model = adapter.model(&case.net)?;
    let inputs = adapter.tensors(&case.inputs)?;
    let replaced = case.replace.as_ref().map(|(cut, arrays)| Ok((cut, adapter.tensors(arrays)?)));
    let replaced = replaced.transpose().map_err(|error: attr_core::Error| error)?;
    let point =
        Point { inputs: &inputs, replace: replaced.as_ref().map(|(cut, values)| (*cut, &values[..])) };
    let found = match &case.verb {
        Verb::Forward(at) => model.forward(point, at),
        Verb::Gradient { from, to, weights } => {
            let gradient = model.gradient(point, from, to, &mut |values| {
                values.iter().zip(weights).map(|(value, &weight)| value.filled_like(weight)).collect()
            });
            if let Ok(gradient) = &gradient {
                let at_from = model.forward(point, from)?;
                let same = at_from.iter().map(Tensor::to_array).collect::<Result<Vec<_>, _>>()?;
                adapter.all_close(&gradient.values, &rows_of(&same, &gradient.values), Level::Bitwise)?;
            }
            gradient.map(|gradient| gradient.gradients)
        }
    };
    match (&case.expected, found) {
        (Expected::Arrays(expected), Ok(found)) => Ok(adapter.all_close(&found, expected, Level::Layer)?),
        (Expected::Arrays(_), Err(error)) => Err(error.into()),
        (Expected::Error(_), Ok(_)) => Err("expected an error, found none".into()),
        (Expected::Error(parts), Err(error)) => {
            let message = error.to_string();
            match parts.iter().find(|part| !message.contains(**part)) {
                Some(part) => Err(format!("expected {part:?} in the error, found {message:?}").into()),
                None => Ok(()),
            }
        }
    }
}

/// Values that were read without their rows being tiled, with as many rows as they were seen with.
fn rows_of<T: Tensor>(values: &[ArrayD<f64>], like: &[T]) -> Vec<ArrayD<f64>> {
    let tiled = |(value, like): (&ArrayD<f64>, &T)| {
        let copies = like.rows() / value.len_of(Axis(0));
        concatenate(Axis(0), &vec![value.view(); copies]).unwrap()
    };
    values.iter().zip(like).map(tiled).collect()
}

#[test]
fn values() {
    on_every_adapter!(check, cases::forward_cases());
}

#[test]
fn values_where_others_are_replaced() {
    on_every_adapter!(check, cases::replaced_cases());
}

#[test]
fn derivatives() {
    on_every_adapter!(check, cases::gradient_cases());
}

#[test]
fn derivatives_where_values_are_replaced() {
    on_every_adapter!(check, cases::replaced_gradient_cases());
}

#[test]
fn batches_that_are_not_the_first_axis() {
    on_every_adapter!(check, cases::moved_batch_cases());
}

#[test]
fn mistakes() {
    on_every_adapter!(check, errors::cases());
}

fn forward(at: impl Into<Cut>) -> Verb {
    Verb::Forward(at.into())
}

fn gradient_of(from: impl Into<Cut>, to: impl Into<Cut>) -> Verb {
    Verb::Gradient { from: from.into(), to: to.into(), weights: vec![1.0; 8] }
}

fn sweep(name: &'static str, net: Graph, inputs: Vec<ArrayD<f64>>) -> Sweep {
    let verb = Verb::Forward(Cut::output());
    Sweep { name, net, inputs, replace: None, verb, expected: Expected::Error(&[]) }
}

impl Sweep {
    fn replace(mut self, cut: impl Into<Cut>, values: &[ArrayD<f64>]) -> Self {
        self.replace = Some((cut.into(), values.to_vec()));
        self
    }

    fn forward(self, at: impl Into<Cut>, expected: &[Vec<ArrayD<f64>>]) -> Self {
        Sweep { verb: forward(at), expected: Expected::Arrays(expected.concat()), ..self }
    }

    /// Of the sum of all numbers at `to`.
    fn gradient(self, from: impl Into<Cut>, to: impl Into<Cut>, expected: &[Vec<ArrayD<f64>>]) -> Self {
        Sweep { verb: gradient_of(from, to), expected: Expected::Arrays(expected.concat()), ..self }
    }

    fn weighted(
        self,
        from: impl Into<Cut>,
        to: impl Into<Cut>,
        weights: &[f64],
        expected: &[Vec<ArrayD<f64>>],
    ) -> Self {
        let verb = Verb::Gradient { from: from.into(), to: to.into(), weights: weights.to_vec() };
        Sweep { verb, expected: Expected::Arrays(expected.concat()), ..self }
    }

    fn fails(self, verb: Verb, parts: &'static [&'static str]) -> Self {
        Sweep { verb, expected: Expected::Error(parts), ..self }
    }
}

/// One tensor of these rows.
fn rows<const N: usize>(rows: &[[f64; N]]) -> Vec<ArrayD<f64>> {
    vec![arr2(rows).into_dyn()]
}

/// One row.
fn row(numbers: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(vec![1, numbers.len()], numbers.to_vec()).unwrap()
}

/// A graph with its batch norm folded is the same function, of fewer layers.
#[test]
fn batch_norm_folded() {
    for network in random_networks() {
        let (norms, left) = folded(&network.graph, &network.inputs(2));
        assert!(norms == 0 || left < norms, "{}: {left} of {norms} are left", network.name);
    }
    // Scales go by group: output channels lie behind one another within each, input channels across all.
    let conv = Conv { groups: 2, ..Conv::square(2, 1) };
    let transpose = Op::ConvTranspose(ConvTranspose { conv, output_padding: vec![1, 0] });
    for params in [&[spread(&[4, 3, 3, 3], 1)][..], &[spread(&[4, 3, 3, 3], 1), spread(&[6], 2)]] {
        let mut graph = Graph::default();
        let x = graph.input("x", &[4, 3, 2]).unwrap();
        let params: Vec<_> = params.iter().map(|param| graph.param(param.clone())).collect();
        let y = graph.add("up", transpose.clone(), &[x], &params).unwrap();
        let params: Vec<_> = (3..6).map(|seed| graph.param(spread(&[6], seed))).collect();
        let params = [&params[..], &[graph.param(positive(&[6], 6))]].concat();
        let y = graph.add("bn", Op::BatchNorm { epsilon: 1e-3 }, &[y], &params).unwrap();
        graph.set_outputs(&[y]).unwrap();
        assert_eq!(folded(&graph, &[spread(&[2, 4, 3, 2], 7)]), (1, 0));
    }
}

/// How many batch norms a graph has, and how many are left when they are folded, which changes no value.
fn folded(graph: &Graph, inputs: &[ArrayD<f64>]) -> (usize, usize) {
    let folded = graph.fold_batch_norm().unwrap();
    let last = &graph.node(graph.outputs()[0]).name;
    let of = |graph: &Graph| {
        let norms = graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm { .. })).count();
        let model = GraphModel::new(graph.clone(), Reference).unwrap();
        let inputs = attr_tests::adapter::reference().tensors(inputs).unwrap();
        let value = model.forward(Point::at(&inputs), &Cut::layer(last)).unwrap().remove(0);
        (norms, value.to_array().unwrap())
    };
    let ((norms, expected), (left, found)) = (of(graph), of(&folded));
    close(&found, &expected, Level::Layer, Precision::F64).unwrap();
    assert_eq!(folded.nodes().len(), graph.nodes().len() - (norms - left));
    (norms, left)
}

/// What a model says about its layers.
#[test]
fn places() {
    let adapter = attr_tests::adapter::reference();
    let model = adapter.model(&two_outputs()).unwrap();
    let layers = model.layers();
    let named = |name: &str| layers.iter().find(|place| place.name == name).unwrap();
    assert_eq!(layers.len(), 6);
    assert_eq!(named("z3").parameters, 56);
    assert_eq!(named("z3").kind, "linear");
    assert_eq!(named("z3").shape.as_ref().unwrap().to_string(), "[B, 8]");
    assert!(named("z2").leads_to_output && !named("z3").leads_to_output && !named("y2").leads_to_output);
    let names =
        |cut: Cut| -> Vec<_> { model.places(&cut).unwrap().into_iter().map(|place| place.name).collect() };
    assert_eq!(names(Cut::output()), ["y1", "y2"]);
    assert_eq!(names(Cut::logits()), ["y1"]);
    assert_eq!(names(Cut::input()), ["x"]);

    let softmax = &random_networks()[0].graph;
    let model = GraphModel::new(softmax.clone(), Reference).unwrap();
    assert_eq!(model.places(&Cut::logits()).unwrap()[0].name, "logits");
    assert_eq!(model.places(&Cut::output()).unwrap()[0].name, "softmax");
}
