//! What candle gets wrong is refused, and what stands in for it here is not.

use attr_candle::{Candle, CandleTensor, Native, Taps, ops};
use attr_core::{Cut, Error, ModelWrapper, Point, Pool, Precision, Result, Tensor as _};
use candle_core::{Device, Tensor};
use candle_nn::{LayerNorm, Module, RmsNorm};

type Function = fn(&Tensor) -> candle_core::Result<Tensor>;

struct Case {
    name: &'static str,
    row: &'static [usize],
    /// As candle has it.
    wrong: Function,
    /// As it should be.
    right: Function,
}

fn constant(dims: &[usize], like: &Tensor) -> candle_core::Result<Tensor> {
    let count = dims.iter().product::<usize>();
    let numbers: Vec<_> = (0..count).map(|i| (2.3 * i as f64 + 1.0).sin()).collect();
    Tensor::from_vec(numbers, dims, &Device::Cpu)?.to_dtype(like.dtype())
}

fn indexes(x: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::new(&[[0u32, 2, 1]], x.device())?.repeat((x.dim(0)?, 1))
}

/// candle's fast norms know no double precision.
const SINGLE_ONLY: [&str; 2] = ["layer norm", "rms norm"];

fn silent() -> Vec<Case> {
    vec![
        Case {
            name: "max pooling",
            row: &[2, 6, 6],
            wrong: |x| x.max_pool2d(2),
            right: |x| ops::max_pool2d(x, &Pool::square(2, 2)),
        },
        Case {
            name: "average pooling with a remainder",
            row: &[2, 7, 5],
            wrong: |x| x.avg_pool2d(2),
            right: |x| ops::avg_pool2d(x, &Pool::square(2, 2)),
        },
        Case {
            name: "nearest resize of a value with another reader",
            row: &[2, 4, 4],
            wrong: |x| x.upsample_nearest2d(8, 8)? + x.sqr()?.repeat((1, 1, 2, 2))?,
            right: |x| ops::upsample_nearest2d(x, 8, 8)? + x.sqr()?.repeat((1, 1, 2, 2))?,
        },
        Case {
            name: "scatter",
            row: &[5],
            wrong: |x| x.scatter(&indexes(x)?, &constant(&[1, 3], x)?.repeat((x.dim(0)?, 1))?, 1)?.sqr(),
            right: |x| {
                ops::scatter(x, &indexes(x)?, &constant(&[1, 3], x)?.repeat((x.dim(0)?, 1))?, 1)?.sqr()
            },
        },
        Case {
            name: "scatter and add",
            row: &[3],
            wrong: |x| x.scatter_add(&indexes(x)?, &constant(&[1, 3], x)?.repeat((x.dim(0)?, 1))?, 1)?.sqr(),
            right: |x| {
                ops::scatter_add(x, &indexes(x)?, &constant(&[1, 3], x)?.repeat((x.dim(0)?, 1))?, 1)?.sqr()
            },
        },
        Case {
            name: "softmax beside a residual",
            row: &[3, 5],
            wrong: |x| x + (candle_nn::ops::softmax_last_dim(x)? * 4.0)?,
            right: |x| x + (ops::softmax_last_dim(x)? * 4.0)?,
        },
        Case {
            name: "softmax alone",
            row: &[3, 5],
            wrong: |x| candle_nn::ops::softmax_last_dim(x),
            right: |x| ops::softmax_last_dim(x),
        },
        Case {
            name: "layer norm",
            row: &[3, 6],
            wrong: |x| LayerNorm::new(constant(&[6], x)?, constant(&[6], x)?, 1e-5).forward(x),
            right: |x| ops::layer_norm(x, &constant(&[6], x)?, &constant(&[6], x)?, 1e-5),
        },
        Case {
            name: "rms norm",
            row: &[3, 6],
            wrong: |x| RmsNorm::new(constant(&[6], x)?, 1e-5).forward(x),
            right: |x| ops::rms_norm(x, &constant(&[6], x)?, 1e-5),
        },
    ]
}

/// What candle itself refuses.
fn loud() -> Vec<Case> {
    vec![
        Case {
            name: "max pooling that overlaps",
            row: &[2, 7, 7],
            wrong: |x| x.max_pool2d_with_stride(3, 2),
            right: |x| ops::max_pool2d(x, &Pool::square(3, 2)),
        },
        Case {
            name: "average pooling that overlaps",
            row: &[2, 7, 7],
            wrong: |x| x.avg_pool2d_with_stride(3, 2),
            right: |x| ops::avg_pool2d(x, &Pool::square(3, 2)),
        },
        Case {
            name: "bilinear resize",
            row: &[2, 4, 4],
            wrong: |x| x.upsample_bilinear2d(8, 8, false),
            right: |x| ops::upsample_bilinear2d(x, 8, 8, false),
        },
    ]
}

/// The operator between two layers that candle gets right.
fn model(case: &Case, function: Function, precision: Precision) -> Result<Native> {
    Native::new(Candle::cpu(precision), &[("x", case.row)], move |inputs, taps: &mut Taps| {
        let x = taps.layer("before", [&inputs[0]], |[x]| x.sin())?;
        let x = taps.layer("operator", [&x], |[x]| function(x))?;
        Ok(vec![taps.layer("behind", [&x], |[x]| x.exp())?])
    })
}

fn input(case: &Case, rows: usize, precision: Precision) -> Vec<CandleTensor> {
    let dims = [&[rows], case.row].concat();
    let numbers = ndarray::Array::from_shape_fn(dims, |i| {
        let i = ndarray::Dimension::slice(&i).iter().fold(0.0, |sum, &i| 1.9 * sum + i as f64);
        (1.3 * i).sin()
    });
    vec![CandleTensor::from(constant_of(&numbers, precision))]
}

fn constant_of(array: &ndarray::ArrayD<f64>, precision: Precision) -> Tensor {
    use attr_core::Kernels;
    Candle::cpu(precision).tensor(array).unwrap().into_inner()
}

fn gradient(model: &Native, x: &[CandleTensor]) -> Result<ndarray::ArrayD<f64>> {
    let mut ones = |values: &[CandleTensor]| values.iter().map(|value| value.filled_like(1.0)).collect();
    let gradient = model.gradient(Point::at(x), &Cut::input(), &Cut::output(), &mut ones)?;
    gradient.gradients[0].to_array()
}

fn sum(model: &Native, x: &CandleTensor) -> f64 {
    model.forward(Point::at(std::slice::from_ref(x)), &Cut::output()).unwrap()[0].to_array().unwrap().sum()
}

/// Each derivative against central differences.
fn is_right(case: &Case, model: &Native, x: &CandleTensor, gradient: &ndarray::ArrayD<f64>) {
    let at = x.to_array().unwrap();
    for (place, found) in gradient.indexed_iter() {
        let moved = |by: f64| {
            let mut at = at.clone();
            at[&place] += by;
            sum(model, &CandleTensor::from(constant_of(&at, Precision::F64)))
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        let gap = (found - expected).abs();
        assert!(
            gap < 1e-7 * expected.abs().max(1.0),
            "{} at {place:?}: {found}, expected {expected}",
            case.name
        );
    }
}

#[test]
fn what_is_silently_wrong_is_refused_and_what_stands_in_for_it_is_right() {
    for case in silent() {
        for precision in [Precision::F64, Precision::F32] {
            for rows in [1, 3] {
                let x = input(&case, rows, precision);
                let right = model(&case, case.right, precision).unwrap();
                let found = gradient(&right, &x).unwrap_or_else(|error| panic!("{}: {error}", case.name));
                if precision == Precision::F64 {
                    is_right(&case, &right, &x[0], &found);
                    if SINGLE_ONLY.contains(&case.name) {
                        continue;
                    }
                }
                let wrong = model(&case, case.wrong, precision).unwrap();
                let error = gradient(&wrong, &x).map(|_| ()).expect_err(case.name);
                let text = error.to_string();
                assert!(matches!(error, Error::Unsupported(_)), "{}: {text}", case.name);
                let parts =
                    ["finite differences", "layer \"before\" and layer \"operator\"", "attr_candle::ops"];
                for part in parts {
                    assert!(text.contains(part), "{}: {part:?} is missing in {text:?}", case.name);
                }
                // It was a wrong number that was refused, or one that was missing.
                let unchecked = gradient(&wrong.without_check(), &x);
                match unchecked {
                    Ok(unchecked) => {
                        assert!((unchecked - &found).iter().any(|gap| gap.abs() > 1e-3), "{}", case.name)
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::NotConnected { .. }), "{}: {error}", case.name)
                    }
                }
            }
        }
    }
}

#[test]
fn what_candle_refuses_says_what_to_do() {
    for case in loud() {
        let x = input(&case, 2, Precision::F64);
        let error = gradient(&model(&case, case.wrong, Precision::F64).unwrap(), &x).unwrap_err().to_string();
        assert!(
            error.contains("on the way back") && error.contains("attr_candle::ops"),
            "{}: {error}",
            case.name
        );
        let right = model(&case, case.right, Precision::F64).unwrap();
        is_right(&case, &right, &x[0], &gradient(&right, &x).unwrap());
    }
}

#[test]
fn values_can_be_had_of_what_has_no_right_gradient() {
    let case = &silent()[0];
    let model = model(case, case.wrong, Precision::F64).unwrap();
    assert!(sum(&model, &input(case, 2, Precision::F64)[0]).is_finite());
    assert!(model.layers().iter().all(|layer| layer.leads_to_output));
}

#[test]
fn a_way_that_candle_did_not_record_is_still_one() {
    let case = silent().into_iter().find(|case| case.name == "softmax alone").unwrap();
    let model = model(&case, case.wrong, Precision::F64).unwrap();
    // A single row of softmax's sum is 1 whatever goes in, but not behind an exponential.
    assert!(model.layers().iter().all(|layer| layer.leads_to_output), "{:?}", model.layers());
}
