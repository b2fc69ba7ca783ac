//! Small networks of the kinds that are met in practice, with seeded weights.

use attr_core::{Activation, Conv, ConvTranspose, Graph, NodeId, Op, Pool, Shape};
use ndarray::ArrayD;

use super::build::Build;
use crate::adapter::Case;
use crate::sampling::{positive, uniform};

/// A kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Two hidden layers, without any kink.
    Smooth,
    /// Two hidden layers, relu and tanh.
    Mlp,
    /// Convolutions and max pooling.
    Plain,
    /// Batch norm, depthwise and grouped convolutions, average pooling.
    BatchNorm,
    /// Residual blocks.
    Residual,
    /// Down and up again, with a connection at full size beside it.
    UNet,
    /// Patches, a class token, attention with and without a mask.
    Transformer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Smooth,
        Kind::Mlp,
        Kind::Plain,
        Kind::BatchNorm,
        Kind::Residual,
        Kind::UNet,
        Kind::Transformer,
    ];

    /// The name, the network of a seed, and a layer through which all ways from input to output lead.
    fn parts(self) -> (&'static str, fn(u64) -> Graph, &'static str) {
        match self {
            Kind::Smooth => ("smooth mlp", smooth, "tanh"),
            Kind::Mlp => ("mlp", mlp, "relu"),
            Kind::Plain => ("plain cnn", plain, "pool1"),
            Kind::BatchNorm => ("batch-norm cnn", batch_norm, "relu1"),
            Kind::Residual => ("residual cnn", residual, "block1/relu2"),
            Kind::UNet => ("u-net", u_net, "merged/conv"),
            Kind::Transformer => ("transformer", transformer, "block1/sum2"),
        }
    }
}

/// A network with seeded weights and inputs.
#[derive(Debug, Clone)]
pub struct RandomNetwork {
    /// The kind of network and the seed.
    pub name: String,
    /// The kind of network.
    pub kind: Kind,
    /// The network.
    pub graph: Graph,
    /// A layer through which all ways from input to output lead.
    pub middle: &'static str,
    /// The seed that its weights and inputs come from.
    pub seed: u64,
}

impl Case for RandomNetwork {
    fn name(&self) -> &str {
        &self.name
    }
}

impl RandomNetwork {
    /// The network of a kind that belongs to a seed.
    pub fn new(kind: Kind, seed: u64) -> Self {
        let (name, make, middle) = kind.parts();
        RandomNetwork { name: format!("{name}, seed {seed}"), kind, graph: make(seed), middle, seed }
    }

    /// A batch of inputs, drawn evenly from -1 to 1.
    pub fn inputs(&self, rows: usize) -> Vec<ArrayD<f64>> {
        let dims = self.graph.inputs().iter().map(|&id| self.graph.node(id).shape.at(rows));
        dims.enumerate().map(|(i, dims)| uniform(&dims, self.seed + 1000 + i as u64)).collect()
    }
}

/// Every kind of network with two seeds each.
pub fn random_networks() -> Vec<RandomNetwork> {
    Kind::ALL.into_iter().flat_map(|kind| [1, 2].map(|seed| RandomNetwork::new(kind, seed))).collect()
}

/// Two hidden layers, tanh and softplus.
fn smooth(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[5]);
    let fc1 = net.linear("fc1", x, 7);
    let tanh = net.build.layer("tanh", Op::Activation(Activation::Tanh), &[fc1], &[]);
    let fc2 = net.linear("fc2", tanh, 6);
    let softplus = net.build.layer("softplus", Op::Activation(Activation::Softplus), &[fc2], &[]);
    let logits = net.linear("logits", softplus, 3);
    net.softmax(logits)
}

/// Two hidden layers, relu and tanh.
fn mlp(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[6]);
    let fc1 = net.linear("fc1", x, 8);
    let relu = net.relu("relu", fc1);
    let fc2 = net.linear("fc2", relu, 5);
    let tanh = net.build.layer("tanh", Op::Activation(Activation::Tanh), &[fc2], &[]);
    let logits = net.linear("logits", tanh, 3);
    net.softmax(logits)
}

/// Two convolutions with max pooling between them, as LeNet and VGG are made.
fn plain(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[2, 8, 8]);
    let conv1 = net.conv("conv1", x, 4, 3, Conv::square(1, 1));
    let relu1 = net.relu("relu1", conv1);
    let pool1 = net.build.layer("pool1", Op::MaxPool(Pool::square(2, 2)), &[relu1], &[]);
    let conv2 = net.conv("conv2", pool1, 3, 3, Conv::square(1, 0));
    let relu2 = net.relu("relu2", conv2);
    let flat = net.flatten(relu2);
    let fc1 = net.linear("fc1", flat, 6);
    let relu3 = net.relu("relu3", fc1);
    let logits = net.linear("logits", relu3, 4);
    net.softmax(logits)
}

/// Batch norm, a depthwise and a grouped convolution, relu6, average pooling, a global mean: as MobileNet
/// is made.
fn batch_norm(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[3, 7, 7]);
    let conv1 = net.conv("conv1", x, 4, 3, Conv::square(2, 1));
    let bn1 = net.batch_norm("bn1", conv1);
    let relu1 =
        net.build.layer("relu1", Op::Activation(Activation::Clip { min: 0.0, max: 0.5 }), &[bn1], &[]);
    let depthwise = net.conv("depthwise", relu1, 4, 3, Conv { groups: 4, ..Conv::square(1, 1) });
    let bn2 = net.batch_norm("bn2", depthwise);
    let relu2 = net.relu("relu2", bn2);
    let grouped = net.conv("grouped", relu2, 6, 1, Conv { groups: 2, ..Conv::square(1, 0) });
    let pool = Op::AveragePool { pool: Pool::square(2, 1), count_include_pad: false };
    let pool = net.build.layer("pool", pool, &[grouped], &[]);
    let relu3 = net.relu("relu3", pool);
    let mean = net.build.layer("mean", Op::Mean { axes: vec![2, 3], keep: false }, &[relu3], &[]);
    let logits = net.linear("logits", mean, 4);
    net.softmax(logits)
}

/// A 3 x 3 max pooling of stride 2 and two residual blocks, one with a projection: as ResNet is made.
fn residual(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[2, 9, 9]);
    let conv1 = net.conv("conv1", x, 3, 3, Conv::square(1, 1));
    let bn1 = net.batch_norm("bn1", conv1);
    let relu1 = net.relu("relu1", bn1);
    let pool = Pool { padding: vec![(1, 1); 2], ..Pool::square(3, 2) };
    let pool = net.build.layer("pool", Op::MaxPool(pool), &[relu1], &[]);
    let block1 = net.block("block1", pool, 3, 1);
    let block2 = net.block("block2", block1, 4, 2);
    let mean = net.build.layer("mean", Op::Mean { axes: vec![2, 3], keep: true }, &[block2], &[]);
    let flat = net.flatten(mean);
    let logits = net.linear("logits", flat, 4);
    net.softmax(logits)
}

/// One level down by max pooling and up again by a transposed convolution, which meets what was there before
/// (Ronneberger et al. 2015, arXiv 1505.04597); then classes instead of a map.
fn u_net(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[2, 8, 8]);
    let conv = net.conv("full/conv", x, 3, 3, Conv::square(1, 1));
    let bn = net.batch_norm("full/bn", conv);
    let full = net.relu("full/relu", bn);
    let pool = net.build.layer("half/pool", Op::MaxPool(Pool::square(2, 2)), &[full], &[]);
    let conv = net.conv("half/conv", pool, 4, 3, Conv::square(1, 1));
    let half = net.relu("half/relu", conv);
    let up = net.doubled("up", half, 3);
    let both = net.build.layer("merged/concat", Op::Concat { axis: 1 }, &[full, up], &[]);
    let conv = net.conv("merged/conv", both, 4, 3, Conv::square(1, 1));
    let merged = net.relu("merged/relu", conv);
    let mean = net.build.layer("mean", Op::Mean { axes: vec![2, 3], keep: false }, &[merged], &[]);
    let logits = net.linear("logits", mean, 4);
    net.softmax(logits)
}

/// Patches and a class token with their places, and two blocks of attention and a perceptron, each behind a layer norm
/// (Dosovitskiy et al. 2020, arXiv 2010.11929); group norm behind the patches, and a mask in the second block.
fn transformer(seed: u64) -> Graph {
    let mut net = Weights::new(seed);
    let x = net.build.input("x", &[2, 6, 6]);
    let patches = net.conv("patches", x, WIDTH, 3, Conv::square(3, 0));
    let norm = [positive(&[WIDTH], net.next()), net.bias(WIDTH)];
    let norm = net.build.layer("norm", Op::GroupNorm { groups: 2, epsilon: 1e-5 }, &[patches], &norm);
    let rows = net.reshape("rows", norm, &[WIDTH, TOKENS - 1]);
    let tokens = net.build.layer("tokens", Op::Transpose { axes: vec![0, 2, 1] }, &[rows], &[]);
    let class = uniform(&[1, 1, WIDTH], net.next());
    let class = net.build.constant("class", class);
    let class =
        net.build.layer("class/expand", Op::Expand { shape: Shape::batched(&[1, WIDTH]) }, &[class, x], &[]);
    let all = net.build.layer("concat", Op::Concat { axis: 1 }, &[class, tokens], &[]);
    let places = uniform(&[1, TOKENS, WIDTH], net.next());
    let places = net.build.constant("places", places);
    let placed = net.build.layer("placed", Op::Add, &[all, places], &[]);
    // As large as masks are that leave a token out.
    let mask = uniform(&[1, 1, TOKENS, TOKENS], net.next()).mapv(|m| if m > 0.7 { -1e9 } else { m });
    let mask = net.build.constant("mask", mask);
    let block1 = net.transformer_block("block1", placed, None);
    let block2 = net.transformer_block("block2", block1, Some(mask));
    let norm = net.layer_norm("last/norm", block2);
    let first = net.build.layer("first", Op::Slice { axis: 1, start: 0, len: 1 }, &[norm], &[]);
    let flat = net.reshape("flat", first, &[WIDTH]);
    let logits = net.linear("logits", flat, 4);
    net.softmax(logits)
}

/// How many numbers the transformer has for each token.
const WIDTH: usize = 8;
/// How many tokens it has.
const TOKENS: usize = 5;
/// How many heads.
const HEADS: usize = 2;

/// A graph being written down, and where its weights come from.
struct Weights {
    build: Build,
    seed: u64,
    drawn: u64,
}

impl Weights {
    fn new(seed: u64) -> Self {
        Weights { build: Build::default(), seed, drawn: 0 }
    }

    /// The seed of the next parameter.
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        self.seed * 100 + self.drawn
    }

    /// Weights of a size that keeps values around one from layer to layer, exact in single precision.
    fn weight(&mut self, dims: &[usize]) -> ArrayD<f64> {
        let inner: usize = dims[1..].iter().product();
        let size = (6.0 / inner as f64).sqrt();
        uniform(dims, self.next()).mapv(|w| f64::from((w * size) as f32))
    }

    fn bias(&mut self, len: usize) -> ArrayD<f64> {
        uniform(&[len], self.next()).mapv(|b| b / 4.0)
    }

    fn linear(&mut self, name: &str, x: NodeId, out: usize) -> NodeId {
        let inner = *self.build.row(x).last().expect("BUG: a row without axes");
        let params = [self.weight(&[out, inner]), self.bias(out)];
        self.build.layer(name, Op::Linear, &[x], &params)
    }

    fn conv(&mut self, name: &str, x: NodeId, out: usize, kernel: usize, conv: Conv) -> NodeId {
        let channels = self.build.row(x)[0] / conv.groups;
        let params = [self.weight(&[out, channels, kernel, kernel]), self.bias(out)];
        self.build.layer(name, Op::Conv(conv), &[x], &params)
    }

    /// A transposed convolution to twice the size: each entry becomes a square.
    fn doubled(&mut self, name: &str, x: NodeId, out: usize) -> NodeId {
        let op = ConvTranspose { conv: Conv::square(2, 0), output_padding: vec![0; 2] };
        let params = [self.weight(&[self.build.row(x)[0], out, 2, 2]), self.bias(out)];
        self.build.layer(name, Op::ConvTranspose(op), &[x], &params)
    }

    fn batch_norm(&mut self, name: &str, x: NodeId) -> NodeId {
        let channels = self.build.row(x)[0];
        let params = [
            positive(&[channels], self.next()),
            self.bias(channels),
            self.bias(channels),
            positive(&[channels], self.next()),
        ];
        self.build.layer(name, Op::BatchNorm { epsilon: 1e-5 }, &[x], &params)
    }

    fn relu(&mut self, name: &str, x: NodeId) -> NodeId {
        self.build.relu(name, x)
    }

    fn flatten(&mut self, x: NodeId) -> NodeId {
        let len = self.build.row(x).iter().product();
        self.build.layer("flat", Op::Reshape { shape: Shape::batched(&[len]) }, &[x], &[])
    }

    fn block(&mut self, name: &str, x: NodeId, out: usize, stride: usize) -> NodeId {
        let conv1 = self.conv(&format!("{name}/conv1"), x, out, 3, Conv::square(stride, 1));
        let bn1 = self.batch_norm(&format!("{name}/bn1"), conv1);
        let relu1 = self.relu(&format!("{name}/relu1"), bn1);
        let conv2 = self.conv(&format!("{name}/conv2"), relu1, out, 3, Conv::square(1, 1));
        let bn2 = self.batch_norm(&format!("{name}/bn2"), conv2);
        let skip = match self.build.row(x) == self.build.row(bn2) {
            true => x,
            false => self.conv(&format!("{name}/projection"), x, out, 1, Conv::square(stride, 0)),
        };
        let sum = self.build.layer(&format!("{name}/sum"), Op::Add, &[bn2, skip], &[]);
        self.relu(&format!("{name}/relu2"), sum)
    }

    fn reshape(&mut self, name: &str, x: NodeId, row: &[usize]) -> NodeId {
        self.build.layer(name, Op::Reshape { shape: Shape::batched(row) }, &[x], &[])
    }

    fn layer_norm(&mut self, name: &str, x: NodeId) -> NodeId {
        let params = [positive(&[WIDTH], self.next()), self.bias(WIDTH)];
        self.build.layer(name, Op::LayerNorm { axis: 2, epsilon: 1e-6 }, &[x], &params)
    }

    /// The queries, keys or values of all heads.
    fn heads(&mut self, name: &str, x: NodeId) -> NodeId {
        let all = self.linear(name, x, WIDTH);
        let split = self.reshape(&format!("{name}/split"), all, &[TOKENS, HEADS, WIDTH / HEADS]);
        let axes = vec![0, 2, 1, 3];
        self.build.layer(&format!("{name}/heads"), Op::Transpose { axes }, &[split], &[])
    }

    fn transformer_block(&mut self, name: &str, x: NodeId, mask: Option<NodeId>) -> NodeId {
        let norm = self.layer_norm(&format!("{name}/norm1"), x);
        let mut inputs: Vec<_> =
            ["q", "k", "v"].map(|part| self.heads(&format!("{name}/{part}"), norm)).into();
        inputs.extend(mask);
        let attention =
            self.build.layer(&format!("{name}/attention"), Op::Attention { scale: 0.5 }, &inputs, &[]);
        let axes = vec![0, 2, 1, 3];
        let joined = self.build.layer(&format!("{name}/tokens"), Op::Transpose { axes }, &[attention], &[]);
        let joined = self.reshape(&format!("{name}/join"), joined, &[TOKENS, WIDTH]);
        let projection = self.linear(&format!("{name}/projection"), joined, WIDTH);
        let sum = self.build.layer(&format!("{name}/sum1"), Op::Add, &[projection, x], &[]);
        let norm = self.layer_norm(&format!("{name}/norm2"), sum);
        let fc1 = self.linear(&format!("{name}/fc1"), norm, 12);
        let gelu = self.build.layer(&format!("{name}/gelu"), Op::Activation(Activation::Gelu), &[fc1], &[]);
        let fc2 = self.linear(&format!("{name}/fc2"), gelu, WIDTH);
        self.build.layer(&format!("{name}/sum2"), Op::Add, &[fc2, sum], &[])
    }

    /// The end: probabilities, below which the logits are to be found.
    fn softmax(mut self, logits: NodeId) -> Graph {
        let softmax = self.build.layer("softmax", Op::Softmax { axis: 1 }, &[logits], &[]);
        self.build.outputs(&[softmax])
    }
}
