//! Whether SavedModels give what Python has computed with them: outputs and input gradients.
//!
//! `cargo run --release -p attr-tf --example as_python -- FOLDER`, where the folder holds pairs of a SavedModel `NAME` and
//! `NAME.npz`, as `python xtask/python/tensorflow_fixtures.py FOLDER` writes them. Each is run as it is, and by the layers
//! that are recognised in it. The figures are the largest difference, relative to the largest number.
//!
//! Set `TF_ENABLE_ONEDNN_OPTS=0`, as the script does: other kernels round otherwise, which carries some of a network's
//! millions of units over their kinks, and gradients differ by percents.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use attr_core::{Cut, ModelWrapper, Point, Precision, Tensor};
use attr_tf::{SavedModel, TfTensor};
use ndarray::{ArrayD, IxDyn};

/// Both compute in single precision.
const CLOSE: f64 = 1e-5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match std::env::args()
        .nth(1)
        .ok_or("expected a folder".into())
        .and_then(|folder| compare(Path::new(&folder)))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all are close.
fn compare(folder: &Path) -> Result<bool> {
    let mut all = true;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let arrays = path.with_extension("npz");
        if !path.is_dir() || !arrays.is_file() {
            continue;
        }
        let arrays = read(&arrays)?;
        let function = attr_graphdef::read(&path)?.function(None)?;
        let names: Vec<_> = function.inputs.iter().map(|input| input.name.clone()).collect();
        let layers = function.layers()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let off = apart(&SavedModel::new(function)?, &names, &arrays)?;
        println!("{name}, as it is: outputs {:.1e}, gradients {:.1e}", off[0], off[1]);
        all &= off.iter().all(|&off| off <= CLOSE);
        let off = apart(&attr_tf::compile(layers, Precision::F32)?, &names, &arrays)?;
        println!("{name}, by its layers: outputs {:.1e}, gradients {:.1e}", off[0], off[1]);
        all &= off.iter().all(|&off| off <= CLOSE);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<BTreeMap<String, ArrayD<f64>>> {
    let mut npz = ndarray_npy::NpzReader::new(std::fs::File::open(path)?)?;
    let names = npz.names()?;
    let array = |name: String| {
        let array: ArrayD<f32> = npz.by_name(&name)?;
        Ok((name.trim_end_matches(".npy").to_string(), array.mapv(f64::from)))
    };
    names.into_iter().map(array).collect()
}

/// The largest difference of the first output, and of the derivatives by the inputs.
fn apart<M: ModelWrapper<Tensor = TfTensor>>(
    model: &M,
    names: &[String],
    arrays: &BTreeMap<String, ArrayD<f64>>,
) -> Result<[f64; 2]> {
    let array = |kind: &str, name: &str| {
        arrays.get(&format!("{kind}.{name}")).ok_or(format!("expected {kind}.{name}"))
    };
    let inputs =
        names.iter().map(|name| Ok(model.tensor(array("input", name)?)?)).collect::<Result<Vec<_>>>()?;
    let mut outputs = Vec::new();
    let found = model.gradient(Point::at(&inputs), &Cut::input(), &Cut::output(), &mut |values| {
        outputs = values.to_vec();
        values.iter().enumerate().map(twice_the_last).collect()
    })?;
    let mut off = 0.0f64;
    for (name, gradient) in names.iter().zip(&found.gradients) {
        off = off.max(difference(&gradient.to_array()?, array("gradient", name)?));
    }
    Ok([difference(&outputs[0].to_array()?, array("output", "output_0")?), off])
}

/// The derivative of twice the last number of each row of the first output.
fn twice_the_last((place, value): (usize, &TfTensor)) -> attr_core::Result<TfTensor> {
    let dims = value.dims();
    let each: usize = dims[1..].iter().product();
    let number = |i: usize| if place == 0 && i % each == each - 1 { 2.0 } else { 0.0 };
    let numbers = (0..value.len()).map(number).collect();
    value.like(&ArrayD::from_shape_vec(IxDyn(&dims), numbers).expect("BUG: as many numbers as there are"))
}

fn difference(found: &ArrayD<f64>, expected: &ArrayD<f64>) -> f64 {
    if found.shape() != expected.shape() {
        return f64::INFINITY;
    }
    let most = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    found.iter().zip(expected).fold(0.0f64, |off, (a, b)| off.max((a - b).abs())) / most
}
