//! Text on images: one of four fixed-width fonts, wrapped, shrunk or shortened to fit, with smoothed edges.

use std::convert::Infallible;

use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_8X13, FONT_9X15, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Pixel, Point, Size};
use embedded_graphics::text::{Baseline, Text};
use image::{Rgb, RgbImage};

use crate::heatmap::blend;

const INK: Rgb<u8> = Rgb([25, 25, 30]);

/// From large to small.
const FONTS: [&MonoFont<'static>; 4] = [&FONT_10X20, &FONT_9X15, &FONT_8X13, &FONT_6X10];

/// Where the lines of a block lie about its x.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Centre,
    Right,
}

/// Lines of text in one font.
pub(crate) struct Block {
    font: &'static MonoFont<'static>,
    lines: Vec<String>,
}

/// Fits texts into a width (pixels) and a number of lines, all in the largest font in which none is cut; if there
/// is none, those too long end in "...".
pub(crate) fn fit(texts: &[String], width: u32, most_lines: usize) -> Vec<Block> {
    let texts: Vec<String> = texts.iter().map(|text| printable(text)).collect();
    let columns = |font: &MonoFont| (width / font.character_size.width).max(1) as usize;
    let fits = |font: &&&MonoFont| {
        let mut wrapped = texts.iter().map(|text| wrap(text, columns(font)));
        wrapped.all(|(lines, whole)| whole && lines.len() <= most_lines)
    };
    let [.., smallest] = FONTS;
    let font = FONTS.iter().find(fits).copied().unwrap_or(smallest);
    let lines = |text: &String| wrap_evenly(text, columns(font), most_lines);
    texts.iter().map(|text| Block { font, lines: lines(text) }).collect()
}

impl Block {
    pub(crate) fn width(&self) -> u32 {
        let longest = self.lines.iter().map(|line| count(line)).max().unwrap_or(0);
        longest * self.font.character_size.width
    }

    pub(crate) fn height(&self) -> u32 {
        self.lines.len() as u32 * self.font.character_size.height
    }

    /// Draws the block with its upper edge at y; whatever lies outside of the image is left out.
    pub(crate) fn draw(&self, image: &mut RgbImage, x: u32, y: u32, align: Align) {
        for (line, row) in self.lines.iter().zip(0..) {
            let width = count(line) * self.font.character_size.width;
            let left = match align {
                Align::Left => x,
                Align::Centre => x.saturating_sub(width / 2),
                Align::Right => x.saturating_sub(width),
            };
            draw_line(image, self.font, line, left, y + row * self.font.character_size.height);
        }
    }
}

fn count(text: &str) -> u32 {
    text.chars().count() as u32
}

/// Printable Latin-1 only: white space becomes a space, all else '?'.
fn printable(text: &str) -> String {
    let latin = |c: char| matches!(c, ' '..='~' | '\u{a1}'..='\u{ff}');
    text.chars()
        .map(|c| {
            if c.is_whitespace() {
                ' '
            } else if latin(c) {
                c
            } else {
                '?'
            }
        })
        .collect()
}

/// As few lines as possible, at most `most`, and those as even as possible.
fn wrap_evenly(text: &str, columns: usize, most: usize) -> Vec<String> {
    let (mut lines, whole) = wrap(text, columns);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            let kept = last.chars().take(columns.saturating_sub(3));
            *last = kept.chain("...".chars()).take(columns).collect();
        }
    } else if whole && lines.len() > 1 {
        let narrower = (1..columns).rev().map(|columns| wrap(text, columns));
        let as_short = narrower.take_while(|(narrow, whole)| *whole && narrow.len() == lines.len());
        lines = as_short.last().map_or(lines.clone(), |(narrow, _)| narrow);
    }
    lines
}

/// Lines of at most `columns` characters, broken after spaces and `_ - / , .`; the second is whether nothing had to
/// be broken elsewhere.
fn wrap(text: &str, columns: usize) -> (Vec<String>, bool) {
    let (mut lines, mut line, mut used, mut whole) = (Vec::new(), String::new(), 0, true);
    for piece in text.split_inclusive([' ', '_', '-', '/', ',', '.']) {
        if used > 0 && used + piece.trim_end().chars().count() > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for c in piece.chars() {
            if c == ' ' && (used == 0 || used == columns) {
                continue;
            }
            if used == columns {
                lines.push(std::mem::take(&mut line));
                (used, whole) = (0, false);
            }
            line.push(c);
            used += 1;
        }
    }
    lines.push(line);
    lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
    lines.retain(|line| !line.is_empty());
    (lines, whole)
}

fn draw_line(image: &mut RgbImage, font: &MonoFont<'static>, line: &str, left: u32, top: u32) {
    let size = Size::new(count(line) * font.character_size.width, font.character_size.height);
    let mut ink =
        Ink { width: size.width, height: size.height, on: vec![false; (size.width * size.height) as usize] };
    let style = MonoTextStyle::new(font, BinaryColor::On);
    let Ok(_) = Text::with_baseline(line, Point::zero(), style, Baseline::Top).draw(&mut ink);
    let fine = ink.doubled().doubled();
    for y in 0..size.height {
        for x in 0..size.width {
            let covered = (0..16).filter(|i| fine.at(4 * x + i % 4, 4 * y + i / 4)).count();
            if let Some(pixel) = image.get_pixel_mut_checked(left + x, top + y) {
                *pixel = blend(*pixel, INK, covered as f64 / 16.);
            }
        }
    }
}

/// A picture of one bit a pixel, on which the font is drawn.
struct Ink {
    width: u32,
    height: u32,
    on: Vec<bool>,
}

impl Ink {
    /// Beyond the edges nothing is on.
    fn at(&self, x: u32, y: u32) -> bool {
        x < self.width && y < self.height && self.on[(y * self.width + x) as usize]
    }

    /// Twice the size with smooth diagonals (Scale2x): a quarter pixel takes the value of the two neighbours at its
    /// corner if they are equal and differ from the two opposite ones.
    fn doubled(&self) -> Self {
        let (width, height) = (2 * self.width, 2 * self.height);
        let quarter = |i: u32| {
            let (x, y) = (i % width, i / width);
            let (cx, cy) = (x / 2, y / 2);
            let (left, right) = (self.at(cx.wrapping_sub(1), cy), self.at(cx + 1, cy));
            let (up, down) = (self.at(cx, cy.wrapping_sub(1)), self.at(cx, cy + 1));
            let (side, across) = if x % 2 == 0 { (left, right) } else { (right, left) };
            let (end, opposite) = if y % 2 == 0 { (up, down) } else { (down, up) };
            if side == end && side != opposite && end != across { side } else { self.at(cx, cy) }
        };
        Self { width, height, on: (0..width * height).map(quarter).collect() }
    }
}

impl OriginDimensions for Ink {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Ink {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y))
                && x < self.width
                && y < self.height
            {
                self.on[(y * self.width + x) as usize] = color.is_on();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_underscores() {
        for (text, columns, expected, whole) in [
            ("integrated gradients", 10, vec!["integrated", "gradients"], true),
            ("lrp_epsilon_plus", 12, vec!["lrp_epsilon_", "plus"], true),
            ("a b c", 9, vec!["a b c"], true),
            ("abcdef", 4, vec!["abcd", "ef"], false),
            ("", 4, vec![], true),
        ] {
            let (lines, found) = wrap(text, columns);
            assert_eq!((lines, found), (expected.iter().map(|s| s.to_string()).collect(), whole), "{text}");
        }
    }

    #[test]
    fn shrinks_before_it_cuts_and_cuts_with_an_ellipsis() {
        let block = |text: &str, width: u32| fit(&[text.to_string()], width, 1).remove(0);
        for (width, height) in [(80, 20), (72, 15), (64, 13), (48, 10)] {
            let fitted = block("saliency", width);
            assert_eq!(
                (fitted.lines.as_slice(), fitted.height()),
                (["saliency".to_string()].as_slice(), height)
            );
        }
        assert_eq!(block("saliency", 42).lines, ["sali..."]);
        assert_eq!(block("saliency", 12).lines, [".."]);
        let even = fit(&["channel mask of 7 x 7".to_string()], 180, 3).remove(0);
        assert_eq!(even.lines, ["channel mask", "of 7 x 7"]);
        assert_eq!(printable("Größe → 1\n"), "Größe ? 1 ");
    }

    #[test]
    fn ink_is_drawn_where_asked_and_never_outside() {
        let mut image = RgbImage::from_pixel(60, 30, Rgb([255; 3]));
        fit(&["MM".to_string()], 60, 1)[0].draw(&mut image, 30, 5, Align::Centre);
        let dark = |p: &Rgb<u8>| p.0[0] < 128;
        assert!(
            image
                .enumerate_pixels()
                .filter(|(.., p)| dark(p))
                .all(|(x, y, _)| (20..40).contains(&x) && (5..25).contains(&y))
        );
        assert!(image.pixels().any(dark));
        fit(&["MM".to_string()], 60, 1)[0].draw(&mut image, 55, 25, Align::Left);
    }
}
