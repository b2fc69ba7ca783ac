"""Makes the fixtures of crates/attr-onnx: one small residual network, by each of PyTorch's exporters.

Run once, from the repository's root, with torch 2.13, onnx and onnxscript installed:
    python xtask/python/export_fixtures.py
"""

import pathlib
import warnings

import torch
from torch import nn

FIXTURES = pathlib.Path("crates/attr-onnx/tests/fixtures")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.branch = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.fc = nn.Linear(4 * 4 * 4, 5)

    def forward(self, x):
        # The sum before the batch norm keeps exporters from folding it into the convolution.
        x = self.norm(self.stem(x) + 1.0)
        x = torch.relu(x + nn.functional.relu6(self.branch(x)))
        x = self.up(self.pool(x))
        x = torch.cat([x[:, :2], nn.functional.leaky_relu(x[:, 2:], 0.1)], 1)
        x = nn.functional.avg_pool2d(x, 1)
        x = self.drop(x).view(x.size(0), -1)
        return torch.log_softmax(self.fc(x), -1)


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    network = Residual().eval()
    network.norm.running_mean.normal_()
    network.norm.running_var.uniform_(0.5, 1.5)
    x = torch.randn(2, 2, 8, 8)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network,
        (x,),
        FIXTURES / "residual_torchscript.onnx",
        dynamo=False,
        opset_version=14,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
    )
    program = torch.onnx.export(
        network,
        (x,),
        dynamo=True,
        opset_version=18,
        input_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    # Stack traces, which name paths of this machine, are most of such a file.
    model = program.model_proto
    for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph]:
        del part.metadata_props[:]
        part.doc_string = ""
    (FIXTURES / "residual_dynamo.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
