"""Writes crates/attr-cli/tests/fixtures: one network in the formats of PyTorch.

Run it with a Python that has torch:

    python xtask/python/cli_fixtures.py crates/attr-cli/tests/fixtures

The network and its weights are those of `pictures` in crates/attr-cli/tests/bench/mod.rs, but for the softmax
at its end: its outputs are the logits. `pictures.pt` is TorchScript, `weights.pth` what people mistake for it.
"""

import io
import math
import pathlib
import sys
import zipfile

import torch
from torch import nn

ROW = (3, 6, 8)


def numbers(*dims: int) -> torch.Tensor:
    count = math.prod(dims)
    return torch.tensor([math.sin(1.7 * i) for i in range(1, count + 1)], dtype=torch.float64).reshape(dims)


def pictures() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(240, 4, bias=False))
    weights = [numbers(5, 3, 3, 3) * 0.3, numbers(5) * 0.1, numbers(4, 240) * 0.1]
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        parameter.data = weight.float()
    return model.eval()


def save(script: torch.jit.ScriptModule, path: pathlib.Path) -> None:
    """Without what TorchScript keeps for messages: the folders of the machine it was made on."""
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as kept:
        for entry in whole.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                kept.writestr(zipfile.ZipInfo(entry.filename), whole.read(entry))


def main(folder: pathlib.Path) -> None:
    model = pictures()
    save(torch.jit.trace(model, torch.zeros(2, *ROW)), folder / "pictures.pt")
    torch.save(model.state_dict(), folder / "weights.pth")


main(pathlib.Path(sys.argv[1]))
