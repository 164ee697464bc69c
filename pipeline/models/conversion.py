"""Weights in the form in which their authors published them, brought to the names and sizes of a library's network.

DINO, CLIP, open_clip, SigLIP, EVA and others name the layers of one network each in their own way, and learned their
positions at a size of their own. timm knows them all, and torchvision how to move its positions to another size.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

State = Mapping[str, torch.Tensor]


def converted(network: nn.Module, state: State, name: str) -> State:
    """A state as the library's own filter for `name` (`timm/NAME`) hands it on; as it is, where that cannot use it."""
    library, _, bare = name.partition("/")
    try:
        if library == "timm" and (filtered := _filter_of(bare)):
            return filtered(dict(state), network)
        if library == "torchvision" and "encoder.pos_embedding" in state:
            return _at_another_size(network, state)
    except Exception:  # a filter may stumble over anything in a file that is of another network
        return state
    return state


def _at_another_size(network: Any, state: State) -> State:
    from torchvision.models.vision_transformer import interpolate_embeddings

    return interpolate_embeddings(network.image_size, network.patch_size, dict(state))


@cache
def _filter_of(name: str) -> Callable[[dict[str, Any], nn.Module], State] | None:
    """What timm does to a state before this network loads it; None where that is nothing.

    It says so only to its own loader, in whose place this listens while the network is built without memory.
    """
    import timm
    from timm.models import _builder

    heard: list[Any] = []

    def listens(*_given: Any, filter_fn: Any = None, **_named: Any) -> None:
        heard.append(filter_fn)

    with _in_place_of(_builder, "load_pretrained", listens), torch.device("meta"):
        timm.create_model(name, pretrained=True, num_classes=0)
    return heard[0] if heard else None


@contextmanager
def _in_place_of(module: Any, name: str, stand_in: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, stand_in)
    try:
        yield
    finally:
        setattr(module, name, before)
