"""Writes tests/fixtures/operators.json: layers' values and cotangents from PyTorch and ONNX Runtime.

Run it with a Python that has torch and onnxruntime (`cargo xtask setup` makes one):

    python xtask/python/operator_fixtures.py > tests/fixtures/operators.json

Each entry is named after a case of tests/tests/operators/cases.rs, which says what the layer is. Here the
same layer is written in the tool's own words. Numbers are multiples of 1/8, so that the file is short and
inputs are exact in every precision.
"""

import json
import random

import numpy
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

ROWS = 1
random.seed(20)


def draw(shape, positive=False):
    numbers = [random.randint(1, 24) if positive else random.randint(-12, 12) for _ in range(int(numpy.prod(shape)))]
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape) / 8


def packed(tensor):
    array = numpy.asarray(tensor)
    return {"shape": list(array.shape), "data": [short(x) for x in array.reshape(-1).tolist()]}


def short(number):
    number = float(f"{number:.13g}")
    return int(number) if number.is_integer() else number


def torch_case(function, inputs, params=()):
    """The value in double precision and the cotangents of all inputs."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    output = function(*inputs, *params)
    cotangent = draw(output.shape)
    gradients = torch.autograd.grad(output, inputs, cotangent)
    return {
        "source": f"torch {torch.__version__.split('+')[0]}",
        "precision": "f64",
        "inputs": [packed(x.detach()) for x in inputs],
        "params": [packed(p) for p in params],
        "output": packed(output.detach()),
        "cotangent": packed(cotangent),
        "gradients": [packed(g) for g in gradients],
    }


def onnx_resize(row, size, mode, coordinates, nearest="round_prefer_floor"):
    """The value in single precision; ONNX Runtime has no way back."""
    x = draw([ROWS, *row])
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = nearest
    nodes = [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)]
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [len(x.shape)], [*x.shape[:2], *size])
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x.numpy().astype(numpy.float32)})
    return {
        "source": f"onnxruntime {onnxruntime.__version__}",
        "precision": "f32",
        "inputs": [packed(x)],
        "params": [],
        "output": packed(y),
    }


def conv(row, weight, pad=None, **attributes):
    """`pad` is PyTorch's, from the last axis to the first, for padding that is not symmetric."""
    function = [F.conv1d, F.conv2d, F.conv3d][len(row) - 2]
    layer = lambda x, w, b: function(F.pad(x, pad) if pad else x, w, b, **attributes)
    return torch_case(layer, [draw([ROWS, *row])], [draw(weight), draw(weight[:1])])


def conv_transpose(row, weight, crop=None, **attributes):
    """`crop` is as a negative `pad`, for padding that is not symmetric."""
    function = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][len(row) - 2]
    whole = lambda x, w, b: function(x, w, b, **attributes)
    layer = lambda x, w, b: F.pad(whole(x, w, b), [-n for n in crop]) if crop else whole(x, w, b)
    bias = [weight[1] * attributes.get("groups", 1)]
    return torch_case(layer, [draw([ROWS, *row])], [draw(weight), draw(bias)])


def pool(function, row, pad=None, fill=0.0, **attributes):
    layer = lambda x: function(F.pad(x, pad, value=fill) if pad else x, **attributes)
    return torch_case(layer, [distinct([ROWS, *row])])


def distinct(shape):
    """No two numbers alike, so that a maximum has one place."""
    count = int(numpy.prod(shape))
    numbers = random.sample(range(-count, count + 1), count)
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape) / 8


def norm(row, epsilon):
    channels = row[:1]
    params = [draw(channels), draw(channels), draw(channels), draw(channels, positive=True)]
    layer = lambda x, gamma, beta, mean, variance: F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, epsilon)
    return torch_case(layer, [draw([ROWS, *row])], params)


def resize(row, size, mode, align=None):
    return torch_case(lambda x: F.interpolate(x, size=size, mode=mode, align_corners=align), [draw([ROWS, *row])])


CASES = {
    "conv 3 x 3": lambda: conv([2, 5, 4], [3, 2, 3, 3]),
    "conv even kernel": lambda: conv([2, 5, 5], [2, 2, 2, 4]),
    "conv stride 2": lambda: conv([2, 7, 6], [3, 2, 3, 3], stride=2, padding=1),
    "conv stride with entries left over": lambda: conv([1, 7, 6], [2, 1, 2, 2], stride=3),
    "conv asymmetric padding": lambda: conv([2, 4, 3], [2, 2, 3, 3], pad=(3, 1, 0, 2)),
    "conv padding larger than the kernel": lambda: conv([1, 2, 3], [2, 1, 2, 2], pad=(4, 0, 3, 3)),
    "conv dilation": lambda: conv([2, 6, 8], [2, 2, 3, 2], dilation=(2, 3)),
    "conv stride, dilation and asymmetric padding": lambda: conv(
        [2, 6, 7], [3, 2, 2, 3], pad=(2, 3, 1, 0), stride=(2, 3), dilation=(2, 1)
    ),
    "conv groups": lambda: conv([4, 4, 4], [6, 2, 2, 2], groups=2),
    "conv depthwise": lambda: conv([3, 4, 5], [3, 1, 3, 3], padding=1, groups=3),
    "conv depthwise with multiplier": lambda: conv([2, 4, 4], [6, 1, 3, 3], padding=1, groups=2),
    "conv 1-d with stride, dilation, padding and groups": lambda: conv(
        [4, 9], [4, 2, 3], pad=(2, 1), stride=2, dilation=2, groups=2
    ),
    "conv 3-d with stride, padding and dilation": lambda: conv(
        [2, 3, 4, 3], [2, 2, 2, 2, 2], pad=(1, 1, 0, 1, 1, 0), stride=(1, 2, 1), dilation=(1, 1, 2)
    ),
    "linear over the last of three axes": lambda: torch_case(F.linear, [draw([ROWS, 4, 5])], [draw([3, 5]), draw([3])]),
    "batch norm, 2-d": lambda: norm([3, 2, 4], 1e-5),
    "batch norm of features": lambda: norm([4], 0.1),
    "leaky relu": lambda: torch_case(lambda x: F.leaky_relu(x, 0.1), [draw([ROWS, 3, 4])]),
    "sigmoid": lambda: torch_case(torch.sigmoid, [draw([ROWS, 3, 4])]),
    "tanh": lambda: torch_case(torch.tanh, [draw([ROWS, 3, 4])]),
    "softplus": lambda: torch_case(F.softplus, [draw([ROWS, 3, 4])]),
    "softmax over axis 2": lambda: torch_case(lambda x: F.softmax(x, 2), [draw([ROWS, 3, 4, 2])]),
    "log-softmax over axis 1": lambda: torch_case(lambda x: F.log_softmax(x, 1), [draw([ROWS, 3, 4, 2])]),
    "max pool 2 x 2 with entries left over": lambda: pool(F.max_pool2d, [2, 5, 5], kernel_size=2),
    "max pool 3 x 3, stride 2, padding 1": lambda: pool(F.max_pool2d, [2, 7, 6], kernel_size=3, stride=2, padding=1),
    "max pool asymmetric padding": lambda: pool(
        F.max_pool2d, [2, 6, 5], pad=(2, 0, 0, 1), fill=-1e9, kernel_size=3, stride=2
    ),
    "max pool dilation": lambda: pool(F.max_pool2d, [2, 5, 4], kernel_size=2, stride=1, dilation=(2, 1)),
    "max pool ceil": lambda: pool(F.max_pool2d, [2, 5, 5], kernel_size=2, ceil_mode=True),
    "max pool ceil and padding": lambda: pool(
        F.max_pool2d, [2, 6, 6], kernel_size=3, stride=2, padding=1, ceil_mode=True
    ),
    "max pool 1-d with ceil and dilation": lambda: pool(
        F.max_pool1d, [2, 8], kernel_size=2, stride=2, dilation=2, ceil_mode=True
    ),
    "average pool overlapping, padding counts": lambda: pool(F.avg_pool2d, [2, 5, 4], kernel_size=3, stride=1),
    "average pool 3 x 3, stride 2, padding 1, padding counts": lambda: pool(
        F.avg_pool2d, [2, 7, 6], kernel_size=3, stride=2, padding=1, count_include_pad=True
    ),
    "average pool 3 x 3, stride 2, padding 1, padding left out": lambda: pool(
        F.avg_pool2d, [2, 7, 6], kernel_size=3, stride=2, padding=1, count_include_pad=False
    ),
    "average pool asymmetric padding, padding counts": lambda: pool(
        F.avg_pool2d, [2, 6, 5], pad=(2, 0, 0, 1), kernel_size=3, stride=2
    ),
    "average pool ceil, padding counts": lambda: pool(F.avg_pool2d, [2, 5, 5], kernel_size=2, ceil_mode=True),
    "average pool ceil and padding, padding counts": lambda: pool(
        F.avg_pool2d, [2, 6, 6], kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=True
    ),
    "average pool ceil and padding, padding left out": lambda: pool(
        F.avg_pool2d, [2, 6, 6], kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False
    ),
    "resize doubled, nearest floor, asymmetric": lambda: resize([2, 3, 4], (6, 8), "nearest"),
    "resize up, nearest floor, asymmetric": lambda: resize([2, 3, 4], (7, 5), "nearest"),
    "resize down, nearest floor, asymmetric": lambda: resize([2, 5, 6], (2, 4), "nearest"),
    "resize doubled, linear, half-pixel": lambda: resize([2, 3, 4], (6, 8), "bilinear", False),
    "resize up, linear, half-pixel": lambda: resize([2, 3, 4], (7, 5), "bilinear", False),
    "resize down, linear, half-pixel": lambda: resize([2, 5, 6], (2, 4), "bilinear", False),
    "resize up, linear, align-corners": lambda: resize([2, 3, 4], (7, 5), "bilinear", True),
    "resize down, linear, align-corners": lambda: resize([2, 5, 6], (2, 4), "bilinear", True),
    "resize to one, linear, align-corners": lambda: resize([2, 4, 5], (1, 1), "bilinear", True),
    "resize from one, linear, half-pixel": lambda: resize([2, 1, 2], (3, 4), "bilinear", False),
    "resize 1-d, linear, half-pixel": lambda: resize([2, 5], 8, "linear", False),
    "resize up, nearest, half-pixel": lambda: onnx_resize([2, 3, 4], (7, 5), "nearest", "half_pixel"),
    "resize doubled, nearest, half-pixel": lambda: onnx_resize([2, 3, 4], (6, 8), "nearest", "half_pixel"),
    "resize down, nearest, half-pixel": lambda: onnx_resize([2, 5, 6], (2, 4), "nearest", "half_pixel"),
    "resize up, nearest, align-corners": lambda: onnx_resize([2, 3, 4], (7, 5), "nearest", "align_corners"),
    "resize up, nearest, asymmetric": lambda: onnx_resize([2, 3, 4], (7, 5), "nearest", "asymmetric"),
    "resize doubled, nearest, asymmetric": lambda: onnx_resize([2, 3, 4], (6, 8), "nearest", "asymmetric"),
    "resize up, nearest floor, half-pixel": lambda: onnx_resize([2, 3, 4], (7, 5), "nearest", "half_pixel", "floor"),
    "resize to one, linear, half-pixel": lambda: onnx_resize([2, 4, 5], (1, 1), "linear", "half_pixel"),
    "resize to one, linear, pytorch half-pixel": lambda: onnx_resize([2, 4, 5], (1, 1), "linear", "pytorch_half_pixel"),
    "resize up, linear, asymmetric": lambda: onnx_resize([2, 3, 4], (7, 5), "linear", "asymmetric"),
    "transposed conv overlapping": lambda: conv_transpose([2, 4, 3], [2, 3, 4, 4], stride=2, padding=1),
    "transposed conv asymmetric padding": lambda: conv_transpose([2, 4, 5], [2, 2, 3, 3], crop=(3, 1, 0, 2)),
    "transposed conv output padding": lambda: conv_transpose(
        [2, 4, 3], [2, 3, 3, 3], stride=2, padding=1, output_padding=1
    ),
    "transposed conv output padding larger than the stride": lambda: conv_transpose(
        [2, 3, 4], [2, 2, 2, 2], dilation=(3, 4), output_padding=(2, 3)
    ),
    "transposed conv stride, dilation and asymmetric padding": lambda: conv_transpose(
        [2, 4, 5], [2, 3, 2, 3], crop=(2, 3, 1, 0), stride=(2, 3), dilation=(2, 1), output_padding=(1, 2)
    ),
    "transposed conv groups, stride and padding": lambda: conv_transpose(
        [6, 3, 4], [6, 2, 3, 3], stride=2, padding=1, output_padding=(1, 0), groups=3
    ),
    "transposed conv 1-d with stride, dilation, padding and groups": lambda: conv_transpose(
        [4, 6], [4, 2, 3], crop=(2, 1), stride=2, dilation=2, output_padding=1, groups=2
    ),
    "transposed conv 3-d with stride, padding and dilation": lambda: conv_transpose(
        [2, 3, 2, 3],
        [2, 2, 2, 2, 2],
        crop=(1, 1, 0, 1, 1, 0),
        stride=(1, 2, 1),
        dilation=(1, 1, 2),
        output_padding=(0, 1, 1),
    ),
}

entries = [f"{json.dumps(name)}: {json.dumps(make(), separators=(',', ':'))}" for name, make in CASES.items()]
print("{\n" + ",\n".join(entries) + "\n}")
