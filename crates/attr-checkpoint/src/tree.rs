//! From what a pickle made to tensors by name.

use bytes::Bytes;

use crate::pickle::{Item, Storage, View};
use crate::tensor::Tensor;
use crate::{Error, Result, Tensors};

/// The tensors in a value, with the numbers that `storage` has under a key; `size` is that of the file.
///
/// A value may stand at several places; each counts. What is looked at and kept is bounded by the size.
pub(crate) fn tensors(
    value: &Item<'_>,
    size: usize,
    storage: impl Fn(&str) -> Option<Bytes>,
) -> Result<Tensors> {
    let left = size.saturating_mul(8).saturating_add(1 << 16);
    let mut walk = Walk { tensors: Tensors::new(), left, storage };
    walk.visit(value, "")?;
    Ok(walk.tensors)
}

struct Walk<F> {
    tensors: Tensors,
    /// The bytes that may still be looked at or kept.
    left: usize,
    storage: F,
}

impl<F: Fn(&str) -> Option<Bytes>> Walk<F> {
    /// Depth is bounded where values are made.
    fn visit(&mut self, value: &Item<'_>, path: &str) -> Result<()> {
        self.spend(1 + path.len())?;
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

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| Error::Format("it repeats itself without end".into()))?;
        Ok(())
    }

    fn keep(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        self.spend(size_of::<(String, Tensor)>() + 2 * size_of_val(tensor.shape()))?;
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
    Tensor::new(element, view.shape.sizes(), view.strides.sizes(), view.offset, held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::Pickle;

    /// A list of one tensor, `times` over.
    fn repeated(times: usize) -> Result<Tensors> {
        let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\
            \x000X\x00\x00\x00\x00K\x01tQK\x00K\x01\x85K\x01\x85\x89}tRq\x00";
        let file: Bytes = [&tensor[..], b"(", &b"h\x00".repeat(times), b"t."].concat().into();
        let value = Pickle::new(&file).load()?;
        tensors(&value, file.len(), |_| Some(Bytes::from_static(&[0; 4])))
    }

    #[test]
    fn a_tensor_at_many_places_is_bounded_by_the_file() {
        assert_eq!(repeated(100).unwrap().len(), 100);
        assert!(repeated(10_000).unwrap_err().to_string().contains("it repeats itself without end"));
    }
}
