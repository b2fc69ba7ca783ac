//! Layers by their formulas in numbers that remember what they were computed from, so that no derivative is written
//! out.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Range, Sub};

use attr_core::{Activation, Comparison, Op};
use ndarray::{ArrayD, Dimension, IxDyn, Slice};

use super::linear::broadcast_index;
use super::nonlinear::erf;
use super::tensor::common_dims;

/// A number, and its place on the tape.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Traced {
    value: f64,
    place: usize,
}

/// The place of numbers that nothing is asked about.
const CONSTANT: usize = usize::MAX;

thread_local! {
    /// For each number, in the order of computing, the places of those that it was computed from and how fast it
    /// changes with each.
    static TAPE: RefCell<Vec<[(usize, f64); 2]>> = const { RefCell::new(Vec::new()) };
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
    let inputs: Vec<_> = inputs.iter().map(|input| input.mapv(Traced::from)).collect();
    value(op, &inputs, params).mapv(|y| y.value)
}

pub(super) fn vjp(
    op: &Op,
    inputs: &[&ArrayD<f64>],
    params: &[&ArrayD<f64>],
    cotangent: &ArrayD<f64>,
) -> Vec<ArrayD<f64>> {
    TAPE.take();
    let inputs: Vec<_> = inputs.iter().map(|input| input.mapv(Traced::followed)).collect();
    let y = value(op, &inputs, params);
    let tape = TAPE.take();
    let mut slopes = vec![0.0; tape.len()];
    for (y, c) in y.iter().zip(cotangent).filter(|(y, _)| y.place != CONSTANT) {
        slopes[y.place] += c;
    }
    for (place, sources) in tape.iter().enumerate().rev() {
        // What does not change with a number has nothing to say, not even NaN.
        for &(source, by) in sources.iter().filter(|&&(source, by)| source != CONSTANT && by != 0.0) {
            if slopes[place] != 0.0 {
                slopes[source] += slopes[place] * by;
            }
        }
    }
    inputs.iter().map(|input| input.mapv(|x| slopes[x.place])).collect()
}

fn value(op: &Op, inputs: &[ArrayD<Traced>], params: &[&ArrayD<f64>]) -> ArrayD<Traced> {
    let x = &inputs[0];
    let param = |i: usize, at: &[usize]| Traced::from(params[i][at]);
    match op {
        Op::LayerNorm { axis, epsilon } => each(x.shape(), |at| {
            let lane = within(x, |i| if i < *axis { at[i]..at[i] + 1 } else { 0..x.shape()[i] });
            normalized(x[at], &lane, *epsilon) * param(0, &at[*axis..]) + param(1, &at[*axis..])
        }),
        Op::GroupNorm { groups, epsilon } => each(x.shape(), |at| {
            let of_group = x.shape()[1] / groups;
            let first = at[1] / of_group * of_group;
            let group = within(x, |i| match i {
                0 => at[0]..at[0] + 1,
                1 => first..first + of_group,
                _ => 0..x.shape()[i],
            });
            normalized(x[at], &group, *epsilon) * param(0, &at[1..2]) + param(1, &at[1..2])
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
            let base = sum(squares) * Traced::from(alpha / *size as f64) + Traced::from(*bias);
            x[at] / base.power(Traced::from(*beta))
        }),
        Op::PRelu => each(x.shape(), |at| {
            let slope = param(0, &broadcast_index(at, params[0].shape()));
            if x[at].value > 0.0 { x[at] } else { x[at] * slope }
        }),
        Op::Max { axes, keep } => over(x, axes, *keep, |lane| first_extreme(lane, |a, b| a > b)),
        Op::Min { axes, keep } => over(x, axes, *keep, |lane| first_extreme(lane, |a, b| a < b)),
        Op::Norm { axes, keep } => over(x, axes, *keep, |lane| sum(lane.iter().map(|&x| x * x)).sqrt()),
        Op::Power => pairs(x, &inputs[1], Traced::power),
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
            Traced::from(f64::from(u8::from(holds)))
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
                sum(dots) * Traced::from(*scale) + mask.unwrap_or(Traced::from(0.0))
            });
            let weights = each(&dims, |at| {
                let keys = 0..dims[rank - 1];
                let lane = within(&scores, |i| if i < rank - 1 { at[i]..at[i] + 1 } else { keys.clone() });
                let most = lane.iter().fold(f64::NEG_INFINITY, |most, x| most.max(x.value));
                let exp = |x: Traced| (x - Traced::from(most)).exp();
                exp(scores[at]) / sum(lane.iter().map(|&x| exp(x)))
            });
            product(&weights, &inputs[2])
        }
        Op::Activation(activation) => x.mapv(|x| function(*activation, x)),
        op => panic!("BUG: {} is not among the layers here", op.kind()),
    }
}

fn function(activation: Activation, x: Traced) -> Traced {
    let (zero, one) = (Traced::from(0.0), Traced::from(1.0));
    // The derivative at a bound is that of the outside.
    let clip = |y: Traced| {
        if y.value <= 0.0 {
            zero
        } else if y.value >= 1.0 {
            one
        } else {
            y
        }
    };
    let constant = |y: f64| Traced::from(y);
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
        Activation::Sin => x.sin(),
        Activation::Cos => x.cos(),
        other => panic!("BUG: the reference has no formula for {other:?}"),
    }
}

fn normalized(x: Traced, lane: &[Traced], epsilon: f64) -> Traced {
    let count = Traced::from(lane.len() as f64);
    let mean = sum(lane.iter().copied()) / count;
    let variance = sum(lane.iter().map(|&x| (x - mean) * (x - mean))) / count;
    (x - mean) / (variance + Traced::from(epsilon)).sqrt()
}

fn first_extreme(lane: &[Traced], beats: impl Fn(f64, f64) -> bool) -> Traced {
    let better =
        |best: Traced, x: Traced| if beats(x.value, best.value) || x.value.is_nan() { x } else { best };
    lane[1..].iter().fold(lane[0], |best, &x| better(best, x))
}

fn product(a: &ArrayD<Traced>, b: &ArrayD<Traced>) -> ArrayD<Traced> {
    let (a_front, a_last) = a.shape().split_at(a.ndim() - 2);
    let (b_front, b_last) = b.shape().split_at(b.ndim() - 2);
    let front = common_dims(a_front, b_front).expect("BUG: shapes have been checked");
    each(&[&front[..], &[a_last[0], b_last[1]]].concat(), |at| {
        let (front, [row, column]) = (&at[..at.len() - 2], [at[at.len() - 2], at[at.len() - 1]]);
        let place = |dims: &[usize], last: [usize; 2]| [&broadcast_index(front, dims)[..], &last].concat();
        sum((0..a_last[1]).map(|k| a[&place(a_front, [row, k])[..]] * b[&place(b_front, [k, column])[..]]))
    })
}

fn pairs(a: &ArrayD<Traced>, b: &ArrayD<Traced>, f: impl Fn(Traced, Traced) -> Traced) -> ArrayD<Traced> {
    let dims = common_dims(a.shape(), b.shape()).expect("BUG: shapes have been checked");
    each(&dims, |at| f(a[&broadcast_index(at, a.shape())[..]], b[&broadcast_index(at, b.shape())[..]]))
}

/// What becomes of the numbers that differ in these axes only, in row-major order.
fn over(x: &ArrayD<Traced>, axes: &[usize], keep: bool, f: impl Fn(&[Traced]) -> Traced) -> ArrayD<Traced> {
    let kept = each(
        &x.shape()
            .iter()
            .enumerate()
            .map(|(i, &n)| if axes.contains(&i) { 1 } else { n })
            .collect::<Vec<_>>(),
        |at| f(&within(x, |i| if axes.contains(&i) { 0..x.shape()[i] } else { at[i]..at[i] + 1 })),
    );
    if keep {
        return kept;
    }
    let left = (0..x.ndim()).filter(|i| !axes.contains(i)).map(|i| x.shape()[i]).collect::<Vec<_>>();
    kept.into_shape_with_order(IxDyn(&left)).expect("BUG: axes of length 1 are left out")
}

/// The numbers in a range of each axis, in row-major order.
fn within(x: &ArrayD<Traced>, range: impl Fn(usize) -> Range<usize>) -> Vec<Traced> {
    x.slice_each_axis(|axis| Slice::from(range(axis.axis.index()))).iter().copied().collect()
}

fn each(dims: &[usize], f: impl Fn(&[usize]) -> Traced) -> ArrayD<Traced> {
    ArrayD::from_shape_fn(IxDyn(dims), |at| f(at.as_array_view().as_slice().unwrap()))
}

fn sum(terms: impl Iterator<Item = Traced>) -> Traced {
    terms.fold(Traced::from(0.0), |sum, x| sum + x)
}

impl From<f64> for Traced {
    fn from(value: f64) -> Self {
        Traced { value, place: CONSTANT }
    }
}

impl Traced {
    /// A number whose changes are asked about.
    fn followed(value: f64) -> Self {
        Traced { value, place: record([(CONSTANT, 0.0); 2]) }
    }

    /// A number computed from one other, and how fast it changes with that.
    fn by(self, value: f64, slope: f64) -> Self {
        self.by_two(Traced::from(0.0), value, [slope, 0.0])
    }

    fn by_two(self, other: Self, value: f64, slopes: [f64; 2]) -> Self {
        if self.place == CONSTANT && other.place == CONSTANT {
            return Traced::from(value);
        }
        Traced { value, place: record([(self.place, slopes[0]), (other.place, slopes[1])]) }
    }

    fn exp(self) -> Self {
        let value = self.value.exp();
        self.by(value, value)
    }

    fn ln(self) -> Self {
        self.by(self.value.ln(), 1.0 / self.value)
    }

    fn sin(self) -> Self {
        self.by(self.value.sin(), self.value.cos())
    }

    fn cos(self) -> Self {
        self.by(self.value.cos(), -self.value.sin())
    }

    /// The slope at 0 is 0.
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        self.by(value, if value == 0.0 { 0.0 } else { 0.5 / value })
    }

    fn tanh(self) -> Self {
        let value = self.value.tanh();
        self.by(value, 1.0 - value * value)
    }

    fn erf(self) -> Self {
        let density = 2.0 / std::f64::consts::PI.sqrt() * (-self.value * self.value).exp();
        self.by(erf(self.value), density)
    }

    /// By the exponent the slope is 0 where the base is 0; by the base it is 0 where the exponent is 0.
    fn power(self, exponent: Self) -> Self {
        let (x, n) = (self.value, exponent.value);
        let value = x.powf(n);
        let by_base = if n == 0.0 { 0.0 } else { n * x.powf(n - 1.0) };
        let by_exponent = if x == 0.0 { 0.0 } else { value * x.ln() };
        self.by_two(exponent, value, [by_base, by_exponent])
    }
}

fn record(sources: [(usize, f64); 2]) -> usize {
    TAPE.with_borrow_mut(|tape| {
        tape.push(sources);
        tape.len() - 1
    })
}

impl Add for Traced {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.by_two(other, self.value + other.value, [1.0, 1.0])
    }
}

impl Sub for Traced {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.by_two(other, self.value - other.value, [1.0, -1.0])
    }
}

impl Mul for Traced {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.by_two(other, self.value * other.value, [other.value, self.value])
    }
}

impl Div for Traced {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        self.by_two(other, value, [1.0 / other.value, -value / other.value])
    }
}

impl Neg for Traced {
    type Output = Self;
    fn neg(self) -> Self {
        self.by(-self.value, -1.0)
    }
}
