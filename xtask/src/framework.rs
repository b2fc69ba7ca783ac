//! The frameworks that adapters are built or run with: the user's own, or one laid out in the cache.

use std::ffi::{OsStr, OsString};

use crate::cache::{self, Cache};
use crate::packages::{self, Layout};

/// A framework, and how those who build and run with it are told where it is.
#[derive(Debug)]
pub(crate) struct Framework {
    layout: &'static Layout,
    /// The feature of `attr-cli` and `attr-tests` that brings its adapter, which is `attr-` and this.
    pub(crate) feature: &'static str,
    /// The environment variable that names its folder.
    folder: &'static str,
    /// Another that goes before it, whatever its value, and what that does if it is 1.
    before: Option<(&'static str, &'static str)>,
}

/// Every framework that set-up lays out.
pub(crate) const ALL: [&Framework; 2] = [&LIBTORCH, &LIBTENSORFLOW];

/// Builds and runs `attr-torch`: `tch` goes by the variables when it is built.
pub(crate) static LIBTORCH: Framework = Framework {
    layout: &packages::LIBTORCH,
    feature: "torch",
    folder: "LIBTORCH",
    before: Some(("LIBTORCH_USE_PYTORCH", "to use that of Python's torch")),
};

/// Runs `attr-tf`: `tensorflow` looks for `libtensorflow.so` right in the folder, when it is first needed.
pub(crate) static LIBTENSORFLOW: Framework =
    Framework { layout: &packages::LIBTENSORFLOW, feature: "tf", folder: "TENSORFLOW_DIR", before: None };

/// Why there is no framework.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "{}: expected glibc Linux on x86-64, found {} on {}: {}",
        .0.layout.name,
        std::env::consts::OS,
        std::env::consts::ARCH,
        .0.advice()
    )]
    Platform(&'static Framework),
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

/// An environment variable that tells where a framework is, and its value.
///
/// Everything that is built is told the same: libtorch's bindings are built anew when it changes.
pub(crate) type Variable = (&'static str, OsString);

impl Framework {
    /// The framework that the environment names; if it names none, one for the CPU, laid out in the cache.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`] where there is none to lay out.
    pub(crate) fn set_up(&'static self, cache: &Cache) -> Result<Variable, Error> {
        if let Some(named) = self.named(|name| std::env::var_os(name)) {
            return Ok(named);
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
            return Err(Error::Platform(self));
        }
        Ok((self.folder, cache.lay_out(self.layout)?.into()))
    }

    /// What its bindings would go by in this environment, in their order.
    fn named(&self, variable: impl Fn(&str) -> Option<OsString>) -> Option<Variable> {
        let before = self.before.and_then(|(name, _)| Some((name, variable(name)?)));
        let folder = || variable(self.folder).filter(|folder| !folder.is_empty());
        before.or_else(|| folder().map(|folder| (self.folder, folder)))
    }

    fn advice(&self) -> String {
        let Layout { name, version, .. } = self.layout;
        let or = self.before.map(|(name, does)| format!(", or {name}=1 {does}")).unwrap_or_default();
        format!("set {} to the folder of a {name} {version}{or}", self.folder)
    }
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

    /// What the framework goes by among these variables.
    fn named(framework: &Framework, variables: &[(&str, &str)]) -> Option<Variable> {
        framework.named(|name| Some(variables.iter().find(|(n, _)| *n == name)?.1.into()))
    }

    #[test]
    fn goes_by_the_environment_first() {
        let found = |name, value: &str| Some((name, value.into()));
        assert_eq!(named(&LIBTORCH, &[]), None);
        assert_eq!(named(&LIBTORCH, &[("LIBTORCH", "")]), None);
        assert_eq!(named(&LIBTORCH, &[("LIBTORCH", "/a")]), found("LIBTORCH", "/a"));
        assert_eq!(
            named(&LIBTORCH, &[("LIBTORCH", "/a"), ("LIBTORCH_USE_PYTORCH", "1")]),
            found("LIBTORCH_USE_PYTORCH", "1")
        );
        assert_eq!(named(&LIBTENSORFLOW, &[("LIBTORCH", "/a")]), None);
        assert_eq!(named(&LIBTENSORFLOW, &[("TENSORFLOW_DIR", "")]), None);
        assert_eq!(named(&LIBTENSORFLOW, &[("TENSORFLOW_DIR", "/b")]), found("TENSORFLOW_DIR", "/b"));
    }

    #[test]
    fn says_how_to_name_ones_own() {
        assert_eq!(
            LIBTORCH.advice(),
            "set LIBTORCH to the folder of a libtorch 2.13.0, or LIBTORCH_USE_PYTORCH=1 to use that of Python's torch"
        );
        assert_eq!(LIBTENSORFLOW.advice(), "set TENSORFLOW_DIR to the folder of a libtensorflow 2.16.2");
    }

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!(export(&("LIBTORCH", "/it's here".into())), r"export LIBTORCH='/it'\''s here'");
    }
}
