//! Named numbers as bars on both sides of zero: as a picture, and as lines for a terminal.

use image::{Rgb, RgbImage};

use crate::color_bar::short;
use crate::colors::ColorMap;
use crate::error::{Error, Result, check_within, invalid};
use crate::terminal::{Depth, printable, tint};
use crate::text::{Align, Block, fit};

const WHITE: Rgb<u8> = Rgb([255; 3]);
const AXIS: Rgb<u8> = Rgb([120, 120, 125]);
const MARGIN: u32 = 20;
const GAP: u32 = 10;
/// A bar and the space below it.
const STEP: u32 = 24;
const THICKNESS: u32 = 16;
const WIDEST_LABEL: u32 = 330;
const WIDEST_NUMBER: u32 = 90;
/// The width of all bars together, if there are some on both sides.
const LENGTH: u32 = 420;
/// No more than this fits into a picture.
const MOST: usize = 1000;

/// A named number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// What the number is of.
    pub label: String,
    /// The number.
    pub value: f64,
}

/// Bars from top to bottom, all with the same scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// A text above; empty for none.
    pub heading: String,
    /// The bars, at least one and at most 1000.
    pub bars: Vec<Bar>,
    /// Where the colours of both sides are taken from: about the ends of it.
    pub colors: ColorMap,
}

impl Bars {
    /// Draws the bars on white, with names on the left and numbers on the right. Errors: no bars or more than a picture
    /// takes, NaN or infinity.
    pub fn render(&self) -> Result<RgbImage> {
        let (low, high) = self.range()?;
        let texts = |of: &dyn Fn(&Bar) -> String| self.bars.iter().map(of).collect::<Vec<_>>();
        let labels = fit(&texts(&|bar| bar.label.clone()), WIDEST_LABEL, 1);
        let numbers = fit(&texts(&|bar| short(bar.value)), WIDEST_NUMBER, 1);
        let widest = |blocks: &[Block]| blocks.iter().map(Block::width).max().unwrap_or(0);
        let left = MARGIN + widest(&labels) + GAP;
        let width = left + LENGTH + GAP + widest(&numbers) + MARGIN;
        let heading = fit(std::slice::from_ref(&self.heading), width - 2 * MARGIN, 3);
        let top = MARGIN + heading[0].height() + if heading[0].height() > 0 { GAP } else { 0 };
        let height = top + self.bars.len() as u32 * STEP + MARGIN;

        let mut image = RgbImage::from_pixel(width, height, WHITE);
        heading[0].draw(&mut image, width / 2, MARGIN, Align::Centre);
        let at = |value: f64| left + (f64::from(LENGTH) * (value - low) / (high - low)).round() as u32;
        let zero = at(0.0);
        for (i, bar) in self.bars.iter().enumerate() {
            let y = top + i as u32 * STEP;
            let (from, to) = (zero.min(at(bar.value)), zero.max(at(bar.value)));
            for x in from..to.min(width) {
                (y..y + THICKNESS).for_each(|y| image.put_pixel(x, y, self.color(bar.value)));
            }
            let centred = |block: &Block| (y + THICKNESS / 2).saturating_sub(block.height() / 2);
            labels[i].draw(&mut image, left - GAP, centred(&labels[i]), Align::Right);
            numbers[i].draw(&mut image, width - MARGIN, centred(&numbers[i]), Align::Right);
        }
        (top..height - MARGIN).for_each(|y| image.put_pixel(zero, y, AXIS));
        Ok(image)
    }

    /// The bars as lines: a name, the number, the bar, which is at most `width` characters long (2 to 1000), in colour
    /// where a depth is given. Control characters of names are shown as U+FFFD. Errors: as [`Bars::render`].
    pub fn lines(&self, width: usize, depth: Option<Depth>) -> Result<String> {
        check_within("width of the bars", width as f64, 2.0, MOST as f64)?;
        let (low, high) = self.range()?;
        let names: Vec<_> = self.bars.iter().map(|bar| printable(&bar.label)).collect();
        let count = |text: &String| text.chars().count();
        let longest = names.iter().map(count).max().unwrap_or(0);
        let column = |value: f64| (width as f64 * (value - low) / (high - low)).round() as usize;
        let zero = column(0.0);
        let mut text = String::new();
        for (name, Bar { value, .. }) in names.iter().zip(&self.bars) {
            let (from, to) = (zero.min(column(*value)), zero.max(column(*value)));
            let bar = match (from == to, *value == 0.0) {
                (_, true) => "│".to_string(),
                // Too short to be seen, but not nothing.
                (true, _) => (if *value < 0.0 { "▕" } else { "▏" }).to_string(),
                _ => "█".repeat(to - from),
            };
            let bar = match depth {
                Some(depth) if *value != 0.0 => tint(&bar, self.color(*value), depth),
                _ => bar,
            };
            let space = " ".repeat(longest - count(name));
            let before = " ".repeat(from.min(width - 1));
            let number = format!("{value:+.3e}");
            text.push_str(&format!("{name}{space}  {number:>10}  {before}{bar}\n"));
        }
        Ok(text)
    }

    /// From where to where the bars reach, zero included.
    fn range(&self) -> Result<(f64, f64)> {
        match self.bars.len() {
            0 => return Err(Error::Empty { what: "bars", shape: vec![0] }),
            1..=MOST => {}
            more => return Err(invalid("bars", format_args!("at most {MOST}"), more)),
        }
        if let Some(bar) = self.bars.iter().find(|bar| !bar.value.is_finite()) {
            return Err(invalid(format!("bar {:?}", bar.label), "a finite value", bar.value));
        }
        let ends = |(low, high): (f64, f64), bar: &Bar| (low.min(bar.value), high.max(bar.value));
        let (low, high) = self.bars.iter().fold((0.0, 0.0), ends);
        // Where all are zero, any scale will do.
        Ok(if low == high { (0.0, 1.0) } else { (low, high) })
    }

    fn color(&self, value: f64) -> Rgb<u8> {
        let low = if self.colors.is_diverging() { 0.12 } else { 0.75 };
        self.colors.color(if value < 0.0 { low } else { 1.0 - 0.12 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[f64]) -> Bars {
        let bar = |(i, &value): (usize, &f64)| Bar { label: format!("column {i}"), value };
        Bars { bars: values.iter().enumerate().map(bar).collect(), ..Bars::default() }
    }

    #[test]
    fn lines_share_a_scale_around_zero() {
        let found = bars(&[3.0, -1.0, 0.0, 0.01]).lines(8, None).unwrap();
        let lines: Vec<_> = found.lines().map(|line| line.split_at(22).1).collect();
        assert_eq!(lines, ["  ██████", "██", "  │", "  ▏"], "{found}");
        assert!(found.starts_with("column 0    +3.000e0  "), "{found}");
        let found = bars(&[1.0]).lines(3, Some(Depth::True)).unwrap();
        assert!(found.contains("m███\x1b[0m"), "{found:?}");
    }

    #[test]
    fn pictures_have_bars_of_the_right_length() {
        let bars = bars(&[3.0, -1.0]);
        let image = bars.render().unwrap();
        let count = |color: Rgb<u8>| image.pixels().filter(|pixel| **pixel == color).count() as u32;
        let longest = LENGTH * 3 / 4;
        // The axis covers a column of the upper bar.
        assert_eq!(count(bars.color(3.0)), (longest - 1) * THICKNESS);
        assert_eq!(count(bars.color(-1.0)), (LENGTH - longest) * THICKNESS);
    }

    #[test]
    fn what_can_not_be_drawn_is_an_error() {
        for wrong in [bars(&[]), bars(&[f64::NAN]), bars(&[1.0; MOST + 1])] {
            assert!(wrong.render().is_err() && wrong.lines(10, None).is_err());
        }
        assert!(bars(&[0.0]).render().is_ok() && bars(&[1.0]).lines(1, None).is_err());
    }
}
