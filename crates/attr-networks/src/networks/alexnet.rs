//! AlexNet as in Krizhevsky 2014, arXiv 1404.5997: one column, no local response norm.

use attr_core::{NodeId, Pool};

use crate::Result;
use crate::builder::{Builder, Convolution};

pub(super) fn layers(net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
    let mut x = input;
    // Of each convolution its module's number, channels, kernel, stride, padding, and whether a pooling is behind it.
    for (i, channels, kernel, stride, padding, pooled) in [
        (0, 64, 11, 4, 2, true),
        (3, 192, 5, 1, 2, true),
        (6, 384, 3, 1, 1, false),
        (8, 256, 3, 1, 1, false),
        (10, 256, 3, 1, 1, true),
    ] {
        let conv = Convolution::new(channels, kernel).stride(stride).padding(padding).bias();
        x = net.conv(&format!("features.{i}"), conv, x)?;
        x = net.relu(&format!("features.{}", i + 1), x)?;
        if pooled {
            x = net.max_pool(&format!("features.{}", i + 2), Pool::square(3, 2), x)?;
        }
    }
    net.module("features", x)?;
    x = net.adaptive_pool("avgpool", 6, x)?;
    x = net.flatten(x)?;
    let classes = net.classes("classifier.6");
    x = net.module("classifier.0", x)?;
    x = net.linear("classifier.1", 4096, x)?;
    x = net.relu("classifier.2", x)?;
    x = net.module("classifier.3", x)?;
    x = net.linear("classifier.4", 4096, x)?;
    x = net.relu("classifier.5", x)?;
    x = net.linear("classifier.6", classes, x)?;
    net.module("classifier", x)
}
