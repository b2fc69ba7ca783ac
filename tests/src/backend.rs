//! The adapters' kernels, for cases of single layers and tensors.

use attr_candle::Candle;
use attr_core::{Kernels, Precision};
#[cfg(feature = "tf")]
use attr_tf::Tf;
#[cfg(feature = "torch")]
use attr_torch::Torch;
use ndarray::ArrayD;

use crate::adapter::{Cannot, Under};
use crate::reference::Reference;
use crate::tolerance::Level;

/// Checks each case on each adapter's kernels, as [`crate::on_every_adapter`] does on models: `check` is a
/// function `fn check<K: Kernels>(backend: &Backend<K>, case: &C) -> Outcome`.
#[macro_export]
macro_rules! on_every_backend {
    ($check:path, $cases:expr) => {{
        let (cases, mut failures) = ($cases, Vec::new());
        $crate::run_on!(backend: reference, candle_f64, candle_f32; failures, &cases, $check);
        #[cfg(feature = "torch")]
        $crate::run_on!(backend: torch_f64, torch_f32; failures, &cases, $check);
        #[cfg(feature = "tf")]
        $crate::run_on!(backend: tf_f64, tf_f32; failures, &cases, $check);
        $crate::adapter::assert_none(&failures);
    }};
}

/// The formulas themselves.
pub fn reference() -> Backend<Reference> {
    Backend {
        name: "reference",
        precision: Precision::F64,
        kernels: || Reference,
        tensor: |array| Reference.tensor(array),
        cannot: &[],
        same: Level::Bitwise,
        set_threads: |_| {},
    }
}

/// Candle in double precision.
pub fn candle_f64() -> Backend<Candle> {
    Backend {
        name: "candle f64",
        precision: Precision::F64,
        kernels: || Candle::cpu(Precision::F64),
        tensor: |array| Candle::cpu(Precision::F64).tensor(array),
        cannot: &[],
        same: Level::Bitwise,
        set_threads: |_| {},
    }
}

/// Candle in single precision.
pub fn candle_f32() -> Backend<Candle> {
    Backend {
        name: "candle f32",
        precision: Precision::F32,
        kernels: || Candle::cpu(Precision::F32),
        tensor: |array| Candle::cpu(Precision::F32).tensor(array),
        ..candle_f64()
    }
}

/// libtorch in double precision.
#[cfg(feature = "torch")]
pub fn torch_f64() -> Backend<Torch> {
    Backend {
        name: "torch f64",
        precision: Precision::F64,
        kernels: || Torch::cpu(Precision::F64),
        tensor: |array| Torch::cpu(Precision::F64).tensor(array),
        cannot: &[],
        // libtorch chooses among algorithms by the size of the batch and the number of threads: each layer rounds
        // otherwise then, as on another framework.
        same: Level::Attribution,
        set_threads: attr_torch::set_threads,
    }
}

/// libtorch in single precision.
#[cfg(feature = "torch")]
pub fn torch_f32() -> Backend<Torch> {
    Backend {
        name: "torch f32",
        precision: Precision::F32,
        kernels: || Torch::cpu(Precision::F32),
        tensor: |array| Torch::cpu(Precision::F32).tensor(array),
        ..torch_f64()
    }
}

/// TensorFlow in double precision.
#[cfg(feature = "tf")]
pub fn tf_f64() -> Backend<Tf> {
    Backend {
        name: "tf f64",
        precision: Precision::F64,
        kernels: || Tf::cpu(Precision::F64),
        tensor: |array| Tf::cpu(Precision::F64).tensor(array),
        cannot: TF_CANNOT,
        // Sums are cut by the number of threads, in each layer.
        same: Level::Attribution,
        set_threads: attr_tf::set_threads,
    }
}

/// TensorFlow in single precision.
#[cfg(feature = "tf")]
pub fn tf_f32() -> Backend<Tf> {
    Backend {
        name: "tf f32",
        precision: Precision::F32,
        kernels: || Tf::cpu(Precision::F32),
        tensor: |array| Tf::cpu(Precision::F32).tensor(array),
        ..tf_f64()
    }
}

#[cfg(feature = "tf")]
const TF_CANNOT: &[Cannot] =
    &[Cannot { case: "NaN through max pool", reason: "TensorFlow's max pooling passes over NaN" }];

/// The kernels of one framework in one precision; as [`crate::Adapter`], but for single layers.
pub struct Backend<K: Kernels> {
    /// For messages.
    pub name: &'static str,
    /// The precision it computes in.
    pub precision: Precision,
    /// Makes its kernels.
    pub kernels: fn() -> K,
    /// Brings an array to it.
    pub tensor: fn(&ArrayD<f64>) -> attr_core::Result<K::Tensor>,
    /// What it can't do.
    pub cannot: &'static [Cannot],
    /// How much the same an answer is when the work is cut or spread over threads in another way.
    pub same: Level,
    /// Makes it compute on so many threads of its own, if it has any.
    pub set_threads: fn(u16),
}

impl<K: Kernels> Under for Backend<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cannot(&self) -> &'static [Cannot] {
        self.cannot
    }
}
