//! What is worked out while a file is read.

use std::collections::HashMap;

use attr_core::{Graph, Param};
use ndarray::arr1;
use prost::Message;

use super::{import, list, message, model, names, node, shape};
use crate::proto::*;
use crate::{Error, Numbers, Options, decode, decode_with};

fn numbers(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    let (dims, float_data) = (dims.to_vec(), data.to_vec());
    TensorProto { name: name.into(), dims, data_type: 1, float_data, ..TensorProto::default() }
}

/// The numbers that an operator makes of constants, as the network's output.
fn folded(node: NodeProto, constants: Vec<TensorProto>) -> Result<(Vec<f64>, Vec<usize>), Error> {
    let graph = import(17, &[0, 1], constants, vec![node])?;
    let param: &Param = &graph.params()[graph.node(graph.outputs()[0]).params[0]];
    assert_eq!(graph.nodes().len(), 2, "{:?}", names(&graph));
    Ok((param.to_f64().unwrap().iter().copied().collect(), param.dims().to_vec()))
}

#[test]
fn arithmetic_and_moves() {
    let two = || list("i", &[7, -7]);
    let by = || list("j", &[3, 3]);
    let floats = || numbers("f", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let operator = |op_type, inputs: &[&str]| node(op_type, "y", inputs, &["y"]);
    type Case = (NodeProto, Vec<TensorProto>, Vec<f64>, Vec<usize>);
    let cases: Vec<Case> = vec![
        // Whole numbers are divided towards 0; a rest has the sign of the divisor, or of the dividend.
        (operator("Div", &["i", "j"]), vec![two(), by()], vec![2.0, -2.0], vec![2]),
        (operator("Mod", &["i", "j"]), vec![two(), by()], vec![1.0, 2.0], vec![2]),
        (operator("Mod", &["i", "j"]).int("fmod", 1), vec![two(), by()], vec![1.0, -1.0], vec![2]),
        (operator("Abs", &["i"]), vec![two()], vec![7.0, 7.0], vec![2]),
        (operator("Max", &["i", "j"]), vec![two(), by()], vec![7.0, 3.0], vec![2]),
        (operator("Greater", &["i", "j"]), vec![two(), by()], vec![1.0, 0.0], vec![2]),
        (operator("Sqrt", &["f"]), vec![numbers("f", &[1], &[6.25])], vec![2.5], vec![1]),
        (operator("Pow", &["f", "i"]), vec![numbers("f", &[], &[0.5]), list("i", &[-2])], vec![4.0], vec![1]),
        (
            operator("Where", &["i", "f", "g"]),
            vec![list("i", &[1, 0]), numbers("f", &[2], &[1.0, 2.0]), numbers("g", &[1], &[9.0])],
            vec![1.0, 9.0],
            vec![2],
        ),
        (
            operator("Slice", &["f", "s", "e", "a", "t"]),
            vec![floats(), list("s", &[-1]), list("e", &[-9]), list("a", &[1]), list("t", &[-2])],
            vec![3.0, 1.0, 6.0, 4.0],
            vec![2, 2],
        ),
        (
            operator("Tile", &["f", "r"]),
            vec![floats(), list("r", &[1, 2])],
            vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.0, 5.0, 6.0],
            vec![2, 6],
        ),
        (operator("Trilu", &["f"]), vec![floats()], vec![1.0, 2.0, 3.0, 0.0, 5.0, 6.0], vec![2, 3]),
        (
            operator("ReduceProd", &["f"]).ints("axes", &[0]).int("keepdims", 0),
            vec![floats()],
            vec![4.0, 10.0, 18.0],
            vec![3],
        ),
        (
            operator("CumSum", &["f", "a"]),
            vec![floats(), list("a", &[1])],
            vec![1.0, 3.0, 6.0, 4.0, 9.0, 15.0],
            vec![2, 3],
        ),
        (operator("NonZero", &["i"]), vec![list("i", &[0, 5, 0, 6])], vec![1.0, 3.0], vec![1, 2]),
        (
            operator("ScatterND", &["f", "i", "u"]),
            vec![
                floats(),
                TensorProto { dims: vec![2, 2], ..list("i", &[0, 1, -1, 2]) },
                numbers("u", &[2], &[8.0, 9.0]),
            ],
            vec![1.0, 8.0, 3.0, 4.0, 5.0, 9.0],
            vec![2, 3],
        ),
        (
            operator("Range", &["a", "b", "c"]),
            vec![list("a", &[1]), list("b", &[8]), list("c", &[3])],
            vec![1.0, 4.0, 7.0],
            vec![3],
        ),
    ];
    for (node, constants, expected, dims) in cases {
        let what = node.op_type.clone();
        assert_eq!(folded(node, constants).unwrap(), (expected, dims), "{what}");
    }
    let outside = TensorProto { dims: vec![1, 2], ..list("i", &[0, 3]) };
    let scatter = operator("ScatterND", &["f", "i", "u"]);
    let broken = folded(scatter, vec![floats(), outside, numbers("u", &[1], &[8.0])]);
    assert!(broken.unwrap_err().to_string().contains("expected indices into [2, 3]"));
}

/// What exporters write of an expansion: -1 means that an axis stays as it is.
#[test]
fn a_constant_expanded_to_the_batch_is_a_layer() {
    let nodes = vec![
        node("Shape", "", &["x"], &["shape"]).int("start", 0).int("end", 1),
        node("Concat", "", &["shape", "rest"], &["wanted"]).int("axis", 0),
        node("Equal", "", &["wanted", "minus"], &["open"]),
        node("Where", "", &["open", "ones", "wanted"], &["to"]),
        node("Expand", "token", &["class_token", "to"], &["rows"]),
        node("Concat", "with", &["rows", "x"], &["y"]).int("axis", 1),
    ];
    let constants = vec![
        list("rest", &[-1, -1]),
        list("minus", &[-1]),
        list("ones", &[1, 1, 1]),
        numbers("class_token", &[1, 1, 2], &[0.5, 0.25]),
    ];
    let graph = import(17, &[0, 3, 2], constants, nodes).unwrap();
    assert_eq!(names(&graph), ["x", "class_token", "token", "with"]);
    assert_eq!(shape(&graph), "[B, 4, 2]");
}

#[test]
fn half_precision_is_widened() {
    let bits = |bits: [u16; 2]| Some(bits.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<_>>().into());
    let raw = |data_type, raw_data| TensorProto {
        name: "w".into(),
        dims: vec![2],
        data_type,
        raw_data,
        ..TensorProto::default()
    };
    // 1.5 and the smallest number above 0 that half precision has; 1.5 and -2 in bfloat16.
    let cases = [
        (raw(TensorProto::FLOAT16, bits([0x3e00, 0x0001])), [1.5, 2f64.powi(-24)]),
        (raw(TensorProto::BFLOAT16, bits([0x3fc0, 0xc000])), [1.5, -2.0]),
        (TensorProto { int32_data: vec![0x3e00, 0xc000], ..raw(TensorProto::FLOAT16, None) }, [1.5, -2.0]),
    ];
    for (weight, expected) in cases {
        let graph = import(17, &[0, 2], vec![weight], vec![node("Add", "y", &["x", "w"], &["y"])]).unwrap();
        assert_eq!(graph.params()[0].to_f64().unwrap().iter().copied().collect::<Vec<_>>(), expected);
    }
}

fn read(bytes: &[u8], options: Options) -> Result<Graph, Error> {
    decode_with(bytes, &options)
}

#[test]
fn inputs_held_at_values() {
    let mut file = model(17, &[0, 2], vec![], vec![node("Gather", "rows", &["table", "x"], &["y"])]);
    let input = |name: &str, elem_type| ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto {
                    dim: vec![DimensionProto { value: Some(Dimension::Value(2)) }; 2],
                }),
            }),
        }),
    };
    file.graph.as_mut().unwrap().input =
        vec![input("x", TensorProto::INT64), input("table", TensorProto::FLOAT)];
    let bytes = file.encode_to_vec();
    assert!(message(decode(&bytes)).contains("Gather of the batch"));
    let table = Numbers::F32(ndarray::array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
    let hold = |name: &str, value| Options {
        constants: HashMap::from([(name.into(), value)]),
        ..Options::default()
    };
    let graph = read(&bytes, hold("table", table.clone())).unwrap();
    assert_eq!((graph.node(1).op.kind(), shape(&graph)), ("embedding", "[B, 2, 2]".into()));
    assert!(message(read(&bytes, hold("tabel", table))).contains("input \"tabel\""));
}

#[test]
fn networks_without_a_batch() {
    let file = model(
        17,
        &[2, 3],
        vec![],
        vec![node("Transpose", "t", &["x"], &["1"]), node("Softmax", "s", &["1"], &["y"])],
    );
    let bytes = file.encode_to_vec();
    assert!(message(decode(&bytes)).contains("batch"));
    let options = Options { without_batch: true, ..Options::default() };
    let graph = read(&bytes, options.clone()).unwrap();
    assert_eq!(shape(&graph), "[3, 2]");
    let again = read(&crate::encode(&graph).unwrap(), options).unwrap();
    assert_eq!(again, graph);
}

#[test]
fn arrays_in_files_of_their_own() {
    let bytes = list("l", &[1, -2]).encode_to_vec();
    assert_eq!(Numbers::decode(&bytes).unwrap(), Numbers::I64(arr1(&[1, -2]).into_dyn()));
    assert!(Numbers::decode(b"PK").is_err());
}
