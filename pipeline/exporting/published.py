"""A served network as its library's own, with a last layer of its own: what others build again by its name alone."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn
from torchvision import models

from pipeline.common.errors import BadInput
from pipeline.models.backbone import without_wrapping
from pipeline.models.convolutions import as_written
from pipeline.models.heads.layers import Layers
from pipeline.models.sight import Part
from pipeline.serving.bundle import Bundle


def own_network(bundle: Bundle) -> tuple[nn.Module, Part]:
    """The library's network for the model's classes, whose logits are divided by the temperature, and what it is.

    BadInput where the model is no such network: several, or with a head that is not one linear layer in the place of
    the library's last.
    """
    member = bundle.members[0]
    if len(bundle.members) > 1 or len(member.sights) > 1:
        raise _refused("it is several networks")
    head = member.head
    if not isinstance(head, Layers) or type(head) is not Layers or len(head) != 2:
        raise _refused(f"its head ({member.spec.head.name}) is more than one linear layer")
    last, (part,) = head[-1], member.parts
    assert isinstance(last, nn.Linear)
    network = _built(part, len(bundle.classes))
    backbone = without_wrapping(member.backbone)
    state = dict(backbone.state_dict())
    missing = sorted(name for name in network.state_dict() if name not in state)
    shapes = {name.rpartition(".")[2]: tuple(network.state_dict()[name].shape) for name in missing}
    if shapes != {"weight": tuple(last.weight.shape), "bias": tuple(last.bias.shape)}:
        raise _refused(f"its head stands in the place of more than the last layer of {part.name}")
    bias, weight = missing
    state |= {weight: last.weight / bundle.calibration.temperature, bias: last.bias / bundle.calibration.temperature}
    network.load_state_dict({name: tensor.detach().clone().contiguous() for name, tensor in state.items()})
    as_written(network)
    return network.eval(), part


def _built(part: Part, n_classes: int) -> nn.Module:
    library, _, name = part.name.partition("/")
    options: dict[str, Any] = {**part.options, "num_classes": n_classes}
    if library == "timm":
        return timm.create_model(name, **options)
    return models.get_model(name, weights=None, **options)


def _refused(why: str) -> BadInput:
    return BadInput(f"this model cannot be written as a network of its library: {why}; take form=release or form=onnx")
