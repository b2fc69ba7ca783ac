use super::Method;
use super::gradient::gradient;
use crate::parameter::{Parameters, names, parameters};
use crate::resample::resize;
use crate::{
    At, Attribution, Coordinates, Cut, Dim, Error, Interpolation, ModelWrapper, Place, Question, Result,
};
use crate::{Shape, Slice, Tensor};

/// Grad-CAM: the feature maps of a late layer, each weighted by the spatial mean of its gradient, added up,
/// and brought to the size of the input (Selvaraju et al. 2016).
///
/// The lower cut is the layer; where it is the input, the last layer with spatial extent that leads to the
/// output is taken instead, and the evidence names it. The attribution is `[B, 1, H, W]`; of a layer without
/// spatial axes, `[B, 1]`.
#[derive(Debug, Clone)]
pub struct GradCam {
    /// Whether what speaks against the quantity is cut off at the end; true.
    pub relu: bool,
    /// Whether negative features are cut off first, as FullGrad's implementation does; false.
    pub relu_features: bool,
    /// How the map is brought to the input's size.
    pub upsampling: Upsampling,
}

/// How a small map is brought to the size of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upsampling {
    /// It keeps the layer's size.
    None,
    /// The nearest entry, as PyTorch's `nearest`.
    Nearest,
    /// Bilinear with half-pixel centres.
    #[default]
    Bilinear,
    /// Bilinear with aligned corners.
    BilinearAligned,
}

const UPSAMPLINGS: [(&str, Upsampling); 4] = [
    ("none", Upsampling::None),
    ("nearest", Upsampling::Nearest),
    ("bilinear", Upsampling::Bilinear),
    ("bilinear-aligned", Upsampling::BilinearAligned),
];
names!(Upsampling, "upsampling", UPSAMPLINGS);

parameters!(GradCam {
    relu: "whether what speaks against the quantity is cut off",
    relu_features: "whether negative features are cut off first",
    upsampling: "how the map is brought to the input's size: none, nearest, bilinear or bilinear-aligned",
});

impl Default for GradCam {
    fn default() -> Self {
        GradCam { relu: true, relu_features: false, upsampling: Upsampling::Bilinear }
    }
}

impl GradCam {
    /// Captum's `LayerGradCam`: no cut-off, no upsampling.
    pub fn captum() -> Self {
        GradCam { relu: false, upsampling: Upsampling::None, ..Self::default() }
    }

    /// FullGrad's implementation: features cut off too, aligned corners.
    pub fn fullgrad() -> Self {
        GradCam { relu: true, relu_features: true, upsampling: Upsampling::BilinearAligned }
    }
}

impl<M: ModelWrapper> Method<M> for GradCam {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        self.named(&question.about(layer(question)?), question, "grad-cam", self)
    }
}

impl GradCam {
    /// The map of the layer that `asked` is about, at the size of the input of `question`, under a method's name.
    pub(super) fn named<M: ModelWrapper>(
        &self,
        asked: &Question<'_, M>,
        question: &Question<'_, M>,
        name: &str,
        method: &dyn Parameters,
    ) -> Result<Attribution<M::Tensor>> {
        let axes = asked.channel_axes(&asked.slice.from)?;
        let answer = gradient(asked, name, method)?;
        let size = input_size(question)?;
        let map = |((features, gradient), channels): ((&M::Tensor, &M::Tensor), usize)| {
            let dims = features.dims();
            if channels == 0 || channels >= dims.len() {
                return Err(Error::Shape {
                    place: asked.slice.from.to_string(),
                    expected: format!("a layer with channels on axis {channels}"),
                    found: dims,
                });
            }
            let spatial: Vec<_> = (1..dims.len()).filter(|&axis| axis != channels).collect();
            let weights = gradient.mean(&spatial)?;
            let features = if self.relu_features { features.relu()? } else { features.clone() };
            let sum = features.mul(&weights)?.sum(&[channels])?;
            // The channel, now of length 1, goes behind the batch.
            let order: Vec<_> = [0, channels].into_iter().chain(spatial).collect();
            let sum = sum.permute(&order)?;
            let sum = if self.relu { sum.relu()? } else { sum };
            match &size {
                Some(size) if dims.len() == 4 => self.upsampling.resize(&sum, size),
                _ => Ok(sum),
            }
        };
        let pairs = answer.values.iter().zip(&answer.gradients);
        let values = pairs.zip(axes).map(map).collect::<Result<_>>()?;
        Attribution::new(values, answer.evidence)
    }
}

impl Upsampling {
    /// A map `[B, C, h, w]` at another size.
    pub(super) fn resize<T: Tensor>(self, map: &T, size: &[usize]) -> Result<T> {
        let (mode, coordinates) = match self {
            Upsampling::None => return Ok(map.clone()),
            Upsampling::Nearest => (Interpolation::NearestFloor, Coordinates::Asymmetric),
            Upsampling::Bilinear => (Interpolation::Linear, Coordinates::HalfPixel),
            Upsampling::BilinearAligned => (Interpolation::Linear, Coordinates::AlignCorners),
        };
        resize(map, size, mode, coordinates)
    }
}

/// The slice from the layer that the question names, or from the last one with spatial extent.
pub(super) fn layer<M: ModelWrapper>(question: &Question<'_, M>) -> Result<Slice> {
    let mut slice = question.slice.clone();
    if slice.from.at == At::Input {
        slice.from = last_spatial(question.model)?;
    }
    Ok(slice)
}

/// The last layer with spatial extent that leads to the output.
fn last_spatial<M: ModelWrapper>(model: &M) -> Result<Cut> {
    let spatial = |(index, place): &(usize, Place)| {
        let channels = || model.channel_axes(&Cut::index(*index)).ok()?.first().copied();
        let shape = place.shape.as_ref().filter(|_| place.leads_to_output && place.kind != "input");
        shape.is_some_and(|shape| has_extent(shape, channels().unwrap_or(1)))
    };
    match model.layers().into_iter().enumerate().rev().find(spatial) {
        Some((_, place)) => Ok(Cut::layer(place.name)),
        None => Err(Error::Unsupported(
            "grad-cam without a layer: no layer with spatial extent is known; name one".into(),
        )),
    }
}

fn has_extent(shape: &Shape, channels: usize) -> bool {
    let one = |(axis, dim): (usize, &Dim)| axis == 0 || axis == channels || *dim == Dim::Fixed(1);
    shape.rank() >= 4 && shape.is_batch_first() && !shape.0.iter().enumerate().all(one)
}

/// The size of the first input with two spatial axes, if there is one.
fn input_size<M: ModelWrapper>(question: &Question<'_, M>) -> Result<Option<Vec<usize>>> {
    let axes = question.channel_axes(&Cut::input())?;
    let mut images = question.inputs.iter().map(Tensor::dims).zip(axes);
    let image = images.find(|(dims, _)| dims.len() == 4);
    Ok(image.map(|(mut dims, channels)| {
        dims.remove(channels);
        dims.split_off(1)
    }))
}
