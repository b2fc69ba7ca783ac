//! Patterns: for each neuron the direction in its input along which its output grows in the data, which its weights
//! are not, since they have to cancel what distracts (Haufe et al. 2014; Kindermans et al. 2017, arXiv 1705.05598).

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ndarray::{ArrayD, Axis};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::parameter::names;
use crate::{Conv, Cut, Error, LayeredModel, NodeId, Op, Point, Result, Tensor};

/// The patterns of a network's convolutions and linear layers, fitted to data.
///
/// ```
/// use attr_core::patterns::{PatternKind, Patterns};
/// # use attr_core::{Graph, LayeredModel, Result};
/// # use ndarray::ArrayD;
/// # fn fitted(model: &impl LayeredModel, batches: Vec<ArrayD<f64>>) -> Result<()> {
/// // Batches are gone through once and one at a time; each is one array for each input of the model.
/// let patterns = Patterns::fit(model, PatternKind::Positive, batches.into_iter().map(|batch| Ok(vec![batch])))?;
/// let bytes = patterns.to_safetensors()?;
/// assert_eq!(Patterns::from_safetensors(&bytes)?, patterns);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Patterns {
    /// For which inputs they hold.
    pub kind: PatternKind,
    /// How many rows they were fitted to.
    pub rows: usize,
    /// For each layer by its name the patterns of its neurons, in the shape of its weight.
    pub of: BTreeMap<String, ArrayD<f64>>,
}

/// For which inputs of a neuron a pattern is fitted, as in iNNvestigate 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PatternKind {
    /// All.
    Linear,
    /// Those for which it is above zero, batch norm behind it included: what a ReLU lets through.
    #[default]
    Positive,
    /// The others.
    Negative,
}

const KINDS: [(&str, PatternKind); 3] = [
    ("linear", PatternKind::Linear),
    ("positive", PatternKind::Positive),
    ("negative", PatternKind::Negative),
];
names!(PatternKind, "kind", KINDS);

impl Patterns {
    /// Fits patterns to a data set in one pass: `a = cov / (w cov)` with `cov = E[x y] - E[x] E[y]`, where `y` is the
    /// neuron's output without its bias, the first two means are over the inputs of the kind and `E[y]` is over all.
    /// Of a convolution each place of its window is an input of its own.
    ///
    /// A batch is one array for each input of the model.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] where there are no rows, and what a batch or the model says.
    pub fn fit<M: LayeredModel>(
        model: &M,
        kind: PatternKind,
        batches: impl IntoIterator<Item = Result<Vec<ArrayD<f64>>>>,
    ) -> Result<Patterns> {
        let mut layers = Statistics::of(model);
        let mut rows = 0;
        for batch in batches {
            let inputs = batch?.iter().map(|array| model.tensor(array)).collect::<Result<Vec<_>>>()?;
            let ids: Vec<_> = layers.iter().flat_map(|layer| [layer.input, layer.id, layer.seen]).collect();
            let values = model.forward(Point::at(&inputs), &Cut::several(ids))?;
            for (layer, values) in layers.iter_mut().zip(values.chunks(3)) {
                let node = model.graph().node(layer.id);
                let added = layer.add(model, kind, [&values[0], &values[1], &values[2]]);
                added.map_err(|error| error.in_layer(&node.name, node.op.kind()))?;
            }
            rows += inputs.first().map_or(0, Tensor::rows);
        }
        if rows == 0 {
            return Err(Error::parameter("patterns", "data to fit them to", "no rows"));
        }
        let named = |layer: Statistics| {
            let pattern = layer.pattern(&model.parameters(layer.id)[0].to_array()?);
            Ok((model.graph().node(layer.id).name.clone(), pattern))
        };
        Ok(Patterns { kind, rows, of: layers.into_iter().map(named).collect::<Result<_>>()? })
    }

    /// The pattern of a layer whose weight has these lengths.
    pub(crate) fn layer(&self, name: &str, dims: &[usize]) -> Result<&ArrayD<f64>> {
        let pattern = self.of.get(name).ok_or_else(|| {
            Error::Unsupported(format!("layer {name:?} has no pattern: these were fitted to another network"))
        })?;
        if pattern.shape() != dims {
            let (place, expected) = (format!("the pattern of layer {name:?}"), format!("{dims:?}"));
            return Err(Error::Shape { place, expected, found: pattern.shape().to_vec() });
        }
        Ok(pattern)
    }

    /// As a safetensors file: an array a layer, in double precision, and `kind` and `rows` as metadata.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let numbers = |array: &ArrayD<f64>| array.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        let arrays: Vec<_> =
            self.of.iter().map(|(name, array)| (name, array.shape(), numbers(array))).collect();
        let views = arrays.iter().map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F64, shape.to_vec(), bytes)?))
        });
        let metadata = [("kind", self.kind.to_string()), ("rows", self.rows.to_string())];
        let metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_string(), value)).into();
        let views = views.collect::<std::result::Result<Vec<_>, _>>();
        views.and_then(|views| safetensors::serialize(views, Some(metadata))).map_err(broken)
    }

    /// From a safetensors file in single or double precision.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] that says what is wrong with the file.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Patterns> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let metadata = header.metadata().as_ref();
        let word = |key: &str| {
            let word = metadata.and_then(|metadata| metadata.get(key));
            word.ok_or_else(|| broken(format!("no {key:?} among the file's metadata")))
        };
        let (kind, rows) = (word("kind")?.parse()?, word("rows")?.parse().map_err(broken)?);
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let array = |(name, view): (String, TensorView<'_>)| {
            let bytes = view.data();
            let numbers: Vec<f64> = match view.dtype() {
                Dtype::F64 => bytes.chunks_exact(8).map(|x| f64::from_le_bytes(exact(x))).collect(),
                Dtype::F32 => bytes.chunks_exact(4).map(|x| f32::from_le_bytes(exact(x)).into()).collect(),
                other => return Err(broken(format!("{name:?} is of type {other:?}"))),
            };
            if !numbers.iter().all(|x| x.is_finite()) {
                return Err(Error::NotFinite { place: format!("the pattern of layer {name:?}") });
            }
            let array = ArrayD::from_shape_vec(view.shape(), numbers).map_err(broken)?;
            Ok((name, array))
        };
        Ok(Patterns { kind, rows, of: file.tensors().into_iter().map(array).collect::<Result<_>>()? })
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("BUG: chunks have this length")
}

fn broken(reason: impl fmt::Display) -> Error {
    Error::parameter("patterns", "a safetensors file with a pattern for each layer", reason)
}

/// Sums over the data for one layer, which its patterns are made of.
struct Statistics {
    id: NodeId,
    /// The layer that it reads.
    input: NodeId,
    /// The layer whose value says for which inputs a neuron is above zero: itself, or the batch norm behind it.
    seen: NodeId,
    /// Over inputs of the kind, in the shape of the weight: of the inputs, and of input times output.
    inputs: ArrayD<f64>,
    products: ArrayD<f64>,
    /// How many inputs are of the kind, for each neuron.
    count: ArrayD<f64>,
    /// The sum of all outputs, for each neuron, and of how many.
    outputs: ArrayD<f64>,
    all: f64,
}

/// About how many numbers of windows are laid out at once.
const WINDOWS: usize = 1 << 24;

impl Statistics {
    /// Of each convolution and linear layer.
    fn of<M: LayeredModel>(model: &M) -> Vec<Self> {
        let graph = model.graph();
        let norms = graph.norms_behind();
        let nodes = graph.nodes().iter().enumerate();
        let weighted = nodes.filter(|(_, node)| matches!(node.op, Op::Conv(_) | Op::Linear));
        let of = |(id, node): (NodeId, &crate::Node)| {
            let zeros = ArrayD::zeros(model.parameters(id)[0].dims());
            let neurons = ArrayD::zeros(vec![zeros.len_of(Axis(0))]);
            Statistics {
                id,
                input: node.inputs[0],
                seen: norms[id].unwrap_or(id),
                products: zeros.clone(),
                inputs: zeros,
                count: neurons.clone(),
                outputs: neurons,
                all: 0.0,
            }
        };
        weighted.map(of).collect()
    }

    /// Counts a batch in: the layer's input, its output, and what is seen behind it.
    fn add<M: LayeredModel>(&mut self, model: &M, kind: PatternKind, values: [&M::Tensor; 3]) -> Result<()> {
        let params = model.parameters(self.id);
        let op = &model.graph().node(self.id).op;
        let dims = params[0].dims();
        let rows = values[0].rows();
        let at_once = match op {
            Op::Conv(_) => {
                let windows = values[1].len() / rows.max(1) / dims[0] * dims[1..].iter().product::<usize>();
                (WINDOWS / windows.max(1)).clamp(1, rows.max(1))
            }
            _ => rows,
        };
        for start in (0..rows).step_by(at_once.max(1)) {
            let len = at_once.min(rows - start);
            let [input, output, seen] = values.map(|value| value.slice_rows(start, len));
            // [rows, groups, places, inputs of a neuron], and [rows, 1, neurons, places].
            let (inputs, output, seen) = match op {
                Op::Conv(conv) => {
                    (windows(model, conv, &input?, &dims)?, by_channel(&output?)?, by_channel(&seen?)?)
                }
                _ => (samples(&input?)?, by_last(&output?)?, by_last(&seen?)?),
            };
            let groups = inputs.dims()[1];
            let grouped = |x: &M::Tensor| {
                let dims = x.dims();
                x.reshape(&[dims[0], groups, dims[2] / groups, dims[3]])
            };
            let above = seen.gt(&seen.zeros_like()?)?;
            let mask = match kind {
                PatternKind::Linear => above.filled_like(1.0)?,
                PatternKind::Positive => above,
                PatternKind::Negative => above.affine(-1.0, 1.0)?,
            };
            let y = match params.get(1) {
                Some(bias) => output.sub(&bias.reshape(&[1, 1, bias.len(), 1])?)?,
                None => output,
            };
            let sum = |x: &M::Tensor| -> Result<ArrayD<f64>> {
                let sums = grouped(x)?.matmul(&inputs)?.sum(&[0])?.to_array()?;
                Ok(sums.into_shape_with_order(dims.clone()).expect("BUG: as many sums as weights"))
            };
            let each = |x: &M::Tensor| -> Result<ArrayD<f64>> {
                let sums = x.sum(&[0, 1, 3])?.to_array()?;
                Ok(sums.into_shape_with_order(vec![dims[0]]).expect("BUG: as many sums as neurons"))
            };
            self.inputs += &sum(&mask)?;
            self.products += &sum(&y.mul(&mask)?)?;
            self.count += &each(&mask)?;
            self.outputs += &each(&y)?;
            self.all += (y.len() / dims[0]) as f64;
        }
        Ok(())
    }

    /// `cov / (w cov)`, nothing for a neuron without any input of the kind.
    fn pattern(&self, weight: &ArrayD<f64>) -> ArrayD<f64> {
        let mut pattern = ArrayD::zeros(weight.raw_dim());
        for (neuron, mut pattern) in pattern.outer_iter_mut().enumerate() {
            let of = |array: &ArrayD<f64>| array.index_axis(Axis(0), neuron).to_owned();
            let count = self.count[[neuron]].max(1.0);
            let mean = self.outputs[[neuron]] / self.all.max(1.0);
            let covariance = of(&self.products) / count - of(&self.inputs) / count * mean;
            let length = (&of(weight) * &covariance).sum();
            pattern.assign(&(covariance / if length == 0.0 { 1.0 } else { length }));
        }
        pattern
    }
}

/// `[rows, 1, neurons, places]` of a value whose neurons are on axis 1.
fn by_channel<T: Tensor>(x: &T) -> Result<T> {
    let dims = x.dims();
    x.reshape(&[dims[0], 1, dims[1], dims[2..].iter().product()])
}

/// The same of a value whose neurons are on the last axis, with all samples as places of one row.
fn by_last<T: Tensor>(x: &T) -> Result<T> {
    samples(x)?.permute(&[0, 1, 3, 2])
}

/// `[1, 1, samples, numbers]` of a value with numbers on the last axis.
fn samples<T: Tensor>(x: &T) -> Result<T> {
    let last = x.dims().last().copied().unwrap_or(1);
    x.reshape(&[1, 1, x.len() / last.max(1), last])
}

/// What each window of a convolution sees, `[rows, groups, places, inputs of a neuron]`: a convolution of each channel
/// by itself whose kernels are one at one place of the window.
fn windows<M: LayeredModel>(
    model: &M,
    conv: &Conv,
    input: &M::Tensor,
    weight: &[usize],
) -> Result<M::Tensor> {
    let (channels, kernel) = (input.dims()[1], &weight[2..]);
    let places: usize = kernel.iter().product();
    let one_hot = ArrayD::from_shape_fn(vec![channels * places, 1, places], |at| {
        if at[0] % places == at[2] { 1.0 } else { 0.0 }
    });
    let dims: Vec<_> = [channels * places, 1].into_iter().chain(kernel.iter().copied()).collect();
    let kernels =
        input.like(&one_hot.into_shape_with_order(dims).expect("BUG: as many numbers as before"))?;
    let each = Op::Conv(Conv { groups: channels, ..conv.clone() });
    let seen = model.layer_forward(&each, &[input], &[&kernels])?;
    let dims = seen.dims();
    let (inputs, out) = (channels / conv.groups * places, dims[2..].iter().product());
    seen.reshape(&[dims[0], conv.groups, inputs, out])?.permute(&[0, 1, 3, 2])
}
