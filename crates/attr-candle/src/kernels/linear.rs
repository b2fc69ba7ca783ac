//! `x W^T + b` over the last axis, and the cotangent of `x`.
//!
//! With few rows the time goes into reading the weights: each is read once for all rows. Where a value has more than
//! two axes there are many rows, and the layer is a matrix product ([`multiply`]). The number of axes decides, since
//! the number of rows must not change a bit of any result.

use rayon::prelude::*;

use super::host::{HostOp, View};
use super::product::{Factor, multiply};
use super::raw::Real;
use super::scratch;

/// A linear layer of a value with a weight, and a bias if there is a third input.
pub(crate) struct Forward;

/// The cotangent of a linear layer's input from that of its output and the weight.
pub(crate) struct Backward;

/// Rows of a task; all of them share what is read of the weights.
const ROWS: usize = 64;
/// Outputs of a task on the way forward.
const OUTS: usize = 64;
/// Terms of a dot product that are summed at once: blocks of both factors stay in the second-level cache.
const TERMS: usize = 4096;
/// Inputs of a task on the way back.
const INS: usize = 2048;
/// Outputs that are summed at once on the way back.
const PART: usize = 8;

impl HostOp<2> for Forward {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn run<T: Real>(&self, [x, weight]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        forward(x, weight, None)
    }
}

impl HostOp<3> for Forward {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn run<T: Real>(&self, [x, weight, bias]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        forward(x, weight, Some(bias.data))
    }
}

impl HostOp<2> for Backward {
    fn name(&self) -> &'static str {
        "linear's cotangent"
    }

    fn run<T: Real>(&self, [cotangent, weight]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        backward(cotangent, weight)
    }
}

fn with_last(dims: &[usize], last: usize) -> Vec<usize> {
    [&dims[..dims.len() - 1], &[last]].concat()
}

fn forward<T: Real>(x: View<'_, T>, weight: View<'_, T>, bias: Option<&[T]>) -> (Vec<T>, Vec<usize>) {
    let (outs, ins) = (weight.dims[0], weight.dims[1]);
    let rows: usize = x.dims[..x.dims.len() - 1].iter().product();
    if x.dims.len() > 2 {
        let x_factor = Factor { data: x.data, row: ins, column: 1 };
        let transposed = Factor { data: weight.data, row: 1, column: ins };
        let y = multiply([rows, ins, outs], &[(0, 0)], x_factor, transposed, bias);
        return (y, with_last(x.dims, outs));
    }
    let tiles = tiles(rows, ROWS, outs, OUTS);
    let parts: Vec<Vec<T>> = tiles
        .par_iter()
        .map(|tile| {
            // By output, then row.
            let mut y = vec![T::zero(); tile.columns * tile.rows];
            let mut first = 0;
            while first < ins {
                let len = TERMS.min(ins - first);
                let (x, w) = (&x.data[tile.row * ins + first..], &weight.data[tile.column * ins + first..]);
                let mut out = 0;
                while out < tile.columns {
                    let width = if tile.columns - out >= 4 { 4 } else { 1 };
                    let mut row = 0;
                    while row < tile.rows {
                        let height = if tile.rows - row >= 4 { 4 } else { 1 };
                        let (x, w) = ((&x[row * ins..], ins), (&w[out * ins..], ins));
                        let place = (&mut y[out * tile.rows + row..], tile.rows);
                        match (height, width) {
                            (4, 4) => dots::<_, 4, 4>(x, w, len, place),
                            (4, _) => dots::<_, 4, 1>(x, w, len, place),
                            (_, 4) => dots::<_, 1, 4>(x, w, len, place),
                            _ => dots::<_, 1, 1>(x, w, len, place),
                        }
                        row += height;
                    }
                    out += width;
                }
                first += len;
            }
            y
        })
        .collect();
    let mut y = vec![T::zero(); rows * outs];
    for (tile, part) in tiles.iter().zip(&parts) {
        for column in 0..tile.columns {
            let bias = bias.map_or(T::zero(), |bias| bias[tile.column + column]);
            for row in 0..tile.rows {
                let place = (tile.row + row) * outs + tile.column + column;
                y[place] = part[column * tile.rows + row] + bias;
            }
        }
    }
    (y, with_last(x.dims, outs))
}

/// A block of dot products added to results that are stored by output, then row.
fn dots<'a, T: Real, const R: usize, const O: usize>(
    x: (&'a [T], usize),
    w: (&'a [T], usize),
    len: usize,
    (y, stride): (&mut [T], usize),
) {
    let mut sums = [[T::zero(); O]; R];
    let rows = |(numbers, stride): (&'a [T], usize), row: usize| &numbers[row * stride..][..len];
    T::dots::<R, O>(std::array::from_fn(|r| rows(x, r)), std::array::from_fn(|o| rows(w, o)), &mut sums);
    for (r, sums) in sums.iter().enumerate() {
        for (o, &sum) in sums.iter().enumerate() {
            y[o * stride + r] += sum;
        }
    }
}

fn backward<T: Real>(cotangent: View<'_, T>, weight: View<'_, T>) -> (Vec<T>, Vec<usize>) {
    let (outs, ins) = (weight.dims[0], weight.dims[1]);
    let rows: usize = cotangent.dims[..cotangent.dims.len() - 1].iter().product();
    if cotangent.dims.len() > 2 {
        let left = Factor { data: cotangent.data, row: outs, column: 1 };
        let right = Factor { data: weight.data, row: ins, column: 1 };
        let y = multiply([rows, outs, ins], &[(0, 0)], left, right, None);
        return (y, with_last(cotangent.dims, ins));
    }
    let tiles = tiles(rows, ROWS, ins, INS);
    let parts: Vec<Vec<T>> =
        tiles.par_iter().map(|tile| backward_tile(tile, cotangent.data, weight.data, outs, ins)).collect();
    let mut y = vec![T::zero(); rows * ins];
    for (tile, part) in tiles.iter().zip(&parts) {
        let width = tile.columns.next_multiple_of(T::PANEL);
        for row in 0..tile.rows {
            // Panels of 8 rows, or fewer at the end, one behind another.
            let place = (tile.row + row) * ins + tile.column;
            let (block, within) = (row / 8, row % 8);
            let height = block_height(tile.rows - block * 8);
            for (panel, y) in y[place..][..tile.columns].chunks_mut(T::PANEL).enumerate() {
                let from = (block * 8 * width) + (panel * height + within) * T::PANEL;
                y.copy_from_slice(&part[from..][..y.len()]);
            }
        }
    }
    (y, with_last(cotangent.dims, ins))
}

/// How many of the rows left are computed at once; some of them may be beyond the last.
fn block_height(left: usize) -> usize {
    match left {
        1 => 1,
        2..=4 => 4,
        _ => 8,
    }
}

fn backward_tile<T: Real>(tile: &Tile, cotangent: &[T], weight: &[T], outs: usize, ins: usize) -> Vec<T> {
    let width = tile.columns.next_multiple_of(T::PANEL);
    let blocks: Vec<_> = (0..tile.rows).step_by(8).map(|row| (row, block_height(tile.rows - row))).collect();
    let height: usize = blocks.iter().map(|block| block.1).sum();
    let mut y = vec![T::zero(); height * width];
    scratch::with(PART * (height + T::PANEL), |buffer: &mut [T]| {
        let (factors, copy) = buffer.split_at_mut(PART * height);
        let (table, copied): ([usize; PART], [usize; PART]) =
            (std::array::from_fn(|out| out * ins), std::array::from_fn(|out| out * T::PANEL));
        for first in (0..outs).step_by(PART) {
            let len = PART.min(outs - first);
            for &(row, height) in &blocks {
                let factors = &mut factors[row * PART..][..len * height];
                for (out, factors) in factors.chunks_exact_mut(height).enumerate() {
                    for (i, factor) in factors.iter_mut().enumerate() {
                        *factor = match row + i < tile.rows {
                            true => cotangent[(tile.row + row + i) * outs + first + out],
                            false => T::zero(),
                        };
                    }
                }
            }
            for column in (0..tile.columns).step_by(T::PANEL) {
                // Weights are read where they are, but for a last panel that the row doesn't fill.
                let from = &weight[first * ins + tile.column + column..];
                let there = T::PANEL.min(tile.columns - column);
                let (from, offsets) = if there == T::PANEL {
                    (from, &table[..len])
                } else {
                    for (out, into) in copy.chunks_exact_mut(T::PANEL).take(len).enumerate() {
                        into[..there].copy_from_slice(&from[out * ins..][..there]);
                        into[there..].fill(T::zero());
                    }
                    (&*copy, &copied[..len])
                };
                for &(row, height) in &blocks {
                    let factors = &factors[row * PART..];
                    let y = &mut y[row * width + column * height..];
                    match height {
                        1 => T::panel::<1>(from, offsets, factors, y),
                        4 => T::panel::<4>(from, offsets, factors, y),
                        _ => T::panel::<8>(from, offsets, factors, y),
                    }
                }
            }
        }
    });
    y
}

/// Part of a matrix: so many rows and columns from there on.
struct Tile {
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

fn tiles(rows: usize, height: usize, columns: usize, width: usize) -> Vec<Tile> {
    let tile = |row: usize, column: usize| Tile {
        row,
        rows: height.min(rows - row),
        column,
        columns: width.min(columns - column),
    };
    (0..rows)
        .step_by(height)
        .flat_map(|row| (0..columns).step_by(width).map(move |column| (row, column)))
        .map(|(row, column)| tile(row, column))
        .collect()
}
