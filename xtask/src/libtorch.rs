//! libtorch, which the adapter `attr-torch` is built and run with.

use std::ffi::{OsStr, OsString};

use crate::cache::{self, Cache};
use crate::packages;

/// Why there is no libtorch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "libtorch: expected glibc Linux on x86-64, found {} on {}: set LIBTORCH to the folder of a libtorch {}, \
         or LIBTORCH_USE_PYTORCH=1 to use that of Python's torch",
        std::env::consts::OS,
        std::env::consts::ARCH,
        packages::LIBTORCH.version
    )]
    Platform,
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

/// An environment variable that tells `tch` where libtorch is, and its value.
///
/// Everything that is built is told the same: libtorch's bindings are built anew when it changes.
pub(crate) type Variable = (&'static str, OsString);

/// The libtorch that the environment names; if it names none, one for the CPU, laid out in the cache.
///
/// # Errors
///
/// [`Error::Platform`] where there is none to lay out.
pub(crate) fn set_up(cache: &Cache) -> Result<Variable, Error> {
    if let Some(named) = named(|name| std::env::var_os(name)) {
        return Ok(named);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        return Err(Error::Platform);
    }
    Ok(("LIBTORCH", cache.lay_out(&packages::LIBTORCH)?.into()))
}

/// What `tch` would go by in this environment, in its order.
fn named(variable: impl Fn(&str) -> Option<OsString>) -> Option<Variable> {
    let python = variable("LIBTORCH_USE_PYTORCH").map(|value| ("LIBTORCH_USE_PYTORCH", value));
    let folder = || variable("LIBTORCH").filter(|folder| !folder.is_empty());
    python.or_else(|| folder().map(|folder| ("LIBTORCH", folder)))
}

/// The line of a shell's script that sets it.
pub(crate) fn export((name, value): &Variable) -> String {
    format!("export {name}={}", quoted(value))
}

fn quoted(value: &OsStr) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_the_environment_first() {
        let named = |python: Option<&str>, folder: Option<&str>| {
            named(|name| if name == "LIBTORCH" { folder } else { python }.map(OsString::from))
        };
        assert_eq!(named(None, None), None);
        assert_eq!(named(None, Some("")), None);
        assert_eq!(named(None, Some("/a")), Some(("LIBTORCH", "/a".into())));
        assert_eq!(named(Some("1"), Some("/a")), Some(("LIBTORCH_USE_PYTORCH", "1".into())));
    }

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!(export(&("LIBTORCH", "/it's here".into())), r"export LIBTORCH='/it'\''s here'");
    }
}
