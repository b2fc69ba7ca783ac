//! Models of `candle-transformers` as they are, and written anew with taps and the operators of this crate on the same
//! weights: random ones, as wide as training starts with.

use attr_candle::{Candle, CandleTensor, Native, ops};
use attr_core::methods::{IntegratedGradients, Method, Occlusion};
use attr_core::{Activation, Conv, Cut, Error, ModelWrapper, Noise, Point, Pool, Precision, Qoi, Question};
use attr_core::{Result, Tensor as _, noise::draw};
use candle_core::{D, DType, Device, IndexOp, Module, ModuleT, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{BatchNorm, Init, VarBuilder, batch_norm};
use candle_transformers::models::{efficientnet, repvgg, resnet, vit};

/// The same operators in another order, in single precision, through twenty layers.
const DEEP: f64 = 1e-4;

/// Weights drawn by their names.
struct Random;

impl SimpleBackend for Random {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let noise = draw(Noise::Normal, seed, 0, 0, shape.dims());
        let fan_in = shape.dims().iter().skip(1).product::<usize>() as f64;
        let number = |x: f64| match name.rsplit('.').next() {
            Some("running_var") => 0.5 + x * x,
            _ if shape.rank() > 1 => x * (2.0 / fan_in).sqrt(),
            Some("weight") => 1.0 + 0.2 * x,
            _ => 0.2 * x,
        };
        let numbers: Vec<_> = noise.iter().map(|&x| number(x)).collect();
        Tensor::from_vec(numbers, shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: its shape is not known")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

fn weights(dtype: DType) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(Random), dtype, Device::Cpu)
}

fn image(model: &Native, rows: usize, size: usize) -> Vec<CandleTensor> {
    let noise = draw(Noise::Normal, 3, 0, 0, &[rows, 3, size, size]);
    vec![model.tensor(&noise.index_axis_move(ndarray::Axis(0), 0)).unwrap()]
}

/// A module from a picture to logits, as it is.
fn whole(module: impl Module + Send + 'static, size: usize) -> Native {
    let row = [3, size, size];
    Native::new(Candle::cpu(Precision::F32), &[("image", &row)], move |x, _| Ok(vec![module.forward(&x[0])?]))
        .unwrap()
}

fn logits(model: &Native, x: &[CandleTensor]) -> ndarray::ArrayD<f64> {
    model.forward(Point::at(x), &Cut::output()).unwrap()[0].to_array().unwrap()
}

fn gradient(model: &Native, x: &[CandleTensor], from: impl Into<Cut>) -> Result<CandleTensor> {
    let mut ones = |values: &[CandleTensor]| values.iter().map(|value| value.filled_like(1.0)).collect();
    let answer = model.gradient(Point::at(x), &from.into(), &Cut::output(), &mut ones)?;
    Ok(answer.gradients.into_iter().next().unwrap())
}

#[track_caller]
fn close(found: &ndarray::ArrayD<f64>, expected: &ndarray::ArrayD<f64>) {
    let size = expected.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
    let gap = (found - expected).iter().fold(0.0, |gap: f64, x| gap.max(x.abs()));
    assert!(gap < DEEP * size, "{gap} of {size}");
}

#[track_caller]
fn refused(error: Error, parts: &[&str]) {
    let text = error.to_string();
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is missing in {text:?}"));
}

/// ResNet-18 with taps.
struct ResNet {
    conv1: Tensor,
    bn1: BatchNorm,
    blocks: Vec<(String, Block)>,
    fc: [Tensor; 2],
}

struct Block {
    stride: usize,
    conv1: Tensor,
    bn1: BatchNorm,
    conv2: Tensor,
    bn2: BatchNorm,
    downsample: Option<(Tensor, BatchNorm)>,
}

impl ResNet {
    fn new(vb: VarBuilder<'_>, classes: usize) -> candle_core::Result<Self> {
        let widths = [64, 64, 128, 256, 512];
        let mut blocks = Vec::new();
        for (layer, index) in (1..5).flat_map(|layer| [(layer, 0), (layer, 1)]) {
            let (outs, first) = (widths[layer], index == 0);
            let (ins, stride) =
                if first { (widths[layer - 1], 1 + usize::from(layer > 1)) } else { (outs, 1) };
            let vb = vb.pp(format!("layer{layer}")).pp(index);
            let (conv, skip) =
                (|name: &str, ins| vb.get((outs, ins, 3, 3), &format!("{name}.weight")), vb.pp("downsample"));
            let downsample = match stride {
                1 => None,
                _ => Some((skip.get((outs, ins, 1, 1), "0.weight")?, batch_norm(outs, 1e-5, skip.pp(1))?)),
            };
            let block = Block {
                stride,
                conv1: conv("conv1", ins)?,
                bn1: batch_norm(outs, 1e-5, vb.pp("bn1"))?,
                conv2: conv("conv2", outs)?,
                bn2: batch_norm(outs, 1e-5, vb.pp("bn2"))?,
                downsample,
            };
            blocks.push((format!("layer{layer}.{index}"), block));
        }
        let fc = [vb.get((classes, 512), "fc.weight")?, vb.get(classes, "fc.bias")?];
        let conv1 = vb.get((64, 3, 7, 7), "conv1.weight")?;
        Ok(ResNet { conv1, bn1: batch_norm(64, 1e-5, vb.pp("bn1"))?, blocks, fc })
    }

    fn model(self, size: usize) -> Native {
        Native::new(Candle::cpu(Precision::F32), &[("image", &[3, size, size])], move |inputs, taps| {
            let x = ops::conv2d(&inputs[0], &self.conv1, None, &Conv::square(2, 3))?;
            let x = taps.tap("stem", ops::relu(&self.bn1.forward_t(&x, false)?)?)?;
            let pool = Pool { padding: vec![(1, 1); 2], ..Pool::square(3, 2) };
            let mut x = taps.layer("pool", [&x], |[x]| ops::max_pool2d(x, &pool))?;
            for (name, block) in &self.blocks {
                x = taps.layer(name, [&x], |[x]| block.forward(x))?;
            }
            Ok(vec![ops::linear(&x.mean(D::Minus1)?.mean(D::Minus1)?, &self.fc[0], Some(&self.fc[1]))?])
        })
        .unwrap()
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = ops::conv2d(x, &self.conv1, None, &Conv::square(self.stride, 1))?;
        let y = ops::relu(&self.bn1.forward_t(&y, false)?)?;
        let y = self.bn2.forward_t(&ops::conv2d(&y, &self.conv2, None, &Conv::square(1, 1))?, false)?;
        let x = match &self.downsample {
            None => x.clone(),
            Some((conv, bn)) => {
                bn.forward_t(&ops::conv2d(x, conv, None, &Conv::square(self.stride, 0))?, false)?
            }
        };
        ops::relu(&(x + y)?)
    }
}

#[test]
fn resnet_with_taps_is_the_resnet() {
    let own = whole(resnet::resnet18(10, weights(DType::F32)).unwrap(), 64);
    let tapped = ResNet::new(weights(DType::F32), 10).unwrap().model(64);
    let x = image(&tapped, 2, 64);
    close(&logits(&tapped, &x), &logits(&own, &x));

    // As it is, its values answer; candle has no way back through its pooling.
    let question = |model| Question::new(model, &x).of(Qoi::Class(3));
    let windows =
        Occlusion { window: "32".parse().unwrap(), stride: "32".parse().unwrap(), ..Default::default() };
    let [occluded, again] = [&own, &tapped].map(|model| windows.attribute(&question(model)).unwrap().values);
    close(&again[0].to_array().unwrap(), &occluded[0].to_array().unwrap());
    refused(
        gradient(&own, &x, Cut::input()).unwrap_err(),
        &["on the way back", "maxpool2d", "attr_candle::ops"],
    );

    // With taps and operators that can be differentiated all answers are there, at one row and at two.
    for rows in [1, 2] {
        let x = image(&tapped, rows, 64);
        gradient(&tapped, &x, Cut::input()).unwrap();
        gradient(&tapped, &x, "layer2.1").unwrap();
    }
    // Behind the last block there are a mean of four places and a linear layer.
    let fc = weights(DType::F32).get((10, 512), "fc.weight").unwrap();
    let by = gradient(&tapped, &x, "layer4.1").unwrap();
    let expected = (fc.sum_keepdim(0).unwrap().reshape((1, 512, 1, 1)).unwrap() / 4.0).unwrap();
    close(
        &by.to_array().unwrap(),
        &CandleTensor::from(expected.broadcast_as(by.0.dims()).unwrap()).to_array().unwrap(),
    );
    // So there integrated gradients leave nothing over but rounding.
    let answer = IntegratedGradients::default().attribute(&question(&tapped).at("layer4.1")).unwrap();
    let (sum, residual) = (answer.values[0].to_array().unwrap(), answer.evidence.residual.unwrap());
    let size = sum.iter().map(|x| x.abs()).sum::<f64>();
    assert!(residual.iter().all(|residual| residual.abs() < DEEP * size), "{residual:?} of {size}");
}

#[test]
fn models_that_candle_gets_right_are_taken_as_they_are() {
    let module = repvgg::repvgg(&repvgg::Config::a0(), 10, weights(DType::F32)).unwrap();
    let configs = efficientnet::MBConvConfig::b0();
    let efficient = efficientnet::EfficientNet::new(weights(DType::F32), configs, 10).unwrap();
    for model in [whole(module, 64), whole(efficient, 64)] {
        let x = image(&model, 1, 64);
        gradient(&model, &x, Cut::input()).unwrap();
    }
}

fn config() -> vit::Config {
    vit::Config {
        hidden_size: 48,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 96,
        image_size: 32,
        patch_size: 8,
        ..vit::Config::vit_base_patch16_224()
    }
}

/// The vision transformer's public parts with taps between them.
fn vit_in_parts() -> Native {
    let (config, vb) = (config(), weights(DType::F32));
    let embeddings = vit::Embeddings::new(&config, false, vb.pp("vit.embeddings")).unwrap();
    let encoder = vit::Encoder::new(&config, vb.pp("vit.encoder")).unwrap();
    let norm = candle_nn::layer_norm(48, config.layer_norm_eps, vb.pp("vit.layernorm")).unwrap();
    let classifier = candle_nn::linear(48, 10, vb.pp("classifier")).unwrap();
    Native::new(Candle::cpu(Precision::F32), &[("image", &[3, 32, 32])], move |inputs, taps| {
        let x = taps.tap("embeddings", embeddings.forward(&inputs[0], None, false)?)?;
        let x = taps.tap("encoder", encoder.forward(&x)?)?;
        Ok(vec![x.i((.., 0))?.contiguous()?.apply(&norm)?.apply(&classifier)?])
    })
    .unwrap()
}

/// The vision transformer with a tap behind each block.
fn vit_with_taps() -> Native {
    let (config, vb) = (config(), weights(DType::F32));
    let (hidden, inner, heads) = (config.hidden_size, config.intermediate_size, config.num_attention_heads);
    let epsilon = config.layer_norm_eps;
    let embeddings = vit::Embeddings::new(&config, false, vb.pp("vit.embeddings")).unwrap();
    type Fallible = candle_core::Result<Tensor>;
    let fc = move |x: &Tensor, vb: VarBuilder<'_>, ins: usize, outs: usize| -> Fallible {
        ops::linear(x, &vb.get((outs, ins), "weight")?, Some(&vb.get(outs, "bias")?))
    };
    let norm = move |x: &Tensor, vb: VarBuilder<'_>| -> Fallible {
        ops::layer_norm(x, &vb.get(hidden, "weight")?, &vb.get(hidden, "bias")?, epsilon)
    };
    let attention = move |x: &Tensor, vb: VarBuilder<'_>| -> Fallible {
        let (rows, tokens, _) = x.dims3()?;
        let split = |name: &str| -> Fallible {
            let x = fc(x, vb.pp("attention").pp(name), hidden, hidden)?;
            x.reshape((rows, tokens, heads, hidden / heads))?.transpose(1, 2)?.contiguous()
        };
        let [q, k, v] = [split("query")?, split("key")?, split("value")?];
        let scores = (q.matmul(&k.t()?)? / ((hidden / heads) as f64).sqrt())?;
        let mixed = ops::softmax_last_dim(&scores)?.matmul(&v)?;
        fc(&mixed.transpose(1, 2)?.reshape((rows, tokens, hidden))?, vb.pp("output.dense"), hidden, hidden)
    };
    Native::new(Candle::cpu(Precision::F32), &[("image", &[3, 32, 32])], move |inputs, taps| {
        let mut x = taps.tap("embeddings", embeddings.forward(&inputs[0], None, false)?)?;
        for i in 0..config.num_hidden_layers {
            let vb = vb.pp("vit.encoder.layer").pp(i);
            let mixed = attention(&norm(&x, vb.pp("layernorm_before"))?, vb.pp("attention"))?;
            x = taps.tap(&format!("block{i}/attention"), (mixed + x)?)?;
            let y = fc(&norm(&x, vb.pp("layernorm_after"))?, vb.pp("intermediate.dense"), hidden, inner)?;
            let y = ops::activation(&y, Activation::Gelu)?;
            x = taps.tap(&format!("block{i}"), (fc(&y, vb.pp("output.dense"), inner, hidden)? + x)?)?;
        }
        let x = norm(&x.i((.., 0))?, vb.pp("vit.layernorm"))?;
        Ok(vec![fc(&x, vb.pp("classifier"), hidden, 10)?])
    })
    .unwrap()
}

#[test]
fn a_vision_transformer_without_its_softmax_is_refused() {
    let module = vit::Model::new(&config(), 10, weights(DType::F32)).unwrap();
    let own = whole(move |x: &Tensor| module.forward(x), 32);
    let (parts, tapped) = (vit_in_parts(), vit_with_taps());
    let x = image(&own, 2, 32);
    close(&logits(&parts, &x), &logits(&own, &x));
    close(&logits(&tapped, &x), &logits(&own, &x));

    let wrong = ["finite differences", "attr_candle::ops"];
    refused(gradient(&own, &x, Cut::input()).unwrap_err(), &wrong);
    refused(gradient(&parts, &x, "encoder").unwrap_err(), &["layer \"encoder\" and the output", wrong[0]]);
    refused(
        gradient(&parts, &x, Cut::input()).unwrap_err(),
        &["layer \"embeddings\" and layer \"encoder\"", wrong[0]],
    );
    for rows in [1, 2] {
        let x = image(&tapped, rows, 32);
        gradient(&tapped, &x, Cut::input()).unwrap();
        gradient(&tapped, &x, "block1").unwrap();
    }
}
