//! The developer's tasks: `cargo xtask <task>`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

mod archive;
mod bench;
mod cache;
mod consistency;
mod demo;
mod deny;
mod exports;
mod framework;
mod hostile;
mod minilm;
mod models;
mod networks;
mod onnx_tests;
mod packages;
mod peers;
mod sanitize;
mod test;
mod train_digits;
mod train_wine;
mod weights;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "Tasks of the development of attr")]
enum Task {
    /// Fetch two real networks and some photos into the cache, once
    Setup {
        /// Lay out libtorch as well, and print the line for a shell that tells builds of it
        #[arg(long)]
        torch: bool,
        /// Lay out libtensorflow as well, and print the line for a shell that tells programs of it
        #[arg(long)]
        tf: bool,
    },
    /// Set up, then explain real photos with both networks, into target/demo
    Demo,
    /// Set up, then run all tests
    Test,
    /// Set up, then hold the adapters against each other, into target/consistency.md
    Consistency {
        /// Handed on to the comparison
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Fetch the ONNX project's backend tests, and run them on candle
    OnnxTests {
        /// Only those whose name contains this
        #[arg(default_value = "")]
        part: String,
        /// Print what came of each one
        #[arg(long)]
        each: bool,
    },
    /// Hold the readers of models against broken files
    Hostile {
        /// Handed on: --count N, --seed N, --jobs N, --seeds FOLDER
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check the licences and sources of all dependencies
    Deny {
        /// Check for known faults instead, by a database that is fetched
        #[arg(long)]
        advisories: bool,
    },
    /// Run the tests of the kernels under the address sanitizer of a nightly compiler
    Sanitize,
    /// Fuzz the readers of models, pictures and arrays, with cargo-fuzz and a nightly compiler
    Fuzz {
        /// One target alone: onnx, graphdef, picture or npy
        target: Option<String>,
        /// How long each target runs
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Measure side by side with PyTorch and TensorFlow, in environments of their own
    Bench,
    /// Hold torchvision's networks, as PyTorch exports them, against PyTorch, into docs/torchvision.md
    Torchvision {
        /// Only these, as torchvision calls them, and nothing is written
        names: Vec<String>,
    },
    /// Hold the networks of attr-networks, with random weights, against torchvision's, into docs/networks.md
    NetworkWeights {
        /// Only these, as torchvision calls them, and nothing is written
        names: Vec<String>,
    },
    /// Train the small network on handwritten digits
    TrainDigits {
        /// The seed of the training
        #[arg(long, default_value_t = train_digits::SEED)]
        seed: u64,
    },
    /// Train the small network on a table of wines
    TrainWine,
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
        Task::Setup { torch, tf } => {
            let models = models::set_up(&cache)?;
            eprintln!("models are in {}", models.folder.display());
            eprintln!("photos are in {}", models.photos.display());
            for (asked, framework) in [(torch, &framework::LIBTORCH), (tf, &framework::LIBTENSORFLOW)] {
                if asked {
                    // Such lines are all of the standard output, so that a shell can take it as it is.
                    println!("{}", framework::export(&framework.set_up(&cache)?));
                }
            }
        }
        Task::Demo => demo::run(&models::set_up(&cache)?)?,
        Task::Test => test::run(&cache, &models::set_up(&cache)?)?,
        Task::Consistency { arguments } => {
            consistency::run(&cache, &models::set_up(&cache)?, &arguments)?;
        }
        Task::OnnxTests { part, each } => onnx_tests::run(&cache, &part, each)?,
        Task::Hostile { arguments } => hostile::run(&cache, &arguments)?,
        Task::Deny { advisories } => deny::run(&cache, advisories)?,
        Task::Sanitize => sanitize::run()?,
        Task::Fuzz { target, seconds } => hostile::fuzz(&cache, target.as_deref(), seconds)?,
        Task::Bench => bench::run(&cache)?,
        Task::Torchvision { names } => exports::TORCHVISION.run(&cache, &names)?,
        Task::NetworkWeights { names } => exports::NETWORK_WEIGHTS.run(&cache, &names)?,
        Task::TrainDigits { seed } => {
            let digits = weights::digits(&cache.fetch(&packages::DIGITS)?)?;
            let trained = train_digits::train(&digits, seed)?;
            let folder = demo::root().join("crates/attr-cli/assets");
            trained.save(&digits, &folder)?;
            println!("accuracy on held-out digits: {:.2} %", 100.0 * trained.accuracy);
            println!("the hard example is number {}", trained.hard);
            println!("written to {}", folder.display());
        }
        Task::TrainWine => {
            let wines = train_wine::read(&cache.fetch(&packages::WINE)?.join("wine_data.csv"))?;
            let trained = train_wine::train(&wines)?;
            let folder = demo::root().join("crates/attr-cli/assets");
            trained.save(&wines, &folder)?;
            let [right, of] = trained.right;
            println!("right on {right} of {of} wines that were held out; written to {}", folder.display());
        }
    }
    Ok(())
}
