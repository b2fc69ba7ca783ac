//! The framework and the device that a network is run on.

use std::path::Path;

use attr_core::{ErasedModel, Graph};
use clap::ValueEnum;

use crate::cli::DeviceArgs;
use crate::error::{Error, Result};

#[cfg(not(any(feature = "candle", feature = "torch")))]
compile_error!("the command needs a backend: build it with the feature `candle`, `torch` or both");

/// A framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// Pure Rust, on the CPU
    Candle,
    /// libtorch
    Torch,
}

impl Backend {
    /// For networks that run on any.
    const DEFAULT: Self = if cfg!(feature = "candle") { Backend::Candle } else { Backend::Torch };

    fn is_built(self) -> bool {
        match self {
            Backend::Candle => cfg!(feature = "candle"),
            Backend::Torch => cfg!(feature = "torch"),
        }
    }

    /// That it is not part of this build, and how to get it.
    fn missing(self) -> Error {
        let (name, set_up) = match self {
            Backend::Candle => ("candle", ""),
            Backend::Torch => ("torch", "`cargo xtask setup --torch` and then, with LIBTORCH set, "),
        };
        Error::usage(format!(
            "backend {name} is not part of this build: expected one by {set_up}`cargo build --release -p \
             attr-cli --features {name}`"
        ))
    }
}

/// What can be wrong before anything is read; then the number of threads.
pub(crate) fn set_up(args: &DeviceArgs) -> Result<()> {
    if let Some(missing) = args.backend.filter(|backend| !backend.is_built()) {
        return Err(missing.missing());
    }
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().map_err(|error| Error::failed(format!("threads: {error}")))?;
        #[cfg(feature = "torch")]
        attr_torch::set_threads(threads);
    }
    Ok(())
}

/// Makes a layer graph runnable.
pub(crate) fn compile(graph: Graph, args: &DeviceArgs) -> Result<Box<dyn ErasedModel>> {
    match args.backend.unwrap_or(Backend::DEFAULT) {
        #[cfg(feature = "candle")]
        Backend::Candle if args.device != "cpu" => Err(Error::usage(format!(
            "device: expected cpu, the only one that candle computes on here, found {:?} (--backend torch has others)",
            args.device
        ))),
        #[cfg(feature = "candle")]
        Backend::Candle => Ok(Box::new(attr_candle::compile(graph, args.dtype.into())?)),
        #[cfg(feature = "torch")]
        Backend::Torch => Ok(Box::new(attr_core::GraphModel::new(graph, torch(args)?)?)),
        #[cfg(not(all(feature = "candle", feature = "torch")))]
        missing => Err(missing.missing()),
    }
}

/// That a TorchScript file can be run.
pub(crate) fn check_torch_script(args: &DeviceArgs) -> Result<()> {
    match args.backend {
        Some(Backend::Candle) => {
            Err(Error::usage("TorchScript runs on torch only: expected --backend torch, found candle"))
        }
        _ if !Backend::Torch.is_built() => Err(Backend::Torch.missing()),
        _ => Ok(()),
    }
}

/// Makes a TorchScript file runnable, whose inputs get these names and have rows of these lengths.
#[cfg(feature = "torch")]
pub(crate) fn torch_script(
    path: &Path,
    inputs: &[(String, Vec<usize>)],
    args: &DeviceArgs,
) -> Result<Box<dyn ErasedModel>> {
    let inputs: Vec<_> = inputs.iter().map(|(name, row)| (name.as_str(), row.as_slice())).collect();
    Ok(Box::new(attr_torch::TorchScript::open(path, torch(args)?, &inputs)?))
}

#[cfg(not(feature = "torch"))]
pub(crate) fn torch_script(
    _: &Path,
    _: &[(String, Vec<usize>)],
    _: &DeviceArgs,
) -> Result<Box<dyn ErasedModel>> {
    Err(Backend::Torch.missing())
}

#[cfg(feature = "torch")]
fn torch(args: &DeviceArgs) -> Result<attr_torch::Torch> {
    Ok(attr_torch::Torch::new(attr_torch::device(&args.device)?, args.dtype.into()))
}
