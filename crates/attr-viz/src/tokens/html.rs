//! Texts and colours as HTML and CSS have them.

use image::Rgb;

use crate::colors::ColorMap;

/// A text that is no markup, neither between tags nor in an attribute's value.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML has no place for them, in whatever notation.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `#rrggbb`
pub(super) fn hex(Rgb([r, g, b]): Rgb<u8>) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// All colours from left to right.
pub(super) fn gradient(colors: ColorMap) -> String {
    let stops: Vec<_> = (0..=10).map(|i| hex(colors.color(f64::from(i) / 10.0))).collect();
    format!("linear-gradient(to right,{})", stops.join(","))
}
