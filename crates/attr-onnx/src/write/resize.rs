//! A resize as ONNX's operator.

use attr_core::{Coordinates, Interpolation, Node, Resize};

use super::{Writer, float, int, little_endian, text, to_i64, unwritable};
use crate::Result;
use crate::operators::resize::scaled;
use crate::proto::TensorProto;

impl Writer<'_> {
    /// By sizes, of which those of batch and channel are taken from the value, or by scales if they are
    /// not what the sizes make them.
    pub(super) fn resize(&mut self, node: &Node, resize: &Resize) -> Result<()> {
        let x = self.input(node, 0);
        let old: Vec<_> = x.shape.at(1).into_iter().skip(2).collect();
        let (mode, nearest) = match resize.mode {
            Interpolation::Nearest => ("nearest", "round_prefer_floor"),
            Interpolation::NearestUp => ("nearest", "round_prefer_ceil"),
            Interpolation::NearestFloor => ("nearest", "floor"),
            Interpolation::NearestCeil => ("nearest", "ceil"),
            Interpolation::Linear => ("linear", "round_prefer_floor"),
            Interpolation::Cubic { .. } => ("cubic", "round_prefer_floor"),
            _ => return Err(unwritable(node, "a resize of a mode that is not known here")),
        };
        let coordinates = match resize.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
            Coordinates::TfHalfPixel => "tf_half_pixel_for_nn",
            Coordinates::CropAndResize { .. } => "tf_crop_and_resize",
            Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
            Coordinates::AlignCorners => "align_corners",
            Coordinates::Asymmetric => "asymmetric",
            _ => return Err(unwritable(node, "a resize of coordinates that are not known here")),
        };
        let mut attributes = vec![
            text("mode", mode),
            text("nearest_mode", nearest),
            text("coordinate_transformation_mode", coordinates),
        ];
        if let Interpolation::Cubic { slope } = resize.mode {
            attributes.push(float("cubic_coeff_a", slope));
        }
        if resize.antialias {
            attributes.push(int("antialias", 1));
        }
        if resize.exclude_outside {
            attributes.push(int("exclude_outside", 1));
        }
        let region = match resize.coordinates {
            Coordinates::CropAndResize { region } => self.region(node, &region[..old.len().min(3)]),
            _ => String::new(),
        };
        // Corners are where the sizes say, whatever the scale.
        let by_size = resize.coordinates == Coordinates::AlignCorners
            || (0..old.len()).all(|i| resize.scale[i] == resize.size[i] as f64 / old[i] as f64);
        if by_size {
            let (shape, sizes) = (self.unique(&node.name, "shape"), self.unique(&node.name, "sizes"));
            self.node("Shape", &shape, vec![x.name.clone()], vec![int("start", 0), int("end", 2)]);
            let size = self.integers(node, "size", &to_i64(&resize.size));
            self.node("Concat", &sizes, vec![shape, size], vec![int("axis", 0)]);
            return self.with_inputs("Resize", node, vec![region, String::new(), sizes], attributes);
        }
        if (0..old.len()).any(|i| scaled(old[i], resize.scale[i]).ok() != Some(resize.size[i])) {
            return Err(unwritable(node, "a resize whose scale does not lead to its size"));
        }
        let scales: Vec<_> = [1.0, 1.0].iter().chain(&resize.scale).map(|&s| s as f32).collect();
        let data = little_endian(scales.iter().map(|s| s.to_le_bytes()), scales.len());
        let scales = self.tensor(node, "scales", vec![scales.len()], TensorProto::FLOAT, data);
        self.with_inputs("Resize", node, vec![region, scales], attributes)
    }

    /// The region of a crop: the beginnings of all axes, then their ends.
    fn region(&mut self, node: &Node, region: &[(f64, f64)]) -> String {
        let axes = || [(0.0, 1.0); 2].iter().chain(region);
        let numbers: Vec<_> = axes().map(|axis| axis.0).chain(axes().map(|axis| axis.1)).collect();
        let data = match self.float_type {
            TensorProto::DOUBLE => little_endian(numbers.iter().map(|x| x.to_le_bytes()), numbers.len()),
            _ => little_endian(numbers.iter().map(|&x| (x as f32).to_le_bytes()), numbers.len()),
        };
        self.tensor(node, "region", vec![numbers.len()], self.float_type, data)
    }
}
