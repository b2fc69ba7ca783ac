//! The places of a model that is a forward function with named taps: what an adapter for such models shares
//! with the others. How values are seen, replaced and differentiated by is the framework's own.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cut::find_layer;
use crate::{Anchor, At, Cut, Dim, Error, Expected, Place, Point, Result, Shape, Tensor};

/// A place where a value can be seen, replaced or differentiated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// What a layer gives.
    Value(usize),
    /// What a layer reads as its input with this number.
    Edge(usize, usize),
    /// The function's output with this number.
    Output(usize),
}

/// What is known of a tap.
#[derive(Debug, Clone)]
pub struct Tap {
    /// The value shown.
    pub place: Place,
    /// What the layer reads, where that is known.
    pub edges: Vec<Place>,
}

/// All taps of a function, in the order in which it passes them, with its inputs and outputs.
#[derive(Debug)]
pub struct Tapped {
    taps: Vec<Tap>,
    index: Arc<HashMap<String, usize>>,
    inputs: Vec<usize>,
    outputs: Vec<Port>,
    /// What is known of each [`Port::Output`].
    output_places: Vec<Place>,
    logits: Port,
}

/// What a run of a function on some rows of zeros showed.
pub trait Shown {
    /// The names of the taps, in order; the inputs come first.
    fn names(&self) -> Vec<String>;

    /// The lengths of the value seen at a place; `None` if none was.
    fn dims(&self, port: Port) -> Option<Vec<usize>>;
}

impl Tapped {
    /// The places learned of a function of so many inputs by running it on one row and on two; `leads` says of each
    /// tap whether the first output depends on it.
    ///
    /// # Errors
    ///
    /// [`Error::Graph`] where the function gives no output, or passes other taps for two rows than for one.
    pub fn learned(
        inputs: usize,
        one: &impl Shown,
        two: &impl Shown,
        leads: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let (names, again) = (one.names(), two.names());
        if let Some(name) = names.iter().zip(&again).find_map(|(a, b)| (a != b).then_some(a)) {
            return Err(Error::graph(name, "the taps passed depend on the number of rows"));
        }
        let place = |name: String, kind, port: Port, leads_to_output: bool| {
            let shape = one.dims(port).zip(two.dims(port)).and_then(|(one, two)| batch_shape(&one, &two));
            Place { name, kind, shape, parameters: 0, leads_to_output }
        };
        let taps = names.iter().enumerate().map(|(id, name)| {
            let slots = (0..).take_while(|&slot| one.dims(Port::Edge(id, slot)).is_some());
            let edge =
                |slot| place(format!("input {slot} of {name}"), "value", Port::Edge(id, slot), leads(id));
            let edges: Vec<_> = slots.map(edge).collect();
            let kind = match edges.len() {
                _ if id < inputs => "input",
                0 => "tap",
                _ => "layer",
            };
            Tap { place: place(name.clone(), kind, Port::Value(id), leads(id)), edges }
        });
        let taps: Vec<_> = taps.collect();
        let outputs: Vec<_> = (0..).map(Port::Output).take_while(|&port| one.dims(port).is_some()).collect();
        if outputs.is_empty() {
            return Err(Error::graph("output", "the forward function gives no output"));
        }
        let output_places = outputs.iter().enumerate();
        let output_places =
            output_places.map(|(i, &port)| place(output_name(i), "output", port, i == 0)).collect();
        Ok(Tapped { output_places, ..Tapped::new(taps, (0..inputs).collect(), outputs, Port::Output(0)) })
    }

    /// Places known beforehand; the outputs and the logits are values of taps.
    pub fn new(taps: Vec<Tap>, inputs: Vec<usize>, outputs: Vec<Port>, logits: Port) -> Self {
        let index = taps.iter().enumerate().map(|(id, tap)| (tap.place.name.clone(), id));
        let index = Arc::new(index.collect());
        Tapped { index, taps, inputs, outputs, output_places: Vec::new(), logits }
    }

    /// With the logits at the tap of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`].
    pub fn with_logits(mut self, name: &str) -> Result<Self> {
        self.logits = Port::Value(self.find(name)?);
        Ok(self)
    }

    /// Says whether the first output depends on a tap.
    pub fn set_leads(&mut self, id: usize, leads: bool) {
        let tap = &mut self.taps[id];
        tap.edges.iter_mut().chain([&mut tap.place]).for_each(|place| place.leads_to_output = leads);
    }

    /// From names to places in the order of the taps.
    pub fn index(&self) -> Arc<HashMap<String, usize>> {
        self.index.clone()
    }

    /// The taps, in order.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// Which taps are the inputs.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// The names of the inputs.
    pub fn input_names(&self) -> Vec<&str> {
        self.inputs.iter().map(|&id| self.taps[id].place.name.as_str()).collect()
    }

    /// The values of the taps, as layers.
    pub fn layers(&self) -> Vec<Place> {
        self.taps.iter().map(|tap| tap.place.clone()).collect()
    }

    fn find(&self, name: &str) -> Result<usize> {
        let names = || self.taps.iter().map(|tap| tap.place.name.as_str()).collect::<Vec<_>>();
        self.index.get(name).map_or_else(|| find_layer(name, &names()), |&id| Ok(id))
    }

    /// The places that a cut means.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`].
    pub fn ports(&self, cut: &Cut) -> Result<Vec<Port>> {
        let ports = match &cut.at {
            At::Several(cuts) => {
                return Ok(cuts.iter().map(|cut| self.ports(cut)).collect::<Result<Vec<_>>>()?.concat());
            }
            At::Input => self.inputs.iter().map(|&id| Port::Value(id)).collect(),
            At::Output => self.outputs.clone(),
            At::Logits => vec![self.logits],
            At::Layer(name) => vec![Port::Value(self.find(name)?)],
            At::Index(index) if *index < self.taps.len() => vec![Port::Value(*index)],
            At::Index(index) => {
                let hint = match self.taps.len() {
                    0 => "there are none".into(),
                    count => format!("expected an index of 0 to {}", count - 1),
                };
                return Err(Error::UnknownLayer { wanted: index.to_string(), hint });
            }
        };
        let anchored = |port| match port {
            Port::Value(id) if cut.anchor == Anchor::In && !self.taps[id].edges.is_empty() => {
                (0..self.taps[id].edges.len()).map(|slot| Port::Edge(id, slot)).collect()
            }
            other => vec![other],
        };
        Ok(ports.into_iter().flat_map(anchored).collect())
    }

    /// What is known of a place.
    pub fn place(&self, port: Port) -> &Place {
        match port {
            Port::Value(id) => &self.taps[id].place,
            Port::Edge(id, slot) => &self.taps[id].edges[slot],
            Port::Output(i) => &self.output_places[i],
        }
    }

    /// Checks a point's tensors, of which those at `replaced` stand in for others; gives how many times the inputs'
    /// rows these have. `foreign` says what of a tensor is not as it should be, if anything is.
    ///
    /// # Errors
    ///
    /// As [`Point::check`], and what `foreign` says, behind the tensor's place.
    pub fn check<T: Tensor>(
        &self,
        point: Point<'_, T>,
        replaced: &[Port],
        foreign: impl Fn(&T) -> Option<String>,
        backend: &'static str,
    ) -> Result<usize> {
        fn expected<'a>(places: &[&'a Place]) -> Vec<Expected<'a>> {
            places.iter().map(|place| (place.name.as_str(), place.shape.as_ref())).collect()
        }
        let inputs: Vec<_> = self.inputs.iter().map(|&id| &self.taps[id].place).collect();
        let at_cut: Vec<_> = replaced.iter().map(|&port| self.place(port)).collect();
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        let given = inputs.iter().zip(point.inputs);
        let given = given.map(|(place, value)| (format!("input {:?}", place.name), value));
        let put = at_cut.iter().zip(values);
        let put = put.map(|(place, value)| (format!("the value to put at layer {:?}", place.name), value));
        for (what, value) in given.chain(put) {
            if let Some(reason) = foreign(value) {
                return Err(Error::Backend { backend, reason: format!("{what}: {reason}") });
            }
        }
        point.check(&expected(&inputs), &expected(&at_cut))
    }
}

/// The name of the output with this number.
pub fn output_name(index: usize) -> String {
    if index == 0 { "output".into() } else { format!("output {index}") }
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
