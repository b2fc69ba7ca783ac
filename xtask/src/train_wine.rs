//! The training of a small network on a table: of which of three cultivars a wine is, by its chemical analysis.

use std::error::Error;
use std::path::Path;

use attr_core::{Activation, Graph, Op};
use candle_core::{D, Device, Tensor, Var};
use ndarray::{Array2, ArrayD, Axis};
use serde_json::json;

use crate::train_digits::{Adam, Random, cross_entropy};

/// The columns as the data's description names them, in the order of the file.
const COLUMNS: [&str; 13] = [
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280_od315",
    "proline",
];

const LABELS: [&str; 3] = ["cultivar 0", "cultivar 1", "cultivar 2"];

const HIDDEN: usize = 16;
const STEPS: usize = 300;
const LEARNING_RATE: f64 = 1e-2;
/// The weight of the squares of all weights in the loss: the table is small.
const DECAY: f64 = 1e-2;
const SEED: u64 = 1;
/// Every fifth wine is held out.
const FOLD: usize = 5;

/// The table.
pub(crate) struct Wines {
    /// `[wines, columns]`
    numbers: Array2<f64>,
    /// The numbers as the file has them, and the cultivar of each wine behind them.
    lines: Vec<String>,
    cultivars: Vec<usize>,
}

/// What a training gives.
pub(crate) struct Trained {
    network: Graph,
    /// Of each column over the wines it was trained on.
    mean: Vec<f64>,
    std: Vec<f64>,
    /// How many of the wines that were held out it is right on, and how many these are.
    pub(crate) right: [usize; 2],
}

/// Reads scikit-learn's file: a line with counts, then a line of 13 numbers and the cultivar for each wine.
pub(crate) fn read(path: &Path) -> Result<Wines, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<String> = text.lines().skip(1).map(str::to_string).collect();
    let (mut numbers, mut cultivars) = (Vec::new(), Vec::new());
    for line in &lines {
        let (row, cultivar) = line.rsplit_once(',').ok_or("a line without commas")?;
        numbers.extend(row.split(',').map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?);
        cultivars.push(cultivar.parse()?);
    }
    Ok(Wines { numbers: Array2::from_shape_vec((lines.len(), COLUMNS.len()), numbers)?, lines, cultivars })
}

/// Trains on four fifths of the wines, the same on every run, and measures on the rest.
pub(crate) fn train(wines: &Wines) -> Result<Trained, Box<dyn Error>> {
    let (test, seen): (Vec<_>, Vec<_>) = (0..wines.lines.len()).partition(|i| i % FOLD == FOLD - 1);
    let rows = wines.numbers.select(Axis(0), &seen);
    let mean = rows.mean_axis(Axis(0)).ok_or("no wines")?;
    let std = rows.std_axis(Axis(0), 0.0);
    let tensor = |rows: &[usize]| {
        let numbers = ((&wines.numbers.select(Axis(0), rows) - &mean) / &std).mapv(|x| x as f32);
        Tensor::from_iter(numbers, &Device::Cpu)?.reshape((rows.len(), COLUMNS.len()))
    };
    let targets = seen.iter().flat_map(|&i| (0..LABELS.len()).map(move |class| (i, class)));
    let targets = targets.map(|(i, class)| f32::from(u8::from(wines.cultivars[i] == class)));
    let targets = Tensor::from_iter(targets, &Device::Cpu)?.reshape((seen.len(), LABELS.len()))?;

    let parameters = initial()?;
    let (mut adam, inputs) = (Adam::new(&parameters)?, tensor(&seen)?);
    for step in 0..STEPS {
        let loss = cross_entropy(&logits(&parameters, &inputs)?, &targets)?;
        let squares = (parameters[0].sqr()?.sum_all()? + parameters[2].sqr()?.sum_all()?)?;
        let rate = LEARNING_RATE * (1.0 - step as f64 / STEPS as f64);
        adam.update(&parameters, &(loss + (squares * (DECAY / 2.0))?)?, rate)?;
    }
    let found = logits(&parameters, &tensor(&test)?)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let right = test.iter().zip(found).filter(|(i, class)| wines.cultivars[**i] == *class as usize).count();
    let (mean, std) = (mean.to_vec(), std.to_vec());
    Ok(Trained { network: network(&parameters)?, mean, std, right: [right, test.len()] })
}

impl Trained {
    /// Writes the network, what lies beside it, and the whole table with names of columns.
    pub(crate) fn save(&self, wines: &Wines, folder: &Path) -> Result<(), Box<dyn Error>> {
        attr_onnx::write(&self.network, folder.join("wine.onnx"))?;
        let description = json!({"columns": COLUMNS, "mean": self.mean, "std": self.std, "labels": LABELS});
        std::fs::write(folder.join("wine.json"), format!("{description:#}\n"))?;
        let table = format!("{},cultivar\n{}\n", COLUMNS.join(","), wines.lines.join("\n"));
        std::fs::write(folder.join("wine.csv"), table)?;
        Ok(())
    }
}

/// As for digits: uniform weights of the variance that keeps the size of activations through a ReLU, biases zero.
fn initial() -> candle_core::Result<Vec<Var>> {
    let mut random = Random(SEED);
    let mut parameter = |shape: &[usize]| {
        let bound = if shape.len() == 1 { 0.0 } else { (6.0 / shape[1] as f64).sqrt() };
        let numbers = (0..shape.iter().product()).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32);
        Var::from_vec(numbers.collect(), shape, &Device::Cpu)
    };
    [&[HIDDEN, COLUMNS.len()][..], &[HIDDEN], &[LABELS.len(), HIDDEN], &[LABELS.len()]]
        .into_iter()
        .map(&mut parameter)
        .collect()
}

/// `[wines, columns]` to `[wines, cultivars]`: linear, ReLU, linear.
fn logits(parameters: &[Var], x: &Tensor) -> candle_core::Result<Tensor> {
    let hidden = x.matmul(&parameters[0].t()?)?.broadcast_add(&parameters[1])?.relu()?;
    hidden.matmul(&parameters[2].t()?)?.broadcast_add(&parameters[3])
}

fn network(parameters: &[Var]) -> Result<Graph, Box<dyn Error>> {
    let mut graph = Graph::default();
    let mut params = Vec::new();
    for parameter in parameters {
        let numbers = parameter.flatten_all()?.to_vec1::<f32>()?;
        params.push(graph.param(ArrayD::from_shape_vec(parameter.dims(), numbers)?));
    }
    let x = graph.input("analysis", &[COLUMNS.len()])?;
    let x = graph.add("fc1", Op::Linear, &[x], &params[..2])?;
    let x = graph.add("relu1", Op::Activation(Activation::Relu), &[x], &[])?;
    let x = graph.add("logits", Op::Linear, &[x], &params[2..])?;
    graph.set_outputs(&[x])?;
    Ok(graph)
}
