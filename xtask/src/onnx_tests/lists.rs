//! Which tests must pass, which inputs are held at their values, and what is skipped for what reason.

/// How many tests pass.
#[cfg(test)]
pub(super) const PASSED: usize = 669;

/// The operators whose tests with floating-point numbers must pass.
#[rustfmt::skip]
pub(super) const OPERATORS: [&str; 77] = [
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Celu", "Clip", "Concat", "Constant",
    "ConstantOfShape", "Conv", "ConvTranspose", "DepthToSpace", "Div", "Dropout", "Einsum", "Elu", "Equal",
    "Erf", "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
    "Greater", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LRN",
    "LayerNormalization", "LeakyRelu", "Less", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean",
    "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceSum", "Relu", "Reshape", "Resize", "Selu", "Shape", "Sigmoid", "Slice", "Softmax", "Softplus",
    "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose",
    "Unsqueeze", "Upsample", "Where",
];

/// For each operator that reads constants, the inputs by place that are held at their values: each list is one way
/// to run its tests. Operators that are not here are run with all inputs open.
pub(super) const HELD: [(&str, &[&[usize]]); 42] = [
    ("Add", EITHER),
    ("BatchNormalization", &[&[1, 2, 3, 4]]),
    ("Clip", &[&[1, 2]]),
    ("ConstantOfShape", &[&[0]]),
    ("Conv", &[&[1, 2]]),
    ("ConvTranspose", &[&[1, 2]]),
    ("Div", EITHER),
    ("Dropout", &[&[1, 2]]),
    ("Einsum", EITHER),
    ("Equal", EITHER),
    ("Expand", &[&[1]]),
    ("Gather", &[&[1], &[0]]),
    ("Gemm", &[&[], &[1], &[1, 2], &[0], &[0, 2]]),
    ("Greater", EITHER),
    ("GroupNormalization", &[&[1, 2]]),
    ("InstanceNormalization", &[&[1, 2]]),
    ("LayerNormalization", &[&[1, 2]]),
    ("Less", EITHER),
    ("MatMul", EITHER),
    ("Max", EITHER),
    ("Mean", EITHER),
    ("Min", EITHER),
    ("Mul", EITHER),
    ("PRelu", &[&[1]]),
    ("Pad", &[&[1, 2, 3]]),
    ("Pow", EITHER),
    ("ReduceL2", &[&[1]]),
    ("ReduceMax", &[&[1]]),
    ("ReduceMean", &[&[1]]),
    ("ReduceMin", &[&[1]]),
    ("ReduceSum", &[&[1]]),
    ("Reshape", &[&[1]]),
    ("Resize", &[&[1, 2, 3]]),
    ("Slice", &[&[1, 2, 3, 4]]),
    ("Split", &[&[1]]),
    ("Squeeze", &[&[1]]),
    ("Sub", EITHER),
    ("Sum", EITHER),
    ("Tile", &[&[1]]),
    ("Unsqueeze", &[&[1]]),
    ("Upsample", &[&[1]]),
    ("Where", &[&[], &[0], &[1], &[2], &[1, 2]]),
];

/// All inputs open.
pub(super) const ALL_OPEN: &[&[usize]] = &[&[]];

/// Both operands open, or one of them.
const EITHER: &[&[usize]] = &[&[], &[0], &[1]];

/// A test that is not run with this input held, though the list above says so: computed numbers of an embedding's rows are
/// not counted from the end, and such a number is refused when it occurs.
pub(super) const NOT_HELD: (&str, usize) = ("test_gather_negative_indices", 0);

/// What is skipped of the operators that must pass: names of tests, and why.
pub(super) const SKIPPED: [(&[&str], &str); 4] = [
    (
        &[
            "test_constantofshape_int_shape_zero",
            "test_reduce_l2_empty_set",
            "test_reduce_l2_empty_set_expanded",
            "test_reduce_max_empty_set",
            "test_reduce_min_empty_set",
            "test_reduce_sum_empty_set",
            "test_reduce_sum_empty_set_non_reduced_axis_zero",
            "test_reshape_allowzero_reordered",
            "test_shape_start_greater_than_end",
            "test_slice_start_out_of_bounds",
            "test_split_zero_size_splits_opset13",
            "test_split_zero_size_splits_opset18",
        ],
        "values without any numbers",
    ),
    (&["test_batchnorm_epsilon_training_mode", "test_batchnorm_example_training_mode"], "training mode"),
    (
        &[
            "test_training_dropout",
            "test_training_dropout_default",
            "test_training_dropout_default_mask",
            "test_training_dropout_mask",
            "test_training_dropout_zero_ratio",
            "test_training_dropout_zero_ratio_mask",
        ],
        "training mode",
    ),
    (
        &["test_maxpool_with_argmax_2d_precomputed_pads", "test_maxpool_with_argmax_2d_precomputed_strides"],
        "the places of maxima",
    ),
];

/// A test whose expected numbers have been written down with four digits.
pub(super) const FOUR_DIGITS: &str = "test_averagepool_2d_ceil_last_window_starts_on_pad";

/// Types of numbers, by ONNX's number, that are not computed with here.
pub(super) const TYPES: [(i32, &str); 16] = [
    (0, "sequences and optional values"),
    (2, "whole numbers of 8 or 16 bits or without a sign"),
    (3, "whole numbers of 8 or 16 bits or without a sign"),
    (4, "whole numbers of 8 or 16 bits or without a sign"),
    (5, "whole numbers of 8 or 16 bits or without a sign"),
    (8, "text"),
    (12, "whole numbers of 8 or 16 bits or without a sign"),
    (13, "whole numbers of 8 or 16 bits or without a sign"),
    (17, "numbers of 8 or 4 bits"),
    (18, "numbers of 8 or 4 bits"),
    (19, "numbers of 8 or 4 bits"),
    (20, "numbers of 8 or 4 bits"),
    (21, "numbers of 8 or 4 bits"),
    (22, "numbers of 8 or 4 bits"),
    (23, "numbers of 8 or 4 bits"),
    (24, "numbers of 8 or 4 bits"),
];
