//! A model made of a forward function over libtorch's tensors, differentiated by libtorch.

mod graph;
mod taps;

use std::collections::HashMap;
use std::sync::Arc;

use attr_core::cut::find_layer;
use attr_core::model::Cotangent;
use attr_core::{Anchor, At, Cut, Dim, Error, Expected, Gradient, Kernels, ModelWrapper, Place, Point};
use attr_core::{Result, Shape, Tensor};
use tch::TchError;

pub use taps::Taps;
use taps::{Port, Record};

use crate::error::{BACKEND, convert};
use crate::tensor::{kind, signed};
use crate::{Torch, TorchTensor};

/// A model from a forward function of your own, which passes values through named [`Taps`].
///
/// Every tap is a [`Cut`]: its value can be read, replaced and differentiated by. The inputs are layers too,
/// by their names. The function is given the inputs, each with the batch as its first axis and any number
/// of rows, and gives the outputs; what it computes must not let rows depend on each other, so modules are
/// used as in evaluation, not in training.
///
/// ```
/// use attr_core::methods::{IntegratedGradients, Method};
/// use attr_core::{Precision, Question};
/// use attr_torch::{Native, Torch, TorchTensor};
/// use tch::nn::Module;
/// use tch::{Device, Kind, Tensor, nn};
///
/// let mut store = nn::VarStore::new(Device::Cpu);
/// let hidden = nn::linear(store.root() / "hidden", 4, 8, Default::default());
/// let out = nn::linear(store.root() / "out", 8, 3, Default::default());
/// store.freeze();
///
/// let model = Native::new(Torch::cpu(Precision::F32), &[("x", &[4])], move |inputs, taps| {
///     let x = taps.layer("hidden", [&inputs[0]], |[x]| Ok(hidden.forward(x)))?;
///     let x = taps.tap("relu", x.f_relu()?)?;
///     Ok(vec![out.forward(&x)])
/// })?;
///
/// let x = [TorchTensor::from(Tensor::rand([2, 4], (Kind::Float, Device::Cpu)))];
/// let question = Question::new(&model, &x).at("relu");
/// let answer = IntegratedGradients::default().attribute(&question)?;
/// assert_eq!(answer.values[0].size(), [2, 8]);
/// # Ok::<(), attr_core::Error>(())
/// ```
///
/// Below the lowest cut that a gradient is asked for, nothing is recorded; above it, parameters that ask for
/// gradients make libtorch keep more than is needed, so freeze them (`VarStore::freeze`). Replaced values
/// skip only the layer they stand in for, not what lies below it: the function can't be entered half way.
///
/// # Errors
///
/// What libtorch refuses is [`Error::Backend`] with the layer's name, whether the function returns the error
/// (from tch's `f_` variants) or panics (from the others).
pub struct Native {
    torch: Torch,
    function: Box<Function>,
    /// In the order of the taps.
    layers: Vec<Layer>,
    /// From names to places in `layers`.
    index: Arc<HashMap<String, usize>>,
    /// Which layers are the inputs.
    inputs: Vec<usize>,
    outputs: Vec<Port>,
    /// What is known of each [`Port::Output`].
    output_places: Vec<Place>,
    logits: Port,
    row_bytes: Option<u64>,
}

type Function = dyn Fn(&[tch::Tensor], &mut Taps) -> Tch<Vec<tch::Tensor>> + Send;
type Tch<T> = std::result::Result<T, TchError>;

/// What is known of a tap.
struct Layer {
    place: Place,
    /// What it reads, where that is known.
    edges: Vec<Place>,
}

impl Native {
    /// A model that computes with `torch`, whose inputs have these names and rows of these lengths.
    ///
    /// The function is run twice, on one row and on two rows of zeros, to learn the names, the order and the
    /// shapes of its taps and outputs.
    ///
    /// # Errors
    ///
    /// Where the function fails, gives no output, uses a name twice, overwrites a tapped value in place,
    /// or passes values that aren't in the precision of `torch`.
    pub fn new(
        torch: Torch,
        inputs: &[(&str, &[usize])],
        function: impl Fn(&[tch::Tensor], &mut Taps) -> Tch<Vec<tch::Tensor>> + Send + 'static,
    ) -> Result<Self> {
        let names: Vec<_> = inputs.iter().map(|(name, _)| *name).collect();
        let learn = |rows: usize| {
            let zeros = |(_, row): &(&str, &[usize])| {
                let dims = [&[rows], *row].concat();
                tch::Tensor::f_zeros(signed(&dims), (kind(torch.precision()), torch.device()))
            };
            let zeros = inputs.iter().map(zeros).collect::<Tch<_>>().map_err(convert)?;
            let taps = Taps::learning(kind(torch.precision()));
            tch::with_grad(|| taps.run(&names, zeros, &function)).map_err(|error| match error {
                Error::Backend { backend, reason } => {
                    let rows = if rows == 1 { "one row" } else { "two rows" };
                    Error::Backend { backend, reason: format!("on {rows} of zeros: {reason}") }
                }
                other => other,
            })
        };
        let (one, two) = (learn(1)?, learn(2)?);
        if let Some(name) = one.names().iter().zip(two.names()).find_map(|(a, b)| (*a != b).then_some(*a)) {
            return Err(Error::graph(name, "the taps passed depend on the number of rows"));
        }
        if one.output_count() == 0 {
            return Err(Error::graph("output", "the forward function gives no output"));
        }
        let leads = one.leads_to(Port::Output(0)).map_err(convert)?;
        let place = |name: String, kind, port: Port, leads: bool| Place {
            name,
            kind,
            shape: batch_shape(&one.dims(port), &two.dims(port)),
            parameters: 0,
            leads_to_output: leads,
        };
        let layers = (one.names().into_iter().enumerate()).map(|(id, name)| {
            let slots = (0..).take_while(|&slot| one.has(Port::Edge(id, slot)));
            let edge = |slot| {
                place(format!("input {slot} of {name}"), "value", Port::Edge(id, slot), leads.contains(&id))
            };
            let edges: Vec<_> = slots.map(edge).collect();
            let kind = match edges.len() {
                _ if id < inputs.len() => "input",
                0 => "tap",
                _ => "layer",
            };
            let place = place(name.to_string(), kind, Port::Value(id), leads.contains(&id));
            Layer { place, edges }
        });
        let outputs: Vec<_> = (0..one.output_count()).map(Port::Output).collect();
        let output_places = (outputs.iter().enumerate())
            .map(|(i, &port)| place(taps::output_name(i), "output", port, i == 0))
            .collect();
        Ok(Native {
            layers: layers.collect(),
            index: one.index(),
            inputs: (0..inputs.len()).collect(),
            outputs,
            output_places,
            logits: Port::Output(0),
            row_bytes: None,
            torch,
            function: Box::new(function),
        })
    }

    /// With the logits at this layer; without this they are the first output.
    pub fn with_logits(mut self, layer: &str) -> Result<Self> {
        self.logits = Port::Value(self.find(layer)?);
        Ok(self)
    }

    /// With about this many bytes for one row of a forward and backward pass, so that [`attr_core::Run`]
    /// can keep to its memory budget; without this, it keeps to its number of rows only.
    pub fn with_row_bytes(mut self, bytes: u64) -> Self {
        self.row_bytes = Some(bytes);
        self
    }

    fn find(&self, name: &str) -> Result<usize> {
        let names = || self.layers.iter().map(|layer| layer.place.name.as_str()).collect::<Vec<_>>();
        self.index.get(name).map_or_else(|| find_layer(name, &names()), |&id| Ok(id))
    }

    fn ports(&self, cut: &Cut) -> Result<Vec<Port>> {
        let ports = match &cut.at {
            At::Several(cuts) => {
                return Ok(cuts.iter().map(|cut| self.ports(cut)).collect::<Result<Vec<_>>>()?.concat());
            }
            At::Input => self.inputs.iter().map(|&id| Port::Value(id)).collect(),
            At::Output => self.outputs.clone(),
            At::Logits => vec![self.logits],
            At::Layer(name) => vec![Port::Value(self.find(name)?)],
            At::Index(index) if *index < self.layers.len() => vec![Port::Value(*index)],
            At::Index(index) => {
                let hint = match self.layers.len() {
                    0 => "there are none".into(),
                    count => format!("expected an index of 0 to {}", count - 1),
                };
                return Err(Error::UnknownLayer { wanted: index.to_string(), hint });
            }
        };
        let anchored = |port| match port {
            Port::Value(id) if cut.anchor == Anchor::In && !self.layers[id].edges.is_empty() => {
                (0..self.layers[id].edges.len()).map(|slot| Port::Edge(id, slot)).collect()
            }
            other => vec![other],
        };
        Ok(ports.into_iter().flat_map(anchored).collect())
    }

    fn place(&self, port: Port) -> &Place {
        match port {
            Port::Value(id) => &self.layers[id].place,
            Port::Edge(id, slot) => &self.layers[id].edges[slot],
            Port::Output(i) => &self.output_places[i],
        }
    }

    /// The values at `from` and `to`, in one run of the function.
    fn run(&self, point: Point<'_, TorchTensor>, from: &[Port], to: &[Port]) -> Result<Record> {
        let ports = point.replace.map(|(cut, _)| self.ports(cut)).transpose()?.unwrap_or_default();
        let copies = self.check(point, &ports)?;
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        let replaced = ports.into_iter().zip(values.iter().map(|value| value.shallow_clone()));
        let replaced: HashMap<_, _> = replaced.collect();
        let inputs = self.inputs.iter().zip(point.inputs).map(|(&id, input)| match copies {
            _ if replaced.contains_key(&Port::Value(id)) => Ok(input.shallow_clone()),
            copies => Ok(input.tile_rows(copies)?.into_inner()),
        });
        let inputs = inputs.collect::<Result<_>>()?;
        let names: Vec<_> = self.inputs.iter().map(|&id| self.layers[id].place.name.as_str()).collect();
        let taps = Taps::asked(kind(self.torch.precision()), self.index.clone(), from, to, replaced);
        let record = taps.run(&names, inputs, &*self.function)?;
        match from.iter().chain(to).find(|&&port| !record.has(port)) {
            None => Ok(record),
            Some(&port) => {
                Err(Error::graph(&self.place(port).name, "the forward function did not pass it this time"))
            }
        }
    }

    /// That a point's tensors are what they should be; how many times the inputs' rows the replaced values have.
    fn check(&self, point: Point<'_, TorchTensor>, ports: &[Port]) -> Result<usize> {
        let inputs: Vec<_> = self.inputs.iter().map(|&id| &self.layers[id].place).collect();
        let at_cut: Vec<_> = ports.iter().map(|&port| self.place(port)).collect();
        fn expected<'a>(places: &[&'a Place]) -> Vec<Expected<'a>> {
            places.iter().map(|place| (place.name.as_str(), place.shape.as_ref())).collect()
        }
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        let given =
            inputs.iter().zip(point.inputs).map(|(place, value)| (format!("input {:?}", place.name), value));
        let put = at_cut.iter().zip(values);
        let put = put.map(|(place, value)| (format!("the value to put at layer {:?}", place.name), value));
        for (what, value) in given.chain(put) {
            let (expected, found) =
                ((kind(self.torch.precision()), self.torch.device()), (value.kind(), value.device()));
            if expected != found {
                let reason = format!("{what}: expected {expected:?}, found {found:?}");
                return Err(Error::Backend { backend: BACKEND, reason });
            }
        }
        point.check(&expected(&inputs), &expected(&at_cut))
    }
}

/// The shape of a value that has these lengths for one row and for two; `None` if they don't say.
fn batch_shape(one: &[usize], two: &[usize]) -> Option<Shape> {
    let dim = |(&one, &two): (&usize, &usize)| match two {
        _ if one == two => Some(Dim::Fixed(one)),
        _ if 2 * one == two => Some(Dim::Batch(one)),
        _ => None,
    };
    let dims: Vec<_> = one.iter().zip(two).map(dim).collect::<Option<_>>()?;
    let batches = dims.iter().filter(|dim| matches!(dim, Dim::Batch(_))).count();
    (one.len() == two.len() && batches <= 1).then_some(Shape(dims))
}

impl ModelWrapper for Native {
    type Tensor = TorchTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ndarray::ArrayD<f64>) -> Result<TorchTensor> {
        self.torch.tensor(array)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        Ok(self.ports(cut)?.into_iter().map(|port| self.place(port).clone()).collect())
    }

    fn layers(&self) -> Vec<Place> {
        self.layers.iter().map(|layer| layer.place.clone()).collect()
    }

    fn forward(&self, point: Point<'_, TorchTensor>, at: &Cut) -> Result<Vec<TorchTensor>> {
        let at = self.ports(at)?;
        let record = tch::no_grad(|| self.run(point, &[], &at))?;
        Ok(at.iter().map(|&port| record.value(port).shallow_clone().into()).collect())
    }

    fn gradient(
        &self,
        point: Point<'_, TorchTensor>,
        from: &Cut,
        to: &Cut,
        cotangent: Cotangent<'_, TorchTensor>,
    ) -> Result<Gradient<TorchTensor>> {
        let not_connected = || Error::NotConnected { from: from.to_string(), to: to.to_string() };
        let (from, to) = (self.ports(from)?, self.ports(to)?);
        let record = tch::with_grad(|| self.run(point, &from, &to))?;
        let seen = |ports: &[Port]| ports.iter().map(|&port| record.value(port)).collect::<Vec<_>>();
        let (at_from, at_to) = (seen(&from), seen(&to));
        // Without a tensor to differentiate by, libtorch would add to the parameters' own gradients.
        if at_from.is_empty() || !at_to.iter().any(|y| y.requires_grad()) {
            return Err(not_connected());
        }
        let values = |seen: &[&tch::Tensor]| {
            seen.iter().map(|value| TorchTensor::from(value.shallow_clone())).collect::<Vec<_>>()
        };
        let cotangents = cotangent(&values(&at_to))?;
        let dims = |tensors: &[TorchTensor]| tensors.iter().map(Tensor::dims).collect::<Vec<_>>();
        let (expected, found) = (dims(&values(&at_to)), dims(&cotangents));
        if expected != found {
            let (expected, found) = (format!("{expected:?}"), found.concat());
            return Err(Error::Shape { place: "the quantity's derivative".into(), expected, found });
        }
        let gradients = tch::with_grad(|| back(&at_from, &at_to, &cotangents)).map_err(convert)?;
        if !gradients.iter().any(tch::Tensor::defined) {
            return Err(not_connected());
        }
        let gradients =
            gradients.into_iter().zip(&at_from).map(|(gradient, value)| match gradient.defined() {
                true => Ok(gradient.into()),
                false => value.f_zeros_like().map(TorchTensor::from).map_err(convert),
            });
        Ok(Gradient { gradients: gradients.collect::<Result<_>>()?, values: values(&at_from) })
    }

    fn row_bytes(&self) -> Option<u64> {
        self.row_bytes
    }
}

/// The derivatives of the sum of `to * cotangents` by `from`; not defined where there is no way.
fn back(from: &[&tch::Tensor], to: &[&tch::Tensor], cotangents: &[TorchTensor]) -> Tch<Vec<tch::Tensor>> {
    let sums = to.iter().zip(cotangents).filter(|(y, _)| y.requires_grad());
    let sums = sums.map(|(y, c)| y.f_mul(c)?.f_sum(y.kind())).collect::<Tch<Vec<_>>>()?;
    tch::Tensor::f_run_backward(&sums, from, false, false)
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.layers.iter().map(|layer| &layer.place.name).collect();
        write!(f, "Native({:?}, layers {names:?})", self.torch)
    }
}
