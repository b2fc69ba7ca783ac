//! Where a network is cut, and the slice between two cuts.

use std::collections::HashSet;

use crate::composite::matches;
use crate::{Error, Graph, NodeId, Result};

/// A place in a network: which layer, before or after it, and which axis is its channel.
///
/// ```
/// use attr_core::{Cut, Slice};
///
/// let conv: Cut = "conv3".into();               // the output of layer conv3
/// let before = Cut::layer("conv3").before();    // its input
/// let third: Cut = 3.into();                    // the output of the layer with index 3
/// let both = Cut::several(["relu1", "relu2"]);  // two layers at once
/// let slice: Slice = (Cut::input(), conv).into();
/// # let _ = (before, third, both, slice);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Which layer.
    pub at: At,
    /// Before or after it.
    pub anchor: Anchor,
    /// The axis of channels; 1 stands for what the model says ([`crate::ModelWrapper::channel_axes`]).
    pub channel_axis: usize,
}

/// Which layer a [`Cut`] is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// All inputs of the model.
    Input,
    /// The first output of the model without its last softmax or sigmoid, where it has one.
    Logits,
    /// All outputs of the model.
    Output,
    /// A layer by its name, by an end of its name behind a `/` or `.`, or by a pattern in which `*` stands for any
    /// number of letters; both must be of one layer alone.
    Layer(String),
    /// A layer by its index in the model's order.
    Index(usize),
    /// Several cuts at once.
    Several(Vec<Cut>),
}

/// Before or after a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anchor {
    /// What the layer reads, as this layer sees it: other readers of the same value are not meant.
    In,
    /// What the layer gives.
    #[default]
    Out,
}

impl Cut {
    fn new(at: At) -> Self {
        Cut { at, anchor: Anchor::Out, channel_axis: 1 }
    }

    /// All inputs of the model.
    pub fn input() -> Self {
        Cut::new(At::Input)
    }

    /// The first output without its last softmax or sigmoid.
    pub fn logits() -> Self {
        Cut::new(At::Logits)
    }

    /// All outputs of the model.
    pub fn output() -> Self {
        Cut::new(At::Output)
    }

    /// The output of the layer of this name.
    pub fn layer(name: impl Into<String>) -> Self {
        Cut::new(At::Layer(name.into()))
    }

    /// The output of the layer with this index.
    pub fn index(index: usize) -> Self {
        Cut::new(At::Index(index))
    }

    /// Several cuts at once, their values in order.
    pub fn several<C: Into<Cut>>(cuts: impl IntoIterator<Item = C>) -> Self {
        Cut::new(At::Several(cuts.into_iter().map(Into::into).collect()))
    }

    /// The input of the layer instead of its output.
    pub fn before(mut self) -> Self {
        self.anchor = Anchor::In;
        self
    }

    /// Another axis of channels.
    pub fn channel_axis(mut self, axis: usize) -> Self {
        self.channel_axis = axis;
        self
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.anchor == Anchor::In {
            f.write_str("the input of ")?;
        }
        match &self.at {
            At::Input => f.write_str("the input"),
            At::Logits => f.write_str("the logits"),
            At::Output => f.write_str("the output"),
            At::Layer(name) => write!(f, "layer {name:?}"),
            At::Index(index) => write!(f, "layer {index}"),
            At::Several(cuts) => {
                let names: Vec<_> = cuts.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(" and "))
            }
        }
    }
}

impl From<&str> for Cut {
    fn from(name: &str) -> Self {
        Cut::layer(name)
    }
}

impl From<String> for Cut {
    fn from(name: String) -> Self {
        Cut::layer(name)
    }
}

impl From<usize> for Cut {
    fn from(index: usize) -> Self {
        Cut::index(index)
    }
}

/// The part of a network between two cuts: the influence of `from` on `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Whose influence.
    pub from: Cut,
    /// On what.
    pub to: Cut,
}

impl Slice {
    /// From the inputs to the logits.
    pub fn full() -> Self {
        Slice { from: Cut::input(), to: Cut::logits() }
    }
}

impl Default for Slice {
    fn default() -> Self {
        Slice::full()
    }
}

/// One cut alone is the lower end; the upper end is the logits.
impl<C: Into<Cut>> From<C> for Slice {
    fn from(from: C) -> Self {
        Slice { from: from.into(), to: Cut::logits() }
    }
}

impl<A: Into<Cut>, B: Into<Cut>> From<(A, B)> for Slice {
    fn from((from, to): (A, B)) -> Self {
        Slice { from: from.into(), to: to.into() }
    }
}

/// A place in a graph where a value can be read, replaced or differentiated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    /// What a layer gives, to all its readers.
    Value(NodeId),
    /// What one layer reads as its input with this number.
    Edge(NodeId, usize),
}

impl Graph {
    /// The places a cut stands for.
    pub(crate) fn ports(&self, cut: &Cut) -> Result<Vec<Port>> {
        let nodes = match &cut.at {
            At::Several(cuts) => {
                return Ok(cuts.iter().map(|cut| self.ports(cut)).collect::<Result<Vec<_>>>()?.concat());
            }
            At::Input => return Ok(self.inputs().iter().map(|&id| Port::Value(id)).collect()),
            At::Output => self.outputs().to_vec(),
            At::Logits => vec![self.logits(self.outputs()[0])],
            At::Layer(name) => {
                let found = || self.no_part(name).and_then(|()| find_among(name, &self.names()));
                vec![self.find(name).map_or_else(found, Ok)?]
            }
            At::Index(index) if *index < self.nodes().len() => vec![*index],
            At::Index(index) => {
                let hint = format!("expected an index of 0 to {}", self.nodes().len() - 1);
                return Err(Error::UnknownLayer { wanted: index.to_string(), hint });
            }
        };
        Ok(nodes
            .into_iter()
            .flat_map(|id| match (cut.anchor, self.node(id).inputs.len()) {
                (Anchor::Out, _) | (Anchor::In, 0) => vec![Port::Value(id)],
                (Anchor::In, slots) => (0..slots).map(|slot| Port::Edge(id, slot)).collect(),
            })
            .collect())
    }

    /// Every layer by its name, then by its other names.
    fn names(&self) -> Vec<(NodeId, &str)> {
        let mut others: Vec<_> = self.other_names().collect();
        others.sort_unstable();
        let own = self.nodes().iter().map(|node| node.name.as_str()).enumerate();
        own.chain(others).collect()
    }

    /// That no layer which has become part of another is meant by a name.
    fn no_part(&self, name: &str) -> Result<()> {
        let mut parts: Vec<_> =
            self.parts().filter(|(full, _)| *full == name || is_end(name, full)).collect();
        parts.sort_unstable();
        let Some((full, id)) = parts.first() else { return Ok(()) };
        let (whole, kind) = (&self.node(*id).name, self.node(*id).op.kind());
        let hint = format!(
            "{full:?} is part of layer {whole:?} ({kind}); read the network without recognising or folding layers \
             to cut there"
        );
        Err(Error::UnknownLayer { wanted: format!("{name:?}"), hint })
    }

    /// The layer whose value is seen at a port.
    pub(crate) fn source(&self, port: Port) -> NodeId {
        match port {
            Port::Value(id) => id,
            Port::Edge(id, slot) => self.node(id).inputs[slot],
        }
    }
}

/// Whether this is the end of a name behind a `/` or `.`.
fn is_end(end: &str, name: &str) -> bool {
    name.strip_suffix(end).is_some_and(|rest| rest.ends_with(['/', '.'])) && !end.is_empty()
}

/// Which of these layers has this name, or is the only one whose name ends with it behind a `/` or `.`, or is the
/// only one of a pattern in which `*` stands for any number of letters.
///
/// # Errors
///
/// [`Error::UnknownLayer`] with the names that are like it, or with those there are.
pub fn find_layer(name: &str, names: &[&str]) -> Result<usize> {
    find_among(name, &names.iter().copied().enumerate().collect::<Vec<_>>())
}

/// The same for layers by number, which may have several names each.
fn find_among(name: &str, layers: &[(usize, &str)]) -> Result<usize> {
    if let Some((id, _)) = layers.iter().find(|(_, full)| *full == name) {
        return Ok(*id);
    }
    let is_meant = |full: &str| match name.contains('*') {
        true => matches(name, full),
        false => is_end(name, full),
    };
    // One name a layer: the first.
    let of = |is: &dyn Fn(&str) -> bool| {
        let mut found: Vec<_> = layers.iter().filter(|(_, full)| is(full)).collect();
        let mut seen = HashSet::new();
        found.retain(|(id, _)| seen.insert(*id));
        found
    };
    let found = of(&is_meant);
    if let [(id, _)] = found[..] {
        return Ok(*id);
    }
    let contains = |full: &str| full.to_lowercase().contains(&name.to_lowercase());
    let like = if found.is_empty() { of(&contains) } else { found };
    let (intro, shown) = match like.is_empty() {
        false => ("did you mean", like),
        true => ("there are", of(&|_| true)),
    };
    let list: Vec<_> = shown.iter().take(12).map(|(_, full)| format!("{full:?}")).collect();
    let more = if shown.len() > 12 { format!(" and {} more", shown.len() - 12) } else { String::new() };
    Err(Error::UnknownLayer {
        wanted: format!("{name:?}"),
        hint: format!("{intro} {}{more}", list.join(", ")),
    })
}
