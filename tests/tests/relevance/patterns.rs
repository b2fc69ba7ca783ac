//! Patterns against their formula sample by sample, PatternNet and PatternAttribution against what they come to, and
//! Haufe's example.

use std::collections::BTreeMap;
use std::sync::Arc;

use attr_core::methods::{Fitted, Lrp, Method, PatternAttribution, PatternNet, Start};
use attr_core::{
    Conv, Cut, Error, Graph, LayeredModel, Node, Op, PatternKind, Patterns, Point, Qoi, Question, Tensor,
};
use attr_tests::networks::{Kind, RandomNetwork, single_layer};
use attr_tests::sampling::uniform;
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Case, Level, Outcome, adapter, on_every_layered_adapter};
use ndarray::{Array2, ArrayD, Axis, arr2};

const KINDS: [PatternKind; 3] = [PatternKind::Linear, PatternKind::Positive, PatternKind::Negative];

struct Layer {
    name: &'static str,
    op: Op,
    params: Vec<ArrayD<f64>>,
    row: Vec<usize>,
}

impl Case for Layer {
    fn name(&self) -> &str {
        self.name
    }
}

fn layers() -> Vec<Layer> {
    let conv = |name, conv, weight: &[usize], row: &[usize]| {
        let params = vec![uniform(weight, 21), uniform(&weight[..1], 22)];
        Layer { name, op: Op::Conv(conv), params, row: row.into() }
    };
    let dense = |name, row: &[usize], bias: bool| {
        let mut params = vec![uniform(&[4, 3], 21)];
        params.extend(bias.then(|| uniform(&[4], 22)));
        Layer { name, op: Op::Linear, params, row: row.into() }
    };
    let sided = Conv { padding: vec![(0, 1), (2, 0)], stride: vec![2, 1], ..Conv::square(1, 0) };
    let dilated = Conv { dilation: vec![2, 1], groups: 2, ..Conv::square(1, 1) };
    vec![
        dense("dense", &[3], true),
        dense("dense without bias over the last of two axes", &[2, 3], false),
        conv("convolution", Conv::square(1, 0), &[3, 2, 3, 3], &[2, 5, 6]),
        conv("unevenly padded and strided convolution", sided, &[3, 2, 3, 2], &[2, 5, 6]),
        conv("grouped and dilated convolution", dilated, &[4, 2, 3, 3], &[4, 6, 5]),
        conv("depthwise convolution", Conv { groups: 4, ..Conv::square(2, 1) }, &[8, 1, 3, 3], &[4, 6, 5]),
    ]
}

/// The inputs that a neuron has in a row, sample by sample, with its output, in the order of its weights.
fn samples(op: &Op, weight: &ArrayD<f64>, row: &ArrayD<f64>, neuron: usize) -> Vec<Vec<f64>> {
    let Op::Conv(conv) = op else {
        return row.rows().into_iter().map(|x| x.to_vec()).collect();
    };
    let (row_dims, w) = (row.shape(), weight.shape());
    let out = |axis: usize| {
        let (before, after) = conv.padding[axis];
        (row_dims[1 + axis] + before + after - conv.dilation[axis] * (w[2 + axis] - 1) - 1)
            / conv.stride[axis]
            + 1
    };
    let first = neuron / (w[0] / conv.groups) * w[1];
    let mut samples = Vec::new();
    for (y, x) in (0..out(0)).flat_map(|y| (0..out(1)).map(move |x| (y, x))) {
        let mut sample = Vec::new();
        for (c, i, j) in places(w[1], w[2], w[3]) {
            let at = |position: usize, axis: usize, offset: usize| {
                (position * conv.stride[axis] + offset * conv.dilation[axis])
                    .checked_sub(conv.padding[axis].0)
            };
            let value = match (at(y, 0, i), at(x, 1, j)) {
                (Some(y), Some(x)) => row.get([first + c, y, x]).copied().unwrap_or(0.0),
                _ => 0.0,
            };
            sample.push(value);
        }
        samples.push(sample);
    }
    samples
}

fn places(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// `cov / (w cov)` over all samples; `scale` and `shift` are those of a batch norm behind.
fn expected(
    op: &Op,
    params: &[ArrayD<f64>],
    input: &ArrayD<f64>,
    kind: PatternKind,
    norm: impl Fn(usize, f64) -> f64,
) -> ArrayD<f64> {
    let weight = &params[0];
    let mut patterns = ArrayD::zeros(weight.raw_dim());
    for (neuron, mut pattern) in patterns.outer_iter_mut().enumerate() {
        let w: Vec<f64> = weight.index_axis(Axis(0), neuron).iter().copied().collect();
        let bias = params.get(1).map_or(0.0, |bias| bias[neuron]);
        let all = input.outer_iter().flat_map(|row| samples(op, weight, &row.to_owned(), neuron));
        let all: Vec<(Vec<f64>, f64)> = all
            .map(|x| {
                let y = x.iter().zip(&w).map(|(x, w)| x * w).sum();
                (x, y)
            })
            .collect();
        let of_kind = |y: f64| match kind {
            PatternKind::Linear => true,
            PatternKind::Positive => norm(neuron, y + bias) > 0.0,
            PatternKind::Negative => norm(neuron, y + bias) <= 0.0,
        };
        let chosen: Vec<_> = all.iter().filter(|(_, y)| of_kind(*y)).collect();
        let mean_y = all.iter().map(|(_, y)| y).sum::<f64>() / all.len() as f64;
        let count = chosen.len().max(1) as f64;
        let covariance: Vec<f64> = (0..w.len())
            .map(|k| {
                let mean_xy = chosen.iter().map(|(x, y)| x[k] * y).sum::<f64>() / count;
                mean_xy - chosen.iter().map(|(x, _)| x[k]).sum::<f64>() / count * mean_y
            })
            .collect();
        let length: f64 = covariance.iter().zip(&w).map(|(c, w)| c * w).sum();
        let values = covariance.into_iter().map(|c| if length == 0.0 { c } else { c / length });
        pattern.iter_mut().zip(values).for_each(|(pattern, value)| *pattern = value);
    }
    patterns
}

/// The pattern of a layer, which may have another name in the model.
fn pattern<'a, M: LayeredModel>(model: &M, patterns: &'a Patterns, layer: &str) -> &'a ArrayD<f64> {
    &patterns.of[own_name(model.graph(), layer)]
}

fn own_name<'a>(model: &'a Graph, layer: &str) -> &'a str {
    &model.node(model.find(layer).unwrap()).name
}

/// Batches of different sizes.
fn batches(input: &ArrayD<f64>) -> impl Iterator<Item = attr_core::Result<Vec<ArrayD<f64>>>> + '_ {
    let rows = input.len_of(Axis(0)) as isize;
    let cuts = [(0, 3), (3, 4), (4, rows)];
    cuts.into_iter()
        .map(|(start, end)| Ok(vec![input.slice_axis(Axis(0), ndarray::Slice::from(start..end)).to_owned()]))
}

#[test]
fn fitted_sample_by_sample() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &Layer) -> Outcome {
        let model = adapter.model(&single_layer(case.op.clone(), &case.row, &case.params))?;
        let dims: Vec<_> = [11].into_iter().chain(case.row.iter().copied()).collect();
        // Not around zero, so that means matter.
        let input = uniform(&dims, 23) + 0.25;
        for kind in KINDS {
            let patterns = Patterns::fit(&model, kind, batches(&input))?;
            assert_eq!((patterns.rows, patterns.of.len()), (11, 1));
            let expected = expected(&case.op, &case.params, &input, kind, |_, y| y);
            close(pattern(&model, &patterns, "layer"), &expected, Level::Quotient, adapter.precision)
                .map_err(|reason| format!("{kind}: {reason}"))?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, layers());
}

/// A batch norm behind a layer says what a ReLU lets through.
#[test]
fn fitted_with_batch_norm() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let input = case.inputs(9).remove(0);
        let net = &case.graph;
        let param = |layer: &str, i: usize| {
            let node = net.node(net.find(layer).unwrap());
            net.params()[node.params[i]].to_f64().unwrap()
        };
        let (conv, norm) = (net.node(net.find("conv1").unwrap()), [0, 1, 2, 3].map(|i| param("bn1", i)));
        let params = [param("conv1", 0), param("conv1", 1)];
        let normed = |neuron: usize, y: f64| {
            (y - norm[2][neuron]) / (norm[3][neuron] + 1e-5).sqrt() * norm[0][neuron] + norm[1][neuron]
        };
        let model = adapter.model(net)?;
        for kind in KINDS {
            let patterns = Patterns::fit(&model, kind, batches(&input))?;
            let expected = expected(&conv.op, &params, &input, kind, normed);
            close(pattern(&model, &patterns, "conv1"), &expected, Level::Quotient, adapter.precision)?;
        }
        Ok(())
    }
    on_every_layered_adapter!(
        check,
        [RandomNetwork::new(Kind::BatchNorm, 1), RandomNetwork::new(Kind::Residual, 1)]
    );
}

/// Haufe et al. 2014, as iNNvestigate 1 tests it (`tests/tools/test_pattern.py`): a signal along (1, 0), a distractor
/// along (1, 1). The best weights are perpendicular to the distractor; the pattern is the signal.
#[test]
fn haufe() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, _: &RandomNetwork) -> Outcome {
        let noise = uniform(&[1000, 2], 24).mapv(|x| (x + 1.0) / 2.0);
        let data = Array2::from_shape_fn((1000, 2), |(row, i)| {
            if i == 0 { noise[[row, 0]] + noise[[row, 1]] } else { noise[[row, 1]] }
        });
        // The weights of least squares: x1 - x2 is the signal exactly.
        let weight = arr2(&[[1.0, -1.0]]).into_dyn();
        let model = adapter.model(&single_layer(Op::Linear, &[2], &[weight]))?;
        let patterns = Patterns::fit(&model, PatternKind::Linear, [Ok(vec![data.into_dyn()])])?;
        let (along, across) = (patterns.of["layer"][[0, 0]], patterns.of["layer"][[0, 1]]);
        if (along - 1.0).abs() > 0.05 || across.abs() > 0.05 {
            return Err(format!("expected a pattern of about (1, 0), found ({along}, {across})").into());
        }
        Ok(())
    }
    on_every_layered_adapter!(check, [RandomNetwork::new(Kind::Mlp, 1)]);
}

fn answer<M: LayeredModel>(
    adapter: &Adapter<M>,
    model: &M,
    input: &ArrayD<f64>,
    method: &dyn Method<M>,
) -> attr_core::Result<ArrayD<f64>> {
    let inputs = adapter.tensors(std::slice::from_ref(input))?;
    method.attribute(&Question::new(model, &inputs).of(Qoi::Class(1)))?.values[0].to_array()
}

/// Patterns of the layers that have weights, made from these.
fn made(model: &Graph, net: &Graph, make: impl Fn(ArrayD<f64>) -> ArrayD<f64>) -> Fitted {
    let weighted = net.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_) | Op::Linear));
    let weight = |node: &Node| net.params()[node.params[0]].to_f64().unwrap();
    let of = weighted.map(|node| (own_name(model, &node.name).to_string(), make(weight(node))));
    let of: BTreeMap<_, _> = of.collect();
    Fitted(Some(Arc::new(Patterns { kind: PatternKind::Linear, rows: 1, of })))
}

/// With weights as patterns, PatternNet is the gradient; so is PatternAttribution with ones.
#[test]
fn the_gradient_in_disguise() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let (model, input) = (adapter.model(&case.graph)?, case.inputs(3).remove(0));
        let gradient = answer(adapter, &model, &input, &attr_core::methods::Gradient {})?;
        let net = PatternNet {
            patterns: made(model.graph(), &case.graph, |w| w),
            start: Start::One,
            project: false,
        };
        let found = answer(adapter, &model, &input, &net)?;
        close(&found, &gradient, Level::Attribution, adapter.precision)?;
        let ones = made(model.graph(), &case.graph, |w| ArrayD::ones(w.raw_dim()));
        let attribution = PatternAttribution { patterns: ones, start: Start::One, project: false };
        let found = answer(adapter, &model, &input, &attribution)?;
        Ok(close(&found, &gradient, Level::Attribution, adapter.precision)?)
    }
    let kinds = [Kind::Smooth, Kind::Mlp, Kind::Plain];
    on_every_layered_adapter!(check, kinds.map(|kind| RandomNetwork::new(kind, 2)));
}

/// One ReLU layer and one output by hand: `A1 (mask * A2 y)`, and with `W A` in the place of `A`.
#[test]
fn by_hand() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let (model, input) = (adapter.model(&case.graph)?, case.inputs(4).remove(0));
        let patterns = Arc::new(Patterns::fit(&model, PatternKind::Positive, [Ok(vec![input.clone()])])?);
        let tensors = adapter.tensors(std::slice::from_ref(&input))?;
        let values = model.forward(Point::at(&tensors), &Cut::several(["relu", "fc2"]))?;
        let (relu, fc2) = (values[0].to_array()?, values[1].to_array()?);
        for times_weights in [false, true] {
            let kernel = |layer: &str| {
                let node = case.graph.node(case.graph.find(layer).unwrap());
                let weight = case.graph.params()[node.params[0]].to_f64().unwrap();
                let pattern = pattern(&model, &patterns, layer);
                if times_weights { pattern * &weight } else { pattern.clone() }
            };
            let (first, second) = (kernel("fc1"), kernel("fc2"));
            let mut expected = ArrayD::zeros(input.raw_dim());
            for ((row, i), sum) in
                expected.view_mut().into_dimensionality::<ndarray::Ix2>().unwrap().indexed_iter_mut()
            {
                for unit in (0..8).filter(|&unit| relu[[row, unit]] > 0.0) {
                    *sum += first[[unit, i]] * second[[2, unit]] * fc2[[row, 2]];
                }
            }
            let fitted = Fitted(Some(Arc::clone(&patterns)));
            let question = Question::new(&model, &tensors)
                .at((Cut::input(), Cut::layer("fc2")))
                .of(Qoi::Neuron(vec![2]));
            let answer = match times_weights {
                false => PatternNet { patterns: fitted, start: Start::Value, project: false }
                    .attribute(&question)?,
                true => PatternAttribution { patterns: fitted, start: Start::Value, project: false }
                    .attribute(&question)?,
            };
            adapter.close(&answer.values[0], &expected, Level::Quotient)?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, [RandomNetwork::new(Kind::Mlp, 3)]);
}

/// Folding batch norms changes no result, and neither do the batches.
#[test]
fn folded_or_not() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let input = case.inputs(9).remove(0);
        let mut found = Vec::new();
        for net in [case.graph.clone(), case.graph.fold_batch_norm()?] {
            let model = adapter.model(&net)?;
            let patterns = Patterns::fit(&model, PatternKind::Positive, batches(&input))?;
            let patterns = Fitted(Some(Arc::new(patterns)));
            let start = Start::Value;
            found.push([
                answer(
                    adapter,
                    &model,
                    &input,
                    &PatternNet { patterns: patterns.clone(), start, project: false },
                )?,
                answer(adapter, &model, &input, &PatternAttribution { patterns, start, project: false })?,
            ]);
        }
        for (kept, folded) in found[0].iter().zip(&found[1]) {
            close(kept, folded, Level::Quotient, adapter.precision)?;
        }
        Ok(())
    }
    on_every_layered_adapter!(
        check,
        [RandomNetwork::new(Kind::BatchNorm, 1), RandomNetwork::new(Kind::Residual, 2)]
    );
}

/// What is projected is the same but for its length, a positive number for each row, through skip connections too.
#[test]
fn projected() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let (model, input) = (adapter.model(&case.graph)?, case.inputs(4).remove(0));
        let patterns = Patterns::fit(&model, PatternKind::Positive, [Ok(vec![input.clone()])])?;
        let net = PatternNet { patterns: Fitted(Some(Arc::new(patterns))), ..PatternNet::default() };
        let found = answer(adapter, &model, &input, &net)?;
        let plain = answer(adapter, &model, &input, &PatternNet { project: false, ..net })?;
        for (found, plain) in found.outer_iter().zip(plain.outer_iter()) {
            let most = plain.fold(0.0, |most: f64, x| most.max(x.abs()));
            let expected = plain.mapv(|x| if most == 0.0 { 0.0 } else { x / most });
            close(&found.to_owned(), &expected, Level::Quotient, adapter.precision)?;
        }
        Ok(())
    }
    let kinds = [Kind::Mlp, Kind::Plain, Kind::BatchNorm, Kind::Residual];
    on_every_layered_adapter!(check, kinds.map(|kind| RandomNetwork::new(kind, 1)));
}

#[test]
fn saved_and_loaded() {
    let adapter = adapter::reference();
    let case = RandomNetwork::new(Kind::Plain, 1);
    let model = adapter.model(&case.graph).unwrap();
    let patterns = Patterns::fit(&model, PatternKind::Negative, [Ok(case.inputs(5))]).unwrap();
    let bytes = patterns.to_safetensors().unwrap();
    assert_eq!(Patterns::from_safetensors(&bytes).unwrap(), patterns);
    for broken in [&bytes[..bytes.len() - 1], &bytes[..20], b"", b"\x08\0\0\0\0\0\0\0{}      "] {
        let error = Patterns::from_safetensors(broken).unwrap_err();
        assert!(error.to_string().contains("patterns: expected a safetensors file"), "{error}");
    }
}

#[test]
fn what_is_missing() {
    let adapter = adapter::reference();
    let case = RandomNetwork::new(Kind::Mlp, 1);
    let (model, inputs) = (adapter.model(&case.graph).unwrap(), case.inputs(2));
    let ask = |net: PatternNet| answer(&adapter, &model, &inputs[0], &net).unwrap_err().to_string();
    assert!(ask(PatternNet::default()).contains("attr patterns"));
    let other = RandomNetwork::new(Kind::Smooth, 1).graph;
    let other = made(&other, &other, |w| w);
    let found = ask(PatternNet { patterns: other, ..PatternNet::default() });
    assert!(found.contains("\"fc1\"") && found.contains("[8, 6]"), "{found}");
    let mut method = Lrp::default();
    let error = attr_core::Parameters::set_patterns(
        &mut method,
        &Arc::new(Patterns::fit(&model, PatternKind::Linear, [Ok(inputs.clone())]).unwrap()),
    );
    assert!(matches!(error, Err(Error::Parameter { .. })));
    let empty = Patterns::fit(&model, PatternKind::Linear, []).unwrap_err().to_string();
    assert!(empty.contains("no rows"), "{empty}");
    let up = RandomNetwork::new(Kind::UNet, 1);
    let model = adapter.model(&up.graph).unwrap();
    let patterns = made(&up.graph, &up.graph, |w| w);
    let error = answer(&adapter, &model, &up.inputs(1)[0], &PatternNet { patterns, ..PatternNet::default() });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("\"up\"") && error.contains("pattern-net is not defined"), "{error}");
}
