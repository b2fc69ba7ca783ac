//! A TorchScript file as a model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use attr_core::model::Cotangent;
use attr_core::{Cut, Error, Gradient, ModelWrapper, Place, Point, Result};
use tch::{CModule, IValue, TchError, Tensor};

use crate::error::{BACKEND, convert};
use crate::tensor::kind;
use crate::{Native, Torch, TorchTensor};

/// A network from a TorchScript file, as `torch.jit.trace` and `torch.jit.script` make them.
///
/// It is cut at its inputs and outputs only: such a file can be run and differentiated, but its layers can't
/// be reached. For cuts at layers, there are ONNX files and [`Native`].
///
/// ```no_run
/// use attr_core::methods::{IntegratedGradients, Method};
/// use attr_core::{Precision, Question};
/// use attr_torch::{Torch, TorchScript, TorchTensor};
/// use tch::{Device, Kind, Tensor};
///
/// let model =
///     TorchScript::open("resnet18.pt", Torch::cpu(Precision::F32), &[("image", &[3, 224, 224])])?;
/// let image = [TorchTensor::from(Tensor::rand([1, 3, 224, 224], (Kind::Float, Device::Cpu)))];
/// let answer = IntegratedGradients::default().attribute(&Question::new(&model, &image))?;
/// # Ok::<(), attr_core::Error>(())
/// ```
///
/// The network is put in evaluation mode and run without the graph executor's optimizations, so that its
/// first runs give the same numbers as later ones; these are switched off for the threads it is run on.
#[derive(Debug)]
pub struct TorchScript(Native);

impl TorchScript {
    /// The network of a file, whose inputs are given these names and have rows of these lengths.
    ///
    /// It is brought to the device and precision of `torch`. Where that is not the file's precision, all of
    /// its numbers are converted, whole ones too.
    ///
    /// # Errors
    ///
    /// Where the file can't be read or holds no network, or where the network does not run on two rows of such
    /// inputs or gives anything but tensors.
    pub fn open(path: impl AsRef<Path>, torch: Torch, inputs: &[(&str, &[usize])]) -> Result<Self> {
        let path = path.as_ref();
        let failed =
            |reason: String| Error::Backend { backend: BACKEND, reason: format!("{path:?}: {reason}") };
        // Read here, since tch ends the process over some paths.
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let module = CModule::load_data_on_device(&mut &bytes[..], torch.device());
        let module = module.map_err(|error| match convert(error) {
            Error::Backend { reason, .. } => failed(refused(&bytes, &reason)),
            other => other,
        })?;
        TorchScript::of_module(module, torch, inputs)
    }

    /// As [`TorchScript::open`], for a network that has been loaded or traced.
    ///
    /// # Errors
    ///
    /// As [`TorchScript::open`].
    pub fn of_module(mut module: CModule, torch: Torch, inputs: &[(&str, &[usize])]) -> Result<Self> {
        module.f_set_eval().map_err(convert)?;
        let wanted = (torch.device(), kind(torch.precision()));
        let parameters = module.named_parameters().map_err(convert)?;
        if parameters.iter().any(|(_, parameter)| (parameter.device(), parameter.kind()) != wanted) {
            // Panics where libtorch refuses.
            let moved = catch_unwind(AssertUnwindSafe(|| module.to(wanted.0, wanted.1, false)));
            moved.map_err(|_| Error::Backend {
                backend: BACKEND,
                reason: format!("the network can't be brought to {:?} in {}", wanted.0, torch.precision()),
            })?;
        }
        for (_, mut parameter) in module.named_parameters().map_err(convert)? {
            let _ = parameter.f_requires_grad_(false).map_err(convert)?;
        }
        let native = Native::new(torch, inputs, move |inputs, _| {
            tch::jit::f_set_graph_executor_optimize(false)?;
            let inputs: Vec<_> = inputs.iter().map(|input| IValue::Tensor(input.shallow_clone())).collect();
            tensors(module.forward_is(&inputs).map_err(cause)?)
        })?;
        Ok(TorchScript(native))
    }
}

/// The line of the interpreter's traceback that says why.
fn cause(error: TchError) -> TchError {
    let why = match &error {
        TchError::Torch(text) => text.lines().rev().find_map(|line| line.strip_prefix("RuntimeError: ")),
        _ => None,
    };
    why.map(|line| TchError::Torch(line.into())).unwrap_or(error)
}

/// A network's outputs: one tensor, or several in a tuple or a list.
fn tensors(value: IValue) -> std::result::Result<Vec<Tensor>, TchError> {
    let found = match value {
        IValue::Tensor(tensor) => return Ok(vec![tensor]),
        IValue::TensorList(tensors) => return Ok(tensors),
        IValue::Tuple(values) | IValue::GenericList(values) => {
            let parts = values.into_iter().map(tensors).collect::<std::result::Result<Vec<_>, _>>()?;
            return Ok(parts.into_iter().flatten().collect());
        }
        IValue::None => "nothing",
        IValue::GenericDict(_) => "a dictionary",
        IValue::Object(_) => "an object",
        _ => "other values",
    };
    Err(TchError::Torch(format!("expected a tensor or a tuple or list of tensors as output, found {found}")))
}

/// What a file that libtorch refuses is instead, as far as that can be seen.
fn refused(bytes: &[u8], reason: &str) -> String {
    let holds = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    let instead = match bytes {
        [] => "the file is empty",
        [b'P', b'K', ..] if holds(b"constants.pkl") => return format!("a broken TorchScript file: {reason}"),
        [b'P', b'K', ..] if holds(b"data.pkl") => "it holds weights without a network (a state dict)",
        [b'P', b'K', ..] => "it is another kind of archive",
        [0x80, 2..=5, ..] => "it is a pickle, which holds weights without a network",
        _ => "it is of another kind",
    };
    format!("expected a TorchScript file, as torch.jit.trace and torch.jit.script make them: {instead}")
}

/// A layer that is not there: why, and what to do.
fn explained(error: Error) -> Error {
    match error {
        Error::UnknownLayer { wanted, .. } => Error::UnknownLayer {
            wanted,
            hint: "a TorchScript file can be cut at its inputs and outputs only; for cuts at layers use an ONNX \
                   file or a forward function with taps"
                .into(),
        },
        other => other,
    }
}

impl ModelWrapper for TorchScript {
    type Tensor = TorchTensor;

    fn backend(&self) -> &'static str {
        self.0.backend()
    }

    fn tensor(&self, array: &ndarray::ArrayD<f64>) -> Result<TorchTensor> {
        self.0.tensor(array)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        self.0.places(cut).map_err(explained)
    }

    fn layers(&self) -> Vec<Place> {
        self.0.layers()
    }

    fn forward(&self, point: Point<'_, TorchTensor>, at: &Cut) -> Result<Vec<TorchTensor>> {
        self.0.forward(point, at).map_err(explained)
    }

    fn gradient(
        &self,
        point: Point<'_, TorchTensor>,
        from: &Cut,
        to: &Cut,
        cotangent: Cotangent<'_, TorchTensor>,
    ) -> Result<Gradient<TorchTensor>> {
        self.0.gradient(point, from, to, cotangent).map_err(explained)
    }

    fn row_bytes(&self) -> Option<u64> {
        self.0.row_bytes()
    }
}
