//! SavedModels and frozen graphs as Python writes them, against what Python computes with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use attr_core::{Cut, ModelWrapper, Point, Tensor};
use attr_tf::{SavedModel, TfTensor};
use ndarray::{ArrayD, IxDyn};

type Arrays = BTreeMap<String, ArrayD<f64>>;

/// Python computes in single precision, too.
const CLOSE: f64 = 1e-5;

/// Each model with the signature that is asked for, and the inputs' order.
const MODELS: [(&str, Option<&str>); 10] = [
    ("sequential", None),
    ("functional", None),
    ("mobile", None),
    ("gelu", None),
    ("dilated", None),
    ("silu", None),
    ("attention", None),
    ("module", Some("classify")),
    ("module", Some("features")),
    ("frozen.pb", None),
];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../attr-graphdef/tests/fixtures").join(name)
}

fn arrays(name: &str) -> Arrays {
    let file = std::fs::File::open(fixture(&format!("{}.npz", name.trim_end_matches(".pb")))).unwrap();
    let mut npz = ndarray_npy::NpzReader::new(file).unwrap();
    let names = npz.names().unwrap();
    let read = |name: String| {
        let array: ArrayD<f32> = npz.by_name(&name).unwrap();
        (name.trim_end_matches(".npy").to_string(), array.mapv(f64::from))
    };
    names.into_iter().map(read).collect()
}

#[track_caller]
fn assert_close(what: &str, found: &TfTensor, expected: &ArrayD<f64>) {
    let found = found.to_array().unwrap();
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let most = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let off = found.iter().zip(expected).fold(0.0f64, |off, (a, b)| off.max((a - b).abs()));
    assert!(off <= CLOSE * most.max(1e-30), "{what}: off by {off:e} of {most:e}");
}

/// The derivative of the sum over rows of twice the last number of the first output.
fn twice_the_last(values: &[TfTensor]) -> attr_core::Result<Vec<TfTensor>> {
    let cotangent = |(i, value): (usize, &TfTensor)| {
        let dims = value.dims();
        let each: usize = dims[1..].iter().product();
        let number = |place: usize| if i == 0 && place % each == each - 1 { 2.0 } else { 0.0 };
        let numbers = (0..value.len()).map(number).collect();
        value.like(&ArrayD::from_shape_vec(IxDyn(&dims), numbers).unwrap())
    };
    values.iter().enumerate().map(cotangent).collect()
}

struct Case {
    name: &'static str,
    model: SavedModel,
    arrays: Arrays,
    inputs: Vec<TfTensor>,
}

fn cases() -> Vec<Case> {
    let case = |&(name, signature): &(&'static str, Option<&str>)| {
        let model =
            SavedModel::open(fixture(name), signature).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut arrays = arrays(name);
        // One file has both of the module's signatures.
        match signature {
            Some("features") => arrays.retain(|key, _| key.contains("picture") || key == "output.features"),
            Some(_) => arrays.retain(|key, _| !key.contains("picture") && key != "output.features"),
            None => {}
        }
        let inputs = model.function().inputs.iter();
        let inputs =
            inputs.map(|input| model.tensor(&arrays[&format!("input.{}", input.name)]).unwrap()).collect();
        Case { name, model, arrays, inputs }
    };
    MODELS.iter().map(case).collect()
}

#[test]
fn outputs_and_input_gradients() {
    for Case { name, model, arrays, inputs } in cases() {
        let outputs = model.forward(Point::at(&inputs), &Cut::output()).unwrap();
        for (output, found) in model.function().outputs.iter().zip(&outputs) {
            assert_close(
                &format!("{name}: output {}", output.name),
                found,
                &arrays[&format!("output.{}", output.name)],
            );
        }
        // Twice, since what has come before is what is guessed to come next.
        for _ in 0..2 {
            let found = model
                .gradient(Point::at(&inputs), &Cut::input(), &Cut::output(), &mut twice_the_last)
                .unwrap();
            for ((input, found), value) in
                model.function().inputs.iter().zip(&found.gradients).zip(&found.values)
            {
                let what = format!("{name}: gradient by {}", input.name);
                assert_close(&what, found, &arrays[&format!("gradient.{}", input.name)]);
                assert_close(&what, value, &arrays[&format!("input.{}", input.name)]);
            }
        }
    }
}

#[test]
fn inner_layers_by_the_names_that_keras_gives_them() {
    let mut seen = 0;
    for Case { name, model, arrays, inputs } in cases() {
        for (key, expected) in &arrays {
            let Some(layer) = key.strip_prefix("layer.") else { continue };
            seen += 1;
            let what = format!("{name}: layer {layer}");
            let cut = Cut::layer(layer);
            let found =
                model.forward(Point::at(&inputs), &cut).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_close(&what, &found[0], expected);
            let found =
                model.gradient(Point::at(&inputs), &cut, &Cut::output(), &mut twice_the_last).unwrap();
            assert_close(&what, &found.values[0], expected);
            assert_close(&what, &found.gradients[0], &arrays[&format!("layer_gradient.{layer}")]);

            let put = [model.tensor(&arrays[&format!("replaced.{layer}")]).unwrap()];
            let point = Point { inputs: &inputs, replace: Some((&cut, &put)) };
            let outputs = model.forward(point, &Cut::output()).unwrap();
            for (output, found) in model.function().outputs.iter().zip(&outputs) {
                assert_close(&what, found, &arrays[&format!("replaced_output.{layer}.{}", output.name)]);
            }
            let found = model.gradient(point, &cut, &Cut::output(), &mut twice_the_last).unwrap();
            assert_close(&what, &found.gradients[0], &arrays[&format!("replaced_gradient.{layer}")]);
            assert_close(&what, &found.values[0], &put[0].to_array().unwrap());
        }
    }
    assert!(seen > 10, "{seen} layers");
}

/// Rows put in a layer's place may be more than the inputs', and are each like one alone.
#[test]
fn more_rows_put_in() {
    for Case { name, model, arrays, inputs } in cases() {
        let Some(layer) = arrays.keys().find_map(|key| key.strip_prefix("layer.")) else { continue };
        let cut = Cut::layer(layer);
        let put = model.tensor(&arrays[&format!("replaced.{layer}")]).unwrap();
        let more = [TfTensor::concat(&[put.clone(), put.clone(), put.clone()], 0).unwrap()];
        let point = Point { inputs: &inputs, replace: Some((&cut, &more)) };
        let found = model.gradient(point, &cut, &Cut::output(), &mut twice_the_last).unwrap();
        let expected = &arrays[&format!("replaced_gradient.{layer}")];
        for copy in 0..3 {
            let rows = found.gradients[0].slice_rows(2 * copy, 2).unwrap();
            assert_close(&format!("{name}: copy {copy}"), &rows, expected);
        }
    }
}

#[test]
fn what_a_layer_reads() {
    let case = cases().swap_remove(0);
    let before = Cut::layer("classes").before();
    let found = case.model.gradient(Point::at(&case.inputs), &before, &Cut::output(), &mut twice_the_last);
    let places = case.model.places(&before).unwrap();
    let found = found.unwrap();
    assert_eq!(places.len(), found.values.len());
    assert_eq!(places[0].shape.as_ref().unwrap().at(2), found.gradients[0].dims());
}

#[test]
fn recurrent_layers_are_refused_by_name() {
    let error = SavedModel::open(fixture("recurrent"), None)
        .and_then(|model| {
            let rows = model.tensor(&arrays("recurrent")["input.sequence"])?;
            model.gradient(Point::at(&[rows]), &Cut::input(), &Cut::output(), &mut twice_the_last)
        })
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("While"), "{error}");
}

#[test]
fn questions_that_make_no_sense() {
    let case = cases().swap_remove(0);
    let (model, inputs) = (&case.model, &case.inputs);
    let forward = |at: Cut| model.forward(Point::at(inputs), &at).map(|_| ()).unwrap_err().to_string();
    assert!(forward("conv_7".into()).starts_with("no layer \"conv_7\""), "{}", forward("conv_7".into()));
    let last = forward(Cut::index(10_000));
    assert!(last.contains("expected an index of 0 to"), "{last}");
    let narrow = [inputs[0].narrow(2, 0, 3).unwrap()];
    let error = model.forward(Point::at(&narrow), &Cut::output()).unwrap_err().to_string();
    assert!(error.contains("expected shape"), "{error}");
    let double = [attr_core::Kernels::tensor(
        &attr_tf::Tf::cpu(attr_core::Precision::F64),
        &inputs[0].to_array().unwrap(),
    )
    .unwrap()];
    let error = model.forward(Point::at(&double), &Cut::output()).unwrap_err().to_string();
    assert!(error.contains("f32") && error.contains("f64"), "{error}");
    let error = SavedModel::open(fixture("sequential"), Some("nonsense")).unwrap_err().to_string();
    assert!(error.contains("nonsense") && error.contains("serving_default"), "{error}");
}
