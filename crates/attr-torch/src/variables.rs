//! The variables of a `VarStore` as the parameters of a graph that is built in code.

use attr_core::{Error, Param, Result};
use ndarray::{ArrayD, IxDyn};
use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor};

use crate::error::convert;
use crate::tensor::lengths;

/// All variables of a store by their names, in alphabetical order: what `attr_networks::Weights::new` takes.
///
/// Numbers in double precision stay so, all others that have a fraction are in single precision. They are copied, from
/// whatever device.
///
/// # Errors
///
/// [`Error::Unsupported`] names a variable of another kind, such as whole numbers; [`Error::Backend`] what libtorch says.
pub fn variables(store: &VarStore) -> Result<Vec<(String, Param)>> {
    let mut named = store
        .variables()
        .into_iter()
        .map(|(name, variable)| {
            let param = param(&name, &variable)?;
            Ok((name, param))
        })
        .collect::<Result<Vec<_>>>()?;
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(named)
}

fn param(name: &str, variable: &Tensor) -> Result<Param> {
    let array = match variable.kind() {
        Kind::Double => numbers::<f64>(variable, Kind::Double).map(Param::from),
        Kind::Float | Kind::Half | Kind::BFloat16 => numbers::<f32>(variable, Kind::Float).map(Param::from),
        other => return Err(Error::Unsupported(format!("variable {name:?} of kind {other:?}"))),
    };
    array.map_err(convert)
}

fn numbers<T: tch::kind::Element + Clone + Default>(
    variable: &Tensor,
    kind: Kind,
) -> std::result::Result<ArrayD<T>, TchError> {
    let host = variable.detach().f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
    let mut numbers = vec![T::default(); host.numel()];
    host.f_copy_data(&mut numbers, host.numel())?;
    let dims = lengths(variable);
    Ok(ArrayD::from_shape_vec(IxDyn(&dims), numbers).expect("BUG: a tensor has its shape's numbers"))
}
