//! The training of a small network on handwritten digits, the same on every run with the same seed.
//!
//! Convolution, pooling and loss are put together from the few tensor operations whose gradients in
//! candle are right (its own max pooling is not), and the tests check the result by finite differences.
//! Pictures are kept as `[channel, batch, row, column]`, so that a convolution is one matrix product.

use std::path::Path;

use attr_core::{PatternKind, Patterns, Precision};
use candle_core::{D, DType, Device, Result, Tensor, Var, bail};
use ndarray::ArrayD;

use crate::weights::Digit;

/// The seed that the shipped network was trained with.
pub(crate) const SEED: u64 = 1;

/// The parameters and their shapes: kernels `[out, in, 3, 3]`, matrices `[out, in]`.
const SHAPES: [(&str, &[usize]); 8] = [
    ("conv1.weight", &[8, 1, 3, 3]),
    ("conv1.bias", &[8]),
    ("conv2.weight", &[24, 8, 3, 3]),
    ("conv2.bias", &[24]),
    ("fc1.weight", &[48, 24 * 7 * 7]),
    ("fc1.bias", &[48]),
    ("fc2.weight", &[10, 48]),
    ("fc2.bias", &[10]),
];

const EPOCHS: usize = 16;
const BATCH: usize = 32;
const LEARNING_RATE: f64 = 4e-3;
/// Training digits are shifted by up to this many pixels along each axis.
const SHIFT: u64 = 1;
/// Every fifth digit is held out.
const FOLD: usize = 5;
/// An example counts as easy if the network gives it at least this probability.
const SURE: f32 = 0.9;

/// What a training gives.
pub(crate) struct Trained {
    /// The parameters by name, in the order of the network: convolution (padding 1), ReLU, 2x2 max
    /// pooling, twice; flatten; linear, ReLU; linear to ten logits.
    pub(crate) parameters: Vec<(&'static str, ArrayD<f32>)>,
    /// The part of the held-out digits that it gets right.
    pub(crate) accuracy: f64,
    /// Two held-out digits of each class by class, all classified rightly.
    pub(crate) examples: Vec<Digit>,
    /// The one among the examples that the network is least sure of; it is sure of the others.
    pub(crate) hard: usize,
}

impl Trained {
    /// Writes `digits.onnx`, the examples as `digits.npy` (`[20, 1, 28, 28]`, 0 to 1), the names of the classes as
    /// `digits.labels.txt` and patterns, fitted to the digits it was trained on, as `digits.patterns.safetensors`.
    pub(crate) fn save(
        &self,
        digits: &[Digit],
        folder: &Path,
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let network = crate::networks::digits(&self.parameters)?;
        attr_onnx::write(&network, folder.join("digits.onnx"))?;
        let model = attr_candle::compile(network, Precision::F32)?;
        let seen: Vec<_> = (0..digits.len()).filter(|index| !held_out(index)).collect();
        let batches = seen
            .chunks(100)
            .map(|batch| Ok(vec![pictures(batch.iter().map(|&index| &digits[index])).mapv(f64::from)]));
        let patterns = Patterns::fit(&model, PatternKind::Positive, batches)?;
        std::fs::write(folder.join("digits.patterns.safetensors"), patterns.to_safetensors()?)?;
        ndarray_npy::write_npy(folder.join("digits.npy"), &pictures(self.examples.iter()))?;
        let names: String = (0..10).map(|class| format!("{class}\n")).collect();
        std::fs::write(folder.join("digits.labels.txt"), names)?;
        Ok(())
    }
}

/// `[digits, 1, 28, 28]`, 0 to 1.
fn pictures<'a>(digits: impl ExactSizeIterator<Item = &'a Digit>) -> ArrayD<f32> {
    let dims = vec![digits.len(), 1, 28, 28];
    let pixels: Vec<f32> = digits.flat_map(|digit| digit.pixels.map(grey)).collect();
    ArrayD::from_shape_vec(dims, pixels).expect("BUG: a digit of another size")
}

/// Whether a digit is for measuring only.
fn held_out(index: &usize) -> bool {
    index % FOLD == FOLD - 1
}

/// Trains on four fifths of the digits and measures on the rest.
pub(crate) fn train(digits: &[Digit], seed: u64) -> Result<Trained> {
    train_for(EPOCHS, digits, seed)
}

fn train_for(epochs: usize, digits: &[Digit], seed: u64) -> Result<Trained> {
    let (test, mut order): (Vec<usize>, Vec<usize>) = (0..digits.len()).partition(held_out);
    let test: Vec<&Digit> = test.into_iter().map(|index| &digits[index]).collect();
    let mut random = Random(seed);
    let parameters = initial(&mut random)?;
    let mut adam = Adam::new(&parameters)?;
    let steps = epochs * order.len().div_ceil(BATCH);
    for epoch in 1..=epochs {
        random.shuffle(&mut order);
        let mut sum = 0.0;
        for batch in order.chunks(BATCH) {
            let batch: Vec<Digit> = batch.iter().map(|&index| shifted(&digits[index], &mut random)).collect();
            let (images, targets) = tensors(&batch.iter().collect::<Vec<_>>())?;
            let loss = cross_entropy(&logits(&parameters, &images)?, &targets)?;
            // Half a cosine wave, from the full rate to none.
            let progress = adam.step as f64 / steps as f64;
            let rate = LEARNING_RATE * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
            adam.update(&parameters, &loss, rate)?;
            sum += f64::from(loss.to_scalar::<f32>()?) * batch.len() as f64;
        }
        eprintln!("epoch {epoch} of {epochs}: loss {:.4}", sum / order.len() as f64);
    }
    let probabilities = probabilities(&parameters, &test)?;
    let right =
        test.iter().zip(&probabilities).filter(|(digit, row)| best(row) == usize::from(digit.label)).count();
    let (examples, hard) = examples(&test, &probabilities)?;
    let mut arrays = Vec::new();
    for ((name, shape), parameter) in SHAPES.iter().zip(&parameters) {
        let numbers = parameter.flatten_all()?.to_vec1()?;
        let array = ArrayD::from_shape_vec(*shape, numbers).expect("BUG: a parameter of another shape");
        arrays.push((*name, array));
    }
    Ok(Trained { parameters: arrays, accuracy: right as f64 / test.len() as f64, examples, hard })
}

/// Uniform numbers of the variance that keeps the size of activations through a ReLU (He et al. 2015,
/// <https://arxiv.org/abs/1502.01852>), and zero for biases.
fn initial(random: &mut Random) -> Result<Vec<Var>> {
    let parameter = |&(_, shape): &(&str, &[usize])| {
        let inputs: usize = shape[1..].iter().product();
        let bound = if shape.len() == 1 { 0.0 } else { (6.0 / inputs as f64).sqrt() };
        let mut number = || ((2.0 * random.unit() - 1.0) * bound) as f32;
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| number()).collect();
        Var::from_vec(numbers, shape, &Device::Cpu)
    };
    SHAPES.iter().map(parameter).collect()
}

/// The network: `[1, batch, 28, 28]` to `[batch, 10]`.
fn logits(parameters: &[Var], images: &Tensor) -> Result<Tensor> {
    let [w1, b1, w2, b2, w3, b3, w4, b4] = parameters else {
        bail!("expected {} parameters, found {}", SHAPES.len(), parameters.len())
    };
    let x = max_pool(&convolve(images, w1, b1)?.relu()?)?;
    let x = max_pool(&convolve(&x, w2, b2)?.relu()?)?;
    let x = x.transpose(0, 1)?.flatten_from(1)?;
    let x = x.matmul(&w3.t()?)?.broadcast_add(b3)?.relu()?;
    x.matmul(&w4.t()?)?.broadcast_add(b4)
}

/// A convolution with a 3x3 kernel and padding 1: the nine shifts of the picture, then one product.
fn convolve(x: &Tensor, kernel: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (channels, batch, height, width) = x.dims4()?;
    let padded = x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
    let mut shifts = Vec::new();
    for row in 0..3 {
        for column in 0..3 {
            shifts.push(padded.narrow(2, row, height)?.narrow(3, column, width)?);
        }
    }
    let patches = Tensor::cat(&shifts, 0)?.reshape((9 * channels, batch * height * width))?;
    let outputs = kernel.dim(0)?;
    let matrix = kernel.permute((0, 2, 3, 1))?.reshape((outputs, 9 * channels))?;
    let product = matrix.matmul(&patches)?.broadcast_add(&bias.unsqueeze(1)?)?;
    product.reshape((outputs, batch, height, width))
}

/// Max pooling over 2x2 windows. Equal maxima share the gradient, as the flat ground of a digit needs.
fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (channels, batch, height, width) = x.dims4()?;
    // With the four places of a window in front, everything after this is done on long rows.
    let windows = x.reshape(&[channels, batch, height / 2, 2, width / 2, 2][..])?;
    let windows = windows.permute([3, 5, 0, 1, 2, 4])?.reshape((4, x.elem_count() / 4))?;
    let fixed = windows.detach();
    let is_maximum = fixed.broadcast_eq(&fixed.max_keepdim(0)?)?.to_dtype(x.dtype())?;
    let share = is_maximum.broadcast_div(&is_maximum.sum_keepdim(0)?)?;
    (windows * share)?.sum(0)?.reshape((channels, batch, height / 2, width / 2))
}

/// The mean negative log-likelihood of one-hot targets `[batch, classes]`.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_likelihood = (shifted.broadcast_sub(&log_sum)? * targets)?;
    log_likelihood.sum_all()? * (-1.0 / logits.dim(0)? as f64)
}

/// Adam (Kingma and Ba 2015, algorithm 1, <https://arxiv.org/abs/1412.6980>) with its usual constants.
pub(crate) struct Adam {
    pub(crate) step: i32,
    moments: Vec<(Tensor, Tensor)>,
}

impl Adam {
    pub(crate) fn new(parameters: &[Var]) -> Result<Self> {
        let zeros = |parameter: &Var| Ok((parameter.zeros_like()?, parameter.zeros_like()?));
        Ok(Self { step: 0, moments: parameters.iter().map(zeros).collect::<Result<_>>()? })
    }

    /// One step down the gradient of a loss.
    pub(crate) fn update(&mut self, parameters: &[Var], loss: &Tensor, rate: f64) -> Result<()> {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        let gradients = loss.backward()?;
        self.step += 1;
        for (parameter, (m, v)) in parameters.iter().zip(&mut self.moments) {
            let Some(g) = gradients.get(parameter) else { bail!("expected a gradient for each parameter") };
            *m = ((&*m * BETA1)? + (g * (1.0 - BETA1))?)?;
            *v = ((&*v * BETA2)? + (g.sqr()? * (1.0 - BETA2))?)?;
            let mean = (&*m / (1.0 - BETA1.powi(self.step)))?;
            let deviation = (&*v / (1.0 - BETA2.powi(self.step)))?.sqrt()?;
            let change = (mean / (deviation + 1e-8)?)?;
            parameter.set(&(parameter.as_detached_tensor() - (change * rate)?)?)?;
        }
        Ok(())
    }
}

/// Each digit's ten probabilities.
fn probabilities(parameters: &[Var], digits: &[&Digit]) -> Result<Vec<Vec<f32>>> {
    let mut rows = Vec::new();
    for batch in digits.chunks(500) {
        let (images, _) = tensors(batch)?;
        let logits = logits(parameters, &images)?.detach();
        let powers = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?.exp()?;
        rows.extend(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.to_vec2()?);
    }
    Ok(rows)
}

fn best(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or_default()
}

/// The first two sure ones of each class, but for the least sure of all, which takes the second place
/// of its class.
fn examples(digits: &[&Digit], probabilities: &[Vec<f32>]) -> Result<(Vec<Digit>, usize)> {
    let right: Vec<(&Digit, f32)> = digits
        .iter()
        .zip(probabilities)
        .filter(|(digit, row)| best(row) == usize::from(digit.label))
        .map(|(digit, row)| (*digit, row[usize::from(digit.label)]))
        .collect();
    let mut examples = Vec::new();
    for label in 0..10 {
        let sure = right.iter().filter(|(digit, p)| digit.label == label && *p >= SURE);
        let two: Vec<Digit> = sure.take(2).map(|(digit, _)| (*digit).clone()).collect();
        if two.len() < 2 {
            bail!("digit {label}: expected two sure examples, found {}", two.len());
        }
        examples.extend(two);
    }
    let least = right.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("BUG: examples were found above");
    let hard = 2 * usize::from(least.0.label) + 1;
    examples[hard] = least.0.clone();
    Ok((examples, hard))
}

/// Images `[1, batch, 28, 28]` from 0 to 1 and one-hot targets `[batch, 10]`.
fn tensors(digits: &[&Digit]) -> Result<(Tensor, Tensor)> {
    let pixels: Vec<f32> = digits.iter().flat_map(|digit| digit.pixels.map(grey)).collect();
    let one_hot = |digit: &&Digit| {
        std::array::from_fn::<f32, 10, _>(|class| (class == usize::from(digit.label)).into())
    };
    let targets: Vec<f32> = digits.iter().flat_map(one_hot).collect();
    let images = Tensor::from_vec(pixels, (1, digits.len(), 28, 28), &Device::Cpu)?;
    Ok((images.to_dtype(DType::F32)?, Tensor::from_vec(targets, (digits.len(), 10), &Device::Cpu)?))
}

fn grey(pixel: u8) -> f32 {
    f32::from(pixel) / 255.0
}

/// The digit moved by a random step; what leaves the frame is lost, and ground comes in.
fn shifted(digit: &Digit, random: &mut Random) -> Digit {
    let [down, right] = [(); 2].map(|()| random.below(2 * SHIFT + 1) as usize);
    let mut moved = Digit { pixels: [0; 784], label: digit.label };
    for (index, pixel) in moved.pixels.iter_mut().enumerate() {
        let row = (index / 28 + down).checked_sub(SHIFT as usize);
        let column = (index % 28 + right).checked_sub(SHIFT as usize);
        if let (Some(row @ ..28), Some(column @ ..28)) = (row, column) {
            *pixel = digit.pixels[28 * row + column];
        }
    }
    moved
}

/// SplitMix64 (Steele, Lea and Flood 2014, <https://doi.org/10.1145/2660193.2660195>).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1, which is left out.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound`; the bias is far too small to matter for bounds like these.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(shape: &[usize], seed: u64) -> Vec<f64> {
        let mut random = Random(seed);
        (0..shape.iter().product()).map(|_| 2.0 * random.unit() - 1.0).collect()
    }

    fn variable(numbers: &[f64], shape: &[usize]) -> Var {
        Var::from_slice(numbers, shape, &Device::Cpu).unwrap()
    }

    /// Asserts that the gradient of `f` is its slope, in f64, at some of the places of `x`.
    fn check_gradient(x: &Var, f: impl Fn() -> Tensor) {
        let gradient = f().backward().unwrap().get(x).expect("a gradient").flatten_all().unwrap();
        let gradient = gradient.to_vec1::<f64>().unwrap();
        let numbers = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = |index: usize, step: f64| {
            let mut moved = numbers.clone();
            moved[index] += step;
            x.set(&Tensor::from_vec(moved, x.shape(), &Device::Cpu).unwrap()).unwrap();
            f().to_scalar::<f64>().unwrap()
        };
        let stride = numbers.len().div_ceil(50);
        for index in (0..numbers.len()).step_by(stride) {
            let slope = (at(index, 1e-6) - at(index, -1e-6)) / 2e-6;
            let found = gradient[index];
            assert!(
                (slope - found).abs() <= 1e-7 * (1.0 + slope.abs()),
                "{index}: slope {slope}, found {found}"
            );
        }
        at(0, 0.0);
    }

    #[test]
    fn max_pool_takes_the_maxima() {
        let x = Tensor::arange(0_f32, 16., &Device::Cpu).unwrap().reshape((1, 1, 4, 4)).unwrap();
        let y = max_pool(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(y, [5., 7., 13., 15.]);
    }

    #[test]
    fn max_pool_has_the_right_gradient() {
        let shape = [2, 3, 4, 6];
        let x = variable(&noise(&shape, 1), &shape);
        let weight = Tensor::from_vec(noise(&[36], 2), (2, 3, 2, 3), &Device::Cpu).unwrap();
        check_gradient(&x, || (max_pool(&x).unwrap() * &weight).unwrap().sum_all().unwrap());
    }

    #[test]
    fn max_pool_shares_the_gradient_of_equal_maxima() {
        let x = variable(&[1., 1., 0., 1., 2., 0., 0., 0.], &[1, 1, 2, 4]);
        let gradients = max_pool(&x).unwrap().sum_all().unwrap().backward().unwrap();
        let found = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        // The windows are the columns 0 to 1 (1, 1 over 2, 0) and 2 to 3 (0, 1 over 0, 0).
        assert_eq!(found, [0., 0., 0., 1., 1., 0., 0., 0.]);
        let flat = variable(&[3.; 4], &[1, 1, 2, 2]);
        let gradients = max_pool(&flat).unwrap().sum_all().unwrap().backward().unwrap();
        let found = gradients.get(&flat).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(found, [0.25; 4]);
    }

    #[test]
    fn convolution_agrees_with_the_definition() {
        let [x, kernel, bias] = [&[2, 3, 5, 4][..], &[6, 2, 3, 3], &[6]]
            .map(|shape| Tensor::from_vec(noise(shape, 3), shape, &Device::Cpu).unwrap());
        let found = convolve(&x, &kernel, &bias).unwrap().transpose(0, 1).unwrap();
        let expected = x.transpose(0, 1).unwrap().contiguous().unwrap().conv2d(&kernel, 1, 1, 1, 1).unwrap();
        let expected = expected.broadcast_add(&bias.reshape((1, 6, 1, 1)).unwrap()).unwrap();
        let error = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(error < 1e-12, "found a difference of {error}");
    }

    /// The whole loss, so that every operation of the network is covered.
    #[test]
    fn the_loss_has_the_right_gradients() {
        let parameters: Vec<Var> = (SHAPES.iter().enumerate())
            .map(|(index, (_, shape))| {
                let small: Vec<f64> = noise(shape, index as u64).iter().map(|x| 0.3 * x).collect();
                variable(&small, shape)
            })
            .collect();
        let images = Tensor::from_vec(noise(&[2 * 784], 9), (1, 2, 28, 28), &Device::Cpu).unwrap();
        let targets = Tensor::eye(10, DType::F64, &Device::Cpu).unwrap().narrow(0, 3, 2).unwrap();
        for parameter in &parameters {
            check_gradient(parameter, || {
                cross_entropy(&logits(&parameters, &images).unwrap(), &targets).unwrap()
            });
        }
    }

    /// Bars that stand in ten places stand for digits.
    #[test]
    fn training_learns_and_repeats_itself() {
        let bar = |index: usize| {
            let label = (index / 10) as u8;
            let column = 4 + 2 * usize::from(label);
            let mut pixels = [0; 784];
            for row in 4..(14 + index % 10) {
                pixels[28 * row + column] = 255;
                pixels[28 * row + 2 * (index / 10) + 2] = 200;
            }
            Digit { pixels, label }
        };
        let digits: Vec<Digit> = (0..100).map(bar).collect();
        let shift = shifted(&digits[0], &mut Random(5));
        assert_eq!(shift.label, 0);
        let losses = [1, 1, 2].map(|seed| {
            let mut random = Random(seed);
            let parameters = initial(&mut random).unwrap();
            let mut adam = Adam::new(&parameters).unwrap();
            let (images, targets) = tensors(&digits.iter().collect::<Vec<_>>()).unwrap();
            let mut losses = Vec::new();
            for _ in 0..20 {
                let loss = cross_entropy(&logits(&parameters, &images).unwrap(), &targets).unwrap();
                adam.update(&parameters, &loss, 5e-3).unwrap();
                losses.push(loss.to_scalar::<f32>().unwrap());
            }
            losses
        });
        assert_eq!(losses[0], losses[1], "the same seed");
        assert_ne!(losses[0], losses[2], "another seed");
        assert!(losses[0][19] < 0.5 * losses[0][0], "found losses {:?}", losses[0]);
    }
}
