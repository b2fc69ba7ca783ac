//! EfficientNet (Tan and Le 2019, arXiv 1905.11946).

use attr_core::{Activation, NodeId, Op};

use crate::Result;
use crate::builder::{Builder, Convolution};

#[derive(Debug, Clone, Copy)]
pub(crate) struct EfficientNet {
    /// What numbers of channels are multiplied by.
    pub(crate) width: f64,
    /// What numbers of blocks are multiplied by.
    pub(crate) depth: f64,
    /// The height and width that it was trained with.
    pub(crate) size: usize,
    /// Added to the variance in batch norms.
    pub(crate) epsilon: f64,
}

/// Stages: expansion, kernel, stride of the first block, output channels, blocks; table 1 of the paper.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

const SILU: Option<Activation> = Some(Activation::Silu);

/// What a block does besides its kernel.
struct Block {
    expansion: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
}

impl EfficientNet {
    pub(super) fn layers(self, net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
        let first = Convolution::new(self.channels(32), 3).stride(2);
        let mut x = net.unit("features.0", first, self.epsilon, SILU, input)?;
        for (stage, (expansion, kernel, first_stride, channels, blocks)) in STAGES.into_iter().enumerate() {
            let (name, channels) = (format!("features.{}", stage + 1), self.channels(channels));
            let blocks = (blocks as f64 * self.depth).ceil() as usize;
            for i in 0..blocks {
                let stride = if i == 0 { first_stride } else { 1 };
                let block = Block { expansion, kernel, stride, channels };
                x = self.block(net, &format!("{name}.{i}"), block, x)?;
            }
            net.module(&name, x)?;
        }
        let last = Convolution::new(4 * net.channels(x), 1);
        x = net.unit("features.8", last, self.epsilon, SILU, x)?;
        net.module("features", x)?;
        net.pooled_classifier(x)
    }

    /// So many times the width, as a multiple of 8 that is not less than nine tenths of it.
    fn channels(self, channels: usize) -> usize {
        let wanted = channels as f64 * self.width;
        let rounded = (((wanted + 4.0) as usize) / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * wanted { rounded + 8 } else { rounded }
    }

    fn block(self, net: &mut Builder<'_>, path: &str, block: Block, x: NodeId) -> Result<NodeId> {
        let Block { expansion, kernel, stride, channels } = block;
        let before = net.channels(x);
        let inner = before * expansion;
        let mut modules = (0..).map(|i| format!("{path}.block.{i}"));
        let mut next = || modules.next().expect("BUG: there is no last number");
        let mut y = x;
        if expansion > 1 {
            y = net.unit(&next(), Convolution::new(inner, 1), self.epsilon, SILU, y)?;
        }
        let depthwise = Convolution::new(inner, kernel).stride(stride).groups(inner);
        y = net.unit(&next(), depthwise, self.epsilon, SILU, y)?;
        y = squeeze_and_excite(net, &next(), (before / 4).max(1), y)?;
        y = net.unit(&next(), Convolution::new(channels, 1), self.epsilon, None, y)?;
        net.module(&format!("{path}.block"), y)?;
        if stride == 1 && before == channels {
            // Drops whole blocks while training.
            net.module(&format!("{path}.stochastic_depth"), y)?;
            y = net.layer(&format!("{path}.add"), Op::Add, &[y, x])?;
        }
        net.module(path, y)
    }
}

/// A factor for each channel, by a small network of their means (Hu et al. 2017, arXiv 1709.01507).
fn squeeze_and_excite(net: &mut Builder<'_>, path: &str, squeezed: usize, x: NodeId) -> Result<NodeId> {
    let channels = net.channels(x);
    let mut gate = net.global_pool(&format!("{path}.avgpool"), x)?;
    gate = net.conv(&format!("{path}.fc1"), Convolution::new(squeezed, 1).bias(), gate)?;
    gate = net.activation(&format!("{path}.activation"), Activation::Silu, gate)?;
    gate = net.conv(&format!("{path}.fc2"), Convolution::new(channels, 1).bias(), gate)?;
    gate = net.activation(&format!("{path}.scale_activation"), Activation::Sigmoid, gate)?;
    let x = net.layer(&format!("{path}.mul"), Op::Mul, &[gate, x])?;
    net.module(path, x)
}
