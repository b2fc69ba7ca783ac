//! Pictures of attributions: heat maps, overlays, masks and labelled tiles; texts in colour; bars.
//!
//! Arrays go in (`ndarray`, f64), images come out ([`RgbImage`]); the crate knows no model and no framework. A
//! picture is made in the steps below, each of which can be used alone:
//!
//! 1. [`Channels`] makes one map `[H, W]` of an attribution `[C, H, W]`;
//! 2. [`resize`] brings it to the size of the photo, [`blur`] smooths it, [`clip`] cuts off outliers;
//! 3. [`Normalization`] brings its values to a known range;
//! 4. [`ColorMap`] paints it ([`Heatmap`]), or it dims the photo ([`Mask`], [`channel_mask`]);
//! 5. [`Tiles`] puts pictures side by side, with titles and a [`ColorBar`], and [`save`] writes them.
//!
//! Of a text, a [`tokens::Page`] is HTML, and a [`tokens::Passage`] is for a terminal; of named numbers, [`Bars`] are
//! both a picture and lines for a terminal.
//!
//! Empty arrays, NaN and infinities are errors; a map that is zero or constant gives a plain picture.
//!
//! ```
//! use attr_viz::{Channels, Heatmap, Mask, RgbImage, Tiles};
//! use ndarray::Array3;
//!
//! # fn main() -> attr_viz::Result<()> {
//! let attribution = Array3::from_shape_fn((3, 8, 8), |(_, y, x)| (x * y) as f64 - 9.);
//! let photo = RgbImage::new(64, 64);
//!
//! let map = Channels::Sum.combine(attribution.view())?;
//! let overlay = Heatmap::default().overlay(map.view(), &photo)?;
//! let masked = Mask::default().apply(map.view(), &photo)?;
//!
//! let picture = Tiles {
//!     tiles: vec![photo.into(), overlay.into(), masked.into()],
//!     titles: vec!["photo".into(), "gradient".into(), "what mattered".into()],
//!     columns: Some(3),
//!     ..Tiles::default()
//! };
//! let path = std::env::temp_dir().join("attr-viz-example.png");
//! attr_viz::save(&path, &picture.render()?)?;
//! # std::fs::remove_file(path).unwrap();
//! # Ok(())
//! # }
//! ```

// ndarray's macro for slices, which tests use, allows itself what it does not need.
#![cfg_attr(not(test), forbid(unsafe_code))]

mod bars;
mod blur;
mod channels;
mod clip;
mod color_bar;
mod colors;
mod error;
mod heatmap;
mod mask;
mod name;
mod normalize;
mod photo;
mod resize;
mod save;
mod terminal;
mod text;
mod tiles;
pub mod tokens;

pub use bars::{Bar, Bars};
pub use blur::blur;
pub use channels::Channels;
pub use clip::clip;
pub use color_bar::{ColorBar, color_bar};
pub use colors::ColorMap;
pub use error::{Error, Result};
pub use heatmap::Heatmap;
pub use image::{Rgb, RgbImage};
pub use mask::{Mask, channel_mask};
pub use normalize::Normalization;
pub use photo::{Layout, from_rgb_array, to_rgb_array};
pub use resize::resize;
pub use save::save;
pub use terminal::Depth;
pub use tiles::{Tile, Tiles};
