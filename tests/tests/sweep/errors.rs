//! Mistakes, and what the error says: the place, what was expected, what was found.

use attr_core::Cut;
use attr_tests::networks::{shared_reader, trulens, two_cuts, two_inputs, two_outputs};
use ndarray::ArrayD;

use crate::{Sweep, Verb, forward, gradient_of, row, rows, sweep};

pub(crate) fn cases() -> Vec<Sweep> {
    let two = || rows(&[[2.0, 1.0], [1.0, 2.0]]);
    vec![
        sweep("unknown layer", trulens(), two())
            .fails(forward("layer9"), &["\"layer9\"", "there are", "\"layer1\""]),
        sweep("unknown layer with a like name", trulens(), two())
            .fails(forward("DENSE"), &["\"DENSE\"", "did you mean", "\"dense1\", \"dense2\""]),
        sweep("ambiguous end of a name", shared_reader(), two())
            .fails(forward("relu"), &["\"relu\"", "\"block/relu\", \"other.relu\""]),
        sweep("ambiguous pattern", shared_reader(), two())
            .fails(forward("*relu"), &["\"*relu\"", "did you mean", "\"block/relu\", \"other.relu\""]),
        sweep("pattern of nothing", trulens(), two()).fails(forward("conv*"), &["\"conv*\"", "there are"]),
        sweep("empty name", trulens(), two()).fails(forward(""), &["no layer \"\""]),
        sweep("unknown index", trulens(), two()).fails(forward(6), &["no layer 6", "0 to 5"]),
        sweep("unknown layer among several", trulens(), two())
            .fails(forward(Cut::several(["layer1", "nowhere"])), &["\"nowhere\""]),
        sweep("upside down", trulens(), two())
            .fails(gradient_of("layer2", "layer1"), &["layer \"layer2\" does not lead to layer \"layer1\""]),
        sweep("side by side", two_outputs(), rows(&[[1.0; 5]]))
            .fails(gradient_of("y1", "y2"), &["layer \"y1\" does not lead to layer \"y2\""]),
        sweep("below what is replaced", trulens(), two())
            .replace("layer1", &two())
            .fails(gradient_of(Cut::input(), Cut::output()), &["the input does not lead to the output"]),
        sweep("wrong row", trulens(), rows(&[[1.0; 3]]))
            .fails(forward(2), &["input \"x\"", "[B, 2]", "[1, 3]"]),
        sweep("wrong rank", trulens(), vec![ArrayD::zeros(vec![2])])
            .fails(forward(2), &["input \"x\"", "[B, 2]", "[2]"]),
        sweep("no rows", trulens(), vec![ArrayD::zeros(vec![0, 2])])
            .fails(forward(2), &["input \"x\"", "[B, 2]", "[0, 2]"]),
        sweep("too few inputs", two_inputs(), two()).fails(forward("relu"), &["2 tensors (x1, x2)", "[1]"]),
        sweep("too many inputs", trulens(), [two(), two()].concat())
            .fails(forward(2), &["1 tensors (x)", "[2]"]),
        sweep("inputs of different batches", two_inputs(), [two(), rows(&[[1.0, 1.0]])].concat())
            .fails(forward("relu"), &["input \"x2\"", "2 rows", "[1, 2]"]),
        sweep("wrong row replaced", trulens(), two())
            .replace("layer1", &rows(&[[1.0; 3], [1.0; 3]]))
            .fails(forward(Cut::output()), &["\"layer1\"", "[B, 2]", "[2, 3]"]),
        sweep("not a multiple of the rows replaced", trulens(), two())
            .replace("layer1", &rows(&[[1.0; 2]; 3]))
            .fails(forward(Cut::output()), &["\"layer1\"", "multiple of 2 rows", "[3, 2]"]),
        sweep("different numbers of rows replaced", two_cuts(), vec![row(&[0.0; 5]), row(&[0.0])])
            .replace(
                Cut::several(["cut_layer1", "cut_layer2"]),
                &[ArrayD::zeros(vec![2, 6]), ArrayD::zeros(vec![3, 2])],
            )
            .fails(forward(Cut::output()), &["\"cut_layer2\"", "[3, 2]"]),
        sweep("too few tensors replaced", two_cuts(), vec![row(&[0.0; 5]), row(&[0.0])])
            .replace(Cut::several(["cut_layer1", "cut_layer2"]), &[ArrayD::zeros(vec![2, 6])])
            .fails(forward(Cut::output()), &["the values to put at the cut", "2 tensors", "[1]"]),
        sweep("unknown layer replaced", trulens(), two())
            .replace("nowhere", &two())
            .fails(forward(Cut::output()), &["\"nowhere\""]),
        sweep("too few cotangents", shared_reader(), two()).fails(
            Verb::Gradient { from: "x".into(), to: Cut::layer("sum").before(), weights: vec![1.0] },
            &["the quantity's derivative"],
        ),
    ]
}
