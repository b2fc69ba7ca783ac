//! One layer at a time, for the methods that need to know the layers.

use attr_core::{Error, Kernels, Op, Param, Precision, Result, Vjp};
use ndarray::ArrayD;

use crate::TfTensor;
use crate::error::BACKEND;
use crate::layers;
use crate::plan::Plan;
use crate::recent::Recent;
use crate::symbol::{Order, Symbol};
use crate::tape::{Constants, Feed, Tape};
use crate::tensor::from_single;

/// Kernels on a TensorFlow device.
///
/// Each kind of layer, with each shape, is a session of its own, which is kept for the next time.
///
/// ```
/// use attr_core::{Kernels, Precision};
/// use attr_tf::Tf;
///
/// assert_eq!(Tf::cpu(Precision::F32).backend(), "tf");
/// ```
pub struct Tf {
    device: String,
    precision: Precision,
    plans: Recent<String, Plan>,
}

/// How many kinds of layers are kept.
const LAYERS: usize = 256;

impl Tf {
    /// Kernels that compute on a device by TensorFlow's name of it (`/CPU:0`, `/GPU:0`) with numbers of `precision`.
    ///
    /// A device that is not there is an error of the first run.
    pub fn new(device: &str, precision: Precision) -> Self {
        Tf { device: device.into(), precision, plans: Recent::new(LAYERS) }
    }

    /// Kernels on the CPU.
    pub fn cpu(precision: Precision) -> Self {
        Tf::new("/CPU:0", precision)
    }

    /// The device, by TensorFlow's name of it.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The precision.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Runs what `write` writes down with these tensors, or what it wrote the last time with such ones.
    fn run(
        &self,
        key: String,
        given: &[&TfTensor],
        write: impl FnOnce(&[Symbol]) -> Result<Vec<Symbol>>,
    ) -> Result<Vec<TfTensor>> {
        let plan = self.plans.get(key, |_| {
            let tape = Tape::new(self.precision);
            let symbols = given.iter().enumerate();
            let symbols: Vec<_> =
                symbols.map(|(i, tensor)| Symbol::given(&tape, Feed::Given(i), tensor.lengths())).collect();
            let fetches: Vec<_> = write(&symbols)?.iter().map(|symbol| tape.fetch(symbol.plain())).collect();
            let constants = Constants::default();
            let none = |_| unreachable!("BUG: one layer is given its parameters");
            tape.take().plan(&self.device, &fetches, &[], Vec::new(), &constants, &none)
        })?;
        Ok(plan.there(given)?.0)
    }
}

impl std::fmt::Debug for Tf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tf({}, {})", self.device, self.precision)
    }
}

impl Kernels for Tf {
    type Tensor = TfTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<TfTensor> {
        TfTensor::from_array(array, self.precision)
    }

    fn parameter(&self, param: &Param) -> Result<TfTensor> {
        match param {
            Param::F32(array) if self.precision == Precision::F32 => from_single(array),
            Param::F32(_) | Param::F64(_) => {
                self.tensor(&param.to_f64().expect("BUG: these numbers are not on a device"))
            }
            Param::OnDevice(_) => Err(Error::graph("parameter", "its numbers are on a device already")),
        }
    }

    fn unsupported(&self, op: &Op) -> Option<String> {
        layers::unsupported(op)
    }

    fn forward(&self, op: &Op, inputs: &[&TfTensor], params: &[&TfTensor]) -> Result<TfTensor> {
        if let Op::Constant = op {
            return Ok(params[0].clone());
        }
        let given = [inputs, params].concat();
        let dims: Vec<_> = given.iter().map(|tensor| tensor.lengths()).collect();
        let key = format!("forward {op:?} {} of {dims:?}", inputs.len());
        let mut values = self.run(key, &given, |symbols| {
            let (inputs, params) = symbols.split_at(inputs.len());
            let [inputs, params] = [inputs, params].map(|symbols| symbols.iter().collect::<Vec<_>>());
            Ok(vec![layers::forward(op, &inputs, &params)?])
        })?;
        Ok(values.remove(0))
    }

    fn vjp(&self, op: &Op, call: Vjp<'_, TfTensor>) -> Result<Vec<Option<TfTensor>>> {
        let kept = call.inputs.iter().flatten().chain(&call.output).chain(call.params);
        let given: Vec<_> = [call.cotangent].into_iter().chain(kept.copied()).collect();
        let dims: Vec<_> = given.iter().map(|tensor| tensor.lengths()).collect();
        let there: Vec<_> = call.inputs.iter().map(Option::is_some).collect();
        let key = format!(
            "back {op:?} {:?} {:?} {there:?} {} {dims:?}",
            call.input_dims,
            call.wanted,
            call.output.is_some()
        );
        let found = self.run(key, &given, |symbols| {
            let mut symbols = symbols.iter();
            let mut next = || symbols.next().expect("BUG: as many symbols as tensors");
            let cotangent = next();
            let inputs: Vec<_> = call.inputs.iter().map(|input| input.map(|_| next())).collect();
            let output = call.output.map(|_| next());
            let params: Vec<_> = call.params.iter().map(|_| next()).collect();
            let call = Vjp {
                inputs: &inputs,
                input_dims: call.input_dims,
                output,
                params: &params,
                cotangent,
                wanted: call.wanted,
            };
            let slots = (0..call.wanted.len()).filter(|&slot| call.wanted[slot]);
            slots.map(|slot| layers::back(op, &call, slot)).collect()
        })?;
        let mut found = found.into_iter();
        Ok(call.wanted.iter().map(|&wanted| if wanted { found.next() } else { None }).collect())
    }
}

/// Kernels that compute nothing, and write down what is to be computed.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) tape: Tape,
    /// Whether each layer's value has a node of its own, with the axes as everyone sees them.
    each: bool,
}

impl Writer {
    /// Writes as few nodes as give the values that are asked for.
    pub(crate) fn new(tape: Tape) -> Self {
        Writer { tape, each: false }
    }

    /// Writes a node for each layer's value.
    pub(crate) fn of_layers(tape: Tape) -> Self {
        Writer { tape: tape.for_others(), each: true }
    }
}

impl Kernels for Writer {
    type Tensor = Symbol;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<Symbol> {
        Ok(Symbol::of(&self.tape, self.tape.floats(array), Order::Plain, array.shape()))
    }

    fn parameter(&self, param: &Param) -> Result<Symbol> {
        Ok(Symbol::param(&self.tape, self.tape.new_param(), param.dims()))
    }

    fn unsupported(&self, op: &Op) -> Option<String> {
        layers::unsupported(op)
    }

    fn forward(&self, op: &Op, inputs: &[&Symbol], params: &[&Symbol]) -> Result<Symbol> {
        let before = self.tape.len();
        let value = layers::forward(op, inputs, params)?;
        Ok(match self.each {
            false => value,
            true => {
                let plain = value.plain();
                let own = if plain < before { self.tape.fetch(plain) } else { plain };
                Symbol::of(&self.tape, own, Order::Plain, value.shape())
            }
        })
    }

    fn vjp(&self, op: &Op, call: Vjp<'_, Symbol>) -> Result<Vec<Option<Symbol>>> {
        let slots = 0..call.wanted.len();
        slots.map(|slot| call.wanted[slot].then(|| layers::back(op, &call, slot)).transpose()).collect()
    }
}
