//! The adapters under test, and the one place through which a case runs on models of all of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use attr_candle::{Candle, CandleModel};
use attr_core::{Graph, GraphModel, ModelWrapper, Precision, Tensor};
#[cfg(feature = "tf")]
use attr_tf::{SavedModel, TfModel};
#[cfg(feature = "torch")]
use attr_torch::{Native, TorchModel};
use ndarray::ArrayD;

use crate::backend::{self, Backend};
use crate::reference::Reference;
use crate::tolerance::{Level, close};

/// Checks each case on models of each adapter: `on_every_adapter!(check, cases)`, where `check` is a function
/// `fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &C) -> Outcome` and `cases` a slice of [`Case`]s.
///
/// This is the list of adapters. Adding one is one word here, and a function below that says what it is.
#[macro_export]
macro_rules! on_every_adapter {
    ($check:path, $cases:expr) => {{
        let (cases, mut failures) = ($cases, Vec::new());
        $crate::run_on!(adapter: reference, candle_f64, candle_f32; failures, &cases, $check);
        $crate::run_on!(adapter: candle_native_f64, candle_native_f32; failures, &cases, $check);
        #[cfg(feature = "torch")]
        $crate::run_on!(adapter: torch_f64, torch_f32, torch_native_f64, torch_native_f32; failures, &cases, $check);
        #[cfg(feature = "tf")]
        $crate::run_on!(adapter: tf_f64, tf_f32, tf_saved_f64, tf_saved_f32; failures, &cases, $check);
        $crate::adapter::assert_none(&failures);
    }};
}

/// As [`on_every_adapter`], for methods that need to know the layers: without models that don't know theirs.
#[macro_export]
macro_rules! on_every_layered_adapter {
    ($check:path, $cases:expr) => {{
        let (cases, mut failures) = ($cases, Vec::new());
        $crate::run_on!(adapter: reference, candle_f64, candle_f32; failures, &cases, $check);
        #[cfg(feature = "torch")]
        $crate::run_on!(adapter: torch_f64, torch_f32; failures, &cases, $check);
        #[cfg(feature = "tf")]
        $crate::run_on!(adapter: tf_f64, tf_f32, tf_recognised_f64, tf_recognised_f32; failures, &cases, $check);
        $crate::adapter::assert_none(&failures);
    }};
}

/// Runs cases on adapters or their kernels, by the names of the functions that make them.
#[doc(hidden)]
#[macro_export]
macro_rules! run_on {
    ($module:ident: $($name:ident),*; $failures:ident, $cases:expr, $check:path) => {
        $($failures.extend($crate::adapter::run(&$crate::$module::$name(), $cases, $check));)*
    };
}

/// The formulas themselves.
pub fn reference() -> Adapter<GraphModel<Reference>> {
    Adapter::of(backend::reference(), |graph| GraphModel::new(graph.clone(), Reference))
}

/// Candle in double precision.
pub fn candle_f64() -> Adapter<CandleModel> {
    Adapter::of(backend::candle_f64(), |graph| attr_candle::compile(graph.clone(), Precision::F64))
}

/// Candle in single precision.
pub fn candle_f32() -> Adapter<CandleModel> {
    Adapter::of(backend::candle_f32(), |graph| attr_candle::compile(graph.clone(), Precision::F32))
}

/// A forward function over candle's tensors with every layer tapped, in double precision.
pub fn candle_native_f64() -> Adapter<attr_candle::Native> {
    let build = |graph: &Graph| attr_candle::Native::of_graph(graph.clone(), Candle::cpu(Precision::F64));
    Adapter {
        name: "candle native f64",
        cannot: CANDLE_NATIVE_CANNOT,
        ..Adapter::of(backend::candle_f64(), build)
    }
}

/// A forward function over candle's tensors with every layer tapped, in single precision.
pub fn candle_native_f32() -> Adapter<attr_candle::Native> {
    let build = |graph: &Graph| attr_candle::Native::of_graph(graph.clone(), Candle::cpu(Precision::F32));
    Adapter {
        name: "candle native f32",
        cannot: CANDLE_NATIVE_CANNOT,
        ..Adapter::of(backend::candle_f32(), build)
    }
}

const CANDLE_NATIVE_CANNOT: &[Cannot] = &[
    BELOW,
    Cannot {
        case: "kink of a network of 0 to the power of 0",
        reason: "finite differences have no limit there, so candle's derivative can't be checked",
    },
];

/// libtorch in double precision.
#[cfg(feature = "torch")]
pub fn torch_f64() -> Adapter<TorchModel> {
    Adapter::of(backend::torch_f64(), |graph| attr_torch::compile(graph.clone(), Precision::F64))
}

/// libtorch in single precision.
#[cfg(feature = "torch")]
pub fn torch_f32() -> Adapter<TorchModel> {
    Adapter::of(backend::torch_f32(), |graph| attr_torch::compile(graph.clone(), Precision::F32))
}

/// A forward function over libtorch's tensors with every layer tapped, in double precision.
#[cfg(feature = "torch")]
pub fn torch_native_f64() -> Adapter<Native> {
    let build = |graph: &Graph| Native::of_graph(graph.clone(), attr_torch::Torch::cpu(Precision::F64));
    Adapter { name: "torch native f64", cannot: NATIVE_CANNOT, ..Adapter::of(backend::torch_f64(), build) }
}

/// A forward function over libtorch's tensors with every layer tapped, in single precision.
#[cfg(feature = "torch")]
pub fn torch_native_f32() -> Adapter<Native> {
    let build = |graph: &Graph| Native::of_graph(graph.clone(), attr_torch::Torch::cpu(Precision::F32));
    Adapter { name: "torch native f32", cannot: NATIVE_CANNOT, ..Adapter::of(backend::torch_f32(), build) }
}

#[cfg(feature = "torch")]
const NATIVE_CANNOT: &[Cannot] = &[BELOW];

const BELOW: Cannot = Cannot {
    case: "below values put in with more rows",
    reason: "a function of the user's is run on all rows, so what lies below the values has them all, too",
};

/// TensorFlow in double precision.
#[cfg(feature = "tf")]
pub fn tf_f64() -> Adapter<TfModel> {
    Adapter::of(backend::tf_f64(), |graph| attr_tf::compile(graph.clone(), Precision::F64))
}

/// TensorFlow in single precision.
#[cfg(feature = "tf")]
pub fn tf_f32() -> Adapter<TfModel> {
    Adapter::of(backend::tf_f32(), |graph| attr_tf::compile(graph.clone(), Precision::F32))
}

/// A SavedModel written of the graph, run as it is, in double precision.
#[cfg(feature = "tf")]
pub fn tf_saved_f64() -> Adapter<SavedModel> {
    let build = |graph: &Graph| Ok(SavedModel::new(saved(graph, Precision::F64)?)?.with_channels_second());
    Adapter { name: "tf saved f64", cannot: SAVED_CANNOT, ..Adapter::of(backend::tf_f64(), build) }
}

/// A SavedModel written of the graph, run as it is, in single precision.
#[cfg(feature = "tf")]
pub fn tf_saved_f32() -> Adapter<SavedModel> {
    let build = |graph: &Graph| Ok(SavedModel::new(saved(graph, Precision::F32)?)?.with_channels_second());
    Adapter { name: "tf saved f32", cannot: SAVED_CANNOT, ..Adapter::of(backend::tf_f32(), build) }
}

/// The layers recognised in a SavedModel written of the graph, in double precision.
#[cfg(feature = "tf")]
pub fn tf_recognised_f64() -> Adapter<TfModel> {
    let build = |graph: &Graph| attr_tf::compile(recognised(graph, Precision::F64)?, Precision::F64);
    Adapter { name: "tf recognised f64", cannot: RECOGNISED_CANNOT, ..Adapter::of(backend::tf_f64(), build) }
}

/// The layers recognised in a SavedModel written of the graph, in single precision.
#[cfg(feature = "tf")]
pub fn tf_recognised_f32() -> Adapter<TfModel> {
    let build = |graph: &Graph| attr_tf::compile(recognised(graph, Precision::F32)?, Precision::F32);
    Adapter { name: "tf recognised f32", cannot: RECOGNISED_CANNOT, ..Adapter::of(backend::tf_f32(), build) }
}

/// A graph written as a SavedModel, and read again.
#[cfg(feature = "tf")]
fn saved(graph: &Graph, precision: Precision) -> attr_core::Result<attr_graphdef::Function> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("attr-tests-{}-{number}", std::process::id()));
    let read = attr_tf::write(&folder, graph, precision).and_then(|()| {
        attr_graphdef::read(&folder).and_then(|saved| saved.function(None)).map_err(from_graphdef)
    });
    // Whatever became of it, what was written goes; a folder that stays does no harm.
    let _ = std::fs::remove_dir_all(&folder);
    read
}

#[cfg(feature = "tf")]
fn recognised(graph: &Graph, precision: Precision) -> attr_core::Result<Graph> {
    let mut layers = saved(graph, precision)?.layers().map_err(from_graphdef)?;
    // TensorFlow's way is to have them last, and a file does not say.
    for id in (0..layers.nodes().len()).filter(|&id| layers.node(id).shape.rank() > 2).collect::<Vec<_>>() {
        layers.set_channel_axis(id, 1)?;
    }
    Ok(layers)
}

#[cfg(feature = "tf")]
fn from_graphdef(error: attr_graphdef::Error) -> attr_core::Error {
    attr_core::Error::Unsupported(error.to_string())
}

#[cfg(feature = "tf")]
const SAVED_CANNOT: &[Cannot] = &[
    Cannot {
        case: "below values put in with more rows",
        reason: "a graph is run on all rows, so what lies below the values has them all, too",
    },
    Cannot {
        case: "the input of conv1",
        reason: "a convolution is several operators, and the last of them does not read what the layer reads",
    },
    Cannot { case: "kink of a network of power of 0", reason: ZERO_TO_ZERO },
    Cannot { case: "kink of a network of 0 to the power of 0", reason: ZERO_TO_ZERO },
    Cannot { case: "network of gather", reason: NO_DERIVATIVE },
    Cannot { case: "network of ceil", reason: NO_DERIVATIVE },
    Cannot { case: "network of round", reason: NO_DERIVATIVE },
    Cannot { case: "network of truncate", reason: NO_DERIVATIVE },
    Cannot { case: "network of conv stride, dilation", reason: STRIDE_AND_DILATION },
    Cannot { case: "network of conv 1-d with stride, dilation", reason: STRIDE_AND_DILATION },
    Cannot { case: "network of average pool 1-d with ceil and dilation", reason: STRIDE_AND_DILATION },
    Cannot { case: "network of conv 3-d", reason: NO_DERIVATIVE },
    Cannot { case: "network of transposed conv 3-d", reason: NO_DERIVATIVE },
    Cannot { case: "network of transposed conv depthwise", reason: NO_DERIVATIVE },
    Cannot { case: "network of average pool 3-d", reason: NO_DERIVATIVE },
    Cannot {
        case: "network of expand to a new axis in front",
        reason: "the batch of what is written is its first axis, but where axes are turned",
    },
    Cannot { case: "by other inputs than the one replaced", reason: IN_ORDER },
    Cannot { case: "other inputs tiled onto what is replaced", reason: IN_ORDER },
    Cannot { case: "all inputs but one tiled", reason: IN_ORDER },
    Cannot { case: "several inputs replaced at once", reason: IN_ORDER },
];

#[cfg(feature = "tf")]
const ZERO_TO_ZERO: &str =
    "TensorFlow's own derivative of a power is 0 times infinity at 0 to the power of 0";

#[cfg(feature = "tf")]
const NO_DERIVATIVE: &str = "TensorFlow's C library has no derivative of the operator";

#[cfg(feature = "tf")]
const STRIDE_AND_DILATION: &str =
    "TensorFlow has no way back through strides and dilations at once on a processor";

#[cfg(feature = "tf")]
const IN_ORDER: &str = "a SavedModel's inputs are in the order of their names";

#[cfg(feature = "tf")]
const RECOGNISED_CANNOT: &[Cannot] = &[
    Cannot { case: "3-d", reason: "layers recognised in a SavedModel have one or two spatial axes" },
    Cannot { case: "grouped", reason: IN_PARTS },
    // Their second convolution is grouped.
    Cannot { case: "batchnorm-", reason: IN_PARTS },
    Cannot { case: "stabilizer 0 on batch-norm cnn", reason: IN_PARTS },
    Cannot { case: "padded average pooling", reason: IN_PARTS },
    Cannot { case: "dense over the last of two axes", reason: IN_PARTS },
    Cannot { case: "softmax over axis 1", reason: IN_PARTS },
    Cannot { case: "on group norm", reason: IN_PARTS },
];

#[cfg(feature = "tf")]
const IN_PARTS: &str =
    "the layer is written as several operators, each of which is a layer of its own to a rule";

/// One framework in one precision, and one way to make a model of a graph there.
pub struct Adapter<M: ModelWrapper> {
    /// For messages.
    pub name: &'static str,
    /// The precision it computes in.
    pub precision: Precision,
    /// Makes a model of a graph.
    pub build: fn(&Graph) -> attr_core::Result<M>,
    /// Brings an array to it.
    pub tensor: fn(&ArrayD<f64>) -> attr_core::Result<M::Tensor>,
    /// What it can't do.
    pub cannot: &'static [Cannot],
    /// How much the same an answer is when the work is cut or spread over threads in another way.
    pub same: Level,
    /// Makes it compute on so many threads of its own, if it has any.
    pub set_threads: fn(u16),
}

/// A kind of case that an adapter can't do.
pub struct Cannot {
    /// A part of the names of these cases.
    pub case: &'static str,
    /// Why not.
    pub reason: &'static str,
}

impl<M: ModelWrapper> Adapter<M> {
    /// An adapter by its kernels.
    fn of<K: attr_core::Kernels<Tensor = M::Tensor>>(
        backend: Backend<K>,
        build: fn(&Graph) -> attr_core::Result<M>,
    ) -> Self {
        let Backend { name, precision, tensor, cannot, same, set_threads, .. } = backend;
        Adapter { name, precision, build, tensor, cannot, same, set_threads }
    }

    /// A graph made a model of this adapter.
    pub fn model(&self, graph: &Graph) -> attr_core::Result<M> {
        (self.build)(graph)
    }

    /// Arrays brought to the adapter.
    pub fn tensors(&self, arrays: &[ArrayD<f64>]) -> attr_core::Result<Vec<M::Tensor>> {
        arrays.iter().map(self.tensor).collect()
    }

    /// Whether a tensor holds the numbers expected.
    pub fn close(&self, found: &M::Tensor, expected: &ArrayD<f64>, level: Level) -> Result<(), String> {
        close(&found.to_array().map_err(|error| error.to_string())?, expected, level, self.precision)
    }

    /// Whether tensors hold the numbers expected, one after another.
    pub fn all_close(
        &self,
        found: &[M::Tensor],
        expected: &[ArrayD<f64>],
        level: Level,
    ) -> Result<(), String> {
        if found.len() != expected.len() {
            return Err(format!("expected {} tensors, found {}", expected.len(), found.len()));
        }
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            self.close(found, expected, level).map_err(|reason| format!("tensor {i}: {reason}"))?;
        }
        Ok(())
    }
}

/// What a case can be run on.
pub trait Under {
    /// For messages.
    fn name(&self) -> &'static str;

    /// What it can't do.
    fn cannot(&self) -> &'static [Cannot];

    /// Why a case can't be run, if it can't.
    fn skips(&self, case: &str) -> Option<&'static str> {
        self.cannot().iter().find(|cannot| case.contains(cannot.case)).map(|cannot| cannot.reason)
    }
}

impl<M: ModelWrapper> Under for Adapter<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cannot(&self) -> &'static [Cannot] {
        self.cannot
    }
}

/// A case is a value with a name.
pub trait Case {
    /// The name, for messages and for the lists of what adapters can't do.
    fn name(&self) -> &str;
}

/// What became of a case: nothing to say, or what was expected and found.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Checks all cases on one adapter; gives what failed and prints what was left out, and why.
pub fn run<U: Under, C: Case>(under: &U, cases: &[C], check: fn(&U, &C) -> Outcome) -> Vec<String> {
    let mut failures = Vec::new();
    let mut skipped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        if let Some(reason) = under.skips(case.name()) {
            skipped.entry(reason).or_default().push(case.name());
        } else if let Err(error) = check(under, case) {
            failures.push(format!("{}: {}: {error}", under.name(), case.name()));
        }
    }
    for (reason, names) in skipped {
        say(&format!("skipped on {}: {} ({reason})", under.name(), names.join("; ")));
    }
    failures
}

/// Fails a test by what failed in it; says once what this build leaves out.
pub fn assert_none(failures: &[String]) {
    #[cfg(not(feature = "torch"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            say("skipped on torch: everything (this build has no libtorch; `cargo xtask test` sets it up)");
        });
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Prints past the test harness, which shows what is printed only where a test fails.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("a line can be written");
}
