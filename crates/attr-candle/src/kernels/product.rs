//! Matrix products, batch by batch, of views with any strides.
//!
//! Both factors are laid out in the order in which they are used, part by part, so that a transposed or repeated
//! view is never made contiguous first. Each result is summed in one order, whatever the number of rows, batches
//! and threads.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::raw::Real;
use super::scratch;

/// Rows of a task, a multiple of [`BLOCK`].
const ROWS: usize = 512;
/// Panels of columns of a task.
const PANELS: usize = 2;
/// Terms that are summed at once: a part of the right factor stays in the second-level cache.
const TERMS: usize = 256;
/// Rows that are computed at once.
const BLOCK: usize = 8;

/// The matrix product over the last two axes; the others broadcast.
pub(crate) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ([.., rows, terms], [.., same, columns]) = (a.dims(), b.dims()) else {
        bail!("matrix product: expected two axes or more, found {:?} and {:?}", a.dims(), b.dims());
    };
    if terms != same {
        bail!("matrix product: expected as many columns as rows, found {:?} and {:?}", a.dims(), b.dims());
    }
    let batch = |x: &Tensor| Shape::from(&x.dims()[..x.rank() - 2]);
    let batch = batch(a).broadcast_shape_binary_op(&batch(b), "matrix product")?;
    let (a, b) = (
        a.broadcast_as([batch.dims(), &[*rows, *terms]].concat())?,
        b.broadcast_as([batch.dims(), &[*terms, *columns]].concat())?,
    );
    a.apply_op2_no_bwd(&b, &Product)
}

struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "matrix product"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let [batch @ .., rows, _] = l1.dims() else { bail!("BUG: a matrix has two axes") };
        let shape = [batch, &[*rows, l2.dims()[l2.dims().len() - 1]]].concat();
        let storage = match s1 {
            CpuStorage::F32(_) => CpuStorage::F32(of_views(s1, l1, s2, l2)?),
            _ => CpuStorage::F64(of_views(s1, l1, s2, l2)?),
        };
        Ok((storage, shape.into()))
    }
}

fn of_views<T: Real>(s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<Vec<T>> {
    let (Some(left), Some(right)) = (T::slice(s1), T::slice(s2)) else {
        bail!("matrix product: expected tensors that are all f32 or all f64");
    };
    let axes = l1.dims().len();
    let factor = |data, layout: &Layout| Factor {
        data,
        row: layout.stride()[axes - 2],
        column: layout.stride()[axes - 1],
    };
    let (left, right) = (factor(left, l1), factor(right, l2));
    let [mut rows, terms, columns] = [l1.dims()[axes - 2], l1.dims()[axes - 1], l2.dims()[axes - 1]];
    let mut batches: Vec<_> = starts(l1).into_iter().zip(starts(l2)).collect();
    // Where all batches have one right factor, they are rows of one product.
    let first = batches.first().copied().unwrap_or_default();
    let one = |(i, &(a, b)): (usize, &(usize, usize))| a == first.0 + i * rows * left.row && b == first.1;
    if batches.iter().enumerate().all(one) {
        rows *= batches.len();
        batches.truncate(1);
    }
    Ok(multiply([rows, terms, columns], &batches, left, right, None))
}

/// Where each batch begins.
fn starts(layout: &Layout) -> Vec<usize> {
    let axes = layout.dims().len() - 2;
    let mut starts = vec![layout.start_offset()];
    for (&len, &stride) in layout.dims().iter().zip(layout.stride()).take(axes) {
        starts = starts.iter().flat_map(|start| (0..len).map(move |i| start + i * stride)).collect();
    }
    starts
}

/// A factor: numbers, and how far apart its neighbouring rows and columns are.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a, T> {
    pub(super) data: &'a [T],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// `left right + bias` for each batch, which says where its factors begin; the bias is one for each column.
pub(super) fn multiply<T: Real>(
    [rows, terms, columns]: [usize; 3],
    batches: &[(usize, usize)],
    left: Factor<'_, T>,
    right: Factor<'_, T>,
    bias: Option<&[T]>,
) -> Vec<T> {
    let mut y = vec![T::zero(); batches.len() * rows * columns];
    if y.is_empty() {
        return y;
    }
    let mut lefts: Vec<_> = batches.iter().map(|batch| batch.0).collect();
    lefts.sort_unstable();
    lefts.dedup();
    let blocks = blocks(rows);
    let height: usize = blocks.iter().map(|block| block.height).sum();
    scratch::with(lefts.len() * height * terms, |packed: &mut [T]| {
        if terms > 0 {
            let places = packed.par_chunks_exact_mut(height * terms).zip(&lefts).flat_map_iter(
                |(mut rest, &start)| {
                    let place = |block: &Block| {
                        let (place, behind) = std::mem::take(&mut rest).split_at_mut(block.height * terms);
                        rest = behind;
                        (place, start + block.row * left.row, *block)
                    };
                    blocks.iter().map(place).collect::<Vec<_>>()
                },
            );
            places.for_each(|(place, start, block)| {
                pack(&left.data[start..], [left.row, left.column], [block.there, terms], block.height, place);
            });
        }
        let packed = &*packed;
        tasks([rows, columns], &mut y).into_par_iter().for_each(|task| {
            let (start, right_start) = batches[task.batch];
            let of_batch = lefts.binary_search(&start).expect("BUG: a batch without its factor");
            let packed = &packed[of_batch * height * terms..][..height * terms];
            let right = Factor { data: &right.data[right_start..], ..right };
            task.run(packed, &blocks, terms, right, bias);
        });
    });
    y
}

/// Rows that are computed at once, some of which may be beyond the last.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    there: usize,
    height: usize,
}

fn blocks(rows: usize) -> Vec<Block> {
    let block = |row: usize| {
        let there = BLOCK.min(rows - row);
        let height = match there {
            1 => 1,
            2..=4 => 4,
            _ => BLOCK,
        };
        Block { row, there, height }
    };
    (0..rows).step_by(BLOCK).map(block).collect()
}

/// Lanes side by side, term by term: `into[term * width + lane]`; lanes that are not there are zeros.
fn pack<T: Real>(
    from: &[T],
    [lane, term]: [usize; 2],
    [lanes, terms]: [usize; 2],
    width: usize,
    into: &mut [T],
) {
    if lanes < width {
        into[..terms * width].fill(T::zero());
    }
    if lane == 1 {
        for (at, into) in into.chunks_exact_mut(width).take(terms).enumerate() {
            into[..lanes].copy_from_slice(&from[at * term..][..lanes]);
        }
        return;
    }
    // Squares are turned over in registers where a lane's terms are neighbours.
    let squares = if term == 1 { [lanes / 8 * 8, terms / 8 * 8] } else { [0, 0] };
    for first in (0..squares[0]).step_by(8) {
        for at in (0..squares[1]).step_by(8) {
            let square: [&[T; 8]; 8] = std::array::from_fn(|i| {
                from[(first + i) * lane + at..].first_chunk().expect("BUG: a lane is too short")
            });
            for (i, into) in into[at * width..].chunks_exact_mut(width).take(8).enumerate() {
                into[first..first + 8].iter_mut().zip(square).for_each(|(place, lane)| *place = lane[i]);
            }
        }
    }
    for i in 0..lanes {
        let done = if i < squares[0] { squares[1] } else { 0 };
        (done..terms).for_each(|at| into[at * width + i] = from[i * lane + at * term]);
    }
}

/// Part of a batch's product: its rows, as slices of these columns.
struct Task<'a, T> {
    batch: usize,
    row: usize,
    column: usize,
    target: Vec<&'a mut [T]>,
}

fn tasks<T: Real>([rows, columns]: [usize; 2], y: &mut [T]) -> Vec<Task<'_, T>> {
    let mut tasks = Vec::new();
    for (batch, matrix) in y.chunks_exact_mut(rows * columns).enumerate() {
        for (tile, lines) in matrix.chunks_mut(ROWS * columns).enumerate() {
            let first = tasks.len();
            let part = |column| Task { batch, row: tile * ROWS, column, target: Vec::with_capacity(ROWS) };
            tasks.extend((0..columns).step_by(PANELS * T::PANEL).map(part));
            for line in lines.chunks_exact_mut(columns) {
                let parts = line.chunks_mut(PANELS * T::PANEL);
                parts.zip(&mut tasks[first..]).for_each(|(part, task)| task.target.push(part));
            }
        }
    }
    tasks
}

impl<T: Real> Task<'_, T> {
    fn run(mut self, packed: &[T], blocks: &[Block], terms: usize, right: Factor<'_, T>, bias: Option<&[T]>) {
        let columns = self.target[0].len();
        let panels = columns.div_ceil(T::PANEL);
        let blocks = &blocks[self.row / BLOCK..][..self.target.len().div_ceil(BLOCK)];
        let height: usize = blocks.iter().map(|block| block.height).sum();
        let offsets: [usize; TERMS] = std::array::from_fn(|term| term * T::PANEL);
        // By block, panel, row of the block.
        scratch::with((height + TERMS) * panels * T::PANEL, |buffer: &mut [T]| {
            let (y, part) = buffer.split_at_mut(height * panels * T::PANEL);
            y.fill(T::zero());
            for first in (0..terms).step_by(TERMS) {
                let len = TERMS.min(terms - first);
                for (panel, part) in part.chunks_exact_mut(TERMS * T::PANEL).enumerate() {
                    let column = panel * T::PANEL;
                    let from = &right.data[first * right.row + (self.column + column) * right.column..];
                    let lanes = T::PANEL.min(columns - column);
                    pack(from, [right.column, right.row], [lanes, len], T::PANEL, part);
                }
                let mut y = &mut y[..];
                for block in blocks {
                    // All blocks before this one are whole.
                    let left = &packed[block.row * terms + first * block.height..];
                    for part in part.chunks_exact(TERMS * T::PANEL) {
                        let (sums, behind) = y.split_at_mut(block.height * T::PANEL);
                        y = behind;
                        match block.height {
                            1 => T::panel::<1>(part, &offsets[..len], left, sums),
                            4 => T::panel::<4>(part, &offsets[..len], left, sums),
                            _ => T::panel::<BLOCK>(part, &offsets[..len], left, sums),
                        }
                    }
                }
            }
            let mut y = &y[..];
            for (block, lines) in blocks.iter().zip(self.target.chunks_mut(BLOCK)) {
                let (sums, behind) = y.split_at(block.height * panels * T::PANEL);
                y = behind;
                for (panel, sums) in sums.chunks_exact(block.height * T::PANEL).enumerate() {
                    let column = panel * T::PANEL;
                    for (line, sums) in lines.iter_mut().zip(sums.chunks_exact(T::PANEL)) {
                        let line = &mut line[column..columns.min(column + T::PANEL)];
                        match bias {
                            Some(bias) => {
                                let terms = sums.iter().zip(&bias[self.column + column..]);
                                line.iter_mut().zip(terms).for_each(|(y, (&sum, &bias))| *y = sum + bias);
                            }
                            None => line.copy_from_slice(&sums[..line.len()]),
                        }
                    }
                }
            }
        });
    }
}
