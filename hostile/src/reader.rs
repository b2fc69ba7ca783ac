//! Reading under bounds.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cap::Cap;
use cpu_time::ThreadTime;
use peak_alloc::PeakAlloc;

/// The whole program's memory: refused beyond a limit, with its peak known.
#[global_allocator]
pub static MEMORY: Cap<PeakAlloc> = Cap::new(PeakAlloc, usize::MAX);

/// What reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// `attr-onnx`: to the layer graph, with the shapes of all layers.
    Onnx,
    /// `attr-graphdef`: to the layer graph, for each signature.
    GraphDef,
    /// PNG and JPEG pictures.
    Picture,
    /// NumPy's arrays.
    Npy,
    /// `attr-pt2`: programs of `torch.export`, to the layer graph.
    Program,
    /// `attr-networks`: weights of safetensors files and of PyTorch's checkpoints.
    Weights,
}

/// What reading a file has come to.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Whether it was read; otherwise it was refused with an error.
    pub opened: bool,
    /// The most bytes allocated at once meanwhile, those of the file not counted.
    pub peak: usize,
    /// The bytes that may have been.
    pub bound: usize,
    /// How long the processor took for it.
    pub time: Duration,
}

/// No file of [`crate::crafted::SIZE`] or less takes the processor longer.
pub const LONGEST: Duration = Duration::from_secs(10);

impl Reader {
    /// All of them.
    pub const ALL: [Reader; 6] =
        [Reader::Onnx, Reader::GraphDef, Reader::Picture, Reader::Npy, Reader::Program, Reader::Weights];

    /// The name of its fuzz target.
    pub fn name(self) -> &'static str {
        match self {
            Reader::Onnx => "onnx",
            Reader::GraphDef => "graphdef",
            Reader::Picture => "picture",
            Reader::Npy => "npy",
            Reader::Program => "program",
            Reader::Weights => "weights",
        }
    }

    /// The most bytes that may be allocated at once while a file of so many is read.
    pub fn bound(self, len: usize) -> usize {
        match self {
            Reader::Onnx | Reader::GraphDef | Reader::Program => {
                len.saturating_mul(64).saturating_add(256 << 20)
            }
            Reader::Weights => len.saturating_mul(64).saturating_add(128 << 20),
            // The decoder's output, its own buffers, and the picture with eight bits of each colour.
            Reader::Picture => (attr_input::picture::most_bytes(len) as usize).saturating_mul(8) + (1 << 20),
            Reader::Npy => len.saturating_mul(9).saturating_add(16 << 20),
        }
    }

    /// Reads a file that has none beside it. Panics where it takes too long, aborts where it takes too much memory.
    pub fn read(self, bytes: &[u8]) -> Reading {
        self.read_beside(bytes, None, 0)
    }

    /// As [`Reader::read`]; variables are read in the folder, `beside` bytes of them.
    pub fn read_beside(self, bytes: &[u8], folder: Option<&Path>, beside: usize) -> Reading {
        let bound = self.bound(bytes.len().saturating_add(beside));
        PeakAlloc.reset_peak_usage();
        let before = PeakAlloc.current_usage();
        // What the two count differs by a few bytes that were allocated before the first of them was asked.
        let limit = MEMORY.allocated().saturating_add(bound);
        MEMORY.set_limit(limit).expect("BUG: the limit is below what is allocated");
        let begun = ThreadTime::now();
        let opened = self.opens(bytes, folder.unwrap_or(Path::new("no such folder")));
        let time = begun.elapsed();
        let peak = PeakAlloc.peak_usage().saturating_sub(before);
        MEMORY.set_limit(usize::MAX).expect("BUG: the limit is below what is allocated");
        assert!(peak <= bound, "{peak} bytes were allocated at once, expected at most {bound}");
        assert!(time <= LONGEST, "took {time:?}, expected at most {LONGEST:?}");
        Reading { opened, peak, bound, time }
    }

    fn opens(self, bytes: &[u8], folder: &Path) -> bool {
        match self {
            Reader::Onnx => onnx(bytes),
            Reader::GraphDef => graphdef(bytes, folder),
            Reader::Picture => attr_input::picture::decode(bytes).map_err(|error| error.to_string()).is_ok(),
            Reader::Npy => attr_input::npy::decode(bytes).map_err(|error| error.to_string()).is_ok(),
            Reader::Program => program(bytes),
            Reader::Weights => weights(bytes),
        }
    }
}

/// Whether it is read with a batch or without one; what is read is also written.
fn onnx(bytes: &[u8]) -> bool {
    let read = |without_batch: bool| {
        let options = attr_onnx::Options { without_batch, ..attr_onnx::Options::default() };
        let graph = attr_onnx::decode_with(bytes, &options).map_err(|error| error.to_string()).ok()?;
        attr_onnx::encode(&graph).map_err(|error| error.to_string()).ok();
        Some(())
    };
    [false, true].into_iter().filter_map(read).count() > 0
}

/// As [`onnx`], of a program.
fn program(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let read = |without_batch: bool| {
        let options = attr_onnx::Options { without_batch, ..attr_onnx::Options::default() };
        attr_pt2::decode_with(bytes.clone(), &options).map_err(|error| error.to_string()).ok()
    };
    [false, true].into_iter().filter_map(read).count() > 0
}

fn weights(bytes: &[u8]) -> bool {
    attr_networks::Weights::decode(bytes.to_vec()).map_err(|error| error.to_string()).is_ok()
}

/// Whether some signature is recognised as layers.
fn graphdef(bytes: &[u8], folder: &Path) -> bool {
    let Ok(model) = attr_graphdef::decode(bytes.to_vec().into(), folder) else { return false };
    let mut signatures: Vec<_> = model.signatures().into_iter().map(Some).collect();
    signatures.truncate(4);
    signatures.push(None);
    let read = |signature: &Option<&str>| {
        let function = model.function(*signature).map_err(|error| error.to_string()).ok()?;
        for name in ["conv", "norm", "nothing", ""] {
            let _ = function.find(name);
        }
        function.layers().map_err(|error| error.to_string()).ok()
    };
    signatures.iter().filter_map(read).count() > 0
}
