//! `attr methods`: what there is, or one of them in detail.

use crate::error::Result;
use crate::{catalogue, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One method
    name: Option<String>,
}

/// Prints the list, or a method's parameters, defaults and source.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Some(name) = &args.name else {
        let methods = catalogue::all();
        let width = methods.iter().map(|method| method.name.len()).max().unwrap_or(0);
        for method in methods {
            terminal::line(format_args!("{:<width$}  {}", method.name, method.summary))?;
        }
        return Ok(());
    };
    let method = catalogue::find(name)?;
    terminal::line(format_args!("{}\n{}\n{}", method.name, method.summary, method.citation))?;
    let parameters = (method.build)().parameters();
    let setting = |p: &attr_core::Parameter| format!("{}={}", p.name, p.value);
    let width = parameters.iter().map(|p| setting(p).len()).max().unwrap_or(0);
    if parameters.is_empty() {
        terminal::line(format_args!("\nNo parameters."))?;
    } else {
        terminal::line(format_args!("\nParameters with their defaults, for --set:"))?;
    }
    for parameter in &parameters {
        terminal::line(format_args!("  {:<width$}  {}", setting(parameter), parameter.meaning))?;
    }
    Ok(())
}
