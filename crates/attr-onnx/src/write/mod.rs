//! From the layer graph to a file.

mod layers;
mod resize;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use attr_core::{Activation, Conv, Coordinates, Dim, Graph, Node, NodeId, Op, Param, ParamId, Pool, Shape};
use prost::Message;
use prost::bytes::Bytes;

use crate::names::NAMES;
use crate::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::{Error, Result};

/// Writes a layer graph as ONNX file, for any number of rows. The file appears whole or not at all.
///
/// What is read from it again is the same graph, but for: constants, which come before the first layer
/// that reads them; attributes that ONNX has in single precision (epsilon, slope, bounds and padding
/// value of a network in single precision); layers that ONNX has several operators for: a linear layer with
/// bias on values of rank 3 or more, attention, SiLU, an embedding, comparisons and choices by them, for
/// truth values are no numbers there; parameters and constants that no layer reads. A network whose inputs
/// have no batch is read again with [`crate::Options::without_batch`].
pub fn write(graph: &Graph, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = encode(graph)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|reason| {
        // The error that matters is the one above.
        let _ = std::fs::remove_file(&temporary);
        Error::Io { path: path.into(), reason }
    })
}

/// The bytes of an ONNX file (operator set 17, or 21 where a layer needs a newer one), see [`write`](fn@write).
pub fn encode(graph: &Graph) -> Result<Vec<u8>> {
    encode_open(graph, None)
}

/// As [`encode`], but that the axis behind the batch of each input has this name and no length: for texts of any
/// number of tokens. Whether the rest of the network is the same for every length is the caller's to know: then
/// graphs for two lengths give the same bytes.
pub fn encode_open<'a>(graph: &'a Graph, axis: Option<&'a str>) -> Result<Vec<u8>> {
    let mut writer = Writer::new(graph)?;
    writer.open_axis = axis;
    let names = other_names(graph);
    for (id, node) in graph.nodes().iter().enumerate() {
        writer.layer(node)?;
        // The operator that has the layer's name is the last one.
        if let (Some(names), Some(last)) = (names.get(&id), writer.proto.node.last_mut()) {
            let entry = StringStringEntryProto { key: NAMES.into(), value: names.join("\n") };
            last.metadata_props.push(entry);
        }
    }
    let outputs: Vec<_> = graph.outputs().iter().map(|&id| graph.node(id)).collect();
    if outputs.is_empty() {
        return Err(Error::Unwritable("a graph without outputs".into()));
    }
    for node in outputs {
        let value = writer.value_info(node);
        if writer.proto.output.iter().any(|output| output.name == value.name) {
            return Err(Error::Unwritable(format!("layer {:?} twice among the outputs", node.name)));
        }
        writer.proto.output.push(value);
    }
    let model = ModelProto {
        ir_version: if writer.opset == OLD { 8 } else { 10 },
        producer_name: "attr-onnx".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(writer.proto),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: writer.opset }],
        ..ModelProto::default()
    };
    match model.encoded_len() {
        0..MAX_LEN => Ok(model.encode_to_vec()),
        len => Err(Error::Unwritable(format!("a network of {len} bytes: a file has at most {MAX_LEN}"))),
    }
}

/// The version of ONNX's operators that every run time has.
const OLD: i64 = 17;
/// The version that has all operators written here.
const NEW: i64 = 21;

/// Whether there is no operator for a layer in the old version.
fn is_new(graph: &Graph, node: &Node) -> bool {
    match &node.op {
        Op::Activation(Activation::Gelu | Activation::GeluTanh | Activation::Mish) => true,
        Op::GroupNorm { groups, .. } => graph.node(node.inputs[0]).shape.0[1] != Dim::Fixed(*groups),
        Op::AveragePool { pool, .. } => pool.dilation.iter().any(|&d| d != 1),
        Op::Resize(resize) => resize.antialias || resize.coordinates == Coordinates::HalfPixelSymmetric,
        _ => false,
    }
}

/// What protobuf allows in one message.
const MAX_LEN: usize = i32::MAX as usize;

/// The names that layers have besides their own, but for inputs, for which the format has no place.
fn other_names(graph: &Graph) -> HashMap<NodeId, Vec<&str>> {
    let mut names = HashMap::<_, Vec<_>>::new();
    for (id, name) in graph.other_names().filter(|(id, _)| graph.node(*id).op != Op::Input) {
        names.entry(id).or_default().push(name);
    }
    names.values_mut().for_each(|names| names.sort_unstable());
    names
}

struct Writer<'a> {
    graph: &'a Graph,
    proto: GraphProto,
    names: HashSet<String>,
    /// The initialisers of parameters, as they are or transposed.
    params: HashMap<(ParamId, bool), String>,
    float_type: i32,
    /// The version of ONNX's set of operators.
    opset: i64,
    /// The name of the axis behind the batch of inputs, where its length is left open.
    open_axis: Option<&'a str>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Result<Self> {
        if graph.params().iter().any(|param| matches!(param, Param::OnDevice(_))) {
            let reason = "the graph of a model whose numbers are on a device: write it before it is compiled";
            return Err(Error::Unwritable(reason.into()));
        }
        let doubles = graph.params().iter().filter(|p| matches!(p, Param::F64(_))).count();
        let float_type = match doubles {
            0 => TensorProto::FLOAT,
            _ if doubles == graph.params().len() => TensorProto::DOUBLE,
            _ => return Err(Error::Unwritable("parameters both in single and in double precision".into())),
        };
        let batched = |&id: &NodeId| graph.node(id).shape.batch_axis().is_some();
        if graph.inputs().iter().any(batched) && !graph.inputs().iter().all(batched) {
            return Err(Error::Unwritable("inputs both with and without a batch".into()));
        }
        Ok(Writer {
            graph,
            proto: GraphProto { name: "network".into(), ..GraphProto::default() },
            names: graph.nodes().iter().map(|node| node.name.clone()).collect(),
            params: HashMap::new(),
            float_type,
            opset: if graph.nodes().iter().any(|node| is_new(graph, node)) { NEW } else { OLD },
            open_axis: None,
        })
    }

    /// Writes one layer: one operator for most.
    fn layer(&mut self, node: &Node) -> Result<()> {
        let plain = |op_type: &'static str| (op_type, Vec::new());
        let (op_type, attributes) = match &node.op {
            Op::Input => return self.network_input(node),
            Op::Constant => {
                let value = self.param(node, 0, "value", false);
                self.node("Identity", &node.name, vec![value], Vec::new());
                return Ok(());
            }
            Op::Identity => plain("Identity"),
            Op::Conv(conv) => ("Conv", convolution(conv, &self.graph.params()[node.params[0]])),
            Op::ConvTranspose(transpose) => {
                let mut attributes = convolution(&transpose.conv, &self.graph.params()[node.params[0]]);
                attributes.push(ints("output_padding", &transpose.output_padding));
                ("ConvTranspose", attributes)
            }
            Op::Linear if self.input(node, 0).shape.rank() == 2 => ("Gemm", vec![int("transB", 1)]),
            Op::Linear => return self.product(node),
            Op::BatchNorm { epsilon } => ("BatchNormalization", vec![float("epsilon", *epsilon)]),
            Op::LayerNorm { axis, epsilon } => {
                ("LayerNormalization", vec![int("axis", *axis), float("epsilon", *epsilon)])
            }
            Op::GroupNorm { groups, epsilon } => {
                let epsilon = float("epsilon", *epsilon);
                match self.input(node, 0).shape.0[1] == Dim::Fixed(*groups) {
                    true => ("InstanceNormalization", vec![epsilon]),
                    false => ("GroupNormalization", vec![int("num_groups", *groups), epsilon]),
                }
            }
            Op::LocalResponseNorm { size, alpha, beta, bias } => {
                let numbers =
                    [("alpha", alpha), ("beta", beta), ("bias", bias)].map(|(name, x)| float(name, *x));
                ("LRN", std::iter::once(int("size", *size)).chain(numbers).collect())
            }
            Op::PRelu => plain("PRelu"),
            Op::Activation(activation) => return self.activation(node, *activation),
            Op::Softmax { axis } => ("Softmax", vec![int("axis", *axis)]),
            Op::LogSoftmax { axis } => ("LogSoftmax", vec![int("axis", *axis)]),
            Op::MaxPool(pool) => ("MaxPool", windows(pool, true)),
            Op::AveragePool { pool, count_include_pad } => {
                let mut attributes = windows(pool, pool.dilation.iter().any(|&d| d != 1));
                attributes.push(int("count_include_pad", usize::from(*count_include_pad)));
                ("AveragePool", attributes)
            }
            // No axes mean all of them in ONNX.
            Op::Mean { axes, .. } | Op::Sum { axes, .. } | Op::Max { axes, .. } | Op::Min { axes, .. }
                if axes.is_empty() =>
            {
                plain("Identity")
            }
            Op::Norm { axes, .. } if axes.is_empty() => plain("Abs"),
            Op::Mean { axes, keep } => return self.reduction("ReduceMean", node, axes, *keep),
            Op::Sum { axes, keep } => return self.reduction("ReduceSum", node, axes, *keep),
            Op::Max { axes, keep } => return self.reduction("ReduceMax", node, axes, *keep),
            Op::Min { axes, keep } => return self.reduction("ReduceMin", node, axes, *keep),
            Op::Norm { axes, keep } => return self.reduction("ReduceL2", node, axes, *keep),
            Op::Add => plain("Add"),
            Op::Sub => plain("Sub"),
            Op::Mul => plain("Mul"),
            Op::Div => plain("Div"),
            Op::Power => plain("Pow"),
            Op::Maximum => plain("Max"),
            Op::Minimum => plain("Min"),
            Op::Compare(comparison) => return self.comparison(node, *comparison),
            Op::Where => return self.choice(node),
            Op::MatMul => plain("MatMul"),
            Op::Attention { scale } => return self.attention(node, *scale),
            Op::Embedding => return self.embedding(node),
            Op::Gather { axis, entries } => {
                let entries = self.integers(node, "entries", &to_i64(entries));
                return self.with_inputs("Gather", node, vec![entries], vec![int("axis", *axis)]);
            }
            Op::Expand { shape } => return self.expand(node, shape),
            Op::Concat { axis } => ("Concat", vec![int("axis", *axis)]),
            Op::Reshape { shape } => return self.reshape(node, shape),
            Op::Transpose { axes } => ("Transpose", vec![ints("perm", axes)]),
            Op::Slice { axis, start, len } => {
                let lists = [("starts", *start), ("ends", start + len), ("axes", *axis)];
                let lists = lists.map(|(name, value)| self.integers(node, name, &[value as i64]));
                return self.with_inputs("Slice", node, lists.to_vec(), Vec::new());
            }
            Op::Pad { padding, value } => {
                let (before, after): (Vec<_>, Vec<_>) = padding.iter().copied().unzip();
                let pads = self.integers(node, "pads", &to_i64(&[before, after].concat()));
                let value = self.number(node, "value", *value);
                return self.with_inputs("Pad", node, vec![pads, value], Vec::new());
            }
            Op::Resize(resize) => return self.resize(node, resize),
            _ => return Err(unwritable(node, "an operator that is not known here")),
        };
        const PARAMS: [&str; 4] = ["weight", "bias", "mean", "variance"];
        let params = (0..node.params.len()).map(|i| self.param(node, i, PARAMS[i.min(3)], false));
        let params = params.collect();
        self.with_inputs(op_type, node, params, attributes)
    }

    fn network_input(&mut self, node: &Node) -> Result<()> {
        let mut value = self.value_info(node);
        if let Some(name) = self.open_axis {
            let tensor = value.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
            let dims = tensor.and_then(|tensor| tensor.shape.as_mut()).map(|shape| &mut shape.dim);
            match dims.and_then(|dims| dims.get_mut(1)) {
                Some(dim) => dim.value = Some(Dimension::Param(name.into())),
                None => return Err(unwritable(node, "without an axis behind the batch to leave open")),
            }
        }
        self.proto.input.push(value);
        Ok(())
    }

    /// A linear layer on more axes than `Gemm` takes.
    fn product(&mut self, node: &Node) -> Result<()> {
        let x = self.input(node, 0).name.clone();
        let weight = self.param(node, 0, "weight", true);
        if node.params.len() == 1 {
            self.node("MatMul", &node.name, vec![x, weight], Vec::new());
            return Ok(());
        }
        let product = self.unique(&node.name, "product");
        self.node("MatMul", &product, vec![x, weight], Vec::new());
        let bias = self.param(node, 1, "bias", false);
        self.node("Add", &node.name, vec![product, bias], Vec::new());
        Ok(())
    }

    /// Along axes, which are an attribute or an input by the version of the operators.
    fn reduction(&mut self, op_type: &str, node: &Node, axes: &[usize], keep: bool) -> Result<()> {
        let mut attributes = vec![int("keepdims", usize::from(keep))];
        if op_type != "ReduceSum" && self.opset < NEW {
            attributes.push(ints("axes", axes));
            return self.with_inputs(op_type, node, Vec::new(), attributes);
        }
        let axes = self.integers(node, "axes", &to_i64(axes));
        self.with_inputs(op_type, node, vec![axes], attributes)
    }

    fn reshape(&mut self, node: &Node, shape: &Shape) -> Result<()> {
        let mut target = Vec::new();
        let old = &self.input(node, 0).shape.0;
        for (axis, dim) in shape.0.iter().enumerate() {
            target.push(match *dim {
                // As it is in the value, so that it fits where the length is left open.
                Dim::Fixed(1..) if old.get(axis) == Some(dim) => 0,
                Dim::Fixed(0) => return Err(unwritable(node, "a reshape to an empty value")),
                Dim::Fixed(len) => len as i64,
                Dim::Batch(_) => -1,
            });
        }
        let target = self.integers(node, "shape", &target);
        self.with_inputs("Reshape", node, vec![target], Vec::new())
    }

    fn input(&self, node: &Node, i: usize) -> &'a Node {
        self.graph.node(node.inputs[i])
    }

    /// Writes a layer that reads its layers' values and then these.
    fn with_inputs(
        &mut self,
        op_type: &str,
        node: &Node,
        more: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> Result<()> {
        let values = node.inputs.iter().map(|&id| self.graph.node(id).name.clone());
        self.node(op_type, &node.name, values.chain(more).collect(), attributes);
        Ok(())
    }

    /// Writes an operator; its value has its name.
    fn node(&mut self, op_type: &str, name: &str, input: Vec<String>, attribute: Vec<AttributeProto>) {
        self.proto.node.push(NodeProto {
            input,
            output: vec![name.into()],
            name: name.into(),
            op_type: op_type.into(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// The initialiser of a layer's parameter, written when it is first used.
    fn param(&mut self, node: &Node, i: usize, role: &str, transposed: bool) -> String {
        let key = (node.params[i], transposed);
        if let Some(name) = self.params.get(&key) {
            return name.clone();
        }
        macro_rules! written {
            ($array:expr) => {{
                let array = if transposed { $array.t() } else { $array.view() };
                (array.shape().to_vec(), little_endian(array.iter().map(|x| x.to_le_bytes()), array.len()))
            }};
        }
        let (dims, data) = match &self.graph.params()[key.0] {
            Param::F32(array) => written!(array),
            Param::F64(array) => written!(array),
            Param::OnDevice(_) => unreachable!("BUG: such a graph is refused"),
        };
        let name = self.tensor(node, role, dims, self.float_type, data);
        self.params.insert(key, name.clone());
        name
    }

    fn integers(&mut self, node: &Node, role: &str, list: &[i64]) -> String {
        let data = little_endian(list.iter().map(|i| i.to_le_bytes()), list.len());
        self.tensor(node, role, vec![list.len()], TensorProto::INT64, data)
    }

    /// A single number in the network's own precision.
    fn number(&mut self, node: &Node, role: &str, x: f64) -> String {
        let data = match self.float_type {
            TensorProto::DOUBLE => x.to_le_bytes().to_vec(),
            _ => (x as f32).to_le_bytes().to_vec(),
        };
        self.tensor(node, role, Vec::new(), self.float_type, data.into())
    }

    fn tensor(&mut self, node: &Node, role: &str, dims: Vec<usize>, data_type: i32, data: Bytes) -> String {
        let name = self.unique(&node.name, role);
        self.proto.initializer.push(TensorProto {
            dims: to_i64(&dims),
            data_type,
            name: name.clone(),
            raw_data: Some(data),
            ..TensorProto::default()
        });
        name
    }

    /// `layer.role`, with a number behind it if that is taken.
    fn unique(&mut self, layer: &str, role: &str) -> String {
        let mut name = format!("{layer}.{role}");
        let mut suffix = 0;
        while !self.names.insert(name.clone()) {
            suffix += 1;
            name = format!("{layer}.{role}_{suffix}");
        }
        name
    }

    fn value_info(&self, node: &Node) -> ValueInfoProto {
        let dim = node.shape.0.iter().map(|dim| DimensionProto {
            value: match *dim {
                Dim::Fixed(n) => Some(Dimension::Value(n as i64)),
                Dim::Batch(1) => Some(Dimension::Param("N".into())),
                Dim::Batch(_) => None,
            },
        });
        let shape = Some(TensorShapeProto { dim: dim.collect() });
        let tensor_type = Some(TensorTypeProto { elem_type: self.float_type, shape });
        ValueInfoProto { name: node.name.clone(), r#type: Some(TypeProto { tensor_type }) }
    }
}

fn convolution(conv: &Conv, weight: &Param) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &weight.dims()[2..]),
        ints("strides", &conv.stride),
        pads(&conv.padding),
        ints("dilations", &conv.dilation),
        int("group", conv.groups),
    ]
}

fn windows(pool: &Pool, dilated: bool) -> Vec<AttributeProto> {
    let mut attributes = vec![
        ints("kernel_shape", &pool.kernel),
        ints("strides", &pool.stride),
        pads(&pool.padding),
        int("ceil_mode", usize::from(pool.ceil)),
    ];
    if dilated {
        attributes.push(ints("dilations", &pool.dilation));
    }
    attributes
}

fn pads(padding: &[(usize, usize)]) -> AttributeProto {
    let (before, after): (Vec<_>, Vec<_>) = padding.iter().copied().unzip();
    ints("pads", &[before, after].concat())
}

fn int(name: &str, i: usize) -> AttributeProto {
    AttributeProto { i: Some(i as i64), ..attribute(name, AttributeProto::INT) }
}

fn ints(name: &str, list: &[usize]) -> AttributeProto {
    AttributeProto { ints: to_i64(list), ..attribute(name, AttributeProto::INTS) }
}

fn float(name: &str, x: f64) -> AttributeProto {
    AttributeProto { f: Some(x as f32), ..attribute(name, AttributeProto::FLOAT) }
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        s: Some(Bytes::copy_from_slice(text.as_bytes())),
        ..attribute(name, AttributeProto::STRING)
    }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: name.into(), kind, ..AttributeProto::default() }
}

fn to_i64(list: &[usize]) -> Vec<i64> {
    list.iter().map(|&n| n as i64).collect()
}

fn little_endian<const WIDTH: usize>(numbers: impl Iterator<Item = [u8; WIDTH]>, len: usize) -> Bytes {
    let mut bytes = vec![0; WIDTH * len];
    for (chunk, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
        *chunk = number;
    }
    bytes.into()
}

fn unwritable(node: &Node, what: &str) -> Error {
    Error::Unwritable(format!("layer {:?} is {what}", node.name))
}
