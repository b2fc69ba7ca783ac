//! Forward functions with taps, on a network small enough to work out by hand.
//!
//! It is that of TruLens's model wrapper tests: two inputs, `layer1` and `layer2` of two with a relu behind
//! each, one output.

use attr_candle::{Candle, CandleTensor, Native, Taps, ops};
use attr_core::methods::{Conductance, GradCam, IntegratedGradients, InternalInfluence, Method};
use attr_core::{Cut, Error, ModelWrapper, Point, Precision, Qoi, Question, Result, Tensor as _};
use candle_core::{DType, Device, Module, Tensor, Var};
use candle_nn::Linear;
use ndarray::{Array2, ArrayD, array};

/// A module written by hand; what its layers compute is seen by taps.
#[derive(Debug)]
struct Trulens {
    dense1: Linear,
    dense2: Linear,
    logits: Linear,
}

impl Trulens {
    /// Its weights are variables if they are to be trained.
    fn new(dtype: DType, trained: bool) -> Self {
        let linear = |weight: &[f64], inputs: usize, outputs: usize| {
            let weight = Tensor::from_slice(weight, (outputs, inputs), &Device::Cpu).unwrap();
            let weight = weight.to_dtype(dtype).unwrap();
            let weight = if trained { Var::from_tensor(&weight).unwrap().into_inner() } else { weight };
            Linear::new(weight, None)
        };
        Trulens {
            dense1: linear(&[1.0, -1.0, 0.0, 1.0], 2, 2),
            dense2: linear(&[1.0, 0.0, 1.0, 1.0], 2, 2),
            logits: linear(&[1.0, 2.0], 2, 1),
        }
    }

    fn forward(&self, x: &Tensor, taps: &mut Taps) -> candle_core::Result<Tensor> {
        let x = taps.tap("dense1", self.dense1.forward(x)?)?;
        let x = taps.layer("layer1", [&x], |[x]| ops::relu(x))?;
        let x = taps.layer("dense2", [&x], |[x]| self.dense2.forward(x))?;
        let x = taps.layer("layer2", [&x], |[x]| ops::relu(x))?;
        taps.tap("logits", self.logits.forward(&x)?)
    }
}

fn double() -> Candle {
    Candle::cpu(Precision::F64)
}

fn trulens_of(precision: Precision, trained: bool) -> Native {
    let network = Trulens::new(if precision == Precision::F64 { DType::F64 } else { DType::F32 }, trained);
    Native::new(Candle::cpu(precision), &[("x", &[2])], move |inputs, taps| {
        Ok(vec![network.forward(&inputs[0], taps)?])
    })
    .unwrap()
}

fn trulens() -> Native {
    trulens_of(Precision::F64, false)
}

type Outputs = candle_core::Result<Vec<Tensor>>;

/// A model of one input of two numbers.
fn of(function: impl Fn(&Tensor, &mut Taps) -> Outputs + Send + 'static) -> Result<Native> {
    Native::new(double(), &[("x", &[2])], move |inputs, taps| function(&inputs[0], taps))
}

fn rows(numbers: &[[f64; 2]]) -> CandleTensor {
    let flat: Vec<_> = numbers.iter().flatten().copied().collect();
    Tensor::from_vec(flat, (numbers.len(), 2), &Device::Cpu).unwrap().into()
}

fn two() -> [CandleTensor; 1] {
    [rows(&[[2.0, 1.0], [1.0, 2.0]])]
}

fn values(tensor: &CandleTensor) -> ArrayD<f64> {
    tensor.to_array().unwrap()
}

fn matrix<const N: usize>(numbers: &[[f64; N]]) -> ArrayD<f64> {
    Array2::from_shape_fn((numbers.len(), N), |(i, j)| numbers[i][j]).into_dyn()
}

fn ones(values: &[CandleTensor]) -> Result<Vec<CandleTensor>> {
    values.iter().map(|value| value.filled_like(1.0)).collect()
}

fn gradient(
    model: &Native,
    point: Point<'_, CandleTensor>,
    from: impl Into<Cut>,
    to: impl Into<Cut>,
) -> Result<Vec<ArrayD<f64>>> {
    let answer = model.gradient(point, &from.into(), &to.into(), &mut ones)?;
    assert_eq!(answer.values.len(), answer.gradients.len());
    Ok(answer.gradients.iter().map(values).collect())
}

fn message<T>(result: Result<T>) -> String {
    result.map(|_| ()).expect_err("an error").to_string()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}

#[test]
fn the_module_gives_what_papers_and_peers_give() {
    // Parameters that ask for gradients cost memory and change nothing.
    for model in [trulens(), trulens_of(Precision::F64, true), trulens_of(Precision::F32, true)] {
        let x = two().map(|x| model.tensor(&values(&x)).unwrap());
        let at = |cut: &Cut| values(&model.forward(Point::at(&x), cut).unwrap()[0]);
        assert_eq!(at(&"dense1".into()), matrix(&[[1.0, 1.0], [-1.0, 2.0]]));
        assert_eq!(at(&"layer1".into()), matrix(&[[1.0, 1.0], [0.0, 2.0]]));
        assert_eq!(at(&Cut::layer("layer2").before()), matrix(&[[1.0, 2.0], [0.0, 2.0]]));
        assert_eq!(at(&Cut::output()), matrix(&[[5.0], [4.0]]));

        let point = Point::at(&x);
        let by = |from: Cut| gradient(&model, point, from, Cut::logits()).unwrap().remove(0);
        assert_eq!(by(Cut::input()), matrix(&[[3.0, -1.0], [0.0, 2.0]]));
        assert_eq!(by("x".into()), matrix(&[[3.0, -1.0], [0.0, 2.0]]));
        assert_eq!(by("layer1".into()), matrix(&[[3.0, 2.0], [2.0 + 1.0 - 1.0, 2.0]]));
        assert_eq!(by("logits".into()), matrix(&[[1.0], [1.0]]));
        assert_eq!(gradient(&model, point, "layer1", "dense2").unwrap(), [matrix(&[[2.0, 1.0]; 2])]);
    }
}

#[test]
fn methods_run_on_it() {
    let (model, x) = (trulens(), two());
    let answer =
        |method: &dyn Method<Native>, question| values(&method.attribute(&question).unwrap().values[0]);
    let question = || Question::new(&model, &x);

    let whole = answer(&IntegratedGradients::default(), question());
    assert!((whole.sum_axis(ndarray::Axis(1)) - array![5.0, 4.0].into_dyn()).iter().all(|d| d.abs() < 1e-12));
    let slice = question().at(("layer1", "dense2")).of(Qoi::channel(1));
    let influence = InternalInfluence { multiply: true, ..Default::default() };
    assert_eq!(answer(&influence, slice), matrix(&[[1.0, 1.0], [0.0, 2.0]]));
    let shares = answer(&Conductance { steps: 500, ..Default::default() }, question().at("layer1"));
    // The path begins at the kink of both relus, which costs up to a step.
    let gap = shares.sum_axis(ndarray::Axis(1)) - array![5.0, 4.0].into_dyn();
    assert!(gap.iter().all(|d| d.abs() < 5.0 / 500.0), "{gap}");
    says(&message(GradCam::default().attribute(&question())), &["grad-cam", "no layer with spatial extent"]);
}

#[test]
fn places_are_learned() {
    let model = trulens();
    let layers = model.layers();
    let shown: Vec<_> = layers.iter().map(|place| (place.name.as_str(), place.kind)).collect();
    assert_eq!(
        shown,
        [
            ("x", "input"),
            ("dense1", "tap"),
            ("layer1", "layer"),
            ("dense2", "layer"),
            ("layer2", "layer"),
            ("logits", "tap")
        ]
    );
    assert!(layers.iter().all(|place| place.leads_to_output));
    assert_eq!(layers[2].shape.as_ref().unwrap().to_string(), "[B, 2]");
    let before = model.places(&Cut::layer("layer1").before()).unwrap();
    assert_eq!((before[0].name.as_str(), before.len()), ("input 0 of layer1", 1));
    assert_eq!(model.places(&2.into()).unwrap(), model.places(&"layer1".into()).unwrap());
    assert_eq!(model.places(&Cut::output()).unwrap()[0].shape.as_ref().unwrap().to_string(), "[B, 1]");
}

#[test]
fn shapes_say_which_axis_is_the_batch() {
    let model = of(|x, taps| {
        let turned = taps.tap("turned", x.t()?)?;
        let _ = taps.tap("merged", x.flatten_all()?)?;
        let _ = taps.tap("constant", Tensor::ones(3, DType::F64, &Device::Cpu)?)?;
        let _ = taps.tap("side", (x * 2.0)?)?;
        Ok(vec![turned.t()?])
    })
    .unwrap();
    let shown = |name: &str| {
        let place = model.places(&name.into()).unwrap().remove(0);
        (place.shape.unwrap().to_string(), place.leads_to_output)
    };
    assert_eq!(shown("turned"), ("[2, B]".into(), true));
    assert_eq!(shown("merged"), ("[2B]".into(), false));
    assert_eq!(shown("constant"), ("[3]".into(), false));
    assert_eq!(shown("side"), ("[B, 2]".into(), false));
    let x = two();
    let constant = [Tensor::new(&[1.0, 2.0, 3.0], &Device::Cpu).unwrap().into()];
    let point = Point { inputs: &x, replace: Some((&"constant".into(), &constant)) };
    says(&message(model.forward(point, &Cut::output())), &["replacing the constant \"constant\""]);
}

#[test]
fn replaced_values_take_their_place() {
    let (model, x) = (trulens(), two());
    let cut = Cut::layer("layer1");
    let once = [rows(&[[1.0, 0.0], [0.0, 1.0]])];
    let point = Point { inputs: &x, replace: Some((&cut, &once)) };
    assert_eq!(values(&model.forward(point, &Cut::output()).unwrap()[0]), matrix(&[[3.0], [2.0]]));
    assert_eq!(
        gradient(&model, point, "layer1", Cut::output()).unwrap(),
        [matrix(&[[3.0, 2.0], [2.0, 2.0]])]
    );

    // Before a relu, so that its derivative shows.
    let before = Cut::layer("layer1").before();
    let twice = [rows(&[[1.0, -1.0], [-1.0, 1.0], [2.0, 2.0], [-3.0, -3.0]])];
    let point = Point { inputs: &x, replace: Some((&before, &twice)) };
    let expected = matrix(&[[3.0, 0.0], [0.0, 2.0], [3.0, 2.0], [0.0, 0.0]]);
    assert_eq!(gradient(&model, point, before.clone(), Cut::output()).unwrap(), [expected]);
    // What lies below has all the rows too, all of them once, then all again.
    let below = values(&model.forward(point, &"dense1".into()).unwrap()[0]);
    assert_eq!(below, matrix(&[[1.0, 1.0], [-1.0, 2.0], [1.0, 1.0], [-1.0, 2.0]]));

    // A whole input.
    let input = Cut::input();
    let other = [rows(&[[1.0, 0.0], [0.0, 1.0], [3.0, 3.0], [0.0, 0.0]])];
    let point = Point { inputs: &x, replace: Some((&input, &other)) };
    assert_eq!(
        values(&model.forward(point, &Cut::output()).unwrap()[0]),
        matrix(&[[3.0], [2.0], [6.0], [0.0]])
    );
}

#[test]
fn a_value_read_around_a_replaced_one_is_tiled() {
    let model = of(|x, taps| {
        let doubled = taps.tap("doubled", (x * 2.0)?)?;
        Ok(vec![taps.layer("both", [x, &doubled], |[x, y]| Tensor::cat(&[x, y], 1))?])
    })
    .unwrap();
    let (x, cut) = (two(), Cut::layer("doubled"));
    let put = [rows(&[[0.0, 0.0], [0.0, 0.0], [9.0, 9.0], [9.0, 9.0]])];
    let point = Point { inputs: &x, replace: Some((&cut, &put)) };
    let expected = [[2.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0], [2.0, 1.0, 9.0, 9.0], [1.0, 2.0, 9.0, 9.0]];
    assert_eq!(values(&model.forward(point, &Cut::output()).unwrap()[0]), matrix(&expected));
}

#[test]
fn several_cuts_get_total_derivatives() {
    // y = sum (3 x + x), through `triple` and past it.
    let model = of(|x, taps| {
        let triple = taps.tap("triple", (x * 3.0)?)?;
        let sum = taps.layer("sum", [&triple, x], |[a, b]| a + b)?;
        let side = taps.tap("side", (x * 5.0)?)?;
        Ok(vec![sum.sum_keepdim(1)?, side])
    })
    .unwrap();
    let x = two();
    let by = |from: Cut, to: Cut| gradient(&model, Point::at(&x), from, to).unwrap();
    let all = |number: f64| matrix(&[[number; 2]; 2]);
    let both = Cut::several([Cut::input(), "triple".into()]);
    assert_eq!(by(both, Cut::logits()), [all(4.0), all(1.0)]);
    // One reader of `x` alone.
    assert_eq!(by(Cut::layer("sum").before(), Cut::logits()), [all(1.0), all(1.0)]);
    // One that leads nowhere is zero beside one that leads on.
    assert_eq!(by(Cut::several(["side", "triple"]), Cut::logits()), [all(0.0), all(1.0)]);
    assert_eq!(by(Cut::input(), Cut::output()), [all(9.0)]);
    assert_eq!(by(Cut::several(["sum", "sum"]), "sum".into()), [all(1.0), all(1.0)]);
    let named = model.with_logits("side").unwrap();
    assert_eq!(gradient(&named, Point::at(&x), Cut::input(), Cut::logits()).unwrap(), [all(5.0)]);
}

#[test]
fn what_is_not_connected_is_an_error() {
    for model in [trulens(), trulens_of(Precision::F64, true)] {
        let x = two();
        let fails = |point, from: Cut, to: Cut| message(gradient(&model, point, from, to));
        says(
            &fails(Point::at(&x), "layer2".into(), "layer1".into()),
            &["layer \"layer2\" does not lead to layer \"layer1\""],
        );
        let (cut, put) = (Cut::layer("layer1"), two());
        let point = Point { inputs: &x, replace: Some((&cut, &put)) };
        says(&fails(point, Cut::input(), Cut::output()), &["the input does not lead to the output"]);
        let nothing = Cut::several(Vec::<Cut>::new());
        says(&fails(Point::at(&x), nothing, Cut::output()), &["does not lead to the output"]);
    }
}

#[test]
fn what_comes_out_carries_no_history() {
    let (model, x) = (trulens_of(Precision::F64, true), two());
    assert!(!model.forward(Point::at(&x), &Cut::output()).unwrap()[0].track_op());
    let answer = model.gradient(Point::at(&x), &"layer1".into(), &Cut::output(), &mut ones).unwrap();
    assert!(!answer.values[0].track_op() && !answer.gradients[0].track_op());
    // A variable given is a number like any other, and stays what it was.
    let variable = Var::from_tensor(&x[0]).unwrap();
    let given = [CandleTensor::from(variable.as_tensor().clone())];
    assert_eq!(
        gradient(&model, Point::at(&given), Cut::input(), Cut::output()).unwrap(),
        [matrix(&[[3.0, -1.0], [0.0, 2.0]])]
    );
}

#[test]
fn nothing_is_computed_behind_what_was_asked_for() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let runs = Arc::new(AtomicUsize::new(0));
    let (counted, x) = (runs.clone(), two());
    let model = of(move |x, taps| {
        let x = taps.tap("first", (x * 2.0)?)?;
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(vec![x])
    })
    .unwrap();
    let before = runs.load(Ordering::Relaxed);
    model.forward(Point::at(&x), &"first".into()).unwrap();
    gradient(&model, Point::at(&x), Cut::input(), "first").unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), before);
}

#[test]
fn a_gradient_is_checked_once_for_one_row_and_once_for_several() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = |runs: &Arc<AtomicUsize>| {
        let runs = runs.clone();
        of(move |x, taps| {
            runs.fetch_add(1, Ordering::Relaxed);
            let x = taps.tap("first", x.sin()?)?;
            Ok(vec![x.sqr()?])
        })
        .unwrap()
    };
    let model = counted(&runs);
    let runs_of = |model: &Native, x: &CandleTensor, from: &str| {
        let before = runs.load(Ordering::Relaxed);
        gradient(model, Point::at(std::slice::from_ref(x)), from, Cut::output()).unwrap();
        runs.load(Ordering::Relaxed) - before
    };
    let (one, three) = (rows(&[[2.0, 1.0]]), rows(&[[2.0, 1.0], [1.0, 2.0], [3.0, 1.0]]));
    for (x, from) in [(&one, "x"), (&three, "x"), (&one, "first"), (&three, "first")] {
        assert!(runs_of(&model, x, from) > 1);
        assert_eq!(runs_of(&model, x, from), 1);
    }
    assert_eq!(runs_of(&model, &two()[0], "x"), 1);
    assert_eq!(runs_of(&counted(&runs).without_check(), &one, "x"), 1);
}

#[test]
fn mistakes_in_the_function_are_named() {
    let twice = of(|x, taps| {
        let x = taps.tap("a", (x * 2.0)?)?;
        Ok(vec![taps.tap("a", x)?])
    });
    says(&message(twice), &["layer \"a\"", "two taps have this name"]);
    says(&message(of(|x, taps| Ok(vec![taps.tap("x", (x * 2.0)?)?]))), &["layer \"x\"", "two taps"]);
    says(&message(of(|_, _| Ok(vec![]))), &["the forward function gives no output"]);
    let single = of(|x, taps| Ok(vec![taps.tap("a", x.to_dtype(DType::F32)?)?]));
    says(&message(single), &["layer \"a\"", "F64", "F32"]);
    let by_rows = of(|x, taps| {
        let name = if x.dims()[0] == 1 { "one" } else { "more" };
        Ok(vec![taps.tap(name, (x * 2.0)?)?])
    });
    says(&message(by_rows), &["layer \"one\"", "depend on the number of rows"]);
}

#[test]
fn what_candle_refuses_bears_the_layers_name() {
    let wrong = || Tensor::ones((3, 3), DType::F64, &Device::Cpu).unwrap();
    let returned = of(move |x, taps| Ok(vec![taps.layer("fc", [x], |[x]| x.matmul(&wrong()))?]));
    let panicked = of(move |x, taps| Ok(vec![taps.layer("fc", [x], |[x]| Ok(x.matmul(&wrong()).unwrap()))?]));
    for result in [returned, panicked] {
        let text = message(result);
        says(&text, &["candle: on one row of zeros: layer \"fc\": ", "matmul"]);
        assert!(!text.contains('\n'), "{text}");
    }
    let between = of(move |x, taps| {
        let x = taps.tap("fc1", (x * 2.0)?)?;
        Ok(vec![x.matmul(&wrong())?])
    });
    says(&message(between), &["after layer \"fc1\": ", "matmul"]);
    says(&message(of(|_, _| panic!("out of luck"))), &["before the first layer: out of luck"]);
}

#[test]
fn a_tap_passed_only_sometimes_is_an_error_when_it_is_asked_for() {
    let model = of(|x, taps| {
        let y = match x.sum_all()?.to_scalar::<f64>()? > 5.0 {
            true => (x * 2.0)?,
            false => taps.tap("small", (x * 2.0)?)?,
        };
        Ok(vec![taps.tap("last", y)?])
    })
    .unwrap();
    let x = two();
    assert!(model.forward(Point::at(&x), &"last".into()).is_ok());
    says(&message(model.forward(Point::at(&x), &"small".into())), &["layer \"small\"", "did not pass it"]);
}

#[test]
fn bad_questions_say_what_was_expected_and_found() {
    let (model, x) = (trulens(), two());
    let forward = |inputs: &[CandleTensor], at: Cut| message(model.forward(Point::at(inputs), &at));
    says(&forward(&x, "layer9".into()), &["no layer \"layer9\"", "there are \"x\", \"dense1\""]);
    says(&forward(&x, "DENSE".into()), &["did you mean \"dense1\", \"dense2\""]);
    says(&forward(&x, 6.into()), &["no layer 6", "0 to 5"]);
    says(&forward(&[], "layer1".into()), &["1 tensors (x)", "[0]"]);
    let array = |dims: &[usize], kind| CandleTensor::from(Tensor::zeros(dims, kind, &Device::Cpu).unwrap());
    says(&forward(&[array(&[1, 3], DType::F64)], 2.into()), &["input \"x\"", "[B, 2]", "[1, 3]"]);
    says(&forward(&[array(&[0, 2], DType::F64)], 2.into()), &["input \"x\"", "[B, 2]", "[0, 2]"]);
    says(&forward(&[array(&[1, 2], DType::F32)], 2.into()), &["input \"x\"", "F64", "F32"]);
    says(&forward(&[array(&[1, 2], DType::I64)], 2.into()), &["input \"x\"", "F64", "I64"]);

    let replaced = |value: CandleTensor| {
        let (cut, put) = (Cut::layer("layer1"), [value]);
        message(model.forward(Point { inputs: &x, replace: Some((&cut, &put)) }, &Cut::output()))
    };
    says(&replaced(array(&[2, 3], DType::F64)), &["\"layer1\"", "[B, 2]", "[2, 3]"]);
    says(&replaced(array(&[3, 2], DType::F64)), &["\"layer1\"", "multiple of 2 rows", "[3, 2]"]);
    let point = Point { inputs: &x, replace: Some((&Cut::input(), &[])) };
    says(
        &message(model.forward(point, &Cut::output())),
        &["the values to put at the cut", "1 tensors", "[0]"],
    );

    let short = model.gradient(Point::at(&x), &Cut::input(), &Cut::output(), &mut |_| Ok(vec![]));
    says(&message(short), &["the quantity's derivative", "[[2, 1]]"]);
    let own = model.gradient(Point::at(&x), &Cut::input(), &Cut::output(), &mut |_| {
        Err(Error::Unsupported("of the quantity".into()))
    });
    says(&message(own), &["of the quantity"]);
    says(&message(trulens().with_logits("nowhere")), &["\"nowhere\""]);
    assert_eq!(trulens().with_row_bytes(7).row_bytes(), Some(7));
}
