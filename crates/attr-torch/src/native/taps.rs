//! What a forward function passes its values through.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use attr_core::{Error, Result};
use tch::{Kind, NoGradGuard, TchError, Tensor};

use super::{Function, Tch};
use crate::error::{BACKEND, convert};
use crate::tensor::lengths;

/// Where a forward function shows its values, and is given others in their place.
///
/// Go on with what a tap returns, and pass its errors on with `?`: when everything that was asked for has
/// been seen, the next tap returns an error that ends the function there, and nothing after it is computed.
pub struct Taps {
    /// Of the numbers that every value is made of.
    kind: Kind,
    /// From a layer's name to its number, in the order of the taps.
    index: Arc<HashMap<String, usize>>,
    /// `None` to learn what there is: everything is seen and differentiated by.
    asked: Option<Asked>,
    replaced: HashMap<Port, Tensor>,
    seen: HashMap<Port, Seen>,
    passed: HashSet<usize>,
    /// Where the function is, for messages.
    whereabouts: String,
    /// Until the first value to differentiate by, nothing is recorded.
    unrecorded: Option<NoGradGuard>,
    halt: Option<Halt>,
}

/// A place where a value can be seen, replaced or differentiated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Port {
    /// What a layer gives.
    Value(usize),
    /// What a layer reads as its input with this number.
    Edge(usize, usize),
    /// The function's output with this number.
    Output(usize),
}

struct Asked {
    from: HashSet<Port>,
    /// Those not seen so far.
    awaited: HashSet<Port>,
}

struct Seen {
    name: String,
    value: Tensor,
    /// Counts what was written into the value.
    version: i64,
}

/// Why the function was ended.
enum Halt {
    Complete,
    Failed(Error),
}

impl Taps {
    /// Shows a value under a name; returns it, or what was put in its place.
    pub fn tap(&mut self, name: &str, value: Tensor) -> Tch<Tensor> {
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
    /// # use attr_torch::Taps;
    /// # use tch::{TchError, Tensor};
    /// # fn example(a: &Tensor, b: &Tensor, taps: &mut Taps) -> Result<Tensor, TchError> {
    /// let x = taps.layer("relu", [a], |[x]| x.f_relu())?;
    /// let sum = taps.layer("sum", [&x, b], |[x, y]| x.f_add(y))?;
    /// # Ok(sum)
    /// # }
    /// ```
    pub fn layer<const N: usize>(
        &mut self,
        name: &str,
        inputs: [&Tensor; N],
        compute: impl FnOnce([&Tensor; N]) -> Tch<Tensor>,
    ) -> Tch<Tensor> {
        self.layer_of(name, &inputs, |inputs| compute(std::array::from_fn(|slot| inputs[slot])))
    }

    /// As [`Taps::layer`], with any number of inputs.
    pub(super) fn layer_of(
        &mut self,
        name: &str,
        inputs: &[&Tensor],
        compute: impl FnOnce(&[&Tensor]) -> Tch<Tensor>,
    ) -> Tch<Tensor> {
        let Some(id) = self.enter(name)? else { return compute(inputs) };
        let read = inputs.iter().enumerate();
        let read = read.map(|(slot, input)| self.pass(Port::Edge(id, slot), name, input.shallow_clone()));
        let read = read.collect::<Tch<Vec<_>>>()?;
        let value = match self.replaced.get(&Port::Value(id)) {
            Some(value) => value.shallow_clone(),
            None => {
                self.whereabouts = format!("layer {name:?}");
                compute(&read.iter().collect::<Vec<_>>())?
            }
        };
        self.whereabouts = format!("after layer {name:?}");
        self.pass(Port::Value(id), name, value)
    }

    /// Taps that learn what a function passes.
    pub(super) fn learning(kind: Kind) -> Self {
        Taps {
            kind,
            index: Arc::default(),
            asked: None,
            replaced: HashMap::new(),
            seen: HashMap::new(),
            passed: HashSet::new(),
            whereabouts: String::new(),
            unrecorded: None,
            halt: None,
        }
    }

    /// Taps that see the values at `from` and `to`, so that those at `from` can be differentiated by.
    pub(super) fn asked(
        kind: Kind,
        index: Arc<HashMap<String, usize>>,
        from: &[Port],
        to: &[Port],
        replaced: HashMap<Port, Tensor>,
    ) -> Self {
        let from: HashSet<_> = from.iter().copied().collect();
        let awaited = from.iter().chain(to).copied().collect();
        let asked = Some(Asked { from, awaited });
        Taps { index, asked, replaced, unrecorded: Some(tch::no_grad_guard()), ..Taps::learning(kind) }
    }

    /// Runs the function on inputs of these names, until everything asked for has been seen.
    pub(super) fn run(mut self, names: &[&str], inputs: Vec<Tensor>, function: &Function) -> Result<Record> {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let inputs = names.iter().zip(inputs).map(|(name, input)| self.tap(name, input));
            let inputs = inputs.collect::<Tch<Vec<_>>>()?;
            self.whereabouts = "before the first layer".into();
            for (i, output) in function(&inputs, &mut self)?.into_iter().enumerate() {
                let _ = self.pass(Port::Output(i), &output_name(i), output)?;
            }
            Ok(())
        }));
        self.unrecorded = None;
        let failed = |reason: &str| Error::Backend {
            backend: BACKEND,
            reason: format!("{}: {reason}", self.whereabouts),
        };
        match (self.halt, result) {
            (Some(Halt::Failed(error)), _) => return Err(error),
            (Some(Halt::Complete), _) | (None, Ok(Ok(()))) => {}
            (None, Ok(Err(error))) => match convert(error) {
                Error::Backend { reason, .. } => return Err(failed(&reason)),
                other => return Err(other),
            },
            (None, Err(panic)) => return Err(failed(first_line(&*panic))),
        }
        for Seen { name, value, version } in self.seen.values() {
            if value.f_internal_version().map_err(convert)? != *version {
                let reason = "the value was overwritten in place after it was tapped";
                return Err(Error::graph(name, reason));
            }
        }
        Ok(Record { index: self.index, seen: self.seen })
    }

    /// The number of the layer of this name; `None` if it was not there when the model was made.
    fn enter(&mut self, name: &str) -> Tch<Option<usize>> {
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

    fn pass(&mut self, port: Port, name: &str, value: Tensor) -> Tch<Tensor> {
        if self.halt.is_some() {
            return Err(ended());
        }
        let value = self.replaced.remove(&port).unwrap_or(value);
        let wanted = match &mut self.asked {
            None => Some(true),
            Some(asked) => asked.awaited.remove(&port).then(|| asked.from.contains(&port)),
        };
        let Some(differentiated) = wanted else { return Ok(value) };
        let found = value.f_kind()?;
        if found != self.kind {
            let reason = format!("expected numbers of kind {:?}, found {found:?}", self.kind);
            return Err(self.fail(Error::graph(name, reason)));
        }
        let value = match differentiated {
            false => value,
            true => {
                self.unrecorded = None;
                differentiable(&value)?
            }
        };
        let version = value.f_internal_version()?;
        self.seen.insert(port, Seen { name: name.into(), value: value.shallow_clone(), version });
        if self.asked.as_ref().is_some_and(|asked| asked.awaited.is_empty()) {
            self.halt = Some(Halt::Complete);
            return Err(ended());
        }
        Ok(value)
    }

    fn fail(&mut self, error: Error) -> TchError {
        self.halt = Some(Halt::Failed(error));
        ended()
    }
}

/// Carries the end of a run through the function; why it ended is in [`Taps::halt`].
fn ended() -> TchError {
    TchError::Torch("the taps have ended this run; pass this error on with `?`".into())
}

/// The same value as a tensor of its own, so that only those who read it from here count. What leads to it
/// stays connected.
fn differentiable(value: &Tensor) -> Tch<Tensor> {
    let alias = value.f_alias()?;
    match alias.requires_grad() {
        true => Ok(alias),
        false => value.f_detach()?.f_requires_grad_(true),
    }
}

pub(super) fn output_name(index: usize) -> String {
    if index == 0 { "output".into() } else { format!("output {index}") }
}

/// The first line of what a panic says, without the words that Rust puts around libtorch's.
fn first_line(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    let text = text.split_once(": Torch(\"").map_or(text, |(_, libtorch)| libtorch);
    text.split(['\n']).next().and_then(|line| line.split("\\n").next()).unwrap_or(text)
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

    pub(super) fn value(&self, port: Port) -> &Tensor {
        &self.seen.get(&port).expect("BUG: a value that was not asked for").value
    }

    pub(super) fn dims(&self, port: Port) -> Vec<usize> {
        lengths(self.value(port))
    }

    pub(super) fn index(&self) -> Arc<HashMap<String, usize>> {
        self.index.clone()
    }

    /// The layers' names, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.index.iter().map(|(name, id)| (*id, name.as_str())).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    pub(super) fn output_count(&self) -> usize {
        (0..).take_while(|&i| self.has(Port::Output(i))).count()
    }

    /// The layers that a value depends on.
    pub(super) fn leads_to(&self, port: Port) -> Tch<HashSet<usize>> {
        let y = self.value(port);
        let layers: Vec<_> = (0..self.index.len()).filter(|&id| self.has(Port::Value(id))).collect();
        let values: Vec<_> = layers.iter().map(|&id| self.value(Port::Value(id))).collect();
        let gradients = Tensor::f_run_backward(&[y.f_sum(y.kind())?], &values, false, false)?;
        Ok(layers.into_iter().zip(gradients).filter_map(|(id, g)| g.defined().then_some(id)).collect())
    }
}

impl std::fmt::Debug for Taps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Taps({})", self.whereabouts)
    }
}
