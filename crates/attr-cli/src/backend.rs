//! The framework and the device that a network is run on.

use std::path::Path;

use attr_core::{ErasedModel, Graph};
use attr_graphdef::Function;
use clap::ValueEnum;

use crate::cli::DeviceArgs;
use crate::error::{Error, Result};

#[cfg(not(any(feature = "candle", feature = "torch", feature = "tf")))]
compile_error!("the command needs a backend: build it with the feature `candle`, `torch`, `tf` or several");

/// A framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// Pure Rust, on the CPU
    Candle,
    /// libtorch
    Torch,
    /// libtensorflow, which is looked for when it is first needed
    Tf,
}

impl Backend {
    /// For networks that run on any.
    const DEFAULT: Self = match () {
        () if cfg!(feature = "candle") => Backend::Candle,
        () if cfg!(feature = "torch") => Backend::Torch,
        () => Backend::Tf,
    };

    fn is_built(self) -> bool {
        match self {
            Backend::Candle => cfg!(feature = "candle"),
            Backend::Torch => cfg!(feature = "torch"),
            Backend::Tf => cfg!(feature = "tf"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Backend::Candle => "candle",
            Backend::Torch => "torch",
            Backend::Tf => "tf",
        }
    }

    /// That it is not part of this build, and how to get it.
    fn missing(self) -> Error {
        let (before, behind) = match self {
            Backend::Candle => ("", ""),
            Backend::Torch => ("`cargo xtask setup --torch` and then, with LIBTORCH set, ", ""),
            Backend::Tf => ("", ", and TENSORFLOW_DIR when it runs, which `cargo xtask setup --tf` prints"),
        };
        let name = self.name();
        Error::usage(format!(
            "backend {name} is not part of this build: expected one by {before}`cargo build --release -p \
             attr-cli --features {name}`{behind}"
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
        #[cfg(feature = "tf")]
        attr_tf::set_threads(threads);
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
        #[cfg(feature = "tf")]
        Backend::Tf => {
            let kernels = attr_tf::Tf::new(&tensorflow_device(&args.device)?, args.dtype.into());
            Ok(Box::new(attr_tf::TfModel::new(graph, kernels)?))
        }
        #[cfg(not(all(feature = "candle", feature = "torch", feature = "tf")))]
        missing => Err(missing.missing()),
    }
}

/// That a TorchScript file can be run.
pub(crate) fn check_torch_script(args: &DeviceArgs) -> Result<()> {
    match args.backend {
        Some(other @ (Backend::Candle | Backend::Tf)) => Err(Error::usage(format!(
            "TorchScript runs on torch only: expected --backend torch, found {}",
            other.name()
        ))),
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

/// That a model of TensorFlow's can be run without its layers, for this reason.
pub(crate) fn check_as_is(args: &DeviceArgs, reason: &str) -> Result<()> {
    match args.backend {
        Some(other @ (Backend::Candle | Backend::Torch)) => Err(Error::usage(format!(
            "{reason}, so it does not run on {}: expected --backend tf, which runs it as it is",
            other.name()
        ))),
        _ if !Backend::Tf.is_built() => {
            Err(Error::usage(format!("{reason}, so it runs on tf only, and {}", Backend::Tf.missing())))
        }
        _ if args.device != "cpu" => Err(Error::usage(format!(
            "{reason}, so it runs as it is, on the CPU only: expected --device cpu, found {:?}",
            args.device
        ))),
        _ => Ok(()),
    }
}

/// Makes a model of TensorFlow's runnable as it is.
#[cfg(feature = "tf")]
pub(crate) fn as_is(function: Function, args: &DeviceArgs) -> Result<Box<dyn ErasedModel>> {
    let model = attr_tf::SavedModel::new(function)?;
    let (own, asked) = (model.precision(), attr_core::Precision::from(args.dtype));
    if own != asked {
        let expected = format!("--dtype {own}, the precision of the file, in which it runs as it is");
        return Err(Error::usage(format!("dtype: expected {expected}, found {asked}")));
    }
    Ok(Box::new(model))
}

#[cfg(not(feature = "tf"))]
pub(crate) fn as_is(_: Function, _: &DeviceArgs) -> Result<Box<dyn ErasedModel>> {
    Err(Backend::Tf.missing())
}

#[cfg(feature = "torch")]
fn torch(args: &DeviceArgs) -> Result<attr_torch::Torch> {
    Ok(attr_torch::Torch::new(attr_torch::device(&args.device)?, args.dtype.into()))
}

/// TensorFlow's own name of a device.
#[cfg(feature = "tf")]
fn tensorflow_device(name: &str) -> Result<String> {
    let number = match name {
        "cpu" => return Ok("/CPU:0".into()),
        "gpu" => Some(0),
        _ => name.strip_prefix("gpu:").and_then(|number| number.parse::<u16>().ok()),
    };
    match number {
        Some(number) => Ok(format!("/GPU:{number}")),
        None => Err(Error::usage(format!("device: expected cpu, gpu or gpu:N with tf, found {name:?}"))),
    }
}

#[cfg(all(test, feature = "tf"))]
mod tests {
    use super::*;

    #[test]
    fn devices_of_tensorflow() {
        for (name, found) in [("cpu", "/CPU:0"), ("gpu", "/GPU:0"), ("gpu:12", "/GPU:12")] {
            assert_eq!(tensorflow_device(name).unwrap(), found);
        }
        for name in ["", "CPU", "cuda", "gpu:", "gpu:-1", "/GPU:0"] {
            assert_eq!(tensorflow_device(name).unwrap_err().exit_code(), 2, "{name}");
        }
    }
}
