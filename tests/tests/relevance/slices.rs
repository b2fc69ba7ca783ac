//! Every method that knows the layers, between any two cuts: what it says of a slice is what it says of the network that
//! ends, or begins, where the slice does. And rows don't depend on each other.

use attr_core::{Cut, Graph, ModelWrapper, Op, Point, Qoi, Run, Slice, Tensor};
use attr_tests::networks::{Kind, RandomNetwork, random_networks};
use attr_tests::{Adapter, Ask, Level, Outcome, on_every_layered_adapter};

/// Methods with settings; those whose answer does not depend on what lies outside of the slice.
const METHODS: [(&str, &[(&str, &str)]); 17] = [
    ("lrp", &[]),
    ("lrp", &[("rules", "epsilon-plus")]),
    ("lrp", &[("rules", "epsilon-alpha2-beta1")]),
    ("lrp", &[("rules", "gamma"), ("start", "one")]),
    ("lrp", &[("rules", "convolutions: w-square; dense: flat")]),
    ("lrp", &[("rules", "kind batch norm: epsilon; weighted: alpha-beta 3 2 both")]),
    ("deep-taylor", &[("bounds", "positive")]),
    ("deeplift", &[]),
    ("deeplift", &[("rule", "reveal-cancel"), ("multiply", "false")]),
    ("deeplift", &[("rule", "linear")]),
    ("excitation-backprop", &[]),
    ("excitation-backprop", &[("contrastive", "true")]),
    ("guided-backprop", &[("start", "value")]),
    ("deconvnet", &[]),
    ("fullgrad", &[]),
    ("simple-fullgrad", &[]),
    ("smooth-fullgrad", &[("samples", "3")]),
];

/// All but transformers, which most of these rules are not defined for.
fn networks() -> Vec<RandomNetwork> {
    random_networks().into_iter().filter(|network| network.kind != Kind::Transformer).collect()
}

fn asks() -> impl Iterator<Item = (String, Ask)> {
    METHODS.into_iter().map(|(method, settings)| {
        let set = |ask: Ask, &(key, value): &(&'static str, &str)| ask.with(key, value);
        (format!("{method} {settings:?}"), settings.iter().fold(Ask::named(method), set))
    })
}

/// The layers up to one, which is the output.
fn below(net: &Graph, layer: &str) -> Graph {
    part(net, 0, net.find(layer).unwrap(), layer)
}

/// The layers behind one, which is the input.
fn above(net: &Graph, layer: &str) -> Graph {
    part(net, net.find(layer).unwrap(), net.nodes().len() - 1, &net.node(net.outputs()[0]).name)
}

/// Layers from the one that is the input to another.
fn part(net: &Graph, first: usize, last: usize, output: &str) -> Graph {
    let mut part = Graph::default();
    let mut ids = vec![usize::MAX; net.nodes().len()];
    for (id, node) in net.nodes().iter().enumerate().take(last + 1).skip(first) {
        let inputs: Vec<_> = node.inputs.iter().map(|&id| ids[id]).collect();
        let params: Vec<_> = node.params.iter().map(|&id| part.param(net.params()[id].clone())).collect();
        ids[id] = match node.op {
            Op::Input => part.input(&node.name, &node.shape.at(1)[1..]).unwrap(),
            _ if id == first => part.input(&node.name, &node.shape.at(1)[1..]).unwrap(),
            _ => part.add(&node.name, node.op.clone(), &inputs, &params).unwrap(),
        };
    }
    part.set_outputs(&[ids[net.find(output).unwrap()]]).unwrap();
    part
}

#[test]
fn of_an_inner_neuron() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let inputs = case.inputs(3);
        let (whole, part) = (adapter.model(&case.graph)?, adapter.model(&below(&case.graph, case.middle))?);
        let neuron = match case.graph.node(case.graph.find(case.middle).unwrap()).shape.rank() {
            4 => vec![1, 1, 0],
            _ => vec![1],
        };
        for (name, ask) in asks() {
            let ask = ask.of(Qoi::Neuron(neuron.clone()));
            let inner = ask.clone().at((Cut::input(), Cut::layer(case.middle)));
            let found = inner.answer(adapter, &whole, &inputs, Run::default())?;
            let to_output = ask.at((Cut::input(), Cut::output()));
            let expected = to_output.answer(adapter, &part, &inputs, Run::default())?.values[0].to_array()?;
            adapter
                .close(&found.values[0], &expected, Level::Attribution)
                .map_err(|reason| format!("{name}: {reason}"))?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, networks());
}

#[test]
fn at_an_inner_layer() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let arrays = case.inputs(3);
        let (whole, part) = (adapter.model(&case.graph)?, adapter.model(&above(&case.graph, case.middle))?);
        let inputs = adapter.tensors(&arrays)?;
        let middle = whole.forward(Point::at(&inputs), &Cut::layer(case.middle))?[0].to_array()?;
        // The baseline of DeepLIFT is one of the model's input, and that of the part is zeros at the layer.
        for (name, ask) in asks().filter(|(name, _)| !name.starts_with("deeplift")) {
            let ask = ask.of(Qoi::Class(1));
            let inner = ask.clone().at(Slice::from(case.middle));
            let found = inner.answer(adapter, &whole, &arrays, Run::default())?;
            let expected = ask.answer(adapter, &part, std::slice::from_ref(&middle), Run::default())?;
            adapter
                .close(&found.values[0], &expected.values[0].to_array()?, Level::Attribution)
                .map_err(|reason| format!("{name}: {reason}"))?;
        }
        Ok(())
    }
    on_every_layered_adapter!(check, networks());
}

#[test]
fn rows_are_their_own() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &RandomNetwork) -> Outcome {
        let (model, inputs) = (adapter.model(&case.graph)?, case.inputs(5));
        let layers = [Cut::input(), Cut::layer(case.middle)];
        // Where a backend's own sums depend on the batch, denominators that nearly cancel make the difference larger.
        let level = if adapter.same == Level::Bitwise { Level::Bitwise } else { Level::Quotient };
        for (name, ask) in asks() {
            for layer in &layers {
                let ask = ask.clone().at((layer.clone(), Cut::logits())).of(Qoi::PredictedClass);
                let whole = ask.answer(adapter, &model, &inputs, Run::default())?;
                let cut = ask.answer(adapter, &model, &inputs, Run { rows: 2, ..Run::default() })?;
                adapter
                    .close(&cut.values[0], &whole.values[0].to_array()?, level)
                    .map_err(|reason| format!("{name}: {reason}"))?;
            }
        }
        Ok(())
    }
    on_every_layered_adapter!(
        check,
        [Kind::Plain, Kind::Residual, Kind::UNet].map(|kind| RandomNetwork::new(kind, 1))
    );
}
