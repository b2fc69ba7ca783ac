//! Spatial axes sampled anew, and the cotangent: what [`attr_core::Resize::taps`] says, nothing else.

use attr_core::Resize;
use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// Spatial axes at a new size.
pub(crate) struct Forward<'a>(pub(crate) &'a Resize);

/// The cotangent of the input of [`Forward`], of these lengths.
pub(crate) struct Backward<'a>(pub(crate) &'a Resize, pub(crate) &'a [usize]);

impl HostOp<1> for Forward<'_> {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let [first, rest @ ..] = &Grid::steps(self.0, x.dims)[..] else {
            panic!("BUG: a resize without axes")
        };
        let y = rest.iter().fold(first.forward(x.data), |y, grid| grid.forward(&y));
        (y, [&x.dims[..2], &self.0.size].concat())
    }
}

impl HostOp<1> for Backward<'_> {
    fn name(&self) -> &'static str {
        "resize's cotangent"
    }

    fn run<T: Real>(&self, [cotangent]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let [rest @ .., last] = &Grid::steps(self.0, self.1)[..] else {
            panic!("BUG: a resize without axes")
        };
        let c = rest.iter().rev().fold(last.backward(cotangent.data), |c, grid| grid.backward(&c));
        (c, self.1.to_vec())
    }
}

type Taps = Vec<Vec<(usize, f64)>>;

/// The taps of two axes of every plane.
struct Grid {
    planes: usize,
    rows: Taps,
    columns: Taps,
    old: [usize; 2],
}

impl Grid {
    /// Three spatial axes are two steps: each plane, then the first axis with planes for rows.
    fn steps(resize: &Resize, x: &[usize]) -> Vec<Grid> {
        let taps = |axis: usize| resize.taps(axis, x[axis + 2]);
        let same = |len: usize| (0..len).map(|entry| vec![(entry, 1.0)]).collect();
        let planes = x[0] * x[1];
        match x[2..] {
            [columns] => vec![Grid { planes, rows: same(1), columns: taps(0), old: [1, columns] }],
            [rows, columns] => vec![Grid { planes, rows: taps(0), columns: taps(1), old: [rows, columns] }],
            [depth, rows, columns] => {
                let plane = resize.size[1] * resize.size[2];
                vec![
                    Grid { planes: planes * depth, rows: taps(1), columns: taps(2), old: [rows, columns] },
                    Grid { planes, rows: taps(0), columns: same(plane), old: [depth, plane] },
                ]
            }
            _ => panic!("BUG: a resize of {} axes", x.len()),
        }
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let mut y = vec![T::zero(); self.planes * self.new_len()];
        let planes = y.par_chunks_exact_mut(self.new_len()).zip(x.par_chunks_exact(self.old_len()));
        planes.for_each(|(y, x)| self.each(|new, old, weight: T| y[new] += x[old] * weight));
        y
    }

    fn backward<T: Real>(&self, cotangent: &[T]) -> Vec<T> {
        let mut y = vec![T::zero(); self.planes * self.old_len()];
        let planes = y.par_chunks_exact_mut(self.old_len()).zip(cotangent.par_chunks_exact(self.new_len()));
        planes.for_each(|(y, cotangent)| self.each(|new, old, weight: T| y[old] += cotangent[new] * weight));
        y
    }

    fn old_len(&self) -> usize {
        self.old[0] * self.old[1]
    }

    fn new_len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Calls `term` with the new entry, the old entry and the weight of each term that has one.
    fn each<T: Real>(&self, mut term: impl FnMut(usize, usize, T)) {
        for (i, row) in self.rows.iter().enumerate() {
            for &(r, row_weight) in row.iter().filter(|tap| tap.1 != 0.0) {
                for (j, column) in self.columns.iter().enumerate() {
                    for &(c, column_weight) in column.iter().filter(|tap| tap.1 != 0.0) {
                        let weight = T::from(row_weight * column_weight);
                        let weight = weight.expect("BUG: every f64 converts to a float");
                        term(i * self.columns.len() + j, r * self.old[1] + c, weight);
                    }
                }
            }
        }
    }
}
