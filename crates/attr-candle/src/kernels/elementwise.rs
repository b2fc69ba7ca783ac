//! What is done to each element by itself, and to each element by the channel it is in.

use attr_core::{Activation, Comparison};
use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// Elements of a task.
const CHUNK: usize = 1 << 14;

/// A function of each element.
pub(crate) struct Forward(pub(crate) Activation);

/// The cotangent of the input of [`Forward`] from the input and the output's cotangent.
pub(crate) struct Backward(pub(crate) Activation);

impl HostOp<1> for Forward {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        // The kinds that every network has get a loop of their own, which the compiler turns into vectors.
        let y = match self.0 {
            Activation::Relu => map(x.data, |x| Activation::Relu.value(x)),
            activation => map(x.data, |x| activation.value(x)),
        };
        (y, x.dims.to_vec())
    }
}

impl HostOp<2> for Backward {
    fn name(&self) -> &'static str {
        "activation's cotangent"
    }

    fn run<T: Real>(&self, [x, cotangent]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        let y = match self.0 {
            Activation::Relu => zip(x.data, cotangent.data, |x, c| if x > T::zero() { c } else { T::zero() }),
            activation => zip(x.data, cotangent.data, |x, c| c * activation.derivative(x)),
        };
        (y, x.dims.to_vec())
    }
}

/// Arithmetic on two values of the same shape.
#[derive(Clone, Copy)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Power,
    Maximum,
    Minimum,
    Compare(Comparison),
}

impl HostOp<2> for Binary {
    fn name(&self) -> &'static str {
        "arithmetic"
    }

    fn run<T: Real>(&self, [a, b]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        assert_eq!(a.dims, b.dims, "BUG: these shapes have to be broadcast first");
        let y = match self {
            Binary::Add => zip(a.data, b.data, |a, b| a + b),
            Binary::Sub => zip(a.data, b.data, |a, b| a - b),
            Binary::Mul => zip(a.data, b.data, |a, b| a * b),
            Binary::Div => zip(a.data, b.data, |a, b| a / b),
            Binary::Power => zip(a.data, b.data, T::powf),
            // NaN stays NaN.
            Binary::Maximum => zip(a.data, b.data, |a, b| if a >= b || a.is_nan() { a } else { b }),
            Binary::Minimum => zip(a.data, b.data, |a, b| if a <= b || a.is_nan() { a } else { b }),
            Binary::Compare(comparison) => {
                zip(a.data, b.data, |a, b| if holds(*comparison, a, b) { T::one() } else { T::zero() })
            }
        };
        (y, a.dims.to_vec())
    }
}

fn holds<T: Real>(comparison: Comparison, a: T, b: T) -> bool {
    match comparison {
        Comparison::Equal => a == b,
        Comparison::NotEqual => a != b,
        Comparison::Greater => a > b,
        Comparison::GreaterOrEqual => a >= b,
        Comparison::Less => a < b,
        Comparison::LessOrEqual => a <= b,
    }
}

/// The second value where the first is not 0, else the third; all of the same shape.
pub(crate) struct Where;

impl HostOp<3> for Where {
    fn name(&self) -> &'static str {
        "where"
    }

    fn run<T: Real>(&self, [condition, a, b]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        assert!(condition.dims == a.dims && a.dims == b.dims, "BUG: these shapes have to be broadcast first");
        let mut y = vec![T::zero(); a.data.len()];
        let chunks =
            condition.data.par_chunks(CHUNK).zip(a.data.par_chunks(CHUNK)).zip(b.data.par_chunks(CHUNK));
        y.par_chunks_mut(CHUNK).zip(chunks).for_each(|(y, ((condition, a), b))| {
            for (y, ((&condition, &a), &b)) in y.iter_mut().zip(condition.iter().zip(a).zip(b)) {
                *y = if condition != T::zero() { a } else { b };
            }
        });
        (y, a.dims.to_vec())
    }
}

/// `x * scale + shift` by channel (axis 1).
pub(crate) struct ByChannel;

impl HostOp<3> for ByChannel {
    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn run<T: Real>(&self, [x, scale, shift]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let channels = x.dims[1];
        let plane = x.dims[2..].iter().product::<usize>().max(1);
        let mut y = vec![T::zero(); x.data.len()];
        // Planes are many and small in the last layers: some of them a task.
        let least = CHUNK.div_ceil(plane);
        let planes = y.par_chunks_exact_mut(plane).zip(x.data.par_chunks_exact(plane));
        planes.enumerate().with_min_len(least).for_each(|(index, (y, x))| {
            let (scale, shift) = (scale.data[index % channels], shift.data[index % channels]);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * scale + shift);
        });
        (y, x.dims.to_vec())
    }
}

fn map<T: Real>(x: &[T], f: impl Fn(T) -> T + Sync) -> Vec<T> {
    let mut y = vec![T::zero(); x.len()];
    let chunks = y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
    chunks.for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)));
    y
}

fn zip<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    let mut y = vec![T::zero(); a.len()];
    let chunks = y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
    chunks.for_each(|((y, a), b)| y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)));
    y
}
