//! The numbers of the rows of a batch, and what is gathered by them: PyTorch writes a view of a value with other strides
//! as one list of all its numbers, of which each row's own are then gathered.

use attr_core::{Dim, Op, Shape};
use ndarray::{ArcArray, Axis, IxDyn};

use super::parts::in_turn;
use crate::array::{Array, Size};
use crate::import::Context;
use crate::node::{Fault, Node, Value, Values, axes, axis, broken, unsupported};

/// Whole numbers with the batch in front: for row `r` and index `i` behind it, `times r + plus[i]`.
#[derive(Debug, Clone)]
pub(crate) struct RowNumbers {
    times: i64,
    plus: ArcArray<i64, IxDyn>,
}

/// Whether an input is the numbers of rows.
pub(super) fn is_rows(input: &Option<Value>) -> bool {
    matches!(input, Some(Value::Rows(_)))
}

/// The numbers 0, 1, 2... of the rows.
pub(super) fn range(_: &mut Context, n: &Node) -> Values {
    let one = |i| n.constant(i).map(|constant| single(&constant.array));
    match (one(0)?, one(1)?, one(2)?) {
        (Some(Size::Fixed(0)), Some(Size::Batch(1)), Some(Size::Fixed(1))) => {
            let plus = ndarray::arr0(0).into_dyn().into_shared();
            Ok(vec![Value::Rows(RowNumbers { times: 1, plus })])
        }
        _ => unsupported("that depends on the batch"),
    }
}

fn single(array: &Array) -> Option<Size> {
    match array {
        Array::Int(a) if a.len() == 1 => a.first().copied(),
        _ => None,
    }
}

/// An operator that reads the numbers of rows. What would touch the batch is refused.
pub(super) fn import(g: &mut Context, n: &Node) -> Values {
    let rows = match (n.proto.op_type.as_str(), n.inputs()) {
        ("Gather", [Some(Value::Layer(_)), Some(Value::Rows(rows))]) => return gather(g, n, rows),
        ("Mul", [Some(Value::Rows(rows)), Some(Value::Constant(other))])
        | ("Mul", [Some(Value::Constant(other)), Some(Value::Rows(rows))]) => {
            multiplied(g, rows, &other.array)?
        }
        ("Add", [Some(Value::Rows(rows)), Some(Value::Constant(other))])
        | ("Add", [Some(Value::Constant(other)), Some(Value::Rows(rows))]) => moved(g, rows, &other.array)?,
        ("Unsqueeze", [Some(Value::Rows(rows)), ..]) => unsqueezed(n, rows)?,
        _ => return unsupported("of the numbers of the batch's rows"),
    };
    Ok(vec![Value::Rows(rows)])
}

const TOO_LARGE: &str = "of the numbers of the batch's rows that are too large";

fn multiplied(g: &mut Context, rows: &RowNumbers, other: &Array) -> Result<RowNumbers, Fault> {
    let Some(Size::Fixed(factor)) = single(other).filter(|_| other.dims().len() <= rows.rank()) else {
        return unsupported("of the numbers of the batch's rows by more than one number");
    };
    g.spend(rows.plus.len())?;
    let plus = rows.plus.mapv(|plus| plus.checked_mul(factor));
    match (rows.times.checked_mul(factor), plus.iter().all(Option::is_some)) {
        (Some(times), true) => {
            Ok(RowNumbers { times, plus: plus.mapv(Option::unwrap_or_default).into_shared() })
        }
        _ => unsupported(TOO_LARGE),
    }
}

/// A sum with numbers that are the same for all rows.
fn moved(g: &mut Context, rows: &RowNumbers, other: &Array) -> Result<RowNumbers, Fault> {
    let Array::Int(other) = other else { return broken("expected whole numbers") };
    let other = match other.ndim() {
        rank if rank < rows.rank() => other.clone(),
        rank if rank == rows.rank() && other.shape()[0] == 1 => other.clone().index_axis_move(Axis(0), 0),
        _ => return unsupported("of the numbers of the batch's rows and others for each"),
    };
    let dims = crate::fold::broadcast(rows.plus.shape(), other.shape())?;
    g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
    let (Some(a), Some(b)) = (rows.plus.broadcast(IxDyn(&dims)), other.broadcast(IxDyn(&dims))) else {
        return broken(format!("shapes {:?} and {:?} don't broadcast", rows.plus.shape(), other.shape()));
    };
    let plus = ndarray::Zip::from(&a).and(&b).map_collect(|&a, b| b.fixed().and_then(|b| a.checked_add(b)));
    match plus.iter().all(Option::is_some) {
        true => {
            Ok(RowNumbers { times: rows.times, plus: plus.mapv(Option::unwrap_or_default).into_shared() })
        }
        false => unsupported(TOO_LARGE),
    }
}

fn unsqueezed(n: &Node, rows: &RowNumbers) -> Result<RowNumbers, Fault> {
    let list = n.ints_or_input("axes", 13, 1)?.unwrap_or_default();
    let new = axes(&list, rows.rank().saturating_add(list.len()))?;
    if new.first() == Some(&0) {
        return unsupported("of the numbers of the batch's rows in front of them");
    }
    let plus = new.iter().fold(rows.plus.clone(), |plus, &axis| plus.insert_axis(Axis(axis - 1)));
    Ok(RowNumbers { times: rows.times, plus })
}

/// Of a value that is all rows one behind the other, the same entries of each.
fn gather(g: &mut Context, n: &Node, rows: &RowNumbers) -> Values {
    let x = g.layer(n, 0)?;
    let dims = g.shape(x).0;
    let own = usize::try_from(rows.times).unwrap_or(0);
    if axis(n.int("axis", 0)?, dims.len())? != 0 || dims[0] != Dim::Batch(own) {
        return unsupported("by the numbers of the batch's rows of something else than these rows");
    }
    g.spend(rows.plus.len())?;
    let entry = |&plus: &i64| usize::try_from(plus).ok().filter(|&plus| plus < own);
    let Some(entries) = rows.plus.iter().map(entry).collect::<Option<Vec<_>>>() else {
        return unsupported("by the numbers of the batch's rows of entries of other rows");
    };
    let shape = |lens: &[usize]| {
        let front = std::iter::once(Dim::Batch(1)).chain(lens.iter().map(|&len| Dim::Fixed(len)));
        Op::Reshape { shape: Shape(front.chain(dims[1..].iter().copied()).collect()) }
    };
    in_turn(g, n, x, vec![shape(&[own]), Op::Gather { axis: 1, entries }, shape(rows.plus.shape())])
}

impl RowNumbers {
    fn rank(&self) -> usize {
        1 + self.plus.ndim()
    }
}
