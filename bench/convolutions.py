"""What `pipeline/models/convolutions.py` saves on this processor: the same network with it and without, in turns.

    python bench/convolutions.py --network torchvision/mobilenet_v2 --rounds 7

Batches of 32 pictures of 224 pixels, already in memory, channels-last, in the precision that a run would have here
(`--precision bf16` asks for another). Three kinds of work: answering (evaluation, no gradients), a step of fine-tuning
with batch-norm frozen, and one with it free. Prints the median, lowest and highest pictures a second of each, and the
ratio of the medians.
"""

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter

import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.models.backbone import build_backbone
from pipeline.models.convolutions import speed_up
from pipeline.models.regimes import batchnorms
from pipeline.training.hardware import make_fabric, resolved

BATCH, SIDE, CLASSES = 32, 224, 100


def answering(fabric: Fabric, network: nn.Module, pictures: torch.Tensor) -> Callable[[], None]:
    """A pass in evaluation mode."""
    network.eval()

    @torch.inference_mode()
    def work() -> None:
        with fabric.autocast():
            network(pictures)

    return work


def training(fabric: Fabric, network: nn.Module, pictures: torch.Tensor, *, frozen: bool) -> Callable[[], None]:
    """A step of AdamW."""
    network.train()
    if frozen:
        for norm in batchnorms(network):
            norm.eval().requires_grad_(False)
    labels = torch.randint(CLASSES, (len(pictures),))
    optimizer = torch.optim.AdamW([weight for weight in network.parameters() if weight.requires_grad], lr=1e-4)

    def work() -> None:
        with fabric.autocast():
            loss = nn.functional.cross_entropy(network(pictures)[:, :CLASSES], labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return work


def main() -> None:
    """Time every kind of work with both, in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", default="torchvision/mobilenet_v2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    asked = parser.parse_args()
    fabric = make_fabric("cpu", asked.precision)
    pictures = torch.randn(BATCH, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    kinds: dict[str, Callable[[nn.Module], Callable[[], None]]] = {
        "answering": lambda network: answering(fabric, network, pictures),
        "step, batch-norm frozen": lambda network: training(fabric, network, pictures, frozen=True),
        "step, batch-norm free": lambda network: training(fabric, network, pictures, frozen=False),
    }
    how = resolved(fabric)
    print(f"{asked.network}, {how['precision']}, {how['threads']} threads, {BATCH} pictures of {SIDE} pixels")
    print(f"n = {asked.rounds}")
    for kind, make in kinds.items():
        plain, fast = build_backbone(asked.network), build_backbone(asked.network)
        speed_up(fast)
        both = [make(network.to(memory_format=torch.channels_last)) for network in (plain, fast)]
        rates: list[list[float]] = [[], []]
        for number in range(asked.rounds + 2):
            for work, found in zip(both, rates, strict=True):
                began = perf_counter()
                work()
                if number > 1:  # the first ones choose kernels
                    found.append(BATCH / (perf_counter() - began))
        before, after = (statistics.median(found) for found in rates)
        spread = ", ".join(f"[{min(found):.1f}, {max(found):.1f}]" for found in rates)
        print(f"{kind:24s} {before:7.1f} -> {after:7.1f} pictures/s {spread}  {after / before:.2f} x", flush=True)


if __name__ == "__main__":
    main()
