//! Pictures drawn in the terminal.

use std::io::{ErrorKind, IsTerminal, Write};

use attr_viz::Depth;
use image::{DynamicImage, RgbImage};

use crate::error::{Error, Result};

/// Prints text. That a reader such as `head` has seen enough is no reason to fail, nor to leave files unwritten.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Whether there is a terminal to draw in.
pub(crate) fn is_there() -> bool {
    std::io::stdout().is_terminal()
}

/// How many colours text can have there; none where it goes elsewhere, and where `NO_COLOR` is set to something
/// (<https://no-color.org>) or the terminal can't.
pub(crate) fn depth() -> Option<Depth> {
    let says = |name: &str| std::env::var(name).unwrap_or_default();
    if !is_there() || !says("NO_COLOR").is_empty() || says("TERM") == "dumb" {
        return None;
    }
    let is_true = ["truecolor", "24bit"].contains(&says("COLORTERM").as_str());
    Some(if is_true { Depth::True } else { Depth::Indexed })
}

/// Draws a picture as wide as the terminal at most. A terminal that can't is no reason to fail.
pub(crate) fn draw(picture: &RgbImage) {
    // Whether a terminal speaks kitty's protocol is found out by asking it, and one that never answers would be
    // waited for without end; so only one that says so by itself is asked.
    let is_kitty =
        std::env::var("TERM").is_ok_and(|name| name.contains("kitty")) && std::io::stdin().is_terminal();
    let config = viuer::Config { absolute_offset: false, use_kitty: is_kitty, ..Default::default() };
    if let Err(error) = viuer::print(&DynamicImage::ImageRgb8(picture.clone()), &config) {
        eprintln!("note: the picture can't be drawn in this terminal ({error}); --out FILE.png writes it");
    }
}
