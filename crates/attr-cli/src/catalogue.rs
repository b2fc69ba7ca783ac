//! The methods there are, as the library lists them, and settings of their parameters.

use attr_core::methods::{self, Entry};
use attr_core::parameter::Parameters;

use crate::error::{Error, Result};

/// A method by its words and parameters.
pub(crate) type Method = Entry<dyn Parameters>;

/// All methods, in the library's order.
pub(crate) fn all() -> Vec<Method> {
    methods::catalogue()
}

/// The method of this name; an error lists those there are.
pub(crate) fn find(name: &str) -> Result<Method> {
    Ok(methods::named(all(), name)?)
}

/// Whether a method has a parameter of this name.
pub(crate) fn has(method: &Method, parameter: &str) -> bool {
    (method.build)().parameters().iter().any(|known| known.name == parameter)
}

/// From `key=value` and `method.key=value` to what each of the methods is set to. A key without a method
/// goes to all that have it, and at least one must.
pub(crate) fn settings(
    names: &[&'static str],
    texts: &[String],
    seed: Option<u64>,
) -> Result<Vec<Vec<(String, String)>>> {
    let methods = names.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
    let mut settings = vec![Vec::new(); methods.len()];
    for text in texts {
        let wrong = || Error::usage(format!("set: expected KEY=VALUE, found {text:?}"));
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        let (key, only) = match key.trim().split_once('.') {
            Some((name, key)) => (key, Some(name)),
            None => (key.trim(), None),
        };
        if let Some(name) = only.filter(|name| !names.contains(name)) {
            let found = format!("{name:?} in --set {text}");
            return Err(Error::usage(format!("set: expected one of {}, found {found}", names.join(", "))));
        }
        let mut taken = false;
        for (method, settings) in methods.iter().zip(&mut settings) {
            let meant = only.map_or_else(|| has(method, key), |name| name == method.name);
            if meant {
                settings.push((key.to_string(), value.to_string()));
            }
            taken |= meant;
        }
        if !taken {
            // The library says which parameters there are.
            check(&methods[0], &[(key.to_string(), value.to_string())])?;
        }
    }
    for (method, settings) in methods.iter().zip(&mut settings) {
        if let Some(seed) = seed.filter(|_| has(method, "seed")) {
            settings.push(("seed".into(), seed.to_string()));
        }
        check(method, settings)?;
    }
    Ok(settings)
}

/// That a method takes these settings.
fn check(method: &Method, settings: &[(String, String)]) -> Result<()> {
    let mut method = (method.build)();
    Ok(settings.iter().try_for_each(|(key, value)| method.set(key, value))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_to_the_methods_that_have_them() {
        let texts = ["steps=3".to_string(), "smoothgrad.samples=2".to_string()];
        let found = settings(&["gradient", "integrated-gradients", "smoothgrad"], &texts, Some(7)).unwrap();
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        let expected = [vec![], vec![pair("steps", "3")], vec![pair("samples", "2"), pair("seed", "7")]];
        assert_eq!(found, expected);
    }

    #[test]
    fn wrong_settings_are_usage_errors() {
        for text in ["steps", "stepz=3", "steps=many", "gradient.steps=3"] {
            let error = settings(&["integrated-gradients"], &[text.to_string()], None).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}: {error}");
        }
    }
}
