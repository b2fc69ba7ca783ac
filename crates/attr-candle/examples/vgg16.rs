//! How long the gradient of a class to the input of VGG16 takes, or its relevance, with seeded random weights.
//!
//! `cargo run --release -p attr-candle --example vgg16 -- [batch sizes] [repeats] [gradient|RULES]`, as in `1,8 5
//! epsilon-plus-flat`.
//! Beside it stand the rate of a large matrix product, the yardstick of the machine, and processor seconds,
//! for machines that are shared. `RAYON_NUM_THREADS` sets the threads.

use std::time::Instant;

use attr_candle::{CandleModel, CandleTensor, compile};
use attr_core::methods::{Lrp, Method};
use attr_core::{
    Activation, Composite, Conv, Cut, Dim, Graph, ModelWrapper, Op, ParamId, Point, Pool, Precision, Qoi,
    Question, Run, Shape, Tensor,
};
use ndarray::{Array, ArrayD, IxDyn};

fn main() -> attr_core::Result<()> {
    attr_memory::keep_freed();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let batches: Vec<_> = arguments.first().map_or("1,8", String::as_str).split(',').map(number).collect();
    let repeats = arguments.get(1).map_or(5, |text| number(text));

    let rules: Option<Composite> = match arguments.get(2).map_or("gradient", String::as_str) {
        "gradient" => None,
        rules => Some(rules.parse()?),
    };
    let work = |model: &CandleModel, x: &CandleTensor| match &rules {
        None => gradient(model, x),
        Some(rules) => relevance(model, x, rules),
    };

    println!("matrix product: {:.0} GFLOP/s", matrix_product_rate()?);
    let model = compile(vgg16()?, Precision::F32)?;
    for batch in batches {
        let x = model.tensor(&numbers(&[batch, 3, 224, 224], 1.0, 0).mapv(f64::from))?;
        work(&model, &x)?;
        let (mut seconds, mut processor) = (Vec::new(), f64::INFINITY);
        for _ in 0..repeats {
            let (start, start_processor) = (Instant::now(), processor_seconds());
            work(&model, &x)?;
            seconds.push(start.elapsed().as_secs_f64());
            processor = processor.min(processor_seconds() - start_processor);
        }
        seconds.sort_by(f64::total_cmp);
        let (min, median) = (seconds[0], seconds[repeats / 2]);
        println!(
            "attr-candle batch {batch}: min {min:.3} s, median {median:.3} s, processor min {processor:.3} s"
        );
    }
    Ok(())
}

/// What all threads have used of the processor, as far as Linux tells.
fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    used.filter_map(|stat| stat.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e9
}

/// The gradient of the sum of class 3 over the batch.
fn gradient(model: &CandleModel, x: &CandleTensor) -> attr_core::Result<CandleTensor> {
    let mut class = |logits: &[CandleTensor]| {
        let mut cotangent = ArrayD::zeros(logits[0].dims().to_vec());
        cotangent.index_axis_mut(ndarray::Axis(1), 3).fill(1.0);
        Ok(vec![logits[0].like(&cotangent)?])
    };
    let point = Point::at(std::slice::from_ref(x));
    Ok(model.gradient(point, &Cut::input(), &Cut::logits(), &mut class)?.gradients.remove(0))
}

/// The relevance of class 3.
fn relevance(model: &CandleModel, x: &CandleTensor, rules: &Composite) -> attr_core::Result<CandleTensor> {
    let run = Run { rows: x.dims()[0], ..Run::default() };
    let question = Question::new(model, std::slice::from_ref(x)).of(Qoi::Class(3)).run(run);
    Ok(Lrp::by(rules.clone()).attribute(&question)?.values.remove(0))
}

fn vgg16() -> attr_core::Result<Graph> {
    let mut graph = Graph::default();
    let mut at = graph.input("x", &[3, 224, 224])?;
    let mut channels = 3;
    for (block, (width, count)) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)].into_iter().enumerate() {
        for layer in 0..count {
            let name = format!("conv{}_{}", block + 1, layer + 1);
            let params = weights(&mut graph, &[width, channels, 3, 3]);
            at = graph.add(&name, Op::Conv(Conv::square(1, 1)), &[at], &params)?;
            at = graph.add(&format!("{name}.relu"), Op::Activation(Activation::Relu), &[at], &[])?;
            channels = width;
        }
        at = graph.add(&format!("pool{}", block + 1), Op::MaxPool(Pool::square(2, 2)), &[at], &[])?;
    }
    let shape = Shape(vec![Dim::Batch(1), Dim::Fixed(512 * 7 * 7)]);
    at = graph.add("flatten", Op::Reshape { shape }, &[at], &[])?;
    let mut width = 512 * 7 * 7;
    for (index, out) in [4096, 4096, 1000].into_iter().enumerate() {
        let params = weights(&mut graph, &[out, width]);
        at = graph.add(&format!("fc{}", index + 1), Op::Linear, &[at], &params)?;
        if index < 2 {
            at = graph.add(&format!("fc{}.relu", index + 1), Op::Activation(Activation::Relu), &[at], &[])?;
        }
        width = out;
    }
    graph.set_outputs(&[at])?;
    Ok(graph)
}

/// A weight of such a size that values keep theirs from layer to layer, and a bias.
fn weights(graph: &mut Graph, dims: &[usize]) -> [ParamId; 2] {
    let fan_in: usize = dims[1..].iter().product();
    let weight = numbers(dims, (6.0 / fan_in as f32).sqrt(), graph.params().len() as u64);
    [graph.param(weight), graph.param(Array::<f32, _>::zeros(dims[0]))]
}

/// Numbers between -`most` and `most` from a small generator (SplitMix64).
fn numbers(dims: &[usize], most: f32, seed: u64) -> ArrayD<f32> {
    let mut state = seed;
    ArrayD::from_shape_simple_fn(IxDyn(dims), || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * most
    })
}

/// GFLOP/s of candle's own product of two matrices of 1024 rows and columns, the best of many.
fn matrix_product_rate() -> attr_core::Result<f64> {
    let n = 1024;
    let matrix = CandleTensor::from(
        candle_core::Tensor::from_vec(vec![0.5f32; n * n], (n, n), &candle_core::Device::Cpu)
            .expect("a matrix"),
    );
    let mut best = f64::INFINITY;
    for _ in 0..30 {
        let start = Instant::now();
        matrix.matmul(&matrix)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (n as f64).powi(3) / best / 1e9)
}
