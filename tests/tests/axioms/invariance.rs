//! An answer depends neither on the other rows of the batch, nor on the chunks in which it is worked out,
//! nor on the number of threads, nor on what was asked before.

use attr_core::{ModelWrapper, Qoi, Run, Tensor};
use attr_tests::networks::{Kind, RandomNetwork};
use attr_tests::{Adapter, Outcome, on_every_adapter};
use ndarray::{ArrayD, Axis, Slice};
use proptest::proptest;
use rayon::ThreadPoolBuilder;

use crate::{Asked, config, every_method, network};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn of_the_batch(network in network(&Kind::ALL)) {
        on_every_adapter!(row_by_row, every_method(&network));
    }

    #[test]
    fn of_chunks(network in network(&Kind::ALL)) {
        on_every_adapter!(in_chunks, every_method(&network));
    }
}

#[test]
fn of_threads_and_of_what_went_before() {
    let cases: Vec<_> =
        Kind::ALL.iter().flat_map(|&kind| every_method(&RandomNetwork::new(kind, 3))).collect();
    on_every_adapter!(on_threads, cases);
}

fn answer<M: ModelWrapper>(
    adapter: &Adapter<M>,
    asked: &Asked,
    inputs: &[ArrayD<f64>],
    run: Run<'_>,
) -> attr_core::Result<ArrayD<f64>> {
    let model = adapter.model(&asked.network.graph)?;
    asked.ask.clone().of(Qoi::PredictedClass).answer(adapter, &model, inputs, run)?.values[0].to_array()
}

fn row_by_row<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
    let inputs = asked.network.inputs(3);
    let whole = answer(adapter, asked, &inputs, Run::default())?;
    for row in 0..3 {
        let of_row = |array: &ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(row..=row)).to_owned();
        let alone = answer(adapter, asked, &[of_row(&inputs[0])], Run::default())?;
        attr_tests::tolerance::close(&alone, &of_row(&whole), adapter.same, adapter.precision)
            .map_err(|reason| format!("row {row} alone: {reason}"))?;
    }
    Ok(())
}

fn in_chunks<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
    let inputs = asked.network.inputs(3);
    let whole = answer(adapter, asked, &inputs, Run { rows: 1 << 20, ..Run::default() })?;
    let row_bytes = adapter.model(&asked.network.graph)?.row_bytes().ok_or("no estimate of the memory")?;
    let few_rows = [1, 2, 4].map(|rows| Run { rows, ..Run::default() });
    let little_memory = [1, 7].map(|rows| Run { memory: rows * row_bytes, ..Run::default() });
    for run in few_rows.into_iter().chain(little_memory) {
        let what = format!("{run:?}");
        let found = answer(adapter, asked, &inputs, run)?;
        attr_tests::tolerance::close(&found, &whole, adapter.same, adapter.precision)
            .map_err(|reason| format!("{what}: {reason}"))?;
    }
    Ok(())
}

fn on_threads<M: ModelWrapper>(adapter: &Adapter<M>, asked: &Asked) -> Outcome {
    let inputs = asked.network.inputs(3);
    // Everything that runs in the pool is made in it, since a tensor may not change threads.
    let bits = |threads: usize| -> Result<ArrayD<f64>, String> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
        (adapter.set_threads)(threads as u16);
        let adapter = Adapter { ..*adapter };
        let inputs = &inputs;
        pool.install(move || {
            answer(&adapter, asked, inputs, Run::default()).map_err(|error| error.to_string())
        })
    };
    let one = bits(1)?;
    for threads in [1, 2, 3] {
        attr_tests::tolerance::close(&bits(threads)?, &one, adapter.same, adapter.precision)
            .map_err(|reason| format!("{threads} threads: {reason}"))?;
    }
    Ok(())
}
