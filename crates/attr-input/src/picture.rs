//! PNG and JPEG pictures.
//!
//! A picture is far smaller in its file than in memory, so a file of a few bytes can claim to be any picture at all.
//! What is allocated is bounded by [`most_bytes`].

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, Rgb, RgbImage};

use crate::{Error, Result};

/// No picture takes more bytes than this, decoded.
const MOST: u64 = 1 << 29;

/// Nor more than this for each byte of its file. Deflate makes 1032 bytes of one at most, and PNG eight more of each of
/// these; JPEG spends a bit or more on each block of 64 numbers.
const MOST_FOR_A_BYTE: u64 = 8 * 1032;

/// The most bytes that the pixels of a picture may take which comes from a file of so many bytes. The decoders' own
/// buffers and the conversion to eight bits of red, green and blue take a few times as much.
pub fn most_bytes(file: usize) -> u64 {
    MOST.min((file as u64).saturating_mul(MOST_FOR_A_BYTE))
}

/// The picture, turned the way its EXIF orientation says, on white where it is transparent.
///
/// # Errors
///
/// Bytes that are no PNG or JPEG picture, or a broken one, and a picture larger than [`most_bytes`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    let image = open(bytes)
        .map_err(|error| Error(format!("expected a PNG or JPEG picture or an array (.npy): {error}")))?;
    Ok(if image.color().has_alpha() { on_white(&image) } else { image.into_rgb8() })
}

fn open(bytes: &[u8]) -> std::result::Result<DynamicImage, Box<dyn std::error::Error>> {
    let most = most_bytes(bytes.len());
    let mut limits = Limits::default();
    limits.max_alloc = Some(most);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    // What `ImageReader::decode` asks and `DynamicImage::from_decoder` does not.
    let (needed, (width, height)) = (decoder.total_bytes(), decoder.dimensions());
    if needed > most {
        let expected = format!("a picture of at most {most} bytes for a file of {}", bytes.len());
        return Err(format!("expected {expected}, found {width}x{height} pixels of {needed} bytes").into());
    }
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(in_one_line)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn in_one_line(error: ImageError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn on_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, a] = image.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbaImage};

    use super::*;

    fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    #[test]
    fn what_is_transparent_is_white() {
        let image = RgbaImage::from_raw(2, 1, vec![10, 20, 30, 255, 10, 20, 30, 0]).unwrap();
        let picture = decode(&file(image, ImageFormat::Png)).unwrap();
        assert_eq!(picture.into_raw(), [10, 20, 30, 255, 255, 255]);
    }

    #[test]
    fn a_plain_picture_is_not_too_small_a_file() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = file(RgbImage::new(3000, 2000), format);
            assert!(decode(&bytes).is_ok(), "{format:?} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_small_file_of_a_huge_picture_is_an_error() {
        // The height and width in the frame header are made the largest.
        let mut bytes = file(RgbImage::new(8, 8), ImageFormat::Jpeg);
        let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
        let error = decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("65535x65535 pixels"), "{error}");
    }
}
