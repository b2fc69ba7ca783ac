"""How long integrated gradients with 50 steps take in TensorFlow on VGG16 with random weights, and how much memory.

The counterpart of crates/attr-tf/examples/integrated_gradients.rs: the same work, the gradients by a `tf.function` with
a `GradientTape`, and the quantity at both ends.

`python tensorflow_gradient.py export FOLDER` writes the network as a SavedModel. `python tensorflow_gradient.py measure
REPEATS THREADS BATCH [STEPS]` measures, where BATCH is how many points are one call.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy
import tensorflow as tf
from measuring import best, peak_memory

# Of any batch, so that the last one, which may be smaller, is no other function.
IMAGES = tf.TensorSpec([None, 224, 224, 3])
CLASS = 3


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(weights=None, classifier_activation=None)


def export(folder: str) -> None:
    network().export(folder, verbose=False)


def measure(repeats: int, threads: int, batch: int, steps: int = 50) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    print(f"matrix product: {matrix_product_rate():.0f} GFLOP/s")
    model = network()

    @tf.function(input_signature=[IMAGES])
    def quantity(x):
        return model(x, training=False)[:, CLASS]

    @tf.function(input_signature=[IMAGES])
    def gradient(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            total = tf.reduce_sum(model(x, training=False)[:, CLASS])
        return tape.gradient(total, x)

    nodes, weights = numpy.polynomial.legendre.leggauss(steps)
    nodes, weights = (nodes + 1.0) / 2.0, weights / 2.0
    x = numpy.random.default_rng(0).random((1, 224, 224, 3), "f4")
    baseline = numpy.zeros_like(x)

    def work() -> None:
        total = numpy.zeros_like(x)
        for start in range(0, steps, batch):
            at = nodes[start : start + batch, None, None, None].astype("f4")
            weight = weights[start : start + batch].astype("f4")
            slope = gradient(tf.constant(baseline + at * (x - baseline))).numpy()
            total += numpy.tensordot(weight, slope, 1)
        attribution = total * (x - baseline)
        here, there = quantity(tf.constant(x)).numpy(), quantity(tf.constant(baseline)).numpy()
        # A network without biases is linear along the way from zero, so that any number of steps is exact.
        expected = (here - there)[0]
        if abs(attribution.sum() - expected) > 0.01 * abs(expected):
            sys.exit(f"completeness: expected {expected}, found {attribution.sum()}")

    print(f"integrated gradients: min {best(repeats, work):.3f} s")
    print(f"peak memory: {peak_memory()} MiB")


def matrix_product_rate(n: int = 1024) -> float:
    a = tf.fill([n, n], 0.5)
    return 2 * n**3 / best(30, lambda: tf.linalg.matmul(a, a).numpy()) / 1e9


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(sys.argv[2])
    else:
        measure(*map(int, sys.argv[2:]))
