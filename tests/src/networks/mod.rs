//! The networks of the suite, as layer graphs: the same network on every adapter.

mod build;
mod literal;
mod random;

pub use literal::{
    added, anchors, basic_model2, basic_model2_two_inputs, channels_added, conv_one, conv_one_max_pool,
    conv_one_mean, conv_one_two_inputs, excited, internal_concat, larger_of_pairs, lrp_skip, max_of_four,
    minimum, moved_batch, multi_layer, multi_layer_two_inputs, powers, quotients, relu_linear, rising,
    shared_reader, simple_lrp, simple_tanh, single_layer, squares, trulens, two_cuts, two_inputs,
    two_outputs, two_tanh,
};
pub use random::{Kind, RandomNetwork, random_networks};
