//! VGG (Simonyan and Zisserman 2014, arXiv 1409.1556).

use attr_core::{NodeId, Pool};

use crate::Result;
use crate::builder::{Builder, Convolution};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Vgg {
    /// How many convolutions there are before each pooling.
    pub(crate) stages: [usize; 5],
    pub(crate) batch_norm: bool,
}

impl Vgg {
    pub(super) fn layers(self, net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
        let mut x = input;
        let mut modules = (0..).map(|i| format!("features.{i}"));
        let mut next = || modules.next().expect("BUG: there is no last number");
        for (convolutions, channels) in self.stages.into_iter().zip([64, 128, 256, 512, 512]) {
            for _ in 0..convolutions {
                x = net.conv(&next(), Convolution::new(channels, 3).bias(), x)?;
                if self.batch_norm {
                    x = net.batch_norm(&next(), 1e-5, x)?;
                }
                x = net.relu(&next(), x)?;
            }
            x = net.max_pool(&next(), Pool::square(2, 2), x)?;
        }
        net.module("features", x)?;
        x = net.adaptive_pool("avgpool", 7, x)?;
        x = net.flatten(x)?;
        let classes = net.classes("classifier.6");
        x = net.linear("classifier.0", 4096, x)?;
        x = net.relu("classifier.1", x)?;
        x = net.module("classifier.2", x)?;
        x = net.linear("classifier.3", 4096, x)?;
        x = net.relu("classifier.4", x)?;
        x = net.module("classifier.5", x)?;
        x = net.linear("classifier.6", classes, x)?;
        net.module("classifier", x)
    }
}
