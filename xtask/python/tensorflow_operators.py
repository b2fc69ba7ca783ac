"""Writes crates/attr-graphdef/tests/fixtures/operators.pb: TensorFlow's operators, a few to an output of one frozen graph.

Run it with a Python that has tensorflow-cpu 2.16.2 and Keras 3.15, from the repository's root:

    python xtask/python/tensorflow_operators.py

`operators.npz` has `input.NAME` for each of the graph's inputs (two rows), and for each output `output.NAME`, and
`gradient.NAME.INPUT`, the derivative of the sum over the rows of the output's last number, doubled, by an input that it
depends on.
"""

import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tensorflow_fixtures import FIXTURES, fill, write

INPUTS = {"image": (7, 6, 4), "sequence": (7, 4), "vector": (6,)}
numbers = numpy.random.default_rng(11)


def constant(*shape):
    return tf.constant(numbers.normal(size=shape) * 0.5, tf.float32)


def conv(x, channels=3):
    return tf.nn.conv2d(x, constant(2, 2, 4, channels), 1, "VALID")


def built(layer, *shape):
    """A layer for rows of this shape, with its parameters drawn."""
    layer.build((None, *shape))
    fill(layer, numbers)
    return layer


def after(*steps):
    """One step after another."""

    def run(x):
        for step in steps:
            x = step(x)
        return x

    return run


def outer(x):
    return x[:, :, None] * x[:, None, :]


def products(x):
    """Matrix products of two values, one operand of each transposed or its axes in another order."""
    square, part = outer(x), outer(x)[:, :, :3]
    by_name = tf.einsum("bij,bik->bkj", square, part)
    return by_name @ square + tf.linalg.matmul(part, square, transpose_a=True)


def spread(x):
    """A constant for each row, one number for each row, and a value along a new axis."""
    rows = tf.shape(x)[0]
    token = tf.broadcast_to(constant(1, 2, 6), [rows, 2, 6])
    filled = tf.fill([rows, 1, 6], 0.5)
    repeated = tf.broadcast_to(x[:, None], [rows, 3, 6])
    return tf.concat([token, filled, repeated], 1) * x[:, None]


def resized(operator, centers, corners):
    return lambda x: operator(images=x, size=[5, 12], half_pixel_centers=centers, align_corners=corners)


def fused_batch_norm(x):
    y = tf.raw_ops.FusedBatchNormV3(
        x=conv(x), scale=constant(3), offset=constant(3), mean=constant(3), variance=constant(3) ** 2 + 0.5,
        epsilon=0.01, is_training=False,
    )
    return y[0]


def parts(x):
    first, second, third = tf.split(x, [2, 3, -1], axis=1)
    return tf.concat([third, first], 1) + tf.reduce_mean(second, [1, 2, 3], keepdims=True)


def gated(x):
    first, second = tf.split(tf.nn.relu(x), 2, axis=-1)
    return first * tf.sigmoid(second)


def of_image():
    """Operators of pictures, channels last."""
    excite = built(layers.Dense(4, activation="sigmoid"), 1, 1, 4)
    return {
        "conv_strides": layers.Conv2D(3, (3, 2), strides=(3, 2), padding="same"),
        "conv_groups": layers.Conv2D(6, 3, groups=2),
        "conv_dilated": layers.Conv2D(3, 3, dilation_rate=(3, 2), padding="same"),
        "conv_explicit": lambda x: tf.nn.conv2d(x, constant(3, 3, 4, 2), 2, [[0, 0], [2, 1], [0, 2], [0, 0]]),
        "depthwise": layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=3),
        "depthwise_dilated": layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", depth_multiplier=2),
        "separable": layers.SeparableConv2D(5, 3, strides=2),
        "transposed_same": layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
        "transposed_valid": layers.Conv2DTranspose(3, 3, strides=2, output_padding=1),
        "transposed_gaps": layers.Conv2DTranspose(3, 2, strides=3),
        "average_same": layers.AveragePooling2D(3, strides=2, padding="same"),
        "average_valid": layers.AveragePooling2D((2, 3)),
        "max_same": layers.MaxPooling2D(2, strides=3, padding="same"),
        "max_explicit": lambda x: tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [0, 2], [0, 0]]),
        "max_all": layers.GlobalMaxPooling2D(keepdims=True),
        "mean_all": after(layers.GlobalAveragePooling2D(keepdims=True), built(layers.Dense(3), 1, 1, 4)),
        "nearest": layers.UpSampling2D((3, 2)),
        "bilinear_centers": resized(tf.raw_ops.ResizeBilinear, True, False),
        "bilinear_corners": resized(tf.raw_ops.ResizeBilinear, False, True),
        "bilinear_plain": resized(tf.raw_ops.ResizeBilinear, False, False),
        "nearest_plain": resized(tf.raw_ops.ResizeNearestNeighbor, False, False),
        "nearest_double": lambda x: tf.image.resize(x, (14, 12), method="nearest"),
        "batch_norm": layers.BatchNormalization(),
        "batch_norm_unscaled": after(conv, built(layers.BatchNormalization(scale=False), 6, 5, 3)),
        "batch_norm_uncentred": after(conv, built(layers.BatchNormalization(center=False, epsilon=0.02), 6, 5, 3)),
        "batch_norm_fused": fused_batch_norm,
        "layer_norm_all": layers.LayerNormalization(axis=[1, 2, 3]),
        "group_norm": layers.GroupNormalization(2),
        "pad_value": lambda x: tf.pad(conv(x), [[0, 0], [1, 0], [0, 2], [0, 1]], constant_values=-1.5),
        "crop": after(conv, layers.Cropping2D(((1, 2), (0, 3)))),
        "flatten": after(conv, layers.Flatten(), built(layers.Dense(3), 90)),
        "dense_each": after(conv, built(layers.Dense(2), 6, 5, 3)),
        "concat_channels": lambda x: tf.concat([conv(x), x[:, :6, 1:]], -1),
        "concat_rows": lambda x: tf.concat([conv(x, 4), x[:, :2, :5]], 1),
        "softmax_channels": lambda x: tf.nn.softmax(conv(x)),
        "softmax_rows": lambda x: tf.nn.softmax(conv(x), axis=1),
        "by_channel": lambda x: 2.0 - constant(3) / (conv(x) ** 2 + 1.0) + constant(3),
        "by_entry": lambda x: constant(6, 5, 3) - conv(x) * constant(5, 1),
        "centred": lambda x: (lambda y: y - tf.reduce_mean(y, -1, keepdims=True))(conv(x)),
        "without_channels": lambda x: tf.reduce_mean(conv(x), -1),
        "without_rows": lambda x: tf.reduce_sum(conv(x), 1) + constant(3),
        "excited": lambda x: x * excite(tf.reduce_mean(x, [1, 2], keepdims=True)),
        "channels_first": lambda x: tf.transpose(tf.nn.relu(tf.transpose(conv(x), [0, 3, 1, 2])), [0, 2, 3, 1]),
        "turned": lambda x: tf.transpose(conv(x), [0, 2, 1, 3]),
        "entries": lambda x: tf.concat([x[:, 1:3, 2], x[:, -2:, 0], x[:, ::1, 1, :][:, 3:5]], 1),
        "new_axis": lambda x: x[:, tf.newaxis, 2:, ..., 1],
        "gated": gated,
        "parts": parts,
        "prelu": after(conv, built(layers.PReLU(shared_axes=[1, 2]), 6, 5, 3)),
        "sums": lambda x: tf.add_n([conv(x), conv(x), conv(x)]),
    }


def of_sequence():
    """Operators of sequences."""
    return {
        "conv1d": layers.Conv1D(3, 3, strides=2, padding="same"),
        "conv1d_causal": layers.Conv1D(3, 3, dilation_rate=2, padding="causal"),
        "conv1d_transposed": layers.Conv1DTranspose(3, 3, strides=2, padding="same"),
        "pool1d": after(layers.MaxPooling1D(3, 2), layers.AveragePooling1D(2, padding="same")),
        "max1d": layers.GlobalMaxPooling1D(),
        "nearest1d": layers.UpSampling1D(3),
        "batch_norm1d": layers.BatchNormalization(),
        "layer_norm": layers.LayerNormalization(),
        "dense_sequence": layers.Dense(5, activation="gelu"),
        "einsum": lambda x: tf.einsum("bij,jkl->bikl", x, constant(4, 3, 2)),
        "einsum_two": lambda x: tf.einsum("...jk,jkl->...l", x, constant(7, 4, 3)),
        "tensordot": lambda x: tf.tensordot(x, constant(7, 4, 5), [[1, 2], [0, 1]]),
        "transposed_matrix": lambda x: tf.matmul(x, constant(3, 4), transpose_b=True),
        "stack": lambda x: tf.stack([x[:, 0], x[:, 1] * 2.0], axis=2),
        "unstack": lambda x: (lambda rows: rows[0] * rows[1] + rows[6])(tf.unstack(x, axis=1)),
        "expanded": lambda x: tf.squeeze(tf.nn.conv2d(tf.expand_dims(x, -1), constant(2, 4, 1, 3), 1, "VALID"), [2]),
        "tiled": lambda x: tf.tile(x, [1, 2, 3]),
        "merged": lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [tf.size(x) // tf.shape(x)[0]]], 0)),
    }


def of_vector():
    """Functions of each number by itself, and of rows."""
    return {
        "roots": lambda x: tf.sqrt(x * x + 1.0) + tf.math.rsqrt(x**2 + 1.0) + tf.math.reciprocal(x * x + 0.5),
        "powers": lambda x: x**3 + tf.square(x) + x**4 + tf.math.squared_difference(x, 2.0),
        "exponentials": lambda x: tf.exp(x) + tf.math.expm1(x) + tf.math.erf(x) + tf.math.erfc(x) + tf.abs(x),
        "bounds": lambda x: tf.clip_by_value(x, -0.5, 0.5) + tf.maximum(x, 0.2) + tf.minimum(0.1, x) + tf.nn.relu6(x),
        "kinks": lambda x: tf.nn.elu(x) + tf.nn.selu(x) + tf.nn.leaky_relu(x, 0.3) + tf.nn.softsign(x),
        "mish": layers.Activation("mish"),
        "celu": layers.Activation("celu"),
        "log_sigmoid": layers.Activation("log_sigmoid"),
        "squareplus": layers.Activation("squareplus"),
        "unit": lambda x: tf.nn.l2_normalize(x, -1),
        "root_mean_square": layers.RMSNormalization(),
        "repeated": after(layers.RepeatVector(4), built(layers.Conv1D(2, 2), 4, 6)),
        "rows": spread,
        "products": products,
        "pictured": after(built(layers.Dense(32), 6), layers.Reshape((4, 4, 2)), built(layers.Conv2D(3, 2), 4, 4, 2)),
    }


def main():
    keras.utils.set_random_seed(0)
    made = {"image": of_image(), "sequence": of_sequence(), "vector": of_vector()}
    given = {name: numbers.normal(size=(2, *shape)).astype("f4") for name, shape in INPUTS.items()}
    for name, cases in made.items():
        for layer in filter(lambda case: isinstance(case, keras.Layer), cases.values()):
            built(layer, *INPUTS[name])
    signature = [tf.TensorSpec((None, *shape), name=name) for name, shape in INPUTS.items()]

    @tf.function(input_signature=signature)
    def everything(image, sequence, vector):
        by_name = {"image": image, "sequence": sequence, "vector": vector}
        cases = [(case, make(by_name[name])) for name, cases in made.items() for case, make in cases.items()]
        return [tf.identity(value, name=f"case.{case}") for case, value in cases]

    traced = everything.get_concrete_function()
    graph = convert_variables_to_constants_v2(traced).graph.as_graph_def()
    functions = [function.node_def for function in graph.library.function]
    for node in [node for nodes in [graph.node, *functions] for node in nodes]:
        for attribute in [name for name in node.attr if name.startswith("_") and name != "_gradient_op_type"]:
            del node.attr[attribute]
    (FIXTURES / "operators.pb").write_bytes(graph.SerializeToString(deterministic=True))
    found = {f"input.{name}": value for name, value in given.items()}
    inputs = [tf.constant(value) for value in given.values()]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        outputs = traced(*inputs)
        sums = [2.0 * tf.reduce_sum(tf.reshape(value, (2, -1))[:, -1]) for value in outputs]
    names = [case for cases in made.values() for case in cases]
    for case, value, total in zip(names, outputs, sums):
        found[f"output.{case}"] = value.numpy()
        for name, gradient in zip(INPUTS, tape.gradient(total, inputs)):
            if gradient is not None and numpy.any(gradient):
                found[f"gradient.{case}.{name}"] = gradient.numpy()
    write("operators", found)


main()
