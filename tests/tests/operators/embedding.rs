//! Rows of a table by whole numbers, which have no derivative.

use attr_core::{Error, Kernels, Op};
use attr_tests::sampling::spread;
use attr_tests::{Backend, Case, Level, Outcome, on_every_backend};
use ndarray::{ArrayD, array};

use crate::{cotangents, value};

struct Tokens;

impl Case for Tokens {
    fn name(&self) -> &str {
        "embedding"
    }
}

fn tokens() -> ArrayD<f64> {
    array![[4.0, 0.0, 2.0], [2.0, 2.0, 1.0]].into_dyn()
}

#[test]
fn rows_of_the_table() {
    fn check<K: Kernels>(adapter: &Backend<K>, _: &Tokens) -> Outcome {
        let (kernels, table) = ((adapter.kernels)(), spread(&[5, 3], 1));
        let found = value(&kernels, &Op::Embedding, &[tokens()], std::slice::from_ref(&table))?;
        let expected =
            ArrayD::from_shape_fn(vec![2, 3, 3], |at| table[[tokens()[[at[0], at[1]]] as usize, at[2]]]);
        Ok(attr_tests::tolerance::close(&found, &expected, Level::Layer, adapter.precision)?)
    }
    on_every_backend!(check, [Tokens]);
}

#[test]
fn numbers_that_are_no_rows_are_refused() {
    fn check<K: Kernels>(adapter: &Backend<K>, _: &Tokens) -> Outcome {
        let (kernels, table) = ((adapter.kernels)(), spread(&[5, 3], 1));
        for wrong in [5.0, -1.0, 0.5, f64::NAN, f64::INFINITY, 1e30] {
            let mut numbers = tokens();
            numbers[[1, 2]] = wrong;
            match value(&kernels, &Op::Embedding, &[numbers], std::slice::from_ref(&table)) {
                Err(Error::Backend { reason, .. }) if reason.contains("from 0 to 4") => {}
                other => return Err(format!("{wrong}: found {other:?}").into()),
            }
        }
        Ok(())
    }
    on_every_backend!(check, [Tokens]);
}

#[test]
fn there_is_no_derivative() {
    fn check<K: Kernels>(adapter: &Backend<K>, _: &Tokens) -> Outcome {
        let (kernels, table) = ((adapter.kernels)(), spread(&[5, 3], 1));
        let cotangent = spread(&[2, 3, 3], 2);
        match cotangents(&kernels, &Op::Embedding, &[tokens()], &[table], &cotangent, &[true]) {
            Err(Error::NoDerivative { .. }) => Ok(()),
            other => Err(format!("found {other:?}").into()),
        }
    }
    on_every_backend!(check, [Tokens]);
}
