//! Functions of each element by itself.

use std::f64::consts::FRAC_2_SQRT_PI;

use attr_core::Activation;
use tch::Tensor;

use super::Tch;

/// Why there is no kernel for a function; `None` for those that [`forward`] and [`back`] know.
pub(super) fn unknown(activation: Activation) -> Option<String> {
    match activation {
        Activation::Relu
        | Activation::LeakyRelu { .. }
        | Activation::Clip { .. }
        | Activation::Sigmoid
        | Activation::Tanh
        | Activation::Softplus
        | Activation::Abs
        | Activation::Exp
        | Activation::Sqrt
        | Activation::Erf
        | Activation::Neg => None,
        other => Some(format!("{other:?} has no kernel here")),
    }
}

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
        other => unreachable!("BUG: {other:?} was refused when the model was made"),
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
        other => unreachable!("BUG: {other:?} was refused when the model was made"),
    }
}
