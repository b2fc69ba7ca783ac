//! Texts whose tokens are coloured by how much each mattered: as a page of HTML, and for a terminal.

mod html;
mod page;

use image::Rgb;

use crate::colors::ColorMap;
use crate::error::{Error, Result, invalid};
use crate::terminal::{Depth, paint, printable};

pub use page::{Fact, Page};

/// A token of a text, and how much it mattered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Token {
    /// What is shown: the part of the text that it stands for, or its own name.
    pub text: String,
    /// What stands between the token before and this one: a space, mostly.
    pub before: String,
    /// How much it mattered.
    pub value: f64,
    /// Whether it is none of the text's own, as those that stand for its beginning and end.
    pub is_special: bool,
}

/// A text, token by token, with what is to be read beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passage {
    /// A text above it; empty for none.
    pub heading: String,
    /// The tokens in their order.
    pub tokens: Vec<Token>,
    /// What it rests on, below it.
    pub facts: Vec<Fact>,
}

impl Passage {
    /// The largest magnitude: what the ends of the colours stand for. Errors: no tokens, NaN or infinity.
    pub fn limit(&self) -> Result<f64> {
        if self.tokens.is_empty() {
            return Err(Error::Empty { what: "tokens", shape: vec![0] });
        }
        match self.tokens.iter().find(|token| !token.value.is_finite()) {
            Some(token) => Err(invalid(format!("token {:?}", token.text), "a finite value", token.value)),
            None => Ok(self.tokens.iter().fold(0.0, |limit, token| token.value.abs().max(limit))),
        }
    }

    /// The colours that are usual for its values: those around zero where some are negative.
    pub fn usual_colors(&self) -> ColorMap {
        let is_signed = self.tokens.iter().any(|token| token.value < 0.0);
        if is_signed { ColorMap::BlueRed } else { ColorMap::Reds }
    }

    /// The text with coloured backgrounds, by the escape sequences of ECMA-48, in one line that the terminal wraps.
    /// Control characters of the text itself are shown as U+FFFD. Errors: as [`Passage::limit`].
    pub fn ansi(&self, colors: ColorMap, depth: Depth) -> Result<String> {
        let limit = self.limit()?;
        let pieces = self.tokens.iter().map(|token| {
            let color = color(colors, token.value, limit);
            format!("{}{}", printable(&token.before), paint(&printable(&token.text), color, depth))
        });
        Ok(pieces.collect())
    }
}

/// The colour of a value, where the ends of the colours stand for the limit.
fn color(colors: ColorMap, value: f64, limit: f64) -> Rgb<u8> {
    let share = if limit == 0.0 { 0.0 } else { value / limit };
    colors.color(if colors.is_diverging() { 0.5 + share / 2.0 } else { share })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn passage() -> Passage {
        let token = |before: &str, text: &str, value| Token {
            text: text.into(),
            before: before.into(),
            value,
            is_special: text.starts_with('['),
        };
        Passage {
            heading: "what".into(),
            tokens: vec![
                token("", "[CLS]", 0.0),
                token("", "a", -0.25),
                token(" ", "cat", 0.5),
                token("", "s", 0.125),
            ],
            facts: vec![],
        }
    }

    #[test]
    fn colours_go_by_sign_and_share() {
        let passage = passage();
        assert_eq!((passage.limit().unwrap(), passage.usual_colors()), (0.5, ColorMap::BlueRed));
        let found = passage.ansi(ColorMap::Seismic, Depth::True).unwrap();
        // Zero is white, the largest the upper end, and ink is what can be read on it.
        let white = "\x1b[48;2;255;255;255m\x1b[38;2;0;0;0m[CLS]\x1b[0m";
        let cat = " \x1b[48;2;128;0;0m\x1b[38;2;255;255;255mcat\x1b[0m";
        assert!(found.starts_with(white) && found.contains(cat), "{found:?}");
        assert_eq!(color(ColorMap::Reds, 0.5, 0.5), ColorMap::Reds.color(1.0));
        assert_eq!(color(ColorMap::BlueRed, 0.0, 0.0), ColorMap::BlueRed.color(0.5));
    }

    #[test]
    fn what_the_text_holds_does_not_steer_the_terminal() {
        let mut passage = passage();
        passage.tokens[2].text = "c\x1b[2Jt\u{202e}".into();
        let found = passage.ansi(ColorMap::BlueRed, Depth::True).unwrap();
        assert!(!found.contains("\x1b[2J") && found.contains("c\u{fffd}[2Jt\u{fffd}"), "{found:?}");
    }

    #[test]
    fn no_tokens_and_no_numbers_are_errors() {
        assert!(Passage::default().limit().is_err());
        let mut passage = passage();
        passage.tokens[1].value = f64::NAN;
        let error = passage.ansi(ColorMap::BlueRed, Depth::Indexed).unwrap_err();
        assert_eq!(error.to_string(), "token \"a\": expected a finite value, found NaN");
    }
}
