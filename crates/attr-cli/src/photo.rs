//! Pictures in files, as a model's input, and back.

use std::path::Path;

use image::imageops::{FilterType, crop_imm, resize};
use image::{Rgb, RgbImage};
use ndarray::{Array3, ArrayD, ArrayView3, ArrayViewD, Axis};

use crate::error::{Error, Result};
use crate::preparation::{Filter, Layout, Length, Order, Preparation};

/// The most pixels that a picture is resized to: one pixel high and a million wide is no photo.
const MAX_PIXELS: usize = 1 << 26;

/// A picture in a file, turned the way its EXIF orientation says, on white where it is transparent.
pub(crate) fn read(path: &Path) -> Result<RgbImage> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    attr_input::picture::decode(&bytes).map_err(|error| Error::file(path, error))
}

/// `[1, C, H, W]` or `[1, H, W, C]`: resized, the centre cut out, normalised.
pub(crate) fn prepare(image: &RgbImage, preparation: &Preparation) -> Result<ArrayD<f64>> {
    let Preparation { layout, order, scale, mean, std, .. } = preparation;
    let image = fit(image, preparation)?;
    let value = |(channel, y, x): (usize, usize, usize)| {
        let Rgb([r, g, b]) = *image.get_pixel(x as u32, y as u32);
        let byte = match (layout.channels, order) {
            // Brightness as in ITU-R 601, which Pillow uses too.
            (1, _) => (299.0 * f64::from(r) + 587.0 * f64::from(g) + 114.0 * f64::from(b)) / 1000.0,
            (_, Order::Rgb) => f64::from([r, g, b][channel]),
            (_, Order::Bgr) => f64::from([b, g, r][channel]),
        };
        (byte / 255.0 * scale - mean[channel]) / std[channel]
    };
    let array = Array3::from_shape_fn((layout.channels, layout.height, layout.width), value);
    let array = if layout.channel_axis == 0 { array } else { array.permuted_axes([1, 2, 0]) };
    Ok(array.as_standard_layout().into_owned().insert_axis(Axis(0)).into_dyn())
}

/// One row of a model's input, `[C, H, W]` or `[H, W, C]` with one or three channels, as the picture it is; `None` of
/// everything else. Where it is not known how a picture becomes numbers, its least number is black and its largest
/// white.
pub(crate) fn show(
    row: ArrayViewD<'_, f64>,
    channel_axis: usize,
    preparation: Option<&Preparation>,
) -> Option<RgbImage> {
    let layout = Layout::of_row(row.shape(), channel_axis).filter(|_| !row.is_empty())?;
    let row: ArrayView3<'_, f64> = row.into_dimensionality().ok()?;
    let row = if layout.channel_axis == 0 { row } else { row.permuted_axes([2, 0, 1]) };
    let (channels, height, width) = row.dim();
    let least = row.iter().copied().fold(f64::INFINITY, f64::min);
    let range = row.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    let bright = |channel: usize, value: f64| match preparation {
        Some(p) if p.mean.len() == channels => (value * p.std[channel] + p.mean[channel]) / p.scale,
        _ => (value - least) / if range > 0.0 { range } else { 1.0 },
    };
    let pixel = |x: u32, y: u32| {
        let at = |channel| {
            let value = bright(channel, row[[channel, y as usize, x as usize]]);
            (value * 255.0).round().clamp(0.0, 255.0) as u8
        };
        match (channels, preparation.map(|p| p.order)) {
            (1, _) => Rgb([at(0); 3]),
            (_, Some(Order::Bgr)) => Rgb([at(2), at(1), at(0)]),
            _ => Rgb([at(0), at(1), at(2)]),
        }
    };
    Some(RgbImage::from_fn(width as u32, height as u32, pixel))
}

/// Resized and cut to the model's height and width.
fn fit(image: &RgbImage, preparation: &Preparation) -> Result<RgbImage> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (to_width, to_height) = (preparation.layout.width, preparation.layout.height);
    let shorter = |side: usize| {
        let longer = |n: usize| (n as f64 * side as f64 / width.min(height) as f64) as usize;
        if width < height { (side, longer(height)) } else { (longer(width), side) }
    };
    let (new_width, new_height) = match preparation.resize {
        Some(Length::Exact([height, width])) => (width, height),
        Some(Length::Shorter(side)) => shorter(side),
        // The smallest that covers the model's input.
        None => {
            let factor = (to_width as f64 / width as f64).max(to_height as f64 / height as f64);
            let scaled = |n: usize, least: usize| ((n as f64 * factor).round() as usize).max(least);
            (scaled(width, to_width), scaled(height, to_height))
        }
    };
    if new_width < to_width || new_height < to_height {
        let expected =
            format!("a resized picture of at least {to_height}x{to_width}, the model's height and width");
        return Err(Error::usage(format!("resize: expected {expected}, found {new_height}x{new_width}")));
    }
    if new_width.saturating_mul(new_height) > MAX_PIXELS {
        let found = format!("{height}x{width}, which becomes {new_height}x{new_width}");
        return Err(Error::failed(format!("expected a picture of common proportions, found {found}")));
    }
    let filter = match preparation.filter {
        Filter::Bilinear => FilterType::Triangle,
        Filter::Bicubic => FilterType::CatmullRom,
    };
    let resized = match (new_width, new_height) == (width, height) {
        true => image.clone(),
        false => resize(image, new_width as u32, new_height as u32, filter),
    };
    // As torchvision: half of what is too much, a half rounded to the even side.
    let start = |new: usize, to: usize| ((new - to) as f64 / 2.0).round_ties_even() as u32;
    let (x, y) = (start(new_width, to_width), start(new_height, to_height));
    Ok(crop_imm(&resized, x, y, to_width as u32, to_height as u32).to_image())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preparation(channels: usize, channel_axis: usize, order: Order) -> Preparation {
        Preparation {
            layout: Layout { channels, height: 2, width: 4, channel_axis },
            resize: None,
            filter: Filter::Bilinear,
            order,
            scale: 255.0,
            mean: (0..channels).map(|c| c as f64 * 10.0).collect(),
            std: vec![2.0; channels],
        }
    }

    #[test]
    fn a_prepared_picture_is_shown_as_it_was() {
        let image = RgbImage::from_fn(4, 2, |x, y| Rgb([x as u8 * 60, y as u8 * 200, 7]));
        for (axis, order) in [(0, Order::Rgb), (0, Order::Bgr), (2, Order::Rgb), (2, Order::Bgr)] {
            let preparation = preparation(3, axis, order);
            let array = prepare(&image, &preparation).unwrap();
            assert_eq!(array.shape(), if axis == 0 { [1, 3, 2, 4] } else { [1, 2, 4, 3] });
            let row = array.index_axis(Axis(0), 0);
            if axis == 0 {
                let blue = if order == Order::Rgb { row[[2, 0, 0]] } else { row[[0, 0, 0]] };
                let mean = if order == Order::Rgb { 20.0 } else { 0.0 };
                assert!((blue - (7.0 - mean) / 2.0).abs() < 1e-12);
            }
            assert_eq!(show(row, axis + 1, Some(&preparation)).unwrap(), image);
        }
    }

    #[test]
    fn grey_and_cut_to_the_centre() {
        let image = RgbImage::from_fn(4, 8, |_, y| Rgb([y as u8; 3]));
        let array = prepare(&image, &preparation(1, 0, Order::Rgb)).unwrap();
        // The eight rows have a centre of rows 3 and 4.
        assert_eq!(array.shape(), [1, 1, 2, 4]);
        assert!((array[[0, 0, 0, 0]] - 1.5).abs() < 1e-12 && (array[[0, 0, 1, 0]] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let narrow = RgbImage::new(1, 30_000);
        let error = prepare(
            &narrow,
            &Preparation { resize: Some(Length::Shorter(1000)), ..preparation(1, 0, Order::Rgb) },
        );
        assert!(error.unwrap_err().to_string().contains("common proportions"));
        let small = Preparation { resize: Some(Length::Shorter(1)), ..preparation(1, 0, Order::Rgb) };
        assert!(prepare(&narrow, &small).unwrap_err().to_string().contains("at least 2x4"));
    }
}
