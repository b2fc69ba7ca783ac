//! DeepLIFT: literals of papers and peers, its formulas one neuron at a time, and summation to delta.

use attr_core::methods::{Baselines, DeepLift, Method};
use attr_core::{
    Baseline, Conv, Cut, Graph, LayeredModel, ModelWrapper, Op, ParamId, Pool, Qoi, Question, Run,
};
use attr_tests::networks::{
    Kind, RandomNetwork, basic_model2, channels_added, max_of_four, minimum, quotients, random_networks,
    relu_linear, rising, two_tanh,
};
use attr_tests::{Adapter, Ask, Level, Outcome, on_every_layered_adapter};
use ndarray::{Array1, ArrayD, Axis, Ix1, Ix2, arr2};

use crate::{Literal, holds};

fn literal<const C: usize, const D: usize>(
    name: &'static str,
    net: Graph,
    input: &[[f64; C]],
    ask: Ask,
    expected: &[[f64; D]],
) -> Literal {
    Literal { name, net, input: arr2(input).into_dyn(), ask, expected: arr2(expected).into_dyn() }
}

fn cases() -> Vec<Literal> {
    let lift = || Ask::named("deeplift");
    let by = |rule: &str| lift().with("rule", rule);
    let basic = [[-10.0, -5.0], [3.0, 1.0]];
    let multiplied = (-2.0f64).tanh();
    let shifted = 2.0 * ((-3.5f64).tanh() - (-1.5f64).tanh());
    let six = [[-10.0, 1.0, -5.0, 3.0, 3.0, 1.0]];
    vec![
        // DeepExplain, tests/test_tensorflow.py; Captum's ReLU literal (2, 1) is of the same network with a sum.
        literal("DeepExplain", basic_model2(), &basic, lift(), &[[0.0, 0.0], [2.0, -1.0]]),
        literal(
            "DeepExplain, multipliers",
            basic_model2(),
            &basic,
            lift().with("multiply", false),
            &[[0.0, 0.0], [2.0 / 3.0, -1.0]],
        ),
        literal("linear is the gradient", basic_model2(), &basic, by("linear"), &[[0.0, 0.0], [3.0, -1.0]]),
        // Captum, tests/attr/test_deeplift_basic.py: the model and inputs; the values are those of its formula.
        literal("Captum, tanh", two_tanh(), &[[-1.0, -2.0]], lift(), &[[2.0 * (-1.0f64).tanh(), shifted]]),
        literal("Captum, tanh of -2", two_tanh(), &[[-2.0, 0.0]], lift(), &[[2.0 * multiplied, 0.0]]),
        // Captum, tests/attr/layer/test_layer_deeplift.py.
        literal("Captum, layer", relu_linear(), &six, lift().at("linear"), &[[0.0, 15.0]]),
        literal(
            "Captum, layer's multipliers",
            relu_linear(),
            &six,
            lift().at("linear").with("multiply", false),
            &[[0.0, 1.0]],
        ),
        // Shrikumar et al. 2017, section 3.5.3: rescale gives all to the smaller number, reveal-cancel half to each.
        literal("the minimum, rescaled", minimum(), &[[5.0, 2.0]], lift(), &[[0.0, 2.0]]),
        literal(
            "the minimum",
            minimum(),
            &[[5.0, 2.0], [1.0, 3.0]],
            by("reveal-cancel"),
            &[[1.0, 1.0], [0.5, 0.5]],
        ),
        literal("the minimum, genomics", minimum(), &[[5.0, 2.0]], by("genomics"), &[[1.0, 1.0]]),
    ]
}

#[test]
fn literals() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Literal) -> Outcome {
        case.holds(adapter, Level::Layer)
    }
    on_every_layered_adapter!(check, cases());
}

/// kundajelab, tests/layers: multipliers behind one layer. Of its max pooling of negative numbers, which goes by its
/// gradient where ours goes to the winner at the baseline, the rest is taken.
#[test]
fn kundajelab() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Literal) -> Outcome {
        case.holds(adapter, Level::Layer)
    }
    let multipliers = || Ask::named("deeplift").with("multiply", false);
    let w = [1.0, 2.0, 3.0, 4.0];
    let times = |factors: [f64; 2]| factors.map(|factor| w.map(|w| w * factor));
    let dense = |name, class, rule: &str, expected: [[f64; 4]; 2]| {
        let ask = multipliers().with("rule", rule).of(Qoi::Class(class));
        literal(name, rising(), &[[1.0; 4], [2.0; 4]], ask, &expected)
    };
    let of_channels = |name, op, row: &[usize], params: &[ArrayD<f64>], weights, input, expected: &[f64]| {
        let net = channels_added(op, row, params, weights);
        let input: ArrayD<f64> = input;
        let expected = ArrayD::from_shape_vec(input.raw_dim(), expected.to_vec()).unwrap();
        Literal { name, net, input, ask: multipliers(), expected }
    };
    let windows = |op: fn(Pool) -> Op| op(Pool { kernel: vec![1, 2], ..Pool::square(1, 1) });
    let average = windows(|pool| Op::AveragePool { pool, count_include_pad: false });
    let up_and_down = [0.0, 1.0, 4.0, 3.0, 3.0, 2.0, 1.0, 0.0, 0.0, -1.0, -2.0, -3.0, -3.0, -2.0, -1.0, 0.0];
    let pooled =
        |rows: usize| ArrayD::from_shape_vec(vec![rows, 2, 1, 4], up_and_down[..8 * rows].to_vec()).unwrap();
    let kernel = Array1::range(0.0, 8.0, 1.0);
    let kernels: Vec<f64> = kernel.iter().copied().chain(kernel.iter().map(|w| -w)).collect();
    let kernels = ArrayD::from_shape_vec(vec![2, 2, 2, 2], kernels).unwrap();
    let params = [kernels, ndarray::arr1(&[-1.0, 1.0]).into_dyn()];
    let images = || Array1::range(0.0, 64.0, 1.0).into_shape_with_order(vec![2, 2, 4, 4]).unwrap();
    let dense_step = [
        0.0, 2.0, 2.0, 2.0, 4.0, 12.0, 12.0, 8.0, 4.0, 12.0, 12.0, 8.0, 4.0, 10.0, 10.0, 6.0, 8.0, 18.0,
        18.0, 10.0, 20.0, 44.0, 44.0, 24.0, 20.0, 44.0, 44.0, 24.0, 12.0, 26.0, 26.0, 14.0,
    ];
    let two_steps = [
        0.0, 2.0, 0.0, 2.0, 4.0, 6.0, 4.0, 6.0, 0.0, 2.0, 0.0, 2.0, 4.0, 6.0, 4.0, 6.0, 8.0, 10.0, 8.0, 10.0,
        12.0, 14.0, 12.0, 14.0, 8.0, 10.0, 8.0, 10.0, 12.0, 14.0, 12.0, 14.0,
    ];
    let conv = |name, stride, expected: [f64; 32]| {
        let op = Op::Conv(Conv::square(stride, 0));
        of_channels(name, op, &[2, 4, 4], &params, [1.0, -1.0], images(), &[expected; 2].concat())
    };
    let cases = [
        dense("rescale, unit 1", 0, "rescale", times([0.9, 0.95])),
        dense("rescale, unit 2", 1, "rescale", times([-0.1, -0.05])),
        dense("gradient, unit 1", 0, "linear", times([1.0, 1.0])),
        dense("gradient, unit 2", 1, "linear", times([0.0, 0.0])),
        conv("convolution", 1, dense_step),
        conv("strided convolution", 2, two_steps),
        of_channels(
            "average pooling",
            average,
            &[2, 1, 4],
            &[],
            [2.0, 3.0],
            pooled(2),
            &[[1.0, 2.0, 2.0, 1.0, 1.5, 3.0, 3.0, 1.5]; 2].concat(),
        ),
        of_channels(
            "max pooling",
            windows(Op::MaxPool),
            &[2, 1, 4],
            &[],
            [2.0, 3.0],
            pooled(1),
            &[0.0, 2.0, 4.0, 0.0, 3.0, 3.0, 3.0, 0.0],
        ),
    ];
    on_every_layered_adapter!(check, cases);
}

/// Captum, tests/attr/layer/test_layer_deeplift.py: what was largest at the baseline pays for what it isn't any more.
#[test]
fn the_largest_elsewhere() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &Literal) -> Outcome {
        let model = adapter.model(&case.net)?;
        let inputs = adapter.tensors(std::slice::from_ref(&case.input))?;
        let dims = case.input.raw_dim();
        let baseline = arr2(&[[1.0, 2.0, 3.0, 9.0], [4.0, 8.0, 6.0, 7.0]]).into_dyn();
        let baseline = Baseline::Arrays(vec![baseline.into_shape_with_order(dims.clone()).unwrap()]);
        let method = DeepLift { baselines: Baselines(vec![baseline]), ..DeepLift::default() };
        let answer = method.attribute(&Question::new(&model, &inputs).of(Qoi::Class(0)))?;
        let expected = case.expected.clone().into_shape_with_order(dims).unwrap();
        Ok(adapter.close(&answer.values[0], &expected, Level::Layer)?)
    }
    let expected = [[0.0, 0.0, 0.0, -8.0], [0.0, -7.0, 0.0, 0.0]];
    let mut case =
        literal("Captum, max pooling", max_of_four(), &[[1.0; 4]; 2], Ask::named("deeplift"), &expected);
    case.input = ArrayD::ones(vec![2, 1, 1, 4]);
    on_every_layered_adapter!(check, [case]);
}

/// Contributions by the text of the paper, neuron by neuron, in a network of linear layers and functions between them.
fn contributions(net: &Graph, x: &Array1<f64>, x0: &Array1<f64>, class: usize, reveal: bool) -> Array1<f64> {
    let mut nodes = net.nodes()[1..].iter();
    let nodes: Vec<_> = nodes.by_ref().take_while(|node| !matches!(node.op, Op::Softmax { .. })).collect();
    let param = |id: ParamId| net.params()[id].to_f64().unwrap();
    // Upwards: values at both points, and the positive and negative part of each difference.
    let (mut at, mut at0, mut plus, mut minus) = (vec![x.clone()], vec![x0.clone()], vec![], vec![]);
    let d = x - x0;
    plus.push(d.mapv(|d| d.max(0.0)));
    minus.push(d.mapv(|d| d.min(0.0)));
    for node in &nodes {
        let (x, x0) = (at.last().unwrap().clone(), at0.last().unwrap().clone());
        let (p, n): (&Array1<f64>, &Array1<f64>) = (plus.last().unwrap(), minus.last().unwrap());
        let (y, y0, yp, yn) = match &node.op {
            Op::Linear => {
                let w = param(node.params[0]).into_dimensionality::<Ix2>().unwrap();
                let b = param(node.params[1]).into_dimensionality::<Ix1>().unwrap();
                let (mut yp, mut yn) = (Array1::zeros(b.len()), Array1::zeros(b.len()));
                for ((o, i), w) in w.indexed_iter() {
                    let part = w * (x[i] - x0[i]);
                    if part > 0.0 { yp[o] += part } else { yn[o] += part }
                }
                (w.dot(&x) + &b, w.dot(&x0) + &b, yp, yn)
            }
            Op::Activation(activation) => {
                let f = |x: f64| activation.value(x);
                let (y, y0) = (x.mapv(f), x0.mapv(f));
                let both = |one: &Array1<f64>, other: &Array1<f64>| {
                    Array1::from_shape_fn(x.len(), |i| {
                        (f(x0[i] + one[i]) - f(x0[i]) + f(x[i]) - f(x0[i] + other[i])) / 2.0
                    })
                };
                let (yp, yn) = (both(p, n), both(n, p));
                (y, y0, yp, yn)
            }
            op => panic!("BUG: a {} in a chain of linear layers", op.kind()),
        };
        at.push(y);
        at0.push(y0);
        plus.push(yp);
        minus.push(yn);
    }
    // Downwards: what one unit of positive and of negative contribution brings about.
    let mut unit = Array1::zeros(at.last().unwrap().len());
    unit[class] = 1.0;
    let (mut m_plus, mut m_minus): (Array1<f64>, Array1<f64>) = (unit.clone(), unit);
    for (k, node) in nodes.iter().enumerate().rev() {
        match &node.op {
            Op::Linear => {
                let w = param(node.params[0]).into_dimensionality::<Ix2>().unwrap();
                let mut m = Array1::zeros(at[k].len());
                for ((o, i), w) in w.indexed_iter() {
                    let part = w * (at[k][i] - at0[k][i]);
                    m[i] += w * match part {
                        0.0 => (m_plus[o] + m_minus[o]) / 2.0,
                        _ if part > 0.0 => m_plus[o],
                        _ => m_minus[o],
                    };
                }
                (m_plus, m_minus) = (m.clone(), m);
            }
            Op::Activation(activation) if reveal => {
                // Where there is nothing of one sign, the limit of less and less of it.
                let over = |m: &Array1<f64>, y: &Array1<f64>, x: &Array1<f64>, other: &Array1<f64>| {
                    let slope = |i: usize| {
                        let at = at0[k][i];
                        (activation.derivative(at) + activation.derivative(at + other[i])) / 2.0
                    };
                    Array1::from_shape_fn(x.len(), |i| {
                        m[i] * if x[i] == 0.0 { slope(i) } else { y[i] / x[i] }
                    })
                };
                m_plus = over(&m_plus, &plus[k + 1], &plus[k], &minus[k]);
                m_minus = over(&m_minus, &minus[k + 1], &minus[k], &plus[k]);
            }
            _ => {
                let slope = (&at[k + 1] - &at0[k + 1]) / (&at[k] - &at0[k]);
                (m_plus, m_minus) = (&m_plus * &slope, &m_minus * &slope);
            }
        }
    }
    // Below the first linear layer both are the same.
    m_plus * (x - x0)
}

#[test]
fn neuron_by_neuron() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let inputs = case.inputs(3);
        for (rule, reveal) in [("rescale", false), ("reveal-cancel", true), ("genomics", true)] {
            let rows = inputs[0].axis_iter(Axis(0)).map(|row| {
                let x = row.into_dimensionality::<Ix1>().unwrap().to_owned();
                contributions(&case.graph, &x, &Array1::from_elem(x.len(), 0.1), 1, reveal)
            });
            let expected: Array1<f64> = rows.flatten().collect();
            let expected = expected.into_shape_with_order(inputs[0].raw_dim()).unwrap();
            let ask = Ask::named("deeplift").with("rule", rule).with("baselines", 0.1).of(Qoi::Class(1));
            let answer = ask.at(Cut::input()).answer(adapter, &model, &inputs, Run::default())?;
            adapter
                .close(&answer.values[0], &expected, Level::Quotient)
                .map_err(|reason| format!("{rule}: {reason}"))?;
        }
        Ok(())
    }
    let kinds = [Kind::Smooth, Kind::Mlp];
    let networks = kinds.into_iter().flat_map(|kind| (1..6).map(move |seed| RandomNetwork::new(kind, seed)));
    on_every_layered_adapter!(check, networks.collect::<Vec<_>>());
}

#[test]
fn summation_to_delta() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        for slice in [(Cut::input(), Cut::logits()), (Cut::layer(case.middle), Cut::logits())] {
            let settings = [
                ("rescale", "zeros"),
                ("rescale", "uniform -1 1 5"),
                ("rescale", "uniform -1 1 5, 0.5, uniform -2 1 6"),
                ("reveal-cancel", "uniform -1 1 5"),
                ("genomics", "uniform -1 1 5"),
            ];
            for (rule, baselines) in settings {
                let ask = Ask::named("deeplift").with("rule", rule).with("baselines", baselines);
                let evidence = ask
                    .at(slice.clone())
                    .of(Qoi::PredictedClass)
                    .answer(adapter, &model, &case.inputs(3), Run { rows: 2, ..Run::default() })?
                    .evidence;
                holds(&evidence, 1.0, Level::Attribution, adapter.precision)
                    .map_err(|reason| format!("{rule}, baselines {baselines}: {reason}"))?;
            }
        }
        Ok(())
    }
    on_every_layered_adapter!(check, random_networks());
}

/// A row at its own baseline has no difference to be explained.
#[test]
fn the_baseline_itself() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let inputs = case.inputs(2);
        let ask = Ask::named("deeplift").with("baselines", "0.25");
        let even: Vec<_> = inputs.iter().map(|input| input.mapv(|_| 0.25)).collect();
        let answer = ask.answer(adapter, &model, &even, Run::default())?;
        Ok(adapter.close(&answer.values[0], &ArrayD::zeros(even[0].raw_dim()), Level::Layer)?)
    }
    on_every_layered_adapter!(check, random_networks());
}

/// Up to probabilities, and through quotients and products of computed values.
#[test]
fn summation_to_delta_through_softmax() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        for rule in ["rescale", "reveal-cancel"] {
            for (baselines, size) in [("uniform -1 1 5", 1.0), ("0.3", 0.0), ("zeros", 1e-4), ("zeros", 50.0)]
            {
                let inputs: Vec<_> = case.inputs(3).iter().map(|input| input * size).collect();
                let ask = Ask::named("deeplift").with("rule", rule).with("baselines", baselines);
                let ask = ask.at((Cut::input(), Cut::output())).of(Qoi::Class(1));
                let evidence = ask.answer(adapter, &model, &inputs, Run::default())?.evidence;
                holds(&evidence, 1.0, Level::Quotient, adapter.precision)
                    .map_err(|reason| format!("{rule}, baselines {baselines}, inputs of {size}: {reason}"))?;
            }
        }
        Ok(())
    }
    let mut networks = random_networks();
    let name = "softmax and quotients".into();
    networks.push(RandomNetwork { name, graph: quotients(), ..RandomNetwork::new(Kind::Mlp, 1) });
    on_every_layered_adapter!(check, networks);
}
