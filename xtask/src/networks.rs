//! The two real networks as layer graphs, from their published weights.

use std::collections::BTreeMap;

use attr_core::{Activation, Conv, Error, Graph, NodeId, Op, Param, Pool, Result};
use ndarray::{Array1, ArrayD};

use crate::weights::SQUEEZENET_LAYERS;

/// What lies beside a model so that a photo can be prepared for it.
pub(crate) fn description(network: &str) -> &'static str {
    match network {
        "efficientnet-lite0" => {
            r#"{
  "size": [224, 224], "resize": [224, 224],
  "order": "RGB", "scale": 255.0, "mean": [127.0, 127.0, 127.0], "std": [128.0, 128.0, 128.0],
  "labels": "imagenet-labels.txt"
}
"#
        }
        _ => {
            r#"{
  "size": [227, 227], "resize": [227, 227],
  "order": "BGR", "scale": 255.0, "mean": [103.939, 116.779, 123.68], "std": [1.0, 1.0, 1.0],
  "labels": "imagenet-labels.txt"
}
"#
        }
    }
}

/// EfficientNet-lite0 (Tan and Le 2019, the variant without squeeze-and-excitation and with ReLU6): input
/// `[B, 3, 224, 224]`, output the logits of 1000 classes. Padding is TensorFlow's SAME: for a stride of 2
/// there is one more entry behind than before.
pub(crate) fn efficientnet(weights: &BTreeMap<String, ArrayD<f32>>) -> Result<Graph> {
    let mut net = EfficientNet { graph: Graph::default(), weights, size: 224 };
    let mut x = net.graph.input("input", &[3, 224, 224])?;
    x = net.unit(x, "stem", "_conv_stem", "_bn0", Unit { kernel: 3, stride: 2, groups: 1, active: true })?;
    let mut block = 0;
    // Stages: expansion, output channels, blocks, stride of the first block, kernel.
    for (expansion, channels, blocks, first_stride, kernel) in [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ] {
        for i in 0..blocks {
            let stride = if i == 0 { first_stride } else { 1 };
            x = net.block(x, block, expansion, channels, kernel, stride)?;
            block += 1;
        }
    }
    x = net.unit(x, "head", "_conv_head", "_bn1", Unit { kernel: 1, stride: 1, groups: 1, active: true })?;
    x = net.graph.add("pool", Op::Mean { axes: vec![2, 3], keep: false }, &[x], &[])?;
    let params = [net.param("_fc.weight")?, net.param("_fc.bias")?];
    x = net.graph.add("fc", Op::Linear, &[x], &params)?;
    net.graph.set_outputs(&[x])?;
    Ok(net.graph)
}

struct EfficientNet<'a> {
    graph: Graph,
    weights: &'a BTreeMap<String, ArrayD<f32>>,
    /// The height and width of the value that the next unit reads.
    size: usize,
}

/// A convolution, its batch norm and perhaps a ReLU6.
struct Unit {
    kernel: usize,
    stride: usize,
    groups: usize,
    active: bool,
}

impl EfficientNet<'_> {
    fn block(
        &mut self,
        input: NodeId,
        number: usize,
        expansion: usize,
        channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<NodeId> {
        let (name, file) = (format!("block{number}"), format!("_blocks.{number}."));
        let plain = |active| Unit { kernel: 1, stride: 1, groups: 1, active };
        let before = self.channels(input);
        let mut x = input;
        if expansion > 1 {
            let (conv, norm) = (format!("{file}_expand_conv"), format!("{file}_bn0"));
            x = self.unit(x, &format!("{name}/expand"), &conv, &norm, plain(true))?;
        }
        let depthwise = Unit { kernel, stride, groups: self.channels(x), active: true };
        let (conv, norm) = (format!("{file}_depthwise_conv"), format!("{file}_bn1"));
        x = self.unit(x, &format!("{name}/depthwise"), &conv, &norm, depthwise)?;
        let (conv, norm) = (format!("{file}_project_conv"), format!("{file}_bn2"));
        x = self.unit(x, &format!("{name}/project"), &conv, &norm, plain(false))?;
        match stride == 1 && before == channels {
            true => self.graph.add(&format!("{name}/add"), Op::Add, &[x, input], &[]),
            false => Ok(x),
        }
    }

    fn unit(&mut self, x: NodeId, name: &str, conv: &str, norm: &str, unit: Unit) -> Result<NodeId> {
        let out = self.size.div_ceil(unit.stride);
        let total = ((out - 1) * unit.stride + unit.kernel).saturating_sub(self.size);
        self.size = out;
        let op = Conv {
            stride: vec![unit.stride; 2],
            padding: vec![(total / 2, total - total / 2); 2],
            dilation: vec![1; 2],
            groups: unit.groups,
        };
        let weight = self.param(&format!("{conv}.weight"))?;
        let x = self.graph.add(&format!("{name}/conv"), Op::Conv(op), &[x], &[weight])?;
        let norms = ["weight", "bias", "running_mean", "running_var"];
        let norms = norms
            .map(|part| self.param(&format!("{norm}.{part}")))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let x = self.graph.add(&format!("{name}/bn"), Op::BatchNorm { epsilon: 1e-3 }, &[x], &norms)?;
        match unit.active {
            true => {
                let relu6 = Op::Activation(Activation::Clip { min: 0.0, max: 6.0 });
                self.graph.add(&format!("{name}/relu6"), relu6, &[x], &[])
            }
            false => Ok(x),
        }
    }

    fn param(&mut self, name: &str) -> Result<usize> {
        let weights = self.weights.get(name);
        let weights = weights.ok_or_else(|| Error::Unsupported(format!("weights without {name:?}")))?;
        Ok(self.graph.param(weights.clone()))
    }

    fn channels(&self, id: NodeId) -> usize {
        self.graph.node(id).shape.at(1)[1]
    }
}

/// SqueezeNet 1.1 (Iandola et al. 2016): input `[B, 3, 227, 227]` as BGR, output the probabilities of 1000
/// classes. `weights` are kernels `[height, width, in, out]` and biases in the network's order.
pub(crate) fn squeezenet(weights: &[(ArrayD<f32>, Array1<f32>)]) -> Result<Graph> {
    let mut graph = Graph::default();
    let mut layers = SQUEEZENET_LAYERS.iter().zip(weights);
    let mut convolution = |graph: &mut Graph, x: NodeId, stride: usize, pad: usize| {
        let (name, (kernel, bias)) = layers.next().expect("BUG: more layers than weights");
        // From [height, width, in, out] to [out, in, height, width].
        let kernel = kernel.view().permuted_axes(vec![3, 2, 0, 1]).as_standard_layout().into_owned();
        let params = [graph.param(kernel), graph.param(Param::from(bias.clone()))];
        let x = graph.add(name, Op::Conv(Conv::square(stride, pad)), &[x], &params)?;
        graph.add(&format!("{name}/relu"), Op::Activation(Activation::Relu), &[x], &[])
    };
    let mut x = graph.input("input", &[3, 227, 227])?;
    x = convolution(&mut graph, x, 2, 0)?;
    for fire in 2..10 {
        if matches!(fire, 2 | 4 | 6) {
            let name = format!("pool{}", fire - 1);
            x = graph.add(&name, Op::MaxPool(Pool::square(3, 2)), &[x], &[])?;
        }
        let squeezed = convolution(&mut graph, x, 1, 0)?;
        let one = convolution(&mut graph, squeezed, 1, 0)?;
        let three = convolution(&mut graph, squeezed, 1, 1)?;
        x = graph.add(&format!("fire{fire}/concat"), Op::Concat { axis: 1 }, &[one, three], &[])?;
    }
    x = convolution(&mut graph, x, 1, 0)?;
    x = graph.add("pool10", Op::Mean { axes: vec![2, 3], keep: false }, &[x], &[])?;
    x = graph.add("prob", Op::Softmax { axis: 1 }, &[x], &[])?;
    graph.set_outputs(&[x])?;
    Ok(graph)
}

/// The digit network: input `[B, 1, 28, 28]` from 0 to 1, output the logits of the ten digits.
pub(crate) fn digits(parameters: &[(&'static str, ArrayD<f32>)]) -> Result<Graph> {
    let mut graph = Graph::default();
    let ids: BTreeMap<_, _> =
        parameters.iter().map(|(name, value)| (*name, graph.param(value.clone()))).collect();
    let of = |layer: &str| [ids[&*format!("{layer}.weight")], ids[&*format!("{layer}.bias")]];
    let relu = || Op::Activation(Activation::Relu);
    let mut x = graph.input("digit", &[1, 28, 28])?;
    for i in 1..=2 {
        let conv = format!("conv{i}");
        x = graph.add(&conv, Op::Conv(Conv::square(1, 1)), &[x], &of(&conv))?;
        x = graph.add(&format!("relu{i}"), relu(), &[x], &[])?;
        x = graph.add(&format!("pool{i}"), Op::MaxPool(Pool::square(2, 2)), &[x], &[])?;
    }
    let shape = attr_core::Shape::batched(&[graph.node(x).shape.row_len()]);
    x = graph.add("flatten", Op::Reshape { shape }, &[x], &[])?;
    x = graph.add("fc1", Op::Linear, &[x], &of("fc1"))?;
    x = graph.add("relu3", relu(), &[x], &[])?;
    x = graph.add("logits", Op::Linear, &[x], &of("fc2"))?;
    graph.set_outputs(&[x])?;
    Ok(graph)
}
