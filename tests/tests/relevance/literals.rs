//! The values that papers and peers' tests give.

use attr_core::{Cut, Graph, ModelWrapper, Qoi, Run};
use attr_tests::networks::{basic_model2, conv_one, lrp_skip, simple_lrp, trulens};
use attr_tests::{Adapter, Ask, Case, Level, Outcome, on_every_layered_adapter};
use ndarray::{Array, ArrayD, arr2};

struct Literal {
    name: &'static str,
    net: Graph,
    input: ArrayD<f64>,
    ask: Ask,
    expected: ArrayD<f64>,
}

impl Case for Literal {
    fn name(&self) -> &str {
        self.name
    }
}

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Literal) -> Outcome {
    let inputs = [case.input.clone()];
    let answer = case.ask.answer(adapter, &adapter.model(&case.net)?, &inputs, Run::default())?;
    Ok(adapter.close(&answer.values[0], &case.expected, Level::SinglePrecisionFixture)?)
}

#[test]
fn relevance() {
    on_every_layered_adapter!(check, relevance_cases());
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
