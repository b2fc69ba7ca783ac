"""Writes the weights of one of torchvision's networks, with what PyTorch computes with them.

    python network_weights.py FOLDER NAME

FOLDER/NAME gets `weights.safetensors`, the network's state under torchvision's names: kernels and matrices in bfloat16,
to which they are rounded first, all else in single precision. `input.npy` (two rows), `weights.npy` (one number for each
logit of a row), `logits.npy` and `gradient.npy` are as `torchvision_export.py` writes them, `logits64.npy` and
`gradient64.npy` in double precision. `modules.json` has, for each module by its path, the mean of the squares of what it
gives in double precision: the first time that it is called, if it has no modules in it, or else the last time.

The weights are random, as they are there; batch norms keep torchvision's epsilon. There are ten classes, and pictures are
small, mostly not square, and such that the pooling before the classifier has windows of several lengths.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
import torchvision
from torch import nn

from torchvision_export import answer, save, vary

CLASSES = 10

# Height and width, where they are not those of the last entry.
SIZES = {
    "alexnet": (127, 224),
    "vgg16_bn": (224, 224),
    "vgg13": (448, 224),
    "vit_b_16": (64, 64),
    "vit_b_32": (96, 96),
    "vit_l_16": (64, 64),
    "vit_l_32": (96, 96),
    "vit_h_14": (56, 56),
    "": (96, 80),
}

ROWS = 2

TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}


def make(name, size):
    """The network with random weights, ready to be evaluated."""
    options = {"image_size": size[0]} if name.startswith("vit") else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            vary(parameter)
            if parameter.dim() > 1:
                parameter.copy_(parameter.bfloat16())
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
        network(torch.randn(4, 3, *size))
        for hook in hooks:
            hook.remove()
    return network


def settle(norm, inputs):
    """Statistics of the values that a batch norm is about to normalise, but not smaller than all else."""
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
    norm.running_var.copy_(variance.clamp(min=1e-3))
    norm.running_mean.copy_(mean)


def write_safetensors(path, tensors):
    header, offset, parts = {}, 0, []
    for name, tensor in tensors.items():
        data = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *parts]))


def state(network):
    def stored(tensor):
        return tensor.bfloat16() if tensor.dim() > 1 else tensor

    return {name: stored(tensor.detach()) for name, tensor in network.state_dict().items()}


def modules(network, image):
    """What each module gives, as one number."""
    squares = {}

    def see(name, has_modules):
        def hook(_module, _inputs, output):
            value = output[0] if isinstance(output, tuple) else output
            if has_modules or name not in squares:
                squares[name] = value.square().mean().item()

        return hook

    for name, module in network.named_modules():
        if name:
            module.register_forward_hook(see(name, any(True for _ in module.children())))
    with torch.no_grad():
        network(image)
    return squares


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    name = arguments.name
    torch.manual_seed(0)
    size = SIZES.get(name, SIZES[""])
    network = make(name, size)
    # Written beside its place first, so that a folder of this name is whole.
    part = arguments.folder / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_safetensors(part / "weights.safetensors", state(network))
    # As a parallel training saves it.
    parallel = {f"module.{name}": tensor for name, tensor in state(network).items()}
    torch.save({"epoch": 1, "state_dict": parallel}, part / "weights.pth")
    image, weights = torch.randn(ROWS, 3, *size), torch.randn(CLASSES)
    single = answer(network, image, weights)
    network = network.double()
    double = answer(network, image.double(), weights.double())
    (part / "modules.json").write_text(json.dumps(modules(network, image.double())))
    save(part, image, weights, single, double)
    part.rename(arguments.folder / name)


if __name__ == "__main__":
    main()
