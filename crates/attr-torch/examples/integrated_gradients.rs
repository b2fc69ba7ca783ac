//! How long integrated gradients with 50 steps take on a network from an ONNX file, or relevance, and how much memory.
//!
//! `cargo run --release -p attr-torch --example integrated_gradients -- MODEL.onnx [repeats] [threads] [rows]
//! [sweep|autograd|RULES]`, where rows is the size of a chunk, and the gradient is that of the layer graph's own sweep
//! or of libtorch's autograd; with rules as in `epsilon-plus-flat` it is the relevance by them. Beside it stands the rate
//! of a large matrix product, the yardstick of the machine.

use std::time::Instant;

use attr_core::methods::{IntegratedGradients, Lrp, Method};
use attr_core::{ModelWrapper, Precision, Qoi, Question, Run};
use attr_torch::{Native, Torch, TorchTensor, compile, set_threads};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    attr_memory::keep_freed();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("expected the path of an ONNX file")?;
    let number = |index: usize, default: usize| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (repeats, threads, rows) = (number(1, 3)?, number(2, 2)?, number(3, Run::default().rows)?);
    set_threads(threads.try_into()?);

    let matrix = Tensor::full([1024, 1024], 0.5, (Kind::Float, Device::Cpu));
    let seconds = best(30, || Ok(matrix.f_matmul(&matrix).map(drop)?))?;
    println!("matrix product: {:.0} GFLOP/s", 2.0 * 1024f64.powi(3) / seconds / 1e9);

    let graph = attr_onnx::read(path)?.fold_batch_norm()?;
    match arguments.get(4).map_or("sweep", String::as_str) {
        "sweep" => {
            let model = compile(graph, Precision::F32)?;
            measure(&model, &IntegratedGradients::default(), "integrated gradients", repeats, rows)?;
        }
        "autograd" => {
            let model = Native::of_graph(graph, Torch::cpu(Precision::F32))?;
            measure(&model, &IntegratedGradients::default(), "integrated gradients", repeats, rows)?;
        }
        rules => {
            let (model, method) = (compile(graph, Precision::F32)?, Lrp::by(rules.parse()?));
            measure(&model, &method, "batch 1", repeats, rows)?;
        }
    }
    println!("peak memory: {} MiB", peak_memory().ok_or("expected VmHWM in /proc/self/status")?);
    Ok(())
}

fn measure<M: ModelWrapper<Tensor = TorchTensor>>(
    model: &M,
    method: &dyn Method<M>,
    name: &str,
    repeats: usize,
    rows: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let shape = model.places(&attr_core::Cut::input())?[0].shape.clone().ok_or("expected a known shape")?;
    let dims: Vec<_> = shape.at(1).into_iter().map(|n| n as i64).collect();
    tch::manual_seed(0);
    let inputs = [TorchTensor::from(Tensor::rand(dims, (Kind::Float, Device::Cpu)))];
    let question = Question::new(model, &inputs).of(Qoi::Class(3)).run(Run { rows, ..Run::default() });
    let seconds = best(repeats, || Ok(method.attribute(&question).map(drop)?))?;
    println!("{name}: min {seconds:.3} s");
    Ok(())
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
