//! The commands, one file each.

pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod layers;
pub(crate) mod methods;
pub(crate) mod patterns;
pub(crate) mod predict;

use crate::cli::Command;
use crate::error::Result;

/// Does what the command line asks for.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Predict(args) => predict::run(&args),
        Command::Layers(args) => layers::run(&args),
        Command::Methods(args) => methods::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Patterns(args) => patterns::run(&args),
        Command::Demo(args) => demo::run(&args),
    }
}
