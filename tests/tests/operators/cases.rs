//! Every kind of layer with every attribute that changes its arithmetic, as a table.

use attr_core::{
    Activation, Comparison, Conv, ConvTranspose, Coordinates, Dim, Interpolation, Op, Pool, Resize, Shape,
};
use attr_tests::Case;
use attr_tests::sampling::{positive, spread};
use ndarray::ArrayD;

/// How many rows each batch has.
pub(crate) const ROWS: usize = 2;

/// One layer.
#[derive(Debug, Clone)]
pub(crate) struct OpCase {
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Shape>,
    pub(crate) params: Vec<Vec<usize>>,
    /// Whether inputs have to be positive.
    pub(crate) positive: bool,
    /// What inputs are multiplied by, for kinds that change far from 0.
    pub(crate) scale: f64,
}

impl Case for OpCase {
    fn name(&self) -> &str {
        &self.name
    }
}

impl OpCase {
    /// Inputs away from kinks.
    pub(crate) fn input_values(&self) -> Vec<ArrayD<f64>> {
        let draw = if self.positive { positive } else { spread };
        let inputs = self.inputs.iter().zip(1..).map(|(shape, seed)| draw(&shape.at(ROWS), seed));
        let each = |(slot, x): (usize, ArrayD<f64>)| match &self.op {
            // True or false, and never close to one another.
            Op::Where if slot == 0 => x.mapv(|x| f64::from(u8::from(x > 0.0))),
            Op::Maximum | Op::Minimum | Op::Compare(_) if slot == 1 => {
                x.mapv(|x| f64::from((x + 0.01) as f32))
            }
            _ => x * self.scale,
        };
        inputs.enumerate().map(each).collect()
    }

    /// Parameters; the last one of a batch norm is a variance.
    pub(crate) fn param_values(&self) -> Vec<ArrayD<f64>> {
        let draw = |(i, dims): (usize, &Vec<usize>)| match (&self.op, i) {
            (Op::BatchNorm { .. }, 3) => positive(dims, 103),
            _ => spread(dims, 100 + i as u64),
        };
        self.params.iter().enumerate().map(draw).collect()
    }
}

/// All cases.
pub(crate) fn operators() -> Vec<OpCase> {
    [
        convolutions(),
        transposed_convolutions(),
        dense(),
        batch_norms(),
        activations(),
        softmaxes(),
        max_pools(),
        average_pools(),
        reductions(),
        binaries(),
        norms(),
        products(),
        choices(),
        shapes(),
        resizes(),
        filters(),
    ]
    .concat()
}

fn convolutions() -> Vec<OpCase> {
    let plain = |axes: usize| Conv {
        stride: vec![1; axes],
        padding: vec![(0, 0); axes],
        dilation: vec![1; axes],
        groups: 1,
    };
    let two = plain(2);
    let case = |name: &str, conv: Conv, row: &[usize], weight: &[usize]| {
        on_rows(&format!("conv {name}"), Op::Conv(conv), row).params(&[weight, &weight[..1]])
    };
    vec![
        case("1 x 1", two.clone(), &[3, 4, 5], &[4, 3, 1, 1]),
        case("3 x 3", two.clone(), &[2, 5, 4], &[3, 2, 3, 3]),
        case("3 x 3 without bias", two.clone(), &[2, 5, 4], &[3, 2, 3, 3]).params(&[&[3, 2, 3, 3]]),
        case("even kernel", two.clone(), &[2, 5, 5], &[2, 2, 2, 4]),
        case("kernel as large as the value", two.clone(), &[2, 3, 4], &[5, 2, 3, 4]),
        case("same padding", Conv::square(1, 1), &[2, 5, 4], &[3, 2, 3, 3]),
        case("stride 2", Conv::square(2, 1), &[2, 7, 6], &[3, 2, 3, 3]),
        case("stride with entries left over", Conv::square(3, 0), &[1, 7, 6], &[2, 1, 2, 2]),
        case("stride larger than the kernel", Conv::square(3, 0), &[2, 8, 7], &[2, 2, 2, 1]),
        case("stride by axis", Conv { stride: vec![1, 3], ..two.clone() }, &[2, 4, 7], &[2, 2, 2, 3]),
        case(
            "asymmetric padding",
            Conv { padding: vec![(0, 2), (3, 1)], ..two.clone() },
            &[2, 4, 3],
            &[2, 2, 3, 3],
        ),
        case(
            "padding larger than the kernel",
            Conv { padding: vec![(3, 3), (4, 0)], ..two.clone() },
            &[1, 2, 3],
            &[2, 1, 2, 2],
        ),
        case("dilation", Conv { dilation: vec![2, 3], ..two.clone() }, &[2, 6, 8], &[2, 2, 3, 2]),
        case(
            "stride, dilation and asymmetric padding",
            Conv { stride: vec![2, 3], padding: vec![(1, 0), (2, 3)], dilation: vec![2, 1], groups: 1 },
            &[2, 6, 7],
            &[3, 2, 2, 3],
        ),
        case("groups", Conv { groups: 2, ..two.clone() }, &[4, 4, 4], &[6, 2, 2, 2]),
        case(
            "groups, stride and padding",
            Conv { groups: 3, ..Conv::square(2, 1) },
            &[6, 5, 5],
            &[3, 2, 3, 3],
        ),
        case("depthwise", Conv { groups: 3, ..Conv::square(1, 1) }, &[3, 4, 5], &[3, 1, 3, 3]),
        case(
            "depthwise, stride, asymmetric padding",
            Conv { groups: 3, padding: vec![(0, 1); 2], ..Conv::square(2, 0) },
            &[3, 6, 5],
            &[3, 1, 3, 3],
        ),
        case(
            "depthwise with multiplier",
            Conv { groups: 2, ..Conv::square(1, 1) },
            &[2, 4, 4],
            &[6, 1, 3, 3],
        ),
        case("1-d", plain(1), &[2, 7], &[3, 2, 3]),
        case(
            "1-d with stride, dilation, padding and groups",
            Conv { stride: vec![2], padding: vec![(2, 1)], dilation: vec![2], groups: 2 },
            &[4, 9],
            &[4, 2, 3],
        ),
        case("3-d", plain(3), &[1, 3, 4, 3], &[2, 1, 2, 3, 2]),
        case(
            "3-d with stride, padding and dilation",
            Conv {
                stride: vec![1, 2, 1],
                padding: vec![(1, 0), (0, 1), (1, 1)],
                dilation: vec![1, 1, 2],
                groups: 1,
            },
            &[2, 3, 4, 3],
            &[2, 2, 2, 2, 2],
        ),
    ]
}

fn transposed_convolutions() -> Vec<OpCase> {
    let plain = |axes: usize| Conv {
        stride: vec![1; axes],
        padding: vec![(0, 0); axes],
        dilation: vec![1; axes],
        groups: 1,
    };
    let case = |name: &str, conv: Conv, output_padding: &[usize], row: &[usize], weight: &[usize]| {
        let bias = [weight[1] * conv.groups];
        let op = Op::ConvTranspose(ConvTranspose { conv, output_padding: output_padding.into() });
        on_rows(&format!("transposed conv {name}"), op, row).params(&[weight, &bias])
    };
    let none = &[0, 0];
    vec![
        case("1 x 1", plain(2), none, &[3, 2, 4], &[3, 4, 1, 1]),
        case("3 x 3", plain(2), none, &[2, 4, 3], &[2, 3, 3, 3]),
        case("3 x 3 without bias", plain(2), none, &[2, 4, 3], &[2, 3, 3, 3]).params(&[&[2, 3, 3, 3]]),
        case("2 x 2, stride 2", Conv::square(2, 0), none, &[3, 3, 4], &[3, 2, 2, 2]),
        case("overlapping", Conv::square(2, 1), none, &[2, 4, 3], &[2, 3, 4, 4]),
        case("stride larger than the kernel", Conv::square(3, 0), none, &[2, 3, 2], &[2, 2, 2, 1]),
        case("stride by axis", Conv { stride: vec![1, 3], ..plain(2) }, none, &[2, 4, 3], &[2, 2, 2, 3]),
        case(
            "asymmetric padding",
            Conv { padding: vec![(0, 2), (3, 1)], ..plain(2) },
            none,
            &[2, 4, 5],
            &[2, 2, 3, 3],
        ),
        case(
            "padding larger than the kernel",
            Conv { padding: vec![(3, 3), (4, 0)], ..Conv::square(2, 0) },
            none,
            &[1, 5, 4],
            &[1, 2, 2, 2],
        ),
        case("output padding", Conv::square(2, 1), &[1, 1], &[2, 4, 3], &[2, 3, 3, 3]),
        case("output padding by axis", Conv::square(3, 0), &[2, 1], &[2, 2, 3], &[2, 2, 2, 2]),
        case(
            "output padding beyond all windows",
            Conv { padding: vec![(2, 0), (1, 1)], ..Conv::square(3, 0) },
            &[2, 2],
            &[2, 1, 1],
            &[2, 2, 1, 1],
        ),
        case(
            "output padding larger than the stride",
            Conv { dilation: vec![3, 4], ..plain(2) },
            &[2, 3],
            &[2, 3, 4],
            &[2, 2, 2, 2],
        ),
        case("dilation", Conv { dilation: vec![2, 3], ..plain(2) }, none, &[2, 4, 3], &[2, 2, 3, 2]),
        case(
            "stride, dilation and asymmetric padding",
            Conv { stride: vec![2, 3], padding: vec![(1, 0), (2, 3)], dilation: vec![2, 1], groups: 1 },
            &[1, 2],
            &[2, 4, 5],
            &[2, 3, 2, 3],
        ),
        case("groups", Conv { groups: 2, ..plain(2) }, none, &[4, 3, 3], &[4, 3, 2, 2]),
        case(
            "groups, stride and padding",
            Conv { groups: 3, ..Conv::square(2, 1) },
            &[1, 0],
            &[6, 3, 4],
            &[6, 2, 3, 3],
        ),
        case("depthwise", Conv { groups: 3, ..Conv::square(2, 1) }, none, &[3, 3, 4], &[3, 1, 4, 4]),
        case("1-d", plain(1), &[0], &[2, 5], &[2, 3, 3]),
        case(
            "1-d with stride, dilation, padding and groups",
            Conv { stride: vec![2], padding: vec![(2, 1)], dilation: vec![2], groups: 2 },
            &[1],
            &[4, 6],
            &[4, 2, 3],
        ),
        case("3-d", plain(3), &[0; 3], &[2, 2, 3, 2], &[2, 2, 2, 2, 3]),
        case(
            "3-d with stride, padding and dilation",
            Conv {
                stride: vec![1, 2, 1],
                padding: vec![(1, 0), (0, 1), (1, 1)],
                dilation: vec![1, 1, 2],
                groups: 1,
            },
            &[0, 1, 1],
            &[2, 3, 2, 3],
            &[2, 2, 2, 2, 2],
        ),
    ]
}

fn dense() -> Vec<OpCase> {
    vec![
        on_rows("linear", Op::Linear, &[5]).params(&[&[3, 5], &[3]]),
        on_rows("linear without bias", Op::Linear, &[5]).params(&[&[3, 5]]),
        on_rows("linear over the last of three axes", Op::Linear, &[4, 5]).params(&[&[3, 5], &[3]]),
        on_rows("linear over the last of four axes", Op::Linear, &[2, 3, 5]).params(&[&[4, 5], &[4]]),
    ]
}

fn batch_norms() -> Vec<OpCase> {
    let case = |name: &str, epsilon: f64, row: &[usize]| {
        let channels: &[usize] = &row[..1];
        on_rows(name, Op::BatchNorm { epsilon }, row).params(&[channels; 4])
    };
    vec![
        case("batch norm, 2-d", 1e-5, &[3, 2, 4]),
        case("batch norm, 1-d", 1e-3, &[3, 4]),
        case("batch norm of features", 0.1, &[4]),
    ]
}

fn activations() -> Vec<OpCase> {
    let all = [
        ("relu", Activation::Relu),
        ("leaky relu", Activation::LeakyRelu { slope: 0.1 }),
        ("leaky relu with negative slope", Activation::LeakyRelu { slope: -0.5 }),
        ("clip", Activation::Clip { min: -0.4, max: 0.6 }),
        ("clip above only", Activation::Clip { min: f64::NEG_INFINITY, max: 0.3 }),
        ("sigmoid", Activation::Sigmoid),
        ("tanh", Activation::Tanh),
        ("softplus", Activation::Softplus),
        ("abs", Activation::Abs),
        ("exp", Activation::Exp),
        ("erf", Activation::Erf),
        ("neg", Activation::Neg),
    ];
    let mut cases: Vec<_> =
        all.into_iter().map(|(name, op)| on_rows(name, Op::Activation(op), &[3, 4])).collect();
    let wide = [
        ("elu", Activation::Elu { alpha: 1.5 }),
        ("selu", Activation::Selu { alpha: 1.6732632, gamma: 1.0507009 }),
        ("celu", Activation::Celu { alpha: 0.7 }),
        ("hard sigmoid", Activation::HardSigmoid { alpha: 0.4, beta: 0.6 }),
        ("hard swish", Activation::HardSwish),
        ("softsign", Activation::Softsign),
        ("silu", Activation::Silu),
        ("mish", Activation::Mish),
        ("gelu", Activation::Gelu),
        ("gelu by tanh", Activation::GeluTanh),
        ("floor", Activation::Floor),
        ("ceil", Activation::Ceil),
        ("round", Activation::Round),
        ("truncate", Activation::Truncate),
        ("sign", Activation::Sign),
        ("sin", Activation::Sin),
        ("cos", Activation::Cos),
        ("square", Activation::Power { exponent: 2.0 }),
        ("cube", Activation::Power { exponent: 3.0 }),
        ("power of 0", Activation::Power { exponent: 0.0 }),
    ];
    cases.extend(wide.map(|(name, op)| on_rows(name, Op::Activation(op), &[3, 4]).scaled(5.0)));
    let positive = [
        ("sqrt", Activation::Sqrt),
        ("log", Activation::Log),
        ("reciprocal", Activation::Reciprocal),
        ("power", Activation::Power { exponent: -1.3 }),
    ];
    cases.extend(positive.map(|(name, op)| on_rows(name, Op::Activation(op), &[3, 4]).positive()));
    cases.push(on_rows("identity", Op::Identity, &[3, 4]));
    cases
}

fn softmaxes() -> Vec<OpCase> {
    let each = |axis: usize| {
        [
            on_rows(&format!("softmax over axis {axis}"), Op::Softmax { axis }, &[3, 4, 2]),
            on_rows(&format!("log-softmax over axis {axis}"), Op::LogSoftmax { axis }, &[3, 4, 2]),
        ]
    };
    let mut cases: Vec<_> = [1, 2, 3].into_iter().flat_map(each).collect();
    cases.push(on_rows("softmax of classes", Op::Softmax { axis: 1 }, &[5]));
    cases.push(on_rows("log-softmax of classes", Op::LogSoftmax { axis: 1 }, &[5]));
    cases
}

/// Windows by name, with a row on which they matter.
fn pools() -> Vec<(&'static str, Pool, Vec<usize>)> {
    let square = Pool::square;
    let line = |kernel, stride, padding, dilation, ceil| Pool {
        kernel: vec![kernel],
        stride: vec![stride],
        padding: vec![padding],
        dilation: vec![dilation],
        ceil,
    };
    vec![
        ("2 x 2", square(2, 2), vec![2, 4, 6]),
        ("2 x 2 with entries left over", square(2, 2), vec![2, 5, 5]),
        ("overlapping", square(3, 1), vec![2, 5, 4]),
        ("stride larger than the window", square(2, 3), vec![2, 8, 7]),
        ("global", square(4, 1), vec![3, 4, 4]),
        ("3 x 3, stride 2, padding 1", Pool { padding: vec![(1, 1); 2], ..square(3, 2) }, vec![2, 7, 6]),
        ("asymmetric padding", Pool { padding: vec![(0, 1), (2, 0)], ..square(3, 2) }, vec![2, 6, 5]),
        ("dilation", Pool { dilation: vec![2, 1], ..square(2, 1) }, vec![2, 5, 4]),
        ("ceil", Pool { ceil: true, ..square(2, 2) }, vec![2, 5, 5]),
        ("ceil without effect", Pool { ceil: true, ..square(2, 2) }, vec![1, 4, 6]),
        ("ceil and padding", Pool { ceil: true, padding: vec![(1, 1); 2], ..square(3, 2) }, vec![2, 6, 6]),
        (
            "ceil with a window that would start in the padding",
            Pool { ceil: true, padding: vec![(0, 1); 2], ..square(2, 2) },
            vec![1, 4, 5],
        ),
        ("by axis", Pool { kernel: vec![1, 3], stride: vec![2, 1], ..square(1, 1) }, vec![2, 4, 5]),
        ("1-d", line(3, 2, (1, 0), 1, false), vec![2, 8]),
        ("1-d with ceil and dilation", line(2, 2, (0, 0), 2, true), vec![2, 8]),
        (
            "3-d",
            Pool {
                kernel: vec![2, 3, 2],
                stride: vec![1, 2, 2],
                padding: vec![(1, 0), (1, 1), (0, 1)],
                dilation: vec![1; 3],
                ceil: false,
            },
            vec![2, 3, 4, 3],
        ),
    ]
}

fn max_pools() -> Vec<OpCase> {
    let case = |(name, pool, row): (&str, Pool, Vec<usize>)| {
        on_rows(&format!("max pool {name}"), Op::MaxPool(pool), &row)
    };
    pools().into_iter().map(case).collect()
}

fn average_pools() -> Vec<OpCase> {
    let each = |(name, pool, row): (&str, Pool, Vec<usize>)| {
        [true, false].map(|count_include_pad| {
            let counted = if count_include_pad { "padding counts" } else { "padding left out" };
            let op = Op::AveragePool { pool: pool.clone(), count_include_pad };
            on_rows(&format!("average pool {name}, {counted}"), op, &row)
        })
    };
    pools().into_iter().flat_map(each).collect()
}

fn reductions() -> Vec<OpCase> {
    let axes: [&[usize]; 5] = [&[1], &[3], &[2, 3], &[1, 3], &[1, 2, 3]];
    let each = |axes: &[usize]| {
        [true, false].map(|keep| {
            let tail = format!("over {axes:?}{}", if keep { ", kept" } else { "" });
            let axes = axes.to_vec();
            [
                on_rows(&format!("mean {tail}"), Op::Mean { axes: axes.clone(), keep }, &[3, 2, 4]),
                on_rows(&format!("sum {tail}"), Op::Sum { axes: axes.clone(), keep }, &[3, 2, 4]),
                on_rows(&format!("max {tail}"), Op::Max { axes: axes.clone(), keep }, &[3, 2, 4]),
                on_rows(&format!("min {tail}"), Op::Min { axes: axes.clone(), keep }, &[3, 2, 4]),
                on_rows(&format!("norm {tail}"), Op::Norm { axes, keep }, &[3, 2, 4]),
            ]
        })
    };
    axes.into_iter().flat_map(each).flatten().collect()
}

fn binaries() -> Vec<OpCase> {
    let rows = Shape::batched;
    let fixed = Shape::fixed;
    let patterns = [
        ("alike", rows(&[3, 4]), rows(&[3, 4])),
        ("a channel of ones in the second", rows(&[3, 4]), rows(&[1, 4])),
        ("both broadcast", rows(&[3, 1]), rows(&[1, 4])),
        ("one number a row", rows(&[3, 4]), rows(&[1, 1])),
        ("a constant by channel", rows(&[3, 4]), fixed(&[3, 1])),
        ("a constant row", rows(&[3, 4]), fixed(&[4])),
        ("a constant with a batch of one", rows(&[3, 4]), fixed(&[1, 3, 4])),
        ("a single number", rows(&[3, 4]), fixed(&[])),
        ("a constant first", fixed(&[3, 1]), rows(&[3, 4])),
        ("squeeze and excitation", rows(&[3, 2, 4]), rows(&[3, 1, 1])),
    ];
    let ops = [
        ("add", Op::Add),
        ("subtract", Op::Sub),
        ("multiply", Op::Mul),
        ("divide", Op::Div),
        ("power", Op::Power),
        ("maximum", Op::Maximum),
        ("minimum", Op::Minimum),
        ("equal", Op::Compare(Comparison::Equal)),
        ("not equal", Op::Compare(Comparison::NotEqual)),
        ("greater", Op::Compare(Comparison::Greater)),
        ("greater or equal", Op::Compare(Comparison::GreaterOrEqual)),
        ("less", Op::Compare(Comparison::Less)),
        ("less or equal", Op::Compare(Comparison::LessOrEqual)),
    ];
    let each = |(kind, op): (&str, Op)| {
        patterns.clone().map(|(pattern, a, b)| OpCase {
            name: format!("{kind}, {pattern}"),
            // A divisor must not be near zero, nor the base of a power below.
            positive: matches!(op, Op::Div | Op::Power),
            inputs: vec![a, b],
            ..on_rows("", op.clone(), &[])
        })
    };
    ops.into_iter().flat_map(each).collect()
}

fn norms() -> Vec<OpCase> {
    let layer = |name: &str, row: &[usize], axis: usize, epsilon: f64| {
        let normalized = &row[axis - 1..];
        on_rows(&format!("layer norm {name}"), Op::LayerNorm { axis, epsilon }, row).params(&[normalized; 2])
    };
    let group = |name: &str, groups: usize, row: &[usize]| {
        let op = Op::GroupNorm { groups, epsilon: 1e-3 };
        on_rows(&format!("group norm {name}"), op, row).params(&[&row[..1]; 2])
    };
    let local = |name: &str, size: usize, beta: f64, row: &[usize]| {
        let op = Op::LocalResponseNorm { size, alpha: 0.5, beta, bias: 1.5 };
        on_rows(&format!("local response norm {name}"), op, row)
    };
    let prelu = |name: &str, slope: &[usize]| {
        on_rows(&format!("prelu {name}"), Op::PRelu, &[3, 2, 4]).params(&[slope])
    };
    vec![
        layer("of features", &[6], 1, 1e-5),
        layer("of tokens", &[3, 5], 2, 1e-5),
        layer("over two axes", &[3, 4], 1, 0.1),
        layer("of an image, channels last", &[2, 3, 4], 3, 1e-6),
        group("of one group", 1, &[4, 3, 2]),
        group("of two groups", 2, &[4, 3, 2]),
        group("of each channel", 3, &[3, 4, 2]),
        group("in 1-d", 2, &[4, 5]),
        group("of features", 2, &[6]),
        local("of 3", 3, 0.75, &[5, 2, 3]),
        local("of an even size", 4, 0.75, &[5, 2, 3]),
        local("of itself", 1, 0.5, &[3, 4]),
        local("of all channels", 11, 1.0, &[4, 3]),
        prelu("by channel", &[3, 1, 1]),
        prelu("of one slope", &[1]),
        prelu("of each number", &[3, 2, 4]),
        prelu("by the last axis", &[4]),
    ]
}

fn products() -> Vec<OpCase> {
    let (rows, fixed) = (Shape::batched, Shape::fixed);
    let product = |name: &str, a: Shape, b: Shape| OpCase {
        inputs: vec![a, b],
        ..on_rows(&format!("matrix product {name}"), Op::MatMul, &[])
    };
    let attention = |name: &str, inputs: &[Shape]| OpCase {
        inputs: inputs.to_vec(),
        ..on_rows(&format!("attention {name}"), Op::Attention { scale: 0.6 }, &[]).scaled(2.0)
    };
    let qkv = [rows(&[2, 3, 4]), rows(&[2, 5, 4]), rows(&[2, 5, 3])];
    vec![
        product("of matrices", rows(&[3, 4]), rows(&[4, 2])),
        product("of heads", rows(&[2, 3, 4]), rows(&[2, 4, 5])),
        product("of all rows with one", rows(&[4]), fixed(&[4, 3])),
        product("with one for all heads", rows(&[2, 3, 4]), fixed(&[4, 5])),
        product("with one a head", rows(&[2, 3, 4]), fixed(&[2, 4, 5])),
        product("of a constant first", fixed(&[5, 3]), rows(&[3, 4])),
        product("broadcasting heads", rows(&[1, 3, 4]), rows(&[2, 4, 2])),
        attention("of one head", &[rows(&[3, 4]), rows(&[3, 4]), rows(&[3, 4])]),
        attention("of heads", &qkv),
        attention("with a mask for all", &[&qkv[..], &[fixed(&[3, 5])]].concat()),
        attention("with a mask by row", &[&qkv[..], &[rows(&[1, 1, 5])]].concat()),
    ]
}

fn choices() -> Vec<OpCase> {
    let (rows, fixed) = (Shape::batched, Shape::fixed);
    let choose = |name: &str, inputs: [Shape; 3]| OpCase {
        inputs: inputs.into(),
        ..on_rows(&format!("where {name}"), Op::Where, &[])
    };
    let gather = |name: &str, axis: usize, entries: &[usize], row: &[usize]| {
        on_rows(&format!("gather {name}"), Op::Gather { axis, entries: entries.into() }, row)
    };
    let expand = |name: &str, inputs: &[Shape], shape: Shape| OpCase {
        inputs: inputs.to_vec(),
        ..on_rows(&format!("expand {name}"), Op::Expand { shape }, &[])
    };
    vec![
        choose("alike", [rows(&[3, 4]), rows(&[3, 4]), rows(&[3, 4])]),
        choose("by a mask for all heads", [rows(&[1, 4]), rows(&[3, 4]), fixed(&[])]),
        choose("by a constant", [fixed(&[3, 1]), fixed(&[4]), rows(&[3, 4])]),
        gather("some channels", 1, &[2, 0, 0, 1], &[3, 2, 4]),
        gather("backwards", 3, &[3, 2, 1, 0], &[3, 2, 4]),
        gather("every other", 2, &[0, 2], &[2, 4, 3]),
        gather("one over and over", 1, &[0, 0, 0], &[1, 3]),
        gather("one several times", 1, &[1, 1, 1, 1], &[3, 2]),
        expand("along an axis", &[rows(&[3, 1])], rows(&[3, 4])),
        expand("along two axes", &[rows(&[1, 1, 4])], rows(&[3, 2, 4])),
        expand(
            "to a new axis in front",
            &[rows(&[3])],
            Shape(vec![Dim::Fixed(2), Dim::Batch(1), Dim::Fixed(3)]),
        ),
        expand("of nothing", &[rows(&[3, 4])], rows(&[3, 4])),
        expand("a constant to all rows", &[fixed(&[1, 3, 1]), rows(&[2])], rows(&[3, 4])),
        expand("a row to all rows", &[fixed(&[4]), rows(&[3, 2])], rows(&[3, 4])),
    ]
}

fn shapes() -> Vec<OpCase> {
    let rows = Shape::batched;
    let row = &[3, 2, 4];
    let reshape = |name: &str, shape: Shape| on_rows(&format!("reshape {name}"), Op::Reshape { shape }, row);
    let transpose =
        |axes: &[usize]| on_rows(&format!("transpose {axes:?}"), Op::Transpose { axes: axes.to_vec() }, row);
    let slice = |axis, start, len| {
        on_rows(&format!("slice {len} from {start} of axis {axis}"), Op::Slice { axis, start, len }, row)
    };
    let pad = |name: &str, padding: &[(usize, usize)], value| {
        on_rows(&format!("pad {name}"), Op::Pad { padding: padding.to_vec(), value }, row)
    };
    let concat = |name: &str, axis, inputs: &[Shape]| OpCase {
        inputs: inputs.to_vec(),
        ..on_rows(&format!("concatenate {name}"), Op::Concat { axis }, row)
    };
    vec![
        reshape("to one axis", rows(&[24])),
        reshape("to other axes", rows(&[4, 6])),
        reshape("with a batch of several entries a row", Shape(vec![Dim::Batch(3), Dim::Fixed(8)])),
        transpose(&[0, 2, 3, 1]),
        transpose(&[0, 1, 3, 2]),
        transpose(&[2, 0, 1, 3]),
        slice(1, 0, 1),
        slice(1, 1, 2),
        slice(3, 2, 2),
        pad("of one axis", &[(0, 0), (0, 0), (1, 2), (0, 0)], 0.0),
        pad("of all axes", &[(0, 0), (2, 0), (1, 2), (0, 3)], 0.0),
        pad("with a constant", &[(0, 0), (0, 0), (1, 1), (2, 1)], -1.5),
        concat("channels", 1, &[rows(&[3, 2]), rows(&[1, 2]), rows(&[2, 2])]),
        concat("the last axis", 2, &[rows(&[3, 2]), rows(&[3, 4])]),
        concat("one value alone", 1, &[rows(&[3, 2])]),
    ]
}

fn resizes() -> Vec<OpCase> {
    let modes = [
        ("nearest", Interpolation::Nearest),
        ("nearest floor", Interpolation::NearestFloor),
        ("linear", Interpolation::Linear),
    ];
    let coordinates = [
        ("half-pixel", Coordinates::HalfPixel),
        ("pytorch half-pixel", Coordinates::PytorchHalfPixel),
        ("align-corners", Coordinates::AlignCorners),
        ("asymmetric", Coordinates::Asymmetric),
    ];
    let sizes: [(&str, &[usize], &[usize]); 6] = [
        ("doubled", &[3, 4], &[6, 8]),
        ("up", &[3, 4], &[7, 5]),
        ("down", &[5, 6], &[2, 4]),
        ("to one", &[4, 5], &[1, 1]),
        ("from one", &[1, 2], &[3, 4]),
        ("1-d", &[5], &[8]),
    ];
    let mut cases = Vec::new();
    for (mode_name, mode) in modes {
        for (coordinates_name, coordinates) in coordinates {
            for (size_name, old, new) in sizes {
                let scale = old.iter().zip(new).map(|(&old, &new)| new as f64 / old as f64).collect();
                let op = Op::Resize(Resize::new(new.to_vec(), scale, mode, coordinates));
                let name = format!("resize {size_name}, {mode_name}, {coordinates_name}");
                cases.push(on_rows(&name, op, &[&[2], old].concat()));
            }
        }
    }
    let scaled = Resize::new(vec![5, 7], vec![1.6, 1.5], Interpolation::Linear, Coordinates::HalfPixel);
    cases.push(on_rows("resize by scales of its own", Op::Resize(scaled), &[1, 3, 5]));
    cases
}

/// The further ways to resize.
fn filters() -> Vec<OpCase> {
    let modes = [
        ("nearest up", Interpolation::NearestUp),
        ("nearest ceil", Interpolation::NearestCeil),
        ("linear", Interpolation::Linear),
        ("cubic", Interpolation::Cubic { slope: -0.75 }),
        ("cubic of parabolas", Interpolation::Cubic { slope: -0.5 }),
    ];
    let region = [(0.1, 0.8), (-0.2, 1.1), (0.0, 1.0)];
    let coordinates = [
        ("half-pixel", Coordinates::HalfPixel),
        ("symmetric half-pixel", Coordinates::HalfPixelSymmetric),
        ("align-corners", Coordinates::AlignCorners),
        ("asymmetric", Coordinates::Asymmetric),
        ("tf half-pixel", Coordinates::TfHalfPixel),
        ("of a region", Coordinates::CropAndResize { region }),
    ];
    type Sizes = (&'static str, &'static [usize], &'static [usize], &'static [f64]);
    let sizes: [Sizes; 4] = [
        ("up", &[3, 4], &[7, 6], &[2.4, 1.6]),
        ("down", &[7, 6], &[3, 4], &[0.45, 0.7]),
        ("to one", &[4, 5], &[1, 1], &[0.25, 0.2]),
        ("1-d", &[5], &[8], &[1.6]),
    ];
    let mut cases = Vec::new();
    for (mode_name, mode) in modes {
        let filter = matches!(mode, Interpolation::Linear | Interpolation::Cubic { .. });
        for (coordinates_name, coordinates) in coordinates {
            for (size_name, old, new, scale) in sizes {
                for (option, antialias, exclude_outside) in [
                    ("", false, false),
                    (", antialias", true, false),
                    (", nothing outside", false, true),
                    (", both", true, true),
                ] {
                    if !filter && (antialias || exclude_outside) {
                        continue;
                    }
                    let plain = Resize::new(new.to_vec(), scale.to_vec(), mode, coordinates);
                    let op = Op::Resize(Resize { antialias, exclude_outside, ..plain });
                    let name =
                        format!("resize {size_name}, {mode_name}, {coordinates_name}{option}, as ONNX");
                    cases.push(on_rows(&name, op, &[&[2], old].concat()));
                }
            }
        }
    }
    cases
}

/// A layer on a batch of these rows.
pub(crate) fn on_rows(name: &str, op: Op, row: &[usize]) -> OpCase {
    OpCase {
        name: name.into(),
        op,
        inputs: vec![Shape::batched(row)],
        params: vec![],
        positive: false,
        scale: 1.0,
    }
}

impl OpCase {
    /// With parameters of these lengths.
    pub(crate) fn params(mut self, dims: &[&[usize]]) -> Self {
        self.params = dims.iter().map(|dims| dims.to_vec()).collect();
        self
    }

    fn scaled(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    fn positive(mut self) -> Self {
        self.positive = true;
        self
    }
}
