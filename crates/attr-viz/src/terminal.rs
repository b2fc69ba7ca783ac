//! Colours in a terminal, by the escape sequences of ECMA-48.

use image::Rgb;

/// How many colours a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 24 bits: all of them.
    True,
    /// 256, of which a cube of six steps a channel is used.
    Indexed,
}

/// The brightness of the cube's steps, as xterm has them.
const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// Text on a ground of this colour, in black or white, whichever can be read better.
pub(crate) fn paint(text: &str, ground: Rgb<u8>, depth: Depth) -> String {
    let shown = shown(ground, depth);
    format!("\x1b[48;{}m\x1b[38;{}m{text}\x1b[0m", code(ground, depth), code(ink(shown), depth))
}

/// Text in this colour.
pub(crate) fn tint(text: &str, color: Rgb<u8>, depth: Depth) -> String {
    format!("\x1b[38;{}m{text}\x1b[0m", code(color, depth))
}

/// Black or white, whichever has the higher contrast to a ground (WCAG 2.2: at least 4.58 of 1 to 21).
pub(crate) fn ink(ground: Rgb<u8>) -> Rgb<u8> {
    // The contrast of luminances a > b is (a + 0.05) / (b + 0.05); white has 1, black 0.
    let light = luminance(ground) + 0.05;
    Rgb(if 1.05 / light > light / 0.05 { [255; 3] } else { [0; 3] })
}

/// Text in which control characters, and those that turn its direction, are U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// The relative luminance of sRGB, 0 to 1 (WCAG 2.2).
fn luminance(Rgb(color): Rgb<u8>) -> f64 {
    let [r, g, b] = color.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn code(color: Rgb<u8>, depth: Depth) -> String {
    let Rgb([r, g, b]) = color;
    match depth {
        Depth::True => format!("2;{r};{g};{b}"),
        Depth::Indexed => {
            let [r, g, b] = color.0.map(nearest);
            format!("5;{}", 16 + 36 * r + 6 * g + b)
        }
    }
}

/// The colour that comes out.
fn shown(color: Rgb<u8>, depth: Depth) -> Rgb<u8> {
    match depth {
        Depth::True => color,
        Depth::Indexed => Rgb(color.0.map(|c| STEPS[nearest(c)])),
    }
}

fn nearest(value: u8) -> usize {
    (0..STEPS.len()).min_by_key(|&step| STEPS[step].abs_diff(value)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ColorMap;

    #[test]
    fn ink_can_be_read_on_every_colour() {
        for &colors in ColorMap::ALL {
            for position in 0..=100 {
                let ground = colors.color(f64::from(position) / 100.0);
                let (ground, ink) = (luminance(ground), luminance(ink(ground)));
                let contrast = (ground.max(ink) + 0.05) / (ground.min(ink) + 0.05);
                assert!(contrast >= 4.5, "{colors} at {position}: {contrast}");
            }
        }
        assert!((luminance(Rgb([255; 3])) - 1.0).abs() < 1e-12 && luminance(Rgb([0; 3])) == 0.0);
    }

    #[test]
    fn colours_of_the_cube() {
        let cases = [([0, 0, 0], "5;16"), ([255, 255, 255], "5;231"), ([100, 0, 250], "5;57")];
        for (color, expected) in cases {
            assert_eq!(code(Rgb(color), Depth::Indexed), expected);
        }
        assert_eq!(tint("x", Rgb([1, 2, 3]), Depth::True), "\x1b[38;2;1;2;3mx\x1b[0m");
    }
}
