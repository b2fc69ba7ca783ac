//! The innermost loops, in vector instructions chosen at run time: the only unsafe code of this crate.
//!
//! [`Real::panel`] is the product of a few weights with a panel of neighbouring values, found through a
//! table of offsets; convolutions and the way back through a linear layer are made of it. [`Real::dots`]
//! is a small block of dot products, of which the way forward through a linear layer is made. Each result
//! is summed in an order that depends on nothing but the number of terms. [`each`] is a [`Smooth`] function of each
//! number of a slice.
//!
//! Memory is only reached through slices with checked bounds: one check in sixteen products costs nothing.
//! What is unsafe is to see an array as the vectors it consists of, and to call what is compiled for
//! instructions that not every processor has.

#![allow(unsafe_code)]

use candle_core::{CpuStorage, WithDType};
use num_traits::Float;

use super::smooth::Smooth;

/// The numbers kernels are written for: `f32` and `f64`.
pub(crate) trait Real: Float + WithDType + Default + std::ops::AddAssign + std::iter::Sum {
    /// How many neighbouring values a panel has.
    const PANEL: usize;

    /// `c[j][l] += sum over k of b[k][j] * a[offsets[k] + l]` for all `j` below `NR` and `l` below
    /// [`Self::PANEL`], where `NR` is 1, 4 or 8.
    fn panel<const NR: usize>(a: &[Self], offsets: &[usize], b: &[Self], c: &mut [Self]);

    /// `y[r][o] += sum over i of x[r][i] * w[o][i]`, all rows being of the same length.
    fn dots<const R: usize, const O: usize>(x: [&[Self]; R], w: [&[Self]; O], y: &mut [[Self; O]; R]);

    /// In double precision.
    fn wide(self) -> f64;

    /// The nearest to a number in double precision.
    fn narrow(x: f64) -> Self;

    /// Its numbers, if it is the storage's kind.
    fn slice(storage: &CpuStorage) -> Option<&[Self]> {
        storage.as_slice().ok()
    }
}

/// A function of each number, formed in double precision.
pub(crate) fn each<F: Smooth, T: Real>(x: &[T], y: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has these instructions.
            return unsafe { each_avx512::<F, T>(x, y) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has these instructions.
            return unsafe { each_avx2::<F, T>(x, y) };
        }
    }
    each_portable::<F, T>(x, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn each_avx512<F: Smooth, T: Real>(x: &[T], y: &mut [T]) {
    each_portable::<F, T>(x, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn each_avx2<F: Smooth, T: Real>(x: &[T], y: &mut [T]) {
    each_portable::<F, T>(x, y);
}

/// Compiled for the instructions of the function that it is part of.
#[inline(always)]
fn each_portable<F: Smooth, T: Real>(x: &[T], y: &mut [T]) {
    // Not a closure, which would be compiled by itself.
    for (y, &x) in y.iter_mut().zip(x) {
        *y = T::narrow(F::at(x.wide()));
    }
}

/// The sum of a vector's lanes, by halves.
fn halves<T: Real>(lanes: &mut [T]) -> T {
    let mut len = lanes.len();
    while len > 1 {
        len /= 2;
        let (left, right) = lanes.split_at_mut(len);
        left.iter_mut().zip(right).for_each(|(left, right)| *left += *right);
    }
    lanes[0]
}

const OUTSIDE: &str = "BUG: a panel reaches beyond its source";

/// Defines `panel` and `dots` for one kind of number and one set of vector instructions: so many numbers in
/// a vector and in a pair of them, and so many pairs of sums held in registers at once.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_kernels {
    ($module:ident, $features:literal, $t:ty, $vector:ty, $lanes:literal, $pair:literal, $block:literal,
     $all:ident, $fma:ident, $add:ident, $zero:ident) => {
        mod $module {
            use super::{OUTSIDE, Real, halves};
            use std::arch::x86_64::*;

            fn load(pair: &[$t; $pair]) -> [$vector; 2] {
                // SAFETY: both sides are as many plain numbers, and any bits are one.
                unsafe { std::mem::transmute::<[$t; $pair], [$vector; 2]>(*pair) }
            }

            fn one(lanes: &[$t; $lanes]) -> $vector {
                // SAFETY: both sides are as many plain numbers, and any bits are one.
                unsafe { std::mem::transmute::<[$t; $lanes], $vector>(*lanes) }
            }

            #[target_feature(enable = $features)]
            pub(super) fn panel<const NR: usize>(a: &[$t], offsets: &[usize], b: &[$t], c: &mut [$t]) {
                if NR > $block {
                    blocks::<NR, $block>(a, offsets, b, c);
                } else {
                    blocks::<NR, NR>(a, offsets, b, c);
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn blocks<const NR: usize, const BLOCK: usize>(
                a: &[$t],
                offsets: &[usize],
                b: &[$t],
                c: &mut [$t],
            ) {
                assert!(b.len() >= offsets.len() * NR && c.len() >= NR * <$t as Real>::PANEL, "{OUTSIDE}");
                for l in (0..<$t as Real>::PANEL).step_by($pair) {
                    for j in (0..NR).step_by(BLOCK) {
                        let mut sums = [[$zero(); 2]; BLOCK];
                        for (&offset, weights) in offsets.iter().zip(b.as_chunks::<NR>().0) {
                            let [left, right] = load(a[offset + l..].first_chunk().expect(OUTSIDE));
                            let weights: &[$t; BLOCK] = weights[j..].first_chunk().expect(OUTSIDE);
                            for (sum, &weight) in sums.iter_mut().zip(weights) {
                                let weight = $all(weight);
                                sum[0] = $fma(left, weight, sum[0]);
                                sum[1] = $fma(right, weight, sum[1]);
                            }
                        }
                        for (row, sum) in c.chunks_exact_mut(<$t as Real>::PANEL).skip(j).zip(sums) {
                            let place = row[l..].first_chunk_mut().expect(OUTSIDE);
                            let [left, right] = load(place);
                            let both = [$add(left, sum[0]), $add(right, sum[1])];
                            // SAFETY: both sides are as many plain numbers, and any bits are one.
                            *place = unsafe { std::mem::transmute::<[$vector; 2], [$t; $pair]>(both) };
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            pub(super) fn dots<const R: usize, const O: usize>(
                x: [&[$t]; R],
                w: [&[$t]; O],
                y: &mut [[$t; O]; R],
            ) {
                let mut sums = [[$zero(); O]; R];
                let (values, weights) =
                    (x.map(|x| x.as_chunks::<$lanes>()), w.map(|w| w.as_chunks::<$lanes>()));
                for i in 0..values[0].0.len() {
                    let weights: [$vector; O] = std::array::from_fn(|o| one(&weights[o].0[i]));
                    for (sums, value) in sums.iter_mut().zip(&values) {
                        let value = one(&value.0[i]);
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = $fma(value, weight, *sum);
                        }
                    }
                }
                for ((y, sums), value) in y.iter_mut().zip(sums).zip(values) {
                    for ((y, sum), weight) in y.iter_mut().zip(sums).zip(weights) {
                        // SAFETY: both sides are as many plain numbers, and any bits are one.
                        let mut lanes = unsafe { std::mem::transmute::<$vector, [$t; $lanes]>(sum) };
                        let rest = value.1.iter().zip(weight.1);
                        *y += rest.fold(halves(&mut lanes), |sum, (&x, &w)| sum + x * w);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_kernels!(
    avx512_f32,
    "avx512f",
    f32,
    __m512,
    16,
    32,
    8,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    _mm512_setzero_ps
);
#[cfg(target_arch = "x86_64")]
vector_kernels!(
    avx512_f64,
    "avx512f",
    f64,
    __m512d,
    8,
    16,
    8,
    _mm512_set1_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd,
    _mm512_setzero_pd
);
#[cfg(target_arch = "x86_64")]
vector_kernels!(
    avx2_f32,
    "avx2,fma",
    f32,
    __m256,
    8,
    16,
    4,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    _mm256_setzero_ps
);
#[cfg(target_arch = "x86_64")]
vector_kernels!(
    avx2_f64,
    "avx2,fma",
    f64,
    __m256d,
    4,
    8,
    4,
    _mm256_set1_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd,
    _mm256_setzero_pd
);

/// The same in plain Rust, for all other machines: the compiler uses what vectors there are.
mod portable {
    use super::{Real, halves};

    const LANES: usize = 8;

    pub(super) fn panel<T: Real, const NR: usize>(a: &[T], offsets: &[usize], b: &[T], c: &mut [T]) {
        for l in (0..T::PANEL).step_by(LANES) {
            let mut sums = [[T::zero(); LANES]; NR];
            for (&offset, weights) in offsets.iter().zip(b.as_chunks::<NR>().0) {
                let row = &a[offset + l..][..LANES];
                for (sums, &weight) in sums.iter_mut().zip(weights) {
                    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x * weight);
                }
            }
            for (j, sums) in sums.iter().enumerate() {
                let place = &mut c[j * T::PANEL + l..][..LANES];
                place.iter_mut().zip(sums).for_each(|(c, &sum)| *c += sum);
            }
        }
    }

    pub(super) fn dots<T: Real, const R: usize, const O: usize>(
        x: [&[T]; R],
        w: [&[T]; O],
        y: &mut [[T; O]; R],
    ) {
        for (y, x) in y.iter_mut().zip(x) {
            for (y, w) in y.iter_mut().zip(w) {
                let ((x, x_rest), (w, w_rest)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
                let mut sums = [T::zero(); LANES];
                for (x, w) in x.iter().zip(w) {
                    sums.iter_mut().zip(x).zip(w).for_each(|((sum, &x), &w)| *sum += x * w);
                }
                *y += x_rest.iter().zip(w_rest).fold(halves(&mut sums), |sum, (&x, &w)| sum + x * w);
            }
        }
    }
}

macro_rules! real {
    ($t:ty, $panel:literal, $avx512:ident, $avx2:ident) => {
        impl Real for $t {
            const PANEL: usize = $panel;

            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn narrow(x: f64) -> Self {
                x as $t
            }

            fn panel<const NR: usize>(a: &[Self], offsets: &[usize], b: &[Self], c: &mut [Self]) {
                #[cfg(target_arch = "x86_64")]
                {
                    if is_x86_feature_detected!("avx512f") {
                        // SAFETY: the processor has these instructions.
                        return unsafe { $avx512::panel::<NR>(a, offsets, b, c) };
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: the processor has these instructions.
                        return unsafe { $avx2::panel::<NR>(a, offsets, b, c) };
                    }
                }
                portable::panel::<$t, NR>(a, offsets, b, c);
            }

            fn dots<const R: usize, const O: usize>(
                x: [&[Self]; R],
                w: [&[Self]; O],
                y: &mut [[Self; O]; R],
            ) {
                let len = x[0].len();
                assert!(x.iter().chain(&w).all(|row| row.len() == len), "BUG: rows of different lengths");
                #[cfg(target_arch = "x86_64")]
                {
                    if is_x86_feature_detected!("avx512f") {
                        // SAFETY: the processor has these instructions.
                        return unsafe { $avx512::dots(x, w, y) };
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: the processor has these instructions.
                        return unsafe { $avx2::dots(x, w, y) };
                    }
                }
                portable::dots(x, w, y);
            }
        }
    };
}

real!(f32, 32, avx512_f32, avx2_f32);
real!(f64, 16, avx512_f64, avx2_f64);

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Real>(n: usize, seed: usize) -> Vec<T> {
        let number = |i: usize| ((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0;
        (0..n).map(|i| T::from(number(i)).unwrap()).collect()
    }

    fn close<T: Real>(one: &[T], other: &[T]) -> bool {
        one.iter().zip(other).all(|(&x, &y)| (x - y).abs() < T::from(1e-5).unwrap())
    }

    type Panel<T> = fn(&[T], &[usize], &[T], &mut [T]);
    type Dots<T> = fn([&[T]; 4], [&[T]; 4], &mut [[T; 4]; 4]);

    fn check<T: Real>(panel: Panel<T>, dots: Dots<T>) {
        let (a, b) = (numbers(400, 1), numbers(8 * 20, 2));
        let table: Vec<usize> = (0..20).map(|k| k * 7 % 130).collect();
        let (mut one, mut other) = (numbers(8 * T::PANEL, 3), numbers(8 * T::PANEL, 3));
        panel(&a, &table, &b, &mut one);
        portable::panel::<T, 8>(&a, &table, &b, &mut other);
        assert!(close(&one, &other));

        let half = T::from(0.5).unwrap();
        let (mut one, mut other) = ([[half; 4]; 4], [[half; 4]; 4]);
        let (x, w) = ([0, 9, 50, 77].map(|at| &a[at..][..43]), [3, 21, 80, 117].map(|at| &b[at..][..43]));
        dots(x, w, &mut one);
        portable::dots(x, w, &mut other);
        assert!(close(one.as_flattened(), other.as_flattened()));
    }

    #[test]
    fn all_kernels_agree() {
        check::<f32>(f32::panel::<8>, f32::dots);
        check::<f64>(f64::panel::<8>, f64::dots);
        // The second choice too, on a machine that takes the first.
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has these instructions.
            unsafe {
                check::<f32>(
                    |a, o, b, c| avx2_f32::panel::<8>(a, o, b, c),
                    |x, w, y| avx2_f32::dots(x, w, y),
                );
                check::<f64>(
                    |a, o, b, c| avx2_f64::panel::<8>(a, o, b, c),
                    |x, w, y| avx2_f64::dots(x, w, y),
                );
            }
        }
    }
}
