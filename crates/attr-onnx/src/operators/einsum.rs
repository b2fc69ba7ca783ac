//! Einstein's summation: products of values along named axes, as transposes, matrix products and sums.

use attr_core::{Dim, NodeId, Op, Shape};

use super::moves::product;
use crate::import::Context;
use crate::node::{Fault, MAX_RANK, Node, Values, broken, unsupported};

/// The name of an axis: a letter, or the place of one behind an ellipsis, counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Letter(char),
    Behind(usize),
}

/// A value whose axes have names, all different.
struct Named {
    id: NodeId,
    labels: Vec<Label>,
}

pub(super) fn einsum(g: &mut Context, n: &Node) -> Values {
    let equation: String = n.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<_> = left.split(',').collect();
    if terms.len() != n.inputs().len() {
        return broken(format!(
            "equation {equation:?}: expected {} inputs, found {}",
            terms.len(),
            n.inputs().len()
        ));
    }
    if terms.len() > MAX_RANK {
        return unsupported(format!("of {} inputs", terms.len()));
    }
    let mut all = Vec::new();
    let mut values = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let id = g.layer(n, i)?;
        let labels = labels(term, Some(g.shape(id).rank())).map_err(|why| fault(&equation, &why))?;
        all.extend(labels.iter().copied());
        values.push((id, labels));
    }
    let widest =
        all.iter().filter_map(|label| if let Label::Behind(i) = label { Some(i + 1) } else { None }).max();
    let wanted = match right {
        Some(right) => written(right, widest.unwrap_or(0)).map_err(|why| fault(&equation, &why))?,
        None => unsaid(&all, widest.unwrap_or(0)),
    };
    let once = (1..wanted.len()).all(|i| !wanted[..i].contains(&wanted[i]));
    if !once || wanted.iter().any(|label| !all.contains(label)) {
        return broken(format!(
            "equation {equation:?}: expected each axis of the result once, and in an input"
        ));
    }
    let mut values = values.into_iter();
    let Some(first) = values.next() else { return broken("expected at least one input") };
    let rest: Vec<_> = values.collect();
    let needed = |after: usize, label: &Label| {
        wanted.contains(label) || rest[after..].iter().any(|(_, labels)| labels.contains(label))
    };
    let mut total = diagonal(g, n, first)?;
    for (i, term) in rest.iter().cloned().enumerate() {
        let term = diagonal(g, n, term)?;
        let (a, b) = (total, term);
        let a_kept: Vec<_> = a.labels.clone();
        let a = summed(g, n, a, |label| b.labels.contains(label) || needed(i + 1, label))?;
        let b = summed(g, n, b, |label| a_kept.contains(label) || needed(i + 1, label))?;
        total = multiplied(g, n, a, b, |label| needed(i + 1, label))?;
    }
    let total = summed(g, n, total, |label| wanted.contains(label))?;
    let axes: Vec<_> = wanted.iter().map(|label| place(&total.labels, *label)).collect();
    let last = if axes.is_sorted() { Op::Identity } else { Op::Transpose { axes } };
    g.add(n, last, &[total.id], &[])
}

fn fault(equation: &str, why: &str) -> Fault {
    Fault::Broken(format!("equation {equation:?}: {why}"))
}

/// The names of a term's axes; an ellipsis stands for as many as the rank leaves.
fn labels(term: &str, rank: Option<usize>) -> Result<Vec<Label>, String> {
    let (front, back) = match term.split_once("...") {
        Some((front, back)) => (front, Some(back)),
        None => (term, None),
    };
    let letters = |text: &str| -> Result<Vec<Label>, String> {
        text.chars()
            .map(|c| match c.is_ascii_alphabetic() {
                true => Ok(Label::Letter(c)),
                false => Err(format!("expected letters, found {c:?}")),
            })
            .collect()
    };
    let (front, back_labels) = (letters(front)?, letters(back.unwrap_or(""))?);
    let named = front.len() + back_labels.len();
    let rank = rank.unwrap_or(named);
    let open = match (back, rank.checked_sub(named)) {
        (None, Some(0)) => 0,
        (Some(_), Some(open)) => open,
        _ => return Err(format!("expected {named} axes for {term:?}, found {rank}")),
    };
    Ok(front.into_iter().chain((0..open).rev().map(Label::Behind)).chain(back_labels).collect())
}

/// The names of the result's axes, whose ellipsis stands for as many as the widest of the inputs.
fn written(term: &str, widest: usize) -> Result<Vec<Label>, String> {
    let open = if term.contains("...") { widest } else { 0 };
    labels(term, Some(term.replace("...", "").chars().count().min(MAX_RANK) + open))
}

/// Where an equation does not say the result: the ellipsis, then each letter that occurs once, in alphabetical order.
fn unsaid(all: &[Label], widest: usize) -> Vec<Label> {
    let mut letters: Vec<_> =
        all.iter().filter_map(|l| if let Label::Letter(c) = l { Some(*c) } else { None }).collect();
    letters.sort_unstable();
    let once = letters.iter().filter(|c| letters.iter().filter(|other| other == c).count() == 1);
    (0..widest).rev().map(Label::Behind).chain(once.map(|&c| Label::Letter(c))).collect()
}

fn place(labels: &[Label], label: Label) -> usize {
    labels.iter().position(|&other| other == label).expect("BUG: the label was looked for before")
}

/// Axes of the same name are one: the entries where their indices are the same.
fn diagonal(g: &mut Context, n: &Node, (mut id, mut labels): (NodeId, Vec<Label>)) -> Result<Named, Fault> {
    while let Some(second) = (1..labels.len()).find(|&i| labels[..i].contains(&labels[i])) {
        let first = place(&labels, labels[second]);
        let dims = g.shape(id).0;
        let (Dim::Fixed(len), true) = (dims[first], dims[first] == dims[second]) else {
            return unsupported(format!("along a diagonal of axes {first} and {second} of {}", g.shape(id)));
        };
        let others: Vec<_> = (0..dims.len()).filter(|&i| i != first && i != second).collect();
        let axes = others.iter().copied().chain([first, second]).collect();
        let turned = g.transposed(n, axes, id)?;
        let front: Vec<_> = others.iter().map(|&i| dims[i]).collect();
        let square = Dim::Fixed(len.saturating_mul(len));
        let flat = g.reshaped(n, front.iter().copied().chain([square]).collect(), turned)?;
        g.spend(len)?;
        let entries = (0..len).map(|i| i * (len + 1)).collect();
        id = g.step(n, Op::Gather { axis: front.len(), entries }, &[flat])?;
        labels = others.iter().map(|&i| labels[i]).chain([labels[first]]).collect();
    }
    Ok(Named { id, labels })
}

/// The sum over the axes that nothing else needs.
fn summed(g: &mut Context, n: &Node, value: Named, needed: impl Fn(&Label) -> bool) -> Result<Named, Fault> {
    let (kept, gone): (Vec<_>, Vec<_>) = (0..value.labels.len()).partition(|&i| needed(&value.labels[i]));
    if gone.is_empty() {
        return Ok(value);
    }
    let id = g.step(n, Op::Sum { axes: gone, keep: false }, &[value.id])?;
    Ok(Named { id, labels: kept.iter().map(|&i| value.labels[i]).collect() })
}

/// The product of two values as one of matrices: the axes of both that stay in front, of each its own as rows and
/// columns, and those that are summed over between them.
fn multiplied(
    g: &mut Context,
    n: &Node,
    a: Named,
    b: Named,
    needed: impl Fn(&Label) -> bool,
) -> Result<Named, Fault> {
    let in_both = |label: &&Label| a.labels.contains(label) && b.labels.contains(label);
    let both: Vec<_> = a.labels.iter().filter(in_both).copied().collect();
    let (front, inner): (Vec<_>, Vec<_>) = both.iter().copied().partition(|label| needed(label));
    let own =
        |labels: &[Label]| labels.iter().filter(|label| !both.contains(label)).copied().collect::<Vec<_>>();
    let (rows, columns) = (own(&a.labels), own(&b.labels));
    let (a_shape, b_shape) = (g.shape(a.id), g.shape(b.id));
    let dims = |shape: &Shape, labels: &[Label], of: &[Label]| -> Vec<Dim> {
        of.iter().map(|&label| shape.0[place(labels, label)]).collect()
    };
    let (a_front, b_front) = (dims(&a_shape, &a.labels, &front), dims(&b_shape, &b.labels, &front));
    let (a_rows, b_columns) = (dims(&a_shape, &a.labels, &rows), dims(&b_shape, &b.labels, &columns));
    let (a_inner, b_inner) = (dims(&a_shape, &a.labels, &inner), dims(&b_shape, &b.labels, &inner));
    let mut matrix = |value: &Named, order: [&[Label]; 3], shape: Vec<Dim>| -> Result<NodeId, Fault> {
        let axes = order.concat().iter().map(|&label| place(&value.labels, label)).collect();
        let turned = g.transposed(n, axes, value.id)?;
        g.reshaped(n, shape, turned)
    };
    let shape = |front: &[Dim], first: &[Dim], second: &[Dim]| {
        front.iter().copied().chain([product(first), product(second)]).collect::<Vec<_>>()
    };
    let left = matrix(&a, [&front, &rows, &inner], shape(&a_front, &a_rows, &a_inner))?;
    let right = matrix(&b, [&front, &inner, &columns], shape(&b_front, &b_inner, &b_columns))?;
    let result = g.step(n, Op::MatMul, &[left, right])?;
    let lens = g.shape(result).0[..front.len()].to_vec();
    let dims = lens.into_iter().chain(a_rows).chain(b_columns).collect();
    let id = g.reshaped(n, dims, result)?;
    Ok(Named { id, labels: [front, rows, columns].concat() })
}
