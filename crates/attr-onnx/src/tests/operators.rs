//! Operators that become several layers, or another kind than their name says; their numbers are those of ONNX's own
//! backend tests, which `cargo xtask onnx-tests` runs.

use attr_core::{Activation, Op};

use super::{floats, import, list, message, names, node, shape};
use crate::proto::*;

/// The layers behind the input: name, kind and shape of each.
fn layers(dims: &[i64], constants: Vec<TensorProto>, nodes: Vec<NodeProto>) -> Vec<String> {
    let graph = import(17, dims, constants, nodes).unwrap();
    let layer = |node: &attr_core::Node| format!("{} {} {}", node.name, node.op.kind(), node.shape);
    graph.nodes()[1..].iter().map(layer).collect()
}

#[test]
fn products_of_whatever_operands() {
    let product = |a: &str, b: &str| vec![node("MatMul", "y", &[a, b], &["y"])];
    assert_eq!(layers(&[0, 3, 4], vec![floats("w", &[4, 5])], product("x", "w")), ["y linear [B, 3, 5]"]);
    assert_eq!(
        layers(&[0, 3, 4], vec![floats("w", &[2, 3])], product("w", "x")),
        ["w constant [2, 3]", "y matrix product [B, 2, 4]"]
    );
    assert_eq!(
        layers(&[0, 3, 4], vec![floats("w", &[4])], product("x", "w")),
        ["w constant [4]", "y_1 reshape [4, 1]", "y_2 matrix product [B, 3, 1]", "y reshape [B, 3]"]
    );
    assert_eq!(
        layers(&[0, 3, 4], vec![floats("w", &[3])], product("w", "x")),
        ["w constant [3]", "y_1 reshape [1, 3]", "y_2 matrix product [B, 1, 4]", "y reshape [B, 4]"]
    );
    let gemm = node("Gemm", "y", &["x", "w", "c"], &["y"]).int("transB", 1).float("beta", 0.5);
    let matrix = vec![floats("w", &[2, 3]), floats("c", &[1, 1, 2])];
    assert_eq!(
        layers(&[0, 3], matrix, vec![gemm]),
        [
            "y_1 linear [B, 2]",
            "c constant [1, 1, 2]",
            "y_2 constant []",
            "y_3 multiply [1, 1, 2]",
            "y add [1, B, 2]"
        ]
    );
}

#[test]
fn sums_by_names_of_axes() {
    let sum = |equation: &'static str, inputs: &[&str]| {
        vec![node("Einsum", "y", inputs, &["y"]).text("equation", equation)]
    };
    let all = |equation, inputs: &[&str], dims: &[i64]| {
        layers(dims, vec![floats("w", &[4, 5])], sum(equation, inputs))
    };
    assert_eq!(all("bij->bji", &["x"], &[0, 3, 4]), ["y transpose [B, 4, 3]"]);
    assert_eq!(all("bij->bj", &["x"], &[0, 3, 4]), ["y_1 sum [B, 4]", "y identity [B, 4]"]);
    assert_eq!(
        all("bii->bi", &["x"], &[0, 3, 3]),
        ["y_1 reshape [B, 9]", "y_2 gather [B, 3]", "y identity [B, 3]"]
    );
    assert_eq!(all("...j,jk->...k", &["x", "w"], &[0, 3, 4]).last().unwrap(), "y identity [B, 3, 5]");
    assert_eq!(all("bqd, bkd -> bqk", &["x", "x"], &[0, 3, 4]).last().unwrap(), "y identity [B, 3, 3]");
    // The result that is not said: each letter that occurs once, by the alphabet.
    assert_eq!(all("bzj,jk", &["x", "w"], &[0, 3, 4]).last().unwrap(), "y transpose [B, 5, 3]");
    for (equation, part) in [
        ("bij,jk->bik", "expected 2 inputs, found 1"),
        ("bi->b", "expected 2 axes"),
        ("b1j->b", "expected letters"),
        ("bij->bq", "in an input"),
        ("bij->bii", "each axis of the result once"),
        ("", "expected 0 axes"),
    ] {
        let message = message(import(17, &[0, 3, 4], vec![], sum(equation, &["x"])));
        assert!(message.contains(part) && message.contains("layer \"y\""), "{equation}: {message}");
    }
}

#[test]
fn entries_that_are_taken() {
    let slice = |start, end, step| {
        let lists = vec![list("s", &[start]), list("e", &[end]), list("a", &[1]), list("t", &[step])];
        let graph = import(17, &[0, 5], lists, vec![node("Slice", "y", &["x", "s", "e", "a", "t"], &["y"])]);
        graph.map(|graph| graph.node(1).op.clone())
    };
    assert_eq!(slice(1, 4, 1).unwrap(), Op::Slice { axis: 1, start: 1, len: 3 });
    assert_eq!(slice(4, -6, -2).unwrap(), Op::Gather { axis: 1, entries: vec![4, 2, 0] });
    assert_eq!(slice(-4, 99, 3).unwrap(), Op::Gather { axis: 1, entries: vec![1, 4] });
    assert!(slice(0, 5, 0).unwrap_err().to_string().contains("step other than 0"));
    assert!(slice(3, 1, 1).unwrap_err().to_string().contains("0 entries"));
    let pad = |mode: &'static str, pads: [i64; 4]| {
        let pad = node("Pad", "y", &["x", "p"], &["y"]).text("mode", mode);
        let graph = import(17, &[0, 3], vec![list("p", &pads)], vec![pad]).map_err(|e| e.to_string())?;
        Ok::<_, String>(graph.nodes()[1..].iter().map(|node| node.op.clone()).collect::<Vec<_>>())
    };
    let gather = |entries: &[usize]| vec![Op::Gather { axis: 1, entries: entries.to_vec() }];
    assert_eq!(pad("reflect", [0, 4, 0, 3]).unwrap(), gather(&[0, 1, 2, 1, 0, 1, 2, 1, 0, 1]));
    assert_eq!(pad("edge", [0, 1, 0, 2]).unwrap(), gather(&[0, 0, 1, 2, 2, 2]));
    assert_eq!(pad("wrap", [0, 1, 0, 2]).unwrap(), gather(&[2, 0, 1, 2, 0, 1]));
    assert_eq!(
        pad("constant", [0, -1, 0, 2]).unwrap(),
        [Op::Slice { axis: 1, start: 1, len: 2 }, Op::Pad { padding: vec![(0, 0), (0, 2)], value: 0.0 }]
    );
    assert!(pad("constant", [0, -1, 0, -2]).unwrap_err().contains("leave nothing"));
    assert!(pad("edge", [1, 0, 0, 0]).unwrap_err().contains("of the batch"));
    assert!(pad("mirror", [0, 1, 0, 0]).unwrap_err().contains("attribute mode=mirror"));
}

#[test]
fn whole_numbers_stay_whole() {
    let cast = |to: i64, x: &str, y: &str| node("Cast", y, &[x], &[y]).int("to", to);
    let (int, bool, float) = (7, 9, 1);
    let nodes = vec![
        cast(int, "x", "towards_0"),
        cast(float, "towards_0", "same"),
        cast(bool, "same", "truth"),
        node("Not", "not", &["truth"], &["not"]),
        node("Div", "ratio", &["towards_0", "towards_0"], &["ratio"]),
        node("Div", "exact", &["same", "same"], &["exact"]),
    ];
    let kinds = layers(&[0, 3], vec![], nodes);
    let kinds: Vec<_> = kinds.iter().map(|layer| layer.split_once(" [").unwrap().0).collect();
    assert_eq!(
        kinds,
        [
            "towards_0 truncate",
            "same identity",
            "truth_1 constant",
            "truth comparison",
            "not_1 constant",
            "not comparison",
            "ratio_1 divide",
            "ratio truncate",
            "exact divide"
        ]
    );
    let mean = vec![cast(int, "x", "i"), node("ReduceMean", "m", &["i"], &["y"]).ints("axes", &[1])];
    assert!(message(import(17, &[0, 3], vec![], mean)).contains("ReduceMean of whole numbers (layer \"m\")"));
}

#[test]
fn a_known_exponent_is_an_attribute() {
    let power = |exponent: TensorProto| {
        import(17, &[0, 2], vec![exponent], vec![node("Pow", "y", &["x", "e"], &["y"])])
    };
    let one = TensorProto { float_data: vec![-0.5], ..floats("e", &[1]) };
    assert_eq!(power(one).unwrap().node(1).op, Op::Activation(Activation::Power { exponent: -0.5 }));
    assert_eq!(names(&power(floats("e", &[2])).unwrap()), ["x", "e", "y"]);
    // As many axes as the exponent has.
    assert_eq!(shape(&power(floats("e", &[1, 1, 1])).unwrap()), "[1, B, 2]");
}
