//! Windows of which the largest value or the mean is taken.
//!
//! Padding is put around the value before, so that windows lie within it.

use attr_core::{Conv, Pool, Result, Tensor};
use attr_graphdef::proto::Attr;
use ndarray::{ArrayD, Dimension, IxDyn};

use super::window::{around, convolve, convolve_back, dilated, explicit, narrowed, spatial, widened};
use crate::symbol::{Order, Symbol};
use crate::tape::{Tape, text};

/// The largest value of each window; the first of equals.
pub(super) fn max(pool: &Pool, x: &Symbol) -> Result<Symbol> {
    let (pool, dims) = (widened_pool(pool), x.shape());
    let value = Max::of(&pool, &x.reshape(&widened(dims))?)?.forward()?;
    if dims.len() == 3 { narrowed(value) } else { Ok(value) }
}

/// The cotangent of the input of [`max`].
pub(super) fn max_back(pool: &Pool, c: &Symbol, x: &Symbol) -> Result<Symbol> {
    let (pool, dims) = (widened_pool(pool), x.shape());
    let back = Max::of(&pool, &x.reshape(&widened(dims))?)?.back(&c.reshape(&widened(c.shape()))?)?;
    if dims.len() == 3 { narrowed(back) } else { Ok(back) }
}

/// One spatial axis is two, the first of them of length 1.
fn widened_pool(pool: &Pool) -> Pool {
    if pool.kernel.len() > 1 {
        return pool.clone();
    }
    Pool {
        kernel: vec![1, pool.kernel[0]],
        stride: vec![1, pool.stride[0]],
        padding: vec![(0, 0), pool.padding[0]],
        dilation: vec![1, pool.dilation[0]],
        ceil: pool.ceil,
    }
}

/// A max pooling with two or three spatial axes.
struct Max<'a> {
    pool: &'a Pool,
    /// Without its padding, and with it.
    bare: Symbol,
    x: Symbol,
    padding: Vec<(usize, usize)>,
    /// The input's lengths.
    dims: Vec<usize>,
}

impl<'a> Max<'a> {
    fn of(pool: &'a Pool, x: &Symbol) -> Result<Self> {
        let padding = beyond(pool, x.shape());
        let padded = x.pad(&padding, f64::NEG_INFINITY);
        Ok(Max { pool, bare: x.clone(), x: padded, padding, dims: x.shape().to_vec() })
    }

    fn out(&self) -> Vec<usize> {
        out(self.pool, &self.dims)
    }

    fn forward(&self) -> Result<Symbol> {
        if !is_own(self.pool) {
            return self.windows()?.max(0)?.reshape(&self.out());
        }
        let tape = self.x.tape();
        let id = match tape.is_for_others() && self.padding.iter().any(|&padding| padding != (0, 0)) {
            false => tape.op_with("MaxPool", &[self.x.ordered(Order::Last)], attrs(self.pool)),
            true => {
                let mut attrs = attrs(self.pool);
                attrs.retain(|(name, _)| *name != "padding");
                attrs.extend([("padding", text("EXPLICIT")), ("explicit_paddings", explicit(&self.padding))]);
                tape.op_with("MaxPool", &[self.bare.ordered(Order::Last)], attrs)
            }
        };
        Ok(Symbol::of(tape, id, Order::Last, &self.out()))
    }

    fn back(&self, c: &Symbol) -> Result<Symbol> {
        let tape = self.x.tape();
        let back = if is_own(self.pool) {
            let ids =
                [self.x.ordered(Order::Last), self.forward()?.ordered(Order::Last), c.ordered(Order::Last)];
            let id = tape.op_with("MaxPoolGrad", &ids, attrs(self.pool));
            Symbol::of(tape, id, Order::Last, self.x.shape())
        } else {
            self.windows_back(c)?
        };
        Ok(back.crop(&self.padding, &self.dims))
    }

    /// For each entry of a window, the values there: `[entry, batch, channel, spatial...]`.
    fn windows(&self) -> Result<Symbol> {
        let out = self.out();
        let reach = (2..out.len()).map(|axis| (out[axis] - 1) * self.pool.stride[axis - 2] + 1);
        let dims: Vec<_> = out[..2].iter().copied().chain(reach).collect();
        let parts = self.entries().into_iter().map(|starts| {
            strided(&self.x.part(&starts, &dims), &self.pool.stride)?.reshape(&[&[1], &out[..]].concat())
        });
        Symbol::concat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Where the entries of the first window are, in row-major order, an entry an axis of the value.
    fn entries(&self) -> Vec<Vec<usize>> {
        let Pool { kernel, dilation, .. } = self.pool;
        let start = |at: IxDyn| {
            let spatial = at.slice().iter().zip(dilation).map(|(entry, dilation)| entry * dilation);
            [0, 0].into_iter().chain(spatial).collect()
        };
        ndarray::indices(kernel.as_slice()).into_iter().map(start).collect()
    }

    fn windows_back(&self, c: &Symbol) -> Result<Symbol> {
        let (out, first) = (self.out(), self.windows()?.argmax(0)?);
        let c = c.reshape(&[&[1], &out[..]].concat())?;
        let mut sum: Option<Symbol> = None;
        for (number, starts) in self.entries().into_iter().enumerate() {
            let share = c.mul(&first.eq(&first.filled_like(number as f64)?)?)?.reshape(&out)?;
            let apart = dilated(&share, &self.pool.stride)?;
            let left = starts.iter().zip(self.x.shape().iter().zip(apart.shape()));
            let left: Vec<_> = left.map(|(&start, (whole, part))| (start, whole - start - part)).collect();
            let whole = apart.pad(&left, 0.0);
            sum = Some(sum.map_or(Ok(whole.clone()), |sum| sum.add(&whole))?);
        }
        Ok(sum.expect("BUG: a window has an entry"))
    }
}

/// Whether TensorFlow has these windows: without dilation, and along two spatial axes, since along three it knows
/// single precision alone.
fn is_own(pool: &Pool) -> bool {
    pool.dilation == [1, 1]
}

/// The lengths of what a pooling gives.
fn out(pool: &Pool, dims: &[usize]) -> Vec<usize> {
    let spatial = (2..dims.len()).map(|axis| pool.windows(axis - 2, dims[axis]));
    dims[..2].iter().copied().chain(spatial).collect()
}

/// A pooling's attributes, once padding is part of the value.
fn attrs(pool: &Pool) -> Vec<(&'static str, Attr)> {
    vec![("ksize", spatial(&pool.kernel)), ("strides", spatial(&pool.stride)), ("padding", text("VALID"))]
}

/// Every so many entries along the spatial axes, beginning with the first; the last one is an entry.
fn strided(x: &Symbol, stride: &[usize]) -> Result<Symbol> {
    let chosen = |x: Symbol, (axis, &stride): (usize, &usize)| {
        if stride == 1 {
            return Ok(x);
        }
        let mut dims = x.shape().to_vec();
        let count = (dims[axis] - 1) / stride + 1;
        let mut missing = vec![(0, 0); dims.len()];
        missing[axis] = (0, count * stride - dims[axis]);
        dims[axis] = count;
        let whole = x.pad(&missing, 0.0);
        dims.insert(axis + 1, stride);
        let first = whole.reshape(&dims)?.narrow(axis + 1, 0, 1)?;
        dims.remove(axis + 1);
        first.reshape(&dims)
    };
    (2..).zip(stride).try_fold(x.clone(), chosen)
}

/// The mean of each window.
pub(super) fn average(pool: &Pool, count_include_pad: bool, x: &Symbol) -> Result<Symbol> {
    let (pool, dims) = (widened_pool(pool), widened(x.shape()));
    let value = x.reshape(&dims)?;
    let means = if is_own(&pool) {
        let (padded, tape) = (value.pad(&beyond(&pool, &dims), 0.0), x.tape());
        let id = tape.op_with("AvgPool", &[padded.ordered(Order::Last)], attrs(&pool));
        Symbol::of(tape, id, Order::Last, &out(&pool, &dims))
    } else {
        convolve(&sums(&pool, &dims), &value, &shares(&pool, &dims, x.tape()))?
    };
    let means = corrected(means, &pool, count_include_pad, &dims)?;
    if x.shape().len() == 3 { narrowed(means) } else { Ok(means) }
}

/// The cotangent of the input of [`average`], of these lengths.
pub(super) fn average_back(
    pool: &Pool,
    count_include_pad: bool,
    c: &Symbol,
    dims: &[usize],
) -> Result<Symbol> {
    let (pool, is_line, dims) = (widened_pool(pool), dims.len() == 3, widened(dims));
    let (tape, padding) = (c.tape(), beyond(&pool, &dims));
    let c = corrected(c.reshape(&widened(c.shape()))?, &pool, count_include_pad, &dims)?;
    let back = if is_own(&pool) {
        let whole: Vec<_> =
            dims.iter().zip(&padding).map(|(n, (before, after))| n + before + after).collect();
        let sizes = tape.lengths(&Order::Last.arrange(&whole));
        let id = tape.op_with("AvgPoolGrad", &[sizes, c.ordered(Order::Last)], attrs(&pool));
        Symbol::of(tape, id, Order::Last, &whole).crop(&padding, &dims)
    } else {
        convolve_back(&sums(&pool, &dims), &c, &shares(&pool, &dims, tape), &dims)?
    };
    if is_line { narrowed(back) } else { Ok(back) }
}

/// The convolution that takes the mean over whole windows of a value of these lengths.
fn sums(pool: &Pool, dims: &[usize]) -> Conv {
    let padding = beyond(pool, dims)[2..].to_vec();
    Conv { stride: pool.stride.clone(), padding, dilation: pool.dilation.clone(), groups: dims[1] }
}

/// Its weight.
fn shares(pool: &Pool, dims: &[usize], tape: &Tape) -> Symbol {
    let size: usize = pool.kernel.iter().product();
    let dims = [&[dims[1], 1], &pool.kernel[..]].concat();
    Symbol::of(tape, tape.floats(&ArrayD::from_elem(IxDyn(&dims), 1.0 / size as f64)), Order::Plain, &dims)
}

/// From means over whole windows to those over the entries that count.
fn corrected(means: Symbol, pool: &Pool, count_include_pad: bool, dims: &[usize]) -> Result<Symbol> {
    let along = |axis: usize| -> Vec<f64> {
        let (before, after) = pool.padding[axis];
        let size = dims[2 + axis];
        let (first, end) =
            if count_include_pad { (0, before + size + after) } else { (before, before + size) };
        let counts = |window: usize| {
            let at = |entry: usize| window * pool.stride[axis] + entry * pool.dilation[axis];
            (0..pool.kernel[axis]).filter(|&entry| (first..end).contains(&at(entry))).count()
        };
        let counts = (0..pool.windows(axis, size)).map(counts);
        counts.map(|count| pool.kernel[axis] as f64 / count as f64).collect()
    };
    let along: Vec<_> = (0..pool.kernel.len()).map(along).collect();
    if along.iter().flatten().all(|&factor| factor == 1.0) {
        return Ok(means);
    }
    let lengths: Vec<_> = [1, 1].into_iter().chain(along.iter().map(Vec::len)).collect();
    let factors = ArrayD::from_shape_fn(lengths, |at| {
        along.iter().zip(&at.slice()[2..]).map(|(factors, &window)| factors[window]).product::<f64>()
    });
    means.mul(&means.like(&factors)?)
}

/// The padding with which the windows fit without a last one that reaches beyond, an entry an axis of the value.
fn beyond(pool: &Pool, dims: &[usize]) -> Vec<(usize, usize)> {
    let along = |axis: usize| {
        let (before, after) = pool.padding[axis];
        let size = dims[2 + axis];
        let last = (pool.windows(axis, size) - 1) * pool.stride[axis];
        let end = last + (pool.kernel[axis] - 1) * pool.dilation[axis] + 1;
        // With `ceil` a window can be left out although the padding has room for it.
        let after = if pool.ceil { end.saturating_sub(before + size) } else { after };
        (before, after)
    };
    around(&(0..pool.kernel.len()).map(along).collect::<Vec<_>>())
}
