//! What a forward function passes its values through.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use attr_core::tapped::{Port, Shown, output_name};
use attr_core::{Error, Result};
use candle_core::{DType, Tensor, Var};

use super::Function;
use crate::error::{BACKEND, convert};

/// Where a forward function shows its values, and is given others in their place.
///
/// Go on with what a tap returns, and pass its errors on with `?`: when everything that was asked for has
/// been seen, the next tap returns an error that ends the function there, and nothing after it is computed.
pub struct Taps {
    /// Of the numbers that every value is made of.
    dtype: DType,
    /// From a layer's name to its number, in the order of the taps.
    index: Arc<HashMap<String, usize>>,
    /// `None` to learn what there is: everything is seen, and layers' values are differentiated by.
    asked: Option<Asked>,
    passed: HashSet<usize>,
    seen: HashMap<Port, Seen>,
    /// Where the function is, for messages.
    whereabouts: String,
    halt: Option<Halt>,
}

/// What is asked of a run.
#[derive(Default)]
pub(super) struct Asked {
    /// Where values are differentiated by.
    pub(super) from: HashSet<Port>,
    /// The places to be seen; those seen are taken out.
    pub(super) awaited: HashSet<Port>,
    /// What takes the place of values.
    pub(super) replaced: HashMap<Port, Tensor>,
    /// What is added to values.
    pub(super) added: HashMap<Port, Tensor>,
}

struct Seen {
    value: Tensor,
    variable: Option<Variable>,
}

/// What candle differentiates by in the place of a value: it keeps derivatives by variables alone.
enum Variable {
    /// The value itself.
    Value(Var),
    /// Zeros that are subtracted from a value which depends on other variables.
    Subtracted(Var),
}

/// Why the function was ended.
enum Halt {
    Complete,
    Failed(Error),
}

impl Taps {
    /// Shows a value under a name; returns it, or what was put in its place.
    pub fn tap(&mut self, name: &str, value: Tensor) -> candle_core::Result<Tensor> {
        match self.enter(name)? {
            Some(id) => self.pass(Port::Value(id), name, value),
            None => Ok(value),
        }
    }

    /// Runs a layer on its inputs and shows its value under a name; returns it, or what was put in its place.
    ///
    /// Besides what [`Taps::tap`] does, `Cut::layer(name).before()` is what this layer alone reads, and an
    /// error in the layer bears its name.
    ///
    /// ```
    /// # use attr_candle::{Taps, ops};
    /// # use candle_core::{Result, Tensor};
    /// # fn example(a: &Tensor, b: &Tensor, taps: &mut Taps) -> Result<Tensor> {
    /// let x = taps.layer("relu", [a], |[x]| ops::relu(x))?;
    /// let sum = taps.layer("sum", [&x, b], |[x, y]| x + y)?;
    /// # Ok(sum)
    /// # }
    /// ```
    pub fn layer<const N: usize>(
        &mut self,
        name: &str,
        inputs: [&Tensor; N],
        compute: impl FnOnce([&Tensor; N]) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        self.layer_of(name, &inputs, |inputs| compute(std::array::from_fn(|slot| inputs[slot])))
    }

    /// As [`Taps::layer`], with any number of inputs.
    pub(super) fn layer_of(
        &mut self,
        name: &str,
        inputs: &[&Tensor],
        compute: impl FnOnce(&[&Tensor]) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        let Some(id) = self.enter(name)? else { return compute(inputs) };
        let read = inputs.iter().enumerate();
        let read = read.map(|(slot, &input)| self.pass(Port::Edge(id, slot), name, input.clone()));
        let read = read.collect::<candle_core::Result<Vec<_>>>()?;
        let replaced = self.asked.as_ref().and_then(|asked| asked.replaced.get(&Port::Value(id)));
        let value = match replaced {
            Some(value) => value.clone(),
            None => {
                self.whereabouts = format!("layer {name:?}");
                compute(&read.iter().collect::<Vec<_>>())?
            }
        };
        self.whereabouts = format!("after layer {name:?}");
        self.pass(Port::Value(id), name, value)
    }

    /// Taps that learn what a function passes.
    pub(super) fn learning(dtype: DType) -> Self {
        Taps {
            dtype,
            index: Arc::default(),
            asked: None,
            passed: HashSet::new(),
            seen: HashMap::new(),
            whereabouts: String::new(),
            halt: None,
        }
    }

    /// Taps that see what is asked for.
    pub(super) fn asked(dtype: DType, index: Arc<HashMap<String, usize>>, asked: Asked) -> Self {
        Taps { index, asked: Some(asked), ..Taps::learning(dtype) }
    }

    /// Runs the function on inputs of these names, until everything asked for has been seen.
    pub(super) fn run(mut self, names: &[&str], inputs: Vec<Tensor>, function: &Function) -> Result<Record> {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let inputs = names.iter().zip(inputs).map(|(name, input)| self.tap(name, input.detach()));
            let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
            self.whereabouts = "before the first layer".into();
            for (i, output) in function(&inputs, &mut self)?.into_iter().enumerate() {
                let _ = self.pass(Port::Output(i), &output_name(i), output)?;
            }
            Ok(())
        }));
        let failed = |reason: &str| Error::Backend {
            backend: BACKEND,
            reason: format!("{}: {reason}", self.whereabouts),
        };
        match (self.halt, result) {
            (Some(Halt::Failed(error)), _) => Err(error),
            (Some(Halt::Complete), _) | (None, Ok(Ok(()))) => {
                Ok(Record { index: self.index, seen: self.seen })
            }
            (None, Ok(Err(error))) => match convert(error) {
                Error::Backend { reason, .. } => Err(failed(&reason)),
                other => Err(other),
            },
            (None, Err(panic)) => Err(failed(first_line(&*panic))),
        }
    }

    /// The number of the layer of this name; `None` if it was not there when the model was made.
    fn enter(&mut self, name: &str) -> candle_core::Result<Option<usize>> {
        if self.halt.is_some() {
            return Err(ended());
        }
        self.whereabouts = format!("after layer {name:?}");
        let id = match self.index.get(name) {
            Some(&id) => id,
            None if self.asked.is_some() => return Ok(None),
            None => {
                let id = self.index.len();
                Arc::make_mut(&mut self.index).insert(name.into(), id);
                id
            }
        };
        match self.passed.insert(id) {
            true => Ok(Some(id)),
            false => Err(self.fail(Error::graph(name, "two taps have this name"))),
        }
    }

    fn pass(&mut self, port: Port, name: &str, value: Tensor) -> candle_core::Result<Tensor> {
        if self.halt.is_some() {
            return Err(ended());
        }
        let (value, seen, differentiated) = match &mut self.asked {
            None => (value, true, matches!(port, Port::Value(_))),
            Some(asked) => {
                let value = asked.replaced.remove(&port).unwrap_or(value);
                let value = match asked.added.remove(&port) {
                    Some(more) => (value + more)?,
                    None => value,
                };
                (value, asked.awaited.remove(&port), asked.from.contains(&port))
            }
        };
        if !seen {
            return Ok(value);
        }
        if value.dtype() != self.dtype {
            let reason = format!("expected numbers of kind {:?}, found {:?}", self.dtype, value.dtype());
            return Err(self.fail(Error::graph(name, reason)));
        }
        let (value, variable) = match differentiated {
            false => (value, None),
            true => Variable::of(&value).map(|(value, variable)| (value, Some(variable)))?,
        };
        self.seen.insert(port, Seen { value: value.clone(), variable });
        if self.asked.as_ref().is_some_and(|asked| asked.awaited.is_empty()) {
            self.halt = Some(Halt::Complete);
            return Err(ended());
        }
        Ok(value)
    }

    fn fail(&mut self, error: Error) -> candle_core::Error {
        self.halt = Some(Halt::Failed(error));
        ended()
    }
}

/// Carries the end of a run through the function; why it ended is in [`Taps::halt`].
fn ended() -> candle_core::Error {
    candle_core::Error::Msg("the taps have ended this run; pass this error on with `?`".into())
}

impl Variable {
    /// A value to go on with in the place of this one, and what it is differentiated by. What leads to the value
    /// stays connected.
    fn of(value: &Tensor) -> candle_core::Result<(Tensor, Variable)> {
        if !value.track_op() {
            let variable = Var::from_tensor(value)?;
            return Ok((variable.as_tensor().clone(), Variable::Value(variable)));
        }
        // To subtract 0 changes no number, not even -0.
        let zeros = Var::zeros(value.shape(), value.dtype(), value.device())?;
        Ok(((value - zeros.as_tensor())?, Variable::Subtracted(zeros)))
    }

    fn tensor(&self) -> &Tensor {
        match self {
            Variable::Value(variable) | Variable::Subtracted(variable) => variable.as_tensor(),
        }
    }
}

/// The first line of what a panic says.
pub(super) fn first_line(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    text.split('\n').next().unwrap_or(text)
}

/// What was seen in a run.
pub(super) struct Record {
    index: Arc<HashMap<String, usize>>,
    seen: HashMap<Port, Seen>,
}

impl Record {
    pub(super) fn has(&self, port: Port) -> bool {
        self.seen.contains_key(&port)
    }

    /// A value with what candle recorded of it.
    pub(super) fn value(&self, port: Port) -> &Tensor {
        &self.seen.get(&port).expect("BUG: a value that was not asked for").value
    }

    /// The derivatives of the sum of values times cotangents by the values at `from`; `None` where candle recorded no
    /// way.
    pub(super) fn back(
        &self,
        from: &[Port],
        to: &[Port],
        cotangents: &[&Tensor],
    ) -> candle_core::Result<Vec<Option<Tensor>>> {
        let values = to.iter().map(|&port| self.value(port)).zip(cotangents);
        let sums = values.filter(|(y, _)| y.track_op()).map(|(y, &c)| (y * c.detach())?.sum_all());
        let Some(sum) = sums.reduce(|a, b| a? + b?).transpose()? else { return Ok(vec![None; from.len()]) };
        let backward = catch_unwind(AssertUnwindSafe(|| sum.backward()));
        let store = backward.unwrap_or_else(|panic| candle_core::bail!("{}", first_line(&*panic)))?;
        let by = |port: &Port| match &self.seen.get(port)?.variable {
            None => None,
            Some(Variable::Value(variable)) => store.get(variable).map(|by| Ok(by.detach())),
            Some(Variable::Subtracted(variable)) => store.get(variable).map(|by| by.detach().neg()),
        };
        from.iter().map(|port| by(port).transpose()).collect()
    }

    /// The taps that, as far as candle has recorded, a value depends on.
    pub(super) fn leading_to(&self, port: Port) -> HashSet<usize> {
        let nodes: HashSet<_> = self.value(port).sorted_nodes().iter().map(|node| node.id()).collect();
        let leads = |(port, seen): (&Port, &Seen)| match (port, &seen.variable) {
            (Port::Value(id), Some(variable)) => nodes.contains(&variable.tensor().id()).then_some(*id),
            _ => None,
        };
        self.seen.iter().filter_map(leads).collect()
    }
}

impl Shown for Record {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.index.iter().map(|(name, id)| (*id, name.clone())).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    fn dims(&self, port: Port) -> Option<Vec<usize>> {
        self.seen.get(&port).map(|seen| seen.value.dims().to_vec())
    }
}

impl std::fmt::Debug for Taps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Taps({})", self.whereabouts)
    }
}
