//! `attr layers`: what the model is made of.

use attr_core::Place;

use crate::cli::ModelArgs;
use crate::error::{Error, Result};
use crate::{model, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

/// Prints a line for each layer; in brackets what else it is called.
pub(crate) fn run(args: &Args) -> Result<()> {
    let model = model::open(&args.model, None)?;
    let layers = model.face.layers();
    if layers.iter().all(|layer| layer.kind == "input") {
        return Err(Error::failed(format!("the layers of {} are not known", model.path.display())));
    }
    let shape = |layer: &Place| layer.shape.as_ref().map_or("?".to_string(), ToString::to_string);
    let called = |layer: &Place| match model.names.get(&layer.name) {
        Some(names) => format!("{} ({})", layer.name, names.join(", ")),
        None => layer.name.clone(),
    };
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let index = width(&mut std::iter::once(layers.len().to_string().len()));
    let name = width(&mut layers.iter().map(|layer| called(layer).chars().count()));
    let kind = width(&mut layers.iter().map(|layer| layer.kind.len()));
    let dims = width(&mut layers.iter().map(|layer| shape(layer).len()));
    for (i, layer) in layers.iter().enumerate() {
        let parameters = if layer.parameters > 0 { layer.parameters.to_string() } else { "-".into() };
        let unused = if layer.leads_to_output { "" } else { "  (the first output does not depend on it)" };
        let (text, shape) = (called(layer), shape(layer));
        terminal::line(format_args!(
            "{i:>index$}  {text:<name$}  {:<kind$}  {shape:<dims$}  {parameters:>9}{unused}",
            layer.kind
        ))?;
    }
    // A weight that several layers share is counted with each of them.
    let total: usize = layers.iter().map(|layer| layer.parameters).sum();
    terminal::line(format_args!("{} layers, {total} parameters", layers.len()))?;
    Ok(())
}
