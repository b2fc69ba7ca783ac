//! SqueezeNet (Iandola et al. 2016, arXiv 1602.07360).

use attr_core::{NodeId, Op, Pool};

use crate::Result;
use crate::builder::{Builder, Convolution};

#[derive(Debug, Clone, Copy)]
pub(crate) struct SqueezeNet {
    /// Channels and kernel of the first convolution.
    first: (usize, usize),
    /// Before which of the eight fire modules a pooling is.
    pooled: [usize; 3],
}

/// Of each fire module the channels that it squeezes to, and half of those that it gives.
const FIRES: [(usize, usize); 8] =
    [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)];

impl SqueezeNet {
    pub(super) const V1_0: Self = Self { first: (96, 7), pooled: [0, 3, 7] };
    pub(super) const V1_1: Self = Self { first: (64, 3), pooled: [0, 2, 4] };

    pub(super) fn layers(self, net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
        let (channels, kernel) = self.first;
        let mut x =
            net.conv("features.0", Convolution::new(channels, kernel).stride(2).padding(0).bias(), input)?;
        x = net.relu("features.1", x)?;
        let mut modules = (2..).map(|i| format!("features.{i}"));
        let mut next = || modules.next().expect("BUG: there is no last number");
        for (i, (squeezed, expanded)) in FIRES.into_iter().enumerate() {
            if self.pooled.contains(&i) {
                x = net.max_pool(&next(), Pool { ceil: true, ..Pool::square(3, 2) }, x)?;
            }
            x = fire(net, &next(), squeezed, expanded, x)?;
        }
        net.module("features", x)?;
        let classes = net.classes("classifier.1");
        x = net.module("classifier.0", x)?;
        x = net.conv("classifier.1", Convolution::new(classes, 1).bias(), x)?;
        x = net.relu("classifier.2", x)?;
        x = net.global_pool("classifier.3", x)?;
        net.module("classifier", x)?;
        net.flatten(x)
    }
}

fn fire(net: &mut Builder<'_>, path: &str, squeezed: usize, expanded: usize, x: NodeId) -> Result<NodeId> {
    let mut active = |name: &str, channels: usize, kernel: usize, x: NodeId| {
        let y = net.conv(&format!("{path}.{name}"), Convolution::new(channels, kernel).bias(), x)?;
        net.relu(&format!("{path}.{name}_activation"), y)
    };
    let x = active("squeeze", squeezed, 1, x)?;
    let both = [active("expand1x1", expanded, 1, x)?, active("expand3x3", expanded, 3, x)?];
    let x = net.layer(&format!("{path}.cat"), Op::Concat { axis: 1 }, &both)?;
    net.module(path, x)
}
