"""Picture sizes: what a network gives at one, what has to be said to it for that, and which sizes fit it at all.

All is found by trying it on PyTorch's device `meta`, where shapes alone are computed and nothing takes memory.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from pipeline.common.errors import BadInput
from pipeline.models.backbone import Features, build_backbone, without_memory, without_wrapping
from pipeline.models.published import as_trained

_LARGEST = 1024  # pixels, of the sizes that are looked for
_STEPS = (16, 32)  # pixels: what halvings of the map are made for, where it is not in patches
_TRIES = 6  # sizes tried to either side


@dataclass(frozen=True)
class Sized:
    """How many features a picture of a size gives, and the options with which the network is built for that size."""

    features: int
    options: Mapping[str, Any] = field(default_factory=dict)


def sized(name: str, image_size: int, features: Features = "pooled", options: Mapping[str, Any] | None = None) -> Sized:
    """What a network gives for pictures of this side; `options` as for `build_backbone`.

    Raises BadInput, with the nearest sizes that work, where that size does not.
    """
    found = _sized(name, image_size, features, _as_key(options))
    if found.fits is None:
        remedy = _remedy(name, image_size, features, _as_key(options))
        raise BadInput(f"data.image_size={image_size} does not fit {name}: {remedy}")
    return found.fits


@dataclass(frozen=True)
class _Tried:
    fits: Sized | None
    reason: str = ""


@lru_cache(maxsize=256)
def _sized(name: str, image_size: int, features: Features, options: str) -> _Tried:
    """As it is, where it takes pictures of this size so; else with the size said to it."""
    reason = ""
    for of_the_size in ({}, *_said(name, image_size)):
        try:
            backbone = _on_meta(name, features, _as_key(json.loads(options) | of_the_size))
        except BadInput:
            raise
        except Exception as error:  # each network has its own way of refusing a size
            if not isinstance(error, TypeError) and of_the_size:  # else it has no such option
                reason = _brief(error)
            continue
        try:
            if of_the_size:
                _check_patches(backbone, image_size)
            count = _count(backbone, image_size)
        except Exception as error:
            reason = reason or _brief(error)
            continue
        return _Tried(Sized(count, json.loads(options) | of_the_size))
    return _Tried(None, reason)


def _said(name: str, image_size: int) -> tuple[dict[str, Any], ...]:
    """How a size is said to a network of this library, if it can be told."""
    if name.startswith("timm/"):
        return ({"img_size": image_size},)
    return {"image_size": image_size}, {"input_size": (image_size, image_size)}


@lru_cache(maxsize=2)
def _on_meta(name: str, features: Features, options: str) -> nn.Module:
    return without_memory(lambda: build_backbone(name, features, json.loads(options))).eval()


def _count(backbone: nn.Module, image_size: int) -> int:
    with torch.no_grad():
        out = backbone(torch.empty(1, 3, image_size, image_size, device="meta"))
    if not isinstance(out, torch.Tensor) or out.ndim != 2 or not out.shape[1]:
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else f"a {type(out).__name__}"
        raise _NoFeaturesError(f"it answers a picture with {shape}, where a row of features is wanted")
    return int(out.shape[1])


class _NoFeaturesError(Exception):
    pass


def _remedy(name: str, image_size: int, features: Features, options: str) -> str:
    """The nearest sizes that work, as a message says them. BadInput where the network answers with something else."""

    def fits(size: int) -> bool:
        return _sized(name, size, features, options).fits is not None

    below, above = (next(filter(fits, sizes), None) for sizes in _nearest(name, image_size, features, options))
    if below is None and above is not None:  # too small: the least may be no multiple of anything
        above = _least(fits, image_size, above)
    near = [str(size) for size in (below, above) if size]
    if near:
        are = "is the nearest that does" if len(near) == 1 else "are the nearest that do"
        return f"data.image_size={' and '.join(near)} {are}"
    reason = _sized(name, image_size, features, options).reason
    if reason.startswith(_NoFeaturesError.__name__):
        raise BadInput(f"model.name={name}: that network does not classify pictures: {reason.partition(': ')[2]}")
    return f"nor does any other size that was tried ({reason})"


def _check_patches(backbone: nn.Module, image_size: int) -> None:
    """ValueError where a network would cut off what of a picture fills no whole patch."""
    patch = _patch(backbone)
    if patch and image_size % patch:
        raise ValueError(f"pictures of {image_size} pixels are no whole number of patches of {patch}")


def _patch(backbone: nn.Module) -> int | None:
    """The side of the patches that a network cuts pictures into; None where it has none, or they overlap."""
    network = without_wrapping(backbone)
    patch = getattr(getattr(network, "patch_embed", network), "patch_size", None)
    return int(patch[0]) if isinstance(patch, tuple | list) else patch


def _nearest(name: str, image_size: int, features: Features, options: str) -> tuple[list[int], list[int]]:
    """Sizes worth a try below and above, the nearest first: whole patches, and the size that its weights are for."""
    own = as_trained(name).image_size
    steps = {_patch(_on_meta(name, features, options)) or 32, *_STEPS}
    tried = {step * number for step in steps for number in range(1, _LARGEST // step + 1)} | {own}
    below = sorted((size for size in tried if size < image_size), reverse=True)
    above = sorted(size for size in tried if size > image_size)
    return _few(below, own), _few(above, own)


def _few(sizes: list[int], own: int) -> list[int]:
    """The nearest ones; then multiples and halves of the size that its weights are for, and of the most usual one."""
    whole = [size for size in sizes[_TRIES:] if not size % own or not own % size or not size % 224]
    return [*sizes[:_TRIES], *whole]


def _least(fits: Callable[[int], bool], too_small: int, enough: int) -> int:
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        too_small, enough = (too_small, middle) if fits(middle) else (middle, enough)
    return enough


def _as_key(options: Mapping[str, Any] | None) -> str:
    return json.dumps(dict(options or {}), sort_keys=True)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:160]}" if str(error) else type(error).__name__
