//! Draws a synthetic photo and map in every visualiser and every colour map:
//! `cargo run -p attr-viz --example gallery -- FOLDER`.

use std::path::PathBuf;

use attr_viz::{
    ColorBar, ColorMap, Heatmap, Mask, Normalization, Result, Rgb, RgbImage, Tile, Tiles, channel_mask,
    resize, save,
};
use ndarray::{Array2, ArrayView2};

const SIDE: usize = 180;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("expected a folder as the only argument")?);
    std::fs::create_dir_all(&folder)?;
    let (photo, map) = (photo(), map());
    for (name, picture) in [
        ("visualisers.png", visualisers(map.view(), &photo)?),
        ("colours.png", colours(map.view(), &photo)?),
        ("normalizations.png", normalizations(map.view())?),
    ] {
        save(folder.join(name), &picture.render()?)?;
        println!("{}", folder.join(name).display());
    }
    Ok(())
}

fn visualisers(map: ArrayView2<f64>, photo: &RgbImage) -> Result<Tiles> {
    let heatmap = Heatmap::default();
    let coarse = resize(map, 7, 7)?;
    let (min, max) = heatmap.limits(map)?;
    let captioned = |image: RgbImage, caption: &str| Tile { image, caption: caption.into() };
    Ok(Tiles {
        heading: "One attribution in every visualiser".into(),
        columns: Some(4),
        labels: vec!["heat map".into(), "mask".into()],
        legend: Some(ColorBar { colors: heatmap.colors, min, max }),
        tiles: vec![
            captioned(photo.clone(), "the photo"),
            captioned(heatmap.render(map)?, "render"),
            captioned(heatmap.overlay(map, photo)?, "overlay"),
            captioned(Heatmap { fade: true, opacity: 0.9, ..heatmap }.overlay(map, photo)?, "overlay, fade"),
            captioned(Mask::default().apply(map, photo)?, "mask"),
            captioned(Mask { threshold: 0.9, ..Mask::default() }.apply(map, photo)?, "threshold 0.9"),
            captioned(
                Mask { use_attribution_as_opacity: true, ..Mask::default() }.apply(map, photo)?,
                "attribution as opacity",
            ),
            captioned(channel_mask(coarse.view(), photo)?, "channel mask of 7 x 7"),
        ],
        ..Tiles::default()
    })
}

fn colours(map: ArrayView2<f64>, photo: &RgbImage) -> Result<Tiles> {
    let mut tiles = Vec::new();
    for &colors in ColorMap::ALL {
        let heatmap = Heatmap { colors, blur: 3., ..Heatmap::default() };
        tiles.push(Tile { image: heatmap.render(map)?, caption: colors.to_string() });
        tiles.push(heatmap.overlay(map, photo)?.into());
    }
    let titles = (0..4).flat_map(|_| ["map".into(), "overlay".into()]).collect();
    Ok(Tiles { heading: "Colour maps".into(), columns: Some(8), titles, tiles, ..Tiles::default() })
}

fn normalizations(map: ArrayView2<f64>) -> Result<Tiles> {
    let (mut tiles, mut titles) = (Vec::new(), Vec::new());
    for colors in [ColorMap::BlueRed, ColorMap::Viridis] {
        for &normalization in Normalization::ALL {
            let heatmap = Heatmap { colors, normalization: Some(normalization), ..Heatmap::default() };
            tiles.push(heatmap.render(resize(map, 110, 110)?.view())?.into());
        }
    }
    titles.extend(Normalization::ALL.iter().map(|n| n.to_string()));
    let labels = vec!["blue_red, diverging".into(), "viridis, sequential".into()];
    Ok(Tiles { columns: Some(titles.len()), titles, labels, tiles, ..Tiles::default() })
}

/// A sun over hills.
fn photo() -> RgbImage {
    RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let (x, y) = (f64::from(x) / SIDE as f64, f64::from(y) / SIDE as f64);
        let hill = |base: f64, height: f64, phase: f64| y > base - height * (6. * x + phase).sin();
        let shade = |[r, g, b]: [f64; 3], by: f64| Rgb([r, g, b].map(|c| (c * by) as u8));
        if hill(0.85, 0.06, 2.) {
            shade([60., 120., 50.], 1.3 - 0.5 * y)
        } else if hill(0.68, 0.08, 0.) {
            shade([90., 150., 80.], 1.2 - 0.4 * x)
        } else if (x - 0.68).hypot(y - 0.3) < 0.13 {
            Rgb([255, 225, 120])
        } else {
            shade([120., 170., 230.], 0.75 + 0.4 * y)
        }
    })
}

/// Much for the sun, something against the near hill, and a little noise.
fn map() -> Array2<f64> {
    let mut state = 1u64;
    Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
        let (x, y) = (x as f64 / SIDE as f64, y as f64 / SIDE as f64);
        let bump = |cx: f64, cy: f64, r: f64| (-((x - cx).powi(2) + (y - cy).powi(2)) / (r * r)).exp();
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let noise = (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5;
        0.8 * bump(0.68, 0.3, 0.16) + 0.3 * bump(0.4, 0.62, 0.1) - 0.5 * bump(0.25, 0.85, 0.18) + 0.25 * noise
    })
}
