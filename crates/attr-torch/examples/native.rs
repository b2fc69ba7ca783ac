//! Attribution for a network written with `tch`: its layers are passed through taps, and each tap is a cut.
//!
//! `cargo run -p attr-torch --example native`

use attr_core::methods::{GradCam, InputTimesGradient, IntegratedGradients, Method};
use attr_core::{Precision, Qoi, Question};
use attr_torch::{Native, Taps, Torch, TorchTensor};
use tch::nn::{self, Module};
use tch::{Device, Kind, TchError, Tensor};

/// A small network of pictures.
#[derive(Debug)]
struct Network {
    conv: nn::Conv2D,
    fc: nn::Linear,
}

impl Network {
    fn new(path: &nn::Path<'_>) -> Self {
        let config = nn::ConvConfig { padding: 1, ..Default::default() };
        Network {
            conv: nn::conv2d(path / "conv", 1, 4, 3, config),
            fc: nn::linear(path / "fc", 4 * 3 * 3, 2, Default::default()),
        }
    }

    fn forward(&self, image: &Tensor, taps: &mut Taps) -> Result<Tensor, TchError> {
        let x = taps.layer("conv", [image], |[x]| Ok(self.conv.forward(x)))?;
        let x = taps.layer("relu", [&x], |[x]| x.f_relu())?;
        let x = taps.tap("pool", x.max_pool2d_default(2))?;
        Ok(self.fc.forward(&x.flat_view()))
    }
}

fn main() -> attr_core::Result<()> {
    tch::manual_seed(1);
    let mut store = nn::VarStore::new(Device::Cpu);
    let network = Network::new(&store.root());
    store.freeze();
    let model = Native::new(Torch::cpu(Precision::F32), &[("image", &[1, 6, 6])], move |inputs, taps| {
        Ok(vec![network.forward(&inputs[0], taps)?])
    })?;

    let image = [TorchTensor::from(Tensor::rand([1, 1, 6, 6], (Kind::Float, Device::Cpu)))];
    let question = || Question::new(&model, &image).of(Qoi::channel(1));

    let pixels = IntegratedGradients::default().attribute(&question())?;
    println!("what each pixel adds to class 1, by integrated gradients:\n{}", pixels.values[0].squeeze());
    println!("left over: {:.1e}\n", pixels.evidence.residual.unwrap_or_default()[0]);

    let map = GradCam::default().attribute(&question().at("relu"))?;
    println!("Grad-CAM at the relu:\n{}", map.values[0].squeeze());

    let units = InputTimesGradient {}.attribute(&question().at("pool"))?;
    let channels = units.values[0].f_sum_dim_intlist([2i64, 3].as_slice(), false, Kind::Float);
    println!("what each channel behind the pool adds:\n{}", channels.expect("a sum over two axes"));
    Ok(())
}
