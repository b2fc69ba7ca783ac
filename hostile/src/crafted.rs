//! Files that are written to take much memory or time: each repeats what takes the most of the fewest bytes.

mod program;
mod weights;

use crate::Reader;
use crate::wire::{Field, Value, bytes};

/// About how many bytes each file has.
pub const SIZE: usize = 1 << 20;

/// How many there are.
pub const COUNT: usize = FILES.len() + program::FILES.len() + weights::FILES.len();

/// File number `number` of about `size` bytes, with its name; `None` behind the last one.
pub fn file(number: usize, size: usize) -> Option<(&'static str, Reader, Vec<u8>)> {
    if let Some((name, reader, file)) = FILES.get(number) {
        return Some((name, *reader, bytes(&file(size))));
    }
    let programs = program::FILES.iter().map(|(name, file)| (*name, Reader::Program, file));
    let weights = weights::FILES.iter().map(|(name, file)| (*name, Reader::Weights, file));
    let (name, reader, file) = programs.chain(weights).nth(number - FILES.len())?;
    Some((name, reader, file(size)))
}

type File = fn(usize) -> Vec<Field>;

const FILES: &[(&str, Reader, File)] = &[
    ("onnx: empty layers", Reader::Onnx, |n| onnx(empty(1, n / 2))),
    ("onnx: empty attributes", Reader::Onnx, |n| onnx(vec![message(1, empty(5, n / 2))])),
    ("onnx: empty weights", Reader::Onnx, |n| onnx(empty(5, n / 2))),
    ("onnx: empty inputs", Reader::Onnx, |n| onnx(empty(11, n / 2))),
    ("onnx: empty outputs", Reader::Onnx, |n| onnx(empty(12, n / 2))),
    ("onnx: empty operator sets", Reader::Onnx, |n| empty(8, n / 2)),
    ("onnx: empty notes", Reader::Onnx, |n| empty(14, n / 2)),
    ("onnx: empty places of weights", Reader::Onnx, |n| onnx(vec![message(5, empty(13, n / 2))])),
    ("onnx: empty names", Reader::Onnx, |n| onnx(vec![message(1, empty(1, n / 2))])),
    ("onnx: axes of an input", Reader::Onnx, |n| {
        let shape = message(2, empty(1, n / 2));
        onnx(vec![message(11, vec![message(2, vec![message(1, vec![shape])])])])
    }),
    ("onnx: axes of a weight", Reader::Onnx, |n| {
        onnx(vec![message(5, std::iter::repeat_n(number(1, 1), n / 2).collect())])
    }),
    ("onnx: small whole numbers", Reader::Onnx, |n| {
        let numbers = Field { number: 7, value: Value::Bytes(vec![1; n]) };
        let weight = message(5, vec![text(8, "w"), number(1, n as u64), number(2, 7), numbers]);
        onnx(vec![
            weight,
            input(),
            layer("Add", &["w", "w"], "y"),
            layer("Add", &["y", "w"], "z"),
            output("z"),
        ])
    }),
    ("onnx: small truth values", Reader::Onnx, |n| {
        let numbers = Field { number: 9, value: Value::Bytes(vec![1; n]) };
        let weight = message(5, vec![text(8, "w"), number(1, n as u64), number(2, 9), numbers]);
        onnx(vec![weight, input(), layer("Identity", &["w"], "y"), layer("Relu", &["y"], "z"), output("z")])
    }),
    ("onnx: numbers of an attribute", Reader::Onnx, |n| {
        let attribute =
            message(5, std::iter::repeat_n(number(8, 1), n / 2).chain([text(1, "axes")]).collect());
        let mut fields = layer_fields("Unsqueeze", &["x"], "y");
        fields.push(attribute);
        onnx(vec![input(), message(1, fields), output("y")])
    }),
    ("onnx: a chain of layers", Reader::Onnx, |n| {
        let layers = n / 24;
        let name = |i: usize| if i == 0 { "x".into() } else { format!("{i:x}") };
        let chain = (0..layers).map(|i| layer("Relu", &[&name(i)], &name(i + 1)));
        onnx([input()].into_iter().chain(chain).chain([output(&name(layers))]).collect())
    }),
    ("onnx: a layer that reads one value over and over", Reader::Onnx, |n| {
        onnx(vec![input(), layer("Sum", &vec!["x"; n / 3], "y"), output("y")])
    }),
    ("onnx: a layer that joins one value over and over", Reader::Onnx, |n| {
        let mut fields = layer_fields("Concat", &vec!["x"; n / 3], "y");
        fields.push(message(5, vec![text(1, "axis"), number(3, 1), number(20, 2)]));
        onnx(vec![input(), message(1, fields), output("y")])
    }),
    ("onnx: one weight read by many", Reader::Onnx, |n| {
        let weight = message(
            5,
            vec![
                text(8, "w"),
                number(1, n as u64 / 8),
                number(2, 1),
                Field { number: 9, value: Value::Bytes(vec![0; n / 8 * 4]) },
            ],
        );
        let name = |i: usize| format!("{i:x}");
        let layers = (0..n / 48).map(|i| layer("Relu", &["w"], &name(i)));
        onnx([input(), weight].into_iter().chain(layers).chain([output("0")]).collect())
    }),
    ("onnx: a long name of what is not supported", Reader::Onnx, |n| {
        let mut fields = layer_fields("Dropout", &["x"], "y");
        fields.extend([text(2, "mask"), text(3, &"long".repeat(n / 8))]);
        let readers = (0..n / 40).map(|i| layer("Relu", &["mask"], &format!("{i:x}")));
        onnx([input(), message(1, fields)].into_iter().chain(readers).chain([output("0")]).collect())
    }),
    ("onnx: a constant that doubles", Reader::Onnx, |_| doubling(1, &[0; 8], 60)),
    ("onnx: whole numbers that double", Reader::Onnx, |_| doubling(7, &[0; 16], 60)),
    ("onnx: a sum of many whole numbers", Reader::Onnx, |_| {
        let shape = message(5, vec![text(8, "shape"), number(1, 1), number(2, 7), number(7, 1 << 20)]);
        let one = message(5, vec![number(1, 1), number(2, 7), number(7, 1)]);
        let mut fields = layer_fields("ConstantOfShape", &["shape"], "a");
        fields.push(message(5, vec![text(1, "value"), number(20, 4), one]));
        onnx(vec![
            input(),
            shape,
            message(1, fields),
            layer("Add", &["a", "a"], "b"),
            layer("Mul", &["a", "b"], "c"),
            layer("Add", &["x", "c"], "y"),
            output("y"),
        ])
    }),
    ("onnx: a constant of a shape", Reader::Onnx, |_| {
        let shape = |name: &str, lens: &[u64]| {
            let data = lens.iter().map(|&len| number(7, len));
            message(
                5,
                [text(8, name), number(1, lens.len() as u64), number(2, 7)].into_iter().chain(data).collect(),
            )
        };
        onnx(vec![
            input(),
            shape("large", &[1 << 15, 1 << 15]),
            shape("small", &[1 << 10, 1 << 11]),
            layer("ConstantOfShape", &["small"], "a"),
            layer("Add", &["a", "a"], "b"),
            layer("ConstantOfShape", &["large"], "c"),
            layer("Add", &["x", "c"], "y"),
            output("y"),
        ])
    }),
    ("onnx: groups within groups", Reader::Onnx, |n| {
        vec![Field { number: 7, value: Value::Bytes(vec![0x0b; n]) }]
    }),
    ("graphdef: empty operators", Reader::GraphDef, |n| empty(1, n / 2)),
    ("graphdef: empty graphs", Reader::GraphDef, |n| empty(2, n / 2)),
    ("graphdef: empty operators of a model", Reader::GraphDef, |n| {
        vec![message(2, vec![message(2, empty(1, n / 2))])]
    }),
    ("graphdef: empty functions", Reader::GraphDef, |n| {
        vec![message(2, vec![message(2, vec![message(2, empty(1, n / 2))])])]
    }),
    ("graphdef: empty arguments", Reader::GraphDef, |n| {
        let function = message(1, vec![message(1, empty(2, n / 2))]);
        vec![message(2, vec![message(2, vec![message(2, vec![function])])])]
    }),
    ("graphdef: attributes", Reader::GraphDef, |n| {
        let attribute = |i: usize| message(5, vec![text(1, &format!("{i:x}"))]);
        vec![message(1, (0..n / 9).map(attribute).collect())]
    }),
    ("graphdef: shapes of an attribute", Reader::GraphDef, |n| {
        let list = message(1, empty(7, n / 2));
        vec![message(1, vec![message(5, vec![text(1, "shapes"), message(2, vec![list])])])]
    }),
    ("graphdef: texts of an attribute", Reader::GraphDef, |n| {
        let list = message(1, empty(2, n / 2));
        vec![message(1, vec![message(5, vec![text(1, "texts"), message(2, vec![list])])])]
    }),
    ("graphdef: axes of an attribute", Reader::GraphDef, |n| {
        let shape = message(7, empty(2, n / 2));
        vec![message(1, vec![message(5, vec![text(1, "shape"), message(2, vec![shape])])])]
    }),
    ("graphdef: a chain of operators", Reader::GraphDef, |n| {
        let kind = |name| message(5, vec![text(1, name), message(2, vec![number(6, 1)])]);
        let axes = [-1i64, 8].map(|size| message(2, vec![number(1, size as u64)]));
        let shape = message(5, vec![text(1, "shape"), message(2, vec![message(7, axes.into())])]);
        let mut nodes = vec![message(1, vec![text(1, "0"), text(2, "Placeholder"), kind("dtype"), shape])];
        let relu = |i: usize| {
            message(
                1,
                vec![
                    text(1, &format!("{:x}", i + 1)),
                    text(2, "Relu"),
                    text(3, &format!("{i:x}")),
                    kind("T"),
                ],
            )
        };
        nodes.extend((0..n / 40).map(relu));
        nodes
    }),
    ("graphdef: functions that call one another", Reader::GraphDef, |n| {
        // Function i calls function i + 1 as often as its own bytes allow, sixteen deep.
        let calls = n / 16 / 40;
        let function = |i: usize| {
            let signature = message(1, vec![text(1, &format!("f{i}")), message(3, vec![text(1, "y")])]);
            let call = |j: usize| {
                let input = if j == 0 { None } else { Some(text(3, &format!("{:x}:y:0", j - 1))) };
                let fields = [text(1, &format!("{j:x}")), text(2, &format!("f{}", i + 1))];
                message(3, fields.into_iter().chain(input).collect())
            };
            let ret = message(4, vec![text(1, "y"), text(2, &format!("{:x}:y:0", calls - 1))]);
            message(1, [signature].into_iter().chain((0..calls).map(call)).chain([ret]).collect())
        };
        let library = message(2, (0..16).map(function).collect());
        vec![
            message(1, vec![text(1, "x"), text(2, "Placeholder")]),
            message(1, vec![text(1, "y"), text(2, "f0")]),
            library,
        ]
    }),
];

/// A model of these parts of a graph.
fn onnx(graph: Vec<Field>) -> Vec<Field> {
    vec![message(8, vec![number(2, 17)]), message(7, graph)]
}

/// The input `x` of eight numbers.
fn input() -> Field {
    let axis = |len: u64| message(1, vec![number(1, len)]);
    let tensor = vec![number(1, 1), message(2, vec![message(1, Vec::new()), axis(8)])];
    message(11, vec![text(1, "x"), message(2, vec![message(1, tensor)])])
}

fn output(name: &str) -> Field {
    message(12, vec![text(1, name)])
}

fn layer(operator: &str, inputs: &[&str], output: &str) -> Field {
    message(1, layer_fields(operator, inputs, output))
}

fn layer_fields(operator: &str, inputs: &[&str], output: &str) -> Vec<Field> {
    inputs.iter().map(|name| text(1, name)).chain([text(2, output), text(4, operator)]).collect()
}

/// A constant of two numbers of a kind, joined to itself so often.
fn doubling(kind: u64, numbers: &[u8], times: usize) -> Vec<Field> {
    let data = Field { number: 9, value: Value::Bytes(numbers.to_vec()) };
    let weight = message(5, vec![text(8, "0"), number(1, 2), number(2, kind), data]);
    let double = |i: usize| {
        let name = i.to_string();
        let mut fields = layer_fields("Concat", &[&name, &name], &(i + 1).to_string());
        fields.push(message(5, vec![text(1, "axis"), number(3, 0), number(20, 2)]));
        message(1, fields)
    };
    let layers = (0..times).map(double);
    onnx([input(), weight].into_iter().chain(layers).chain([output(&times.to_string())]).collect())
}

fn empty(number: u64, times: usize) -> Vec<Field> {
    vec![message(number, Vec::new()); times]
}

fn message(number: u64, fields: Vec<Field>) -> Field {
    Field { number, value: Value::Fields(fields) }
}

fn number(number: u64, value: u64) -> Field {
    Field { number, value: Value::Varint(value) }
}

fn text(number: u64, text: &str) -> Field {
    Field { number, value: Value::Bytes(text.into()) }
}
