//! The way back through the layers of a slice, by a rule of the method's own.
//!
//! A gradient goes back through [`crate::ModelWrapper::gradient`]. A method that needs to know the layers goes
//! back here: at each layer it is shown the layer's values and the signal that arrived, and says which signals
//! go on to the layer's inputs. Where several layers read a value, what they send adds up.

use crate::attribution::row_totals;
use crate::cut::Port;
use crate::fold::takes_batch_norm;
use crate::methods::evidence;
use crate::parameter::Parameters;
use crate::question::{finite_rows, join};
use crate::{
    Attribution, Cut, Error, LayeredModel, ModelWrapper, Node, NodeId, Op, Point, Precision, Quantity,
    Question, Result, Slice, Tensor,
};

/// The layers between two cuts.
pub(crate) struct Walk<'a, M: LayeredModel> {
    pub(crate) model: &'a M,
    from: Vec<Port>,
    to: Vec<Port>,
    /// Layers whose values depend on the lower cut.
    active: Vec<bool>,
    /// Layers that the way back goes through: active, and leading to the upper cut.
    between: Vec<bool>,
    /// Layers whose values are needed: those on the way, and what they read.
    needed: Vec<NodeId>,
    /// For each layer the batch norm that can be folded into it.
    norm_behind: Vec<Option<NodeId>>,
}

/// The value of each layer that a walk needs.
pub(crate) struct Values<T> {
    of: Vec<Option<T>>,
    /// Values put in the place of those that one layer reads.
    edges: Vec<(Port, T)>,
}

/// One layer on the way back.
pub(crate) struct Layer<'a, M: LayeredModel> {
    pub(crate) walk: &'a Walk<'a, M>,
    pub(crate) id: NodeId,
    pub(crate) node: &'a Node,
    pub(crate) inputs: Vec<&'a M::Tensor>,
    pub(crate) output: &'a M::Tensor,
    /// The value of the batch norm that can be folded into this layer.
    pub(crate) behind: Option<&'a M::Tensor>,
    /// Which inputs a signal goes on to.
    pub(crate) wanted: Vec<bool>,
    /// Which inputs are known to have no number below zero.
    pub(crate) non_negative: Vec<bool>,
}

/// What goes back from layer to layer: a tensor as large as the layer's value, or several.
pub(crate) trait Signal: Clone {
    /// What it is made of.
    type Tensor;

    /// That of a value that nothing depends on.
    fn none(value: &Self::Tensor) -> Result<Self>;

    /// Both together.
    fn plus(&self, other: &Self) -> Result<Self>;
}

/// The signals that go on from a layer, one entry an input; none where none is wanted.
pub(crate) type Signals<S> = Vec<Option<S>>;

/// What a layer sends on of the signal that arrived at it.
pub(crate) type SendOn<'a, M, S = <M as ModelWrapper>::Tensor> =
    &'a mut dyn FnMut(&Layer<'_, M>, &S) -> Result<Signals<S>>;

/// What a method makes of a chunk of rows.
pub(crate) type Make<'a, M> = &'a mut dyn FnMut(&Pass<'_, M>) -> Result<Outcome<<M as ModelWrapper>::Tensor>>;

impl<'a, M: LayeredModel> Walk<'a, M> {
    pub(crate) fn new(model: &'a M, slice: &Slice) -> Result<Self> {
        let graph = model.graph();
        let (from, to) = (graph.ports(&slice.from)?, graph.ports(&slice.to)?);
        let count = graph.nodes().len();
        let (mut active, mut between) = (vec![false; count], vec![false; count]);
        for (id, node) in graph.nodes().iter().enumerate() {
            let edge = |slot| from.contains(&Port::Edge(id, slot));
            active[id] = from.contains(&Port::Value(id))
                || (node.inputs.iter().enumerate()).any(|(slot, &src)| edge(slot) || active[src]);
        }
        to.iter().for_each(|&port| between[graph.source(port)] = true);
        for id in (0..count).rev() {
            if between[id] && active[id] {
                graph.node(id).inputs.iter().for_each(|&src| between[src] = true);
            }
        }
        (0..count).for_each(|id| between[id] &= active[id]);
        let mut norm_behind = graph.norms_behind();
        for (before, norm) in norm_behind.iter_mut().enumerate() {
            let is_alone = !to.contains(&Port::Value(before)) && takes_batch_norm(graph.node(before));
            *norm = norm.filter(|&norm| is_alone && between[norm]);
        }
        let mut read = between.clone();
        for id in (0..count).filter(|&id| between[id]) {
            graph.node(id).inputs.iter().for_each(|&src| read[src] = true);
        }
        from.iter().chain(&to).for_each(|&port| read[graph.source(port)] = true);
        let needed = (0..count).filter(|&id| read[id]).collect();
        let walk = Walk { model, from, to, active, between, needed, norm_behind };
        if !(walk.to.iter()).any(|port| walk.from.contains(port) || walk.active[graph.source(*port)]) {
            let (from, to) = (slice.from.to_string(), slice.to.to_string());
            return Err(Error::NotConnected { from, to });
        }
        Ok(walk)
    }

    pub(crate) fn node(&self, id: NodeId) -> &'a Node {
        self.model.graph().node(id)
    }

    /// Whether a port is part of the lower cut.
    pub(crate) fn begins_at(&self, port: Port) -> bool {
        self.from.contains(&port)
    }

    /// For each layer whether every way from the upper to the lower cut leads through its value.
    pub(crate) fn bottlenecks(&self) -> Vec<bool> {
        let graph = self.model.graph();
        // What lies between the ends of a way's step is passed by.
        let mut is_passed = vec![false; self.between.len()];
        let mut pass = |from: NodeId, to: NodeId| is_passed[from + 1..to].fill(true);
        for (id, node) in graph.nodes().iter().enumerate().filter(|(id, _)| self.between[*id]) {
            let edges = node.inputs.iter().enumerate();
            let leads =
                edges.filter(|(slot, src)| self.between[**src] || self.begins_at(Port::Edge(id, *slot)));
            leads.for_each(|(_, &src)| pass(src, id));
        }
        // Where a cut has several ports, a way that begins or ends at one of them passes by the others.
        let ends = |ports: &[Port]| ports.iter().map(|&port| graph.source(port)).collect::<Vec<_>>();
        let (from, to) = (ends(&self.from), ends(&self.to));
        let (lowest, highest) = (from.iter().copied().min(), to.iter().copied().max());
        from.iter().for_each(|&end| pass(lowest.unwrap_or(end), end + 1));
        to.iter().for_each(|&end| pass(end, highest.unwrap_or(end) + 1));
        (0..is_passed.len()).map(|id| self.between[id] && !is_passed[id]).collect()
    }

    /// Whether the way back goes through a layer.
    pub(crate) fn goes_through(&self, id: NodeId) -> bool {
        self.between[id]
    }

    /// The batch norm that can be folded into a layer.
    pub(crate) fn norm_behind(&self, id: NodeId) -> Option<NodeId> {
        self.norm_behind[id]
    }

    /// Whether a layer is a batch norm that can be folded into the layer before it.
    pub(crate) fn can_fold(&self, id: NodeId) -> bool {
        self.node(id).inputs.first().is_some_and(|&before| self.norm_behind[before] == Some(id))
    }

    /// About how many bytes one row of all these values and the signals needs.
    pub(crate) fn row_bytes(&self, precision: Precision, passes: u64) -> u64 {
        let lens = || self.needed.iter().map(|&id| self.node(id).shape.row_len() as u64);
        let width = if precision == Precision::F64 { 8 } else { 4 };
        // Besides the values: signals that wait, and the products of one layer.
        (lens().sum::<u64>() * passes + 8 * lens().max().unwrap_or(0)) * width
    }

    /// The value of each layer that the way back needs.
    pub(crate) fn values(&self, point: Point<'_, M::Tensor>) -> Result<Values<M::Tensor>> {
        let graph = self.model.graph();
        let cut = Cut::several(self.needed.iter().copied());
        let mut of = vec![None; graph.nodes().len()];
        for (&id, value) in self.needed.iter().zip(self.model.forward(point, &cut)?) {
            of[id] = Some(value);
        }
        let edges = match point.replace {
            Some((cut, values)) => graph.ports(cut)?.into_iter().zip(values.iter().cloned()).collect(),
            None => Vec::new(),
        };
        Ok(Values { of, edges })
    }

    /// The values at the upper cut.
    pub(crate) fn upper(&self, values: &Values<M::Tensor>) -> Vec<M::Tensor> {
        self.at(&self.to, values)
    }

    /// The values at the lower cut.
    pub(crate) fn lower(&self, values: &Values<M::Tensor>) -> Vec<M::Tensor> {
        self.at(&self.from, values)
    }

    fn at(&self, ports: &[Port], values: &Values<M::Tensor>) -> Vec<M::Tensor> {
        ports.iter().map(|&port| values.at(port, self.model.graph().source(port)).clone()).collect()
    }

    /// One layer with its values at a point.
    pub(crate) fn layer<'b>(&'b self, id: NodeId, values: &'b Values<M::Tensor>) -> Layer<'b, M> {
        let node = self.node(id);
        let edges = || node.inputs.iter().enumerate().map(|(slot, &src)| (Port::Edge(id, slot), src));
        Layer {
            walk: self,
            id,
            node,
            inputs: edges().map(|(port, src)| values.at(port, src)).collect(),
            output: values.at(Port::Value(id), id),
            behind: self.norm_behind[id].map(|norm| values.at(Port::Value(norm), norm)),
            wanted: edges().map(|(port, src)| self.from.contains(&port) || self.active[src]).collect(),
            non_negative: edges().map(|(_, src)| self.model.graph().is_non_negative(src)).collect(),
        }
    }

    /// From the signals at the upper cut to those at the lower cut: `rule` says what a layer sends on.
    pub(crate) fn back<S: Signal<Tensor = M::Tensor>>(
        &self,
        values: &Values<M::Tensor>,
        signals: Vec<S>,
        rule: SendOn<'_, M, S>,
    ) -> Result<Vec<S>> {
        let graph = self.model.graph();
        let mut arrived: Vec<Option<S>> = vec![None; self.active.len()];
        let mut at_from: Vec<Option<S>> = vec![None; self.from.len()];
        let mut reach = |port: Port, signal: &S| -> Result<()> {
            for (sum, _) in at_from.iter_mut().zip(&self.from).filter(|(_, from)| **from == port) {
                add_into(sum, signal.clone())?;
            }
            Ok(())
        };
        for (&port, signal) in self.to.iter().zip(signals) {
            if matches!(port, Port::Edge(..)) {
                reach(port, &signal)?;
            }
            add_into(&mut arrived[graph.source(port)], signal)?;
        }
        for id in (0..arrived.len()).rev() {
            let Some(signal) = arrived[id].take() else { continue };
            reach(Port::Value(id), &signal)?;
            if !self.between[id] || values.is_put_in(id) {
                continue;
            }
            let layer = self.layer(id, values);
            if !layer.wanted.contains(&true) {
                continue;
            }
            let below = rule(&layer, &signal).map_err(|error| layer.named(error))?;
            for (slot, signal) in below.into_iter().enumerate() {
                let (src, edge) = (layer.node.inputs[slot], Port::Edge(id, slot));
                let Some(signal) = signal.filter(|_| layer.wanted[slot]) else { continue };
                reach(edge, &signal)?;
                if self.active[src] {
                    add_into(&mut arrived[src], signal)?;
                }
            }
        }
        let found = self.from.iter().zip(at_from);
        found
            .map(|(&port, sum)| match sum {
                Some(sum) => Ok(sum),
                None => S::none(values.at(port, graph.source(port))),
            })
            .collect()
    }
}

impl<T: Tensor> Signal for T {
    type Tensor = T;

    fn none(value: &T) -> Result<Self> {
        value.zeros_like()
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        self.add(other)
    }
}

impl<T> Values<T> {
    fn at(&self, port: Port, src: NodeId) -> &T {
        let edge = self.edges.iter().find(|(replaced, _)| *replaced == port);
        edge.map_or_else(|| self.of[src].as_ref().expect("BUG: a value is missing"), |(_, value)| value)
    }

    fn is_put_in(&self, id: NodeId) -> bool {
        self.edges.iter().any(|(replaced, _)| *replaced == Port::Value(id))
    }
}

impl<'a, M: LayeredModel> Layer<'a, M> {
    pub(crate) fn op(&self) -> &'a Op {
        &self.node.op
    }

    /// The layer's own parameters.
    pub(crate) fn params(&self) -> Vec<&'a M::Tensor> {
        self.walk.model.parameters(self.id)
    }

    /// The same layer with other inputs in the place of those that lead to the lower cut.
    pub(crate) fn with_inputs<'b>(&'b self, inputs: Vec<&'b M::Tensor>) -> Layer<'b, M> {
        let (walk, id, node, output, behind) = (self.walk, self.id, self.node, self.output, self.behind);
        let (wanted, non_negative) = (self.wanted.clone(), vec![false; inputs.len()]);
        Layer { walk, id, node, inputs, output, behind, wanted, non_negative }
    }

    /// The derivative of the layer, as it is, applied to a signal.
    pub(crate) fn vjp(&self, signal: &M::Tensor) -> Result<Signals<M::Tensor>> {
        self.walk.model.layer_vjp(self.op(), &self.inputs, &self.params(), signal, &self.wanted)
    }

    /// Sums of signals for each input, zeros where a signal is wanted and there is none.
    pub(crate) fn filled(&self, sums: Signals<M::Tensor>) -> Result<Signals<M::Tensor>> {
        let each = sums.into_iter().zip(&self.inputs).zip(&self.wanted);
        let filled = each.map(|((sum, input), wanted)| match sum {
            None if *wanted => input.zeros_like().map(Some),
            sum => Ok(sum),
        });
        filled.collect()
    }

    /// An error from the framework, with the layer's name.
    pub(crate) fn named(&self, error: Error) -> Error {
        error.in_layer(&self.node.name, self.op().kind())
    }

    /// That this layer is of a kind for which something isn't defined.
    pub(crate) fn undefined(&self, what: &str) -> Error {
        self.undefined_but(what, "")
    }

    /// The same, with what there is instead.
    pub(crate) fn undefined_but(&self, what: &str, hint: &str) -> Error {
        let (name, kind) = (&self.node.name, self.op().kind());
        Error::Unsupported(format!(
            "layer {name:?}: {what} is not defined for a layer of kind {kind:?}{hint}"
        ))
    }
}

/// A chunk of rows, run forward, with the quantity at its top.
pub(crate) struct Pass<'a, M: LayeredModel> {
    pub(crate) question: &'a Question<'a, M>,
    pub(crate) walk: &'a Walk<'a, M>,
    /// Which rows of the question these are.
    pub(crate) rows: &'a [usize],
    /// The model's inputs.
    pub(crate) inputs: &'a [M::Tensor],
    pub(crate) values: Values<M::Tensor>,
    /// The values at the upper cut.
    pub(crate) upper: Vec<M::Tensor>,
    /// The derivative of the quantity by them.
    pub(crate) cotangents: Vec<M::Tensor>,
    /// The quantity of each row.
    pub(crate) quantity: Vec<f64>,
}

/// What a method makes of a [`Pass`].
pub(crate) struct Outcome<T> {
    /// One tensor for each tensor at the lower cut, or whatever the method gives.
    pub(crate) values: Vec<T>,
    /// What is left over of its law, for each row.
    pub(crate) residual: Option<Vec<f64>>,
    /// What its law claims for each row; the quantity minus that at the baseline, if it does not say.
    pub(crate) claimed: Option<Vec<f64>>,
    /// The quantity at the baseline, for each row.
    pub(crate) baseline_quantity: Option<Vec<f64>>,
}

impl<'a, M: LayeredModel> Pass<'a, M> {
    fn run(
        question: &'a Question<'a, M>,
        walk: &'a Walk<'a, M>,
        rows: &'a [usize],
        point: Point<'a, M::Tensor>,
        quantity: &dyn Quantity<M::Tensor>,
        seen: &[usize],
    ) -> Result<Self> {
        let values = walk.values(point)?;
        let upper = walk.upper(&values);
        let evaluation = quantity.evaluate(&upper, question.seen(seen))?;
        let quantity = finite_rows(&evaluation.value.to_array()?, "the quantity of interest")?;
        let cotangents = evaluation.cotangents;
        Ok(Pass { question, walk, rows, inputs: point.inputs, values, upper, cotangents, quantity })
    }

    /// The quantity held fixed at these rows, where it chooses by what it sees.
    pub(crate) fn pinned(&self) -> Result<Option<Box<dyn Quantity<M::Tensor>>>> {
        self.question.quantity.pin(&self.upper, self.question.seen(self.rows))
    }

    /// The same rows at another point, with the quantity that was held fixed at them.
    pub(crate) fn at(
        &self,
        point: Point<'a, M::Tensor>,
        pinned: Option<&dyn Quantity<M::Tensor>>,
    ) -> Result<Self> {
        match pinned {
            // What was pinned counts the rows of this chunk.
            Some(quantity) => {
                let seen: Vec<_> = (0..self.rows.len()).collect();
                Pass::run(self.question, self.walk, self.rows, point, quantity, &seen)
            }
            None => {
                let quantity = &*self.question.quantity;
                Pass::run(self.question, self.walk, self.rows, point, quantity, self.rows)
            }
        }
    }

    /// Goes back from signals at the upper cut.
    pub(crate) fn back<S: Signal<Tensor = M::Tensor>>(
        &self,
        signals: Vec<S>,
        rule: SendOn<'_, M, S>,
    ) -> Result<Vec<S>> {
        self.walk.back(&self.values, signals, rule)
    }

    /// Each value at the upper cut times the derivative of the quantity by it: for a class, its logit.
    pub(crate) fn shares(&self) -> Result<Vec<M::Tensor>> {
        self.upper.iter().zip(&self.cotangents).map(|(value, cotangent)| value.mul(cotangent)).collect()
    }
}

impl<T> Outcome<T> {
    /// An outcome without a law.
    pub(crate) fn of(values: Vec<T>) -> Self {
        Outcome { values, residual: None, claimed: None, baseline_quantity: None }
    }
}

/// What a method that knows the layers answers: `pass` for each chunk of rows. `passes` is how many forward
/// passes' values it holds at once, and `law` the conservation law whose residual it gives.
pub(crate) fn answer<M: LayeredModel>(
    question: &Question<'_, M>,
    name: &str,
    method: &dyn Parameters,
    passes: u64,
    law: Option<&'static str>,
    pass: Make<'_, M>,
) -> Result<Attribution<M::Tensor>> {
    question.check()?;
    let walk = Walk::new(question.model, &question.slice)?;
    let row_bytes = walk.row_bytes(question.inputs[0].precision(), passes);
    let (mut uppers, mut parts, mut quantities) = (Vec::new(), Vec::new(), Vec::new());
    let (mut residuals, mut claims, mut baselines) = (Vec::new(), Vec::new(), Vec::new());
    question.in_chunks(Some(row_bytes), |seen, inputs| {
        let chunk = Pass::run(question, &walk, seen, Point::at(inputs), &*question.quantity, seen)?;
        let outcome = pass(&chunk)?;
        uppers.push(chunk.upper);
        let change =
            |row: usize| chunk.quantity[row] - outcome.baseline_quantity.as_ref().map_or(0.0, |b| b[row]);
        claims.extend(outcome.claimed.unwrap_or_else(|| (0..seen.len()).map(change).collect()));
        quantities.extend(chunk.quantity);
        parts.push(outcome.values);
        residuals.extend(outcome.residual.into_iter().flatten());
        baselines.extend(outcome.baseline_quantity.into_iter().flatten());
        Ok(())
    })?;
    let mut evidence = evidence(question, name, method.parameters(), &join(uppers)?, quantities)?;
    evidence.law = law;
    evidence.claimed = law.map(|_| claims);
    evidence.residual = law.map(|_| residuals);
    evidence.baseline_quantity = Some(baselines).filter(|baselines| !baselines.is_empty());
    Attribution::new(join(parts)?, evidence)
}

/// The signal of a layer's only input.
pub(crate) fn only<S>(signals: Signals<S>) -> S {
    signals.into_iter().flatten().next().expect("BUG: an input is wanted")
}

/// What is left over of the signals at the upper cut, for each row, when those at the lower cut are added up.
pub(crate) fn left_over<T: Tensor>(lower: &[T], upper: &[T]) -> Result<Vec<f64>> {
    let (lower, upper) = (row_totals(lower)?, row_totals(upper)?);
    Ok(lower.iter().zip(&upper).map(|(lower, upper)| lower - upper).collect())
}

/// Adds to a sum that may be empty yet.
pub(crate) fn add_into<S: Signal>(sum: &mut Option<S>, term: S) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(sum) => sum.plus(&term)?,
        None => term,
    });
    Ok(())
}
