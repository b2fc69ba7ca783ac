//! Files that are written whole or not at all.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An error if a file can't be written there, found out before the work and not after it.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::file(path, "expected a file to write, found a folder"));
    }
    let beside = beside(path)?;
    std::fs::write(&beside, []).map_err(|error| Error::file(path, error))?;
    std::fs::remove_file(&beside).map_err(|error| Error::file(path, error))
}

/// Writes to a new file beside, then renames it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path)?;
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        // What went wrong first is what to report.
        let _ = std::fs::remove_file(&beside);
        Error::file(path, error)
    })
}

/// A hidden name in the same folder that no other process uses.
fn beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::file(path, "expected the name of a file"))?;
    Ok(path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id())))
}
