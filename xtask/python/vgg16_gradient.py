"""How long the gradient of a class to the input of VGG16 takes in PyTorch, with random weights.

The counterpart of crates/attr-candle/examples/vgg16.rs: the same work, the same arguments
(`python vgg16_gradient.py 1,8 5`), forward and back to the input only, on two threads or as many as a third
argument says. Processor seconds stand beside the wall clock's, for machines that are shared.
"""

import sys
import time

import torch
from torch import nn


def vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for width, count in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    layers.append(nn.Flatten())
    for inner, out in [(512 * 7 * 7, 4096), (4096, 4096)]:
        layers += [nn.Linear(inner, out), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(4096, 1000))
    return nn.Sequential(*layers).eval().requires_grad_(False)


def gradient(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_(True)
    model(x)[:, 3].sum().backward()
    return x.grad


def matrix_product_rate(n: int = 1024) -> float:
    a = torch.full((n, n), 0.5)
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def main() -> None:
    batches = [int(n) for n in (sys.argv[1] if len(sys.argv) > 1 else "1,8").split(",")]
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    torch.set_num_threads(int(sys.argv[3]) if len(sys.argv) > 3 else 2)
    torch.manual_seed(0)
    print(f"matrix product: {matrix_product_rate():.0f} GFLOP/s")
    model = vgg16()
    for batch in batches:
        x = torch.rand(batch, 3, 224, 224) * 2 - 1
        gradient(model, x)
        seconds, processor = [], []
        for _ in range(repeats):
            start, start_processor = time.perf_counter(), time.process_time()
            gradient(model, x)
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_processor)
        seconds.sort()
        print(
            f"PyTorch {torch.__version__} batch {batch}: min {seconds[0]:.3f} s, "
            f"median {seconds[repeats // 2]:.3f} s, processor min {min(processor):.3f} s"
        )


if __name__ == "__main__":
    main()
