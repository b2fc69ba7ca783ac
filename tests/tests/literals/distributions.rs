//! Distributions of interest: the literals of TruLens's `doi_test_base.py`, and what must hold of noise.

use std::sync::Arc;

use attr_core::{Baseline, Distribution, Doi, ModelWrapper, Noise, Quadrature, Tensor};
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Case, Level, Outcome, on_every_adapter};
use ndarray::{Array2, ArrayD, arr2};

const Z: [[f64; 3]; 2] = [[1.0, 2.0, 3.0], [0.0, -1.0, -2.0]];

/// A distribution at [`Z`], and some of its points.
struct DoiCase {
    name: &'static str,
    doi: Doi,
    count: usize,
    points: Vec<(usize, Array2<f64>)>,
}

impl Case for DoiCase {
    fn name(&self) -> &str {
        self.name
    }
}

#[test]
fn points() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &DoiCase) -> Outcome {
        let values = adapter.tensors(&[arr2(&Z).into_dyn()])?;
        let points = case.doi.points(&values, &values)?;
        let (count, total) = (points.weights.len(), points.weights.iter().sum::<f64>());
        if count != case.count || (total - 1.0).abs() > 1e-12 {
            return Err(
                format!("expected {} points of weight 1, found {count} of {total}", case.count).into()
            );
        }
        for (i, expected) in &case.points {
            let found = (points.make)(*i)?[0].to_array()?;
            close(&found, &expected.clone().into_dyn(), Level::Layer, adapter.precision)
                .map_err(|reason| format!("point {i}: {reason}"))?;
        }
        Ok(())
    }
    let (z, ones) = (arr2(&Z), Array2::ones((2, 3)));
    let line =
        |baseline, resolution| Doi::Linear { baseline, resolution, quadrature: Quadrature::ClosedMean };
    let given = Baseline::Arrays(vec![ones.clone().into_dyn()]);
    let shifted = Baseline::Function(Arc::new(|z: &[ArrayD<f64>]| vec![&z[0] + 42.0]));
    let near = arr2(&[[1.0, 1.05, 1.1], [0.95, 0.9, 0.85]]);
    let noise = |samples| Doi::gaussian(0.1, samples, 3);
    let still = |samples| Doi::gaussian(0.0, samples, 3);
    let case = |name, doi, count, points| DoiCase { name, doi, count, points };
    on_every_adapter!(
        check,
        [
            case("point", Doi::Point, 1, vec![(0, z.clone())]),
            case(
                "from the input to the baseline",
                line(given, 21),
                21,
                vec![(0, z.clone()), (20, ones), (19, near)]
            ),
            case("a line of one point", line(Baseline::Zeros, 1), 1, vec![(0, z.clone())]),
            case("zeros by default", line(Baseline::default(), 10), 10, vec![(9, Array2::zeros((2, 3)))]),
            case("a baseline made of the value", line(shifted, 10), 10, vec![(0, z.clone()), (9, &z + 42.0)]),
            case("noise", noise(7), 7, vec![]),
            case("noise of no size", still(3), 3, vec![(0, z.clone()), (2, z.clone())]),
            case(
                "noise around a line",
                Doi::Product(Box::new(line(Baseline::Zeros, 3)), Box::new(still(2))),
                6,
                vec![(0, z.clone()), (1, z.clone()), (2, &z / 2.0), (5, Array2::zeros((2, 3)))]
            ),
        ]
    );
}

/// Mean, size and independence of 4,000 drawn numbers, and that all rows get the same ones.
#[test]
fn noise_is_what_it_says() {
    let adapter = attr_tests::adapter::reference();
    let values = adapter.tensors(&[ArrayD::zeros(vec![2, 4])]).unwrap();
    for (noise, deviation) in [(Noise::Normal, 2.0), (Noise::Uniform, 2.0 / 3f64.sqrt())] {
        let doi = Doi::Noisy { noise, size: 2.0, relative: false, samples: 1000, seed: 5 };
        let points = doi.points(&values, &values).unwrap();
        let samples: Vec<_> = (0..1000).map(|i| (points.make)(i).unwrap()[0].to_array().unwrap()).collect();
        assert!(
            samples.iter().all(|s| s.index_axis(ndarray::Axis(0), 0) == s.index_axis(ndarray::Axis(0), 1))
        );
        let numbers: Vec<f64> =
            samples.iter().flat_map(|s| s.iter().copied().take(4).collect::<Vec<_>>()).collect();
        let mean = numbers.iter().sum::<f64>() / 4000.0;
        let size = (numbers.iter().map(|x| x * x).sum::<f64>() / 4000.0).sqrt();
        let neighbours = numbers.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / (3999.0 * size * size);
        // Four standard errors.
        assert!(mean.abs() < 4.0 * deviation / 4000f64.sqrt(), "{noise:?}: mean {mean}");
        assert!((size / deviation - 1.0).abs() < 0.05, "{noise:?}: deviation {size}");
        assert!(neighbours.abs() < 4.0 / 4000f64.sqrt(), "{noise:?}: correlation {neighbours}");
    }
}

/// The same on every adapter: noise comes from core, as numbers.
#[test]
fn noise_is_the_same_everywhere() {
    struct Noisy;
    impl Case for Noisy {
        fn name(&self) -> &str {
            "noise of the same seed"
        }
    }
    fn sample<M: ModelWrapper>(adapter: &Adapter<M>) -> attr_core::Result<ArrayD<f64>> {
        let values = adapter.tensors(&[arr2(&Z).into_dyn()])?;
        (Doi::gaussian(0.15, 4, 11).points(&values, &values)?.make)(2)?[0].to_array()
    }
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, _: &Noisy) -> Outcome {
        let expected = sample(&attr_tests::adapter::reference())?;
        Ok(close(&sample(adapter)?, &expected, Level::Layer, adapter.precision)?)
    }
    on_every_adapter!(check, [Noisy]);
}
