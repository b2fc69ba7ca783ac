//! Each rule on each kind of layer against its formula, element by element, on the layer's matrix in double
//! precision: the matrix is found by asking the slow reference for the layer's value at each unit vector.

use attr_core::{
    Conv, ConvTranspose, Cut, Graph, GraphModel, ModelWrapper, Op, Point, Pool, Qoi, Run, Tensor,
};
use attr_tests::networks::single_layer;
use attr_tests::reference::Reference;
use attr_tests::sampling::{positive, uniform};
use attr_tests::{Adapter, Ask, Case, Level, Outcome, on_every_layered_adapter};
use ndarray::{Array1, Array2, ArrayD, Axis};

/// A layer by itself as a network.
struct Single {
    name: &'static str,
    op: Op,
    params: Vec<ArrayD<f64>>,
    row: Vec<usize>,
    /// Whether the rules that look at single weights are defined.
    weighted: bool,
}

struct Rules {
    name: String,
    rule: &'static str,
    net: Graph,
    input: ArrayD<f64>,
    expected: ArrayD<f64>,
}

impl Case for Rules {
    fn name(&self) -> &str {
        &self.name
    }
}

/// From inputs, one row of the matrix, bias, output: the numerators, and the denominator before it is stabilized.
type Quotient = fn(&Array1<f64>, &Array1<f64>, f64, f64) -> (Array1<f64>, f64);

/// Quotients with their shares, and what stabilizes the denominator.
#[derive(Clone)]
struct Formula {
    quotients: Vec<(f64, Quotient)>,
    epsilon: f64,
}

fn plus(x: f64) -> f64 {
    x.max(0.0)
}

fn minus(x: f64) -> f64 {
    x.min(0.0)
}

fn positive_share(x: &Array1<f64>, w: &Array1<f64>, bias: f64) -> (Array1<f64>, f64) {
    let n = (x * w).mapv(plus);
    let d = n.sum() + bias;
    (n, d)
}

fn negative_share(x: &Array1<f64>, w: &Array1<f64>, bias: f64) -> (Array1<f64>, f64) {
    let n = (x * w).mapv(minus);
    let d = n.sum() + bias;
    (n, d)
}

/// Rule by text, its formula, and whether it looks at single weights.
fn rules() -> Vec<(&'static str, Formula, bool)> {
    let one = |quotient, epsilon| Formula { quotients: vec![(1.0, quotient)], epsilon };
    let both = |alpha: f64, beta: f64, positive: Quotient, negative: Quotient| Formula {
        quotients: vec![(alpha, positive), (-beta, negative)],
        epsilon: 1e-6,
    };
    vec![
        ("zero", one(|x, w, b, _| (x * w, (x * w).sum() + b), 0.0), false),
        ("epsilon 0.3", one(|x, w, b, _| (x * w, (x * w).sum() + b), 0.3), false),
        ("epsilon 0.3 no-bias", one(|x, w, _, _| (x * w, (x * w).sum()), 0.3), false),
        (
            "gamma 0.25",
            one(
                |x, w, b, y| {
                    let more = if y > 0.0 { plus } else { minus };
                    let n = (x * w).mapv(|c| c + 0.25 * more(c));
                    let d = n.sum() + b + 0.25 * more(b);
                    (n, d)
                },
                1e-6,
            ),
            false,
        ),
        (
            "plain-gamma 0.5",
            one(
                |x, w, b, _| {
                    let n = x * &w.mapv(|w| w + 0.5 * plus(w));
                    let d = n.sum() + b;
                    (n, d)
                },
                1e-6,
            ),
            false,
        ),
        (
            "alpha-beta 2 1",
            both(
                2.0,
                1.0,
                |x, w, b, _| positive_share(x, w, plus(b)),
                |x, w, b, _| negative_share(x, w, minus(b)),
            ),
            false,
        ),
        (
            "alpha-beta 3 2 positive",
            both(
                3.0,
                2.0,
                |x, w, b, _| positive_share(x, w, plus(b)),
                |x, w, _, _| negative_share(x, w, 0.0),
            ),
            false,
        ),
        (
            "alpha-beta 2 1 both",
            both(2.0, 1.0, |x, w, b, _| positive_share(x, w, b), |x, w, b, _| negative_share(x, w, b)),
            false,
        ),
        (
            "alpha-beta 1.5 0.5 none",
            both(1.5, 0.5, |x, w, _, _| positive_share(x, w, 0.0), |x, w, _, _| negative_share(x, w, 0.0)),
            false,
        ),
        ("z-plus", one(|x, w, b, _| positive_share(x, w, plus(b)), 1e-6), false),
        ("z-plus-fast", one(|x, w, _, _| (x * &w.mapv(plus), (x * &w.mapv(plus)).sum()), 1e-6), false),
        (
            "z-plus-fast bias",
            one(|x, w, b, _| (x * &w.mapv(plus), (x * &w.mapv(plus)).sum() + b), 1e-6),
            false,
        ),
        ("z-plus none", one(|x, w, _, _| positive_share(x, w, 0.0), 1e-6), false),
        (
            "z-box -2 1.5",
            one(
                |x, w, _, _| {
                    let n = x * w - -2.0 * w.mapv(plus) - 1.5 * w.mapv(minus);
                    let d = n.sum();
                    (n, d)
                },
                1e-6,
            ),
            false,
        ),
        ("w-square", one(|_, w, _, _| (w * w, (w * w).sum()), 1e-6), true),
        (
            "flat",
            one(
                |_, w, _, _| {
                    let n = w.mapv(|w| if w == 0.0 { 0.0 } else { 1.0 });
                    let d = n.sum();
                    (n, d)
                },
                1e-6,
            ),
            true,
        ),
    ]
}

fn layers() -> Vec<Single> {
    let weight = |dims: &[usize]| uniform(dims, 7);
    let conv = |name, conv, weight: ArrayD<f64>| {
        let bias = uniform(&[weight.len_of(Axis(0))], 8);
        Single { name, op: Op::Conv(conv), params: vec![weight, bias], row: vec![4, 5, 6], weighted: true }
    };
    let transposed = |name, groups: usize, output_padding, weight: ArrayD<f64>| {
        let bias = uniform(&[groups * weight.len_of(Axis(1))], 8);
        let conv = Conv { groups, ..Conv::square(2, 1) };
        let op = Op::ConvTranspose(ConvTranspose { conv, output_padding });
        Single { name, op, params: vec![weight, bias], row: vec![4, 5, 6], weighted: true }
    };
    let plain =
        |name, op, row: &[usize]| Single { name, op, params: vec![], row: row.into(), weighted: false };
    let sided = Conv { padding: vec![(0, 1), (2, 0)], ..Conv::square(1, 0) };
    vec![
        Single {
            name: "dense",
            op: Op::Linear,
            params: vec![weight(&[4, 6]), uniform(&[4], 8)],
            row: vec![6],
            weighted: true,
        },
        Single {
            name: "dense, no bias",
            op: Op::Linear,
            params: vec![weight(&[4, 6])],
            row: vec![6],
            weighted: true,
        },
        Single {
            name: "dense over the last of two axes",
            op: Op::Linear,
            params: vec![weight(&[4, 3]), uniform(&[4], 8)],
            row: vec![2, 3],
            weighted: true,
        },
        conv("convolution", Conv::square(1, 0), weight(&[3, 4, 3, 3])),
        conv("padded convolution", Conv::square(1, 1), weight(&[3, 4, 3, 3])),
        conv("strided convolution", Conv::square(2, 1), weight(&[3, 4, 3, 3])),
        conv("unevenly padded convolution", sided, weight(&[3, 4, 3, 3])),
        conv("grouped convolution", Conv { groups: 2, ..Conv::square(1, 1) }, weight(&[6, 2, 3, 3])),
        conv("depthwise convolution", Conv { groups: 4, ..Conv::square(2, 0) }, weight(&[4, 1, 3, 3])),
        conv(
            "dilated convolution",
            Conv { dilation: vec![2, 2], ..Conv::square(1, 0) },
            weight(&[2, 4, 2, 2]),
        ),
        transposed("transposed convolution", 1, vec![0, 0], weight(&[4, 2, 3, 3])),
        transposed("strided and grouped transposed convolution", 2, vec![1, 0], weight(&[4, 2, 2, 3])),
        Single {
            name: "batch norm",
            op: Op::BatchNorm { epsilon: 1e-3 },
            params: vec![weight(&[4]), uniform(&[4], 8), uniform(&[4], 9), positive(&[4], 10)],
            row: vec![4, 2, 3],
            weighted: true,
        },
        plain(
            "average pooling",
            Op::AveragePool { pool: Pool::square(2, 1), count_include_pad: true },
            &[2, 4, 4],
        ),
        plain(
            "padded average pooling",
            Op::AveragePool {
                pool: Pool { padding: vec![(1, 1); 2], ..Pool::square(3, 2) },
                count_include_pad: false,
            },
            &[2, 5, 5],
        ),
        plain("mean", Op::Mean { axes: vec![2, 3], keep: false }, &[3, 4, 4]),
        plain("sum", Op::Sum { axes: vec![1], keep: true }, &[3, 4]),
    ]
}

/// The layer's matrix and bias, by its values at unit vectors.
fn matrix(net: &Graph) -> (Array2<f64>, Array1<f64>) {
    let model = GraphModel::new(net.clone(), Reference).unwrap();
    let dims = net.node(0).shape.at(1);
    let len: usize = dims.iter().product();
    let value = |x: Array1<f64>| -> Array1<f64> {
        let x = model.tensor(&x.into_shape_with_order(dims.clone()).unwrap()).unwrap();
        let y = model.forward(Point::at(&[x]), &Cut::output()).unwrap().remove(0).to_array().unwrap();
        y.into_iter().collect()
    };
    let bias = value(Array1::zeros(len));
    let mut matrix = Array2::zeros((bias.len(), len));
    for i in 0..len {
        let mut unit = Array1::zeros(len);
        unit[i] = 1.0;
        matrix.column_mut(i).assign(&(value(unit) - &bias));
    }
    // A difference of sums has rounding where there is no connection.
    (matrix.mapv(|w| if f64::abs(w) < 1e-12 { 0.0 } else { w }), bias)
}

/// The relevance of one row of inputs.
fn relevance(
    w: &Array2<f64>,
    b: &Array1<f64>,
    x: &Array1<f64>,
    r: &Array1<f64>,
    by: &Formula,
) -> Array1<f64> {
    let y = w.dot(x) + b;
    let mut sum = Array1::zeros(x.len());
    for (share, quotient) in &by.quotients {
        for j in 0..y.len() {
            let (n, d) = quotient(x, &w.row(j).to_owned(), b[j], y[j]);
            let d = d + if d >= 0.0 { by.epsilon } else { -by.epsilon };
            if d != 0.0 {
                sum += &(n * (share * r[j] / d));
            }
        }
    }
    sum
}

fn cases() -> Vec<Rules> {
    let mut cases = Vec::new();
    for single in layers() {
        let net = single_layer(single.op, &single.row, &single.params);
        let (w, b) = matrix(&net);
        let mut dims = vec![3];
        dims.extend(&single.row);
        let input = uniform(&dims, 11);
        for (rule, formula, of_weights) in rules() {
            if of_weights && !single.weighted {
                continue;
            }
            let rows = input.axis_iter(Axis(0)).map(|row| {
                let x: Array1<f64> = row.iter().copied().collect();
                // The relevance of each output: its value times its weight in the quantity.
                let r = (w.dot(&x) + &b) * &weights(b.len());
                relevance(&w, &b, &x, &r, &formula)
            });
            let expected =
                rows.flatten().collect::<Array1<f64>>().into_shape_with_order(dims.clone()).unwrap();
            let name = format!("{rule} on {}", single.name);
            let (net, input) = (net.clone(), input.clone());
            cases.push(Rules { name, rule, net, input, expected });
        }
    }
    cases
}

fn weights(len: usize) -> Array1<f64> {
    uniform(&[len], 12).into_iter().collect()
}

#[test]
fn rules_on_layers() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Rules) -> Outcome {
        let model = adapter.model(&case.net)?;
        let outputs = &case.net.node(1).shape.at(1)[1..];
        let len = outputs.iter().product();
        let weights = weights(len).into_shape_with_order(outputs).unwrap();
        let rules = format!("name layer: {}", case.rule);
        let ask = Ask::named("lrp").with("rules", rules).of(Qoi::WeightedSum(weights));
        let answer = ask.answer(adapter, &model, std::slice::from_ref(&case.input), Run::default())?;
        Ok(adapter.close(&answer.values[0], &case.expected, Level::Quotient)?)
    }
    on_every_layered_adapter!(check, cases());
}
