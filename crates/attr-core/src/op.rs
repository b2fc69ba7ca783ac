//! What a layer is: its kind and attributes. What it does belongs to the adapters' kernels.

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
    /// A function of each element by itself.
    Activation(Activation),
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
    /// `a + b`, broadcasting.
    Add,
    /// `a - b`, broadcasting.
    Sub,
    /// `a * b`, elementwise, broadcasting.
    Mul,
    /// `a / b`, elementwise, broadcasting.
    Div,
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

/// Attributes of a resize.
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
}

/// How a resize takes a value between entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest entry; of two equally near ones the lower (`round_prefer_floor`).
    Nearest,
    /// The nearest entry at or below (`floor`), as PyTorch's nearest with [`Coordinates::Asymmetric`].
    NearestFloor,
    /// Linear along each spatial axis.
    Linear,
}

/// Which old coordinate new index `i` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coordinates {
    /// `(i + 0.5) / scale - 0.5`.
    HalfPixel,
    /// As half pixel, but 0 where the new length is 1.
    PytorchHalfPixel,
    /// `i * (old - 1) / (new - 1)`, whatever the scale.
    AlignCorners,
    /// `i / scale`.
    Asymmetric,
}

impl Resize {
    /// For each new index along spatial axis `axis` of length `old`: the old entries it is made of, and
    /// their weights. This is all that a resize is, so kernels agree by sharing it.
    pub fn taps(&self, axis: usize, old: usize) -> Vec<[(usize, f64); 2]> {
        let new = self.size[axis];
        let last = old.saturating_sub(1);
        let coordinate = |i: usize| match self.coordinates {
            Coordinates::HalfPixel => (i as f64 + 0.5) / self.scale[axis] - 0.5,
            Coordinates::PytorchHalfPixel if new == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (i as f64 + 0.5) / self.scale[axis] - 0.5,
            Coordinates::AlignCorners if new == 1 => 0.0,
            Coordinates::AlignCorners => i as f64 * last as f64 / (new - 1) as f64,
            Coordinates::Asymmetric => i as f64 / self.scale[axis],
        };
        let entry = |x: f64| (x.max(0.0) as usize).min(last);
        (0..new)
            .map(|i| {
                let x = coordinate(i);
                match self.mode {
                    Interpolation::Nearest => [(entry((x - 0.5).ceil()), 1.0), (0, 0.0)],
                    Interpolation::NearestFloor => [(entry(x.floor()), 1.0), (0, 0.0)],
                    Interpolation::Linear => {
                        let x = x.clamp(0.0, last as f64);
                        let low = x.floor();
                        [(entry(low), 1.0 - (x - low)), (entry(low + 1.0), x - low)]
                    }
                }
            })
            .collect()
    }
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
            Activation::Erf => float::<F>(std::f64::consts::FRAC_2_SQRT_PI) * (-x * x).exp(),
            Activation::Neg => -one,
        }
    }
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
            },
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
