//! The zip archive: its members by name, taken as they lie in the file.

use std::collections::HashMap;
use std::io::Cursor;

use prost::bytes::Bytes;
use serde::de::DeserializeOwned;
use zip::{CompressionMethod, ZipArchive};

use crate::{Error, Result};

/// The members of an archive, without the folder that all of them are in.
pub(crate) struct Archive {
    members: HashMap<String, Bytes>,
    /// How long the whole file is.
    pub(crate) len: usize,
}

impl Archive {
    /// Nothing is copied: PyTorch writes members uncompressed, and others are refused.
    pub(crate) fn open(bytes: &Bytes) -> Result<Self> {
        let broken = |reason: zip::result::ZipError| Error::Format(reason.to_string());
        let mut zip = ZipArchive::new(Cursor::new(&bytes[..])).map_err(broken)?;
        let mut members = HashMap::new();
        for i in 0..zip.len() {
            let member = zip.by_index_raw(i).map_err(broken)?;
            let name = member.name().map_err(broken)?.to_string();
            if member.compression() != CompressionMethod::Stored || member.encrypted() {
                return Err(Error::Format(format!("{name:?}: expected a member that is not compressed")));
            }
            let range = (member.data_start(), member.compressed_size());
            let part = within(bytes.len(), range).map(|(from, to)| bytes.slice(from..to));
            let part = part.ok_or_else(|| Error::Format(format!("{name:?} is not within the file")))?;
            let inner = name.split_once('/').map_or(&name[..], |(_, inner)| inner);
            if members.insert(inner.to_string(), part).is_some() {
                return Err(Error::Format(format!("two members are called {inner:?}")));
            }
        }
        Ok(Archive { members, len: bytes.len() })
    }

    /// A member, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<&Bytes> {
        self.members.get(name)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Bytes> {
        self.find(name).ok_or_else(|| Error::Format(format!("expected a member {name:?}, found none")))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(self.get(name)?).map_err(|reason| Error::Format(format!("{name}: {reason}")))
    }

    /// The only member whose name begins and ends so.
    pub(crate) fn only(&self, folder: &str, ending: &str) -> Result<&str> {
        let mut names = self.members.keys().filter(|name| name.starts_with(folder) && name.ends_with(ending));
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name),
            (None, _) => Err(Error::Format(format!("expected a member {folder}*{ending}, found none"))),
            _ => Err(Error::Format(format!("expected one member {folder}*{ending}, found several"))),
        }
    }
}

fn within(len: usize, (start, size): (Option<u64>, u64)) -> Option<(usize, usize)> {
    let from = usize::try_from(start?).ok()?;
    let to = from.checked_add(usize::try_from(size).ok()?)?;
    (to <= len).then_some((from, to))
}
