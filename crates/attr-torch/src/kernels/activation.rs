//! Functions of each element by itself.

use std::f64::consts::FRAC_2_SQRT_PI;

use attr_core::Activation;
use tch::{TchError, Tensor};

use super::Tch;

/// The factor of hard swish.
const HARD_GATE: Activation = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

/// f(x); what libtorch makes of its derivative is the same as [`back`], at kinks too.
pub(super) fn forward(activation: Activation, x: &Tensor) -> Tch<Tensor> {
    match activation {
        Activation::Relu => x.f_relu(),
        Activation::LeakyRelu { slope } => x.f_where_self(&x.f_gt(0.0)?, &x.f_mul_scalar(slope)?),
        Activation::Clip { min, max } if x.requires_grad() => {
            // libtorch's own clamp lets the cotangent through at its bounds.
            let inside = x.f_gt(min)?.f_logical_and(&x.f_lt(max)?)?;
            x.f_where_self(&inside, &x.f_detach()?.f_clamp(min, max)?)
        }
        Activation::Clip { min, max } => x.f_clamp(min, max),
        Activation::Sigmoid => x.f_sigmoid(),
        Activation::Tanh => x.f_tanh(),
        // libtorch's own softplus is linear from 20 on, which double precision can tell from the function.
        Activation::Softplus => x.f_neg()?.f_log_sigmoid()?.f_neg(),
        Activation::Abs => x.f_abs(),
        Activation::Exp => x.f_exp(),
        Activation::Sqrt => x.f_sqrt(),
        Activation::Erf => x.f_erf(),
        Activation::Neg => x.f_neg(),
        Activation::Log => x.f_log(),
        Activation::Power { exponent } => x.f_pow_tensor_scalar(exponent),
        Activation::Reciprocal => x.f_reciprocal(),
        Activation::Elu { alpha } => exponential(x, alpha, 1.0),
        Activation::Selu { alpha, gamma } => exponential(x, alpha, 1.0)?.f_mul_scalar(gamma),
        Activation::Celu { alpha } => exponential(x, alpha, alpha),
        Activation::HardSigmoid { alpha, beta } => {
            let inner = x.f_mul_scalar(alpha)?.f_add_scalar(beta)?;
            forward(Activation::Clip { min: 0.0, max: 1.0 }, &inner)
        }
        Activation::HardSwish => x.f_mul(&forward(HARD_GATE, x)?),
        Activation::Softsign => x.f_div(&x.f_abs()?.f_add_scalar(1.0)?),
        Activation::Silu => x.f_silu(),
        Activation::Mish => x.f_mish(),
        Activation::Gelu => x.f_gelu("none"),
        Activation::GeluTanh => x.f_gelu("tanh"),
        Activation::Floor => x.f_floor(),
        Activation::Ceil => x.f_ceil(),
        Activation::Round => x.f_round(),
        Activation::Truncate => x.f_trunc(),
        // libtorch's own sign of NaN is 0.
        Activation::Sign => x.f_sign()?.f_where_self(&x.f_isnan()?.f_logical_not()?, &x.f_detach()?),
        Activation::Sin => x.f_sin(),
        Activation::Cos => x.f_cos(),
        other => Err(unknown(other)),
    }
}

/// The cotangent of x, which may be the output instead where [`Activation::keeps_derivative`].
pub(super) fn back(activation: Activation, x: &Tensor, c: &Tensor) -> Tch<Tensor> {
    match activation {
        Activation::Relu => x.f_threshold_backward(c, 0.0),
        Activation::LeakyRelu { slope } => x.f_leaky_relu_backward(c, slope, false),
        Activation::Clip { min, max } => x.f_hardtanh_backward(c, min, max),
        Activation::Sigmoid => Tensor::f_sigmoid_backward(c, &x.f_sigmoid()?),
        Activation::Tanh => Tensor::f_tanh_backward(c, &x.f_tanh()?),
        Activation::Softplus => c.f_mul(&x.f_sigmoid()?),
        Activation::Abs => c.f_mul(&x.f_sgn()?),
        Activation::Exp => c.f_mul(&x.f_exp()?),
        Activation::Sqrt => c.f_mul_scalar(0.5)?.f_div(&x.f_sqrt()?),
        Activation::Erf => c.f_mul(&x.f_square()?.f_neg()?.f_exp()?)?.f_mul_scalar(FRAC_2_SQRT_PI),
        Activation::Neg => c.f_neg(),
        Activation::Log => c.f_div(x),
        Activation::Power { exponent: 0.0 } => c.f_zeros_like(),
        Activation::Power { exponent } => {
            c.f_mul(&x.f_pow_tensor_scalar(exponent - 1.0)?.f_mul_scalar(exponent)?)
        }
        Activation::Reciprocal => c.f_div(&x.f_square()?)?.f_neg(),
        Activation::Elu { alpha } => Tensor::f_elu_backward(c, alpha, 1.0, 1.0, false, x),
        Activation::Selu { alpha, gamma } => Tensor::f_elu_backward(c, alpha, gamma, 1.0, false, x),
        Activation::Celu { alpha } => Tensor::f_elu_backward(c, alpha, 1.0, 1.0 / alpha, false, x),
        Activation::HardSigmoid { alpha, beta } => {
            let inner = x.f_mul_scalar(alpha)?.f_add_scalar(beta)?;
            inner.f_hardtanh_backward(c, 0.0, 1.0)?.f_mul_scalar(alpha)
        }
        Activation::HardSwish => c.f_mul(&forward(HARD_GATE, x)?)?.f_add(&back(HARD_GATE, x, &c.f_mul(x)?)?),
        Activation::Softsign => c.f_div(&x.f_abs()?.f_add_scalar(1.0)?.f_square()?),
        Activation::Silu => x.f_silu_backward(c),
        Activation::Mish => x.f_mish_backward(c),
        Activation::Gelu => x.f_gelu_backward(c, "none"),
        Activation::GeluTanh => x.f_gelu_backward(c, "tanh"),
        Activation::Floor
        | Activation::Ceil
        | Activation::Round
        | Activation::Truncate
        | Activation::Sign => c.f_zeros_like(),
        Activation::Sin => c.f_mul(&x.f_cos()?),
        Activation::Cos => c.f_mul(&x.f_sin()?)?.f_neg(),
        other => Err(unknown(other)),
    }
}

/// `x` above 0, `alpha (exp(x / width) - 1)` elsewhere.
fn exponential(x: &Tensor, alpha: f64, width: f64) -> Tch<Tensor> {
    // Above 0 the exponential, which could be infinite, must not come into the derivative.
    let below = x.f_clamp_max(0.0)?.f_div_scalar(width)?.f_expm1()?.f_mul_scalar(alpha)?;
    x.f_where_self(&x.f_gt(0.0)?, &below)
}

fn unknown(activation: Activation) -> TchError {
    TchError::Torch(format!("{activation:?} can't be computed"))
}
