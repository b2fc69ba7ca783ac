//! Functions of each element by itself.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use attr_core::{Activation, Error, Result, Tensor};

use super::choice::above;
use crate::error::backend;
use crate::symbol::{Order, Symbol};

/// The factor of hard swish.
const HARD_GATE: Activation = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

/// The square root of 2 / pi.
const GELU_SCALE: f64 = FRAC_1_SQRT_2 * FRAC_2_SQRT_PI;

/// The factor of the cube in GELU's approximation.
const GELU_CUBE: f64 = 0.044715;

/// f(x).
pub(super) fn forward(activation: Activation, x: &Symbol) -> Result<Symbol> {
    Ok(match activation {
        Activation::Relu => x.unary("Relu"),
        // TensorFlow's own has its slope in single precision.
        Activation::LeakyRelu { slope } => above(x, 0.0, x, &x.scale(slope)?)?,
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
        Activation::Log => x.ln()?,
        Activation::Power { exponent } => power(x, exponent),
        Activation::Reciprocal => reciprocal(x),
        Activation::Elu { alpha } => exponential(x, alpha, 1.0)?,
        Activation::Selu { alpha, gamma } => exponential(x, alpha, 1.0)?.scale(gamma)?,
        Activation::Celu { alpha } => exponential(x, alpha, alpha)?,
        Activation::HardSigmoid { alpha, beta } => forward(UNIT, &x.affine(alpha, beta)?)?,
        Activation::HardSwish => x.mul(&forward(HARD_GATE, x)?)?,
        Activation::Softsign => x.unary("Softsign"),
        Activation::Silu => x.mul(&x.unary("Sigmoid"))?,
        Activation::Mish => x.mul(&x.unary("Softplus").unary("Tanh"))?,
        Activation::Gelu => x.mul(&normal_cdf(x)?)?,
        Activation::GeluTanh => x.mul(&gelu_inner(x)?.unary("Tanh").affine(0.5, 0.5)?)?,
        Activation::Floor => x.unary("Floor"),
        Activation::Ceil => x.unary("Ceil"),
        Activation::Round => x.unary("Round"),
        Activation::Truncate => above(x, 0.0, &x.unary("Floor"), &x.unary("Ceil"))?,
        Activation::Sign => {
            // NaN stays NaN, whatever TensorFlow's own makes of it.
            let (tape, id) = (x.tape(), x.node().0);
            let is_number = tape.truth("Equal", &[id, id]);
            x.then(tape.op("SelectV2", &[is_number, tape.op("Sign", &[id]), id]))
        }
        Activation::Sin => x.unary("Sin"),
        Activation::Cos => x.unary("Cos"),
        other => return Err(unknown(other)),
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
        Activation::LeakyRelu { slope } => above(x, 0.0, c, &c.scale(slope)?),
        Activation::Clip { min: 0.0, max: 6.0 } => of_input("Relu6Grad"),
        Activation::Clip { min, max } => {
            let zero = c.scale(0.0)?;
            above(x, min, &above(&x.unary("Neg"), -max, c, &zero)?, &zero)
        }
        Activation::Sigmoid => of_output("SigmoidGrad", &x.unary("Sigmoid")),
        Activation::Tanh => of_output("TanhGrad", &x.unary("Tanh")),
        Activation::Softplus => c.mul(&x.unary("Sigmoid")),
        Activation::Abs => c.mul(&x.unary("Sign")),
        Activation::Exp => c.mul(&x.exp()?),
        Activation::Sqrt => c.scale(0.5)?.div(&x.sqrt()?),
        Activation::Erf => c.mul(&x.square()?.unary("Neg").exp()?.scale(FRAC_2_SQRT_PI)?),
        Activation::Neg => Ok(c.unary("Neg")),
        Activation::Log => c.div(x),
        Activation::Power { exponent: 0.0 } => Ok(Symbol::zeros(x.tape(), x.shape())),
        Activation::Power { exponent } => c.mul(&power(x, exponent - 1.0).scale(exponent)?),
        Activation::Reciprocal => c.div(&x.square()?.unary("Neg")),
        Activation::Elu { alpha } => exponential_back(x, c, alpha, 1.0),
        Activation::Selu { alpha, gamma } => exponential_back(x, c, alpha, 1.0)?.scale(gamma),
        Activation::Celu { alpha } => exponential_back(x, c, 1.0, alpha),
        Activation::HardSigmoid { alpha, beta } => back(UNIT, &x.affine(alpha, beta)?, c)?.scale(alpha),
        Activation::HardSwish => c.mul(&forward(HARD_GATE, x)?)?.add(&back(HARD_GATE, x, &c.mul(x)?)?),
        Activation::Softsign => of_input("SoftsignGrad"),
        Activation::Silu => {
            let s = x.unary("Sigmoid");
            // s + x s (1 - s)
            c.mul(&s.mul(&x.mul(&s.affine(-1.0, 1.0)?)?.affine(1.0, 1.0)?)?)
        }
        Activation::Mish => {
            let t = x.unary("Softplus").unary("Tanh");
            let inner = x.unary("Sigmoid").mul(&t.square()?.affine(-1.0, 1.0)?)?;
            c.mul(&t.add(&x.mul(&inner)?)?)
        }
        Activation::Gelu => {
            let density = x.square()?.scale(-0.5)?.exp()?.scale(0.5 * GELU_SCALE)?;
            c.mul(&normal_cdf(x)?.add(&x.mul(&density)?)?)
        }
        Activation::GeluTanh => {
            let t = gelu_inner(x)?.unary("Tanh");
            let inner = x.square()?.affine(3.0 * GELU_CUBE * GELU_SCALE, GELU_SCALE)?;
            let slope = x.mul(&t.square()?.affine(-1.0, 1.0)?)?.mul(&inner)?;
            c.mul(&t.affine(1.0, 1.0)?.add(&slope)?.scale(0.5)?)
        }
        Activation::Floor
        | Activation::Ceil
        | Activation::Round
        | Activation::Truncate
        | Activation::Sign => Ok(Symbol::zeros(x.tape(), x.shape())),
        Activation::Sin => c.mul(&x.unary("Cos")),
        Activation::Cos => c.mul(&x.unary("Sin").unary("Neg")),
        other => Err(unknown(other)),
    }
}

/// Held between 0 and 1.
const UNIT: Activation = Activation::Clip { min: 0.0, max: 1.0 };

fn power(x: &Symbol, exponent: f64) -> Symbol {
    x.then(x.tape().op("Pow", &[x.node().0, x.tape().scalar(exponent)]))
}

fn reciprocal(x: &Symbol) -> Symbol {
    x.then(x.tape().op("RealDiv", &[x.tape().scalar(1.0), x.node().0]))
}

/// `x` at and below 0, 0 above. A minimum lets no derivative through at its bound; this does.
fn negative(x: &Symbol) -> Result<Symbol> {
    let zero = Symbol::of(x.tape(), x.tape().scalar(0.0), Order::Plain, &[]);
    above(x, 0.0, &zero, x)
}

/// `x` above 0, `alpha (exp(x / width) - 1)` elsewhere.
fn exponential(x: &Symbol, alpha: f64, width: f64) -> Result<Symbol> {
    // Above 0 the exponential, which could be infinite, must not come into the derivative.
    above(x, 0.0, x, &negative(x)?.scale(1.0 / width)?.unary("Expm1").scale(alpha)?)
}

/// The cotangent above 0, and `slope exp(x / width)` times it elsewhere.
fn exponential_back(x: &Symbol, c: &Symbol, slope: f64, width: f64) -> Result<Symbol> {
    above(x, 0.0, c, &c.mul(&negative(x)?.scale(1.0 / width)?.exp()?.scale(slope)?)?)
}

/// How much of a standard normal distribution lies below.
fn normal_cdf(x: &Symbol) -> Result<Symbol> {
    x.scale(FRAC_1_SQRT_2)?.unary("Erf").affine(0.5, 0.5)
}

fn gelu_inner(x: &Symbol) -> Result<Symbol> {
    // x + 0.044715 x^3, times the square root of 2 / pi
    x.mul(&x.square()?.affine(GELU_CUBE * GELU_SCALE, GELU_SCALE)?)
}

fn unknown(activation: Activation) -> Error {
    backend(&format!("{activation:?} can't be computed"))
}
