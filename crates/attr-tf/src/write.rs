//! A layer graph as a SavedModel, for programs that run TensorFlow.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use attr_core::{Cut, Graph, GraphModel, ModelWrapper, Op, Param, ParamId, Point, Precision, Result};
use attr_graphdef::proto::{
    Attr, AttrValue, GraphDef, MetaGraphDef, MetaInfoDef, NodeDef, SavedModel, SignatureDef, TensorInfo,
    TensorProto, TensorShapeProto, data_type,
};
use attr_graphdef::tensor::{shape_proto, tensor_proto};
use prost::Message;

use crate::error::backend;
use crate::kernels::Writer;
use crate::plan::PRODUCER;
use crate::symbol::Symbol;
use crate::tape::{Feed, Id, Node, Tape, Written};

/// Writes a layer graph as a SavedModel into a folder, with the signature `serving_default`, whose outputs are named
/// `output_0`, `output_1`... Inputs and outputs, as every layer's value, have their channels second; the operator that
/// gives a layer's value has the layer's name, with `_` for letters that TensorFlow does not take. Parameters are constants
/// of this precision.
///
/// # Errors
///
/// [`attr_core::Error::Unsupported`] lists the layers that can't be written, [`attr_core::Error::Graph`] names one whose
/// batch can't be left open; [`attr_core::Error::Backend`] says why a file
/// can't be written.
pub fn write(path: impl AsRef<Path>, graph: &Graph, precision: Precision) -> Result<()> {
    let saved = saved_model(graph, precision)?.encode_to_vec();
    let path = path.as_ref();
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::write(path.join("saved_model.pb"), saved))
        .map_err(|error| backend(&format!("{}: {error}", path.display())))
}

fn saved_model(graph: &Graph, precision: Precision) -> Result<SavedModel> {
    let names = names(graph);
    // Whole numbers that differ between two numbers of rows are those of the batch. Nothing is computed, so there can
    // be more rows than anything else in a network has.
    let (some, more) =
        (Draft::new(graph, &names, precision, ROWS)?, Draft::new(graph, &names, precision, ROWS + 1)?);
    let mut nodes = Vec::new();
    for (id, (node, other)) in some.written.nodes.iter().zip(&more.written.nodes).enumerate() {
        some.node(graph, id, node, other, &mut nodes)?;
    }
    let info = |name: &str, shape: &attr_core::Shape| {
        let open = |(axis, &n): (usize, &usize)| (shape.batch_axis() != Some(axis)).then_some(n);
        let dims: Vec<_> = shape.at(1).iter().enumerate().map(open).collect();
        let tensor_shape = Some(shape_proto(&dims));
        TensorInfo { name: format!("{name}:0"), dtype: some.data_type(), tensor_shape }
    };
    let node = |&id: &usize| (names[id].as_str(), &graph.node(id).shape);
    let inputs =
        graph.inputs().iter().map(node).map(|(name, shape)| (name.to_string(), info(name, shape))).collect();
    let outputs = graph.outputs().iter().map(node).enumerate();
    let outputs = outputs.map(|(i, (name, shape))| (format!("output_{i}"), info(name, shape))).collect();
    let signature = SignatureDef { inputs, outputs, method_name: "tensorflow/serving/predict".into() };
    let versions = Some(attr_graphdef::proto::VersionDef { producer: PRODUCER, min_consumer: 0 });
    Ok(SavedModel {
        saved_model_schema_version: 1,
        meta_graphs: vec![MetaGraphDef {
            meta_info_def: Some(MetaInfoDef { tags: vec!["serve".into()], ..Default::default() }),
            graph_def: Some(GraphDef { node: nodes, library: None, versions }),
            saver_def: None,
            signature_def: [("serving_default".to_string(), signature)].into(),
        }],
    })
}

/// The layers' names as TensorFlow takes them.
fn names(graph: &Graph) -> Vec<String> {
    let mut used = HashSet::new();
    let name = |name: &str| {
        let known = |c: char| if c.is_ascii_alphanumeric() || "_.\\/>-".contains(c) { c } else { '_' };
        let mut taken: String = name.trim_start_matches('/').chars().map(known).collect();
        if !taken.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.') || taken.starts_with(OWN) {
            taken.insert_str(0, "x_");
        }
        while !used.insert(taken.clone()) {
            taken.push('_');
        }
        taken
    };
    graph.nodes().iter().map(|node| node.name.as_str()).map(name).collect()
}

/// What the names of operators within a layer begin with.
const OWN: &str = "attr_";

/// A number of rows.
const ROWS: usize = 1_000_003;

/// A graph written down for so many rows.
struct Draft {
    precision: Precision,
    written: Written,
    /// The layers' names, by the node that gives their value.
    names: HashMap<Id, String>,
    /// The name of the first input, whose rows are the batch.
    first: String,
}

impl Draft {
    fn new(graph: &Graph, names: &[String], precision: Precision, rows: usize) -> Result<Self> {
        let model = GraphModel::new(graph.clone(), Writer::of_layers(Tape::new(precision)))?;
        let tape = model.kernels().tape.clone();
        tape.take();
        let inputs = graph.inputs().iter().enumerate();
        let inputs: Vec<_> = inputs
            .map(|(i, &id)| Symbol::given(&tape, Feed::Given(i), &graph.node(id).shape.at(rows)))
            .collect();
        let all = Cut::several(0..graph.nodes().len());
        let values = model.forward(Point::at(&inputs), &all)?;
        let first = graph.inputs().first().map(|&id| names[id].clone()).unwrap_or_default();
        let named = (0..values.len()).filter(|&id| graph.node(id).op != Op::Constant);
        let names = named.map(|id| (values[id].plain(), names[id].clone())).collect();
        Ok(Draft { precision, written: tape.take(), names, first })
    }

    fn data_type(&self) -> i32 {
        if self.precision == Precision::F64 { data_type::DOUBLE } else { data_type::FLOAT }
    }

    fn name(&self, id: Id) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| format!("{OWN}{id}"))
    }

    /// Writes a node, which for one row more is `other`.
    fn node(&self, graph: &Graph, id: Id, node: &Node, other: &Node, nodes: &mut Vec<NodeDef>) -> Result<()> {
        let name = self.name(id);
        let float = AttrValue::kind(self.data_type());
        let attrs = |attrs: &[(&'static str, Attr)]| {
            attrs.iter().map(|(name, value)| (name.to_string(), AttrValue::from(value.clone()))).collect()
        };
        match node.feed {
            Some(Feed::Param(param)) => {
                let constant = NodeDef::new("Const", &name, [""; 0]).with("dtype", float);
                nodes.push(constant.with("value", AttrValue::tensor(self.numbers(graph, param)?)));
            }
            Some(Feed::Given(input)) => {
                let shape = &graph.node(graph.inputs()[input]).shape;
                let dims: Vec<_> =
                    shape.at(1).into_iter().enumerate().map(|(axis, n)| (axis > 0).then_some(n)).collect();
                let placeholder = NodeDef::new("Placeholder", &name, [""; 0]).with("dtype", float);
                nodes.push(placeholder.with("shape", AttrValue::shape(&dims)));
            }
            _ if node.op == "Const" && node.attrs != other.attrs => {
                let lists = [node, other].map(whole_numbers);
                let [Some(some), Some(more)] = lists else {
                    return Err(attr_core::Error::graph(&name, "is another one for each number of rows"));
                };
                let own: Vec<_> = (0..some.len()).filter(|&i| some[i] != more[i]).collect();
                let [at] = own[..] else {
                    return Err(attr_core::Error::graph(
                        &name,
                        "has more than one axis that grows with the batch",
                    ));
                };
                self.open(id, &name, &some, at, nodes)?;
            }
            _ => nodes.push(NodeDef {
                name,
                op: node.op.into(),
                input: node.inputs.iter().map(|&id| self.name(id)).collect(),
                device: String::new(),
                attr: attrs(&node.attrs),
            }),
        }
        Ok(())
    }

    /// Lengths of which the one at this place grows with the batch.
    fn open(&self, id: Id, name: &str, lengths: &[i32], at: usize, nodes: &mut Vec<NodeDef>) -> Result<()> {
        let constant = |name: &str, numbers: &[i32]| {
            let numbers = ndarray::Array1::from_vec(numbers.to_vec()).into_dyn();
            let node = NodeDef::new("Const", name, [""; 0]).with("dtype", AttrValue::kind(data_type::INT32));
            node.with("value", AttrValue::tensor(tensor_proto(&numbers)))
        };
        let mut open = lengths.to_vec();
        open[at] = -1;
        let readers = self.written.nodes.iter().filter(|node| node.inputs.contains(&id));
        let takes_open = |node: &Node| node.op == "Reshape" || node.op == "Slice" && node.inputs[2] == id;
        if readers.clone().all(takes_open) {
            nodes.push(constant(name, &open));
            return Ok(());
        }
        if at != 0 || lengths[0] != ROWS as i32 {
            return Err(attr_core::Error::graph(
                name,
                "has a batch that is not one row a row of the first axis",
            ));
        }
        let int = || AttrValue::kind(data_type::INT32);
        let part = |part: &str| format!("{name}_{part}");
        nodes.extend([
            NodeDef::new("Shape", &part("shape"), [&self.first])
                .with("T", AttrValue::kind(self.data_type()))
                .with("out_type", int()),
            constant(&part("begin"), &[0]),
            constant(&part("one"), &[1]),
            NodeDef::new("Slice", &part("rows"), [part("shape"), part("begin"), part("one")])
                .with("T", int())
                .with("Index", int()),
            constant(&part("others"), &lengths[1..]),
        ]);
        let axis = NodeDef::new("Const", &part("axis"), [""; 0]).with("dtype", int());
        nodes.push(
            axis.with("value", AttrValue::tensor(tensor_proto(&ndarray::ArrayD::from_elem(vec![], 0i32)))),
        );
        let together = NodeDef::new("ConcatV2", name, [part("rows"), part("others"), part("axis")]);
        nodes.push(together.with("T", int()).with("Tidx", int()).with("N", AttrValue::int(2)));
        Ok(())
    }

    fn numbers(&self, graph: &Graph, param: ParamId) -> Result<TensorProto> {
        let param = &graph.params()[param];
        let double = || {
            param.to_f64().ok_or_else(|| attr_core::Error::graph("parameter", "its numbers are on a device"))
        };
        Ok(match (self.precision, param) {
            (Precision::F64, _) => tensor_proto(&double()?),
            (_, Param::F32(array)) => tensor_proto(&array.to_owned()),
            _ => tensor_proto(&double()?.mapv(|x| x as f32)),
        })
    }
}

/// The numbers of a constant list of whole numbers.
fn whole_numbers(node: &Node) -> Option<Vec<i32>> {
    let tensor = node
        .attrs
        .iter()
        .find_map(|(_, value)| if let Attr::Tensor(tensor) = value { Some(tensor) } else { None })?;
    let is_list = tensor.tensor_shape.as_ref().is_some_and(|TensorShapeProto { dim, .. }| dim.len() == 1);
    let number = |bytes: &[u8]| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (tensor.dtype == data_type::INT32 && is_list)
        .then(|| tensor.tensor_content.chunks_exact(4).map(number).collect())
}
