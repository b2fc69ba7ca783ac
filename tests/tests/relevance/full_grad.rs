//! FullGrad's decomposition is complete, each of its terms is a derivative, and the picture is what its formula says.

use attr_core::methods::FullGrad;
use attr_core::{Cut, Graph, LayeredModel, ModelWrapper, Op, Param, Point, Qoi, Question, Run, Tensor};
use attr_tests::networks::{Kind, RandomNetwork, random_networks};
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Ask, Level, Outcome, adapter, on_every_layered_adapter};
use ndarray::{Array2, ArrayD, Axis, arr1};

use crate::holds;

#[test]
fn complete() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let slices = [
            (Cut::input(), Cut::logits()),
            // Softmax, too, is taken apart.
            (Cut::input(), Cut::output()),
            (Cut::layer(case.middle), Cut::logits()),
        ];
        for (i, slice) in slices.into_iter().enumerate() {
            let ask = Ask::named("fullgrad").at(slice);
            let evidence = ask.answer(adapter, &model, &case.inputs(3), Run::default())?.evidence;
            holds(&evidence, 0.0, Level::Attribution, adapter.precision)
                .map_err(|reason| format!("slice {i}: {reason}"))?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, random_networks());
}

/// The term of each bias is the bias times the derivative by it, found by a small step of that bias.
#[test]
fn terms_are_derivatives() {
    let adapter = adapter::candle_f64();
    for network in [Kind::Plain, Kind::Residual, Kind::Smooth].map(|kind| RandomNetwork::new(kind, 3)) {
        let model = (adapter.build)(&network.graph).unwrap();
        let inputs = adapter.tensors(&network.inputs(2)).unwrap();
        let question = Question::new(&model, &inputs).of(Qoi::Class(1));
        let terms = FullGrad::default().decompose(&question).unwrap();
        let mut found = 0;
        for (name, term) in &terms.biases {
            let node = network.graph.node(network.graph.find(name).unwrap());
            if !matches!(node.op, Op::Conv(_) | Op::Linear) {
                continue;
            }
            let bias = network.graph.params()[node.params[1]].to_f64().unwrap();
            let term = term.to_array().unwrap();
            for channel in 0..bias.len() {
                let step = 1e-5;
                let value = |step: f64| {
                    let moved = with_bias(&network.graph, node.params[1], channel, step);
                    let model = (adapter.build)(&moved).unwrap();
                    model.forward(Point::at(&inputs), &Cut::logits()).unwrap()[0].to_array().unwrap()
                };
                let slope = (value(step) - value(-step)).index_axis(Axis(1), 1).to_owned() / (2.0 * step);
                let expected = slope.mapv(|slope| slope * bias[channel]);
                let part = term.index_axis(Axis(1), channel);
                let sums = part.axis_iter(Axis(0)).map(|row| row.sum()).collect::<Vec<_>>();
                close(&arr1(&sums).into_dyn(), &expected, Level::FiniteDifference, adapter.precision)
                    .unwrap_or_else(|reason| panic!("{}: {name}: {reason}", network.name));
                found += 1;
            }
        }
        assert!(found > 5, "{}: only {found} biases", network.name);
    }
}

fn with_bias(graph: &Graph, param: usize, channel: usize, step: f64) -> Graph {
    let mut moved = Graph::default();
    for (id, old) in graph.params().iter().enumerate() {
        let mut numbers = old.to_f64().unwrap();
        if id == param {
            numbers[channel] += step;
        }
        moved.param(Param::from(numbers));
    }
    for node in graph.nodes() {
        match node.op {
            Op::Input => moved.input(&node.name, &node.shape.at(1)[1..]).unwrap(),
            _ => moved.add(&node.name, node.op.clone(), &node.inputs, &node.params).unwrap(),
        };
    }
    moved.set_outputs(graph.outputs()).unwrap();
    moved
}

/// Absolute values brought to reach from 0 to 1 in each row, added up over channels.
fn psi(x: &ArrayD<f64>) -> ArrayD<f64> {
    let mut scaled = x.mapv(f64::abs);
    for mut row in scaled.axis_iter_mut(Axis(0)) {
        let least = row.fold(f64::INFINITY, |least, x| least.min(*x));
        let most = row.fold(0.0, |most: f64, x| most.max(x - least));
        row.mapv_inplace(|x| (x - least) / (most + 1e-6));
    }
    scaled.sum_axis(Axis(1)).insert_axis(Axis(1))
}

/// A map at another size, bilinear with aligned corners, as a product with hat functions.
fn aligned(map: &ArrayD<f64>, size: usize) -> ArrayD<f64> {
    let hats = |old: usize| {
        let at = |i: usize| i as f64 * (old - 1) as f64 / (size - 1) as f64;
        Array2::from_shape_fn((size, old), |(i, j)| (1.0 - (at(i) - j as f64).abs()).max(0.0))
    };
    let (rows, columns) = (hats(map.len_of(Axis(2))), hats(map.len_of(Axis(3))));
    let one = |image: ndarray::ArrayViewD<'_, f64>| {
        let image = image.into_dimensionality::<ndarray::Ix2>().unwrap();
        rows.dot(&image).dot(&columns.t()).into_dyn()
    };
    let images = map.axis_iter(Axis(0)).map(|row| one(row.index_axis(Axis(0), 0))).collect::<Vec<_>>();
    let views: Vec<_> = images.iter().map(|image| image.view().insert_axis(Axis(0))).collect();
    ndarray::stack(Axis(0), &views).unwrap()
}

#[test]
fn pictures() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let arrays = case.inputs(2);
        let inputs = adapter.tensors(&arrays)?;
        let terms = FullGrad::default().decompose(&Question::new(&model, &inputs).of(Qoi::Class(0)))?;
        let side = arrays[0].len_of(Axis(2));
        let mut expected = psi(&terms.inputs[0].to_array()?);
        for (_, term) in terms.biases.iter().filter(|(_, term)| term.dims().len() == 4) {
            expected = expected + aligned(&psi(&term.to_array()?), side);
        }
        let answer = Ask::named("fullgrad").answer(adapter, &model, &arrays, Run::default())?;
        Ok(adapter.close(&answer.values[0], &expected, Level::Attribution)?)
    }
    let of_images = [Kind::Plain, Kind::BatchNorm, Kind::Residual].map(|kind| RandomNetwork::new(kind, 1));
    on_every_layered_adapter!(check, of_images);
}

/// Without noise the sum over samples is the decomposition itself, but for the order of the sum over channels.
#[test]
fn without_noise() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let arrays = case.inputs(2);
        let ask = Ask::named("smooth-fullgrad").with("sigma", 0).with("samples", 1);
        let smooth = ask.answer(adapter, &model, &arrays, Run::default())?.values[0].to_array()?;
        let inputs = adapter.tensors(&arrays)?;
        let terms = FullGrad::default().decompose(&Question::new(&model, &inputs).of(Qoi::Class(0)))?;
        let input = terms.inputs[0].to_array()?;
        let full =
            Ask::named("fullgrad").answer(adapter, &model, &arrays, Run::default())?.values[0].to_array()?;
        let expected = full - psi(&input) + psi(&input.sum_axis(Axis(1)).insert_axis(Axis(1)));
        Ok(close(&smooth, &expected, Level::Attribution, adapter.precision)?)
    }
    on_every_layered_adapter!(check, [RandomNetwork::new(Kind::Residual, 1)]);
}

/// The terms are those of all rows, whatever they are worked on in.
#[test]
fn chunks_are_joined() {
    fn check<M: LayeredModel>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let model = adapter.model(&case.graph)?;
        let inputs = adapter.tensors(&case.inputs(5))?;
        let terms = |rows: usize| {
            let question = Question::new(&model, &inputs).run(Run { rows, ..Run::default() });
            FullGrad::default().decompose(&question)
        };
        let (whole, cut) = (terms(5)?, terms(2)?);
        assert_eq!(whole.biases.len(), cut.biases.len());
        for ((name, whole), (same, cut)) in whole.biases.iter().zip(&cut.biases) {
            assert_eq!(name, same);
            adapter
                .close(cut, &whole.to_array()?, adapter.same)
                .map_err(|reason| format!("{name}: {reason}"))?;
        }
        assert_eq!((cut.rest.len(), cut.residual.len()), (5, 5));
        Ok(adapter.close(&cut.inputs[0], &whole.inputs[0].to_array()?, adapter.same)?)
    }
    on_every_layered_adapter!(check, [RandomNetwork::new(Kind::Residual, 1)]);
}
