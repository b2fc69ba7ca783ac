//! A grid of images with titles, labels and captions.

use image::{Rgb, RgbImage, imageops};

use crate::color_bar::ColorBar;
use crate::error::{Error, Result, check_photo, check_within, invalid};
use crate::resize::LONGEST_SIDE;
use crate::text::{Align, Block, fit};

const WHITE: Rgb<u8> = Rgb([255; 3]);
const FRAME: Rgb<u8> = Rgb([205, 205, 210]);
/// Between a text and what it belongs to.
const TEXT_GAP: u32 = 6;
/// What is narrower is widened, so that titles and captions stay legible.
const NARROWEST_TEXT: u32 = 84;
const WIDEST_LABEL: u32 = 170;
const MOST_TITLE_LINES: usize = 3;

/// One image of the grid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tile {
    /// The image.
    pub image: RgbImage,
    /// A text under it; empty for none.
    pub caption: String,
}

impl From<RgbImage> for Tile {
    fn from(image: RgbImage) -> Self {
        Self { image, caption: String::new() }
    }
}

/// A grid of equally sized images on white. Texts are wrapped, then set smaller, and at last cut with "..."; what
/// isn't Latin-1 is shown as "?".
#[derive(Clone, Debug, PartialEq)]
pub struct Tiles {
    /// The images, row by row; the last row may be short.
    pub tiles: Vec<Tile>,
    /// The number of columns; by default (`None`) the grid is as square as can be, rather wide than high.
    pub columns: Option<usize>,
    /// A text above the whole; empty for none.
    pub heading: String,
    /// Texts above the columns: none, or one a column.
    pub titles: Vec<String>,
    /// Texts left of the rows: none, or one a row.
    pub labels: Vec<String>,
    /// A legend at the right, if any.
    pub legend: Option<ColorBar>,
    /// The pixels that each pixel of a tile takes in either direction, 1 to 64; 1 by default.
    pub scale: u32,
    /// The margin around the whole in pixels, 0 to 1000; 20 by default.
    pub margin: u32,
    /// The gap between tiles in pixels, 0 to 1000; 12 by default.
    pub gap: u32,
}

impl Default for Tiles {
    fn default() -> Self {
        Self {
            tiles: Vec::new(),
            columns: None,
            heading: String::new(),
            titles: Vec::new(),
            labels: Vec::new(),
            legend: None,
            scale: 1,
            margin: 20,
            gap: 12,
        }
    }
}

impl Tiles {
    /// Draws the grid.
    ///
    /// Errors: no tiles, empty tiles or tiles of different sizes, a number of titles or labels other than that of
    /// columns or rows, a setting out of range, a picture longer than 65535 pixels.
    pub fn render(&self) -> Result<RgbImage> {
        let (tile_width, tile_height) = self.tile_size()?;
        let (rows, columns) = self.grid()?;
        let captions: Vec<String> = self.tiles.iter().map(|tile| tile.caption.clone()).collect();
        let has_text = self.titles.iter().chain(&captions).any(|text| !text.is_empty());
        let cell_width = if has_text { tile_width.max(NARROWEST_TEXT) } else { tile_width };

        let titles = fit(&self.titles, cell_width, MOST_TITLE_LINES);
        let captions = fit(&captions, cell_width, MOST_TITLE_LINES);
        let labels = fit(&self.labels, WIDEST_LABEL, (tile_height / 16).max(1) as usize);
        let above = with_gap(highest(&titles));
        let below: Vec<u32> = captions.chunks(columns).map(|row| with_gap(highest(row))).collect();
        let beside = with_gap(labels.iter().map(Block::width).max().unwrap_or(0));

        let grid_width = u64::from(cell_width + self.gap) * columns as u64 - u64::from(self.gap);
        let row_height = |row: usize| u64::from(tile_height + below[row] + self.gap);
        let grid_height = (0..rows).map(row_height).sum::<u64>() - u64::from(self.gap);
        let body_width = within_side(grid_width + u64::from(beside))?;
        let legend = match self.legend {
            Some(bar) => {
                Some(bar.render(within_side(grid_height - u64::from(below[rows - 1]))?.clamp(40, 320))?)
            }
            None => None,
        };
        let legend_width = legend.as_ref().map_or(0, |legend| legend.width() + self.gap.max(2 * TEXT_GAP));
        let heading = fit(std::slice::from_ref(&self.heading), body_width + legend_width, MOST_TITLE_LINES);
        let left = self.margin + beside;
        let top =
            self.margin + heading[0].height() + u32::from(heading[0].height() > 0) * 2 * TEXT_GAP + above;
        let lower = legend.as_ref().map_or(0, |legend| u64::from(legend.height())).max(grid_height);
        let width = within_side(u64::from(body_width) + u64::from(legend_width + 2 * self.margin))?;
        let height = within_side(u64::from(top + self.margin) + lower)?;

        let mut image = RgbImage::from_pixel(width, height, WHITE);
        heading[0].draw(&mut image, width / 2, self.margin, Align::Centre);
        let column_left = |column: usize| left + column as u32 * (cell_width + self.gap);
        let row_tops: Vec<u32> = (0..rows)
            .scan(u64::from(top), |next, row| Some(std::mem::replace(next, *next + row_height(row)) as u32))
            .collect();
        for (column, title) in titles.iter().enumerate() {
            let y = top - TEXT_GAP.min(above) - title.height();
            title.draw(&mut image, column_left(column) + cell_width / 2, y, Align::Centre);
        }
        for (row, label) in labels.iter().enumerate() {
            let y = row_tops[row] + tile_height.saturating_sub(label.height()) / 2;
            label.draw(&mut image, left - TEXT_GAP.min(beside), y, Align::Right);
        }
        for (i, (tile, caption)) in self.tiles.iter().zip(&captions).enumerate() {
            let (x, y) = (column_left(i % columns), row_tops[i / columns]);
            let inset = (cell_width - tile_width) / 2;
            self.draw_tile(&mut image, &tile.image, x + inset, y);
            caption.draw(&mut image, x + cell_width / 2, y + tile_height + TEXT_GAP, Align::Centre);
        }
        if let Some(legend) = legend {
            let x = width - self.margin - legend.width();
            imageops::replace(&mut image, &legend, x.into(), top.into());
        }
        Ok(image)
    }

    /// The size of every tile, scaled.
    fn tile_size(&self) -> Result<(u32, u32)> {
        check_within("scale", self.scale.into(), 1., 64.)?;
        check_within("margin", self.margin.into(), 0., 1000.)?;
        check_within("gap", self.gap.into(), 0., 1000.)?;
        let first = self.tiles.first().ok_or(Error::Empty { what: "tiles", shape: vec![0] })?;
        let (width, height) = first.image.dimensions();
        for (i, tile) in self.tiles.iter().enumerate() {
            check_photo(&tile.image)?;
            let (w, h) = tile.image.dimensions();
            if (w, h) != (width, height) {
                let expected = format_args!("{width} x {height} pixels like the first").to_string();
                return Err(invalid(format_args!("tile {i}"), expected, format_args!("{w} x {h}")));
            }
        }
        let scaled = |side: u32| within_side(u64::from(side) * u64::from(self.scale));
        Ok((scaled(width)?, scaled(height)?))
    }

    /// The number of rows and columns.
    fn grid(&self) -> Result<(usize, usize)> {
        let count = self.tiles.len();
        let columns = self.columns.unwrap_or_else(|| count.div_ceil(count.isqrt()));
        if columns == 0 || columns > count {
            return Err(invalid("columns", format_args!("1 to {count}, the number of tiles"), columns));
        }
        let rows = count.div_ceil(columns);
        for (what, texts, expected) in [("titles", &self.titles, columns), ("labels", &self.labels, rows)] {
            if !texts.is_empty() && texts.len() != expected {
                return Err(invalid(what, format_args!("none or {expected}"), texts.len()));
            }
        }
        Ok((rows, columns))
    }

    /// A tile in a thin frame, so that white ones have an edge; the frame lies in the gap, if there is one.
    fn draw_tile(&self, image: &mut RgbImage, tile: &RgbImage, left: u32, top: u32) {
        let (width, height) = (tile.width() * self.scale, tile.height() * self.scale);
        if self.gap >= 2 && self.margin >= 1 {
            let frame = RgbImage::from_pixel(width + 2, height + 2, FRAME);
            imageops::replace(image, &frame, i64::from(left) - 1, i64::from(top) - 1);
        }
        for y in 0..height {
            for x in 0..width {
                image.put_pixel(left + x, top + y, *tile.get_pixel(x / self.scale, y / self.scale));
            }
        }
    }
}

fn highest(blocks: &[Block]) -> u32 {
    blocks.iter().map(Block::height).max().unwrap_or(0)
}

/// The space a text of this extent takes: none if it is empty.
fn with_gap(extent: u32) -> u32 {
    if extent == 0 { 0 } else { extent + TEXT_GAP }
}

fn within_side(side: u64) -> Result<u32> {
    check_within("side of the picture in pixels", side as f64, 1., LONGEST_SIDE)?;
    Ok(side as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(count: usize, width: u32, height: u32) -> Tiles {
        let tiles = vec![RgbImage::from_pixel(width, height, Rgb([9, 9, 9])).into(); count];
        Tiles { tiles, ..Tiles::default() }
    }

    #[test]
    fn sizes_are_tiles_gaps_margins_and_texts() {
        for (picture, expected) in [
            (tiles(1, 100, 50), (140, 90)),
            (tiles(5, 100, 50), (40 + 3 * 100 + 2 * 12, 40 + 2 * 50 + 12)),
            (Tiles { columns: Some(5), ..tiles(5, 100, 50) }, (40 + 500 + 48, 90)),
            (Tiles { scale: 3, margin: 0, gap: 0, ..tiles(4, 10, 5) }, (60, 30)),
            (Tiles { titles: vec!["map".into()], ..tiles(1, 100, 50) }, (140, 90 + 20 + 6)),
            (Tiles { titles: vec!["map".into()], ..tiles(1, 10, 50) }, (40 + 84, 90 + 20 + 6)),
            (Tiles { labels: vec!["cat".into()], ..tiles(1, 100, 50) }, (140 + 30 + 6, 90)),
            (Tiles { heading: "cat".into(), ..tiles(1, 100, 50) }, (140, 90 + 20 + 12)),
        ] {
            assert_eq!(picture.render().unwrap().dimensions(), expected, "{:?}", picture.titles);
        }
    }

    #[test]
    fn tiles_lie_where_they_should_on_white() {
        let image = tiles(2, 30, 20).render().unwrap();
        for (x, dark) in
            [(0, false), (18, false), (20, true), (49, true), (51, false), (62, true), (91, true)]
        {
            assert_eq!(image[(x, 30)].0[0] == 9, dark, "{x}");
        }
        assert_eq!(image[(0, 0)], WHITE);
    }

    #[test]
    fn captions_and_a_legend_add_room() {
        let mut captioned = tiles(2, 100, 100);
        captioned.tiles[1].caption = "a caption that needs more than one line".into();
        captioned.legend = Some(ColorBar::default());
        let (width, height) = captioned.render().unwrap().dimensions();
        assert!(width > 40 + 212 + 25 && height > 140 + 20, "{width} x {height}");
    }

    #[test]
    fn bad_grids_are_errors() {
        let mut uneven = tiles(2, 8, 8);
        uneven.tiles[1].image = RgbImage::new(8, 9);
        let message = uneven.render().unwrap_err().to_string();
        assert_eq!(message, "tile 1: expected 8 x 8 pixels like the first, found 8 x 9");
        for bad in [
            tiles(0, 8, 8),
            tiles(1, 0, 8),
            Tiles { columns: Some(0), ..tiles(2, 8, 8) },
            Tiles { columns: Some(usize::MAX), ..tiles(2, 8, 8) },
            Tiles { titles: vec![String::new(); 3], ..tiles(2, 8, 8) },
            Tiles { labels: vec![String::new(); 2], ..tiles(2, 8, 8) },
            Tiles { scale: 0, ..tiles(2, 8, 8) },
            Tiles { gap: u32::MAX, ..tiles(2, 8, 8) },
            Tiles { scale: 64, ..tiles(1, 2000, 1) },
        ] {
            assert!(bad.render().is_err());
        }
    }
}
