//! One operator of a graph, with what it reads at hand.

use std::rc::Rc;

use attr_core::NodeId;

use super::known::{Known, Size};
use crate::Error;
use crate::proto::NodeDef;

/// No attribute or size that counts entries of an axis is larger than this.
const MAX_COUNT: i64 = 1 << 31;

/// A layer that gives the numbers of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Carried {
    pub(super) id: NodeId,
    /// Whether the tensor's last axis is the layer's axis 1, and the others are in order.
    pub(super) second: bool,
}

/// What a tensor has become.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A layer's value.
    Layer(Carried),
    /// Known already; what its layer is called, should it become one.
    Known(Rc<str>, Known),
    /// Windows of a value, every so many entries along each spatial axis, as rows of a batch.
    Spaced(Spaced),
    /// Something behind an unsupported operator, of which the user hears anyway.
    Unknown,
    /// An output that is unsupported if something reads it: what operator.
    Missing(String),
}

/// A value whose spatial axes have been padded and dealt out to rows, and perhaps a convolution of that.
#[derive(Debug, Clone)]
pub(super) struct Spaced {
    pub(super) x: Carried,
    pub(super) block: Vec<usize>,
    pub(super) padding: Vec<(usize, usize)>,
    /// The place of the operator that is the convolution.
    pub(super) convolution: Option<usize>,
}

/// Why an operator can't be taken over.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no exact word for it: "with attribute x=2".
    Unsupported(String),
    /// It makes no sense: what was expected and found.
    Broken(String),
    /// Something else that says its place itself.
    Other(Error),
}

pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}

pub(super) fn broken<T>(reason: impl Into<String>) -> Result<T, Fault> {
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
pub(super) type Values = Result<Vec<Value>, Fault>;

/// An operator, with what it reads.
pub(super) struct Operator<'a> {
    pub(super) node: &'a NodeDef,
    /// The places of the operators that it reads, and the numbers of their outputs.
    pub(super) sources: Vec<(usize, usize)>,
    pub(super) inputs: Vec<Value>,
}

impl<'a> Operator<'a> {
    pub(super) fn name(&self) -> &'a str {
        &self.node.name
    }

    pub(super) fn input(&self, i: usize) -> Result<&Value, Fault> {
        self.inputs.get(i).ok_or_else(|| Fault::Broken(format!("input {i} is missing")))
    }

    /// An input that must be known.
    pub(super) fn known(&self, i: usize) -> Result<&Known, Fault> {
        match self.input(i)? {
            Value::Known(_, known) => Ok(known),
            _ => unsupported(format!("with a computed input {i}")),
        }
    }

    /// An input that must be a layer's.
    pub(super) fn layer(&self, i: usize) -> Result<Carried, Fault> {
        match self.input(i)? {
            Value::Layer(carried) => Ok(*carried),
            Value::Known(..) => unsupported(format!("of a constant input {i}")),
            _ => unsupported("of a value that is not one of layers"),
        }
    }

    /// A list of sizes, or one, as input.
    pub(super) fn sizes(&self, i: usize) -> Result<Vec<Size>, Fault> {
        match self.known(i)? {
            Known::Int(a) if a.ndim() <= 1 => Ok(a.iter().copied().collect()),
            other => {
                broken(format!("input {i}: expected a list of integers, found shape {:?}", other.dims()))
            }
        }
    }

    /// A list of integers, or one, as input.
    pub(super) fn integers(&self, i: usize) -> Result<Vec<i64>, Fault> {
        let fixed: Option<Vec<_>> = self.sizes(i)?.into_iter().map(Size::fixed).collect();
        fixed.ok_or_else(|| Fault::Unsupported(format!("whose input {i} depends on the batch")))
    }

    /// One integer as input.
    pub(super) fn integer(&self, i: usize) -> Result<i64, Fault> {
        match self.integers(i)?[..] {
            [n] => Ok(n),
            ref other => broken(format!("input {i}: expected one integer, found {}", other.len())),
        }
    }

    /// One number as input.
    pub(super) fn number(&self, i: usize) -> Result<f64, Fault> {
        match self.known(i)?.numbers().as_deref() {
            Some([x]) if !x.is_nan() => Ok(*x),
            _ => unsupported(format!("whose input {i} is not one number")),
        }
    }

    /// An attribute of four whole numbers, of which the first and last must be 1: those for height and width.
    pub(super) fn spatial(&self, attribute: &str) -> Result<[usize; 2], Fault> {
        match *self.node.ints(attribute) {
            [] => Ok([1; 2]),
            [1, height, width, 1] => Ok([count(height)?, count(width)?]),
            ref other => unsupported(format!("with attribute {attribute}={other:?}")),
        }
    }

    /// Checks that channels are last.
    pub(super) fn channels_last(&self) -> Result<(), Fault> {
        match self.node.text("data_format").unwrap_or("NHWC") {
            "NHWC" => Ok(()),
            other => unsupported(format!("with attribute data_format={other}")),
        }
    }
}

/// An axis of so many, which may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    match usize::try_from(counted) {
        Ok(counted) if counted < rank => Ok(counted),
        _ => broken(format!("axis {axis} is out of range for {rank} axes")),
    }
}

/// Different axes of so many, ascending.
pub(super) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let mut axes = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.is_sorted_by(|a, b| a < b) {
        true => Ok(axes),
        false => broken(format!("expected different axes, found {list:?}")),
    }
}

/// A count of entries.
pub(super) fn count(n: i64) -> Result<usize, Fault> {
    match n {
        0..=MAX_COUNT => Ok(n as usize),
        _ => broken(format!("expected a number from 0 to {MAX_COUNT}, found {n}")),
    }
}

pub(super) fn counts(list: &[i64]) -> Result<Vec<usize>, Fault> {
    list.iter().map(|&n| count(n)).collect()
}
