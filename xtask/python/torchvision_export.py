"""Writes one of torchvision's networks as ONNX, with what PyTorch computes with it.

    python torchvision_export.py FOLDER NAME

FOLDER/NAME gets `torchscript.onnx` and `dynamo.onnx`, each with what its exporter does unless told otherwise and a batch
of any length, of some networks `older.onnx` with an older operator set; `program.pt2`, what `torch.export` makes of it,
and of some `core.pt2`, the same decomposed into core operators; `torchscript.json` and so on, which say what is in each
file (where an exporter fails, `torchscript.txt` with its message instead); `input.npy` (two rows), `weights.npy` (one
number for each logit of a row), `logits.npy`, and `gradient.npy`, the gradient of the weighted sum of the logits by the
input; `logits64.npy` and `gradient64.npy` are the last two in double precision.

The weights are random. Three things are done so that every layer counts, and so that the numbers stay sensible in deep
networks: parameters that the initialisation leaves at one value (biases at 0, gains at 1, the scales of ConvNeXt's
branches at 1e-6, the last layer of a vision transformer at 0) are drawn around it; and batch norms get the statistics of
random images at their place in the network, one after another.

Both exporters fold batch norms into convolutions in single precision. That would round the weights, and a network whose
weights are off by 1e-7 has its kinks elsewhere: its gradient can't be compared, not even in double precision. So all
numbers of batch norms, and biases before them, are rounded such that folding is exact: their factors are powers of two,
their other numbers have few digits.
"""

import argparse
import functools
import json
import math
import shutil
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from torch import nn

# Pixels on each side: what the network was made for, where that is not 224. The segmenters take any; this is odd all
# the way down, so that nothing is resized by a whole factor.
SIDES = {"inception_v3": 299, "deeplabv3_resnet50": 131, "fcn_resnet50": 131}

# The first operator set that the TorchScript exporter takes for networks whose layer norms, GELUs, hard-swishes or
# attention were chains of simpler operators then.
OLDEST = {
    "convnext_tiny": 11,
    "efficientnet_b0": 11,
    "mobilenet_v3_large": 11,
    "swin_t": 11,
    "vit_b_16": 14,
}

# Networks whose program is written in core operators, too.
DECOMPOSED = ("convnext_tiny", "efficientnet_b0", "resnet50", "swin_t", "vit_b_16")

ROWS = 2


class Logits(nn.Module):
    """A segmenter's map of logits, without the dictionary around it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image)["out"]


def make(name, side):
    """The network with random weights, ready to be evaluated."""
    options = {"weights": None}
    if name in ("inception_v3", "googlenet"):
        options["init_weights"] = True
    if hasattr(torchvision.models.segmentation, name):
        options["weights_backbone"] = None
    network = torchvision.models.get_model(name, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            vary(parameter)
        settle(network, side)
    return Logits(network).eval() if "weights_backbone" in options else network


def vary(parameter):
    """Draws a parameter around the one value that it has everywhere; leaves others."""
    value = parameter.flatten()[0].item()
    if parameter.numel() == 1 or (parameter != value).any():
        return
    if value == 0 and parameter.dim() > 1:
        parameter.normal_(0, 1 / math.sqrt(parameter.shape[-1]))
    elif value == 0:
        parameter.normal_(0, 0.05).mul_(1024).round_().div_(1024)
    elif value == 1:
        parameter.uniform_(0.5, 1.5)
    else:
        parameter.uniform_(0.1, 0.5)


def settle(network, side):
    """Gives each batch norm the statistics of random images, given those of the batch norms before it."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(settle_norm) for norm in norms]
    network(torch.randn(4, 3, side, side))
    for hook in hooks:
        hook.remove()


def settle_norm(norm, inputs):
    """Statistics of the values that it is about to normalise, rounded to numbers that fold exactly."""
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
    deviation = torch.exp2(variance.sqrt().log2().round().clamp(min=-4))
    norm.weight.copy_(torch.where(norm.weight < 1, 0.5, 1.0))
    # About 1e-5, or as much as single precision still takes off the largest variance without rounding.
    norm.eps = max(2.0**-17, deviation.max().item() ** 2 * 2.0**-23)
    norm.running_var.copy_(deviation**2 - norm.eps)
    norm.running_mean.copy_((mean / deviation * 256).round() / 256 * deviation)


def answer(network, image, weights):
    """The logits, and the gradient of their weighted sum by the image."""
    image = image.clone().requires_grad_()
    logits = network(image)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), image)
    return logits.detach().numpy(), gradient.numpy()


def save(folder, image, weights, single, double):
    """Writes a question, and what is answered in each precision."""
    arrays = {"input": image.numpy(), "weights": weights.numpy()}
    arrays |= {"logits": single[0], "gradient": single[1], "logits64": double[0], "gradient64": double[1]}
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", np.ascontiguousarray(array))


def export_torchscript(network, image, path, **options):
    torch.onnx.export(
        network,
        (image,),
        path,
        dynamo=False,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
        **options,
    )


def export_dynamo(network, image, path):
    torch.onnx.export(
        network,
        (image,),
        path,
        dynamo=True,
        input_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )


def export_program(network, image, path, decomposed=False):
    program = torch.export.export(network, (image,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program.run_decompositions() if decomposed else program, path)


def exporters(name):
    """Each by its file."""
    yield "torchscript.onnx", export_torchscript
    yield "dynamo.onnx", export_dynamo
    if name in OLDEST:
        yield "older.onnx", functools.partial(export_torchscript, opset_version=OLDEST[name])
    yield "program.pt2", export_program
    if name in DECOMPOSED:
        yield "core.pt2", functools.partial(export_program, decomposed=True)


def describe(path):
    """The operator set, of a program the version of its schema, and how often each operator is there."""
    if path.suffix == ".pt2":
        with zipfile.ZipFile(path) as archive:
            program = json.loads(archive.read(f"{path.stem}/models/model.json"))
        nodes = program["graph_module"]["graph"]["nodes"]
        operators = Counter(node["target"] for node in nodes if "_assert" not in node["target"])
        opset = program["schema_version"]["major"]
        path.with_suffix(".json").write_text(json.dumps({"opset": opset, "operators": operators}, sort_keys=True))
        return
    model = onnx.load(path, load_external_data=False)
    (opset,) = [entry.version for entry in model.opset_import if entry.domain == ""]
    operators = Counter(node.op_type for node in model.graph.node)
    path.with_suffix(".json").write_text(json.dumps({"opset": opset, "operators": operators}, sort_keys=True))


def export(name, folder):
    torch.manual_seed(0)
    side = SIDES.get(name, 224)
    network = make(name, side)
    image = torch.randn(ROWS, 3, side, side)
    with torch.no_grad():
        weights = torch.randn(network(image).shape[1:])
    single = answer(network, image, weights)
    for file, exporter in exporters(name):
        try:
            exporter(network, image, folder / file)
            describe(folder / file)
        except Exception as error:  # whatever it is, the table says it
            (folder / file).with_suffix(".txt").write_text(str(error))
            print(f"{name}: {file}: {error}", file=sys.stderr)
    double = answer(network.double(), image.double(), weights.double())
    save(folder, image, weights, single, double)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    # Written beside its place first, so that a folder of this name is whole.
    part = arguments.folder / f"{arguments.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    export(arguments.name, part)
    part.rename(arguments.folder / arguments.name)


if __name__ == "__main__":
    main()
