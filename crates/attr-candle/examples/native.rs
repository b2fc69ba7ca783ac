//! Attribution for a network written with candle: its layers are passed through taps, and each tap is a cut.
//!
//! `cargo run -p attr-candle --example native`

use attr_candle::{Candle, CandleTensor, Native, Taps, ops};
use attr_core::methods::{GradCam, InputTimesGradient, IntegratedGradients, Method};
use attr_core::{Conv, Pool, Precision, Qoi, Question};
use candle_core::{DType, Device, Tensor};

/// A small network of pictures.
struct Network {
    conv: Tensor,
    fc: Tensor,
}

impl Network {
    /// Its weights are plain tensors, not variables: candle then records nothing below the cut.
    fn new() -> candle_core::Result<Self> {
        let weight = |dims: &[usize]| {
            let count = dims.iter().product::<usize>() as u32;
            Tensor::arange(0, count, &Device::Cpu)?
                .to_dtype(DType::F32)?
                .affine(2.4, 0.5)?
                .sin()?
                .reshape(dims)
        };
        Ok(Network { conv: weight(&[4, 1, 3, 3])?, fc: weight(&[2, 4 * 3 * 3])? })
    }

    fn forward(&self, image: &Tensor, taps: &mut Taps) -> candle_core::Result<Tensor> {
        let x = taps.layer("conv", [image], |[x]| ops::conv2d(x, &self.conv, None, &Conv::square(1, 1)))?;
        let x = taps.layer("relu", [&x], |[x]| ops::relu(x))?;
        let x = taps.tap("pool", ops::max_pool2d(&x, &Pool::square(2, 2))?)?;
        ops::linear(&x.flatten_from(1)?, &self.fc, None)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (candle, row) = (Candle::cpu(Precision::F32), [1, 6, 6]);
    let network = Network::new()?;
    let model = Native::new(candle.clone(), &[("image", &row)], move |inputs, taps| {
        Ok(vec![network.forward(&inputs[0], taps)?])
    })?;

    let image = Tensor::arange(0u32, 36, &Device::Cpu)?.to_dtype(DType::F32)?.affine(0.7, 0.2)?.cos()?;
    let image = [CandleTensor::from(image.reshape((1, 1, 6, 6))?)];
    let question = || Question::new(&model, &image).of(Qoi::channel(1));

    let pixels = IntegratedGradients::default().attribute(&question())?;
    println!("what each pixel adds to class 1, by integrated gradients:\n{}", pixels.values[0].squeeze(0)?);
    println!("left over: {:.1e}\n", pixels.evidence.residual.unwrap_or_default()[0]);

    let map = GradCam::default().attribute(&question().at("relu"))?;
    println!("Grad-CAM at the relu:\n{}", map.values[0].squeeze(0)?);

    let units = InputTimesGradient {}.attribute(&question().at("pool"))?;
    println!("what each channel behind the pool adds:\n{}\n", units.values[0].sum((2, 3))?);

    // The same network with candle's own pooling, whose gradient is a quarter of what it should be.
    let network = Network::new()?;
    let wrong = Native::new(candle, &[("image", &row)], move |inputs, taps| {
        let x = taps.tap("conv", inputs[0].conv2d(&network.conv, 1, 1, 1, 1)?)?;
        let x = taps.tap("pool", x.relu()?.max_pool2d(2)?)?;
        Ok(vec![x.flatten_from(1)?.matmul(&network.fc.t()?)?])
    })?;
    let question = Question::new(&wrong, &image).of(Qoi::channel(1));
    if let Err(error) = IntegratedGradients::default().attribute(&question) {
        println!("refused: {error}");
    }
    Ok(())
}
