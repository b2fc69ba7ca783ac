//! The benchmark: the same work in this library and in its peers, in turn, in one run.
//!
//! Each table is a file with one function that measures it; later ones add networks, methods and peers.

use std::error::Error;
use std::fs;

use crate::cache::Cache;
use crate::demo::root;
use crate::peers;

mod comparison;
mod input_gradient;
mod integrated_gradients;
mod relevance;
mod tensorflow;

/// How often each side is run, in turn.
const ROUNDS: usize = 3;

/// Threads of either side.
const THREADS: &str = "2";

/// Prints the tables, and writes them to `target/bench.md`.
pub(crate) fn run(cache: &Cache) -> Result<(), Box<dyn Error>> {
    let python = peers::set_up(cache, &peers::TORCH)?;
    let tables = [
        input_gradient::table(&python)?,
        integrated_gradients::table(cache, &python)?,
        relevance::table(cache, &python)?,
        tensorflow::table(cache, &python)?,
    ]
    .join("\n");
    print!("\n{tables}");
    fs::write(root().join("target/bench.md"), tables)?;
    Ok(())
}
