//! Files that PyTorch and NumPy wrote, whole and broken.
//!
//! They are made by `xtask/python/checkpoint_fixtures.py`.

use std::fs::File;
use std::path::PathBuf;

use attr_checkpoint::{Element, Error, Tensor, Tensors, decode, read};
use ndarray::ArrayD;
use ndarray_npy::NpzReader;

/// The same checkpoint three times.
const FORMATS: [&str; 3] = ["zip.pth", "legacy.pth", "protocol-4.pth"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// The numbers of a tensor, which all have an exact word in double precision.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let bytes = tensor.to_bytes();
    let each = bytes.chunks_exact(tensor.element().size());
    let number = |b: &[u8]| match tensor.element() {
        Element::U8 | Element::Bool => f64::from(b[0]),
        Element::I8 => f64::from(b[0] as i8),
        Element::I16 => f64::from(i16::from_le_bytes(b.try_into().unwrap())),
        Element::I32 => f64::from(i32::from_le_bytes(b.try_into().unwrap())),
        Element::I64 => i64::from_le_bytes(b.try_into().unwrap()) as f64,
        Element::F32 => f64::from(f32::from_le_bytes(b.try_into().unwrap())),
        Element::F64 => f64::from_le_bytes(b.try_into().unwrap()),
        Element::BF16 => f64::from(f32::from_le_bytes([0, 0, b[0], b[1]])),
        Element::F16 => half(u16::from_le_bytes(b.try_into().unwrap())),
    };
    each.map(number).collect()
}

/// A positive number of half precision.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10), f64::from(bits & 0x3ff));
    if exponent == 0 {
        fraction * 2f64.powi(-24)
    } else {
        (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15)
    }
}

#[test]
fn every_format_has_every_tensor() {
    for name in FORMATS {
        let tensors = read(fixture(name)).unwrap();
        let mut expected = NpzReader::new(File::open(fixture("numbers.npz")).unwrap()).unwrap();
        let names: Vec<String> = expected.names().unwrap();
        let mut paths: Vec<_> = names.iter().map(|name| name.trim_end_matches(".npy").to_string()).collect();
        paths.sort();
        assert_eq!(tensors.keys().cloned().collect::<Vec<_>>(), paths, "{name}");
        for path in paths {
            let array: ArrayD<f64> = expected.by_name(&format!("{path}.npy")).unwrap();
            let tensor = &tensors[&path];
            assert_eq!(tensor.shape(), array.shape(), "{name}: {path}");
            assert_eq!(numbers(tensor), array.iter().copied().collect::<Vec<_>>(), "{name}: {path}");
        }
    }
}

#[test]
fn views_are_parts_of_the_file() {
    let tensors = read(fixture("zip.pth")).unwrap();
    assert!(tensors["views.rows"].is_row_major() && !tensors["views.turned"].is_row_major());
    let [rows, one] = ["views.rows", "views.one"].map(|name| tensors[name].to_bytes());
    assert_eq!(rows.slice(44..).as_ptr(), one.as_ptr());
}

#[test]
fn arrays_of_numpy() {
    // Protocol 2 has no word for bytes: Python encodes them as text by a function, which is not run.
    assert!(matches!(read(fixture("arrays-2.pickle")), Err(Error::Global(name)) if name == "_codecs.encode"));
    let tensors: Tensors = read(fixture("arrays-3.pickle")).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["conv.0", "conv.1", "counts"]);
    assert_eq!((tensors["conv.0"].shape(), tensors["conv.0"].element()), (&[2, 3][..], Element::F32));
    assert_eq!(numbers(&tensors["conv.0"]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(numbers(&tensors["conv.1"]), [1.5]);
    assert_eq!((numbers(&tensors["counts"]), tensors["counts"].element()), (vec![1.0, 2.0], Element::I64));
}

#[test]
fn a_module_is_more_than_data() {
    let error = read(fixture("module.pth")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected only tensors and plain data in the pickle, found torch.nn.modules.container.Sequential \
         (save a module's state_dict())"
    );
    assert!(matches!(read(fixture("none.pth")), Err(Error::Io { .. })));
    assert!(matches!(read(fixture("numbers.npz")), Err(Error::Format(_))));
}

/// Every length is an error; every byte, in a few ways, is an error or tensors.
#[test]
fn broken_files() {
    for name in FORMATS {
        let whole = bytes(name);
        for len in (0..whole.len()).step_by(7) {
            assert!(decode(&whole[..len].to_vec().into()).is_err(), "{name}: {len}");
        }
        let (mut opened, mut refused) = (0, 0);
        for at in (0..whole.len()).step_by(3) {
            for change in [0x01, 0x10, 0xff] {
                let mut broken = whole.clone();
                broken[at] ^= change;
                match decode(&broken.into()) {
                    Ok(tensors) => {
                        tensors.values().for_each(|tensor| drop(tensor.to_bytes()));
                        opened += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(opened > 0 && refused > 0, "{name}: {opened} {refused}");
    }
}

/// Values that hold themselves over and over: 2^60 tensors, and names of half the file's length a thousand times.
#[test]
fn what_repeats_itself_is_refused() {
    let mut doubled = b"\x80\x02)".to_vec();
    for _ in 0..60 {
        doubled.extend(b"q\x00h\x00\x86");
    }
    doubled.push(b'.');
    let error = decode(&doubled.into()).unwrap_err().to_string();
    assert!(error.contains("repeats itself"), "{error}");
    let key = [&b"\x80\x02}(X\x10\x27\x00\x00"[..], &[b'a'; 10_000], b"q\x00"].concat();
    let entries = b"N".iter().chain([&b"h\x00}"[..]; 1000].concat().iter()).copied().collect::<Vec<_>>();
    let error = decode(&[&key[..], &entries, b"u."].concat().into()).unwrap_err().to_string();
    assert!(error.contains("repeats itself"), "{error}");
}
