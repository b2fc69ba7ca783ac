//! Programs of `torch.export`, under the bounds of `attr_hostile`.

#![no_main]

use attr_hostile::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Reader::Program.read(bytes);
});
