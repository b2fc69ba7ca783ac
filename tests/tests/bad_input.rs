//! Bad input gives an error that says the place, what was expected and what was found; never a panic.

use std::ops::ControlFlow;

use attr_core::methods::{
    self, Conductance, GradCam, Gradient, IntegratedGradients, InternalInfluence, Occlusion, Sizes,
    SmoothGrad,
};
use attr_core::{
    Activation, Baseline, Conv, ConvTranspose, Cut, Doi, Graph, GraphModel, ModelWrapper, Op, Parameters,
    Pool, Progress, Qoi, Quadrature, Run,
};
use attr_tests::networks::{conv_one, multi_layer, two_inputs, two_outputs};
use attr_tests::reference::Reference;
use attr_tests::{Adapter, AnyMethod, Ask, Case, Outcome, on_every_adapter};
use ndarray::{ArrayD, arr1};

/// What is asked, and parts of the error it gives.
struct Mistake {
    name: &'static str,
    net: Graph,
    inputs: Vec<ArrayD<f64>>,
    ask: Ask,
    memory: u64,
    parts: &'static [&'static str],
}

impl Case for Mistake {
    fn name(&self) -> &str {
        self.name
    }
}

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Mistake) -> Outcome {
    let run = Run { memory: case.memory, ..Run::default() };
    match case.ask.answer(adapter, &adapter.model(&case.net)?, &case.inputs, run) {
        Ok(_) => Err("expected an error, found none".into()),
        Err(error) => {
            let message = error.to_string();
            match case.parts.iter().find(|part| !message.contains(**part)) {
                Some(part) => Err(format!("expected {part:?} in the error, found {message:?}").into()),
                None => Ok(()),
            }
        }
    }
}

#[test]
fn inputs() {
    on_every_adapter!(check, input_mistakes());
}

#[test]
fn quantities() {
    on_every_adapter!(check, quantity_mistakes());
}

#[test]
fn parameters() {
    on_every_adapter!(check, parameter_mistakes());
}

#[test]
fn slices() {
    on_every_adapter!(check, slice_mistakes());
}

/// Every method says the same about bad inputs.
fn input_mistakes() -> Vec<Mistake> {
    let image = ArrayD::zeros(vec![1, 1, 4, 4]);
    let with = |value: f64| {
        let mut image = image.clone();
        image[[0, 0, 2, 2]] = value;
        image
    };
    let each = |method: AnyMethod| {
        let of = |name, inputs: Vec<ArrayD<f64>>, parts| {
            mistake(name, conv_one(), inputs, Ask::by(method.clone()), parts)
        };
        vec![
            of(
                "NaN",
                vec![with(f64::NAN)],
                &["input \"x\"", "expected finite numbers", "found NaN or infinity"],
            ),
            of("infinity", vec![with(f64::INFINITY)], &["input \"x\"", "expected finite numbers"]),
            of("minus infinity", vec![with(f64::NEG_INFINITY)], &["input \"x\"", "expected finite numbers"]),
            of(
                "wrong size",
                vec![ArrayD::zeros(vec![1, 1, 4, 5])],
                &["\"x\"", "[B, 1, 4, 4]", "[1, 1, 4, 5]"],
            ),
            of("wrong rank", vec![ArrayD::zeros(vec![4, 4])], &["\"x\"", "[B, 1, 4, 4]", "[4, 4]"]),
            of("no rows", vec![ArrayD::zeros(vec![0, 1, 4, 4])], &["at least one row", "[0, 1, 4, 4]"]),
            of("no input", vec![], &["expected", "1 tensors (x)", "found [0]"]),
            of("an input too many", vec![image.clone(), image.clone()], &["1 tensors (x)", "found [2]"]),
        ]
    };
    let mut mistakes: Vec<_> = [
        Gradient {}.into(),
        IntegratedGradients::default().into(),
        SmoothGrad::default().into(),
        Conductance::default().into(),
        GradCam::default().into(),
        Occlusion { window: Sizes(vec![2]), ..Default::default() }.into(),
    ]
    .into_iter()
    .flat_map(each)
    .collect();
    let of_two = |name, inputs: Vec<ArrayD<f64>>, parts| {
        mistake(name, two_inputs(), inputs, Ask::by(Gradient {}), parts)
    };
    mistakes.push(of_two("one input of two", vec![row(&[1.0, 2.0])], &["2 tensors (x1, x2)", "[1]"]));
    mistakes.push(of_two(
        "different batches",
        vec![row(&[1.0, 2.0]), ArrayD::zeros(vec![2, 2])],
        &["input \"x2\"", "1 rows", "[2, 2]"],
    ));
    mistakes.push(of_two(
        "NaN in the second input",
        vec![row(&[1.0, 2.0]), row(&[1.0, f64::NAN])],
        &["input \"x2\"", "finite"],
    ));
    // The square root is finite at 0, its derivative is not.
    let at_zero = |method: AnyMethod, parts| {
        mistake("infinite derivative", root(), vec![row(&[0.0, 1.0])], Ask::by(method), parts)
    };
    mistakes.push(at_zero(Gradient {}.into(), &["the attribution of the input by gradient", "finite"]));
    mistakes.push(at_zero(
        InternalInfluence::default().into(),
        &["the attribution of the input by internal-influence", "finite"],
    ));
    mistakes
}

fn quantity_mistakes() -> Vec<Mistake> {
    let of = |name, quantity: Qoi, parts| {
        mistake(name, multi_layer(), three(), Ask::by(Gradient {}).of(quantity), parts)
    };
    let at_layer = |name, quantity: Qoi, parts| {
        let ask = Ask::by(Gradient {}).at((Cut::input(), "conv1")).of(quantity);
        mistake(name, conv_one(), vec![ArrayD::zeros(vec![1, 1, 4, 4])], ask, parts)
    };
    vec![
        of("class out of range", Qoi::Class(2), &["class 2 is out of range", "0 to 1"]),
        of("far out of range", Qoi::Class(usize::MAX), &["out of range", "0 to 1"]),
        of("first class out of range", Qoi::Comparative(7, 0), &["class 7", "0 to 1"]),
        of("second class out of range", Qoi::Comparative(0, 7), &["class 7", "0 to 1"]),
        of("one class of a row out of range", Qoi::ClassSeq(vec![9]), &["class 9", "0 to 1"]),
        of("fewer classes than rows", Qoi::ClassSeq(vec![]), &["classes", "found 0"]),
        of("channel out of range", Qoi::channel(2), &["channel 2", "0 to 1"]),
        of("neuron out of range", Qoi::Neuron(vec![2]), &["neuron [2]", "[1]"]),
        of("neuron of a wrong rank", Qoi::Neuron(vec![0, 0]), &["neuron [0, 0]", "[1]"]),
        of("output out of range", Qoi::Output(1, Box::new(Qoi::Class(0))), &["output 1", "0 to 0"]),
        of("too many weights", Qoi::WeightedSum(arr1(&[1.0; 3]).into_dyn()), &["weights", "[2]", "[3]"]),
        at_layer("a class of feature maps", Qoi::Class(0), &["the quantity", "[B, classes]", "[1, 2, 2, 2]"]),
        at_layer(
            "the predicted class of feature maps",
            Qoi::PredictedClass,
            &["the quantity", "[1, 2, 2, 2]"],
        ),
    ]
}

fn parameter_mistakes() -> Vec<Mistake> {
    let of = |name, method: AnyMethod, parts| mistake(name, multi_layer(), three(), Ask::by(method), parts);
    let integrated = |change: fn(&mut IntegratedGradients)| -> AnyMethod {
        let mut method = IntegratedGradients::default();
        change(&mut method);
        method.into()
    };
    let smooth = |change: fn(&mut SmoothGrad)| -> AnyMethod {
        let mut method = SmoothGrad::default();
        change(&mut method);
        method.into()
    };
    let occlusion = |window: &[usize], stride: &[usize]| -> AnyMethod {
        Occlusion { window: Sizes(window.to_vec()), stride: Sizes(stride.to_vec()), ..Default::default() }
            .into()
    };
    let noisy = |samples, size| -> AnyMethod {
        let noise = attr_core::Noise::Uniform;
        let distribution = Doi::Noisy { noise, size, relative: true, samples, seed: 0 };
        InternalInfluence { distribution, ..Default::default() }.into()
    };
    vec![
        of("zero steps", integrated(|m| m.steps = 0), &["steps", "at least 1", "found 0"]),
        of("far too many steps", integrated(|m| m.steps = usize::MAX), &["steps", "at most"]),
        of(
            "one step of a trapezoid",
            integrated(|m| (m.steps, m.quadrature) = (1, Quadrature::Trapezoid)),
            &["steps", "at least 2", "found 1"],
        ),
        of(
            "zero steps of conductance",
            Conductance { steps: 0, ..Default::default() }.into(),
            &["steps", "at least 1", "found 0"],
        ),
        of(
            "far too many steps of conductance",
            Conductance { steps: usize::MAX, ..Default::default() }.into(),
            &["steps"],
        ),
        of("zero samples", smooth(|m| m.samples = 0), &["samples", "1 to", "found 0"]),
        of("far too many samples", smooth(|m| m.samples = usize::MAX), &["samples"]),
        of("negative sigma", smooth(|m| m.sigma = -1.0), &["sigma", "at least 0", "found -1"]),
        of("sigma is not a number", smooth(|m| m.sigma = f64::NAN), &["sigma", "found NaN"]),
        of("zero samples of a distribution", noisy(0, 0.1), &["samples", "found 0"]),
        of("infinite noise", noisy(3, f64::INFINITY), &["sigma", "found inf"]),
        of(
            "baseline of a wrong shape",
            integrated(|m| m.baseline = Baseline::Arrays(vec![arr1(&[1.0, 2.0]).into_dyn()])),
            &["the baseline", "[1, 3]", "[2]"],
        ),
        of(
            "two baselines for one input",
            integrated(|m| {
                m.baseline = Baseline::Arrays(vec![arr1(&[0.0; 3]).into_dyn(), arr1(&[0.0; 3]).into_dyn()])
            }),
            &["the baseline", "1 arrays", "[2]"],
        ),
        of(
            "baseline with NaN",
            integrated(|m| m.baseline = Baseline::Arrays(vec![arr1(&[0.0, f64::NAN, 0.0]).into_dyn()])),
            &["the baseline", "finite"],
        ),
        of(
            "baseline that is not a number",
            integrated(|m| m.baseline = Baseline::Constant(f64::NAN)),
            &["baseline", "finite"],
        ),
        of("negative blur", integrated(|m| m.baseline = Baseline::Blurred(-1.0)), &["baseline", "found -1"]),
        of("a window of nothing", occlusion(&[0], &[1]), &["window", "at least 1", "found 0"]),
        of("a stride of nothing", occlusion(&[1], &[0]), &["stride", "at least 1", "found 0"]),
        of("a window of too many axes", occlusion(&[1, 1, 1], &[1]), &["window", "found 1x1x1"]),
        Mistake {
            memory: 16,
            ..of("too little memory", Gradient {}.into(), &["memory budget is too small", "the budget is 16"])
        },
        Mistake {
            memory: 16,
            ..of("too little memory for a path", IntegratedGradients::default().into(), &["the budget is 16"])
        },
    ]
}

fn slice_mistakes() -> Vec<Mistake> {
    let of = |name, ask: Ask, parts| mistake(name, multi_layer(), three(), ask, parts);
    let gradient = || Ask::by(Gradient {});
    let image = || vec![ArrayD::zeros(vec![1, 1, 4, 4])];
    vec![
        of("unknown lower layer", gradient().at("linear9"), &["no layer \"linear9\"", "\"linear0\""]),
        of("unknown upper layer", gradient().at((Cut::input(), "linear9")), &["no layer \"linear9\""]),
        of(
            "unknown layer of a path",
            Ask::by(IntegratedGradients::default()).at("linear9"),
            &["\"linear9\""],
        ),
        of("unknown layer of grad-cam", Ask::by(GradCam::default()).at("linear9"), &["\"linear9\""]),
        of("unknown layer of an occlusion", Ask::by(Occlusion::default()).at("linear9"), &["\"linear9\""]),
        of(
            "unknown layer to put points in",
            {
                let doi_cut = Some(Cut::layer("linear9"));
                Ask::by(InternalInfluence { doi_cut, ..Default::default() })
            },
            &["\"linear9\""],
        ),
        of(
            "upside down",
            gradient().at(("linear2", "linear1")),
            &["\"linear2\"", "does not lead to", "\"linear1\""],
        ),
        mistake(
            "beside the output",
            two_outputs(),
            vec![ArrayD::ones(vec![1, 5])],
            gradient().at("z3"),
            &["\"z3\"", "does not lead to the logits"],
        ),
        of("grad-cam of a network without maps", Ask::by(GradCam::default()), &["grad-cam", "spatial"]),
        mistake(
            "a channel axis beyond the shape",
            conv_one(),
            image(),
            Ask::by(GradCam::default()).at(Cut::layer("conv1").channel_axis(4)),
            &["\"conv1\"", "[1, 2, 2, 2]"],
        ),
    ]
}

/// A stride or window that reaches far beyond the edge is no mistake: what it covers is what there is.
#[test]
fn strides_beyond_the_edge() {
    struct Far(Occlusion, [f64; 3]);
    impl Case for Far {
        fn name(&self) -> &str {
            "a stride beyond the edge"
        }
    }
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Far) -> Outcome {
        let ask = Ask::by(case.0.clone());
        let answer = ask.answer(adapter, &adapter.model(&multi_layer())?, &three(), Run::default())?;
        Ok(adapter.close(&answer.values[0], &row(&case.1), attr_tests::Level::Layer)?)
    }
    let far = |window, stride, expected| {
        let (window, stride) = (Sizes(vec![window]), Sizes(vec![stride]));
        Far(Occlusion { window, stride, ..Default::default() }, expected)
    };
    on_every_adapter!(
        check,
        [
            far(1, 3, [80.0, 0.0, 0.0]),
            far(1, 4, [80.0, 0.0, 0.0]),
            far(2, 100, [280.0, 280.0, 0.0]),
            far(2, usize::MAX, [280.0, 280.0, 0.0]),
            far(usize::MAX, 1, [390.0, 390.0, 390.0]),
        ]
    );
}

/// The progress callback sees the work grow, and stops it.
#[test]
fn cancelled() {
    struct Stop;
    impl Case for Stop {
        fn name(&self) -> &str {
            "stopped after the second chunk"
        }
    }
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, _: &Stop) -> Outcome {
        let seen = std::cell::RefCell::new(vec![]);
        let report = |progress: Progress| {
            seen.borrow_mut().push((progress.done, progress.total));
            if seen.borrow().len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let run = Run { rows: 4, progress: Some(&report), ..Run::default() };
        let ask = Ask::by(IntegratedGradients { steps: 10, ..Default::default() });
        match ask.answer(adapter, &adapter.model(&multi_layer())?, &three(), run) {
            Err(attr_core::Error::Cancelled { done: 6, total: 10 }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err("expected it to stop, found it done".into()),
        }
        let seen = seen.into_inner();
        if seen != [(3, 10), (6, 10)] {
            return Err(format!("expected reports at 3 and 6 of 10, found {seen:?}").into());
        }
        Ok(())
    }
    on_every_adapter!(check, [Stop]);
}

/// Methods and their parameters by name.
#[test]
fn names() {
    let model = GraphModel::new(multi_layer(), Reference).unwrap();
    let error = methods::find(&model, "integrated").unwrap_err().to_string();
    assert!(error.contains("integrated-gradients") && error.contains("\"integrated\""), "{error}");
    for entry in methods::catalogue() {
        let mut method = (entry.build)();
        for parameter in method.parameters() {
            // Every parameter can be set to what it is.
            method
                .set(parameter.name, &parameter.value)
                .unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        }
        let error = method.set("no such thing", "1").unwrap_err().to_string();
        assert!(error.contains("no such thing"), "{}: {error}", entry.name);
        assert!(!entry.summary.is_empty() && !entry.citation.is_empty());
    }
    let mut method = IntegratedGradients::default();
    for (name, value, part) in [
        ("steps", "many", "steps"),
        ("steps", "-1", "steps"),
        ("quadrature", "simpson", "gauss-legendre"),
        ("multiply", "yes", "multiply"),
        ("baseline", "blur", "blur SIGMA"),
        ("baseline", "NaN", "baseline"),
    ] {
        let error = method.set(name, value).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(value), "{name} = {value}: {error}");
    }
    assert_eq!(IntegratedGradients::default().parameters(), method.parameters(), "a mistake changes nothing");
}

/// A network of layers that are there, but not such as fit together.
#[test]
fn graphs() {
    let mut graph = Graph::default();
    assert!(GraphModel::new(graph.clone(), Reference).unwrap_err().to_string().contains("no output"));
    let x = graph.input("x", &[4]).unwrap();
    let error = graph.add("softmax", attr_core::Op::Softmax { axis: 2 }, &[x], &[]).unwrap_err().to_string();
    assert!(error.contains("\"softmax\"") && error.contains("[B, 4]"), "{error}");
    let line = graph.input("line", &[1, 1]).unwrap();
    let (kernel, stride, dilation) = (vec![2], vec![1], vec![2]);
    let pool = Pool { kernel, stride, padding: vec![(1, 1)], dilation, ceil: false };
    let error = graph.add("pool", attr_core::Op::MaxPool(pool), &[line], &[]).unwrap_err().to_string();
    assert!(error.contains("\"pool\"") && error.contains("padding"), "{error}");
    let map = graph.input("map", &[4, 3, 3]).unwrap();
    let weights = [&[4, 2, 3, 3][..], &[4, 2, 3], &[3, 2, 3, 3], &[4, usize::MAX, 0, 3], &[6]];
    let [weight, line, other, none, bias] =
        weights.map(|dims| graph.param(attr_core::Param::OnDevice(dims.into())));
    let plain = Conv { groups: 2, ..Conv::square(2, 1) };
    let far = |padding: usize| Conv { padding: vec![(padding, 0); 2], ..plain.clone() };
    for (conv, output_padding, params, part) in [
        (plain.clone(), vec![0; 2], &[line][..], "weight [4, 2, 3]: expected attributes for 1 spatial axes"),
        (plain.clone(), vec![0], &[weight], "attributes for 2 spatial axes, found [2, 2, 2, 1]"),
        (plain.clone(), vec![0, 2], &[weight], "output padding below stride 2 or dilation 1, found 2"),
        (far(7), vec![0; 2], &[weight], "padding (7, 0) leaves nothing of 7 entries"),
        (far(usize::MAX), vec![0; 2], &[weight], "leaves nothing"),
        (Conv { stride: vec![usize::MAX; 2], ..plain.clone() }, vec![0; 2], &[weight], "too large"),
        (Conv { dilation: vec![0; 2], ..plain.clone() }, vec![0; 2], &[weight], "at least 1"),
        (
            Conv { groups: 3, ..plain.clone() },
            vec![0; 2],
            &[weight],
            "groups that divide 4 channels, found 3",
        ),
        (Conv { groups: 0, ..plain.clone() }, vec![0; 2], &[weight], "found 0"),
        (plain.clone(), vec![0; 2], &[other], "expected 4 input channels, found 3"),
        (plain.clone(), vec![0; 2], &[none], "too many channels"),
        (Conv { groups: 1, ..plain.clone() }, vec![0; 2], &[weight, bias], "bias: expected [2], found [6]"),
    ] {
        let op = Op::ConvTranspose(ConvTranspose { conv, output_padding });
        let error = graph.add("up", op, &[map], params).unwrap_err().to_string();
        assert!(error.contains("\"up\": transposed convolution: ") && error.contains(part), "{error}");
    }
    let error = graph.add("x", attr_core::Op::Identity, &[x], &[]).unwrap_err().to_string();
    assert!(error.contains("\"x\"") && error.contains("name"), "{error}");
    let error = graph.add("late", attr_core::Op::Identity, &[7], &[]).unwrap_err().to_string();
    assert!(error.contains("\"late\"") && error.contains('7'), "{error}");
}

fn mistake(
    name: &'static str,
    net: Graph,
    inputs: Vec<ArrayD<f64>>,
    ask: Ask,
    parts: &'static [&'static str],
) -> Mistake {
    Mistake { name, net, inputs, ask, memory: Run::default().memory, parts }
}

fn root() -> Graph {
    let mut graph = Graph::default();
    let x = graph.input("x", &[2]).expect("BUG: a shape");
    let root = graph.add("root", Op::Activation(Activation::Sqrt), &[x], &[]).expect("BUG: a layer");
    graph.set_outputs(&[root]).expect("BUG: an output");
    graph
}

fn three() -> Vec<ArrayD<f64>> {
    vec![row(&[20.0, 50.0, 30.0])]
}

fn row(numbers: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(vec![1, numbers.len()], numbers.to_vec()).unwrap()
}
