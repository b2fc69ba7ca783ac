//! What an input is compared with: the point at which a feature counts as absent.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::{Array1, ArrayD, Axis, Zip};

use crate::noise::{Noise, draw};
use crate::parameter::FromText;
use crate::{Error, Result, Tensor};

/// A user's own baseline: from the values at a cut, one array each, to baselines that broadcast to them.
pub type BaselineFunction = dyn Fn(&[ArrayD<f64>]) -> Vec<ArrayD<f64>> + Send + Sync;

/// Where a path begins, or what is put in the place of what is taken away. Values are in the model's own
/// units, after normalisation.
///
/// As text: `zeros`, a number, `blur SIGMA`, `uniform LOW HIGH SEED`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Baseline {
    /// Zero everywhere: after normalisation, the mean colour.
    #[default]
    Zeros,
    /// One number everywhere.
    Constant(f64),
    /// Given arrays, one for each tensor at the cut; each broadcasts to the tensor, batch included.
    Arrays(Vec<ArrayD<f64>>),
    /// The value itself, blurred along its spatial axes (those behind batch and channel) by a Gaussian of
    /// this standard deviation in pixels, edges mirrored.
    Blurred(f64),
    /// Numbers drawn evenly from an interval, the same for each row.
    Uniform {
        /// The least number.
        low: f64,
        /// The bound above.
        high: f64,
        /// The seed.
        seed: u64,
    },
    /// A function of the values.
    Function(Arc<BaselineFunction>),
}

impl Baseline {
    /// The baselines of these values, in their shapes.
    pub fn at<T: Tensor>(&self, values: &[T]) -> Result<Vec<T>> {
        match self {
            Baseline::Zeros => values.iter().map(Tensor::zeros_like).collect(),
            Baseline::Constant(x) | Baseline::Uniform { low: x, .. } | Baseline::Uniform { high: x, .. }
                if !x.is_finite() =>
            {
                Err(Error::NotFinite { place: "the baseline".into() })
            }
            Baseline::Constant(constant) => values.iter().map(|value| value.filled_like(*constant)).collect(),
            Baseline::Arrays(arrays) => fit(arrays, values),
            Baseline::Blurred(sigma) => {
                let blurred = |value: &T| value.like(&blur(value.to_array()?, *sigma)?);
                values.iter().map(blurred).collect()
            }
            Baseline::Uniform { low, high, seed } => {
                let drawn = |(tensor, value): (usize, &T)| {
                    let noise = draw(Noise::Uniform, *seed, 0, tensor, &value.dims()[1..]);
                    let array = noise.mapv(|x| low + (high - low) * (x + 1.0) / 2.0);
                    value.like(&array)?.broadcast_to(&value.dims())
                };
                values.iter().enumerate().map(drawn).collect()
            }
            Baseline::Function(function) => {
                let arrays = values.iter().map(Tensor::to_array).collect::<Result<Vec<_>>>()?;
                fit(&function(&arrays), values)
            }
        }
    }
}

fn fit<T: Tensor>(arrays: &[ArrayD<f64>], values: &[T]) -> Result<Vec<T>> {
    if arrays.len() != values.len() {
        let expected = format!("{} arrays, one for each tensor at the cut", values.len());
        return Err(Error::Shape { place: "the baseline".into(), expected, found: vec![arrays.len()] });
    }
    let one = |(array, value): (&ArrayD<f64>, &T)| {
        let dims = value.dims();
        let (place, expected) = ("the baseline".to_string(), format!("what broadcasts to {dims:?}"));
        if array.iter().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite { place });
        }
        match array.broadcast(dims.clone()) {
            Some(whole) => value.like(&whole.to_owned()),
            None => Err(Error::Shape { place, expected, found: array.shape().to_vec() }),
        }
    };
    arrays.iter().zip(values).map(one).collect()
}

/// A Gaussian blur along the axes behind batch and channel, edges mirrored.
fn blur(mut array: ArrayD<f64>, sigma: f64) -> Result<ArrayD<f64>> {
    if !(sigma.is_finite() && sigma > 0.0 && sigma < 1e4) {
        return Err(Error::parameter("baseline", "a blur of 0 to 10000 pixels", sigma));
    }
    let reach = (4.0 * sigma).ceil() as isize;
    let weights: Array1<f64> =
        (-reach..=reach).map(|i| (-((i * i) as f64) / (2.0 * sigma * sigma)).exp()).collect();
    let weights = &weights / weights.sum();
    for axis in 2..array.ndim() {
        let source = array.clone();
        let len = array.len_of(Axis(axis)) as isize;
        Zip::from(array.lanes_mut(Axis(axis))).and(source.lanes(Axis(axis))).for_each(|mut to, from| {
            for i in 0..len {
                let taps = weights.iter().zip(-reach..).map(|(w, offset)| w * from[mirror(i + offset, len)]);
                to[i as usize] = taps.sum();
            }
        });
    }
    Ok(array)
}

/// An index beyond an edge, mirrored there: -1 is 0, `len` is `len - 1`.
fn mirror(index: isize, len: isize) -> usize {
    let folded = index.rem_euclid(2 * len);
    folded.min(2 * len - 1 - folded) as usize
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Baseline::Zeros => f.write_str("zeros"),
            Baseline::Constant(constant) => write!(f, "{constant}"),
            Baseline::Arrays(arrays) => {
                let shapes: Vec<_> = arrays.iter().map(|array| format!("{:?}", array.shape())).collect();
                write!(f, "given arrays of shape {}", shapes.join(", "))
            }
            Baseline::Blurred(sigma) => write!(f, "blur {sigma}"),
            Baseline::Uniform { low, high, seed } => write!(f, "uniform {low} {high} {seed}"),
            Baseline::Function(_) => f.write_str("a function of the caller's own"),
        }
    }
}

impl fmt::Debug for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Baseline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        FromText::from_text("baseline", text)
    }
}

impl FromText for Baseline {
    fn from_text(name: &str, text: &str) -> Result<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let real = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite());
        let parsed = match words[..] {
            ["zeros"] => Some(Baseline::Zeros),
            ["blur", sigma] => real(sigma).map(Baseline::Blurred),
            ["uniform", low, high, seed] => {
                let seed = seed.parse().ok();
                real(low).zip(real(high)).zip(seed).map(|((low, high), seed)| Baseline::Uniform {
                    low,
                    high,
                    seed,
                })
            }
            [constant] => real(constant).map(Baseline::Constant),
            _ => None,
        };
        let expected = "zeros, a number, `blur SIGMA` or `uniform LOW HIGH SEED`";
        parsed.ok_or_else(|| Error::parameter(name, expected, format!("{text:?}")))
    }

    fn from_arrays(_: &str, arrays: &[ArrayD<f64>]) -> Result<Self> {
        Ok(Baseline::Arrays(arrays.to_vec()))
    }
}
