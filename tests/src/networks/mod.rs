//! The networks of the suite, as layer graphs: the same network on every adapter.

mod build;
mod literal;
mod random;

pub use literal::{
    anchors, basic_model2, basic_model2_two_inputs, conv_one, conv_one_max_pool, internal_concat, lrp_skip,
    multi_layer, powers, shared_reader, simple_lrp, trulens, two_cuts, two_inputs, two_outputs,
};
pub use random::{RandomNetwork, random_networks};
