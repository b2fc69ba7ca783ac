use super::Method;
use super::grad_cam::Upsampling;
use crate::bilinear::Scores;
use crate::linear_form::bias_along_channels;
use crate::parameter::parameters;
use crate::question::join;
use crate::tensor::row_max;
use crate::walk::{Layer, Outcome, Pass, add_into, answer};
use crate::{
    Activation, Attribution, Dim, Distribution, Doi, Graph, LayeredModel, NodeId, Noise, Op, Point, Question,
    Result, Shape, Tensor,
};

/// FullGrad: the quantity taken apart into what each input and what each bias contributes, `f = x . df/dx + sum over
/// biases of b . df/db`, and a picture of both (Srinivas, Fleuret 2019).
///
/// The decomposition ([`FullGrad::decompose`]) is complete: its residual is rounding. The picture is not: it adds up
/// absolute values, each scaled to reach from 0 to 1, `sum over channels of psi(x df/dx) + sum over layers and
/// channels of psi(b df/db)`, of layers with two spatial axes (not the heads and tokens of attention), brought to the
/// input's size. It is `[B, 1, H, W]` for an input of two spatial axes; another input has `psi(x df/dx)` alone.
///
/// A batch norm counts with its effective bias, and a function that is not straight through zero with the bias of its
/// tangent: `f(z) - f'(z) z`.
#[derive(Debug, Clone)]
pub struct FullGrad {
    /// How the layers' terms are brought to the input's size; bilinear with aligned corners, as the authors do.
    pub upsampling: Upsampling,
}

/// FullGrad without the multiplication by biases and input (the authors' implementation).
#[derive(Debug, Clone)]
pub struct SimpleFullGrad {
    /// How the layers' terms are brought to the input's size; bilinear with aligned corners.
    pub upsampling: Upsampling,
}

/// FullGrad of decompositions added up over noisy copies of the input (the authors' implementation): here the input's
/// term is added up over channels before it is scaled.
#[derive(Debug, Clone)]
pub struct SmoothFullGrad {
    /// How the layers' terms are brought to the input's size; bilinear with aligned corners.
    pub upsampling: Upsampling,
    /// How many copies; 25.
    pub samples: usize,
    /// The standard deviation of the normal noise as a share of each row's range; 0.15.
    pub sigma: f64,
    /// The seed of the noise; 0.
    pub seed: u64,
}

const UPSAMPLING: &str =
    "how layers are brought to the input's size: none, nearest, bilinear or bilinear-aligned";

parameters!(FullGrad { upsampling: UPSAMPLING });
parameters!(SimpleFullGrad { upsampling: UPSAMPLING });
parameters!(SmoothFullGrad {
    upsampling: UPSAMPLING,
    samples: "noisy copies, at least 1",
    sigma: "the standard deviation of the noise, as a share of each row's range",
    seed: "the seed of the noise",
});

impl Default for FullGrad {
    fn default() -> Self {
        FullGrad { upsampling: Upsampling::BilinearAligned }
    }
}

impl Default for SimpleFullGrad {
    fn default() -> Self {
        SimpleFullGrad { upsampling: Upsampling::BilinearAligned }
    }
}

impl Default for SmoothFullGrad {
    fn default() -> Self {
        SmoothFullGrad { upsampling: Upsampling::BilinearAligned, samples: 25, sigma: 0.15, seed: 0 }
    }
}

/// The quantity, taken apart.
#[derive(Debug, Clone)]
pub struct Decomposition<T> {
    /// Each value at the lower cut times the derivative by it.
    pub inputs: Vec<T>,
    /// For each layer with a bias of any kind: its name, and the bias times the derivative by it, in the shape of the
    /// layer's value; the batch is the first axis, and where the layer has several entries of an axis for each row,
    /// they are the second one.
    pub biases: Vec<(String, T)>,
    /// What the quantity itself adds where it is not linear in the values at the upper cut, for each row.
    pub rest: Vec<f64>,
    /// What is left over when all of this is taken from the quantity, for each row.
    pub residual: Vec<f64>,
}

const LAW: &str =
    "completeness: the terms of inputs and biases add up to the quantity (those of the picture do not)";

impl FullGrad {
    /// The exact decomposition.
    ///
    /// # Errors
    ///
    /// As for any method; the terms of all rows are held at once, whatever the budget.
    pub fn decompose<M: LayeredModel>(&self, question: &Question<'_, M>) -> Result<Decomposition<M::Tensor>> {
        let mut chunks = Vec::new();
        answer(question, "fullgrad", self, 2, None, &mut |pass| {
            chunks.push(decompose(pass)?);
            Ok(Outcome::of(pass.walk.lower(&pass.values)))
        })?;
        Decomposition::joined(chunks)
    }
}

impl<T: Tensor> Decomposition<T> {
    /// Chunks of rows, one behind another.
    fn joined(chunks: Vec<Self>) -> Result<Self> {
        let (mut inputs, mut biases, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rest, mut residual) = (Vec::new(), Vec::new());
        for chunk in chunks {
            inputs.push(chunk.inputs);
            let terms: (Vec<_>, Vec<_>) = chunk.biases.into_iter().unzip();
            names = terms.0;
            biases.push(terms.1);
            rest.extend(chunk.rest);
            residual.extend(chunk.residual);
        }
        let biases = names.into_iter().zip(join(biases)?).collect();
        Ok(Decomposition { inputs: join(inputs)?, biases, rest, residual })
    }
}

impl<M: LayeredModel> Method<M> for FullGrad {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let axes = Axes::new(question)?;
        answer(question, "fullgrad", self, 2, Some(LAW), &mut |pass| {
            let terms = decompose(pass)?;
            let maps = axes.lower(&terms.inputs)?.iter().map(psi).collect::<Result<Vec<_>>>()?;
            let values = picture(maps, axes.layers(&terms.biases)?.iter(), self.upsampling)?;
            Ok(Outcome { residual: Some(terms.residual), ..Outcome::of(values) })
        })
    }
}

impl<M: LayeredModel> Method<M> for SimpleFullGrad {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let axes = Axes::new(question)?;
        answer(question, "simple-fullgrad", self, 2, None, &mut |pass| {
            let mut signals = Vec::new();
            let gradients = pass.back(pass.cotangents.clone(), &mut |layer, signal| {
                if bias_along_channels(layer)?.is_some() {
                    signals.push(in_rows(signal, &layer.node.shape)?);
                }
                layer.vjp(signal)
            })?;
            let maps = axes.lower(&gradients)?.iter().map(psi).collect::<Result<Vec<_>>>()?;
            Ok(Outcome::of(picture(maps, signals.iter(), self.upsampling)?))
        })
    }
}

impl<M: LayeredModel> Method<M> for SmoothFullGrad {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let noisy = Doi::Noisy {
            noise: Noise::Normal,
            size: self.sigma,
            relative: true,
            samples: self.samples,
            seed: self.seed,
        };
        let axes = Axes::new(question)?;
        answer(question, "smooth-fullgrad", self, 2, None, &mut |pass| {
            // The class is that of the input itself, whatever the noise does to it.
            let pinned = pass.pinned()?;
            let lower = pass.walk.lower(&pass.values);
            let points = noisy.points(&lower, pass.inputs)?;
            let (mut inputs, mut biases) = (vec![None; lower.len()], Vec::new());
            for index in 0..points.weights.len() {
                let replaced = (points.make)(index)?;
                let point = Point { inputs: pass.inputs, replace: Some((&question.slice.from, &replaced)) };
                let noisy = pass.at(point, pinned.as_deref())?;
                let terms = decompose(&noisy)?;
                biases.resize(terms.biases.len(), None);
                for (sum, term) in inputs.iter_mut().zip(axes.lower(&terms.inputs)?) {
                    add_into(sum, term)?;
                }
                for (sum, term) in biases.iter_mut().zip(axes.layers(&terms.biases)?) {
                    add_into(sum, term)?;
                }
            }
            let maps = inputs.into_iter().flatten().map(|sum| match has_two_spatial_axes(&sum) {
                true => psi(&sum.sum(&[1])?),
                false => psi(&sum),
            });
            let maps = maps.collect::<Result<Vec<_>>>()?;
            let biases: Vec<_> = biases.into_iter().flatten().collect();
            Ok(Outcome::of(picture(maps, biases.iter(), self.upsampling)?))
        })
        .map(|mut answer| {
            answer.evidence.evaluations += self.samples * question.rows();
            answer
        })
    }
}

/// The terms of a pass.
fn decompose<M: LayeredModel>(pass: &Pass<'_, M>) -> Result<Decomposition<M::Tensor>> {
    let mut biases = Vec::new();
    let gradients = pass.back(pass.cotangents.clone(), &mut |layer, signal| {
        let below = layer.vjp(signal)?;
        if let Some(term) = bias_term(layer, signal, &below)? {
            biases.push((layer.node.name.clone(), in_rows(&term, &layer.node.shape)?));
        }
        Ok(below)
    })?;
    let products = pass.walk.lower(&pass.values).into_iter().zip(&gradients);
    let inputs = products.map(|(value, gradient)| value.mul(gradient)).collect::<Result<Vec<_>>>()?;
    let total = |tensors: &[M::Tensor]| crate::attribution::row_totals(tensors);
    // What the quantity's own tangent adds.
    let linear = total(&pass.shares()?)?;
    let rest: Vec<_> =
        pass.quantity.iter().zip(&linear).map(|(quantity, linear)| quantity - linear).collect();
    let mut sum = total(&inputs)?;
    for (_, term) in &biases {
        sum.iter_mut().zip(total(std::slice::from_ref(term))?).for_each(|(sum, term)| *sum += term);
    }
    let residual = sum.iter().zip(&linear).map(|(sum, linear)| sum - linear).collect();
    Ok(Decomposition { inputs, biases, rest, residual })
}

/// What a layer adds beyond its derivative times its inputs, times the derivative by it; none if that is zero. `below`
/// is what the layer's derivative sends on.
fn bias_term<M: LayeredModel>(
    layer: &Layer<'_, M>,
    signal: &M::Tensor,
    below: &[Option<M::Tensor>],
) -> Result<Option<M::Tensor>> {
    if let Some(bias) = bias_along_channels(layer)? {
        return signal.mul(&bias).map(Some);
    }
    let times_output = |factor: f64| layer.output.mul(signal)?.scale(factor).map(Some);
    match layer.op() {
        Op::Activation(
            Activation::Relu | Activation::LeakyRelu { .. } | Activation::Abs | Activation::Neg,
        ) => Ok(None),
        Op::Activation(_)
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::LocalResponseNorm { .. } => match &below[0] {
            Some(below) => layer.output.mul(signal)?.sub(&layer.inputs[0].mul(below)?).map(Some),
            None => Ok(None),
        },
        // Of the products' degree: a b has 2, so one ab too much is in the derivative times the inputs.
        Op::Mul | Op::MatMul if layer.wanted == [true, true] => times_output(-1.0),
        Op::Attention { scale } => attention(layer, *scale)?.mul(signal).map(Some),
        Op::Maximum | Op::Minimum if layer.wanted == [true, true] => Ok(None),
        Op::Maximum | Op::Minimum | Op::Power => Err(layer.undefined("fullgrad")),
        Op::Compare(_) => times_output(1.0),
        Op::Where => chosen(layer, signal),
        Op::Div if layer.wanted == [true, true] => times_output(1.0),
        Op::Div if layer.wanted == [false, true] => times_output(2.0),
        Op::Pad { value, .. } if *value != 0.0 => at_zero(layer, signal),
        // Linear in what leads to the lower cut; the other inputs are the bias.
        _ if layer.wanted.contains(&false) => at_zero(layer, signal),
        _ => Ok(None),
    }
}

/// What attention adds beyond its derivative times those of its inputs that lead to the lower cut.
fn attention<M: LayeredModel>(layer: &Layer<'_, M>, scale: f64) -> Result<M::Tensor> {
    let Scores { scores, weights } = Scores::of(layer, scale)?;
    let wanted = |slot: usize| layer.wanted.get(slot).is_some_and(|wanted| *wanted);
    // The scores are a product of two, so its derivative times both is twice their value.
    let mut change = scores.scale(f64::from(u8::from(wanted(0)) + u8::from(wanted(1))))?;
    if let Some(mask) = layer.inputs.get(3).filter(|_| wanted(3)) {
        change = change.add(mask)?;
    }
    let last = weights.dims().len() - 1;
    let change = weights.mul(&change)?;
    let change = change.sub(&weights.mul(&change.sum(&[last])?)?)?.matmul(layer.inputs[2])?.scale(-1.0)?;
    if wanted(2) { Ok(change) } else { change.add(layer.output) }
}

/// What a choice takes from inputs that do not lead to the lower cut, times the signal.
fn chosen<M: LayeredModel>(layer: &Layer<'_, M>, signal: &M::Tensor) -> Result<Option<M::Tensor>> {
    if layer.wanted[1..] == [true, true] {
        return Ok(None);
    }
    let own = |slot: usize| match layer.wanted[slot] {
        true => layer.inputs[slot].zeros_like(),
        false => Ok(layer.inputs[slot].clone()),
    };
    let (b, c) = (own(1)?, own(2)?);
    layer.walk.model.layer_forward(&Op::Where, &[layer.inputs[0], &b, &c], &[])?.mul(signal).map(Some)
}

/// What the layer gives where the inputs that lead to the lower cut are zero, times the signal.
fn at_zero<M: LayeredModel>(layer: &Layer<'_, M>, signal: &M::Tensor) -> Result<Option<M::Tensor>> {
    let inputs = layer.inputs.iter().zip(&layer.wanted);
    let inputs = inputs.map(|(&input, wanted)| if *wanted { input.zeros_like() } else { Ok(input.clone()) });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let refs: Vec<_> = inputs.iter().collect();
    layer.walk.model.layer_forward(layer.op(), &refs, &layer.params())?.mul(signal).map(Some)
}

/// Where channels are which are not on axis 1.
struct Axes<'a> {
    graph: &'a Graph,
    lower: Vec<usize>,
}

impl<'a> Axes<'a> {
    fn new<M: LayeredModel>(question: &'a Question<'_, M>) -> Result<Self> {
        Ok(Axes { graph: question.model.graph(), lower: question.channel_axes(&question.slice.from)? })
    }

    /// Values at the lower cut with their channels on axis 1.
    fn lower<T: Tensor>(&self, values: &[T]) -> Result<Vec<T>> {
        values.iter().zip(&self.lower).map(|(value, &axis)| channels_second(value, axis)).collect()
    }

    /// Values of layers, likewise, without those whose axes are heads and tokens.
    fn layers<T: Tensor>(&self, values: &[(String, T)]) -> Result<Vec<T>> {
        let places = values.iter().map(|(name, value)| (self.graph.find(name), value));
        let is_product = |id: NodeId| matches!(self.graph.node(id).op, Op::Attention { .. } | Op::MatMul);
        let maps = places.filter(|(id, _)| !id.is_some_and(is_product));
        maps.map(|(id, value)| channels_second(value, id.map_or(1, |id| self.graph.channel_axis(id))))
            .collect()
    }
}

/// A layer's value with the batch as its first axis and one entry of that for each row.
fn in_rows<T: Tensor>(value: &T, shape: &Shape) -> Result<T> {
    let Some(batch) = shape.batch_axis().filter(|_| !shape.is_batch_first()) else {
        return Ok(value.clone());
    };
    let axes: Vec<_> =
        std::iter::once(batch).chain((0..shape.rank()).filter(|&axis| axis != batch)).collect();
    let value = value.permute(&axes)?;
    match (shape.0[batch], &value.dims()[..]) {
        (Dim::Batch(each @ 2..), [rows, others @ ..]) => {
            value.reshape(&[&[rows / each, each], others].concat())
        }
        _ => Ok(value),
    }
}

fn channels_second<T: Tensor>(value: &T, axis: usize) -> Result<T> {
    if axis != 3 || !has_two_spatial_axes(value) {
        return Ok(value.clone());
    }
    value.permute(&[0, 3, 1, 2])
}

/// The maps of the lower cut with those of all layers that have two spatial axes.
fn picture<'a, T: Tensor>(
    lower: Vec<T>,
    layers: impl Iterator<Item = &'a T>,
    upsampling: Upsampling,
) -> Result<Vec<T>> {
    let mut maps = Vec::new();
    for map in lower {
        maps.push(if has_two_spatial_axes(&map) { map.sum(&[1])? } else { map });
    }
    for layer in layers.filter(|layer| has_two_spatial_axes(*layer)) {
        let scaled = psi(layer)?.sum(&[1])?;
        for map in maps.iter_mut().filter(|map| has_two_spatial_axes(*map)) {
            *map = map.add(&upsampling.resize(&scaled, &map.dims()[2..])?)?;
        }
    }
    Ok(maps)
}

fn has_two_spatial_axes<T: Tensor>(tensor: &T) -> bool {
    tensor.dims().len() == 4
}

/// Absolute values, each row brought to reach from 0 to 1.
fn psi<T: Tensor>(x: &T) -> Result<T> {
    let absolute = x.abs()?;
    let least = row_max(&absolute.scale(-1.0)?)?.scale(-1.0)?;
    let above = absolute.sub(&least)?;
    above.div(&row_max(&above)?.affine(1.0, 1e-6)?)
}
