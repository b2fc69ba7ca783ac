//! What a model's file is, by its content and not by its ending.

/// A kind of model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// An ONNX file, or nothing that is known: its reader says what is wrong with it.
    Onnx,
    /// What `torch.jit.save` writes.
    TorchScript,
    /// What `torch.export.save` writes.
    Exported,
    /// What `torch.save` writes: weights, and no network that could be run without Python.
    Weights,
    /// Another zip archive.
    Zip,
}

impl Format {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        if !bytes.starts_with(b"PK\x03\x04") {
            return Format::Onnx;
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
            assert_eq!(Format::of(&archive(names)), format, "{names:?}");
        }
        assert_eq!(Format::of(b"\x08\x08\x12"), Format::Onnx);
        assert_eq!(Format::of(b""), Format::Onnx);
    }

    #[test]
    fn broken_archives_are_archives() {
        let whole = archive(&["net/code/a.py", "net/data.pkl"]);
        for len in 4..whole.len() {
            assert_eq!(Format::of(&whole[..len]), Format::Zip, "{len} bytes");
        }
        for at in 4..whole.len() {
            // Whatever a byte says, nothing is read beyond the end.
            Format::of(&[&whole[..at], &[0xff], &whole[at + 1..]].concat());
        }
    }
}
