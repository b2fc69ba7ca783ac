//! What can't be done is an error that names the layer and the rule.

use attr_core::composite::Composite;
use attr_core::{Activation, Conv, Cut, Error, Op, Qoi, Run, methods};
use attr_tests::networks::{Kind, RandomNetwork, powers, single_layer};
use attr_tests::{Ask, adapter};
use ndarray::ArrayD;

fn ask(net: &attr_core::Graph, ask: &Ask) -> Result<(), Error> {
    let adapter = adapter::reference();
    let inputs: Vec<_> =
        net.inputs().iter().map(|&id| ArrayD::from_elem(net.node(id).shape.at(1), 0.5)).collect();
    ask.answer(&adapter, &(adapter.build)(net)?, &inputs, Run::default()).map(|_| ())
}

fn text(net: &attr_core::Graph, named: Ask) -> String {
    ask(net, &named).unwrap_err().to_string()
}

#[test]
fn a_rule_that_is_not_defined() {
    let tanh = single_layer(Op::Activation(Activation::Tanh), &[3], &[]);
    let found = text(&tanh, Ask::named("lrp").with("rules", "kind tanh: flat"));
    assert_eq!(
        found,
        "unsupported: layer \"layer\": the rule `flat` is not defined for a layer of kind \"tanh\""
    );
    let product = text(&powers(), Ask::named("lrp").of(Qoi::MaxClass));
    assert!(product.contains("the rule `epsilon 0.000001`") && product.contains("\"multiply\""), "{product}");
    let conv = single_layer(Op::Conv(Conv::square(1, 0)), &[2, 4, 4], &[ArrayD::ones(vec![2, 2, 3, 3])]);
    let found = text(&conv, Ask::named("lrp").with("rules", "pass").of(Qoi::Neuron(vec![0, 0, 0])));
    assert!(found.contains("`pass`") && found.contains("\"convolution\""), "{found}");
}

#[test]
fn bounds_for_each_channel() {
    let conv = single_layer(Op::Conv(Conv::square(1, 0)), &[2, 4, 4], &[ArrayD::ones(vec![2, 2, 3, 3])]);
    let by = |bounds: &str| {
        Ask::named("lrp").with("rules", format!("z-box {bounds}")).of(Qoi::Neuron(vec![0, 0, 0]))
    };
    ask(&conv, &by("-1,-2 1,2")).unwrap();
    let found = text(&conv, by("-1,-2,-3 1,2,3"));
    assert_eq!(
        found,
        "layer \"layer\" (convolution): a rule's numbers: expected shape 3 channels on axis 1, found [1, 2, 4, 4]"
    );
}

#[test]
fn rules_as_text() {
    for (name, _, build) in Composite::PRESETS {
        assert_eq!(&name.parse::<Composite>().unwrap(), &build());
        assert_eq!(build().to_string().parse::<Composite>().unwrap(), build(), "{name}");
    }
    for wrong in
        ["nonsense", "alpha-beta 2 2", "epsilon -1", "weighted: epsilon x", "stabilizer -1", "first: flat"]
    {
        let error = wrong.parse::<Composite>().unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{wrong}: {error}");
    }
    let network = RandomNetwork::new(Kind::Plain, 1);
    let found = text(&network.graph, Ask::named("lrp").with("rules", "name nowhere*: flat"));
    assert!(found.contains("name nowhere*") && found.contains("conv1, relu1"), "{found}");
    // A preset stands for its rows, and those before it come first.
    let boxed: Composite = "first weighted: z-box -1 1; innvestigate-a".parse().unwrap();
    let preset: Composite = "innvestigate-a".parse().unwrap();
    assert_eq!(boxed.rows[1..], preset.rows);
    assert_eq!(boxed.stabilizer, preset.stabilizer);
}

#[test]
fn networks_that_have_no_class_maps() {
    let network = RandomNetwork::new(Kind::Plain, 1);
    let found = text(&network.graph, Ask::named("cam"));
    assert!(found.contains("layer \"relu3\": cam expects global average pooling"), "{found}");
    ask(&RandomNetwork::new(Kind::Residual, 1).graph, &Ask::named("cam")).unwrap();
}

#[test]
fn slices_without_a_way() {
    let network = RandomNetwork::new(Kind::Plain, 1);
    let upside_down = Ask::named("lrp").at((Cut::layer("fc1"), Cut::layer("conv1")));
    assert!(matches!(ask(&network.graph, &upside_down), Err(Error::NotConnected { .. })));
}

/// NaN is refused where it comes in, and an overflow on the way where it comes out.
#[test]
fn numbers_that_are_none() {
    let adapter = adapter::reference();
    let network = RandomNetwork::new(Kind::Residual, 1);
    let model = (adapter.build)(&network.graph).unwrap();
    for entry in methods::catalogue().iter().filter(|entry| !entry.has("patterns")) {
        let mut inputs = network.inputs(2);
        inputs[0][[1, 0, 3, 3]] = f64::NAN;
        let error = Ask::named(entry.name).answer(&adapter, &model, &inputs, Run::default()).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{}: {error}", entry.name);
    }
    let huge: Vec<_> = network.inputs(1).iter().map(|input| input * 1e308).collect();
    let error = Ask::named("lrp").answer(&adapter, &model, &huge, Run::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
}

/// A native model's layers aren't known, and a method that needs them says so.
#[cfg(feature = "torch")]
#[test]
fn models_without_layers() {
    let adapter = adapter::torch_native_f64();
    let network = RandomNetwork::new(Kind::Plain, 1);
    let model = (adapter.build)(&network.graph).unwrap();
    let error = Ask::named("lrp").answer(&adapter, &model, &network.inputs(1), Run::default()).unwrap_err();
    assert!(error.to_string().contains("needs to know the layers"), "{error}");
}
