"""Where in a network there still is a map of the picture: the last layer whose places all speak in its answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.models.backbone import without_wrapping
from pipeline.models.classifier import Classifier
from pipeline.models.sight import Sight

_LEAST = 4  # places a side: less says nothing of where
ALWAYS = "python -m pipeline.explain method=occlusion works for any network"


@dataclass(frozen=True)
class Grid:
    """How what a layer gives is a map: (n, c, h, w) as it is, channels `last` (n, h, w, c), or else tokens (n, t, c).

    Of tokens the first `prefix` are no place of the picture (a class token, registers).
    """

    side: int
    last: bool = False
    prefix: int | None = None

    def to_map(self, given: torch.Tensor) -> torch.Tensor:
        """(n, c, side, side)."""
        if self.prefix is not None:
            return given[:, self.prefix :].transpose(1, 2).reshape(len(given), -1, self.side, self.side)
        return given.permute(0, 3, 1, 2) if self.last else given

    def back(self, seen: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """The map in the form in which it was `given`, with what is no place of the picture."""
        if self.prefix is not None:
            return torch.cat([given[:, : self.prefix], seen.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
        return seen.permute(0, 2, 3, 1) if self.last else seen


@dataclass(frozen=True)
class Place:
    """A layer of a network, by its name too, and how what it gives is a map."""

    name: str
    layer: nn.Module
    grid: Grid


def grid_of(layer: nn.Module, given: object, prefix: int | None) -> Grid | None:
    """How what a layer gave for some square pictures is a map of them; None where it is none that says where.

    Of tokens that is asked of norms alone: other layers' rows are queries, keys or hidden units.
    """
    if not isinstance(given, torch.Tensor) or not given.is_floating_point():
        return None
    if given.ndim == 4:
        _, first, second, third = given.shape
        if second == third:
            return Grid(second) if second >= _LEAST else None
        return Grid(first, last=True) if first == second and first >= _LEAST else None
    if given.ndim != 3 or "Norm" not in type(layer).__name__:
        return None
    tokens = given.shape[1]
    before = tokens - isqrt(tokens) ** 2 if prefix is None else prefix
    side = isqrt(max(tokens - before, 0))
    return Grid(side, prefix=before) if side >= _LEAST and side**2 == tokens - before else None


def places(network: Classifier) -> tuple[Place, ...]:
    """One for each of a network's sights. Found by one look at noise, once.

    It is the last map of at least 4 by 4 places by which the answer would change, wherever in the picture. A
    transformer's last block is none where the answer is read off its class token alone: the map before it is.
    Raises BadInput, which says what works, where there is none or the head passes no gradient on.
    """
    if network not in _found:
        _found[network] = tuple(_places(network))
    return _found[network]


def check_looked_at(members: Sequence[Classifier]) -> None:
    """BadInput, which says what works, where one of a model's networks keeps no map to look at."""
    for member in members:
        places(member)


_found: "WeakKeyDictionary[Classifier, tuple[Place, ...]]" = WeakKeyDictionary()


def _places(network: Classifier) -> Iterator[Place]:
    given: list[list[tuple[Place, torch.Tensor]]] = [[] for _ in network.sights]
    hooks = [
        layer.register_forward_hook(_noting(kept, name, layer, _prefix(sight)))
        for kept, sight in zip(given, network.sights, strict=True)
        for name, layer in sight.backbone.named_modules()
    ]
    try:
        with as_it_is(network), torch.enable_grad():
            scores = network(Inputs(_noise(network).requires_grad_()))
    finally:
        for hook in hooks:
            hook.remove()
    check_gradient(network, scores)
    for sight, kept in zip(network.sights, given, strict=True):
        speaks = torch.autograd.grad(
            scores.square().sum(), [maps for _, maps in kept], allow_unused=True, retain_graph=True
        ) if kept else ()  # fmt: skip
        heard = [
            place
            for (place, _), gradient in zip(kept, speaks, strict=True)
            if gradient is not None and _everywhere(place.grid.to_map(gradient))
        ]
        if not heard:
            raise BadInput(
                f"{sight.parts[0].name} at {sight.parts[0].preprocessing.image_size} pixels keeps no map of at least "
                f"{_LEAST} by {_LEAST} places that its answer is made of: {ALWAYS}"
            )
        yield heard[-1]


def check_gradient(network: Classifier, scores: torch.Tensor) -> None:
    """BadInput, which says what works, where scores do not say how they would change with the picture."""
    if not scores.requires_grad:
        raise BadInput(f"head={network.spec.head.name} does not say how its answer would change: {ALWAYS}")


@contextmanager
def as_it_is(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, none of its weights asking for a gradient; afterwards as it was."""
    training, asking = network.training, [one for one in network.parameters() if one.requires_grad]
    network.eval().requires_grad_(False)
    try:
        yield
    finally:
        network.train(training)
        for one in asking:
            one.requires_grad_()


def _noting(kept: list[tuple[Place, torch.Tensor]], name: str, layer: nn.Module, prefix: int | None) -> Any:
    def note(_: nn.Module, __: object, out: object) -> None:
        grid = grid_of(layer, out, prefix)
        if grid is not None and isinstance(out, torch.Tensor) and out.requires_grad:
            kept.append((Place(name, layer, grid), out))

    return note


def _prefix(sight: Sight) -> int | None:
    """How many tokens of a network are no place of the picture, where it says so (timm's do)."""
    count = getattr(without_wrapping(sight.backbone), "num_prefix_tokens", None)
    return count if isinstance(count, int) else None


def _noise(network: Classifier) -> torch.Tensor:
    """One picture of it, as the network is shown pictures."""
    device = next(network.buffers()).device
    chance = torch.Generator().manual_seed(0)
    shape = network.spec.preprocessing.shape
    return torch.randint(0, 256, (1, *shape), generator=chance).float().to(device)


def _everywhere(gradient: torch.Tensor) -> bool:
    """Whether most places of a map (1, c, h, w) have a say."""
    return bool((gradient.abs().sum(1) > 0).float().mean() > 0.5)
