//! A layer graph run by candle's autograd against the same graph run by the project's own sweep.

use attr_candle::{Candle, CandleModel, CandleTensor, Native, compile};
use attr_core::methods::{GradCam, IntegratedGradients, Method};
use attr_core::{
    Activation, Conv, Cut, Error, Graph, LayeredModel, ModelWrapper, Op, Point, Pool, Precision,
};
use attr_core::{Question, Result, Shape, Tensor as _};
use ndarray::{Array, ArrayD};

fn numbers(dims: &[usize], seed: f64) -> ArrayD<f64> {
    let count = dims.iter().product::<usize>();
    Array::from_shape_fn(count, |i| (1.7 * i as f64 + seed).sin())
        .into_shape_with_order(dims)
        .unwrap()
        .into_dyn()
}

/// A residual network with a second input, a constant, a layer that reads one value twice, and a softmax.
fn residual() -> Result<Graph> {
    let mut graph = Graph::default();
    let (image, scale) = (graph.input("image", &[2, 6, 6])?, graph.input("scale", &[1])?);
    let stem = [graph.param(numbers(&[3, 2, 3, 3], 0.1)), graph.param(numbers(&[3], 0.2))];
    let stem = graph.add("stem", Op::Conv(Conv::square(1, 1)), &[image], &stem)?;
    let relu = graph.add("block/relu", Op::Activation(Activation::Relu), &[stem], &[])?;
    let branch = graph.param(numbers(&[3, 3, 3, 3], 0.3));
    let branch = graph.add("block/branch", Op::Conv(Conv::square(1, 1)), &[relu], &[branch])?;
    let sum = graph.add("block/sum", Op::Add, &[relu, branch], &[])?;
    let square = graph.add("square", Op::Mul, &[sum, sum], &[])?;
    let half = graph.param(ArrayD::from_elem(vec![1], 0.5));
    let half = graph.add("half", Op::Constant, &[], &[half])?;
    let halved = graph.add("halved", Op::Mul, &[square, half], &[])?;
    let pool = graph.add("pool", Op::MaxPool(Pool::square(2, 2)), &[halved], &[])?;
    let flat = graph.add("flat", Op::Reshape { shape: Shape::batched(&[27]) }, &[pool], &[])?;
    let fc = graph.param(numbers(&[4, 27], 0.4));
    let fc = graph.add("fc", Op::Linear, &[flat], &[fc])?;
    let scaled = graph.add("scaled", Op::Mul, &[fc, scale], &[])?;
    let out = graph.add("probabilities", Op::Softmax { axis: 1 }, &[scaled], &[])?;
    graph.set_outputs(&[out, pool])?;
    Ok(graph)
}

fn inputs(model: &impl ModelWrapper<Tensor = CandleTensor>, rows: usize) -> Vec<CandleTensor> {
    let array = |dims: &[usize], seed| model.tensor(&numbers(dims, seed)).unwrap();
    vec![array(&[rows, 2, 6, 6], 0.5), array(&[rows, 1], 1.0)]
}

#[track_caller]
fn close(what: &str, found: &[CandleTensor], expected: &[CandleTensor]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        // Of what does not depend on a replaced value, the sweep gives each row once.
        let expected = expected.tile_rows(found.rows() / expected.rows()).unwrap();
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let (found, expected) = (found.to_array().unwrap(), expected.to_array().unwrap());
        let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
        let gap = (&found - &expected).iter().fold(0.0, |gap: f64, d| gap.max(d.abs()));
        // The same formulas in another order.
        assert!(gap < 1e-13 * size, "{what}: {gap} of {size}");
    }
}

/// The numbers of both models, or the errors of both.
fn compare(what: &str, found: Result<Vec<CandleTensor>>, expected: Result<Vec<CandleTensor>>) {
    match (found, expected) {
        (Ok(found), Ok(expected)) => close(what, &found, &expected),
        (found, expected) => assert_eq!(found.err(), expected.err(), "{what}"),
    }
}

/// A cotangent that is the same for all rows, however many there are.
fn weights(values: &[CandleTensor]) -> Result<Vec<CandleTensor>> {
    let weights = |value: &CandleTensor| {
        let dims = value.dims();
        value.like(&numbers(&[&[1], &dims[1..]].concat(), 0.6))?.broadcast_to(&dims)
    };
    values.iter().map(weights).collect()
}

/// Each layer, before and behind it, the ends of the network, and several at once.
fn every_cut(sweep: &CandleModel) -> Vec<Cut> {
    let layers = 0..sweep.graph().nodes().len();
    let layers = layers.flat_map(|id| [Cut::index(id), Cut::index(id).before()]);
    let ends = [Cut::input(), Cut::output(), Cut::logits(), Cut::output().before()];
    let several = Cut::several([Cut::input(), "relu".into(), Cut::layer("sum").before(), "pool".into()]);
    layers.chain(ends).chain([several]).collect()
}

/// The values at each cut, and the derivatives from each of some cuts to each.
fn compare_from(froms: &[Cut], point: Point<'_, CandleTensor>, native: &Native, sweep: &CandleModel) {
    for to in &every_cut(sweep) {
        compare(&to.to_string(), native.forward(point, to), sweep.forward(point, to));
        for from in froms {
            let what = format!("from {from} to {to}");
            let found = native.gradient(point, from, to, &mut weights);
            let expected = sweep.gradient(point, from, to, &mut weights);
            compare(&what, found.clone().map(|g| g.values), expected.clone().map(|g| g.values));
            compare(&what, found.map(|g| g.gradients), expected.map(|g| g.gradients));
        }
    }
}

fn both() -> (Native, CandleModel) {
    let candle = Candle::cpu(Precision::F64);
    (
        Native::of_graph(residual().unwrap(), candle).unwrap(),
        compile(residual().unwrap(), Precision::F64).unwrap(),
    )
}

#[test]
fn values_and_gradients_are_the_sweeps() {
    let (native, sweep) = both();
    compare_from(&every_cut(&sweep), Point::at(&inputs(&sweep, 2)), &native, &sweep);
}

#[test]
fn so_they_are_with_values_replaced() {
    let (native, sweep) = both();
    let x = inputs(&sweep, 2);
    for cut in [Cut::layer("relu"), Cut::layer("sum").before(), Cut::layer("fc"), Cut::input()] {
        let places = sweep.places(&cut).unwrap();
        let values = places.iter().enumerate().map(|(i, place)| {
            let dims = place.shape.as_ref().unwrap().at(4);
            sweep.tensor(&numbers(&dims, i as f64)).unwrap()
        });
        let values: Vec<_> = values.collect();
        let froms = [Cut::input(), Cut::layer("stem").before(), "relu".into(), Cut::layer("sum").before()];
        compare_from(&froms, Point { inputs: &x, replace: Some((&cut, &values)) }, &native, &sweep);
    }
}

#[test]
fn its_places_are_the_graphs() {
    let (native, sweep) = both();
    assert_eq!(native.layers(), sweep.layers());
    for cut in [Cut::logits(), Cut::output(), Cut::layer("square").before(), Cut::layer("half").before()] {
        assert_eq!(native.places(&cut).unwrap(), sweep.places(&cut).unwrap());
    }
    assert!(native.row_bytes() >= sweep.row_bytes());
    assert!(matches!(native.places(&"conv".into()), Err(Error::UnknownLayer { .. })));
}

#[test]
fn so_are_the_methods_answers() {
    let (native, sweep) = both();
    let x = inputs(&sweep, 2);
    let answers =
        |method: fn(&Question<'_, Native>) -> Vec<CandleTensor>| method(&Question::new(&native, &x));
    let integrated = IntegratedGradients::default().attribute(&Question::new(&sweep, &x)).unwrap().values;
    close(
        "integrated gradients",
        &answers(|q| IntegratedGradients::default().attribute(q).unwrap().values),
        &integrated,
    );
    let map = GradCam::default().attribute(&Question::new(&sweep, &x)).unwrap().values;
    close("grad-cam", &answers(|q| GradCam::default().attribute(q).unwrap().values), &map);
}
