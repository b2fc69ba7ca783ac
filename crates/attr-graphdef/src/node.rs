//! Operators of a graph: their attributes and what they read.

use prost::bytes::Bytes;

use crate::Result;
use crate::proto::{Attr, AttrValue, ListValue, NodeDef, TensorProto, data_type};
use crate::tensor::shape_proto;

/// The operator and the number of its output that `x` or `x:1` stands for.
pub fn endpoint(input: &str) -> (&str, usize) {
    match input.rsplit_once(':') {
        Some((name, number)) => number.parse().map_or((input, 0), |number| (name, number)),
        None => (input, 0),
    }
}

/// What an operator's output with this number is called as an input: `x` or `x:1`.
pub fn tensor_name(operator: &str, output: usize) -> String {
    if output == 0 { operator.into() } else { format!("{operator}:{output}") }
}

impl NodeDef {
    /// An operator without attributes.
    pub fn new<I: Into<String>>(op: &str, name: &str, input: impl IntoIterator<Item = I>) -> Self {
        let input = input.into_iter().map(Into::into).collect();
        NodeDef { name: name.into(), op: op.into(), input, ..NodeDef::default() }
    }

    /// The same operator with one more attribute.
    pub fn with(mut self, name: &str, value: AttrValue) -> Self {
        self.attr.insert(name.into(), value);
        self
    }

    /// What it reads, without what it only comes after.
    pub fn data_inputs(&self) -> impl Iterator<Item = &str> {
        self.input.iter().map(String::as_str).filter(|input| !input.starts_with('^'))
    }

    /// An attribute, if it is there.
    pub fn attribute(&self, name: &str) -> Option<&Attr> {
        self.attr.get(name)?.value.as_ref()
    }

    /// A whole number, if it is there.
    pub fn int(&self, name: &str) -> Option<i64> {
        if let Some(Attr::I(i)) = self.attribute(name) { Some(*i) } else { None }
    }

    /// A number, if it is there.
    pub fn float(&self, name: &str) -> Option<f32> {
        if let Some(Attr::F(f)) = self.attribute(name) { Some(*f) } else { None }
    }

    /// Whether an attribute is there and says yes.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.attribute(name), Some(Attr::B(true)))
    }

    /// A text, if it is there and is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Some(Attr::S(s)) = self.attribute(name) { std::str::from_utf8(s).ok() } else { None }
    }

    /// A kind of numbers, if it is there.
    pub fn kind(&self, name: &str) -> Option<i32> {
        if let Some(Attr::Type(dtype)) = self.attribute(name) { Some(*dtype) } else { None }
    }

    /// A list of whole numbers; empty if it is not there.
    pub fn ints(&self, name: &str) -> &[i64] {
        if let Some(Attr::List(list)) = self.attribute(name) { &list.i } else { &[] }
    }

    /// The name of a function, if it is there.
    pub fn function(&self, name: &str) -> Option<&str> {
        if let Some(Attr::Func(function)) = self.attribute(name) { Some(&function.name) } else { None }
    }

    /// The numbers of a constant, if they are there.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        if let Some(Attr::Tensor(tensor)) = self.attribute(name) { Some(tensor) } else { None }
    }

    /// The lengths in an attribute's shape, `None` for those that are not known; none at all if not even their
    /// number is, or the attribute is not there.
    pub fn dims(&self, name: &str) -> Option<Vec<Option<usize>>> {
        if let Some(Attr::Shape(shape)) = self.attribute(name) {
            crate::tensor::dims(Some(shape))
        } else {
            None
        }
    }

    /// Whether its first output is made of floating-point numbers.
    pub fn gives_floats(&self) -> bool {
        let truth =
            self.op.starts_with("Logical") || self.op.starts_with("Greater") || self.op.starts_with("Less");
        let kind = match self.op.as_str() {
            "Shape" | "ShapeN" | "Size" | "Rank" | "ArgMax" | "ArgMin" | "Where" => return false,
            "Equal" | "NotEqual" | "IsNan" | "IsInf" | "IsFinite" | "Any" | "All" => return false,
            _ if truth => return false,
            "Cast" => self.kind("DstT"),
            "GatherV2" => self.kind("Tparams"),
            _ => self.kind("T").or(self.kind("dtype")),
        };
        let floats = [data_type::FLOAT, data_type::DOUBLE, data_type::HALF, data_type::BFLOAT16];
        // Exporters leave out what is the default, which is single precision wherever there is one.
        kind.is_none_or(|kind| floats.contains(&kind))
    }
}

impl AttrValue {
    /// A kind of numbers, as in [`data_type`].
    pub fn kind(dtype: i32) -> Self {
        Attr::Type(dtype).into()
    }

    /// A whole number.
    pub fn int(i: i64) -> Self {
        Attr::I(i).into()
    }

    /// Whole numbers.
    pub fn ints(i: impl IntoIterator<Item = i64>) -> Self {
        Attr::List(ListValue { i: i.into_iter().collect(), ..ListValue::default() }).into()
    }

    /// A number.
    pub fn float(f: f32) -> Self {
        Attr::F(f).into()
    }

    /// Yes or no.
    pub fn flag(b: bool) -> Self {
        Attr::B(b).into()
    }

    /// A text.
    pub fn text(text: &str) -> Self {
        Attr::S(Bytes::copy_from_slice(text.as_bytes())).into()
    }

    /// A shape; `None` for a length that is not known.
    pub fn shape(dims: &[Option<usize>]) -> Self {
        Attr::Shape(shape_proto(dims)).into()
    }

    /// Numbers.
    pub fn tensor(tensor: TensorProto) -> Self {
        Attr::Tensor(tensor).into()
    }

    /// A copy that does not keep the whole file in memory.
    pub(crate) fn detached(&self) -> Self {
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let mut copy = self.clone();
        match &mut copy.value {
            Some(Attr::S(text)) => *text = own(text),
            Some(Attr::List(list)) => list.s.iter_mut().for_each(|text| *text = own(text)),
            Some(Attr::Tensor(tensor)) => {
                tensor.tensor_content = own(&tensor.tensor_content);
                tensor.string_val.iter_mut().for_each(|text| *text = own(text));
            }
            _ => {}
        }
        copy
    }
}

impl From<Attr> for AttrValue {
    fn from(value: Attr) -> Self {
        AttrValue { value: Some(value) }
    }
}

/// The numbers of a constant operator.
pub(crate) fn constant(node: &NodeDef) -> Result<&TensorProto> {
    node.tensor("value")
        .ok_or_else(|| crate::Error::operator(&node.name, "expected a constant's numbers, found none"))
}
