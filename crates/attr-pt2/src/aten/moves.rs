//! Operators that move numbers about.

use crate::call::{Call, Done, broken, int, ints, text, unsupported};
use crate::size::Size;

/// To the shape that the program says.
pub(super) fn reshape(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let dims = c.dims(c.out())?;
    if dims == c.dims(&x)? {
        return c.last("Identity", &[&x], vec![]);
    }
    let dims = c.lengths(&dims)?;
    c.last("Reshape", &[&x, &dims], vec![])
}

/// Only where the numbers stay in their order: it is how decomposed programs say that memory is laid out.
pub(super) fn as_strided(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let (from, to) = (c.dims(&x)?, c.dims(c.out())?);
    let plain = |dims: &[Size]| dims.iter().copied().filter(|&dim| dim != Size::Fixed(1)).collect::<Vec<_>>();
    let strides: Vec<_> = c.ints("stride")?.unwrap_or_default().into_iter().map(Size::Fixed).collect();
    let in_order = in_order(&from, &c.strides(&x)?) && in_order(&to, &strides);
    if !in_order || plain(&from) != plain(&to) || c.int("storage_offset")?.unwrap_or(0) != 0 {
        return unsupported("of numbers in another order");
    }
    reshape(c)
}

/// Whether numbers lie in row-major order.
fn in_order(dims: &[Size], strides: &[Size]) -> bool {
    let mut step = Some(1i64);
    dims.len() == strides.len()
        && dims.iter().zip(strides).rev().filter(|(dim, _)| **dim != Size::Fixed(1)).all(|(dim, stride)| {
            let fits = stride.fixed().is_some_and(|stride| step == Some(stride));
            step = step.and_then(|step| step.checked_mul(dim.fixed()?));
            fits
        })
}

/// `permute`, `transpose` of two axes, and `t` of a matrix.
pub(super) fn permute(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let axes = permutation(c, &x)?;
    c.last("Transpose", &[&x], vec![ints("perm", &axes)])
}

fn permutation(c: &Call, x: &str) -> Done<Vec<i64>> {
    let rank = c.rank(x)?;
    Ok(match c.operator() {
        "permute" => {
            let axes = c.ints("dims")?.unwrap_or_default();
            if axes.len() != rank {
                return broken(format!("an order of {} axes for {rank}", axes.len()));
            }
            axes.iter().map(|&axis| c.axis(axis, rank).map(|axis| axis as i64)).collect::<Done<_>>()?
        }
        operator => {
            let (a, b) = match operator {
                "t" => (0, rank.saturating_sub(1) as i64),
                _ => (c.int("dim0")?.unwrap_or(0), c.int("dim1")?.unwrap_or(1)),
            };
            let (a, b) = (c.axis(a, rank)?, c.axis(b, rank)?);
            let mut axes: Vec<_> = (0..rank as i64).collect();
            if rank > 1 {
                axes.swap(a, b);
            }
            axes
        }
    })
}

pub(super) fn expand(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let dims = c.dims(c.out())?;
    if dims == c.dims(&x)? {
        return c.last("Identity", &[&x], vec![]);
    }
    let dims = c.lengths(&dims)?;
    c.last("Expand", &[&x, &dims], vec![])
}

pub(super) fn cat(c: &mut Call) -> Done {
    let values: Vec<_> = c.tensors("tensors")?.into_iter().flatten().collect();
    let axis = c.int("dim")?.unwrap_or(0);
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    c.last("Concat", &values, vec![int("axis", axis)])
}

pub(super) fn stack(c: &mut Call) -> Done {
    let values: Vec<_> = c.tensors("tensors")?.into_iter().flatten().collect();
    let rank = c.rank(c.out())?;
    let axis = c.axis(c.int("dim")?.unwrap_or(0), rank)? as i64;
    let axes = c.list(&[axis])?;
    let parts: Vec<_> = values
        .iter()
        .map(|value| c.part("Unsqueeze", "part", &[value, &axes], vec![]))
        .collect::<Done<_>>()?;
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    c.last("Concat", &parts, vec![int("axis", axis)])
}

/// Into the lengths that the program says of the parts.
pub(super) fn split(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let axis = c.axis(c.int("dim")?.unwrap_or(0), c.rank(&x)?)?;
    let outputs = c.outputs.clone();
    let lens = outputs.iter().map(|part| c.length(part, axis)).collect::<Done<Vec<_>>>()?;
    let lens = c.list(&lens)?;
    c.last_of_all("Split", &[&x, &lens], vec![int("axis", axis as i64)])
}

/// The entries of an axis, each by itself.
pub(super) fn unbind(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let axis = c.axis(c.int("dim")?.unwrap_or(0), c.rank(&x)?)?;
    for i in 0..c.outputs.len() {
        let at = c.index(i as i64)?;
        c.value(i, "Gather", &[&x, &at], vec![int("axis", axis as i64)])?;
    }
    Ok(())
}

pub(super) fn select(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let axis = c.axis(c.int("dim")?.unwrap_or(0), c.rank(&x)?)?;
    let at = c.int("index")?.unwrap_or(0);
    let at = if at < 0 { at + c.length(&x, axis)? } else { at };
    let at = c.index(at)?;
    c.last("Gather", &[&x, &at], vec![int("axis", axis as i64)])
}

pub(super) fn slice(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let axis = c.axis(c.int("dim")?.unwrap_or(0), c.rank(&x)?)?;
    let step = c.int("step")?.unwrap_or(1);
    if c.dims(&x)? == c.dims(c.out())? && step == 1 {
        return c.last("Identity", &[&x], vec![]);
    }
    let start = c.int("start")?.unwrap_or(0);
    let end = c.int("end")?.unwrap_or(i64::MAX);
    let [start, end, axis, step] = c.each([start, end, axis as i64, step])?;
    c.last("Slice", &[&x, &start, &end, &axis, &step], vec![])
}

pub(super) fn embedding(c: &mut Call) -> Done {
    let (table, tokens) = (c.tensor("weight")?, c.tensor("indices")?);
    c.last("Gather", &[&table, &tokens], vec![])
}

pub(super) fn index_select(c: &mut Call) -> Done {
    let (x, at) = (c.tensor("self")?, c.tensor("index")?);
    let axis = c.int("dim")?.unwrap_or(0);
    c.last("Gather", &[&x, &at], vec![int("axis", axis)])
}

/// By one list of places along one axis.
pub(super) fn index(c: &mut Call) -> Done {
    let (x, places) = (c.tensor("self")?, c.tensors("indices")?);
    let mut given =
        places.iter().enumerate().filter_map(|(axis, place)| place.as_ref().map(|place| (axis, place)));
    let (Some((axis, place)), None) = (given.next(), given.next()) else {
        return unsupported("by several lists of places");
    };
    c.last("Gather", &[&x, place], vec![int("axis", axis as i64)])
}

/// PyTorch counts pads from the last axis; ONNX has those of all beginnings first.
pub(super) fn pad(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let mode = c.text("mode")?.unwrap_or("constant");
    let mode = match mode {
        "constant" => "constant",
        "reflect" => "reflect",
        "replicate" => "edge",
        "circular" => "wrap",
        other => return unsupported(format!("with mode {other}")),
    };
    let pads = c.ints("pad")?.unwrap_or_default();
    let (rank, axes) = (c.rank(&x)?, pads.len() / 2);
    if pads.len() % 2 != 0 || axes > rank {
        return broken(format!("{} pads for {rank} axes", pads.len()));
    }
    let mut both = vec![0; 2 * rank];
    for (i, pair) in pads.chunks(2).enumerate() {
        both[rank - 1 - i] = pair[0];
        both[2 * rank - 1 - i] = pair[1];
    }
    let both = c.list(&both)?;
    let value = c.number("value")?.unwrap_or(0.0);
    let value = c.numbers(&x, &[], &[value])?;
    c.last("Pad", &[&x, &both, &value], vec![text("mode", mode)])
}

pub(super) fn pixel_shuffle(c: &mut Call) -> Done {
    let (x, factor) = (c.tensor("self")?, c.int("upscale_factor")?.unwrap_or(1));
    c.last("DepthToSpace", &[&x], vec![int("blocksize", factor), text("mode", "CRD")])
}

/// The last entries of an axis before the first ones.
pub(super) fn roll(c: &mut Call) -> Done {
    let x = c.tensor("self")?;
    let (shifts, axes) = (c.ints("shifts")?.unwrap_or_default(), c.ints("dims")?.unwrap_or_default());
    if shifts.len() != axes.len() || axes.is_empty() {
        return unsupported("without axes");
    }
    let rank = c.rank(&x)?;
    let mut value = x.to_string();
    for (i, (&shift, &axis)) in shifts.iter().zip(&axes).enumerate() {
        let axis = c.axis(axis, rank)?;
        let len = c.length(&x, axis)?;
        if len < 1 {
            return broken("an axis without entries");
        }
        let (middle, axis) = (len - shift.rem_euclid(len), axis as i64);
        let [zero, middle, end, along] = c.each([0, middle, i64::MAX, axis])?;
        let front = c.part("Slice", "end", &[&value, &middle, &end, &along], vec![])?;
        let back = c.part("Slice", "beginning", &[&value, &zero, &middle, &along], vec![])?;
        let attributes = vec![int("axis", axis)];
        match i + 1 == axes.len() {
            true => c.last("Concat", &[&front, &back], attributes)?,
            false => value = c.part("Concat", "rolled", &[&front, &back], attributes)?,
        }
    }
    Ok(())
}

/// The same number everywhere.
pub(super) fn filled(c: &mut Call) -> Done {
    let number = match c.operator() {
        "zeros" | "zeros_like" | "new_zeros" => 0.0,
        "ones" | "ones_like" | "new_ones" => 1.0,
        operator => {
            let name = if operator == "scalar_tensor" { "s" } else { "fill_value" };
            match c.number(name)? {
                Some(number) => number,
                None => return broken(format!("{name} is missing")),
            }
        }
    };
    let out = c.out();
    let dims = c.dims(out)?;
    let value = c.numbers(out, &[], &[number])?;
    let dims = c.lengths(&dims)?;
    c.last("Expand", &[&value, &dims], vec![])
}

pub(super) fn arange(c: &mut Call) -> Done {
    let (start, step) = (c.number("start")?.unwrap_or(0.0), c.number("step")?.unwrap_or(1.0));
    let out = c.out();
    let [Size::Fixed(len)] = c.dims(out)?[..] else { return unsupported("of the batch's length") };
    let value = c.filled(out, &[len], |i| start + step * i as f64)?;
    c.last("Identity", &[&value], vec![])
}

/// One number, or a value of one, everywhere.
pub(super) fn fill(c: &mut Call) -> Done {
    let out = c.out();
    let dims = c.dims(out)?;
    let value = match c.is_tensor("value") {
        true => c.tensor("value")?,
        false => match c.number("value")? {
            Some(number) => c.numbers(out, &[], &[number])?,
            None => return broken("value is missing"),
        },
    };
    let dims = c.lengths(&dims)?;
    c.last("Expand", &[&value, &dims], vec![])
}

/// Another value in the place of one.
pub(super) fn copy(c: &mut Call) -> Done {
    let (value, out) = (c.tensor("src")?, c.out());
    if c.kind(&value)? != c.kind(out)? {
        return unsupported("of another kind of numbers");
    }
    let dims = c.dims(out)?;
    let dims = c.lengths(&dims)?;
    c.last("Expand", &[&value, &dims], vec![])
}

/// `slice_scatter` and `select_scatter`: a value with another one in the place of a part.
pub(super) fn scatter(c: &mut Call) -> Done {
    let part = c.tensor("src")?;
    let value = placed(c, &part, "placed")?;
    c.last("Identity", &[&value], vec![])
}

/// What a view's operator looked at, with `part` in the place of the view.
pub(crate) fn put_back(c: &mut Call, part: &str) -> Done<String> {
    let x = c.tensor("self")?;
    match c.operator() {
        "slice" | "select" => placed(c, part, "changed"),
        "permute" | "transpose" | "t" => {
            let axes = permutation(c, &x)?;
            let mut back = vec![0; axes.len()];
            axes.iter().enumerate().for_each(|(to, &from)| back[from as usize] = to as i64);
            c.part("Transpose", "changed", &[part], vec![ints("perm", &back)])
        }
        "alias" | "detach" | "contiguous" => Ok(part.to_string()),
        "view" | "reshape" | "flatten" | "unflatten" | "squeeze" | "unsqueeze" => {
            let dims = c.dims(&x)?;
            let dims = c.lengths(&dims)?;
            c.part("Reshape", "changed", &[part, &dims], vec![])
        }
        other => unsupported(format!("in place, of what {other} gives")),
    }
}

/// `self` with `part` in the place that `dim`, `start`, `end` or `index` say.
fn placed(c: &mut Call, part: &str, role: &str) -> Done<String> {
    let x = c.tensor("self")?;
    let rank = c.rank(&x)?;
    let axis = c.axis(c.int("dim")?.unwrap_or(0), rank)?;
    if c.int("step")?.unwrap_or(1) != 1 {
        return unsupported("in place, of every so many entries");
    }
    if c.dims(&x)?.get(axis).is_some_and(|dim| matches!(dim, Size::Batch(_))) {
        // All of the batch, or it would not be one.
        return Ok(part.to_string());
    }
    let len = c.length(&x, axis)?;
    let counted = |at: i64| if at < 0 { at + len } else { at }.clamp(0, len);
    let mut part = part.to_string();
    let (start, end) = match c.int("index")? {
        Some(at) => {
            let axes = c.list(&[axis as i64])?;
            part = c.part("Unsqueeze", "entry", &[&part, &axes], vec![])?;
            (counted(at), counted(at).saturating_add(1))
        }
        None => (counted(c.int("start")?.unwrap_or(0)), counted(c.int("end")?.unwrap_or(len))),
    };
    let kept = |c: &mut Call, from: i64, to: i64| -> Done<String> {
        let [from, to, along] = c.each([from, to, axis as i64])?;
        c.part("Slice", "kept", &[&x, &from, &to, &along], vec![])
    };
    let mut parts = Vec::new();
    if start > 0 {
        parts.push(kept(c, 0, start)?);
    }
    parts.push(part);
    if end < len {
        parts.push(kept(c, end, len)?);
    }
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    c.part("Concat", role, &parts, vec![int("axis", axis as i64)])
}
