use super::grad_cam::{GradCam, Upsampling};
use super::guided_backprop::GuidedBackprop;
use super::{Method, grad_cam};
use crate::parameter::parameters;
use crate::{Attribution, Cut, Dim, Error, LayeredModel, NodeId, Op, Question, Result, Slice, Tensor};

/// Class activation mapping: the feature maps below a global average pooling, each weighted by the linear layer behind
/// it (Zhou et al. 2016). The mean of the map is the logit without its bias.
///
/// The network has to end so: global average pooling, then at most one linear layer or convolution of size one. The
/// lower cut is the pooling's input, whatever the question says. The attribution is `[B, 1, H, W]`.
#[derive(Debug, Clone)]
pub struct Cam {
    /// Whether what speaks against the class is cut off; false.
    pub relu: bool,
    /// How the map is brought to the input's size; bilinear with half-pixel centres.
    pub upsampling: Upsampling,
}

parameters!(Cam {
    relu: "whether what speaks against the class is cut off",
    upsampling: "how the map is brought to the input's size: none, nearest, bilinear or bilinear-aligned",
});

impl Default for Cam {
    fn default() -> Self {
        Cam { relu: false, upsampling: Upsampling::Bilinear }
    }
}

impl<M: LayeredModel> Method<M> for Cam {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        let pool = global_pooling(question)?;
        let slice = Slice { from: Cut::index(pool).before(), to: question.slice.to.clone() };
        let grad_cam = GradCam { relu: self.relu, relu_features: false, upsampling: self.upsampling };
        // The derivative of a mean is one over the number of positions, which Grad-CAM's mean leaves in.
        let input = question.model.graph().node(question.model.graph().node(pool).inputs[0]);
        let positions: usize = input.shape.at(1)[2..].iter().product();
        let answer = grad_cam.named(&question.about(slice), question, "cam", self)?;
        let values = answer.values.iter().map(|map| map.scale(positions as f64)).collect::<Result<_>>()?;
        Attribution::new(values, answer.evidence)
    }
}

/// The global average pooling that the values at the upper cut are made of.
fn global_pooling<M: LayeredModel>(question: &Question<'_, M>) -> Result<NodeId> {
    let graph = question.model.graph();
    let top = graph.ports(&question.slice.to)?[0];
    let (mut id, mut weighted) = (graph.source(top), 0);
    loop {
        let node = graph.node(id);
        let one = |dims: &[Dim]| dims.iter().all(|dim| *dim == Dim::Fixed(1));
        let spatial = |id: NodeId| graph.node(id).shape.rank() == 4;
        match &node.op {
            Op::Mean { axes, .. } if spatial(node.inputs[0]) && axes[..] == [2, 3] => return Ok(id),
            Op::AveragePool { .. } if spatial(id) && one(&node.shape.0[2..]) => return Ok(id),
            Op::Identity | Op::Reshape { .. } => {}
            Op::Linear | Op::Conv(_)
                if weighted == 0 && (node.shape.rank() == 2 || one(&node.shape.0[2..])) =>
            {
                weighted = 1;
            }
            op => {
                return Err(Error::Unsupported(format!(
                    "layer {:?}: cam expects global average pooling and at most one linear layer before the \
                     quantity, found {}",
                    node.name,
                    op.kind()
                )));
            }
        }
        id = node.inputs[0];
    }
}

/// Guided Grad-CAM: guided backpropagation times the Grad-CAM of a late layer, brought to the input's size (Selvaraju
/// et al. 2016).
///
/// The lower cut is the layer of Grad-CAM; where it is the input, the last layer with spatial extent is taken. The
/// attribution is that of the inputs.
#[derive(Debug, Clone)]
pub struct GuidedGradCam {
    /// How the map is brought to the input's size; bilinear with half-pixel centres.
    pub upsampling: Upsampling,
}

parameters!(GuidedGradCam {
    upsampling: "how the map is brought to the input's size: nearest, bilinear or bilinear-aligned",
});

impl Default for GuidedGradCam {
    fn default() -> Self {
        GuidedGradCam { upsampling: Upsampling::Bilinear }
    }
}

impl GuidedGradCam {
    /// Captum's choice: the nearest entry.
    pub fn captum() -> Self {
        GuidedGradCam { upsampling: Upsampling::Nearest }
    }
}

impl<M: LayeredModel> Method<M> for GuidedGradCam {
    fn attribute(&self, question: &Question<'_, M>) -> Result<Attribution<M::Tensor>> {
        if self.upsampling == Upsampling::None {
            let expected = "nearest, bilinear or bilinear-aligned";
            return Err(Error::parameter("upsampling", expected, self.upsampling));
        }
        let layer = grad_cam::layer(question)?;
        let grad_cam = GradCam { upsampling: self.upsampling, ..GradCam::default() };
        let map = grad_cam.named(&question.about(layer), question, "guided-grad-cam", self)?;
        let slice = Slice { from: Cut::input(), to: question.slice.to.clone() };
        let guided = GuidedBackprop::default().attribute(&question.about(slice))?;
        let [map_of_layer] = &map.values[..] else {
            return Err(Error::Unsupported("guided-grad-cam of several layers at once: name one".into()));
        };
        let axes = question.channel_axes(&Cut::input())?;
        let values = guided.values.iter().zip(axes).map(|(value, channels)| match value.dims().len() {
            4 if channels == 3 => value.mul(&map_of_layer.permute(&[0, 2, 3, 1])?),
            4 => value.mul(map_of_layer),
            _ => Err(Error::Shape {
                place: "the model's inputs".into(),
                expected: "images [B, C, H, W]".into(),
                found: value.dims(),
            }),
        });
        let mut evidence = map.evidence;
        evidence.evaluations += question.rows();
        Attribution::new(values.collect::<Result<_>>()?, evidence)
    }
}
