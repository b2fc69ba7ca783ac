//! How long integrated gradients with 50 steps take on TensorFlow, and how much memory.
//!
//! `cargo run --release -p attr-tf --example integrated_gradients_tf -- MODEL [repeats] [threads] [rows] [layers|as-is]`,
//! where the model is an ONNX file or a SavedModel's folder, rows is the size of a chunk, and a SavedModel is run by the
//! layers that are recognised in it, or as it is. Beside it stands the rate of a large matrix product, the yardstick of
//! the machine.

use std::path::Path;
use std::time::Instant;

use attr_core::methods::{IntegratedGradients, Method};
use attr_core::{Activation, Cut, Graph, ModelWrapper, Op, Point, Precision, Qoi, Question, Run};
use attr_tf::{SavedModel, TfTensor, compile};
use ndarray::{Array, ArrayD};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    attr_memory::keep_freed();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let path = Path::new(arguments.first().ok_or("expected the path of an ONNX file or a SavedModel")?);
    let number = |index: usize, default: usize| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (repeats, threads, rows) = (number(1, 3)?, number(2, 2)?, number(3, Run::default().rows)?);
    attr_tf::set_threads(threads.try_into()?);
    println!("matrix product: {:.0} GFLOP/s", matrix_product_rate()?);

    let as_is = arguments.get(4).is_some_and(|how| how == "as-is");
    match path.is_dir() {
        false => {
            measure(&compile(attr_onnx::read(path)?.fold_batch_norm()?, Precision::F32)?, repeats, rows)?
        }
        true if as_is => measure(&SavedModel::open(path, None)?, repeats, rows)?,
        true => {
            let graph = attr_graphdef::read(path)?.function(None)?.layers()?;
            measure(&compile(graph.fold_batch_norm()?, Precision::F32)?, repeats, rows)?;
        }
    }
    println!("peak memory: {} MiB", peak_memory().ok_or("expected VmHWM in /proc/self/status")?);
    Ok(())
}

fn measure<M: ModelWrapper<Tensor = TfTensor>>(
    model: &M,
    repeats: usize,
    rows: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let shape = model.places(&Cut::input())?[0].shape.clone().ok_or("expected a known shape")?;
    // Numbers from 0 to 1 in no order.
    let mut state = 1u64;
    let image = ArrayD::from_shape_simple_fn(shape.at(1), || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / f64::from(1 << 24)
    });
    let inputs = [model.tensor(&image)?];
    let question = Question::new(model, &inputs).of(Qoi::Class(3)).run(Run { rows, ..Run::default() });
    let seconds = best(repeats, || Ok(IntegratedGradients::default().attribute(&question).map(drop)?))?;
    println!("integrated gradients: min {seconds:.3} s");
    Ok(())
}

/// GFLOP/s of TensorFlow's own product of two matrices of 1024 rows and columns, the best of many.
fn matrix_product_rate() -> Result<f64, Box<dyn std::error::Error>> {
    let mut graph = Graph::default();
    let x = graph.input("x", &[1024])?;
    let weight = graph.param(Array::<f32, _>::from_elem((1024, 1024), 0.5));
    let y = graph.add("product", Op::Linear, &[x], &[weight])?;
    let z = graph.add("relu", Op::Activation(Activation::Relu), &[y], &[])?;
    graph.set_outputs(&[z])?;
    let model = compile(graph, Precision::F32)?;
    let x = [model.tensor(&ArrayD::from_elem(vec![1024, 1024], 0.5))?];
    let seconds = best(30, || Ok(model.forward(Point::at(&x), &Cut::layer("product")).map(drop)?))?;
    Ok(2.0 * 1024f64.powi(3) / seconds / 1e9)
}

/// The least of several times, after one that does not count.
fn best(
    repeats: usize,
    mut work: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<f64, Box<dyn std::error::Error>> {
    work()?;
    let mut best = f64::INFINITY;
    for _ in 0..repeats {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// The most memory that this process has had, in MiB, as Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().split(' ').next()?.parse::<u64>().ok()? / 1024)
}
