//! What a file consists of, so that it can be changed within and is still a file of its kind.

use attr_checkpoint::Archive;
use serde_json::Value;

use crate::{Reader, pickle, wire, zip};

/// A file, or a part of one.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Bytes of which nothing is known.
    Bytes(Vec<u8>),
    /// A protobuf file.
    Fields(Vec<wire::Field>),
    /// A zip archive: the names of its members and what they are.
    Members(Vec<(String, Part)>),
    /// A text in JSON.
    Json(Value),
    /// A header in JSON, its length before it and bytes behind: a safetensors file.
    Headed(Value, Vec<u8>),
    /// The instructions of a pickle, or of several, and what is behind them.
    Pickle(Vec<Vec<u8>>),
}

impl Part {
    /// The parts of a file.
    pub(crate) fn of(reader: Reader, bytes: &[u8]) -> Self {
        let parts = match reader {
            Reader::Onnx | Reader::GraphDef => {
                wire::fields(bytes, 0).filter(|fields| !fields.is_empty()).map(Part::Fields)
            }
            Reader::Program | Reader::Weights => Part::found(bytes),
            Reader::Picture | Reader::Npy => None,
        };
        parts.unwrap_or_else(|| Part::Bytes(bytes.to_vec()))
    }

    /// What the first bytes say.
    fn found(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            b'P' if bytes.starts_with(b"PK\x03\x04") => {
                let archive = Archive::open(&bytes.to_vec().into()).ok()?;
                let mut names: Vec<_> = archive.names().collect();
                names.sort_unstable();
                let part = |name: &str| {
                    let bytes = archive.get(name).ok()?;
                    let part = Part::found(bytes).unwrap_or_else(|| Part::Bytes(bytes.to_vec()));
                    // All members are in one folder.
                    Some((format!("file/{name}"), part))
                };
                Some(Part::Members(names.into_iter().filter_map(part).collect()))
            }
            b'{' => serde_json::from_slice(bytes).ok().map(Part::Json),
            0x80 => Some(Part::Pickle(pickle::instructions(bytes))),
            _ => {
                let (len, rest) = bytes.split_first_chunk()?;
                let (header, numbers) =
                    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
                Some(Part::Headed(serde_json::from_slice(header).ok()?, numbers.to_vec()))
            }
        }
    }

    /// The file again.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Part::Bytes(bytes) => bytes.clone(),
            Part::Fields(fields) => wire::bytes(fields),
            Part::Members(members) => {
                let members: Vec<_> =
                    members.iter().map(|(name, part)| (name.as_str(), part.bytes())).collect();
                zip::bytes(&members)
            }
            Part::Json(value) => value.to_string().into(),
            Part::Headed(header, numbers) => headed(header.to_string().as_bytes(), numbers),
            Part::Pickle(instructions) => instructions.concat(),
        }
    }
}

/// A safetensors file of these parts.
pub(crate) fn headed(header: &[u8], numbers: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, numbers].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    /// What is opened as it is, is so when it has been taken apart.
    #[test]
    fn files_are_put_together_as_they_were() {
        for seed in Seed::of(&[Reader::Program, Reader::Weights]).unwrap() {
            let again = Part::of(seed.reader, &seed.bytes);
            assert!(!matches!(again, Part::Bytes(_)), "{}", seed.name);
            let (opened, again) = (seed.reader.read(&seed.bytes), seed.reader.read(&again.bytes()));
            assert_eq!(opened.opened, again.opened, "{}", seed.name);
        }
    }
}
