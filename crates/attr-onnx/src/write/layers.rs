//! Layers that are more than one operator with plain attributes.

use attr_core::{Activation, Comparison, Dim, Node, Shape};

use super::{Writer, float, int, ints, text, unwritable};
use crate::Result;
use crate::proto::TensorProto;

impl Writer<'_> {
    pub(super) fn activation(&mut self, node: &Node, activation: Activation) -> Result<()> {
        let (op_type, attributes) = match activation {
            Activation::Clip { min, max } => return self.clip(node, min, max),
            Activation::Power { exponent } => {
                let exponent = self.number(node, "exponent", exponent);
                return self.with_inputs("Pow", node, vec![exponent], Vec::new());
            }
            Activation::Silu => {
                let (x, gate) = (self.input(node, 0).name.clone(), self.unique(&node.name, "gate"));
                self.node("Sigmoid", &gate, vec![x.clone()], Vec::new());
                self.node("Mul", &node.name, vec![x, gate], Vec::new());
                return Ok(());
            }
            Activation::LeakyRelu { slope } => ("LeakyRelu", vec![float("alpha", slope)]),
            Activation::Elu { alpha } => ("Elu", vec![float("alpha", alpha)]),
            Activation::Celu { alpha } => ("Celu", vec![float("alpha", alpha)]),
            Activation::Selu { alpha, gamma } => ("Selu", vec![float("alpha", alpha), float("gamma", gamma)]),
            Activation::HardSigmoid { alpha, beta } => {
                ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)])
            }
            Activation::GeluTanh => ("Gelu", vec![text("approximate", "tanh")]),
            plain => (operator(plain, node)?, Vec::new()),
        };
        self.with_inputs(op_type, node, Vec::new(), attributes)
    }

    fn clip(&mut self, node: &Node, min: f64, max: f64) -> Result<()> {
        let min = if min == f64::NEG_INFINITY { String::new() } else { self.number(node, "min", min) };
        let max = if max == f64::INFINITY { String::new() } else { self.number(node, "max", max) };
        let mut bounds = vec![min, max];
        while bounds.last().is_some_and(String::is_empty) {
            bounds.pop();
        }
        self.with_inputs("Clip", node, bounds, Vec::new())
    }

    /// Truth values, and the numbers that they are here.
    pub(super) fn comparison(&mut self, node: &Node, comparison: Comparison) -> Result<()> {
        let op_type = match comparison {
            Comparison::Equal | Comparison::NotEqual => "Equal",
            Comparison::Greater => "Greater",
            Comparison::GreaterOrEqual => "GreaterOrEqual",
            Comparison::Less => "Less",
            Comparison::LessOrEqual => "LessOrEqual",
        };
        let inputs = (0..2).map(|i| self.input(node, i).name.clone()).collect();
        let mut holds = self.unique(&node.name, "holds");
        self.node(op_type, &holds, inputs, Vec::new());
        if comparison == Comparison::NotEqual {
            let not = self.unique(&node.name, "not");
            self.node("Not", &not, vec![holds], Vec::new());
            holds = not;
        }
        self.cast(&node.name, holds, self.float_type);
        Ok(())
    }

    pub(super) fn choice(&mut self, node: &Node) -> Result<()> {
        let condition = self.unique(&node.name, "condition");
        let [number, a, b] = [0, 1, 2].map(|i| self.input(node, i).name.clone());
        self.cast(&condition, number, TensorProto::BOOL);
        self.node("Where", &node.name, vec![condition, a, b], Vec::new());
        Ok(())
    }

    fn cast(&mut self, name: &str, x: String, to: i32) {
        self.node("Cast", name, vec![x], vec![int("to", to as usize)]);
    }

    /// Numbers of rows are whole in ONNX.
    pub(super) fn embedding(&mut self, node: &Node) -> Result<()> {
        let (x, rows) = (self.input(node, 0).name.clone(), self.unique(&node.name, "rows"));
        self.cast(&rows, x, TensorProto::INT64);
        let table = self.param(node, 0, "table", false);
        self.node("Gather", &node.name, vec![table, rows], vec![int("axis", 0)]);
        Ok(())
    }

    /// `softmax(scale q k^T + mask) v`, an operator each.
    pub(super) fn attention(&mut self, node: &Node, scale: f64) -> Result<()> {
        let rank = self.input(node, 0).shape.rank();
        let [q, k, v] = [0, 1, 2].map(|i| self.input(node, i).name.clone());
        let [turned, product, scaled, weights] =
            ["transposed", "product", "scaled", "weights"].map(|role| self.unique(&node.name, role));
        let order: Vec<_> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
        self.node("Transpose", &turned, vec![k], vec![ints("perm", &order)]);
        self.node("MatMul", &product, vec![q, turned], Vec::new());
        let factor = self.number(node, "scale", scale);
        self.node("Mul", &scaled, vec![product, factor], Vec::new());
        let mut scores = scaled;
        if node.inputs.len() > 3 {
            let masked = self.unique(&node.name, "masked");
            let mask = self.input(node, 3).name.clone();
            self.node("Add", &masked, vec![scores, mask], Vec::new());
            scores = masked;
        }
        self.node("Softmax", &weights, vec![scores], vec![int("axis", rank - 1)]);
        self.node("MatMul", &node.name, vec![weights, v], Vec::new());
        Ok(())
    }

    /// Where the value has the batch already, its length stays; where it has not, it is taken from the second input.
    pub(super) fn expand(&mut self, node: &Node, shape: &Shape) -> Result<()> {
        let target = |batch: i64| -> Vec<i64> {
            let dim = |dim: &Dim| if let Dim::Fixed(len) = dim { *len as i64 } else { batch };
            shape.0.iter().map(dim).collect()
        };
        let x = self.input(node, 0);
        let to = match shape.batch_axis() {
            Some(axis) if x.shape.batch_axis().is_none() => {
                if shape.0[axis] != Dim::Batch(1) {
                    return Err(unwritable(node, "an expansion to several rows for each of the batch"));
                }
                let (rows, to) = (self.unique(&node.name, "rows"), self.unique(&node.name, "to"));
                let like = self.input(node, 1).name.clone();
                self.node("Shape", &rows, vec![like], vec![int("start", 0), int("end", 1)]);
                let whole = target(1);
                let mut parts = Vec::new();
                for (role, part) in [("before", &whole[..axis]), ("after", &whole[axis + 1..])] {
                    if role == "after" {
                        parts.push(rows.clone());
                    }
                    if !part.is_empty() {
                        parts.push(self.integers(node, role, part));
                    }
                }
                self.node("Concat", &to, parts, vec![int("axis", 0)]);
                to
            }
            _ => self.integers(node, "to", &target(1)),
        };
        self.node("Expand", &node.name, vec![x.name.clone(), to], Vec::new());
        Ok(())
    }
}

/// The operators without attributes.
fn operator(activation: Activation, node: &Node) -> Result<&'static str> {
    Ok(match activation {
        Activation::Relu => "Relu",
        Activation::Sigmoid => "Sigmoid",
        Activation::Tanh => "Tanh",
        Activation::Softplus => "Softplus",
        Activation::Softsign => "Softsign",
        Activation::HardSwish => "HardSwish",
        Activation::Mish => "Mish",
        Activation::Gelu => "Gelu",
        Activation::Abs => "Abs",
        Activation::Exp => "Exp",
        Activation::Log => "Log",
        Activation::Sqrt => "Sqrt",
        Activation::Reciprocal => "Reciprocal",
        Activation::Erf => "Erf",
        Activation::Neg => "Neg",
        Activation::Floor => "Floor",
        Activation::Ceil => "Ceil",
        Activation::Round => "Round",
        Activation::Sign => "Sign",
        Activation::Sin => "Sin",
        Activation::Cos => "Cos",
        _ => return Err(unwritable(node, "an activation that ONNX has no operator for")),
    })
}
