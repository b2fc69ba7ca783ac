//! The bridge between candle's tensors and kernels on slices.
//!
//! A kernel is a [`HostOp`]: a function from slices to a fresh `Vec`. It runs as one of candle's custom
//! operations, so that on another device candle itself reports that there is no kernel.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::raw::Real;

/// A kernel of `N` inputs, for both precisions.
pub(crate) trait HostOp<const N: usize> {
    /// For messages.
    fn name(&self) -> &'static str;

    /// The result's numbers and lengths; the inputs are contiguous.
    fn run<T: Real>(&self, inputs: [View<'_, T>; N]) -> (Vec<T>, Vec<usize>);
}

/// Numbers in row-major order, and the length of each axis.
#[derive(Debug)]
pub(crate) struct View<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) dims: &'a [usize],
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

pub(crate) fn apply1(op: &impl HostOp<1>, x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Bridge(op))
}

pub(crate) fn apply2(op: &impl HostOp<2>, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &Bridge(op))
}

pub(crate) fn apply3(op: &impl HostOp<3>, x: &Tensor, y: &Tensor, z: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3_no_bwd(&y.contiguous()?, &z.contiguous()?, &Bridge(op))
}

struct Bridge<'a, Op>(&'a Op);

impl<Op> Bridge<'_, Op> {
    fn run<const N: usize>(&self, inputs: [(&CpuStorage, &Layout); N]) -> Result<(CpuStorage, Shape)>
    where
        Op: HostOp<N>,
    {
        let (storage, dims) = match inputs[0].0 {
            CpuStorage::F32(_) => self.typed::<f32, N>(inputs).map(|(y, dims)| (CpuStorage::F32(y), dims)),
            _ => self.typed::<f64, N>(inputs).map(|(y, dims)| (CpuStorage::F64(y), dims)),
        }?;
        Ok((storage, dims.into()))
    }

    fn typed<T: Real, const N: usize>(
        &self,
        inputs: [(&CpuStorage, &Layout); N],
    ) -> Result<(Vec<T>, Vec<usize>)>
    where
        Op: HostOp<N>,
    {
        let mut views = [View { data: &[][..], dims: &[][..] }; N];
        for (view, (storage, layout)) in views.iter_mut().zip(inputs) {
            let (Some(data), Some((start, end))) = (T::slice(storage), layout.contiguous_offsets()) else {
                candle_core::bail!("{}: expected contiguous tensors, all f32 or all f64", self.0.name());
            };
            *view = View { data: &data[start..end], dims: layout.dims() };
        }
        Ok(self.0.run(views))
    }
}

impl<Op: HostOp<1>> CustomOp1 for Bridge<'_, Op> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run([(s1, l1)])
    }
}

impl<Op: HostOp<2>> CustomOp2 for Bridge<'_, Op> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run([(s1, l1), (s2, l2)])
    }
}

impl<Op: HostOp<3>> CustomOp3 for Bridge<'_, Op> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run([(s1, l1), (s2, l2), (s3, l3)])
    }
}
