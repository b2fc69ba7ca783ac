//! All networks by what torchvision says of them.

use std::collections::BTreeMap;

use attr_core::{Graph, Op, Param};
use attr_networks::{Error, NAMES, Options, Weights, build, build_with, weight_shapes};
use ndarray::ArrayD;

/// `num_params` in torchvision 0.28's `models/*.py`: those of the weights for 224 pixels, where there are others.
const PARAMETERS: [(&str, usize); 35] = [
    ("alexnet", 61_100_840),
    ("vgg11", 132_863_336),
    ("vgg11_bn", 132_868_840),
    ("vgg13", 133_047_848),
    ("vgg13_bn", 133_053_736),
    ("vgg16", 138_357_544),
    ("vgg16_bn", 138_365_992),
    ("vgg19", 143_667_240),
    ("vgg19_bn", 143_678_248),
    ("resnet18", 11_689_512),
    ("resnet34", 21_797_672),
    ("resnet50", 25_557_032),
    ("resnet101", 44_549_160),
    ("resnet152", 60_192_808),
    ("resnext50_32x4d", 25_028_904),
    ("resnext101_32x8d", 88_791_336),
    ("resnext101_64x4d", 83_455_272),
    ("wide_resnet50_2", 68_883_240),
    ("wide_resnet101_2", 126_886_696),
    ("squeezenet1_0", 1_248_424),
    ("squeezenet1_1", 1_235_496),
    ("mobilenet_v2", 3_504_872),
    ("efficientnet_b0", 5_288_548),
    ("efficientnet_b1", 7_794_184),
    ("efficientnet_b2", 9_109_994),
    ("efficientnet_b3", 12_233_232),
    ("efficientnet_b4", 19_341_616),
    ("efficientnet_b5", 30_389_784),
    ("efficientnet_b6", 43_040_704),
    ("efficientnet_b7", 66_347_960),
    ("vit_b_16", 86_567_656),
    ("vit_b_32", 88_224_232),
    ("vit_l_16", 304_326_632),
    ("vit_l_32", 306_535_400),
    ("vit_h_14", 632_045_800),
];

/// Weights of these shapes, which take no memory.
fn hollow(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Weights {
    Weights::new(shapes.into_iter().map(|(name, dims)| (name, Param::OnDevice(dims))))
}

fn of(name: &str) -> Weights {
    hollow(weight_shapes(name).unwrap())
}

fn row(graph: &Graph, layer: &str) -> Vec<usize> {
    let id = graph.find(layer).unwrap_or_else(|| panic!("no layer {layer:?}"));
    graph.node(id).shape.at(1)[1..].to_vec()
}

#[test]
fn every_network_has_as_many_parameters_as_torchvision_says() {
    assert_eq!(PARAMETERS.map(|(name, _)| name), NAMES);
    for (name, expected) in PARAMETERS {
        // Statistics of batch norms are no parameters.
        let learnt = |name: &str| !name.ends_with(".running_mean") && !name.ends_with(".running_var");
        let shapes = weight_shapes(name).unwrap();
        let sizes =
            shapes.iter().filter(|(name, _)| learnt(name)).map(|(_, dims)| dims.iter().product::<usize>());
        assert_eq!(sizes.sum::<usize>(), expected, "{name}");
    }
}

#[test]
fn every_network_is_built_of_its_weights() {
    for name in NAMES {
        let graph = build(name, &of(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [input, output] = [graph.inputs()[0], graph.outputs()[0]];
        assert_eq!((graph.node(input).name.as_str(), graph.inputs().len()), ("input", 1), "{name}");
        assert_eq!(graph.node(output).shape.to_string(), "[B, 1000]", "{name}");
        assert!(graph.readers().iter().all(|&readers| readers > 0), "{name} has a layer that nobody reads");
    }
}

/// A layer's name, and the shape of a row of its value.
type Named = (&'static str, &'static [usize]);

/// Layers, with the shapes that PyTorch's modules give for the default input.
#[test]
fn layers_are_called_by_the_paths_of_modules() {
    let cases: &[(&str, &[Named])] = &[
        (
            "alexnet",
            &[
                ("features.0", &[64, 55, 55]),
                ("features.12", &[256, 6, 6]),
                ("features", &[256, 6, 6]),
                ("avgpool", &[256, 6, 6]),
                ("classifier.3", &[4096]),
                ("classifier.4", &[4096]),
                ("classifier", &[1000]),
            ],
        ),
        (
            "vgg16",
            &[("features.28", &[512, 14, 14]), ("features.30", &[512, 7, 7]), ("classifier.0", &[4096])],
        ),
        ("vgg11_bn", &[("features.1", &[64, 224, 224]), ("features.28", &[512, 7, 7])]),
        (
            "resnet50",
            &[
                ("maxpool", &[64, 56, 56]),
                ("layer1.0.downsample.1", &[256, 56, 56]),
                ("layer1.0.downsample", &[256, 56, 56]),
                ("layer2.0.relu", &[128, 56, 56]),
                ("layer2.0.relu_1", &[128, 28, 28]),
                ("layer2.0.relu_2", &[512, 28, 28]),
                ("layer4.2.bn3", &[2048, 7, 7]),
                ("layer4", &[2048, 7, 7]),
                ("avgpool", &[2048, 1, 1]),
                ("fc", &[1000]),
            ],
        ),
        ("resnet18", &[("layer4.1.conv2", &[512, 7, 7]), ("layer4.1.relu_1", &[512, 7, 7])]),
        (
            "squeezenet1_0",
            &[
                ("features.0", &[96, 109, 109]),
                ("features.3.expand3x3_activation", &[64, 54, 54]),
                ("features.12", &[512, 13, 13]),
                ("classifier.3", &[1000, 1, 1]),
            ],
        ),
        ("squeezenet1_1", &[("features.3", &[128, 55, 55]), ("features.12.squeeze", &[64, 13, 13])]),
        (
            "mobilenet_v2",
            &[
                ("features.0.2", &[32, 112, 112]),
                ("features.1.conv.1", &[16, 112, 112]),
                ("features.17.conv.3", &[320, 7, 7]),
                ("features.18.0", &[1280, 7, 7]),
            ],
        ),
        (
            "efficientnet_b0",
            &[
                ("features.1.0.block.1.fc1", &[8, 1, 1]),
                ("features.2.0.block.2", &[96, 56, 56]),
                ("features.2.1.stochastic_depth", &[24, 56, 56]),
                ("features.7.0.block.3.1", &[320, 7, 7]),
                ("features.8", &[1280, 7, 7]),
            ],
        ),
        ("efficientnet_b7", &[("input", &[3, 600, 600]), ("features.8", &[2560, 19, 19])]),
        (
            "vit_b_16",
            &[
                ("conv_proj", &[768, 14, 14]),
                ("encoder.dropout", &[197, 768]),
                ("encoder.layers.encoder_layer_0.ln_1", &[197, 768]),
                ("encoder.layers.encoder_layer_11.self_attention", &[197, 768]),
                ("encoder.layers.encoder_layer_11.self_attention.attention", &[12, 197, 64]),
                ("encoder.layers.encoder_layer_11.mlp.0", &[197, 3072]),
                ("encoder.layers", &[197, 768]),
                ("heads", &[1000]),
            ],
        ),
    ];
    for (name, layers) in cases {
        let graph = build(name, &of(name)).unwrap();
        for (layer, expected) in *layers {
            assert_eq!(row(&graph, layer), *expected, "{name}: {layer}");
        }
    }
}

#[test]
fn the_epsilon_of_norms() {
    for (name, expected) in [
        ("vgg11_bn", 1e-5),
        ("resnet50", 1e-5),
        ("mobilenet_v2", 1e-5),
        ("efficientnet_b4", 1e-5),
        ("efficientnet_b5", 1e-3),
        ("efficientnet_b7", 1e-3),
        ("vit_b_16", 1e-6),
    ] {
        let graph = build(name, &of(name)).unwrap();
        let mut norms = 0;
        for node in graph.nodes() {
            if let Op::BatchNorm { epsilon } | Op::LayerNorm { epsilon, .. } = node.op {
                assert_eq!(epsilon, expected, "{name}: {}", node.name);
                norms += 1;
            }
        }
        assert!(norms > 0, "{name}");
    }
}

#[test]
fn classes_are_those_of_the_last_layer() {
    for (name, last) in [
        ("alexnet", "classifier.6"),
        ("vgg11", "classifier.6"),
        ("resnet18", "fc"),
        ("squeezenet1_1", "classifier.1"),
        ("mobilenet_v2", "classifier.1"),
        ("efficientnet_b0", "classifier.1"),
        ("vit_b_32", "heads.head"),
    ] {
        let mut shapes: BTreeMap<_, _> = weight_shapes(name).unwrap().into_iter().collect();
        for part in ["weight", "bias"] {
            shapes.get_mut(&format!("{last}.{part}")).unwrap()[0] = 5;
        }
        let graph = build(name, &hollow(shapes)).unwrap();
        assert_eq!(row(&graph, &graph.node(graph.outputs()[0]).name), [5], "{name}");
    }
}

#[test]
fn other_sizes() {
    let at = |name: &str, size| build_with(name, &of(name), &Options { size: Some(size) });
    assert_eq!(row(&at("resnet50", [65, 97]).unwrap(), "layer4.2"), [2048, 3, 4]);
    assert_eq!(row(&at("efficientnet_b0", [40, 32]).unwrap(), "features.8"), [1280, 2, 1]);
    // Pooled to 7 by 7 from more, from less and from a multiple.
    for size in [[288, 256], [32, 224], [448, 448]] {
        assert_eq!(row(&at("vgg11", size).unwrap(), "avgpool"), [512, 7, 7], "{size:?}");
    }
    let error = at("alexnet", [32, 224]).unwrap_err().to_string();
    assert!(error.contains("layer \"features.12\": max pooling: a window of 3 does not fit"), "{error}");
    let error = at("resnet18", [0, 224]).unwrap_err().to_string();
    assert!(error.contains("layer \"input\""), "{error}");
}

#[test]
fn a_vision_transformer_has_the_size_of_its_positions() {
    let shapes: BTreeMap<_, _> = weight_shapes("vit_b_16").unwrap().into_iter().collect();
    let with = |positions: usize| {
        let mut shapes = shapes.clone();
        shapes.insert("encoder.pos_embedding".into(), vec![1, positions, 768]);
        hollow(shapes)
    };
    assert_eq!(row(&build("vit_b_16", &with(577)).unwrap(), "input"), [3, 384, 384]);
    let error = build("vit_b_16", &with(7)).unwrap_err().to_string();
    assert!(error.contains("7 positions"), "{error}");
    // Two patches by three and the class token.
    let told = |weights: &Weights, size| build_with("vit_b_16", weights, &Options { size: Some(size) });
    assert_eq!(row(&told(&with(7), [32, 48]).unwrap(), "conv_proj"), [768, 2, 3]);
    let error = told(&with(197), [224, 240]).unwrap_err().to_string();
    assert!(
        error.contains("encoder.pos_embedding: expected shape [1, 211, 768], found [1, 197, 768]"),
        "{error}"
    );
    let error = told(&with(197), [224, 250]).unwrap_err();
    assert_eq!(error.to_string(), "input: expected multiples of 16, found 224x250");
}

#[test]
fn a_vision_transformer_may_have_the_names_of_older_weights() {
    let older = |(name, dims): (String, Vec<usize>)| {
        (name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."), dims)
    };
    let shapes: Vec<_> = weight_shapes("vit_b_32").unwrap().into_iter().map(older).collect();
    assert!(shapes.iter().any(|(name, _)| name.contains("linear_2")));
    assert_eq!(build("vit_b_32", &hollow(shapes)).unwrap(), build("vit_b_32", &of("vit_b_32")).unwrap());
}

#[test]
fn all_that_is_wrong_with_weights_is_one_error() {
    let mut shapes: BTreeMap<_, _> = weight_shapes("resnet18").unwrap().into_iter().collect();
    shapes.remove("bn1.bias");
    shapes.remove("fc.weight");
    shapes.insert("conv1.weight".into(), vec![64, 1, 7, 7]);
    shapes.insert("layer1.0.bn1.weight".into(), vec![]);
    shapes.insert("head.weight".into(), vec![3]);
    shapes.insert("backbone.fc.weight".into(), vec![3]);
    let Err(Error::Weights(mismatch)) = build("resnet18", &hollow(shapes)) else {
        panic!("expected an error")
    };
    assert_eq!(mismatch.missing, ["bn1.bias", "fc.weight"]);
    assert_eq!(mismatch.unexpected, ["backbone.fc.weight", "head.weight"]);
    assert_eq!(
        Error::Weights(mismatch).to_string(),
        "these are not the weights of resnet18: missing bn1.bias, fc.weight; unexpected backbone.fc.weight, \
         head.weight; conv1.weight: expected shape [64, 3, 7, 7], found [64, 1, 7, 7]; \
         layer1.0.bn1.weight: expected shape [64], found []"
    );
}

#[test]
fn counters_and_auxiliary_classifiers_are_left_out() {
    let mut shapes: BTreeMap<_, _> = weight_shapes("resnet18").unwrap().into_iter().collect();
    for name in ["bn1.num_batches_tracked", "aux_classifier.0.weight", "aux1.fc1.bias"] {
        shapes.insert(name.into(), vec![]);
    }
    assert_eq!(build("resnet18", &hollow(shapes)).unwrap(), build("resnet18", &of("resnet18")).unwrap());
}

#[test]
fn an_unknown_name_lists_the_names() {
    let none = Weights::new::<&str, ArrayD<f32>>([]);
    let error = build("resnet19", &none).unwrap_err().to_string();
    assert!(
        error.starts_with("no network is called \"resnet19\": expected one of alexnet, vgg11, "),
        "{error}"
    );
    assert!(error.ends_with(", vit_h_14"), "{error}");
    assert_eq!(weight_shapes("resnet19").unwrap_err().to_string(), error);
}
