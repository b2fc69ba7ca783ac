//! Relevance through what transformers are made of: each rule against its formula, element by element in double
//! precision, and whole transformers against the gradient of the network that the rules hold fixed.

use attr_core::{
    Activation, Cut, Graph, GraphModel, ModelWrapper, NodeId, Op, Point, Qoi, Run, Shape, Tensor,
};
use attr_tests::networks::{Kind, RandomNetwork, single_layer};
use attr_tests::reference::Reference;
use attr_tests::sampling::{positive, uniform};
use attr_tests::{Adapter, Ask, Case, Level, Outcome, adapter, on_every_layered_adapter};
use ndarray::{Array1, Array2, ArrayD, Axis, Ix2, Ix3, arr1, concatenate, s};

use crate::holds;

/// One layer of several inputs, and what a rule makes of it.
struct Layer {
    name: String,
    net: Graph,
    inputs: Vec<ArrayD<f64>>,
    rule: &'static str,
    expected: Vec<ArrayD<f64>>,
}

impl Case for Layer {
    fn name(&self) -> &str {
        &self.name
    }
}

/// A network of one layer, of inputs that are rows of these arrays.
fn layer(op: Op, inputs: &[ArrayD<f64>], params: &[ArrayD<f64>]) -> Graph {
    let mut net = Graph::default();
    let inputs: Vec<_> = (inputs.iter().enumerate())
        .map(|(i, input)| net.input(&format!("x{i}"), &input.shape()[1..]).unwrap())
        .collect();
    let params: Vec<_> = params.iter().map(|param| net.param(param.clone())).collect();
    let layer = net.add("layer", op, &inputs, &params).unwrap();
    net.set_outputs(&[layer]).unwrap();
    net
}

/// The weights of outputs in the quantity, of which each output has its value times that as relevance.
fn weights(net: &Graph) -> ArrayD<f64> {
    uniform(&net.node(net.outputs()[0]).shape.at(1)[1..], 12)
}

/// `z + epsilon sign z`.
fn stabilized(z: f64, epsilon: f64) -> f64 {
    if z < 0.0 { z - epsilon } else { z + epsilon }
}

fn softmax(x: &Array1<f64>) -> Array1<f64> {
    let exps = x.mapv(f64::exp);
    &exps / exps.sum()
}

/// `x_i (R_i - s_i sum_j R_j)`.
fn taylor(x: &Array1<f64>, r: &Array1<f64>) -> Array1<f64> {
    x * &(r - &(softmax(x) * r.sum()))
}

/// The shares of both factors of `a b`.
fn shares(a: &Array2<f64>, b: &Array2<f64>, r: &Array2<f64>, parts: f64, epsilon: f64) -> [Array2<f64>; 2] {
    let z = a.dot(b);
    let mut of = [Array2::zeros(a.dim()), Array2::zeros(b.dim())];
    for ((j, p), &r) in r.indexed_iter() {
        let d = stabilized(parts * z[[j, p]], epsilon);
        for i in 0..b.nrows() {
            of[0][[j, i]] += a[[j, i]] * b[[i, p]] * r / d;
            of[1][[i, p]] += a[[j, i]] * b[[i, p]] * r / d;
        }
    }
    of
}

fn softmaxes() -> Vec<Layer> {
    let input = uniform(&[2, 3, 4], 1).mapv(|x| 4.0 * x);
    let cases = [1, 2].map(|axis| {
        let net = layer(Op::Softmax { axis }, std::slice::from_ref(&input), &[]);
        let mut expected = input.clone();
        for (mut row, x) in expected.outer_iter_mut().zip(input.outer_iter()) {
            let lanes = row.lanes_mut(Axis(axis - 1)).into_iter().zip(x.lanes(Axis(axis - 1)));
            let w = weights(&net);
            for ((mut found, x), w) in lanes.zip(w.lanes(Axis(axis - 1))) {
                let x = x.to_owned();
                let relevance = softmax(&x) * w;
                found.assign(&taylor(&x, &relevance));
            }
        }
        let name = format!("softmax over axis {axis}");
        Layer { name, net, inputs: vec![input.clone()], rule: "taylor", expected: vec![expected] }
    });
    cases.into()
}

fn products() -> Vec<Layer> {
    // Elementwise, one factor with an axis of length 1: each takes half, whatever the values.
    let inputs = vec![uniform(&[2, 3, 4], 2), uniform(&[2, 3, 1], 3)];
    let net = layer(Op::Mul, &inputs, &[]);
    let half = &inputs[0] * &inputs[1] * weights(&net) / 2.0;
    let summed = half.sum_axis(Axis(2)).insert_axis(Axis(2));
    let mut cases = vec![Layer {
        name: "product of elements".into(),
        net,
        inputs,
        rule: "uniform 0.1",
        expected: vec![half, summed],
    }];
    let inputs = vec![uniform(&[2, 3, 4], 4), uniform(&[2, 4, 5], 5)];
    let net = layer(Op::MatMul, &inputs, &[]);
    let rows = (0..2).map(|row| {
        let [a, b] = [0, 1].map(|i| matrix(&inputs[i], row));
        let r = a.dot(&b) * weights(&net).into_dimensionality::<Ix2>().unwrap();
        shares(&a, &b, &r, 2.0, 0.1)
    });
    let (a, b): (Vec<_>, Vec<_>) = rows.map(|[a, b]| (a, b)).unzip();
    let expected = vec![stacked(&a), stacked(&b)];
    cases.push(Layer { name: "matrix product".into(), net, inputs, rule: "uniform 0.1", expected });
    cases
}

fn attentions() -> Vec<Layer> {
    let (scale, epsilon) = (0.6, 0.01);
    let qkv = [uniform(&[2, 3, 4], 6), uniform(&[2, 5, 4], 7), uniform(&[2, 5, 2], 8)];
    let mask = uniform(&[2, 3, 5], 9);
    let mut cases = Vec::new();
    for (name, rule, mask) in [
        ("attention", "uniform 0.01", None),
        ("attention with a mask", "uniform 0.01", Some(mask)),
        ("attention by its values", "values 0.01", None),
    ] {
        let inputs: Vec<_> = qkv.iter().cloned().chain(mask).collect();
        let net = layer(Op::Attention { scale }, &inputs, &[]);
        let mut expected = vec![Vec::new(); inputs.len()];
        for row in 0..2 {
            let [q, k, v] = [0, 1, 2].map(|i| matrix(&inputs[i], row));
            let z = q.dot(&k.t()) * scale;
            let mask = inputs.get(3).map_or(Array2::zeros(z.dim()), |mask| matrix(mask, row));
            let masked = &z + &mask;
            let mut a = masked.clone();
            a.outer_iter_mut()
                .zip(masked.outer_iter())
                .for_each(|(mut a, x)| a.assign(&softmax(&x.to_owned())));
            let r = a.dot(&v) * weights(&net).into_dimensionality::<Ix2>().unwrap();
            if rule.starts_with("values") {
                expected[0].push(Array2::zeros(q.dim()));
                expected[1].push(Array2::zeros(k.dim()));
                expected[2].push(shares(&a, &v, &r, 1.0, epsilon)[1].clone());
                continue;
            }
            let [of_weights, of_values] = shares(&a, &v, &r, 2.0, epsilon);
            let mut of_masked = masked.clone();
            for ((mut found, x), r) in
                of_masked.outer_iter_mut().zip(masked.outer_iter()).zip(of_weights.outer_iter())
            {
                found.assign(&taylor(&x.to_owned(), &r.to_owned()));
            }
            // Scores and mask share by what each contributes to their sum.
            let of_scores = &of_masked * &z / &masked;
            let [of_queries, of_keys] = shares(&(&q * scale), &k.t().to_owned(), &of_scores, 2.0, epsilon);
            let of_mask = &of_masked * &mask / &masked;
            let all = [of_queries, of_keys.t().to_owned(), of_values, of_mask];
            expected.iter_mut().zip(all).for_each(|(rows, of)| rows.push(of));
        }
        let expected = expected.iter().map(|rows| stacked(rows)).collect();
        cases.push(Layer { name: name.into(), net, inputs, rule, expected });
    }
    cases
}

/// The deviation held, a norm is `gamma (x - mean) / deviation + beta`: a matrix and a bias.
fn norms() -> Vec<Layer> {
    let input = uniform(&[2, 4, 3], 10);
    let (of_last, of_channels) =
        ([positive(&[3], 11), uniform(&[3], 13)], [positive(&[4], 14), uniform(&[4], 15)]);
    let mut cases = Vec::new();
    for (rule, with_bias, added) in
        [("epsilon 0.2", true, 0.2), ("epsilon 0.2 no-bias", false, 0.2), ("zero", true, 0.0)]
    {
        for (op, params) in [
            (Op::LayerNorm { axis: 2, epsilon: 1e-3 }, &of_last),
            (Op::GroupNorm { groups: 2, epsilon: 1e-3 }, &of_channels),
        ] {
            let net = layer(op.clone(), std::slice::from_ref(&input), params);
            let is_layer_norm = matches!(op, Op::LayerNorm { .. });
            // Which numbers are normalized together: those of a token, or two channels.
            let group = |i: usize| if is_layer_norm { i / 3 } else { i / 6 };
            let param = |i: usize| if is_layer_norm { i % 3 } else { i / 3 };
            let w: Array1<f64> = weights(&net).into_iter().collect();
            let rows = input.outer_iter().map(|x| {
                let x: Array1<f64> = x.iter().copied().collect();
                let mut relevance = Array1::<f64>::zeros(x.len());
                for j in 0..x.len() {
                    let members: Vec<_> = (0..x.len()).filter(|&i| group(i) == group(j)).collect();
                    let count = members.len() as f64;
                    let mean = members.iter().map(|&i| x[i]).sum::<f64>() / count;
                    let variance = members.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / count;
                    let deviation = (variance + 1e-3).sqrt();
                    let (gamma, beta) = (params[0][param(j)], params[1][param(j)]);
                    let z = gamma * (x[j] - mean) / deviation;
                    let r = (z + beta) * w[j];
                    let d = stabilized(if with_bias { z + beta } else { z }, added);
                    for &i in &members {
                        let entry = gamma / deviation * (f64::from(u8::from(i == j)) - 1.0 / count);
                        relevance[i] += x[i] * entry * r / d;
                    }
                }
                relevance
            });
            let expected: Array1<f64> = rows.flatten().collect();
            let expected = vec![expected.into_shape_with_order(input.raw_dim()).unwrap()];
            let name = format!("{rule} on {}", op.kind());
            cases.push(Layer { name, net, inputs: vec![input.clone()], rule, expected });
        }
    }
    cases
}

fn matrix(rows: &ArrayD<f64>, row: usize) -> Array2<f64> {
    rows.index_axis(Axis(0), row).to_owned().into_dimensionality::<Ix2>().unwrap()
}

fn stacked(rows: &[Array2<f64>]) -> ArrayD<f64> {
    let views: Vec<_> = rows.iter().map(|row| row.view().insert_axis(Axis(0))).collect();
    concatenate(Axis(0), &views).unwrap().into_dyn()
}

#[test]
fn rules_of_transformers() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Layer) -> Outcome {
        let model = adapter.model(&case.net)?;
        let ask = Ask::named("lrp").with("rules", format!("name layer: {}", case.rule));
        let ask = ask.at((Cut::input(), Cut::output())).of(Qoi::WeightedSum(weights(&case.net)));
        let answer = ask.answer(adapter, &model, &case.inputs, Run::default())?;
        Ok(adapter.all_close(&answer.values, &case.expected, Level::Quotient)?)
    }
    on_every_layered_adapter!(
        check,
        [softmaxes(), products(), attentions(), norms()].into_iter().flatten().collect::<Vec<_>>()
    );
}

/// A product with a matrix that does not depend on the lower cut is a linear layer, for every rule of one.
#[test]
fn products_with_a_known_matrix() {
    let weight = uniform(&[5, 4], 1);
    let transposed = weight.clone().reversed_axes();
    let input = uniform(&[3, 2, 4], 2);
    let dense = single_layer(Op::Linear, &[2, 4], std::slice::from_ref(&weight));
    // x W^T, and (W x^T)^T.
    let with = |matrix: &ArrayD<f64>, right: bool| {
        let mut net = Graph::default();
        let x = net.input("x", &[2, 4]).unwrap();
        let param = net.param(matrix.clone());
        let w = net.add("w", Op::Constant, &[], &[param]).unwrap();
        let swap = || Op::Transpose { axes: vec![0, 2, 1] };
        let y = match right {
            true => net.add("layer", Op::MatMul, &[x, w], &[]).unwrap(),
            false => {
                let turned = net.add("turned", swap(), &[x], &[]).unwrap();
                let y = net.add("layer", Op::MatMul, &[w, turned], &[]).unwrap();
                net.add("back", swap(), &[y], &[]).unwrap()
            }
        };
        net.set_outputs(&[y]).unwrap();
        net
    };
    let adapter = adapter::candle_f64();
    let relevance = |net: &Graph, rule: &str| {
        let ask = Ask::named("lrp").with("rules", format!("name layer: {rule}"));
        let ask = ask.of(Qoi::WeightedSum(uniform(&[2, 5], 3)));
        let model = (adapter.build)(net).unwrap();
        ask.answer(&adapter, &model, std::slice::from_ref(&input), Run::default()).unwrap().values.remove(0)
    };
    for rule in ["zero", "epsilon 0.3", "gamma 0.25", "alpha-beta 2 1", "z-box -2 1.5", "w-square", "flat"] {
        let expected = relevance(&dense, rule).to_array().unwrap();
        for net in [with(&transposed, true), with(&weight, false)] {
            adapter.close(&relevance(&net, rule), &expected, Level::Layer).unwrap();
        }
    }
}

/// AttnLRP's rules without stabilizers, and the same with the weights of attention held.
const RULES: [(&str, &str); 2] = [
    (
        "attn-lrp",
        "kind attention: uniform 0; weighted: zero; sums: zero; kind layer norm: zero; kind group norm: zero",
    ),
    (
        "cp-lrp",
        "kind attention: values 0; weighted: zero; sums: zero; kind layer norm: zero; kind group norm: zero",
    ),
];

/// A transformer, and the rules that relevance goes through it by.
struct Ruled {
    name: String,
    network: RandomNetwork,
    rules: (&'static str, &'static str),
}

impl Case for Ruled {
    fn name(&self) -> &str {
        &self.name
    }
}

fn ruled() -> Vec<Ruled> {
    let networks = [1, 2].map(|seed| RandomNetwork::new(Kind::Transformer, seed));
    let each = |network: RandomNetwork| {
        RULES.map(|rules| Ruled {
            name: format!("{} on {}", rules.0, network.name),
            network: network.clone(),
            rules,
        })
    };
    networks.into_iter().flat_map(each).collect()
}

/// A network of one row with everything held fixed at it that the rules hold: deviations, the factors that functions of
/// each element multiply by, and one factor of each product at a time. Its gradient times the input is the relevance.
fn held(net: &Graph, input: &ArrayD<f64>, with_weights: bool) -> Graph {
    let model = GraphModel::new(net.clone(), Reference).unwrap();
    let tensors = adapter::reference().tensors(std::slice::from_ref(input)).unwrap();
    let value = |id: NodeId| -> ArrayD<f64> {
        let value = model.forward(Point::at(&tensors), &Cut::index(id)).unwrap().remove(0);
        value.to_array().unwrap()
    };
    let mut held = Held { graph: Graph::default(), count: 0 };
    let mut ids: Vec<NodeId> = Vec::new();
    for (id, node) in net.nodes().iter().enumerate() {
        let inputs: Vec<_> = node.inputs.iter().map(|&id| ids[id]).collect();
        let param = |slot: usize| net.params()[node.params[slot]].to_f64().unwrap();
        let at = |slot: usize| value(node.inputs[slot]);
        ids.push(match node.op {
            Op::Input => held.graph.input(&node.name, &node.shape.at(1)[1..]).unwrap(),
            Op::LayerNorm { epsilon, .. } => held.norm(inputs[0], &at(0), [param(0), param(1)], epsilon),
            Op::GroupNorm { groups, epsilon } => {
                // As layer norm of a row for each group, with gamma and beta of each channel.
                let channels = at(0).len_of(Axis(1));
                let spread = |param: ArrayD<f64>| {
                    let by_channel = param.into_shape_with_order(vec![channels, 1, 1]).unwrap();
                    let row = at(0).index_axis(Axis(0), 0).raw_dim();
                    by_channel.broadcast(row).unwrap().to_owned()
                };
                let len = at(0).len() / groups;
                let rows = |x: ArrayD<f64>| x.into_shape_with_order(vec![groups, len]).unwrap();
                let grouped = held.reshape(inputs[0], &[groups, len]);
                let x = rows(at(0)).insert_axis(Axis(0));
                let normalized =
                    held.norm(grouped, &x, [param(0), param(1)].map(|param| rows(spread(param))), epsilon);
                held.reshape(normalized, &node.shape.at(1)[1..])
            }
            Op::Activation(Activation::Gelu) => {
                let factor = held.constant(value(id) / at(0));
                held.add(Op::Mul, &[inputs[0], factor])
            }
            Op::Attention { scale } => {
                let last = at(0).ndim() - 1;
                let mut axes: Vec<_> = (0..=last).collect();
                axes.swap(last - 1, last);
                let turned = held.add(Op::Transpose { axes: axes.clone() }, &[inputs[1]]);
                let (q0, k0) = (at(0) * scale, at(1).permuted_axes(axes));
                let scale = held.constant(ArrayD::from_elem(vec![1], scale));
                let q = held.add(Op::Mul, &[inputs[0], scale]);
                let mut scores = held.halves([q, turned], [q0.clone(), k0.clone()]);
                let mut scores0 = products_of(&q0, &k0);
                if let Some(&mask) = inputs.get(3) {
                    scores = held.add(Op::Add, &[scores, mask]);
                    scores0 = scores0 + at(3);
                }
                let mut weights0 = scores0.clone();
                let lanes = weights0.lanes_mut(Axis(last)).into_iter().zip(scores0.lanes(Axis(last)));
                lanes.for_each(|(mut weights, x)| weights.assign(&softmax(&x.to_owned())));
                if with_weights {
                    let weights = held.add(Op::Softmax { axis: last }, &[scores]);
                    held.halves([weights, inputs[2]], [weights0, at(2)])
                } else {
                    let weights = held.constant(weights0);
                    held.add(Op::MatMul, &[weights, inputs[2]])
                }
            }
            _ => {
                let params: Vec<_> =
                    node.params.iter().map(|&id| held.graph.param(net.params()[id].clone())).collect();
                held.graph.add(&node.name, node.op.clone(), &inputs, &params).unwrap()
            }
        });
        assert_eq!(held.graph.node(ids[id]).shape, node.shape, "{}", node.name);
    }
    held.graph.set_outputs(&[ids[net.outputs()[0]]]).unwrap();
    held.graph
}

/// Products of matrices, over the last two of four axes.
fn products_of(a: &ArrayD<f64>, b: &ArrayD<f64>) -> ArrayD<f64> {
    let (rows, heads) = (a.shape()[0], a.shape()[1]);
    let (t, s) = (a.shape()[2], b.shape()[3]);
    let mut all = ArrayD::zeros(vec![rows, heads, t, s]);
    for row in 0..rows {
        for head in 0..heads {
            let of = |x: &ArrayD<f64>| {
                x.index_axis(Axis(0), row)
                    .index_axis(Axis(0), head)
                    .to_owned()
                    .into_dimensionality::<Ix2>()
                    .unwrap()
            };
            all.slice_mut(s![row, head, .., ..]).assign(&of(a).dot(&of(b)));
        }
    }
    all
}

/// A network being written down that holds values fixed.
struct Held {
    graph: Graph,
    count: usize,
}

impl Held {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("held {}", self.count)
    }

    fn add(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        let name = self.name();
        self.graph.add(&name, op, inputs, &[]).unwrap()
    }

    fn constant(&mut self, value: ArrayD<f64>) -> NodeId {
        let (name, param) = (self.name(), self.graph.param(value));
        self.graph.add(&name, Op::Constant, &[], &[param]).unwrap()
    }

    fn reshape(&mut self, x: NodeId, row: &[usize]) -> NodeId {
        self.add(Op::Reshape { shape: Shape::batched(row) }, &[x])
    }

    /// `(x - mean) * gamma / deviation + beta` over the last axis, with the deviation at x0.
    fn norm(&mut self, x: NodeId, x0: &ArrayD<f64>, [gamma, beta]: [ArrayD<f64>; 2], epsilon: f64) -> NodeId {
        let last = Axis(x0.ndim() - 1);
        let mean = x0.mean_axis(last).unwrap().insert_axis(last);
        let variance = (x0 - &mean).mapv(|d| d * d).mean_axis(last).unwrap().insert_axis(last);
        let factor = self.constant(gamma / variance.mapv(|v| (v + epsilon).sqrt()));
        let mean = self.add(Op::Mean { axes: vec![last.0], keep: true }, &[x]);
        let centered = self.add(Op::Sub, &[x, mean]);
        let scaled = self.add(Op::Mul, &[centered, factor]);
        let beta = self.constant(beta);
        self.add(Op::Add, &[scaled, beta])
    }

    /// `(a b0 + a0 b) / 2`: the product at that point, with half of its derivative by each factor.
    fn halves(&mut self, [a, b]: [NodeId; 2], [a0, b0]: [ArrayD<f64>; 2]) -> NodeId {
        let (a0, b0) = (self.constant(a0), self.constant(b0));
        let (of_a, of_b) = (self.add(Op::MatMul, &[a, b0]), self.add(Op::MatMul, &[a0, b]));
        let sum = self.add(Op::Add, &[of_a, of_b]);
        let half = self.constant(ArrayD::from_elem(vec![1], 0.5));
        self.add(Op::Mul, &[sum, half])
    }
}

#[test]
fn whole_transformers() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Ruled) -> Outcome {
        let inputs = case.network.inputs(2);
        let model = adapter.model(&case.network.graph)?;
        let quantity = Qoi::WeightedSum(uniform(&[4], 7));
        let ask = Ask::named("lrp").with("rules", format!("{}; {}", case.rules.1, case.rules.0));
        let answer = ask.of(quantity.clone()).answer(adapter, &model, &inputs, Run::default())?;
        let found = answer.values[0].to_array()?;
        let reference = adapter::reference();
        for (row, found) in found.axis_iter(Axis(0)).enumerate() {
            let input = inputs[0].index_axis(Axis(0), row).insert_axis(Axis(0)).to_owned();
            let held = held(&case.network.graph, &input, case.rules.0 == "attn-lrp");
            let ask = Ask::named("input-x-gradient").of(quantity.clone());
            let expected = ask.answer(&reference, &reference.model(&held)?, &[input], Run::default())?;
            // It is the same network there.
            let same = (expected.evidence.quantity[0] - answer.evidence.quantity[row]).abs();
            assert!(same < 1e-4, "{same}");
            let found = found.insert_axis(Axis(0)).to_owned();
            let expected = expected.values[0].to_array()?;
            attr_tests::tolerance::close(&found, &expected, Level::Quotient, adapter.precision)?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, ruled());
}

/// A transformer whose biases are zero, as are its class token and the places, has nothing to lose relevance to where the
/// weights of attention are held.
#[test]
fn relevance_is_kept() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Ruled) -> Outcome {
        let model = adapter.model(&without_biases(&case.network.graph))?;
        let ask = Ask::named("lrp").with("rules", format!("{}; {}", case.rules.1, case.rules.0));
        let answer = ask.answer(adapter, &model, &case.network.inputs(3), Run::default())?;
        Ok(holds(&answer.evidence, 1.0, Level::Quotient, adapter.precision)?)
    }
    let held = |case: &Ruled| case.rules.0 == "cp-lrp";
    on_every_layered_adapter!(check, ruled().into_iter().filter(held).collect::<Vec<_>>());
}

fn without_biases(graph: &Graph) -> Graph {
    let mut bare = Graph::default();
    for (id, node) in graph.nodes().iter().enumerate() {
        let params = node.params.iter().enumerate().map(|(slot, &param)| {
            let numbers = graph.params()[param].to_f64().unwrap();
            let is_bias = slot == 1 || (node.op == Op::Constant && node.name != "mask");
            bare.param(if is_bias { ArrayD::zeros(numbers.raw_dim()) } else { numbers })
        });
        let params: Vec<_> = params.collect();
        let added = match node.op {
            Op::Input => bare.input(&node.name, &node.shape.at(1)[1..]),
            _ => bare.add(&node.name, node.op.clone(), &node.inputs, &params),
        };
        assert_eq!(added.unwrap(), id);
    }
    bare.set_outputs(graph.outputs()).unwrap();
    bare
}

/// Attention as the layers that files have of it is dealt with as attention is.
#[test]
fn attention_in_pieces() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Layer) -> Outcome {
        let Op::Attention { scale } = case.net.node(case.net.outputs()[0]).op else { return Ok(()) };
        let mut net = Graph::default();
        let inputs: Vec<_> = (case.inputs.iter().enumerate())
            .map(|(i, input)| net.input(&format!("x{i}"), &input.shape()[1..]).unwrap())
            .collect();
        let param = net.param(arr1(&[scale]).into_dyn());
        let scale = net.add("scale", Op::Constant, &[], &[param]).unwrap();
        let turned = net.add("turned", Op::Transpose { axes: vec![0, 2, 1] }, &[inputs[1]], &[]).unwrap();
        let product = net.add("product", Op::MatMul, &[inputs[0], turned], &[]).unwrap();
        let mut scores = net.add("scaled", Op::Mul, &[product, scale], &[]).unwrap();
        if let Some(&mask) = inputs.get(3) {
            scores = net.add("masked", Op::Add, &[scores, mask], &[]).unwrap();
        }
        let weights = net.add("weights", Op::Softmax { axis: 2 }, &[scores], &[]).unwrap();
        let last = net.add("layer", Op::MatMul, &[weights, inputs[2]], &[]).unwrap();
        net.set_outputs(&[last]).unwrap();
        let ask = Ask::named("lrp").at((Cut::input(), Cut::output()));
        let ask = ask.of(Qoi::WeightedSum(uniform(&net.node(last).shape.at(1)[1..], 12)));
        let by = |rules: &str, net: &Graph| {
            ask.clone().with("rules", rules).answer(
                adapter,
                &adapter.model(net)?,
                &case.inputs,
                Run::default(),
            )
        };
        let whole = by("kind attention: uniform 0", &case.net)?;
        // Where a file is read, the pieces are recognised as attention again.
        let kinds =
            ["matrix product", "multiply", "attention"].map(|kind| format!("kind {kind}: uniform 0; "));
        let pieces = by(&format!("{}sums: zero; attn-lrp", kinds.concat()), &net)?;
        let expected = whole.values.iter().map(Tensor::to_array).collect::<Result<Vec<_>, _>>()?;
        adapter.all_close(&pieces.values, &expected, Level::Quotient)?;
        // And recognised it is the same network.
        assert_eq!(net.recognise()?.nodes().len(), case.net.nodes().len());
        Ok(())
    }
    on_every_layered_adapter!(check, attentions());
}

/// A mask that is minus infinity takes nothing, and what it masks gets nothing.
#[test]
fn infinite_masks() {
    let mut inputs = attentions().remove(1).inputs;
    inputs[3][[0, 0, 1]] = f64::NEG_INFINITY;
    let mut net = Graph::default();
    let ids: Vec<_> = (0..3).map(|i| net.input(&format!("x{i}"), &inputs[i].shape()[1..]).unwrap()).collect();
    let mask = net.param(inputs[3].index_axis(Axis(0), 0).to_owned());
    let mask = net.add("mask", Op::Constant, &[], &[mask]).unwrap();
    let layer = net.add("layer", Op::Attention { scale: 0.6 }, &[ids[0], ids[1], ids[2], mask], &[]).unwrap();
    net.set_outputs(&[layer]).unwrap();
    let adapter = adapter::candle_f64();
    let ask = Ask::named("lrp").with("rules", "attn-lrp").at((Cut::input(), Cut::output()));
    // Of what the first query gets.
    let first = ArrayD::from_shape_fn(vec![3, 2], |at| f64::from(u8::from(at[0] == 0)));
    let model = (adapter.build)(&net).unwrap();
    let answer =
        ask.of(Qoi::WeightedSum(first)).answer(&adapter, &model, &inputs[..3], Run::default()).unwrap();
    for of in &answer.values[1..] {
        let of = of.to_array().unwrap().into_dimensionality::<Ix3>().unwrap();
        assert!(of.slice(s![.., 1, ..]).iter().all(|r| *r == 0.0), "{of}");
        assert!(of.slice(s![.., 0, ..]).iter().any(|r| *r != 0.0), "{of}");
    }
}

/// Without a rule for it the error says where there is one.
#[test]
fn without_a_rule() {
    let network = RandomNetwork::new(Kind::Transformer, 1);
    let adapter = adapter::reference();
    let model = (adapter.build)(&network.graph).unwrap();
    let error = |rules: &str| {
        let ask = Ask::named("lrp").with("rules", rules);
        ask.answer(&adapter, &model, &network.inputs(1), Run::default()).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        error("epsilon"),
        "unsupported: layer \"block2/attention\": the rule `epsilon 0.000001` is not defined for a layer of kind \
         \"attention\"; composite `attn-lrp` has a rule for it"
    );
    let wrong = error("kind gelu: taylor; attn-lrp");
    assert!(wrong.contains("block2/gelu") && wrong.contains("`taylor`"), "{wrong}");
    let wrong = error("kind layer norm: gamma 0.25; attn-lrp");
    assert!(wrong.contains("last/norm") && wrong.contains("`gamma 0.25`"), "{wrong}");
}

/// What LXT gives, written by `xtask/python/transformer_fixtures.py`: through the explicit function of each piece for
/// AttnLRP, and of torchvision's transformer as it patches it, which is conservative propagation.
struct Lxt {
    name: &'static str,
    rules: (&'static str, &'static str),
    /// Kinds of layers that the file has as chains.
    chains: &'static [&'static str],
    net: Graph,
    arrays: [ArrayD<f64>; 3],
}

impl Case for Lxt {
    fn name(&self) -> &str {
        self.name
    }
}

#[test]
fn the_same_as_lxt() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Lxt) -> Outcome {
        let [x, y, relevance] = &case.arrays;
        let kinds: Vec<_> = case.net.nodes().iter().map(|node| node.op.kind()).collect();
        for kind in case.chains {
            assert!(kinds.contains(kind), "{}: no layer is a {kind}: {kinds:?}", case.name);
        }
        let model = adapter.model(&case.net)?;
        let ask = Ask::named("lrp").with("rules", format!("{}; {}", case.rules.1, case.rules.0));
        let answer =
            ask.of(Qoi::Class(1)).answer(adapter, &model, std::slice::from_ref(x), Run::default())?;
        let outputs = model.forward(Point::at(&adapter.tensors(std::slice::from_ref(x))?), &Cut::output())?;
        adapter.close(&outputs[0], y, Level::Peer)?;
        Ok(adapter.close(&answer.values[0], relevance, Level::Peer)?)
    }
    let case = |name: &'static str, rules, chains: &'static [&'static str]| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/relevance");
        let net = attr_onnx::read(folder.join(format!("{name}.onnx"))).unwrap();
        let file = std::fs::File::open(folder.join(format!("{name}.npz"))).unwrap();
        let mut file = ndarray_npy::NpzReader::new(file).unwrap();
        let arrays = ["x", "y", "relevance"]
            .map(|key| file.by_name::<ndarray::OwnedRepr<f64>, ndarray::IxDyn>(key).unwrap());
        Lxt { name, rules, chains, net, arrays }
    };
    let cases = [
        case("lxt-block", RULES[0], &["attention", "layer norm", "linear"]),
        case("lxt-vit", RULES[1], &["attention", "layer norm", "gelu", "linear"]),
    ];
    on_every_layered_adapter!(check, cases);
}
