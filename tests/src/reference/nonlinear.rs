//! Layers that are not linear in their inputs, each with its derivative written out.
//!
//! At kinks: relu'(0) = 0, leaky relu'(0) = slope, clip' = 0 at its bounds, abs'(0) = 0, and a maximum
//! goes to the first of equals in row-major order.

use attr_core::{Activation, Op, Pool};
use ndarray::{ArrayD, Axis, Dimension, Zip, indices};

use super::linear::{broadcast_index, pool_window, pooled_dims};
use super::tensor::common_dims;

/// Whether [`forward`] knows the layer.
pub(super) fn is_nonlinear(op: &Op) -> bool {
    matches!(
        op,
        Op::Activation(_) | Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::MaxPool(_) | Op::Mul | Op::Div
    )
}

/// Whether the derivative of a function is written out here.
pub(super) fn has_derivative(activation: Activation) -> bool {
    let mirror_images = matches!(activation, Activation::Abs | Activation::Neg);
    let bounds =
        matches!(activation, Activation::Relu | Activation::LeakyRelu { .. } | Activation::Clip { .. });
    let smooth = matches!(activation, Activation::Sigmoid | Activation::Tanh | Activation::Softplus);
    mirror_images
        || bounds
        || smooth
        || matches!(activation, Activation::Exp | Activation::Sqrt | Activation::Erf)
}

pub(super) fn forward(op: &Op, inputs: &[&ArrayD<f64>]) -> ArrayD<f64> {
    match op {
        Op::Activation(activation) => inputs[0].mapv(|x| value(*activation, x)),
        Op::Softmax { axis } => lanes(inputs[0], *axis, softmax),
        Op::LogSoftmax { axis } => {
            // By the definition and not as the softmax's logarithm, which is infinite where that underflows.
            lanes(inputs[0], *axis, |lane| {
                let most = lane.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
                let sum: f64 = lane.iter().map(|x| (x - most).exp()).sum();
                lane.iter().map(|x| x - most - sum.ln()).collect()
            })
        }
        Op::MaxPool(pool) => {
            let largest = largest_of_windows(pool, inputs[0]);
            ArrayD::from_shape_fn(largest.raw_dim(), |output| inputs[0][&largest[output][..]])
        }
        Op::Mul | Op::Div => {
            let (a, b) = (inputs[0], inputs[1]);
            let dims = common_dims(a.shape(), b.shape()).expect("BUG: shapes have been checked");
            ArrayD::from_shape_fn(dims, |output| {
                let [a, b] = operands(a, b, output.as_array_view().as_slice().unwrap());
                if *op == Op::Mul { a * b } else { a / b }
            })
        }
        op => panic!("BUG: {} is not among the layers here", op.kind()),
    }
}

pub(super) fn vjp(
    op: &Op,
    inputs: &[Option<&ArrayD<f64>>],
    output: Option<&ArrayD<f64>>,
    cotangent: &ArrayD<f64>,
) -> Vec<ArrayD<f64>> {
    let input = |slot: usize| inputs[slot].expect("BUG: the input was not saved");
    let output = || output.expect("BUG: the output was not saved");
    match op {
        Op::Activation(activation) => {
            // Of some functions the output is kept in the place of the input.
            let saved = inputs[0].unwrap_or_else(output);
            let slope = |&x: &f64, &c: &f64| c * derivative(*activation, x);
            vec![Zip::from(saved).and(cotangent).map_collect(slope)]
        }
        Op::Softmax { axis } => {
            // d y_j / d x_i = y_j (1[i = j] - y_i)
            vec![lane_pairs(output(), cotangent, *axis, |y, c| {
                let mean: f64 = y.iter().zip(c).map(|(y, c)| y * c).sum();
                y.iter().zip(c).map(|(y, c)| y * (c - mean)).collect()
            })]
        }
        Op::LogSoftmax { axis } => {
            // d y_j / d x_i = 1[i = j] - exp(y_i)
            vec![lane_pairs(output(), cotangent, *axis, |y, c| {
                let sum: f64 = c.iter().sum();
                y.iter().zip(c).map(|(y, c)| c - y.exp() * sum).collect()
            })]
        }
        Op::MaxPool(pool) => {
            let mut gathered = ArrayD::zeros(input(0).raw_dim());
            for (largest, c) in largest_of_windows(pool, input(0)).iter().zip(cotangent) {
                gathered[&largest[..]] += c;
            }
            vec![gathered]
        }
        Op::Mul | Op::Div => {
            let (a, b) = (input(0), input(1));
            let mut gathered = vec![ArrayD::zeros(a.raw_dim()), ArrayD::zeros(b.raw_dim())];
            for output in indices(cotangent.raw_dim()) {
                let at = output.as_array_view().to_vec();
                let [x, y] = operands(a, b, &at);
                let slopes = if *op == Op::Mul { [y, x] } else { [1.0 / y, -x / (y * y)] };
                for (gathered, slope) in gathered.iter_mut().zip(slopes) {
                    let place = broadcast_index(&at, gathered.shape());
                    gathered[&place[..]] += slope * cotangent[&at[..]];
                }
            }
            gathered
        }
        op => panic!("BUG: {} is not among the layers here", op.kind()),
    }
}

fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => {
            if x <= 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::LeakyRelu { slope } => {
            if x <= 0.0 {
                slope * x
            } else {
                x
            }
        }
        Activation::Clip { min, max } => {
            if x <= min {
                min
            } else if x >= max {
                max
            } else {
                x
            }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Softplus => {
            if x > 30.0 {
                x
            } else {
                x.exp().ln_1p()
            }
        }
        Activation::Abs => x.abs(),
        Activation::Exp => x.exp(),
        Activation::Sqrt => x.sqrt(),
        Activation::Erf => erf(x),
        Activation::Neg => -x,
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}

/// By the series of Abramowitz and Stegun 7.1.6, all of whose terms have the sign of `x`.
pub(super) fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let (mut term, mut sum, mut odd) = (x, 0.0, 1.0);
    while sum + term != sum {
        sum += term;
        odd += 2.0;
        term *= 2.0 * x * x / odd;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn derivative(activation: Activation, x: f64) -> f64 {
    let sigmoid = || 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Relu => {
            if x > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Activation::LeakyRelu { slope } => {
            if x > 0.0 {
                1.0
            } else {
                slope
            }
        }
        Activation::Clip { min, max } => {
            if min < x && x < max {
                1.0
            } else {
                0.0
            }
        }
        Activation::Sigmoid => sigmoid() * (1.0 - sigmoid()),
        Activation::Tanh => 1.0 - x.tanh().powi(2),
        Activation::Softplus => sigmoid(),
        Activation::Abs => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        Activation::Exp => x.exp(),
        Activation::Sqrt => 1.0 / (2.0 * x.sqrt()),
        Activation::Erf => 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp(),
        Activation::Neg => -1.0,
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}

/// Shifted by the largest entry, so that nothing overflows.
fn softmax(lane: &[f64]) -> Vec<f64> {
    let largest = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<_> = lane.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// A function of each lane along an axis.
fn lanes(x: &ArrayD<f64>, axis: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> ArrayD<f64> {
    lane_pairs(x, x, axis, |lane, _| f(lane))
}

/// A function of each lane of two arrays along an axis.
fn lane_pairs(
    x: &ArrayD<f64>,
    y: &ArrayD<f64>,
    axis: usize,
    f: impl Fn(&[f64], &[f64]) -> Vec<f64>,
) -> ArrayD<f64> {
    let mut result = ArrayD::zeros(x.raw_dim());
    let pairs = x.lanes(Axis(axis)).into_iter().zip(y.lanes(Axis(axis)));
    for ((x, y), mut lane) in pairs.zip(result.lanes_mut(Axis(axis))) {
        let numbers = f(&x.to_vec(), &y.to_vec());
        lane.iter_mut().zip(numbers).for_each(|(entry, number)| *entry = number);
    }
    result
}

/// For each window, the place of its first largest entry, or of a NaN. Padding is never the largest.
fn largest_of_windows(pool: &Pool, x: &ArrayD<f64>) -> ArrayD<Vec<usize>> {
    ArrayD::from_shape_fn(pooled_dims(pool, x.shape()), |output| {
        let output = output.as_array_view().to_vec();
        let entries = pool_window(pool).entries(&output[2..], &x.shape()[2..]);
        let places = entries.into_iter().filter_map(|entry| entry.value);
        places
            .map(|at| [&output[..2], &at].concat())
            .reduce(|best, at| if x[&at[..]] > x[&best[..]] || x[&at[..]].is_nan() { at } else { best })
            .expect("a window of a max pooling lies wholly in the padding")
    })
}

/// The two numbers that make up one output.
fn operands(a: &ArrayD<f64>, b: &ArrayD<f64>, output: &[usize]) -> [f64; 2] {
    [a, b].map(|x| x[&broadcast_index(output, x.shape())[..]])
}
