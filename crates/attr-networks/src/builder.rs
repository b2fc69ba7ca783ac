//! A graph under construction: layers by the paths of their modules, each with the weights that are called by it.

use attr_core::{Activation, Conv, Graph, NodeId, Op, Param, ParamId, Pool, Shape};

use crate::error::{Mismatch, WrongShape};
use crate::{Error, Result, Weights};

/// The name of the input of every network.
pub(crate) const INPUT: &str = "input";

/// How many classes a network has where its weights don't say it: as many as ImageNet.
const CLASSES: usize = 1000;

/// A graph under construction.
///
/// What is wrong with weights is gathered and ends in one error: until then the shape that a weight should have stands
/// for it.
pub(crate) struct Builder<'a> {
    graph: Graph,
    /// None, where only their names and shapes are asked for.
    weights: Option<&'a Weights>,
    expected: Vec<(String, Vec<usize>)>,
    missing: Vec<String>,
    shapes: Vec<WrongShape>,
}

/// A convolution with the same attributes along both axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convolution {
    /// Output channels.
    pub(crate) channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: usize,
    pub(crate) bias: bool,
}

impl Convolution {
    /// Without bias, in one group, with stride 1 and the padding that keeps the size.
    pub(crate) fn new(channels: usize, kernel: usize) -> Self {
        Self { channels, kernel, stride: 1, padding: (kernel - 1) / 2, groups: 1, bias: false }
    }

    pub(crate) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub(crate) fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(crate) fn bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

impl<'a> Builder<'a> {
    /// A graph that reads pictures of this height and width.
    pub(crate) fn new(weights: Option<&'a Weights>, [height, width]: [usize; 2]) -> Result<(Self, NodeId)> {
        let mut graph = Graph::default();
        let input = graph.input(INPUT, &[3, height, width])?;
        let builder = Self { graph, weights, expected: Vec::new(), missing: Vec::new(), shapes: Vec::new() };
        Ok((builder, input))
    }

    /// The shape of a weight, if it is there.
    pub(crate) fn dims(&self, name: &str) -> Option<&[usize]> {
        Some(self.weights?.get(name)?.dims())
    }

    /// How many classes there are, by the last layer's weight.
    pub(crate) fn classes(&self, last: &str) -> usize {
        let dims = self.dims(&format!("{last}.weight"));
        dims.and_then(|dims| dims.first().copied()).unwrap_or(CLASSES)
    }

    /// The lengths of a layer's value behind the batch.
    pub(crate) fn row(&self, x: NodeId) -> Vec<usize> {
        self.graph.node(x).shape.at(1)[1..].to_vec()
    }

    /// How many channels a layer's value has.
    pub(crate) fn channels(&self, x: NodeId) -> usize {
        self.row(x)[0]
    }

    /// Adds a layer without weights.
    pub(crate) fn layer(&mut self, path: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId> {
        Ok(self.graph.add(path, op, inputs, &[])?)
    }

    /// Calls a layer by the path of a module that gives its value as well: one that ends with it, or does nothing.
    pub(crate) fn module(&mut self, path: &str, x: NodeId) -> Result<NodeId> {
        self.graph.also_called(x, path)?;
        Ok(x)
    }

    pub(crate) fn activation(&mut self, path: &str, activation: Activation, x: NodeId) -> Result<NodeId> {
        self.layer(path, Op::Activation(activation), &[x])
    }

    pub(crate) fn relu(&mut self, path: &str, x: NodeId) -> Result<NodeId> {
        self.activation(path, Activation::Relu, x)
    }

    pub(crate) fn max_pool(&mut self, path: &str, pool: Pool, x: NodeId) -> Result<NodeId> {
        self.layer(path, Op::MaxPool(pool), &[x])
    }

    /// The mean over each channel, `[B, C, 1, 1]`.
    pub(crate) fn global_pool(&mut self, path: &str, x: NodeId) -> Result<NodeId> {
        self.layer(path, Op::Mean { axes: vec![2, 3], keep: true }, &[x])
    }

    /// The means of `size` by `size` windows that cover the value, window `i` of an axis of length `n` from
    /// `floor(i n / size)` to `ceil((i + 1) n / size)`, as PyTorch's adaptive average pooling has them. Where their
    /// lengths differ, they are slices with a mean each.
    pub(crate) fn adaptive_pool(&mut self, path: &str, size: usize, x: NodeId) -> Result<NodeId> {
        let spatial = self.row(x)[1..].to_vec();
        if spatial.iter().all(|&n| n == size) {
            return self.layer(path, Op::Identity, &[x]);
        }
        if spatial.iter().all(|&n| n.is_multiple_of(size)) {
            let windows: Vec<_> = spatial.iter().map(|&n| n / size).collect();
            let pool = Pool { kernel: windows.clone(), stride: windows, ..Pool::square(1, 1) };
            return self.layer(path, Op::AveragePool { pool, count_include_pad: false }, &[x]);
        }
        let mut x = x;
        for (axis, name) in [(2, "rows"), (3, "columns")] {
            let len = spatial[axis - 2];
            if len != size {
                let mut means = Vec::new();
                for i in 0..size {
                    let (start, end) = (i * len / size, ((i + 1) * len).div_ceil(size));
                    let window = format!("{path}.{name}.{i}");
                    let part = self.layer(&window, Op::Slice { axis, start, len: end - start }, &[x])?;
                    let mean = Op::Mean { axes: vec![axis], keep: true };
                    means.push(self.layer(&format!("{window}.mean"), mean, &[part])?);
                }
                x = self.layer(&format!("{path}.{name}"), Op::Concat { axis }, &means)?;
            }
        }
        self.module(path, x)
    }

    /// The means of channels (`avgpool`), dropout, which does nothing, and a linear layer (`classifier`).
    pub(crate) fn pooled_classifier(&mut self, x: NodeId) -> Result<NodeId> {
        let x = self.global_pool("avgpool", x)?;
        let x = self.flatten(x)?;
        let classes = self.classes("classifier.1");
        let x = self.module("classifier.0", x)?;
        let x = self.linear("classifier.1", classes, x)?;
        self.module("classifier", x)
    }

    /// `[B, C * H * W]`
    pub(crate) fn flatten(&mut self, x: NodeId) -> Result<NodeId> {
        let shape = Shape::batched(&[self.row(x).iter().product()]);
        self.layer("flatten", Op::Reshape { shape }, &[x])
    }

    pub(crate) fn conv(&mut self, path: &str, conv: Convolution, x: NodeId) -> Result<NodeId> {
        let Convolution { channels, kernel, stride, padding, groups, bias } = conv;
        let weight = [channels, self.channels(x) / groups, kernel, kernel];
        let mut params = vec![self.param(path, "weight", &weight)];
        if bias {
            params.push(self.param(path, "bias", &[channels]));
        }
        let op = Op::Conv(Conv { groups, ..Conv::square(stride, padding) });
        Ok(self.graph.add(path, op, &[x], &params)?)
    }

    pub(crate) fn batch_norm(&mut self, path: &str, epsilon: f64, x: NodeId) -> Result<NodeId> {
        let channels = [self.channels(x)];
        let names = ["weight", "bias", "running_mean", "running_var"];
        let params = names.map(|name| self.param(path, name, &channels));
        Ok(self.graph.add(path, Op::BatchNorm { epsilon }, &[x], &params)?)
    }

    /// Over the last axis.
    pub(crate) fn layer_norm(&mut self, path: &str, epsilon: f64, x: NodeId) -> Result<NodeId> {
        let row = self.row(x);
        let params = ["weight", "bias"].map(|name| self.param(path, name, &row[row.len() - 1..]));
        Ok(self.graph.add(path, Op::LayerNorm { axis: row.len(), epsilon }, &[x], &params)?)
    }

    pub(crate) fn linear(&mut self, path: &str, features: usize, x: NodeId) -> Result<NodeId> {
        self.linear_of(path, [&format!("{path}.weight"), &format!("{path}.bias")], features, x)
    }

    /// A linear layer whose weight and bias have other names than its own.
    pub(crate) fn linear_of(
        &mut self,
        path: &str,
        [weight, bias]: [&str; 2],
        features: usize,
        x: NodeId,
    ) -> Result<NodeId> {
        let inputs = *self.row(x).last().expect("BUG: a linear layer reads features");
        let params = [self.param_of(weight, &[features, inputs]), self.param_of(bias, &[features])];
        Ok(self.graph.add(path, Op::Linear, &[x], &params)?)
    }

    /// A weight that is a value by itself, without a batch.
    pub(crate) fn constant(&mut self, path: &str, dims: &[usize]) -> Result<NodeId> {
        let param = self.param_of(path, dims);
        Ok(self.graph.add(path, Op::Constant, &[], &[param])?)
    }

    /// A convolution, its batch norm and perhaps an activation, as modules 0, 1 and 2.
    pub(crate) fn unit(
        &mut self,
        path: &str,
        conv: Convolution,
        epsilon: f64,
        activation: Option<Activation>,
        x: NodeId,
    ) -> Result<NodeId> {
        let mut x = self.conv(&format!("{path}.0"), conv, x)?;
        x = self.batch_norm(&format!("{path}.1"), epsilon, x)?;
        if let Some(activation) = activation {
            x = self.activation(&format!("{path}.2"), activation, x)?;
        }
        self.module(path, x)
    }

    /// The graph, if these were the weights of the network of this name.
    pub(crate) fn finish(mut self, network: &str, logits: NodeId) -> Result<Built> {
        let is_expected = |name: &&str| !self.expected.iter().any(|(expected, _)| expected == name);
        let unexpected = self.weights.map(|weights| weights.names().filter(is_expected)).into_iter();
        let unexpected: Vec<_> = unexpected.flatten().map(str::to_string).collect();
        if !(self.missing.is_empty() && unexpected.is_empty() && self.shapes.is_empty()) {
            let network = network.to_string();
            let mismatch = Mismatch { network, missing: self.missing, unexpected, shapes: self.shapes };
            return Err(Error::Weights(Box::new(mismatch)));
        }
        self.graph.set_outputs(&[logits])?;
        Ok(Built { graph: self.graph, weights: self.expected })
    }

    fn param(&mut self, path: &str, name: &str, dims: &[usize]) -> ParamId {
        self.param_of(&format!("{path}.{name}"), dims)
    }

    fn param_of(&mut self, name: &str, dims: &[usize]) -> ParamId {
        self.expected.push((name.to_string(), dims.to_vec()));
        let found = self.weights.map(|weights| weights.get(name));
        let param = match found {
            Some(Some(param)) if param.dims() == dims => Some(param.clone()),
            Some(Some(param)) => {
                let (expected, found) = (dims.to_vec(), param.dims().to_vec());
                self.shapes.push(WrongShape { name: name.to_string(), expected, found });
                None
            }
            Some(None) => {
                self.missing.push(name.to_string());
                None
            }
            None => None,
        };
        self.graph.param(param.unwrap_or_else(|| Param::OnDevice(dims.to_vec())))
    }
}

/// A finished graph, and the names and shapes of its weights in the order of its layers.
pub(crate) struct Built {
    pub(crate) graph: Graph,
    pub(crate) weights: Vec<(String, Vec<usize>)>,
}
