//! A layer graph on TensorFlow.

use std::collections::HashMap;

use attr_core::methods::{self, Entry, Method};
use attr_core::{
    Cut, Gradient, Graph, GraphModel, LayeredModel, ModelWrapper, NodeId, Op, ParamId, PatternKind, Patterns,
    Place, Point, Result, Tensor,
};
use ndarray::ArrayD;

use crate::error::{BACKEND, backend};
use crate::guess::Guess;
use crate::kernels::{Tf, Writer};
use crate::plan::Plan;
use crate::recent::Recent;
use crate::symbol::Symbol;
use crate::tape::{Constants, Feed, Tape};
use crate::{TfTensor, library};

/// A layer graph that runs on TensorFlow.
///
/// Values at cuts and gradients between them are one session for each pair of cuts and each number of rows, which is
/// kept; parameters are given to it and not copied. Where a method runs one layer with other inputs or parameters,
/// that is a session of its own ([`Tf`]).
pub struct TfModel {
    layers: GraphModel<Tf>,
    written: GraphModel<Writer>,
    params: HashMap<ParamId, (NodeId, usize)>,
    constants: Constants,
    plans: Recent<Asked, Plan>,
    guess: Guess,
}

/// How many pairs of cuts and numbers of rows are kept.
const PLANS: usize = 24;

/// What a plan is for.
#[derive(PartialEq)]
struct Asked {
    inputs: Vec<Vec<usize>>,
    replaced: Option<(Cut, Vec<Vec<usize>>)>,
    from: Option<Cut>,
    to: Cut,
}

impl TfModel {
    /// Brings a graph's parameters to TensorFlow.
    ///
    /// # Errors
    ///
    /// [`attr_core::Error::Unsupported`] lists the layers that can't be computed; [`attr_core::Error::Backend`] says how to get
    /// libtensorflow where it is not there.
    pub fn new(graph: Graph, kernels: Tf) -> Result<Self> {
        library::load()?;
        let tape = Tape::new(kernels.precision());
        let layers = GraphModel::new(graph, kernels)?;
        let written = GraphModel::new(layers.graph().clone(), Writer::new(tape))?;
        let mut params = HashMap::new();
        for (id, node) in layers.graph().nodes().iter().enumerate() {
            node.params.iter().enumerate().for_each(|(place, &param)| {
                params.insert(param, (id, place));
            });
        }
        let (constants, plans) = (Constants::default(), Recent::new(PLANS));
        Ok(TfModel { layers, written, params, constants, plans, guess: Guess::default() })
    }

    fn plan(&self, asked: Asked) -> Result<std::rc::Rc<Plan>> {
        self.plans.get(asked, |asked| {
            let tape = &self.written.kernels().tape;
            // What an earlier call that failed has left.
            tape.take();
            let given = |first: usize, dims: &[Vec<usize>]| -> Vec<Symbol> {
                let numbered = dims.iter().enumerate();
                numbered.map(|(i, dims)| Symbol::given(tape, Feed::Given(first + i), dims)).collect()
            };
            let inputs = given(0, &asked.inputs);
            let replaced = asked.replaced.as_ref().map(|(cut, dims)| (cut, given(inputs.len(), dims)));
            let replace = replaced.as_ref().map(|(cut, values)| (*cut, &values[..]));
            let point = Point { inputs: &inputs, replace };
            let fetch = |symbols: &[Symbol]| {
                symbols.iter().map(|symbol| tape.fetch(symbol.plain())).collect::<Vec<_>>()
            };
            let mut cotangents = Vec::new();
            let (there, back) = match &asked.from {
                None => (fetch(&self.written.forward(point, &asked.to)?), Vec::new()),
                Some(from) => {
                    let mut there = Vec::new();
                    let gradient = self.written.gradient(point, from, &asked.to, &mut |values| {
                        there = fetch(values);
                        tape.turn_back();
                        cotangents = values.iter().map(Tensor::dims).collect();
                        let numbered = cotangents.iter().enumerate();
                        Ok(numbered.map(|(i, dims)| Symbol::given(tape, Feed::Cotangent(i), dims)).collect())
                    })?;
                    there.extend(fetch(&gradient.values));
                    (there, fetch(&gradient.gradients))
                }
            };
            let param = |index: ParamId| {
                let (id, place) = self.params[&index];
                self.layers.parameters(id)[place].to_feed()
            };
            let device = self.layers.kernels().device();
            tape.take().plan(device, &there, &back, cotangents, &self.constants, &param)
        })
    }

    /// All tensors that a run at a point is given.
    fn given<'a>(&self, point: Point<'a, TfTensor>) -> Result<Vec<&'a TfTensor>> {
        let replaced = point.replace.map_or(&[][..], |(_, values)| values);
        let given: Vec<_> = point.inputs.iter().chain(replaced).collect();
        let precision = self.layers.kernels().precision();
        match given.iter().find(|tensor| tensor.precision() != precision) {
            None => Ok(given),
            Some(other) => {
                Err(backend(&format!("expected numbers in {precision}, found {}", other.precision())))
            }
        }
    }

    fn asked(point: Point<'_, TfTensor>, from: Option<&Cut>, to: &Cut) -> Asked {
        let dims = |tensors: &[TfTensor]| tensors.iter().map(Tensor::dims).collect::<Vec<_>>();
        Asked {
            inputs: dims(point.inputs),
            replaced: point.replace.map(|(cut, values)| (cut.clone(), dims(values))),
            from: from.cloned(),
            to: to.clone(),
        }
    }
}

impl std::fmt::Debug for TfModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TfModel({:?}, {} layers)", self.layers.kernels(), self.layers.graph().nodes().len())
    }
}

impl ModelWrapper for TfModel {
    type Tensor = TfTensor;

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn tensor(&self, array: &ArrayD<f64>) -> Result<TfTensor> {
        self.layers.tensor(array)
    }

    fn places(&self, cut: &Cut) -> Result<Vec<Place>> {
        self.layers.places(cut)
    }

    fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        self.layers.channel_axes(cut)
    }

    fn layers(&self) -> Vec<Place> {
        self.layers.layers()
    }

    fn forward(&self, point: Point<'_, TfTensor>, at: &Cut) -> Result<Vec<TfTensor>> {
        let given = self.given(point)?;
        Ok(self.plan(Self::asked(point, None, at))?.there(&given)?.0)
    }

    fn gradient(
        &self,
        point: Point<'_, TfTensor>,
        from: &Cut,
        to: &Cut,
        cotangent: &mut dyn FnMut(&[TfTensor]) -> Result<Vec<TfTensor>>,
    ) -> Result<Gradient<TfTensor>> {
        let given = self.given(point)?;
        let plan = self.plan(Self::asked(point, Some(from), to))?;
        let (values, gradients) = self.guess.gradient(&plan, &given, (from, to), cotangent)?;
        Ok(Gradient { values, gradients })
    }

    fn row_bytes(&self) -> Option<u64> {
        self.layers.row_bytes()
    }

    fn methods() -> Vec<Entry<dyn Method<Self>>> {
        methods::of_layers()
    }

    fn fit_patterns(
        &self,
        kind: PatternKind,
        batches: &mut dyn Iterator<Item = Result<Vec<ArrayD<f64>>>>,
    ) -> Result<Patterns> {
        Patterns::fit(self, kind, batches)
    }
}

impl LayeredModel for TfModel {
    fn graph(&self) -> &Graph {
        self.layers.graph()
    }

    fn parameters(&self, node: NodeId) -> Vec<&TfTensor> {
        self.layers.parameters(node)
    }

    fn layer_forward(&self, op: &Op, inputs: &[&TfTensor], params: &[&TfTensor]) -> Result<TfTensor> {
        self.layers.layer_forward(op, inputs, params)
    }

    fn layer_vjp(
        &self,
        op: &Op,
        inputs: &[&TfTensor],
        params: &[&TfTensor],
        cotangent: &TfTensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<TfTensor>>> {
        self.layers.layer_vjp(op, inputs, params, cotangent, wanted)
    }
}
