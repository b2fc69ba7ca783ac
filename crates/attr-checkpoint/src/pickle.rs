//! A reader of pickles, which are programs: an interpreter of the few instructions that make plain data.
//!
//! It knows the globals of tensors, storages, dictionaries and NumPy's arrays, each of which makes data here; any other is
//! an error that names it. What it makes is bounded: in depth, and by the number of instructions.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::error::format;
use crate::tensor::{Element, MOST_AXES, Tensor};
use crate::{Error, Result};

/// Deeper than this nothing is nested.
const DEEPEST: usize = 64;

/// No pickle has more instructions: a tensor is about forty.
const MOST_INSTRUCTIONS: usize = 1 << 21;

/// What a pickle can make here. All of it is plain data.
#[derive(Debug, Clone)]
pub(crate) enum Item<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number of more than eight bytes, little-endian.
    Long(&'a [u8]),
    Float,
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Rc<Many<'a>>),
    List(Box<Many<'a>>),
    /// Keys and values in turn.
    Dict(Box<Many<'a>>),
    Global(Global),
    Storage(Rc<Storage<'a>>),
    View(Rc<View<'a>>),
    /// The kind of an array's numbers.
    Kind(Element),
    /// An array before its numbers are known.
    Empty,
    Array(Box<Tensor>),
}

/// Several values, and how deep the deepest of them is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Many<'a> {
    pub(crate) items: Vec<Item<'a>>,
    depth: usize,
}

/// The names that a file may mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    ArrayMaker,
    Array,
    Kind,
    Tensor,
    Parameter,
    Size,
    Storage(Element),
}

/// A run of numbers elsewhere in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage<'a> {
    pub(crate) element: Element,
    pub(crate) key: &'a str,
    pub(crate) count: usize,
}

/// A tensor: a view of a storage.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) offset: usize,
    /// Whole numbers, no more than a tensor has axes. A file may have one list of them for many tensors.
    pub(crate) shape: Rc<Many<'a>>,
    pub(crate) strides: Rc<Many<'a>>,
}

impl Global {
    fn named(module: &str, name: &str) -> Result<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::ArrayMaker,
            ("numpy", "ndarray") => Self::Array,
            ("numpy", "dtype") => Self::Kind,
            ("torch._utils", "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::Parameter,
            ("torch", "Size") => Self::Size,
            ("torch", "ByteStorage") => Self::Storage(Element::U8),
            ("torch", "CharStorage") => Self::Storage(Element::I8),
            ("torch", "ShortStorage") => Self::Storage(Element::I16),
            ("torch", "IntStorage") => Self::Storage(Element::I32),
            ("torch", "LongStorage") => Self::Storage(Element::I64),
            ("torch", "HalfStorage") => Self::Storage(Element::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Element::BF16),
            ("torch", "FloatStorage") => Self::Storage(Element::F32),
            ("torch", "DoubleStorage") => Self::Storage(Element::F64),
            ("torch", "BoolStorage") => Self::Storage(Element::Bool),
            _ => return Err(Error::Global(format!("{module}.{name}"))),
        })
    }
}

/// NumPy's name of a kind of numbers.
fn kind(name: &str) -> Option<Element> {
    Some(match name {
        "u1" => Element::U8,
        "i1" => Element::I8,
        "i2" => Element::I16,
        "i4" => Element::I32,
        "i8" => Element::I64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "b1" => Element::Bool,
        _ => return None,
    })
}

impl<'a> Many<'a> {
    fn new(items: Vec<Item<'a>>) -> Result<Self> {
        let mut many = Many::default();
        many.extend(items)?;
        Ok(many)
    }

    /// The whole numbers among them.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.items.iter().filter_map(Item::size).collect()
    }

    fn extend(&mut self, items: Vec<Item<'a>>) -> Result<()> {
        let deepest = items.iter().map(Item::depth).max().unwrap_or(0);
        self.depth = self.depth.max(1 + deepest);
        self.items.extend(items);
        if self.depth > DEEPEST {
            format(format!("it is nested deeper than {DEEPEST} times"))
        } else {
            Ok(())
        }
    }
}

impl<'a> Item<'a> {
    fn depth(&self) -> usize {
        match self {
            Self::Tuple(many) => many.depth,
            Self::List(many) | Self::Dict(many) => many.depth,
            _ => 0,
        }
    }

    fn size(&self) -> Option<usize> {
        if let Self::Int(size) = self { usize::try_from(*size).ok() } else { None }
    }

    /// As many whole numbers as a tensor may have axes.
    fn sizes(&self) -> Option<&Rc<Many<'a>>> {
        let Self::Tuple(many) = self else { return None };
        let fits = many.items.len() <= MOST_AXES && many.items.iter().all(|item| item.size().is_some());
        fits.then_some(many)
    }

    /// What calling a global with these arguments would make.
    fn call(global: Global, arguments: &[Self]) -> Option<Self> {
        Some(match (global, arguments) {
            (Global::OrderedDict, []) => Self::Dict(Box::default()),
            (Global::Size, [sizes @ Self::Tuple(_)]) => sizes.clone(),
            (
                Global::Kind,
                [Self::Text(name), Self::Int(0) | Self::Bool(false), Self::Int(1) | Self::Bool(true)],
            ) => Self::Kind(kind(name)?),
            (Global::ArrayMaker, [Self::Global(Global::Array), Self::Tuple(_), Self::Bytes(b"b")]) => {
                Self::Empty
            }
            (Global::Parameter, [Self::View(view), Self::Bool(_), _hooks, ..]) => Self::View(view.clone()),
            (Global::Tensor, [Self::Storage(storage), offset, shape, strides, Self::Bool(_), _hooks, ..]) => {
                Self::View(Rc::new(View {
                    storage: **storage,
                    offset: offset.size()?,
                    shape: shape.sizes()?.clone(),
                    strides: strides.sizes()?.clone(),
                }))
            }
            _ => return None,
        })
    }

    /// The object after its state has been set; an array's numbers are a part of the file.
    fn build(self, state: &Self, file: &Bytes) -> Option<Self> {
        Some(match (self, state) {
            // PyTorch hangs the versions of its modules on the dictionary; they are not needed.
            (Self::Dict(entries), Self::Dict(_)) => Self::Dict(entries),
            (Self::Kind(kind), Self::Tuple(state)) => match &state.items[..] {
                [Self::Int(3), Self::Text("<" | "|"), ..] => Self::Kind(kind),
                _ => return None,
            },
            (Self::Empty, Self::Tuple(state)) => match &state.items[..] {
                [Self::Int(1), shape, Self::Kind(kind), Self::Bool(false), Self::Bytes(bytes)] => {
                    let numbers = file.slice_ref(bytes);
                    Self::Array(Box::new(Tensor::row_major(*kind, shape.sizes()?.sizes(), numbers).ok()?))
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The storage that a persistent identifier stands for.
    fn persistent(&self) -> Option<Storage<'a>> {
        let Self::Tuple(id) = self else { return None };
        match &id.items[..] {
            // Where the numbers were computed says nothing about where they lie now.
            [
                Self::Text("storage"),
                Self::Global(Global::Storage(element)),
                Self::Text(key),
                Self::Text(_),
                count,
                ..,
            ] => Some(Storage { element: *element, key, count: count.size()? }),
            _ => None,
        }
    }
}

/// The interpreter. It reads one pickle a call and leaves `rest` behind it.
pub(crate) struct Pickle<'a> {
    file: &'a Bytes,
    pub(crate) rest: &'a [u8],
    /// Every storage that was mentioned.
    pub(crate) storages: Vec<Storage<'a>>,
}

impl<'a> Pickle<'a> {
    pub(crate) fn new(file: &'a Bytes) -> Self {
        Self { file, rest: file, storages: Vec::new() }
    }

    pub(crate) fn load(&mut self) -> Result<Item<'a>> {
        let mut stack = Stack::default();
        let mut memo = Memo::default();
        for _ in 0..MOST_INSTRUCTIONS {
            let [opcode] = self.take()?;
            let item = match opcode {
                // PROTO, FRAME
                0x80 => {
                    self.take::<1>()?;
                    continue;
                }
                0x95 => {
                    self.take::<8>()?;
                    continue;
                }
                // STOP
                b'.' => return stack.pop(),
                // MARK
                b'(' => {
                    stack.marks.push(stack.items.len());
                    continue;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' | b'r' | 0x94 => {
                    let index = if opcode == 0x94 { memo.next } else { self.index(opcode == b'r')? };
                    memo.put(index, stack.top()?);
                    continue;
                }
                // BINGET, LONG_BINGET
                b'h' | b'j' => memo.get(self.index(opcode == b'j')?)?,
                b'N' => Item::None,
                0x88 => Item::Bool(true),
                0x89 => Item::Bool(false),
                // BININT, BININT1, BININT2, LONG1
                b'J' => Item::Int(i32::from_le_bytes(self.take()?).into()),
                b'K' => Item::Int(u8::from_le_bytes(self.take()?).into()),
                b'M' => Item::Int(u16::from_le_bytes(self.take()?).into()),
                0x8a => self.long()?,
                // BINFLOAT
                b'G' => {
                    self.take::<8>()?;
                    Item::Float
                }
                // BINUNICODE, SHORT_BINUNICODE, BINBYTES, SHORT_BINBYTES
                b'X' => Item::Text(text(self.run()?)?),
                0x8c => Item::Text(text(self.short_run()?)?),
                b'B' => Item::Bytes(self.run()?),
                b'C' => Item::Bytes(self.short_run()?),
                // EMPTY_TUPLE, TUPLE1 to TUPLE3, TUPLE
                b')' => Item::Tuple(Rc::default()),
                0x85..=0x87 => Item::Tuple(Rc::new(Many::new(stack.pop_many(usize::from(opcode - 0x84))?)?)),
                b't' => Item::Tuple(Rc::new(Many::new(stack.pop_to_mark()?)?)),
                b']' => Item::List(Box::default()),
                b'}' => Item::Dict(Box::default()),
                // APPEND, APPENDS
                b'a' | b'e' => {
                    let new = if opcode == b'a' { vec![stack.pop()?] } else { stack.pop_to_mark()? };
                    match stack.pop()? {
                        Item::List(mut many) => {
                            many.extend(new)?;
                            Item::List(many)
                        }
                        _ => return format("expected a list to append to, found something else"),
                    }
                }
                // SETITEM, SETITEMS
                b's' | b'u' => {
                    let new = if opcode == b's' { stack.pop_many(2)? } else { stack.pop_to_mark()? };
                    match stack.pop()? {
                        Item::Dict(mut many) if new.len().is_multiple_of(2) => {
                            many.extend(new)?;
                            Item::Dict(many)
                        }
                        _ => return format("expected a dictionary and pairs for it, found something else"),
                    }
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => Item::Global(Global::named(self.line()?, self.line()?)?),
                0x93 => match (stack.pop()?, stack.pop()?) {
                    (Item::Text(name), Item::Text(module)) => Item::Global(Global::named(module, name)?),
                    _ => return format("expected the name of a global, found something else"),
                },
                // REDUCE
                b'R' => match (stack.pop()?, stack.pop()?) {
                    (Item::Tuple(arguments), Item::Global(global)) => {
                        let Some(made) = Item::call(global, &arguments.items) else {
                            return format(format!(
                                "expected the usual arguments of {global:?}, found others"
                            ));
                        };
                        made
                    }
                    _ => return format("expected a global and its arguments, found something else"),
                },
                // BUILD
                b'b' => {
                    let state = stack.pop()?;
                    match stack.pop()?.build(&state, self.file) {
                        Some(built) => built,
                        None => return format("expected the usual state of an object, found another"),
                    }
                }
                // BINPERSID
                b'Q' => {
                    let Some(storage) = stack.pop()?.persistent() else {
                        return format("expected the identifier of a storage, found another");
                    };
                    self.storages.push(storage);
                    Item::Storage(Rc::new(storage))
                }
                _ => {
                    let name = opcode.escape_ascii();
                    return format(format!(
                        "expected only data in the pickle, found the instruction '{name}'"
                    ));
                }
            };
            stack.items.push(item);
        }
        format(format!("expected a pickle of at most {MOST_INSTRUCTIONS} instructions, found a longer one"))
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            let left = self.rest.len();
            return format(format!("expected {count} more bytes, found the end of the file after {left}"));
        };
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("BUG: a slice of another length"))
    }

    /// As many bytes as the number before them says.
    fn run(&mut self) -> Result<&'a [u8]> {
        let count = u32::from_le_bytes(self.take()?);
        self.bytes(count as usize)
    }

    fn short_run(&mut self) -> Result<&'a [u8]> {
        let [count] = self.take()?;
        self.bytes(count.into())
    }

    fn index(&mut self, long: bool) -> Result<u32> {
        Ok(if long { u32::from_le_bytes(self.take()?) } else { u8::from_le_bytes(self.take()?).into() })
    }

    fn line(&mut self) -> Result<&'a str> {
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            return format("expected a line, found the end");
        };
        let line = text(self.bytes(end)?);
        self.take::<1>()?;
        line
    }

    /// A two's complement number of as many bytes as it needs.
    fn long(&mut self) -> Result<Item<'a>> {
        let bytes = self.short_run()?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut number = [if negative { 0xff } else { 0 }; 8];
        Ok(match number.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Item::Int(i64::from_le_bytes(number))
            }
            None => Item::Long(bytes),
        })
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes)
        .map_err(|error| Error::Format(format!("expected UTF-8, found other bytes: {error}")))
}

/// What a pickle has put aside to use again.
#[derive(Default)]
struct Memo<'a> {
    items: HashMap<u32, Item<'a>>,
    next: u32,
}

impl<'a> Memo<'a> {
    fn put(&mut self, index: u32, item: &Item<'a>) {
        // A copy of something that is filled later would stay empty. Checkpoints don't use one again, and if one does, it
        // is an error and not a wrong answer.
        if !matches!(item, Item::List(_) | Item::Dict(_) | Item::Empty | Item::Array(_)) {
            self.items.insert(index, item.clone());
        }
        self.next = self.next.saturating_add(1);
    }

    fn get(&self, index: u32) -> Result<Item<'a>> {
        let missing =
            || Error::Format(format!("expected plain data under number {index} in the pickle's memo"));
        self.items.get(&index).cloned().ok_or_else(missing)
    }
}

#[derive(Default)]
struct Stack<'a> {
    items: Vec<Item<'a>>,
    marks: Vec<usize>,
}

impl<'a> Stack<'a> {
    fn top(&self) -> Result<&Item<'a>> {
        self.items[self.floor()..].last().ok_or_else(empty)
    }

    fn pop(&mut self) -> Result<Item<'a>> {
        if self.items.len() > self.floor() { self.items.pop() } else { None }.ok_or_else(empty)
    }

    /// What lies below the last mark belongs to an outer value.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Item<'a>>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Item<'a>>> {
        let missing = || Error::Format("expected a mark on the pickle's stack, found none".into());
        let mark = self.marks.pop().ok_or_else(missing)?;
        Ok(self.items.split_off(mark))
    }
}

fn empty() -> Error {
    Error::Format("expected a value on the pickle's stack, found none".into())
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
        Pickle::new(&Bytes::copy_from_slice(pickle)).load().expect_err("expected an error").to_string()
    }

    #[test]
    fn reads_an_array() {
        let file = Bytes::from_static(ARRAY);
        let Item::Array(array) = Pickle::new(&file).load().unwrap() else { panic!("expected an array") };
        assert_eq!((array.element(), array.shape()), (Element::F32, &[2][..]));
        assert_eq!(array.to_bytes(), [1f32.to_le_bytes(), (-2f32).to_le_bytes()].concat());
    }

    /// The same bytes may be the numbers of many arrays.
    #[test]
    fn an_array_is_a_part_of_the_file() {
        let file = Bytes::from_static(ARRAY);
        let Item::Array(array) = Pickle::new(&file).load().unwrap() else { panic!("expected an array") };
        assert!(file.as_ptr_range().contains(&array.to_bytes().as_ptr()));
    }

    #[test]
    fn reads_long_numbers() {
        for (bytes, expected) in [(&b"\x8a\x00."[..], 0), (b"\x8a\x01\xff.", -1), (b"\x8a\x02\xff\x00.", 255)]
        {
            let file = Bytes::from_static(bytes);
            assert!(matches!(Pickle::new(&file).load().unwrap(), Item::Int(found) if found == expected));
        }
    }

    /// The classical attack, as Python writes it in its protocols 2, 0 and 4.
    #[test]
    fn refuses_to_call_the_shell() {
        for shell in [
            &b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03."[..],
            b"cposix\nsystem\n(S'true'\ntR.",
            b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
        ] {
            let expected = "expected only tensors and plain data in the pickle, found posix.system \
                            (save a module's state_dict())";
            assert_eq!(error(shell), expected);
        }
    }

    #[test]
    fn names_what_it_refuses() {
        let deep = [&b"N"[..], &[0x85; 65], b"."].concat();
        let endless = vec![b'N'; MOST_INSTRUCTIONS + 1];
        let axes = [
            &b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"[..],
            b"X\x01\x00\x00\x000X\x00\x00\x00\x00K\x01tQK\x00(",
            &b"K\x01".repeat(17),
            b"t)\x89}tR.",
        ]
        .concat();
        let cases: [(&[u8], &str); 9] = [
            (&axes, "expected the usual arguments of Tensor"),
            (b"(S'text'\n.", "found the instruction 'S'"),
            (b"cnumpy\ndtype\nX\x02\x00\x00\x00f3K\x00K\x01\x87R.", "expected the usual arguments of Kind"),
            (b"X\xff\xff\xff\xffab", "expected 4294967295 more bytes, found the end of the file after 2"),
            (b"]q\x00h\x00.", "expected plain data under number 0"),
            (b"K\x01(R", "expected a value on the pickle's stack"),
            (b".", "expected a value on the pickle's stack"),
            (&deep, "it is nested deeper than 64 times"),
            (&endless, "found a longer one"),
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
}
