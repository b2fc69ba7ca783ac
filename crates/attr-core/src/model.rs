//! What a method needs of a model: two verbs, and what its cuts are.

use ndarray::ArrayD;

use crate::methods::{self, Entry, Method};
use crate::{Cut, Dim, Error, Graph, NodeId, Op, PatternKind, Patterns, Result, Shape, Tensor};

/// A model whose values at cuts can be read and replaced, and differentiated between cuts.
///
/// The two verbs are [`forward`](Self::forward) and [`gradient`](Self::gradient). Everything is batched
/// along axis 0, and rows don't depend on each other.
pub trait ModelWrapper {
    /// The framework's tensor.
    type Tensor: Tensor;

    /// The framework's name, for messages and evidence.
    fn backend(&self) -> &'static str;

    /// An array brought to the model's device, in its precision.
    fn tensor(&self, array: &ArrayD<f64>) -> Result<Self::Tensor>;

    /// The tensors at a cut, one entry each; an error if there is no such cut.
    fn places(&self, cut: &Cut) -> Result<Vec<Place>>;

    /// The axis of channels of each tensor at a cut, if it has one: 1, unless the model keeps another order.
    fn channel_axes(&self, cut: &Cut) -> Result<Vec<usize>> {
        Ok(vec![1; self.places(cut)?.len()])
    }

    /// Every layer, in an order in which each comes after those it reads; empty if they aren't known.
    fn layers(&self) -> Vec<Place>;

    /// The values at a cut.
    fn forward(&self, point: Point<'_, Self::Tensor>, at: &Cut) -> Result<Vec<Self::Tensor>>;

    /// Runs forward to `to`, hands the values there to `cotangent`, which returns the derivative of the
    /// quantity by each of them, and goes back to `from`.
    ///
    /// A tensor at `from` that `to` does not depend on has gradient zero if another one has an influence;
    /// if none has, that is [`crate::Error::NotConnected`].
    fn gradient(
        &self,
        point: Point<'_, Self::Tensor>,
        from: &Cut,
        to: &Cut,
        cotangent: Cotangent<'_, Self::Tensor>,
    ) -> Result<Gradient<Self::Tensor>>;

    /// About how many bytes one row of a forward and backward pass needs; `None` if not known.
    fn row_bytes(&self) -> Option<u64>;

    /// The methods that can be asked of this kind of model: those that need no more than the two verbs, where a
    /// model whose layers are known does not say more ([`methods::of_layers`]).
    fn methods() -> Vec<Entry<dyn Method<Self>>>
    where
        Self: Sized,
    {
        methods::all()
    }

    /// Patterns of a kind fitted to batches ([`Patterns::fit`]); an error where the layers aren't known.
    fn fit_patterns(
        &self,
        _: PatternKind,
        _: &mut dyn Iterator<Item = Result<Vec<ArrayD<f64>>>>,
    ) -> Result<Patterns> {
        Err(needs_layers("patterns", self.backend()))
    }
}

/// That something needs a model whose layers are known.
pub(crate) fn needs_layers(what: &str, backend: &str) -> Error {
    Error::Unsupported(format!("{what} on {backend}: it needs to know the layers, which are not known here"))
}

/// From the values at a cut to the derivative of the quantity by them.
pub type Cotangent<'a, T> = &'a mut dyn FnMut(&[T]) -> Result<Vec<T>>;

/// Where a model is evaluated.
#[derive(Debug)]
pub struct Point<'a, T> {
    /// The model's inputs, in order.
    pub inputs: &'a [T],
    /// Values put in the place of those at a cut. They may have several times as many rows as the inputs:
    /// the rest is tiled onto them, all rows once, then all rows again.
    pub replace: Option<(&'a Cut, &'a [T])>,
}

impl<T> Clone for Point<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Point<'_, T> {}

impl<'a, T> Point<'a, T> {
    /// The inputs as they are.
    pub fn at(inputs: &'a [T]) -> Self {
        Point { inputs, replace: None }
    }
}

/// A value's name and its shape, as far as it is known.
pub type Expected<'a> = (&'a str, Option<&'a Shape>);

impl<T: Tensor> Point<'_, T> {
    /// Checks the tensors of the point against what a model takes as its inputs and at the cut whose values are
    /// replaced; gives how many times as many rows as the inputs the replaced values have.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where a number of tensors, a shape or a number of rows does not fit; [`Error::Unsupported`]
    /// for a constant at the cut.
    pub fn check(&self, inputs: &[Expected<'_>], at_cut: &[Expected<'_>]) -> Result<usize> {
        if self.inputs.len() != inputs.len() {
            let names: Vec<_> = inputs.iter().map(|(name, _)| *name).collect();
            let expected = format!("{} tensors ({})", inputs.len(), names.join(", "));
            let found = vec![self.inputs.len()];
            return Err(Error::Shape { place: "the model's inputs".into(), expected, found });
        }
        let mut rows = None;
        for (&(name, shape), input) in inputs.iter().zip(self.inputs) {
            let place = format!("input {name:?}");
            admitted(&place, shape, input)?;
            if shape.is_some_and(|shape| shape.batch_axis().is_none()) {
                continue;
            }
            let rows = *rows.get_or_insert(input.rows());
            if input.rows() != rows {
                let expected = format!("{rows} rows, as the first input");
                return Err(Error::Shape { place, expected, found: input.dims() });
            }
        }
        let rows = rows.unwrap_or(1);
        let Some((_, values)) = self.replace else { return Ok(1) };
        if at_cut.len() != values.len() {
            let (place, expected) =
                ("the values to put at the cut".into(), format!("{} tensors", at_cut.len()));
            return Err(Error::Shape { place, expected, found: vec![values.len()] });
        }
        let mut copies = None;
        for (&(name, shape), value) in at_cut.iter().zip(values) {
            let place = format!("the value to put at layer {name:?}");
            admitted(&place, shape, value)?;
            let (axis, each) = match shape.map(|shape| shape.batch_axis().map(|axis| (axis, shape.0[axis]))) {
                None => (0, 1),
                Some(Some((axis, Dim::Batch(each)))) => (axis, each),
                Some(_) => return Err(Error::Unsupported(format!("replacing the constant {name:?}"))),
            };
            let given = value.dims().get(axis).map_or(0, |len| len / each);
            if given == 0 || given % rows != 0 || copies.is_some_and(|copies| copies * rows != given) {
                let expected = format!("the same whole multiple of {rows} rows everywhere");
                return Err(Error::Shape { place, expected, found: value.dims() });
            }
            copies = Some(given / rows);
        }
        Ok(copies.unwrap_or(1))
    }
}

fn admitted<T: Tensor>(place: &str, shape: Option<&Shape>, value: &T) -> Result<()> {
    match shape {
        Some(shape) if !shape.admits(&value.dims()) => {
            let (place, expected) = (place.to_string(), shape.to_string());
            Err(Error::Shape { place, expected, found: value.dims() })
        }
        _ => Ok(()),
    }
}

/// What [`ModelWrapper::gradient`] gives, one entry for each tensor at `from`.
#[derive(Debug, Clone)]
pub struct Gradient<T> {
    /// The values at `from`.
    pub values: Vec<T>,
    /// The derivative of the quantity by them.
    pub gradients: Vec<T>,
}

/// One tensor at a cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The name of the layer or input.
    pub name: String,
    /// The layer's kind, in the field's words.
    pub kind: &'static str,
    /// The value's shape, if known.
    pub shape: Option<Shape>,
    /// How many numbers the layer's parameters are.
    pub parameters: usize,
    /// Whether the model's first output depends on it.
    pub leads_to_output: bool,
}

/// A model whose layers are known, and can be run one by one with other inputs and parameters.
pub trait LayeredModel: ModelWrapper {
    /// The layers.
    fn graph(&self) -> &Graph;

    /// A layer's own parameters, on the device.
    fn parameters(&self, node: NodeId) -> Vec<&Self::Tensor>;

    /// The value that a layer of this kind would give for these inputs and parameters.
    fn layer_forward(
        &self,
        op: &Op,
        inputs: &[&Self::Tensor],
        params: &[&Self::Tensor],
    ) -> Result<Self::Tensor>;

    /// The cotangents of a layer's inputs for these inputs and parameters, one entry an input; none for those
    /// that are not wanted.
    fn layer_vjp(
        &self,
        op: &Op,
        inputs: &[&Self::Tensor],
        params: &[&Self::Tensor],
        cotangent: &Self::Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Self::Tensor>>>;
}
