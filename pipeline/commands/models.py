"""The shelf of networks, or one network's layers and blocks:   python -m pipeline.models model=dinov2s"""

from __future__ import annotations

from rich.console import Console

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.at_hand import missing
from pipeline.models.backbone import without_wrapping
from pipeline.models.blocks import blocks
from pipeline.models.classifier import NetworkSpec
from pipeline.models.layers import Anatomy, anatomy
from pipeline.models.published import as_trained, named
from pipeline.models.shelf import SAID, shelf
from pipeline.reporting.tables import Table, written
from pipeline.reporting.terminal import console

_BYTES = 4  # of a parameter, as it is kept and computed with


def run(config: schema.Models) -> None:
    """Print the shelf, or the network that is named."""
    if config.model.join:
        raise BadInput(f"model.join: one network at a time is shown: model={config.model.join[0]}")
    if config.model.name is None:
        show_shelf()
    else:
        show_network(config)


def show_shelf() -> None:
    """A row a network: what it weighs and costs, what it may be used for, what it has seen, and whether it is here."""
    heads = ["model", "M parameters", "MB", "GFLOPs", "at", "licence", "ImageNet", "iNaturalist", "weights"]
    rows = []
    for one in shelf():
        millions = one.figure("parameters")
        figures = (millions, millions and millions * _BYTES, one.figure("cost"), one.figure("own size"))
        licence, *seen = (one.said.get(fact, "unknown").partition(" (")[0] for fact in (SAID[0], *SAID[-2:]))
        here = "-" if missing(one.name, one.weights) else "here"
        rows.append([one.answer, *map(written, figures), licence, *seen, here])
    screen = console()
    Table(heads, rows, figures=heads[1:5], whole={"model", "weights"}).show(screen, spare=["MB", "at"])
    screen.print(
        "ImageNet, iNaturalist: whether it has seen pictures of these sets before. A multiplication and the addition\n"
        "after it count as one operation. model=NAME shows one, with its layers; model.name=timm/NAME any other."
    )


def show_network(config: schema.Models) -> None:
    """What is known of a network, its layers as a picture meets them, and its blocks, which `last:2` counts."""
    assert config.model.name is not None
    found, screen = named(config.model.name), console()
    side = config.image_size
    if side == "auto":
        side = as_trained(config.model.name, config.model.weights).image_size
    made = anatomy(NetworkSpec(found.name, 1000, Preprocessing(side), options=found.options))
    for one in shelf():
        if one.name == config.model.name:
            screen.print("\n".join([one.what, *(f"  {fact}: {said}" for fact, said in one.said.items())]))
    show_layers(made, screen)
    sizes = _sizes(made)
    rows = [
        [str(number), block.name, f"{sum(sizes[name] for name in block.parameters):,}"]
        for number, block in enumerate(blocks(made.network.backbone), start=1)
    ]
    Table(["", "block", "parameters"], rows, figures={"", "parameters"}).show(screen)


def show_layers(made: Anatomy, screen: Console) -> None:
    """As a picture meets them, and the sums."""
    rows = [
        [layer.name, layer.kind, " x ".join(map(str, layer.shape)), f"{layer.parameters:,}" if layer.parameters else ""]
        for layer in made.layers
    ]
    if made.beside:
        rows.append(["beside the layers", "tokens, positions, scales", "", f"{made.beside:,}"])
    spec = made.network.spec
    Table(["layer", "kind", "gives", "parameters"], rows, figures={"parameters"}, whole={"layer"}).show(screen)
    screen.print(
        f"{spec.name} at {spec.preprocessing.image_size} pixels, without a classifier: {made.parameters:,} parameters "
        f"({made.parameters * _BYTES / 1e6:.1f} MB), {made.operations / 1e9:.2f} GFLOPs a picture"
    )


def _sizes(made: Anatomy) -> dict[str, int]:
    network = without_wrapping(made.network.backbone)
    return {name: parameter.numel() for name, parameter in network.named_parameters()}
