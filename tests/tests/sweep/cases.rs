//! Points, verbs and what they give, on networks written out by hand.

use attr_core::Cut;
use attr_tests::networks::{
    anchors, internal_concat, moved_batch, powers, shared_reader, trulens, two_cuts, two_inputs, two_outputs,
};
use attr_tests::sampling::spread;
use ndarray::{ArrayD, Axis, arr2, concatenate};

use crate::{Sweep, row, rows, sweep};

const FIVE: [[f64; 2]; 5] = [[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [1.0, 0.0], [0.0, -1.0]];
const FIVE_ZEROS: [[f64; 2]; 5] = [[0.0; 2]; 5];
const FIVE_OUT: [[f64; 1]; 5] = [[5.0], [4.0], [2.0], [3.0], [3.0]];
const FIVE_LAYER2: [[f64; 2]; 5] = [[1.0, 2.0], [0.0, 2.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]];

/// The literals of TruLens's `model_wrapper_test_base.py`, and what follows from the same networks.
pub(crate) fn forward_cases() -> Vec<Sweep> {
    let five = || rows(&FIVE);
    let pair = || vec![arr2(&[[-10.0, -5.0]]).into_dyn(), arr2(&[[3.0, 1.0]]).into_dyn()];
    vec![
        sweep("full network", trulens(), five()).forward(Cut::output(), &[rows(&FIVE_OUT)]),
        sweep("logits", trulens(), five()).forward(Cut::logits(), &[rows(&FIVE_OUT)]),
        sweep("up to a layer", trulens(), five()).forward("layer2", &[rows(&FIVE_LAYER2)]),
        sweep("up to a layer by its index", trulens(), five()).forward(4, &[rows(&FIVE_LAYER2)]),
        sweep("two layers at once", trulens(), five())
            .forward(Cut::several(["layer2", "logits"]), &[rows(&FIVE_LAYER2), rows(&FIVE_OUT)]),
        sweep("one layer twice", trulens(), five())
            .forward(Cut::several(["layer2", "layer2"]), &[rows(&FIVE_LAYER2), rows(&FIVE_LAYER2)]),
        sweep("the input itself", trulens(), five()).forward(Cut::input(), &[rows(&FIVE)]),
        sweep("before a layer", trulens(), rows(&[[0.0, -1.0]]))
            .forward(Cut::layer("layer1").before(), &[rows(&[[1.0, -1.0]])]),
        sweep("behind it", trulens(), rows(&[[0.0, -1.0]])).forward("layer1", &[rows(&[[1.0, 0.0]])]),
        sweep("both inputs of a concatenation", two_inputs(), pair())
            .forward(Cut::layer("concat").before(), &[rows(&[[-30.0, -15.0]]), rows(&[[6.0, 2.0]])]),
        sweep("two inputs", two_inputs(), pair()).forward(Cut::output(), &[rows(&[[0.0, 0.0, 6.0, 2.0]])]),
        sweep("two outputs", two_outputs(), rows(&[[1.0, 0.0, 0.0, 0.0, 0.0]])).forward(
            Cut::output(),
            // z1 = i/8, z2 = (sum over j of (i - j) j) / 64 = (15 i - 55) / 64, and so on.
            &[two_outputs_by_hand(0), two_outputs_by_hand(1)],
        ),
        sweep("a unique end of a name", shared_reader(), rows(&[[3.0, -1.0]]))
            .forward("double", &[rows(&[[6.0, 0.0]])]),
        sweep("a pattern of one layer", shared_reader(), rows(&[[3.0, -1.0]]))
            .forward("*dou*e", &[rows(&[[6.0, 0.0]])]),
        sweep("a whole name that is also an end", shared_reader(), rows(&[[3.0, -1.0]]))
            .forward("sum", &[rows(&[[15.0, 0.0]])]),
    ]
}

/// Matrix products written out, for the input `(1, 0, 0, 0, 0)` of the network with two outputs.
fn two_outputs_by_hand(output: usize) -> Vec<ArrayD<f64>> {
    let slanted = |out: usize, x: &[f64]| -> Vec<f64> {
        (0..out).map(|i| x.iter().enumerate().map(|(j, x)| x * (i as f64 - j as f64) / 8.0).sum()).collect()
    };
    let z2 = slanted(7, &slanted(6, &[1.0, 0.0, 0.0, 0.0, 0.0]));
    let y = if output == 0 { slanted(2, &z2) } else { slanted(3, &slanted(8, &z2)) };
    vec![ArrayD::from_shape_vec(vec![1, y.len()], y).unwrap()]
}

pub(crate) fn replaced_cases() -> Vec<Sweep> {
    let x = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).into_dyn();
    let c = arr2(&[[0.5, 1.0, 1.5], [2.5, 3.0, 3.5]]).into_dyn();
    let d = arr2(&[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).into_dyn();
    let four = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [10.0, 11.0, 12.0]]).into_dyn();
    let twice = |a: &ArrayD<f64>| concatenate(Axis(0), &[a.view(), a.view()]).unwrap();
    let power = |x: &ArrayD<f64>, c: &ArrayD<f64>, d: &ArrayD<f64>| (x * d).mapv(f64::exp) * c;
    let tiled = power(&four, &twice(&c), &twice(&d));
    vec![
        sweep("a layer replaced", trulens(), rows(&FIVE_ZEROS))
            .replace("layer1", &rows(&[[1.0, 1.0], [0.0, 2.0], [-1.0, 1.0], [-1.0, 2.0], [0.0, -1.0]]))
            .forward(Cut::output(), &[rows(&[[5.0], [4.0], [0.0], [2.0], [0.0]])]),
        sweep("read where it is replaced", trulens(), rows(&FIVE_ZEROS))
            .replace("layer1", &rows(&FIVE))
            .forward("layer1", &[rows(&FIVE)]),
        sweep("below what is replaced nothing changes", trulens(), rows(&FIVE))
            .replace("layer2", &rows(&FIVE_ZEROS))
            .forward("layer1", &[rows(&[[1.0, 1.0], [0.0, 2.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])]),
        sweep("the input replaced", trulens(), rows(&FIVE_ZEROS))
            .replace(Cut::input(), &rows(&FIVE))
            .forward(Cut::output(), &[rows(&FIVE_OUT)]),
        sweep("the input replaced by more rows", trulens(), rows(&[[0.0, 0.0]]))
            .replace(Cut::input(), &rows(&FIVE))
            .forward(Cut::output(), &[rows(&FIVE_OUT)]),
        sweep("other inputs tiled onto what is replaced", powers(), vec![x.clone(), c.clone(), d.clone()])
            .replace("layer1", std::slice::from_ref(&four))
            .forward(Cut::output(), &[vec![tiled.clone()]]),
        sweep("all inputs but one tiled", powers(), vec![x.clone(), c.clone(), d.clone()])
            .replace("x", std::slice::from_ref(&four))
            .forward(Cut::output(), &[vec![tiled]]),
        sweep("several inputs replaced at once", powers(), vec![x.clone(), c.clone(), d.clone()])
            .replace(Cut::input(), &[&x + 1.0, &c + 2.0, &d + 0.5])
            .forward(Cut::output(), &[vec![power(&(&x + 1.0), &(&c + 2.0), &(&d + 0.5))]]),
        sweep(
            "two layers replaced at once",
            two_cuts(),
            vec![ArrayD::zeros(vec![1, 5]), ArrayD::zeros(vec![1, 1])],
        )
        .replace(Cut::several(["cut_layer1", "cut_layer2"]), &[ArrayD::zeros(vec![1, 6]), row(&[8.0, 0.0])])
        .forward("z4", &[vec![row(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0])]]),
        sweep("around what is replaced the input passes", shared_reader(), rows(&[[3.0, -1.0]]))
            .replace("block/relu", &rows(&[[10.0, 20.0]]))
            .forward("sum", &[rows(&[[20.0 + 30.0, 40.0 - 20.0]])]),
        sweep("around what is replaced the input is tiled", shared_reader(), rows(&[[3.0, -1.0]]))
            .replace("block/relu", &rows(&[[10.0, 20.0], [1.0, 2.0]]))
            .forward("sum", &[rows(&[[50.0, 20.0], [5.0, 2.0]])]),
        sweep(
            "what one layer reads replaced, other readers see the old",
            shared_reader(),
            rows(&[[3.0, -1.0]]),
        )
        .replace(Cut::layer("block/double").before(), &rows(&[[10.0, 20.0]]))
        .forward("sum", &[rows(&[[20.0 + 9.0, 40.0]])]),
        sweep("both that one layer reads replaced", shared_reader(), rows(&[[3.0, -1.0]]))
            .replace(Cut::layer("block/product").before(), &[row(&[2.0, 3.0]), row(&[5.0, 7.0])])
            .forward(Cut::several(["block/product", "sum"]), &[rows(&[[10.0, 21.0]]), rows(&[[16.0, 21.0]])]),
    ]
}

/// A batch that is not the first axis, or has several entries a row, is tiled as whole rows all the same.
pub(crate) fn moved_batch_cases() -> Vec<Sweep> {
    let x = || spread(&[2, 2, 2], 1);
    let given = || spread(&[4, 2, 2], 2);
    let sum = given() + concatenate(Axis(0), &[x().view(), x().view()]).unwrap();
    let both = |one: ArrayD<f64>| [vec![one.clone()], vec![one]];
    let plain = x() + x().mapv(|x| x.max(0.0));
    let net = |name| sweep(name, moved_batch(), vec![x()]);
    let slope = x().mapv(|x| if x > 0.0 { 4.0 } else { 2.0 });
    let doubled = || ArrayD::from_elem(vec![4, 2, 2], 2.0);
    vec![
        net("moved batch").forward(Cut::output(), &both(plain)),
        net("moved batch, derivative").gradient(Cut::input(), Cut::output(), &[vec![slope]]),
        net("moved batch, tiled").replace("relu", &[given()]).forward(Cut::output(), &both(sum)),
        net("moved batch, derivative by what is tiled").replace("relu", &[given()]).gradient(
            Cut::input(),
            Cut::output(),
            &[vec![doubled()]],
        ),
        net("moved batch, derivative by what is put in").replace("relu", &[given()]).gradient(
            "relu",
            Cut::output(),
            &[vec![doubled()]],
        ),
    ]
}

pub(crate) fn gradient_cases() -> Vec<Sweep> {
    let two = || rows(&[[2.0, 1.0], [1.0, 2.0]]);
    let at_x = || rows(&[[3.0, -1.0], [0.0, 2.0]]);
    let at_layer1 = || rows(&[[3.0, 2.0], [2.0, 2.0]]);
    let reader = || rows(&[[3.0, -1.0]]);
    vec![
        sweep("by the input", trulens(), two()).gradient(Cut::input(), Cut::output(), &[at_x()]),
        sweep("by a layer, relu'(0) = 0", trulens(), two()).gradient("layer1", Cut::output(), &[at_layer1()]),
        sweep("of a layer", trulens(), two()).gradient(
            Cut::input(),
            "layer2",
            &[rows(&[[2.0, -1.0], [0.0, 1.0]])],
        ),
        sweep("of a layer by itself", trulens(), two()).gradient(
            "layer2",
            "layer2",
            &[rows(&[[1.0, 1.0], [1.0, 1.0]])],
        ),
        sweep("by input and layer at once", trulens(), two()).gradient(
            Cut::several([Cut::input(), "layer1".into()]),
            Cut::output(),
            &[at_x(), at_layer1()],
        ),
        sweep("by a layer and what it reads at once", trulens(), two()).gradient(
            Cut::several([Cut::layer("layer2"), Cut::layer("layer2").before()]),
            Cut::output(),
            &[rows(&[[1.0, 2.0], [1.0, 2.0]]), rows(&[[1.0, 2.0], [0.0, 2.0]])],
        ),
        sweep("behind a relu", anchors(), rows(&[[1.0, 1.0]])).gradient(
            "z2",
            Cut::output(),
            &[rows(&[[1.0, 1.0]])],
        ),
        sweep("before a relu", anchors(), rows(&[[1.0, 1.0]])).gradient(
            Cut::layer("z2").before(),
            Cut::output(),
            &[rows(&[[1.0, 0.0]])],
        ),
        sweep("two readers add up", shared_reader(), reader()).gradient(
            "block/relu",
            "sum",
            &[rows(&[[5.0, 1.0]])],
        ),
        sweep("all ways from the input add up", shared_reader(), reader()).gradient(
            Cut::input(),
            "sum",
            &[rows(&[[2.0 + 3.0 + 3.0, 0.0]])],
        ),
        sweep("by what one reader sees alone", shared_reader(), reader()).gradient(
            Cut::layer("block/double").before(),
            "sum",
            &[rows(&[[2.0, 2.0]])],
        ),
        sweep("by both that a product reads", shared_reader(), reader()).gradient(
            Cut::layer("block/product").before(),
            "sum",
            &[rows(&[[3.0, -1.0]]), rows(&[[3.0, 0.0]])],
        ),
        sweep("of what a layer reads", shared_reader(), reader()).weighted(
            "block/relu",
            Cut::layer("sum").before(),
            &[1.0, 10.0],
            &[rows(&[[2.0 + 30.0, 2.0 - 10.0]])],
        ),
        sweep("of two tensors, one alone", shared_reader(), reader()).weighted(
            "block/relu",
            Cut::several(["block/double", "block/product"]),
            &[1.0, 0.0],
            &[rows(&[[2.0, 2.0]])],
        ),
        sweep("by two inputs", two_inputs(), vec![row(&[-10.0, -5.0]), row(&[3.0, 1.0])]).gradient(
            Cut::input(),
            Cut::output(),
            &[rows(&[[0.0, 0.0]]), rows(&[[2.0, 2.0]])],
        ),
        sweep("by both inputs of a concatenation", internal_concat(), vec![row(&[1.0; 5]), row(&[1.0])])
            .weighted(Cut::layer("concat").before(), Cut::output(), &[1.0], &concat_by_hand()),
        sweep("zero where nothing leads, if another does", two_outputs(), rows(&[[1.0; 5]])).gradient(
            Cut::several(["z3", "y1"]),
            "y1",
            &[vec![ArrayD::zeros(vec![1, 8])], rows(&[[1.0, 1.0]])],
        ),
    ]
}

/// The derivative of all three outputs' sum by what the concatenation reads: `W_z3^T W_y^T 1`, written out.
fn concat_by_hand() -> [Vec<ArrayD<f64>>; 2] {
    let w = |i: usize, j: usize| (i as f64 - j as f64) / 8.0;
    let by_z3: Vec<f64> = (0..7).map(|j| (0..3).map(|i| w(i, j)).sum()).collect();
    let by_concat: Vec<f64> = (0..7).map(|j| (0..7).map(|i| by_z3[i] * w(i, j)).sum()).collect();
    [vec![row(&by_concat[..6])], vec![row(&by_concat[6..])]]
}

pub(crate) fn replaced_gradient_cases() -> Vec<Sweep> {
    let two = || rows(&[[2.0, 1.0], [1.0, 2.0]]);
    let reader = || rows(&[[3.0, -1.0]]);
    vec![
        sweep("by the values put in", trulens(), rows(&[[0.0, 0.0], [0.0, 0.0]]))
            .replace("layer1", &two())
            .gradient("layer1", Cut::output(), &[rows(&[[3.0, 2.0], [3.0, 2.0]])]),
        sweep("above the values put in", trulens(), rows(&[[0.0, 0.0], [0.0, 0.0]]))
            .replace("layer1", &rows(&[[2.0, 1.0], [-1.0, 1.0]]))
            .gradient("layer2", Cut::output(), &[rows(&[[1.0, 2.0], [1.0, 2.0]])]),
        sweep("by more rows than the input has", trulens(), rows(&[[0.0, 0.0]]))
            .replace("layer1", &two())
            .gradient("layer1", Cut::output(), &[rows(&[[3.0, 2.0], [3.0, 2.0]])]),
        sweep("by more rows of the input", trulens(), rows(&[[0.0, 0.0]]))
            .replace(Cut::input(), &two())
            .gradient(Cut::input(), Cut::output(), &[rows(&[[3.0, -1.0], [0.0, 2.0]])]),
        sweep("below values put in with more rows", trulens(), rows(&[[2.0, 1.0]]))
            .replace("logits", &rows(&[[5.0], [7.0]]))
            .gradient(Cut::layer("dense1").before(), Cut::layer("logits").before(), &[rows(&[[2.0, -1.0]])]),
        sweep("around the values put in", shared_reader(), reader())
            .replace("block/relu", &rows(&[[10.0, 20.0]]))
            .gradient(Cut::input(), "sum", &[rows(&[[10.0, 20.0]])]),
        sweep("around the values put in, with more rows", shared_reader(), reader())
            .replace("block/relu", &rows(&[[10.0, 20.0], [1.0, 2.0], [5.0, 6.0]]))
            .gradient(Cut::input(), "sum", &[rows(&[[10.0, 20.0], [1.0, 2.0], [5.0, 6.0]])]),
        sweep("by the values put in and around them", shared_reader(), reader())
            .replace("block/relu", &rows(&[[10.0, 20.0], [1.0, 2.0]]))
            .gradient(
                Cut::several([Cut::input(), "block/relu".into()]),
                "sum",
                &[rows(&[[10.0, 20.0], [1.0, 2.0]]), rows(&[[5.0, 1.0], [5.0, 1.0]])],
            ),
        sweep("by what one reader sees, put in there", shared_reader(), reader())
            .replace(Cut::layer("block/product").before(), &[row(&[2.0, 3.0]), row(&[5.0, 7.0])])
            .gradient(
                Cut::layer("block/product").before(),
                "sum",
                &[rows(&[[5.0, 7.0]]), rows(&[[2.0, 3.0]])],
            ),
        sweep("by a value of which one reader sees another", shared_reader(), reader())
            .replace(Cut::layer("block/double").before(), &rows(&[[10.0, 20.0]]))
            .gradient("block/relu", "sum", &[rows(&[[3.0, -1.0]])]),
        sweep(
            "by other inputs than the one replaced",
            powers(),
            vec![row(&[0.0; 3]), row(&[1.0; 3]), row(&[2.0; 3])],
        )
        .replace("x", &[arr2(&[[0.0; 3], [1.0; 3]]).into_dyn()])
        .gradient(
            "coefficients",
            Cut::output(),
            &[vec![arr2(&[[1.0; 3], [2f64.exp(); 3]]).into_dyn()]],
        ),
    ]
}
