//! The one loop that all gradient methods share: gradients at the points of a distribution, in chunks.

use crate::distribution::Points;
use crate::question::{Question, join};
use crate::{Cut, ModelWrapper, Point, Quantity, Result, Tensor};

/// The gradient at one point of the distribution, for all rows.
pub(crate) struct Visit<T> {
    /// The point's weight.
    pub(crate) weight: f64,
    /// The values at the slice's lower cut, one tensor each.
    pub(crate) values: Vec<T>,
    /// The derivative of the quantity by them.
    pub(crate) gradients: Vec<T>,
}

/// Visits the points in order. Rows of several points go through the model together, as many as memory
/// allows; a visit sees whole points, so that sums over them don't depend on the chunks.
///
/// `doi_cut` is where the points are put in; `slice.from` is where the gradient is taken.
pub(crate) fn visit_points<M: ModelWrapper>(
    question: &Question<'_, M>,
    doi_cut: &Cut,
    quantity: &dyn Quantity<M::Tensor>,
    points: &Points<M::Tensor>,
    visit: &mut dyn FnMut(Visit<M::Tensor>) -> Result<()>,
) -> Result<()> {
    let rows = question.rows();
    let total = rows * points.weights.len();
    let most = question.run.chunk_rows(question.model.row_bytes(), total)?;
    // Whole points where there is room for some, in chunks that are as even as can be.
    let unit = if most > rows { rows } else { 1 };
    let (units, chunks) = (total / unit, (total / unit).div_ceil(most / unit));
    let start = |chunk: usize| chunk * units / chunks * unit;
    let mut waiting: Vec<[Vec<M::Tensor>; 2]> = Vec::new();
    let mut made: Option<(usize, Vec<M::Tensor>)> = None;
    for (start, end) in (0..chunks).map(|chunk| (start(chunk), start(chunk + 1))) {
        let (mut inputs, mut replaced) = (Vec::new(), Vec::new());
        for (point, first, len) in spans(start, end, rows) {
            let values = match made.take() {
                Some((at, values)) if at == point => values,
                _ => (points.make)(point)?,
            };
            replaced.push(slice_rows(&values, first, len)?);
            inputs.push(slice_rows(question.inputs, first, len)?);
            made = Some((point, values));
        }
        let (inputs, replaced) = (join(inputs)?, join(replaced)?);
        let seen: Vec<_> = (start..end).map(|row| row % rows).collect();
        let gradient = question.model.gradient(
            Point { inputs: &inputs, replace: Some((doi_cut, &replaced)) },
            &question.slice.from,
            &question.slice.to,
            &mut |values| Ok(quantity.evaluate(values, question.seen(&seen))?.cotangents),
        )?;
        for (point, first, len) in spans(start, end, rows) {
            let offset = point * rows + first - start;
            waiting.push([
                slice_rows(&gradient.values, offset, len)?,
                slice_rows(&gradient.gradients, offset, len)?,
            ]);
            if first + len == rows {
                let (values, gradients) =
                    std::mem::take(&mut waiting).into_iter().map(|[v, g]| (v, g)).unzip();
                let (values, gradients) = (join(values)?, join(gradients)?);
                visit(Visit { weight: points.weights[point], values, gradients })?;
            }
        }
        question.run.report(end, total)?;
    }
    Ok(())
}

/// The parts of rows `start .. end` that belong to one point each: point, first row, number of rows.
fn spans(start: usize, end: usize, rows: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (start / rows..end.div_ceil(rows)).map(move |point| {
        let (from, to) = (start.max(point * rows), end.min((point + 1) * rows));
        (point, from - point * rows, to - from)
    })
}

fn slice_rows<T: Tensor>(tensors: &[T], start: usize, len: usize) -> Result<Vec<T>> {
    tensors.iter().map(|tensor| tensor.slice_rows(start, len)).collect()
}

/// `sum + weight * term` for several tensors; `None` is zero.
pub(crate) fn add_weighted<T: Tensor>(sum: &mut Option<Vec<T>>, weight: f64, terms: &[T]) -> Result<()> {
    let scaled = terms.iter().map(|term| term.scale(weight));
    let scaled = scaled.collect::<Result<Vec<_>>>()?;
    *sum = Some(match sum.take() {
        None => scaled,
        Some(sum) => sum.iter().zip(&scaled).map(|(sum, term)| sum.add(term)).collect::<Result<_>>()?,
    });
    Ok(())
}
