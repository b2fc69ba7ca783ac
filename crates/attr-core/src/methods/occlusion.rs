use std::fmt;
use std::str::FromStr;

use ndarray::{ArrayD, IxDyn, Slice};

use super::Method;
use super::internal_influence::Ground;
use crate::parameter::{FromText, Parameters, parameters};
use crate::question::{finite_rows, join};
use crate::{Attribution, Baseline, Error, ModelWrapper, Point, Question, Result, Tensor};

/// Occlusion: by how much the quantity falls when a window of the value at the lower cut is replaced by the
/// baseline; where windows overlap, the mean over those that cover an entry (Zeiler and Fergus 2013).
///
/// Windows slide over the last axes, the channel counted as the first, as many as the window has lengths: without
/// more words over all axes but the channel, or the only axis there is. The others are covered together and have
/// length 1 in the result: an image `[B, C, H, W]` gives `[B, 1, H, W]`, an image `[B, H, W, C]` whose channels are
/// known to be last `[B, H, W, 1]`. A last window that reaches over the edge is cut.
#[derive(Debug, Clone)]
pub struct Occlusion {
    /// The window: one length for all axes, or one an axis (`15` or `3x15x15`); 15.
    pub window: Sizes,
    /// The step: likewise; 8.
    pub stride: Sizes,
    /// What the window is covered with.
    pub baseline: Baseline,
    /// Whether the fall is divided among the entries of a window, as DeepExplain does; false.
    pub share: bool,
}

parameters!(Occlusion {
    window: "the window: one length for all axes, or one an axis, as 15 or 3x15x15",
    stride: "the step: one length for all axes, or one an axis",
    baseline: "what the window is covered with: zeros, a number, `blur SIGMA` or `uniform LOW HIGH SEED`",
    share: "whether the fall is divided among the entries of a window",
});

impl Default for Occlusion {
    fn default() -> Self {
        Occlusion { window: Sizes(vec![15]), stride: Sizes(vec![8]), baseline: Baseline::Zeros, share: false }
    }
}

/// Lengths along axes: a single one stands for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(pub Vec<usize>);

impl Sizes {
    fn for_axes(&self, name: &str, axes: usize) -> Result<Vec<usize>> {
        let sizes = if self.0.len() == 1 { vec![self.0[0]; axes] } else { self.0.clone() };
        if sizes.len() != axes || sizes.contains(&0) {
            return Err(Error::parameter(name, &format!("{axes} lengths of at least 1"), self));
        }
        Ok(sizes)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"))
    }
}

impl FromStr for Sizes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        FromText::from_text("sizes", text)
    }
}

impl FromText for Sizes {
    fn from_text(name: &str, text: &str) -> Result<Self> {
        let sizes: std::result::Result<Vec<usize>, _> =
            text.split('x').map(|part| part.trim().parse()).collect();
        let wrong = || Error::parameter(name, "lengths as 15 or 3x15x15", format!("{text:?}"));
        sizes.map(Sizes).map_err(|_| wrong())
    }
}

impl<M: ModelWrapper> Method<M> for Occlusion {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let cut = &question.slice.from;
        let ground = Ground::new(question, cut)?;
        let baseline = self.baseline.at(&ground.values)?;
        let mut evidence = ground.evidence(question, "occlusion", self.parameters())?;
        let dims: Vec<_> = ground.values.iter().map(Tensor::dims).collect();
        let channels = question.channel_axes(cut)?;
        let slid: Vec<_> = dims.iter().zip(channels).map(|(dims, axis)| self.slid(dims, axis)).collect();
        let windows = (0..dims.len())
            .map(|tensor| self.windows(tensor, &dims[tensor], &slid[tensor]))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let rows = question.rows();
        let total = windows.len() * rows;
        let mut chunk = question.run.chunk_rows(question.model.row_bytes(), total)?;
        chunk = if chunk > rows { chunk - chunk % rows } else { chunk };

        let mut sums: Vec<_> =
            dims.iter().zip(&slid).map(|(dims, slid)| Sum::new(self.share, dims, slid)).collect();
        for start in (0..total).step_by(chunk) {
            let end = total.min(start + chunk);
            let (mut inputs, mut covered, mut seen) = (Vec::new(), Vec::new(), Vec::new());
            for (window, row) in (start..end).map(|i| (&windows[i / rows], i % rows)) {
                let one = |tensors: &[M::Tensor]| {
                    tensors.iter().map(|tensor| tensor.slice_rows(row, 1)).collect::<Result<Vec<_>>>()
                };
                let (mut values, baseline) = (one(&ground.values)?, one(&baseline)?);
                values[window.tensor] = window.cover(&values[window.tensor], &baseline[window.tensor])?;
                inputs.push(one(question.inputs)?);
                covered.push(values);
                seen.push(row);
            }
            let (inputs, covered) = (join(inputs)?, join(covered)?);
            let point = Point { inputs: &inputs, replace: Some((cut, &covered)) };
            let upper = question.model.forward(point, &question.slice.to)?;
            let value = ground.quantity(question).evaluate(&upper, question.seen(&seen))?.value.to_array()?;
            let value = finite_rows(&value, "the quantity behind a window")?;
            for ((i, row), value) in (start..end).zip(seen).zip(value) {
                let window = &windows[i / rows];
                sums[window.tensor].add(window, row, evidence.quantity[row] - value);
            }
            question.run.report(end, total)?;
        }
        evidence.evaluations += total;
        let values = sums.iter().zip(&ground.values).map(|(sum, value)| value.like(&sum.mean()));
        Attribution::new(values.collect::<Result<_>>()?, evidence)
    }
}

impl Occlusion {
    /// The windows over one tensor, row by row, cut at the edges.
    fn windows(&self, tensor: usize, dims: &[usize], slid: &[usize]) -> Result<Vec<Window>> {
        let window = self.window.for_axes("window", slid.len())?;
        let stride = self.stride.for_axes("stride", slid.len())?;
        let sizes: Vec<_> = slid.iter().map(|&axis| dims[axis]).collect();
        let starts = |axis: usize| -> Vec<_> {
            let windows = sizes[axis].saturating_sub(window[axis]).div_ceil(stride[axis]) + 1;
            // A stride far beyond the window may step over the edge.
            (0..windows).map(|i| i.saturating_mul(stride[axis])).take_while(|&i| i < sizes[axis]).collect()
        };
        let mut windows = vec![Window { tensor, slid: slid.to_vec(), parts: vec![(0, 1); dims.len()] }];
        for axis in 0..slid.len() {
            let extend = |window_so_far: &Window| {
                let cut = |start: usize| (start, sizes[axis].min(start.saturating_add(window[axis])));
                let grown = |start| {
                    let mut grown = window_so_far.clone();
                    grown.parts[slid[axis]] = cut(start);
                    grown
                };
                starts(axis).into_iter().map(grown).collect::<Vec<_>>()
            };
            windows = windows.iter().flat_map(extend).collect();
        }
        Ok(windows)
    }

    /// The axes that windows slide over.
    fn slid(&self, dims: &[usize], channels: usize) -> Vec<usize> {
        let row = dims.len().saturating_sub(1);
        let wanted = self.window.0.len().max(self.stride.0.len());
        let count = if wanted > 1 { wanted.min(row) } else { row.saturating_sub(1).max(row.min(1)) };
        let mut axes: Vec<_> = (1..dims.len()).filter(|&axis| axis != channels).collect();
        if channels < dims.len() {
            axes.insert(0, channels);
        }
        axes.split_off(axes.len() - count)
    }
}

/// One window over one tensor: along each axis of `[1, ...]` from where to where; those that it does not slide over
/// are `0..1`.
#[derive(Debug, Clone)]
struct Window {
    tensor: usize,
    /// The axes that are not covered together.
    slid: Vec<usize>,
    parts: Vec<(usize, usize)>,
}

impl Window {
    fn mask(&self, sizes: &[usize]) -> ArrayD<f64> {
        let mut mask = ArrayD::zeros(IxDyn(sizes));
        self.of(&mut mask, None).fill(1.0);
        mask
    }

    /// The part of an array that the window covers; of all rows or one.
    fn of<'a>(&self, array: &'a mut ArrayD<f64>, row: Option<usize>) -> ndarray::ArrayViewMutD<'a, f64> {
        array.slice_each_axis_mut(|axis| {
            let (start, end) = match (axis.axis.index(), row) {
                (0, Some(row)) => (row, row + 1),
                (index, _) => self.parts[index],
            };
            Slice::from(start..end)
        })
    }

    fn cover<T: Tensor>(&self, value: &T, baseline: &T) -> Result<T> {
        let broadcast = |(axis, n)| if self.slid.contains(&axis) { n } else { 1 };
        let sizes: Vec<_> = value.dims().into_iter().enumerate().map(broadcast).collect();
        let mask = value.like(&self.mask(&sizes))?;
        value.add(&baseline.sub(value)?.mul(&mask)?)
    }
}

/// Falls added up where windows overlap.
struct Sum {
    falls: ArrayD<f64>,
    covered: ArrayD<f64>,
    share: bool,
}

impl Sum {
    fn new(share: bool, dims: &[usize], slid: &[usize]) -> Self {
        let kept = |(axis, &n): (usize, &usize)| if axis == 0 || slid.contains(&axis) { n } else { 1 };
        let sizes: Vec<_> = dims.iter().enumerate().map(kept).collect();
        Sum { falls: ArrayD::zeros(sizes.clone()), covered: ArrayD::zeros(sizes), share }
    }

    fn add(&mut self, window: &Window, row: usize, fall: f64) {
        let mut part = window.of(&mut self.falls, Some(row));
        let share = if self.share { fall / part.len() as f64 } else { fall };
        part += share;
        window.of(&mut self.covered, Some(row)).mapv_inplace(|n| n + 1.0);
    }

    /// The mean over the windows that cover an entry; zero where none does (a stride beyond the window).
    fn mean(&self) -> ArrayD<f64> {
        &self.falls / &self.covered.mapv(|n| n.max(1.0))
    }
}
