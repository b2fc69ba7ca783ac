//! A reader of pickles, which are programs: an interpreter of the few instructions that occur in the
//! packages' files. It knows seven globals, each of which makes plain data, and anything else is an error
//! that names it. Nothing from a file is ever looked up or run.

use std::collections::HashMap;
use std::rc::Rc;

use ndarray::{ArrayD, ArrayViewD, IxDyn, ShapeBuilder};

pub(crate) type Read<T> = std::result::Result<T, String>;

/// What a pickle can hold here. All of it is plain data.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Rc<[Value<'a>]>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
    /// NumPy's little-endian f32, the only type that occurs.
    Float,
    /// A NumPy array: made empty, filled by a later instruction.
    Array(Option<ArrayD<f32>>),
}

/// The names that a file may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    NumpyReconstruct,
    NumpyArray,
    NumpyDtype,
    TorchTensor,
    TorchStorage(Element),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    I64,
}

/// A run of numbers behind the pickles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) element: Element,
    pub(crate) key: &'a str,
    pub(crate) count: usize,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Global {
    fn named(module: &str, name: &str) -> Read<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("numpy.core.multiarray", "_reconstruct") => Self::NumpyReconstruct,
            ("numpy", "ndarray") => Self::NumpyArray,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("torch._utils", "_rebuild_tensor_v2") => Self::TorchTensor,
            ("torch", "FloatStorage") => Self::TorchStorage(Element::F32),
            ("torch", "LongStorage") => Self::TorchStorage(Element::I64),
            _ => return Err(format!("expected only data in the pickle, found the global {module}.{name}")),
        })
    }
}

impl Element {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

impl Tensor<'_> {
    /// The tensor in row-major order. Kernels that came from TensorFlow are transposed views.
    pub(crate) fn read(&self, storage: &[f32]) -> Option<ArrayD<f32>> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        let layout = IxDyn(&self.shape).strides(IxDyn(&self.strides));
        let view = ArrayViewD::from_shape(layout, storage.get(self.offset..)?).ok()?;
        Some(view.as_standard_layout().into_owned())
    }
}

pub(crate) fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
}

impl<'a> Value<'a> {
    pub(crate) fn int(&self) -> Option<i128> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    fn size(&self) -> Option<usize> {
        self.int()?.try_into().ok()
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn sizes(&self) -> Option<Vec<usize>> {
        if let Self::Tuple(values) = self { values.iter().map(Self::size).collect() } else { None }
    }

    /// What calling a global with these arguments would make.
    fn call(global: Global, args: &[Self]) -> Option<Self> {
        Some(match (global, args) {
            (Global::OrderedDict, []) => Self::Dict(Vec::new()),
            (Global::NumpyDtype, [Self::Text("f4"), Self::Int(0), Self::Int(1)]) => Self::Float,
            (
                Global::NumpyReconstruct,
                [Self::Global(Global::NumpyArray), Self::Tuple(_), Self::Bytes(b"b")],
            ) => Self::Array(None),
            (
                Global::TorchTensor,
                [Self::Storage(storage), offset, shape, strides, Self::Bool(_), _hooks],
            ) => Self::Tensor(Tensor {
                storage: *storage,
                offset: offset.size()?,
                shape: shape.sizes()?,
                strides: strides.sizes()?,
            }),
            _ => return None,
        })
    }

    /// The object after its state has been set.
    fn build(self, state: &Self) -> Option<Self> {
        Some(match (self, state) {
            // PyTorch hangs the versions of its modules on the dictionary; they are not needed.
            (Self::Dict(entries), Self::Dict(_)) => Self::Dict(entries),
            (Self::Float, Self::Tuple(state)) if matches!(state[..], [Self::Int(3), Self::Text("<"), ..]) => {
                Self::Float
            }
            (Self::Array(None), Self::Tuple(state)) => match &state[..] {
                [Self::Int(1), shape, Self::Float, Self::Bool(false), Self::Bytes(bytes)] => {
                    Self::Array(Some(ArrayD::from_shape_vec(shape.sizes()?, floats(bytes)?).ok()?))
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The storage that a persistent identifier stands for.
    fn persistent(&self) -> Option<Self> {
        let Self::Tuple(id) = self else { return None };
        match &id[..] {
            [
                Self::Text("storage"),
                Self::Global(Global::TorchStorage(element)),
                key,
                Self::Text("cpu"),
                count,
                Self::None,
            ] => Some(Self::Storage(Storage { element: *element, key: key.text()?, count: count.size()? })),
            _ => None,
        }
    }
}

/// The interpreter. It reads one pickle a call and leaves `rest` behind it.
pub(crate) struct Pickle<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Pickle<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn load(&mut self) -> Read<Value<'a>> {
        let mut stack = Stack::default();
        let mut memo: HashMap<u32, Value<'a>> = HashMap::new();
        loop {
            let [opcode] = self.take()?;
            let value = match opcode {
                // PROTO
                0x80 => {
                    self.take::<1>()?;
                    continue;
                }
                // STOP
                b'.' => return stack.pop(),
                // MARK
                b'(' => {
                    stack.marks.push(stack.values.len());
                    continue;
                }
                // BINPUT, LONG_BINPUT
                b'q' | b'r' => {
                    let index = self.index(opcode == b'r')?;
                    let value = stack.pop()?;
                    // A copy of something that is filled later would stay empty. Nothing in these files
                    // refers to one, and if one does, it is an error and not a wrong answer.
                    if !matches!(value, Value::List(_) | Value::Dict(_) | Value::Array(_)) {
                        memo.insert(index, value.clone());
                    }
                    value
                }
                // BINGET, LONG_BINGET
                b'h' | b'j' => {
                    let index = self.index(opcode == b'j')?;
                    memo.get(&index).cloned().ok_or_else(|| {
                        format!("expected plain data under number {index} in the pickle's memo, found none")
                    })?
                }
                b'N' => Value::None,
                0x88 => Value::Bool(true),
                0x89 => Value::Bool(false),
                // BININT, BININT1, BININT2, LONG1
                b'J' => Value::Int(i32::from_le_bytes(self.take()?).into()),
                b'K' => Value::Int(u8::from_le_bytes(self.take()?).into()),
                b'M' => Value::Int(u16::from_le_bytes(self.take()?).into()),
                0x8a => self.long()?,
                // BINUNICODE, BINBYTES, SHORT_BINBYTES
                b'X' => {
                    let size = u32::from_le_bytes(self.take()?);
                    Value::Text(text(self.bytes(size as usize)?)?)
                }
                b'B' => {
                    let size = u32::from_le_bytes(self.take()?);
                    Value::Bytes(self.bytes(size as usize)?)
                }
                b'C' => {
                    let [size] = self.take()?;
                    Value::Bytes(self.bytes(size.into())?)
                }
                // EMPTY_TUPLE, TUPLE1 to TUPLE3, TUPLE
                b')' => Value::Tuple(Rc::new([])),
                0x85..=0x87 => Value::Tuple(stack.pop_many(usize::from(opcode - 0x84))?.into()),
                b't' => Value::Tuple(stack.pop_to_mark()?.into()),
                b']' => Value::List(Vec::new()),
                b'}' => Value::Dict(Vec::new()),
                // APPENDS
                b'e' => match (stack.pop_to_mark()?, stack.pop()?) {
                    (new, Value::List(mut items)) => {
                        items.extend(new);
                        Value::List(items)
                    }
                    _ => return Err("expected a list to append to, found something else".into()),
                },
                // SETITEM, SETITEMS
                b's' | b'u' => {
                    let new = if opcode == b's' { stack.pop_many(2)? } else { stack.pop_to_mark()? };
                    match stack.pop()? {
                        Value::Dict(mut entries) if new.len().is_multiple_of(2) => {
                            let mut new = new.into_iter();
                            entries.extend(std::iter::from_fn(|| Some((new.next()?, new.next()?))));
                            Value::Dict(entries)
                        }
                        _ => {
                            return Err("expected a dictionary and pairs for it, found something else".into());
                        }
                    }
                }
                // GLOBAL
                b'c' => Value::Global(Global::named(self.line()?, self.line()?)?),
                // REDUCE
                b'R' => match (stack.pop()?, stack.pop()?) {
                    (Value::Tuple(args), Value::Global(global)) => Value::call(global, &args)
                        .ok_or_else(|| format!("expected the usual arguments of {global:?}, found others"))?,
                    _ => return Err("expected a global and its arguments, found something else".into()),
                },
                // BUILD
                b'b' => {
                    let state = stack.pop()?;
                    stack
                        .pop()?
                        .build(&state)
                        .ok_or("expected the usual state of an object, found another")?
                }
                // BINPERSID
                b'Q' => {
                    stack.pop()?.persistent().ok_or("expected the identifier of a storage, found another")?
                }
                _ => {
                    let name = opcode.escape_ascii();
                    return Err(format!("expected only data in the pickle, found the instruction '{name}'"));
                }
            };
            stack.values.push(value);
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            format!("expected {count} more bytes, found the end of the file after {}", self.rest.len())
        })?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("BUG: a slice of another length"))
    }

    fn index(&mut self, long: bool) -> Read<u32> {
        Ok(if long { u32::from_le_bytes(self.take()?) } else { u8::from_le_bytes(self.take()?).into() })
    }

    fn line(&mut self) -> Read<&'a str> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or("expected a line, found the end")?;
        let line = text(self.bytes(end)?);
        self.take::<1>()?;
        line
    }

    /// A two's complement number of as many bytes as it needs.
    fn long(&mut self) -> Read<Value<'a>> {
        let [size] = self.take()?;
        let bytes = self.bytes(size.into())?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut number = [if negative { 0xff } else { 0 }; 16];
        let low = number.get_mut(..bytes.len()).ok_or("expected a number of 16 bytes, found a longer one")?;
        low.copy_from_slice(bytes);
        Ok(Value::Int(i128::from_le_bytes(number)))
    }
}

fn text(bytes: &[u8]) -> Read<&str> {
    str::from_utf8(bytes).map_err(|error| format!("expected UTF-8, found other bytes: {error}"))
}

#[derive(Default)]
struct Stack<'a> {
    values: Vec<Value<'a>>,
    marks: Vec<usize>,
}

impl<'a> Stack<'a> {
    fn pop(&mut self) -> Read<Value<'a>> {
        // What lies below the last mark belongs to an outer value.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.values.len() > floor { self.values.pop() } else { None }
            .ok_or_else(|| "expected a value on the pickle's stack, found none".into())
    }

    fn pop_many(&mut self, count: usize) -> Read<Vec<Value<'a>>> {
        let mut values = (0..count).map(|_| self.pop()).collect::<Read<Vec<_>>>()?;
        values.reverse();
        Ok(values)
    }

    fn pop_to_mark(&mut self) -> Read<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or("expected a mark on the pickle's stack, found none")?;
        Ok(self.values.split_off(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `pickle.dumps(numpy.array([1, -2], "f4"), 3)` gives, but for the names of its memo.
    const ARRAY: &[u8] =
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R\
        (K\x01K\x02\x85cnumpy\ndtype\nX\x02\x00\x00\x00f4K\x00K\x01\x87R\
        (K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\
        \x89B\x08\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\xc0tb.";

    fn error(pickle: &[u8]) -> String {
        Pickle::new(pickle).load().expect_err("expected an error")
    }

    #[test]
    fn reads_an_array() {
        let Value::Array(Some(array)) = Pickle::new(ARRAY).load().unwrap() else {
            panic!("expected an array")
        };
        assert_eq!(array, ndarray::arr1(&[1.0, -2.0]).into_dyn());
    }

    #[test]
    fn reads_long_numbers() {
        for (bytes, expected) in [(&b"\x8a\x00."[..], 0), (b"\x8a\x01\xff.", -1), (b"\x8a\x02\xff\x00.", 255)]
        {
            assert_eq!(Pickle::new(bytes).load().unwrap().int(), Some(expected));
        }
    }

    /// The classical attack, as Python writes it in its protocols 2 and 0.
    #[test]
    fn refuses_to_call_the_shell() {
        let shell = b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.";
        assert_eq!(error(shell), "expected only data in the pickle, found the global posix.system");
        let old = b"cos\nsystem\n(S'true'\ntR.";
        assert_eq!(error(old), "expected only data in the pickle, found the global os.system");
    }

    #[test]
    fn names_what_it_refuses() {
        let cases: [(&[u8], &str); 7] = [
            (b"(S'text'\n.", "found the instruction 'S'"),
            (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "found the instruction '\\x8c'"),
            (
                b"cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R.",
                "expected the usual arguments of NumpyDtype",
            ),
            (b"X\xff\xff\xff\xffab", "expected 4294967295 more bytes, found the end of the file after 2"),
            (b"]q\x00h\x00.", "expected plain data under number 0"),
            (b"K\x01(R", "expected a value on the pickle's stack"),
            (b".", "expected a value on the pickle's stack"),
        ];
        for (pickle, expected) in cases {
            assert!(error(pickle).contains(expected), "expected {expected}, found {}", error(pickle));
        }
    }

    /// Every way to cut a good file short is an error, and none panics.
    #[test]
    fn refuses_a_file_that_ends_early() {
        for end in 0..ARRAY.len() {
            error(&ARRAY[..end]);
        }
    }

    #[test]
    fn reads_a_tensor_only_from_its_storage() {
        let storage = Storage { element: Element::F32, key: "0", count: 4 };
        let tensor = |offset, shape: &[usize], strides: &[usize]| {
            let tensor = Tensor { storage, offset, shape: shape.into(), strides: strides.into() };
            tensor.read(&[0.0, 1.0, 2.0, 3.0])
        };
        let array = |shape: &[usize], numbers: &[f32]| ArrayD::from_shape_vec(shape, numbers.to_vec()).ok();
        assert_eq!(tensor(1, &[3], &[1]), array(&[3], &[1.0, 2.0, 3.0]));
        assert_eq!(tensor(0, &[2, 1, 2], &[1, 9, 2]), array(&[2, 1, 2], &[0.0, 2.0, 1.0, 3.0]));
        assert_eq!(tensor(3, &[], &[]), array(&[], &[3.0]));
        assert_eq!(tensor(2, &[3], &[1]), None, "it ends behind the storage");
        assert_eq!(tensor(0, &[2, 2], &[2]), None, "it has too few strides");
        assert_eq!(tensor(usize::MAX, &[usize::MAX, 2], &[2, 1]), None, "it overflows");
    }
}
