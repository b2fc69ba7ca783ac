//! The state of a file half read: the layers so far, and what every value of the file has become.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use attr_core::{Dim, Graph, NodeId, Op, Param, ParamId, Shape};

use ndarray::{ArrayD, IxDyn};

use crate::Error;
use crate::array::{Array, Constant, Size};
use crate::node::{Fault, MAX_RANK, Node, Value, Values, broken, unsupported};
use crate::tensor::Beside;

/// What becomes of a constant on its way to a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Nothing.
    Plain,
    /// The transpose, times a factor.
    Matrix { transposed: bool, factor: f64 },
    /// So many entries in a row, times a factor.
    Row { len: usize, factor: f64 },
}

/// So many numbers may be computed while reading even the smallest file, such as a mask of 1024 by 1024.
const LEAST: usize = 1 << 22;

/// What a layer takes is that of so many numbers, and its name.
const LAYER: usize = 64;

/// The layers so far.
pub(crate) struct Context {
    pub(crate) graph: Graph,
    /// The length of the batch that the file was made for, if it says one.
    pub(crate) rows: Option<usize>,
    /// Whether an input of the network is in double precision, and so what is added here.
    pub(crate) double: bool,
    /// The layers whose values are whole numbers or truth values in the file.
    pub(crate) whole: HashSet<NodeId>,
    /// The files beside the model.
    pub(crate) beside: Beside,
    names: HashSet<Rc<str>>,
    suffixes: HashMap<Rc<str>, usize>,
    constants: HashMap<Rc<str>, NodeId>,
    params: HashMap<(usize, String), ParamId>,
    origins: HashMap<(usize, String), usize>,
    last_origin: usize,
    /// How many numbers may still be computed while reading.
    budget: usize,
}

impl Context {
    /// No layers yet, from a file of so many bytes.
    pub(crate) fn new(bytes: usize, beside: Beside) -> Self {
        Context {
            graph: Graph::default(),
            rows: None,
            double: false,
            whole: HashSet::new(),
            beside,
            names: HashSet::new(),
            suffixes: HashMap::new(),
            constants: HashMap::new(),
            params: HashMap::new(),
            origins: HashMap::new(),
            last_origin: 0,
            budget: bytes.saturating_add(LEAST),
        }
    }

    /// This name, or where it is taken the first of `name_1`, `name_2`... that is not.
    pub(crate) fn unique(&mut self, name: &str) -> Rc<str> {
        let mut unique: Rc<str> = name.into();
        while !self.names.insert(unique.clone()) {
            let suffix = self.suffixes.entry(name.into()).or_default();
            *suffix += 1;
            unique = format!("{name}_{suffix}").into();
        }
        unique
    }

    /// A constant that no other is the same as.
    pub(crate) fn new_origin(&mut self) -> usize {
        self.last_origin += 1;
        self.last_origin
    }

    /// The origin of what is made of a constant in a certain way, the same each time.
    pub(crate) fn derived_origin(&mut self, origin: usize, how: String) -> usize {
        let last = &mut self.last_origin;
        *self.origins.entry((origin, how)).or_insert_with(|| {
            *last += 1;
            *last
        })
    }

    /// Asks to compute so many numbers, of up to 16 bytes, while reading, in proportion to the file.
    pub(crate) fn spend(&mut self, numbers: usize) -> Result<(), Fault> {
        match self.budget.checked_sub(numbers) {
            Some(left) => self.budget = left,
            None => return broken("the constants and layers of this file are too large for its length"),
        }
        Ok(())
    }

    /// Allows to compute so many numbers more, for as many that were read from beside the file.
    pub(crate) fn grant(&mut self, numbers: usize) {
        self.budget = self.budget.saturating_add(numbers);
    }

    /// The layer that an input is the value of; a constant becomes one.
    pub(crate) fn layer(&mut self, n: &Node, i: usize) -> Result<NodeId, Fault> {
        match n.input(i) {
            Some(Value::Layer(id)) => Ok(*id),
            Some(Value::Constant(constant)) => self.constant_layer(constant),
            _ => broken(format!("input {i} is missing")),
        }
    }

    /// The layer that gives a constant.
    pub(crate) fn constant_layer(&mut self, constant: &Constant) -> Result<NodeId, Fault> {
        if let Some(&id) = self.constants.get(&constant.name) {
            return Ok(id);
        }
        let param = self.param_of(constant, Form::Plain)?;
        let id = self.graph.add(&constant.name, Op::Constant, &[], &[param])?;
        if matches!(constant.array, Array::Int(_)) {
            self.whole.insert(id);
        }
        self.constants.insert(constant.name.clone(), id);
        Ok(id)
    }

    /// The shape of a layer's value.
    pub(crate) fn shape(&self, id: NodeId) -> Shape {
        self.graph.node(id).shape.clone()
    }

    /// The lengths of a parameter's axes.
    pub(crate) fn dims(&self, id: ParamId) -> &[usize] {
        self.graph.params()[id].dims()
    }

    /// An input as parameter.
    pub(crate) fn param(&mut self, n: &Node, i: usize, form: Form) -> Result<ParamId, Fault> {
        self.param_of(n.constant(i)?, form)
    }

    /// The given input as parameter, if it is there, behind other parameters.
    pub(crate) fn with_param(
        &mut self,
        mut params: Vec<ParamId>,
        n: &Node,
        i: usize,
        form: Form,
    ) -> Result<Vec<ParamId>, Fault> {
        if let Some(constant) = n.optional(i)? {
            params.push(self.param_of(constant, form)?);
        }
        Ok(params)
    }

    /// A constant as parameter.
    pub(crate) fn param_of(&mut self, constant: &Constant, form: Form) -> Result<ParamId, Fault> {
        let key = (constant.origin, format!("{form:?}"));
        if let Some(&id) = self.params.get(&key) {
            return Ok(id);
        }
        let Some(param) = constant.array.to_param() else {
            return unsupported(
                "of whole numbers that depend on the batch or that single precision would round",
            );
        };
        let param = formed(self, param, form)?;
        let id = self.graph.param(param);
        self.params.insert(key, id);
        Ok(id)
    }

    /// Adds the operator's layer.
    pub(crate) fn add(&mut self, n: &Node, op: Op, inputs: &[NodeId], params: &[ParamId]) -> Values {
        self.add_named(&n.name, op, inputs, params).map(|id| vec![Value::Layer(id)])
    }

    /// Adds one of several layers of an operator.
    pub(crate) fn add_named(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[NodeId],
        params: &[ParamId],
    ) -> Result<NodeId, Fault> {
        self.spend(LAYER + name.len())?;
        let id = self.graph.add(name, op, inputs, params)?;
        // Most operators give what they take; those that don't say so afterwards.
        if inputs.iter().any(|input| self.whole.contains(input)) {
            self.whole.insert(id);
        }
        let rank = self.graph.node(id).shape.rank();
        if rank > MAX_RANK {
            return Err(Fault::Other(Error::Layer {
                layer: name.into(),
                reason: format!("expected at most {MAX_RANK} axes, found {rank}"),
            }));
        }
        Ok(id)
    }

    /// Adds a layer on the way to the operator's own, under the operator's name and a number.
    pub(crate) fn step(&mut self, n: &Node, op: Op, inputs: &[NodeId]) -> Result<NodeId, Fault> {
        // A long name must not be written for very many layers.
        self.spend(n.name.len())?;
        let name = self.unique(&n.name);
        self.add_named(&name, op, inputs, &[])
    }

    /// A layer on the way that moves axes, unless it leaves them where they are.
    pub(crate) fn transposed(&mut self, n: &Node, axes: Vec<usize>, x: NodeId) -> Result<NodeId, Fault> {
        if axes.is_sorted() { Ok(x) } else { self.step(n, Op::Transpose { axes }, &[x]) }
    }

    /// A layer on the way that gives a value another shape, unless it has it.
    pub(crate) fn reshaped(&mut self, n: &Node, dims: Vec<Dim>, x: NodeId) -> Result<NodeId, Fault> {
        let shape = Shape(dims);
        if self.shape(x) == shape { Ok(x) } else { self.step(n, Op::Reshape { shape }, &[x]) }
    }

    /// A layer that gives one number, for an operator.
    pub(crate) fn number(&mut self, n: &Node, x: f64) -> Result<NodeId, Fault> {
        self.spend(n.name.len())?;
        let param = self.filled(&[], x)?;
        let name = self.unique(&n.name);
        self.add_named(&name, Op::Constant, &[], &[param])
    }

    /// A parameter of these lengths that is the same number everywhere, in the precision of the file.
    pub(crate) fn filled(&mut self, dims: &[usize], x: f64) -> Result<ParamId, Fault> {
        self.spend(dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim)))?;
        Ok(match self.double {
            true => self.graph.param(ArrayD::from_elem(IxDyn(dims), x)),
            false => self.graph.param(ArrayD::from_elem(IxDyn(dims), x as f32)),
        })
    }

    /// Whether a size in the file is the length of this axis, whatever the batch.
    pub(crate) fn is_len(&self, size: Size, dim: Dim) -> bool {
        let made_for = match (dim, self.rows) {
            (Dim::Batch(k), Some(rows)) => k.checked_mul(rows).map(|n| Size::Fixed(n as i64)),
            _ => None,
        };
        size == dim.into() || Some(size) == made_for
    }
}

fn formed(context: &mut Context, param: Param, form: Form) -> Result<Param, Fault> {
    let plain = match form {
        Form::Plain => true,
        Form::Matrix { transposed, factor } => {
            if param.dims().len() != 2 {
                return broken(format!("weight: expected rank 2, found {:?}", param.dims()));
            }
            !transposed && factor == 1.0
        }
        Form::Row { len, factor } => {
            let dims = param.dims();
            if param.len() != 1 && (param.len() != len || dims.last() != Some(&len)) {
                return unsupported(format!("with a bias of shape {dims:?}"));
            }
            dims == [len] && factor == 1.0
        }
    };
    if plain {
        return Ok(param);
    }
    let len = if let Form::Row { len, .. } = form { len } else { param.len() };
    context.spend(len)?;
    macro_rules! apply {
        ($array:expr, $float:ty) => {
            match form {
                Form::Matrix { transposed: true, factor } => {
                    $array.t().mapv(|w| w * factor as $float).as_standard_layout().to_owned().into()
                }
                Form::Row { len, factor } if $array.len() == 1 => {
                    let one = $array.first().copied().unwrap_or_default();
                    ndarray::Array1::from_elem(len, one * factor as $float).into()
                }
                Form::Row { factor, .. } => {
                    $array.iter().map(|w| w * factor as $float).collect::<ndarray::Array1<_>>().into()
                }
                Form::Matrix { factor, .. } => $array.mapv(|w| w * factor as $float).into(),
                Form::Plain => unreachable!("BUG: a plain parameter is returned above"),
            }
        };
    }
    Ok(match &param {
        Param::F32(array) => apply!(array, f32),
        Param::F64(array) => apply!(array, f64),
        Param::OnDevice(_) => unreachable!("BUG: a file's numbers are not on a device"),
    })
}
