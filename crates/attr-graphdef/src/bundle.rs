//! The files of the variables: a sorted table of where each one's numbers are, and the numbers.
//!
//! The table (`variables.index`) is in blocks of entries, each of which names its key by how much of the one before
//! it keeps. Its last 48 bytes say where the block is that lists the others.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::budget::Budget;
use crate::proto::{BundleEntry, BundleHeader, TensorProto};
use crate::{Error, Result};

/// Where the numbers of all variables are.
#[derive(Debug)]
pub(crate) struct Bundle {
    prefix: PathBuf,
    shards: i32,
    entries: BTreeMap<Vec<u8>, BundleEntry>,
    /// The files that have been read from.
    seen: HashSet<i32>,
}

/// The bytes at the end of a table that say where its list of blocks is, and what they end with.
const FOOTER: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// A block is followed by its kind and a checksum.
const TRAILER: usize = 5;

/// The keys of a table are no longer, all together, than this many times the table: each one's length is written, and
/// most of it may be that of the key before.
const KEYS: usize = 64;

impl Bundle {
    /// Reads the table `PREFIX.index`.
    pub(crate) fn open(prefix: &Path) -> Result<Self> {
        let index = with_suffix(prefix, "index");
        let table = std::fs::read(&index).map_err(|reason| Error::Io { path: index, reason })?;
        let mut entries = entries(&table)?;
        let header = entries.remove(&[][..]).ok_or_else(|| broken("the index has no header"))?;
        let header = BundleHeader::decode(header).map_err(|e| broken(format!("the index's header: {e}")))?;
        if header.endianness != 0 {
            return Err(broken("expected little-endian numbers"));
        }
        let entries = entries.into_iter().map(|(key, value)| {
            let entry = BundleEntry::decode(value);
            entry.map(|entry| (key, entry)).map_err(|e| broken(format!("an entry of the index: {e}")))
        });
        Ok(Bundle {
            prefix: prefix.into(),
            shards: header.num_shards,
            entries: entries.collect::<Result<_>>()?,
            seen: HashSet::new(),
        })
    }

    /// The numbers of one variable as a constant.
    pub(crate) fn read(&mut self, key: &[u8], budget: &mut Budget) -> Result<TensorProto> {
        let name = String::from_utf8_lossy(key);
        let Some(entry) = self.entries.get(key) else {
            return Err(broken(format!("the index has no {name:?}")));
        };
        if !entry.slices.is_empty() {
            return Err(broken(format!("{name:?} is cut into {} parts", entry.slices.len())));
        }
        let (Ok(offset), Ok(size)) = (u64::try_from(entry.offset), usize::try_from(entry.size)) else {
            return Err(broken(format!("{name:?} is at {} of length {}", entry.offset, entry.size)));
        };
        let path = with_suffix(&self.prefix, &format!("data-{:05}-of-{:05}", entry.shard_id, self.shards));
        let io = |reason| Error::Io { path: path.clone(), reason };
        // Only then open it: opening a pipe would wait for ever.
        let about = std::fs::metadata(&path).map_err(io)?;
        if !about.is_file() || offset.checked_add(size as u64).is_none_or(|end| end > about.len()) {
            let reason = format!("{name:?}: expected {size} bytes from {offset} on, found {}", about.len());
            return Err(broken(reason));
        }
        if size == 0 {
            return Err(broken(format!("{name:?} has no numbers")));
        }
        if self.seen.insert(entry.shard_id) {
            budget.grow(about.len());
        }
        budget.spend(size)?;
        let mut bytes = vec![0; size];
        let mut file = File::open(&path).map_err(io)?;
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        file.read_exact(&mut bytes).map_err(io)?;
        Ok(TensorProto {
            dtype: entry.dtype,
            tensor_shape: entry.shape.clone(),
            tensor_content: bytes.into(),
            ..TensorProto::default()
        })
    }
}

fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}

/// All entries of a table.
fn entries(table: &[u8]) -> Result<BTreeMap<Vec<u8>, Bytes>> {
    let footer = table.len().checked_sub(FOOTER).ok_or_else(|| broken("the index is too short"))?;
    let (blocks, footer) = table.split_at(footer);
    let (mut handles, magic) = footer.split_at(FOOTER - 8);
    if magic != MAGIC.to_le_bytes() {
        return Err(broken("the index does not end as one"));
    }
    let _about = handle(&mut handles)?;
    let list = block(blocks, handle(&mut handles)?)?;
    let (mut left, mut names) = (table.len().saturating_mul(KEYS), table.len().saturating_mul(KEYS));
    let mut found = BTreeMap::new();
    // A block may be listed only once, or a small file would be a large table.
    let mut unread = blocks.len();
    walk(list, &mut left, |_, mut value| {
        let (offset, size) = handle(&mut value)?;
        unread = unread.checked_sub(size).ok_or_else(|| broken("the index lists blocks over and over"))?;
        walk(block(blocks, (offset, size))?, &mut names, |key, value| {
            found.insert(key.to_vec(), Bytes::copy_from_slice(value));
            Ok(())
        })
    })?;
    Ok(found)
}

/// Where a block is, and how long.
fn handle(bytes: &mut &[u8]) -> Result<(usize, usize)> {
    Ok((number(bytes)?, number(bytes)?))
}

/// The entries of a block, without what is behind them.
fn block(blocks: &[u8], (offset, size): (usize, usize)) -> Result<&[u8]> {
    let outside = || broken("the index has a block outside of it");
    let end = offset.checked_add(size).ok_or_else(outside)?;
    let whole = blocks.get(offset..end.checked_add(TRAILER).ok_or_else(outside)?).ok_or_else(outside)?;
    let (block, trailer) = whole.split_at(size);
    if trailer[0] != 0 {
        return Err(broken(format!(
            "the index is compressed (by method {}), which is not read here",
            trailer[0]
        )));
    }
    // Behind the entries: places where a key is written in full, and how many there are.
    let short = || broken("the index has a block that is too short");
    let (rest, count) = block.split_last_chunk::<4>().ok_or_else(short)?;
    let restarts = (u32::from_le_bytes(*count) as usize).checked_mul(4).ok_or_else(short)?;
    rest.get(..rest.len().checked_sub(restarts).ok_or_else(short)?).ok_or_else(short)
}

/// Hands each entry of a block to `visit`.
fn walk(mut block: &[u8], left: &mut usize, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let mut key = Vec::new();
    while !block.is_empty() {
        let (kept, new, len) = (number(&mut block)?, number(&mut block)?, number(&mut block)?);
        if kept > key.len() {
            return Err(broken("the index has a key that keeps more than there is"));
        }
        key.truncate(kept);
        key.extend(take(&mut block, new)?);
        *left = left.checked_sub(key.len()).ok_or_else(|| broken("the index's keys are too long"))?;
        visit(&key, take(&mut block, len)?)?;
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or_else(|| broken("the index ends too early"))?;
    *bytes = rest;
    Ok(taken)
}

/// A whole number, seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> Result<usize> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return usize::try_from(number).map_err(|_| broken("the index has a number that is too large"));
        }
    }
    Err(broken("the index has a number without an end"))
}

fn broken(reason: impl Into<String>) -> Error {
    Error::Variables(reason.into())
}
