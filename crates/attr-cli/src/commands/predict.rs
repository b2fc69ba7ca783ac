//! `attr predict`: the top classes.

use crate::cli::{InputArgs, ModelArgs};
use crate::error::Result;
use crate::{input, prediction, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// How many classes to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
}

/// Prints a table for each row of the batch.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (model, inputs) = input::open(&args.model, &args.input, None)?;
    for (name, prediction) in inputs.rows.iter().zip(prediction::rows(&model, &inputs)?) {
        inputs.labels.check(prediction.logits.len())?;
        let softmax = prediction.softmax();
        let has_output = prediction.output.is_some();
        terminal::line(name)?;
        terminal::line(format_args!(
            "{:>10}  {:>8}  {}class",
            "logit",
            "softmax",
            if has_output { "  output  " } else { "" }
        ))?;
        for class in prediction.ranking().into_iter().take(args.top) {
            let output = prediction.output.as_ref().map_or(String::new(), |y| format!("{:>8.5}  ", y[class]));
            let label = inputs.labels.describe(class);
            terminal::line(format_args!(
                "{:>10.4}  {:>8.5}  {output}{label}",
                prediction.logits[class], softmax[class]
            ))?;
        }
    }
    Ok(())
}
