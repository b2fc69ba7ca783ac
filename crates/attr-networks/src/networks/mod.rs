//! The networks by name: each is a plan with numbers.

mod alexnet;
mod efficientnet;
mod mobilenet_v2;
mod resnet;
mod squeezenet;
mod vgg;
mod vit;

use attr_core::NodeId;

use crate::builder::{Builder, Built};
use crate::{Options, Result, Weights};

use efficientnet::EfficientNet;
use resnet::ResNet;
use squeezenet::SqueezeNet;
use vgg::Vgg;
use vit::VisionTransformer;

/// What a network is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    AlexNet,
    Vgg(Vgg),
    ResNet(ResNet),
    SqueezeNet(SqueezeNet),
    MobileNetV2,
    EfficientNet(EfficientNet),
    VisionTransformer(VisionTransformer),
}

/// All networks, as torchvision calls them.
pub(crate) const NETWORKS: &[(&str, Plan)] = &[
    ("alexnet", Plan::AlexNet),
    ("vgg11", Plan::Vgg(Vgg { stages: [1, 1, 2, 2, 2], batch_norm: false })),
    ("vgg11_bn", Plan::Vgg(Vgg { stages: [1, 1, 2, 2, 2], batch_norm: true })),
    ("vgg13", Plan::Vgg(Vgg { stages: [2, 2, 2, 2, 2], batch_norm: false })),
    ("vgg13_bn", Plan::Vgg(Vgg { stages: [2, 2, 2, 2, 2], batch_norm: true })),
    ("vgg16", Plan::Vgg(Vgg { stages: [2, 2, 3, 3, 3], batch_norm: false })),
    ("vgg16_bn", Plan::Vgg(Vgg { stages: [2, 2, 3, 3, 3], batch_norm: true })),
    ("vgg19", Plan::Vgg(Vgg { stages: [2, 2, 4, 4, 4], batch_norm: false })),
    ("vgg19_bn", Plan::Vgg(Vgg { stages: [2, 2, 4, 4, 4], batch_norm: true })),
    ("resnet18", Plan::ResNet(ResNet::basic([2, 2, 2, 2]))),
    ("resnet34", Plan::ResNet(ResNet::basic([3, 4, 6, 3]))),
    ("resnet50", Plan::ResNet(ResNet::bottleneck([3, 4, 6, 3], 1, 64))),
    ("resnet101", Plan::ResNet(ResNet::bottleneck([3, 4, 23, 3], 1, 64))),
    ("resnet152", Plan::ResNet(ResNet::bottleneck([3, 8, 36, 3], 1, 64))),
    ("resnext50_32x4d", Plan::ResNet(ResNet::bottleneck([3, 4, 6, 3], 32, 4))),
    ("resnext101_32x8d", Plan::ResNet(ResNet::bottleneck([3, 4, 23, 3], 32, 8))),
    ("resnext101_64x4d", Plan::ResNet(ResNet::bottleneck([3, 4, 23, 3], 64, 4))),
    ("wide_resnet50_2", Plan::ResNet(ResNet::bottleneck([3, 4, 6, 3], 1, 128))),
    ("wide_resnet101_2", Plan::ResNet(ResNet::bottleneck([3, 4, 23, 3], 1, 128))),
    ("squeezenet1_0", Plan::SqueezeNet(SqueezeNet::V1_0)),
    ("squeezenet1_1", Plan::SqueezeNet(SqueezeNet::V1_1)),
    ("mobilenet_v2", Plan::MobileNetV2),
    (
        "efficientnet_b0",
        Plan::EfficientNet(EfficientNet { width: 1.0, depth: 1.0, size: 224, epsilon: 1e-5 }),
    ),
    (
        "efficientnet_b1",
        Plan::EfficientNet(EfficientNet { width: 1.0, depth: 1.1, size: 240, epsilon: 1e-5 }),
    ),
    (
        "efficientnet_b2",
        Plan::EfficientNet(EfficientNet { width: 1.1, depth: 1.2, size: 288, epsilon: 1e-5 }),
    ),
    (
        "efficientnet_b3",
        Plan::EfficientNet(EfficientNet { width: 1.2, depth: 1.4, size: 300, epsilon: 1e-5 }),
    ),
    (
        "efficientnet_b4",
        Plan::EfficientNet(EfficientNet { width: 1.4, depth: 1.8, size: 380, epsilon: 1e-5 }),
    ),
    (
        "efficientnet_b5",
        Plan::EfficientNet(EfficientNet { width: 1.6, depth: 2.2, size: 456, epsilon: 1e-3 }),
    ),
    (
        "efficientnet_b6",
        Plan::EfficientNet(EfficientNet { width: 1.8, depth: 2.6, size: 528, epsilon: 1e-3 }),
    ),
    (
        "efficientnet_b7",
        Plan::EfficientNet(EfficientNet { width: 2.0, depth: 3.1, size: 600, epsilon: 1e-3 }),
    ),
    ("vit_b_16", Plan::VisionTransformer(VisionTransformer::base(16))),
    ("vit_b_32", Plan::VisionTransformer(VisionTransformer::base(32))),
    ("vit_l_16", Plan::VisionTransformer(VisionTransformer::large(16))),
    ("vit_l_32", Plan::VisionTransformer(VisionTransformer::large(32))),
    ("vit_h_14", Plan::VisionTransformer(VisionTransformer::huge(14))),
];

impl Plan {
    /// The graph, with these weights or, without any, with the shapes that they should have.
    pub(crate) fn build(self, name: &str, weights: Option<&Weights>, options: &Options) -> Result<Built> {
        let size = match (options.size, self) {
            (Some(size), _) => size,
            (None, Plan::EfficientNet(plan)) => [plan.size; 2],
            (None, Plan::VisionTransformer(plan)) => plan.size(weights)?,
            (None, _) => [224; 2],
        };
        let (mut net, input) = Builder::new(weights, size)?;
        let logits = self.layers(&mut net, input)?;
        net.finish(name, logits)
    }

    /// From pictures to logits.
    fn layers(self, net: &mut Builder<'_>, input: NodeId) -> Result<NodeId> {
        match self {
            Plan::AlexNet => alexnet::layers(net, input),
            Plan::Vgg(plan) => plan.layers(net, input),
            Plan::ResNet(plan) => plan.layers(net, input),
            Plan::SqueezeNet(plan) => plan.layers(net, input),
            Plan::MobileNetV2 => mobilenet_v2::layers(net, input),
            Plan::EfficientNet(plan) => plan.layers(net, input),
            Plan::VisionTransformer(plan) => plan.layers(net, input),
        }
    }
}
