//! What the parts of a file take in memory, so that one that takes too much is refused before it is decoded.

use attr_wire::Message;

use crate::node::Value;
use crate::proto::{
    AttributeProto, DimensionProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

const TEXT: Message = Message::new(size_of::<String>(), &[]);
const ENTRY: Message = Message::new(size_of::<StringStringEntryProto>(), &[]);
const OPSET: Message = Message::new(size_of::<OperatorSetIdProto>(), &[]);
const TENSOR: Message = Message::new(size_of::<TensorProto>(), &[(13, &ENTRY)]);
const ATTRIBUTE: Message = Message::new(size_of::<AttributeProto>(), &[(5, &TENSOR)]);
/// A name that an operator reads or gives, and what it stands for while the file is read.
const NAME: Message = Message::new(size_of::<(String, Option<Value>)>(), &[]);
const NODE: Message =
    Message::new(size_of::<NodeProto>(), &[(1, &NAME), (2, &NAME), (5, &ATTRIBUTE), (9, &ENTRY)]);
const DIMENSION: Message = Message::new(size_of::<DimensionProto>(), &[]);
const SHAPE: Message = Message::new(size_of::<TensorShapeProto>(), &[(1, &DIMENSION)]);
const TENSOR_TYPE: Message = Message::new(size_of::<TensorTypeProto>(), &[(2, &SHAPE)]);
const TYPE: Message = Message::new(size_of::<TypeProto>(), &[(1, &TENSOR_TYPE)]);
const INFO: Message = Message::new(size_of::<ValueInfoProto>(), &[(2, &TYPE)]);
const GRAPH: Message =
    Message::new(size_of::<GraphProto>(), &[(1, &NODE), (5, &TENSOR), (11, &INFO), (12, &INFO)]);
const FUNCTION: Message = Message::new(
    size_of::<FunctionProto>(),
    &[(4, &TEXT), (5, &TEXT), (7, &NODE), (9, &OPSET), (11, &ATTRIBUTE)],
);

/// A file.
pub(crate) const MODEL: Message = Message::new(0, &[(7, &GRAPH), (8, &OPSET), (14, &ENTRY), (25, &FUNCTION)]);

#[cfg(test)]
mod tests {
    use std::fs::read;

    #[test]
    fn sound_files_without_their_weights_are_far_from_the_limit() {
        for name in ["residual_dynamo", "residual_torchscript"] {
            let path = format!("{}/tests/fixtures/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
            let file = read(path).unwrap();
            let cost = attr_wire::cost(&file, &super::MODEL);
            assert!(cost < file.len() * 32, "{name}: {cost} for {} bytes", file.len());
        }
    }
}
