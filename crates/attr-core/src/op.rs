//! What a layer is: its kind and attributes. What it does belongs to the adapters' kernels.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use num_traits::Float;

use crate::Shape;

/// The kind of a layer, with the attributes that its arithmetic depends on.
///
/// Values are batch-first and, where they have channels, channel-second: `[B, C, H, W]`. Spatial
/// attributes have one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// An input of the network. No inputs, no parameters.
    Input,
    /// A value that is part of the network: its one parameter, without a batch.
    Constant,
    /// The value itself; also dropout, which does nothing when a network is explained.
    Identity,
    /// Cross-correlation, as networks use it. Parameters: weight `[out, in / groups, kernel...]`, then
    /// optionally bias `[out]`.
    Conv(Conv),
    /// The transpose of a convolution as a linear map. Parameters: weight `[in, out / groups, kernel...]`,
    /// then optionally bias `[out]`.
    ConvTranspose(ConvTranspose),
    /// `x W^T + b` over the last axis. Parameters: weight `[out, in]`, then optionally bias `[out]`.
    Linear,
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` by channel (axis 1). Parameters, each
    /// `[C]`: gamma, beta, mean, variance.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, mean and variance of the value's own numbers over
    /// `axis` and all axes behind it (Ba et al. 2016, arXiv 1607.06450). Parameters, each of the lengths of these
    /// axes: gamma, beta.
    LayerNorm {
        /// The first of the axes that are normalized, counted from 0.
        axis: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// The same over all spatial axes and the channels of a group, each group by itself (Wu and He 2018,
    /// arXiv 1803.08494); with as many groups as channels it is instance norm. Parameters, each `[C]`: gamma, beta.
    GroupNorm {
        /// Into how many groups the channels are split.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// `x / (bias + alpha / size * sum of x^2)^beta`, the sum over the `size` channels around each (Krizhevsky et al.
    /// 2012, section 3.3, where alpha is alpha / size here): `floor((size - 1) / 2)` before and the rest behind.
    LocalResponseNorm {
        /// How many channels are summed over.
        size: usize,
        /// The factor of the mean of squares.
        alpha: f64,
        /// The exponent.
        beta: f64,
        /// What is added.
        bias: f64,
    },
    /// A function of each element by itself.
    Activation(Activation),
    /// `x` above 0, `slope * x` elsewhere; the derivative at 0 is the slope. Parameter: slope, which broadcasts to the
    /// value.
    PRelu,
    /// `exp(x) / sum(exp(x))` along an axis.
    Softmax {
        /// The axis, counted from 0.
        axis: usize,
    },
    /// The logarithm of [`Op::Softmax`].
    LogSoftmax {
        /// The axis, counted from 0.
        axis: usize,
    },
    /// The largest value of each window; the first in row-major order where several are.
    MaxPool(Pool),
    /// The mean of each window.
    AveragePool {
        /// The windows.
        pool: Pool,
        /// Whether padding counts as zeros in the mean, or not at all.
        count_include_pad: bool,
    },
    /// The mean over axes.
    Mean {
        /// The axes, ascending, counted from 0.
        axes: Vec<usize>,
        /// Whether the reduced axes stay, with length 1.
        keep: bool,
    },
    /// The sum over axes.
    Sum {
        /// The axes, ascending, counted from 0.
        axes: Vec<usize>,
        /// Whether the reduced axes stay, with length 1.
        keep: bool,
    },
    /// The largest over axes; the derivative goes to the first of equals in row-major order.
    Max {
        /// The axes, ascending, counted from 0.
        axes: Vec<usize>,
        /// Whether the reduced axes stay, with length 1.
        keep: bool,
    },
    /// The smallest over axes; the derivative goes to the first of equals in row-major order.
    Min {
        /// The axes, ascending, counted from 0.
        axes: Vec<usize>,
        /// Whether the reduced axes stay, with length 1.
        keep: bool,
    },
    /// The Euclidean norm over axes; its derivative at 0 is 0.
    Norm {
        /// The axes, ascending, counted from 0.
        axes: Vec<usize>,
        /// Whether the reduced axes stay, with length 1.
        keep: bool,
    },
    /// `a + b`, broadcasting.
    Add,
    /// `a - b`, broadcasting.
    Sub,
    /// `a * b`, elementwise, broadcasting.
    Mul,
    /// `a / b`, elementwise, broadcasting.
    Div,
    /// `a` to the power of `b`, elementwise, broadcasting. The derivative by `b` is 0 where `a` is 0.
    Power,
    /// The larger of `a` and `b`, broadcasting; of equals it is `a`.
    Maximum,
    /// The smaller of `a` and `b`, broadcasting; of equals it is `a`.
    Minimum,
    /// 1 where the comparison of `a` with `b` holds, else 0, broadcasting; the derivative is 0.
    Compare(Comparison),
    /// `b` where `a` is not 0, else `c`, broadcasting; the derivative by `a` is 0.
    Where,
    /// The matrix product of two values over their last two axes; the others broadcast. Each has two axes or more.
    MatMul,
    /// `softmax(scale q k^T + mask) v` over the last two axes (Vaswani et al. 2017, eq. 1): queries `[..., T, D]`, keys
    /// `[..., S, D]`, values `[..., S, E]`, then optionally a mask that broadcasts to `[..., T, S]`. All other axes are
    /// the same.
    Attention {
        /// What the products of queries and keys are multiplied by.
        scale: f64,
    },
    /// Rows of a table: each number of the value, which is a whole number, stands for one. Parameter: the table
    /// `[N, D]`; the rows are a new last axis. There is no derivative by whole numbers: what is asked for below is an
    /// error, and the cut to ask at is the layer's output.
    Embedding,
    /// Any number of values one behind another along an axis.
    Concat {
        /// The axis, counted from 0.
        axis: usize,
    },
    /// The same numbers in row-major order in another shape.
    Reshape {
        /// The new shape.
        shape: Shape,
    },
    /// Axis `i` of the result is axis `axes[i]` of the value.
    Transpose {
        /// A permutation.
        axes: Vec<usize>,
    },
    /// Entries `start .. start + len` along an axis.
    Slice {
        /// The axis, counted from 0.
        axis: usize,
        /// The first entry.
        start: usize,
        /// How many entries.
        len: usize,
    },
    /// The entries with these numbers along an axis, in this order, some perhaps left out or several times.
    Gather {
        /// The axis, counted from 0.
        axis: usize,
        /// Which entry each new one is; at least one.
        entries: Vec<usize>,
    },
    /// Repeated along axes of length 1, and along new ones in front. A second input, if there is one, only says how
    /// many rows there are, where the first has no batch.
    Expand {
        /// The new shape.
        shape: Shape,
    },
    /// A constant around the value.
    Pad {
        /// For each axis of the value: how many entries before and after.
        padding: Vec<(usize, usize)>,
        /// The constant.
        value: f64,
    },
    /// Spatial axes sampled anew at another size.
    Resize(Resize),
}

/// Attributes of a convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// The step of the window along each spatial axis, at least 1.
    pub stride: Vec<usize>,
    /// Zeros before and after each spatial axis.
    pub padding: Vec<(usize, usize)>,
    /// The distance of neighbouring kernel entries, at least 1.
    pub dilation: Vec<usize>,
    /// Into how many groups the channels are split; input channels = groups is a depthwise convolution.
    pub groups: usize,
}

impl Conv {
    /// Two spatial axes, the same stride and padding on all sides, no dilation, one group.
    pub fn square(stride: usize, padding: usize) -> Self {
        Conv {
            stride: vec![stride; 2],
            padding: vec![(padding, padding); 2],
            dilation: vec![1; 2],
            groups: 1,
        }
    }
}

/// Attributes of a transposed convolution: a layer that gives, but for its bias, the cotangent of the input
/// of the convolution with attributes `conv` and the same weight (Dumoulin and Visin 2016, arXiv 1603.07285).
///
/// Input entry `i` with kernel entry `k` adds to output entry `i * stride + k * dilation - padding` along each
/// spatial axis; so padding is cut off what is given. Several lengths of the convolution's input give as many
/// windows, of which the output padding names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTranspose {
    /// The convolution that this is the transpose of.
    pub conv: Conv,
    /// More entries at the end of each spatial axis, fewer than its stride or its dilation.
    pub output_padding: Vec<usize>,
}

impl ConvTranspose {
    /// How many entries the output has along a spatial axis, for an input of `size` and a kernel of `kernel`
    /// entries: `(size - 1) * stride - padding + dilation * (kernel - 1) + output_padding + 1`; 0 where that
    /// can't be.
    pub fn entries(&self, axis: usize, size: usize, kernel: usize) -> usize {
        crate::infer::entries(self, axis, size, kernel).unwrap_or(0)
    }
}

/// The windows of a pooling layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The window's size along each spatial axis.
    pub kernel: Vec<usize>,
    /// The window's step along each spatial axis, at least 1.
    pub stride: Vec<usize>,
    /// Padding before and after each spatial axis: never the maximum, and see `count_include_pad`.
    pub padding: Vec<(usize, usize)>,
    /// The distance of neighbouring window entries, at least 1.
    pub dilation: Vec<usize>,
    /// Whether a last window that reaches beyond the padded value still counts.
    pub ceil: bool,
}

impl Pool {
    /// Two spatial axes, square windows, no padding.
    pub fn square(kernel: usize, stride: usize) -> Self {
        Pool {
            kernel: vec![kernel; 2],
            stride: vec![stride; 2],
            padding: vec![(0, 0); 2],
            dilation: vec![1; 2],
            ceil: false,
        }
    }

    /// How many windows there are along a spatial axis of length `size`; 0 where none fits.
    pub fn windows(&self, axis: usize, size: usize) -> usize {
        let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        crate::infer::windows(size, kernel, stride, self.padding[axis], dilation, self.ceil).unwrap_or(0)
    }
}

/// Attributes of a resize, and with them its arithmetic ([`Resize::taps`]). Definitions: ONNX, operator `Resize`.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// The new length of each spatial axis (those after batch and channel).
    pub size: Vec<usize>,
    /// The old coordinate of new index `i` along an axis, by [`Coordinates`], is computed with this
    /// scale (new length / old length, but for files that say otherwise).
    pub scale: Vec<f64>,
    /// How a value is taken between old entries.
    pub mode: Interpolation,
    /// How new indices correspond to old ones.
    pub coordinates: Coordinates,
    /// Whether linear and cubic interpolation reach further where the value becomes smaller: by 1 / scale.
    pub antialias: bool,
    /// Whether entries beyond the ends weigh nothing, and the others so much more; or else are the last ones.
    pub exclude_outside: bool,
}

/// How a resize takes a value between entries.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest entry; of two equally near ones the lower (`round_prefer_floor`).
    Nearest,
    /// The nearest entry; of two equally near ones the upper (`round_prefer_ceil`).
    NearestUp,
    /// The nearest entry at or below (`floor`), as PyTorch's nearest with [`Coordinates::Asymmetric`].
    NearestFloor,
    /// The nearest entry at or above (`ceil`).
    NearestCeil,
    /// Linear along each spatial axis.
    Linear,
    /// Cubic along each spatial axis (Keys 1981).
    Cubic {
        /// The slope at distance 1: -0.75 in PyTorch, -0.5 where it is exact for parabolas.
        slope: f64,
    },
}

/// Which old coordinate new index `i` stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Coordinates {
    /// `(i + 0.5) / scale - 0.5`.
    HalfPixel,
    /// As half pixel, with what rounding left over of the new length shared by both ends:
    /// `(i + 0.5) / scale - 0.5 + old / 2 * (1 - new / (scale * old))`.
    HalfPixelSymmetric,
    /// As half pixel, but 0 where the new length is 1.
    PytorchHalfPixel,
    /// `i * (old - 1) / (new - 1)`, whatever the scale.
    AlignCorners,
    /// `i / scale`.
    Asymmetric,
    /// `(i + 0.5) / scale`, for nearest entries.
    TfHalfPixel,
    /// From `start * (old - 1)` to `end * (old - 1)`, as align-corners; the middle of both where the new length is 1.
    /// What lies outside of the value is 0.
    CropAndResize {
        /// `(start, end)` of each spatial axis, those of a value of fewer axes first.
        region: [(f64, f64); 3],
    },
}

impl Resize {
    /// A resize without the further options.
    pub fn new(size: Vec<usize>, scale: Vec<f64>, mode: Interpolation, coordinates: Coordinates) -> Self {
        Resize { size, scale, mode, coordinates, antialias: false, exclude_outside: false }
    }

    /// For each new index along spatial axis `axis` of length `old`: the old entries it is made of, and
    /// their weights; none where it lies outside of a region. This is all that a resize is, so kernels agree by
    /// sharing it.
    pub fn taps(&self, axis: usize, old: usize) -> Vec<Vec<(usize, f64)>> {
        let last = old.saturating_sub(1);
        let entry = |x: f64| (x.max(0.0) as usize).min(last);
        let outside = |x: f64| {
            matches!(self.coordinates, Coordinates::CropAndResize { .. }) && !(0.0..=last as f64).contains(&x)
        };
        let taps = |x: f64| match self.mode {
            _ if outside(x) => vec![],
            Interpolation::Nearest => vec![(entry((x - 0.5).ceil()), 1.0)],
            Interpolation::NearestUp => vec![(entry((x + 0.5).floor()), 1.0)],
            Interpolation::NearestFloor => vec![(entry(x.floor()), 1.0)],
            Interpolation::NearestCeil => vec![(entry(x.ceil()), 1.0)],
            Interpolation::Linear if !self.antialias && !self.exclude_outside => {
                let x = x.clamp(0.0, last as f64);
                let low = x.floor();
                vec![(entry(low), 1.0 - (x - low)), (entry(low + 1.0), x - low)]
            }
            Interpolation::Linear => self.filter(axis, old, x, 1.0, |d| 1.0 - d),
            Interpolation::Cubic { slope } => self.filter(axis, old, x, 2.0, |d| match d {
                ..1.0 => ((slope + 2.0) * d - (slope + 3.0)) * d * d + 1.0,
                _ => ((slope * d - 5.0 * slope) * d + 8.0 * slope) * d - 4.0 * slope,
            }),
        };
        (0..self.size[axis]).map(|i| taps(self.coordinate(axis, old, i))).collect()
    }

    /// The old coordinate of a new index.
    fn coordinate(&self, axis: usize, old: usize, i: usize) -> f64 {
        let (i, scale, new, old) = (i as f64, self.scale[axis], self.size[axis] as f64, old as f64);
        let half_pixel = (i + 0.5) / scale - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => half_pixel + old / 2.0 * (1.0 - new / (scale * old)),
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if new == 1.0 => 0.0,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::AlignCorners => i * (old - 1.0) / (new - 1.0),
            Coordinates::Asymmetric => i / scale,
            Coordinates::TfHalfPixel => (i + 0.5) / scale,
            Coordinates::CropAndResize { region } => {
                let (start, end) = region.get(axis).copied().unwrap_or((0.0, 1.0));
                match new == 1.0 {
                    true => (start + end) / 2.0 * (old - 1.0),
                    false => (start + i * (end - start) / (new - 1.0)) * (old - 1.0),
                }
            }
        }
    }

    /// The entries around `x` weighted by a function of their distance, which is 0 from `reach` on.
    fn filter(
        &self,
        axis: usize,
        old: usize,
        x: f64,
        reach: f64,
        weight: impl Fn(f64) -> f64,
    ) -> Vec<(usize, f64)> {
        let narrow = if self.antialias { self.scale[axis].min(1.0) } else { 1.0 };
        let last = old.saturating_sub(1) as f64;
        // A scale of new / old reaches twice the old length at most; a file may say anything.
        let far = (reach / narrow).min(4.0 * old as f64 + 1024.0);
        let (from, to) = ((x - far).ceil(), (x + far).floor());
        let mut taps: Vec<(usize, f64)> = Vec::new();
        for step in 0..=(to - from).max(0.0) as usize {
            let at = from + step as f64;
            let distance = (at - x).abs() * narrow;
            let inside = (0.0..=last).contains(&at);
            if distance < reach && (inside || !self.exclude_outside) {
                let (entry, weight) = (at.clamp(0.0, last) as usize, weight(distance));
                match taps.last_mut().filter(|tap| tap.0 == entry) {
                    Some(tap) => tap.1 += weight,
                    None => taps.push((entry, weight)),
                }
            }
        }
        let sum: f64 = taps.iter().map(|tap| tap.1).sum();
        taps.iter_mut().for_each(|tap| tap.1 /= sum);
        taps
    }
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `a = b`.
    Equal,
    /// `a` and `b` differ.
    NotEqual,
    /// `a > b`.
    Greater,
    /// `a >= b`.
    GreaterOrEqual,
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessOrEqual,
}

/// A function of each element by itself, with the derivatives at kinks that this project has settled.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`; the derivative at 0 is 0.
    Relu,
    /// `x` above 0, `slope * x` below; the derivative at 0 is the slope.
    LeakyRelu {
        /// The slope below 0.
        slope: f64,
    },
    /// `x` held between two bounds (ReLU6: 0 and 6); the derivative is 0 at and beyond them.
    Clip {
        /// The lower bound.
        min: f64,
        /// The upper bound.
        max: f64,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `|x|`; the derivative at 0 is 0.
    Abs,
    /// e to the power of x.
    Exp,
    /// The square root.
    Sqrt,
    /// The error function, of which the exact GELU is made.
    Erf,
    /// `-x`.
    Neg,
    /// The natural logarithm.
    Log,
    /// `x` to a power.
    Power {
        /// The exponent.
        exponent: f64,
    },
    /// `1 / x`.
    Reciprocal,
    /// `x` above 0, `alpha (exp(x) - 1)` elsewhere (Clevert et al. 2015); the derivative at 0 is alpha.
    Elu {
        /// The limit on the left, negated.
        alpha: f64,
    },
    /// `gamma` times ELU (Klambauer et al. 2017).
    Selu {
        /// The limit on the left, negated and before the factor.
        alpha: f64,
        /// The factor.
        gamma: f64,
    },
    /// `max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)` (Barron 2017); the derivative at 0 is 1.
    Celu {
        /// The limit on the left, negated; not 0.
        alpha: f64,
    },
    /// `alpha x + beta` held between 0 and 1; the derivative is 0 at and beyond the ends.
    HardSigmoid {
        /// The slope.
        alpha: f64,
        /// The value at 0.
        beta: f64,
    },
    /// `x` times hard sigmoid with alpha 1/6 and beta 1/2 (Howard et al. 2019); the derivative at -3 is 0, at 3 it is 1.
    HardSwish,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// `x tanh(softplus(x))` (Misra 2019).
    Mish,
    /// `x (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016).
    Gelu,
    /// Their approximation of it: `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// The next whole number below; the derivative is 0, here and in the three that follow.
    Floor,
    /// The next whole number above.
    Ceil,
    /// The nearest whole number, of two the even one.
    Round,
    /// The next whole number towards 0.
    Truncate,
    /// -1, 0 or 1; the derivative is 0.
    Sign,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
}

impl Activation {
    /// f(x).
    pub fn value<F: Float>(self, x: F) -> F {
        let (zero, one) = (F::zero(), F::one());
        match self {
            // NaN stays NaN, here and in a clip: it must not turn into a number that looks right.
            Activation::Relu => {
                if x <= zero {
                    zero
                } else {
                    x
                }
            }
            Activation::LeakyRelu { slope } => {
                if x > zero {
                    x
                } else {
                    x * float(slope)
                }
            }
            Activation::Clip { .. } if x.is_nan() => x,
            Activation::Clip { min, max } => x.max(float(min)).min(float(max)),
            Activation::Sigmoid if x >= zero => one / (one + (-x).exp()),
            Activation::Sigmoid => x.exp() / (one + x.exp()),
            Activation::Tanh => x.tanh(),
            Activation::Softplus => x.max(zero) + (-x.abs()).exp().ln_1p(),
            Activation::Abs => x.abs(),
            Activation::Exp => x.exp(),
            Activation::Sqrt => x.sqrt(),
            Activation::Erf => float(libm::erf(double(x))),
            Activation::Neg => -x,
            Activation::Log => x.ln(),
            Activation::Power { exponent } => x.powf(float(exponent)),
            Activation::Reciprocal => x.recip(),
            Activation::Elu { alpha } if x <= zero => float::<F>(alpha) * x.exp_m1(),
            Activation::Elu { .. } => x,
            Activation::Selu { alpha, gamma } => float::<F>(gamma) * Activation::Elu { alpha }.value(x),
            Activation::Celu { alpha } if x <= zero => float::<F>(alpha) * (x / float(alpha)).exp_m1(),
            Activation::Celu { .. } => x,
            Activation::HardSigmoid { alpha, beta } => {
                Activation::Clip { min: 0.0, max: 1.0 }.value(x * float(alpha) + float(beta))
            }
            Activation::HardSwish => x * HARD_GATE.value(x),
            Activation::Softsign => x / (one + x.abs()),
            Activation::Silu => x * Activation::Sigmoid.value(x),
            Activation::Mish => x * Activation::Softplus.value(x).tanh(),
            Activation::Gelu => x * normal_cdf(x),
            Activation::GeluTanh => {
                let half = float::<F>(0.5);
                half * x * (one + gelu_inner(x).tanh())
            }
            Activation::Floor => x.floor(),
            Activation::Ceil => x.ceil(),
            Activation::Round => {
                let nearest = x.round();
                let tie = (x - x.trunc()).abs() == float(0.5);
                if tie { float::<F>(2.0) * (x / float(2.0)).round() } else { nearest }
            }
            Activation::Truncate => x.trunc(),
            Activation::Sign if x == zero || x.is_nan() => x,
            Activation::Sign => x.signum(),
            Activation::Sin => x.sin(),
            Activation::Cos => x.cos(),
        }
    }

    /// Whether f'(f(x)) = f'(x), so that the derivative can be taken at the output: whoever reads the output
    /// keeps it anyway, and the input can go.
    pub fn keeps_derivative(self) -> bool {
        match self {
            Activation::Relu | Activation::Clip { .. } => true,
            Activation::LeakyRelu { slope } => slope >= 0.0,
            _ => false,
        }
    }

    /// f'(x).
    pub fn derivative<F: Float>(self, x: F) -> F {
        let (zero, one) = (F::zero(), F::one());
        match self {
            Activation::Relu => {
                if x > zero {
                    one
                } else {
                    zero
                }
            }
            Activation::LeakyRelu { slope } => {
                if x > zero {
                    one
                } else {
                    float(slope)
                }
            }
            Activation::Clip { min, max } => {
                if x > float(min) && x < float(max) {
                    one
                } else {
                    zero
                }
            }
            Activation::Sigmoid => {
                let y = self.value(x);
                y * (one - y)
            }
            Activation::Tanh => one - x.tanh() * x.tanh(),
            Activation::Softplus => Activation::Sigmoid.value(x),
            Activation::Abs => {
                if x > zero {
                    one
                } else if x < zero {
                    -one
                } else {
                    zero
                }
            }
            Activation::Exp => x.exp(),
            Activation::Sqrt => float::<F>(0.5) / x.sqrt(),
            Activation::Erf => float::<F>(FRAC_2_SQRT_PI) * (-x * x).exp(),
            Activation::Neg => -one,
            Activation::Log => x.recip(),
            Activation::Power { exponent: 0.0 } => zero,
            Activation::Power { exponent } => float::<F>(exponent) * x.powf(float(exponent - 1.0)),
            Activation::Reciprocal => -(x * x).recip(),
            Activation::Elu { alpha } => {
                if x > zero {
                    one
                } else {
                    float::<F>(alpha) * x.exp()
                }
            }
            Activation::Selu { alpha, gamma } => float::<F>(gamma) * Activation::Elu { alpha }.derivative(x),
            Activation::Celu { alpha } => {
                if x > zero {
                    one
                } else {
                    (x / float(alpha)).exp()
                }
            }
            Activation::HardSigmoid { alpha, beta } => {
                let inner = x * float(alpha) + float(beta);
                float::<F>(alpha) * Activation::Clip { min: 0.0, max: 1.0 }.derivative(inner)
            }
            Activation::HardSwish => HARD_GATE.value(x) + x * HARD_GATE.derivative(x),
            Activation::Softsign => {
                let scale = one + x.abs();
                (scale * scale).recip()
            }
            Activation::Silu => {
                let s = Activation::Sigmoid.value(x);
                s + x * s * (one - s)
            }
            Activation::Mish => {
                let t = Activation::Softplus.value(x).tanh();
                t + x * (one - t * t) * Activation::Sigmoid.value(x)
            }
            Activation::Gelu => {
                let density = (-x * x * float(0.5)).exp() * float(0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI);
                normal_cdf(x) + x * density
            }
            Activation::GeluTanh => {
                let (half, t) = (float::<F>(0.5), gelu_inner(x).tanh());
                let inner = float::<F>(GELU_SCALE) * (one + float::<F>(3.0 * GELU_CUBE) * x * x);
                half * (one + t) + half * x * (one - t * t) * inner
            }
            Activation::Floor | Activation::Ceil | Activation::Round | Activation::Truncate => zero,
            Activation::Sign => zero,
            Activation::Sin => x.cos(),
            Activation::Cos => -x.sin(),
        }
    }
}

/// The factor of hard swish.
const HARD_GATE: Activation = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

/// The square root of 2 / pi.
const GELU_SCALE: f64 = FRAC_1_SQRT_2 * FRAC_2_SQRT_PI;
/// The factor of the cube in GELU's approximation.
const GELU_CUBE: f64 = 0.044715;

fn gelu_inner<F: Float>(x: F) -> F {
    float::<F>(GELU_SCALE) * (x + float::<F>(GELU_CUBE) * x * x * x)
}

/// How much of a standard normal distribution lies below.
fn normal_cdf<F: Float>(x: F) -> F {
    float::<F>(0.5) * (F::one() + Activation::Erf.value(x * float(FRAC_1_SQRT_2)))
}

fn float<F: Float>(x: f64) -> F {
    F::from(x).expect("BUG: every f64 converts to a float")
}

fn double<F: Float>(x: F) -> f64 {
    x.to_f64().expect("BUG: every float converts to f64")
}

/// Which values a layer's derivative depends on; the others need not be kept until the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saves {
    /// None: the layer is linear in its inputs.
    Nothing,
    /// Its inputs.
    Inputs,
    /// Its output.
    Output,
}

impl Op {
    /// Which values the layer's derivative depends on.
    pub fn saves(&self) -> Saves {
        match self {
            Op::Activation(activation) if activation.keeps_derivative() => Saves::Output,
            Op::Activation(_) | Op::MaxPool(_) | Op::Mul | Op::Div => Saves::Inputs,
            Op::LayerNorm { .. } | Op::GroupNorm { .. } | Op::LocalResponseNorm { .. } | Op::PRelu => {
                Saves::Inputs
            }
            Op::Max { .. } | Op::Min { .. } | Op::Norm { .. } => Saves::Inputs,
            Op::Power | Op::Maximum | Op::Minimum | Op::Where => Saves::Inputs,
            Op::MatMul | Op::Attention { .. } => Saves::Inputs,
            Op::Softmax { .. } | Op::LogSoftmax { .. } => Saves::Output,
            _ => Saves::Nothing,
        }
    }

    /// The kind alone, in the field's words.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Constant => "constant",
            Op::Identity => "identity",
            Op::Conv(_) => "convolution",
            Op::ConvTranspose(_) => "transposed convolution",
            Op::Linear => "linear",
            Op::BatchNorm { .. } => "batch norm",
            Op::Activation(activation) => match activation {
                Activation::Relu => "relu",
                Activation::LeakyRelu { .. } => "leaky relu",
                Activation::Clip { .. } => "clip",
                Activation::Sigmoid => "sigmoid",
                Activation::Tanh => "tanh",
                Activation::Softplus => "softplus",
                Activation::Abs => "abs",
                Activation::Exp => "exp",
                Activation::Sqrt => "sqrt",
                Activation::Erf => "erf",
                Activation::Neg => "neg",
                Activation::Log => "log",
                Activation::Power { .. } => "power",
                Activation::Reciprocal => "reciprocal",
                Activation::Elu { .. } => "elu",
                Activation::Selu { .. } => "selu",
                Activation::Celu { .. } => "celu",
                Activation::HardSigmoid { .. } => "hard sigmoid",
                Activation::HardSwish => "hard swish",
                Activation::Softsign => "softsign",
                Activation::Silu => "silu",
                Activation::Mish => "mish",
                Activation::Gelu | Activation::GeluTanh => "gelu",
                Activation::Floor => "floor",
                Activation::Ceil => "ceil",
                Activation::Round => "round",
                Activation::Truncate => "truncate",
                Activation::Sign => "sign",
                Activation::Sin => "sin",
                Activation::Cos => "cos",
            },
            Op::LayerNorm { .. } => "layer norm",
            Op::GroupNorm { .. } => "group norm",
            Op::LocalResponseNorm { .. } => "local response norm",
            Op::PRelu => "prelu",
            Op::Max { .. } => "max",
            Op::Min { .. } => "min",
            Op::Norm { .. } => "norm",
            Op::Power => "power",
            Op::Maximum => "maximum",
            Op::Minimum => "minimum",
            Op::Compare(_) => "comparison",
            Op::Where => "where",
            Op::MatMul => "matrix product",
            Op::Attention { .. } => "attention",
            Op::Embedding => "embedding",
            Op::Gather { .. } => "gather",
            Op::Expand { .. } => "expand",
            Op::Softmax { .. } => "softmax",
            Op::LogSoftmax { .. } => "log-softmax",
            Op::MaxPool(_) => "max pooling",
            Op::AveragePool { .. } => "average pooling",
            Op::Mean { .. } => "mean",
            Op::Sum { .. } => "sum",
            Op::Add => "add",
            Op::Sub => "subtract",
            Op::Mul => "multiply",
            Op::Div => "divide",
            Op::Concat { .. } => "concatenate",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Resize(_) => "resize",
        }
    }
}
