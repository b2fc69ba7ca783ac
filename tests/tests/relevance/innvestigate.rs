//! iNNvestigate's own stored references: networks of one layer, explained by 26 analyzers. What the fixture holds is
//! said in `fixtures/innvestigate.md`.

use std::fs::File;
use std::path::PathBuf;

use attr_core::{Activation, Conv, Cut, Graph, ModelWrapper, Op, Point, Pool, Qoi, Run, Shape, Tensor};
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Ask, Case, Level, Outcome, on_every_layered_adapter};
use ndarray::{Array1, ArrayD, Axis, Ix1, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;

struct Stored {
    name: String,
    net: Graph,
    input: ArrayD<f64>,
    ask: Ask,
    output: ArrayD<f64>,
    attribution: ArrayD<f64>,
}

impl Case for Stored {
    fn name(&self) -> &str {
        &self.name
    }
}

const LAYERS: [&str; 6] =
    ["Dense", "Dense_relu", "Conv2D", "Conv2D_relu", "AveragePooling2D", "MaxPooling2D"];

/// What this library is asked for the same; none where an analyzer is random.
fn ask(analyzer: &str, layer: &str) -> Option<Ask> {
    let named = |name| Ask::named(name);
    // iNNvestigate stabilizes nothing, and shares out by the values at average pooling.
    let lrp = |rules: &str| named("lrp").with("rules", format!("{rules}; sums: zero; stabilizer 0"));
    let preset = |name: &str| named("lrp").with("rules", name);
    Some(match analyzer {
        "Gradient" => named("gradient"),
        "InputTimesGradient" => named("input-x-gradient"),
        "IntegratedGradients" => {
            named("integrated-gradients").with("steps", 64).with("quadrature", "closed-mean")
        }
        "SmoothGrad" if layer.ends_with("_relu") || layer == "MaxPooling2D" => return None,
        "SmoothGrad" => named("smoothgrad").with("samples", 2),
        "GuidedBackprop" => named("guided-backprop").with("start", "value"),
        "Deconvnet" => named("deconvnet").with("start", "value"),
        "DeepTaylor" => preset("innvestigate-deep-taylor").with("start", "positive"),
        "BoundedDeepTaylor" => {
            preset("first weighted: z-box -128 128; innvestigate-deep-taylor").with("start", "positive")
        }
        "LRPZ" => lrp("zero"),
        "LRPZIgnoreBias" => lrp("epsilon 0 no-bias"),
        "LRPEpsilon" => lrp("epsilon 1e-7"),
        "LRPEpsilonIgnoreBias" => lrp("epsilon 1e-7 no-bias"),
        "LRPAlpha1Beta0" => lrp("z-plus both"),
        "LRPAlpha1Beta0IgnoreBias" | "LRPZPlus" => lrp("z-plus none"),
        "LRPAlpha2Beta1" => lrp("alpha-beta 2 1 both"),
        "LRPAlpha2Beta1IgnoreBias" => lrp("alpha-beta 2 1 none"),
        "LRPZPlusFast" => lrp("z-plus-fast"),
        "LRPFlat" | "LRPZ_Flat_input_layer_rule" => lrp("flat"),
        "LRPWSquare" => lrp("w-square"),
        "LRPZ_boxed_input_layer_rule" => lrp("first weighted: z-box -10 10; zero"),
        "LRPSequentialPresetA" => preset("innvestigate-a"),
        "LRPSequentialPresetAFlat" => preset("innvestigate-a-flat"),
        "LRPSequentialPresetB" => preset("innvestigate-b"),
        "LRPSequentialPresetBFlat" => preset("innvestigate-b-flat"),
        unknown => panic!("BUG: no words for {unknown}"),
    })
}

/// The network of a layer: values are NHWC, as iNNvestigate has them.
fn network(layer: &str, weight: Option<ArrayD<f64>>) -> Graph {
    let mut net = Graph::default();
    let add = |net: &mut Graph, name: &str, op, x, params: &[_]| net.add(name, op, &[x], params).unwrap();
    let x = net.input("x", &[10, 10, 3]).unwrap();
    let weight = weight.map(|weight| match weight.ndim() {
        2 => net.param(weight.reversed_axes()),
        _ => net.param(weight.permuted_axes(IxDyn(&[3, 2, 0, 1])).as_standard_layout().into_owned()),
    });
    let mut value = match layer {
        "Dense" | "Dense_relu" => add(&mut net, "layer", Op::Linear, x, &[weight.unwrap()]),
        _ => {
            let op = match layer {
                "AveragePooling2D" => Op::AveragePool { pool: Pool::square(2, 2), count_include_pad: false },
                "MaxPooling2D" => Op::MaxPool(Pool::square(2, 2)),
                _ => Op::Conv(Conv::square(1, 0)),
            };
            let channels = add(&mut net, "channels", Op::Transpose { axes: vec![0, 3, 1, 2] }, x, &[]);
            let value = add(&mut net, "layer", op, channels, &Vec::from_iter(weight));
            add(&mut net, "last", Op::Transpose { axes: vec![0, 2, 3, 1] }, value, &[])
        }
    };
    if layer.ends_with("_relu") {
        value = add(&mut net, "relu", Op::Activation(Activation::Relu), value, &[]);
    }
    let len = net.node(value).shape.row_len();
    let flat = add(&mut net, "flat", Op::Reshape { shape: Shape::batched(&[len]) }, value, &[]);
    net.set_outputs(&[flat]).unwrap();
    net
}

fn stored() -> Vec<Stored> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/innvestigate.npz");
    let mut file = NpzReader::new(File::open(path).unwrap()).unwrap();
    let names: Array1<u8> = file.by_name::<OwnedRepr<u8>, Ix1>("analyzers").unwrap();
    let names = String::from_utf8(names.to_vec()).unwrap();
    let mut array =
        |key: String| -> ArrayD<f64> { file.by_name::<OwnedRepr<f32>, IxDyn>(&key).unwrap().mapv(f64::from) };
    let input = array("input".into());
    let mut stored = Vec::new();
    for layer in LAYERS {
        let is_pool = layer.contains("Pooling");
        let weights = (!is_pool).then(|| array(format!("{layer}.weight")));
        let (outputs, attributions) =
            (array(format!("{layer}.output")), array(format!("{layer}.attribution")));
        for (i, analyzer) in names.lines().enumerate() {
            let Some(ask) = ask(analyzer, layer) else { continue };
            let weight = weights.as_ref().map(|weights| weights.index_axis(Axis(0), i).to_owned());
            let output = if is_pool { outputs.clone() } else { outputs.index_axis(Axis(0), i).to_owned() };
            stored.push(Stored {
                name: format!("{analyzer} on {layer}"),
                net: network(layer, weight),
                input: input.clone(),
                ask: ask.of(Qoi::PredictedClass),
                output,
                attribution: attributions.index_axis(Axis(0), i).to_owned(),
            });
        }
    }
    stored
}

#[test]
fn the_same_as_stored() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &Stored) -> Outcome {
        let model = adapter.model(&case.net)?;
        let inputs = [case.input.clone()];
        let tensors = adapter.tensors(&inputs)?;
        let output = Cut::output();
        let found = model.forward(Point::at(&tensors), &output)?;
        adapter.close(&found[0], &case.output, Level::SinglePrecisionFixture)?;
        let answer = case.ask.answer(adapter, &model, &inputs, Run::default())?;
        let (found, expected) = (answer.values[0].to_array()?, &case.attribution);
        // Each row for itself: one may have much larger numbers than the other.
        for (row, (found, expected)) in found.outer_iter().zip(expected.outer_iter()).enumerate() {
            close(&found.to_owned(), &expected.to_owned(), Level::SinglePrecisionFixture, adapter.precision)
                .map_err(|reason| format!("row {row}: {reason}"))?;
        }
        Ok(())
    }
    let stored = stored();
    assert_eq!(stored.len(), 26 * 6 - 3);
    on_every_layered_adapter!(check, stored);
}
