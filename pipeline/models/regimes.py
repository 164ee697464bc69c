"""What of a network trains, at which rate, and how batch-norm behaves meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from pipeline.models.blocks import parameters_below
from pipeline.models.classifier import Classifier

_BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Phase:
    """A stretch of training: of `all`, of the `head`, or of the head and the `last:2` blocks below it.

    `head_lr` is the head's learning rate as a multiple of the optimizer's, `backbone_lr` the backbone's as a
    share of the head's. Batch-norm that is `frozen` keeps its statistics as well as its weights: left to drift
    over small batches, they undo what pretraining gave.
    """

    trains: str = "all"
    head_lr: float = 1.0
    backbone_lr: float = 1.0
    batchnorm: Literal["free", "frozen"] = "free"


def enter(network: Classifier, phase: Phase) -> None:
    """Say which parameters have gradients in this phase."""
    network.requires_grad_(True)
    below = parameters_below(network.backbone, phase.trains)
    for name, parameter in network.backbone.named_parameters():
        parameter.requires_grad_(name not in below)
    if phase.batchnorm == "frozen":
        for layer in batchnorms(network.backbone):
            layer.requires_grad_(False)


def set_training(network: Classifier, phase: Phase) -> None:
    """`train()` for what trains in this phase, `eval()` (no dropout, fixed statistics) for the rest."""
    network.train()
    below = parameters_below(network.backbone, phase.trains)
    for path, layer in [*network.backbone.named_modules(prefix="")] if below else []:
        names = {f"{path}.{name}".lstrip(".") for name, _ in layer.named_parameters()}
        if names and names <= below:
            layer.eval()
    if phase.trains == "head":
        network.backbone.eval()  # layers without parameters too
    elif phase.batchnorm == "frozen":
        for layer in batchnorms(network.backbone):
            layer.eval()


def synchronise(network: Classifier) -> None:
    """Let batch-norm go by the pictures of all GPUs in a step, in place."""
    from timm.layers.norm_act import convert_sync_batchnorm

    convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # timm's is without types


def batchnorms(module: nn.Module) -> Iterator[nn.Module]:
    """Every batch-norm layer under a module."""
    return (layer for layer in module.modules() if isinstance(layer, _BATCHNORMS))


def parameter_groups(network: Classifier, phase: Phase, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Optimizer groups of all that trains: the head's first, so that its rate is the one reported.

    Biases and norms (parameters of one dimension) are not decayed.
    """
    groups = []
    head_lr = lr * phase.head_lr
    for module, rate in ((network.head, head_lr), (network.backbone, head_lr * phase.backbone_lr)):
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for decay, some in (
            (weight_decay, [parameter for parameter in trained if parameter.ndim > 1]),
            (0.0, [parameter for parameter in trained if parameter.ndim <= 1]),
        ):
            if some:
                groups.append({"params": some, "lr": rate, "weight_decay": decay})
    return groups
