//! Arrays from `.npy` files, as NumPy writes them.
//!
//! What is allocated is the array in double precision, eight bytes for each byte of the file at most, and what it
//! takes to read a header of [`MAX_HEADER`] bytes.

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use ndarray_npy::npy::header::{Header, Layout};

use crate::{Error, Result};

/// No header has more bytes than this, as in NumPy itself: that of an array of numbers has about 60.
pub const MAX_HEADER: usize = 10_000;

/// The array in the bytes of a file: real numbers of any width that NumPy has a letter for.
///
/// # Errors
///
/// Bytes that are no such file, or of other numbers; lengths that contradict the number of bytes.
pub fn decode(bytes: &[u8]) -> Result<ArrayD<f64>> {
    let mut rest = bytes;
    if !header(bytes).is_some_and(is_plain) {
        return Err(Error("not a .npy file: its header is not that of an array of numbers".into()));
    }
    let header = Header::from_reader(&mut rest)
        .map_err(|error| Error(format!("not a .npy file: {}", one_line(&error.to_string()))))?;
    let kind = header.type_descriptor.as_string().cloned().unwrap_or_else(|| "a structure".into());
    let (width, number) = number(&kind).ok_or_else(|| {
        Error(format!("expected an array of f32, f64, u8 or whole numbers, found {kind:?}"))
    })?;
    // Also without the axes of length 0, so that no product of lengths overflows later on.
    let fits = header.shape.iter().try_fold(width, |bytes, &n| bytes.checked_mul(n.max(1))).is_some();
    if !fits || header.shape.iter().product::<usize>() * width != rest.len() {
        let (shape, found) = (&header.shape, rest.len());
        return Err(Error(format!(
            "expected {width} bytes for each number of shape {shape:?}, found {found} bytes"
        )));
    }
    let values = rest.chunks_exact(width).map(number).collect();
    let shape = IxDyn(&header.shape).set_f(header.layout == Layout::Fortran);
    ArrayD::from_shape_vec(shape, values).map_err(|error| Error(format!("broken .npy file: {error}")))
}

/// How many bytes a number has, and how it is read from them.
type Number = (usize, fn(&[u8]) -> f64);

fn number(kind: &str) -> Option<Number> {
    macro_rules! kinds {
        ($($text:literal $big:literal $kind:ty),*) => {
            match kind {
                $($text => Some((size_of::<$kind>(), |b| {
                    <$kind>::from_le_bytes(b.try_into().expect("BUG: a chunk has the number's width")) as f64
                })),
                $big => Some((size_of::<$kind>(), |b| {
                    <$kind>::from_be_bytes(b.try_into().expect("BUG: a chunk has the number's width")) as f64
                })),)*
                "|u1" => Some((1, |b| f64::from(b[0]))),
                "|i1" => Some((1, |b| f64::from(b[0] as i8))),
                "|b1" => Some((1, |b| f64::from(u8::from(b[0] != 0)))),
                _ => None,
            }
        };
    }
    kinds!("<f4" ">f4" f32, "<f8" ">f8" f64, "<i2" ">i2" i16, "<i4" ">i4" i32, "<i8" ">i8" i64,
           "<u2" ">u2" u16, "<u4" ">u4" u32, "<u8" ">u8" u64)
}

/// The header, a Python literal, if all of it is there: reading one takes as much memory as it says it is long.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (len, header) = match bytes {
        [_, _, _, _, _, _, 1, _, a, b, header @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), header),
        [_, _, _, _, _, _, _, _, a, b, c, d, header @ ..] => {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, header)
        }
        _ => (0, &[][..]),
    };
    header.get(..len)
}

/// Whether a header may be that of an array of numbers, which has two brackets. Reading one takes three times as long
/// with each bracket more that is not closed.
fn is_plain(header: &[u8]) -> bool {
    let open = header.iter().filter(|&&byte| matches!(byte, b'(' | b'[' | b'{'));
    header.len() <= MAX_HEADER && open.count() <= 4
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{header}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn every_width_and_order_of_bytes() {
        let cases: [(&str, &[u8]); 5] = [
            ("<f4", &1.0f32.to_le_bytes()),
            (">f8", &1.0f64.to_be_bytes()),
            ("|u1", &[1]),
            ("|b1", &[1]),
            ("<i8", &1i64.to_le_bytes()),
        ];
        for (kind, one) in cases {
            let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 1), }}");
            let array = decode(&file(&header, &[one, one].concat())).unwrap();
            assert_eq!(array, ndarray::array![[1.0], [1.0]].into_dyn(), "{kind}");
        }
    }

    #[test]
    fn columns_first() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }";
        assert_eq!(
            decode(&file(header, &[1, 2, 3, 4])).unwrap(),
            ndarray::array![[1., 3.], [2., 4.]].into_dyn()
        );
    }

    #[test]
    fn broken_files_are_errors() {
        let deep = format!("{{'descr': {}", "[".repeat(60_000));
        let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let cases = [
            (Vec::new(), "not a .npy file"),
            (b"hello world, this is no array".to_vec(), "not a .npy file"),
            (file(&deep, &[]), "not a .npy file"),
            (file(&"{".repeat(16), &[]), "not that of an array of numbers"),
            (file(&" ".repeat(MAX_HEADER), &[]), "not that of an array of numbers"),
            // A header of 658 million bytes, it says.
            (
                b"\x93NUMPY\x02\x00\x3e\x66\x38\x27{'descr': '<f4'}".to_vec(),
                "not that of an array of numbers",
            ),
            (file(&header("(2, 2)"), &[0; 15]), "found 15 bytes"),
            (file(&header("(9223372036854775807, 9223372036854775807)"), &[]), "expected 4 bytes"),
            (file(&header("(0, 9223372036854775807, 9223372036854775807)"), &[]), "expected 4 bytes"),
            (file("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", &[0; 8]), "\"<c8\""),
        ];
        for (bytes, expected) in cases {
            let error = decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
