//! libtensorflow, loaded when it is first needed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use attr_core::{Error, Result};
use tensorflow::SessionOptions;

use crate::error::{BACKEND, convert};

/// Loads libtensorflow, once; everything that needs it does so by itself.
///
/// It is looked for in the folder `TENSORFLOW_DIR`, on the loader's path, and in `/usr/local/lib`.
///
/// # Errors
///
/// [`Error::Backend`] says how to get it where there is none.
pub fn load() -> Result<()> {
    static LOADED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(tensorflow::library::load);
    loaded.clone().map_err(|reason| {
        let line = reason.lines().next().unwrap_or_default();
        let reason = format!(
            "libtensorflow is not there ({line}): `cargo xtask setup --tf` lays it out and prints the line that sets \
             TENSORFLOW_DIR; or set TENSORFLOW_DIR to a folder with libtensorflow.so of version 2.16 or later"
        );
        Error::Backend { backend: BACKEND, reason }
    })
}

/// How many threads TensorFlow computes on; as many as there are cores if this is not called before the first
/// model is run: the threads belong to the process, and the first model starts them.
pub fn set_threads(threads: u16) {
    THREADS.store(threads.max(1), Ordering::Relaxed);
}

static THREADS: AtomicU16 = AtomicU16::new(0);

/// How sessions run.
pub(crate) fn options() -> Result<SessionOptions> {
    // A `ConfigProto`, by its field numbers: threads within an operator (2) and for operators (5); and in the graph
    // options (10) no rewriting (10) by Grappler (19), which would work on parameters as on constants, and wants
    // placeholders to be fed that nothing asked for needs.
    let mut config = vec![0x52, 5, 0x52, 3, 0x98, 1, 1];
    let threads = THREADS.load(Ordering::Relaxed);
    if threads > 0 {
        for field in [0x10, 0x28] {
            config.push(field);
            // A variable-length number: seven bits a byte.
            config.extend(match threads {
                0..128 => vec![threads as u8],
                _ => vec![(threads % 128) as u8 | 128, (threads / 128).min(127) as u8],
            });
        }
    }
    let mut options = SessionOptions::new();
    options.set_config(&config).map_err(convert)?;
    Ok(options)
}
