//! Quantities of interest: the literals of TruLens's `qoi_test_base.py`, and each derivative against
//! finite differences of the value.

use attr_core::{ModelWrapper, Precision, Qoi, Quantity, Reduce, Seen, Squash, Tensor};
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Case, Level, Outcome, on_every_adapter};
use ndarray::{Array1, ArrayD, arr1, arr2, array};

struct QoiCase {
    name: &'static str,
    qoi: Qoi,
    values: Vec<ArrayD<f64>>,
    channel_axis: usize,
    expected: Array1<f64>,
    level: Level,
}

impl Case for QoiCase {
    fn name(&self) -> &str {
        self.name
    }
}

#[test]
fn values() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &QoiCase) -> Outcome {
        let value = evaluate(adapter, case, &case.values)?.0;
        Ok(close(&value, &case.expected.clone().into_dyn(), case.level, adapter.precision)?)
    }
    on_every_adapter!(check, cases());
}

#[test]
fn derivatives() {
    const STEP: f64 = 1e-6;
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &QoiCase) -> Outcome {
        if adapter.precision != Precision::F64 {
            return Ok(());
        }
        let found = evaluate(adapter, case, &case.values)?.1;
        for (slot, found) in found.iter().enumerate() {
            let mut differences = ArrayD::zeros(found.raw_dim());
            for at in ndarray::indices(found.raw_dim()) {
                let moved = |step: f64| -> attr_core::Result<f64> {
                    let mut values = case.values.clone();
                    values[slot][&at] += step;
                    Ok(evaluate(adapter, case, &values)?.0.sum())
                };
                differences[&at] = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
            }
            close(found, &differences, Level::FiniteDifference, adapter.precision)?;
        }
        Ok(())
    }
    on_every_adapter!(check, cases());
}

fn evaluate<M: ModelWrapper>(
    adapter: &Adapter<M>,
    case: &QoiCase,
    values: &[ArrayD<f64>],
) -> attr_core::Result<(ArrayD<f64>, Vec<ArrayD<f64>>)> {
    let rows: Vec<_> = (0..values[0].shape()[0]).collect();
    let seen = Seen { rows: &rows, channel_axis: case.channel_axis };
    let evaluation = case.qoi.evaluate(&adapter.tensors(values)?, seen)?;
    let cotangents = evaluation.cotangents.iter().map(Tensor::to_array).collect::<Result<_, _>>()?;
    Ok((evaluation.value.to_array()?, cotangents))
}

fn cases() -> Vec<QoiCase> {
    let y = || vec![arr2(&[[1.0, 2.0, 3.0], [0.0, -1.0, -2.0]]).into_dyn()];
    let z = || {
        let z = array![
            [
                [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 0.0, 1.0]],
                [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0]]
            ],
            [
                [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 0.0, 1.0, 2.0]],
                [[0.0, 2.0, 4.0, 6.0], [0.0, 3.0, 6.0, 9.0], [0.0, 1.0, 2.0, 3.0]]
            ]
        ];
        vec![z.into_dyn()]
    };
    let case = |name, qoi, expected: [f64; 2]| QoiCase {
        name,
        qoi,
        values: y(),
        channel_axis: 1,
        expected: arr1(&expected),
        level: Level::Layer,
    };
    let printed = |case: QoiCase| QoiCase { level: Level::SinglePrecisionFixture, ..case };
    let of_maps = |name, channels: Vec<usize>, reduce, channel_axis, expected| QoiCase {
        values: z(),
        channel_axis,
        ..case(name, Qoi::Channel { channels, reduce }, expected)
    };
    let threshold = |threshold, low_minus_high| Qoi::Threshold { threshold, low_minus_high };
    let soft = (-0f64).exp() / ((-2f64).exp() + (-1f64).exp() + 1.0);
    vec![
        case("max class", Qoi::MaxClass, [3.0, 0.0]),
        case("predicted class", Qoi::PredictedClass, [3.0, 0.0]),
        printed(case("max class behind softmax", Qoi::MaxClass.after(Squash::Softmax), [0.66524096; 2])),
        case("predicted class behind softmax", Qoi::PredictedClass.after(Squash::Softmax), [soft; 2]),
        case("class", Qoi::Class(1), [2.0, -1.0]),
        case(
            "class behind log-softmax",
            Qoi::Class(0).after(Squash::LogSoftmax),
            [soft.ln() - 2.0, soft.ln()],
        ),
        case(
            "class behind sigmoid",
            Qoi::Class(0).after(Squash::Sigmoid),
            [1.0 / (1.0 + (-1f64).exp()), 0.5],
        ),
        case(
            "cosine",
            Qoi::WeightedSum(arr1(&[0.5f64.sqrt(), 0.5f64.sqrt(), 0.0]).into_dyn()).after(Squash::Unit),
            [3.0 / 28f64.sqrt(), -1.0 / 10f64.sqrt()],
        ),
        case("one class a row", Qoi::ClassSeq(vec![0, 2]), [1.0, -2.0]),
        case("comparative", Qoi::Comparative(1, 0), [1.0, -1.0]),
        case("weighted sum", Qoi::WeightedSum(arr1(&[1.0, 1.0, 0.0]).into_dyn()), [3.0, -1.0]),
        case("neuron", Qoi::Neuron(vec![2]), [3.0, -2.0]),
        case("threshold", threshold(1.5, false), [4.0, 3.0]),
        case("threshold, low minus high", threshold(1.5, true), [-4.0, -3.0]),
        printed(case(
            "threshold behind sigmoid",
            threshold(0.75, false).after(Squash::Sigmoid),
            [1.1023126, -0.8881443],
        )),
        case("channel of features", Qoi::channel(2), [3.0, -2.0]),
        of_maps("channel of maps", vec![1], Reduce::Sum, 1, [24.0, 36.0]),
        of_maps("channel of maps with channels last", vec![1], Reduce::Sum, 3, [21.0, 14.0]),
        of_maps("channel mean", vec![1], Reduce::Mean, 1, [2.0, 3.0]),
        of_maps("channel largest", vec![0], Reduce::Max, 1, [9.0, 9.0]),
        of_maps("channel largest with channels last", vec![0], Reduce::Max, 3, [8.0, 9.0]),
        of_maps("two channels", vec![0, 1], Reduce::Sum, 1, [46.0 + 24.0, 48.0 + 36.0]),
        QoiCase { values: z(), ..case("neuron of maps", Qoi::Neuron(vec![1, 2, 3]), [3.0, 3.0]) },
        QoiCase {
            values: [y(), z()].concat(),
            ..case("of the first of two outputs", Qoi::Class(1), [2.0, -1.0])
        },
        QoiCase {
            values: [z(), y()].concat(),
            ..case("of the second output", Qoi::Output(1, Box::new(Qoi::Class(1))), [2.0, -1.0])
        },
    ]
}

/// The predicted class is chosen once; the largest class is chosen anew at every point.
#[test]
fn predicted_class_is_held_fixed() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &QoiCase) -> Outcome {
        let rows = [0, 1];
        let seen = Seen { rows: &rows, channel_axis: 1 };
        let pinned = case.qoi.pin(&adapter.tensors(&case.values)?, seen)?;
        let swapped = adapter.tensors(&[arr2(&[[9.0, 2.0, 3.0], [0.0, -1.0, 7.0]]).into_dyn()])?;
        let quantity: &dyn Quantity<M::Tensor> = pinned.as_deref().unwrap_or(&case.qoi);
        let value = quantity.evaluate(&swapped, seen)?.value.to_array()?;
        Ok(close(&value, &case.expected.clone().into_dyn(), Level::Layer, adapter.precision)?)
    }
    let at = |name, qoi, expected: [f64; 2]| QoiCase {
        name,
        qoi,
        values: vec![arr2(&[[1.0, 2.0, 3.0], [0.0, -1.0, -2.0]]).into_dyn()],
        channel_axis: 1,
        expected: arr1(&expected),
        level: Level::Layer,
    };
    let cases = [at("predicted", Qoi::PredictedClass, [3.0, 0.0]), at("largest", Qoi::MaxClass, [9.0, 7.0])];
    on_every_adapter!(check, cases);
}
