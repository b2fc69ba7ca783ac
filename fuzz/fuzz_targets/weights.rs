//! Files of weights, under the bounds of `attr_hostile`.

#![no_main]

use attr_hostile::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Reader::Weights.read(bytes);
});
