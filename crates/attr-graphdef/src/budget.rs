//! How much may be computed and kept while reading, in proportion to the file: a broken file must not make us ask
//! for more.

use crate::{Error, Result};

/// Bytes that may still be used.
#[derive(Debug, Clone)]
pub struct Budget(usize);

/// What even the smallest file may use.
const LEAST: usize = 1 << 26;

impl Budget {
    /// For a file of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Budget(bytes.saturating_mul(8).saturating_add(LEAST))
    }

    /// For so many more bytes that are there.
    pub(crate) fn grow(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.0 = self.0.saturating_add(bytes.saturating_mul(8));
    }

    /// Asks for so many bytes.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<()> {
        match self.0.checked_sub(bytes) {
            Some(left) => self.0 = left,
            None => {
                return Err(Error::Format("its constants and calls are larger than the file allows".into()));
            }
        }
        Ok(())
    }
}
