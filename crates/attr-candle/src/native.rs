//! A model made of a forward function over candle's tensors, differentiated by candle and checked.

mod chain;
mod check;
mod graph;
mod taps;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use attr_core::model::Cotangent;
use attr_core::noise::{Noise, draw};
use attr_core::tapped::{Port, Tapped};
use attr_core::{Cut, Error, Gradient, Kernels, ModelWrapper, Place, Point, Precision, Result, Tensor as _};
use candle_core::{DType, Tensor};

pub use chain::Chain;
use check::Checked;
pub use taps::Taps;
use taps::{Asked, Record};

use crate::error::{BACKEND, convert};
use crate::{Candle, CandleTensor};

/// A model from a forward function of your own, which passes values through named [`Taps`].
///
/// Every tap is a [`Cut`]: its value can be read, replaced and differentiated by. The inputs are layers too,
/// by their names. The function is given the inputs, each with the batch as its first axis and any number
/// of rows, and gives the outputs; what it computes must not let rows depend on each other, so modules are
/// used as in evaluation, not in training.
///
/// ```
/// use attr_candle::{Candle, CandleTensor, Native, ops};
/// use attr_core::methods::{IntegratedGradients, Method};
/// use attr_core::{Precision, Question};
/// use candle_core::{Device, Tensor};
///
/// let hidden = Tensor::rand(-1f32, 1.0, (8, 4), &Device::Cpu)?;
/// let out = Tensor::rand(-1f32, 1.0, (3, 8), &Device::Cpu)?;
///
/// let model = Native::new(Candle::cpu(Precision::F32), &[("x", &[4])], move |inputs, taps| {
///     let x = taps.layer("hidden", [&inputs[0]], |[x]| ops::linear(x, &hidden, None))?;
///     let x = taps.tap("relu", ops::relu(&x)?)?;
///     Ok(vec![ops::linear(&x, &out, None)?])
/// })?;
///
/// let x = [CandleTensor::from(Tensor::rand(0f32, 1.0, (2, 4), &Device::Cpu)?)];
/// let question = Question::new(&model, &x).at("relu");
/// let answer = IntegratedGradients::default().attribute(&question)?;
/// assert_eq!(answer.values[0].dims(), [2, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// candle's own way back is wrong for some operators, without an error. So the first gradient between two cuts is
/// compared with finite differences, once for one row and once for several, and refused if it is not what they say;
/// [`Native::without_check`] switches this off. [`crate::ops`] has the operators in question with derivatives that
/// can be relied on.
///
/// Below the lowest cut that a gradient is asked for, nothing is recorded, so far as parameters are plain tensors;
/// if they are variables (those of candle's `VarMap`), candle records all of it. Replaced values
/// skip only the layer they stand in for, not what lies below it: the function can't be entered half way.
///
/// # Errors
///
/// What candle refuses, or panics at, is [`Error::Backend`] with the layer's name. A gradient that is not what finite
/// differences say is [`Error::Unsupported`], with both numbers and the taps between which it goes wrong.
pub struct Native {
    candle: Candle,
    function: Box<Function>,
    tapped: Tapped,
    row_bytes: Option<u64>,
    /// Between which places gradients have been compared with finite differences; `None` if none are to be.
    checked: Option<Mutex<HashSet<Checked>>>,
}

type Function = dyn Fn(&[Tensor], &mut Taps) -> candle_core::Result<Vec<Tensor>> + Send;

impl Native {
    /// A model that computes with `candle`, whose inputs have these names and rows of these lengths.
    ///
    /// The function is run twice, on one row and on two rows of zeros, to learn the names, the order and the
    /// shapes of its taps and outputs; and once more for each tap that candle sees no way from to the first output,
    /// to see whether there is one.
    ///
    /// # Errors
    ///
    /// Where the function fails, gives no output, uses a name twice,
    /// or passes values that aren't in the precision of `candle`.
    pub fn new(
        candle: Candle,
        inputs: &[(&str, &[usize])],
        function: impl Fn(&[Tensor], &mut Taps) -> candle_core::Result<Vec<Tensor>> + Send + 'static,
    ) -> Result<Self> {
        let names: Vec<_> = inputs.iter().map(|(name, _)| *name).collect();
        let learn = |rows: usize| {
            let zeros = |(_, row): &(&str, &[usize])| {
                Tensor::zeros([&[rows], *row].concat(), dtype(&candle), candle.device())
            };
            let zeros = inputs.iter().map(zeros).collect::<candle_core::Result<_>>().map_err(convert)?;
            Taps::learning(dtype(&candle)).run(&names, zeros, &function).map_err(|error| match error {
                Error::Backend { backend, reason } => {
                    let rows = if rows == 1 { "one row" } else { "two rows" };
                    Error::Backend { backend, reason: format!("on {rows} of zeros: {reason}") }
                }
                other => other,
            })
        };
        let (one, two) = (learn(1)?, learn(2)?);
        let leads = match one.has(Port::Output(0)) {
            true => one.leading_to(Port::Output(0)),
            false => HashSet::new(),
        };
        let tapped = Tapped::learned(inputs.len(), &one, &two, |id| leads.contains(&id))?;
        drop((one, two));
        let mut model = Native::of(candle, tapped, Box::new(function));
        for id in (0..model.tapped.taps().len()).filter(|id| !leads.contains(id)) {
            let leads = model.has_influence(id)?;
            model.tapped.set_leads(id, leads);
        }
        Ok(model)
    }

    fn of(candle: Candle, tapped: Tapped, function: Box<Function>) -> Self {
        Native { candle, function, tapped, row_bytes: None, checked: Some(Mutex::default()) }
    }

    /// With the logits at this layer; without this they are the first output.
    pub fn with_logits(mut self, layer: &str) -> Result<Self> {
        self.tapped = self.tapped.with_logits(layer)?;
        Ok(self)
    }

    /// With about this many bytes for one row of a forward and backward pass, so that [`attr_core::Run`]
    /// can keep to its memory budget; without this, it keeps to its number of rows only.
    pub fn with_row_bytes(mut self, bytes: u64) -> Self {
        self.row_bytes = Some(bytes);
        self
    }

    /// Without comparing gradients with finite differences: they are what candle makes of them.
    pub fn without_check(mut self) -> Self {
        self.checked = None;
        self
    }

    /// What is seen at `to` in one run of the function, which differentiates by the values at `from` and adds some
    /// numbers to others.
    fn run(
        &self,
        point: Point<'_, CandleTensor>,
        from: &[Port],
        to: &[Port],
        added: HashMap<Port, Tensor>,
    ) -> Result<Record> {
        let ports = point.replace.map(|(cut, _)| self.tapped.ports(cut)).transpose()?.unwrap_or_default();
        let foreign = |value: &CandleTensor| {
            let expected = (dtype(&self.candle), self.candle.device().location());
            let found = (value.0.dtype(), value.0.device().location());
            (expected != found).then(|| format!("expected {expected:?}, found {found:?}"))
        };
        let copies = self.tapped.check(point, &ports, foreign, BACKEND)?;
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        let replaced: HashMap<_, _> =
            ports.into_iter().zip(values.iter().map(|value| value.0.detach())).collect();
        let inputs = self.tapped.inputs().iter().zip(point.inputs).map(|(&id, input)| match copies {
            _ if replaced.contains_key(&Port::Value(id)) => Ok(input.0.clone()),
            copies => Ok(input.tile_rows(copies)?.into_inner()),
        });
        let inputs = inputs.collect::<Result<_>>()?;
        let asked = Asked {
            from: from.iter().copied().collect(),
            awaited: from.iter().chain(to).copied().collect(),
            replaced,
            added,
        };
        let taps = Taps::asked(dtype(&self.candle), self.tapped.index(), asked);
        let record = taps.run(&self.tapped.input_names(), inputs, &*self.function)?;
        match from.iter().chain(to).find(|&&port| !record.has(port)) {
            None => Ok(record),
            Some(&port) => {
                let reason = "the forward function did not pass it this time";
                Err(Error::graph(&self.tapped.place(port).name, reason))
            }
        }
    }

    /// Whether the first output changes with the value of a tap, on one row.
    fn has_influence(&self, id: usize) -> Result<bool> {
        let zeros = |&id: &usize| {
            let dims = self.tapped.taps()[id].place.shape.as_ref().map_or(vec![1], |shape| shape.at(1));
            self.tensor(&ndarray::ArrayD::zeros(dims))
        };
        let inputs = self.tapped.inputs().iter().map(zeros).collect::<Result<Vec<_>>>()?;
        let (output, point) = (Port::Output(0), Point::at(&inputs));
        let before = self.run(point, &[], &[Port::Value(id), output], HashMap::new())?;
        let value = before.value(Port::Value(id));
        let noise = draw(Noise::Normal, 0, 0, 0, value.dims()).index_axis_move(ndarray::Axis(0), 0);
        let added = HashMap::from([(Port::Value(id), self.tensor(&noise)?.into_inner())]);
        // A value that must be something else than noise, such as the number of an entry, may make it fail.
        let Ok(after) = self.run(point, &[], &[output], added) else { return Ok(true) };
        let [before, after] = [before, after].map(|run| CandleTensor(run.value(output).detach()).to_array());
        Ok(before? != after?)
    }
}

fn dtype(candle: &Candle) -> DType {
    if candle.precision() == Precision::F64 { DType::F64 } else { DType::F32 }
}

impl ModelWrapper for Native {
    type Tensor = CandleTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ndarray::ArrayD<f64>) -> Result<CandleTensor> {
        self.candle.tensor(array)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        Ok(self.tapped.ports(cut)?.into_iter().map(|port| self.tapped.place(port).clone()).collect())
    }

    fn layers(&self) -> Vec<Place> {
        self.tapped.layers()
    }

    fn forward(&self, point: Point<'_, CandleTensor>, at: &Cut) -> Result<Vec<CandleTensor>> {
        let at = self.tapped.ports(at)?;
        let record = self.run(point, &[], &at, HashMap::new())?;
        Ok(values(&record, &at))
    }

    fn gradient(
        &self,
        point: Point<'_, CandleTensor>,
        from: &Cut,
        to: &Cut,
        cotangent: Cotangent<'_, CandleTensor>,
    ) -> Result<Gradient<CandleTensor>> {
        let not_connected = || Error::NotConnected { from: from.to_string(), to: to.to_string() };
        let (at_from, at_to) = (self.tapped.ports(from)?, self.tapped.ports(to)?);
        let record = self.run(point, &at_from, &at_to, HashMap::new())?;
        let connected = at_to.iter().any(|&port| record.value(port).track_op());
        if at_from.is_empty() || !connected {
            drop(record);
            self.check(point, (from, &at_from), (to, &at_to))?;
            return Err(not_connected());
        }
        let seen = values(&record, &at_to);
        let cotangents = cotangent(&seen)?;
        let dims = |tensors: &[CandleTensor]| tensors.iter().map(|tensor| tensor.0.dims().to_vec()).collect();
        let (expected, found): (Vec<Vec<usize>>, Vec<Vec<usize>>) = (dims(&seen), dims(&cotangents));
        if expected != found {
            let (expected, found) = (format!("{expected:?}"), found.concat());
            return Err(Error::Shape { place: "the quantity's derivative".into(), expected, found });
        }
        let cotangents: Vec<_> = cotangents.iter().map(|c| &c.0).collect();
        let gradients = record.back(&at_from, &at_to, &cotangents).map_err(refused)?;
        let values = values(&record, &at_from);
        drop(record);
        self.check(point, (from, &at_from), (to, &at_to))?;
        if gradients.iter().all(Option::is_none) {
            return Err(not_connected());
        }
        let gradients = gradients.into_iter().zip(&values).map(|(gradient, value)| match gradient {
            Some(gradient) => Ok(gradient.into()),
            None => value.zeros_like(),
        });
        Ok(Gradient { gradients: gradients.collect::<Result<_>>()?, values })
    }

    fn row_bytes(&self) -> Option<u64> {
        self.row_bytes
    }
}

fn values(record: &Record, ports: &[Port]) -> Vec<CandleTensor> {
    ports.iter().map(|&port| CandleTensor(record.value(port).detach())).collect()
}

/// candle's error on the way back, with what to do about it.
fn refused(error: candle_core::Error) -> Error {
    match convert(error) {
        Error::Backend { backend, reason } => {
            let reason = format!("on the way back: {reason}; attr_candle::ops has operators with one");
            Error::Backend { backend, reason }
        }
        other => other,
    }
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.tapped.taps().iter().map(|tap| &tap.place.name).collect();
        write!(f, "Native({:?}, layers {names:?})", self.candle)
    }
}
