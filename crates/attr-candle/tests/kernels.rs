//! Every kind of layer, with every attribute that changes its arithmetic, against an obvious formula, finite
//! differences and itself: other precision, other number of threads, other batch.

use attr_candle::{Candle, CandleTensor};
use attr_core::{
    Activation, Conv, ConvTranspose, Coordinates, Dim, Interpolation, Kernels, Op, Pool, Precision, Resize,
    Saves, Shape, Tensor, Vjp,
};
use ndarray::{ArrayD, IxDyn, arr1};

/// Central differences in double precision.
const DIFFERENCES: f64 = 1e-7;
/// Sums in another order in double precision.
const DOUBLE: f64 = 1e-12;
/// Single against double precision.
const SINGLE: f64 = 1e-5;

struct Case {
    name: String,
    op: Op,
    inputs: Vec<Vec<usize>>,
    params: Vec<Vec<usize>>,
}

fn case(name: &str, op: Op, inputs: &[&[usize]], params: &[&[usize]]) -> Case {
    let owned = |dims: &[&[usize]]| dims.iter().map(|dims| dims.to_vec()).collect();
    Case { name: name.into(), op, inputs: owned(inputs), params: owned(params) }
}

fn conv(
    name: &str,
    stride: [usize; 2],
    padding: [(usize, usize); 2],
    dilation: [usize; 2],
    groups: usize,
    x: &[usize],
    w: &[usize],
) -> Case {
    let conv = Conv { stride: stride.into(), padding: padding.into(), dilation: dilation.into(), groups };
    case(name, Op::Conv(conv), &[x], &[w, &[w[0]]])
}

fn convolutions() -> Vec<Case> {
    let none = [(0, 0); 2];
    let volume = |stride: [usize; 3], padding: [(usize, usize); 3], dilation: [usize; 3], groups| Conv {
        stride: stride.into(),
        padding: padding.into(),
        dilation: dilation.into(),
        groups,
    };
    let line = |stride, padding, dilation| Conv {
        stride: vec![stride],
        padding: vec![padding],
        dilation: vec![dilation],
        groups: 1,
    };
    vec![
        conv("plain", [1, 1], none, [1, 1], 1, &[2, 3, 5, 6], &[4, 3, 3, 3]),
        conv("same", [1, 1], [(1, 1); 2], [1, 1], 1, &[2, 3, 5, 6], &[9, 3, 3, 3]),
        conv("1x1", [1, 1], none, [1, 1], 1, &[1, 5, 4, 7], &[2, 5, 1, 1]),
        conv("1x1 stride", [2, 2], none, [1, 1], 1, &[1, 2, 5, 6], &[3, 2, 1, 1]),
        conv("stride", [2, 3], none, [1, 1], 1, &[2, 2, 7, 8], &[3, 2, 3, 2]),
        conv("stride and padding", [2, 2], [(1, 1); 2], [1, 1], 1, &[1, 2, 6, 7], &[3, 2, 3, 3]),
        conv("stride beyond kernel", [3, 4], [(1, 0), (0, 1)], [1, 1], 1, &[1, 2, 7, 9], &[2, 2, 2, 2]),
        conv("asymmetric padding", [1, 2], [(0, 1), (2, 0)], [1, 1], 1, &[1, 2, 4, 5], &[3, 2, 2, 3]),
        conv("padding beyond kernel", [1, 1], [(3, 2), (2, 4)], [1, 1], 1, &[1, 2, 3, 3], &[2, 2, 2, 2]),
        conv("taps in padding alone", [2, 1], [(4, 1), (0, 5)], [4, 6], 1, &[1, 2, 3, 4], &[3, 2, 2, 2]),
        conv("dilation", [1, 1], [(2, 2), (3, 3)], [2, 3], 1, &[1, 2, 6, 7], &[3, 2, 3, 3]),
        conv("dilation and stride", [2, 2], [(2, 1); 2], [3, 2], 1, &[1, 2, 9, 8], &[2, 2, 3, 3]),
        conv("groups", [1, 1], [(1, 1); 2], [1, 1], 2, &[2, 4, 4, 5], &[6, 2, 3, 3]),
        conv("depthwise", [1, 1], [(1, 1); 2], [1, 1], 5, &[2, 5, 4, 5], &[5, 1, 3, 3]),
        conv("depthwise stride", [2, 2], [(0, 1); 2], [1, 1], 5, &[1, 5, 6, 6], &[5, 1, 3, 3]),
        conv("depthwise multiplied", [2, 1], [(1, 1); 2], [1, 2], 3, &[1, 3, 6, 6], &[6, 1, 3, 3]),
        case("line", Op::Conv(line(2, (1, 2), 2)), &[&[2, 3, 9]], &[&[4, 3, 3], &[4]]),
        case("no bias", Op::Conv(line(1, (1, 1), 1)), &[&[2, 3, 9]], &[&[4, 3, 3]]),
        case(
            "volume",
            Op::Conv(volume([1; 3], [(1, 1); 3], [1; 3], 1)),
            &[&[2, 3, 3, 4, 5]],
            &[&[4, 3, 3, 3, 3], &[4]],
        ),
        case(
            "volume with all attributes",
            Op::Conv(volume([2, 1, 3], [(1, 2), (0, 1), (2, 0)], [2, 1, 2], 2)),
            &[&[2, 4, 7, 4, 8]],
            &[&[6, 2, 3, 2, 2], &[6]],
        ),
        case(
            "volume, depth beyond padding",
            Op::Conv(volume([3, 2, 2], [(4, 3), (0, 0), (1, 1)], [1, 1, 1], 1)),
            &[&[1, 2, 2, 5, 4]],
            &[&[3, 2, 2, 2, 3]],
        ),
        conv("many tiles", [1, 1], [(1, 1); 2], [1, 1], 1, &[2, 40, 33, 70], &[70, 40, 3, 3]),
        conv("many tiles with stride", [2, 2], [(3, 3); 2], [1, 1], 1, &[1, 3, 120, 121], &[17, 3, 7, 7]),
        conv("many groups", [2, 2], [(2, 2); 2], [1, 1], 50, &[1, 50, 60, 61], &[50, 1, 5, 5]),
    ]
}

/// The transpose of each convolution: from its output to its input, with output padding where that is longer
/// than it has to be.
fn transposed_convolutions() -> Vec<Case> {
    let transpose = |case: Case| {
        let Op::Conv(conv) = &case.op else { unreachable!() };
        let (x, w) = (&case.inputs[0], &case.params[0]);
        let y = [&[x[0], w[0]], &windows(conv, x, w)[..]].concat();
        let tight = ConvTranspose { conv: conv.clone(), output_padding: vec![0; conv.stride.len()] };
        let left = |i: usize| x[i + 2] - tight.entries(i, y[i + 2], w[i + 2]);
        let output_padding = (0..conv.stride.len()).map(left).collect();
        let op = Op::ConvTranspose(ConvTranspose { output_padding, ..tight });
        Case {
            name: format!("transposed {}", case.name),
            op,
            inputs: vec![y],
            params: vec![w.clone(), vec![x[1]]],
        }
    };
    convolutions().into_iter().map(transpose).collect()
}

fn others() -> Vec<Case> {
    let pool =
        |kernel: [usize; 2], stride: [usize; 2], padding: [(usize, usize); 2], dilation: [usize; 2], ceil| {
            Pool {
                kernel: kernel.into(),
                stride: stride.into(),
                padding: padding.into(),
                dilation: dilation.into(),
                ceil,
            }
        };
    let image: &[&[usize]] = &[&[2, 3, 7, 8]];
    let mut cases = vec![
        case("linear", Op::Linear, &[&[3, 13]], &[&[9, 13], &[9]]),
        case("linear, rank 3", Op::Linear, &[&[2, 5, 700]], &[&[70, 700]]),
        case("batch norm", Op::BatchNorm { epsilon: 1e-3 }, image, &[&[3], &[3], &[3], &[3]]),
        case("layer norm", Op::LayerNorm { axis: 2, epsilon: 1e-3 }, image, &[&[7, 8], &[7, 8]]),
        case("matrix product", Op::MatMul, &[&[2, 3, 5, 7], &[2, 3, 7, 4]], &[]),
        case("matrix product, broadcasting", Op::MatMul, &[&[2, 1, 5, 7], &[3, 7, 4]], &[]),
        case("attention", Op::Attention { scale: 0.5 }, &[&[2, 5, 3], &[2, 4, 3], &[2, 4, 6]], &[]),
        case("softmax", Op::Softmax { axis: 1 }, image, &[]),
        case("softmax, last axis", Op::Softmax { axis: 3 }, image, &[]),
        case("log-softmax", Op::LogSoftmax { axis: 1 }, &[&[3, 5]], &[]),
        case("mean", Op::Mean { axes: vec![2, 3], keep: false }, image, &[]),
        case("mean kept", Op::Mean { axes: vec![1, 3], keep: true }, image, &[]),
        case("sum", Op::Sum { axes: vec![1], keep: false }, image, &[]),
        case("concatenate", Op::Concat { axis: 1 }, &[&[2, 3, 2], &[2, 1, 2], &[2, 4, 2]], &[]),
        case(
            "reshape",
            Op::Reshape { shape: Shape(vec![Dim::Fixed(3), Dim::Batch(2), Dim::Fixed(28)]) },
            image,
            &[],
        ),
        case("transpose", Op::Transpose { axes: vec![0, 3, 1, 2] }, image, &[]),
        case("slice", Op::Slice { axis: 2, start: 1, len: 3 }, image, &[]),
        case("pad", Op::Pad { padding: vec![(0, 0), (0, 1), (2, 0), (1, 3)], value: 0.5 }, image, &[]),
    ];
    for (name, op) in [("add", Op::Add), ("subtract", Op::Sub), ("multiply", Op::Mul), ("divide", Op::Div)] {
        cases.push(case(name, op.clone(), &[&[2, 3, 4], &[2, 3, 4]], &[]));
        cases.push(case(&format!("{name}, broadcasting"), op.clone(), &[&[2, 3, 4], &[3, 1]], &[]));
        cases.push(case(&format!("{name}, both ways"), op, &[&[2, 1, 4], &[2, 3, 1]], &[]));
    }
    for activation in [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Clip { min: -0.3, max: 0.4 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Abs,
        Activation::Exp,
        Activation::Erf,
        Activation::Gelu,
        Activation::Silu,
        Activation::Neg,
    ] {
        cases.push(case(&format!("{activation:?}"), Op::Activation(activation), &[&[3, 7]], &[]));
    }
    for (name, pool) in [
        ("plain", Pool::square(2, 2)),
        ("overlapping", Pool::square(3, 2)),
        ("padding", pool([3, 2], [2, 1], [(1, 1), (1, 0)], [1, 1], false)),
        ("ceil", pool([2, 3], [2, 3], [(0, 0), (1, 1)], [1, 1], true)),
        ("dilation", pool([2, 2], [1, 2], [(0, 1), (1, 0)], [2, 3], false)),
    ] {
        cases.push(case(&format!("max pooling, {name}"), Op::MaxPool(pool.clone()), image, &[]));
        for count_include_pad in [false, true] {
            let op = Op::AveragePool { pool: pool.clone(), count_include_pad };
            cases.push(case(&format!("average pooling, {name}, {count_include_pad}"), op, image, &[]));
        }
    }
    use Coordinates::*;
    use Interpolation::*;
    for (mode, coordinates) in [
        (Linear, HalfPixel),
        (Linear, AlignCorners),
        (Linear, Asymmetric),
        (Linear, PytorchHalfPixel),
        (Nearest, HalfPixel),
        (NearestFloor, Asymmetric),
    ] {
        for size in [vec![14, 16], vec![3, 5], vec![1, 9]] {
            let scale = vec![size[0] as f64 / 7.0, size[1] as f64 / 8.0];
            let op = Op::Resize(Resize::new(size, scale, mode, coordinates));
            cases.push(case(&format!("resize {mode:?} {coordinates:?}"), op, image, &[]));
        }
    }
    let line = Resize::new(vec![5], vec![5.0 / 9.0], Linear, HalfPixel);
    cases.push(case("resize, line", Op::Resize(line), &[&[2, 3, 9]], &[]));
    cases.push(case(
        "max pooling, line",
        Op::MaxPool(Pool {
            kernel: vec![3],
            stride: vec![2],
            padding: vec![(1, 1)],
            dilation: vec![1],
            ceil: true,
        }),
        &[&[2, 3, 8]],
        &[],
    ));
    let volume: &[&[usize]] = &[&[2, 2, 4, 5, 3]];
    let windows = Pool {
        kernel: vec![3, 2, 2],
        stride: vec![2, 2, 1],
        padding: vec![(1, 0), (0, 1), (1, 1)],
        dilation: vec![1, 2, 1],
        ceil: true,
    };
    cases.push(case("max pooling, volume", Op::MaxPool(windows.clone()), volume, &[]));
    for count_include_pad in [false, true] {
        let op = Op::AveragePool { pool: windows.clone(), count_include_pad };
        cases.push(case(&format!("average pooling, volume, {count_include_pad}"), op, volume, &[]));
    }
    let resize = Resize::new(vec![7, 3, 5], vec![7.0 / 4.0, 0.6, 5.0 / 3.0], Linear, HalfPixel);
    cases.push(case("resize, volume", Op::Resize(resize), volume, &[]));
    cases
}

fn all() -> Vec<Case> {
    [convolutions(), transposed_convolutions(), others()].into_iter().flatten().collect()
}

/// Numbers between -1.1 and 1.1 without a pattern, no two alike and none near zero.
fn numbers(dims: &[usize], seed: usize) -> ArrayD<f64> {
    let at =
        |i: usize| ((i * 7919 + seed * 104_729 + 13) as f64 * 0.618_033_988_749_894_9).fract() * 2.0 - 1.0;
    let count = dims.iter().product();
    ArrayD::from_shape_vec(IxDyn(dims), (0..count).map(|i| at(i) + at(i).signum() * 0.1).collect()).unwrap()
}

impl Case {
    fn inputs(&self) -> Vec<ArrayD<f64>> {
        self.inputs.iter().enumerate().map(|(i, dims)| numbers(dims, i)).collect()
    }

    fn params(&self) -> Vec<ArrayD<f64>> {
        let params = self.params.iter().enumerate().map(|(i, dims)| numbers(dims, 10 + i));
        // A variance is positive.
        params.enumerate().map(|(i, p)| if i == 3 { p.mapv(f64::abs) } else { p }).collect()
    }

    fn forward(&self, precision: Precision, inputs: &[ArrayD<f64>]) -> ArrayD<f64> {
        let kernels = Candle::cpu(precision);
        let upload = |arrays: &[ArrayD<f64>]| -> Vec<_> {
            arrays.iter().map(|a| kernels.tensor(a).unwrap()).collect()
        };
        let (inputs, params) = (upload(inputs), upload(&self.params()));
        let output =
            kernels.forward(&self.op, &inputs.iter().collect::<Vec<_>>(), &params.iter().collect::<Vec<_>>());
        output.unwrap_or_else(|error| panic!("{}: {error}", self.name)).to_array().unwrap()
    }

    fn vjp(&self, precision: Precision, inputs: &[ArrayD<f64>], cotangent: &ArrayD<f64>) -> Vec<ArrayD<f64>> {
        let kernels = Candle::cpu(precision);
        let upload = |arrays: &[ArrayD<f64>]| -> Vec<CandleTensor> {
            arrays.iter().map(|a| kernels.tensor(a).unwrap()).collect()
        };
        let (tensors, params) = (upload(inputs), upload(&self.params()));
        let params: Vec<_> = params.iter().collect();
        let output = kernels.forward(&self.op, &tensors.iter().collect::<Vec<_>>(), &params).unwrap();
        let saved: Vec<_> = tensors.iter().map(|t| (self.op.saves() == Saves::Inputs).then_some(t)).collect();
        let call = Vjp {
            inputs: &saved,
            input_dims: &tensors.iter().map(|t| t.dims().to_vec()).collect::<Vec<_>>(),
            output: (self.op.saves() == Saves::Output).then_some(&output),
            params: &params,
            cotangent: &kernels.tensor(cotangent).unwrap(),
            wanted: &vec![true; inputs.len()],
        };
        let cotangents = kernels.vjp(&self.op, call).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        cotangents.into_iter().map(|c| c.unwrap().to_array().unwrap()).collect()
    }
}

#[track_caller]
fn assert_close(name: &str, found: &ArrayD<f64>, expected: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let scale = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        // Written so that NaN is never close.
        assert!((found - expected).abs() <= tolerance * scale, "{name}: expected {expected}, found {found}");
    }
}

/// How many windows a convolution has along each spatial axis.
fn windows(conv: &Conv, x: &[usize], w: &[usize]) -> Vec<usize> {
    let along = |i: usize| {
        let extent = (w[i + 2] - 1) * conv.dilation[i] + 1;
        (x[i + 2] + conv.padding[i].0 + conv.padding[i].1 - extent) / conv.stride[i] + 1
    };
    (0..conv.stride.len()).map(along).collect()
}

/// The definition of a convolution, one product at a time.
fn naive_convolution(
    conv: &Conv,
    x: &ArrayD<f64>,
    w: &ArrayD<f64>,
    bias: Option<&ArrayD<f64>>,
) -> ArrayD<f64> {
    let axes = conv.stride.len();
    let out = windows(conv, x.shape(), w.shape());
    let per_group = w.shape()[0] / conv.groups;
    ArrayD::from_shape_fn([&[x.shape()[0], w.shape()[0]], &out[..]].concat(), |at| {
        let start = bias.map_or(0.0, |bias| bias[[at[1]]]);
        ndarray::indices(&w.shape()[1..]).into_iter().fold(start, |sum, k| {
            let mut from = vec![at[0], at[1] / per_group * w.shape()[1] + k[0]];
            for i in 0..axes {
                let place =
                    (at[i + 2] * conv.stride[i] + k[i + 1] * conv.dilation[i]).checked_sub(conv.padding[i].0);
                match place {
                    Some(place) if place < x.shape()[i + 2] => from.push(place),
                    _ => return sum,
                }
            }
            let mut weight = vec![at[1]];
            weight.extend((0..=axes).map(|i| k[i]));
            sum + x[IxDyn(&from)] * w[IxDyn(&weight)]
        })
    })
}

#[test]
fn convolution_is_its_definition() {
    for case in convolutions() {
        let Op::Conv(conv) = &case.op else { unreachable!() };
        let (inputs, params) = (case.inputs(), case.params());
        let expected = naive_convolution(conv, &inputs[0], &params[0], params.get(1));
        assert_close(&case.name, &case.forward(Precision::F64, &inputs), &expected, DOUBLE);
    }
}

/// Views of either factor, turned over or repeated, of sizes below, at and beyond what is computed at once.
#[test]
fn matrix_product_is_its_definition() {
    for (batch, [rows, terms, columns]) in [
        (1, [1, 1, 1]),
        (3, [5, 300, 7]),
        (2, [13, 16, 70]),
        (1, [600, 9, 33]),
        (2, [8, 257, 64]),
        (2, [3, 0, 2]),
    ] {
        let [x, w] = [numbers(&[batch, rows, terms], 1), numbers(&[terms, columns], 2)];
        let expected = ArrayD::from_shape_fn(vec![batch, rows, columns], |at| {
            (0..terms).map(|k| x[[at[0], at[1], k]] * w[[k, at[2]]]).sum::<f64>()
        });
        let [turned_x, turned_w] = [&x, &w].map(|a| {
            let mut axes: Vec<_> = (0..a.ndim()).collect();
            axes.swap(a.ndim() - 2, a.ndim() - 1);
            (a.clone().permuted_axes(axes.clone()).as_standard_layout().into_owned(), axes)
        });
        for precision in [Precision::F64, Precision::F32] {
            let tolerance = if precision == Precision::F64 { DOUBLE } else { SINGLE };
            let tensor = |a: &ArrayD<f64>| Candle::cpu(precision).tensor(a).unwrap();
            let turned = |(a, axes): &(ArrayD<f64>, Vec<usize>)| tensor(a).permute(axes).unwrap();
            for left in [tensor(&x), turned(&turned_x)] {
                for right in [tensor(&w), turned(&turned_w)] {
                    let y = left.matmul(&right).unwrap().to_array().unwrap();
                    assert_close(&format!("{rows} {terms} {columns}"), &y, &expected, tolerance);
                }
            }
        }
    }
    let [x, y] =
        [numbers(&[2, 3], 1), numbers(&[4, 2], 2)].map(|a| Candle::cpu(Precision::F64).tensor(&a).unwrap());
    assert!(x.matmul(&y).unwrap_err().to_string().contains("expected as many columns as rows"));
}

/// `<transposed(y) - bias, x> = <y, conv(x)>` in every part of `x` and `y`.
#[test]
fn transposed_convolution_is_the_adjoint_of_the_definition() {
    for case in transposed_convolutions() {
        let Op::ConvTranspose(transpose) = &case.op else { unreachable!() };
        let (inputs, params) = (case.inputs(), case.params());
        let y = case.forward(Precision::F64, &inputs);
        let x = numbers(y.shape(), 5);
        let expected = (&inputs[0] * &naive_convolution(&transpose.conv, &x, &params[0], None)).sum();
        let bias = params[1].to_shape([&[params[1].len()], &vec![1; y.ndim() - 2][..]].concat()).unwrap();
        let found = ((&y - &bias) * &x).sum();
        assert!((found - expected).abs() < 1e-10 * y.len() as f64, "{}: {found} {expected}", case.name);
    }
}

/// `<conv(x) - conv(0), c> = <x, vjp(c)>` in every part of `x` and `c`: a convolution's vjp is its adjoint.
#[test]
fn convolution_cotangent_is_the_adjoint() {
    for case in convolutions().into_iter().chain(transposed_convolutions()) {
        let inputs = case.inputs();
        let y = case.forward(Precision::F64, &inputs) - case.forward(Precision::F64, &[&inputs[0] * 0.0]);
        let c = numbers(y.shape(), 5);
        let (left, right) = ((&y * &c).sum(), (&inputs[0] * &case.vjp(Precision::F64, &inputs, &c)[0]).sum());
        assert!((left - right).abs() < 1e-10 * y.len() as f64, "{}: {left} {right}", case.name);
    }
}

#[test]
fn cotangents_are_finite_differences() {
    // Large convolutions are left to the adjoint.
    let small = |case: &Case| !case.name.contains("many");
    for case in all().into_iter().filter(small) {
        let inputs = case.inputs();
        let c = numbers(case.forward(Precision::F64, &inputs).shape(), 5);
        let cotangents = case.vjp(Precision::F64, &inputs, &c);
        for (slot, cotangent) in cotangents.iter().enumerate() {
            assert_eq!(cotangent.shape(), inputs[slot].shape(), "{}", case.name);
            // Each entry of a small input, some of a large one.
            let step = (inputs[slot].len() / 97).max(1);
            for entry in (0..inputs[slot].len()).step_by(step) {
                let at = |h: f64| {
                    let mut moved = inputs.clone();
                    moved[slot].as_slice_mut().unwrap()[entry] += h;
                    case.forward(Precision::F64, &moved)
                };
                let expected = ((at(1e-5) - at(-1e-5)) * &c).sum() / 2e-5;
                let found = cotangent.as_slice().unwrap()[entry];
                let close = (found - expected).abs() <= DIFFERENCES * expected.abs().max(1.0);
                assert!(
                    close,
                    "{} input {slot} entry {entry}: expected {expected}, found {found}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn single_precision_is_close_to_double() {
    for case in all() {
        let inputs = case.inputs();
        let y = case.forward(Precision::F64, &inputs);
        assert_close(&case.name, &case.forward(Precision::F32, &inputs), &y, SINGLE);
        let c = numbers(y.shape(), 5);
        let (single, double) = (case.vjp(Precision::F32, &inputs, &c), case.vjp(Precision::F64, &inputs, &c));
        single
            .iter()
            .zip(&double)
            .for_each(|(single, double)| assert_close(&case.name, single, double, SINGLE));
    }
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    for case in all() {
        let inputs = case.inputs();
        let c = numbers(case.forward(Precision::F32, &inputs).shape(), 5);
        let both = || (case.forward(Precision::F32, &inputs), case.vjp(Precision::F32, &inputs, &c));
        assert!(one.install(both) == two.install(both), "{}", case.name);
    }
}

#[test]
fn a_row_alone_gives_the_same_bits_as_in_a_batch() {
    let batched = [
        "plain",
        "same",
        "stride",
        "groups",
        "depthwise",
        "many tiles",
        "volume",
        "linear",
        "linear, rank 3",
        "batch norm",
        "layer norm",
    ];
    let batched = |case: &Case| batched.contains(&case.name.trim_start_matches("transposed "));
    for mut case in all().into_iter().filter(batched) {
        case.inputs[0][0] = 13;
        let inputs = case.inputs();
        let y = case.forward(Precision::F32, &inputs);
        let c = numbers(y.shape(), 5);
        let cotangent = &case.vjp(Precision::F32, &inputs, &c)[0];
        let row = |array: &ArrayD<f64>| array.slice_axis(ndarray::Axis(0), (11..12).into()).to_owned();
        assert_eq!(case.forward(Precision::F32, &[row(&inputs[0])]), row(&y), "{}", case.name);
        assert_eq!(
            case.vjp(Precision::F32, &[row(&inputs[0])], &row(&c))[0],
            row(cotangent),
            "{}",
            case.name
        );
    }
}

#[test]
fn maxima_take_all_and_ties_go_to_the_first() {
    let pool = case("", Op::MaxPool(Pool::square(2, 2)), &[&[1, 1, 2, 2]], &[]);
    let image = |numbers: [f64; 4]| ArrayD::from_shape_vec(IxDyn(&[1, 1, 2, 2]), numbers.to_vec()).unwrap();
    let one = ArrayD::ones(IxDyn(&[1, 1, 1, 1]));
    for (x, expected) in [
        ([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]),
        ([2.0, 2.0, 2.0, 2.0], [1.0, 0.0, 0.0, 0.0]),
        ([0.0, 5.0, 5.0, 1.0], [0.0, 1.0, 0.0, 0.0]),
        ([f64::NEG_INFINITY; 4], [1.0, 0.0, 0.0, 0.0]),
    ] {
        assert_eq!(pool.vjp(Precision::F32, &[image(x)], &one)[0], image(expected));
    }
    let nan = pool.forward(Precision::F64, &[image([1.0, f64::NAN, 3.0, 2.0])]);
    assert!(nan[[0, 0, 0, 0]].is_nan(), "a maximum hides NaN");
}

#[test]
fn derivatives_at_kinks_are_the_settled_ones() {
    for (activation, x, expected) in [
        (Activation::Relu, [0.0, -0.0], [0.0, 0.0]),
        (Activation::Clip { min: 0.0, max: 6.0 }, [0.0, 6.0], [0.0, 0.0]),
        (Activation::LeakyRelu { slope: 0.25 }, [0.0, -1.0], [0.25, 0.25]),
        (Activation::Abs, [0.0, -2.0], [0.0, -1.0]),
    ] {
        let case = case("", Op::Activation(activation), &[&[2]], &[]);
        let cotangent = case.vjp(Precision::F32, &[arr1(&x).into_dyn()], &arr1(&[1.0, 1.0]).into_dyn());
        assert_eq!(cotangent[0], arr1(&expected).into_dyn(), "{activation:?}");
    }
}

#[test]
fn average_counts_padding_but_not_what_is_beyond_it() {
    // Four entries, one of padding before and after, windows of 3 with stride 2, rounded up: the last window
    // has entry 4 and the padding behind it, and one place beyond.
    let pool =
        Pool { kernel: vec![3], stride: vec![3], padding: vec![(1, 1)], dilation: vec![1], ceil: true };
    let x = ArrayD::from_shape_vec(IxDyn(&[1, 1, 5]), vec![3.0, 6.0, 9.0, 12.0, 15.0]).unwrap();
    for (count_include_pad, expected) in [(true, [3.0, 12.0, 0.0]), (false, [4.5, 12.0, 0.0])] {
        let case = case("", Op::AveragePool { pool: pool.clone(), count_include_pad }, &[&[1, 1, 5]], &[]);
        let y = case.forward(Precision::F64, std::slice::from_ref(&x));
        assert_eq!(y.as_slice().unwrap(), &expected[..y.len()], "{count_include_pad}");
    }
    let pool = Pool { stride: vec![2], ..pool };
    let x = x.slice_axis(ndarray::Axis(2), (0..4).into()).to_owned();
    for (count_include_pad, last) in [(true, 6.0), (false, 12.0)] {
        let case = case("", Op::AveragePool { pool: pool.clone(), count_include_pad }, &[&[1, 1, 4]], &[]);
        let y = case.forward(Precision::F64, std::slice::from_ref(&x));
        assert_eq!((y.len(), y[[0, 0, 2]]), (3, last), "{count_include_pad}");
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let kernels = Candle::cpu(Precision::F32);
    let conv = Conv { stride: vec![1; 4], padding: vec![(0, 0); 4], dilation: vec![1; 4], groups: 1 };
    assert_eq!(
        kernels.unsupported(&Op::Conv(conv.clone())).unwrap(),
        "convolution along 4 spatial axes: expected 1 to 3"
    );
    let transpose = ConvTranspose { conv, output_padding: vec![0; 4] };
    assert_eq!(
        kernels.unsupported(&Op::ConvTranspose(transpose)).unwrap(),
        "transposed convolution along 4 spatial axes: expected 1 to 3"
    );
    // An error of candle's own arrives as one line.
    let (a, b) = (numbers(&[2, 3], 0), numbers(&[4, 5], 1));
    let error = kernels.tensor(&a).unwrap().matmul(&kernels.tensor(&b).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("candle: ") && !error.contains('\n'), "{error}");
}
