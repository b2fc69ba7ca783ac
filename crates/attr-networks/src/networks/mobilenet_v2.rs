//! MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381).

use attr_core::{Activation, NodeId, Op};

use crate::Result;
use crate::builder::{Builder, Convolution};

const EPSILON: f64 = 1e-5;
const RELU6: Option<Activation> = Some(Activation::Clip { min: 0.0, max: 6.0 });

pub(super) fn layers(net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
    let mut x = net.unit("features.0", Convolution::new(32, 3).stride(2), EPSILON, RELU6, input)?;
    let mut module = 1;
    // Stages: expansion, output channels, blocks, stride of the first block; table 2 of the paper.
    for (expansion, channels, blocks, first_stride) in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ] {
        for i in 0..blocks {
            let stride = if i == 0 { first_stride } else { 1 };
            x = block(net, &format!("features.{module}"), expansion, channels, stride, x)?;
            module += 1;
        }
    }
    x = net.unit(&format!("features.{module}"), Convolution::new(1280, 1), EPSILON, RELU6, x)?;
    net.module("features", x)?;
    net.pooled_classifier(x)
}

fn block(
    net: &mut Builder<'_>,
    path: &str,
    expansion: usize,
    channels: usize,
    stride: usize,
    x: NodeId,
) -> Result<NodeId> {
    let before = net.channels(x);
    let inner = before * expansion;
    let mut modules = (0..).map(|i| format!("{path}.conv.{i}"));
    let mut next = || modules.next().expect("BUG: there is no last number");
    let mut y = x;
    if expansion > 1 {
        y = net.unit(&next(), Convolution::new(inner, 1), EPSILON, RELU6, y)?;
    }
    y = net.unit(&next(), Convolution::new(inner, 3).stride(stride).groups(inner), EPSILON, RELU6, y)?;
    y = net.conv(&next(), Convolution::new(channels, 1), y)?;
    y = net.batch_norm(&next(), EPSILON, y)?;
    net.module(&format!("{path}.conv"), y)?;
    if stride == 1 && before == channels {
        y = net.layer(&format!("{path}.add"), Op::Add, &[x, y])?;
    }
    net.module(path, y)
}
