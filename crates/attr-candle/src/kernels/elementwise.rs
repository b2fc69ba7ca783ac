//! What is done to each element by itself, and to each element by the channel it is in.

use attr_core::{Activation, Comparison};
use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::{Real, each};
use super::smooth::{self, Smooth};

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
            Activation::Erf => map_smooth::<smooth::Erf, T>(x.data),
            Activation::Gelu => map_smooth::<smooth::Gelu, T>(x.data),
            Activation::Sigmoid => map_smooth::<smooth::Sigmoid, T>(x.data),
            Activation::Silu => map_smooth::<smooth::Silu, T>(x.data),
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
            Activation::Erf => zip_smooth::<smooth::ErfSlope, T>(x.data, cotangent.data),
            Activation::Gelu => zip_smooth::<smooth::GeluSlope, T>(x.data, cotangent.data),
            Activation::Sigmoid => zip_smooth::<smooth::SigmoidSlope, T>(x.data, cotangent.data),
            Activation::Silu => zip_smooth::<smooth::SiluSlope, T>(x.data, cotangent.data),
            activation => zip(x.data, cotangent.data, |x, c| c * activation.derivative(x)),
        };
        (y, x.dims.to_vec())
    }
}

/// Arithmetic on two values, broadcasting.
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
        let walk = Walk::new(a.dims, b.dims);
        let y = match self {
            Binary::Add => walk.zip(a.data, b.data, |a, b| a + b),
            Binary::Sub => walk.zip(a.data, b.data, |a, b| a - b),
            Binary::Mul => walk.zip(a.data, b.data, |a, b| a * b),
            Binary::Div => walk.zip(a.data, b.data, |a, b| a / b),
            Binary::Power => walk.zip(a.data, b.data, T::powf),
            // NaN stays NaN.
            Binary::Maximum => walk.zip(a.data, b.data, |a, b| if a >= b || a.is_nan() { a } else { b }),
            Binary::Minimum => walk.zip(a.data, b.data, |a, b| if a <= b || a.is_nan() { a } else { b }),
            Binary::Compare(comparison) => {
                walk.zip(a.data, b.data, |a, b| if holds(*comparison, a, b) { T::one() } else { T::zero() })
            }
        };
        (y, walk.dims)
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

fn map_smooth<F: Smooth, T: Real>(x: &[T]) -> Vec<T> {
    let mut y = vec![T::zero(); x.len()];
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| each::<F, T>(x, y));
    y
}

fn zip_smooth<F: Smooth, T: Real>(x: &[T], cotangent: &[T]) -> Vec<T> {
    let mut y = vec![T::zero(); x.len()];
    let chunks = y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(cotangent.par_chunks(CHUNK));
    chunks.for_each(|((y, x), cotangent)| {
        each::<F, T>(x, y);
        y.iter_mut().zip(cotangent).for_each(|(y, &c)| *y = c * *y);
    });
    y
}

fn zip<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    let mut y = vec![T::zero(); a.len()];
    let chunks = y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
    chunks.for_each(|((y, a), b)| y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)));
    y
}

/// How two values with broadcast shapes are gone through together.
struct Walk {
    /// The result's lengths.
    dims: Vec<usize>,
    /// The axes, of which neighbours that both values have, or that one of them repeats, are one: the length, and
    /// which of the values have it.
    axes: Vec<(usize, [bool; 2])>,
}

impl Walk {
    fn new(a: &[usize], b: &[usize]) -> Self {
        let rank = a.len().max(b.len());
        let len = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
        let (mut dims, mut axes): (Vec<_>, Vec<(usize, [bool; 2])>) = (Vec::new(), Vec::new());
        for axis in 0..rank {
            let (a, b) = (len(a, axis), len(b, axis));
            let (n, has) = (if a == 1 { b } else { a }, [a != 1, b != 1]);
            assert!(a == b || a == 1 || b == 1, "BUG: shapes that don't broadcast");
            dims.push(n);
            match axes.last_mut() {
                _ if n == 1 => {}
                Some((len, last)) if *last == has => *len *= n,
                _ => axes.push((n, has)),
            }
        }
        Walk { dims, axes }
    }

    fn zip<T: Real>(&self, a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
        let (run, has) = self.axes.last().copied().unwrap_or((1, [true; 2]));
        let mut y = vec![T::zero(); self.dims.iter().product()];
        y.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, mut y)| {
            let mut at = chunk * CHUNK;
            while !y.is_empty() {
                let (index, within) = (at / run, at % run);
                let (part, behind) = y.split_at_mut(y.len().min(run - within));
                let [a, b] = [(a, 0), (b, 1)].map(|(x, i)| {
                    let start = self.start(index, i);
                    if has[i] { &x[start + within..][..part.len()] } else { &x[start..][..1] }
                });
                match has {
                    [true, true] => {
                        part.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (&a, &b))| *y = f(a, b))
                    }
                    [true, false] => part.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b[0])),
                    _ => part.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a[0], b)),
                }
                at += part.len();
                y = behind;
            }
        });
        y
    }

    /// Where a value's numbers for a run begin.
    fn start(&self, mut index: usize, value: usize) -> usize {
        let [outer @ .., (run, has)] = &self.axes[..] else { return 0 };
        let (mut start, mut stride) = (0, if has[value] { *run } else { 1 });
        for (len, has) in outer.iter().rev() {
            if has[value] {
                start += index % len * stride;
                stride *= len;
            }
            index /= len;
        }
        start
    }
}
