//! A value that is yet to be computed, as a [`Tensor`]: what is done with it is written on a [`Tape`].
//!
//! Core's sweep goes through a network of symbols as it would through one of numbers, and what it does there is the
//! graph that a session runs. Convolutions want channels innermost; so a symbol may be held that way inside, while
//! its axes are those that everyone else sees.

use attr_core::{Precision, Result, Tensor};
use attr_graphdef::proto::Attr;
use ndarray::ArrayD;

use crate::error::backend;
use crate::tape::{Feed, INT32, Id, Tape};
use crate::tensor::broadcast;

/// A value on a tape.
#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    tape: Tape,
    dims: Vec<usize>,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A parameter of the model, on whichever tape is being written.
    Param(usize),
    /// A node, whose axes are in this order.
    Node(Id, Order),
}

/// In which order a node has the axes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As everyone sees them.
    Plain,
    /// With axis 1, the channels, behind all others.
    Last,
}

impl Order {
    /// Which axis of the value is at each place.
    fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Order::Plain => (0..rank).collect(),
            Order::Last => [0].into_iter().chain(2..rank).chain([1]).collect(),
        }
    }

    /// At which place an axis of the value is.
    pub(crate) fn place(self, axis: usize, rank: usize) -> usize {
        match (self, axis) {
            (Order::Plain, axis) | (Order::Last, axis @ 0) => axis,
            (Order::Last, 1) => rank - 1,
            (Order::Last, axis) => axis - 1,
        }
    }

    /// One entry an axis of the value, in the order of places.
    pub(crate) fn arrange<T: Clone>(self, entries: &[T]) -> Vec<T> {
        self.axes(entries.len()).into_iter().map(|axis| entries[axis].clone()).collect()
    }
}

impl Symbol {
    /// A parameter of the model.
    pub(crate) fn param(tape: &Tape, index: usize, dims: &[usize]) -> Self {
        Symbol { tape: tape.clone(), dims: dims.to_vec(), at: At::Param(index) }
    }

    /// A value that a run is given.
    pub(crate) fn given(tape: &Tape, feed: Feed, dims: &[usize]) -> Self {
        Symbol::of(tape, tape.placeholder(feed, dims), Order::Plain, dims)
    }

    /// The value of a node, of these lengths as everyone sees them.
    pub(crate) fn of(tape: &Tape, id: Id, order: Order, dims: &[usize]) -> Self {
        Symbol { tape: tape.clone(), dims: dims.to_vec(), at: At::Node(id, order) }
    }

    pub(crate) fn tape(&self) -> &Tape {
        &self.tape
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.dims
    }

    /// The node as it is, and its order.
    pub(crate) fn node(&self) -> (Id, Order) {
        match self.at {
            At::Param(index) => (self.tape.placeholder(Feed::Param(index), &self.dims), Order::Plain),
            At::Node(id, order) => (id, order),
        }
    }

    /// A node with the axes as everyone sees them.
    pub(crate) fn plain(&self) -> Id {
        self.ordered(Order::Plain)
    }

    /// A node with the axes in this order.
    pub(crate) fn ordered(&self, wanted: Order) -> Id {
        let (id, order) = self.node();
        if order == wanted {
            return id;
        }
        let rank = self.dims.len();
        let places: Vec<_> = wanted.axes(rank).into_iter().map(|axis| order.place(axis, rank)).collect();
        self.transpose(id, &places)
    }

    fn transpose(&self, id: Id, axes: &[usize]) -> Id {
        if axes.iter().copied().eq(0..axes.len()) {
            return id;
        }
        self.tape.op_with("Transpose", &[id, self.tape.lengths(axes)], vec![("Tperm", INT32)])
    }

    fn order(&self) -> Order {
        self.node().1
    }

    /// The same kind of value from another node.
    pub(crate) fn then(&self, id: Id) -> Self {
        Symbol::of(&self.tape, id, self.order(), &self.dims)
    }

    /// An operator on each element by itself.
    pub(crate) fn unary(&self, op: &'static str) -> Self {
        self.then(self.tape.op(op, &[self.node().0]))
    }

    /// This value and another one, as [`Symbol::together`].
    pub(crate) fn meet(&self, other: &Self) -> Result<([Id; 2], Order, Vec<usize>)> {
        Symbol::together([self, other])
    }

    /// Values of one rank and order, broadcasting: the nodes, the order, and the lengths together.
    pub(crate) fn together<const N: usize>(symbols: [&Self; N]) -> Result<([Id; N], Order, Vec<usize>)> {
        let all = symbols.iter().try_fold(vec![], |dims, symbol| broadcast(&dims, &symbol.dims));
        let dims = all?;
        let is_last = |symbol: &&Self| symbol.order() == Order::Last && symbol.dims.len() == dims.len();
        let order = if symbols.iter().any(is_last) { Order::Last } else { Order::Plain };
        let mut ids = [0; N];
        for (id, symbol) in ids.iter_mut().zip(symbols) {
            let missing = dims.len() - symbol.dims.len();
            // One number, or one an innermost axis, needs no more axes.
            *id = match order == Order::Plain || symbol.dims.is_empty() {
                true => symbol.plain(),
                false => symbol.reshape(&[&vec![1; missing], &symbol.dims[..]].concat())?.ordered(order),
            };
        }
        Ok((ids, order, dims))
    }

    fn binary(&self, op: &'static str, other: &Self) -> Result<Self> {
        let (ids, order, dims) = self.meet(other)?;
        Ok(Symbol::of(&self.tape, self.tape.op(op, &ids), order, &dims))
    }

    /// 1 where a comparison holds, else 0.
    pub(crate) fn mask(&self, op: &'static str, other: &Self) -> Result<Self> {
        let (ids, order, dims) = self.meet(other)?;
        let truth = self.tape.truth(op, &ids);
        Ok(Symbol::of(&self.tape, self.to_number(truth, "Bool"), order, &dims))
    }

    /// Truth values or whole numbers as numbers.
    fn to_number(&self, id: Id, from: &str) -> Id {
        let from = match from {
            "Bool" => Attr::Type(attr_graphdef::proto::data_type::BOOL),
            _ => INT32,
        };
        self.tape.op_as("Cast", &[id], vec![("SrcT", from), ("DstT", self.tape.float_type())])
    }

    /// An operator that reduces axes, which stay with length 1 or go.
    pub(crate) fn reduce(&self, op: &'static str, axes: &[usize], keep: bool) -> Self {
        if axes.is_empty() {
            return self.clone();
        }
        let ((id, order), rank) = (self.node(), self.dims.len());
        let left = (0..rank).filter(|axis| keep || !axes.contains(axis));
        let dims: Vec<_> = left.map(|axis| if axes.contains(&axis) { 1 } else { self.dims[axis] }).collect();
        let places: Vec<_> = axes.iter().map(|&axis| order.place(axis, rank)).collect();
        let attrs = vec![("Tidx", INT32), ("keep_dims", Attr::B(keep))];
        let id = self.tape.op_with(op, &[id, self.tape.lengths(&places)], attrs);
        // Without the batch or the channels, or with nothing but them, the order is that of the axes.
        let is_plain = !keep && (axes.contains(&0) || axes.contains(&1) || dims.len() < 3);
        Symbol::of(&self.tape, id, if is_plain { Order::Plain } else { order }, &dims)
    }

    /// A number around the value, an entry an axis.
    pub(crate) fn pad(&self, padding: &[(usize, usize)], value: f64) -> Self {
        if padding.iter().all(|&padding| padding == (0, 0)) {
            return self.clone();
        }
        let (id, order) = self.node();
        let dims: Vec<_> =
            self.dims.iter().zip(padding).map(|(n, (before, after))| n + before + after).collect();
        let widths = order.arrange(padding).into_iter().flat_map(|(before, after)| [before, after]);
        let widths = self.tape.lengths(&widths.collect::<Vec<_>>());
        let shape = self.tape.ints(&[dims.len() as i64, 2]);
        let widths = self.tape.whole("Reshape", &[widths, shape], vec![("T", INT32), ("Tshape", INT32)]);
        let id =
            self.tape.op_with("PadV2", &[id, widths, self.tape.scalar(value)], vec![("Tpaddings", INT32)]);
        Symbol::of(&self.tape, id, order, &dims)
    }

    /// What lies within padding, of these lengths.
    pub(crate) fn crop(&self, padding: &[(usize, usize)], dims: &[usize]) -> Self {
        self.part(&padding.iter().map(|&(before, _)| before).collect::<Vec<_>>(), dims)
    }

    /// Entries from `starts` on, of these lengths.
    pub(crate) fn part(&self, starts: &[usize], dims: &[usize]) -> Self {
        if dims == self.dims {
            return self.clone();
        }
        let (id, order) = self.node();
        let [starts, lengths] = [starts, dims].map(|entries| self.tape.lengths(&order.arrange(entries)));
        let id = self.tape.op_with("Slice", &[id, starts, lengths], vec![("Index", INT32)]);
        Symbol::of(&self.tape, id, order, dims)
    }

    /// Zeros of these lengths.
    pub(crate) fn zeros(tape: &Tape, dims: &[usize]) -> Self {
        Symbol::of(tape, tape.scalar(0.0), Order::Plain, &[]).spread(dims)
    }

    /// Repeated along axes of length 1.
    pub(crate) fn spread(&self, dims: &[usize]) -> Self {
        if dims == self.dims {
            return self.clone();
        }
        let (id, order) =
            if dims.len() == self.dims.len() { self.node() } else { (self.plain(), Order::Plain) };
        let lengths = self.tape.lengths(&order.arrange(dims));
        let id = self.tape.op_with("BroadcastTo", &[id, lengths], vec![("Tidx", INT32)]);
        Symbol::of(&self.tape, id, order, dims)
    }

    /// Summed over the axes along which a value of these lengths was repeated.
    pub(crate) fn gather(&self, dims: &[usize]) -> Result<Self> {
        let missing = self.dims.len() - dims.len();
        let repeated = |&axis: &usize| axis < missing || (dims[axis - missing] == 1 && self.dims[axis] != 1);
        let axes: Vec<_> = (0..self.dims.len()).filter(repeated).collect();
        self.sum(&axes)?.reshape(dims)
    }
}

impl Tensor for Symbol {
    fn dims(&self) -> Vec<usize> {
        self.dims.clone()
    }

    fn precision(&self) -> Precision {
        self.tape.precision()
    }

    fn like(&self, array: &ArrayD<f64>) -> Result<Self> {
        Ok(Symbol::of(&self.tape, self.tape.floats(array), Order::Plain, array.shape()))
    }

    fn to_array(&self) -> Result<ArrayD<f64>> {
        Err(backend("a value that is yet to be computed has no numbers"))
    }

    fn add(&self, other: &Self) -> Result<Self> {
        self.binary("AddV2", other)
    }

    fn sub(&self, other: &Self) -> Result<Self> {
        self.binary("Sub", other)
    }

    fn mul(&self, other: &Self) -> Result<Self> {
        self.binary("Mul", other)
    }

    fn div(&self, other: &Self) -> Result<Self> {
        self.binary("RealDiv", other)
    }

    fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        let by = |symbol: Self, op, number: f64| match (op, number) {
            ("Mul", 1.0) | ("AddV2", 0.0) => symbol,
            _ => symbol.then(self.tape.op(op, &[symbol.node().0, self.tape.scalar(number)])),
        };
        Ok(by(by(self.clone(), "Mul", scale), "AddV2", shift))
    }

    fn abs(&self) -> Result<Self> {
        Ok(self.unary("Abs"))
    }

    fn sqrt(&self) -> Result<Self> {
        Ok(self.unary("Sqrt"))
    }

    fn exp(&self) -> Result<Self> {
        Ok(self.unary("Exp"))
    }

    fn ln(&self) -> Result<Self> {
        Ok(self.unary("Log"))
    }

    fn gt(&self, other: &Self) -> Result<Self> {
        self.mask("Greater", other)
    }

    fn eq(&self, other: &Self) -> Result<Self> {
        self.mask("Equal", other)
    }

    fn sum(&self, axes: &[usize]) -> Result<Self> {
        Ok(self.reduce("Sum", axes, true))
    }

    fn mean(&self, axes: &[usize]) -> Result<Self> {
        Ok(self.reduce("Mean", axes, true))
    }

    fn max(&self, axis: usize) -> Result<Self> {
        Ok(self.reduce("Max", &[axis], true))
    }

    fn argmax(&self, axis: usize) -> Result<Self> {
        let attrs = vec![("T", self.tape.float_type()), ("Tidx", INT32), ("output_type", INT32)];
        let index = self.tape.whole("ArgMax", &[self.plain(), self.tape.int(axis as i64)], attrs);
        let mut dims = self.dims.clone();
        dims[axis] = 1;
        let number = self.to_number(index, "Int");
        let id = self.tape.op_with("Reshape", &[number, self.tape.lengths(&dims)], vec![("Tshape", INT32)]);
        Ok(Symbol::of(&self.tape, id, Order::Plain, &dims))
    }

    fn reshape(&self, dims: &[usize]) -> Result<Self> {
        if dims == self.dims {
            return Ok(self.clone());
        }
        let lengths = self.tape.lengths(dims);
        let id = self.tape.op_with("Reshape", &[self.plain(), lengths], vec![("Tshape", INT32)]);
        Ok(Symbol::of(&self.tape, id, Order::Plain, dims))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        let (id, order) = self.node();
        let places: Vec<_> = axes.iter().map(|&axis| order.place(axis, axes.len())).collect();
        let dims: Vec<_> = axes.iter().map(|&axis| self.dims[axis]).collect();
        Ok(Symbol::of(&self.tape, self.transpose(id, &places), Order::Plain, &dims))
    }

    fn broadcast_to(&self, dims: &[usize]) -> Result<Self> {
        Ok(self.spread(dims))
    }

    fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        let (mut starts, mut dims) = (vec![0; self.dims.len()], self.dims.clone());
        (starts[axis], dims[axis]) = (start, len);
        Ok(self.part(&starts, &dims))
    }

    fn concat(parts: &[Self], axis: usize) -> Result<Self> {
        let [first, ..] = parts else { return Err(backend("expected parts to put together, found none")) };
        if parts.len() == 1 {
            return Ok(first.clone());
        }
        let (tape, rank) = (first.tape.clone(), first.dims.len());
        let order = match parts.iter().any(|part| part.order() == Order::Last) {
            true => Order::Last,
            false => Order::Plain,
        };
        let mut dims = first.dims.clone();
        dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
        let mut ids: Vec<_> = parts.iter().map(|part| part.ordered(order)).collect();
        ids.push(tape.int(order.place(axis, rank) as i64));
        let attrs = vec![("N", Attr::I(parts.len() as i64)), ("Tidx", INT32)];
        Ok(Symbol::of(&tape, tape.op_with("ConcatV2", &ids, attrs), order, &dims))
    }

    fn matmul(&self, other: &Self) -> Result<Self> {
        let (ra, rb) = (self.dims.len(), other.dims.len());
        let outer = broadcast(&self.dims[..ra - 2], &other.dims[..rb - 2])?;
        let id = self.tape.op("BatchMatMulV2", &[self.plain(), other.plain()]);
        let dims = [&outer[..], &[self.dims[ra - 2], other.dims[rb - 1]]].concat();
        Ok(Symbol::of(&self.tape, id, Order::Plain, &dims))
    }
}
