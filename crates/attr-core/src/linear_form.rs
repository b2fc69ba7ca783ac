//! A layer as a linear map of its inputs, with weights and bias that a rule can take parts of.

use crate::rule::{Branch, Part, Term};
use crate::walk::{Layer, Signals, Walk, add_into};
use crate::{Activation, LayeredModel, NodeId, Op, Result, Tensor};

/// What a layer does to those of its inputs that lead to the lower cut, as a linear map.
pub(crate) struct LinearForm<'a, M: LayeredModel> {
    layer: &'a Layer<'a, M>,
    op: Op,
    /// Which of the layer's inputs it maps: all, or the one that is multiplied by a factor.
    slots: Vec<usize>,
    map: Map<M::Tensor>,
    /// What the map and its bias give.
    pub(crate) output: &'a M::Tensor,
    /// Whether `output` is not what `op` gives.
    instead: bool,
}

/// Where the coefficients of the map are.
enum Map<T> {
    /// In a weight, with a bias that broadcasts to the output.
    Weights { weight: T, bias: Option<T>, holder: Holder<T> },
    /// One coefficient for each input, up to positive factors of the layer's own.
    Coefficients(Vec<f64>),
}

/// How the kernels take the weight.
enum Holder<T> {
    /// As the only parameter.
    Parameter,
    /// As the scale of a batch norm of mean 0 and unit variance: with what comes behind it.
    Norm([T; 3]),
    /// As the other input of a product, which is that with this number.
    Factor(usize),
}

impl<'a, M: LayeredModel> LinearForm<'a, M> {
    /// The form of a layer; none if it is not linear in the inputs that lead to the lower cut. With `spread`, max
    /// pooling counts as average pooling; `folded` is the batch norm that is part of the layer.
    pub(crate) fn of(layer: &'a Layer<'a, M>, spread: bool, folded: Option<NodeId>) -> Result<Option<Self>> {
        let params = layer.params();
        let mut form = LinearForm {
            layer,
            op: layer.op().clone(),
            slots: (0..layer.inputs.len()).collect(),
            map: Map::Coefficients(vec![1.0]),
            output: layer.output,
            instead: false,
        };
        match layer.op() {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Linear => {
                let (mut weight, mut bias) = (params[0].clone(), params.get(1).map(|&bias| bias.clone()));
                if let Some(norm) = folded {
                    let [scale, shift] = scale_and_shift(layer.walk, norm)?;
                    weight = weight.mul(&along_outputs(&scale, layer.op(), &weight)?)?;
                    bias = Some(match bias {
                        Some(bias) => bias.mul(&scale)?.add(&shift)?,
                        None => shift,
                    });
                    form.output = layer.behind.expect("BUG: the value of a folded batch norm is missing");
                }
                let bias = bias.map(|bias| along_channels(&bias, layer)).transpose()?;
                form.map = Map::Weights { weight, bias, holder: Holder::Parameter };
            }
            Op::BatchNorm { epsilon } => {
                let [weight, bias] = scale_and_shift(layer.walk, layer.id)?;
                let rest = [weight.zeros_like()?, weight.zeros_like()?, weight.filled_like(1.0 - epsilon)?];
                let bias = Some(along_channels(&bias, layer)?);
                form.map = Map::Weights { weight, bias, holder: Holder::Norm(rest) };
            }
            Op::Add => form.map = Map::Coefficients(vec![1.0, 1.0]),
            Op::Sub => {
                form.op = Op::Add;
                form.map = Map::Coefficients(vec![1.0, -1.0]);
            }
            Op::Activation(Activation::Neg) => {
                form.op = Op::Identity;
                form.map = Map::Coefficients(vec![-1.0]);
            }
            Op::MaxPool(pool) if spread => {
                form.op = Op::AveragePool { pool: pool.clone(), count_include_pad: false };
                form.instead = true;
            }
            Op::AveragePool { .. } | Op::Mean { .. } | Op::Sum { .. } | Op::Resize(_) => {}
            Op::Mul | Op::MatMul if layer.wanted != [true, true] => {
                let active = usize::from(layer.wanted[1]);
                form.factor(layer.op().clone(), active, layer.inputs[1 - active].clone());
            }
            Op::Div if layer.wanted == [true, false] => {
                let factor = layer.inputs[1].filled_like(1.0)?.div(layer.inputs[1])?;
                form.factor(Op::Mul, 0, factor);
            }
            _ => return Ok(None),
        }
        Ok(Some(form))
    }

    /// A product with a factor that does not depend on the lower cut.
    fn factor(&mut self, op: Op, active: usize, weight: M::Tensor) {
        self.op = op;
        self.slots = vec![active];
        self.map = Map::Weights { weight, bias: None, holder: Holder::Factor(1 - active) };
    }

    /// Whether the layer shows the weights that a quotient is made of.
    pub(crate) fn defines(&self, branch: &Branch) -> bool {
        branch.terms.iter().all(|term| self.shows(&term.weights))
    }

    /// The denominator of a quotient, before it is stabilized; none where there is nothing to share by.
    pub(crate) fn forward(&self, branch: &Branch) -> Result<Option<M::Tensor>> {
        let whole = |part: &Part| *part == Part::ALL;
        let (terms, bias) = (&branch.terms, self.bias());
        let plain = matches!(&terms[..], [only] if whole(&only.inputs) && whole(&only.weights));
        if plain && !self.instead && (bias.is_none() || whole(&branch.bias)) {
            return Ok(Some(self.output.clone()));
        }
        let mut sum = None;
        for term in terms {
            if let Some(z) = self.product(term)? {
                add_into(&mut sum, term.signed(z)?)?;
            }
        }
        if let Some(bias) = bias.map(|bias| branch.bias.of(bias)).transpose()?.flatten() {
            sum = match sum {
                Some(sum) => Some(sum.add(&bias)?),
                None => Some(bias.broadcast_to(&self.output.dims())?),
            };
        }
        Ok(sum)
    }

    /// `sign * inputs' * transpose(signal)` of a term, for each input of the layer.
    pub(crate) fn pull(&self, term: &Term, signal: &M::Tensor) -> Result<Signals<M::Tensor>> {
        let mut products = vec![None; self.layer.inputs.len()];
        let Some(parts) = self.parts(&term.inputs)? else { return Ok(products) };
        let below = self.transpose(&term.weights, signal)?;
        for (&slot, part) in self.slots.iter().zip(parts) {
            if let (Some(below), Some(part)) = (&below[slot], part) {
                products[slot] = Some(term.signed(below.mul(&part)?)?);
            }
        }
        Ok(products)
    }

    /// The transpose of the map with a part of its weights, applied to a signal; none where that is zero.
    pub(crate) fn transpose(&self, weights: &Part, signal: &M::Tensor) -> Result<Signals<M::Tensor>> {
        let model = self.layer.walk.model;
        let mut below = vec![None; self.layer.inputs.len()];
        match &self.map {
            Map::Coefficients(coefficients) => {
                let sent = model.layer_vjp(&self.op, &self.layer.inputs, &[], signal, &self.layer.wanted)?;
                for ((slot, sent), &coefficient) in sent.into_iter().enumerate().zip(coefficients) {
                    let coefficient = weights.of_number(coefficient);
                    let sent = sent.filter(|_| coefficient != 0.0);
                    below[slot] = sent.map(|sent| sent.scale(coefficient)).transpose()?;
                }
            }
            Map::Weights { weight, holder, .. } => {
                let Some(weight) = weights.of(weight)? else { return Ok(below) };
                let (inputs, params) = holder.hold(self.layer.inputs[self.slots[0]], &weight);
                let mapped = holder.mapped();
                let wanted: Vec<_> = (0..inputs.len()).map(|i| i == mapped).collect();
                let mut sent = model.layer_vjp(&self.op, &inputs, &params, signal, &wanted)?;
                below[self.slots[0]] = sent.swap_remove(mapped);
            }
        }
        Ok(below)
    }

    /// Whether a rule can take this part of the coefficients.
    fn shows(&self, weights: &Part) -> bool {
        match (&self.map, weights) {
            (_, Part::Signed(..)) => true,
            (Map::Weights { holder, .. }, _) => {
                self.op != Op::Mul || !matches!(holder, Holder::Factor(_)) || *weights == Part::Square
            }
            // The coefficients of one window are equal, and a common factor cancels out; those of a resize are not.
            (Map::Coefficients(_), _) => !matches!(self.op, Op::Resize(_)),
        }
    }

    fn bias(&self) -> Option<&M::Tensor> {
        match &self.map {
            Map::Weights { bias, .. } => bias.as_ref(),
            Map::Coefficients(_) => None,
        }
    }

    /// The part of each input that it maps; none if all are zero.
    fn parts(&self, part: &Part) -> Result<Option<Signals<M::Tensor>>> {
        // Of numbers that aren't negative, the factor of negative ones does not matter.
        let of = |&slot: &usize| match part {
            &Part::Signed(p, _) if self.layer.non_negative[slot] => {
                Part::Signed(p, p).of(self.layer.inputs[slot])
            }
            part => part.of(self.layer.inputs[slot]),
        };
        let parts = self.slots.iter().map(of).collect::<Result<Vec<_>>>()?;
        Ok(Some(parts).filter(|parts| parts.iter().any(Option::is_some)))
    }

    /// The layer on a part of its inputs, with a part of its weights, without bias; none if that is zero.
    pub(crate) fn product(&self, term: &Term) -> Result<Option<M::Tensor>> {
        let model = self.layer.walk.model;
        let Some(parts) = self.parts(&term.inputs)? else { return Ok(None) };
        match &self.map {
            Map::Coefficients(coefficients) => {
                let scaled =
                    parts.into_iter().zip(coefficients).zip(&self.layer.inputs).map(|((part, &c), input)| {
                        part.map_or_else(|| input.zeros_like(), |part| part.scale(term.weights.of_number(c)))
                    });
                let inputs = scaled.collect::<Result<Vec<_>>>()?;
                let z = model.layer_forward(&self.op, &inputs.iter().collect::<Vec<_>>(), &[])?;
                let none = coefficients.iter().all(|&c| term.weights.of_number(c) == 0.0);
                Ok(Some(z).filter(|_| !none))
            }
            Map::Weights { weight, holder, .. } => {
                let weight = term.weights.of(weight)?;
                let (Some(weight), Some(input)) = (weight, &parts[0]) else { return Ok(None) };
                let (inputs, params) = holder.hold(input, &weight);
                model.layer_forward(&self.op, &inputs, &params).map(Some)
            }
        }
    }
}

impl<T> Holder<T> {
    /// The inputs and parameters of the layer with this weight.
    fn hold<'a>(&'a self, input: &'a T, weight: &'a T) -> (Vec<&'a T>, Vec<&'a T>) {
        match self {
            Holder::Parameter => (vec![input], vec![weight]),
            Holder::Norm([shift, mean, variance]) => (vec![input], vec![weight, shift, mean, variance]),
            Holder::Factor(0) => (vec![weight, input], vec![]),
            Holder::Factor(_) => (vec![input, weight], vec![]),
        }
    }

    /// Which of these inputs is the one that is mapped.
    fn mapped(&self) -> usize {
        usize::from(matches!(self, Holder::Factor(0)))
    }
}

/// What a batch norm multiplies each channel by, and what it then adds.
fn scale_and_shift<M: LayeredModel>(walk: &Walk<'_, M>, norm: NodeId) -> Result<[M::Tensor; 2]> {
    let Op::BatchNorm { epsilon } = walk.node(norm).op else { unreachable!("BUG: not a batch norm") };
    let params = walk.model.parameters(norm);
    let scale = params[0].div(&params[3].affine(1.0, epsilon)?.sqrt()?)?;
    let shift = params[1].sub(&params[2].mul(&scale)?)?;
    Ok([scale, shift])
}

/// The bias of a weighted layer, or the effective bias of a batch norm, in the shape that broadcasts to the output.
pub(crate) fn bias_along_channels<M: LayeredModel>(layer: &Layer<'_, M>) -> Result<Option<M::Tensor>> {
    let bias = match layer.op() {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Linear => layer.params().get(1).map(|&bias| bias.clone()),
        Op::BatchNorm { .. } => Some(scale_and_shift(layer.walk, layer.id)?[1].clone()),
        _ => None,
    };
    bias.map(|bias| along_channels(&bias, layer)).transpose()
}

/// What a batch norm multiplies by, in the shape that broadcasts to its output.
pub(crate) fn scale_of<M: LayeredModel>(layer: &Layer<'_, M>) -> Result<M::Tensor> {
    along_channels(&scale_and_shift(layer.walk, layer.id)?[0], layer)
}

/// A number for each output, in the shape that broadcasts to a weight.
fn along_outputs<T: Tensor>(numbers: &T, op: &Op, weight: &T) -> Result<T> {
    let mut dims = vec![1; weight.dims().len()];
    let Op::ConvTranspose(transposed) = op else {
        dims[0] = numbers.len();
        return numbers.reshape(&dims);
    };
    // Weight `[in, out / groups, ...]`: the outputs of a group stand behind each of its inputs.
    let (groups, [inputs, outputs]) = (transposed.conv.groups, [weight.dims()[0], weight.dims()[1]]);
    (dims[0], dims[1]) = (inputs, outputs);
    let of_group = numbers.reshape(&[groups, 1, outputs])?;
    of_group.broadcast_to(&[groups, inputs / groups, outputs])?.reshape(&dims)
}

/// A number for each channel, in the shape that broadcasts to a layer's output.
fn along_channels<M: LayeredModel>(numbers: &M::Tensor, layer: &Layer<'_, M>) -> Result<M::Tensor> {
    let rank = layer.node.shape.rank();
    let axis = if matches!(layer.op(), Op::Linear) { rank - 1 } else { 1 };
    let mut dims = vec![1; rank];
    dims[axis] = numbers.len();
    numbers.reshape(&dims)
}
