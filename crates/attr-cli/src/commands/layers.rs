//! `attr layers`: what the model is made of.

use crate::cli::ModelArgs;
use crate::error::{Error, Result};
use crate::tree::{self, Line};
use crate::{model, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Shows N levels of modules: each on the last level is one line for all that is in it, with the index and the
    /// shape of its last layer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    depth: Option<u16>,
}

/// Prints the tree of modules with a line for each layer; in brackets what else it is called.
pub(crate) fn run(args: &Args) -> Result<()> {
    let model = model::open(&args.model, None)?;
    let layers = model.face.layers();
    if layers.iter().all(|layer| layer.kind == "input") {
        return Err(Error::failed(format!("the layers of {} are not known", model.path.display())));
    }
    let lines = tree::lines(&layers, args.depth.map_or(usize::MAX, usize::from));
    let called = |line: &Line| {
        let names = line.index.and_then(|index| model.names.get(&layers[index].name));
        let others = names.map_or(String::new(), |names| format!(" ({})", names.join(", ")));
        format!("{}{}{others}", "  ".repeat(line.level), line.name)
    };
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let index = layers.len().to_string().len();
    let name = width(&mut lines.iter().map(|line| called(line).chars().count()));
    let kind = width(&mut lines.iter().map(|line| line.kind.len()));
    let dims = width(&mut lines.iter().map(|line| line.shape.len()));
    for line in &lines {
        let number = line.index.map_or(String::new(), |index| index.to_string());
        let parameters = if line.parameters > 0 { line.parameters.to_string() } else { "-".into() };
        let unused = if line.leads_to_output { "" } else { "  (the first output does not depend on it)" };
        let (text, Line { kind: of, shape, .. }) = (called(line), line);
        terminal::line(format_args!(
            "{number:>index$}  {text:<name$}  {of:<kind$}  {shape:<dims$}  {parameters:>9}{unused}"
        ))?;
    }
    let total: usize = layers.iter().map(|layer| layer.parameters).sum();
    terminal::line(format_args!("{} layers, {total} parameters", layers.len()))?;
    Ok(())
}
