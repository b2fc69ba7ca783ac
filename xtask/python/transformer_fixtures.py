"""Writes tests/fixtures/relevance/lxt-*: small transformers as ONNX files, and the relevance that LXT gives of them.

LXT computes in double precision, on weights and inputs that single precision holds exactly, with stabilizers as good as
none. Its explicit functions have AttnLRP's rule for each piece of `lxt-block`; its patched torchvision has conservative
propagation for `lxt-vit`. Run it from the repository's root with a Python that has torch 2.13, torchvision, onnx,
transformers, zennit and lxt 2.1:

    python xtask/python/transformer_fixtures.py
"""

import pathlib

import lxt.explicit.functional as explicit
import numpy
import torch
from lxt.efficient import monkey_patch
from torch import nn
from torchvision.models import vision_transformer

FIXTURES = pathlib.Path("tests/fixtures/relevance")
EPSILON = 1e-14


class Plain:
    """The functions of a block as they are."""

    @staticmethod
    def add(a, b):
        return a + b

    @staticmethod
    def linear(x, layer):
        return layer(x)

    @staticmethod
    def matmul(a, b):
        return a @ b

    @staticmethod
    def softmax(x):
        return torch.softmax(x, -1)

    @staticmethod
    def norm(x, layer):
        return layer(x)


class Explicit:
    """The same functions, whose way back is LXT's."""

    @staticmethod
    def add(a, b):
        return explicit.add2(a, b, epsilon=EPSILON)

    @staticmethod
    def linear(x, layer):
        return explicit.linear_epsilon(x, layer.weight, layer.bias, EPSILON)

    @staticmethod
    def matmul(a, b):
        return explicit.matmul(a, b, epsilon=EPSILON)

    @staticmethod
    def softmax(x):
        return explicit.softmax(x, -1)

    @staticmethod
    def norm(x, layer):
        # `explicit.layer_norm` leaves the last argument, its stabilizer, at 1e-6.
        return explicit.layer_norm_grad_fn.apply(x, layer.weight, layer.bias, layer.eps, EPSILON)


class Block(nn.Module):
    """Attention behind a layer norm, beside it what it is added to, and three numbers of all tokens."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.q, self.k, self.v, self.out = (nn.Linear(6, 6) for _ in range(4))
        self.head = nn.Linear(24, 3)
        self.functions = Plain

    def forward(self, x):
        f = self.functions
        normalized = f.norm(x, self.norm)
        q, k, v = (f.linear(normalized, layer).reshape(-1, 4, 2, 3).transpose(1, 2) for layer in (self.q, self.k, self.v))
        weights = f.softmax(f.matmul(q, k.transpose(-1, -2)))
        joined = f.matmul(weights, v).transpose(1, 2).reshape(-1, 4, 6)
        x = f.add(f.linear(joined, self.out), x)
        return f.linear(x.reshape(-1, 24), self.head)


def export(model, x, name):
    """Operator set 14 has neither layer norm nor GELU: they are chains of others."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    model.eval()
    torch.onnx.export(
        model,
        x,
        str(FIXTURES / f"{name}.onnx"),
        input_names=["x"],
        output_names=["y"],
        dynamo=False,
        opset_version=14,
        dynamic_axes={"x": {0: "batch"}},
    )
    return model.double(), x.double()


def save(name, x, y, relevance):
    arrays = {"x": x.numpy(), "y": y.detach().numpy(), "relevance": numpy.stack(relevance)}
    numpy.savez(FIXTURES / f"{name}.npz", **arrays)


def block():
    model, x = export(Block(), torch.randn(2, 4, 6), "lxt-block")
    y = model(x)
    model.functions = Explicit
    relevance = []
    for row in x:
        row = row[None].clone().requires_grad_()
        found = model(row)
        start = torch.zeros_like(found)
        start[0, 1] = found[0, 1].detach()
        found.backward(start)
        relevance.append(row.grad.numpy()[0])
    save("lxt-block", x, y, relevance)


def vision():
    sizes = dict(image_size=12, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    model, x = export(vision_transformer.VisionTransformer(**sizes), torch.randn(2, 3, 12, 12), "lxt-vit")
    y = model(x)
    monkey_patch(vision_transformer)
    relevance = []
    for row in x:
        row = row[None].clone().requires_grad_()
        model(row)[0, 1].backward()
        relevance.append((row * row.grad).detach().numpy()[0])
    save("lxt-vit", x, y, relevance)


if __name__ == "__main__":
    torch.manual_seed(3)
    torch.set_num_threads(1)
    block()
    vision()
