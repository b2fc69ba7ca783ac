"""Writes crates/attr-torch/tests/fixtures: TorchScript files, and what PyTorch computes with them.

Run it with a Python that has torch 2.13, from the repository's root:

    python xtask/python/torchscript_fixtures.py
"""

import pathlib
import zipfile

import numpy
import torch
from torch import nn

FIXTURES = pathlib.Path("crates/attr-torch/tests/fixtures")


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(4 * 4 * 4, 5)

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.conv(x))))
        return self.fc(self.drop(x.flatten(1)))


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        y = self.fc(x)
        return y, [torch.tanh(y), x * 2.0]


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x, scale):
        return self.fc(x) * scale


class Dictionary(nn.Module):
    def forward(self, x):
        return {"out": x}


def gradients(network, inputs):
    """The derivatives of the sum over rows of twice the last number of the output."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(2.0 * network(*inputs)[:, -1].sum(), inputs)


def save(module, name):
    """Without what TorchScript keeps for messages: the folders of the machine it was made on."""
    path = FIXTURES / name
    module.save(path)
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.namelist() if not entry.endswith(".debug_pkl")]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries:
            archive.writestr(zipfile.ZipInfo(entry), data)


def main():
    torch.manual_seed(0)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    arrays = {}

    network = Network()
    for _ in range(3):
        network(torch.randn(4, 2, 8, 8) * 2.0 + 1.0)
    # Saved in training mode, with parameters that ask for gradients: loading has to see to both.
    save(torch.jit.script(network), "scripted.pt")
    torch.save(network.state_dict(), FIXTURES / "state_dict.pth")
    network.eval()
    image = torch.randn(2, 2, 8, 8)
    save(torch.jit.trace(network, image), "traced.pt")
    arrays |= {"image": image, "logits": network(image), "gradient": gradients(network, [image])[0]}

    two_outputs, x = TwoOutputs().eval(), torch.randn(2, 3)
    save(torch.jit.script(two_outputs), "two_outputs.pt")
    first, (second, third) = two_outputs(x)
    arrays |= {"x": x, "first": first, "second": second, "third": third}

    two_inputs, scale = TwoInputs().eval(), torch.tensor([[0.5], [-2.0]])
    save(torch.jit.script(two_inputs), "two_inputs.pt")
    by_x, by_scale = gradients(two_inputs, [x, scale])
    arrays |= {"scale": scale, "scaled": two_inputs(x, scale), "by_x": by_x, "by_scale": by_scale}

    save(torch.jit.script(Dictionary()), "dictionary.pt")
    numpy.savez(FIXTURES / "torchscript.npz", **{name: value.detach().numpy() for name, value in arrays.items()})


main()
