//! Inputs without a batch: of exactly their lengths, worked along any axis, the same for all rows of other inputs.

use attr_core::methods::{Gradient, IntegratedGradients, Method, SmoothGrad};
use attr_core::{Cut, Graph, GraphModel, Op, Question};
use attr_tests::reference::Reference;
use attr_tests::run_on;
use ndarray::arr1;

use crate::{Sweep, check, rows, sweep};

/// The squares of the sums over axis 0.
fn squares() -> Graph {
    let mut graph = Graph::default();
    let x = graph.fixed_input("x", &[2, 2]).unwrap();
    let sum = graph.add("sum", Op::Sum { axes: vec![0], keep: false }, &[x], &[]).unwrap();
    let square = graph.add("square", Op::Mul, &[sum, sum], &[]).unwrap();
    graph.set_outputs(&[square]).unwrap();
    graph
}

/// `b t + t` with a batch of b.
fn scaled() -> Graph {
    let mut graph = Graph::default();
    let b = graph.input("b", &[2]).unwrap();
    let t = graph.fixed_input("t", &[2]).unwrap();
    let product = graph.add("product", Op::Mul, &[b, t], &[]).unwrap();
    let y = graph.add("y", Op::Add, &[product, t], &[]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    graph
}

fn cases() -> Vec<Sweep> {
    let x = || rows(&[[1.0, 2.0], [3.0, 4.0]]);
    let mixed = || [rows(&[[1.0, 2.0], [0.0, -1.0]]), vec![arr1(&[10.0, 100.0]).into_dyn()]].concat();
    let squared = vec![arr1(&[16.0, 36.0]).into_dyn()];
    vec![
        sweep("worked along axis 0", squares(), x()).forward(Cut::output(), &[squared]),
        sweep("differentiated", squares(), x()).gradient(
            Cut::input(),
            Cut::output(),
            &[rows(&[[8.0, 12.0], [8.0, 12.0]])],
        ),
        sweep("beside a batch", scaled(), mixed())
            .forward(Cut::output(), &[rows(&[[20.0, 300.0], [10.0, 0.0]])]),
        sweep("beside values with more rows", scaled(), mixed())
            .replace("product", &rows(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]))
            .forward(Cut::output(), &[rows(&[[11.0, 102.0], [13.0, 104.0], [15.0, 106.0], [17.0, 108.0]])]),
    ]
}

#[test]
fn inputs_without_a_batch() {
    let mut failures = Vec::new();
    run_on!(adapter: reference, candle_f64, candle_f32; failures, &cases(), check);
    attr_tests::adapter::assert_none(&failures);
}

/// Methods mix rows of their own with those of the inputs.
#[test]
fn methods_refuse_them() {
    let adapter = attr_tests::adapter::reference();
    let model = adapter.model(&squares()).unwrap();
    let inputs = adapter.tensors(&rows(&[[1.0, 2.0], [3.0, 4.0]])).unwrap();
    let question = Question::new(&model, &inputs);
    let methods: [&dyn Method<GraphModel<Reference>>; 3] =
        [&Gradient {}, &IntegratedGradients::default(), &SmoothGrad::default()];
    for method in methods {
        let message = method.attribute(&question).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("\"x\": expected a value with the batch first, found [2, 2]"), "{message}");
    }
}
