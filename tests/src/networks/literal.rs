//! Networks written out by hand, on which papers and peers' tests give literal values.

use attr_core::{Activation, Conv, Dim, Graph, NodeId, Op, Pool, Shape};
use ndarray::{Array, Array2, ArrayD, arr1, array};

use super::build::Build;

/// Two inputs, two hidden layers of two, one output, no biases; relu behind both hidden layers. The layers
/// of TruLens's model wrapper tests: `layer1` and `layer2` are values behind the relu.
pub fn trulens() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let dense1 = net.linear("dense1", x, array![[1.0, -1.0], [0.0, 1.0]], &[]);
    let layer1 = net.relu("layer1", dense1);
    let dense2 = net.linear("dense2", layer1, array![[1.0, 0.0], [1.0, 1.0]], &[]);
    let layer2 = net.relu("layer2", dense2);
    let logits = net.linear("logits", layer2, array![[1.0, 2.0]], &[]);
    net.outputs(&[logits])
}

/// `relu(relu(x1 - 1) - relu(x2))`, DeepExplain's `simpler_model` and Captum's `BasicModel2`.
pub fn basic_model2() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let dense1 = net.linear("dense1", x, array![[1.0, 0.0], [0.0, 1.0]], &[-1.0, 0.0]);
    let relu1 = net.relu("relu1", dense1);
    let dense2 = net.linear("dense2", relu1, array![[1.0, -1.0]], &[]);
    let relu2 = net.relu("relu2", dense2);
    net.outputs(&[relu2])
}

/// The same function of two inputs, `x1` and `x2`, each `[B, 1]`, without any weight.
pub fn basic_model2_two_inputs() -> Graph {
    let mut net = Build::default();
    let (x1, x2) = (net.input("x1", &[1]), net.input("x2", &[1]));
    let one = net.constant("one", arr1(&[1.0]));
    let below = net.layer("x1 - 1", Op::Sub, &[x1, one], &[]);
    let (relu1, relu2) = (net.relu("relu1", below), net.relu("relu2", x2));
    let difference = net.layer("difference", Op::Sub, &[relu1, relu2], &[]);
    let relu3 = net.relu("relu3", difference);
    net.outputs(&[relu3])
}

/// `relu([3 x1 | 2 x2])` of two inputs of two numbers, DeepExplain's `simple_multi_inputs_model`.
pub fn two_inputs() -> Graph {
    let mut net = Build::default();
    let (x1, x2) = (net.input("x1", &[2]), net.input("x2", &[2]));
    let dense1 = net.linear("dense1", x1, 3.0 * Array2::eye(2), &[]);
    let dense2 = net.linear("dense2", x2, 2.0 * Array2::eye(2), &[]);
    let both = net.layer("concat", Op::Concat { axis: 1 }, &[dense1, dense2], &[]);
    let relu = net.relu("relu", both);
    net.outputs(&[relu])
}

/// Captum's `SimpleLRPModel`: three inputs, a layer of three with all weights 2 (`first_weight` in the
/// place of the first of them), relu, one output with all weights 3.
pub fn simple_lrp(first_weight: f64) -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[3]);
    let mut weight = Array2::from_elem((3, 3), 2.0);
    weight[[0, 0]] = first_weight;
    let linear = net.linear("linear", x, weight, &[]);
    let relu = net.relu("relu", linear);
    let linear2 = net.linear("linear2", relu, Array2::from_elem((1, 3), 3.0), &[]);
    net.outputs(&[linear2])
}

/// The network of Captum's `test_lrp_simple_tanh`: three inputs, a layer of three with all weights 0.1, tanh, one output
/// with all weights 0.1.
pub fn simple_tanh() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[3]);
    let linear = net.linear("linear", x, Array2::from_elem((3, 3), 0.1), &[]);
    let tanh = net.layer("tanh", Op::Activation(Activation::Tanh), &[linear], &[]);
    let linear2 = net.linear("linear2", tanh, Array2::from_elem((1, 3), 0.1), &[]);
    net.outputs(&[linear2])
}

/// The network of Captum's `test_lrp_skip_connection`: two inputs, and a layer of two with all weights 5 added to them.
pub fn added() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let linear = net.linear("linear", x, Array2::from_elem((2, 2), 5.0), &[]);
    let sum = net.layer("sum", Op::Add, &[linear, x], &[]);
    net.outputs(&[sum])
}

/// The network of Captum's `test_lrp_maxpool1D`: a layer of two with all weights 2 on each of two pairs, the larger of
/// each.
pub fn larger_of_pairs() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2, 2]);
    let linear = net.linear("linear", x, Array2::from_elem((2, 2), 2.0), &[]);
    let row = net.layer("row", Op::Reshape { shape: Shape::batched(&[1, 2, 2]) }, &[linear], &[]);
    let pool = Pool { kernel: vec![1, 2], stride: vec![1, 2], ..Pool::square(1, 1) };
    let pool = net.layer("pool", Op::MaxPool(pool), &[row], &[]);
    let flat = net.layer("flat", Op::Reshape { shape: Shape::batched(&[2]) }, &[pool], &[]);
    net.outputs(&[flat])
}

/// [`multi_layer`] of the sum of two inputs.
pub fn multi_layer_two_inputs() -> Graph {
    let mut net = Build::default();
    let (x, x2) = (net.input("x", &[3]), net.input("x2", &[3]));
    let sum = net.layer("sum", Op::Add, &[x, x2], &[]);
    multi_layer_of(net, sum)
}

/// A dense layer around which its input is added: weights 2 and 3 as in [`simple_lrp`], two inputs.
pub fn lrp_skip() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let linear = net.linear("linear", x, Array2::from_elem((2, 2), 2.0), &[]);
    let relu = net.relu("relu", linear);
    let sum = net.layer("sum", Op::Add, &[relu, x], &[]);
    let out = net.linear("out", sum, Array2::from_elem((1, 2), 3.0), &[]);
    net.outputs(&[out])
}

/// [`conv_one`] up to its relu, then the mean over space and two outputs, of weights 1, -1 and 0.5, 2 and biases 3
/// and 0.
pub fn conv_one_mean() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[1, 4, 4]);
    let relu1 = conv_one_features(&mut net, x);
    let mean = net.layer("mean", Op::Mean { axes: vec![2, 3], keep: false }, &[relu1], &[]);
    let out = net.linear("out", mean, array![[1.0, -1.0], [0.5, 2.0]], &[3.0, 0.0]);
    net.outputs(&[out])
}

/// Two inputs, weights 1, 2 and 3, 1, relu, one output of weights 1 and -2.
pub fn excited() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let hidden = net.linear("hidden", x, array![[1.0, 2.0], [3.0, 1.0]], &[]);
    let relu = net.relu("relu", hidden);
    let out = net.linear("out", relu, array![[1.0, -2.0]], &[]);
    net.outputs(&[out])
}

/// `min(x1, x2) = x1 - relu(x1 - x2)`, of section 3.5.3 of the DeepLIFT paper (Shrikumar et al. 2017).
pub fn minimum() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let hidden = net.linear("hidden", x, array![[1.0, 0.0], [1.0, -1.0]], &[]);
    let relu = net.relu("relu", hidden);
    let out = net.linear("out", relu, array![[1.0, -1.0]], &[]);
    net.outputs(&[out])
}

/// `2 tanh(x1) + 2 tanh(x2 - 1.5)`, Captum's `TanhDeepLiftModel` as one input of two numbers.
pub fn two_tanh() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let shifted = net.linear("shifted", x, Array2::eye(2), &[0.0, -1.5]);
    let tanh = net.layer("tanh", Op::Activation(Activation::Tanh), &[shifted], &[]);
    let out = net.linear("out", tanh, array![[2.0, 2.0]], &[]);
    net.outputs(&[out])
}

/// The largest of four numbers, Captum's `LinearMaxPoolLinearModel`.
pub fn max_of_four() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[1, 1, 4]);
    let pool = Pool { kernel: vec![1, 4], stride: vec![1, 4], ..Pool::square(1, 1) };
    let pool = net.layer("pool", Op::MaxPool(pool), &[x], &[]);
    let flat = net.layer("flat", Op::Reshape { shape: Shape::batched(&[1]) }, &[pool], &[]);
    let out = net.linear("out", flat, array![[1.0]], &[]);
    net.outputs(&[out])
}

/// The network of kundajelab's `tests/layers/test_activation.py`: four inputs, two units of weights 1, 2, 3, 4 and their
/// negatives with biases -1 and 1, relu.
pub fn rising() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[4]);
    let weight = array![[1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0, -4.0]];
    let dense = net.linear("dense", x, weight, &[-1.0, 1.0]);
    let relu = net.relu("relu", dense);
    net.outputs(&[relu])
}

/// The networks of kundajelab's `tests/layers/test_{conv2d,pool1d}.py`: one layer, whose output's channels are added up
/// with these weights, plus one.
pub fn channels_added(op: Op, row: &[usize], params: &[ArrayD<f64>], weights: [f64; 2]) -> Graph {
    let mut net = Build::default();
    let x = net.input("x", row);
    let layer = net.layer("layer", op, &[x], params);
    let len: usize = net.row(layer).iter().product();
    let flat = net.layer("flat", Op::Reshape { shape: Shape::batched(&[len]) }, &[layer], &[]);
    let weight = Array2::from_shape_fn((1, len), |(_, i)| weights[2 * i / len]);
    let out = net.linear("out", flat, weight, &[1.0]);
    net.outputs(&[out])
}

/// `relu(l1 x1) + relu(l2 x2)` with l1 = 3, 1, 0 and l2 = 2, 3, 0, Captum's `ReLULinearModel` on six numbers.
pub fn relu_linear() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[6]);
    let weight = array![[3.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0, 3.0, 0.0]];
    let linear = net.linear("linear", x, weight, &[]);
    let relu = net.relu("relu", linear);
    let l3 = net.linear("l3", relu, array![[1.0, 1.0]], &[]);
    net.outputs(&[l3])
}

/// Softmax, quotient and product of values that all depend on the input, as attention has them:
/// `softmax(W x) * V x / (1 + (V x)^2)`, added up.
pub fn quotients() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[3]);
    let scores = net.linear("scores", x, array![[2.0, -1.0, 0.5], [0.0, 1.5, -3.0]], &[0.5, 0.0]);
    let weights = net.layer("weights", Op::Softmax { axis: 1 }, &[scores], &[]);
    let value = net.linear("value", x, array![[1.0, 2.0, -1.0], [-1.0, 0.5, 2.0]], &[0.0, 1.0]);
    let square = net.layer("square", Op::Mul, &[value, value], &[]);
    let one = net.constant("one", arr1(&[1.0]));
    let divisor = net.layer("divisor", Op::Add, &[square, one], &[]);
    let quotient = net.layer("quotient", Op::Div, &[value, divisor], &[]);
    let product = net.layer("product", Op::Mul, &[weights, quotient], &[]);
    let logits = net.linear("logits", product, array![[1.0, -2.0], [0.5, 1.0]], &[0.0, 0.25]);
    let log = net.layer("log", Op::LogSoftmax { axis: 1 }, &[logits], &[]);
    net.outputs(&[log])
}

/// Captum's `BasicModel_ConvNet_One_Conv`: a 4 x 4 image, a 3 x 3 convolution of ones to two channels with
/// biases -50 and -75, relu, four outputs of weights five times 1 and three times -1, relu.
pub fn conv_one() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[1, 4, 4]);
    let relu1 = conv_one_features(&mut net, x);
    conv_one_head(net, relu1)
}

/// The same of the sum of two images, `x` and `x2`.
pub fn conv_one_two_inputs() -> Graph {
    let mut net = Build::default();
    let (x, x2) = (net.input("x", &[1, 4, 4]), net.input("x2", &[1, 4, 4]));
    let sum = net.layer("sum", Op::Add, &[x, x2], &[]);
    let relu1 = conv_one_features(&mut net, sum);
    conv_one_head(net, relu1)
}

/// The same with a 2 x 2 max pooling of step 1, padded by one before each axis, behind the first relu.
pub fn conv_one_max_pool() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[1, 4, 4]);
    let relu1 = conv_one_features(&mut net, x);
    let pool = Pool { padding: vec![(1, 0); 2], ..Pool::square(2, 1) };
    let pool1 = net.layer("pool1", Op::MaxPool(pool), &[relu1], &[]);
    conv_one_head(net, pool1)
}

fn conv_one_features(net: &mut Build, x: NodeId) -> NodeId {
    let params = [Array::ones((2, 1, 3, 3)).into_dyn(), arr1(&[-50.0, -75.0]).into_dyn()];
    let conv1 = net.layer("conv1", Op::Conv(Conv::square(1, 0)), &[x], &params);
    net.relu("relu1", conv1)
}

fn conv_one_head(mut net: Build, features: NodeId) -> Graph {
    let flat = net.layer("flat", Op::Reshape { shape: Shape::batched(&[8]) }, &[features], &[]);
    let weight = Array2::from_shape_fn((4, 8), |(_, i)| if i < 5 { 1.0 } else { -1.0 });
    let fc1 = net.linear("fc1", flat, weight, &[0.0; 4]);
    let relu2 = net.relu("relu2", fc1);
    net.outputs(&[relu2])
}

/// Captum's `BasicModel_MultiLayer`: the identity, four units of ones with biases -10, 1, 1, 1, relu, two
/// outputs of ones with biases -1, 1.
pub fn multi_layer() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[3]);
    multi_layer_of(net, x)
}

fn multi_layer_of(mut net: Build, x: NodeId) -> Graph {
    let linear0 = net.linear("linear0", x, Array2::eye(3), &[0.0; 3]);
    let linear1 = net.linear("linear1", linear0, Array2::ones((4, 3)), &[-10.0, 1.0, 1.0, 1.0]);
    let relu = net.relu("relu", linear1);
    let linear2 = net.linear("linear2", relu, Array2::ones((2, 4)), &[-1.0, 1.0]);
    net.outputs(&[linear2])
}

/// One layer, `layer`, of one input.
pub fn single_layer(op: Op, row: &[usize], params: &[ArrayD<f64>]) -> Graph {
    let mut net = Build::default();
    let x = net.input("x", row);
    let layer = net.layer("layer", op, &[x], params);
    net.outputs(&[layer])
}

/// TruLens's `test_anchors`: the derivative by the input of `z2` differs from that by its output.
pub fn anchors() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let z1 = net.linear("z1", x, array![[1.0, 0.0], [0.0, -1.0]], &[0.0, 0.0]);
    let z2 = net.relu("z2", z1);
    let y = net.linear("y", z2, array![[1.0, 1.0]], &[0.0]);
    net.outputs(&[y])
}

/// TruLens's `test_internal_multiple_inputs`: five numbers through a layer of six, then one number more,
/// a layer of seven, three outputs. `w[i][j] = (i - j) / 8`, so that every derivative is known.
pub fn internal_concat() -> Graph {
    let mut net = Build::default();
    let (x1, x2) = (net.input("x1", &[5]), net.input("x2", &[1]));
    let z1 = net.linear("z1", x1, slanted(6, 5), &[]);
    let concat = net.layer("concat", Op::Concat { axis: 1 }, &[z1, x2], &[]);
    let z3 = net.linear("z3", concat, slanted(7, 7), &[]);
    let y = net.linear("y", z3, slanted(3, 7), &[]);
    net.outputs(&[y])
}

/// TruLens's `test_internal_slice_multiple_layers`: two branches to be cut at once, weights as above.
pub fn two_cuts() -> Graph {
    let mut net = Build::default();
    let (x1, x2) = (net.input("x1", &[5]), net.input("x2", &[1]));
    let cut1 = net.linear("cut_layer1", x1, slanted(6, 5), &[]);
    let cut2 = net.linear("cut_layer2", x2, slanted(2, 1), &[]);
    let z3 = net.linear("z3", cut2, slanted(4, 2), &[]);
    let z4 = net.layer("z4", Op::Concat { axis: 1 }, &[cut1, z3], &[]);
    let z5 = net.linear("z5", z4, slanted(7, 10), &[]);
    let y = net.linear("y", z5, slanted(3, 7), &[]);
    net.outputs(&[y])
}

/// TruLens's `test_multiple_outputs`: `y1` and `y2` of a common trunk, weights as above.
pub fn two_outputs() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[5]);
    let z1 = net.linear("z1", x, slanted(6, 5), &[]);
    let z2 = net.linear("z2", z1, slanted(7, 6), &[]);
    let y1 = net.linear("y1", z2, slanted(2, 7), &[]);
    let z3 = net.linear("z3", z2, slanted(8, 7), &[]);
    let y2 = net.linear("y2", z3, slanted(3, 8), &[]);
    net.outputs(&[y1, y2])
}

fn slanted(out: usize, inner: usize) -> Array2<f64> {
    Array2::from_shape_fn((out, inner), |(i, j)| (i as f64 - j as f64) / 8.0)
}

/// `relu(x) * 2 + relu(x) * x`: `relu` has two readers, and `x` is read both by it and by a product
/// behind it. Names are paths, and `block/relu` and `other.relu` end alike.
pub fn shared_reader() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2]);
    let relu = net.relu("block/relu", x);
    let doubled = net.linear("block/double", relu, 2.0 * Array2::eye(2), &[]);
    let product = net.layer("block/product", Op::Mul, &[relu, x], &[]);
    let sum = net.layer("sum", Op::Add, &[doubled, product], &[]);
    let last = net.relu("other.relu", sum);
    net.outputs(&[last])
}

/// `c * exp(d * x)` of three inputs, TruLens's model with keyword arguments in our words: inputs of which
/// one is replaced must be tiled onto it.
pub fn powers() -> Graph {
    let mut net = Build::default();
    let (x, c, d) = (net.input("x", &[3]), net.input("coefficients", &[3]), net.input("degree", &[3]));
    let layer1 = net.layer("layer1", Op::Identity, &[x], &[]);
    let exponent = net.layer("exponent", Op::Mul, &[layer1, d], &[]);
    let power = net.layer("power", Op::Activation(Activation::Exp), &[exponent], &[]);
    let scaled = net.layer("scaled", Op::Mul, &[power, c], &[]);
    net.outputs(&[scaled])
}

/// The sum of the squares of three numbers: its derivative is twice the point at which it is taken.
pub fn squares() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[3]);
    let squared = net.layer("squared", Op::Mul, &[x, x], &[]);
    let sum = net.linear("sum", squared, Array2::ones((1, 3)), &[]);
    net.outputs(&[sum])
}

/// `relu(x) + x` of two rows of two numbers, where both are added up with the batch on another axis
/// (`turned`), and with two entries for each row of the batch (`folded`).
pub fn moved_batch() -> Graph {
    let mut net = Build::default();
    let x = net.input("x", &[2, 2]);
    let relu = net.relu("relu", x);
    let turn =
        |net: &mut Build, name: &str, x| net.layer(name, Op::Transpose { axes: vec![1, 0, 2] }, &[x], &[]);
    let fold = |net: &mut Build, name: &str, x| {
        let shape = Shape(vec![Dim::Batch(2), Dim::Fixed(2)]);
        net.layer(name, Op::Reshape { shape }, &[x], &[])
    };
    let (x_turned, relu_turned) = (turn(&mut net, "x_turned", x), turn(&mut net, "relu_turned", relu));
    let turned = net.layer("turned", Op::Add, &[relu_turned, x_turned], &[]);
    let turned_back = turn(&mut net, "turned_back", turned);
    let (x_folded, relu_folded) = (fold(&mut net, "x_folded", x), fold(&mut net, "relu_folded", relu));
    let folded = net.layer("folded", Op::Add, &[relu_folded, x_folded], &[]);
    let unfolded = net.layer("unfolded", Op::Reshape { shape: Shape::batched(&[2, 2]) }, &[folded], &[]);
    net.outputs(&[turned_back, unfolded])
}
