//! Maxima and means of windows, and their cotangents.
//!
//! Windows along three axes are taken in two steps: in each plane, then along the first axis, of which each row is
//! a plane. The first of equal maxima is the first in the first of the planes that have it, so ties go as they should.

use attr_core::Pool;
use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// The largest value of each window.
pub(crate) struct Max<'a>(pub(crate) &'a Pool);

/// The cotangent of the input of [`Max`] from the input and the output's cotangent.
pub(crate) struct MaxBackward<'a>(pub(crate) &'a Pool);

/// The mean of each window; padding counts if the flag is set.
pub(crate) struct Average<'a>(pub(crate) &'a Pool, pub(crate) bool);

/// The cotangent of the input of [`Average`], of these lengths.
pub(crate) struct AverageBackward<'a>(pub(crate) &'a Pool, pub(crate) bool, pub(crate) &'a [usize]);

impl HostOp<1> for Max<'_> {
    fn name(&self) -> &'static str {
        "max pooling"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        if let Some([planes, depth]) = steps(self.0, x.dims) {
            let (y, _) = Max(&planes.pool).run([planes.of(x.data)]);
            let (y, _) = Max(&depth.pool).run([depth.of(&y)]);
            return (y, out_dims(self.0, x.dims));
        }
        let windows = Windows::new(self.0, x.dims);
        let mut y = vec![T::zero(); windows.planes * windows.out_len()];
        let planes = y.par_chunks_exact_mut(windows.out_len()).zip(x.data.par_chunks_exact(windows.len()));
        planes.for_each(|(y, x)| {
            for (row, maxima) in y.chunks_exact_mut(windows.out[1]).enumerate() {
                maxima.fill(T::neg_infinity());
                windows.taps(row, |first, from, count| {
                    let maxima = &mut maxima[first..][..count];
                    every(x, from, windows.stride[1], maxima.iter_mut(), |x, maximum| {
                        // NaN wins, so that it is not hidden.
                        *maximum = if x > *maximum || x.is_nan() { x } else { *maximum };
                    });
                });
            }
        });
        (y, out_dims(self.0, x.dims))
    }
}

impl HostOp<2> for MaxBackward<'_> {
    fn name(&self) -> &'static str {
        "max pooling's cotangent"
    }

    fn run<T: Real>(&self, [x, cotangent]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        if let Some([planes, depth]) = steps(self.0, x.dims) {
            let (y, _) = Max(&planes.pool).run([planes.of(x.data)]);
            let (c, _) = MaxBackward(&depth.pool).run([depth.of(&y), cotangent]);
            let (c, _) = MaxBackward(&planes.pool).run([planes.of(x.data), depth.of(&c)]);
            return (c, x.dims.to_vec());
        }
        let windows = Windows::new(self.0, x.dims);
        let mut y = vec![T::zero(); x.data.len()];
        let planes = y.par_chunks_exact_mut(windows.len()).zip(x.data.par_chunks_exact(windows.len()));
        planes.zip(cotangent.data.par_chunks_exact(windows.out_len())).for_each(|((y, x), cotangent)| {
            let mut maxima = vec![T::neg_infinity(); windows.out[1]];
            let mut places = vec![NOWHERE; windows.out[1]];
            for (row, cotangent) in cotangent.chunks_exact(windows.out[1]).enumerate() {
                maxima.fill(T::neg_infinity());
                places.fill(NOWHERE);
                windows.taps(row, |first, from, count| {
                    let columns =
                        (0..count as u32).map(|window| (from + windows.stride[1] * window as usize) as u32);
                    let maxima = maxima[first..][..count].iter_mut().zip(&mut places[first..][..count]);
                    every(x, from, windows.stride[1], maxima.zip(columns), |x, ((maximum, place), at)| {
                        // Which one is larger can't be foretold: a choice of values, not a jump.
                        let wins = x > *maximum || *place == NOWHERE || x.is_nan();
                        *maximum = if wins { x } else { *maximum };
                        *place = if wins { at } else { *place };
                    });
                });
                for (&at, &cotangent) in places.iter().zip(cotangent) {
                    // A window of nothing but padding has no entry.
                    if let Some(y) = y.get_mut(at as usize) {
                        *y += cotangent;
                    }
                }
            }
        });
        (y, x.dims.to_vec())
    }
}

impl HostOp<1> for Average<'_> {
    fn name(&self) -> &'static str {
        "average pooling"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        if let Some([planes, depth]) = steps(self.0, x.dims) {
            let (y, _) = Average(&planes.pool, self.1).run([planes.of(x.data)]);
            let (y, _) = Average(&depth.pool, self.1).run([depth.of(&y)]);
            return (y, out_dims(self.0, x.dims));
        }
        let windows = Windows::new(self.0, x.dims);
        let (rows, columns) = (windows.spans(0, self.1), windows.spans(1, self.1));
        let mut y = vec![T::zero(); windows.planes * windows.out_len()];
        let planes = y.par_chunks_exact_mut(windows.out_len()).zip(x.data.par_chunks_exact(windows.len()));
        planes.for_each(|(y, x)| {
            for (y, row) in y.chunks_exact_mut(windows.out[1]).zip(&rows) {
                for (y, column) in y.iter_mut().zip(&columns) {
                    let sum: T = row
                        .inside
                        .iter()
                        .flat_map(|r| column.inside.iter().map(move |c| (r, c)))
                        .map(|(r, c)| x[r * windows.size[1] + c])
                        .sum();
                    *y = sum / count(row.count * column.count);
                }
            }
        });
        (y, out_dims(self.0, x.dims))
    }
}

impl HostOp<1> for AverageBackward<'_> {
    fn name(&self) -> &'static str {
        "average pooling's cotangent"
    }

    fn run<T: Real>(&self, [cotangent]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        if let Some([planes, depth]) = steps(self.0, self.2) {
            let (c, _) = AverageBackward(&depth.pool, self.1, &depth.dims).run([cotangent]);
            let (c, _) = AverageBackward(&planes.pool, self.1, &planes.dims).run([depth.of(&c)]);
            return (c, self.2.to_vec());
        }
        let windows = Windows::new(self.0, self.2);
        let (rows, columns) = (windows.spans(0, self.1), windows.spans(1, self.1));
        let mut y = vec![T::zero(); windows.planes * windows.len()];
        let planes =
            y.par_chunks_exact_mut(windows.len()).zip(cotangent.data.par_chunks_exact(windows.out_len()));
        planes.for_each(|(y, cotangent)| {
            for (cotangent, row) in cotangent.chunks_exact(windows.out[1]).zip(&rows) {
                for (&cotangent, column) in cotangent.iter().zip(&columns) {
                    let share = cotangent / count(row.count * column.count);
                    for r in &row.inside {
                        column.inside.iter().for_each(|c| y[r * windows.size[1] + c] += share);
                    }
                }
            }
        });
        (y, self.2.to_vec())
    }
}

fn count<T: Real>(n: usize) -> T {
    T::from(n).expect("BUG: a count is a number")
}

/// The lengths of what a pooling layer gives.
fn out_dims(pool: &Pool, x: &[usize]) -> Vec<usize> {
    let windows = x[2..].iter().enumerate().map(|(axis, &size)| pool.windows(axis, size));
    x[..2].iter().copied().chain(windows).collect()
}

/// Windows along two axes, and the lengths of the value that they are over.
struct Step {
    pool: Pool,
    dims: [usize; 4],
}

impl Step {
    fn of<'a, T>(&'a self, data: &'a [T]) -> View<'a, T> {
        View { data, dims: &self.dims }
    }
}

/// Windows along three axes in two steps; `None` for fewer axes.
fn steps(pool: &Pool, x: &[usize]) -> Option<[Step; 2]> {
    let &[rows, channels, depth, height, width] = x else { return None };
    let planes = Pool {
        kernel: pool.kernel[1..].to_vec(),
        stride: pool.stride[1..].to_vec(),
        padding: pool.padding[1..].to_vec(),
        dilation: pool.dilation[1..].to_vec(),
        ceil: pool.ceil,
    };
    let along = Pool {
        kernel: vec![pool.kernel[0], 1],
        stride: vec![pool.stride[0], 1],
        padding: vec![pool.padding[0], (0, 0)],
        dilation: vec![pool.dilation[0], 1],
        ceil: pool.ceil,
    };
    let plane = planes.windows(0, height) * planes.windows(1, width);
    Some([
        Step { pool: planes, dims: [rows, channels * depth, height, width] },
        Step { pool: along, dims: [rows, channels, depth, plane] },
    ])
}

/// Windows over planes with two spatial axes; where there is one, it is the second of them.
struct Windows {
    planes: usize,
    size: [usize; 2],
    out: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [(usize, usize); 2],
}

/// One window along one axis.
struct Span {
    /// The entries in the window that are not padding.
    inside: Vec<usize>,
    /// How many entries the mean is over.
    count: usize,
}

impl Windows {
    fn new(pool: &Pool, x: &[usize]) -> Self {
        let axes = x.len() - 2;
        let two =
            |values: &[usize], missing| if axes == 1 { [missing, values[0]] } else { [values[0], values[1]] };
        let size = two(&x[2..], 1);
        Windows {
            planes: x[0] * x[1],
            size,
            out: if axes == 1 {
                [1, pool.windows(0, size[1])]
            } else {
                [0, 1].map(|i| pool.windows(i, size[i]))
            },
            kernel: two(&pool.kernel, 1),
            stride: two(&pool.stride, 1),
            dilation: two(&pool.dilation, 1),
            padding: if axes == 1 { [(0, 0), pool.padding[0]] } else { [pool.padding[0], pool.padding[1]] },
        }
    }

    fn padded(&self, axis: usize) -> usize {
        self.padding[axis].0 + self.size[axis] + self.padding[axis].1
    }

    fn len(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn out_len(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// The windows along an axis. Where padding counts, what reaches beyond it does not.
    fn spans(&self, axis: usize, padding_counts: bool) -> Vec<Span> {
        let (before, size) = (self.padding[axis].0, self.size[axis]);
        (0..self.out[axis])
            .map(|window| {
                let first = window * self.stride[axis];
                let entries = (0..self.kernel[axis]).map(|k| first + k * self.dilation[axis]);
                let in_padded = entries.filter(|&entry| entry < self.padded(axis));
                let all = in_padded.clone().count();
                let inside: Vec<_> = in_padded
                    .filter(|entry| (before..before + size).contains(entry))
                    .map(|e| e - before)
                    .collect();
                let count = if padding_counts { all } else { inside.len() };
                Span { count: count.max(1), inside }
            })
            .collect()
    }

    /// Calls `tap` for each entry of the windows of a row, in row-major order, with the first window that
    /// has it, where in the plane it is for that window, and how many windows have it from there on.
    fn taps(&self, row: usize, mut tap: impl FnMut(usize, usize, usize)) {
        for r in 0..self.kernel[0] {
            let place = row * self.stride[0] + r * self.dilation[0];
            let Some(r) = place.checked_sub(self.padding[0].0).filter(|&r| r < self.size[0]) else {
                continue;
            };
            for c in 0..self.kernel[1] {
                // Window w has column w * stride + ahead - before, if that is one.
                let (ahead, before, stride) = (c * self.dilation[1], self.padding[1].0, self.stride[1]);
                let first = before.saturating_sub(ahead).div_ceil(stride);
                let end = (self.size[1] + before).saturating_sub(ahead).div_ceil(stride).min(self.out[1]);
                if first < end {
                    tap(first, r * self.size[1] + first * stride + ahead - before, end - first);
                }
            }
        }
    }
}

/// No place in a plane: planes are smaller than this, see [`attr_core::Graph::add`].
const NOWHERE: u32 = u32::MAX;

/// Calls `each` with every `stride`-th number from a place on and what belongs to the windows.
fn every<T: Real, A>(
    x: &[T],
    from: usize,
    stride: usize,
    windows: impl ExactSizeIterator<Item = A>,
    mut each: impl FnMut(T, A),
) {
    match (stride, x.get(from..from + 2 * windows.len())) {
        // The usual strides get loops that the compiler can turn into vectors.
        (1, _) => windows.zip(&x[from..]).for_each(|(window, &x)| each(x, window)),
        (2, Some(pairs)) => {
            windows.zip(pairs.as_chunks::<2>().0).for_each(|(window, pair)| each(pair[0], window));
        }
        _ => windows.zip(x[from..].iter().step_by(stride)).for_each(|(window, &x)| each(x, window)),
    }
}
