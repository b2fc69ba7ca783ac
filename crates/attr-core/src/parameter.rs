//! Parameters of methods by name: listed with their values, and set from text.

use std::sync::Arc;

use ndarray::ArrayD;

use crate::{Error, Patterns, Result};

/// One parameter of a method, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value now; of a method as built, its default.
    pub value: String,
    /// What it means.
    pub meaning: &'static str,
}

/// A structure whose fields are parameters.
pub trait Parameters {
    /// All parameters with their values now.
    fn parameters(&self) -> Vec<Parameter>;

    /// Sets one parameter from text; an error names those there are, or the values it can take.
    fn set(&mut self, name: &str, value: &str) -> Result<()>;

    /// Sets one parameter to arrays: a baseline, one array for each tensor that it is a baseline of. An error for
    /// parameters that are no arrays, or as [`set`](Self::set).
    fn set_arrays(&mut self, name: &str, arrays: &[ArrayD<f64>]) -> Result<()>;

    /// Gives it patterns; an error for methods that use none.
    fn set_patterns(&mut self, _: &Arc<Patterns>) -> Result<()> {
        Err(Error::parameter("patterns", "a method that uses patterns", "another"))
    }
}

/// What the parameters of a method are set to, where they are not as they are by default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Names and values as text.
    pub values: Vec<(String, String)>,
    /// Names and arrays, for baselines; they come after the values.
    pub arrays: Vec<(String, Vec<ArrayD<f64>>)>,
    /// Patterns, for a method that uses them.
    pub patterns: Option<Arc<Patterns>>,
}

impl Settings {
    /// The name of a method with the values that are set.
    pub fn titled(&self, method: &str) -> String {
        let values = self.values.iter().map(|(_, value)| value.as_str());
        std::iter::once(method).chain(values).collect::<Vec<_>>().join(" ")
    }

    /// Sets all of them.
    pub fn apply<P: Parameters + ?Sized>(&self, method: &mut P) -> Result<()> {
        self.values.iter().try_for_each(|(name, value)| method.set(name, value))?;
        self.arrays.iter().try_for_each(|(name, arrays)| method.set_arrays(name, arrays))?;
        self.patterns.iter().try_for_each(|patterns| method.set_patterns(patterns))
    }
}

/// A value that can be read from text.
pub trait FromText: Sized {
    /// The value of the parameter `name` from text, or what was expected.
    fn from_text(name: &str, text: &str) -> Result<Self>;

    /// The value of the parameter `name` from arrays; an error for values that are none.
    fn from_arrays(name: &str, arrays: &[ArrayD<f64>]) -> Result<Self> {
        let found = format!("{} arrays", arrays.len());
        Err(Error::parameter(name, "a value that is written as text", found))
    }
}

macro_rules! from_text {
    ($($kind:ty: $expected:literal),*) => {$(
        impl FromText for $kind {
            fn from_text(name: &str, text: &str) -> Result<Self> {
                text.trim().parse().map_err(|_| Error::parameter(name, $expected, format!("{text:?}")))
            }
        }
    )*};
}
from_text!(usize: "a whole number", u64: "a whole number", f64: "a number", bool: "true or false");

/// There is no parameter of this name.
pub(crate) fn unknown(name: &str, value: &str, all: &[Parameter]) -> Error {
    let names: Vec<_> = all.iter().map(|parameter| parameter.name).collect();
    let expected =
        if names.is_empty() { "no parameters at all".into() } else { format!("one of {}", names.join(", ")) };
    Error::parameter(name, &expected, format!("{name}={value}"))
}

/// Implements [`Parameters`] for a structure: each field with its meaning, and which of them holds patterns.
macro_rules! parameters {
    ($method:ty { $($field:ident: $meaning:expr),* $(,)? } $(patterns $patterns:ident)?) => {
        impl $crate::parameter::Parameters for $method {
            fn parameters(&self) -> Vec<$crate::parameter::Parameter> {
                vec![$($crate::parameter::Parameter {
                    name: stringify!($field),
                    value: self.$field.to_string(),
                    meaning: $meaning,
                }),*]
            }

            fn set(&mut self, name: &str, value: &str) -> $crate::Result<()> {
                $(if name == stringify!($field) {
                    self.$field = $crate::parameter::FromText::from_text(name, value)?;
                    return Ok(());
                })*
                Err($crate::parameter::unknown(name, value, &self.parameters()))
            }

            fn set_arrays(
                &mut self,
                name: &str,
                arrays: &[ndarray::ArrayD<f64>],
            ) -> $crate::Result<()> {
                // A method may have no parameters at all.
                let _ = arrays;
                $(if name == stringify!($field) {
                    self.$field = $crate::parameter::FromText::from_arrays(name, arrays)?;
                    return Ok(());
                })*
                Err($crate::parameter::unknown(name, "arrays", &self.parameters()))
            }

            $(fn set_patterns(&mut self, patterns: &std::sync::Arc<$crate::Patterns>) -> $crate::Result<()> {
                self.$patterns.0 = Some(std::sync::Arc::clone(patterns));
                Ok(())
            })?
        }
    };
}
pub(crate) use parameters;

/// Implements Display and FromStr for an enumeration by a table of names.
macro_rules! names {
    ($kind:ty, $what:literal, $names:expr) => {
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let (name, _) =
                    $names.iter().find(|(_, value)| value == self).expect("BUG: every value has a name");
                f.write_str(name)
            }
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::Error;

            fn from_str(text: &str) -> $crate::Result<Self> {
                $crate::parameter::FromText::from_text($what, text)
            }
        }

        impl $crate::parameter::FromText for $kind {
            fn from_text(name: &str, text: &str) -> $crate::Result<Self> {
                match $names.iter().find(|(name, _)| *name == text) {
                    Some((_, value)) => Ok(*value),
                    None => {
                        let names: Vec<_> = $names.iter().map(|(name, _)| *name).collect();
                        Err($crate::Error::parameter(name, &names.join(", "), format!("{text:?}")))
                    }
                }
            }
        }
    };
}
pub(crate) use names;
