//! Weights out of safetensors files and checkpoints, sound and broken.

use attr_core::Param;
use attr_networks::{Error, Weights};
use ndarray::{ArrayD, IxDyn, array};

/// A file as the format has it: the header's length, the header, the numbers.
fn file(header: &str, numbers: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), numbers].concat()
}

/// A file with an array of each type that can be read, and what is not.
fn sound() -> Vec<u8> {
    let header = concat!(
        r#"{"__metadata__":{"format":"pt"},"#,
        r#""a.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"#,
        r#""b.weight":{"dtype":"F64","shape":[1],"data_offsets":[16,24]},"#,
        r#""bn.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"#,
        r#""c.weight":{"dtype":"F16","shape":[3],"data_offsets":[32,38]},"#,
        r#""d.weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[38,42]},"#,
        r#""e.weight":{"dtype":"F32","shape":[0,3],"data_offsets":[42,42]}}"#,
    );
    let floats = [1.0f32, -2.0, 0.5, 3e-9].map(f32::to_le_bytes).concat();
    // 1, -2 and the smallest number of half precision; 1 and pi as far as bfloat16 has it.
    let halves = [0x3c00u16, 0xc000, 0x0001, 0x3f80, 0x4049].map(u16::to_le_bytes).concat();
    file(header, &[floats, std::f64::consts::PI.to_le_bytes().to_vec(), vec![7; 8], halves].concat())
}

#[test]
fn numbers_of_each_type() {
    let weights = Weights::decode(sound()).unwrap();
    assert_eq!(
        weights.names().collect::<Vec<_>>(),
        ["a.weight", "b.weight", "c.weight", "d.weight", "e.weight"]
    );
    for (name, expected) in [
        ("a.weight", Param::from(array![[1.0f32, -2.0], [0.5, 3e-9]])),
        ("b.weight", Param::from(array![std::f64::consts::PI])),
        ("c.weight", Param::from(array![1.0f32, -2.0, 2.0f32.powi(-24)])),
        ("d.weight", Param::from(array![[1.0f32, 3.140625]])),
        ("e.weight", Param::from(ArrayD::<f32>::zeros(IxDyn(&[0, 3])))),
    ] {
        assert_eq!(weights.get(name), Some(&expected), "{name}");
    }
}

#[test]
fn numbers_of_another_type_are_refused_by_name() {
    let bytes = file(r#"{"a.weight":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}"#, &[1, 2]);
    let error = Weights::decode(bytes).unwrap_err().to_string();
    assert!(error.ends_with("a.weight: expected numbers of type F16, BF16, F32 or F64, found I8"), "{error}");
}

/// Of a training: the network's own state is taken, and counters of batches are left out.
#[test]
fn a_checkpoint_of_pytorch() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../attr-checkpoint/tests/fixtures");
    for name in ["zip.pth", "legacy.pth"] {
        let weights = Weights::read(format!("{fixtures}/{name}")).unwrap();
        let names: Vec<_> = weights.names().collect();
        assert_eq!(names, ["0.weight", "1.bias", "1.running_mean", "1.running_var", "1.weight"], "{name}");
        assert_eq!(weights.get("0.weight").unwrap().dims(), [2, 1, 3, 3]);
    }
    let error = Weights::read(format!("{fixtures}/module.pth")).unwrap_err().to_string();
    assert!(error.contains("found torch.nn.modules.container.Sequential"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Weights::read("no/such.safetensors").unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no/such.safetensors: "), "{error}");
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    let sound = sound();
    for len in 0..sound.len() {
        let read = Weights::decode(sound[..len].to_vec());
        assert!(matches!(read, Err(Error::Format(_))), "{len} bytes: {read:?}");
    }
    assert!(Weights::decode([sound, vec![0]].concat()).is_err());
}

#[test]
fn headers_that_contradict_themselves_are_errors() {
    for (header, numbers) in [
        // Lengths whose product overflows, or is another than there are bytes.
        (r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
        // Numbers outside of the file, before their beginning, twice, not at all.
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]}}"#, 4),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            4,
        ),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8),
        // Not what the format asks for.
        (r#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4),
        (r#"{"a":[1]}"#, 0),
        ("[]", 0),
        ("", 0),
    ] {
        let read = Weights::decode(file(header, &vec![0; numbers]));
        assert!(matches!(read, Err(Error::Format(_))), "{header}: {read:?}");
    }
    // A header that would be longer than memory.
    for len in [u64::MAX, 1 << 62, 1 << 40] {
        assert!(Weights::decode([&len.to_le_bytes()[..], b"{}"].concat()).is_err(), "{len}");
    }
}

/// Every byte replaced by some others: what is read has no more numbers than the file, and most are errors.
#[test]
fn changed_files_are_read_or_refused() {
    let sound = sound();
    let (mut read, mut refused) = (0, 0);
    for at in 0..sound.len() {
        for byte in [0, b'0', b'9', b'"', b'}', b'[', 0x80, 0xff] {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            let len = bytes.len();
            match Weights::decode(bytes) {
                Ok(weights) => {
                    let numbers = weights.names().map(|name| weights.get(name).unwrap().len()).sum::<usize>();
                    assert!(numbers * 2 <= len, "byte {at} as {byte}");
                    read += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Format(_)), "{error:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 100 && refused > 1000, "{read} read, {refused} refused");
}
