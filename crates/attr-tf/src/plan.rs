//! A graph made runnable: one session, with one run for the way forward and one for the way back.
//!
//! What the way back reads of the way forward is kept and given to it; the buffers stay where they are. Where the cotangent is known before, one run
//! goes both ways.

use std::collections::HashSet;

use attr_core::Result;
use attr_graphdef::proto::{GraphDef, NodeDef, VersionDef};
use prost::Message;
use tensorflow::{Graph, ImportGraphDefOptions, Operation, Session, SessionRunArgs};

use crate::TfTensor;
use crate::error::{backend, convert};
use crate::library;
use crate::tensor::Numbers;

/// Operators in a session.
pub(crate) struct Plan {
    session: Session,
    there: Run,
    back: Run,
    both: Run,
    /// The lengths of each cotangent, if they are known before a run.
    pub(crate) cotangents: Option<Vec<Vec<usize>>>,
    /// How many of the values asked for cotangents are for; the others are at the lower cut.
    pub(crate) upper: usize,
    /// How many of the first values fetched on the way forward were asked for; the others are kept.
    asked: usize,
}

/// One run of the session.
struct Run {
    feeds: Vec<(Out, Source)>,
    fetches: Vec<Out>,
}

/// Where a value that is fed comes from.
pub(crate) enum Source {
    /// The same numbers each time.
    Constant(Numbers),
    /// A tensor given to the run, by its number.
    Given(usize),
    /// A cotangent by its number.
    Cotangent(usize),
    /// What the way forward has kept, by its number.
    Kept(usize),
}

/// An output of an operator.
pub(crate) type Out = (Operation, usize);

/// What a plan makes of a value that it needs.
pub(crate) enum Role {
    /// It is given to the run.
    Feed(Source),
    /// It is computed on the way forward, and kept for the way back.
    Forward,
    /// It is computed wherever it is needed.
    Anywhere,
}

impl Plan {
    /// A plan that fetches `there` on the way forward and `back` on the way back, none of which is fed. Values are
    /// told apart by their roles; `back` is computed from cotangents of the first `upper` values of `there`.
    pub(crate) fn new(
        session: Session,
        there: &[Out],
        back: &[Out],
        upper: usize,
        cotangents: Option<Vec<Vec<usize>>>,
        role: &dyn Fn(&Out, &Session) -> Result<Role>,
    ) -> Result<Plan> {
        let role = |out: &Out| role(out, &session);
        let (back_run, kept) = Run::new(back, &role, true)?;
        let fetched = [there, &kept].concat();
        let (there_run, _) = Run::new(&fetched, &role, false)?;
        let (both, _) = Run::new(&[there, back].concat(), &role, false)?;
        Ok(Plan { session, there: there_run, back: back_run, both, cotangents, upper, asked: there.len() })
    }

    /// The values asked for on the way forward, and those kept for the way back.
    pub(crate) fn there(&self, given: &[&TfTensor]) -> Result<(Vec<TfTensor>, Vec<TfTensor>)> {
        let mut asked = self.there.run(&self.session, given, &[], &[])?;
        let kept = asked.split_off(self.asked);
        Ok((asked, kept))
    }

    /// The values asked for on the way forward, and those on the way back, in one run.
    pub(crate) fn both(
        &self,
        given: &[&TfTensor],
        cotangents: &[TfTensor],
    ) -> Result<(Vec<TfTensor>, Vec<TfTensor>)> {
        let mut there = self.both.run(&self.session, given, &[], cotangents)?;
        let back = there.split_off(self.asked);
        Ok((there, back))
    }

    /// The values asked for on the way back.
    pub(crate) fn back(
        &self,
        given: &[&TfTensor],
        kept: &[TfTensor],
        cotangents: &[TfTensor],
    ) -> Result<Vec<TfTensor>> {
        self.back.run(&self.session, given, kept, cotangents)
    }
}

/// A graph of these operators.
pub(crate) fn graph(nodes: Vec<NodeDef>) -> Result<Graph> {
    library::load()?;
    let versions = Some(VersionDef { producer: PRODUCER, min_consumer: 0 });
    let graph_def = GraphDef { node: nodes, library: None, versions }.encode_to_vec();
    let mut graph = Graph::new();
    graph.import_graph_def(&graph_def, &ImportGraphDefOptions::new()).map_err(convert)?;
    Ok(graph)
}

/// A session of a graph.
pub(crate) fn session(graph: &Graph) -> Result<Session> {
    Session::new(&library::options()?, graph).map_err(convert)
}

/// The operator of a name that is known to be in the graph.
pub(crate) fn operation(graph: &Graph, name: &str) -> Result<Operation> {
    graph.operation_by_name_required(name).map_err(|error| backend(&error.to_string()))
}

/// The version of the meaning of operators that is written, that of TensorFlow 2.16.
pub(crate) const PRODUCER: i32 = 1766;

/// A value from constants alone.
pub(crate) fn evaluate(session: &Session, out: Out, constants: Vec<(Out, Numbers)>) -> Result<Numbers> {
    let feeds = constants.into_iter().map(|(out, numbers)| (out, Source::Constant(numbers))).collect();
    Run { feeds, fetches: vec![out] }.run(session, &[], &[], &[])?.remove(0).to_feed()
}

impl Run {
    /// A run that fetches values, and what of the way forward it is given, if that is kept.
    fn new(fetches: &[Out], role: &dyn Fn(&Out) -> Result<Role>, keep: bool) -> Result<(Run, Vec<Out>)> {
        let (mut feeds, mut kept, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let mut open: Vec<_> = fetches.iter().map(|out| (out.clone(), true)).collect();
        while let Some((out, is_fetched)) = open.pop() {
            let name = out.0.name().map_err(|error| backend(&error.to_string()))?;
            if !seen.insert((name, out.1)) {
                continue;
            }
            match role(&out)? {
                Role::Feed(source) if !is_fetched => feeds.push((out, source)),
                Role::Forward if keep => {
                    feeds.push((out.clone(), Source::Kept(kept.len())));
                    kept.push(out);
                }
                _ => open.extend((0..out.0.num_inputs()).map(|input| (out.0.input(input), false))),
            }
        }
        Ok((Run { feeds, fetches: fetches.to_vec() }, kept))
    }

    fn run(
        &self,
        session: &Session,
        given: &[&TfTensor],
        kept: &[TfTensor],
        cotangents: &[TfTensor],
    ) -> Result<Vec<TfTensor>> {
        if self.fetches.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = |source: &Source| match source {
            Source::Constant(numbers) => Ok(numbers.clone()),
            Source::Given(index) => given[*index].to_feed(),
            Source::Kept(index) => kept[*index].to_feed(),
            Source::Cotangent(index) => cotangents[*index].to_feed(),
        };
        let fed: Vec<_> = self.feeds.iter().map(|(_, source)| numbers(source)).collect::<Result<_>>()?;
        let mut args = SessionRunArgs::new();
        for (((operation, output), _), numbers) in self.feeds.iter().zip(&fed) {
            match numbers {
                Numbers::F32(tensor) => args.add_feed(operation, *output as i32, tensor),
                Numbers::F64(tensor) => args.add_feed(operation, *output as i32, tensor),
            }
        }
        let request = |(operation, output): &Out| args.request_fetch(operation, *output as i32);
        let tokens: Vec<_> = self.fetches.iter().map(request).collect();
        session.run(&mut args).map_err(convert)?;
        let is_double = |place: usize| {
            let (operation, output) = &self.fetches[place];
            operation.output_type(*output) == tensorflow::DataType::Double
        };
        let mut fetched = Vec::with_capacity(tokens.len());
        for (place, token) in tokens.into_iter().enumerate() {
            fetched.push(match is_double(place) {
                true => TfTensor::of::<f64>(args.fetch(token).map_err(convert)?),
                false => TfTensor::of::<f32>(args.fetch(token).map_err(convert)?),
            });
        }
        Ok(fetched)
    }
}
