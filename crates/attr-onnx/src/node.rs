//! One operator of a file, with its attributes and inputs at hand.

use std::cell::RefCell;
use std::rc::Rc;

use attr_core::NodeId;

use crate::Error;
use crate::array::{Array, Constant, Size, decimal};
use crate::operators::rows::RowNumbers;
use crate::proto::{AttributeProto, NodeProto};

/// No value has more axes than this: a broken file must not make every shape a long list.
pub(crate) const MAX_RANK: usize = 16;

/// No attribute that counts entries of an axis is larger than this.
const MAX_COUNT: i64 = 1 << 31;

/// What a value of the file has become.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A layer's value.
    Layer(NodeId),
    /// A value that is known already.
    Constant(Constant),
    /// Numbers that depend on the number of the row.
    Rows(RowNumbers),
    /// Something behind an unsupported operator, of which the user hears anyway.
    Unknown,
    /// Something that is unsupported if a layer reads it: the operator and its layer.
    Unsupported(Rc<str>, Rc<str>),
}

/// Why an operator can't be taken over.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is no exact word for it: "with attribute x=2".
    Unsupported(String),
    /// The layer makes no sense: what was expected and found.
    Broken(String),
    /// Something else that says its place itself.
    Other(Error),
}

pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}

pub(crate) fn broken<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Broken(reason.into()))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Other(error)
    }
}

impl From<attr_core::Error> for Fault {
    fn from(error: attr_core::Error) -> Self {
        Fault::Other(error.into())
    }
}

/// The values of an operator's outputs.
pub(crate) type Values = Result<Vec<Value>, Fault>;

/// An operator of the file, with its inputs at hand.
pub(crate) struct Node<'a> {
    /// The name of its layer.
    pub(crate) name: Rc<str>,
    /// The version of the file's set of operators.
    pub(crate) opset: i64,
    /// Its lines in the file.
    pub(crate) proto: &'a NodeProto,
    inputs: Vec<Option<Value>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Node<'a> {
    pub(crate) fn new(name: Rc<str>, opset: i64, proto: &'a NodeProto, inputs: Vec<Option<Value>>) -> Self {
        Node { name, opset, proto, inputs, asked: RefCell::default() }
    }

    /// An attribute of the file. Those that nobody asks for are unsupported in the end.
    pub(crate) fn attribute(&self, name: &'static str) -> Option<&'a AttributeProto> {
        self.asked.borrow_mut().push(name);
        self.proto.attribute.iter().find(|a| a.name == name)
    }

    pub(crate) fn int(&self, name: &'static str, default: i64) -> Result<i64, Fault> {
        let Some(a) = self.attribute(name) else { return Ok(default) };
        match a.i {
            Some(i) => Ok(i),
            None if a.kind == AttributeProto::INT => Ok(0),
            None => broken(format!("attribute {name}: expected an integer")),
        }
    }

    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Result<bool, Fault> {
        Ok(self.int(name, default.into())? != 0)
    }

    pub(crate) fn float(&self, name: &'static str, default: f64) -> Result<f64, Fault> {
        let Some(a) = self.attribute(name) else { return Ok(default) };
        match a.exact.or_else(|| a.f.map(decimal)) {
            Some(f) if f.is_nan() => broken(format!("attribute {name} is not a number")),
            Some(f) => Ok(f),
            None if a.kind == AttributeProto::FLOAT => Ok(0.0),
            None => broken(format!("attribute {name}: expected a number")),
        }
    }

    pub(crate) fn ints(&self, name: &'static str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| &a.ints[..])
    }

    pub(crate) fn text(&self, name: &'static str, default: &'a str) -> Result<&'a str, Fault> {
        match self.attribute(name).map(|a| std::str::from_utf8(a.s.as_deref().unwrap_or_default())) {
            None => Ok(default),
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => broken(format!("attribute {name}: expected text")),
        }
    }

    /// The first attribute that the operator's import did not look at.
    pub(crate) fn ignored(&self) -> Option<&'a AttributeProto> {
        let asked = self.asked.borrow();
        self.proto.attribute.iter().find(|a| !asked.contains(&a.name.as_str()))
    }

    /// A constant that the operator gives.
    pub(crate) fn value(&self, origin: usize, array: Array) -> Value {
        Value::Constant(Constant { name: self.name.clone(), origin, array })
    }

    /// An input, if it is there.
    pub(crate) fn input(&self, i: usize) -> Option<&Value> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    pub(crate) fn inputs(&self) -> &[Option<Value>] {
        &self.inputs
    }

    /// An input that must be known now, if it is there.
    pub(crate) fn optional(&self, i: usize) -> Result<Option<&Constant>, Fault> {
        match self.input(i) {
            None => Ok(None),
            Some(Value::Constant(constant)) => Ok(Some(constant)),
            Some(_) => unsupported(format!("with a computed input {i}")),
        }
    }

    /// An input that must be there and known now.
    pub(crate) fn constant(&self, i: usize) -> Result<&Constant, Fault> {
        self.optional(i)?.ok_or_else(|| Fault::Broken(format!("input {i} is missing")))
    }

    /// A list of sizes as input, if it is there.
    pub(crate) fn sizes(&self, i: usize) -> Result<Option<Vec<Size>>, Fault> {
        match self.optional(i)?.map(|c| &c.array) {
            None => Ok(None),
            Some(Array::Int(a)) if a.ndim() <= 1 => Ok(Some(a.iter().copied().collect())),
            Some(other) => broken(format!(
                "input {i}: expected a list of integers, found an array of shape {:?}",
                other.dims()
            )),
        }
    }

    /// A list of integers as input, if it is there.
    pub(crate) fn integers(&self, i: usize) -> Result<Option<Vec<i64>>, Fault> {
        let Some(sizes) = self.sizes(i)? else { return Ok(None) };
        let fixed: Option<Vec<_>> = sizes.into_iter().map(Size::fixed).collect();
        match fixed {
            Some(fixed) => Ok(Some(fixed)),
            None => unsupported(format!("whose input {i} depends on the batch")),
        }
    }

    /// A list of numbers as input, if it is there.
    pub(crate) fn numbers(&self, i: usize) -> Result<Option<Vec<f64>>, Fault> {
        let Some(constant) = self.optional(i)? else { return Ok(None) };
        match constant.array.numbers() {
            Some(numbers) => Ok(Some(numbers)),
            None => unsupported(format!("whose input {i} depends on the batch")),
        }
    }

    /// A number as input, if it is there.
    pub(crate) fn number(&self, i: usize) -> Result<Option<f64>, Fault> {
        match self.numbers(i)?.as_deref() {
            None => Ok(None),
            Some([x]) if !x.is_nan() => Ok(Some(*x)),
            Some(other) => broken(format!("input {i}: expected one number, found {}", other.len())),
        }
    }

    /// The list of integers that was an attribute before operator set `since` and is an input from it on.
    pub(crate) fn ints_or_input(
        &self,
        name: &'static str,
        since: i64,
        i: usize,
    ) -> Result<Option<Vec<i64>>, Fault> {
        if self.opset >= since { self.integers(i) } else { Ok(self.ints(name).map(<[i64]>::to_vec)) }
    }
}

/// An axis of so many, which may be counted from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    match usize::try_from(counted) {
        Ok(counted) if counted < rank => Ok(counted),
        _ => broken(format!("axis {axis} is out of range for {rank} axes")),
    }
}

/// Different axes of so many, ascending.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let mut axes = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.is_sorted_by(|a, b| a < b) {
        true => Ok(axes),
        false => broken(format!("expected different axes, found {list:?}")),
    }
}

/// A count of entries.
pub(crate) fn count(n: i64) -> Result<usize, Fault> {
    match n {
        0..=MAX_COUNT => Ok(n as usize),
        _ => broken(format!("expected a number from 0 to {MAX_COUNT}, found {n}")),
    }
}
