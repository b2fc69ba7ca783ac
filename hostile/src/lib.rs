//! Broken files for the readers, and the bounds they must keep.
//!
//! * [`reader`] reads bytes under the bounds: no panic, no more memory and no more time than the file's length allows.
//! * [`seeds`] are the files of the repository that broken ones are made of.
//! * [`mutate`] breaks a file, the same way for the same number.
//! * [`crafted`] makes files that are written to take much memory.
//!
//! The program `hostile` runs them in processes of its own: `cargo xtask hostile`. The fuzz targets in `fuzz/` read by
//! [`reader`], too.

#![forbid(unsafe_code)]

pub mod crafted;
mod json;
pub mod mutate;
mod parts;
mod pickle;
pub mod reader;
pub mod seeds;
mod wire;
mod zip;

pub use mutate::Draw;
pub use reader::{MEMORY, Reader, Reading};
pub use seeds::Seed;

/// Input number `number` of a run: the crafted files and the seeds as they are first, then seeds with changes.
///
/// The same for the same seeds, run, number and size of crafted files.
pub fn input(seeds: &[Seed], run: u64, number: usize, size: usize) -> Input<'_> {
    if let Some((name, reader, bytes)) = crafted::file(number, size) {
        return Input { name: name.into(), reader, variables: None, bytes };
    }
    let at = number - crafted::COUNT;
    let seed = &seeds[at % seeds.len()];
    let unchanged = seed.unchanged();
    match at < seeds.len() {
        true => unchanged,
        false => Input { bytes: Draw::new(run, number).changed(seed, seeds), ..unchanged },
    }
}

/// A file to be read.
#[derive(Debug)]
pub struct Input<'a> {
    /// The seed it is made of, or the way it was crafted.
    pub name: String,
    /// What reads it.
    pub reader: Reader,
    /// The seed whose files of variables are there to be read.
    pub variables: Option<&'a Seed>,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Input<'_> {
    /// Reads it, under the bounds.
    pub fn read(&self) -> Reading {
        let folder = self.variables.map(|seed| seed.folder.as_path());
        let beside = self.variables.map_or(0, |seed| seed.beside);
        self.reader.read_beside(&self.bytes, folder, beside)
    }
}
