//! The vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929).

use attr_core::{Activation, NodeId, Op, Shape};

use crate::builder::{Builder, Convolution};
use crate::{Error, Result, Weights};

const EPSILON: f64 = 1e-6;

/// The side of the pictures where the weights don't say it.
const SIDE: usize = 224;

const POSITIONS: &str = "encoder.pos_embedding";

#[derive(Debug, Clone, Copy)]
pub(crate) struct VisionTransformer {
    /// The side of a patch.
    patch: usize,
    blocks: usize,
    heads: usize,
    width: usize,
}

impl VisionTransformer {
    pub(super) const fn base(patch: usize) -> Self {
        Self { patch, blocks: 12, heads: 12, width: 768 }
    }

    pub(super) const fn large(patch: usize) -> Self {
        Self { patch, blocks: 24, heads: 16, width: 1024 }
    }

    pub(super) const fn huge(patch: usize) -> Self {
        Self { patch, blocks: 32, heads: 16, width: 1280 }
    }

    /// The size of the square picture that has a patch for each position that was learnt, but for the class token.
    pub(super) fn size(self, weights: Option<&Weights>) -> Result<[usize; 2]> {
        let dims = weights.and_then(|weights| weights.get(POSITIONS)).map(|positions| positions.dims());
        // What else is wrong with its shape is said together with all other shapes.
        let Some(&[1, positions, _]) = dims else { return Ok([SIDE; 2]) };
        let side = positions.saturating_sub(1).isqrt();
        if side == 0 || side.saturating_mul(side) + 1 != positions {
            let reason = format!(
                "{POSITIONS} has {positions} positions, which are a class token and no square of patches: \
                 expected a size to be given"
            );
            return Err(attr_core::Error::graph(POSITIONS, reason).into());
        }
        Ok([side.saturating_mul(self.patch); 2])
    }

    pub(super) fn layers(self, net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
        let (patch, width) = (self.patch, self.width);
        let size = &net.row(input)[1..];
        if size.iter().any(|side| !side.is_multiple_of(patch)) {
            let expected = format!("multiples of {patch}");
            return Err(Error::Size { expected, found: [size[0], size[1]] });
        }
        let patches = Convolution { stride: patch, padding: 0, ..Convolution::new(width, patch) };
        let mut x = net.conv("conv_proj", patches.bias(), input)?;
        let tokens = net.row(x)[1..].iter().product();
        x = net.layer("reshape", Op::Reshape { shape: Shape::batched(&[width, tokens]) }, &[x])?;
        x = net.layer("permute", Op::Transpose { axes: vec![0, 2, 1] }, &[x])?;
        let class = net.constant("class_token", &[1, 1, width])?;
        let class = net.layer("expand", Op::Expand { shape: Shape::batched(&[1, width]) }, &[class, x])?;
        x = net.layer("cat", Op::Concat { axis: 1 }, &[class, x])?;
        let positions = net.constant(POSITIONS, &[1, tokens + 1, width])?;
        x = net.layer("encoder.add", Op::Add, &[x, positions])?;
        x = net.module("encoder.dropout", x)?;
        for i in 0..self.blocks {
            x = self.block(net, &format!("encoder.layers.encoder_layer_{i}"), x)?;
        }
        net.module("encoder.layers", x)?;
        x = net.layer_norm("encoder.ln", EPSILON, x)?;
        net.module("encoder", x)?;
        x = net.layer("select", Op::Slice { axis: 1, start: 0, len: 1 }, &[x])?;
        x = net.layer("squeeze", Op::Reshape { shape: Shape::batched(&[width]) }, &[x])?;
        x = net.linear("heads.head", net.classes("heads.head"), x)?;
        net.module("heads", x)
    }

    fn block(self, net: &mut Builder<'_>, path: &str, x: NodeId) -> Result<NodeId> {
        let mut y = net.layer_norm(&format!("{path}.ln_1"), EPSILON, x)?;
        y = self.attention(net, &format!("{path}.self_attention"), y)?;
        net.module(&format!("{path}.dropout"), y)?;
        let x = net.layer(&format!("{path}.add"), Op::Add, &[y, x])?;
        y = net.layer_norm(&format!("{path}.ln_2"), EPSILON, x)?;
        y = self.mlp(net, &format!("{path}.mlp"), y)?;
        y = net.layer(&format!("{path}.add_1"), Op::Add, &[x, y])?;
        net.module(path, y)
    }

    fn attention(self, net: &mut Builder<'_>, path: &str, x: NodeId) -> Result<NodeId> {
        let (width, heads, tokens) = (self.width, self.heads, net.row(x)[0]);
        let depth = width / heads;
        let names = ["weight", "bias"].map(|name| format!("{path}.in_proj_{name}"));
        let all =
            net.linear_of(&format!("{path}.in_proj"), names.each_ref().map(String::as_str), 3 * width, x)?;
        let mut parts = Vec::new();
        for (i, name) in ["query", "key", "value"].into_iter().enumerate() {
            let path = format!("{path}.{name}");
            let mut part = net.layer(&path, Op::Slice { axis: 2, start: i * width, len: width }, &[all])?;
            let shape = Shape::batched(&[tokens, heads, depth]);
            part = net.layer(&format!("{path}.reshape"), Op::Reshape { shape }, &[part])?;
            let axes = vec![0, 2, 1, 3];
            parts.push(net.layer(&format!("{path}.heads"), Op::Transpose { axes }, &[part])?);
        }
        let scale = 1.0 / (depth as f64).sqrt();
        let mut y = net.layer(&format!("{path}.attention"), Op::Attention { scale }, &parts)?;
        y = net.layer(&format!("{path}.permute"), Op::Transpose { axes: vec![0, 2, 1, 3] }, &[y])?;
        let shape = Shape::batched(&[tokens, width]);
        y = net.layer(&format!("{path}.reshape"), Op::Reshape { shape }, &[y])?;
        y = net.linear(&format!("{path}.out_proj"), width, y)?;
        net.module(path, y)
    }

    /// Weights that were published before torchvision 0.13 call its two layers `linear_1` and `linear_2`.
    fn mlp(self, net: &mut Builder<'_>, path: &str, x: NodeId) -> Result<NodeId> {
        let is_older = net.dims(&format!("{path}.linear_1.weight")).is_some();
        let names = |module: &str, older: &str| {
            let module = if is_older { older } else { module };
            ["weight", "bias"].map(|name| format!("{path}.{module}.{name}"))
        };
        let (first, second) = (names("0", "linear_1"), names("3", "linear_2"));
        let mut y =
            net.linear_of(&format!("{path}.0"), first.each_ref().map(String::as_str), 4 * self.width, x)?;
        y = net.activation(&format!("{path}.1"), Activation::Gelu, y)?;
        y = net.module(&format!("{path}.2"), y)?;
        y = net.linear_of(&format!("{path}.3"), second.each_ref().map(String::as_str), self.width, y)?;
        net.module(&format!("{path}.4"), y)?;
        net.module(path, y)
    }
}
