//! Where the gradient is taken: weighted points around or on the way to the value at a cut.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use crate::noise::{Noise, draw};
use crate::parameter::FromText;
use crate::{Baseline, Error, Quadrature, Result, Tensor};

/// A distribution of interest: from the values at a cut to weighted points.
///
/// [`Doi`] has the common ones; a user's own implements this.
pub trait Distribution<T: Tensor> {
    /// What it is, in a few words, for the evidence.
    fn describe(&self) -> String;

    /// The points for these values at the cut, where the model's inputs are `inputs`.
    fn points(&self, values: &[T], inputs: &[T]) -> Result<Points<T>>;
}

/// Weighted points, made one by one as they are needed.
pub struct Points<T> {
    /// The weight of each point; together one.
    pub weights: Vec<f64>,
    /// What the values are measured from when an attribution is multiplied by them; zero if `None`.
    pub baseline: Option<Vec<T>>,
    /// Makes one point: tensors of the shapes of the values.
    #[allow(clippy::type_complexity)]
    pub make: Box<dyn Fn(usize) -> Result<Vec<T>>>,
}

impl<T> fmt::Debug for Points<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} points", self.weights.len())
    }
}

/// How a [`Doi`] is written as text.
macro_rules! doi_text {
    () => {
        "`point`, `linear N [QUADRATURE] [from BASELINE]`, `gaussian SIGMA SAMPLES SEED`, `uniform SIZE SAMPLES \
         SEED` (sizes as shares of each row's range, or absolute behind `absolute-`) or `A times B`"
    };
}
pub(crate) use doi_text;

/// The common distributions of interest.
///
#[doc = concat!("As text: ", doi_text!(), ".")]
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Doi {
    /// The value itself.
    #[default]
    Point,
    /// The straight path from a baseline to the value.
    Linear {
        /// Where the path begins.
        baseline: Baseline,
        /// How many points, at least 1.
        resolution: usize,
        /// Which points, and their weights.
        quadrature: Quadrature,
    },
    /// The value with noise of mean 0, each sample of equal weight.
    Noisy {
        /// Normal noise, or evenly drawn noise.
        noise: Noise,
        /// The standard deviation of normal noise, or the largest size of evenly drawn noise.
        size: f64,
        /// Whether the size is a share of each row's range (largest minus smallest number), or absolute.
        relative: bool,
        /// How many samples, at least 1.
        samples: usize,
        /// The seed.
        seed: u64,
    },
    /// Each point of the first is the value from which the second is made; weights multiply.
    Product(Box<Doi>, Box<Doi>),
}

impl Doi {
    /// A straight path from zeros in `resolution` points of Gauss and Legendre.
    pub fn linear(resolution: usize) -> Self {
        Doi::Linear { baseline: Baseline::Zeros, resolution, quadrature: Quadrature::default() }
    }

    /// Normal noise whose standard deviation is `sigma` times each row's range.
    pub fn gaussian(sigma: f64, samples: usize, seed: u64) -> Self {
        Doi::Noisy { noise: Noise::Normal, size: sigma, relative: true, samples, seed }
    }
}

impl<T: Tensor + 'static> Distribution<T> for Doi {
    fn describe(&self) -> String {
        self.to_string()
    }

    fn points(&self, values: &[T], inputs: &[T]) -> Result<Points<T>> {
        let values = values.to_vec();
        match self {
            Doi::Point => {
                let make = Box::new(move |_| Ok(values.clone()));
                Ok(Points { weights: vec![1.0], baseline: None, make })
            }
            Doi::Linear { baseline, resolution, quadrature } => {
                let baseline = baseline.at(&values)?;
                let (positions, weights): (Vec<_>, Vec<_>) =
                    quadrature.nodes(*resolution)?.into_iter().unzip();
                let start = baseline.clone();
                let make = Box::new(move |i: usize| {
                    let between = |(value, start): (&T, &T)| match positions[i] {
                        0.0 => Ok(start.clone()),
                        1.0 => Ok(value.clone()),
                        t => value.scale(t)?.add(&start.scale(1.0 - t)?),
                    };
                    values.iter().zip(&start).map(between).collect()
                });
                Ok(Points { weights, baseline: Some(baseline), make })
            }
            Doi::Noisy { noise, size, relative, samples, seed } => {
                if !(size.is_finite() && *size >= 0.0) {
                    return Err(Error::parameter("sigma", "a number of at least 0", size));
                }
                if *samples == 0 || *samples > 1_000_000 {
                    return Err(Error::parameter("samples", "1 to 1000000", samples));
                }
                let sizes = match relative {
                    true => {
                        values.iter().map(|value| range(value)?.scale(*size)).collect::<Result<Vec<_>>>()?
                    }
                    false => {
                        values.iter().map(|value| value.filled_like(*size)).collect::<Result<Vec<_>>>()?
                    }
                };
                let (noise, seed) = (*noise, *seed);
                let make = Box::new(move |i: usize| {
                    let disturbed = |(tensor, (value, size)): (usize, (&T, &T))| {
                        let drawn = value.like(&draw(noise, seed, i, tensor, &value.dims()[1..]))?;
                        value.add(&drawn.mul(size)?)
                    };
                    values.iter().zip(&sizes).enumerate().map(disturbed).collect()
                });
                Ok(Points { weights: vec![1.0 / *samples as f64; *samples], baseline: None, make })
            }
            Doi::Product(first, second) => product(first, second.as_ref().clone(), &values, inputs.to_vec()),
        }
    }
}

fn product<T: Tensor + 'static>(first: &Doi, second: Doi, values: &[T], inputs: Vec<T>) -> Result<Points<T>> {
    let outer = first.points(values, &inputs)?;
    let inner = second.points(values, &inputs)?;
    let count = inner.weights.len();
    let weights = outer.weights.iter().flat_map(|a| inner.weights.iter().map(move |b| a * b)).collect();
    // The points that belong to the outer point asked for last: the next one mostly asks for the same.
    let last: RefCell<Option<(usize, Points<T>)>> = RefCell::new(None);
    let make = Box::new(move |i: usize| {
        let mut last = last.borrow_mut();
        if last.as_ref().is_none_or(|(at, _)| *at != i / count) {
            *last = Some((i / count, second.points(&(outer.make)(i / count)?, &inputs)?));
        }
        let (_, points) = last.as_ref().expect("BUG: filled above");
        (points.make)(i % count)
    });
    Ok(Points { weights, baseline: inner.baseline.or(outer.baseline), make })
}

/// The largest minus the smallest number of each row, in a shape that broadcasts to the value.
fn range<T: Tensor>(value: &T) -> Result<T> {
    let largest = |value: &T| {
        let flat = value.reshape(&[value.rows(), value.len() / value.rows().max(1)])?.max(1)?;
        flat.reshape(&[&[value.rows()], &vec![1; value.dims().len() - 1][..]].concat())
    };
    largest(value)?.add(&largest(&value.scale(-1.0)?)?)
}

impl fmt::Display for Doi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doi::Point => f.write_str("point"),
            Doi::Linear { baseline, resolution, quadrature } => {
                write!(f, "linear {resolution} {quadrature} from {baseline}")
            }
            Doi::Noisy { noise, size, relative, samples, seed } => {
                let absolute = if *relative { "" } else { "absolute-" };
                let noise = if *noise == Noise::Normal { "gaussian" } else { "uniform" };
                write!(f, "{absolute}{noise} {size} {samples} {seed}")
            }
            Doi::Product(first, second) => write!(f, "{first} times {second}"),
        }
    }
}

impl FromStr for Doi {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        FromText::from_text("distribution", text)
    }
}

impl FromText for Doi {
    fn from_text(name: &str, text: &str) -> Result<Self> {
        if let Some((first, second)) = text.split_once(" times ") {
            let (first, second) = (Doi::from_text(name, first)?, Doi::from_text(name, second)?);
            return Ok(Doi::Product(Box::new(first), Box::new(second)));
        }
        let (head, baseline) = match text.split_once(" from ") {
            Some((head, baseline)) => (head, Baseline::from_text(name, baseline)?),
            None => (text, Baseline::Zeros),
        };
        let words: Vec<_> = head.split_whitespace().collect();
        let (relative, kind) = match words.first().and_then(|word| word.strip_prefix("absolute-")) {
            Some(kind) => (false, kind),
            None => (true, words.first().copied().unwrap_or_default()),
        };
        let number = |word: &str| usize::from_text(name, word);
        match (kind, &words[1.min(words.len())..]) {
            ("point", []) if relative => Ok(Doi::Point),
            ("linear", rest @ ([] | [_] | [_, _])) if relative => {
                let resolution = rest.first().map_or(Ok(50), |word| number(word))?;
                let quadrature = rest.get(1).map_or(Ok(Quadrature::default()), |word| word.parse())?;
                Ok(Doi::Linear { baseline, resolution, quadrature })
            }
            ("gaussian" | "uniform", [size, samples, seed]) => {
                let noise = if kind == "gaussian" { Noise::Normal } else { Noise::Uniform };
                let (size, seed) = (f64::from_text(name, size)?, u64::from_text(name, seed)?);
                Ok(Doi::Noisy { noise, size, relative, samples: number(samples)?, seed })
            }
            _ => Err(Error::parameter(name, doi_text!(), format!("{text:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back() {
        for text in [
            "point",
            "linear 21 closed-mean from 1",
            "linear 50 gauss-legendre from blur 3",
            "gaussian 0.15 50 7",
            "absolute-uniform 2 5 0",
            "gaussian 0.1 4 1 times linear 8 left from zeros",
        ] {
            assert_eq!(text.parse::<Doi>().unwrap().to_string(), text);
        }
        for wrong in ["", "points", "linear x", "gaussian 1", "linear 5 simpson", "absolute-point"] {
            assert!(wrong.parse::<Doi>().is_err(), "{wrong}");
        }
    }
}
