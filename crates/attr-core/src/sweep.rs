//! One way forward through a layer graph, and one way back.
//!
//! Only layers that lead from the values given to the cuts asked for are computed; on the way back only
//! those between the two cuts. A value is dropped when nobody will read it any more.

use std::collections::HashMap;

use crate::cut::Port;
use crate::model::Cotangent;
use crate::walk::add_into;
use crate::{
    Dim, Error, Gradient, GraphModel, Kernels, NodeId, Op, Point, Result, Saves, Shape, Tensor, Vjp,
};

/// What is to be computed, and from what.
pub(crate) struct Sweep<'a, K: Kernels> {
    model: &'a GraphModel<K>,
    /// By input layer.
    inputs: HashMap<NodeId, K::Tensor>,
    replaced: HashMap<Port, K::Tensor>,
    /// How many times the inputs' rows the replaced values have.
    copies: usize,
    from: Vec<Port>,
    to: Vec<Port>,
    /// Layers whose values `to` and `from` depend on, where nothing is replaced on the way.
    needed: Vec<bool>,
    /// Layers that depend on a replaced value, so that they have all its rows.
    tiled: Vec<bool>,
    /// Layers whose values depend on `from`.
    active: Vec<bool>,
}

impl<'a, K: Kernels> Sweep<'a, K> {
    pub(crate) fn new(
        model: &'a GraphModel<K>,
        point: Point<'_, K::Tensor>,
        from: &[Port],
        to: &[Port],
    ) -> Result<Self> {
        let count = crate::LayeredModel::graph(model).nodes().len();
        let mut sweep = Sweep {
            model,
            inputs: HashMap::new(),
            replaced: HashMap::new(),
            copies: 1,
            from: from.to_vec(),
            to: to.to_vec(),
            needed: vec![false; count],
            tiled: vec![false; count],
            active: vec![false; count],
        };
        let graph = crate::LayeredModel::graph(model);
        let ports = point.replace.map(|(cut, _)| graph.ports(cut)).transpose()?.unwrap_or_default();
        let expected = |&id: &NodeId| (graph.node(id).name.as_str(), Some(&graph.node(id).shape));
        let at_cut: Vec<_> = ports.iter().map(|&port| expected(&graph.source(port))).collect();
        sweep.copies = point.check(&graph.inputs().iter().map(expected).collect::<Vec<_>>(), &at_cut)?;
        sweep.inputs = graph.inputs().iter().copied().zip(point.inputs.iter().cloned()).collect();
        let values = point.replace.map_or(&[][..], |(_, values)| values);
        sweep.replaced = ports.into_iter().zip(values.iter().cloned()).collect();
        sweep.mark();
        sweep.tile_inputs_if_due()?;
        Ok(sweep)
    }

    /// The values at `to`.
    pub(crate) fn forward(&self) -> Result<Vec<K::Tensor>> {
        let values = self.run(&mut vec![false; self.needed.len()])?;
        self.to.iter().map(|&port| self.read(&values, port)).collect()
    }

    /// Whether `to` depends on `from` at all.
    pub(crate) fn is_connected(&self) -> bool {
        self.to.iter().any(|&port| self.is_active(port))
    }

    /// The values at `from`, and the derivatives by them.
    pub(crate) fn gradient(&self, cotangent: Cotangent<'_, K::Tensor>) -> Result<Gradient<K::Tensor>> {
        let mut keep = vec![false; self.needed.len()];
        for id in (0..keep.len()).filter(|&id| self.needed[id] && self.active[id]) {
            match self.node(id).op.saves() {
                Saves::Nothing => {}
                Saves::Inputs => self.node(id).inputs.iter().for_each(|&src| keep[src] = true),
                Saves::Output => keep[id] = true,
            }
        }
        let values = self.run(&mut keep)?;
        let at_to = self.to.iter().map(|&port| self.read(&values, port)).collect::<Result<Vec<_>>>()?;
        let at_from = self.from.iter().map(|&port| self.read(&values, port)).collect::<Result<Vec<_>>>()?;
        let cotangents = cotangent(&at_to)?;
        if cotangents.len() != at_to.len() || cotangents.iter().zip(&at_to).any(|(c, v)| c.dims() != v.dims())
        {
            let dims = |tensors: &[K::Tensor]| tensors.iter().map(Tensor::dims).collect::<Vec<_>>();
            let (expected, found) = (format!("{:?}", dims(&at_to)), dims(&cotangents).concat());
            return Err(Error::Shape { place: "the quantity's derivative".into(), expected, found });
        }
        let gradients = self.back(values, cotangents)?;
        let gradients = (self.from.iter().zip(&at_from))
            .map(|(port, value)| gradients.get(port).map_or_else(|| value.zeros_like(), |g| Ok(g.clone())))
            .collect::<Result<_>>()?;
        Ok(Gradient { values: at_from, gradients })
    }

    fn node(&self, id: NodeId) -> &'a crate::Node {
        crate::LayeredModel::graph(self.model).node(id)
    }

    fn source(&self, port: Port) -> NodeId {
        crate::LayeredModel::graph(self.model).source(port)
    }

    /// The slots of a layer that read the layer below them, not a replaced value.
    fn open_slots(&self, id: NodeId) -> impl Iterator<Item = (usize, NodeId)> + '_ {
        let closed = self.replaced.contains_key(&Port::Value(id));
        let inputs = self.node(id).inputs.iter().copied().enumerate();
        inputs.filter(move |&(slot, _)| !closed && !self.replaced.contains_key(&Port::Edge(id, slot)))
    }

    fn mark(&mut self) {
        let asked = self.to.iter().chain(&self.from).copied();
        let open = |port: &Port| matches!(port, Port::Value(_)) || !self.replaced.contains_key(port);
        let sources: Vec<_> = asked.filter(open).map(|port| self.source(port)).collect();
        sources.into_iter().for_each(|id| self.needed[id] = true);
        for id in (0..self.needed.len()).rev() {
            if self.needed[id] {
                let below: Vec<_> = self.open_slots(id).map(|(_, src)| src).collect();
                below.into_iter().for_each(|src| self.needed[src] = true);
            }
        }
        for id in 0..self.needed.len() {
            let replaced = |port| self.replaced.contains_key(&port);
            let any_replaced = (0..self.node(id).inputs.len()).any(|slot| replaced(Port::Edge(id, slot)));
            self.tiled[id] = replaced(Port::Value(id))
                || any_replaced
                || self.open_slots(id).any(|(_, src)| self.tiled[src]);
            let edges_asked = !replaced(Port::Value(id))
                && (0..self.node(id).inputs.len()).any(|slot| self.from.contains(&Port::Edge(id, slot)));
            self.active[id] = self.from.contains(&Port::Value(id))
                || edges_asked
                || self.open_slots(id).any(|(_, src)| self.active[src]);
        }
    }

    fn is_active(&self, port: Port) -> bool {
        let through = !self.replaced.contains_key(&port) && self.active[self.source(port)];
        self.from.contains(&port) || through || matches!(port, Port::Value(id) if self.active[id])
    }

    /// A value outside the replaced part is tiled where a layer of the replaced part reads it. That is only
    /// right where whole rows lie behind one another and no derivative by it is asked for; otherwise the
    /// inputs themselves are tiled.
    fn tile_inputs_if_due(&mut self) -> Result<()> {
        let crosses = |id: NodeId| {
            self.open_slots(id).any(|(_, src)| {
                let shape = &self.node(src).shape;
                let plain = shape.batch_axis().is_none() || (shape.is_batch_first() && !self.active[src]);
                self.tiled[id] && !self.tiled[src] && !plain
            })
        };
        let asked =
            self.from.iter().any(|&port| self.active[self.source(port)] && !self.tiled[self.source(port)]);
        let read = |id: NodeId| self.to.iter().any(|&port| matches!(port, Port::Edge(by, _) if by == id));
        let due = asked || (0..self.needed.len()).any(|id| (self.needed[id] || read(id)) && crosses(id));
        if self.copies > 1 && due {
            let graph = crate::LayeredModel::graph(self.model);
            let batched = |id: &NodeId| graph.node(*id).shape.batch_axis().is_some();
            for (_, input) in self.inputs.iter_mut().filter(|(id, _)| batched(id)) {
                *input = input.tile_rows(self.copies)?;
            }
            for id in 0..self.tiled.len() {
                self.tiled[id] = self.node(id).shape.batch_axis().is_some();
            }
        }
        Ok(())
    }

    /// Computes the needed values; those to `keep`, and those at `from` and `to`, are still there at the end.
    fn run(&self, keep: &mut [bool]) -> Result<Vec<Option<K::Tensor>>> {
        for &port in self.to.iter().chain(&self.from) {
            keep[self.source(port)] = true;
        }
        let mut readers = vec![0usize; keep.len()];
        for id in (0..keep.len()).filter(|&id| self.needed[id]) {
            self.open_slots(id).for_each(|(_, src)| readers[src] += 1);
        }
        let mut values: Vec<Option<K::Tensor>> = vec![None; keep.len()];
        for id in (0..keep.len()).filter(|&id| self.needed[id]) {
            values[id] = Some(self.compute(&values, id)?);
            for (_, src) in self.open_slots(id) {
                readers[src] -= 1;
                if readers[src] == 0 && !keep[src] {
                    values[src] = None;
                }
            }
        }
        Ok(values)
    }

    fn compute(&self, values: &[Option<K::Tensor>], id: NodeId) -> Result<K::Tensor> {
        if let Some(value) = self.replaced.get(&Port::Value(id)) {
            return Ok(value.clone());
        }
        let params = self.model.node_params(id);
        match &self.node(id).op {
            Op::Input => Ok(self.inputs[&id].clone()),
            Op::Constant => Ok(params[0].clone()),
            op => {
                let slots = 0..self.node(id).inputs.len();
                let inputs =
                    slots.map(|slot| self.read(values, Port::Edge(id, slot))).collect::<Result<Vec<_>>>()?;
                let refs: Vec<_> = inputs.iter().collect();
                self.model.kernels().forward(op, &refs, &params).map_err(|error| self.model.at(id, error))
            }
        }
    }

    /// The value seen at a port, with all the rows that the layer seeing it has.
    fn read(&self, values: &[Option<K::Tensor>], port: Port) -> Result<K::Tensor> {
        if let Some(value) = self.replaced.get(&port) {
            return Ok(value.clone());
        }
        let src = self.source(port);
        let value = values[src].as_ref().expect("BUG: a value was dropped too early");
        match port {
            // A layer whose own value is replaced reads what is there.
            Port::Edge(id, _)
                if self.tiled[id]
                    && !self.tiled[src]
                    && self.has_batch(src)
                    && !self.replaced.contains_key(&Port::Value(id)) =>
            {
                value.tile_rows(self.copies)
            }
            _ => Ok(value.clone()),
        }
    }

    fn has_batch(&self, id: NodeId) -> bool {
        self.node(id).shape.batch_axis().is_some()
    }

    fn back(
        &self,
        mut values: Vec<Option<K::Tensor>>,
        cotangents: Vec<K::Tensor>,
    ) -> Result<HashMap<Port, K::Tensor>> {
        let mut arrived: Vec<Option<K::Tensor>> = vec![None; values.len()];
        let mut gradients = HashMap::new();
        for (&port, cotangent) in self.to.iter().zip(cotangents) {
            if self.from.contains(&port) && matches!(port, Port::Edge(..)) {
                accumulate(gradients.entry(port), cotangent.clone())?;
            }
            if !(matches!(port, Port::Edge(..)) && self.replaced.contains_key(&port)) {
                add_into(&mut arrived[self.source(port)], cotangent)?;
            }
        }
        for id in (0..values.len()).rev() {
            let Some(cotangent) = arrived[id].take() else { continue };
            if self.from.contains(&Port::Value(id)) {
                gradients.insert(Port::Value(id), cotangent.clone());
            }
            if self.active[id] && !self.replaced.contains_key(&Port::Value(id)) {
                self.back_through(id, &values, &cotangent, &mut arrived, &mut gradients)?;
            }
            values[id] = None;
        }
        Ok(gradients)
    }

    fn back_through(
        &self,
        id: NodeId,
        values: &[Option<K::Tensor>],
        cotangent: &K::Tensor,
        arrived: &mut [Option<K::Tensor>],
        gradients: &mut HashMap<Port, K::Tensor>,
    ) -> Result<()> {
        let node = self.node(id);
        let edges: Vec<_> = (0..node.inputs.len()).map(|slot| Port::Edge(id, slot)).collect();
        let open = |port: &Port| !self.replaced.contains_key(port) && self.active[self.source(*port)];
        let wanted: Vec<_> = edges.iter().map(|port| self.from.contains(port) || open(port)).collect();
        if !wanted.contains(&true) {
            return Ok(());
        }
        let saved = node.op.saves();
        let inputs = (edges.iter())
            .map(|&port| (saved == Saves::Inputs).then(|| self.read(values, port)).transpose())
            .collect::<Result<Vec<_>>>()?;
        let rows = self.rows(&node.shape, &cotangent.dims());
        let call = Vjp {
            inputs: &inputs.iter().map(Option::as_ref).collect::<Vec<_>>(),
            input_dims: &node.inputs.iter().map(|&src| self.node(src).shape.at(rows)).collect::<Vec<_>>(),
            output: values[id].as_ref(),
            params: &self.model.node_params(id),
            cotangent,
            wanted: &wanted,
        };
        let below = self.model.kernels().vjp(&node.op, call).map_err(|error| self.model.at(id, error))?;
        for ((port, wanted), cotangent) in edges.into_iter().zip(wanted).zip(below) {
            let Some(cotangent) = cotangent.filter(|_| wanted) else { continue };
            if self.from.contains(&port) {
                accumulate(gradients.entry(port), cotangent.clone())?;
            }
            if open(&port) {
                add_into(&mut arrived[self.source(port)], cotangent)?;
            }
        }
        Ok(())
    }

    /// How many rows a value of these lengths has.
    fn rows(&self, shape: &Shape, dims: &[usize]) -> usize {
        match shape.batch_axis().map(|axis| (dims[axis], shape.0[axis])) {
            Some((len, Dim::Batch(each))) => len / each,
            _ => 1,
        }
    }
}

fn accumulate<T: Tensor>(entry: std::collections::hash_map::Entry<'_, Port, T>, term: T) -> Result<()> {
    let mut sum = match entry {
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(term);
            return Ok(());
        }
        std::collections::hash_map::Entry::Occupied(place) => place,
    };
    let total = sum.get().add(&term)?;
    sum.insert(total);
    Ok(())
}
