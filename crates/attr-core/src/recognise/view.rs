//! A graph as patterns look at it: numbers, products, and who reads what.

use ndarray::{ArrayD, IxDyn};

use crate::rewrite::Numbers;
use crate::{Activation, Graph, Node, NodeId, Op, Param, ParamId};

pub(super) struct View<'a> {
    graph: &'a Graph,
    readers: Vec<Vec<NodeId>>,
    is_output: Vec<bool>,
}

/// A product taken apart: a number times other values, and the layers that multiply them.
pub(super) struct Product {
    pub(super) number: f64,
    pub(super) factors: Vec<NodeId>,
    pub(super) inner: Vec<NodeId>,
}

impl<'a> View<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.nodes().len()];
        for (id, node) in graph.nodes().iter().enumerate() {
            node.inputs.iter().for_each(|&src| readers[src].push(id));
        }
        let mut is_output = vec![false; readers.len()];
        graph.outputs().iter().for_each(|&id| is_output[id] = true);
        View { graph, readers, is_output }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, &'a Node)> {
        self.graph.nodes().iter().enumerate()
    }

    pub(super) fn node(&self, id: NodeId) -> &'a Node {
        self.graph.node(id)
    }

    pub(super) fn op(&self, id: NodeId) -> &'a Op {
        &self.node(id).op
    }

    /// The function of each element that a layer is, and what it reads.
    pub(super) fn function(&self, id: NodeId) -> Option<(Activation, NodeId)> {
        match self.op(id) {
            Op::Activation(activation) => Some((*activation, self.node(id).inputs[0])),
            _ => None,
        }
    }

    /// The two values that a layer of this kind reads.
    pub(super) fn two(&self, op: &Op, id: NodeId) -> Option<[NodeId; 2]> {
        match self.node(id).inputs[..] {
            [a, b] if self.op(id) == op => Some([a, b]),
            _ => None,
        }
    }

    /// The layers that read a value; none if it is an output.
    pub(super) fn readers(&self, id: NodeId) -> Option<&[NodeId]> {
        Some(&self.readers[id][..]).filter(|_| !self.is_output[id])
    }

    /// The lengths of a parameter's axes.
    pub(super) fn dims(&self, numbers: &Numbers) -> Vec<usize> {
        match numbers {
            Numbers::Kept(id) => self.param(*id).dims().to_vec(),
            Numbers::New(param) => param.dims().to_vec(),
        }
    }

    pub(super) fn param(&self, id: ParamId) -> &'a Param {
        &self.graph.params()[id]
    }

    /// The numbers of a constant.
    pub(super) fn constant(&self, id: NodeId) -> Option<&'a Param> {
        let node = self.node(id);
        let param = node.params.first().map(|&param| self.param(param))?;
        (node.op == Op::Constant && !matches!(param, Param::OnDevice(_))).then_some(param)
    }

    /// A constant that is a single number.
    pub(super) fn number(&self, id: NodeId) -> Option<f64> {
        let param = self.constant(id).filter(|param| param.len() == 1)?;
        param.to_f64()?.first().copied()
    }

    /// A value and the constant beside it that a layer of this kind reads, in either order.
    pub(super) fn with_constant(&self, op: &Op, id: NodeId) -> Option<(NodeId, &'a Param)> {
        let [a, b] = self.two(op, id)?;
        match (self.constant(a), self.constant(b)) {
            (None, Some(param)) => Some((a, param)),
            (Some(param), None) => Some((b, param)),
            _ => None,
        }
    }

    /// A value and the single number that is added to it.
    pub(super) fn shifted(&self, id: NodeId) -> Option<(NodeId, f64)> {
        let [a, b] = self.two(&Op::Add, id)?;
        match (self.number(a), self.number(b)) {
            (None, Some(number)) => Some((a, number)),
            (Some(number), None) => Some((b, number)),
            _ => None,
        }
    }

    /// The power that a layer raises a value to.
    pub(super) fn power(&self, id: NodeId) -> Option<(NodeId, f64)> {
        if let Some([x, exponent]) = self.two(&Op::Power, id) {
            return self.number(exponent).map(|exponent| (x, exponent));
        }
        let (activation, x) = self.function(id)?;
        match activation {
            Activation::Power { exponent } => Some((x, exponent)),
            Activation::Sqrt => Some((x, 0.5)),
            Activation::Reciprocal => Some((x, -1.0)),
            _ => None,
        }
    }

    /// A value as a product, taken apart as far as nothing else reads its parts; `id` itself may be read by others.
    pub(super) fn product(&self, id: NodeId) -> Product {
        let mut product = Product { number: 1.0, factors: Vec::new(), inner: Vec::new() };
        self.take_apart(id, true, &mut product);
        product
    }

    fn take_apart(&self, id: NodeId, whole: bool, product: &mut Product) {
        if let Some(number) = self.number(id) {
            product.number *= number;
            return;
        }
        let is_inner = product.inner.len() < MOST_FACTORS
            && (whole || self.readers(id).is_some_and(|readers| readers.len() == 1));
        let (multiplied, divided) = (self.two(&Op::Mul, id), self.two(&Op::Div, id));
        let power = self.power(id).filter(|(_, exponent)| [2.0, 3.0].contains(exponent));
        let divisor = divided.and_then(|[_, b]| self.number(b));
        match (multiplied, divided.zip(divisor), power) {
            (Some(factors), ..) if is_inner => {
                product.inner.push(id);
                // A value that is multiplied by itself is read twice by one layer.
                factors.iter().for_each(|&factor| self.take_apart(factor, false, product));
            }
            (_, Some(([dividend, _], divisor)), _) if is_inner => {
                product.inner.push(id);
                product.number /= divisor;
                self.take_apart(dividend, false, product);
            }
            (_, _, Some((x, exponent))) if is_inner => {
                product.inner.push(id);
                product.factors.extend(vec![x; exponent as usize]);
            }
            _ => product.factors.push(id),
        }
    }

    /// A constant of other axes in front, all of length 1, or none, as numbers for axes of these lengths.
    pub(super) fn spread(&self, param: &Param, lens: &[usize]) -> Option<Param> {
        let dims = param.dims();
        let front = dims.len().saturating_sub(lens.len());
        if dims[..front].iter().any(|&len| len != 1) {
            return None;
        }
        let own = IxDyn(&dims[front..]);
        match param {
            Param::F32(array) => {
                let array = array.to_shape(own).ok()?;
                Some(array.broadcast(IxDyn(lens))?.to_owned().into())
            }
            Param::F64(array) => {
                let array = array.to_shape(own).ok()?;
                Some(array.broadcast(IxDyn(lens))?.to_owned().into())
            }
            Param::OnDevice(_) => None,
        }
    }

    /// One number for axes of these lengths, in the precision of the network's parameters.
    pub(super) fn filled(&self, number: f64, lens: &[usize]) -> Param {
        match self.graph.params().iter().any(|param| matches!(param, Param::F64(_))) {
            true => ArrayD::from_elem(lens, number).into(),
            false => ArrayD::from_elem(lens, number as f32).into(),
        }
    }
}

/// No pattern is a product of more layers than this, and no broken file makes us look at more.
const MOST_FACTORS: usize = 8;

/// Whether a number of a file is what it stands for, as exact as single precision has it.
pub(super) fn is(found: f64, exact: f64) -> bool {
    (found - exact).abs() <= f64::from(f32::EPSILON) * exact.abs()
}
