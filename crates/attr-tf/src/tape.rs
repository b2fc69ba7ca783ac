//! Operators written down one by one, to be run in a session later.
//!
//! What is written down twice is there once: a node of the same kind that reads the same values is the same node.
//! A tape may have two parts, the way forward and the way back; the second reads what the first has computed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use attr_core::{Precision, Result};
use attr_graphdef::proto::{Attr, AttrValue, ListValue, NodeDef, TensorProto, TensorShapeProto, data_type};
use ndarray::ArrayD;
use prost::Message;
use tensorflow::Session;

use crate::error::backend;
use crate::plan::{self, Out, Plan, Role, Source};
use crate::tensor::Numbers;

/// A node's number on its tape. It has one output.
pub(crate) type Id = usize;

/// What is given to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Feed {
    /// A parameter by its number, the same in each run.
    Param(usize),
    /// Any other tensor by its number.
    Given(usize),
    /// A derivative by its number, known when the way forward has been gone.
    Cotangent(usize),
}

/// What a node gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers of the tape's precision.
    Float,
    /// 32-bit whole numbers.
    Int,
    /// Yes or no.
    Bool,
}

/// One operator at its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) op: &'static str,
    pub(crate) inputs: Vec<Id>,
    pub(crate) attrs: Vec<(&'static str, Attr)>,
    pub(crate) kind: Kind,
    pub(crate) feed: Option<Feed>,
    /// The same for nodes that do the same with the same parameters, on any tape, if no more than parameters go in.
    pub(crate) constant: Option<Rc<[u8]>>,
}

/// The tape, shared by all who write on it.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    precision: Precision,
    written: Rc<RefCell<Written>>,
    /// How many placeholders of parameters there are in the model.
    params: Rc<Cell<usize>>,
    /// Whether it is for others to read, with the operators that they know, and not run here.
    for_others: bool,
}

/// What has been written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) nodes: Vec<Node>,
    /// Where the way back begins.
    pub(crate) back: Option<Id>,
    known: HashMap<Vec<u8>, Id>,
}

impl Tape {
    pub(crate) fn new(precision: Precision) -> Self {
        Tape { precision, written: Rc::default(), params: Rc::default(), for_others: false }
    }

    /// The same for others to read: padding may be an attribute of what it is for.
    pub(crate) fn for_others(self) -> Self {
        Tape { for_others: true, ..self }
    }

    pub(crate) fn is_for_others(&self) -> bool {
        self.for_others
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// A number for one more parameter.
    pub(crate) fn new_param(&self) -> usize {
        self.params.replace(self.params.get() + 1)
    }

    /// All that has been written; the tape is empty then.
    pub(crate) fn take(&self) -> Written {
        self.written.take()
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.written.borrow().nodes.len()
    }

    /// What is written from now on is the way back.
    pub(crate) fn turn_back(&self) {
        let mut written = self.written.borrow_mut();
        written.back = Some(written.nodes.len());
    }

    /// A place for a tensor of these lengths.
    pub(crate) fn placeholder(&self, feed: Feed, dims: &[usize]) -> Id {
        let attrs = vec![("dtype", self.float_type()), ("shape", shape(dims))];
        self.push("Placeholder", &[], attrs, Kind::Float, Some(feed))
    }

    /// An operator on numbers, whose attribute `T` says which.
    pub(crate) fn op(&self, op: &'static str, inputs: &[Id]) -> Id {
        self.op_with(op, inputs, vec![])
    }

    /// As [`Tape::op`], with more attributes.
    pub(crate) fn op_with(&self, op: &'static str, inputs: &[Id], attrs: Vec<(&'static str, Attr)>) -> Id {
        let attrs = [vec![("T", self.float_type())], attrs].concat();
        self.push(op, inputs, attrs, Kind::Float, None)
    }

    /// An operator that compares numbers, or one on truth values, which has no attributes.
    pub(crate) fn truth(&self, op: &'static str, inputs: &[Id]) -> Id {
        let attrs = if op.starts_with("Logical") { vec![] } else { vec![("T", self.float_type())] };
        self.push(op, inputs, attrs, Kind::Bool, None)
    }

    /// An operator that gives whole numbers.
    pub(crate) fn whole(&self, op: &'static str, inputs: &[Id], attrs: Vec<(&'static str, Attr)>) -> Id {
        self.push(op, inputs, attrs, Kind::Int, None)
    }

    /// An operator whose attributes are all said.
    pub(crate) fn op_as(&self, op: &'static str, inputs: &[Id], attrs: Vec<(&'static str, Attr)>) -> Id {
        self.push(op, inputs, attrs, Kind::Float, None)
    }

    /// Whole numbers as a list.
    pub(crate) fn ints(&self, numbers: &[i64]) -> Id {
        self.const_ints(&[numbers.len()], numbers)
    }

    /// One whole number, without an axis.
    pub(crate) fn int(&self, number: i64) -> Id {
        self.const_ints(&[], &[number])
    }

    /// Lengths as a list.
    pub(crate) fn lengths(&self, dims: &[usize]) -> Id {
        self.ints(&dims.iter().map(|&n| n as i64).collect::<Vec<_>>())
    }

    fn const_ints(&self, dims: &[usize], numbers: &[i64]) -> Id {
        let bytes = numbers.iter().flat_map(|&n| (n as i32).to_le_bytes()).collect::<Vec<_>>();
        let tensor = tensor(data_type::INT32, dims, bytes);
        let attrs = vec![("dtype", Attr::Type(data_type::INT32)), ("value", Attr::Tensor(tensor))];
        self.push("Const", &[], attrs, Kind::Int, None)
    }

    /// One number, which broadcasts to any shape.
    pub(crate) fn scalar(&self, number: f64) -> Id {
        self.floats(&ArrayD::from_elem(vec![], number))
    }

    /// Numbers.
    pub(crate) fn floats(&self, numbers: &ArrayD<f64>) -> Id {
        let bytes: Vec<u8> = match self.precision {
            Precision::F64 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        };
        let tensor = tensor(self.data_type(), numbers.shape(), bytes);
        let attrs = vec![("dtype", self.float_type()), ("value", Attr::Tensor(tensor))];
        self.push("Const", &[], attrs, Kind::Float, None)
    }

    /// The tape's kind of numbers, as an attribute.
    pub(crate) fn float_type(&self) -> Attr {
        Attr::Type(self.data_type())
    }

    fn data_type(&self) -> i32 {
        if self.precision == Precision::F64 { data_type::DOUBLE } else { data_type::FLOAT }
    }

    /// A node that gives what another one does, to be asked for: TensorFlow does not give back what it is fed.
    pub(crate) fn fetch(&self, id: Id) -> Id {
        let mut written = self.written.borrow_mut();
        let attrs = vec![("T", self.float_type())];
        let node =
            Node { op: "Identity", inputs: vec![id], attrs, kind: Kind::Float, feed: None, constant: None };
        written.nodes.push(node);
        written.nodes.len() - 1
    }

    fn push(
        &self,
        op: &'static str,
        inputs: &[Id],
        attrs: Vec<(&'static str, Attr)>,
        kind: Kind,
        feed: Option<Feed>,
    ) -> Id {
        let mut written = self.written.borrow_mut();
        let key = key(op, &attrs, feed, inputs.iter().map(|id| id.to_le_bytes().to_vec()));
        let known = written.known.get(&key).copied();
        // Only numbers are handed from the way forward to the way back.
        if let Some(id) =
            known.filter(|&id| kind == Kind::Float || written.back.is_none_or(|back| id >= back))
        {
            return id;
        }
        let constants =
            inputs.iter().map(|&id| written.nodes[id].constant.as_ref()).collect::<Option<Vec<_>>>();
        let constant = match (feed, constants) {
            (Some(Feed::Given(_) | Feed::Cotangent(_)), _) | (_, None) => None,
            (_, Some(inputs)) => {
                Some(self::key(op, &attrs, feed, inputs.iter().map(|key| key.to_vec())).into())
            }
        };
        let id = written.nodes.len();
        written.nodes.push(Node { op, inputs: inputs.to_vec(), attrs, kind, feed, constant });
        written.known.insert(key, id);
        id
    }
}

/// What has been computed from parameters alone, by what it is.
pub(crate) type Constants = RefCell<HashMap<Rc<[u8]>, Numbers>>;

impl Written {
    /// A plan that fetches `there` on the way forward and `back` on the way back, all of them made by
    /// [`Tape::fetch`], on a device by TensorFlow's name of it. Parameters are asked for by their numbers; what
    /// depends on nothing else is computed once.
    pub(crate) fn plan(
        &self,
        device: &str,
        there: &[Id],
        back: &[Id],
        cotangents: Vec<Vec<usize>>,
        constants: &Constants,
        param: &dyn Fn(usize) -> Result<Numbers>,
    ) -> Result<Plan> {
        let graph = plan::graph(self.node_defs(device))?;
        let out = |id: Id| Ok((plan::operation(&graph, &name(id))?, 0));
        let outs = |ids: &[Id]| ids.iter().map(|&id| out(id)).collect::<Result<Vec<_>>>();
        let constant = |id: Id, key: &Rc<[u8]>, session: &Session| -> Result<Numbers> {
            if let Some(known) = constants.borrow().get(key) {
                return Ok(known.clone());
            }
            let feed = |id: Id| match self.nodes[id].feed {
                Some(Feed::Param(index)) => Some(out(id).and_then(|out| Ok((out, param(index)?)))),
                _ => None,
            };
            let params = self.below(id).into_iter().filter_map(feed).collect::<Result<_>>()?;
            let value = plan::evaluate(session, out(id)?, params)?;
            constants.borrow_mut().insert(Rc::clone(key), value.clone());
            Ok(value)
        };
        let role = |(operation, _): &Out, session: &Session| {
            let name = operation.name().map_err(|error| backend(&error.to_string()))?;
            let id = number(&name).expect("BUG: a node of a tape has the name of one");
            let node = &self.nodes[id];
            Ok(match (node.feed, &node.constant) {
                (Some(Feed::Param(index)), _) => Role::Feed(Source::Constant(param(index)?)),
                (Some(Feed::Given(index)), _) => Role::Feed(Source::Given(index)),
                (Some(Feed::Cotangent(index)), _) => Role::Feed(Source::Cotangent(index)),
                (_, Some(_)) if node.op == "Const" || node.kind != Kind::Float => Role::Anywhere,
                (_, Some(key)) => Role::Feed(Source::Constant(constant(id, key, session)?)),
                _ if self.back.is_some_and(|back| id < back) => Role::Forward,
                _ => Role::Anywhere,
            })
        };
        Plan::new(
            plan::session(&graph)?,
            &outs(there)?,
            &outs(back)?,
            cotangents.len(),
            Some(cotangents),
            &role,
        )
    }

    /// A node, and all that it is computed from.
    fn below(&self, id: Id) -> BTreeSet<Id> {
        let (mut below, mut open) = (BTreeSet::new(), vec![id]);
        while let Some(id) = open.pop() {
            if below.insert(id) {
                open.extend(&self.nodes[id].inputs);
            }
        }
        below
    }

    /// The nodes as TensorFlow's own; node `i` is called `n{i}`, and computed on a device.
    fn node_defs(&self, device: &str) -> Vec<NodeDef> {
        let def = |(id, node): (Id, &Node)| NodeDef {
            name: name(id),
            op: node.op.into(),
            input: node.inputs.iter().map(|&id| name(id)).collect(),
            device: device.into(),
            attr: node.attrs.iter().map(|(name, value)| (name.to_string(), attr(value.clone()))).collect(),
        };
        self.nodes.iter().enumerate().map(def).collect()
    }
}

/// What a node is called.
fn name(id: Id) -> String {
    format!("n{id}")
}

/// The node of a name.
fn number(name: &str) -> Option<Id> {
    name.strip_prefix('n')?.parse().ok()
}

/// Bytes that tell nodes apart.
fn key(
    op: &str,
    attrs: &[(&'static str, Attr)],
    feed: Option<Feed>,
    inputs: impl Iterator<Item = Vec<u8>>,
) -> Vec<u8> {
    let mut key = format!("{op} {feed:?}").into_bytes();
    for (name, value) in attrs {
        key.extend(name.bytes());
        key.extend(attr(value.clone()).encode_length_delimited_to_vec());
    }
    for input in inputs {
        key.extend(input.len().to_le_bytes());
        key.extend(input);
    }
    key
}

fn attr(value: Attr) -> AttrValue {
    AttrValue { value: Some(value) }
}

/// A list of whole numbers as an attribute.
pub(crate) fn ints(numbers: &[usize]) -> Attr {
    Attr::List(ListValue { i: numbers.iter().map(|&n| n as i64).collect(), ..Default::default() })
}

/// A text as an attribute.
pub(crate) fn text(text: &'static str) -> Attr {
    Attr::S(text.as_bytes().into())
}

/// The type of whole numbers as an attribute.
pub(crate) const INT32: Attr = Attr::Type(data_type::INT32);

fn shape(dims: &[usize]) -> Attr {
    Attr::Shape(shape_proto(dims))
}

fn shape_proto(dims: &[usize]) -> TensorShapeProto {
    let dim = dims.iter().map(|&n| attr_graphdef::proto::Dim { size: n as i64 }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

fn tensor(dtype: i32, dims: &[usize], bytes: Vec<u8>) -> TensorProto {
    let tensor_shape = Some(shape_proto(dims));
    TensorProto { dtype, tensor_shape, tensor_content: bytes.into(), ..Default::default() }
}
