//! The cotangent that comes next, if it is the one that came before.
//!
//! A quantity such as a class's logit has the same derivative everywhere. Then TensorFlow can go forward and back in
//! one run, where it fuses more and keeps less. Whether the guess was right is found out afterwards, and only then is
//! its answer taken.

use std::cell::RefCell;

use attr_core::{Cut, Error, Result, Tensor};
use ndarray::{ArrayD, Axis};

use crate::TfTensor;
use crate::plan::Plan;

/// What is known of the cotangents that have come.
#[derive(Default)]
pub(crate) struct Guess(RefCell<Option<Seen>>);

/// A cotangent whose rows were all the same.
struct Seen {
    between: (Cut, Cut),
    /// One row of each tensor.
    rows: Vec<ArrayD<f64>>,
    /// Rows and calls that had it, without another one between them.
    times: usize,
}

impl Guess {
    /// The values at the lower cut, which a plan asks for last, and the derivatives by them.
    pub(crate) fn gradient(
        &self,
        plan: &Plan,
        given: &[&TfTensor],
        between: (&Cut, &Cut),
        cotangent: &mut dyn FnMut(&[TfTensor]) -> Result<Vec<TfTensor>>,
    ) -> Result<(Vec<TfTensor>, Vec<TfTensor>)> {
        let guess = self.next(plan, between, given)?;
        // The second is the derivatives, if the guess is right, or else what was kept to find them.
        let (mut values, second) = match &guess {
            Some(guess) => plan.both(given, guess)?,
            None => plan.there(given)?,
        };
        let at_from = values.split_off(plan.upper);
        let cotangents = cotangent(&values)?;
        check(&values, &cotangents)?;
        self.see(between, &cotangents)?;
        let kept = match guess {
            Some(guess) if arrays(&guess)? == arrays(&cotangents)? => return Ok((at_from, second)),
            Some(_) => plan.there(given)?.1,
            None => second,
        };
        Ok((at_from, plan.back(given, &kept, &cotangents)?))
    }

    /// The cotangents that have come before, for as many rows as this plan has.
    fn next(&self, plan: &Plan, between: (&Cut, &Cut), like: &[&TfTensor]) -> Result<Option<Vec<TfTensor>>> {
        let seen = self.0.borrow();
        let (Some(seen), Some(dims), [first, ..]) = (seen.as_ref(), &plan.cotangents, like) else {
            return Ok(None);
        };
        let fits = |(row, dims): (&ArrayD<f64>, &Vec<usize>)| row.shape()[1..] == dims[1..];
        let known = seen.times > 1
            && (&seen.between.0, &seen.between.1) == between
            && seen.rows.len() == dims.len()
            && seen.rows.iter().zip(dims).all(fits);
        if !known {
            return Ok(None);
        }
        let spread = |(row, dims): (&ArrayD<f64>, &Vec<usize>)| first.like(row)?.broadcast_to(dims);
        seen.rows.iter().zip(dims).map(spread).collect::<Result<_>>().map(Some)
    }

    /// Remembers what has come.
    fn see(&self, between: (&Cut, &Cut), cotangents: &[TfTensor]) -> Result<()> {
        let mut seen = self.0.borrow_mut();
        let rows: Option<Vec<_>> = arrays(cotangents)?.iter().map(same_row).collect();
        *seen = rows.map(|rows| {
            let more = cotangents.iter().map(Tensor::rows).max().unwrap_or(1);
            let before = seen
                .as_ref()
                .filter(|seen| (&seen.between.0, &seen.between.1) == between && seen.rows == rows);
            let times = before.map_or(0, |seen| seen.times) + more;
            Seen { between: (between.0.clone(), between.1.clone()), rows, times }
        });
        Ok(())
    }
}

/// The row that an array is made of, if its rows are all the same.
fn same_row(array: &ArrayD<f64>) -> Option<ArrayD<f64>> {
    let first = array.axis_iter(Axis(0)).next()?;
    array.axis_iter(Axis(0)).all(|row| row == first).then(|| first.to_owned().insert_axis(Axis(0)))
}

fn arrays(tensors: &[TfTensor]) -> Result<Vec<ArrayD<f64>>> {
    tensors.iter().map(Tensor::to_array).collect()
}

/// That a derivative is of the shape of what it is by.
fn check(values: &[TfTensor], cotangents: &[TfTensor]) -> Result<()> {
    let dims = |tensors: &[TfTensor]| tensors.iter().map(Tensor::dims).collect::<Vec<_>>();
    let (expected, found) = (dims(values), dims(cotangents));
    match expected == found {
        true => Ok(()),
        false => {
            let (expected, found) = (format!("{expected:?}"), found.concat());
            Err(Error::Shape { place: "the quantity's derivative".into(), expected, found })
        }
    }
}
