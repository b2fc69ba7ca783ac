//! Arithmetic on known numbers and sizes.

use attr_core::Activation;
use ndarray::{ArcArray, ArrayD, ArrayView, Axis, IxDyn};

use crate::array::{Array, Size};
use crate::import::Context;
use crate::node::{Fault, Node, axes, broken, unsupported};

/// Elementwise, broadcasting, one input after another; integers as sizes, numbers in their own precision.
pub(super) fn arithmetic(
    g: &mut Context,
    n: &Node,
    int: fn(Size, Size) -> Option<Size>,
    float: fn(f64, f64) -> f64,
) -> Result<Array, Fault> {
    let mut total = n.constant(0)?.array.clone();
    for i in 1..n.inputs().len() {
        total = binary(g, &total, &n.constant(i)?.array, int, float)?;
    }
    Ok(total)
}

/// Two operands at their common shape, and what a function makes of each pair of entries.
macro_rules! zipped {
    ($g:expr, $a:expr, $b:expr, $f:expr) => {{
        let dims = broadcast($a.shape(), $b.shape())?;
        $g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
        ndarray::Zip::from(&view(&$a, &dims)?).and(&view(&$b, &dims)?).map_collect($f).into_shared()
    }};
}

fn binary(
    g: &mut Context,
    a: &Array,
    b: &Array,
    int: fn(Size, Size) -> Option<Size>,
    float: fn(f64, f64) -> f64,
) -> Result<Array, Fault> {
    match (a, b) {
        (Array::F32(a), Array::F32(b)) => {
            // The four operations give the same when they are done in double precision and rounded.
            Ok(Array::F32(zipped!(g, a, b, |&x, &y| float(x.into(), y.into()) as f32)))
        }
        (Array::F64(a), Array::F64(b)) => Ok(Array::F64(zipped!(g, a, b, |&x, &y| float(x, y)))),
        (Array::Int(a), Array::Int(b)) => known(zipped!(g, a, b, |&x, &y| int(x, y))),
        _ => broken("expected two inputs of the same type"),
    }
}

fn known(sizes: ArcArray<Option<Size>, IxDyn>) -> Result<Array, Fault> {
    if sizes.iter().any(Option::is_none) {
        return unsupported("of sizes that has no whole or no constant result");
    }
    Ok(Array::Int(sizes.mapv(|size| size.unwrap_or(Size::Fixed(0))).into_shared()))
}

fn view<'a, T>(array: &'a ArcArray<T, IxDyn>, dims: &[usize]) -> Result<ArrayView<'a, T, IxDyn>, Fault> {
    match array.broadcast(IxDyn(dims)) {
        Some(view) => Ok(view),
        None => broken(format!("shape {:?} does not broadcast to {dims:?}", array.shape())),
    }
}

pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let dims = (0..rank).map(|i| match (at(a, i), at(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => broken(format!("shapes {a:?} and {b:?} don't broadcast")),
    });
    dims.collect()
}

/// The larger of two numbers; what is not a number stays so.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

/// The smaller of two numbers; what is not a number stays so.
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || a <= b { a } else { b }
}

/// A function of each floating-point number.
pub(super) fn float(g: &mut Context, n: &Node, f: Activation) -> Result<Array, Fault> {
    let input = &n.constant(0)?.array;
    g.spend(input.len())?;
    match input {
        Array::F32(a) => Ok(Array::F32(a.mapv(|x| f.value(f64::from(x)) as f32).into_shared())),
        Array::F64(a) => Ok(Array::F64(a.mapv(|x| f.value(x)).into_shared())),
        Array::Int(_) => broken("expected floating-point numbers, found integers"),
    }
}

/// A function of each number, which for sizes of the batch is known if it does not change their sign or only that.
pub(super) fn negated(
    g: &mut Context,
    n: &Node,
    int: fn(i64) -> i64,
    float: fn(f64) -> f64,
) -> Result<Array, Fault> {
    let input = &n.constant(0)?.array;
    g.spend(input.len())?;
    Ok(match input {
        Array::F32(a) => Array::F32(a.mapv(|x| float(x.into()) as f32).into_shared()),
        Array::F64(a) => Array::F64(a.mapv(float).into_shared()),
        Array::Int(a) => Array::Int(
            a.mapv(|size| match size {
                Size::Fixed(i) => Size::Fixed(int(i)),
                Size::Batch(i) => Size::Batch(int(i)),
            })
            .into_shared(),
        ),
    })
}

/// With the sign of the divisor, or with attribute `fmod` that of the dividend.
pub(super) fn modulo(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    fn floored(a: Size, b: Size) -> Option<Size> {
        match (a, b) {
            (Size::Fixed(a), Size::Fixed(b)) => {
                let rest = a.checked_rem(b)?;
                Some(Size::Fixed(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
            }
            _ => None,
        }
    }
    fn truncated(a: Size, b: Size) -> Option<Size> {
        Some(Size::Fixed(a.fixed()?.checked_rem(b.fixed()?)?))
    }
    match n.flag("fmod", false)? {
        true => arithmetic(g, n, truncated, |a, b| a % b),
        false => arithmetic(g, n, floored, |a, b| a - b * (a / b).floor()),
    }
}

/// The exponent may be of another type than the base, which is also the type of the result.
pub(super) fn power(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    fn whole(a: Size, b: Size) -> Option<Size> {
        Some(Size::Fixed(a.fixed()?.checked_pow(u32::try_from(b.fixed()?).ok()?)?))
    }
    let (base, exponent) = (&n.constant(0)?.array, &n.constant(1)?.array);
    if let (Array::Int(_), Array::Int(_)) = (base, exponent) {
        return binary(g, base, exponent, whole, f64::powf);
    }
    let Some(numbers) = exponent.numbers() else { return unsupported("with an exponent of the batch") };
    g.spend(numbers.len())?;
    let Ok(exponent) = ArrayD::from_shape_vec(IxDyn(exponent.dims()), numbers) else {
        return broken("the shape does not fit to its numbers");
    };
    let exponent = exponent.into_shared();
    Ok(match base {
        Array::F32(a) => Array::F32(zipped!(g, a, exponent, |&x, &y| f64::from(x).powf(y) as f32)),
        Array::F64(a) => Array::F64(zipped!(g, a, exponent, |&x, &y| x.powf(y))),
        Array::Int(_) => return unsupported("of whole numbers to a power that is not"),
    })
}

/// How a number compares with another.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Compared {
    Less,
    Equal,
    Greater,
    /// One of them is not a number.
    Not,
}

impl Compared {
    fn floats(a: f64, b: f64) -> Self {
        match a.partial_cmp(&b) {
            Some(order) => order.into(),
            None => Compared::Not,
        }
    }

    /// A batch has one row at least.
    fn sizes(a: Size, b: Size) -> Option<Self> {
        match (a, b) {
            (Size::Fixed(a), Size::Fixed(b)) | (Size::Batch(a), Size::Batch(b)) => Some(a.cmp(&b).into()),
            (Size::Batch(1..), Size::Fixed(..=0)) => Some(Compared::Greater),
            (Size::Fixed(..=0), Size::Batch(1..)) => Some(Compared::Less),
            _ => None,
        }
    }
}

impl From<std::cmp::Ordering> for Compared {
    fn from(order: std::cmp::Ordering) -> Self {
        match order {
            std::cmp::Ordering::Less => Compared::Less,
            std::cmp::Ordering::Equal => Compared::Equal,
            std::cmp::Ordering::Greater => Compared::Greater,
        }
    }
}

pub(super) fn compare(g: &mut Context, n: &Node, holds: fn(Compared) -> bool) -> Result<Array, Fault> {
    let int = |holds: bool| Size::Fixed(holds.into());
    match (&n.constant(0)?.array, &n.constant(1)?.array) {
        (Array::F32(a), Array::F32(b)) => {
            Ok(Array::Int(zipped!(g, a, b, |&x, &y| { int(holds(Compared::floats(x.into(), y.into()))) })))
        }
        (Array::F64(a), Array::F64(b)) => {
            Ok(Array::Int(zipped!(g, a, b, |&x, &y| int(holds(Compared::floats(x, y))))))
        }
        (Array::Int(a), Array::Int(b)) => {
            known(zipped!(g, a, b, |&x, &y| Compared::sizes(x, y).map(|compared| int(holds(compared)))))
        }
        _ => broken("expected two inputs of the same type"),
    }
}

pub(super) fn truth(g: &mut Context, n: &Node, f: fn(bool, bool) -> bool) -> Result<Array, Fault> {
    let (Array::Int(a), Array::Int(b)) = (&n.constant(0)?.array, &n.constant(1)?.array) else {
        return broken("expected truth values");
    };
    let is = |size: &Size| size.fixed().map(|n| n != 0);
    known(zipped!(g, a, b, |x, y| Some(Size::Fixed(f(is(x)?, is(y)?).into()))))
}

pub(super) fn not(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let Array::Int(a) = &n.constant(0)?.array else { return broken("expected truth values") };
    g.spend(a.len())?;
    known(a.mapv(|size| Some(Size::Fixed((size.fixed()? == 0).into()))).into_shared())
}

pub(super) fn where_(g: &mut Context, n: &Node) -> Result<Array, Fault> {
    let Array::Int(condition) = &n.constant(0)?.array else { return broken("expected truth values") };
    let (a, b) = (&n.constant(1)?.array, &n.constant(2)?.array);
    let dims = broadcast(&broadcast(a.dims(), b.dims())?, condition.shape())?;
    g.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim.max(1))))?;
    if condition.iter().any(|size| size.fixed().is_none()) {
        return unsupported("by a condition of the batch");
    }
    let condition = view(condition, &dims)?;
    macro_rules! chosen {
        ($a:expr, $b:expr) => {
            ndarray::Zip::from(&condition)
                .and(&view($a, &dims)?)
                .and(&view($b, &dims)?)
                .map_collect(|c, &x, &y| if *c == Size::Fixed(0) { y } else { x })
                .into_shared()
        };
    }
    match (a, b) {
        (Array::F32(a), Array::F32(b)) => Ok(Array::F32(chosen!(a, b))),
        (Array::F64(a), Array::F64(b)) => Ok(Array::F64(chosen!(a, b))),
        (Array::Int(a), Array::Int(b)) => Ok(Array::Int(chosen!(a, b))),
        _ => broken("expected two inputs of the same type"),
    }
}

/// One number of all along axes, which from operator set `since` on are input 1.
pub(super) fn reduce(
    g: &mut Context,
    n: &Node,
    since: i64,
    int: fn(Size, Size) -> Option<Size>,
    float: fn(f64, f64) -> f64,
) -> Result<Array, Fault> {
    let mut value = n.constant(0)?.array.clone();
    g.spend(value.len())?;
    let rank = value.dims().len();
    let list = n.ints_or_input("axes", since, 1)?.unwrap_or_default();
    let (none, keep) =
        (n.opset >= since && n.flag("noop_with_empty_axes", false)?, n.flag("keepdims", true)?);
    let along = match list.is_empty() {
        true if none => return Ok(value),
        true => (0..rank).collect(),
        false => axes(&list, rank)?,
    };
    for &axis in along.iter().rev() {
        if value.dims()[axis] == 0 {
            return unsupported("of no numbers");
        }
        g.spend(value.dims()[axis])?;
        // The values are the entries along the axis, one after another.
        let mut total: Option<Array> = None;
        for i in 0..value.dims()[axis] {
            let entry = crate::array::map_array!(&value, a => a.index_axis(Axis(axis), i).to_shared());
            total = Some(match total {
                None => entry,
                Some(total) => binary(g, &total, &entry, int, float)?,
            });
        }
        value = match total {
            Some(total) if keep => {
                crate::array::map_array!(total, a => a.insert_axis(Axis(axis)))
            }
            Some(total) => total,
            None => return unsupported("of no numbers"),
        };
    }
    Ok(value)
}
