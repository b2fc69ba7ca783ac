//! Writing images to files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder};
use image::{ImageResult, RgbImage};

use crate::error::{Error, Result, check_photo, invalid};

const JPEG_QUALITY: u8 = 92;

/// Writes an image as PNG or JPEG, by the extension of the path: `png`, `jpg` or `jpeg`.
///
/// It is written to a new file beside and then renamed, so the path holds either the whole image or what it held
/// before. Errors: another extension, an empty image, whatever the file system says.
pub fn save(path: impl AsRef<Path>, image: &RgbImage) -> Result<()> {
    let path = path.as_ref();
    check_photo(image)?;
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if !["png", "jpg", "jpeg"].contains(&extension.as_str()) {
        let what = format_args!("extension of {}", path.display()).to_string();
        return Err(invalid(what, "one of png, jpg, jpeg", format_args!("{extension:?}")));
    }
    let beside = path.with_file_name(temporary_name(path));
    let written = write(&beside, image, extension == "png").and_then(|()| Ok(fs::rename(&beside, path)?));
    written.map_err(|source| {
        // Whatever went wrong is what to report, not that there was nothing to remove.
        let _ = fs::remove_file(&beside);
        Error::Write { path: path.to_owned(), source }
    })
}

/// A hidden name that no other process and no other call uses.
fn temporary_name(path: &Path) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{}.{count}.part", std::process::id())
}

fn write(path: &Path, image: &RgbImage, png: bool) -> ImageResult<()> {
    let mut file = BufWriter::new(File::create(path)?);
    match png {
        true => image.write_with_encoder(PngEncoder::new(&mut file))?,
        false => image.write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))?,
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn writes_both_formats_and_leaves_nothing_beside() {
        let folder = std::env::temp_dir().join(format!("attr-viz-save-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let photo = RgbImage::from_pixel(9, 5, Rgb([10, 200, 30]));
        for name in ["a.png", "b.JPG", "c.jpeg"] {
            save(folder.join(name), &photo).unwrap();
            let format = if name == "a.png" { image::ImageFormat::Png } else { image::ImageFormat::Jpeg };
            let bytes = fs::read(folder.join(name)).unwrap();
            let read = image::load_from_memory_with_format(&bytes, format).unwrap().to_rgb8();
            assert_eq!(read.dimensions(), (9, 5));
            assert!(read[(4, 2)].0.iter().zip([10, 200, 30]).all(|(a, b)| a.abs_diff(b) < 4));
        }
        fs::create_dir(folder.join("d.png")).unwrap();
        assert!(matches!(save(folder.join("d.png"), &photo), Err(Error::Write { .. })));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn other_extensions_are_errors() {
        let photo = RgbImage::new(1, 1);
        let gif = save("picture.gif", &photo).unwrap_err().to_string();
        assert_eq!(gif, r#"extension of picture.gif: expected one of png, jpg, jpeg, found "gif""#);
        assert!(save("picture", &photo).is_err());
        assert!(save("/nowhere/at/all.png", &photo).is_err());
        assert!(save("empty.png", &RgbImage::new(0, 0)).is_err());
    }
}
