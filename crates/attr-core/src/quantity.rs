//! What is explained: one number for each row, made of the values at the upper cut, and its derivative.

use std::fmt;
use std::str::FromStr;

use ndarray::{ArrayD, Axis, IxDyn};

use crate::{Error, Result, Tensor};

/// A quantity of interest: a number for each row, and its derivative by the values it is made of.
///
/// [`Qoi`] has the common ones; a closure of the same form as [`evaluate`](Self::evaluate) is one too.
pub trait Quantity<T: Tensor> {
    /// What it is, in a few words, for the evidence.
    fn describe(&self) -> String;

    /// Its value and derivative for these values at the upper cut.
    fn evaluate(&self, values: &[T], seen: Seen<'_>) -> Result<Evaluation<T>>;

    /// The same quantity with all fixed that depends on the explained input, given the values there;
    /// `None` if nothing does.
    fn pin(&self, _values: &[T], _seen: Seen<'_>) -> Result<Option<Box<dyn Quantity<T>>>> {
        Ok(None)
    }
}

/// Which part of the whole a quantity is evaluated on.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// For each row of the values, the row of the model's inputs that it belongs to.
    pub rows: &'a [usize],
    /// The axis of channels or classes.
    pub channel_axis: usize,
}

/// A quantity's value and derivative.
#[derive(Debug, Clone)]
pub struct Evaluation<T> {
    /// One number for each row: shape `[rows]`.
    pub value: T,
    /// The derivative of each row's number by each of the values, in their shapes.
    pub cotangents: Vec<T>,
}

impl<T: Tensor, F: Fn(&[T], Seen<'_>) -> Result<Evaluation<T>>> Quantity<T> for F {
    fn describe(&self) -> String {
        "a quantity of the caller's own".into()
    }

    fn evaluate(&self, values: &[T], seen: Seen<'_>) -> Result<Evaluation<T>> {
        self(values, seen)
    }
}

/// The common quantities of interest.
///
/// As text: `predicted`, `max`, `7` (a class), `3:5` (class 3 against class 5), `channel 4`,
/// `neuron 1,2,3`, `softmax 7`, `log-softmax predicted`, `sigmoid 7`.
///
/// ```
/// use attr_core::Qoi;
///
/// assert_eq!("3:5".parse::<Qoi>()?, Qoi::Comparative(3, 5));
/// assert_eq!("softmax 7".parse::<Qoi>()?.to_string(), "softmax 7");
/// # Ok::<(), attr_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Qoi {
    /// The class with the largest value at the explained input, then held fixed: `[B, classes]`.
    #[default]
    PredictedClass,
    /// The largest class, chosen anew at every point: `[B, classes]`.
    MaxClass,
    /// One class: `[B, classes]`.
    Class(usize),
    /// One class for each row of the batch: `[B, classes]`.
    ClassSeq(Vec<usize>),
    /// The first class minus the second: `[B, classes]`.
    Comparative(usize, usize),
    /// Channels of a layer, each reduced to one number over all other axes, then summed.
    Channel {
        /// The channels.
        channels: Vec<usize>,
        /// How the other axes are reduced.
        reduce: Reduce,
    },
    /// The sum over each row of `y` where `y > threshold` minus the sum of `y` where `y < threshold`.
    Threshold {
        /// The threshold.
        threshold: f64,
        /// The other way round.
        low_minus_high: bool,
    },
    /// One number at this index within the row.
    Neuron(Vec<usize>),
    /// The sum of the row's numbers times these weights, which broadcast to the row.
    WeightedSum(ArrayD<f64>),
    /// Another quantity of the values after a function of them.
    After(Squash, Box<Qoi>),
    /// Another quantity of the value with this index, where there are several at the upper cut.
    Output(usize, Box<Qoi>),
}

/// How a channel becomes one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduce {
    /// The sum over all positions.
    #[default]
    Sum,
    /// The mean over all positions.
    Mean,
    /// The largest value of all positions; the first where several are.
    Max,
}

/// A function of the values at the upper cut, before a quantity is made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Squash {
    /// `exp(y) / sum(exp(y))` over the channel axis.
    Softmax,
    /// Its logarithm.
    LogSoftmax,
    /// `1 / (1 + exp(-y))`.
    Sigmoid,
    /// `y / sqrt(sum(y * y))` over the channel axis: with a weighted sum by a vector of length 1, the cosine.
    Unit,
}

/// TruLens' shorthand: a number is a channel, summed over all positions.
impl From<usize> for Qoi {
    fn from(channel: usize) -> Self {
        Qoi::channel(channel)
    }
}

/// TruLens' shorthand: a pair of classes is the first minus the second.
impl From<(usize, usize)> for Qoi {
    fn from((a, b): (usize, usize)) -> Self {
        Qoi::Comparative(a, b)
    }
}

impl Qoi {
    /// This quantity of the values after a softmax, log-softmax or sigmoid.
    pub fn after(self, squash: Squash) -> Self {
        Qoi::After(squash, Box::new(self))
    }

    /// One channel, summed over all positions.
    pub fn channel(channel: usize) -> Self {
        Qoi::Channel { channels: vec![channel], reduce: Reduce::Sum }
    }

    /// Every quantity here is a sum of the row's numbers with weights that are constant almost
    /// everywhere: these weights, in a shape that broadcasts to that of `y`.
    fn weights<T: Tensor>(&self, y: &T, seen: Seen<'_>) -> Result<T> {
        let (dims, axis) = (y.dims(), seen.channel_axis);
        let rank = dims.len();
        match self {
            Qoi::PredictedClass | Qoi::MaxClass => {
                let classes = self.classes(&dims, axis)?;
                let numbers = ArrayD::from_shape_fn(along(rank, axis, classes), |index| index[axis] as f64);
                y.argmax(axis)?.eq(&y.like(&numbers)?)
            }
            Qoi::Class(class) => self.one_hot(y, axis, &[(*class, 1.0)]),
            Qoi::Comparative(a, b) => self.one_hot(y, axis, &[(*a, 1.0), (*b, -1.0)]),
            Qoi::ClassSeq(labels) => {
                let classes = self.classes(&dims, axis)?;
                let mut weights = ArrayD::zeros(IxDyn(&dims));
                for (mut row, &seen) in weights.axis_iter_mut(Axis(0)).zip(seen.rows) {
                    let label = *labels.get(seen).ok_or_else(|| {
                        Error::parameter(
                            "classes",
                            &format!("one class for each of {} rows", seen + 1),
                            labels.len(),
                        )
                    })?;
                    check("class", label, classes)?;
                    row.as_slice_mut().expect("BUG: zeros are contiguous")[label] = 1.0;
                }
                y.like(&weights)
            }
            Qoi::Channel { channels, reduce } => {
                if rank < 2 || axis == 0 || axis >= rank {
                    return Err(wrong_shape(format!("a channel axis {axis} behind the batch"), &dims));
                }
                let mut one_hot = ArrayD::<f64>::zeros(along(rank, axis, dims[axis]));
                for &channel in channels {
                    check("channel", channel, dims[axis])?;
                    one_hot.as_slice_mut().expect("BUG: zeros are contiguous")[channel] += 1.0;
                }
                let one_hot = y.like(&one_hot)?;
                let positions: usize = dims.iter().skip(1).product::<usize>() / dims[axis];
                match reduce {
                    Reduce::Sum => Ok(one_hot),
                    Reduce::Mean => one_hot.scale(1.0 / positions as f64),
                    Reduce::Max => first_maxima(y, axis)?.mul(&one_hot),
                }
            }
            Qoi::Threshold { threshold, low_minus_high } => {
                let threshold = y.like(&ArrayD::from_elem(vec![1; rank], *threshold))?;
                let sign = y.gt(&threshold)?.sub(&threshold.gt(y)?)?;
                if *low_minus_high { sign.scale(-1.0) } else { Ok(sign) }
            }
            Qoi::Neuron(index) => {
                let row = &dims[1..];
                if index.len() != row.len() || index.iter().zip(row).any(|(i, n)| i >= n) {
                    let last: Vec<_> = row.iter().map(|n| n.saturating_sub(1)).collect();
                    let (wanted, last) = (format!("{index:?}"), format!("{last:?}"));
                    return Err(Error::OutOfRange { what: "neuron", wanted, last });
                }
                let mut weights = ArrayD::zeros([&[1], row].concat());
                weights[IxDyn(&[&[0], &index[..]].concat())] = 1.0;
                y.like(&weights)
            }
            Qoi::WeightedSum(weights) => {
                let row = weights.broadcast(IxDyn(&dims[1..])).ok_or_else(|| Error::Shape {
                    place: "the weights of a weighted sum".into(),
                    expected: format!("what broadcasts to {:?}", &dims[1..]),
                    found: weights.shape().to_vec(),
                })?;
                y.like(&row.insert_axis(Axis(0)).to_owned())
            }
            Qoi::After(..) | Qoi::Output(..) => unreachable!("BUG: unwrapped before"),
        }
    }

    /// How many classes `[B, classes]` has.
    fn classes(&self, dims: &[usize], axis: usize) -> Result<usize> {
        match dims {
            [_, classes] if axis == 1 => Ok(*classes),
            _ => Err(wrong_shape(
                "[B, classes], one number a class; of other values a channel or neuron".into(),
                dims,
            )),
        }
    }

    fn one_hot<T: Tensor>(&self, y: &T, axis: usize, weights: &[(usize, f64)]) -> Result<T> {
        let classes = self.classes(&y.dims(), axis)?;
        let mut array = ArrayD::zeros(vec![1, classes]);
        for &(class, weight) in weights {
            check("class", class, classes)?;
            array[[0, class]] += weight;
        }
        y.like(&array)
    }
}

impl<T: Tensor> Quantity<T> for Qoi {
    fn describe(&self) -> String {
        self.to_string()
    }

    fn evaluate(&self, values: &[T], seen: Seen<'_>) -> Result<Evaluation<T>> {
        match self {
            Qoi::Output(index, qoi) => {
                check("output", *index, values.len())?;
                let inner = qoi.evaluate(&values[*index..=*index], seen)?;
                let mut cotangents = values.iter().map(Tensor::zeros_like).collect::<Result<Vec<_>>>()?;
                cotangents[*index] =
                    inner.cotangents.into_iter().next().expect("BUG: one value, one cotangent");
                Ok(Evaluation { value: inner.value, cotangents })
            }
            // Without a word about which output, the first one is meant.
            _ if values.len() > 1 => Qoi::Output(0, Box::new(self.clone())).evaluate(values, seen),
            Qoi::After(squash, qoi) => {
                let squashed = squash.value(&values[0], seen.channel_axis)?;
                let inner = qoi.evaluate(std::slice::from_ref(&squashed), seen)?;
                let cotangent = squash.vjp(&values[0], &squashed, &inner.cotangents[0], seen.channel_axis)?;
                Ok(Evaluation { value: inner.value, cotangents: vec![cotangent] })
            }
            _ => {
                let y = values.first().ok_or_else(|| wrong_shape("a value at the upper cut".into(), &[]))?;
                let cotangent = self.weights(y, seen)?.broadcast_to(&y.dims())?;
                Ok(Evaluation { value: y.mul(&cotangent)?.row_sums()?, cotangents: vec![cotangent] })
            }
        }
    }

    fn pin(&self, values: &[T], seen: Seen<'_>) -> Result<Option<Box<dyn Quantity<T>>>> {
        Ok(self.pinned(values, seen)?.map(|qoi| Box::new(qoi) as Box<dyn Quantity<T>>))
    }
}

impl Qoi {
    /// The quantity with the predicted class put in.
    fn pinned<T: Tensor>(&self, values: &[T], seen: Seen<'_>) -> Result<Option<Qoi>> {
        Ok(match self {
            Qoi::PredictedClass => {
                let y = values.first().ok_or_else(|| wrong_shape("a value at the upper cut".into(), &[]))?;
                self.classes(&y.dims(), seen.channel_axis)?;
                let classes = y.argmax(seen.channel_axis)?.to_array()?;
                Some(Qoi::ClassSeq(classes.iter().map(|&class| class as usize).collect()))
            }
            // Softmax and sigmoid keep the order, so the predicted class is that of the values themselves.
            Qoi::After(squash, qoi) => qoi.pinned(values, seen)?.map(|qoi| qoi.after(*squash)),
            Qoi::Output(index, qoi) => {
                check("output", *index, values.len())?;
                qoi.pinned(&values[*index..=*index], seen)?.map(|qoi| Qoi::Output(*index, Box::new(qoi)))
            }
            _ => None,
        })
    }
}

impl Squash {
    fn value<T: Tensor>(self, y: &T, axis: usize) -> Result<T> {
        let one = |like: &T| like.filled_like(1.0);
        if axis >= y.dims().len() {
            return Err(wrong_shape(format!("an axis {axis}"), &y.dims()));
        }
        match self {
            Squash::Sigmoid => {
                // exp(min(y, 0)) / (exp(min(y, 0)) + exp(-max(y, 0))) never overflows.
                let positive = y.relu()?;
                let low = y.sub(&positive)?.exp()?;
                low.div(&low.add(&positive.scale(-1.0)?.exp()?)?)
            }
            Squash::Unit => y.div(&length(y, axis)?),
            Squash::Softmax | Squash::LogSoftmax => {
                let shifted = y.sub(&y.max(axis)?)?;
                let sum = shifted.exp()?.sum(&[axis])?;
                match self {
                    Squash::LogSoftmax => shifted.sub(&sum.ln()?),
                    _ => shifted.exp()?.mul(&one(&sum)?.div(&sum)?),
                }
            }
        }
    }

    /// From the derivative by the squashed values to that by the values.
    fn vjp<T: Tensor>(self, y: &T, squashed: &T, cotangent: &T, axis: usize) -> Result<T> {
        match self {
            Squash::Unit => {
                let along = cotangent.mul(squashed)?.sum(&[axis])?;
                cotangent.sub(&squashed.mul(&along)?)?.div(&length(y, axis)?)
            }
            Squash::Sigmoid => cotangent.mul(squashed)?.mul(&squashed.affine(-1.0, 1.0)?),
            Squash::Softmax => {
                let mean = cotangent.mul(squashed)?.sum(&[axis])?;
                squashed.mul(&cotangent.sub(&mean)?)
            }
            Squash::LogSoftmax => cotangent.sub(&squashed.exp()?.mul(&cotangent.sum(&[axis])?)?),
        }
    }
}

/// The Euclidean length over an axis, which stays with length 1.
fn length<T: Tensor>(y: &T, axis: usize) -> Result<T> {
    y.square()?.sum(&[axis])?.sqrt()
}

/// 1 at the first largest value of each channel of each row, else 0.
fn first_maxima<T: Tensor>(y: &T, axis: usize) -> Result<T> {
    let dims = y.dims();
    let mut order: Vec<_> = (0..dims.len()).filter(|&i| i > 1 || (i == 1 && axis != 1) || i == 0).collect();
    order.retain(|&i| i != axis);
    order.insert(1, axis);
    let flat = y.permute(&order)?;
    let moved = flat.dims();
    let positions: usize = moved[2..].iter().product();
    let flat = flat.reshape(&[moved[0], moved[1], positions])?;
    let numbers = ArrayD::from_shape_fn(IxDyn(&[1, 1, positions]), |index| index[2] as f64);
    let mask = flat.argmax(2)?.eq(&y.like(&numbers)?)?.reshape(&moved)?;
    let mut back = vec![0; dims.len()];
    order.iter().enumerate().for_each(|(new, &old)| back[old] = new);
    mask.permute(&back)
}

fn along(rank: usize, axis: usize, len: usize) -> IxDyn {
    let mut dims = vec![1; rank];
    dims[axis] = len;
    IxDyn(&dims)
}

fn check(what: &'static str, index: usize, count: usize) -> Result<()> {
    if index < count {
        return Ok(());
    }
    Err(Error::OutOfRange { what, wanted: index.to_string(), last: count.saturating_sub(1).to_string() })
}

fn wrong_shape(expected: String, found: &[usize]) -> Error {
    Error::Shape { place: "the quantity of interest".into(), expected, found: found.to_vec() }
}

impl fmt::Display for Qoi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[usize]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match self {
            Qoi::PredictedClass => f.write_str("predicted"),
            Qoi::MaxClass => f.write_str("max"),
            Qoi::Class(class) => write!(f, "{class}"),
            Qoi::ClassSeq(classes) => write!(f, "classes {}", list(classes)),
            Qoi::Comparative(a, b) => write!(f, "{a}:{b}"),
            Qoi::Channel { channels, reduce: Reduce::Sum } => write!(f, "channel {}", list(channels)),
            Qoi::Channel { channels, reduce: Reduce::Mean } => write!(f, "channel-mean {}", list(channels)),
            Qoi::Channel { channels, reduce: Reduce::Max } => write!(f, "channel-max {}", list(channels)),
            Qoi::Threshold { threshold, low_minus_high: false } => write!(f, "threshold {threshold}"),
            Qoi::Threshold { threshold, low_minus_high: true } => write!(f, "below-threshold {threshold}"),
            Qoi::Neuron(index) => write!(f, "neuron {}", list(index)),
            Qoi::WeightedSum(weights) => {
                write!(f, "a weighted sum with weights of shape {:?}", weights.shape())
            }
            Qoi::After(squash, qoi) => write!(f, "{squash} {qoi}"),
            Qoi::Output(index, qoi) => write!(f, "output {index} {qoi}"),
        }
    }
}

impl fmt::Display for Squash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Squash::Softmax => "softmax",
            Squash::LogSoftmax => "log-softmax",
            Squash::Sigmoid => "sigmoid",
            Squash::Unit => "unit",
        })
    }
}

impl FromStr for Qoi {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let expected = "predicted, max, a class, A:B, channel N, neuron I,J,K, threshold X, \
                            classes A,B,C, each also behind softmax, log-softmax, sigmoid or output N";
            Error::parameter("target", expected, format!("{text:?}"))
        };
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let list = |text: &str| text.split(',').map(number).collect::<Result<Vec<_>>>();
        let real = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(wrong);
        let channel = |rest: &str, reduce| Ok(Qoi::Channel { channels: list(rest)?, reduce });
        let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match word {
            "predicted" if rest.is_empty() => Ok(Qoi::PredictedClass),
            "max" if rest.is_empty() => Ok(Qoi::MaxClass),
            "class" => Ok(Qoi::Class(number(rest)?)),
            "classes" => Ok(Qoi::ClassSeq(list(rest)?)),
            "channel" => channel(rest, Reduce::Sum),
            "channel-mean" => channel(rest, Reduce::Mean),
            "channel-max" => channel(rest, Reduce::Max),
            "threshold" => Ok(Qoi::Threshold { threshold: real(rest)?, low_minus_high: false }),
            "below-threshold" => Ok(Qoi::Threshold { threshold: real(rest)?, low_minus_high: true }),
            "neuron" => Ok(Qoi::Neuron(list(rest)?)),
            "softmax" => Ok(rest.parse::<Qoi>()?.after(Squash::Softmax)),
            "log-softmax" => Ok(rest.parse::<Qoi>()?.after(Squash::LogSoftmax)),
            "sigmoid" => Ok(rest.parse::<Qoi>()?.after(Squash::Sigmoid)),
            "unit" => Ok(rest.parse::<Qoi>()?.after(Squash::Unit)),
            "output" => {
                let (index, qoi) = rest.split_once(' ').ok_or_else(wrong)?;
                Ok(Qoi::Output(number(index)?, Box::new(qoi.parse()?)))
            }
            _ if rest.is_empty() => match word.split_once(':') {
                Some((a, b)) => Ok(Qoi::Comparative(number(a)?, number(b)?)),
                None => Ok(Qoi::Class(number(word)?)),
            },
            _ => Err(wrong()),
        }
    }
}
