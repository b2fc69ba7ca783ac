//! PyTorch's format before it became a zip, and plain pickles.
//!
//! Five pickles: a magic number, a version, the machine's sizes, the state, the keys of its storages; then for each key a
//! count and the raw numbers.

use std::collections::HashMap;

use bytes::Bytes;

use crate::error::format;
use crate::pickle::{Item, Pickle};
use crate::{Result, Tensors, tree};

/// PyTorch's own numbers; the first is 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

pub(crate) fn decode(bytes: &Bytes) -> Result<Tensors> {
    let mut pickle = Pickle::new(bytes);
    let first = pickle.load()?;
    if !matches!(first, Item::Long(MAGIC)) {
        return tree::tensors(&first, bytes.len(), |_| None);
    }
    if !matches!(pickle.load()?, Item::Int(VERSION)) {
        return format(format!("expected version {VERSION} of the older format, found another"));
    }
    let machine = pickle.load()?;
    let little = |pair: &[Item<'_>]| matches!(pair, [Item::Text("little_endian"), Item::Bool(true)]);
    if !matches!(&machine, Item::Dict(machine) if machine.items.chunks(2).any(little)) {
        return format("expected little-endian numbers, found others");
    }
    let state = pickle.load()?;
    let Item::List(keys) = pickle.load()? else {
        return format("expected a list of storages, found something else");
    };
    let sizes: HashMap<_, _> =
        pickle.storages.iter().map(|held| (held.key, (held.count, held.element))).collect();
    let mut storages = HashMap::new();
    for key in &keys.items {
        let size = if let Item::Text(key) = key { sizes.get(key) } else { None };
        let (Item::Text(key), Some(&(count, element))) = (key, size) else {
            return format("expected a tensor for each storage, found none for one");
        };
        if pickle.take::<8>()? != (count as u64).to_le_bytes() {
            return format(format!("storage {key:?}: expected {count} numbers, found another count"));
        }
        let Some(len) = count.checked_mul(element.size()) else { return format("a size overflows") };
        storages.insert(*key, bytes.slice_ref(pickle.bytes(len)?));
    }
    if !pickle.rest.is_empty() {
        return format(format!("expected every tensor and nothing else, found {} bytes", pickle.rest.len()));
    }
    tree::tensors(&state, bytes.len(), |key| storages.get(key).cloned())
}
