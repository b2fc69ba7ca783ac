//! TorchScript files that PyTorch wrote (`xtask/python/torchscript_fixtures.py`), and one traced here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use attr_core::methods::{Conductance, GradCam, IntegratedGradients, Method};
use attr_core::{Cut, ModelWrapper, Point, Precision, Qoi, Question, Result, Tensor as _};
use attr_torch::{Torch, TorchScript, TorchTensor};
use tch::{CModule, Device, Kind, Tensor};

const IMAGE: (&str, &[usize]) = ("image", &[2, 8, 8]);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn single() -> Torch {
    Torch::cpu(Precision::F32)
}

/// What PyTorch computed.
fn expected() -> HashMap<String, Tensor> {
    Tensor::read_npz(fixture("torchscript.npz")).unwrap().into_iter().collect()
}

fn inputs(expected: &HashMap<String, Tensor>, names: &[&str]) -> Vec<TorchTensor> {
    names.iter().map(|name| expected[*name].shallow_clone().into()).collect()
}

#[track_caller]
fn close(found: &Tensor, expected: &Tensor) {
    let gap = (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).abs().max().double_value(&[]);
    assert_eq!(found.size(), expected.size());
    // A few roundings of sums of some tens of numbers around one.
    assert!(gap < 2e-6, "{gap}");
}

/// Twice the last number of each row of the first output.
fn twice_the_last(values: &[TorchTensor]) -> Result<Vec<TorchTensor>> {
    let zeros = values.iter().map(|value| value.zeros_like()).collect::<Result<Vec<_>>>()?;
    let cotangent = Tensor::zeros_like(&values[0]);
    let _ = cotangent.narrow(1, -1, 1).fill_(2.0);
    Ok(std::iter::once(cotangent.into()).chain(zeros.into_iter().skip(1)).collect())
}

fn message<T>(result: Result<T>) -> String {
    result.map(|_| ()).expect_err("an error").to_string()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
    assert!(!message.contains('\n'), "{message:?}");
}

#[test]
fn files_give_what_pytorch_gives() {
    let expected = expected();
    let x = inputs(&expected, &["image"]);
    for file in ["traced.pt", "scripted.pt"] {
        let model = TorchScript::open(fixture(file), single(), &[IMAGE]).unwrap();
        let logits = model.forward(Point::at(&x), &Cut::logits()).unwrap();
        close(&logits[0], &expected["logits"]);
        let (input, logits) = (Cut::input(), Cut::logits());
        let answer = model.gradient(Point::at(&x), &input, &logits, &mut twice_the_last).unwrap();
        close(&answer.gradients[0], &expected["gradient"]);
        let found: Vec<_> = model.layers().into_iter().map(|place| (place.name, place.kind)).collect();
        assert_eq!(found, [("image".to_string(), "input")]);
        assert_eq!(model.places(&Cut::output()).unwrap()[0].shape.as_ref().unwrap().to_string(), "[B, 5]");
    }
}

#[test]
fn every_run_gives_the_same_bits() {
    let expected = expected();
    let x = inputs(&expected, &["image"]);
    let model = TorchScript::open(fixture("scripted.pt"), single(), &[IMAGE]).unwrap();
    let run = || {
        let answer = model.gradient(Point::at(&x), &Cut::input(), &Cut::logits(), &mut twice_the_last);
        let logits = model.forward(Point::at(&x), &Cut::logits()).unwrap().remove(0);
        (answer.unwrap().gradients.remove(0), logits)
    };
    let (gradient, logits) = run();
    for _ in 0..5 {
        let (again, logits_again) = run();
        assert_eq!(*again, *gradient);
        assert_eq!(*logits_again, *logits);
    }
}

#[test]
fn a_file_in_single_precision_runs_in_double_precision() {
    let expected = expected();
    let model = TorchScript::open(fixture("traced.pt"), Torch::cpu(Precision::F64), &[IMAGE]).unwrap();
    let x = [TorchTensor::from(expected["image"].to_kind(Kind::Double))];
    let logits = model.forward(Point::at(&x), &Cut::logits()).unwrap();
    assert_eq!(logits[0].kind(), Kind::Double);
    close(&logits[0], &expected["logits"]);
}

#[test]
fn several_outputs_and_several_inputs() {
    let expected = expected();
    let x = inputs(&expected, &["x"]);
    let model = TorchScript::open(fixture("two_outputs.pt"), single(), &[("x", &[3])]).unwrap();
    let outputs = model.forward(Point::at(&x), &Cut::output()).unwrap();
    assert_eq!(outputs.len(), 3);
    for (output, name) in outputs.iter().zip(["first", "second", "third"]) {
        close(output, &expected[name]);
    }
    assert_eq!(model.forward(Point::at(&x), &Cut::logits()).unwrap().len(), 1);

    let x = inputs(&expected, &["x", "scale"]);
    let model =
        TorchScript::open(fixture("two_inputs.pt"), single(), &[("x", &[3]), ("scale", &[1])]).unwrap();
    close(&model.forward(Point::at(&x), &Cut::output()).unwrap()[0], &expected["scaled"]);
    let (input, logits) = (Cut::input(), Cut::logits());
    let answer = model.gradient(Point::at(&x), &input, &logits, &mut twice_the_last).unwrap();
    close(&answer.gradients[0], &expected["by_x"]);
    close(&answer.gradients[1], &expected["by_scale"]);
}

#[test]
fn methods_run_or_say_what_they_lack() {
    let expected = expected();
    let x = inputs(&expected, &["image"]);
    let model = TorchScript::open(fixture("traced.pt"), single(), &[IMAGE]).unwrap();
    let question = || Question::new(&model, &x).of(Qoi::channel(2));

    let steps = IntegratedGradients { steps: 200, ..Default::default() };
    let answer = steps.attribute(&question()).unwrap();
    let zeros = [x[0].zeros_like().unwrap()];
    let logit = |x: &[TorchTensor]| model.forward(Point::at(x), &Cut::logits()).unwrap()[0].select(1, 2);
    let change = logit(&x) - logit(&zeros);
    let sums = answer.values[0].sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
    // Kinks of the path fall between the steps.
    assert!((sums - change).abs().max().double_value(&[]) < 2e-3);

    says(&message(GradCam::default().attribute(&question())), &["grad-cam", "no layer with spatial extent"]);
    let reasons = ["\"conv\"", "TorchScript", "inputs and outputs only", "ONNX"];
    says(&message(GradCam::default().attribute(&question().at("conv"))), &reasons);
    says(&message(Conductance::default().attribute(&question().at("conv"))), &reasons);
    says(&message(model.forward(Point::at(&x), &7.into())), &["no layer 7", "TorchScript"]);
    says(&message(model.forward(Point::at(&[]), &Cut::output())), &["1 tensors (image)"]);
}

#[test]
fn a_module_traced_here() {
    let weight = Tensor::from_slice(&[1f32, 2.0, -3.0, 4.0]).reshape([2, 2]);
    let example = [Tensor::ones([1, 2], (Kind::Float, Device::Cpu))];
    let mut forward = |inputs: &[Tensor]| vec![inputs[0].matmul(&weight).relu()];
    let module = CModule::create_by_tracing("Net", "forward", &example, &mut forward).unwrap();
    let model = TorchScript::of_module(module, single(), &[("x", &[2])]).unwrap();
    let x = [TorchTensor::from(Tensor::from_slice(&[1f32, 1.0, 2.0, 0.0]).reshape([2, 2]))];
    let y = model.forward(Point::at(&x), &Cut::output()).unwrap();
    assert_eq!(Vec::<Vec<f32>>::try_from(y[0].shallow_clone()).unwrap(), [[0.0, 6.0], [2.0, 4.0]]);
    let answer = model.gradient(Point::at(&x), &Cut::input(), &Cut::output(), &mut twice_the_last).unwrap();
    let gradient = Vec::<Vec<f32>>::try_from(answer.gradients[0].shallow_clone()).unwrap();
    assert_eq!(gradient, [[4.0, 8.0], [4.0, 8.0]]);
}

#[test]
fn broken_files_are_errors() {
    let folder = std::env::temp_dir().join(format!("attr-torch-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let open = |path: &Path| message(TorchScript::open(path, single(), &[IMAGE]));
    let opened = |bytes: &[u8]| {
        let path = folder.join("file.pt");
        std::fs::write(&path, bytes).unwrap();
        open(&path)
    };
    let whole = std::fs::read(fixture("traced.pt")).unwrap();
    says(&opened(&[]), &["file.pt", "the file is empty"]);
    for part in 1..20 {
        says(&opened(&whole[..whole.len() * part / 20]), &["file.pt", "TorchScript file"]);
    }
    // No byte of the directory at the end may bring the process down.
    for at in (whole.len() - 400..whole.len()).step_by(13) {
        let mut bent = whole.clone();
        bent[at] ^= 0xff;
        std::fs::write(folder.join("bent.pt"), bent).unwrap();
        let _ = TorchScript::open(folder.join("bent.pt"), single(), &[IMAGE]);
    }
    let noise: Vec<_> = (0..4096u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
    says(&opened(&noise), &["file.pt", "expected a TorchScript file", "of another kind"]);
    says(&opened(&std::fs::read(fixture("torchscript.npz")).unwrap()), &["another kind of archive"]);
    says(&opened(b"\x80\x02}q\x00."), &["a pickle", "weights without a network"]);
    says(&open(&fixture("state_dict.pth")), &["state_dict.pth", "weights without a network (a state dict)"]);
    says(&open(&folder.join("missing.pt")), &["missing.pt", "No such file"]);
    says(&open(&folder), &["directory"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_does_not_fit_is_an_error() {
    let open = |file: &str, row: &[usize]| message(TorchScript::open(fixture(file), single(), &[("x", row)]));
    says(&open("dictionary.pt", &[3]), &["expected a tensor", "a dictionary"]);
    says(&open("traced.pt", &[5, 8, 8]), &["expected input[1, 5, 8, 8] to have 2 channels"]);
    says(&open("two_inputs.pt", &[3]), &["forward()", "scale"]);
}
