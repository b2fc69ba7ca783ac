"""How long integrated gradients with 50 steps take with Captum, and how much memory.

The counterpart of crates/attr-torch/examples/integrated_gradients.rs: the same work on the same weights, which
torchvision draws from a seed.

`python integrated_gradients.py export NETWORK FILE` writes the network to an ONNX file of any batch size;
NETWORK is a name of torchvision's, and `NETWORK+bn` keeps its batch norm, which the exporter otherwise folds
into the convolutions. `python integrated_gradients.py measure NETWORK REPEATS THREADS BATCH` measures, where
BATCH is Captum's internal batch size.
"""

import sys
import warnings

import torch
import torchvision
from measuring import best, peak_memory
from torch import nn


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval().requires_grad_(False)


def export(name: str, file: str) -> None:
    name, _, batch_norm = name.partition("+")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.onnx.export(
        network(name),
        (torch.zeros(1, 3, 224, 224),),
        file,
        dynamo=False,
        opset_version=17,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        training=torch.onnx.TrainingMode.PRESERVE if batch_norm else torch.onnx.TrainingMode.EVAL,
        do_constant_folding=not batch_norm,
    )


def measure(name: str, repeats: int, threads: int, batch: int) -> None:
    from captum.attr import IntegratedGradients

    torch.set_num_threads(threads)
    print(f"matrix product: {matrix_product_rate():.0f} GFLOP/s")
    method = IntegratedGradients(network(name.partition("+")[0]))
    torch.manual_seed(0)
    x = torch.rand(1, 3, 224, 224)

    def work() -> None:
        method.attribute(x, target=3, n_steps=50, internal_batch_size=batch, method="gausslegendre")

    print(f"integrated gradients: min {best(repeats, work):.3f} s")
    print(f"peak memory: {peak_memory()} MiB")


def matrix_product_rate(n: int = 1024) -> float:
    a = torch.full((n, n), 0.5)
    return 2 * n**3 / best(30, lambda: a @ a) / 1e9


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:])
    else:
        measure(sys.argv[2], *map(int, sys.argv[3:]))
