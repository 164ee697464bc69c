"""A network's blocks: what it is a chain of, in its own notion, from the picture up to the features."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pipeline.common.errors import BadInput
from pipeline.models.backbone import without_wrapping

_UNKNOWN = "\0"  # stands among the parameters' names for those that a matcher does not know


@dataclass(frozen=True)
class Block:
    """A block by the name of its layers, and the names of its parameters in the library's own network."""

    name: str
    parameters: tuple[str, ...]


def blocks(backbone: nn.Module) -> list[Block]:
    """The blocks in the order in which a picture passes them: the stem first; norms go with what is before them.

    timm's networks say it themselves (`group_matcher`); of others it is read off their layers.
    """
    network = without_wrapping(backbone)
    shapes = {name: parameter.ndim for name, parameter in network.named_parameters()}
    groups = _as_timm_says(network) if hasattr(network, "group_matcher") else _as_layers_stand(network)
    joined: list[list[str]] = []
    for alone, names in groups:
        if joined and (not alone or all(shapes[name] <= 1 for name in names)):
            joined[-1] += names
        else:
            joined.append(names)
    return [Block(_called(names, shapes), tuple(names)) for names in joined]


def parameters_below(backbone: nn.Module, trains: str) -> set[str]:
    """Names of the backbone's parameters that do not train: none for `all`, those before the last two for `last:2`.

    BadInput, with the number that there is, where `last:` asks for more blocks.
    """
    if trains == "all":
        return set()
    if trains == "head":
        return {name for name, _ in backbone.named_parameters()}
    found, wanted = blocks(backbone), int(trains.removeprefix("last:"))
    if wanted > len(found):
        raise BadInput(
            f"regime.trains={trains}: the network has {len(found)} blocks, which python -m pipeline.models model=... "
            f"shows; last:{len(found)} and less are possible, and regime.trains=all is everything"
        )
    prefix = "" if without_wrapping(backbone) is backbone else "0."
    return {prefix + name for block in found[:-wanted] for name in block.parameters}


def _as_timm_says(network: Any) -> Iterator[tuple[bool, list[str]]]:
    """Groups in order, and whether each is a block of its own: what no pattern knows (a last norm) is none."""
    from timm.models._manipulate import group_with_matcher

    matcher = network.group_matcher(coarse=False)
    names = [(name, None) for name, _ in network.named_parameters()]
    if isinstance(matcher, dict):
        names.append((_UNKNOWN, None))
    for _, group in sorted(group_with_matcher(iter(names), matcher).items()):
        if found := [name for name in group if name != _UNKNOWN]:
            yield _UNKNOWN not in group, found


def _as_layers_stand(network: nn.Module) -> Iterator[tuple[bool, list[str]]]:
    """The layers that a network is a chain of; what it has beside them (tokens, positions) goes with the first."""
    chain = dict(_chain(network, ""))
    inside = [[f"{path}.{name}" for name, _ in layer.named_parameters()] for path, layer in chain.items()]
    groups = [names for names in inside if names]
    beside = {name for name, _ in network.named_parameters()}.difference(*groups)
    for number, names in enumerate(groups):
        yield True, names if number else [*sorted(beside), *names]


def _chain(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    from torchvision.models.regnet import AnyStage
    from torchvision.models.vision_transformer import Encoder

    for name, child in module.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList, AnyStage, Encoder):
            yield from _chain(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _called(names: list[str], shapes: Mapping[str, int]) -> str:
    """The longest beginning, in whole words, of a layer's name that most of a block's parameters share."""
    layers = [name.rpartition(".")[0] for name in names if shapes[name] > 1 and name.endswith(".weight")]
    words = (layers or names)[0].split(".")
    for length in range(len(words), 0, -1):
        start = ".".join(words[:length])
        if 2 * sum(name.startswith(f"{start}.") for name in names) >= len(names):
            return start
    return (layers or names)[0]
