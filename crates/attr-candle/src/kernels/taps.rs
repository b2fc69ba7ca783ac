//! Weighted sums of shifted planes: what a convolution is, forward and back, with every attribute.
//!
//! Each target value is a sum over source channels and *taps*, a tap being a shift of the source plane with
//! its own weights. The source rows that a tile of the target needs are copied once, with their padding,
//! so that a tap is a mere offset: neighbouring target values read neighbouring source values, and no
//! matrix of patches is ever made. A stride of the source splits the copy into planes of every n-th entry;
//! a stride of the target splits the target into *passes* with taps of their own.
//!
//! Tiles are cut by size alone and each sum is formed in one order, so that results depend on neither the
//! number of threads nor the rest of the batch.

use rayon::prelude::*;

use super::raw::Real;
use super::scratch;
use super::tiling::{Task, Tiling};

/// A shift of the source with its own weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// Which weight of the kernel, in row-major order.
    pub(crate) weight: usize,
    /// Which of the source's planes of every n-th entry.
    pub(crate) plane: usize,
    /// How far the source is ahead of the target, in rows and columns of that plane.
    pub(crate) shift: [isize; 2],
}

/// The target entries whose index has the same remainder, and their taps.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The remainder.
    pub(crate) phase: [usize; 2],
    pub(crate) taps: Vec<Tap>,
}

/// Where the weight for a target and a source channel of a group is found.
#[derive(Debug)]
pub(crate) struct WeightStrides {
    pub(crate) group: usize,
    pub(crate) target: usize,
    pub(crate) source: usize,
}

/// A weighted sum of shifted planes; two spatial axes, channels in groups.
#[derive(Debug)]
pub(crate) struct TapSum {
    pub(crate) images: usize,
    pub(crate) groups: usize,
    /// Channels of a group.
    pub(crate) sources: usize,
    pub(crate) targets: usize,
    pub(crate) source_size: [usize; 2],
    pub(crate) target_size: [usize; 2],
    /// The source is read as planes of every n-th entry, beginning at these.
    pub(crate) source_step: [usize; 2],
    pub(crate) planes: Vec<[usize; 2]>,
    /// The target is written in passes over every n-th entry.
    pub(crate) target_step: [usize; 2],
    pub(crate) passes: Vec<Pass>,
    pub(crate) weights: WeightStrides,
}

/// Sums of more terms than this are formed in parts, which keeps rounding errors small.
const PART: usize = 512;
/// The most target channels that are computed at once.
pub(super) const BLOCK: usize = 8;

impl TapSum {
    /// The target, with `bias` by target channel.
    pub(crate) fn run<T: Real>(&self, source: &[T], weights: &[T], bias: Option<&[T]>) -> Vec<T> {
        let [height, width] = self.target_size;
        let mut target = vec![T::zero(); self.images * self.groups * self.targets * height * width];
        if target.is_empty() {
            return target;
        }
        let tiling = Tiling::new::<T>(self);
        let blocks = Blocks::new(self);
        scratch::with(blocks.len * self.groups, |packed: &mut [T]| {
            self.pack(&blocks, weights, packed);
            let tables: Vec<_> = self.passes.iter().map(|pass| tiling.table(self, pass)).collect();
            let context =
                Context { sum: self, tiling: &tiling, blocks: &blocks, tables: &tables, packed, bias };
            tiling.tasks(self, &mut target).into_par_iter().for_each(|task| {
                scratch::with(tiling.copy_len(self) + T::PANEL, |copy: &mut [T]| {
                    context.run(task, source, copy);
                });
            });
        });
        target
    }

    /// Brings the weights into the order in which they are used.
    fn pack<T: Real>(&self, blocks: &Blocks, weights: &[T], packed: &mut [T]) {
        let mut places = Vec::new();
        let mut rest = packed;
        for group in 0..self.groups {
            for (pass, first, width) in blocks.all() {
                let (place, behind) = rest.split_at_mut(self.terms(pass) * width);
                places.push((group, pass, first, width, place));
                rest = behind;
            }
        }
        // The blocks of a depthwise convolution are tiny: many of them a task.
        let least = (1 << 16) / (self.sources * BLOCK).max(1);
        places.into_par_iter().with_min_len(least.max(1)).for_each(|(group, pass, first, width, place)| {
            let taps = &self.passes[pass].taps;
            let there = width.min(self.targets - first);
            let from = &weights[group * self.weights.group + first * self.weights.target..];
            if there < width {
                place.fill(T::zero());
            }
            let in_order = taps.iter().enumerate().all(|(index, tap)| index == tap.weight);
            if there == BLOCK && in_order && self.weights.source == taps.len() {
                let rows = std::array::from_fn(|i| &from[i * self.weights.target..][..self.terms(pass)]);
                return interleave(rows, place);
            }
            if there == BLOCK && in_order && self.weights.target == taps.len() {
                // On the way back a source's weights for all targets are one run.
                for (source, rows) in place.chunks_exact_mut(BLOCK * taps.len()).enumerate() {
                    let run = &from[source * self.weights.source..][..rows.len()];
                    for (tap, row) in rows.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                        row.iter_mut().zip(run[tap..].iter().step_by(taps.len())).for_each(|(w, &x)| *w = x);
                    }
                }
                return;
            }
            for (source, rows) in place.chunks_exact_mut(width * taps.len().max(1)).enumerate() {
                let from = &from[source * self.weights.source..];
                for i in 0..there {
                    let from = &from[i * self.weights.target..];
                    for (place, tap) in rows[i..].iter_mut().step_by(width).zip(taps) {
                        *place = from[tap.weight];
                    }
                }
            }
        });
    }

    pub(super) fn terms(&self, pass: usize) -> usize {
        self.sources * self.passes[pass].taps.len()
    }
}

/// The first numbers of all rows, then the second ones, and so on.
fn interleave<T: Real>(rows: [&[T]; BLOCK], into: &mut [T]) {
    let whole = rows[0].len() / BLOCK * BLOCK;
    for (at, square) in (0..whole).step_by(BLOCK).zip(into.chunks_exact_mut(BLOCK * BLOCK)) {
        let from: [&[T; BLOCK]; BLOCK] =
            rows.map(|row| row[at..][..BLOCK].try_into().expect("BUG: a row of another length"));
        for (i, places) in square.chunks_exact_mut(BLOCK).enumerate() {
            places.iter_mut().zip(from).for_each(|(place, row)| *place = row[i]);
        }
    }
    for (at, places) in (whole..rows[0].len()).zip(into[whole * BLOCK..].chunks_exact_mut(BLOCK)) {
        places.iter_mut().zip(rows).for_each(|(place, row)| *place = row[at]);
    }
}

/// The target channels of a group, in blocks that are computed at once.
struct Blocks {
    /// First channel, number of channels computed (some may be beyond the last).
    of_pass: Vec<(usize, usize)>,
    passes: usize,
    /// Where each block's packed weights begin, by pass and block.
    starts: Vec<usize>,
    /// How many packed weights a group has.
    len: usize,
}

impl Blocks {
    fn new(sum: &TapSum) -> Self {
        let mut of_pass = Vec::new();
        let mut first = 0;
        while first < sum.targets {
            let width = match sum.targets - first {
                1 => 1,
                2..=4 => 4,
                _ => BLOCK,
            };
            of_pass.push((first, width));
            first += width;
        }
        let mut blocks = Blocks { of_pass, passes: sum.passes.len(), starts: Vec::new(), len: 0 };
        for (pass, _, width) in blocks.all().collect::<Vec<_>>() {
            blocks.starts.push(blocks.len);
            blocks.len += sum.terms(pass) * width;
        }
        blocks
    }

    /// Pass, first channel and width of each block, in the order of the packed weights.
    fn all(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.passes).flat_map(|pass| self.of_pass.iter().map(move |&(first, width)| (pass, first, width)))
    }
}

/// All that tasks share.
struct Context<'a, T> {
    sum: &'a TapSum,
    tiling: &'a Tiling,
    blocks: &'a Blocks,
    tables: &'a [Vec<usize>],
    packed: &'a [T],
    bias: Option<&'a [T]>,
}

impl<T: Real> Context<'_, T> {
    fn run(&self, mut task: Task<'_, T>, source: &[T], copy: &mut [T]) {
        let (sum, tiling) = (self.sum, self.tiling);
        let parts: Vec<Vec<_>> = self.tables.iter().map(|table| table.chunks(PART).collect()).collect();
        let count = tiling.targets.min(sum.targets - task.first_target);
        let groups = tiling.groups.min(sum.groups - task.first_group);
        let rows = tiling.rows.min(tiling.grid[0] - task.first_row);
        for in_task in 0..groups {
            let group = task.first_group + in_task;
            self.copy(task.image * sum.groups + group, task.first_row, rows, source, copy);
            let target = &mut task.target[in_task * count..][..count];
            for ((pass, first, width), &start) in self.blocks.all().zip(&self.blocks.starts) {
                if first < task.first_target || first >= task.first_target + count {
                    continue;
                }
                let weights = &self.packed[group * self.blocks.len + start..][..sum.terms(pass) * width];
                let bias =
                    |i: usize| self.bias.map_or(T::zero(), |bias| bias[group * sum.targets + first + i]);
                let within = first - task.first_target;
                let channels = &mut target[within..count.min(within + width)];
                let phase = sum.passes[pass].phase;
                match width {
                    1 => self.block::<1>(&parts[pass], copy, weights, bias, rows, phase, channels),
                    4 => self.block::<4>(&parts[pass], copy, weights, bias, rows, phase, channels),
                    _ => self.block::<BLOCK>(&parts[pass], copy, weights, bias, rows, phase, channels),
                }
            }
        }
    }

    /// Copies the source rows that a tile needs, with zeros where there is no source.
    fn copy(&self, group: usize, first_row: usize, rows: usize, source: &[T], copy: &mut [T]) {
        let (sum, tiling) = (self.sum, self.tiling);
        let ([height, width], step) = (sum.source_size, sum.source_step);
        let [least_row, least_column] = tiling.least_shift;
        let planes = copy.chunks_exact_mut(tiling.plane_len());
        for (index, plane) in planes.take(sum.sources * sum.planes.len()).enumerate() {
            let (channel, [row_phase, column_phase]) =
                (group * sum.sources + index / sum.planes.len(), sum.planes[index % sum.planes.len()]);
            let channel = &source[channel * height * width..][..height * width];
            // Columns of the copy that have a source.
            let begin = (-least_column).clamp(0, tiling.width() as isize) as usize;
            let entries = width.saturating_sub(column_phase).div_ceil(step[1]) as isize;
            let end = (entries - least_column).clamp(begin as isize, tiling.width() as isize) as usize;
            let lines = plane.chunks_exact_mut(tiling.width());
            for (line, into) in lines.take(rows + tiling.halo[0]).enumerate() {
                let row = ((first_row + line) as isize + least_row) * step[0] as isize + row_phase as isize;
                if row < 0 || row >= height as isize || begin == end {
                    into.fill(T::zero());
                    continue;
                }
                let first = (begin as isize + least_column) as usize * step[1] + column_phase;
                let from = &channel[row as usize * width + first..(row as usize + 1) * width];
                into[..begin].fill(T::zero());
                into[end..].fill(T::zero());
                let into = &mut into[begin..end];
                match step[1] {
                    1 => into.copy_from_slice(&from[..into.len()]),
                    2 => into.iter_mut().zip(from.chunks(2)).for_each(|(place, pair)| *place = pair[0]),
                    n => into.iter_mut().zip(from.iter().step_by(n)).for_each(|(place, &x)| *place = x),
                }
            }
        }
    }

    /// Computes `NR` channels of a tile, panel by panel.
    #[allow(clippy::too_many_arguments)]
    fn block<const NR: usize>(
        &self,
        parts: &[&[usize]],
        copy: &[T],
        weights: &[T],
        bias: impl Fn(usize) -> T,
        rows: usize,
        phase: [usize; 2],
        channels: &mut [&mut [T]],
    ) {
        let (tiling, step) = (self.tiling, self.sum.target_step);
        let (width, target_width) = (tiling.width(), self.sum.target_size[1]);
        // The last rows or columns of the grid may not be there in this pass.
        let there = |size: usize, phase: usize, step: usize| size.saturating_sub(phase).div_ceil(step);
        let columns = there(target_width, phase[1], step[1]);
        let rows = rows.min(there(channels[0].len() / target_width, phase[0], step[0]));
        if rows == 0 || columns == 0 {
            return;
        }
        let len = (rows - 1) * width + columns;
        let mut panel = [T::zero(); BLOCK * 32];
        for first in (0..len).step_by(T::PANEL) {
            for (i, row) in panel.chunks_exact_mut(T::PANEL).take(NR).enumerate() {
                row.fill(if i < channels.len() { bias(i) } else { T::zero() });
            }
            let mut weights = weights;
            for &part in parts {
                T::panel::<NR>(&copy[first..], part, weights, &mut panel);
                weights = &weights[part.len() * NR..];
            }
            let mut at = first;
            while at < len.min(first + T::PANEL) {
                let (row, column) = (at / width, at % width);
                let run = (width - column).min(first + T::PANEL - at);
                let count = columns.saturating_sub(column).min(run);
                if count > 0 {
                    let to = (row * step[0] + phase[0]) * target_width + column * step[1] + phase[1];
                    for (channel, panel) in channels.iter_mut().zip(panel.chunks_exact(T::PANEL)) {
                        let from = &panel[at - first..][..count];
                        match step[1] {
                            // Short runs of any length: a plain loop is faster than a call.
                            1 => channel[to..to + count].iter_mut().zip(from).for_each(|(y, &x)| *y = x),
                            n => channel[to..].iter_mut().step_by(n).zip(from).for_each(|(y, &x)| *y = x),
                        }
                    }
                }
                at += run;
            }
        }
    }
}
