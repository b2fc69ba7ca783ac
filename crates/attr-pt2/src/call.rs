//! One operator of a program, with what it is given, and how its translation is written.

use attr_onnx::proto::{AttributeProto, NodeProto, TensorProto};
use serde_json::Value;

use crate::Error;
use crate::schema::Node;
use crate::size::Size;
use crate::translate::{Translator, call_outputs};
use crate::weights::kind;

/// Why an operator can't be taken over.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is no exact word for it: "in training mode".
    Unsupported(String),
    /// It makes no sense: what was expected and found.
    Broken(String),
}

impl Fault {
    pub(crate) fn plain() -> Self {
        Fault::Unsupported(String::new())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Fault::Unsupported(reason) | Fault::Broken(reason)) = self;
        f.write_str(reason)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Broken(error.to_string())
    }
}

pub(crate) type Done<T = ()> = Result<T, Fault>;

pub(crate) fn unsupported<T>(how: impl Into<String>) -> Done<T> {
    Err(Fault::Unsupported(how.into()))
}

pub(crate) fn broken<T>(reason: impl Into<String>) -> Done<T> {
    Err(Fault::Broken(reason.into()))
}

/// No more numbers than this are made for one operator.
const MOST_NUMBERS: i64 = 1 << 22;

/// No further back than this is looked for what a value was before.
const MOST_STEPS: usize = 64;

/// An operator at its place.
pub(crate) struct Call<'t, 'a> {
    t: &'t mut Translator<'a>,
    node: &'a Node,
    /// What distinguishes operators of one name: `Tensor`, `Scalar`.
    pub(crate) overload: &'a str,
    name: String,
    scopes: String,
    /// The names of its values.
    pub(crate) outputs: Vec<&'a str>,
}

impl<'t, 'a> Call<'t, 'a> {
    pub(crate) fn new(
        t: &'t mut Translator<'a>,
        node: &'a Node,
        overload: &'a str,
        name: &str,
        scopes: &str,
    ) -> Done<Self> {
        let outputs = call_outputs(node);
        if outputs.is_empty() {
            return unsupported("without a value");
        }
        Ok(Call { t, node, overload, name: name.into(), scopes: scopes.into(), outputs })
    }

    /// What is given under a name; nothing where the program leaves it to its default, or says `None`.
    fn given(&self, name: &str) -> Option<(&'a str, &'a Value)> {
        let argument = self.node.inputs.iter().find(|argument| argument.name == name)?;
        let (kind, value) = argument.arg.iter().next()?;
        (kind != "as_none").then_some((kind.as_str(), value))
    }

    fn wrong<T>(&self, name: &str, expected: &str) -> Done<T> {
        broken(format!("argument {name}: expected {expected}"))
    }

    fn named(&self, value: &Value) -> Option<String> {
        value.get("name")?.as_str().map(|name| self.t.current(name).to_string())
    }

    /// The value given under a name.
    pub(crate) fn tensor(&self, name: &str) -> Done<String> {
        match self.optional(name)? {
            Some(value) => Ok(value),
            None => self.wrong(name, "a tensor"),
        }
    }

    pub(crate) fn optional(&self, name: &str) -> Done<Option<String>> {
        match self.given(name) {
            None => Ok(None),
            Some(("as_tensor", value)) => Ok(self.named(value)),
            Some(("as_optional_tensor", value)) => {
                Ok(value.get("as_tensor").and_then(|value| self.named(value)))
            }
            Some(_) => self.wrong(name, "a tensor"),
        }
    }

    /// A list of values; `None` for each that is none.
    pub(crate) fn tensors(&self, name: &str) -> Done<Vec<Option<String>>> {
        match self.given(name) {
            Some(("as_tensors", Value::Array(values))) => {
                Ok(values.iter().map(|value| self.named(value)).collect())
            }
            Some(("as_optional_tensors", Value::Array(values))) => {
                let one = |value: &'a Value| value.get("as_tensor").and_then(|value| self.named(value));
                Ok(values.iter().map(one).collect())
            }
            _ => self.wrong(name, "a list of tensors"),
        }
    }

    fn size(&self, value: &Value) -> Option<Size> {
        if let Some(n) = value.as_i64() {
            return Some(Size::Fixed(n));
        }
        if let Some(n) = value.get("as_int") {
            return n.as_i64().map(Size::Fixed);
        }
        self.t.named_size(value.get("as_name")?.as_str()?)
    }

    /// A list of whole numbers; `None` where it is not given.
    pub(crate) fn ints(&self, name: &str) -> Done<Option<Vec<i64>>> {
        let list = |values: &Value| -> Option<Vec<i64>> {
            values.as_array()?.iter().map(|value| self.size(value)?.fixed()).collect()
        };
        match self.given(name) {
            None => Ok(None),
            Some(("as_ints" | "as_sym_ints", values)) => match list(values) {
                Some(list) => Ok(Some(list)),
                None => unsupported(format!("whose {name} depends on the batch")),
            },
            Some(("as_int", value)) => Ok(value.as_i64().map(|n| vec![n])),
            Some(_) => self.wrong(name, "whole numbers"),
        }
    }

    /// So many whole numbers, one for each spatial axis: one alone is that of all.
    pub(crate) fn spatial(&self, name: &str, axes: usize, default: i64) -> Done<Vec<i64>> {
        match self.ints(name)?.as_deref() {
            None | Some([]) => Ok(vec![default; axes]),
            Some([one]) => Ok(vec![*one; axes]),
            Some(list) if list.len() == axes => Ok(list.to_vec()),
            Some(list) => broken(format!("argument {name}: expected {axes} numbers, found {}", list.len())),
        }
    }

    pub(crate) fn int(&self, name: &str) -> Done<Option<i64>> {
        match self.given(name) {
            None => Ok(None),
            Some(("as_int", value)) => Ok(value.as_i64()),
            Some(("as_sym_int", value)) => match self.size(value).and_then(Size::fixed) {
                Some(n) => Ok(Some(n)),
                None => unsupported(format!("whose {name} depends on the batch")),
            },
            Some(_) => self.wrong(name, "a whole number"),
        }
    }

    /// A number of any kind.
    pub(crate) fn number(&self, name: &str) -> Done<Option<f64>> {
        let Some((kind, value)) = self.given(name) else { return Ok(None) };
        let number = match (kind, value) {
            ("as_bool", Value::Bool(value)) => Some(f64::from(u8::from(*value))),
            (_, Value::String(text)) => match text.as_str() {
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                "NaN" => Some(f64::NAN),
                _ => None,
            },
            (_, value) => value.as_f64(),
        };
        if number.is_none() { self.wrong(name, "a number") } else { Ok(number) }
    }

    pub(crate) fn flag(&self, name: &str) -> Done<bool> {
        match self.given(name) {
            None => Ok(false),
            Some(("as_bool", Value::Bool(value))) => Ok(*value),
            Some(_) => self.wrong(name, "yes or no"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Done<Option<&'a str>> {
        match self.given(name) {
            None => Ok(None),
            Some(("as_string", Value::String(text))) => Ok(Some(text)),
            Some(_) => self.wrong(name, "a text"),
        }
    }

    /// The operator's name, without overload and the `_` of those that work in place.
    pub(crate) fn operator(&self) -> &'a str {
        let target = self.node.target.strip_prefix("torch.ops.aten.").unwrap_or(&self.node.target);
        let operator = target.split_once('.').map_or(target, |(operator, _)| operator);
        operator.strip_suffix('_').unwrap_or(operator)
    }

    /// Whether anything is given.
    pub(crate) fn given_any(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// A list of numbers; `None` where it is not given.
    pub(crate) fn numbers_of(&self, name: &str) -> Done<Option<Vec<f64>>> {
        match self.given(name) {
            None => Ok(None),
            Some((_, Value::Array(values))) => {
                match values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
                    Some(list) => Ok(Some(list)),
                    None => self.wrong(name, "a list of numbers"),
                }
            }
            Some(_) => self.wrong(name, "a list of numbers"),
        }
    }

    /// Whether something is given as a tensor.
    pub(crate) fn is_tensor(&self, name: &str) -> bool {
        self.given(name).is_some_and(|(kind, _)| kind == "as_tensor")
    }

    /// The lengths of a value's axes.
    pub(crate) fn dims(&self, value: &str) -> Done<Vec<Size>> {
        match self.t.sizes(self.t.meta(value)?) {
            Some(dims) => Ok(dims),
            None => unsupported("of a length that depends on something else than the batch"),
        }
    }

    /// How many numbers lie between neighbours along each axis of a value, where PyTorch has it.
    pub(crate) fn strides(&self, value: &str) -> Done<Vec<Size>> {
        let strides = self.t.meta(value)?.strides.iter().map(|stride| self.t.size(stride));
        strides.collect::<Option<_>>().map_or_else(|| unsupported("of strides that are not known"), Ok)
    }

    /// What a value was before it was repeated along its first axis; the value itself where it wasn't.
    pub(crate) fn unrepeated(&self, value: &str) -> Done<String> {
        let dims = self.dims(value)?;
        let mut at = value;
        for node in self.t.nodes.iter().rev().take(MOST_STEPS).filter(|node| node.output.len() == 1) {
            match (node.op_type.as_str(), node.input.first()) {
                _ if node.output[0] != at => {}
                ("Identity", Some(before)) => at = before,
                ("Expand", Some(before)) => {
                    let own = self.dims(before)?;
                    let added = own == dims[1..];
                    let repeated = own.split_first() == Some((&Size::Fixed(1), &dims[1..]));
                    return Ok(if added || repeated { before.clone() } else { value.to_string() });
                }
                _ => break,
            }
        }
        Ok(value.to_string())
    }

    pub(crate) fn rank(&self, value: &str) -> Done<usize> {
        Ok(self.dims(value)?.len())
    }

    /// An axis of a value, counted from the front.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Done<usize> {
        let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        match usize::try_from(counted) {
            Ok(counted) if counted < rank.max(1) => Ok(counted),
            _ => broken(format!("axis {axis} is out of range for {rank} axes")),
        }
    }

    /// The length of an axis, which must be known.
    pub(crate) fn length(&self, value: &str, axis: usize) -> Done<i64> {
        match self.dims(value)?.get(axis) {
            Some(Size::Fixed(n @ 0..)) => Ok(*n),
            Some(Size::Fixed(n)) => broken(format!("axis {axis} has the length {n}")),
            Some(Size::Batch(_)) => unsupported("of the batch"),
            None => broken(format!("axis {axis} is missing")),
        }
    }

    /// ONNX's kind of a value's numbers.
    pub(crate) fn kind(&self, value: &str) -> Done<i32> {
        let dtype = self.t.meta(value)?.dtype;
        kind(dtype).map_or_else(|| unsupported(format!("of type number {dtype}")), Ok)
    }

    /// The name of the operator's first value.
    pub(crate) fn out(&self) -> &'a str {
        self.outputs[0]
    }

    /// Whole numbers as a value.
    pub(crate) fn list(&mut self, numbers: &[i64]) -> Done<String> {
        self.constant(TensorProto {
            dims: vec![numbers.len() as i64],
            data_type: TensorProto::INT64,
            int64_data: numbers.to_vec(),
            ..Default::default()
        })
    }

    /// Whole numbers, each as a value by itself.
    pub(crate) fn each<const N: usize>(&mut self, numbers: [i64; N]) -> Done<[String; N]> {
        let lists = numbers.iter().map(|&number| self.list(&[number])).collect::<Done<Vec<_>>>()?;
        Ok(lists.try_into().expect("BUG: as many lists as numbers"))
    }

    /// A single whole number as a value without axes.
    pub(crate) fn index(&mut self, number: i64) -> Done<String> {
        self.constant(TensorProto {
            data_type: TensorProto::INT64,
            int64_data: vec![number],
            ..Default::default()
        })
    }

    /// Numbers of the same kind as a value's.
    pub(crate) fn numbers(&mut self, like: &str, dims: &[i64], numbers: &[f64]) -> Done<String> {
        let kind = self.kind(like)?;
        self.of_kind(kind, dims, numbers)
    }

    pub(crate) fn of_kind(&mut self, data_type: i32, dims: &[i64], numbers: &[f64]) -> Done<String> {
        let mut tensor = TensorProto { dims: dims.to_vec(), data_type, ..Default::default() };
        match data_type {
            TensorProto::DOUBLE => tensor.double_data = numbers.to_vec(),
            TensorProto::INT64 => tensor.int64_data = numbers.iter().map(|&x| x as i64).collect(),
            TensorProto::INT32 | TensorProto::BOOL => {
                tensor.int32_data = numbers.iter().map(|&x| x as i32).collect();
            }
            // Numbers of Python's, which PyTorch rounds only where it computes with them.
            _ if numbers.iter().any(|&x| f64::from(x as f32) != x && !x.is_nan()) => {
                tensor.data_type = TensorProto::DOUBLE;
                tensor.double_data = numbers.to_vec();
            }
            // What is in half precision is widened.
            _ => {
                tensor.data_type = TensorProto::FLOAT;
                tensor.float_data = numbers.iter().map(|&x| x as f32).collect();
            }
        }
        self.constant(tensor)
    }

    /// As many numbers of the same kind as a value's as these lengths have place for, each by its place.
    pub(crate) fn filled(&mut self, like: &str, dims: &[i64], number: impl Fn(i64) -> f64) -> Done<String> {
        let multiplied = |count: i64, &dim: &i64| if dim < 0 { None } else { count.checked_mul(dim) };
        match dims.iter().try_fold(1, multiplied) {
            Some(count @ ..=MOST_NUMBERS) => {
                self.numbers(like, dims, &(0..count).map(number).collect::<Vec<_>>())
            }
            _ => unsupported("of very many numbers"),
        }
    }

    fn constant(&mut self, mut tensor: TensorProto) -> Done<String> {
        tensor.name = self.t.unique(&format!("{}/constant", self.name))?;
        let name = tensor.name.clone();
        let lens = [tensor.float_data.len(), tensor.int32_data.len(), tensor.int64_data.len()];
        let count = lens.iter().sum::<usize>() + tensor.double_data.len();
        self.t.constant(tensor, count)?;
        Ok(name)
    }

    /// Lengths as a value.
    pub(crate) fn lengths(&mut self, dims: &[Size]) -> Done<String> {
        if let Some(fixed) = dims.iter().map(|size| size.fixed()).collect::<Option<Vec<_>>>() {
            return self.list(&fixed);
        }
        let batch = self.t.batch()?;
        let mut parts = Vec::new();
        for size in dims {
            parts.push(match *size {
                Size::Fixed(n) => self.list(&[n])?,
                Size::Batch(1) => batch.clone(),
                Size::Batch(each) => {
                    let each = self.list(&[each])?;
                    self.part("Mul", "rows", &[&batch, &each], vec![])?
                }
            });
        }
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        self.part("Concat", "shape", &parts, vec![int("axis", 0)])
    }

    /// One of several operators that this one becomes, for a purpose, and the name of its value.
    pub(crate) fn part(
        &mut self,
        op: &str,
        role: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Done<String> {
        let value = self.t.unique(&format!("{}/{role}", self.name))?;
        self.write(op, &value, inputs, &[&value], attributes)?;
        Ok(value)
    }

    /// A value times a number of the kind of `like`; the value itself where that is 1.
    pub(crate) fn scaled(&mut self, value: String, factor: f64, like: &str, role: &str) -> Done<String> {
        if factor == 1.0 {
            return Ok(value);
        }
        let factor = self.numbers(like, &[], &[factor])?;
        self.part("Mul", role, &[&value, &factor], vec![])
    }

    /// The operator whose value is this one's.
    pub(crate) fn last(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Done {
        let (name, out) = (self.name.clone(), self.out());
        self.write(op, &name, inputs, &[out], attributes)
    }

    /// As [`Self::last`], with all values.
    pub(crate) fn last_of_all(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Done {
        let (name, outputs) = (self.name.clone(), self.outputs.clone());
        self.write(op, &name, inputs, &outputs, attributes)
    }

    /// One of several values of this operator.
    pub(crate) fn value(
        &mut self,
        i: usize,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Done {
        let (name, out) = (format!("{}/{i}", self.name), self.outputs[i]);
        self.write(op, &name, inputs, &[out], attributes)
    }

    fn write(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> Done {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let node = NodeProto {
            input: names(inputs),
            output: names(outputs),
            name: name.into(),
            op_type: op.into(),
            attribute,
            ..Default::default()
        };
        self.t.push(node, &self.scopes)
    }
}

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(i), kind: AttributeProto::INT, ..Default::default() }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: ints.to_vec(),
        kind: AttributeProto::INTS,
        ..Default::default()
    }
}

pub(crate) fn float(name: &str, f: f64) -> AttributeProto {
    AttributeProto { name: name.into(), exact: Some(f), kind: AttributeProto::FLOAT, ..Default::default() }
}

pub(crate) fn text(name: &str, s: &str) -> AttributeProto {
    let s = Some(s.as_bytes().to_vec().into());
    AttributeProto { name: name.into(), s, kind: AttributeProto::STRING, ..Default::default() }
}
