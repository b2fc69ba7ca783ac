//! Entries of an axis by their numbers, and rows of a table by theirs.

use attr_graphdef::proto::Attr;

use crate::symbol::{Order, Symbol};
use crate::tape::{INT32, Id, Tape};

/// The entries with these numbers along an axis.
pub(super) fn entries(x: &Symbol, axis: usize, entries: &[usize]) -> Symbol {
    let ((id, order), tape) = (x.node(), x.tape());
    let mut dims = x.shape().to_vec();
    dims[axis] = entries.len();
    let place = order.place(axis, dims.len());
    Symbol::of(tape, gather(tape, id, tape.lengths(entries), place), order, &dims)
}

/// Rows of a table `[N, D]` by their numbers `[...]`: `[..., D]`.
pub(super) fn rows(numbers: &Symbol, table: &Symbol) -> Symbol {
    let (tape, x) = (numbers.tape(), numbers.plain());
    // TensorFlow refuses what is out of range; all that is not a whole number is that, too.
    let is_whole = tape.truth("Equal", &[x, tape.op("Floor", &[x])]);
    let held = tape.op("Minimum", &[tape.op("Maximum", &[x, tape.scalar(-MOST)]), tape.scalar(MOST)]);
    let number = tape.op("SelectV2", &[is_whole, held, tape.scalar(f64::from(NOT_WHOLE))]);
    let attrs = vec![("SrcT", tape.float_type()), ("DstT", INT32)];
    let id = gather(tape, table.plain(), tape.whole("Cast", &[number], attrs), 0);
    Symbol::of(tape, id, Order::Plain, &[numbers.shape(), &table.shape()[1..]].concat())
}

/// A number of a row that is not whole.
pub(crate) const NOT_WHOLE: i32 = i32::MIN;

/// More rows than any table has.
const MOST: f64 = 1e9;

fn gather(tape: &Tape, id: Id, numbers: Id, axis: usize) -> Id {
    let attrs: Vec<(&'static str, Attr)> =
        vec![("Tparams", tape.float_type()), ("Tindices", INT32), ("Taxis", INT32)];
    tape.op_as("GatherV2", &[id, numbers, tape.int(axis as i64)], attrs)
}
