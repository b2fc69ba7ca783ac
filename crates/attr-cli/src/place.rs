//! A place in the network, from the words of the command line.

use attr_core::Cut;

/// `input`, `logits`, `output`, a layer by its index or name; behind `before:` what the layer reads, behind
/// `name:` certainly a name.
pub(crate) fn parse(text: &str) -> Cut {
    if let Some(rest) = text.strip_prefix("before:") {
        return parse(rest).before();
    }
    if let Some(name) = text.strip_prefix("name:") {
        return Cut::layer(name);
    }
    match text {
        "input" => Cut::input(),
        "logits" => Cut::logits(),
        "output" => Cut::output(),
        _ => text.parse().map_or_else(|_| Cut::layer(text), Cut::index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word() {
        for (text, cut) in [
            ("input", Cut::input()),
            ("3", Cut::index(3)),
            ("before:3", Cut::index(3).before()),
            ("name:3", Cut::layer("3")),
            ("before:conv1", Cut::layer("conv1").before()),
            ("features/conv", Cut::layer("features/conv")),
        ] {
            assert_eq!(parse(text), cut, "{text}");
        }
    }
}
