//! The methods there are, as the library lists them, and settings of their parameters.

use std::sync::Arc;

use attr_core::methods::{self, Entry};
use attr_core::{Parameters, Patterns, Settings};

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

/// A method that is asked for, and what its parameters are set to.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its name.
    pub(crate) method: &'static str,
    /// The same with what is set for it alone: what stands above its picture.
    pub(crate) title: String,
    pub(crate) settings: Settings,
    /// What the evidence has to say about them.
    pub(crate) notes: Vec<String>,
}

/// What is set besides the methods' own words.
pub(crate) struct Common<'a> {
    /// `key=value` or `method.key=value`. A key without a method goes to all that have it, and at least one must.
    pub(crate) settings: &'a [String],
    pub(crate) seed: Option<u64>,
    /// For methods that use them.
    pub(crate) patterns: Option<Arc<Patterns>>,
}

/// Methods by name, each with settings of its own behind it: `lrp[rules=flat][start=one]`.
pub(crate) fn asked(texts: &[&str], common: &Common<'_>) -> Result<Vec<Asked>> {
    let (mut methods, mut asked) = (Vec::new(), Vec::new());
    for text in texts {
        let (name, values) = with_settings(text)?;
        let (method, settings) = (find(name)?, Settings { values, ..Settings::default() });
        let title = settings.titled(method.name);
        asked.push(Asked { method: method.name, title, settings, notes: Vec::new() });
        methods.push(method);
    }
    for text in common.settings {
        let (key, value) = setting(text)?;
        let (key, only) = match key.split_once('.') {
            Some((name, key)) => (key.to_string(), Some(name)),
            None => (key.clone(), None),
        };
        if let Some(name) = only.filter(|name| !methods.iter().any(|method| method.name == *name)) {
            let names: Vec<_> = methods.iter().map(|method| method.name).collect();
            let found = format!("{name:?} in --set {text}");
            return Err(Error::usage(format!("set: expected one of {}, found {found}", names.join(", "))));
        }
        let mut taken = false;
        for (method, asked) in methods.iter().zip(&mut asked) {
            let meant = only.map_or_else(|| method.has(&key), |name| name == method.name);
            if meant {
                // What a method says itself counts more than what is said of all.
                asked.settings.values.insert(0, (key.clone(), value.clone()));
            }
            taken |= meant;
        }
        if !taken {
            // The library says which parameters there are.
            (methods[0].build)().set(&key, &value)?;
        }
    }
    let mut patterns_taken = common.patterns.is_none();
    for (method, asked) in methods.iter().zip(&mut asked) {
        if let Some(seed) = common.seed.filter(|_| method.has("seed")) {
            asked.settings.values.push(("seed".into(), seed.to_string()));
        }
        if method.has(PATTERNS) {
            asked.settings.patterns = common.patterns.clone();
            patterns_taken = true;
        }
        asked.settings.apply((method.build)().as_mut())?;
    }
    if !patterns_taken {
        return Err(Error::usage(
            "patterns: expected a method that uses them: pattern-net or pattern-attribution",
        ));
    }
    Ok(asked)
}

/// The parameter that says whether a method uses patterns.
pub(crate) const PATTERNS: &str = "patterns";

/// A method's name, and the settings in brackets behind it.
fn with_settings(text: &str) -> Result<(&str, Vec<(String, String)>)> {
    let Some((name, brackets)) = text.split_once('[') else { return Ok((text.trim(), Vec::new())) };
    let wrong = || Error::usage(format!("methods: expected NAME[KEY=VALUE], found {text:?}"));
    let inner = brackets.trim().strip_suffix(']').ok_or_else(wrong)?;
    Ok((name.trim(), inner.split("][").map(setting).collect::<Result<_>>()?))
}

/// `key=value`
fn setting(text: &str) -> Result<(String, String)> {
    let wrong = || Error::usage(format!("set: expected KEY=VALUE, found {text:?}"));
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((key.trim().to_string(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common<'a>(settings: &'a [String], seed: Option<u64>) -> Common<'a> {
        Common { settings, seed, patterns: None }
    }

    #[test]
    fn settings_go_to_the_methods_that_have_them() {
        let texts = ["steps=3".to_string(), "smoothgrad.samples=2".to_string()];
        let methods = ["gradient", "integrated-gradients[steps=9]", "integrated-gradients", "smoothgrad"];
        let found = asked(&methods, &common(&texts, Some(7))).unwrap();
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        let expected = [
            vec![],
            vec![pair("steps", "3"), pair("steps", "9")],
            vec![pair("steps", "3")],
            vec![pair("samples", "2"), pair("seed", "7")],
        ];
        for (asked, expected) in found.iter().zip(expected) {
            assert_eq!(asked.settings.values, expected, "{}", asked.title);
        }
        assert_eq!(found[1].title, "integrated-gradients 9");
    }

    #[test]
    fn wrong_settings_are_usage_errors() {
        for text in ["steps", "stepz=3", "steps=many", "gradient.steps=3"] {
            let error = asked(&["integrated-gradients"], &common(&[text.to_string()], None)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}: {error}");
        }
        for text in ["lrp[rules=flat", "lrp[rules]", "lrp[]", "lrp[rules=nonsense]", "lrq"] {
            let error = asked(&[text], &common(&[], None)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}: {error}");
        }
    }
}
