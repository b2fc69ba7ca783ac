//! Progress bars, and Ctrl-C as the way to stop.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use attr_core::{Progress, Run};
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{Error, Result};

static STOP: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C asks the work to stop, and the second one ends the process.
pub(crate) fn catch_interrupts() -> Result<()> {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Error::failed(format!("catching Ctrl-C: {error}")))
}

/// An error if Ctrl-C was pressed.
pub(crate) fn check() -> Result<()> {
    match STOP.load(Ordering::SeqCst) {
        true => Err(Error::Stopped("nothing was written".into())),
        false => Ok(()),
    }
}

/// Runs `work` with a bar on stderr (if that is a terminal) that Ctrl-C stops.
pub(crate) fn with_bar<T>(name: &str, memory: Option<u64>, work: impl FnOnce(&Run<'_>) -> T) -> T {
    // Hidden by indicatif itself where stderr is no terminal.
    let bar = ProgressBar::new(0);
    let template = "{msg} {wide_bar:.cyan/blue} {pos}/{len} {eta}";
    bar.set_style(ProgressStyle::with_template(template).expect("BUG: the template is well formed"));
    bar.set_message(name.to_string());
    let report = |progress: Progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        match STOP.load(Ordering::SeqCst) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let defaults = Run::default();
    let run = Run { memory: memory.unwrap_or(defaults.memory), progress: Some(&report), ..defaults };
    let result = work(&run);
    bar.finish_and_clear();
    result
}
