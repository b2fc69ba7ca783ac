//! Working memory that is kept between calls: fresh pages cost more than what is computed on them.

use std::any::Any;
use std::cell::RefCell;

use super::raw::Real;

thread_local! {
    /// Buffers not in use on this thread, of either precision.
    static FREE: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers above this many numbers are given back to the system.
const KEPT: usize = 1 << 23;

/// Calls `work` with `len` numbers of any value; nested calls get memory of their own.
pub(crate) fn with<T: Real, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let kept = FREE.with_borrow_mut(|free| {
        let place = free.iter().position(|buffer| buffer.is::<Vec<T>>())?;
        free.swap_remove(place).downcast::<Vec<T>>().ok()
    });
    let mut buffer = kept.unwrap_or_default();
    if buffer.len() < len {
        *buffer = vec![T::zero(); len];
    }
    let result = work(&mut buffer[..len]);
    if buffer.len() <= KEPT {
        FREE.with_borrow_mut(|free| free.push(buffer));
    }
    result
}
