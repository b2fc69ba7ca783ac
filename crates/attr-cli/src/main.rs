//! `attr`: what a network responds to, from the shell.
//!
//! The command is a thin hand: it prepares inputs, chooses an adapter, asks one of `attr-core`'s methods,
//! and writes what comes back. Exit codes: 0 done, 1 failed, 2 asked for something that does not exist,
//! 130 stopped by Ctrl-C.

#![forbid(unsafe_code)]

mod backend;
mod baseline;
mod catalogue;
mod cli;
mod commands;
mod error;
mod evidence;
mod explanation;
mod files;
mod format;
mod grid;
mod input;
mod labels;
mod model;
mod npy;
mod output;
mod parts;
mod photo;
mod picture;
mod place;
mod prediction;
mod preparation;
mod progress;
mod saved_model;
mod table;
mod target;
mod terminal;
mod text;
mod tokenizer;
mod tree;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    attr_memory::keep_freed();
    #[cfg(feature = "tf")]
    attr_memory::quiet_tensorflow();
    let command = cli::Cli::parse().command;
    match progress::catch_interrupts().and_then(|()| commands::run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
