//! Several methods side by side on the same inputs: what was seen, then a column for each method.

use attr_viz::{ColorBar, RgbImage, Tile, Tiles};

use crate::error::Result;
use crate::picture::{Maps, View, failed};

/// Photos in rows, methods in columns.
pub(crate) struct Grid {
    /// What the model saw, a row each.
    pub(crate) photos: Vec<RgbImage>,
    /// A text for each row.
    pub(crate) labels: Vec<String>,
    /// A method each.
    pub(crate) columns: Vec<Column>,
}

/// One method's heat maps.
pub(crate) struct Column {
    pub(crate) title: String,
    pub(crate) maps: Maps,
}

impl Grid {
    /// Draws it with tiles of about this many pixels, but never smaller than they are; of a single row, the
    /// tiles are wrapped into as square a grid as can be.
    pub(crate) fn render(&self, view: &View, pixels: u32) -> Result<RgbImage> {
        let is_single = self.photos.len() == 1;
        let mut tiles = Vec::new();
        for (row, photo) in self.photos.iter().enumerate() {
            let titled = |image, title: &str| Tile {
                image,
                caption: if is_single { title.to_string() } else { String::new() },
            };
            tiles.push(titled(photo.clone(), "input"));
            for column in &self.columns {
                tiles.push(titled(view.overlay(&column.maps, row, photo)?, &column.title));
            }
        }
        let titles = std::iter::once("input".to_string()).chain(self.columns.iter().map(|c| c.title.clone()));
        let grid = Tiles { tiles, scale: self.scale(pixels), ..Tiles::default() };
        let grid = match is_single {
            true => Tiles { heading: self.labels[0].clone(), ..grid },
            false => Tiles {
                columns: Some(1 + self.columns.len()),
                titles: titles.collect(),
                labels: self.labels.clone(),
                ..grid
            },
        };
        grid.render().map_err(failed)
    }

    /// Draws a single method with the values that its colours stand for.
    pub(crate) fn render_one(&self, view: &View, pixels: u32) -> Result<RgbImage> {
        let [column] = &self.columns[..] else { return self.render(view, pixels) };
        let [photo] = &self.photos[..] else { return self.render(view, pixels) };
        let overlay = view.overlay(&column.maps, 0, photo)?;
        let (min, max) = column.maps.limits(view, 0, photo)?;
        let colors = view.heatmap(&column.maps).colors;
        let tiles = Tiles {
            tiles: vec![photo.clone().into(), overlay.into()],
            columns: Some(2),
            heading: self.labels[0].clone(),
            titles: vec!["input".into(), column.title.clone()],
            legend: Some(ColorBar { colors, min, max }),
            scale: self.scale(pixels),
            ..Tiles::default()
        };
        tiles.render().map_err(failed)
    }

    fn scale(&self, pixels: u32) -> u32 {
        let longest = self.photos.iter().map(|photo| photo.width().max(photo.height())).max().unwrap_or(1);
        (pixels / longest.max(1)).clamp(1, 64)
    }
}
