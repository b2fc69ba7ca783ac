//! The networks of the suite, as layer graphs: the same network on every adapter.

mod build;
mod literal;
mod random;

pub use literal::{
    anchors, basic_model2, basic_model2_two_inputs, conv_one, conv_one_max_pool, conv_one_two_inputs,
    internal_concat, lrp_skip, moved_batch, multi_layer, powers, shared_reader, simple_lrp, single_layer,
    squares, trulens, two_cuts, two_inputs, two_outputs,
};
pub use random::{Kind, RandomNetwork, random_networks};
