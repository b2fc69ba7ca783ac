//! The layers so far, and in which orders of axes their values are at hand.

use std::collections::{HashMap, HashSet};

use attr_core::{Dim, Graph, NodeId, Op, ParamId, Shape};
use ndarray::{ArcArray, IxDyn};

use super::known::{Known, Size, map_known};
use super::operator::{Carried, Fault, Value, Values, broken, unsupported};
use crate::budget::Budget;
use crate::function::{Endpoint, Function};
use crate::node::endpoint;
use crate::proto::{NodeDef, data_type};
use crate::tensor::{MAX_RANK, type_name};
use crate::{Error, Result};

/// The layers so far.
pub(super) struct Importer<'a> {
    pub(super) function: &'a Function,
    pub(super) graph: Graph,
    /// What the outputs of each operator have become; nothing yet for those that are still to come.
    pub(super) values: Vec<Vec<Value>>,
    pub(super) budget: Budget,
    /// The length of the batch that the model was made for, if it says one.
    pub(super) rows: Option<usize>,
    /// The kind of numbers of the model's inputs, and so of all it computes.
    pub(super) dtype: i32,
    /// The inputs, by the places of their operators.
    pub(super) inputs: HashMap<usize, Carried>,
    /// The places of the operators that read an operator's values.
    pub(super) readers: Vec<Vec<usize>>,
    /// Whether an operator's value is an output.
    pub(super) is_output: Vec<bool>,
    names: HashSet<String>,
    /// The last number put behind a name.
    numbers: HashMap<String, usize>,
    params: HashMap<(Origin, String), ParamId>,
    constants: HashMap<(Origin, String), NodeId>,
    /// The same value with its channels elsewhere.
    transposed: HashMap<(NodeId, bool), NodeId>,
    /// What the keys above are of: its place in memory must not be given to others.
    kept: Vec<Known>,
}

/// Where an array's numbers are: arrays of the same origin are the same.
type Origin = (usize, Vec<usize>, Vec<isize>);

/// What a layer costs at least, in bytes.
const LAYER: usize = 512;

/// No row of an input has more numbers than this.
const MAX_ROW_LEN: usize = 1 << 31;

impl<'a> Importer<'a> {
    pub(super) fn new(function: &'a Function) -> Self {
        let mut readers = vec![Vec::new(); function.nodes.len()];
        for (at, node) in function.nodes.iter().enumerate() {
            for input in node.data_inputs() {
                if let Some(&place) = function.places.get(endpoint(input).0) {
                    readers[place].push(at);
                }
            }
        }
        let mut is_output = vec![false; function.nodes.len()];
        for output in &function.outputs {
            if let Some(&place) = function.places.get(endpoint(&output.tensor).0) {
                is_output[place] = true;
            }
        }
        Importer {
            function,
            graph: Graph::default(),
            values: vec![Vec::new(); function.nodes.len()],
            budget: Budget::new(function.bytes),
            rows: None,
            dtype: 0,
            inputs: HashMap::new(),
            readers,
            is_output,
            numbers: HashMap::new(),
            names: function.nodes.iter().map(|node| node.name.clone()).collect(),
            params: HashMap::new(),
            constants: HashMap::new(),
            transposed: HashMap::new(),
            kept: Vec::new(),
        }
    }

    /// Whether an operator is known, whatever its attributes.
    pub(super) fn is_known(&self, op: &str) -> bool {
        super::operators::is_known(op)
    }

    /// What an output of an operator has become.
    pub(super) fn made(&self, (place, output): (usize, usize)) -> Value {
        match (self.values[place].first(), self.values[place].get(output)) {
            (Some(Value::Unknown), _) => Value::Unknown,
            (_, Some(value)) => value.clone(),
            _ => Value::Missing(format!("{} with output {output}", self.function.nodes[place].op)),
        }
    }

    /// An operator whose first output this is, and what it reads; nothing of one whose other output it is.
    pub(super) fn behind(&self, (place, output): (usize, usize)) -> (&'a NodeDef, Vec<(usize, usize)>) {
        let node = &self.function.nodes[place];
        let sources = node.data_inputs().filter(|_| output == 0).filter_map(|input| {
            let (name, output) = endpoint(input);
            self.function.places.get(name).map(|&place| (place, output))
        });
        (node, sources.collect())
    }

    /// Whether an operator's value is read by a single other one, and is no output.
    pub(super) fn is_read_once(&self, place: usize) -> bool {
        self.readers[place].len() == 1 && !self.is_output[place]
    }

    /// The whole numbers of a value, if it is known and made of some.
    pub(super) fn integers(&self, source: (usize, usize)) -> Option<Vec<i64>> {
        let Value::Known(_, Known::Int(array)) = self.made(source) else { return None };
        array.iter().map(|size| size.fixed()).collect()
    }

    /// Adds an input, of which the first axis is the batch; `row` is what is known of the others besides.
    pub(super) fn input(&mut self, input: &Endpoint, row: Option<&[usize]>) -> Result<()> {
        let broken = |reason: String| Error::graph_input(&input.name, reason);
        let operator = endpoint(&input.tensor).0;
        let Some(&place) = self.function.places.get(operator) else {
            return Err(broken("is not there".into()));
        };
        let dtype = self.function.nodes[place].kind("dtype").unwrap_or(input.dtype);
        if ![data_type::FLOAT, data_type::DOUBLE].contains(&dtype) {
            return Err(broken(format!("expected float or double, found {}", type_name(dtype))));
        }
        if self.dtype != 0 && dtype != self.dtype {
            return Err(broken(format!("expected {}, found {}", type_name(self.dtype), type_name(dtype))));
        }
        self.dtype = dtype;
        let row = match (&input.shape, row) {
            (None, Some(row)) => row.to_vec(),
            (None, None) => return Err(broken("the file does not say its shape: give it".into())),
            (Some(shape), row) => self.row(input, shape, row)?,
        };
        let len = row.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        if row.len() >= MAX_RANK || len.is_none_or(|len| len == 0 || len > MAX_ROW_LEN) {
            return Err(broken(format!("a row of shape {row:?} is empty or too large")));
        }
        let taken = self.function.places.get(&input.name).is_some_and(|&other| other != place);
        let name = if taken { operator } else { &input.name };
        self.names.insert(name.into());
        let id = self.graph.input(name, &row)?;
        self.inputs.insert(place, Carried { id, second: false });
        Ok(())
    }

    fn row(
        &mut self,
        input: &Endpoint,
        shape: &[Option<usize>],
        wanted: Option<&[usize]>,
    ) -> Result<Vec<usize>> {
        let broken = |reason: String| Error::graph_input(&input.name, reason);
        let Some((batch, axes)) = shape.split_first() else {
            return Err(broken("expected a batch axis, found a single number".into()));
        };
        if let Some(rows @ 1..) = *batch
            && let Some(other) = self.rows.replace(rows).filter(|&other| other != rows)
        {
            return Err(broken(format!("expected a batch of {other}, found {rows}")));
        }
        if let Some(wanted) = wanted.filter(|wanted| wanted.len() != axes.len()) {
            return Err(broken(format!(
                "expected {} lengths behind the batch, found {}",
                axes.len(),
                wanted.len()
            )));
        }
        let axes = axes.iter().enumerate().map(|(i, &dim)| match (dim, wanted.map(|wanted| wanted[i])) {
            (Some(n), Some(wanted)) if n != wanted => {
                Err(broken(format!("axis {}: expected {n}, found {wanted}", i + 1)))
            }
            (Some(n), _) | (None, Some(n)) => Ok(n),
            (None, None) => Err(broken(format!("axis {} has an open length: give the input's shape", i + 1))),
        });
        axes.collect()
    }

    /// The layer of a value, with its axes as TensorFlow has them.
    pub(super) fn layer(&mut self, value: &Value) -> Result<NodeId, Fault> {
        match value {
            Value::Layer(carried) => self.plain(*carried),
            Value::Known(name, known) => self.constant(name, known, None),
            _ => unsupported("of a value that is not one of layers"),
        }
    }

    /// This name, or where it is taken the first of `name_1`, `name_2`... that is not.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_string();
        while !self.names.insert(unique.clone()) {
            let number = self.numbers.entry(name.into()).or_default();
            *number += 1;
            unique = format!("{name}_{number}");
        }
        unique
    }

    /// The lengths of a tensor's axes, in TensorFlow's order.
    pub(super) fn dims(&self, carried: Carried) -> Vec<Dim> {
        let mut dims = self.graph.node(carried.id).shape.0.clone();
        if carried.second {
            let channels = dims.remove(1);
            dims.push(channels);
        }
        dims
    }

    pub(super) fn rank(&self, carried: Carried) -> usize {
        self.graph.node(carried.id).shape.rank()
    }

    /// The layer's axis for a tensor's.
    pub(super) fn axis(&self, carried: Carried, axis: usize) -> usize {
        match axis {
            axis if !carried.second || axis == 0 => axis,
            axis if axis + 1 == self.rank(carried) => 1,
            axis => axis + 1,
        }
    }

    /// The layer that has a tensor's axes in their own order.
    pub(super) fn plain(&mut self, carried: Carried) -> Result<NodeId, Fault> {
        self.ordered(carried, false)
    }

    /// The layer that has a tensor's last axis as axis 1.
    pub(super) fn channels_second(&mut self, carried: Carried) -> Result<NodeId, Fault> {
        if self.rank(carried) < 2 {
            return broken(format!("expected channels, found {}", self.graph.node(carried.id).shape));
        }
        self.ordered(carried, true)
    }

    pub(super) fn ordered(&mut self, carried: Carried, second: bool) -> Result<NodeId, Fault> {
        let Carried { id, second: now } = carried;
        let rank = self.rank(carried);
        if now == second || rank <= 2 {
            return Ok(id);
        }
        if let Some(&other) = self.transposed.get(&(id, second)) {
            return Ok(other);
        }
        let (axes, how): (Vec<_>, _) = match second {
            true => ([0, rank - 1].into_iter().chain(1..rank - 1).collect(), "channels_second"),
            false => ([0].into_iter().chain(2..rank).chain([1]).collect(), "channels_last"),
        };
        let name = self.unique(&format!("{}/{how}", self.graph.node(id).name));
        let other = self.add(&name, Op::Transpose { axes }, &[id], &[])?;
        if !second {
            self.graph.set_channel_axis(other, rank - 1)?;
        }
        self.transposed.insert((id, second), other);
        self.transposed.insert((other, now), id);
        Ok(other)
    }

    /// Adds a layer.
    pub(super) fn add(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[NodeId],
        params: &[ParamId],
    ) -> Result<NodeId, Fault> {
        self.budget.spend(LAYER + 4 * name.len() + 8 * inputs.len())?;
        let id = self.graph.add(name, op, inputs, params)?;
        let rank = self.graph.node(id).shape.rank();
        if rank > MAX_RANK {
            return broken(format!("expected at most {MAX_RANK} axes, found {rank}"));
        }
        Ok(id)
    }

    /// Adds one of several layers of an operator, by what it is for.
    pub(super) fn part(
        &mut self,
        name: &str,
        role: &str,
        op: Op,
        inputs: &[NodeId],
    ) -> Result<NodeId, Fault> {
        let name = self.unique(&format!("{name}/{role}"));
        self.add(&name, op, inputs, &[])
    }

    /// The layer that gives one number.
    pub(super) fn scalar(&mut self, name: &str, role: &str, x: f64) -> Result<NodeId, Fault> {
        let array = ndarray::ArrayD::from_elem(IxDyn(&[]), x);
        let param = match self.dtype {
            data_type::DOUBLE => self.graph.param(array),
            _ => self.graph.param(array.mapv(|x| x as f32)),
        };
        let name = self.unique(&format!("{name}/{role}"));
        self.add(&name, Op::Constant, &[], &[param])
    }

    /// The layer that gives a constant; with its last axis as axis 1 of so many, if told.
    pub(super) fn constant(
        &mut self,
        name: &str,
        known: &Known,
        second: Option<usize>,
    ) -> Result<NodeId, Fault> {
        let second = second.filter(|&rank| rank > 2 && !known.dims().is_empty());
        let form = format!("{second:?}");
        let key = (origin(known), form);
        if let Some(&id) = self.constants.get(&key) {
            return Ok(id);
        }
        let (mut dims, mut perm) = (known.dims().to_vec(), (0..known.dims().len()).collect::<Vec<_>>());
        if let Some(rank) = second {
            dims = [vec![1; rank.saturating_sub(dims.len())], dims].concat();
            perm = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        }
        if perm.len() != dims.len() {
            return broken(format!("a constant of shape {:?} has too many axes", known.dims()));
        }
        let widened = reshaped(known, &dims)?;
        let param = self.param(&widened, &perm, None)?;
        let name = match second {
            // A file may give a constant the name of an input.
            None => self.free(name),
            Some(_) => self.unique(&format!("{name}/channels_second")),
        };
        let id = self.add(&name, Op::Constant, &[], &[param])?;
        self.kept.push(known.clone());
        self.constants.insert(key, id);
        Ok(id)
    }

    /// An operator's own name, if no layer has it yet.
    fn free(&mut self, name: &str) -> String {
        if self.graph.find(name).is_some() { self.unique(name) } else { name.into() }
    }

    /// A constant as a parameter, its axes in another order, and then in another shape.
    pub(super) fn param(
        &mut self,
        known: &Known,
        perm: &[usize],
        shape: Option<&[usize]>,
    ) -> Result<ParamId, Fault> {
        let key = (origin(known), format!("{perm:?} {shape:?}"));
        if let Some(&id) = self.params.get(&key) {
            return Ok(id);
        }
        if known.dims().len() != perm.len() {
            return broken(format!("expected a constant of {} axes, found {:?}", perm.len(), known.dims()));
        }
        let kind = match known {
            Known::F32(_) => data_type::FLOAT,
            Known::F64(_) => data_type::DOUBLE,
            Known::Int(_) => return broken("expected floating-point numbers, found integers"),
        };
        if kind != self.dtype {
            let (expected, found) = (type_name(self.dtype), type_name(kind));
            return unsupported(format!("of {found} numbers in a network of {expected}"));
        }
        self.budget.spend(8 * known.len())?;
        let turned = map_known!(known, a => standard(a.clone().permuted_axes(IxDyn(perm))));
        let turned = match shape {
            Some(shape) => reshaped(&turned, shape)?,
            None => turned,
        };
        let id = match turned {
            Known::F32(a) => self.graph.param(attr_core::Param::F32(a)),
            Known::F64(a) => self.graph.param(attr_core::Param::F64(a)),
            Known::Int(_) => return broken("expected floating-point numbers, found integers"),
        };
        self.kept.push(known.clone());
        self.params.insert(key, id);
        Ok(id)
    }

    /// A constant as a parameter of one axis of so many numbers.
    pub(super) fn row_param(&mut self, known: &Known, len: usize) -> Result<ParamId, Fault> {
        self.budget.spend(8 * len)?;
        macro_rules! row {
            ($a:expr) => {{
                let one = $a.first().copied().filter(|_| $a.len() == 1);
                let row =
                    one.map_or_else(|| $a.iter().copied().collect(), |x| ndarray::Array1::from_elem(len, x));
                self.graph.param(row)
            }};
        }
        match known {
            Known::F32(a) if self.dtype == data_type::FLOAT => Ok(row!(a)),
            Known::F64(a) if self.dtype == data_type::DOUBLE => Ok(row!(a)),
            _ => unsupported(format!("of other numbers than {}", type_name(self.dtype))),
        }
    }

    /// The operator's only value, a layer's.
    pub(super) fn value(&self, id: NodeId, second: bool) -> Values {
        let second = second && self.graph.node(id).shape.rank() > 2;
        Ok(vec![Value::Layer(Carried { id, second })])
    }

    /// Whether a size in the file is the length of this axis, whatever the batch.
    pub(super) fn is_len(&self, size: Size, dim: Dim) -> bool {
        let made_for = match (dim, self.rows) {
            (Dim::Batch(k), Some(rows)) => k.checked_mul(rows).map(|n| Size::Fixed(n as i64)),
            _ => None,
        };
        size == dim.into() || Some(size) == made_for
    }

    /// The shape of a layer's value.
    pub(super) fn shape(&self, id: NodeId) -> &Shape {
        &self.graph.node(id).shape
    }
}

/// The same numbers in row-major order under other lengths.
pub(super) fn reshaped(known: &Known, dims: &[usize]) -> Result<Known, Fault> {
    if dims.len() > MAX_RANK {
        return broken(format!("expected at most {MAX_RANK} axes, found {}", dims.len()));
    }
    Ok(map_known!(known, a => match standard(a.clone()).into_shape_with_order(IxDyn(dims)) {
        Ok(a) => a,
        Err(_) => return broken(format!("{:?} can't be reshaped to {dims:?}", known.dims())),
    }))
}

/// The same numbers in row-major order; copies only what is not.
pub(super) fn standard<T: Clone>(array: ArcArray<T, IxDyn>) -> ArcArray<T, IxDyn> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().to_shared() }
}

fn origin(known: &Known) -> Origin {
    macro_rules! of {
        ($a:expr) => {
            ($a.as_ptr() as usize, $a.shape().to_vec(), $a.strides().to_vec())
        };
    }
    match known {
        Known::F32(a) => of!(a),
        Known::F64(a) => of!(a),
        Known::Int(a) => of!(a),
    }
}
