//! At kinks every adapter has the derivative that `semantics.md` settles.

use std::f64::consts::FRAC_2_SQRT_PI;

use attr_core::{Activation, Kernels, Op, Pool};
use attr_tests::reference::Reference;
use attr_tests::{Backend, Case, Level, Outcome, on_every_backend};
use ndarray::{ArrayD, arr1};

use crate::cases::{OpCase, operators};
use crate::{cotangents, value};

pub(crate) struct Kink {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    pub(crate) x: Vec<f64>,
    y: Vec<f64>,
    derivative: Vec<f64>,
}

impl Case for Kink {
    fn name(&self) -> &str {
        self.name
    }
}

#[test]
fn kinks() {
    fn check<K: Kernels>(adapter: &Backend<K>, kink: &Kink) -> Outcome {
        let (kernels, x) = ((adapter.kernels)(), shaped(&kink.op, &kink.x));
        let y = value(&kernels, &kink.op, std::slice::from_ref(&x), &[])?;
        let close = |found: ArrayD<f64>, expected: &[f64]| {
            let flat = ArrayD::from_shape_vec(vec![found.len()], found.iter().copied().collect()).unwrap();
            attr_tests::tolerance::close(&flat, &arr1(expected).into_dyn(), Level::Layer, adapter.precision)
        };
        let ones = ArrayD::ones(y.raw_dim());
        close(y, &kink.y).map_err(|reason| format!("value: {reason}"))?;
        let mut back = cotangents(&kernels, &kink.op, &[x], &[], &ones, &[true])?;
        let back = back.pop().flatten().ok_or("no cotangent")?;
        Ok(close(back, &kink.derivative).map_err(|reason| format!("derivative: {reason}"))?)
    }
    on_every_backend!(check, table());
}

/// Of two equal numbers the first has all of the derivative, and an exponent none where the base is 0.
#[test]
fn kinks_of_two() {
    struct Pair(&'static str, Op, [f64; 2], [f64; 2]);
    impl Case for Pair {
        fn name(&self) -> &str {
            self.0
        }
    }
    fn check<K: Kernels>(adapter: &Backend<K>, Pair(_, op, [a, b], expected): &Pair) -> Outcome {
        let inputs = [a, b].map(|x| arr1(&[*x]).into_dyn());
        let one = ArrayD::ones(vec![1]);
        let found = cotangents(&(adapter.kernels)(), op, &inputs, &[], &one, &[true, true])?;
        for (found, expected) in found.into_iter().zip(expected) {
            let (found, expected) = (found.ok_or("no cotangent")?, arr1(&[*expected]).into_dyn());
            attr_tests::tolerance::close(&found, &expected, Level::Layer, adapter.precision)?;
        }
        Ok(())
    }
    let table = [
        Pair("equal in a maximum", Op::Maximum, [2.0, 2.0], [1.0, 0.0]),
        Pair("equal in a minimum", Op::Minimum, [2.0, 2.0], [1.0, 0.0]),
        Pair("square of 0", Op::Power, [0.0, 2.0], [0.0, 0.0]),
        Pair("0 to the power of 0", Op::Power, [0.0, 0.0], [0.0, 0.0]),
    ];
    on_every_backend!(check, table);
}

/// NaN comes out wherever the formulas say that it was read, so that no layer hides it.
#[test]
fn nan_is_not_hidden() {
    /// Under a name of its own, by which an adapter can leave it out.
    struct Hidden(OpCase, String);
    impl Case for Hidden {
        fn name(&self) -> &str {
            &self.1
        }
    }
    fn check<K: Kernels>(adapter: &Backend<K>, Hidden(case, _): &Hidden) -> Outcome {
        let (mut inputs, params) = (case.input_values(), case.param_values());
        let middle = inputs[0].len() / 2;
        *inputs[0].iter_mut().nth(middle).ok_or("no input")? = f64::NAN;
        let expected = value(&Reference, &case.op, &inputs, &params)?.mapv(f64::is_nan);
        let found = value(&(adapter.kernels)(), &case.op, &inputs, &params)?.mapv(f64::is_nan);
        let hidden = expected.iter().zip(&found).filter(|(expected, found)| **expected && !**found).count();
        match hidden {
            0 => Ok(()),
            _ => {
                Err(format!("{hidden} of {} NaN are hidden", expected.iter().filter(|x| **x).count()).into())
            }
        }
    }
    let named = |case: OpCase| {
        let name = format!("NaN through {}", case.name());
        Hidden(case, name)
    };
    on_every_backend!(check, operators().into_iter().map(named).collect::<Vec<_>>());
}

/// Elementwise functions take `[1, n]`, poolings an image of one channel, all others a row.
pub(crate) fn shaped(op: &Op, x: &[f64]) -> ArrayD<f64> {
    let dims = match op {
        Op::MaxPool(pool) if pool.kernel.len() == 1 => vec![1, 1, x.len()],
        Op::MaxPool(_) => vec![1, 1, 2, x.len() / 2],
        _ => vec![1, x.len()],
    };
    ArrayD::from_shape_vec(dims, x.to_vec()).unwrap()
}

pub(crate) fn table() -> Vec<Kink> {
    let case = |name, op, x: &[f64], y: &[f64], derivative: &[f64]| Kink {
        name,
        op,
        x: x.into(),
        y: y.into(),
        derivative: derivative.into(),
    };
    let activation = |name, kind, x: &[f64], y: &[f64], derivative: &[f64]| {
        case(name, Op::Activation(kind), x, y, derivative)
    };
    let line = |kernel, stride, padding| {
        Op::MaxPool(Pool {
            kernel: vec![kernel],
            stride: vec![stride],
            padding: vec![padding],
            dilation: vec![1],
            ceil: false,
        })
    };
    let small = f64::from(f32::MIN_POSITIVE);
    let relu6 = Activation::Clip { min: 0.0, max: 6.0 };
    vec![
        activation(
            "relu",
            Activation::Relu,
            &[-1.0, -0.0, 0.0, small],
            &[0.0, 0.0, 0.0, small],
            &[0.0, 0.0, 0.0, 1.0],
        ),
        activation(
            "leaky relu",
            Activation::LeakyRelu { slope: 0.25 },
            &[-1.0, -0.0, 0.0, 1.0],
            &[-0.25, 0.0, 0.0, 1.0],
            &[0.25, 0.25, 0.25, 1.0],
        ),
        activation(
            "relu6",
            relu6,
            &[-1.0, 0.0, 3.0, 6.0, 7.0],
            &[0.0, 0.0, 3.0, 6.0, 6.0],
            &[0.0, 0.0, 1.0, 0.0, 0.0],
        ),
        activation(
            "abs",
            Activation::Abs,
            &[-2.0, 0.0, -0.0, 2.0],
            &[2.0, 0.0, 0.0, 2.0],
            &[-1.0, 0.0, 0.0, 1.0],
        ),
        activation(
            "sigmoid far out",
            Activation::Sigmoid,
            &[-800.0, 0.0, 800.0],
            &[0.0, 0.5, 1.0],
            &[0.0, 0.25, 0.0],
        ),
        activation(
            "erf far out",
            Activation::Erf,
            &[-25.0, 0.0, 25.0],
            &[-1.0, 0.0, 1.0],
            &[0.0, FRAC_2_SQRT_PI, 0.0],
        ),
        activation("softplus far out", Activation::Softplus, &[-800.0, 800.0], &[0.0, 800.0], &[0.0, 1.0]),
        activation(
            "tanh far out",
            Activation::Tanh,
            &[-800.0, 0.0, 800.0],
            &[-1.0, 0.0, 1.0],
            &[0.0, 1.0, 0.0],
        ),
        case("softmax far out", Op::Softmax { axis: 1 }, &[-800.0, 0.0, 800.0], &[0.0, 0.0, 1.0], &[0.0; 3]),
        case("softmax of equals", Op::Softmax { axis: 1 }, &[900.0, 900.0], &[0.5, 0.5], &[0.0, 0.0]),
        case(
            "max pool of equals",
            line(2, 2, (0, 0)),
            &[5.0, 5.0, 1.0, 1.0],
            &[5.0, 1.0],
            &[1.0, 0.0, 1.0, 0.0],
        ),
        case(
            "max pool of zeros behind a relu",
            line(3, 1, (0, 0)),
            &[0.0; 4],
            &[0.0, 0.0],
            &[1.0, 1.0, 0.0, 0.0],
        ),
        case(
            "max pool of negatives beside padding",
            line(2, 1, (1, 1)),
            &[-3.0, -3.0, -5.0],
            &[-3.0, -3.0, -3.0, -5.0],
            &[2.0, 1.0, 1.0],
        ),
        case(
            "max pool of equals in row-major order",
            Op::MaxPool(Pool::square(2, 1)),
            &[1.0, 7.0, 2.0, 7.0, 3.0, 7.0],
            &[7.0, 7.0],
            &[0.0, 2.0, 0.0, 0.0, 0.0, 0.0],
        ),
        case(
            "overlapping max pool of equals",
            line(3, 1, (0, 0)),
            &[2.0, 4.0, 4.0, 4.0, 0.0],
            &[4.0, 4.0, 4.0],
            &[0.0, 2.0, 1.0, 0.0, 0.0],
        ),
        activation("elu", Activation::Elu { alpha: 1.5 }, &[0.0, small], &[0.0, small], &[1.5, 1.0]),
        activation("celu", Activation::Celu { alpha: 0.5 }, &[0.0, small], &[0.0, small], &[1.0, 1.0]),
        activation(
            "hard sigmoid",
            Activation::HardSigmoid { alpha: 0.25, beta: 0.5 },
            &[-2.0, 0.0, 2.0, 3.0],
            &[0.0, 0.5, 1.0, 1.0],
            &[0.0, 0.25, 0.0, 0.0],
        ),
        activation(
            "hard swish",
            Activation::HardSwish,
            &[-4.0, -3.0, 3.0, 4.0],
            &[0.0, 0.0, 3.0, 4.0],
            &[0.0, 0.0, 1.0, 1.0],
        ),
        activation(
            "round",
            Activation::Round,
            &[-1.5, -0.5, 0.5, 1.5, 2.5],
            &[-2.0, 0.0, 0.0, 2.0, 2.0],
            &[0.0; 5],
        ),
        activation("truncate", Activation::Truncate, &[-1.5, -0.5, 1.9], &[-1.0, 0.0, 1.0], &[0.0; 3]),
        activation("sign", Activation::Sign, &[-2.0, 0.0, 3.0], &[-1.0, 0.0, 1.0], &[0.0; 3]),
        activation("square", Activation::Power { exponent: 2.0 }, &[-3.0, 0.0], &[9.0, 0.0], &[-6.0, 0.0]),
        activation("power of 0", Activation::Power { exponent: 0.0 }, &[-3.0, 0.0], &[1.0, 1.0], &[0.0, 0.0]),
        case("max", Op::Max { axes: vec![1], keep: false }, &[1.0, 3.0, 3.0], &[3.0], &[0.0, 1.0, 0.0]),
        case("min", Op::Min { axes: vec![1], keep: true }, &[2.0, -3.0, -3.0], &[-3.0], &[0.0, 1.0, 0.0]),
        case("norm", Op::Norm { axes: vec![1], keep: false }, &[0.0, 0.0], &[0.0], &[0.0, 0.0]),
    ]
}
