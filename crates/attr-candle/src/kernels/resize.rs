//! Spatial axes sampled anew, and the cotangent: what [`attr_core::Resize::taps`] says, nothing else.

use attr_core::Resize;
use rayon::prelude::*;

use super::host::{HostOp, View};
use super::raw::Real;

/// One or two spatial axes at a new size.
pub(crate) struct Forward<'a>(pub(crate) &'a Resize);

/// The cotangent of the input of [`Forward`], of these lengths.
pub(crate) struct Backward<'a>(pub(crate) &'a Resize, pub(crate) &'a [usize]);

impl HostOp<1> for Forward<'_> {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn run<T: Real>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let grid = Grid::new(self.0, x.dims);
        let mut y = vec![T::zero(); x.dims[0] * x.dims[1] * grid.new_len()];
        let planes = y.par_chunks_exact_mut(grid.new_len()).zip(x.data.par_chunks_exact(grid.old_len()));
        planes.for_each(|(y, x)| grid.each(|new, old, weight: T| y[new] += x[old] * weight));
        (y, [&x.dims[..2], &self.0.size].concat())
    }
}

impl HostOp<1> for Backward<'_> {
    fn name(&self) -> &'static str {
        "resize's cotangent"
    }

    fn run<T: Real>(&self, [cotangent]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let grid = Grid::new(self.0, self.1);
        let mut y = vec![T::zero(); self.1.iter().product()];
        let planes =
            y.par_chunks_exact_mut(grid.old_len()).zip(cotangent.data.par_chunks_exact(grid.new_len()));
        planes.for_each(|(y, cotangent)| grid.each(|new, old, weight: T| y[old] += cotangent[new] * weight));
        (y, self.1.to_vec())
    }
}

type Taps = Vec<Vec<(usize, f64)>>;

/// The taps of two spatial axes; where there is one, it is the second of them.
struct Grid {
    rows: Taps,
    columns: Taps,
    old: [usize; 2],
}

impl Grid {
    fn new(resize: &Resize, x: &[usize]) -> Self {
        match *x {
            [_, _, columns] => {
                Grid { rows: vec![vec![(0, 1.0)]], columns: resize.taps(0, columns), old: [1, columns] }
            }
            [_, _, rows, columns] => {
                Grid { rows: resize.taps(0, rows), columns: resize.taps(1, columns), old: [rows, columns] }
            }
            _ => panic!("BUG: a resize of {} axes", x.len()),
        }
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
