//! From what a pickle made to tensors by name.

use bytes::Bytes;

use crate::pickle::{Item, Storage, View};
use crate::tensor::Tensor;
use crate::{Error, Result, Tensors};

/// The tensors in a value, with the numbers that `storage` has under a key; `size` is that of the file.
///
/// A value may stand at several places; each counts. What is looked at, places and their paths, is bounded by the size.
pub(crate) fn tensors(
    value: &Item<'_>,
    size: usize,
    storage: impl Fn(&str) -> Option<Bytes>,
) -> Result<Tensors> {
    let mut walk =
        Walk { tensors: Tensors::new(), left: size.saturating_mul(8).saturating_add(4096), storage };
    walk.visit(value, "")?;
    Ok(walk.tensors)
}

struct Walk<F> {
    tensors: Tensors,
    left: usize,
    storage: F,
}

impl<F: Fn(&str) -> Option<Bytes>> Walk<F> {
    /// Depth is bounded where values are made.
    fn visit(&mut self, value: &Item<'_>, path: &str) -> Result<()> {
        let left = self.left.checked_sub(1 + path.len());
        self.left = left.ok_or_else(|| Error::Format("it repeats itself without end".into()))?;
        match value {
            Item::Tuple(many) => self.each(&many.items, path),
            Item::List(many) => self.each(&many.items, path),
            Item::Dict(many) => {
                for pair in many.items.chunks_exact(2) {
                    match &pair[0] {
                        Item::Text(key) => self.below(&pair[1], path, key)?,
                        Item::Int(key) => self.below(&pair[1], path, &key.to_string())?,
                        _ => {}
                    }
                }
                Ok(())
            }
            Item::View(view) => {
                let tensor = tensor(view, &self.storage);
                self.keep(path, tensor.map_err(|reason| Error::Tensor { name: path.into(), reason })?)
            }
            Item::Array(array) => self.keep(path, Tensor::clone(array)),
            _ => Ok(()),
        }
    }

    fn each(&mut self, items: &[Item<'_>], path: &str) -> Result<()> {
        items.iter().enumerate().try_for_each(|(i, item)| self.below(item, path, &i.to_string()))
    }

    fn below(&mut self, value: &Item<'_>, path: &str, key: &str) -> Result<()> {
        match value {
            Item::Tuple(_) | Item::List(_) | Item::Dict(_) | Item::View(_) | Item::Array(_) => {
                let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                self.visit(value, &path)
            }
            _ => self.visit(value, ""),
        }
    }

    fn keep(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        match self.tensors.insert(name.to_string(), tensor) {
            None => Ok(()),
            Some(_) => Err(Error::Format(format!("two tensors are called {name:?}"))),
        }
    }
}

fn tensor(view: &View<'_>, storage: &impl Fn(&str) -> Option<Bytes>) -> Result<Tensor, String> {
    let Storage { element, key, count } = view.storage;
    let held = storage(key).ok_or_else(|| format!("the file has no numbers {:?} for it", key))?;
    if count.checked_mul(element.size()) != Some(held.len()) {
        return Err(format!(
            "expected a storage of {count} numbers of type {element:?}, found {} bytes",
            held.len()
        ));
    }
    Tensor::new(element, view.shape.clone(), view.strides.clone(), view.offset, held)
}
