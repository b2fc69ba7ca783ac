//! Layers by their formulas in numbers that carry a derivative along, so that no derivative is written out.

use std::ops::{Add, Div, Mul, Neg, Sub};

use attr_core::{Activation, Comparison, Op};
use ndarray::{ArrayD, Dimension, IxDyn};

use super::linear::broadcast_index;
use super::nonlinear::erf;
use super::tensor::common_dims;

/// A number and how fast it changes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Dual {
    value: f64,
    slope: f64,
}

/// Whether [`forward`] knows the layer.
pub(super) fn knows(op: &Op) -> bool {
    match op {
        Op::LayerNorm { .. } | Op::GroupNorm { .. } | Op::LocalResponseNorm { .. } | Op::PRelu => true,
        Op::Max { .. } | Op::Min { .. } | Op::Norm { .. } | Op::MatMul | Op::Attention { .. } => true,
        Op::Power | Op::Maximum | Op::Minimum | Op::Compare(_) | Op::Where => true,
        Op::Activation(activation) => !super::nonlinear::has_derivative(*activation),
        _ => false,
    }
}

pub(super) fn forward(op: &Op, inputs: &[&ArrayD<f64>], params: &[&ArrayD<f64>]) -> ArrayD<f64> {
    let inputs: Vec<_> = inputs.iter().map(|input| input.mapv(Dual::from)).collect();
    value(op, &inputs, params).mapv(|y| y.value)
}

/// Each input's number in turn is the one that changes.
pub(super) fn vjp(
    op: &Op,
    inputs: &[&ArrayD<f64>],
    params: &[&ArrayD<f64>],
    cotangent: &ArrayD<f64>,
) -> Vec<ArrayD<f64>> {
    let mut duals: Vec<_> = inputs.iter().map(|input| input.mapv(Dual::from)).collect();
    let slots = (0..inputs.len()).map(|slot| {
        ArrayD::from_shape_fn(inputs[slot].raw_dim(), |at| {
            duals[slot][&at].slope = 1.0;
            let y = value(op, &duals, params);
            duals[slot][&at].slope = 0.0;
            y.iter().zip(cotangent).map(|(y, c)| if y.slope == 0.0 { 0.0 } else { y.slope * c }).sum()
        })
    });
    slots.collect()
}

fn value(op: &Op, inputs: &[ArrayD<Dual>], params: &[&ArrayD<f64>]) -> ArrayD<Dual> {
    let x = &inputs[0];
    let param = |i: usize, at: &[usize]| Dual::from(params[i][at]);
    match op {
        Op::LayerNorm { axis, epsilon } => each(x.shape(), |at| {
            let lane = within(x, |other| other[..*axis] == at[..*axis]);
            normalized(x[at], &lane, *epsilon) * param(0, &at[*axis..]) + param(1, &at[*axis..])
        }),
        Op::GroupNorm { groups, epsilon } => each(x.shape(), |at| {
            let of_group = x.shape()[1] / groups;
            let same = |other: &[usize]| other[0] == at[0] && other[1] / of_group == at[1] / of_group;
            normalized(x[at], &within(x, same), *epsilon) * param(0, &at[1..2]) + param(1, &at[1..2])
        }),
        Op::LocalResponseNorm { size, alpha, beta, bias } => each(x.shape(), |at| {
            let before = (size - 1) / 2;
            let near = |channel: usize| channel + before >= at[1] && channel + before < at[1] + size;
            let around = (0..x.shape()[1]).filter(|&channel| near(channel));
            let squares = around.map(|channel| {
                let mut place = at.to_vec();
                place[1] = channel;
                x[&place[..]] * x[&place[..]]
            });
            let base = sum(squares) * Dual::from(alpha / *size as f64) + Dual::from(*bias);
            x[at] / base.power(Dual::from(*beta))
        }),
        Op::PRelu => each(x.shape(), |at| {
            let slope = param(0, &broadcast_index(at, params[0].shape()));
            if x[at].value > 0.0 { x[at] } else { x[at] * slope }
        }),
        Op::Max { axes, keep } => over(x, axes, *keep, |lane| first_extreme(lane, |a, b| a > b)),
        Op::Min { axes, keep } => over(x, axes, *keep, |lane| first_extreme(lane, |a, b| a < b)),
        Op::Norm { axes, keep } => over(x, axes, *keep, |lane| sum(lane.iter().map(|&x| x * x)).sqrt()),
        Op::Power => pairs(x, &inputs[1], Dual::power),
        Op::Maximum => {
            pairs(x, &inputs[1], |a, b| if a.value >= b.value || a.value.is_nan() { a } else { b })
        }
        Op::Minimum => {
            pairs(x, &inputs[1], |a, b| if a.value <= b.value || a.value.is_nan() { a } else { b })
        }
        Op::Compare(comparison) => pairs(x, &inputs[1], |a, b| {
            let holds = match comparison {
                Comparison::Equal => a.value == b.value,
                Comparison::NotEqual => a.value != b.value,
                Comparison::Greater => a.value > b.value,
                Comparison::GreaterOrEqual => a.value >= b.value,
                Comparison::Less => a.value < b.value,
                Comparison::LessOrEqual => a.value <= b.value,
            };
            Dual::from(f64::from(u8::from(holds)))
        }),
        Op::Where => {
            let dims = common_dims(inputs[1].shape(), inputs[2].shape());
            let dims = dims.and_then(|dims| common_dims(x.shape(), &dims)).expect("BUG: checked shapes");
            each(&dims, |at| {
                let [condition, a, b] =
                    [0, 1, 2].map(|i| inputs[i][&broadcast_index(at, inputs[i].shape())[..]]);
                if condition.value != 0.0 { a } else { b }
            })
        }
        Op::MatMul => product(x, &inputs[1]),
        Op::Attention { scale } => {
            let (q, k) = (x, &inputs[1]);
            let rank = q.ndim();
            let dims = [&q.shape()[..rank - 1], &k.shape()[rank - 2..rank - 1]].concat();
            let scores = each(&dims, |at| {
                let (front, query, key) = (&at[..rank - 2], at[rank - 2], at[rank - 1]);
                let dots = (0..q.shape()[rank - 1])
                    .map(|d| q[&[front, &[query, d]].concat()[..]] * k[&[front, &[key, d]].concat()[..]]);
                let mask = inputs.get(3).map(|mask| mask[&broadcast_index(at, mask.shape())[..]]);
                sum(dots) * Dual::from(*scale) + mask.unwrap_or(Dual::from(0.0))
            });
            let weights = each(&dims, |at| {
                let lane = within(&scores, |other| other[..rank - 1] == at[..rank - 1]);
                let most = lane.iter().fold(f64::NEG_INFINITY, |most, x| most.max(x.value));
                let exp = |x: Dual| (x - Dual::from(most)).exp();
                exp(scores[at]) / sum(lane.iter().map(|&x| exp(x)))
            });
            product(&weights, &inputs[2])
        }
        Op::Activation(activation) => x.mapv(|x| function(*activation, x)),
        op => panic!("BUG: {} is not among the layers here", op.kind()),
    }
}

fn function(activation: Activation, x: Dual) -> Dual {
    let (zero, one) = (Dual::from(0.0), Dual::from(1.0));
    // The derivative at a bound is that of the outside.
    let clip = |y: Dual| {
        if y.value <= 0.0 {
            zero
        } else if y.value >= 1.0 {
            one
        } else {
            y
        }
    };
    let constant = |y: f64| Dual::from(y);
    let elu = |alpha: f64| if x.value > 0.0 { x } else { constant(alpha) * (x.exp() - one) };
    match activation {
        Activation::Log => x.ln(),
        Activation::Power { exponent } => x.power(constant(exponent)),
        Activation::Reciprocal => one / x,
        Activation::Elu { alpha } => elu(alpha),
        Activation::Selu { alpha, gamma } => constant(gamma) * elu(alpha),
        Activation::Celu { alpha } => {
            if x.value > 0.0 {
                x
            } else {
                constant(alpha) * ((x / constant(alpha)).exp() - one)
            }
        }
        Activation::HardSigmoid { alpha, beta } => clip(constant(alpha) * x + constant(beta)),
        Activation::HardSwish => x * clip((x + constant(3.0)) / constant(6.0)),
        Activation::Softsign => x / (one + if x.value < 0.0 { -x } else { x }),
        Activation::Silu => x / (one + (-x).exp()),
        Activation::Mish => x * (one + x.exp()).ln().tanh(),
        Activation::Gelu => x * (one + (x / constant(2f64.sqrt())).erf()) / constant(2.0),
        Activation::GeluTanh => {
            let inner = constant((2.0 / std::f64::consts::PI).sqrt()) * (x + constant(0.044715) * x * x * x);
            x * (one + inner.tanh()) / constant(2.0)
        }
        Activation::Floor => constant(x.value.floor()),
        Activation::Ceil => constant(x.value.ceil()),
        Activation::Round => constant(x.value.round_ties_even()),
        Activation::Truncate => constant(x.value.trunc()),
        Activation::Sign => {
            let sign = if x.value > 0.0 { 1.0 } else { -1.0 };
            constant(if x.value == 0.0 || x.value.is_nan() { x.value } else { sign })
        }
        Activation::Sin => Dual { value: x.value.sin(), slope: x.slope * x.value.cos() },
        Activation::Cos => Dual { value: x.value.cos(), slope: -x.slope * x.value.sin() },
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}

fn normalized(x: Dual, lane: &[Dual], epsilon: f64) -> Dual {
    let count = Dual::from(lane.len() as f64);
    let mean = sum(lane.iter().copied()) / count;
    let variance = sum(lane.iter().map(|&x| (x - mean) * (x - mean))) / count;
    (x - mean) / (variance + Dual::from(epsilon)).sqrt()
}

fn first_extreme(lane: &[Dual], beats: impl Fn(f64, f64) -> bool) -> Dual {
    let better = |best: Dual, x: Dual| if beats(x.value, best.value) || x.value.is_nan() { x } else { best };
    lane[1..].iter().fold(lane[0], |best, &x| better(best, x))
}

fn product(a: &ArrayD<Dual>, b: &ArrayD<Dual>) -> ArrayD<Dual> {
    let (a_front, a_last) = a.shape().split_at(a.ndim() - 2);
    let (b_front, b_last) = b.shape().split_at(b.ndim() - 2);
    let front = common_dims(a_front, b_front).expect("BUG: shapes have been checked");
    each(&[&front[..], &[a_last[0], b_last[1]]].concat(), |at| {
        let (front, [row, column]) = (&at[..at.len() - 2], [at[at.len() - 2], at[at.len() - 1]]);
        let place = |dims: &[usize], last: [usize; 2]| [&broadcast_index(front, dims)[..], &last].concat();
        sum((0..a_last[1]).map(|k| a[&place(a_front, [row, k])[..]] * b[&place(b_front, [k, column])[..]]))
    })
}

fn pairs(a: &ArrayD<Dual>, b: &ArrayD<Dual>, f: impl Fn(Dual, Dual) -> Dual) -> ArrayD<Dual> {
    let dims = common_dims(a.shape(), b.shape()).expect("BUG: shapes have been checked");
    each(&dims, |at| f(a[&broadcast_index(at, a.shape())[..]], b[&broadcast_index(at, b.shape())[..]]))
}

/// What becomes of the numbers that differ in these axes only, in row-major order.
fn over(x: &ArrayD<Dual>, axes: &[usize], keep: bool, f: impl Fn(&[Dual]) -> Dual) -> ArrayD<Dual> {
    let kept = each(
        &x.shape()
            .iter()
            .enumerate()
            .map(|(i, &n)| if axes.contains(&i) { 1 } else { n })
            .collect::<Vec<_>>(),
        |at| f(&within(x, |other| (0..other.len()).all(|i| axes.contains(&i) || other[i] == at[i]))),
    );
    if keep {
        return kept;
    }
    let left = (0..x.ndim()).filter(|i| !axes.contains(i)).map(|i| x.shape()[i]).collect::<Vec<_>>();
    kept.into_shape_with_order(IxDyn(&left)).expect("BUG: axes of length 1 are left out")
}

/// The numbers at some places, in row-major order.
fn within(x: &ArrayD<Dual>, at: impl Fn(&[usize]) -> bool) -> Vec<Dual> {
    let places = x.indexed_iter().filter(|(place, _)| at(place.as_array_view().as_slice().unwrap()));
    places.map(|(_, &x)| x).collect()
}

fn each(dims: &[usize], f: impl Fn(&[usize]) -> Dual) -> ArrayD<Dual> {
    ArrayD::from_shape_fn(IxDyn(dims), |at| f(at.as_array_view().as_slice().unwrap()))
}

fn sum(terms: impl Iterator<Item = Dual>) -> Dual {
    terms.fold(Dual::from(0.0), |sum, x| sum + x)
}

impl From<f64> for Dual {
    fn from(value: f64) -> Self {
        Dual { value, slope: 0.0 }
    }
}

impl Dual {
    fn exp(self) -> Self {
        Dual { value: self.value.exp(), slope: self.slope * self.value.exp() }
    }

    fn ln(self) -> Self {
        Dual { value: self.value.ln(), slope: self.slope / self.value }
    }

    /// The slope at 0 is 0.
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        Dual { value, slope: if value == 0.0 { 0.0 } else { self.slope / (2.0 * value) } }
    }

    fn tanh(self) -> Self {
        let value = self.value.tanh();
        Dual { value, slope: self.slope * (1.0 - value * value) }
    }

    fn erf(self) -> Self {
        let density = 2.0 / std::f64::consts::PI.sqrt() * (-self.value * self.value).exp();
        Dual { value: erf(self.value), slope: self.slope * density }
    }

    /// By the exponent the slope is 0 where the base is 0; by the base it is 0 where the exponent is 0.
    fn power(self, exponent: Self) -> Self {
        let value = self.value.powf(exponent.value);
        let none = |slope: f64, at: f64| slope == 0.0 || at == 0.0;
        let by_base = match none(self.slope, exponent.value) {
            true => 0.0,
            false => self.slope * exponent.value * self.value.powf(exponent.value - 1.0),
        };
        let by_exponent = match none(exponent.slope, self.value) {
            true => 0.0,
            false => exponent.slope * value * self.value.ln(),
        };
        Dual { value, slope: by_base + by_exponent }
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Dual { value: self.value + other.value, slope: self.slope + other.slope }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Dual { value: self.value - other.value, slope: self.slope - other.slope }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Dual { value: self.value * other.value, slope: self.slope * other.value + self.value * other.slope }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Dual { value, slope: (self.slope - value * other.slope) / other.value }
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        Dual { value: -self.value, slope: -self.slope }
    }
}
