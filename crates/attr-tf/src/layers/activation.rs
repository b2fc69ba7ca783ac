//! Functions of each element by itself.

use std::f64::consts::FRAC_2_SQRT_PI;

use attr_core::{Activation, Result, Tensor};

use crate::symbol::Symbol;
use crate::tape::Id;

/// Why there is no way to compute a function; `None` for those that [`forward`] and [`back`] know.
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

/// f(x).
pub(super) fn forward(activation: Activation, x: &Symbol) -> Result<Symbol> {
    Ok(match activation {
        Activation::Relu => x.unary("Relu"),
        // TensorFlow's own has its slope in single precision.
        Activation::LeakyRelu { slope } => select(x, 0.0, x, &x.scale(slope)?)?,
        Activation::Clip { min: 0.0, max: 6.0 } => x.unary("Relu6"),
        Activation::Clip { min, max } => {
            let tape = x.tape();
            let above = tape.op("Maximum", &[x.node().0, tape.scalar(min)]);
            x.then(tape.op("Minimum", &[above, tape.scalar(max)]))
        }
        Activation::Sigmoid => x.unary("Sigmoid"),
        Activation::Tanh => x.unary("Tanh"),
        Activation::Softplus => x.unary("Softplus"),
        Activation::Abs => x.abs()?,
        Activation::Exp => x.exp()?,
        Activation::Sqrt => x.sqrt()?,
        Activation::Erf => x.unary("Erf"),
        Activation::Neg => x.unary("Neg"),
        other => unreachable!("BUG: {other:?} was refused when the model was made"),
    })
}

/// The cotangent of x, which may be the output instead where [`Activation::keeps_derivative`].
pub(super) fn back(activation: Activation, x: &Symbol, c: &Symbol) -> Result<Symbol> {
    // TensorFlow's own: from the cotangent and the input, or from the output and the cotangent.
    let of_input = |op: &'static str| -> Result<Symbol> {
        let (ids, order, dims) = c.meet(x)?;
        Ok(Symbol::of(x.tape(), x.tape().op(op, &ids), order, &dims))
    };
    let of_output = |op: &'static str, y: &Symbol| -> Result<Symbol> {
        let (ids, order, dims) = y.meet(c)?;
        Ok(Symbol::of(x.tape(), x.tape().op(op, &ids), order, &dims))
    };
    match activation {
        Activation::Relu => of_input("ReluGrad"),
        Activation::LeakyRelu { slope } => select(x, 0.0, c, &c.scale(slope)?),
        Activation::Clip { min: 0.0, max: 6.0 } => of_input("Relu6Grad"),
        Activation::Clip { min, max } => {
            let zero = c.scale(0.0)?;
            select(x, min, &select(&x.unary("Neg"), -max, c, &zero)?, &zero)
        }
        Activation::Sigmoid => of_output("SigmoidGrad", &x.unary("Sigmoid")),
        Activation::Tanh => of_output("TanhGrad", &x.unary("Tanh")),
        Activation::Softplus => c.mul(&x.unary("Sigmoid")),
        Activation::Abs => c.mul(&x.unary("Sign")),
        Activation::Exp => c.mul(&x.exp()?),
        Activation::Sqrt => c.scale(0.5)?.div(&x.sqrt()?),
        Activation::Erf => c.mul(&x.square()?.unary("Neg").exp()?.scale(FRAC_2_SQRT_PI)?),
        Activation::Neg => Ok(c.unary("Neg")),
        other => unreachable!("BUG: {other:?} was refused when the model was made"),
    }
}

/// `a` where x lies above a bound, `b` elsewhere.
fn select(x: &Symbol, bound: f64, a: &Symbol, b: &Symbol) -> Result<Symbol> {
    let tape = x.tape();
    let ([a, b], order, dims) = a.meet(b)?;
    let above: Id = tape.truth("Greater", &[x.ordered(order), tape.scalar(bound)]);
    Ok(Symbol::of(tape, tape.op("SelectV2", &[above, a, b]), order, &dims))
}
