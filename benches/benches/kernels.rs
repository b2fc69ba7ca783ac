//! Layers of usual networks on the default adapter, forward and back: convolutions, and a block of a transformer.
//!
//! Throughput is in products and sums a second: hold it against the first row, the machine's own rate for a
//! large matrix product. `cargo bench -p attr-benches --bench kernels`; `RAYON_NUM_THREADS` sets the threads.

use attr_candle::{Candle, CandleTensor};
use attr_core::{Activation, Conv, Kernels, Op, Precision, Saves, Tensor, Vjp};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{ArrayD, IxDyn};

/// Network and layer, channels in and out, side of the image, kernel, stride, groups.
const LAYERS: &[(&str, [usize; 6])] = &[
    ("VGG16 conv1_2", [64, 64, 224, 3, 1, 1]),
    ("VGG16 conv2_2", [128, 128, 112, 3, 1, 1]),
    ("VGG16 conv3_2", [256, 256, 56, 3, 1, 1]),
    ("VGG16 conv4_2", [512, 512, 28, 3, 1, 1]),
    ("VGG16 conv5_2", [512, 512, 14, 3, 1, 1]),
    ("ResNet-18 conv1", [3, 64, 224, 7, 2, 1]),
    ("ResNet-18 layer1", [64, 64, 56, 3, 1, 1]),
    ("ResNet-18 layer2, stride", [64, 128, 56, 3, 2, 1]),
    ("ResNet-18 layer4", [512, 512, 7, 3, 1, 1]),
    ("ResNet-18 downsample", [256, 512, 14, 1, 2, 1]),
    ("EfficientNet-lite0 expand", [16, 96, 112, 1, 1, 1]),
    ("EfficientNet-lite0 depthwise, stride", [96, 96, 112, 3, 2, 96]),
    ("EfficientNet-lite0 depthwise", [240, 240, 28, 5, 1, 240]),
    ("EfficientNet-lite0 project", [672, 112, 14, 1, 1, 1]),
    ("EfficientNet-lite0 head", [320, 1280, 7, 1, 1, 1]),
];

/// Numbers between -0.5 and 0.5.
fn tensor(dims: &[usize]) -> CandleTensor {
    let mut n = 0u32;
    let numbers = ArrayD::from_shape_simple_fn(IxDyn(dims), || {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(n) / f64::from(u32::MAX) - 0.5
    });
    Candle::cpu(Precision::F32).tensor(&numbers).expect("a tensor")
}

fn convolutions(criterion: &mut Criterion) {
    let kernels = Candle::cpu(Precision::F32);
    let mut group = criterion.benchmark_group("matrix product");
    let matrix = tensor(&[1024, 1024]);
    group.throughput(Throughput::Elements(2 << 30));
    group.bench_function("1024^3", |bencher| bencher.iter(|| matrix.matmul(&matrix)));
    group.finish();

    let mut group = criterion.benchmark_group("convolution");
    group.sample_size(10);
    for &(name, [ins, outs, side, kernel, stride, groups]) in LAYERS {
        let op = Op::Conv(Conv { groups, ..Conv::square(stride, kernel / 2) });
        let (x, weight, bias) =
            (tensor(&[1, ins, side, side]), tensor(&[outs, ins / groups, kernel, kernel]), tensor(&[outs]));
        let params = [&weight, &bias];
        let forward = || kernels.forward(&op, &[&x], &params).expect("a convolution");
        let cotangent = forward();
        let out = cotangent.dims()[2];
        group.throughput(Throughput::Elements((2 * ins / groups * outs * (kernel * out).pow(2)) as u64));
        group.bench_function(format!("{name}, forward"), |bencher| bencher.iter(forward));
        group.bench_function(format!("{name}, back"), |bencher| {
            bencher.iter(|| {
                let call = Vjp {
                    inputs: &[None],
                    input_dims: &[x.dims()],
                    output: None,
                    params: &params,
                    cotangent: &cotangent,
                    wanted: &[true],
                };
                kernels.vjp(&op, call).expect("a cotangent")
            });
        });
    }
    group.finish();
}

/// One block of ViT-B/16 for one image, layer by layer; elementwise layers in numbers a second.
fn transformer(criterion: &mut Criterion) {
    let kernels = Candle::cpu(Precision::F32);
    let (width, inner) = (tensor(&[1, 197, 768]), tensor(&[1, 197, 3072]));
    let (heads, scores) = (tensor(&[1, 12, 197, 64]), tensor(&[1, 12, 197, 197]));
    let (weight, bias, row) = (tensor(&[3072, 768]), tensor(&[3072]), tensor(&[768]));
    let products = |n: usize| 2 * (n * 197) as u64;
    let numbers = |x: &CandleTensor| x.dims().iter().product::<usize>() as u64;
    type Layer<'a> = (&'static str, Op, Vec<&'a CandleTensor>, Vec<&'a CandleTensor>, u64);
    let layers: [Layer<'_>; 7] = [
        ("linear", Op::Linear, vec![&width], vec![&weight, &bias], products(768 * 3072)),
        ("attention", Op::Attention { scale: 0.125 }, vec![&heads; 3], vec![], products(2 * 197 * 768)),
        ("matrix product", Op::MatMul, vec![&scores, &heads], vec![], products(197 * 768)),
        ("softmax", Op::Softmax { axis: 3 }, vec![&scores], vec![], numbers(&scores)),
        (
            "layer norm",
            Op::LayerNorm { axis: 2, epsilon: 1e-6 },
            vec![&width],
            vec![&row; 2],
            numbers(&width),
        ),
        ("gelu", Op::Activation(Activation::Gelu), vec![&inner], vec![], numbers(&inner)),
        ("add a row", Op::Add, vec![&width, &row], vec![], numbers(&width)),
    ];
    let mut group = criterion.benchmark_group("transformer");
    group.sample_size(10);
    for (name, op, inputs, params, elements) in &layers {
        let forward = || kernels.forward(op, inputs, params).expect("a layer");
        let cotangent = forward();
        let kept: Vec<_> = inputs.iter().map(|&x| (op.saves() == Saves::Inputs).then_some(x)).collect();
        let input_dims: Vec<_> = inputs.iter().map(|x| x.dims()).collect();
        let wanted = vec![true; inputs.len()];
        group.throughput(Throughput::Elements(*elements));
        group.bench_function(format!("{name}, forward"), |bencher| bencher.iter(forward));
        group.bench_function(format!("{name}, back"), |bencher| {
            bencher.iter(|| {
                let call = Vjp {
                    inputs: &kept,
                    input_dims: &input_dims,
                    output: (op.saves() == Saves::Output).then_some(&cotangent),
                    params,
                    cotangent: &cotangent,
                    wanted: &wanted,
                };
                kernels.vjp(op, call).expect("cotangents")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, convolutions, transformer);
criterion_main!(benches);
