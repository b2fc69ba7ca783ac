//! Every method on networks written out by hand, with the values that papers and peers' tests give.

use attr_core::methods::{
    Conductance, GradCam, Gradient, InputTimesGradient, IntegratedGradients, InternalInfluence, Occlusion,
    Sizes, SmoothGrad, Statistic, Upsampling,
};
use attr_core::noise::{Noise, draw};
use attr_core::{Baseline, Cut, Doi, Graph, ModelWrapper, Qoi, Quadrature, Run};
use attr_tests::any_method::Ask;
use attr_tests::networks::{
    anchors, basic_model2, basic_model2_two_inputs, conv_one, conv_one_max_pool, conv_one_two_inputs,
    multi_layer, squares, trulens, two_inputs,
};
use attr_tests::{Adapter, Case, Level, Outcome, on_every_adapter};
use ndarray::{Array, ArrayD, arr1, arr2};

struct Literal {
    name: &'static str,
    net: Graph,
    inputs: Vec<ArrayD<f64>>,
    ask: Ask,
    expected: Vec<ArrayD<f64>>,
}

impl Case for Literal {
    fn name(&self) -> &str {
        self.name
    }
}

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Literal) -> Outcome {
    let answer = case.ask.answer(adapter, &adapter.model(&case.net)?, &case.inputs, Run::default())?;
    Ok(adapter.all_close(&answer.values, &case.expected, Level::Layer)?)
}

#[test]
fn gradients() {
    on_every_adapter!(check, gradient_cases());
}

#[test]
fn integrated_gradients() {
    on_every_adapter!(check, integrated_gradient_cases());
}

#[test]
fn internal_influences() {
    on_every_adapter!(check, internal_influence_cases());
}

#[test]
fn conductances() {
    on_every_adapter!(check, conductance_cases());
}

#[test]
fn grad_cams() {
    on_every_adapter!(check, grad_cam_cases());
}

#[test]
fn occlusions() {
    on_every_adapter!(check, occlusion_cases());
}

#[test]
fn smooth_grads() {
    on_every_adapter!(check, smooth_grad_cases());
}

const BASIC: [[f64; 2]; 2] = [[-10.0, -5.0], [3.0, 1.0]];

fn gradient_cases() -> Vec<Literal> {
    let all_outputs = || Qoi::WeightedSum(arr1(&[1.0; 4]).into_dyn());
    let pair = || vec![row(&[-10.0, -5.0]), row(&[3.0, 1.0])];
    let two = || rows(&[[2.0, 1.0], [1.0, 2.0]]);
    let hundred = || vec![row(&[0.0, 100.0, 0.0])];
    vec![
        literal("DeepExplain, gradient", basic_model2(), rows(&BASIC), Ask::by(Gradient {}))
            .gives(rows(&[[0.0, 0.0], [1.0, -1.0]])),
        literal("DeepExplain, grad * input", basic_model2(), rows(&BASIC), Ask::by(InputTimesGradient {}))
            .gives(rows(&[[0.0, 0.0], [3.0, -1.0]])),
        literal(
            "DeepExplain, gradient by two inputs",
            two_inputs(),
            pair(),
            Ask::by(Gradient {}).of(all_outputs()),
        )
        .gives(vec![row(&[0.0, 0.0]), row(&[2.0, 2.0])]),
        literal(
            "DeepExplain, grad * input of two inputs",
            two_inputs(),
            pair(),
            Ask::by(InputTimesGradient {}).of(all_outputs()),
        )
        .gives(vec![row(&[0.0, 0.0]), row(&[6.0, 2.0])]),
        literal("TruLens, gradient", trulens(), two(), Ask::by(Gradient {}))
            .gives(rows(&[[3.0, -1.0], [0.0, 2.0]])),
        literal("TruLens, gradient by a layer", trulens(), two(), Ask::by(Gradient {}).at("layer1"))
            .gives(rows(&[[3.0, 2.0], [2.0, 2.0]])),
        literal("TruLens, behind a relu", anchors(), vec![row(&[1.0, 1.0])], Ask::by(Gradient {}).at("z2"))
            .gives(vec![row(&[1.0, 1.0])]),
        literal(
            "TruLens, before a relu",
            anchors(),
            vec![row(&[1.0, 1.0])],
            Ask::by(Gradient {}).at(Cut::layer("z2").before()),
        )
        .gives(vec![row(&[1.0, 0.0])]),
        literal(
            "Captum, layer activation times gradient",
            multi_layer(),
            hundred(),
            Ask::by(InputTimesGradient {}).at("linear1"),
        )
        .gives(vec![row(&[90.0, 101.0, 101.0, 101.0])]),
        literal(
            "Captum, neuron gradient",
            multi_layer(),
            hundred(),
            Ask::by(Gradient {}).at((Cut::input(), "relu")).of(Qoi::Neuron(vec![0])),
        )
        .gives(vec![row(&[1.0, 1.0, 1.0])]),
    ]
}

/// `relu(relu(3 t - 1) - relu(t))` has its kink at the middle of the path, so that each rule's value can be
/// counted: the points above the middle, by their weights.
fn integrated_gradient_cases() -> Vec<Literal> {
    let on_path = |name, quadrature, steps, above: f64| {
        let method = IntegratedGradients { quadrature, steps, ..Default::default() };
        literal(name, basic_model2(), rows(&BASIC), Ask::by(method))
            .gives(rows(&[[0.0, 0.0], [3.0 * above, -above]]))
    };
    let from_one = |steps| {
        let baseline = Baseline::Arrays(vec![row(&[1.0, 0.0])]);
        Ask::by(IntegratedGradients { baseline, steps, quadrature: Quadrature::Right, multiply: true })
    };
    let gauss = IntegratedGradients::default;
    let all_outputs = || Qoi::WeightedSum(arr1(&[1.0; 4]).into_dyn());
    vec![
        on_path("DeepExplain, 100 steps, right", Quadrature::Right, 100, 0.5),
        on_path("DeepExplain, 500 steps, right", Quadrature::Right, 500, 0.5),
        on_path("Gauss-Legendre, 50 points", Quadrature::GaussLegendre, 50, 0.5),
        on_path("midpoint, 100 points", Quadrature::Midpoint, 100, 0.5),
        on_path("left, 100 points", Quadrature::Left, 100, 49.0 / 100.0),
        on_path("trapezoid, 101 points", Quadrature::Trapezoid, 101, 49.5 / 100.0),
        on_path("closed mean, 101 points", Quadrature::ClosedMean, 101, 50.0 / 101.0),
        on_path("Captum's trapezoid, 100 points", Quadrature::CaptumTrapezoid, 100, 49.5 / 100.0),
        literal("DeepExplain, a baseline", basic_model2(), rows(&[[2.0, 0.0], [3.0, 0.0]]), from_one(100))
            .gives(rows(&[[1.0, 0.0], [2.0, 0.0]])),
        literal(
            "without the way from the baseline",
            basic_model2(),
            rows(&BASIC),
            Ask::by(IntegratedGradients { multiply: false, ..gauss() }),
        )
        .gives(rows(&[[0.0, 0.0], [0.5, -0.5]])),
        literal(
            "Captum, BasicModel2 of two inputs",
            basic_model2_two_inputs(),
            vec![row(&[3.0]), row(&[1.0])],
            Ask::by(gauss()),
        )
        .gives(vec![row(&[1.5]), row(&[-0.5])]),
        literal(
            "DeepExplain, two inputs",
            two_inputs(),
            vec![row(&[-10.0, -5.0]), row(&[3.0, 1.0])],
            Ask::by(gauss()).of(all_outputs()),
        )
        .gives(vec![row(&[0.0, 0.0]), row(&[6.0, 2.0])]),
        literal("the baseline is the input", basic_model2(), rows(&[[3.0, 1.0]]), {
            Ask::by(IntegratedGradients { baseline: Baseline::Arrays(rows(&[[3.0, 1.0]])), ..gauss() })
        })
        .gives(rows(&[[0.0, 0.0]])),
    ]
}

fn internal_influence_cases() -> Vec<Literal> {
    // Midpoints keep off the kink, so that nine of ten points lie above it.
    let along_input = |baseline| InternalInfluence {
        distribution: Doi::Linear { baseline, resolution: 100, quadrature: Quadrature::Midpoint },
        multiply: false,
        doi_cut: Some(Cut::input()),
    };
    let from_zero = |layer: &str| Ask::by(along_input(Baseline::Zeros)).at(layer);
    let hundred = || vec![row(&[0.0, 100.0, 0.0])];
    let two = || rows(&[[2.0, 1.0], [1.0, 2.0]]);
    vec![
        literal("Captum, linear0", multi_layer(), hundred(), from_zero("linear0"))
            .gives(vec![row(&[3.9, 3.9, 3.9])]),
        literal("Captum, linear1", multi_layer(), hundred(), from_zero("linear1"))
            .gives(vec![row(&[0.9, 1.0, 1.0, 1.0])]),
        literal(
            "Captum, the input of the relu",
            multi_layer(),
            hundred(),
            Ask::by(along_input(Baseline::Zeros)).at(Cut::layer("relu").before()),
        )
        .gives(vec![row(&[0.9, 1.0, 1.0, 1.0])]),
        literal("Captum, linear2", multi_layer(), hundred(), from_zero("linear2"))
            .gives(vec![row(&[1.0, 0.0])]),
        literal("Captum, relu", multi_layer(), vec![row(&[3.0, 4.0, 0.0])], from_zero("relu"))
            .gives(vec![row(&[1.0; 4])]),
        literal(
            "Captum, a baseline",
            multi_layer(),
            vec![row(&[0.0, 80.0, 0.0])],
            Ask::by(along_input(Baseline::Arrays(vec![row(&[0.0, -20.0, 0.0])]))).at("linear1"),
        )
        // Captum says 0.8, within 0.01; 1 - 0.19 is what the integral is.
        .gives(vec![row(&[0.7, 0.81, 0.81, 0.81])]),
        literal("TruLens, at a point", trulens(), two(), Ask::by(InternalInfluence::default()).at("layer1"))
            .gives(rows(&[[3.0, 2.0], [2.0, 2.0]])),
        literal(
            "TruLens, a linear slice",
            trulens(),
            two(),
            Ask::by(InternalInfluence { multiply: true, ..Default::default() })
                .at(("layer1", "dense2"))
                .of(Qoi::channel(1)),
        )
        // layer1 is (1, 1) and (0, 2); dense2's second unit has weights 1, 1.
        .gives(rows(&[[1.0, 1.0], [0.0, 2.0]])),
    ]
}

fn conductance_cases() -> Vec<Literal> {
    let hundred = || vec![row(&[0.0, 100.0, 0.0])];
    // The kink at a tenth of the path is in the middle of a step, so that the trapezoid gives it exactly.
    let steps = |steps| Conductance { steps, ..Default::default() };
    vec![
        literal("Captum, relu", multi_layer(), hundred(), Ask::by(steps(45)).at("relu"))
            .gives(vec![row(&[90.0, 100.0, 100.0, 100.0])]),
        literal("Captum, linear2", multi_layer(), hundred(), Ask::by(steps(45)).at("linear2"))
            .gives(vec![row(&[390.0, 0.0])]),
        literal("Captum, linear1", multi_layer(), hundred(), Ask::by(steps(45)).at("linear1"))
            .gives(vec![row(&[90.0, 100.0, 100.0, 100.0])]),
        literal("Captum, linear0", multi_layer(), hundred(), Ask::by(steps(45)).at("linear0"))
            .gives(vec![row(&[0.0, 390.0, 0.0])]),
        literal("Captum, the input", multi_layer(), hundred(), Ask::by(steps(45)))
            .gives(vec![row(&[0.0, 390.0, 0.0])]),
    ]
}

/// The derivative of a sum of squares is twice the point, so that noise `n` gives `2 (x + n)`.
fn smooth_grad_cases() -> Vec<Literal> {
    const SAMPLES: usize = 5;
    let x = row(&[1.0, -2.0, 4.0]);
    // The range of the numbers, 6, times sigma is the noise's size.
    let of = |name, sigma, relative, statistic, multiply| {
        let method = SmoothGrad { samples: SAMPLES, sigma, relative, statistic, multiply, seed: 9 };
        literal(name, squares(), vec![x.clone()], Ask::by(method))
    };
    let gradients = |size: f64| -> Vec<ArrayD<f64>> {
        let noise = (0..SAMPLES).map(|sample| draw(Noise::Normal, 9, sample, 0, &[3]));
        noise.map(|noise| 2.0 * (&x + size * noise)).collect()
    };
    let mean_of = |all: Vec<ArrayD<f64>>| all.into_iter().reduce(|a, b| a + b).unwrap() / SAMPLES as f64;
    let mean = |size| mean_of(gradients(size));
    let square = |size| mean_of(gradients(size).into_iter().map(|g| &g * &g).collect());
    let variance = |size| {
        let middle = mean(size);
        mean_of(gradients(size).into_iter().map(|g| (&g - &middle).mapv(|d| d * d)).collect())
    };
    vec![
        of("smoothgrad", 0.5, false, Statistic::Mean, false).gives(vec![mean(0.5)]),
        of("smoothgrad, a share of the range", 0.1, true, Statistic::Mean, false).gives(vec![mean(0.6)]),
        of("smoothgrad times input", 0.5, false, Statistic::Mean, true).gives(vec![mean(0.5) * &x]),
        of("smoothgrad squared", 0.5, false, Statistic::Square, false).gives(vec![square(0.5)]),
        of("vargrad", 0.5, false, Statistic::Variance, false).gives(vec![variance(0.5)]),
        of("no noise", 0.0, true, Statistic::Mean, false).gives(vec![2.0 * &x]),
        of("the variance without noise", 0.0, true, Statistic::Variance, false).gives(vec![0.0 * &x]),
    ]
}

fn grad_cam_cases() -> Vec<Literal> {
    let captum = |cut: Cut| Ask::by(GradCam::captum()).at(cut);
    let kept = GradCam { upsampling: Upsampling::None, ..Default::default() };
    let mut dented = image();
    dented[[0, 0, 1, 1]] = -4.0;
    let scaled = &dented * 0.5625;
    let map = |numbers: [[f64; 2]; 2]| vec![arr2(&numbers).into_shape_with_order(vec![1, 1, 2, 2]).unwrap()];
    vec![
        literal("Captum, conv1", conv_one(), vec![image()], captum("conv1".into()))
            .gives(map([[11.25, 13.5], [20.25, 22.5]])),
        literal("Captum, relu1", conv_one(), vec![image()], captum("relu1".into()))
            .gives(map([[0.0, 4.0], [28.0, 32.5]])),
        literal("Captum, a brighter image", conv_one(), vec![image() + 1.0], captum("conv1".into()))
            .gives(map([[14.5, 19.0], [32.5, 37.0]])),
        literal(
            "Captum, the input of conv1",
            conv_one(),
            vec![dented.clone()],
            captum(Cut::layer("conv1").before()),
        )
        .gives(vec![scaled.clone()]),
        literal(
            "Captum, the input of conv1, cut off below",
            conv_one(),
            vec![dented],
            Ask::by(kept).at(Cut::layer("conv1").before()),
        )
        .gives(vec![scaled.mapv(|x| x.max(0.0))]),
        literal(
            "Captum, a layer without spatial axes",
            multi_layer(),
            vec![arr2(&[[0.0, 100.0, 0.0]]).into_dyn()],
            captum("linear0".into()).of(Qoi::Class(0)),
        )
        .gives(vec![arr2(&[[400.0]]).into_dyn()]),
        literal("the last layer with spatial extent", conv_one(), vec![image()], Ask::by(GradCam::captum()))
            .gives(map([[0.0, 4.0], [28.0, 32.5]])),
        // Doubled with half-pixel centres, a row (a, b) becomes (a, 3a/4 + b/4, a/4 + 3b/4, b).
        literal("at the input's size", conv_one(), vec![image()], Ask::by(GradCam::default()))
            .gives(vec![doubled([[0.0, 4.0], [28.0, 32.5]])]),
        // Each window of the max pooling ends at its own pixel, which is the largest, so that nothing changes.
        literal("behind a max pooling", conv_one_max_pool(), vec![image()], captum("pool1".into()))
            .gives(map([[0.0, 4.0], [28.0, 32.5]])),
    ]
}

fn doubled(map: [[f64; 2]; 2]) -> ArrayD<f64> {
    let share = [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]];
    Array::from_shape_fn((1, 1, 4, 4), |(_, _, i, j)| {
        (0..4).map(|k| share[i][k / 2] * share[j][k % 2] * map[k / 2][k % 2]).sum()
    })
    .into_dyn()
}

fn occlusion_cases() -> Vec<Literal> {
    let window = |window: &[usize], stride: &[usize]| Occlusion {
        window: Sizes(window.to_vec()),
        stride: Sizes(stride.to_vec()),
        ..Default::default()
    };
    let three = || vec![row(&[20.0, 50.0, 30.0])];
    let ones = || Array::ones((1, 1, 4, 4)).into_dyn();
    let filled = |value: f64| vec![ones() * value];
    let four = |rows: [[f64; 4]; 4]| vec![arr2(&rows).into_shape_with_order(vec![1, 1, 4, 4]).unwrap()];
    let of = |input: &str, method: Occlusion| Ask::by(method).at(input);
    let bright = || vec![image(), ones()];
    vec![
        literal("DeepExplain", basic_model2(), rows(&BASIC), Ask::by(window(&[1], &[1])))
            .gives(rows(&[[0.0, 0.0], [1.0, -1.0]])),
        literal(
            "DeepExplain, a window of two, shared",
            basic_model2(),
            rows(&BASIC),
            Ask::by(Occlusion { share: true, ..window(&[2], &[1]) }),
        )
        .gives(rows(&[[0.0, 0.0], [0.5, 0.5]])),
        literal("Captum", multi_layer(), three(), Ask::by(window(&[1], &[1])))
            .gives(vec![row(&[80.0, 200.0, 120.0])]),
        literal(
            "Captum, a batch",
            multi_layer(),
            vec![arr2(&[[2.0, 10.0, 3.0], [20.0, 50.0, 30.0]]).into_dyn()],
            Ask::by(window(&[1], &[1])),
        )
        .gives(vec![arr2(&[[8.0, 35.0, 12.0], [80.0, 200.0, 120.0]]).into_dyn()]),
        literal(
            "Captum, overlapping windows and a baseline",
            multi_layer(),
            three(),
            Ask::by(Occlusion { baseline: Baseline::Constant(10.0), ..window(&[2], &[1]) }),
        )
        .gives(vec![row(&[200.0, 220.0, 240.0])]),
        literal("Captum, a last window cut off", multi_layer(), three(), Ask::by(window(&[2], &[2])))
            .gives(vec![row(&[280.0, 280.0, 120.0])]),
        literal("Captum, the whole image", conv_one_two_inputs(), bright(), of("x", window(&[4], &[4])))
            .gives(filled(67.0)),
        literal(
            "Captum, the whole other image",
            conv_one_two_inputs(),
            bright(),
            of("x2", window(&[4], &[4])),
        )
        .gives(filled(13.0)),
        literal(
            "Captum, windows by axis",
            conv_one_two_inputs(),
            bright(),
            of("x", window(&[2, 3], &[2, 1])),
        )
        .gives(four([[17.0; 4], [17.0; 4], [64.0, 65.5, 65.5, 67.0], [64.0, 65.5, 65.5, 67.0]])),
        literal("Captum, flat windows", conv_one_two_inputs(), bright(), of("x2", window(&[1, 2], &[1, 2])))
            .gives(four([[3.0; 4], [3.0; 4], [3.0; 4], [0.0; 4]])),
    ]
}

fn literal(name: &'static str, net: Graph, inputs: Vec<ArrayD<f64>>, ask: Ask) -> Literal {
    Literal { name, net, inputs, ask, expected: vec![] }
}

impl Literal {
    fn gives(self, expected: Vec<ArrayD<f64>>) -> Self {
        Literal { expected, ..self }
    }
}

/// The numbers 0 to 15 as a 4 x 4 image.
fn image() -> ArrayD<f64> {
    Array::from_iter((0..16).map(f64::from)).into_shape_with_order(vec![1, 1, 4, 4]).unwrap()
}

fn rows<const N: usize>(rows: &[[f64; N]]) -> Vec<ArrayD<f64>> {
    vec![arr2(rows).into_dyn()]
}

fn row(numbers: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(vec![1, numbers.len()], numbers.to_vec()).unwrap()
}
