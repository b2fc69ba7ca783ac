"""How long relevance by a composite of Zennit's takes, and how much memory.

The counterpart of `crates/attr-candle/examples/vgg16.rs` and `crates/attr-torch/examples/integrated_gradients.rs` with
rules: `python relevance.py NETWORK BATCHES REPEATS THREADS`, with torchvision's networks and random weights. The
composite is EpsilonPlusFlat; batch norms are merged into convolutions once, as Zennit recommends.
"""

import sys

import torch
from integrated_gradients import matrix_product_rate, network
from measuring import best, peak_memory
from zennit.attribution import Gradient
from zennit.composites import EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer, VGGCanonizer


def main(name: str, batches: str, repeats: int, threads: int) -> None:
    torch.set_num_threads(threads)
    print(f"matrix product: {matrix_product_rate():.0f} GFLOP/s")
    model = network(name)
    canonizer = VGGCanonizer() if name.startswith("vgg") else ResNetCanonizer()
    composite = EpsilonPlusFlat(canonizers=[canonizer])
    for batch in map(int, batches.split(",")):
        torch.manual_seed(0)
        x = torch.rand(batch, 3, 224, 224)
        one_hot = torch.eye(1000)[[3] * batch]
        with Gradient(model=model, composite=composite) as attributor:
            # The logit of the class is what is shared out.
            seconds = best(repeats, lambda: attributor(x, lambda logits: logits * one_hot))
        print(f"batch {batch}: min {seconds:.3f} s")
    print(f"peak memory: {peak_memory()} MiB")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
