"""What a network is made of: its layers with shapes and parameters, and what one picture costs it."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.backbone import without_memory
from pipeline.models.classifier import Classifier, NetworkSpec


@dataclass(frozen=True)
class Layer:
    """A layer by its name in the network, with the shape that it gives for one picture, and its own parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Anatomy:
    """The layers in the order in which a picture first meets them; what is in none of them is under `beside`.

    `operations` are multiplications, each with the addition after it, for one picture.
    """

    network: Classifier
    layers: list[Layer]
    beside: int
    parameters: int
    operations: int


def anatomy(spec: NetworkSpec) -> Anatomy:
    """Find out by showing the network a picture without memory or numbers."""
    network = without_memory(lambda: Classifier(spec)).eval().requires_grad_(False)  # gradients trip the counter
    backbone, side = network.backbone, spec.preprocessing.image_size
    met: dict[str, Layer] = {}
    hooks = []
    for name, layer in backbone.named_modules():
        if not list(layer.children()):

            def meet(layer: nn.Module, _: object, out: object, name: str = name) -> None:
                shape = tuple(out.shape[1:]) if isinstance(out, torch.Tensor) else ()
                met.setdefault(name, Layer(name, type(layer).__name__, shape, _count(layer)))

            hooks.append(layer.register_forward_hook(meet))
    with FlopCounterMode(display=False) as counter:
        backbone(torch.empty(1, 3, side, side, device="meta"))
    for hook in hooks:
        hook.remove()
    total = _count(backbone)
    return Anatomy(
        network, list(met.values()), total - sum(layer.parameters for layer in met.values()), total,
        counter.get_total_flops() // 2,
    )  # fmt: skip


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
