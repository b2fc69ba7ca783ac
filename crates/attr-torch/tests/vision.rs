//! The networks of `tch::vision` as they are, and written out with taps: the same weights, the same numbers.

use attr_core::methods::{GradCam, IntegratedGradients, InternalInfluence, Method, Upsampling};
use attr_core::{Cut, Doi, ModelWrapper, Point, Precision, Qoi, Quadrature, Question, Result};
use attr_torch::{Native, Taps, Torch, TorchTensor};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tch::nn::{self, ModuleT};
use tch::vision::{resnet, vgg};
use tch::{Device, Kind, TchError, Tensor};

type Tch<T> = std::result::Result<T, TchError>;

const CLASSES: i64 = 10;

/// libtorch draws from one generator for the whole process: who draws, draws alone, from a seed of his own.
fn seeded<T>(seed: i64, draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    draw()
}

/// A network of `tch::vision`, seen at its input and output only.
fn closed(network: impl ModuleT + 'static, side: usize) -> Result<Native> {
    Native::new(Torch::cpu(Precision::F32), &[("image", &[3, side, side])], move |inputs, _| {
        Ok(vec![network.forward_t(&inputs[0], false)])
    })
}

/// Batch norms that have seen something, so that they do something.
fn stir(store: &nn::VarStore) {
    tch::no_grad(|| {
        // In the order of their names: the store's own differs from run to run.
        for (name, mut variable) in BTreeMap::from_iter(store.variables()) {
            if name.ends_with("running_mean") {
                let _ = variable.uniform_(-0.1, 0.1);
            } else if name.ends_with("running_var") {
                let _ = variable.uniform_(0.1, 0.5);
            }
        }
    });
}

fn image(side: i64) -> [TorchTensor; 1] {
    [Tensor::rand([1, 3, side, side], (Kind::Float, Device::Cpu)).into()]
}

fn sum_of_class_three(values: &[TorchTensor]) -> Result<Vec<TorchTensor>> {
    let cotangent = values[0].zeros_like();
    let _ = cotangent.select(1, 3).fill_(1.0);
    Ok(vec![cotangent.into()])
}

/// That two models agree in their logits and input gradients, but for the order of sums.
#[track_caller]
fn agree(one: &Native, other: &Native, x: &[TorchTensor]) {
    let run = |model: &Native| {
        let logits = model.forward(Point::at(x), &Cut::logits()).unwrap().remove(0);
        let gradient =
            model.gradient(Point::at(x), &Cut::input(), &Cut::logits(), &mut sum_of_class_three).unwrap();
        [logits, gradient.gradients[0].clone()]
    };
    for (a, b) in run(one).iter().zip(&run(other)) {
        let size = a.abs().max().double_value(&[]);
        let gap = (&**a - &**b).abs().max().double_value(&[]);
        assert!(size > 1e-6 && gap <= 1e-5 * size, "{gap} of {size}");
    }
}

/// One of ResNet's blocks.
#[derive(Debug)]
struct Block {
    name: String,
    conv1: nn::Conv2D,
    bn1: nn::BatchNorm,
    conv2: nn::Conv2D,
    bn2: nn::BatchNorm,
    downsample: Option<(nn::Conv2D, nn::BatchNorm)>,
}

fn conv(path: nn::Path<'_>, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> nn::Conv2D {
    let config = nn::ConvConfig { stride, padding: kernel / 2, bias: false, ..Default::default() };
    nn::conv2d(path, inputs, outputs, kernel, config)
}

fn norm(path: nn::Path<'_>, channels: i64) -> nn::BatchNorm {
    nn::batch_norm2d(path, channels, Default::default())
}

impl Block {
    fn new(path: &nn::Path<'_>, name: String, inputs: i64, outputs: i64, stride: i64) -> Self {
        let at = name.split('.').fold(path.clone(), |path, part| path / part);
        let sides = stride != 1 || inputs != outputs;
        let downsample = || {
            let at = &at / "downsample";
            (conv(&at / "0", inputs, outputs, 1, stride), norm(&at / "1", outputs))
        };
        Block {
            conv1: conv(&at / "conv1", inputs, outputs, 3, stride),
            bn1: norm(&at / "bn1", outputs),
            conv2: conv(&at / "conv2", outputs, outputs, 3, 1),
            bn2: norm(&at / "bn2", outputs),
            downsample: sides.then(downsample),
            name,
        }
    }

    fn forward(&self, x: &Tensor, taps: &mut Taps) -> Tch<Tensor> {
        let branch = x.apply(&self.conv1).apply_t(&self.bn1, false).relu();
        let branch = branch.apply(&self.conv2).apply_t(&self.bn2, false);
        let side = match &self.downsample {
            Some((conv, norm)) => x.apply(conv).apply_t(norm, false),
            None => x.shallow_clone(),
        };
        taps.layer(&self.name, [&side, &branch], |[side, branch]| Ok((side + branch).relu()))
    }
}

/// `tch::vision::resnet::resnet18` with the same names in the store, and a tap at each block.
fn tapped_resnet18(path: &nn::Path<'_>) -> Result<Native> {
    let conv1 = conv(path / "conv1", 3, 64, 7, 2);
    let bn1 = norm(path / "bn1", 64);
    let mut blocks = Vec::new();
    for (layer, (inputs, outputs)) in [(64, 64), (64, 128), (128, 256), (256, 512)].into_iter().enumerate() {
        let stride = if layer == 0 { 1 } else { 2 };
        blocks.push(Block::new(path, format!("layer{}.0", layer + 1), inputs, outputs, stride));
        blocks.push(Block::new(path, format!("layer{}.1", layer + 1), outputs, outputs, 1));
    }
    let fc = nn::linear(path / "fc", 512, CLASSES, Default::default());
    Native::new(Torch::cpu(Precision::F32), &[("image", &[3, 64, 64])], move |inputs, taps| {
        let x = taps.layer("conv1", [&inputs[0]], |[x]| Ok(x.apply(&conv1)))?;
        let x = taps.tap("relu", x.apply_t(&bn1, false).relu())?;
        let mut x = taps.tap("pool", x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?)?;
        for block in &blocks {
            x = block.forward(&x, taps)?;
        }
        let x = taps.tap("features", x.f_adaptive_avg_pool2d([1, 1])?.flat_view())?;
        Ok(vec![x.apply(&fc)])
    })
}

#[test]
fn resnet18() {
    let (mut store, mut copy) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
    let (network, tapped, x) = seeded(7, || {
        let network = resnet::resnet18(&store.root(), CLASSES);
        stir(&store);
        (network, tapped_resnet18(&copy.root()).unwrap(), image(64))
    });
    copy.copy(&store).unwrap();
    store.freeze();
    copy.freeze();
    agree(&closed(network, 64).unwrap(), &tapped, &x);
    assert!(tapped.layers().iter().all(|place| place.leads_to_output));

    let question = || Question::new(&tapped, &x).of(Qoi::channel(3));
    let map = GradCam::default().attribute(&question()).unwrap();
    assert_eq!(map.values[0].size(), [1, 1, 64, 64]);
    // The last layer with spatial extent, found by itself.
    let named = GradCam::default().attribute(&question().at("layer4.1")).unwrap();
    assert_eq!(*map.values[0], *named.values[0]);
    let raw = GradCam { relu: false, upsampling: Upsampling::None, ..Default::default() };
    let raw = raw.attribute(&question().at("layer2.0")).unwrap();
    assert_eq!(raw.values[0].size(), [1, 1, 8, 8]);

    // What lies above is linear in the features: the influence is the row of weights, whatever the point.
    let distribution =
        Doi::Linear { baseline: Default::default(), resolution: 4, quadrature: Quadrature::Midpoint };
    let influence = InternalInfluence { distribution, multiply: false, doi_cut: None };
    let answer = influence.attribute(&question().at("features")).unwrap();
    let weights = copy.variables()["fc.weight"].get(3).reshape([1, 512]);
    assert!((&*answer.values[0] - weights).abs().max().double_value(&[]) < 1e-6);

    // Completeness at the input, in as many steps as a test can spend.
    let steps = IntegratedGradients { steps: 32, ..Default::default() };
    let sum = steps.attribute(&question()).unwrap().values[0].sum(Kind::Double).double_value(&[]);
    let logit =
        |x: &[TorchTensor]| tapped.forward(Point::at(x), &Cut::logits()).unwrap()[0].double_value(&[0, 3]);
    let change = logit(&x) - logit(&[x[0].zeros_like().into()]);
    assert!((sum - change).abs() < 0.01 * change.abs(), "{sum} of {change}");
}

/// `tch::vision::vgg::vgg16` with the same names in the store, and a tap at each of its layers.
fn tapped_vgg16(path: &nn::Path<'_>) -> Result<Native> {
    let (features, classifier) = (path / "features", path / "classifier");
    let (mut blocks, mut inputs, mut number) = (Vec::new(), 3, 0);
    for (outputs, count) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        let mut block = Vec::new();
        for _ in 0..count {
            let config = nn::ConvConfig { padding: 1, ..Default::default() };
            block.push((number, nn::conv2d(&features / number, inputs, outputs, 3, config)));
            (inputs, number) = (outputs, number + 2);
        }
        blocks.push((block, number));
        number += 1;
    }
    let linear = |name, inputs, outputs| nn::linear(&classifier / name, inputs, outputs, Default::default());
    let (fc0, fc3, fc6) = (linear(0, 512 * 7 * 7, 4096), linear(3, 4096, 4096), linear(6, 4096, CLASSES));
    Native::new(Torch::cpu(Precision::F32), &[("image", &[3, 224, 224])], move |inputs, taps| {
        let mut x = inputs[0].shallow_clone();
        for (block, pool) in &blocks {
            for (number, conv) in block {
                x = taps.layer(&format!("features.{number}"), [&x], |[x]| Ok(x.apply(conv)))?;
                x = taps.layer(&format!("features.{}", number + 1), [&x], |[x]| x.f_relu())?;
            }
            x = taps.layer(&format!("features.{pool}"), [&x], |[x]| Ok(x.max_pool2d_default(2)))?;
        }
        let x = taps.layer("classifier.0", [&x], |[x]| Ok(x.flat_view().apply(&fc0)))?;
        let x = taps.layer("classifier.3", [&x.f_relu()?], |[x]| Ok(x.apply(&fc3)))?;
        Ok(vec![taps.layer("classifier.6", [&x.f_relu()?], |[x]| Ok(x.apply(&fc6)))?])
    })
}

#[test]
fn vgg16() {
    let (mut store, mut copy) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
    let (network, tapped, x) =
        seeded(4, || (vgg::vgg16(&store.root(), CLASSES), tapped_vgg16(&copy.root()).unwrap(), image(224)));
    copy.copy(&store).unwrap();
    store.freeze();
    copy.freeze();
    agree(&closed(network, 224).unwrap(), &tapped, &x);
    let question = Question::new(&tapped, &x).of(Qoi::channel(3));
    let map = GradCam { upsampling: Upsampling::None, ..Default::default() };
    assert_eq!(map.attribute(&question).unwrap().values[0].size(), [1, 1, 7, 7]);
    let map = map.attribute(&question.at("features.29")).unwrap();
    assert_eq!(map.values[0].size(), [1, 1, 14, 14]);
}
