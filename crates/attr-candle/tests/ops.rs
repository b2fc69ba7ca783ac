//! The operators with derivatives that can be relied on: their values against candle's own, which are right, and
//! their derivatives against central differences, element by element.

use attr_candle::ops;
use attr_core::{Activation, Comparison, Conv, Op, Pool};
use candle_core::{D, DType, Device, Result, Tensor, Var};

/// Central differences in double precision.
const DIFFERENCES: f64 = 1e-7;
/// Sums in another order in double precision.
const DOUBLE: f64 = 1e-12;
/// candle takes an epsilon in single precision.
const EPSILON: f64 = 1e-6;

fn numbers(dims: &[usize], seed: f64) -> Tensor {
    let count = dims.iter().product::<usize>();
    let numbers: Vec<_> =
        (0..count).map(|i| (1.7 * i as f64 + 0.3 * seed).sin() * 1.5 + 0.1 * seed).collect();
    Tensor::from_vec(numbers, dims, &Device::Cpu).unwrap()
}

fn flat(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn close(what: &str, found: &Tensor, expected: &Tensor, within: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    for (found, expected) in flat(found).iter().zip(flat(expected)) {
        assert!(
            (found - expected).abs() <= within * expected.abs().max(1.0),
            "{what}: {found}, expected {expected}"
        );
    }
}

/// Compares all derivatives of a weighting of what a function gives with differences.
fn differentiates(what: &str, x: &Tensor, function: impl Fn(&Tensor) -> Result<Tensor>) {
    let x = Var::from_tensor(x).unwrap();
    let y = function(&x).unwrap();
    let weights = numbers(y.dims(), 5.0);
    let loss = |x: &Tensor| flat(&(function(x).unwrap() * &weights).unwrap().sum_all().unwrap())[0];
    let sum = (y * &weights).unwrap().sum_all().unwrap();
    let found = flat(sum.backward().unwrap().get(&x).unwrap_or_else(|| panic!("{what}: no derivative")));
    let at = flat(&x);
    for i in 0..at.len() {
        let moved = |by: f64| {
            let mut at = at.clone();
            at[i] += by;
            loss(&Tensor::from_vec(at, x.dims(), &Device::Cpu).unwrap())
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        let gap = (found[i] - expected).abs();
        assert!(
            gap <= DIFFERENCES * expected.abs().max(1.0),
            "{what}, {i}: {}, expected {expected}",
            found[i]
        );
    }
}

type Operator = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

struct Case {
    name: &'static str,
    x: Tensor,
    operator: Operator,
    /// What candle computes.
    own: Option<Operator>,
    within: f64,
}

fn case(name: &'static str, dims: &[usize], operator: impl Fn(&Tensor) -> Result<Tensor> + 'static) -> Case {
    Case { name, x: numbers(dims, 1.0), operator: Box::new(operator), own: None, within: DOUBLE }
}

impl Case {
    fn is(self, own: impl Fn(&Tensor) -> Result<Tensor> + 'static) -> Self {
        Case { own: Some(Box::new(own)), ..self }
    }

    fn within(self, within: f64) -> Self {
        Case { within, ..self }
    }
}

fn conv(stride: usize, padding: usize, dilation: usize, groups: usize) -> Conv {
    Conv { dilation: vec![dilation; 2], groups, ..Conv::square(stride, padding) }
}

fn indexes() -> Tensor {
    Tensor::new(&[[0u32, 2, 2], [1, 0, 1]], &Device::Cpu).unwrap()
}

fn cases() -> Vec<Case> {
    let (w, w2, bias) = (numbers(&[4, 3, 3, 3], 2.0), numbers(&[4, 1, 3, 3], 2.5), numbers(&[4], 3.0));
    let (w3, w4) = (w.clone(), w2.clone());
    let (fc, fc_bias) = (numbers(&[5, 4], 2.0), numbers(&[5], 1.0));
    let (gamma, beta) = (numbers(&[6], 2.0), numbers(&[6], 4.0));
    let (gamma2, beta2, gamma3, gamma4) = (gamma.clone(), beta.clone(), gamma.clone(), gamma.clone());
    let padded = Pool { padding: vec![(1, 1); 2], ..Pool::square(3, 2) };
    let source = numbers(&[2, 3], 7.0);
    let (source2, source3) = (source.clone(), source.clone());
    vec![
        case("max pool", &[2, 3, 6, 4], |x| ops::max_pool2d(x, &Pool::square(2, 2))).is(|x| x.max_pool2d(2)),
        case("max pool that overlaps", &[2, 2, 7, 6], |x| ops::max_pool2d(x, &Pool::square(3, 2)))
            .is(|x| x.max_pool2d_with_stride(3, 2)),
        case("max pool with a remainder", &[1, 2, 5, 7], |x| ops::max_pool2d(x, &Pool::square(2, 2)))
            .is(|x| x.max_pool2d(2)),
        case("max pool with padding", &[1, 2, 6, 6], move |x| ops::max_pool2d(x, &padded)),
        case("average pool", &[2, 2, 4, 6], |x| ops::avg_pool2d(x, &Pool::square(2, 2)))
            .is(|x| x.avg_pool2d(2)),
        case("average pool that overlaps", &[1, 2, 7, 5], |x| ops::avg_pool2d(x, &Pool::square(3, 2)))
            .is(|x| x.avg_pool2d_with_stride(3, 2)),
        case("nearest", &[2, 2, 3, 2], |x| ops::upsample_nearest2d(x, 6, 5))
            .is(|x| x.upsample_nearest2d(6, 5)),
        case("nearest twice", &[1, 2, 3, 3], |x| {
            ops::upsample_nearest2d(x, 6, 6)? + x.repeat((1, 1, 2, 2))?
        }),
        case("bilinear", &[1, 2, 3, 4], |x| ops::upsample_bilinear2d(x, 7, 5, false))
            .is(|x| x.upsample_bilinear2d(7, 5, false)),
        case("bilinear from end to end", &[1, 2, 3, 4], |x| ops::upsample_bilinear2d(x, 5, 9, true))
            .is(|x| x.upsample_bilinear2d(5, 9, true)),
        case("convolution", &[2, 3, 5, 6], move |x| ops::conv2d(x, &w, Some(&bias), &conv(2, 1, 1, 1))),
        case("convolution of an odd size", &[1, 3, 6, 7], move |x| {
            ops::conv2d(x, &w3, None, &conv(2, 0, 1, 1))
        })
        .is(|x| x.conv2d(&numbers(&[4, 3, 3, 3], 2.0), 0, 2, 1, 1)),
        case("convolution with holes", &[1, 4, 7, 7], move |x| ops::conv2d(x, &w2, None, &conv(1, 2, 2, 4)))
            .is(|x| x.conv2d(&numbers(&[4, 1, 3, 3], 2.5), 2, 1, 2, 4)),
        case("depthwise convolution", &[1, 4, 5, 5], move |x| ops::conv2d(x, &w4, None, &conv(2, 1, 1, 4)))
            .is(|x| x.conv2d(&numbers(&[4, 1, 3, 3], 2.5), 1, 2, 1, 4)),
        case("linear", &[2, 3, 4], move |x| ops::linear(x, &fc, Some(&fc_bias))).is(|x| {
            let product = x.broadcast_matmul(&numbers(&[5, 4], 2.0).t()?)?;
            product.broadcast_add(&numbers(&[5], 1.0))
        }),
        case("relu", &[2, 6], ops::relu).is(|x| x.relu()),
        case("gelu", &[2, 6], |x| ops::activation(x, Activation::Gelu)).is(|x| x.gelu_erf()),
        case("softmax", &[2, 3, 5], ops::softmax_last_dim).is(|x| candle_nn::ops::softmax(x, D::Minus1)),
        case("layer norm", &[2, 3, 6], move |x| ops::layer_norm(x, &gamma, &beta, 1e-5))
            .is(move |x| candle_nn::ops::layer_norm_slow(x, &gamma2, &beta2, 1e-5))
            .within(EPSILON),
        case("rms norm", &[2, 3, 6], move |x| ops::rms_norm(x, &gamma3, 1e-5))
            .is(move |x| candle_nn::ops::rms_norm_slow(x, &gamma4, 1e-5))
            .within(EPSILON),
        case("scatter into", &[2, 3], move |x| ops::scatter(x, &indexes(), &source, 1))
            .is(move |x| x.scatter(&indexes(), &source2, 1)),
        case("scatter of", &[2, 3], |x| ops::scatter(&numbers(&[2, 3], 8.0), &indexes(), x, 1))
            .is(|x| numbers(&[2, 3], 8.0).scatter(&indexes(), x, 1)),
        case("scatter and add into", &[2, 3], move |x| ops::scatter_add(x, &indexes(), &source3, 1))
            .is(|x| x.scatter_add(&indexes(), &numbers(&[2, 3], 7.0), 1)),
        case("scatter and add of", &[2, 3], |x| ops::scatter_add(&numbers(&[2, 3], 8.0), &indexes(), x, 1))
            .is(|x| numbers(&[2, 3], 8.0).scatter_add(&indexes(), x, 1)),
        // Several values, one of them a variable's only in part.
        case("product of two", &[2, 3, 3], |x| ops::layer(&Op::MatMul, &[&x.sin()?, x], &[]))
            .is(|x| x.sin()?.matmul(x)),
        case("where", &[2, 3], |x| {
            let condition = ops::layer(&Op::Compare(Comparison::Greater), &[x, &numbers(&[2, 3], 3.0)], &[])?;
            ops::layer(&Op::Where, &[&condition, &x.sqr()?, x], &[])
        }),
        case("attention", &[2, 4, 3], |x| {
            let op = Op::Attention { scale: 0.7 };
            ops::layer(&op, &[x, &x.cos()?, &x.sin()?], &[])
        })
        .is(|x| {
            let scores = (x.matmul(&x.cos()?.t()?)? * 0.7)?;
            candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&x.sin()?)
        }),
    ]
}

#[test]
fn values_are_candles_own() {
    for case in cases() {
        let Some(own) = case.own else { continue };
        close(case.name, &(case.operator)(&case.x).unwrap(), &own(&case.x).unwrap(), case.within);
        // And so they are where candle records them.
        let recorded = (case.operator)(&Var::from_tensor(&case.x).unwrap()).unwrap();
        close(case.name, &recorded, &own(&case.x).unwrap(), case.within);
    }
}

#[test]
fn derivatives_are_what_differences_say() {
    for case in cases() {
        differentiates(case.name, &case.x, &case.operator);
        // Of a value that is itself computed, and does not lie in memory as its shape says.
        let axes = (0..case.x.rank()).rev().collect::<Vec<_>>();
        let turned = |x: &Tensor| (x.permute(axes.clone())? * 0.5)?.permute(axes.clone());
        differentiates(case.name, &case.x, |x| (case.operator)(&turned(x)?));
    }
}

#[test]
fn kinks_are_the_projects() {
    let at = |numbers: &[f64], operator: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let x = Var::from_slice(numbers, (1, 1, 1, numbers.len()), &Device::Cpu).unwrap();
        let y = operator(&x).unwrap().sum_all().unwrap();
        flat(y.backward().unwrap().get(&x).unwrap())
    };
    assert_eq!(at(&[-1.0, 0.0, 1.0], &ops::relu), [0.0, 0.0, 1.0]);
    let pool = Pool { kernel: vec![1, 2], stride: vec![1, 2], ..Pool::square(1, 1) };
    assert_eq!(at(&[3.0, 3.0, 1.0, 2.0], &|x| ops::max_pool2d(x, &pool)), [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn mistakes_say_what_was_expected() {
    let message = |result: Result<Tensor>| result.unwrap_err().to_string();
    let x = numbers(&[2, 3, 4, 4], 1.0);
    let says = |message: String, parts: &[&str]| {
        parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is missing in {message:?}"))
    };
    let weight = numbers(&[4, 2, 3, 3], 1.0);
    says(message(ops::conv2d(&x, &weight, None, &Conv::square(1, 1))), &["convolution", "3", "2"]);
    says(message(ops::max_pool2d(&x, &Pool::square(5, 1))), &["max pooling"]);
    says(message(ops::linear(&x, &numbers(&[2, 3], 1.0), None)), &["linear"]);
    let single = numbers(&[2, 4], 1.0).to_dtype(DType::F32).unwrap();
    says(message(ops::linear(&x, &single, None)), &["linear", "F64", "F32"]);
    says(message(ops::relu(&indexes())), &["relu", "U32"]);
    says(message(ops::relu(&numbers(&[], 1.0))), &["a batch as the first axis"]);
    says(message(ops::layer(&Op::Add, &[&x, &x.narrow(0, 0, 1).unwrap()], &[])), &["2 rows", "found 1"]);
    says(message(ops::layer(&Op::Add, &[], &[])), &["at least one input"]);
    // A weight that is a variable is a constant; one that is computed from a variable is a mistake.
    let variable = Var::from_tensor(&numbers(&[2, 4], 1.0)).unwrap();
    assert!(ops::linear(&x, &variable, None).is_ok());
    says(message(ops::linear(&x, &variable.sqr().unwrap(), None)), &["parameter 0", "expected a constant"]);
}
