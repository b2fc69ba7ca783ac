//! Every method on real networks, adapter against adapter: the table of `cargo xtask consistency`.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use attr_core::{
    Cut, ErasedModel, Graph, ModelWrapper, Op, PatternKind, Patterns, Point, Precision, Qoi, Run, Settings,
    Slice, Tensor, methods,
};
use image::imageops::FilterType;
use ndarray::{Array, ArrayD, Axis, Zip};

use crate::Level;
use crate::sampling::uniform;

/// A network with an input.
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its layers.
    pub graph: Graph,
    /// One row.
    pub input: ArrayD<f64>,
}

/// How much is asked of each method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// The method's own defaults.
    Default,
    /// Few steps, samples and windows: the same arithmetic, less often.
    Quick,
}

/// One method on one network: how far two adapters are apart.
pub struct Cell {
    /// The method's name, and its settings where they are not the defaults.
    pub method: String,
    /// The network's name.
    pub network: String,
    /// The precision of both adapters.
    pub precision: Precision,
    /// The adapters.
    pub pair: [&'static str; 2],
    /// The largest and the mean absolute difference, relative to the largest attribution of the first.
    pub difference: [f64; 2],
    /// What is made of it.
    pub verdict: Verdict,
}

/// What is made of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within what is promised across adapters.
    Holds,
    /// In single precision beyond it, because some units lie so close to a kink (a relu's zero) that rounding
    /// decides on which side. The evidence: with the sides fixed ([`fixed_sides`]) all adapters agree with double
    /// precision, and in the mean both are near the answer in double precision, on which all agree.
    Kinks,
    /// Beyond it.
    Broken,
}

impl Cell {
    /// The head of the table whose rows cells are.
    pub const HEAD: &str = "| network | method | precision | adapters | largest | mean | verdict |\n\
                            | --- | --- | --- | --- | --- | --- | --- |";
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([a, b], [largest, mean]) = (self.pair, self.difference);
        let verdict = match self.verdict {
            Verdict::Holds => "holds",
            Verdict::Kinks => "kinks",
            Verdict::Broken => "**BROKEN**",
        };
        let (network, method, precision) = (&self.network, &self.method, self.precision);
        write!(
            f,
            "| {network} | {method} | {precision} | {a}, {b} | {largest:.1e} | {mean:.1e} | {verdict} |"
        )
    }
}

/// The network that the command carries with it, and one of its digits.
pub fn digits() -> Result<Network, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/attr-cli/assets");
    let digits: ArrayD<f32> = ndarray_npy::read_npy(folder.join("digits.npy"))?;
    let input = digits.index_axis(Axis(0), 3).insert_axis(Axis(0)).mapv(f64::from).into_dyn();
    Ok(Network { name: "digits".into(), graph: attr_onnx::read(folder.join("digits.onnx"))?, input })
}

/// The networks for photos that set-up laid out, and a photo of a cat as each of them sees it.
pub fn set_up(models: &Path, photos: &Path) -> Result<Vec<Network>, Box<dyn Error>> {
    let mut files: Vec<_> =
        std::fs::read_dir(models)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "onnx"));
    files.sort();
    let mut networks = Vec::new();
    for path in &files {
        let description: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path.with_extension("json"))?)?;
        // One of texts looks at no photo.
        if description.get("size").is_some() {
            let input = photo(&photos.join("chelsea.png"), &description)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            networks.push(Network { name, graph: attr_onnx::read(path)?, input });
        }
    }
    Ok(networks)
}

/// A photo squashed to the size that a model's description asks for.
fn photo(photo: &Path, description: &serde_json::Value) -> Result<ArrayD<f64>, Box<dyn Error>> {
    let number = |field: &serde_json::Value| field.as_f64().ok_or("expected a number in the description");
    let [height, width] = [number(&description["size"][0])?, number(&description["size"][1])?];
    let image = image::open(photo)?.resize_exact(width as u32, height as u32, FilterType::Triangle).to_rgb8();
    let reversed = description["order"] == "BGR";
    let scale = number(&description["scale"])?;
    let mut values = Array::zeros((1, 3, height as usize, width as usize));
    for channel in 0..3 {
        let (mean, std) = (number(&description["mean"][channel])?, number(&description["std"][channel])?);
        for (x, y, pixel) in image.enumerate_pixels() {
            let level = f64::from(pixel[if reversed { 2 - channel } else { channel }]) / 255.0;
            // As single precision has it, so that every adapter sees the same numbers.
            let value = ((level * scale - mean) / std) as f32;
            values[[0, channel, y as usize, x as usize]] = f64::from(value);
        }
    }
    Ok(values.into_dyn())
}

/// Compares every pair of adapters by every method on a network, in both precisions; `tell` gets each cell as
/// soon as it is there.
pub fn compare(
    network: &Network,
    effort: Effort,
    mut tell: impl FnMut(&Cell),
) -> attr_core::Result<Vec<Cell>> {
    let double = models(&network.graph, Precision::F64)?;
    let single = models(&network.graph, Precision::F32)?;
    let layer = middle(double[0].1.as_ref());
    let patterns = patterns(double[0].1.as_ref(), &network.input)?;
    let mut fixed = None;
    let mut cells = Vec::new();
    for asked in all(network, effort, &patterns) {
        let slice = match asked.method {
            "conductance" | "internal-influence" => Slice::from(layer.as_str()),
            _ => Slice::full(),
        };
        let ask = |models: &[Named]| -> attr_core::Result<Vec<ArrayD<f64>>> {
            let able = models.iter().filter(|(_, model)| model.answers(asked.method));
            let ask = |(_, model): &Named| {
                answer(model.as_ref(), asked.method, &asked.settings, &network.input, &slice)
            };
            able.map(ask).collect()
        };
        let (exact, rounded) = (ask(&double)?, ask(&single)?);
        let able = double.iter().filter(|(_, model)| model.answers(asked.method));
        let names: Vec<_> = able.map(|(name, _)| *name).collect();
        for (precision, answers) in [(Precision::F64, &exact), (Precision::F32, &rounded)] {
            for (a, b) in (0..answers.len()).flat_map(|b| (0..b).map(move |a| (a, b))) {
                let difference = difference(&answers[a], &answers[b]);
                let verdict = if difference[0] <= Level::Attribution.tolerance(precision) {
                    Verdict::Holds
                } else if precision == Precision::F32
                    && [a, b].iter().all(|&i| few_kinks(&exact[i], &rounded[i]))
                    && hold_on_fixed_sides(&mut fixed, network, double[0].1.as_ref())?
                {
                    Verdict::Kinks
                } else {
                    Verdict::Broken
                };
                let (network, pair) = (network.name.clone(), [names[a], names[b]]);
                let cell = Cell {
                    method: asked.settings.titled(asked.method),
                    network,
                    precision,
                    pair,
                    difference,
                    verdict,
                };
                tell(&cell);
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

/// A method with its settings.
struct Asked {
    method: &'static str,
    settings: Settings,
}

/// Settings of rule-based methods besides their defaults.
const MORE: [(&str, &str, &str); 9] = [
    ("lrp", "rules", "epsilon-plus"),
    ("lrp", "rules", "epsilon-plus-flat"),
    ("lrp", "rules", "epsilon-alpha2-beta1"),
    ("lrp", "rules", "epsilon-gamma-box"),
    ("lrp", "rules", "innvestigate-a-flat"),
    ("lrp", "rules", "nn-interpretability"),
    ("deep-taylor", "bounds", "-3 3"),
    ("deeplift", "rule", "reveal-cancel"),
    ("excitation-backprop", "contrastive", "true"),
];

/// Every method by its defaults, and some by other settings; but for class activation maps where the network has no
/// global average pooling in front of its classes.
fn all(network: &Network, effort: Effort, patterns: &Arc<Patterns>) -> Vec<Asked> {
    let mut all = Vec::new();
    for entry in methods::catalogue() {
        if entry.name == "cam" && network.name == "digits" {
            continue;
        }
        let patterns = entry.has("patterns").then(|| Arc::clone(patterns));
        let mut push = |values| {
            all.push(Asked {
                method: entry.name,
                settings: Settings { values, patterns: patterns.clone(), ..Settings::default() },
            });
        };
        push(if effort == Effort::Quick { quick(entry.name, &network.input) } else { Vec::new() });
        for (_, key, value) in MORE.iter().filter(|(method, ..)| *method == entry.name) {
            push(vec![(key.to_string(), value.to_string())]);
        }
    }
    all
}

/// Patterns fitted to noisy copies of an input.
fn patterns(model: &dyn ErasedModel, input: &ArrayD<f64>) -> attr_core::Result<Arc<Patterns>> {
    let mut batches = (0..12).map(|seed| Ok(vec![input + &uniform(input.shape(), seed)]));
    model.fit_patterns(PatternKind::Positive, &mut batches).map(Arc::new)
}

type Named = (&'static str, Box<dyn ErasedModel>);

fn answer(
    model: &dyn ErasedModel,
    method: &str,
    settings: &Settings,
    input: &ArrayD<f64>,
    slice: &Slice,
) -> attr_core::Result<ArrayD<f64>> {
    let inputs = std::slice::from_ref(input);
    let answer = model.attribute(method, settings, inputs, slice, &Qoi::PredictedClass, &Run::default())?;
    Ok(answer.values.into_iter().next().expect("BUG: a slice has a tensor at its lower cut"))
}

/// Whether an answer is as near to the exact one, in the mean, as a few units beyond their kinks leave it.
fn few_kinks(exact: &ArrayD<f64>, rounded: &ArrayD<f64>) -> bool {
    difference(exact, rounded)[1] <= Level::FewKinks.tolerance(Precision::F32)
}

/// Whether all adapters give, in single precision and with the network's sides fixed, the gradient that it has
/// in double precision; found out once.
fn hold_on_fixed_sides(
    known: &mut Option<bool>,
    network: &Network,
    double: &dyn ErasedModel,
) -> attr_core::Result<bool> {
    if let Some(known) = known {
        return Ok(*known);
    }
    let gradient = |model: &dyn ErasedModel| {
        answer(model, "gradient", &Settings::default(), &network.input, &Slice::full())
    };
    let exact = gradient(double)?;
    let mut holds = true;
    for (_, model) in models(&fixed_sides(network)?, Precision::F32)? {
        let [largest, _] = difference(&exact, &gradient(model.as_ref())?);
        holds &= largest <= Level::Attribution.tolerance(Precision::F32);
    }
    Ok(*known.insert(holds))
}

/// The network near one input: each function with a kink is replaced by the straight piece of it on which the
/// unit lies in double precision, so that rounding can't carry it over to another.
pub fn fixed_sides(network: &Network) -> attr_core::Result<Graph> {
    let old = &network.graph;
    let model = attr_candle::compile(old.clone(), Precision::F64)?;
    let inputs = [model.tensor(&network.input)?];
    let mut graph = Graph::default();
    let params: Vec<_> = old.params().iter().map(|param| graph.param(param.clone())).collect();
    let mut ids = Vec::new();
    for node in old.nodes() {
        let sources: Vec<_> = node.inputs.iter().map(|&id| ids[id]).collect();
        let id = match &node.op {
            Op::Input => graph.input(&node.name, &node.shape.at(1)[1..])?,
            Op::Activation(activation) if activation.keeps_derivative() => {
                let cut = Cut::layer(&node.name).before();
                let x = ModelWrapper::forward(&model, Point::at(&inputs), &cut)?[0].to_array()?;
                let slope = x.mapv(|x| activation.derivative(x));
                let shift =
                    Zip::from(&x).and(&slope).map_collect(|&x, &slope| activation.value(x) - slope * x);
                let mut constant = |name: &str, values: ArrayD<f64>| {
                    let param = graph.param(values);
                    graph.add(&format!("{name} of {}", node.name), Op::Constant, &[], &[param])
                };
                let (slope, shift) = (constant("slope", slope)?, constant("shift", shift)?);
                let scaled =
                    graph.add(&format!("scaled {}", node.name), Op::Mul, &[sources[0], slope], &[])?;
                graph.add(&node.name, Op::Add, &[scaled, shift], &[])?
            }
            op => {
                let own: Vec<_> = node.params.iter().map(|&id| params[id]).collect();
                graph.add(&node.name, op.clone(), &sources, &own)?
            }
        };
        ids.push(id);
    }
    graph.set_outputs(&old.outputs().iter().map(|&id| ids[id]).collect::<Vec<_>>())?;
    Ok(graph)
}

/// The largest and the mean absolute difference, relative to the largest number of `a`. NaN is infinitely far
/// from everything.
fn difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> [f64; 2] {
    if a.shape() != b.shape() {
        return [f64::INFINITY; 2];
    }
    let most = a.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let scale = if most > 0.0 { most } else { 1.0 };
    let apart = |(a, b): (&f64, &f64)| match (a - b).abs() / scale {
        nan if nan.is_nan() => f64::INFINITY,
        difference => difference,
    };
    let differences = || a.iter().zip(b).map(apart);
    [differences().fold(0.0, f64::max), differences().sum::<f64>() / a.len() as f64]
}

/// The graph on every adapter, in every way.
fn models(graph: &Graph, precision: Precision) -> attr_core::Result<Vec<Named>> {
    let native = attr_torch::Native::of_graph(graph.clone(), attr_torch::Torch::cpu(precision))?;
    Ok(vec![
        ("candle", Box::new(attr_candle::compile(graph.clone(), precision)?)),
        ("torch", Box::new(attr_torch::compile(graph.clone(), precision)?)),
        ("torch native", Box::new(native)),
        #[cfg(feature = "tf")]
        ("tf", Box::new(attr_tf::compile(graph.clone(), precision)?)),
    ])
}

/// The layer with spatial extent in the middle of the network.
fn middle(model: &dyn ErasedModel) -> String {
    let spatial = |place: &attr_core::Place| place.shape.as_ref().is_some_and(|shape| shape.rank() == 4);
    let mut layers: Vec<_> =
        model.layers().into_iter().filter(|place| place.leads_to_output && spatial(place)).collect();
    layers.swap_remove(layers.len() / 2).name
}

/// Settings with which a method does little.
fn quick(method: &str, input: &ArrayD<f64>) -> Vec<(String, String)> {
    let half = input.len_of(Axis(2)).div_ceil(2).to_string();
    let settings = match method {
        "integrated-gradients" | "conductance" => vec![("steps", "2".into())],
        "smoothgrad" | "smoothgrad-squared" | "vargrad" | "smooth-fullgrad" => vec![("samples", "2".into())],
        "occlusion" => vec![("window", half.clone()), ("stride", half)],
        _ => Vec::new(),
    };
    settings.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn relative_to_the_largest_of_the_first() {
        let of = |a: &[f64], b: &[f64]| difference(&arr1(a).into_dyn(), &arr1(b).into_dyn());
        assert_eq!(of(&[4.0, 0.0], &[3.0, 0.0]), [0.25, 0.125]);
        assert_eq!(of(&[0.0, 0.0], &[0.0, 2.0]), [2.0, 1.0]);
        assert_eq!(of(&[1.0, 0.0], &[1.0, f64::NAN]), [f64::INFINITY; 2]);
        assert_eq!(of(&[f64::NAN], &[f64::NAN]), [f64::INFINITY; 2]);
        assert_eq!(of(&[f64::INFINITY], &[f64::INFINITY]), [f64::INFINITY; 2]);
        assert_eq!(of(&[1.0], &[1.0, 1.0]), [f64::INFINITY; 2]);
    }

    /// On its own side of every kink the network is what it was: the evidence for [`Verdict::Kinks`] rests on it.
    #[test]
    fn fixed_sides_change_neither_value_nor_gradient() {
        let network = digits().unwrap();
        let of = |graph: &Graph| {
            let model = attr_candle::compile(graph.clone(), Precision::F64).unwrap();
            let inputs = [model.tensor(&network.input).unwrap()];
            let value = ModelWrapper::forward(&model, Point::at(&inputs), &Cut::output()).unwrap().remove(0);
            let gradient =
                answer(&model, "gradient", &Settings::default(), &network.input, &Slice::full()).unwrap();
            [value.to_array().unwrap(), gradient]
        };
        let fixed = fixed_sides(&network).unwrap();
        assert!(!fixed.nodes().iter().any(|node| matches!(node.op, Op::Activation(_))));
        for (expected, found) in of(&network.graph).iter().zip(&of(&fixed)) {
            crate::tolerance::close(found, expected, Level::Layer, Precision::F64).unwrap();
        }
    }
}
