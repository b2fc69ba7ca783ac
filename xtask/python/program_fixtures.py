"""Writes crates/attr-pt2/tests/fixtures: small programs of torch.export, and what PyTorch computes with them.

Run it with a Python that has torch, from the repository's root:

    python xtask/python/program_fixtures.py

torch 2.13 writes all of them, any version one that is called after it, `exported-2.5.pt2`: the same network, in each of the
formats there have been.

`NAME.pt2` is a program, `NAME.npz` what it computes in double precision for two rows of inputs that single precision holds
exactly: `input.NAME`, `output.NUMBER`, and `gradient.NAME`, the derivative of the sum of all outputs, each number weighted
by its place among those of a row (1, 2, 3...), by an input. Where programs keep the lines of Python that they were made
by, these are taken out: they are paths of a machine.
"""

import json
import pathlib
import warnings
import zipfile

import numpy
import torch
from torch import nn

FIXTURES = pathlib.Path("crates/attr-pt2/tests/fixtures")


class Convolutions(nn.Module):
    """As nn_interpretability's networks for digits: layers in a sequence, some of which work in place."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(4, 6, 3, padding="same", dilation=2), nn.LeakyReLU(0.2), nn.AvgPool2d(2, padding=1, count_include_pad=False),
            nn.ConvTranspose2d(6, 3, 3, stride=2, output_padding=1), nn.Hardswish(), nn.GroupNorm(3, 3),
        )
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Sequential(nn.Linear(12, 8), nn.PReLU(), nn.Linear(8, 5), nn.LogSoftmax(1))

    def forward(self, image):
        x = self.pool(self.features(image))
        return self.classifier(self.dropout(torch.flatten(x, 1)))


class Residual(nn.Module):
    """Values that are changed in place after others have looked at them."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, image):
        x = self.relu(self.conv1(image))
        y = self.conv2(x)
        y += x
        y[:, 1:3] *= 2.0
        y[:, 0].add_(y[:, 3])
        return self.fc(self.relu(y).mean((2, 3))), torch.nn.functional.interpolate(y, scale_factor=2.0, mode="bilinear")


class Parts(nn.Module):
    """Adaptive pooling whose windows differ in length, as where a picture has another size than a network was made for."""

    def forward(self, image):
        x = nn.functional.adaptive_avg_pool2d(image, (3, 2))
        y = nn.functional.adaptive_avg_pool2d(image.contiguous(memory_format=torch.channels_last), 1)
        z = nn.functional.adaptive_avg_pool2d(image, (7, 4))
        return x.flatten(1) * 2.0, nn.functional.adaptive_max_pool2d(image, (2, 5)), z * y


class Text(nn.Module):
    """Embeddings, a layer of a transformer, and a class."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.register_buffer("places", torch.randn(1, 5, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu", dropout=0.0)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens) + self.places).mean(1))


class Two(nn.Module):
    """Two inputs, one of which is masked, and constants that are no parameters."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 6), nn.Linear(3, 6, bias=False)
        self.scale = torch.tensor([1.0, 2.0, 0.5, 1.5, 1.0, 3.0])

    def forward(self, a, b):
        x = torch.tanh(self.left(a)) * torch.sigmoid(self.right(b)) * self.scale
        x = torch.where(x > 0.0, x, 0.1 * x).clamp(max=2.0)
        q, k = x.view(-1, 2, 3), torch.stack([x[:, :3], x[:, 3:]], 1)
        x = nn.functional.scaled_dot_product_attention(q, k, k, is_causal=True)
        return torch.cat([x.flatten(1), torch.linalg.vector_norm(q, dim=2)], 1).softmax(-1)


class Versions(nn.Module):
    """A little of everything that an archive can hold: weights that are used twice, or lie in another order, or have
    attributes; buffers, constants, numbers that JSON has no word for; two inputs and two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.embed = nn.Embedding(10, 8)
        self.register_buffer("places", torch.randn(1, 5, 8))
        self.attention = nn.ModuleDict({key: nn.Linear(8, 8) for key in ("query", "key", "value")})
        self.after = nn.LayerNorm(8)
        self.head = nn.Linear(12, 6)
        self.mix = nn.Parameter(torch.randn(6, 3).t())
        self.mix.note = "an attribute"
        self.tied = self.mix
        self.scale = torch.tensor([1.0, 2.0, 0.5, 1.5, 1.0, 3.0])

    def forward(self, image, tokens):
        y = self.conv(image)
        x = self.norm(y)
        x += y
        x = nn.functional.adaptive_avg_pool2d(nn.functional.max_pool2d(x.relu_(), 2), 1).flatten(1)
        t = self.embed(tokens) + self.places
        heads = [self.attention[key](t).view(-1, 5, 2, 4).transpose(1, 2) for key in ("query", "key", "value")]
        z = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(-1, 5, 8)
        z = nn.functional.gelu(self.after(t + z)).masked_fill(t > 1.0, float("-inf")).amax(1).clamp(min=-2.0)
        x = self.head(torch.cat([x, z], 1)) * self.scale
        return nn.functional.linear(x, self.mix), torch.tanh(x) @ self.tied.t()


def plain(path):
    """Writes the archive anew without lines of Python and without the inputs it was exported with."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, data in members:
            if "/sample_inputs/" in info.filename or info.filename == "serialized_example_inputs.pt":
                continue
            if info.filename.endswith(("/models/model.json", "serialized_exported_program.json")):
                program = json.loads(data)
                for node in program["graph_module"]["graph"]["nodes"]:
                    for key in ("stack_trace", "from_node"):
                        node["metadata"].pop(key, None)
                data = json.dumps(program).encode()
            archive.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0)), data)


def write(name, model, inputs, batch=True, decomposed=False, most=None):
    model.eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand_like(value) if key.endswith(("running_var", "scale")) else torch.randn_like(value) * 0.5
                value.copy_(noise + 0.5 if key.endswith("running_var") else noise)
    rows = torch.export.Dim("batch", max=most)
    shapes = {key: {0: rows} for key in inputs} if batch else None
    program = torch.export.export(model, tuple(inputs.values()), dynamic_shapes=shapes)
    program = program.run_decompositions() if decomposed else program
    torch.export.save(program, FIXTURES / f"{name}.pt2")
    plain(FIXTURES / f"{name}.pt2")
    model = model.double()
    for attribute, value in vars(model).items():
        if isinstance(value, torch.Tensor):
            setattr(model, attribute, value.double())
    given = {key: value.double().requires_grad_() if value.is_floating_point() else value for key, value in inputs.items()}
    outputs = model(*given.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum((y.flatten(1) * torch.arange(1.0, 1 + y[0].numel(), dtype=torch.double)).sum() for y in outputs)
    total.backward()
    arrays = {f"input.{key}": value.numpy() for key, value in inputs.items()}
    arrays |= {f"output.{i}": y.detach().numpy() for i, y in enumerate(outputs)}
    arrays |= {f"gradient.{key}": value.grad.numpy() for key, value in given.items() if value.is_floating_point()}
    numpy.savez(FIXTURES / f"{name}.npz", **{key: value.astype("f8") for key, value in arrays.items()})


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(5)
    torch.set_num_threads(1)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    version = ".".join(torch.__version__.split(".")[:2])
    tokens = torch.randint(0, 10, (2, 5))
    write(f"exported-{version}", Versions(), {"image": torch.randn(2, 2, 6, 5), "tokens": tokens}, most=1024)
    if version != "2.13":
        return
    torch.manual_seed(5)
    image = torch.randn(2, 1, 9, 8)
    write("convolutions", Convolutions(), {"image": image})
    write("convolutions-core", Convolutions(), {"image": image}, decomposed=True)
    write("convolutions-fixed", Convolutions(), {"image": image}, batch=False)
    write("residual", Residual(), {"image": torch.randn(2, 2, 4, 5)})
    write("residual-core", Residual(), {"image": torch.randn(2, 2, 4, 5)}, decomposed=True)
    tokens = torch.randint(0, 20, (2, 5))
    write("text", Text(), {"tokens": tokens})
    write("text-core", Text(), {"tokens": tokens}, decomposed=True)
    write("two", Two(), {"a": torch.randn(2, 4), "b": torch.randn(2, 3)})
    write("two-core", Two(), {"a": torch.randn(2, 4), "b": torch.randn(2, 3)}, decomposed=True)
    write("parts", Parts(), {"image": torch.randn(2, 2, 7, 5)})
    write("parts-core", Parts(), {"image": torch.randn(2, 2, 7, 5)}, decomposed=True)


main()
