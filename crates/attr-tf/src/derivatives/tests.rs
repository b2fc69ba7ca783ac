//! Every operator on the list, and every one that is rewritten, against finite differences.

use std::collections::BTreeSet;

use attr_core::{Cut, ModelWrapper, Point, Tensor};
use attr_graphdef::proto::{AttrValue, GraphDef, NodeDef, data_type};
use attr_graphdef::tensor::tensor_proto;
use ndarray::{ArrayD, Axis, IxDyn, arr2};
use prost::Message;

use super::KNOWN;
use crate::{SavedModel, TfTensor};

/// Operators that read inputs `x` and `z` and constants; the last one is the output.
struct Case {
    name: &'static str,
    nodes: Vec<NodeDef>,
    /// The lengths of a row of each input.
    inputs: Vec<Vec<usize>>,
    /// Added to all inputs.
    shift: f64,
    /// The kind of numbers; single precision where TensorFlow has no other.
    dtype: i32,
}

const T: i32 = data_type::DOUBLE;
const F: i32 = data_type::FLOAT;
const I: i32 = data_type::INT32;

fn node(op: &str, name: &str, input: &[&str], attrs: &[(&str, AttrValue)]) -> NodeDef {
    let node = NodeDef::new(op, name, input.iter().copied());
    attrs.iter().fold(node, |node, (name, value)| node.with(name, value.clone()))
}

/// Numbers between -1 and 1 that are all different.
fn spread(dims: &[usize], seed: u64) -> ArrayD<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    ArrayD::from_shape_simple_fn(IxDyn(dims), || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

fn floats(name: &str, dims: &[usize], dtype: i32) -> NodeDef {
    // A seed of its own for each name.
    let numbers = spread(dims, name.bytes().map(u64::from).sum());
    let value = if dtype == F { tensor_proto(&numbers.mapv(|x| x as f32)) } else { tensor_proto(&numbers) };
    node("Const", name, &[], &[("dtype", AttrValue::kind(dtype)), ("value", AttrValue::tensor(value))])
}

fn positive(name: &str, dims: &[usize], dtype: i32) -> NodeDef {
    let numbers = spread(dims, 5).mapv(|x| x + 1.5);
    let value = if dtype == F { tensor_proto(&numbers.mapv(|x| x as f32)) } else { tensor_proto(&numbers) };
    node("Const", name, &[], &[("dtype", AttrValue::kind(dtype)), ("value", AttrValue::tensor(value))])
}

fn ints(name: &str, dims: &[usize], numbers: &[i32]) -> NodeDef {
    let value = tensor_proto(&ArrayD::from_shape_vec(IxDyn(dims), numbers.to_vec()).unwrap());
    node("Const", name, &[], &[("dtype", AttrValue::kind(I)), ("value", AttrValue::tensor(value))])
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let t = || ("T", AttrValue::kind(T));
    let int = |name: &'static str| (name, AttrValue::kind(I));
    let mut add = |name: &'static str, inputs: &[&[usize]], nodes: Vec<NodeDef>| {
        let inputs = inputs.iter().map(|row| row.to_vec()).collect();
        cases.push(Case { name, nodes, inputs, shift: 0.0, dtype: T });
    };
    for op in [
        "Abs",
        "Cos",
        "Elu",
        "Erf",
        "Erfc",
        "Exp",
        "Expm1",
        "Identity",
        "LeakyRelu",
        "LogSoftmax",
        "Neg",
        "Relu",
        "Relu6",
        "Selu",
        "Sigmoid",
        "Sin",
        "Softmax",
        "Softplus",
        "Softsign",
        "Square",
        "Tanh",
    ] {
        add(op, &[&[5]], vec![node(op, "y", &["x"], &[t()])]);
    }
    add("LogSoftmax of rank 3", &[&[3, 4]], vec![node("LogSoftmax", "y", &["x"], &[t()])]);
    add("Softmax of rank 3", &[&[3, 4]], vec![node("Softmax", "y", &["x"], &[t()])]);
    add(
        "Cast",
        &[&[3]],
        vec![node("Cast", "y", &["x"], &[("SrcT", AttrValue::kind(T)), ("DstT", AttrValue::kind(T))])],
    );
    for op in ["Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference"] {
        add(op, &[&[3, 4], &[1, 4]], vec![node(op, "y", &["x", "z"], &[t()])]);
        add(op, &[&[3, 4]], vec![positive("w", &[4], T), node(op, "y", &["x", "w"], &[t()])]);
        add(op, &[&[3, 4]], vec![positive("w", &[4], T), node(op, "y", &["w", "x"], &[t()])]);
    }
    add("AddN", &[&[3], &[3]], vec![node("AddN", "y", &["x", "z", "x"], &[t(), ("N", AttrValue::int(3))])]);
    add(
        "IdentityN",
        &[&[3], &[3]],
        vec![
            node("IdentityN", "both", &["x", "z"], &[("T", kinds(&[T, T]))]),
            node("Mul", "y", &["both", "both:1"], &[t()]),
        ],
    );
    add(
        "ConcatV2",
        &[&[3, 2], &[3, 4]],
        vec![
            ints("axis", &[], &[-1]),
            node("ConcatV2", "y", &["x", "z", "axis"], &[t(), ("N", AttrValue::int(2)), int("Tidx")]),
        ],
    );
    add(
        "Pack",
        &[&[3], &[3]],
        vec![node("Pack", "y", &["x", "z"], &[t(), ("N", AttrValue::int(2)), ("axis", AttrValue::int(1))])],
    );
    add(
        "Unpack",
        &[&[3, 2]],
        vec![
            node("Unpack", "parts", &["x"], &[t(), ("num", AttrValue::int(2)), ("axis", AttrValue::int(2))]),
            node("Exp", "e", &["parts:1"], &[t()]),
            node("Mul", "y", &["parts", "e"], &[t()]),
        ],
    );
    add(
        "Split",
        &[&[3, 4]],
        vec![
            ints("axis", &[], &[2]),
            node("Split", "parts", &["axis", "x"], &[t(), ("num_split", AttrValue::int(2))]),
            node("Mul", "y", &["parts", "parts:1"], &[t()]),
        ],
    );
    add(
        "SplitV",
        &[&[3, 4]],
        vec![
            ints("sizes", &[2], &[1, 3]),
            ints("axis", &[], &[2]),
            node(
                "SplitV",
                "parts",
                &["x", "sizes", "axis"],
                &[t(), ("num_split", AttrValue::int(2)), int("Tlen")],
            ),
            node("Mul", "y", &["parts", "parts:1"], &[t()]),
        ],
    );
    add(
        "Tile",
        &[&[2, 3]],
        vec![ints("times", &[3], &[1, 2, 3]), node("Tile", "y", &["x", "times"], &[t(), int("Tmultiples")])],
    );
    add(
        "Transpose",
        &[&[2, 3]],
        vec![ints("axes", &[3], &[0, 2, 1]), node("Transpose", "y", &["x", "axes"], &[t(), int("Tperm")])],
    );
    add(
        "Reshape",
        &[&[2, 3]],
        vec![ints("shape", &[2], &[-1, 6]), node("Reshape", "y", &["x", "shape"], &[t(), int("Tshape")])],
    );
    add(
        "Squeeze",
        &[&[1, 3]],
        vec![node("Squeeze", "y", &["x"], &[t(), ("squeeze_dims", AttrValue::ints([1]))])],
    );
    add(
        "ExpandDims",
        &[&[3]],
        vec![ints("axis", &[], &[1]), node("ExpandDims", "y", &["x", "axis"], &[t(), int("Tdim")])],
    );
    add(
        "Slice",
        &[&[3, 4]],
        vec![
            ints("begin", &[3], &[0, 1, 1]),
            ints("size", &[3], &[-1, 2, 2]),
            node("Slice", "y", &["x", "begin", "size"], &[t(), int("Index")]),
        ],
    );
    add(
        "StridedSlice",
        &[&[3, 5]],
        vec![
            ints("begin", &[3], &[0, 1, 4]),
            ints("end", &[3], &[0, 2, 0]),
            ints("step", &[3], &[1, 1, -2]),
            node(
                "StridedSlice",
                "y",
                &["x", "begin", "end", "step"],
                &[
                    t(),
                    int("Index"),
                    ("begin_mask", AttrValue::int(1)),
                    ("end_mask", AttrValue::int(1)),
                    ("shrink_axis_mask", AttrValue::int(2)),
                    ("ellipsis_mask", AttrValue::int(0)),
                    ("new_axis_mask", AttrValue::int(0)),
                ],
            ),
        ],
    );
    let around = || ints("around", &[3, 2], &[0, 0, 1, 2, 0, 3]);
    add("Pad", &[&[2, 3]], vec![around(), node("Pad", "y", &["x", "around"], &[t(), int("Tpaddings")])]);
    add(
        "PadV2",
        &[&[2, 3]],
        vec![
            around(),
            floats("value", &[], T),
            node("PadV2", "y", &["x", "around", "value"], &[t(), int("Tpaddings")]),
        ],
    );
    add(
        "BroadcastTo",
        &[&[1, 3]],
        vec![ints("shape", &[3], &[2, 4, 3]), node("BroadcastTo", "y", &["x", "shape"], &[t(), int("Tidx")])],
    );
    add(
        "SelectV2",
        &[&[3], &[3]],
        vec![
            node("Greater", "above", &["x", "z"], &[t()]),
            node("SelectV2", "y", &["above", "x", "z"], &[t()]),
        ],
    );
    for (op, keep) in
        [("Sum", false), ("Sum", true), ("Mean", false), ("Mean", true), ("Max", false), ("Max", true)]
    {
        add(
            op,
            &[&[3, 4, 2]],
            vec![
                ints("axes", &[2], &[1, -2]),
                node(op, "y", &["x", "axes"], &[t(), int("Tidx"), ("keep_dims", AttrValue::flag(keep))]),
            ],
        );
    }
    for (a, b) in [(false, false), (false, true)] {
        let dims: &[usize] = if b { &[3, 4] } else { &[4, 3] };
        let both = [t(), ("transpose_a", AttrValue::flag(a)), ("transpose_b", AttrValue::flag(b))];
        add("MatMul", &[&[4]], vec![floats("w", dims, T), node("MatMul", "y", &["x", "w"], &both)]);
    }
    add("BatchMatMulV2", &[&[2, 3], &[3, 4]], vec![node("BatchMatMulV2", "y", &["x", "z"], &[t()])]);
    add(
        "BatchMatMulV2",
        &[&[2, 3], &[4, 3]],
        vec![node("BatchMatMulV2", "y", &["x", "z"], &[t(), ("adj_y", AttrValue::flag(true))])],
    );
    add(
        "Einsum",
        &[&[2, 3]],
        vec![
            floats("w", &[3, 4], T),
            node(
                "Einsum",
                "y",
                &["x", "w"],
                &[t(), ("N", AttrValue::int(2)), ("equation", AttrValue::text("abc,cd->abd"))],
            ),
        ],
    );
    add(
        "Einsum",
        &[&[2, 2, 3], &[4, 2, 3]],
        vec![node(
            "Einsum",
            "y",
            &["x", "z"],
            &[t(), ("N", AttrValue::int(2)), ("equation", AttrValue::text("aecd,abcd->acbe"))],
        )],
    );
    add("BiasAdd", &[&[2, 3]], vec![floats("b", &[3], T), node("BiasAdd", "y", &["x", "b"], &[t()])]);

    let windows = |stride: i64, padding: &str, dilation: i64| {
        vec![
            ("T", AttrValue::kind(T)),
            ("strides", AttrValue::ints([1, stride, stride, 1])),
            ("padding", AttrValue::text(padding)),
            ("dilations", AttrValue::ints([1, dilation, dilation, 1])),
        ]
    };
    let explicit = || ("explicit_paddings", AttrValue::ints([0, 0, 1, 0, 0, 2, 0, 0]));
    for (stride, padding, dilation) in
        [(1, "SAME", 1), (2, "SAME", 1), (2, "VALID", 1), (1, "SAME", 2), (1, "VALID", 2), (1, "SAME", 3)]
    {
        let attrs = windows(stride, padding, dilation);
        add(
            "Conv2D",
            &[&[7, 8, 2]],
            vec![floats("w", &[3, 2, 2, 3], T), node("Conv2D", "y", &["x", "w"], &attrs)],
        );
        add(
            "DepthwiseConv2dNative",
            &[&[7, 8, 2]],
            vec![floats("w", &[3, 2, 2, 2], T), node("DepthwiseConv2dNative", "y", &["x", "w"], &attrs)],
        );
    }
    for (stride, dilation) in [(1, 1), (2, 1), (1, 2)] {
        let attrs = [windows(stride, "EXPLICIT", dilation), vec![explicit()]].concat();
        add(
            "Conv2D",
            &[&[7, 6, 2]],
            vec![floats("w", &[3, 2, 2, 3], T), node("Conv2D", "y", &["x", "w"], &attrs)],
        );
    }
    add(
        "Conv2DBackpropInput",
        &[&[3, 4, 2]],
        vec![
            ints("size", &[4], &[2, 6, 8, 3]),
            floats("w", &[3, 3, 3, 2], T),
            node("Conv2DBackpropInput", "y", &["size", "w", "x"], &windows(2, "SAME", 1)),
        ],
    );
    let pool = |stride: i64, padding: &str| {
        vec![
            ("T", AttrValue::kind(T)),
            ("ksize", AttrValue::ints([1, 3, 2, 1])),
            ("strides", AttrValue::ints([1, stride, stride, 1])),
            ("padding", AttrValue::text(padding)),
        ]
    };
    for op in ["MaxPool", "AvgPool"] {
        for (stride, padding) in [(1, "SAME"), (2, "SAME"), (2, "VALID")] {
            add(op, &[&[7, 6, 2]], vec![node(op, "y", &["x"], &pool(stride, padding))]);
        }
    }
    add(
        "MaxPool",
        &[&[7, 6, 2]],
        vec![node("MaxPool", "y", &["x"], &[pool(2, "EXPLICIT"), vec![explicit()]].concat())],
    );
    let block = || ints("block", &[2], &[2, 2]);
    add(
        "SpaceToBatchND",
        &[&[3, 4, 2]],
        vec![
            block(),
            ints("around", &[2, 2], &[1, 0, 0, 0]),
            node(
                "SpaceToBatchND",
                "y",
                &["x", "block", "around"],
                &[t(), int("Tblock_shape"), int("Tpaddings")],
            ),
        ],
    );
    add(
        "BatchToSpaceND",
        &[&[4, 3, 4]],
        vec![
            // Four rows of each are one.
            ints("shape", &[4], &[8, 2, 3, 2]),
            node("Reshape", "rows", &["x", "shape"], &[t(), int("Tshape")]),
            block(),
            ints("cut", &[2, 2], &[0, 1, 1, 0]),
            node(
                "BatchToSpaceND",
                "y",
                &["rows", "block", "cut"],
                &[t(), int("Tblock_shape"), int("Tcrops")],
            ),
        ],
    );

    for op in ["Log", "Log1p", "Rsqrt", "Sqrt"] {
        let nodes = vec![node(op, "y", &["x"], &[t()])];
        cases.push(Case { name: op, nodes, inputs: vec![vec![5]], shift: 1.5, dtype: T });
    }
    for nodes in [
        vec![node("RealDiv", "y", &["x", "z"], &[t()])],
        vec![
            positive("w", &[4], T),
            node("RealDiv", "w/z", &["w", "z"], &[t()]),
            node("Mul", "y", &["x", "w/z"], &[t()]),
        ],
    ] {
        cases.push(Case {
            name: "RealDiv",
            nodes,
            inputs: vec![vec![3, 4], vec![1, 4]],
            shift: 1.5,
            dtype: T,
        });
    }
    let nodes = vec![positive("w", &[4], T), node("Pow", "y", &["x", "w"], &[t()])];
    cases.push(Case { name: "Pow", nodes, inputs: vec![vec![3, 4]], shift: 1.5, dtype: T });

    for op in ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"] {
        let mut attrs = vec![
            ("T", AttrValue::kind(F)),
            ("epsilon", AttrValue::float(1e-3)),
            ("is_training", AttrValue::flag(false)),
        ];
        if op != "FusedBatchNorm" {
            attrs.push(("U", AttrValue::kind(F)));
        }
        let nodes = vec![
            floats("gamma", &[2], F),
            floats("beta", &[2], F),
            floats("mean", &[2], F),
            positive("variance", &[2], F),
            node(op, "norm", &["x", "gamma", "beta", "mean", "variance"], &attrs),
            node("Identity", "y", &["norm"], &[("T", AttrValue::kind(F))]),
        ];
        cases.push(Case { name: op, nodes, inputs: vec![vec![3, 2, 2]], shift: 0.0, dtype: F });
    }
    for op in ["ResizeBilinear", "ResizeNearestNeighbor"] {
        for (half, align) in [(true, false), (false, true), (false, false)] {
            let attrs = [
                ("T", AttrValue::kind(F)),
                ("half_pixel_centers", AttrValue::flag(half)),
                ("align_corners", AttrValue::flag(align)),
            ];
            let nodes = vec![ints("size", &[2], &[7, 3]), node(op, "y", &["x", "size"], &attrs)];
            cases.push(Case { name: op, nodes, inputs: vec![vec![3, 4, 2]], shift: 0.0, dtype: F });
        }
    }
    cases
}

fn kinds(kinds: &[i32]) -> AttrValue {
    let list = attr_graphdef::proto::ListValue { r#type: kinds.to_vec(), ..Default::default() };
    attr_graphdef::proto::Attr::List(list).into()
}

const NAMES: [&str; 2] = ["x", "z"];

fn model(nodes: &[NodeDef], inputs: &[Vec<usize>], dtype: i32) -> SavedModel {
    let placeholder = |(name, row): (&&str, &Vec<usize>)| {
        let dims: Vec<_> = [None].into_iter().chain(row.iter().map(|&n| Some(n))).collect();
        node(
            "Placeholder",
            name,
            &[],
            &[("dtype", AttrValue::kind(dtype)), ("shape", AttrValue::shape(&dims))],
        )
    };
    let nodes = NAMES.iter().zip(inputs).map(placeholder).chain(nodes.iter().cloned()).collect();
    let graph = GraphDef { node: nodes, library: None, versions: None };
    let function = attr_graphdef::decode(graph.encode_to_vec().into(), std::path::Path::new("."))
        .and_then(|saved| saved.function(None))
        .unwrap();
    SavedModel::new(function).unwrap()
}

/// The value, and the derivative of its sum with these weights.
fn ask(model: &SavedModel, inputs: &[ArrayD<f64>]) -> attr_core::Result<(ArrayD<f64>, Vec<ArrayD<f64>>)> {
    let inputs: Vec<_> = inputs.iter().map(|input| model.tensor(input)).collect::<attr_core::Result<_>>()?;
    let mut value = None;
    let found = model.gradient(Point::at(&inputs), &Cut::input(), &Cut::output(), &mut |values| {
        value = Some(values[0].to_array()?);
        Ok(vec![values[0].like(&spread(&values[0].dims(), 77))?])
    })?;
    let gradients = found.gradients.iter().map(TfTensor::to_array).collect::<attr_core::Result<_>>()?;
    Ok((value.expect("BUG: a gradient asks for its cotangent"), gradients))
}

#[test]
fn finite_differences() {
    let mut failures = Vec::new();
    for case in cases() {
        let (step, allowed) = if case.dtype == F { (0.05, 1e-4) } else { (1e-5, 1e-7) };
        let model = model(&case.nodes, &case.inputs, case.dtype);
        let dims = |row: &Vec<usize>| [&[2], &row[..]].concat();
        let inputs = case.inputs.iter().enumerate();
        let mut inputs: Vec<_> =
            inputs.map(|(i, row)| spread(&dims(row), 3 + i as u64) + case.shift).collect();
        let (value, gradients) = match ask(&model, &inputs) {
            Ok(found) => found,
            Err(error) => {
                failures.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let weights = spread(value.shape(), 77);
        let total = |inputs: &[ArrayD<f64>]| {
            let inputs: Vec<_> = inputs.iter().map(|input| model.tensor(input).unwrap()).collect();
            let value = model.forward(Point::at(&inputs), &Cut::output()).unwrap()[0].to_array().unwrap();
            (value * &weights).sum()
        };
        for slot in 0..inputs.len() {
            let mut differences = ArrayD::zeros(inputs[slot].raw_dim());
            for at in ndarray::indices(inputs[slot].raw_dim()) {
                let middle = inputs[slot][&at];
                let mut moved = |x: f64| {
                    inputs[slot][&at] = x;
                    total(&inputs)
                };
                differences[&at] = (moved(middle + step) - moved(middle - step)) / (2.0 * step);
                inputs[slot][&at] = middle;
            }
            let most = differences.iter().fold(0.0f64, |most, x: &f64| most.max(x.abs()));
            let off = (&gradients[slot] - &differences).iter().fold(0.0f64, |off, x| off.max(x.abs()));
            if off.is_nan() || off > allowed * most.max(1.0) {
                failures.push(format!("{}: input {slot}: off by {off:e} of {most:e}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// No operator is on the list without a case.
#[test]
fn every_operator_has_a_case() {
    let tried: BTreeSet<_> =
        cases().iter().flat_map(|case| &case.nodes).map(|node| node.op.clone()).collect();
    let untried: Vec<_> = KNOWN.iter().filter(|op| !tried.contains(**op)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// An operator without a derivative that can be relied on is refused by name.
#[test]
fn others_are_refused() {
    let t = || ("T", AttrValue::kind(T));
    for op in ["Atan2", "Digamma", "Prod", "IdentityN"] {
        let nodes = match op {
            // A gradient of its author's, which the file does not hold.
            "IdentityN" => {
                let own = ("_gradient_op_type", AttrValue::text("CustomGradient-1"));
                vec![node(op, "y", &["x"], &[("T", kinds(&[T])), own])]
            }
            "Atan2" => vec![floats("w", &[3], T), node(op, "y", &["x", "w"], &[t()])],
            "Prod" => vec![
                ints("axes", &[1], &[1]),
                node(op, "y", &["x", "axes"], &[t(), ("Tidx", AttrValue::kind(I))]),
            ],
            _ => vec![node(op, "y", &["x"], &[t()])],
        };
        let error = ask(&model(&nodes, &[vec![3]], T), &[spread(&[2, 3], 1)]).unwrap_err().to_string();
        assert!(error.contains(&format!("layer \"y\": {op}")), "{error}");
    }
}

/// The derivatives at kinks that this project has settled, whichever way they are asked for.
#[test]
fn kinks() {
    let t = || ("T", AttrValue::kind(T));
    let constant = |number: f64| {
        let value = tensor_proto(&ArrayD::from_elem(vec![], number));
        node("Const", "w", &[], &[("dtype", AttrValue::kind(T)), ("value", AttrValue::tensor(value))])
    };
    let pool = [
        t(),
        ("ksize", AttrValue::ints([1, 1, 2, 1])),
        ("strides", AttrValue::ints([1, 1, 2, 1])),
        ("padding", AttrValue::text("VALID")),
    ];
    let reduce = [t(), ("Tidx", AttrValue::kind(I))];
    let cases = [
        (
            "relu",
            vec![node("Relu", "y", &["x"], &[t()])],
            vec![4],
            [-1.0, 0.0, -0.0, 2.0],
            [0.0, 0.0, 0.0, 1.0],
        ),
        (
            "relu6",
            vec![node("Relu6", "y", &["x"], &[t()])],
            vec![4],
            [0.0, 3.0, 6.0, 7.0],
            [0.0, 1.0, 0.0, 0.0],
        ),
        (
            "abs",
            vec![node("Abs", "y", &["x"], &[t()])],
            vec![4],
            [-1.0, 0.0, -0.0, 2.0],
            [-1.0, 0.0, 0.0, 1.0],
        ),
        (
            "bound below",
            vec![constant(0.0), node("Maximum", "y", &["x", "w"], &[t()])],
            vec![4],
            [-1.0, 0.0, -0.0, 2.0],
            [0.0, 0.0, 0.0, 1.0],
        ),
        (
            "bound above",
            vec![constant(6.0), node("Minimum", "y", &["w", "x"], &[t()])],
            vec![4],
            [-1.0, 5.0, 6.0, 7.0],
            [1.0, 1.0, 0.0, 0.0],
        ),
        (
            "largest of equals",
            vec![ints("axes", &[1], &[1]), node("Max", "y", &["x", "axes"], &reduce)],
            vec![4],
            [1.0, 3.0, 3.0, 3.0],
            [0.0, 1.0, 0.0, 0.0],
        ),
        (
            "max pooling of equals",
            vec![node("MaxPool", "y", &["x"], &pool)],
            vec![1, 4, 1],
            [5.0, 5.0, 1.0, 1.0],
            [1.0, 0.0, 1.0, 0.0],
        ),
    ];
    for (name, nodes, row, x, expected) in cases {
        let model = model(&nodes, std::slice::from_ref(&row), T);
        let x = ArrayD::from_shape_vec(IxDyn(&[&[1], &row[..]].concat()), x.to_vec()).unwrap();
        // The third time it is known what comes, and one run goes both ways.
        for _ in 0..3 {
            let inputs = [model.tensor(&x).unwrap()];
            let mut ones = |values: &[TfTensor]| Ok(vec![values[0].filled_like(1.0)?]);
            let found = model.gradient(Point::at(&inputs), &Cut::input(), &Cut::output(), &mut ones).unwrap();
            let found: Vec<_> = found.gradients[0].to_array().unwrap().into_iter().collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}

/// A cotangent that is not the one that came before is not taken for it.
#[test]
fn guesses_are_checked() {
    let nodes = [node("Square", "y", &["x"], &[("T", AttrValue::kind(T))])];
    let model = model(&nodes, &[vec![2]], T);
    let inputs = [model.tensor(&arr2(&[[1.0, 2.0], [1.0, 2.0]]).into_dyn()).unwrap()];
    for factor in [1.0, 1.0, 1.0, 5.0, 5.0, 1.0, 1.0, 3.0] {
        let mut times = |values: &[TfTensor]| Ok(vec![values[0].filled_like(factor)?]);
        let found = model.gradient(Point::at(&inputs), &Cut::input(), &Cut::output(), &mut times).unwrap();
        let found = found.gradients[0].to_array().unwrap();
        assert_eq!(
            found.index_axis(Axis(0), 1).iter().copied().collect::<Vec<_>>(),
            [2.0 * factor, 4.0 * factor]
        );
    }
}
