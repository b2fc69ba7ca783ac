//! What the parts of a file take in memory, so that one that takes too much is refused before it is decoded.

use attr_wire::Message;
use prost::bytes::Bytes;

use crate::proto::{
    ArgDef, AttrValue, Dim, FunctionDef, GraphDef, MetaGraphDef, MetaInfoDef, NameAttrList, NodeDef, OpDef,
    SaverDef, SignatureDef, TensorInfo, TensorShapeProto,
};

const TEXT: Message = Message::new(size_of::<String>(), &[]);
const BYTES: Message = Message::new(size_of::<Bytes>(), &[]);
const DIM: Message = Message::new(size_of::<Dim>(), &[]);
const SHAPE: Message = Message::new(size_of::<TensorShapeProto>(), &[(2, &DIM)]);
/// Those that are part of an attribute itself take nothing more.
const OWN_SHAPE: Message = Message::new(0, &[(2, &DIM)]);
const OWN_TENSOR: Message = Message::new(0, &[(2, &OWN_SHAPE), (8, &BYTES)]);
const OWN_LIST: Message = Message::new(0, &[(2, &BYTES), (7, &SHAPE)]);
const FUNCTION_NAME: Message = Message::new(size_of::<NameAttrList>(), &[]);
const ATTRIBUTE: Message =
    Message::new(0, &[(1, &OWN_LIST), (7, &OWN_SHAPE), (8, &OWN_TENSOR), (10, &FUNCTION_NAME)]);
/// A map has place for eleven values when it has one.
const NAMED_ATTRIBUTE: Message =
    Message::new(size_of::<(String, AttrValue)>() * 11 / 7, &[(1, &TEXT), (2, &ATTRIBUTE)]);
const NODE: Message = Message::new(size_of::<NodeDef>(), &[(3, &TEXT), (5, &NAMED_ATTRIBUTE)]);
const ARGUMENT: Message = Message::new(size_of::<ArgDef>(), &[]);
const SIGNATURE_OF_FUNCTION: Message = Message::new(size_of::<OpDef>(), &[(2, &ARGUMENT), (3, &ARGUMENT)]);
const NAMED_TEXT: Message = Message::new(size_of::<(String, String)>() * 11 / 7, &[(1, &TEXT), (2, &TEXT)]);
const FUNCTION: Message =
    Message::new(size_of::<FunctionDef>(), &[(1, &SIGNATURE_OF_FUNCTION), (3, &NODE), (4, &NAMED_TEXT)]);
const LIBRARY: Message = Message::new(0, &[(1, &FUNCTION)]);
const ABOUT: Message = Message::new(size_of::<MetaInfoDef>(), &[(4, &TEXT)]);
const SAVER: Message = Message::new(size_of::<SaverDef>(), &[]);
const INFO: Message = Message::new(0, &[(3, &OWN_SHAPE)]);
const NAMED_INFO: Message =
    Message::new(size_of::<(String, TensorInfo)>() * 11 / 7, &[(1, &TEXT), (2, &INFO)]);
const SIGNATURE: Message = Message::new(0, &[(1, &NAMED_INFO), (2, &NAMED_INFO)]);
const NAMED_SIGNATURE: Message =
    Message::new(size_of::<(String, SignatureDef)>() * 11 / 7, &[(1, &TEXT), (2, &SIGNATURE)]);
const META_GRAPH: Message =
    Message::new(size_of::<MetaGraphDef>(), &[(1, &ABOUT), (2, &GRAPH), (3, &SAVER), (5, &NAMED_SIGNATURE)]);

/// A frozen graph.
pub(crate) const GRAPH: Message = Message::new(size_of::<GraphDef>(), &[(1, &NODE), (2, &LIBRARY)]);

/// A SavedModel.
pub(crate) const SAVED_MODEL: Message = Message::new(0, &[(2, &META_GRAPH)]);

#[cfg(test)]
mod tests {
    use std::fs::read;

    #[test]
    fn sound_files_are_far_from_the_limit() {
        for name in ["attention", "functional", "mobile", "module", "recurrent", "silu"] {
            let path = format!("{}/tests/fixtures/{name}/saved_model.pb", env!("CARGO_MANIFEST_DIR"));
            let file = read(path).unwrap();
            let cost = attr_wire::cost(&file, &super::SAVED_MODEL);
            assert!(cost < file.len() * 32, "{name}: {cost} for {} bytes", file.len());
        }
    }
}
