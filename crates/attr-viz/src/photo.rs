//! Photos as arrays and back.

use image::{Rgb, RgbImage};
use ndarray::{Array3, ArrayView3};

use crate::error::{Result, check_array, check_photo, check_within, invalid};
use crate::resize::LONGEST_SIDE;

/// How far beyond 0 to 1 a value of a photo may be by rounding.
const ROUNDING: f64 = 1e-3;

/// The order of the axes of a photo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[3, H, W]`, as in libtorch, candle and ONNX. The default.
    #[default]
    ChannelsFirst,
    /// `[H, W, 3]`, as in TensorFlow.
    ChannelsLast,
}

/// The photo as an array of values from 0 to 1. Errors: an empty photo.
pub fn to_rgb_array(photo: &RgbImage, layout: Layout) -> Result<Array3<f64>> {
    check_photo(photo)?;
    let value = |c: usize, y: usize, x: usize| f64::from(photo.get_pixel(x as u32, y as u32).0[c]) / 255.;
    let (height, width) = (photo.height() as usize, photo.width() as usize);
    Ok(match layout {
        Layout::ChannelsFirst => Array3::from_shape_fn((3, height, width), |(c, y, x)| value(c, y, x)),
        Layout::ChannelsLast => Array3::from_shape_fn((height, width, 3), |(y, x, c)| value(c, y, x)),
    })
}

/// The photo of an array of values from 0 to 1, with three channels or (grey) one.
///
/// Errors: an empty array, NaN or infinity, a value outside of 0 to 1 by more than 0.001, another number of channels,
/// a side longer than 65535.
pub fn from_rgb_array(array: ArrayView3<f64>, layout: Layout) -> Result<RgbImage> {
    check_array("photo", &array)?;
    let array = match layout {
        Layout::ChannelsFirst => array,
        Layout::ChannelsLast => array.permuted_axes([2, 0, 1]),
    };
    let (channels, height, width) = array.dim();
    if channels != 1 && channels != 3 {
        return Err(invalid("channels of the photo", "1 or 3", channels));
    }
    check_within("longest side of the photo", height.max(width) as f64, 1., LONGEST_SIDE)?;
    for &value in &array {
        check_within("values of the photo", value, -ROUNDING, 1. + ROUNDING)?;
    }
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let value = |c: usize| array[[c.min(channels - 1), y as usize, x as usize]];
        Rgb([0, 1, 2].map(|c| (255. * value(c).clamp(0., 1.)).round() as u8))
    }))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn there_and_back_in_both_layouts() {
        let photo = RgbImage::from_fn(2, 3, |x, y| Rgb([x as u8, 100 + y as u8, 255]));
        for (layout, shape) in [(Layout::ChannelsFirst, [3, 3, 2]), (Layout::ChannelsLast, [3, 2, 3])] {
            let array = to_rgb_array(&photo, layout).unwrap();
            assert_eq!(array.shape(), shape);
            assert_eq!(from_rgb_array(array.view(), layout).unwrap(), photo);
        }
        assert_eq!(to_rgb_array(&photo, Layout::ChannelsLast).unwrap()[[2, 1, 1]], 102. / 255.);
    }

    #[test]
    fn grey_is_allowed_and_other_arrays_are_errors() {
        let grey = from_rgb_array(array![[[0., 1.]]].view(), Layout::ChannelsFirst).unwrap();
        assert_eq!(grey.into_raw(), [0, 0, 0, 255, 255, 255]);
        assert!(from_rgb_array(array![[[0.], [1.]]].view(), Layout::ChannelsLast).is_ok());
        assert!(from_rgb_array(array![[[0., 2.]]].view(), Layout::ChannelsFirst).is_err());
        let two = from_rgb_array(array![[[0.]], [[1.]]].view(), Layout::ChannelsFirst).unwrap_err();
        assert_eq!(two.to_string(), "channels of the photo: expected 1 or 3, found 2");
    }
}
