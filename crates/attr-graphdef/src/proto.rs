//! The part of TensorFlow's file formats that is read and written here, by the field numbers of its `.proto` files.

use std::collections::BTreeMap;

use prost::bytes::Bytes;
use prost::{Message, Oneof};

/// The file `saved_model.pb`.
#[derive(Clone, PartialEq, Message)]
pub struct SavedModel {
    /// The version of the format; 1.
    #[prost(int64, tag = "1")]
    pub saved_model_schema_version: i64,
    /// Graphs by their tags; Keras and `tf.saved_model.save` write one, tagged `serve`.
    #[prost(message, repeated, tag = "2")]
    pub meta_graphs: Vec<MetaGraphDef>,
}

/// A graph with what to feed and to fetch.
#[derive(Clone, PartialEq, Message)]
pub struct MetaGraphDef {
    /// Tags and versions.
    #[prost(message, optional, tag = "1")]
    pub meta_info_def: Option<MetaInfoDef>,
    /// The graph.
    #[prost(message, optional, tag = "2")]
    pub graph_def: Option<GraphDef>,
    /// How variables are restored.
    #[prost(message, optional, tag = "3")]
    pub saver_def: Option<SaverDef>,
    /// What can be asked of the graph, by name.
    #[prost(btree_map = "string, message", tag = "5")]
    pub signature_def: BTreeMap<String, SignatureDef>,
}

/// What a graph says about itself.
#[derive(Clone, PartialEq, Message)]
pub struct MetaInfoDef {
    /// Tags, such as `serve`.
    #[prost(string, repeated, tag = "4")]
    pub tags: Vec<String>,
    /// The version of TensorFlow that wrote it.
    #[prost(string, tag = "5")]
    pub tensorflow_version: String,
}

/// How variables are restored.
#[derive(Clone, PartialEq, Message)]
pub struct SaverDef {
    /// The tensor that takes the prefix of the variables' files.
    #[prost(string, tag = "1")]
    pub filename_tensor_name: String,
    /// The operator that saves.
    #[prost(string, tag = "2")]
    pub save_tensor_name: String,
    /// The operator that restores.
    #[prost(string, tag = "3")]
    pub restore_op_name: String,
}

/// What to feed and to fetch, by the names that its author gave.
#[derive(Clone, PartialEq, Message)]
pub struct SignatureDef {
    /// What to feed.
    #[prost(btree_map = "string, message", tag = "1")]
    pub inputs: BTreeMap<String, TensorInfo>,
    /// What to fetch.
    #[prost(btree_map = "string, message", tag = "2")]
    pub outputs: BTreeMap<String, TensorInfo>,
    /// What it is for.
    #[prost(string, tag = "3")]
    pub method_name: String,
}

/// A tensor of a graph.
#[derive(Clone, PartialEq, Message)]
pub struct TensorInfo {
    /// An operator's name and the number of its output: `x:0`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its numbers, as in [`data_type`].
    #[prost(int32, tag = "2")]
    pub dtype: i32,
    /// Its shape.
    #[prost(message, optional, tag = "3")]
    pub tensor_shape: Option<TensorShapeProto>,
}

/// A graph of operators and the functions that they call.
#[derive(Clone, PartialEq, Message)]
pub struct GraphDef {
    /// The operators, in any order.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeDef>,
    /// The functions.
    #[prost(message, optional, tag = "2")]
    pub library: Option<FunctionDefLibrary>,
    /// Versions of the meaning of operators.
    #[prost(message, optional, tag = "4")]
    pub versions: Option<VersionDef>,
}

/// Versions of the meaning of operators.
#[derive(Clone, PartialEq, Message)]
pub struct VersionDef {
    /// Of whoever wrote the graph.
    #[prost(int32, tag = "1")]
    pub producer: i32,
    /// Of whoever may read it.
    #[prost(int32, tag = "2")]
    pub min_consumer: i32,
}

/// One operator at its place.
#[derive(Clone, PartialEq, Message)]
pub struct NodeDef {
    /// Its name, unique in its graph or function.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The kind of operator.
    #[prost(string, tag = "2")]
    pub op: String,
    /// What it reads: `x` or `x:1` in a graph, `x:output_argument:0` in a function; `^x` only comes after `x`.
    #[prost(string, repeated, tag = "3")]
    pub input: Vec<String>,
    /// Where it is computed; empty for anywhere.
    #[prost(string, tag = "4")]
    pub device: String,
    /// Attributes by name.
    #[prost(btree_map = "string, message", tag = "5")]
    pub attr: BTreeMap<String, AttrValue>,
}

/// An attribute of an operator.
#[derive(Clone, PartialEq, Message)]
pub struct AttrValue {
    /// Its value, of one of these kinds.
    #[prost(oneof = "Attr", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub value: Option<Attr>,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Oneof)]
pub enum Attr {
    /// Several values.
    #[prost(message, tag = "1")]
    List(ListValue),
    /// A text.
    #[prost(bytes = "bytes", tag = "2")]
    S(Bytes),
    /// A whole number.
    #[prost(int64, tag = "3")]
    I(i64),
    /// A number.
    #[prost(float, tag = "4")]
    F(f32),
    /// Yes or no.
    #[prost(bool, tag = "5")]
    B(bool),
    /// A kind of numbers, as in [`data_type`].
    #[prost(int32, tag = "6")]
    Type(i32),
    /// A shape.
    #[prost(message, tag = "7")]
    Shape(TensorShapeProto),
    /// Numbers.
    #[prost(message, tag = "8")]
    Tensor(TensorProto),
    /// The name of an attribute of the function that this stands in.
    #[prost(string, tag = "9")]
    Placeholder(String),
    /// A function.
    #[prost(message, tag = "10")]
    Func(NameAttrList),
}

/// Several values of an attribute.
#[derive(Clone, PartialEq, Message)]
pub struct ListValue {
    /// Texts.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub s: Vec<Bytes>,
    /// Whole numbers.
    #[prost(int64, repeated, tag = "3")]
    pub i: Vec<i64>,
    /// Numbers.
    #[prost(float, repeated, tag = "4")]
    pub f: Vec<f32>,
    /// Yes or no.
    #[prost(bool, repeated, tag = "5")]
    pub b: Vec<bool>,
    /// Kinds of numbers.
    #[prost(int32, repeated, tag = "6")]
    pub r#type: Vec<i32>,
    /// Shapes.
    #[prost(message, repeated, tag = "7")]
    pub shape: Vec<TensorShapeProto>,
}

/// A function by its name.
#[derive(Clone, PartialEq, Message)]
pub struct NameAttrList {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A shape, as far as it is known.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// The axes.
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
    /// Whether not even the number of axes is known.
    #[prost(bool, tag = "3")]
    pub unknown_rank: bool,
}

/// One axis.
#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    /// Its length; -1 if not known.
    #[prost(int64, tag = "1")]
    pub size: i64,
}

/// Numbers with a shape. A field of one number stands for as many as the shape asks for.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// What they are, as in [`data_type`].
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    /// The shape.
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<TensorShapeProto>,
    /// All numbers, little-endian; if empty they are in one of the fields below.
    #[prost(bytes = "bytes", tag = "4")]
    pub tensor_content: Bytes,
    /// Single precision.
    #[prost(float, repeated, tag = "5")]
    pub float_val: Vec<f32>,
    /// Double precision.
    #[prost(double, repeated, tag = "6")]
    pub double_val: Vec<f64>,
    /// Whole numbers of up to 32 bits.
    #[prost(int32, repeated, tag = "7")]
    pub int_val: Vec<i32>,
    /// Texts.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub string_val: Vec<Bytes>,
    /// Whole numbers of 64 bits.
    #[prost(int64, repeated, tag = "10")]
    pub int64_val: Vec<i64>,
    /// Yes or no.
    #[prost(bool, repeated, tag = "11")]
    pub bool_val: Vec<bool>,
    /// The bits of f16 and bf16 numbers.
    #[prost(int32, repeated, tag = "13")]
    pub half_val: Vec<i32>,
}

/// The functions of a graph.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionDefLibrary {
    /// The functions.
    #[prost(message, repeated, tag = "1")]
    pub function: Vec<FunctionDef>,
}

/// A function.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionDef {
    /// Its name and arguments.
    #[prost(message, optional, tag = "1")]
    pub signature: Option<OpDef>,
    /// Its operators.
    #[prost(message, repeated, tag = "3")]
    pub node_def: Vec<NodeDef>,
    /// What each output argument is.
    #[prost(btree_map = "string, string", tag = "4")]
    pub ret: BTreeMap<String, String>,
}

/// The name and arguments of a function.
#[derive(Clone, PartialEq, Message)]
pub struct OpDef {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it takes.
    #[prost(message, repeated, tag = "2")]
    pub input_arg: Vec<ArgDef>,
    /// What it gives.
    #[prost(message, repeated, tag = "3")]
    pub output_arg: Vec<ArgDef>,
}

/// An argument of a function.
#[derive(Clone, PartialEq, Message)]
pub struct ArgDef {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its numbers, as in [`data_type`].
    #[prost(int32, tag = "3")]
    pub r#type: i32,
}

/// What the index of the variables' files says about all of them; under the empty key.
#[derive(Clone, PartialEq, Message)]
pub struct BundleHeader {
    /// How many files the numbers are in.
    #[prost(int32, tag = "1")]
    pub num_shards: i32,
    /// 0 for little-endian numbers.
    #[prost(int32, tag = "2")]
    pub endianness: i32,
}

/// Where the numbers of one variable are.
#[derive(Clone, PartialEq, Message)]
pub struct BundleEntry {
    /// What they are, as in [`data_type`].
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    /// Their shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
    /// In which file.
    #[prost(int32, tag = "3")]
    pub shard_id: i32,
    /// From which byte on.
    #[prost(int64, tag = "4")]
    pub offset: i64,
    /// How many bytes.
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// Parts that the variable was cut into, by their shapes alone.
    #[prost(message, repeated, tag = "7")]
    pub slices: Vec<TensorSlice>,
}

/// A part of a variable; what part is not read here.
#[derive(Clone, PartialEq, Message)]
pub struct TensorSlice {}

/// The kinds of numbers that tensors are made of.
pub mod data_type {
    /// IEEE single precision.
    pub const FLOAT: i32 = 1;
    /// IEEE double precision.
    pub const DOUBLE: i32 = 2;
    /// 32-bit whole numbers.
    pub const INT32: i32 = 3;
    /// 8-bit whole numbers from 0 on.
    pub const UINT8: i32 = 4;
    /// Texts.
    pub const STRING: i32 = 7;
    /// 64-bit whole numbers.
    pub const INT64: i32 = 9;
    /// Yes or no.
    pub const BOOL: i32 = 10;
    /// The upper half of single precision.
    pub const BFLOAT16: i32 = 14;
    /// IEEE half precision.
    pub const HALF: i32 = 19;
    /// A variable.
    pub const RESOURCE: i32 = 20;
}
