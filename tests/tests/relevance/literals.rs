//! The values that papers and peers' tests give.

use attr_core::{Cut, Graph, ModelWrapper, Op, Pool, Qoi, Run, Shape};
use attr_tests::networks::{
    added, basic_model2, conv_one, conv_one_mean, excited, larger_of_pairs, lrp_skip, multi_layer_two_inputs,
    simple_lrp, simple_tanh, single_layer, trulens, two_inputs,
};
use attr_tests::{Adapter, Ask, Level, Outcome, on_every_layered_adapter};
use ndarray::{Array, ArrayD, arr2};

use crate::Literal;

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Literal) -> Outcome {
    case.holds(adapter, Level::SinglePrecisionFixture)
}

#[test]
fn relevance() {
    on_every_layered_adapter!(check, relevance_cases());
}

/// Captum's max pooling, of one to three spatial axes, and two inputs.
#[test]
fn relevance_of_windows() {
    let exact = "epsilon 1e-9; sums: epsilon 1e-9";
    let literal = |name, net, dims: &[usize], input: &[f64], expected: &[f64]| {
        let array = |numbers: &[f64]| ArrayD::from_shape_vec(dims.to_vec(), numbers.to_vec()).unwrap();
        Literal { name, net, input: array(input), ask: lrp(exact), expected: array(expected) }
    };
    let pooled = |pool: Pool, row: &[usize]| {
        let mut net = single_layer(Op::MaxPool(pool), row, &[]);
        let flat = net.add("flat", Op::Reshape { shape: Shape::batched(&[1]) }, &[1], &[]).unwrap();
        net.set_outputs(&[flat]).unwrap();
        net
    };
    let cube = Pool {
        kernel: vec![2; 3],
        stride: vec![2; 3],
        padding: vec![(0, 0); 3],
        dilation: vec![1; 3],
        ceil: false,
    };
    let mut cases = vec![
        literal(
            "Captum, max pooling",
            larger_of_pairs(),
            &[1, 2, 2],
            &[1.0, 2.0, 5.0, 6.0],
            &[0.0, 0.0, 10.0, 12.0],
        ),
        literal(
            "Captum, 2-d max pooling",
            pooled(Pool::square(2, 2), &[1, 2, 2]),
            &[1, 1, 2, 2],
            &[1.0, 2.0, 5.0, 6.0],
            &[0.0, 0.0, 0.0, 6.0],
        ),
        literal(
            "Captum, 3-d max pooling",
            pooled(cube, &[1, 2, 2, 2]),
            &[1, 1, 2, 2, 2],
            &[1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0],
            &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0],
        ),
    ];
    cases[0].ask = lrp(exact).of(Qoi::Class(1));
    on_every_layered_adapter!(check, cases);
}

/// DeepExplain's two inputs that are concatenated, and Captum's that are added: what its test gives for the first of them is
/// the relevance of their sum, which ours shares out between both, 1 : 3.
#[test]
fn two_inputs_at_once() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, _: &Literal) -> Outcome {
        let row = |numbers: &[f64]| ArrayD::from_shape_vec(vec![1, numbers.len()], numbers.to_vec()).unwrap();
        let exact = "epsilon 1e-9; sums: epsilon 1e-9";
        let model = adapter.model(&two_inputs())?;
        let pair = [row(&[-10.0, -5.0]), row(&[3.0, 1.0])];
        for ask in [lrp(exact), Ask::named("deeplift")] {
            let all = ask.of(Qoi::WeightedSum(ArrayD::ones(vec![4])));
            let answer = all.answer(adapter, &model, &pair, Run::default())?;
            adapter.all_close(
                &answer.values,
                &[row(&[0.0, 0.0]), row(&[6.0, 2.0])],
                Level::SinglePrecisionFixture,
            )?;
        }
        let model = adapter.model(&multi_layer_two_inputs())?;
        let added = [row(&[1.0, 2.0, 3.0]), row(&[3.0, 6.0, 9.0])];
        let of =
            |from: Cut| lrp(exact).at((from, Cut::logits())).answer(adapter, &model, &added, Run::default());
        let sum = of(Cut::layer("sum"))?;
        adapter.close(&sum.values[0], &row(&[16.0, 32.0, 48.0]), Level::SinglePrecisionFixture)?;
        let inputs = of(Cut::input())?;
        let expected = [row(&[4.0, 8.0, 12.0]), row(&[12.0, 24.0, 36.0])];
        Ok(adapter.all_close(&inputs.values, &expected, Level::SinglePrecisionFixture)?)
    }
    let x = [[1.0, 2.0, 3.0]];
    on_every_layered_adapter!(check, [case("two inputs", simple_lrp(2.0), x, lrp("epsilon"), x)]);
}

#[test]
fn excitation() {
    let one = [[1.0, 1.0]];
    // The hidden units are 3 and 4. All of the class's relevance goes to the first, whose inputs weigh 1 and 2; all of
    // what speaks against it to the second, whose inputs weigh 3 and 1.
    let twelfths = 5.0 / 12.0;
    let cases = vec![
        case("excitation", excited(), one, Ask::named("excitation-backprop"), [[1.0 / 3.0, 2.0 / 3.0]]),
        case(
            "contrastive excitation",
            excited(),
            one,
            Ask::named("excitation-backprop").with("contrastive", true),
            [[-twelfths, twelfths]],
        ),
    ];
    on_every_layered_adapter!(check, cases);
}

/// The features are 0, 4, 31, 40 and 0, 0, 6, 15; the mean of a map is the logit without its bias.
#[test]
fn class_activation() {
    let case = |class, relu: bool, map: [f64; 4]| Literal {
        name: "class activation map",
        net: conv_one_mean(),
        input: Array::range(0.0, 16.0, 1.0).into_shape_with_order(vec![1, 1, 4, 4]).unwrap(),
        ask: Ask::named("cam").with("upsampling", "none").with("relu", relu).of(Qoi::Class(class)),
        expected: Array::from_shape_vec(vec![1, 1, 2, 2], map.into()).unwrap(),
    };
    let cases = [
        case(0, false, [0.0, 4.0, 25.0, 25.0]),
        case(1, false, [0.0, 2.0, 27.5, 50.0]),
        case(1, true, [0.0, 2.0, 27.5, 50.0]),
    ];
    on_every_layered_adapter!(check, cases);
}

#[test]
fn guided() {
    on_every_layered_adapter!(check, guided_cases());
}

const BASIC: [[f64; 2]; 2] = [[-10.0, -5.0], [3.0, 1.0]];

fn lrp(rules: &str) -> Ask {
    Ask::named("lrp").with("rules", rules)
}

fn relevance_cases() -> Vec<Literal> {
    let exact = "epsilon 1e-9; sums: epsilon 1e-9; stabilizer 1e-9";
    let x = [[1.0, 2.0, 3.0]];
    vec![
        // DeepExplain, tests/test_tensorflow.py.
        case("DeepExplain, epsilon", basic_model2(), BASIC, lrp(exact), [[0.0, 0.0], [3.0, -1.0]]),
        // Captum, tests/attr/test_lrp.py.
        case("Captum, epsilon", simple_lrp(2.0), x, lrp(exact), [[18.0, 36.0, 54.0]]),
        case(
            "Captum, gamma",
            simple_lrp(-2.0),
            x,
            lrp("dense: plain-gamma 1; stabilizer 1e-9"),
            [[28.0 / 3.0, 104.0 / 3.0, 52.0]],
        ),
        case(
            "Captum, gamma for either sign",
            simple_lrp(-2.0),
            x,
            lrp("gamma 1; stabilizer 1e-9"),
            [[28.0 / 3.0, 104.0 / 3.0, 52.0]],
        ),
        case(
            "Captum, alpha 1, beta 0",
            simple_lrp(-2.0),
            x,
            lrp("z-plus; stabilizer 1e-9"),
            [[12.0, 33.6, 50.4]],
        ),
        case("at a layer", simple_lrp(2.0), x, lrp(exact).at("relu"), [[36.0, 36.0, 36.0]]),
        case(
            "Captum, identity",
            simple_lrp(-2.0),
            x,
            lrp(exact).at(Cut::layer("linear")),
            [[24.0, 36.0, 36.0]],
        ),
        // tanh(0.6) / 10 of each unit, shared out 1 : 2 : 3; Captum rounds to .0269, .0537, .0806.
        case(
            "Captum, tanh",
            simple_tanh(),
            x,
            lrp(exact),
            [[1.0, 2.0, 3.0].map(|share| 0.05 * 0.6f64.tanh() * share)],
        ),
        case("Captum, skip connection", added(), [[2.0, 3.0]], lrp(exact).of(Qoi::Class(1)), [[10.0, 18.0]]),
        case("a skip connection", lrp_skip(), [[1.0, 2.0]], lrp(exact), [[15.0, 30.0]]),
        // TruLens's network has no bias, so epsilon gives the input times the gradient.
        case(
            "of an inner neuron",
            trulens(),
            [[2.0, 1.0]],
            lrp(exact).at((Cut::input(), Cut::layer("layer2"))).of(Qoi::Neuron(vec![0])),
            [[2.0, -1.0]],
        ),
    ]
}

fn guided_cases() -> Vec<Literal> {
    vec![
        case("guided", basic_model2(), BASIC, Ask::named("guided-backprop"), [[0.0, 0.0], [1.0, 0.0]]),
        // Captum, tests/attr/test_guided_grad_cam.py and its kin: the network's features are 0, 4, 31, 40 and
        // 0, 0, 6, 15, read with weights 1, 1, 1, 1 and 1, -1, -1, -1.
        conv_case(
            "Captum, guided",
            Ask::named("guided-backprop"),
            [[0.0, 1.0, 1.0, 1.0], [1.0, 3.0, 3.0, 2.0], [1.0, 3.0, 3.0, 2.0], [1.0, 2.0, 2.0, 1.0]],
        ),
        conv_case(
            "Captum, deconvolution",
            Ask::named("deconvnet"),
            [[2.0, 3.0, 3.0, 1.0], [3.0, 5.0, 5.0, 2.0], [3.0, 5.0, 5.0, 2.0], [1.0, 2.0, 2.0, 1.0]],
        ),
        conv_case(
            "Captum, relevance",
            lrp("epsilon 1e-9"),
            [[0.0, 1.0, 2.0, 3.0], [0.0, 5.0, 6.0, 7.0], [0.0, 9.0, 10.0, 11.0], [0.0; 4]],
        ),
        // One feature alone, of channel 0 at the lower right, sent back with its value of 40.
        conv_case(
            "a feature, reconstructed",
            Ask::named("deconvnet")
                .with("start", "value")
                .at((Cut::input(), Cut::layer("relu1")))
                .of(Qoi::Neuron(vec![0, 1, 1])),
            [[0.0; 4], [0.0, 40.0, 40.0, 40.0], [0.0, 40.0, 40.0, 40.0], [0.0, 40.0, 40.0, 40.0]],
        ),
    ]
}

/// On the numbers from 0 to 15.
fn conv_case(name: &'static str, ask: Ask, expected: [[f64; 4]; 4]) -> Literal {
    let dims = vec![1, 1, 4, 4];
    let input = Array::range(0.0, 16.0, 1.0).into_shape_with_order(dims.clone()).unwrap();
    let expected = arr2(&expected).into_dyn().into_shape_with_order(dims).unwrap();
    Literal { name, net: conv_one(), input, ask, expected }
}

fn case<const R: usize, const C: usize>(
    name: &'static str,
    net: Graph,
    input: [[f64; C]; R],
    ask: Ask,
    expected: [[f64; C]; R],
) -> Literal {
    Literal { name, net, input: arr2(&input).into_dyn(), ask, expected: arr2(&expected).into_dyn() }
}
