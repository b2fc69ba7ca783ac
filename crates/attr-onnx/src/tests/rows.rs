//! Entries that are gathered by the numbers of the batch's rows.

use attr_core::{Graph, Op};

use super::{import, list, message, node, shape};
use crate::Error;
use crate::proto::*;

/// The nodes that PyTorch writes for a view: numbers of rows times a row's length, and offsets in a row.
fn gathered_by_rows(length: i64, offsets: &[i64], between: Vec<NodeProto>) -> Result<Graph, Error> {
    let mut offsets = list("offsets", offsets);
    offsets.dims = vec![1, offsets.dims[0], 1];
    let scalar = |name: &str, i| TensorProto { dims: Vec::new(), ..list(name, &[i]) };
    let weights = vec![
        list("-1", &[-1]),
        scalar("0", 0),
        scalar("1", 1),
        scalar("n", length),
        list("12", &[1, 2]),
        offsets,
    ];
    let mut nodes = vec![
        node("Reshape", "flat", &["x", "-1"], &["a"]),
        node("Shape", "shape", &["x"], &["b"]).int("end", 1),
        node("Squeeze", "rows", &["b"], &["c"]),
        node("Range", "range", &["0", "c", "1"], &["d"]),
        node("Mul", "first", &["d", "n"], &["e"]),
        node("Unsqueeze", "axes", &["e", "12"], &["f"]),
    ];
    nodes.extend(between);
    nodes.push(node("Add", "index", &["f", "offsets"], &["g"]));
    nodes.push(node("Gather", "view", &["a", "g"], &["y"]));
    import(20, &[0, 2, 2], weights, nodes)
}

#[test]
fn entries_of_each_row_are_gathered_by_its_number() {
    let graph = gathered_by_rows(4, &[3, 0, 1], Vec::new()).unwrap();
    assert_eq!(shape(&graph), "[B, 3, 1]");
    let ops: Vec<_> = graph.nodes().iter().map(|node| &node.op).collect();
    assert!(ops.contains(&&Op::Gather { axis: 1, entries: vec![3, 0, 1] }), "{ops:?}");
    assert_eq!(graph.node(graph.outputs()[0]).name, "view");
}

#[test]
fn what_is_gathered_of_other_rows_is_refused() {
    assert_eq!(
        message(gathered_by_rows(4, &[4], Vec::new())),
        "1 operator is not supported: Gather by the numbers of the batch's rows of entries of other rows (layer \"view\")"
    );
    assert_eq!(
        message(gathered_by_rows(3, &[0], Vec::new())),
        "1 operator is not supported: Gather by the numbers of the batch's rows of something else than these rows \
         (layer \"view\")"
    );
    let other = node("Transpose", "turned", &["e"], &["unused"]);
    assert_eq!(
        message(gathered_by_rows(4, &[0], vec![other])),
        "1 operator is not supported: Transpose of the numbers of the batch's rows (layer \"turned\")"
    );
}
