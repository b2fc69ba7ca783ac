//! Chains of layers as files have them, recognised as the one layer that they are; and chains that are nearly so, left
//! as they are.

use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

use attr_core::{
    Activation, Comparison, Cut, Dim, Error, Graph, ModelWrapper, NodeId, Op, Point, Qoi, Run, Shape,
};
use attr_tests::sampling::{positive, uniform};
use attr_tests::{Adapter, Ask, Case, Level, Outcome, on_every_adapter};
use ndarray::{ArrayD, IxDyn};

/// A network being written down; its layers are called by their number, the last one `last`.
#[derive(Default)]
struct Net(Graph);

impl Net {
    fn add(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        let name = format!("layer{}", self.0.nodes().len());
        self.0.add(&name, op, inputs, &[]).unwrap()
    }

    fn constant(&mut self, numbers: ArrayD<f64>) -> NodeId {
        let param = self.0.param(numbers);
        let name = format!("constant{}", self.0.nodes().len());
        self.0.add(&name, Op::Constant, &[], &[param]).unwrap()
    }

    fn number(&mut self, number: f64) -> NodeId {
        self.constant(ArrayD::from_elem(IxDyn(&[]), number))
    }

    fn f(&mut self, activation: Activation, x: NodeId) -> NodeId {
        self.add(Op::Activation(activation), &[x])
    }

    /// A value and a number, in this order.
    fn with(&mut self, op: Op, x: NodeId, number: f64) -> NodeId {
        let number = self.number(number);
        self.add(op, &[x, number])
    }

    /// A number and a value, in this order.
    fn by(&mut self, op: Op, number: f64, x: NodeId) -> NodeId {
        let number = self.number(number);
        self.add(op, &[number, x])
    }

    fn mean(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        self.add(Op::Mean { axes: axes.into(), keep: true }, &[x])
    }

    fn swap(&mut self, x: NodeId) -> NodeId {
        self.add(Op::Transpose { axes: vec![0, 1, 3, 2] }, &[x])
    }
}

/// A chain, of an input of shape `[B, 2, 3, 4]`.
struct Chain {
    name: &'static str,
    build: fn(&mut Net, NodeId) -> NodeId,
    /// The kind of layer that it is; none if it is none.
    kind: Option<&'static str>,
}

impl Case for Chain {
    fn name(&self) -> &str {
        self.name
    }
}

impl Chain {
    fn graph(&self) -> Graph {
        let mut net = Net::default();
        let x = net.0.input("x", &[2, 3, 4]).unwrap();
        let last = (self.build)(&mut net, x);
        // Something above, so that no chain ends at the output, which would do no harm.
        let above = net.0.add("above", Op::Activation(Activation::Sin), &[last], &[]).unwrap();
        net.0.set_outputs(&[above]).unwrap();
        net.0
    }

    fn last(graph: &Graph) -> NodeId {
        graph.node(graph.outputs()[0]).inputs[0]
    }
}

const HALF_SCALE: f64 = 0.840_896_415_253_714_6;

fn erf_gate(net: &mut Net, x: NodeId) -> NodeId {
    let argument = net.with(Op::Div, x, SQRT_2);
    let erf = net.f(Activation::Erf, argument);
    net.with(Op::Add, erf, 1.0)
}

fn tanh_gate(net: &mut Net, x: NodeId, factor: f64, scale: f64) -> NodeId {
    let cube = net.with(Op::Power, x, 3.0);
    let cube = net.by(Op::Mul, factor, cube);
    let sum = net.add(Op::Add, &[x, cube]);
    let argument = net.by(Op::Mul, scale, sum);
    let tanh = net.f(Activation::Tanh, argument);
    net.by(Op::Add, 1.0, tanh)
}

fn times_half(net: &mut Net, x: NodeId, gate: NodeId) -> NodeId {
    let product = net.add(Op::Mul, &[x, gate]);
    net.with(Op::Mul, product, 0.5)
}

fn centered(net: &mut Net, x: NodeId, axes: &[usize]) -> NodeId {
    let mean = net.mean(x, axes);
    net.add(Op::Sub, &[x, mean])
}

/// The centered value, and what it is divided by squared.
fn moments(net: &mut Net, x: NodeId, axes: &[usize]) -> [NodeId; 2] {
    let centered = centered(net, x, axes);
    let square = net.with(Op::Power, centered, 2.0);
    let variance = net.mean(square, axes);
    [centered, net.with(Op::Add, variance, 1e-6)]
}

fn normalized(net: &mut Net, x: NodeId, axes: &[usize]) -> NodeId {
    let [centered, variance] = moments(net, x, axes);
    let deviation = net.f(Activation::Sqrt, variance);
    net.add(Op::Div, &[centered, deviation])
}

fn affine(net: &mut Net, x: NodeId, dims: &[usize]) -> NodeId {
    let (gamma, beta) = (net.constant(positive(dims, 5)), net.constant(uniform(dims, 6)));
    let scaled = net.add(Op::Mul, &[x, gamma]);
    net.add(Op::Add, &[scaled, beta])
}

/// Three values that depend on x.
fn three(net: &mut Net, x: NodeId) -> [NodeId; 3] {
    [Activation::Sin, Activation::Cos, Activation::Tanh].map(|f| net.f(f, x))
}

fn softmax(net: &mut Net, scores: NodeId) -> NodeId {
    net.add(Op::Softmax { axis: 3 }, &[scores])
}

fn chains() -> Vec<Chain> {
    let is = |kind, name, build| Chain { name, build, kind: Some(kind) };
    vec![
        is("gelu", "gelu: x (1 + erf) 0.5", |net, x| {
            let gate = erf_gate(net, x);
            times_half(net, x, gate)
        }),
        is("gelu", "gelu: (0.5 x) (1 + erf)", |net, x| {
            let half = net.by(Op::Mul, 0.5, x);
            let gate = erf_gate(net, x);
            net.add(Op::Mul, &[half, gate])
        }),
        is("gelu", "gelu: x (0.5 (1 + erf(x * 0.707)))", |net, x| {
            let argument = net.with(Op::Mul, x, FRAC_1_SQRT_2);
            let erf = net.f(Activation::Erf, argument);
            let sum = net.by(Op::Add, 1.0, erf);
            let gate = net.by(Op::Mul, 0.5, sum);
            net.add(Op::Mul, &[gate, x])
        }),
        is("gelu", "gelu: x (0.5 + 0.5 erf)", |net, x| {
            let argument = net.with(Op::Div, x, SQRT_2);
            let erf = net.f(Activation::Erf, argument);
            let half = net.with(Op::Mul, erf, 0.5);
            let gate = net.with(Op::Add, half, 0.5);
            net.add(Op::Mul, &[x, gate])
        }),
        is("gelu", "gelu: x (1 + erf) / 2", |net, x| {
            let gate = erf_gate(net, x);
            let product = net.add(Op::Mul, &[gate, x]);
            net.with(Op::Div, product, 2.0)
        }),
        is("gelu", "gelu by tanh: 0.5 x (1 + tanh)", |net, x| {
            let half = net.by(Op::Mul, 0.5, x);
            let gate = tanh_gate(net, x, 0.044715, (2.0 / PI).sqrt());
            net.add(Op::Mul, &[half, gate])
        }),
        is("gelu", "gelu by tanh: the cube as products", |net, x| {
            let square = net.add(Op::Mul, &[x, x]);
            let cube = net.add(Op::Mul, &[square, x]);
            let cube = net.with(Op::Mul, cube, 0.044715);
            let sum = net.add(Op::Add, &[cube, x]);
            let argument = net.with(Op::Mul, sum, (2.0 / PI).sqrt());
            let tanh = net.f(Activation::Tanh, argument);
            let gate = net.with(Op::Add, tanh, 1.0);
            times_half(net, x, gate)
        }),
        is("gelu", "gelu by tanh: x (1 + 0.044715 x^2)", |net, x| {
            let scaled = net.by(Op::Mul, (2.0 / PI).sqrt(), x);
            let part = net.by(Op::Mul, 0.044715, x);
            let square = net.add(Op::Mul, &[part, x]);
            let sum = net.by(Op::Add, 1.0, square);
            let argument = net.add(Op::Mul, &[scaled, sum]);
            let tanh = net.f(Activation::Tanh, argument);
            let gate = net.with(Op::Add, tanh, 1.0);
            times_half(net, x, gate)
        }),
        is("silu", "silu", |net, x| {
            let gate = net.f(Activation::Sigmoid, x);
            net.add(Op::Mul, &[x, gate])
        }),
        is("silu", "silu, the sigmoid first", |net, x| {
            let gate = net.f(Activation::Sigmoid, x);
            net.add(Op::Mul, &[gate, x])
        }),
        is("hard swish", "hard swish by clip", |net, x| {
            let shifted = net.with(Op::Add, x, 3.0);
            let gate = net.f(Activation::Clip { min: 0.0, max: 6.0 }, shifted);
            let product = net.add(Op::Mul, &[x, gate]);
            net.with(Op::Div, product, 6.0)
        }),
        is("hard swish", "hard swish: x (clip / 6)", |net, x| {
            let shifted = net.with(Op::Add, x, 3.0);
            let gate = net.f(Activation::Clip { min: 0.0, max: 6.0 }, shifted);
            let gate = net.with(Op::Mul, gate, 1.0 / 6.0);
            net.add(Op::Mul, &[x, gate])
        }),
        is("hard swish", "hard swish by hard sigmoid", |net, x| {
            let gate = net.f(Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, x);
            net.add(Op::Mul, &[x, gate])
        }),
        is("mish", "mish", |net, x| {
            let softplus = net.f(Activation::Softplus, x);
            let gate = net.f(Activation::Tanh, softplus);
            net.add(Op::Mul, &[x, gate])
        }),
        is("layer norm", "layer norm with gamma and beta", |net, x| {
            let normalized = normalized(net, x, &[3]);
            affine(net, normalized, &[4])
        }),
        is("layer norm", "layer norm over two axes", |net, x| {
            let normalized = normalized(net, x, &[2, 3]);
            affine(net, normalized, &[3, 4])
        }),
        is("layer norm", "layer norm with one gamma for all, without beta", |net, x| {
            let normalized = normalized(net, x, &[3]);
            net.by(Op::Mul, 0.7, normalized)
        }),
        is("layer norm", "layer norm alone", |net, x| normalized(net, x, &[2, 3])),
        is("layer norm", "layer norm with gamma of more axes", |net, x| {
            let normalized = normalized(net, x, &[3]);
            affine(net, normalized, &[1, 1, 4])
        }),
        is("layer norm", "layer norm: the square as a product, one over the root", |net, x| {
            let centered = centered(net, x, &[3]);
            let square = net.add(Op::Mul, &[centered, centered]);
            let variance = net.mean(square, &[3]);
            let variance = net.by(Op::Add, 1e-5, variance);
            let deviation = net.f(Activation::Sqrt, variance);
            let inverse = net.f(Activation::Reciprocal, deviation);
            let normalized = net.add(Op::Mul, &[inverse, centered]);
            affine(net, normalized, &[4])
        }),
        is("layer norm", "layer norm: to the power of -1/2", |net, x| {
            let [centered, variance] = moments(net, x, &[3]);
            let inverse = net.f(Activation::Power { exponent: -0.5 }, variance);
            net.add(Op::Mul, &[centered, inverse])
        }),
        is("layer norm", "layer norm: one divided by the root", |net, x| {
            let [centered, variance] = moments(net, x, &[3]);
            let deviation = net.with(Op::Power, variance, 0.5);
            let inverse = net.by(Op::Div, 1.0, deviation);
            net.add(Op::Mul, &[centered, inverse])
        }),
        is("layer norm", "layer norm: centered twice", |net, x| {
            let [_, variance] = moments(net, x, &[3]);
            let deviation = net.f(Activation::Sqrt, variance);
            let centered = centered(net, x, &[3]);
            net.add(Op::Div, &[centered, deviation])
        }),
        is("attention", "attention: queries scaled", |net, x| {
            let [q, k, v] = three(net, x);
            let (q, k) = (net.with(Op::Mul, q, 0.5), net.swap(k));
            let scores = net.add(Op::MatMul, &[q, k]);
            let weights = softmax(net, scores);
            net.add(Op::MatMul, &[weights, v])
        }),
        is("attention", "attention: half of the scale on each, a mask", |net, x| {
            let [q, k, v] = three(net, x);
            let q = net.with(Op::Mul, q, HALF_SCALE);
            let k = net.swap(k);
            let k = net.by(Op::Mul, HALF_SCALE, k);
            let scores = net.add(Op::MatMul, &[q, k]);
            let mask = net.constant(uniform(&[1, 3, 3], 9));
            let masked = net.add(Op::Add, &[mask, scores]);
            let weights = softmax(net, masked);
            net.add(Op::MatMul, &[weights, v])
        }),
        is("attention", "attention: scores divided, then a mask that depends on the input", |net, x| {
            let [q, k, v] = three(net, x);
            let k = net.swap(k);
            let scores = net.add(Op::MatMul, &[q, k]);
            let scores = net.with(Op::Div, scores, 3.0);
            let mask = net.add(Op::Slice { axis: 3, start: 1, len: 3 }, &[x]);
            let masked = net.add(Op::Add, &[scores, mask]);
            let weights = softmax(net, masked);
            net.add(Op::MatMul, &[weights, v])
        }),
        is("attention", "attention: keys transposed with the heads", |net, x| {
            let [q, k, v] = three(net, x);
            // As of tokens `[B, T, H, D]`.
            let tokens = net.add(Op::Transpose { axes: vec![0, 2, 1, 3] }, &[k]);
            let k = net.add(Op::Transpose { axes: vec![0, 2, 3, 1] }, &[tokens]);
            let scores = net.add(Op::MatMul, &[q, k]);
            let weights = softmax(net, scores);
            net.add(Op::MatMul, &[weights, v])
        }),
        is("attention", "attention: keys that come transposed", |net, x| {
            let [q, _, v] = three(net, x);
            let k = net.add(Op::Reshape { shape: Shape::batched(&[2, 4, 3]) }, &[x]);
            let scores = net.add(Op::MatMul, &[q, k]);
            let weights = softmax(net, scores);
            net.add(Op::MatMul, &[weights, v])
        }),
        is("linear", "a linear layer and its bias", |net, x| {
            let weight = net.0.param(uniform(&[5, 4], 3));
            let product = net.0.add("product", Op::Linear, &[x], &[weight]).unwrap();
            let bias = net.constant(uniform(&[5], 4));
            net.add(Op::Add, &[bias, product])
        }),
    ]
}

/// What must not be recognised as one layer.
fn near_misses() -> Vec<Chain> {
    let no = |name, build| Chain { name, build, kind: None };
    vec![
        no("gelu with another root of 2", |net, x| {
            let argument = net.with(Op::Div, x, SQRT_2 + 1e-3);
            let erf = net.f(Activation::Erf, argument);
            let gate = net.with(Op::Add, erf, 1.0);
            times_half(net, x, gate)
        }),
        no("gelu with another half", |net, x| {
            let gate = erf_gate(net, x);
            let product = net.add(Op::Mul, &[x, gate]);
            net.with(Op::Mul, product, 0.501)
        }),
        no("gelu with another one", |net, x| {
            let argument = net.with(Op::Div, x, SQRT_2);
            let erf = net.f(Activation::Erf, argument);
            let gate = net.with(Op::Add, erf, 1.001);
            times_half(net, x, gate)
        }),
        no("gelu of which the error function is read", |net, x| {
            let argument = net.with(Op::Div, x, SQRT_2);
            let erf = net.f(Activation::Erf, argument);
            let gate = net.with(Op::Add, erf, 1.0);
            let gelu = times_half(net, x, gate);
            net.add(Op::Sub, &[gelu, erf])
        }),
        no("gelu by tanh with another factor", |net, x| {
            let gate = tanh_gate(net, x, 0.0457, (2.0 / PI).sqrt());
            times_half(net, x, gate)
        }),
        no("gelu by tanh with another scale", |net, x| {
            let gate = tanh_gate(net, x, 0.044715, 0.7989);
            times_half(net, x, gate)
        }),
        no("the gate of another value", |net, x| {
            let [a, _, _] = three(net, x);
            let gate = net.f(Activation::Sigmoid, a);
            net.add(Op::Mul, &[x, gate])
        }),
        no("twice a silu's factors", |net, x| {
            let gate = net.f(Activation::Sigmoid, x);
            let squared = net.add(Op::Mul, &[gate, gate]);
            net.add(Op::Mul, &[x, squared])
        }),
        no("silu with a slope", |net, x| {
            let scaled = net.with(Op::Mul, x, 1.702);
            let gate = net.f(Activation::Sigmoid, scaled);
            net.add(Op::Mul, &[x, gate])
        }),
        no("hard swish with other bounds", |net, x| {
            let shifted = net.with(Op::Add, x, 3.0);
            let gate = net.f(Activation::Clip { min: 0.0, max: 6.001 }, shifted);
            let product = net.add(Op::Mul, &[x, gate]);
            net.with(Op::Div, product, 6.0)
        }),
        no("hard swish with another slope", |net, x| {
            let gate = net.f(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, x);
            net.add(Op::Mul, &[x, gate])
        }),
        no("normalized over the channels", |net, x| {
            let normalized = normalized(net, x, &[1]);
            affine(net, normalized, &[2, 1, 1])
        }),
        no("deviation over other axes than the mean", |net, x| {
            let centered = centered(net, x, &[3]);
            let square = net.with(Op::Power, centered, 2.0);
            let variance = net.mean(square, &[2, 3]);
            let variance = net.with(Op::Add, variance, 1e-6);
            let deviation = net.f(Activation::Sqrt, variance);
            net.add(Op::Div, &[centered, deviation])
        }),
        no("cubes in the place of squares", |net, x| {
            let centered = centered(net, x, &[3]);
            let square = net.with(Op::Power, centered, 3.0);
            let variance = net.mean(square, &[3]);
            let variance = net.with(Op::Add, variance, 9.0);
            let deviation = net.f(Activation::Sqrt, variance);
            net.add(Op::Div, &[centered, deviation])
        }),
        no("the root of another value's squares", |net, x| {
            let [a, _, _] = three(net, x);
            let [_, variance] = moments(net, a, &[3]);
            let deviation = net.f(Activation::Sqrt, variance);
            let centered = centered(net, x, &[3]);
            net.add(Op::Div, &[centered, deviation])
        }),
        no("layer norm of which the deviation is read", |net, x| {
            let [centered, variance] = moments(net, x, &[3]);
            let deviation = net.f(Activation::Sqrt, variance);
            let normalized = net.add(Op::Div, &[centered, deviation]);
            net.add(Op::Sub, &[normalized, deviation])
        }),
        no("softmax over another axis", |net, x| {
            let [q, k, v] = three(net, x);
            let k = net.swap(k);
            let scores = net.add(Op::MatMul, &[q, k]);
            let weights = net.add(Op::Softmax { axis: 2 }, &[scores]);
            net.add(Op::MatMul, &[weights, v])
        }),
        no("a mask before the scale", |net, x| {
            let [q, k, v] = three(net, x);
            let k = net.swap(k);
            let scores = net.add(Op::MatMul, &[q, k]);
            let mask = net.constant(uniform(&[3, 3], 9));
            let masked = net.add(Op::Add, &[scores, mask]);
            let scaled = net.with(Op::Mul, masked, 0.5);
            let weights = softmax(net, scaled);
            net.add(Op::MatMul, &[weights, v])
        }),
        no("attention of which the weights are read", |net, x| {
            let [q, k, v] = three(net, x);
            let k = net.swap(k);
            let scores = net.add(Op::MatMul, &[q, k]);
            let weights = softmax(net, scores);
            let attended = net.add(Op::MatMul, &[weights, v]);
            let most = net.add(Op::Max { axes: vec![3], keep: true }, &[weights]);
            net.add(Op::Sub, &[attended, most])
        }),
        no("a bias along another axis", |net, x| {
            let weight = net.0.param(uniform(&[3, 4], 3));
            let product = net.0.add("product", Op::Linear, &[x], &[weight]).unwrap();
            let bias = net.constant(uniform(&[3, 1], 4));
            net.add(Op::Add, &[product, bias])
        }),
    ]
}

#[test]
fn one_layer_instead_of_a_chain() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, chain: &Chain) -> Outcome {
        let written = chain.graph();
        let recognised = written.recognise()?;
        let last = recognised.node(Chain::last(&recognised));
        if Some(last.op.kind()) != chain.kind {
            return Err(format!("found a layer of kind {}", last.op.kind()).into());
        }
        if last.name != written.node(Chain::last(&written)).name {
            return Err(format!("it is called {}", last.name).into());
        }
        // The values and derivatives are the same.
        let inputs = [uniform(&[2, 2, 3, 4], 1).mapv(|x| 3.0 * x)];
        let of = |graph: &Graph| -> attr_core::Result<_> {
            let model = adapter.model(graph)?;
            let tensors = adapter.tensors(&inputs)?;
            let value = model.forward(Point::at(&tensors), &Cut::layer(&last.name))?[0].clone();
            let row = graph.node(graph.outputs()[0]).shape.at(1)[1..].to_vec();
            let ask = Ask::named("gradient").of(Qoi::WeightedSum(uniform(&row, 2)));
            let gradient = ask.answer(adapter, &model, &inputs, Run::default())?.values.remove(0);
            Ok([attr_core::Tensor::to_array(&value)?, attr_core::Tensor::to_array(&gradient)?])
        };
        for (found, expected) in of(&recognised)?.iter().zip(of(&written)?) {
            attr_tests::tolerance::close(found, &expected, Level::Layer, adapter.precision)?;
        }
        Ok(())
    }
    on_every_adapter!(check, chains());
}

/// Layers that are left have the names they had, and cuts by the others say what they are part of.
#[test]
fn names() {
    for chain in chains() {
        let written = chain.graph();
        let recognised = written.recognise().unwrap();
        let adapter = attr_tests::adapter::reference();
        let model = adapter.model(&recognised).unwrap();
        let (mut parts, mut left) = (0, 0);
        for node in written.nodes() {
            let found = model.places(&Cut::layer(&node.name));
            let Some(whole) = recognised.part_of(&node.name) else {
                assert_eq!(found.unwrap()[0].name, node.name, "{}", chain.name);
                left += 1;
                continue;
            };
            let error = found.unwrap_err();
            let part = format!("is part of layer {:?}", recognised.node(whole).name);
            assert!(matches!(error, Error::UnknownLayer { .. }), "{}: {error}", chain.name);
            assert!(error.to_string().contains(&part), "{}: {error}", chain.name);
            parts += 1;
        }
        let added = recognised.nodes().len() - left;
        let expected = usize::from(recognised.nodes().iter().any(|node| node.name.ends_with("/input 1")));
        assert!(parts > 0 && added == expected, "{}: {parts} parts, {added} more", chain.name);
        // There is nothing more to be recognised.
        assert_eq!(recognised.recognise().unwrap(), recognised, "{}", chain.name);
    }
}

#[test]
fn nearly_a_chain() {
    for chain in near_misses() {
        let written = chain.graph();
        let recognised = written.recognise().unwrap();
        assert_eq!(recognised, written, "{}", chain.name);
    }
}

/// A value within a chain that is an output, or read above it, stays.
#[test]
fn values_that_are_read() {
    for chain in chains() {
        let written = chain.graph();
        let recognised = written.recognise().unwrap();
        let inner: Vec<_> = (written.nodes().iter().enumerate())
            .filter(|(_, node)| node.op != Op::Constant && recognised.part_of(&node.name).is_some())
            .collect();
        for (id, node) in inner {
            let kind = chain.kind.unwrap();
            // Keys may as well be transposed twice, and scaled or not; everything else is lost with its chain.
            let is_shape = matches!(node.op, Op::Transpose { .. });
            let is_scale = kind == "attention" && matches!(node.op, Op::Mul | Op::Div);
            let mut outputs = written.clone();
            outputs.set_outputs(&[written.outputs()[0], id]).unwrap();
            let mut read = written.clone();
            let more = read.add("more", Op::Compare(Comparison::Greater), &[id, id], &[]).unwrap();
            read.set_outputs(&[written.outputs()[0], more]).unwrap();
            for graph in [outputs, read] {
                let found = graph.recognise().unwrap();
                assert!(found.find(&node.name).is_some(), "{}: {} is gone", chain.name, node.name);
                let last = found.node(found.node(found.outputs()[0]).inputs[0]).op.kind();
                assert!(is_shape || is_scale || last != kind, "{}: {}", chain.name, node.name);
            }
        }
    }
}

/// Layers that share their weight still do when they have got their biases.
#[test]
fn weights_that_are_shared() {
    let mut net = Net::default();
    let x = net.0.input("x", &[4]).unwrap();
    let weight = net.0.param(uniform(&[4, 4], 3));
    let mut y = x;
    for name in ["first", "second"] {
        let product = net.0.add(name, Op::Linear, &[y], &[weight]).unwrap();
        let bias = net.constant(uniform(&[4], 4));
        y = net.add(Op::Add, &[product, bias]);
    }
    net.0.set_outputs(&[y]).unwrap();
    let recognised = net.0.recognise().unwrap();
    let weights: Vec<_> =
        recognised.nodes().iter().filter(|node| node.op == Op::Linear).map(|n| n.params[0]).collect();
    assert!(weights.len() == 2 && weights[0] == weights[1], "{weights:?}");
}

/// A long chain of products, as a broken file may have it, is looked at in no time and without a deep stack.
#[test]
fn long_products() {
    let mut net = Net::default();
    let x = net.0.input("x", &[1]).unwrap();
    let mut y = x;
    for _ in 0..200_000 {
        y = net.add(Op::Mul, &[y, x]);
    }
    net.0.set_outputs(&[y]).unwrap();
    assert_eq!(net.0.recognise().unwrap().nodes().len(), net.0.nodes().len());
    assert_eq!(net.0.node(y).shape, Shape(vec![Dim::Batch(1), Dim::Fixed(1)]));
}
