//! Layers large enough that an adapter works them out in blocks, panels and tasks: each at least once with
//! something left over at the end.

use std::sync::LazyLock;

use attr_core::{
    Activation, Conv, ConvTranspose, Coordinates, Interpolation, Kernels, Op, Pool, Resize, Shape,
};
use attr_tests::reference::Reference;
use attr_tests::tolerance::close;
use attr_tests::{Backend, Case, Level, Outcome, on_every_backend};
use ndarray::ArrayD;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::cases::{OpCase, on_rows};
use crate::{cotangent_for, cotangents, value};

/// A layer, and what the formulas give, which takes them a while.
struct Large {
    case: OpCase,
    cotangent: ArrayD<f64>,
    /// The value, then the cotangent of each input.
    expected: Vec<ArrayD<f64>>,
}

impl Case for &Large {
    fn name(&self) -> &str {
        &self.case.name
    }
}

static LARGE: LazyLock<Vec<Large>> = LazyLock::new(|| {
    let with_formulas = |case: OpCase| {
        let cotangent = cotangent_for(&case.op, &case.input_values(), &case.param_values()).unwrap();
        let expected = there_and_back(&Reference, &case, &cotangent).unwrap();
        Large { case, cotangent, expected }
    };
    large().into_par_iter().map(with_formulas).collect()
});

/// A layer's value and the cotangents of its inputs.
fn there_and_back<K: Kernels>(
    kernels: &K,
    case: &OpCase,
    cotangent: &ArrayD<f64>,
) -> attr_core::Result<Vec<ArrayD<f64>>> {
    let (inputs, params) = (case.input_values(), case.param_values());
    let value = value(kernels, &case.op, &inputs, &params)?;
    let wanted = vec![true; inputs.len()];
    let back = cotangents(kernels, &case.op, &inputs, &params, cotangent, &wanted)?;
    Ok(std::iter::once(value).chain(back.into_iter().flatten()).collect())
}

/// Adapters but the reference, which is what they are held against and works on one thread.
fn is_reference<K: Kernels>(adapter: &Backend<K>) -> bool {
    adapter.name == attr_tests::backend::reference().name
}

#[test]
fn there_and_back_again() {
    fn check<K: Kernels>(adapter: &Backend<K>, large: &&Large) -> Outcome {
        if is_reference(adapter) {
            return Ok(());
        }
        let found = there_and_back(&(adapter.kernels)(), &large.case, &large.cotangent)?;
        if found.len() != large.expected.len() {
            return Err(format!("expected {} arrays, found {}", large.expected.len(), found.len()).into());
        }
        for (found, expected) in found.iter().zip(&large.expected) {
            close(found, expected, Level::Layer, adapter.precision)?;
        }
        Ok(())
    }
    on_every_backend!(check, LARGE.iter().collect::<Vec<_>>());
}

/// Sums are cut by size, never by the number of threads, unless a framework cuts them itself.
#[test]
fn on_any_number_of_threads() {
    fn check<K: Kernels>(adapter: &Backend<K>, large: &&Large) -> Outcome {
        if is_reference(adapter) {
            return Ok(());
        }
        let kernels = adapter.kernels;
        let on = |threads: usize| -> Result<Vec<ArrayD<f64>>, String> {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
            (adapter.set_threads)(threads as u16);
            let both = pool.install(|| there_and_back(&kernels(), &large.case, &large.cotangent));
            both.map_err(|error| error.to_string())
        };
        let one = on(1)?;
        for threads in [2, 3, 5] {
            for (found, expected) in on(threads)?.iter().zip(&one) {
                close(found, expected, adapter.same, adapter.precision)
                    .map_err(|reason| format!("{threads} threads: {reason}"))?;
            }
        }
        Ok(())
    }
    on_every_backend!(check, LARGE.iter().collect::<Vec<_>>());
}

fn large() -> Vec<OpCase> {
    let conv = |name: &str, conv: Conv, row: &[usize], weight: &[usize]| {
        on_rows(&format!("large conv {name}"), Op::Conv(conv), row).params(&[weight, &weight[..1]])
    };
    let transposed = |name: &str, conv: Conv, row: &[usize], weight: &[usize]| {
        let bias = [weight[1] * conv.groups];
        let output_padding = vec![0; conv.stride.len()];
        let op = Op::ConvTranspose(ConvTranspose { conv, output_padding });
        on_rows(&format!("large transposed conv {name}"), op, row).params(&[weight, &bias])
    };
    let linear = |name: &str, row: &[usize], out: usize| {
        let inner = row[row.len() - 1];
        on_rows(&format!("large linear {name}"), Op::Linear, row).params(&[&[out, inner], &[out]])
    };
    let maps = |name: &str, op: Op| on_rows(&format!("large {name}"), op, &[20, 31, 33]);
    let pool = Pool { padding: vec![(1, 1); 2], ..Pool::square(3, 2) };
    let resize = Resize::new(
        vec![45, 50],
        vec![45.0 / 20.0, 50.0 / 21.0],
        Interpolation::Linear,
        Coordinates::HalfPixel,
    );
    let channels: &[usize] = &[20];
    vec![
        conv("of many channels", Conv::square(1, 1), &[60, 6, 37], &[9, 60, 3, 3]),
        conv("to many channels", Conv::square(1, 1), &[3, 9, 11], &[131, 3, 3, 3]),
        conv("of a large image", Conv::square(1, 1), &[3, 67, 70], &[5, 3, 3, 3]),
        conv("with stride", Conv::square(2, 1), &[8, 33, 37], &[17, 8, 3, 3]),
        conv("7 x 7 with stride", Conv::square(2, 3), &[3, 39, 41], &[10, 3, 7, 7]),
        conv("1 x 1", Conv::square(1, 0), &[520, 5, 7], &[70, 520, 1, 1]),
        conv("1 x 1 with stride", Conv::square(2, 0), &[40, 13, 15], &[70, 40, 1, 1]),
        conv(
            "with dilation",
            Conv { dilation: vec![2; 2], ..Conv::square(1, 2) },
            &[12, 21, 35],
            &[9, 12, 3, 3],
        ),
        conv("depthwise", Conv { groups: 40, ..Conv::square(1, 1) }, &[40, 30, 35], &[40, 1, 3, 3]),
        conv(
            "depthwise with stride",
            Conv { groups: 40, ..Conv::square(2, 1) },
            &[40, 30, 35],
            &[40, 1, 3, 3],
        ),
        conv("of groups", Conv { groups: 4, ..Conv::square(1, 1) }, &[36, 12, 13], &[44, 9, 3, 3]),
        conv(
            "1-d",
            Conv { stride: vec![1], padding: vec![(2, 2)], dilation: vec![1], groups: 1 },
            &[33, 301],
            &[19, 33, 5],
        ),
        transposed("2 x 2 with stride", Conv::square(2, 0), &[60, 9, 11], &[60, 37, 2, 2]),
        transposed("with overlap", Conv::square(2, 1), &[17, 18, 21], &[17, 9, 4, 4]),
        transposed("of groups", Conv { groups: 4, ..Conv::square(2, 1) }, &[36, 7, 9], &[36, 11, 3, 3]),
        transposed(
            "1-d",
            Conv { stride: vec![4], padding: vec![(2, 2)], dilation: vec![1], groups: 1 },
            &[33, 80],
            &[33, 19, 8],
        ),
        linear("of many rows", &[67, 40], 70),
        linear("of many terms", &[4203], 5),
        linear("to many units", &[37], 1101),
        linear("of many terms to many units", &[1101], 301),
        maps("relu", Op::Activation(Activation::Relu)),
        maps("sigmoid", Op::Activation(Activation::Sigmoid)),
        maps("max pool", Op::MaxPool(pool.clone())),
        maps("average pool", Op::AveragePool { pool, count_include_pad: false }),
        maps("mean", Op::Mean { axes: vec![2, 3], keep: false }),
        maps("softmax", Op::Softmax { axis: 1 }),
        maps("transpose", Op::Transpose { axes: vec![0, 2, 3, 1] }),
        maps("batch norm", Op::BatchNorm { epsilon: 1e-5 }).params(&[channels; 4]),
        on_rows("large resize", Op::Resize(resize), &[5, 20, 21]),
        both("add", Op::Add, &[20, 31, 33]),
        both("multiply", Op::Mul, &[20, 1, 1]),
    ]
}

/// Of maps and another value of these rows.
fn both(name: &str, op: Op, other: &[usize]) -> OpCase {
    let one = on_rows(&format!("large {name}"), op, &[20, 31, 33]);
    OpCase { inputs: vec![one.inputs[0].clone(), Shape::batched(other)], ..one }
}
