//! A thousand calls leave memory where ten did. Alone in its process, whose memory it looks at.

use attr_core::methods::{IntegratedGradients, Lrp, Method};
use attr_core::{Cut, Precision, Qoi, Question, Run, Tensor};
use attr_tf::{SavedModel, TfTensor, compile};
use ndarray::ArrayD;

/// What may be left by 1000 calls and by 50 opened models, in MiB: far less than one more buffer a call would be.
const ALLOWED: f64 = 4.0;

/// The memory that this process has now, in MiB, as Linux tells.
fn memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().split(' ').next()?.parse::<f64>().ok()? / 1024.0)
}

#[test]
fn a_thousand_calls() {
    if memory().is_none() {
        eprintln!("skipped: this system does not tell how much memory a process has");
        return;
    }
    let memory = || memory().unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../attr-graphdef/tests/fixtures/sequential");
    let function = || attr_graphdef::read(path).unwrap().function(None).unwrap();
    let open = || {
        let function = function();
        let layers = compile(function.layers().unwrap(), Precision::F32).unwrap();
        (SavedModel::new(function).unwrap(), layers)
    };
    let (as_is, layers) = open();
    let image = ArrayD::from_shape_fn(vec![2, 8, 8, 3], |at| (at[1] * 5 + at[2] * 3 + at[3]) as f64 / 60.0);
    let inputs = [attr_core::ModelWrapper::tensor(&as_is, &image).unwrap()];
    let run = || Run { rows: 8, ..Run::default() };
    let call = |i: usize| {
        let steps = IntegratedGradients { steps: 8, ..IntegratedGradients::default() };
        let quantity = || Qoi::Class(i % 5);
        let at = |cut: &str| Cut::layer(cut);
        let question = Question::new(&as_is, &inputs).of(quantity()).run(run());
        let first = steps.attribute(&question).unwrap();
        let question = Question::new(&layers, &inputs).of(quantity()).at(at("conv")).run(run());
        let second = steps.attribute(&question).unwrap();
        let question = Question::new(&layers, &inputs).of(quantity()).run(run());
        let third = Lrp::by("epsilon-plus".parse().unwrap()).attribute(&question).unwrap();
        [first, second, third].map(|answer| answer.values[0].clone())
    };
    let sum = |answers: [TfTensor; 3]| -> f64 { answers.iter().map(|x| x.to_array().unwrap().sum()).sum() };
    let first = sum(call(0));
    (1..10).for_each(|i| drop(call(i)));
    let ten = memory();
    (0..1000).for_each(|i| drop(call(i)));
    let thousand = memory();
    eprintln!("after 10 calls {ten:.1} MiB, after 1010 {thousand:.1} MiB");
    assert_eq!(sum(call(0)), first);
    assert!(thousand - ten < ALLOWED, "{ten} MiB after 10 calls, {thousand} MiB after 1010");

    (0..5).for_each(|_| drop(open()));
    let five = memory();
    (0..50).for_each(|_| drop(open()));
    let all = memory();
    eprintln!("after 5 opened models {five:.1} MiB, after 55 {all:.1} MiB");
    assert!(all - five < ALLOWED, "{five} MiB after 5 opened models, {all} MiB after 55");
}
