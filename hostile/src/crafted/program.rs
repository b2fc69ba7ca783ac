//! Programs that are written to take much memory or time.

use super::weights::long_checkpoint;
use crate::zip;

type File = fn(usize) -> Vec<u8>;

pub(super) const FILES: &[(&str, File)] = &[
    ("program: one member under many names", |n| zip::repeated(many(n / 50), |i| format!("{i:x}"), b"")),
    ("program: members without a byte", |n| {
        let names: Vec<_> = (0..many(n / 90)).map(|i| format!("{i:x}")).collect();
        zip::bytes(&names.iter().map(|name| (name.as_str(), Vec::new())).collect::<Vec<_>>())
    }),
    ("program: a member with a long name", |n| zip::bytes(&[(&"a/".repeat(n.min(1 << 16) / 2 - 1), vec![])])),
    ("program: brackets within brackets", |n| archive(&["[".repeat(n / 2), "]".repeat(n / 2)].concat())),
    ("program: brackets within an argument", |n| {
        program(
            "",
            &node(
                "relu",
                &argument("self", "as_ints", &["[".repeat(n / 2), "]".repeat(n / 2)].concat()),
                "y",
            ),
            "y",
        )
    }),
    ("program: numbers of an argument", |n| argument_of(&list(n / 2, |_| "1".into()))),
    ("program: empty lists of an argument", |n| argument_of(&list(n / 3, |_| "[]".into()))),
    ("program: lists of an argument", |n| argument_of(&list(n / 4, |_| "[1]".into()))),
    ("program: objects of an argument", |n| argument_of(&list(n / 7, |_| r#"{"":1}"#.into()))),
    ("program: fields of an argument", |n| {
        argument_of(&["{", &joined(n / 10, |i| format!(r#""{i:x}":1"#)), "}"].concat())
    }),
    ("program: numbers that are none", |n| argument_of(&list(n / 4, |_| "NaN".into()))),
    ("program: empty arguments", |n| {
        program("", &node("relu", &joined(n / 20, |_| r#"{"name":"","arg":{}}"#.into()), "y"), "y")
    }),
    ("program: empty values", |n| {
        program(
            "",
            &format!(r#"{{"target":"","inputs":[],"outputs":{}}}"#, list(n / 3, |_| "{}".into())),
            "y",
        )
    }),
    ("program: empty operators", |n| {
        program("", &joined(n / 36, |_| r#"{"target":"","inputs":[],"outputs":[]}"#.into()), "x")
    }),
    ("program: operators that nobody knows", |n| {
        program("", &joined(n / 44, |i| format!(r#"{{"target":"{i:x}","inputs":[],"outputs":[]}}"#)), "x")
    }),
    ("program: a chain of layers", |n| {
        let count = n / 170;
        let name = |i: usize| if i == 0 { "x".into() } else { format!("{i:x}") };
        let nodes = joined(count, |i| node("relu", &tensor("self", &name(i)), &name(i + 1)));
        program(&values(1..count + 1), &nodes, &name(count))
    }),
    ("program: one value changed over and over", |n| {
        let count = n / 170;
        let nodes = joined(count, |i| node("relu_", &tensor("self", "x"), &format!("{i:x}")));
        program(&values(0..count), &nodes, "x")
    }),
    ("program: each value changed in place, and the first read", |n| {
        let count = n / 170;
        let name = |i: usize| if i == 0 { "x".into() } else { format!("{i:x}") };
        let nodes = joined(count, |i| node("relu_", &tensor("self", &name(i)), &name(i + 1)));
        program(&values(1..count + 1), &nodes, "x")
    }),
    ("program: a long chain of changes that is read over and over", |n| {
        let count = n / 340;
        let name = |i: usize| if i == 0 { "x".into() } else { format!("{i:x}") };
        let changes = joined(count, |i| node("relu_", &tensor("self", &name(i)), &name(i + 1)));
        let read = argument("tensors", "as_tensors", &list(n / 30, |_| r#"{"name":"x"}"#.into()));
        program(
            &(values(1..count + 1) + r#","y":{"dtype":7,"sizes":[]}"#),
            &format!("{changes},{}", node("cat", &format!("{read},{}", argument("dim", "as_int", "1")), "y")),
            "y",
        )
    }),
    ("program: a value that is changed into itself", |_| {
        let nodes = format!(
            "{},{}",
            node("relu_", &tensor("self", "x"), "x"),
            node("relu", &tensor("self", "x"), "y")
        );
        program("", &nodes, "y")
    }),
    ("program: values that are changed into one another", |_| {
        let nodes = [("x", "a"), ("b", "c"), ("a", "b"), ("c", "a"), ("a", "y")];
        let nodes: Vec<_> = nodes.iter().map(|(from, to)| node("relu_", &tensor("self", from), to)).collect();
        program("", &nodes.join(","), "y")
    }),
    ("program: a view of itself", |_| {
        let nodes = [("detach", "y", "y"), ("relu_", "y", "z"), ("relu", "y", "a")];
        let nodes: Vec<_> = nodes.iter().map(|(op, from, to)| node(op, &tensor("self", from), to)).collect();
        program(&values(10..11), &nodes.join(","), "a")
    }),
    ("program: many views and many changes", |n| {
        let count = n / 380;
        let views = joined(count, |i| node("detach", &tensor("self", "x"), &format!("{i:x}")));
        let changes = joined(count, |i| node("relu_", &tensor("self", "x"), &format!("{i:x}.")));
        let end = node("relu", &tensor("self", "x"), "y");
        program(&values(0..count), &format!("{views},{changes},{end}"), "y")
    }),
    ("program: views of views and many changes", |n| {
        let count = n / 380;
        // Thirty deep, over and over.
        let from = |i: usize| if i.is_multiple_of(30) { "x".into() } else { format!("{:x}", i - 1) };
        let views = joined(count, |i| node("detach", &tensor("self", &from(i)), &format!("{i:x}")));
        let changes = joined(count, |i| node("relu_", &tensor("self", "x"), &format!("{i:x}.")));
        let end = node("relu", &tensor("self", "x"), "y");
        program(&values(0..count), &format!("{views},{changes},{end}"), "y")
    }),
    ("program: changes through thirty views", |n| {
        let name = |i: usize| if i == 0 { "x".into() } else { format!("v{i}") };
        let metas: Vec<_> = (1..31).map(|i| meta(&name(i), "2,3")).collect();
        let dims = format!("{},{}", argument("dim0", "as_int", "0"), argument("dim1", "as_int", "1"));
        let views =
            joined(30, |i| node("transpose", &format!("{},{dims}", tensor("self", &name(i))), &name(i + 1)));
        let changes = joined(n / 160, |i| node("relu_", &tensor("self", "v30"), &format!("{i:x}")));
        let end = node("relu", &tensor("self", "x"), "y");
        program(&metas.join(","), &format!("{views},{changes},{end}"), "y")
    }),
    ("program: a layer that joins one value over and over", |n| {
        let all = argument("tensors", "as_tensors", &list(n / 13, |_| r#"{"name":"x"}"#.into()));
        let given = format!("{all},{}", argument("dim", "as_int", "1"));
        program("", &node("cat", &given, "y"), "y")
    }),
    ("program: a layer that stacks one value over and over", |n| {
        let all = argument("tensors", "as_tensors", &list(n / 13, |_| r#"{"name":"x"}"#.into()));
        program(&meta("y", "1,2"), &node("stack", &all, "y"), "y")
    }),
    ("program: a layer of many parts within a module of a long name", |n| {
        let all = argument("tensors", "as_tensors", &list(n / 26, |_| r#"{"name":"x"}"#.into()));
        let module = format!(r#""metadata":{{"nn_module_stack":"a,{},M"}}"#, "m".repeat(n / 2));
        let stack = node("stack", &all, "y").replacen('{', &format!("{{{module},"), 1);
        program(&meta("y", "1,2"), &stack, "y")
    }),
    ("program: a layer that rolls over and over", |n| {
        let (shifts, axes) = (list(n / 4, |_| "1".into()), list(n / 4, |_| "1".into()));
        let given =
            [tensor("self", "x"), argument("shifts", "as_ints", &shifts), argument("dims", "as_ints", &axes)];
        program(&meta("y", "2,8"), &node("roll", &given.join(","), "y"), "y")
    }),
    ("program: parts of a value of many axes", |n| {
        let sizes = joined(n / 28, |_| r#"{"as_int":1}"#.into());
        let parts = list(n / 26, |_| r#"{"name":"y"}"#.into());
        let split = format!(
            r#"{{"target":"torch.ops.aten.split.default","inputs":[{}],"outputs":[{{"as_tensors":{parts}}}]}}"#,
            tensor("self", "x")
        );
        program(&format!(r#""y":{{"dtype":7,"sizes":[{sizes}]}}"#), &split, "y")
    }),
    ("program: parts of a value with a length of many words", |n| {
        let size = format!(r#"{{"as_expr":{{"expr_str":"{}"}}}}"#, "s".repeat(n / 2));
        let parts = list(n / 26, |_| r#"{"name":"y"}"#.into());
        let split = format!(
            r#"{{"target":"torch.ops.aten.split.default","inputs":[{}],"outputs":[{{"as_tensors":{parts}}}]}}"#,
            tensor("self", "x")
        );
        program(&format!(r#""y":{{"dtype":7,"sizes":[{size}]}}"#), &split, "y")
    }),
    ("program: masks of attention", |n| {
        let count = n / 400;
        let given = ["query", "key", "value"].map(|name| tensor(name, "q")).join(",");
        let given = format!("{given},{}", argument("is_causal", "as_bool", "true"));
        let nodes = joined(count, |i| node("scaled_dot_product_attention", &given, &format!("{i:x}")));
        program(&[meta("q", "2048,2048"), values(0..count)].join(","), &nodes, "0")
    }),
    ("program: a mask of very many tokens", |_| {
        let given = ["query", "key", "value"].map(|name| tensor(name, "q")).join(",");
        let given = format!("{given},{}", argument("is_causal", "as_bool", "true"));
        let nodes = node("scaled_dot_product_attention", &given, "y");
        program(&meta("q", "4611686018427387904,4"), &nodes, "y")
    }),
    ("program: a mask of fewer than no tokens", |_| {
        let given = ["query", "key", "value"].map(|name| tensor(name, "q")).join(",");
        let given = format!("{given},{}", argument("is_causal", "as_bool", "true"));
        let nodes = node("scaled_dot_product_attention", &given, "y");
        program(&meta("q", "-9223372036854775808,-1"), &nodes, "y")
    }),
    ("program: long ranges", |n| {
        let count = n / 160;
        let nodes =
            joined(count, |i| node("arange", &argument("end", "as_int", "4000000"), &format!("{i:x}")));
        let metas = joined(count, |i| meta(&format!("{i:x}"), "4000000"));
        program(&metas, &nodes, "0")
    }),
    ("program: norms without weights", |n| {
        let count = n / 200;
        let given = tensor("input", "q");
        let given = format!("{given},{}", argument("normalized_shape", "as_ints", "[2048,2000]"));
        let nodes = joined(count, |i| node("layer_norm", &given, &format!("{i:x}")));
        program(&[meta("q", "1,2048,2000"), values(0..count)].join(","), &nodes, "0")
    }),
    ("program: norms of groups without weights", |n| {
        let count = n / 200;
        let given = format!("{},{}", tensor("input", "q"), argument("num_groups", "as_int", "2"));
        let nodes = joined(count, |i| node("group_norm", &given, &format!("{i:x}")));
        program(&[meta("q", "1,4000000"), values(0..count)].join(","), &nodes, "0")
    }),
    ("program: a large number everywhere", |n| {
        let count = n / 200;
        let nodes =
            joined(count, |i| node("full", &argument("fill_value", "as_int", "1"), &format!("{i:x}")));
        let metas = joined(count, |i| meta(&format!("{i:x}"), "1048576,1024"));
        program(&metas, &nodes, "0")
    }),
    ("program: values that are expanded", |n| {
        let count = n / 200;
        let nodes = joined(count, |i| node("expand", &tensor("self", "x"), &format!("{i:x}")));
        let metas = joined(count, |i| meta(&format!("{i:x}"), "1048576,2,8"));
        program(&metas, &nodes, "0")
    }),
    ("program: places at the ends of what numbers there are", |_| {
        let part = |name: &str, number: i64| argument(name, "as_int", &number.to_string());
        let mut nodes = Vec::new();
        for (i, at) in [i64::MIN, i64::MIN + 1, -1, i64::MAX].into_iter().enumerate() {
            for (kind, names) in
                [("select", ["dim", "index"]), ("slice", ["start", "end"]), ("roll", ["dims", "shifts"])]
            {
                for (j, source) in ["x", "q"].into_iter().enumerate() {
                    let given = [
                        tensor("self", source),
                        part(names[0], i64::from(kind != "slice")),
                        part(names[1], at),
                    ];
                    nodes.push(node(kind, &given.join(","), &format!("{kind}{i}{j}")));
                    let given = [&given[..], &[tensor("src", "x")]].concat();
                    nodes.push(node(&format!("{kind}_scatter"), &given.join(","), &format!("{kind}{i}{j}.")));
                }
            }
        }
        let names = ["select", "slice", "roll"].iter().flat_map(|kind| {
            (0..8).flat_map(move |i| ["", "."].map(|end| format!("{kind}{}{}{end}", i / 2, i % 2)))
        });
        let metas: Vec<_> = names.map(|name| meta(&name, "2,8")).collect();
        let values = [meta("q", "2,9223372036854775807"), metas.join(",")];
        program(&values.join(","), &nodes.join(","), "x")
    }),
    ("program: a kernel at the ends of what numbers there are", |_| {
        let given = [
            tensor("input", "q"),
            tensor("weight", "q"),
            argument("padding", "as_string", r#""same""#),
            argument("dilation", "as_ints", "[9223372036854775807]"),
        ];
        let conv = node("conv1d", &given.join(","), "y").replace("conv1d.default", "conv1d.padding");
        program(&meta("q", "2,9223372036854775807,-9223372036854775808"), &conv, "y")
    }),
    ("program: one weight under many names", |n| weights(n, n / 8, "false", vec![0; n / 2])),
    ("program: one checkpoint under many names", |n| weights(n, 1, "true", long_checkpoint(n / 2))),
    ("program: a weight that is larger than its numbers", |_| weights(420, 1 << 40, "false", vec![0; 64])),
];

/// A zip archive says in two bytes how many members it has.
fn many(count: usize) -> usize {
    count.min((1 << 16) - 1)
}

fn joined(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(",")
}

fn list(count: usize, each: impl Fn(usize) -> String) -> String {
    format!("[{}]", joined(count, each))
}

/// A program with an operator that has this argument.
fn argument_of(value: &str) -> Vec<u8> {
    let given = format!("{},{}", tensor("self", "x"), argument("dim", "as_ints", value));
    program("", &node("sum", &given, "y"), "y")
}

fn argument(name: &str, kind: &str, value: &str) -> String {
    format!(r#"{{"name":"{name}","arg":{{"{kind}":{value}}}}}"#)
}

fn tensor(name: &str, value: &str) -> String {
    argument(name, "as_tensor", &format!(r#"{{"name":"{value}"}}"#))
}

fn node(operator: &str, arguments: &str, output: &str) -> String {
    let target = format!("torch.ops.aten.{operator}.default");
    format!(
        r#"{{"target":"{target}","inputs":[{arguments}],"outputs":[{{"as_tensor":{{"name":"{output}"}}}}]}}"#
    )
}

/// What is known of a value of these lengths.
fn meta(name: &str, sizes: &str) -> String {
    let sizes: Vec<_> = sizes.split(',').map(|size| format!(r#"{{"as_int":{size}}}"#)).collect();
    format!(r#""{name}":{{"dtype":7,"sizes":[{}]}}"#, sizes.join(","))
}

/// What is known of values that are called by numbers.
fn values(numbers: std::ops::Range<usize>) -> String {
    let values: Vec<_> = numbers.map(|i| format!(r#""{i:x}":{{"dtype":7,"sizes":[]}}"#)).collect();
    values.join(",")
}

/// A program with the input `x`, two rows of eight numbers.
fn program(values: &str, nodes: &str, output: &str) -> Vec<u8> {
    archive(&text(values, nodes, output, ""))
}

/// What a program says, with more inputs.
fn text(values: &str, nodes: &str, output: &str, inputs: &str) -> String {
    let comma = if values.is_empty() { "" } else { "," };
    let (x, y) = (meta("x", "2,8"), meta("y", "2,8"));
    let graph = format!(r#"{{"nodes":[{nodes}],"tensor_values":{{{x},{y}{comma}{values}}}}}"#);
    let value = |name: &str| format!(r#"{{"arg":{{"as_tensor":{{"name":"{name}"}}}}}}"#);
    let input = format!(r#"{{"user_input":{}}}{inputs}"#, value("x"));
    let signature =
        format!(r#"{{"input_specs":[{input}],"output_specs":[{{"user_output":{}}}]}}"#, value(output));
    format!(
        r#"{{"graph_module":{{"graph":{graph},"signature":{signature}}},"schema_version":{{"major":8,"minor":8}}}}"#
    )
}

fn archive(text: &str) -> Vec<u8> {
    archive_with(text, r#"{"config":{}}"#, Vec::new())
}

fn archive_with(text: &str, config: &str, numbers: Vec<u8>) -> Vec<u8> {
    zip::bytes(&[
        ("a/data/weights/w", numbers),
        ("a/data/weights/_config.json", config.into()),
        ("a/data/constants/_config.json", r#"{"config":{}}"#.into()),
        ("a/models/m.json", text.into()),
    ])
}

/// A program that adds as many weights to one another as there is place for, all of the same numbers.
fn weights(n: usize, len: usize, pickled: &str, numbers: Vec<u8>) -> Vec<u8> {
    let count = (n / 2 / 420).max(1);
    let sizes = format!(r#""dtype":7,"sizes":[{{"as_int":{len}}}],"strides":[{{"as_int":1}}]"#);
    let entry =
        |i: usize| format!(r#""{i:x}":{{"path_name":"w","use_pickle":{pickled},"tensor_meta":{{{sizes}}}}}"#);
    let config = format!(r#"{{"config":{{{}}}}}"#, joined(count, entry));
    let input =
        |i: usize| format!(r#",{{"parameter":{{"arg":{{"name":"{i:x}."}},"parameter_name":"{i:x}"}}}}"#);
    let inputs: String = (0..count).map(input).collect();
    let metas = joined(count, |i| meta(&format!("{i:x}."), &len.to_string()));
    let nodes = joined(count, |i| {
        let given = format!("{},{}", tensor("self", &format!("{i:x}.")), tensor("other", "x"));
        node("add", &given, &format!("{i:x}"))
    });
    archive_with(&text(&format!("{metas},{}", values(0..count)), &nodes, "0", &inputs), &config, numbers)
}
