//! How a sum of shifted planes is cut into tasks, and where they find the source.
//!
//! Sizes alone decide; and since every sum is formed in one order, they don't change a bit of any result.

use super::raw::Real;
use super::taps::{BLOCK, Pass, TapSum};

/// The copied source rows of a tile should stay within this many bytes, about half of a second-level cache.
const TILE_BYTES: usize = 704 << 10;
/// A task should not be much larger than this many products, so that there are enough of them.
const TASK_PRODUCTS: usize = 1 << 26;
/// Tiles are not made smaller than this for the sake of having several.
const LEAST_ENTRIES: usize = 1024;
/// More tasks than this are not made for their own sake.
const LEAST_TASKS: usize = 16;
/// Target channels of a tile are not split further than this: the copy has to pay.
const LEAST_TARGETS: usize = 64;

/// How the target is cut into tasks, and how the source rows of a tile are laid out.
pub(super) struct Tiling {
    /// Rows and columns of a pass.
    pub(super) grid: [usize; 2],
    /// Rows of a pass in a tile.
    pub(super) rows: usize,
    /// Target channels in a task, when a group has more; whole groups, when it has fewer.
    pub(super) targets: usize,
    pub(super) groups: usize,
    pub(super) least_shift: [isize; 2],
    /// Rows and columns that the copy has more than the tile.
    pub(super) halo: [usize; 2],
}

/// Part of a target: rows of some channels of one image, as slices by group and channel.
pub(super) struct Task<'a, T> {
    pub(super) image: usize,
    pub(super) first_group: usize,
    pub(super) first_target: usize,
    pub(super) first_row: usize,
    pub(super) target: Vec<&'a mut [T]>,
}

impl Tiling {
    pub(super) fn new<T: Real>(sum: &TapSum) -> Self {
        let grid = [0, 1].map(|i| sum.target_size[i].div_ceil(sum.target_step[i]));
        let shifts = || sum.passes.iter().flat_map(|pass| &pass.taps).map(|tap| tap.shift);
        let least_shift = [0, 1].map(|i| shifts().map(|shift| shift[i]).min().unwrap_or(0));
        let most = [0, 1].map(|i| shifts().map(|shift| shift[i]).max().unwrap_or(0));
        let halo = [0, 1].map(|i| (most[i] - least_shift[i]) as usize);

        let width = grid[1] + halo[1];
        let row_bytes = sum.sources * sum.planes.len() * width * size_of::<T>();
        let terms = (0..sum.passes.len()).map(|pass| sum.terms(pass)).sum::<usize>().max(1);
        let least_work = width * terms * sum.targets.min(LEAST_TARGETS);
        let rows = (TILE_BYTES / row_bytes.max(1)).saturating_sub(halo[0]).max(1);
        let rows = rows.min((TASK_PRODUCTS / least_work).max(1)).min(grid[0]);
        // A large image gives some tiles, even where a row is little work.
        let rows = rows.min(grid[0].div_ceil(8).max(LEAST_ENTRIES.div_ceil(width)));
        // Tiles of one height, but for the last.
        let rows = grid[0].div_ceil(grid[0].div_ceil(rows));

        // Where there are few tiles, tasks share a tile, each with some of the target's channels.
        let tiles = sum.images * sum.groups * grid[0].div_ceil(rows);
        let parts = LEAST_TASKS.div_ceil(tiles).min(sum.targets.div_ceil(LEAST_TARGETS));
        let targets = sum.targets.div_ceil(parts).next_multiple_of(BLOCK).min(sum.targets);
        let groups = match parts {
            1 => (TASK_PRODUCTS / 64 / (rows * width * terms * targets)).clamp(1, sum.groups),
            _ => 1,
        };
        Tiling { grid, rows, targets, groups, least_shift, halo }
    }

    pub(super) fn width(&self) -> usize {
        self.grid[1] + self.halo[1]
    }

    pub(super) fn plane_len(&self) -> usize {
        (self.rows + self.halo[0]) * self.width()
    }

    pub(super) fn copy_len(&self, sum: &TapSum) -> usize {
        sum.sources * sum.planes.len() * self.plane_len()
    }

    /// Where in the copy each term of a sum is found for the first target entry of a tile.
    pub(super) fn table(&self, sum: &TapSum, pass: &Pass) -> Vec<usize> {
        let ahead = |shift: [isize; 2], i: usize| (shift[i] - self.least_shift[i]) as usize;
        (0..sum.sources)
            .flat_map(|source| {
                pass.taps.iter().map(move |tap| {
                    (source * sum.planes.len() + tap.plane) * self.plane_len()
                        + ahead(tap.shift, 0) * self.width()
                        + ahead(tap.shift, 1)
                })
            })
            .collect()
    }

    pub(super) fn tasks<'a, T>(&self, sum: &TapSum, target: &'a mut [T]) -> Vec<Task<'a, T>> {
        let [height, width] = sum.target_size;
        let (row_tiles, parts) = (self.grid[0].div_ceil(self.rows), sum.targets.div_ceil(self.targets));
        let group_parts = sum.groups.div_ceil(self.groups);
        let mut tasks = Vec::with_capacity(sum.images * group_parts * row_tiles * parts);
        for image in 0..sum.images {
            for group_part in 0..group_parts {
                for tile in 0..row_tiles {
                    tasks.extend((0..parts).map(|part| Task {
                        image,
                        first_group: group_part * self.groups,
                        first_target: part * self.targets,
                        first_row: tile * self.rows,
                        target: Vec::new(),
                    }));
                }
            }
        }
        for (index, plane) in target.chunks_exact_mut(height * width).enumerate() {
            let (channel, of_group) = (index / sum.targets, index % sum.targets);
            let (image, group) = (channel / sum.groups, channel % sum.groups);
            let first = (image * group_parts + group / self.groups) * row_tiles * parts;
            let rows = plane.chunks_mut(self.rows * sum.target_step[0] * width);
            for (tile, rows) in rows.enumerate() {
                tasks[first + tile * parts + of_group / self.targets].target.push(rows);
            }
        }
        tasks
    }
}
