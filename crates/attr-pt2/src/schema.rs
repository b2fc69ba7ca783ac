//! The part of `torch.export`'s JSON that is read here, by the names of its fields (schema version 5 to 8, PyTorch 2.5 to
//! 2.13).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

/// The program.
#[derive(Debug, Deserialize)]
pub(crate) struct Program {
    pub(crate) graph_module: GraphModule,
    pub(crate) schema_version: SchemaVersion,
    #[serde(default)]
    pub(crate) torch_version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SchemaVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphModule {
    pub(crate) graph: Graph,
    pub(crate) signature: Signature,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) tensor_values: HashMap<String, TensorMeta>,
    #[serde(default)]
    pub(crate) sym_int_values: HashMap<String, SymInt>,
}

/// One operator at its place.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    /// `torch.ops.aten.conv2d.default`.
    pub(crate) target: String,
    pub(crate) inputs: Vec<NamedArgument>,
    /// Each an object with one key that says what it is.
    pub(crate) outputs: Vec<HashMap<String, Value>>,
    #[serde(default)]
    pub(crate) metadata: HashMap<String, Value>,
    #[serde(default)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NamedArgument {
    pub(crate) name: String,
    /// An object with one key that says what it is: `{"as_ints": [2, 2]}`.
    pub(crate) arg: HashMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TensorMeta {
    pub(crate) dtype: u32,
    pub(crate) sizes: Vec<SymInt>,
    #[serde(default)]
    pub(crate) strides: Vec<SymInt>,
    #[serde(default)]
    pub(crate) storage_offset: Option<SymInt>,
}

/// A whole number, or one that depends on the batch.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SymInt {
    AsInt(i64),
    AsExpr(SymExpr),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SymExpr {
    pub(crate) expr_str: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Signature {
    pub(crate) input_specs: Vec<HashMap<String, Value>>,
    pub(crate) output_specs: Vec<HashMap<String, Value>>,
}

/// Where the numbers of weights or constants are.
#[derive(Debug, Deserialize)]
pub(crate) struct WeightsConfig {
    pub(crate) config: HashMap<String, WeightEntry>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WeightEntry {
    pub(crate) path_name: String,
    #[serde(default)]
    pub(crate) use_pickle: bool,
    pub(crate) tensor_meta: TensorMeta,
}
