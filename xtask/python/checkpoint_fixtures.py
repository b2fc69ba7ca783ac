"""Writes crates/attr-checkpoint/tests/fixtures: what torch.save writes, in each of its formats.

Run it with a Python that has torch, from the repository's root:

    python xtask/python/checkpoint_fixtures.py

`zip.pth`, `legacy.pth` and `protocol-4.pth` are the same checkpoint of a training, in today's format, in that before PyTorch
1.6, and with a newer kind of pickle; `numbers.npz` has its tensors by the path to them. `module.pth` is a whole module,
which is more than data. `arrays.pickle` holds arrays of NumPy's.
"""

import pathlib
import pickle

import numpy
import torch
from torch import nn

FIXTURES = pathlib.Path("crates/attr-checkpoint/tests/fixtures")


def tensors():
    shared = torch.arange(12.0).reshape(3, 4)
    noted = nn.Parameter(torch.tensor([0.5, -0.25]))
    noted.note = "an attribute"
    kinds = {
        "u8": torch.tensor([0, 255], dtype=torch.uint8),
        "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "i16": torch.tensor([-3, 300], dtype=torch.int16),
        "i32": torch.tensor([-3, 70000]),
        "i64": torch.tensor(2**40),
        "f16": torch.tensor([1.0, 2.0**-24], dtype=torch.half),
        "bf16": torch.tensor([3.140625], dtype=torch.bfloat16),
        "f64": torch.tensor([numpy.pi], dtype=torch.double),
        "bool": torch.tensor([True, False, True]),
    }
    kinds["i32"] = kinds["i32"].to(torch.int32)
    views = {"rows": shared, "turned": shared.t(), "part": shared[1:, 2], "one": shared[2, 3], "none": shared[:0]}
    return {"kinds": kinds, "views": views, "noted": noted}


def main():
    torch.manual_seed(0)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(2, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "loss": 0.25,
        "best": None,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "shape": torch.Size([2, 3]),
        "history": [torch.tensor([1.0]), torch.tensor([2.0])],
    } | tensors()
    torch.save(checkpoint, FIXTURES / "zip.pth")
    torch.save(checkpoint, FIXTURES / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, FIXTURES / "protocol-4.pth", pickle_protocol=4)
    torch.save(model, FIXTURES / "module.pth")
    arrays = {"conv": [numpy.arange(6, dtype="f4").reshape(2, 3), numpy.array([1.5])], "counts": numpy.array([1, 2])}
    for protocol in (2, 3):
        (FIXTURES / f"arrays-{protocol}.pickle").write_bytes(pickle.dumps(arrays, protocol))

    found = {}

    def walk(path, value):
        if isinstance(value, torch.Tensor):
            value = value.detach()
            wide = torch.float64 if value.is_floating_point() else torch.int64
            found[path] = value.to(wide).numpy().astype("f8")
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}" if path else str(key), inner)
        elif isinstance(value, (list, tuple)):
            for i, inner in enumerate(value):
                walk(f"{path}.{i}" if path else str(i), inner)

    walk("", checkpoint)
    numpy.savez(FIXTURES / "numbers.npz", **found)


main()
