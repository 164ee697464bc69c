"""What networks look at and are made of, as pictures: heat over a photograph, filters, activation maps."""

from math import ceil, sqrt

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

from pipeline.data.batch import Inputs
from pipeline.explaining.looks import Look
from pipeline.explaining.places import as_it_is, places
from pipeline.models.classifier import Classifier
from pipeline.models.sight import Sight

_COVERS = 0.7  # the share of a photograph that heat hides where it is hottest
_MOST = 64  # filters, or maps, in a picture
_TILE = 56  # pixels, the largest side of a map
_LARGE = 12  # pixels, to which the side of a filter is enlarged at least, times a whole number


def overlay(look: Look, side: int | None = None) -> torch.Tensor:
    """(3, side, side) uint8: the picture as it is read, with heat where the evidence lies."""
    from matplotlib import colormaps  # whoever draws nothing need not wait for it

    side = side or look.pixels.shape[-1]
    picture = interpolate(look.pixels[None].float(), side, mode="bilinear", antialias=True)[0]
    heat = interpolate(look.heat[None, None], side, mode="bicubic")[0, 0].clamp(0, 1)
    colour = torch.from_numpy(colormaps["inferno"](heat.numpy())[..., :3]).float().permute(2, 0, 1) * 255
    covers = _COVERS * heat
    return (picture * (1 - covers) + colour * covers).round().to(torch.uint8)


def filters(sight: Sight) -> torch.Tensor | None:
    """(3, h, w) uint8: the filters of the first convolution, those with the largest weights; None without colours."""
    first = next((one for one in sight.backbone.modules() if isinstance(one, nn.Conv2d)), None)
    if first is None or first.weight.shape[1] != 3:
        return None
    weight = first.weight.detach().cpu().float()
    chosen = weight.flatten(1).norm(dim=1).argsort(descending=True)[:_MOST].sort().values
    return tiles(weight[chosen])


def activations(network: Classifier, inputs: Inputs) -> list[tuple[str, torch.Tensor]]:
    """Of one picture, for each of a network's backbones: what its first convolution and the last map make of it.

    A layer's name, and (3, h, w) uint8: the channels that vary most, each from its least, black, to its most, white.
    """
    given: dict[str, torch.Tensor] = {}
    hooks = []
    for number, (sight, place) in enumerate(zip(network.sights, places(network), strict=True), start=1):
        before = f"{number}: " if len(network.sights) > 1 else ""
        first = next(((name, one) for name, one in sight.backbone.named_modules() if isinstance(one, nn.Conv2d)), None)

        def note(out: torch.Tensor, name: str) -> None:
            given[name] = out[0].detach().cpu().float()

        if first is not None:
            hooks.append(first[1].register_forward_hook(lambda _, __, out, name=before + first[0]: note(out, name)))
        hooks.append(
            place.layer.register_forward_hook(
                lambda _, __, out, name=before + place.name, grid=place.grid: note(grid.to_map(out), name)
            )
        )
    try:
        with as_it_is(network), torch.no_grad():
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, tiles(_liveliest(maps)[:, None].expand(-1, 3, -1, -1))) for name, maps in given.items()]


def _liveliest(maps: torch.Tensor) -> torch.Tensor:
    """(k, h, w) of (c, h, w), no larger than can be seen."""
    if maps.shape[-1] > _TILE:
        maps = adaptive_avg_pool2d(maps, _TILE)
    return maps[maps.flatten(1).std(1).argsort(descending=True)[:_MOST].sort().values]


def tiles(some: torch.Tensor) -> torch.Tensor:
    """Small pictures (n, 3, h, w), each from its least to its most, side by side: (3, rows, columns) uint8."""
    least, most = some.amin((1, 2, 3), keepdim=True), some.amax((1, 2, 3), keepdim=True)
    levels = (some - least) / (most - least).clamp(min=1e-12)
    larger = ceil(_LARGE / some.shape[-1]) if some.shape[-1] < _LARGE else 1
    levels = pad(levels.repeat_interleave(larger, 2).repeat_interleave(larger, 3), (1, 1, 1, 1), value=1.0)
    across = ceil(sqrt(len(some)))
    down = ceil(len(some) / across)
    blank = levels.new_ones((across * down - len(some), *levels.shape[1:]))
    whole = (
        torch.cat([levels, blank]).view(down, across, *levels.shape[1:]).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    )
    return (255 * whole).round().to(torch.uint8)
