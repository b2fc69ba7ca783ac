//! The zip archives that PyTorch writes: members by name, taken as they lie in the file.

use std::collections::HashMap;
use std::io::Cursor;

use bytes::Bytes;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::{Error, Result};

/// The members of an archive of PyTorch's, without the folder that all of them are in.
#[derive(Debug)]
pub struct Archive {
    members: HashMap<String, Bytes>,
    len: usize,
}

impl Archive {
    /// Opens the bytes of an archive. Nothing is copied: PyTorch writes members uncompressed, and others are refused.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where these are no such archive, or where two members have one name.
    pub fn open(bytes: &Bytes) -> Result<Self> {
        let broken = |reason: zip::result::ZipError| Error::Format(reason.to_string());
        // Looking for the beginning goes wrong where the first entry of the directory is as long as the record behind the last.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut zip = ZipArchive::with_config(config, Cursor::new(&bytes[..])).map_err(broken)?;
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
    pub fn find(&self, name: &str) -> Option<&Bytes> {
        self.members.get(name)
    }

    /// A member.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where it is not there.
    pub fn get(&self, name: &str) -> Result<&Bytes> {
        self.find(name).ok_or_else(|| Error::Format(format!("expected a member {name:?}, found none")))
    }

    /// The names of all members, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// How long the file is, in bytes.
    pub fn size(&self) -> usize {
        self.len
    }
}

fn within(len: usize, (start, size): (Option<u64>, u64)) -> Option<(usize, usize)> {
    let from = usize::try_from(start?).ok()?;
    let to = from.checked_add(usize::try_from(size).ok()?)?;
    (to <= len).then_some((from, to))
}
