//! What was made lately, to be used again.

use std::cell::RefCell;
use std::rc::Rc;

use attr_core::Result;

/// Values by their keys; those used longest ago are dropped where there are too many.
pub(crate) struct Recent<K, V> {
    entries: RefCell<Vec<(K, Rc<V>)>>,
    most: usize,
}

impl<K: PartialEq, V> Recent<K, V> {
    /// Room for so many.
    pub(crate) fn new(most: usize) -> Self {
        Recent { entries: RefCell::default(), most }
    }

    /// The value of a key, made if it is not there.
    pub(crate) fn get(&self, key: K, make: impl FnOnce(&K) -> Result<V>) -> Result<Rc<V>> {
        let mut entries = self.entries.borrow_mut();
        let entry = match entries.iter().position(|(known, _)| *known == key) {
            Some(place) => entries.remove(place),
            None => {
                let value = Rc::new(make(&key)?);
                (key, value)
            }
        };
        let value = Rc::clone(&entry.1);
        entries.insert(0, entry);
        entries.truncate(self.most);
        Ok(value)
    }
}
