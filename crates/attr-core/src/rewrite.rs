//! A graph written anew, with other layers in the place of some: a graph to a graph.

use std::collections::HashMap;

use crate::{Graph, Node, NodeId, Op, Param, ParamId, Result};

/// What stands in the place of a layer, under its name, and gives its value.
pub(crate) struct Instead {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Source>,
    pub(crate) params: Vec<Numbers>,
}

/// A parameter of a layer in the place of others.
pub(crate) enum Numbers {
    /// One of the old graph, which other layers may share.
    Kept(ParamId),
    /// One that was worked out.
    New(Param),
}

/// What a layer in the place of others reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// The value of a layer of the old graph.
    Layer(NodeId),
    /// Its axes in another order, by a layer that the old graph has not.
    Transposed(NodeId, Vec<usize>),
}

impl Graph {
    /// The same graph, with other layers in the place of some. Those that are `gone` have become part of another, which
    /// is what their names say from then on ([`Graph::part_of`]).
    pub(crate) fn rewritten(
        &self,
        instead: &HashMap<NodeId, Instead>,
        gone: &HashMap<NodeId, NodeId>,
    ) -> Result<Graph> {
        let mut graph = Graph::default();
        let mut params: HashMap<ParamId, ParamId> = HashMap::new();
        let mut ids: Vec<NodeId> = Vec::new();
        for (id, node) in self.nodes().iter().enumerate() {
            if gone.contains_key(&id) {
                ids.push(NodeId::MAX);
                continue;
            }
            let other = instead.get(&id);
            let mut kept = |graph: &mut Graph, old: ParamId| {
                *params.entry(old).or_insert_with(|| graph.param(self.params()[old].clone()))
            };
            let own: Vec<_> = match other {
                None => node.params.iter().map(|&old| kept(&mut graph, old)).collect(),
                Some(other) => {
                    let place = |numbers: &Numbers| match numbers {
                        Numbers::Kept(old) => kept(&mut graph, *old),
                        Numbers::New(param) => graph.param(param.clone()),
                    };
                    other.params.iter().map(place).collect()
                }
            };
            ids.push(match (other, &node.op) {
                (Some(other), _) => {
                    let inputs = graph.sources(node, &other.inputs, &ids)?;
                    graph.add(&node.name, other.op.clone(), &inputs, &own)?
                }
                (None, Op::Input) => match node.shape.batch_axis() {
                    Some(_) => graph.input(&node.name, &node.shape.at(1)[1..])?,
                    None => graph.fixed_input(&node.name, &node.shape.at(1))?,
                },
                (None, op) => {
                    let inputs: Vec<_> = node.inputs.iter().map(|&id| ids[id]).collect();
                    graph.add(&node.name, op.clone(), &inputs, &own)?
                }
            });
        }
        graph.set_outputs(&self.outputs().iter().map(|&id| ids[id]).collect::<Vec<_>>())?;
        let whole = |id: NodeId| ids[gone.get(&id).copied().unwrap_or(id)];
        for id in (0..ids.len()).filter(|id| !gone.contains_key(id)) {
            if self.channel_axis(id) != 1 {
                graph.set_channel_axis(ids[id], self.channel_axis(id))?;
            }
        }
        for &id in gone.keys() {
            graph.takes(whole(id), &self.node(id).name);
        }
        for (id, name) in self.other_names() {
            match gone.contains_key(&id) {
                true => graph.takes(whole(id), name),
                false => graph.also_called(ids[id], name)?,
            }
        }
        for (name, id) in self.parts() {
            graph.takes(whole(id), name);
        }
        Ok(graph)
    }

    /// What a layer in the place of another reads; `ids` are the new places of the old layers.
    fn sources(&mut self, node: &Node, sources: &[Source], ids: &[NodeId]) -> Result<Vec<NodeId>> {
        let mut inputs = Vec::new();
        for (slot, source) in sources.iter().enumerate() {
            inputs.push(match source {
                Source::Layer(id) => ids[*id],
                Source::Transposed(id, axes) => {
                    let mut name = format!("{}/input {slot}", node.name);
                    while self.find(&name).is_some() {
                        name.push('_');
                    }
                    self.add(&name, Op::Transpose { axes: axes.clone() }, &[ids[*id]], &[])?
                }
            });
        }
        Ok(inputs)
    }
}
