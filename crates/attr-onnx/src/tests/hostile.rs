//! Files that claim, contradict or are cut: an error or a graph, never a panic, never memory without bound.

use prost::Message;

use super::{floats, import, list, message, node};
use crate::decode;
use crate::proto::*;

#[test]
fn claims_of_size_are_checked_before_anything_is_allocated() {
    let add = || vec![node("Add", "a", &["x", "w"], &["y"])];
    for dims in [vec![1 << 40], vec![i64::MAX, i64::MAX], vec![-1], vec![0, i64::MAX, i64::MAX], vec![1; 99]]
    {
        for external in [0, 1] {
            let weight = TensorProto { dims: dims.clone(), data_location: external, ..floats("w", &[1]) };
            assert!(message(import(17, &[0, 3], vec![weight], add())).contains("tensor \"w\""), "{dims:?}");
        }
    }
    let double = |i: usize| {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        node("Concat", "", &[&from, &from], &[&to]).int("axis", 0)
    };
    let nodes = (0..60).map(double).collect();
    assert!(message(import(17, &[0, 3], vec![floats("c0", &[9])], nodes)).contains("too large"));
    let shape = vec![node("ConstantOfShape", "", &["s"], &["c"]), node("Add", "a", &["x", "c"], &["y"])];
    assert!(message(import(17, &[0, 3], vec![list("s", &[1 << 30, 1 << 30])], shape)).contains("too large"));
}

/// A counter-based generator (splitmix64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

fn fixtures() -> [&'static [u8]; 2] {
    [
        include_bytes!("../../tests/fixtures/residual_torchscript.onnx"),
        include_bytes!("../../tests/fixtures/residual_dynamo.onnx"),
    ]
}

#[test]
fn broken_bytes_are_an_error_or_a_graph() {
    let mut random = Random(0);
    for bytes in fixtures() {
        for len in (0..bytes.len()).step_by(7) {
            let _ = decode(&bytes[..len]);
        }
        for _ in 0..3000 {
            let mut bytes = bytes.to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            let _ = decode(&bytes);
        }
    }
}

pub(super) const EXTREMES: [i64; 10] = [i64::MIN, i64::MAX, -1, 0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 62];

#[test]
fn broken_structure_is_an_error_or_a_graph() {
    let mut random = Random(1);
    for bytes in fixtures() {
        let sound = ModelProto::decode(bytes).unwrap();
        for _ in 0..3000 {
            let mut model = sound.clone();
            let graph = model.graph.as_mut().unwrap();
            let (i, j) = (random.below(graph.node.len()), random.below(graph.node.len()));
            let k = random.below(graph.initializer.len());
            match random.below(8) {
                0 => drop(graph.node.remove(i)),
                1 => graph.node.swap(i, j),
                2 => graph.node[i].op_type = graph.node[j].op_type.clone(),
                3 => graph.node[i].input = graph.node[j].input.clone(),
                4 => graph.node[i].attribute = graph.node[j].attribute.clone(),
                5 => drop(graph.initializer.remove(k)),
                6 => {
                    for attribute in &mut graph.node[i].attribute {
                        attribute.i = attribute.i.map(|_| EXTREMES[random.below(10)]);
                        attribute.ints.iter_mut().for_each(|i| *i = EXTREMES[random.below(10)]);
                    }
                }
                _ => {
                    let tensor = &mut graph.initializer[k];
                    if tensor.data_type == TensorProto::INT64 {
                        tensor.raw_data = None;
                        let len = tensor.dims.iter().product::<i64>();
                        tensor.int64_data = (0..len).map(|_| EXTREMES[random.below(10)]).collect();
                    } else {
                        tensor.dims.iter_mut().for_each(|d| *d = EXTREMES[random.below(10)]);
                    }
                }
            }
            let _ = decode(&model.encode_to_vec());
        }
    }
}
