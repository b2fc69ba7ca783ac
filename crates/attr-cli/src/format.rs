//! What a model's file is, by its content; by its ending only where the content says nothing.

use std::path::Path;

/// A kind of model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// An ONNX file, or nothing that is known: its reader says what is wrong with it.
    Onnx,
    /// TensorFlow's: a SavedModel's own file or a frozen graph.
    TensorFlow,
    /// What `torch.jit.save` writes.
    TorchScript,
    /// What `torch.export.save` writes.
    Exported,
    /// Weights by name, and no network: in the safetensors format, or as `torch.save` writes them.
    Weights,
    /// Another zip archive.
    Zip,
}

impl Format {
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Self {
        if !bytes.starts_with(b"PK\x03\x04") {
            let ends_with =
                |wanted: &str| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(wanted));
            return match protobuf(bytes) {
                _ if is_safetensors(bytes) || bytes.starts_with(OLDER_CHECKPOINT) => Format::Weights,
                Some(known) => known,
                None if ends_with("safetensors") => Format::Weights,
                None if ends_with("pb") => Format::TensorFlow,
                None => Format::Onnx,
            };
        }
        let names = names(bytes).unwrap_or_default();
        let any = |part: &str| names.iter().any(|name| name.contains(part));
        match () {
            // PyTorch's archives hold one folder with everything in it; exports of older versions do not.
            () if any("/code/") => Format::TorchScript,
            () if any("/models/") || any("serialized_exported_program.json") => Format::Exported,
            () if any("/data.pkl") => Format::Weights,
            () => Format::Zip,
        }
    }
}

/// What `torch.save` wrote before PyTorch 1.6 begins with a pickle of a certain number.
const OLDER_CHECKPOINT: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Whether these begin as a safetensors file: with the length of a header below 4 GiB, and a JSON object.
fn is_safetensors(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

/// Whose model a protobuf is, by the numbers of its fields; `None` where they are neither's.
///
/// ONNX's has its graph as field 7. A SavedModel has a number, 1, and graphs, 2, and nothing else. A frozen graph
/// begins with its operators, 1.
fn protobuf(bytes: &[u8]) -> Option<Format> {
    const NUMBER: u64 = 0;
    const BYTES: u64 = 2;
    let fields = fields(bytes);
    match fields[..] {
        [(1, BYTES), ..] => return Some(Format::TensorFlow),
        _ if fields.contains(&(7, BYTES)) => return Some(Format::Onnx),
        _ => {}
    }
    let saved_model = [(1, NUMBER), (2, BYTES)];
    let is_saved_model =
        fields.contains(&saved_model[1]) && fields.iter().all(|field| saved_model.contains(field));
    is_saved_model.then_some(Format::TensorFlow)
}

/// The numbers and kinds of a protobuf's fields, as far as it can be read.
fn fields(bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut fields = Vec::new();
    let mut at = 0;
    while let Some(key) = varint(bytes, &mut at) {
        let (number, kind) = (key >> 3, key & 7);
        let len = match kind {
            0 => varint(bytes, &mut at).map(|_| 0),
            1 => Some(8),
            2 => varint(bytes, &mut at),
            5 => Some(4),
            _ => return fields,
        };
        fields.push((number, kind));
        let end = len.and_then(|len| at.checked_add(usize::try_from(len).ok()?));
        match end {
            Some(end) => at = end,
            None => return fields,
        }
    }
    fields
}

/// A number of seven bits a byte.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The names of the files in a zip archive below 4 GiB; `None` where its directory can't be read.
fn names(bytes: &[u8]) -> Option<Vec<String>> {
    const END: usize = 22;
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?) as usize);
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    // The end record is the last thing but for a comment of at most 64 KiB.
    let last = bytes.len().checked_sub(END)?;
    let end =
        (last.saturating_sub(0xffff)..=last).rev().find(|&at| bytes[at..].starts_with(b"PK\x05\x06"))?;
    let (count, mut at) = (u16_at(end + 10)?, u32_at(end + 16)?);
    let mut names = Vec::new();
    for _ in 0..count {
        if !bytes.get(at..)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let (name, extra, comment) = (u16_at(at + 28)?, u16_at(at + 30)?, u16_at(at + 32)?);
        let start = at + 46;
        names.push(String::from_utf8_lossy(bytes.get(start..start + name)?).into_owned());
        at = start + name + extra + comment;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Format {
        Format::of(Path::new("net.pt"), bytes)
    }

    /// An archive of empty files: its directory and nothing before it but a signature.
    fn archive(names: &[&str]) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        for name in names {
            bytes.extend(b"PK\x01\x02");
            bytes.extend([0; 24]);
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend([0; 16]);
            bytes.extend(name.bytes());
        }
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([(names.len() as u16).to_le_bytes(); 2].concat());
        bytes.extend([0, 0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn archives_are_known_by_what_is_in_them() {
        for (names, format) in [
            (&["net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"][..], Format::TorchScript),
            (&["net/models/model.json", "net/data/weights/weight_0"], Format::Exported),
            (&["serialized_exported_program.json", "version"], Format::Exported),
            (&["archive/data.pkl", "archive/data/0"], Format::Weights),
            (&["arr_0.npy"], Format::Zip),
            (&[], Format::Zip),
        ] {
            assert_eq!(of(&archive(names)), format, "{names:?}");
        }
    }

    #[test]
    fn protobufs_are_known_by_their_fields() {
        let named = |name: &str, bytes: &[u8]| Format::of(Path::new(name), bytes);
        // A version, a producer, a graph; a version, a graph; an operator, versions.
        let onnx = b"\x08\x08\x12\x02me\x3a\x01g".as_slice();
        let saved_model = b"\x08\x01\x12\x03abc".as_slice();
        let frozen = b"\x0a\x02op\x22\x00".as_slice();
        for name in ["model.onnx", "model.pb", "model"] {
            assert_eq!(named(name, onnx), Format::Onnx, "{name}");
            assert_eq!(named(name, saved_model), Format::TensorFlow, "{name}");
            assert_eq!(named(name, frozen), Format::TensorFlow, "{name}");
        }
        // A cut in the middle of the graph changes nothing.
        assert_eq!(named("model", &saved_model[..5]), Format::TensorFlow);
        assert_eq!(named("model", &onnx[..7]), Format::Onnx);
        // Nothing that is known.
        for bytes in
            [b"".as_slice(), b"this is no model", b"\x08", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"]
        {
            assert_eq!(named("model.onnx", bytes), Format::Onnx, "{bytes:?}");
            assert_eq!(named("model.PB", bytes), Format::TensorFlow, "{bytes:?}");
        }
    }

    #[test]
    fn weights_are_known_by_their_header() {
        let file = b"\x02\0\0\0\0\0\0\0{}".as_slice();
        assert_eq!(of(file), Format::Weights);
        // By the ending where the content says nothing.
        let named = |name: &str| Format::of(Path::new(name), &file[..7]);
        assert_eq!(named("net.safetensors"), Format::Weights);
        assert_eq!(named("net.onnx"), Format::Onnx);
        let older = [OLDER_CHECKPOINT, b"\x80\x02M\xe9\x03."].concat();
        assert_eq!(of(&older), Format::Weights);
    }

    #[test]
    fn broken_archives_are_archives() {
        let whole = archive(&["net/code/a.py", "net/data.pkl"]);
        for len in 4..whole.len() {
            assert_eq!(of(&whole[..len]), Format::Zip, "{len} bytes");
        }
        for at in 4..whole.len() {
            // Whatever a byte says, nothing is read beyond the end.
            of(&[&whole[..at], &[0xff], &whole[at + 1..]].concat());
        }
    }
}
