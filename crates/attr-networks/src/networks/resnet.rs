//! ResNet (He et al. 2015, arXiv 1512.03385) with the stride of a bottleneck at its 3x3 convolution; ResNeXt (Xie et al.
//! 2016, arXiv 1611.05431) and wide ResNet (Zagoruyko and Komodakis 2016, arXiv 1605.07146).

use attr_core::{NodeId, Op, Pool};

use crate::Result;
use crate::builder::{Builder, Convolution};

const EPSILON: f64 = 1e-5;

#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNet {
    /// How many blocks there are in each stage.
    blocks: [usize; 4],
    /// Of blocks that are bottlenecks: groups of the 3x3 convolution, and channels of each in the first stage.
    bottleneck: Option<(usize, usize)>,
}

impl ResNet {
    /// Blocks of two 3x3 convolutions.
    pub(super) const fn basic(blocks: [usize; 4]) -> Self {
        Self { blocks, bottleneck: None }
    }

    pub(super) const fn bottleneck(blocks: [usize; 4], groups: usize, width: usize) -> Self {
        Self { blocks, bottleneck: Some((groups, width)) }
    }

    pub(super) fn layers(self, net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
        let mut x = net.conv("conv1", Convolution::new(64, 7).stride(2), input)?;
        x = net.batch_norm("bn1", EPSILON, x)?;
        x = net.relu("relu", x)?;
        x = net.max_pool("maxpool", Pool { padding: vec![(1, 1); 2], ..Pool::square(3, 2) }, x)?;
        for (stage, blocks) in self.blocks.into_iter().enumerate() {
            let name = format!("layer{}", stage + 1);
            for i in 0..blocks {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                x = self.block(net, &format!("{name}.{i}"), 64 << stage, stride, x)?;
            }
            net.module(&name, x)?;
        }
        x = net.global_pool("avgpool", x)?;
        x = net.flatten(x)?;
        net.linear("fc", net.classes("fc"), x)
    }

    fn block(
        self,
        net: &mut Builder<'_>,
        path: &str,
        planes: usize,
        stride: usize,
        x: NodeId,
    ) -> Result<NodeId> {
        let convolutions = match self.bottleneck {
            None => vec![Convolution::new(planes, 3).stride(stride), Convolution::new(planes, 3)],
            Some((groups, width)) => {
                let inner = planes * width / 64 * groups;
                let middle = Convolution::new(inner, 3).stride(stride).groups(groups);
                vec![Convolution::new(inner, 1), middle, Convolution::new(4 * planes, 1)]
            }
        };
        let (last, channels) = (convolutions.len() - 1, convolutions[convolutions.len() - 1].channels);
        // One module serves all activations of a block.
        let relu = |i: usize| if i == 0 { format!("{path}.relu") } else { format!("{path}.relu_{i}") };
        let mut y = x;
        for (i, conv) in convolutions.into_iter().enumerate() {
            y = net.conv(&format!("{path}.conv{}", i + 1), conv, y)?;
            y = net.batch_norm(&format!("{path}.bn{}", i + 1), EPSILON, y)?;
            if i < last {
                y = net.relu(&relu(i), y)?;
            }
        }
        let past = match stride != 1 || net.channels(x) != channels {
            true => net.unit(
                &format!("{path}.downsample"),
                Convolution::new(channels, 1).stride(stride),
                EPSILON,
                None,
                x,
            )?,
            false => x,
        };
        y = net.layer(&format!("{path}.add"), Op::Add, &[y, past])?;
        y = net.relu(&relu(last), y)?;
        net.module(path, y)
    }
}
