//! Every kind of layer survives being written and read again, and so do networks of others' making.

use attr_core::{
    Activation, Comparison, Conv, ConvTranspose, Coordinates, Dim, Graph, Interpolation, NodeId, Op, Pool,
    Resize, Shape,
};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, IxDyn};

fn check(graph: &Graph) {
    let file = attr_onnx::encode(graph).unwrap();
    assert_eq!(&attr_onnx::decode(&file).unwrap(), graph);
}

fn check_as_written(graph: &Graph) {
    let file = attr_onnx::encode(graph).unwrap();
    assert_eq!(&attr_onnx::decode_with(&file, &as_written()).unwrap(), graph);
}

fn as_written() -> attr_onnx::Options {
    attr_onnx::Options { as_written: true, ..Default::default() }
}

/// An input of these lengths, one layer `y` of this kind behind it, and the way to disk and back.
fn one(row: &[usize], op: Op) {
    let mut graph = Graph::default();
    let x = graph.input("x", row).unwrap();
    let y = graph.add("y", op, &[x], &[]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    check(&graph);
}

fn counted(dims: &[usize]) -> ArrayD<f32> {
    let len = dims.iter().product::<usize>();
    ArrayD::from_shape_vec(IxDyn(dims), (0..len).map(|i| i as f32 * 0.25 - 1.0).collect()).unwrap()
}

#[test]
fn layers_without_parameters() {
    let pool = Pool {
        kernel: vec![3, 2],
        stride: vec![2, 1],
        padding: vec![(1, 0), (0, 1)],
        dilation: vec![1, 1],
        ceil: true,
    };
    let resize = |size: [usize; 2], scale: [f64; 2], mode, coordinates| {
        Op::Resize(Resize::new(size.to_vec(), scale.to_vec(), mode, coordinates))
    };
    let image = [4, 6, 8];
    let cases = [
        Op::Identity,
        Op::Softmax { axis: 1 },
        Op::LogSoftmax { axis: 3 },
        Op::MaxPool(pool.clone()),
        Op::MaxPool(Pool { dilation: vec![2, 1], ..pool.clone() }),
        Op::AveragePool { pool: pool.clone(), count_include_pad: false },
        Op::AveragePool { pool, count_include_pad: true },
        Op::Mean { axes: vec![2, 3], keep: true },
        Op::Mean { axes: vec![1], keep: false },
        Op::Sum { axes: vec![1, 3], keep: false },
        Op::Concat { axis: 2 },
        Op::Reshape { shape: Shape::batched(&[24, 8]) },
        Op::Reshape { shape: Shape(vec![Dim::Batch(4), Dim::Fixed(48)]) },
        Op::Reshape { shape: Shape(vec![Dim::Fixed(1), Dim::Batch(192)]) },
        Op::Transpose { axes: vec![0, 2, 3, 1] },
        Op::Transpose { axes: vec![1, 0, 2, 3] },
        Op::Slice { axis: 2, start: 1, len: 3 },
        Op::Slice { axis: 1, start: 0, len: 4 },
        Op::Pad { padding: vec![(0, 0), (1, 0), (2, 3), (0, 1)], value: -0.1 },
        resize([12, 16], [2.0, 2.0], Interpolation::NearestFloor, Coordinates::Asymmetric),
        resize([12, 16], [2.0, 2.0], Interpolation::NearestUp, Coordinates::TfHalfPixel),
        resize([3, 4], [0.5, 0.5], Interpolation::NearestCeil, Coordinates::HalfPixelSymmetric),
        resize([3, 4], [0.5, 0.5], Interpolation::Cubic { slope: -0.5 }, Coordinates::HalfPixel),
        resize(
            [3, 4],
            [0.5, 0.5],
            Interpolation::Linear,
            Coordinates::CropAndResize { region: [(0.25, 0.5), (0.0, 1.5), (0.0, 1.0)] },
        ),
        Op::Resize(Resize {
            antialias: true,
            exclude_outside: true,
            ..Resize::new(vec![3, 4], vec![0.5, 0.5], Interpolation::Linear, Coordinates::HalfPixel)
        }),
        resize([9, 5], [1.5, 0.625], Interpolation::Linear, Coordinates::HalfPixel),
        resize([7, 3], [7.0 / 6.0, 3.0 / 8.0], Interpolation::Nearest, Coordinates::AlignCorners),
        resize([7, 9], [1.2, 1.2], Interpolation::Linear, Coordinates::PytorchHalfPixel),
    ];
    for op in cases {
        one(&image, op);
    }
}

#[test]
fn activations() {
    let infinity = f64::INFINITY;
    for activation in [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Clip { min: 0.0, max: 6.0 },
        Activation::Clip { min: -infinity, max: 0.1 },
        Activation::Clip { min: -0.3, max: infinity },
        Activation::Clip { min: -infinity, max: infinity },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Abs,
        Activation::Exp,
        Activation::Sqrt,
        Activation::Erf,
        Activation::Neg,
        Activation::Log,
        Activation::Power { exponent: 2.5 },
        Activation::Reciprocal,
        Activation::Elu { alpha: 0.5 },
        Activation::Selu { alpha: 1.5, gamma: 1.25 },
        Activation::Celu { alpha: 2.0 },
        Activation::HardSigmoid { alpha: 0.25, beta: 0.75 },
        Activation::HardSwish,
        Activation::Softsign,
        Activation::Mish,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Floor,
        Activation::Ceil,
        Activation::Round,
        Activation::Sign,
        Activation::Sin,
        Activation::Cos,
    ] {
        one(&[3], Op::Activation(activation));
    }
}

#[test]
fn layers_with_parameters() {
    let mut graph = Graph::default();
    let x = graph.input("x", &[4, 6, 8]).unwrap();
    let weight = graph.param(counted(&[6, 2, 3, 3]));
    let bias = graph.param(counted(&[6]));
    let conv = Conv { stride: vec![2, 1], padding: vec![(0, 1), (2, 1)], dilation: vec![1, 2], groups: 2 };
    let y = graph.add("conv", Op::Conv(conv), &[x], &[weight, bias]).unwrap();
    let params: Vec<_> = (0..4).map(|_| graph.param(counted(&[6]))).collect();
    let y = graph.add("norm", Op::BatchNorm { epsilon: 1e-3 }, &[y], &params).unwrap();
    let weight = graph.param(counted(&[6, 1, 2, 3]));
    let bias = graph.param(counted(&[3]));
    let conv = Conv { stride: vec![3, 1], padding: vec![(1, 0), (1, 2)], dilation: vec![1, 2], groups: 3 };
    let up = ConvTranspose { conv, output_padding: vec![2, 1] };
    let y = graph.add("up", Op::ConvTranspose(up), &[y], &[weight, bias]).unwrap();
    let y = graph.add("flat", Op::Reshape { shape: Shape::batched(&[243]) }, &[y], &[]).unwrap();
    let (weight, bias) = (graph.param(counted(&[5, 243])), graph.param(counted(&[5])));
    let y = graph.add("fc", Op::Linear, &[y], &[weight, bias]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    check(&graph);
}

#[test]
fn kinds_of_transformers() {
    let cases = [Op::MatMul, Op::Maximum, Op::Minimum, Op::Power];
    for op in cases {
        let mut graph = Graph::default();
        let a = graph.input("a", &[3, 4, 4]).unwrap();
        let b = graph.input("b", &[3, 4, 4]).unwrap();
        let y = graph.add("y", op, &[a, b], &[]).unwrap();
        graph.set_outputs(&[y]).unwrap();
        check(&graph);
    }
    let axes = vec![1, 3];
    for keep in [false, true] {
        one(&[4, 2, 3], Op::Max { axes: axes.clone(), keep });
        one(&[4, 2, 3], Op::Min { axes: axes.clone(), keep });
        one(&[4, 2, 3], Op::Norm { axes: axes.clone(), keep });
    }
    one(&[4, 2, 3], Op::Gather { axis: 2, entries: vec![1, 1, 0] });
    one(&[1, 2], Op::Expand { shape: Shape::batched(&[5, 2]) });
    one(&[4, 2, 3], Op::LocalResponseNorm { size: 3, alpha: 0.5, beta: 0.25, bias: 2.0 });
    for (op, dims) in [
        (Op::LayerNorm { axis: 2, epsilon: 0.5 }, vec![6, 8]),
        (Op::GroupNorm { groups: 2, epsilon: 0.5 }, vec![4]),
        (Op::GroupNorm { groups: 4, epsilon: 0.5 }, vec![4]),
    ] {
        let mut graph = Graph::default();
        let x = graph.input("x", &[4, 6, 8]).unwrap();
        let (gamma, beta) = (graph.param(counted(&dims)), graph.param(counted(&dims)));
        let y = graph.add("y", op, &[x], &[gamma, beta]).unwrap();
        // Reductions are written in another way beside a kind that needs new operators.
        let z = graph.add("z", Op::Max { axes: vec![1], keep: false }, &[y], &[]).unwrap();
        graph.set_outputs(&[z]).unwrap();
        check(&graph);
    }
    let mut graph = Graph::default();
    let x = graph.input("x", &[4, 6]).unwrap();
    let slope = graph.param(counted(&[4, 1]));
    let y = graph.add("y", Op::PRelu, &[x], &[slope]).unwrap();
    let row = graph.param(counted(&[1, 6]));
    let row = graph.add("row", Op::Constant, &[], &[row]).unwrap();
    let rows = graph.add("rows", Op::Expand { shape: Shape::batched(&[6]) }, &[row, x], &[]).unwrap();
    graph.set_outputs(&[y, rows]).unwrap();
    check(&graph);
}

/// What is read again is several layers that compute the same: see the backend tests for that they do.
#[test]
fn layers_that_are_several_operators() {
    let read_again = |graph: &Graph| {
        let again = attr_onnx::decode(&attr_onnx::encode(graph).unwrap()).unwrap();
        again.nodes().iter().map(|node| (node.name.clone(), node.op.kind())).collect::<Vec<_>>()
    };
    let mut graph = Graph::default();
    let x = graph.input("x", &[3, 4]).unwrap();
    let above = graph.add("above", Op::Compare(Comparison::NotEqual), &[x, x], &[]).unwrap();
    let y = graph.add("y", Op::Where, &[above, x, x], &[]).unwrap();
    let silu = graph.add("silu", Op::Activation(Activation::Silu), &[y], &[]).unwrap();
    let all = graph.add("attention", Op::Attention { scale: 0.5 }, &[silu, y, y], &[]).unwrap();
    graph.set_outputs(&[all]).unwrap();
    let names: Vec<_> = read_again(&graph).into_iter().map(|(name, _)| name).collect();
    for name in ["above", "y", "silu", "attention"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    let mut graph = Graph::default();
    let x = graph.input("x", &[3]).unwrap();
    let table = graph.param(counted(&[5, 2]));
    let rows = graph.add("rows", Op::Embedding, &[x], &[table]).unwrap();
    graph.set_outputs(&[rows]).unwrap();
    let layers = read_again(&graph);
    assert_eq!(layers[1..], [("rows.rows".into(), "truncate"), ("rows".into(), "embedding")]);
}

#[test]
fn sequences_and_doubles() {
    let mut graph = Graph::default();
    let x = graph.input("x", &[4, 6]).unwrap();
    let weight = graph.param(Array3::<f64>::ones((2, 4, 3)));
    let conv = Conv { stride: vec![1], padding: vec![(1, 1)], dilation: vec![1], groups: 1 };
    let y = graph.add("conv", Op::Conv(conv.clone()), &[x], &[weight]).unwrap();
    let weight = graph.param(Array3::<f64>::ones((2, 3, 3)));
    let up = ConvTranspose { conv, output_padding: vec![0] };
    let y = graph.add("up", Op::ConvTranspose(up), &[y], &[weight]).unwrap();
    let weight = graph.param(Array2::<f64>::ones((5, 6)));
    let y = graph.add("fc", Op::Linear, &[y], &[weight]).unwrap();
    let y =
        graph.add("clip", Op::Activation(Activation::Clip { min: 1.0 / 3.0, max: 0.7 }), &[y], &[]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    check(&graph);
}

#[test]
fn several_inputs_outputs_and_shared_parameters() {
    let mut graph = Graph::default();
    let a = graph.input("a", &[3]).unwrap();
    let b = graph.input("b", &[3]).unwrap();
    let weight = graph.param(Array2::<f32>::eye(3));
    let c = graph.add("one", Op::Linear, &[a], &[weight]).unwrap();
    let d = graph.add("two", Op::Linear, &[b], &[weight]).unwrap();
    let row = graph.param(Array1::<f32>::ones(3));
    let e = graph.add("row", Op::Constant, &[], &[row]).unwrap();
    let add = |graph: &mut Graph, name: &str, op: Op, a: NodeId, b: NodeId| {
        graph.add(name, op, &[a, b], &[]).unwrap()
    };
    let f = add(&mut graph, "one.weight", Op::Add, c, e);
    let g = add(&mut graph, "sub", Op::Sub, f, d);
    let h = add(&mut graph, "mul", Op::Mul, g, e);
    let i = add(&mut graph, "div", Op::Div, h, a);
    let j = add(&mut graph, "both", Op::Concat { axis: 1 }, i, d);
    graph.set_outputs(&[j, g]).unwrap();
    check_as_written(&graph);
}

#[test]
fn a_linear_layer_with_bias_on_sequences_is_written_as_two() {
    let mut graph = Graph::default();
    let x = graph.input("x", &[4, 6]).unwrap();
    let (weight, bias) = (graph.param(counted(&[5, 6])), graph.param(counted(&[5])));
    let y = graph.add("fc", Op::Linear, &[x], &[weight, bias]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    let file = attr_onnx::encode(&graph).unwrap();
    let names = |graph: &Graph| graph.nodes().iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let written = attr_onnx::decode_with(&file, &as_written()).unwrap();
    assert_eq!(names(&written), ["x", "fc.product", "fc.bias", "fc"]);
    assert_eq!(written.node(3).shape, graph.node(y).shape);
    let recognised = attr_onnx::decode(&file).unwrap();
    assert_eq!(names(&recognised), ["x", "fc"]);
    assert_eq!(recognised.node(1).op, Op::Linear);
}

#[test]
fn what_has_no_word_in_onnx_is_refused() {
    let mut graph = Graph::default();
    let x = graph.input("x", &[2]).unwrap();
    assert!(attr_onnx::encode(&graph).unwrap_err().to_string().contains("without outputs"));
    graph.set_outputs(&[x, x]).unwrap();
    assert!(attr_onnx::encode(&graph).unwrap_err().to_string().contains("twice"));
    graph.set_outputs(&[x]).unwrap();
    graph.param(Array1::<f64>::ones(1));
    graph.param(Array1::<f32>::ones(1));
    assert!(attr_onnx::encode(&graph).unwrap_err().to_string().contains("precision"));
}

#[test]
fn files() {
    let directory = std::env::temp_dir().join(format!("attr-onnx-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("network.onnx");
    let mut graph = Graph::default();
    let x = graph.input("x", &[1, 2, 2]).unwrap();
    let weight = graph.param(Array4::<f32>::ones((1, 1, 2, 2)));
    let y = graph.add("y", Op::Conv(Conv::square(1, 0)), &[x], &[weight]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    attr_onnx::write(&graph, &path).unwrap();
    assert_eq!(attr_onnx::read(&path).unwrap(), graph);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    let missing = attr_onnx::read(directory.join("other.onnx")).unwrap_err();
    assert!(missing.to_string().contains("other.onnx"), "{missing}");
    std::fs::remove_dir_all(directory).unwrap();
}

/// The same small residual network by each of PyTorch's exporters (`xtask/python/export_fixtures.py`).
#[test]
fn pytorch_exports() {
    let kinds = [
        "input",
        "convolution",
        "constant",
        "add",
        "batch norm",
        "convolution",
        "clip",
        "add",
        "relu",
        "max pooling",
        "resize",
        "slice",
        "slice",
        "leaky relu",
        "concatenate",
        "identity",
        "reshape",
        "linear",
        "log-softmax",
    ];
    for name in ["residual_torchscript", "residual_dynamo"] {
        let path = format!("{}/tests/fixtures/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let graph = attr_onnx::read(path).unwrap();
        let found: Vec<_> = graph.nodes().iter().map(|node| node.op.kind()).collect();
        assert_eq!(found, kinds, "{name}");
        assert_eq!(graph.node(graph.outputs()[0]).shape.to_string(), "[B, 5]");
        assert_eq!(graph.params().iter().map(|param| param.len()).sum::<usize>(), 494);
        let norm = graph.nodes().iter().find_map(|node| match node.op {
            Op::BatchNorm { epsilon } => Some(epsilon),
            _ => None,
        });
        assert_eq!(norm, Some(1e-5), "the decimal, not its single-precision neighbour");
        check(&graph);
    }
}

#[test]
fn an_open_length_is_given_when_it_is_read() {
    let network = |tokens: usize| {
        let mut graph = Graph::default();
        let x = graph.input("x", &[tokens, 6]).unwrap();
        let shape = Shape::batched(&[tokens, 2, 3]);
        let y = graph.add("y", Op::Reshape { shape }, &[x], &[]).unwrap();
        let y = graph.add("sum", Op::Sum { axes: vec![1], keep: false }, &[y], &[]).unwrap();
        graph.set_outputs(&[y]).unwrap();
        graph
    };
    let file = attr_onnx::encode_open(&network(4), Some("tokens")).unwrap();
    assert_eq!(file, attr_onnx::encode_open(&network(9), Some("tokens")).unwrap());
    assert!(attr_onnx::decode(&file).unwrap_err().to_string().contains("tokens"));
    let mut options = attr_onnx::Options::default();
    options.input_shapes.insert("x".into(), vec![7, 6]);
    assert_eq!(attr_onnx::decode_with(&file, &options).unwrap(), network(7));
}
