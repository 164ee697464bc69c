"""A backbone cut where what trains begins: what lies below says the same of a picture in every epoch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.batch import Inputs
from pipeline.models.blocks import parameters_below
from pipeline.models.classifier import Classifier
from pipeline.models.regimes import Phase, set_training
from pipeline.models.sight import Sight


@dataclass(frozen=True)
class _Crossing:
    """A tensor that crosses the cut: its dimensions beside the pictures', in the order in which they lie in memory.

    `same` is what it is where it is none of a picture's own (positions, say), but of all.
    """

    order: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    kind: torch.dtype = torch.float32
    same: torch.Tensor | None = None

    @property
    def width(self) -> int:
        return 0 if self.same is not None else math.prod(self.sizes)

    def packed(self, value: torch.Tensor) -> torch.Tensor:
        """(n, width) float32, which holds every kind of number that crosses."""
        return value.permute(0, *self.order).reshape(len(value), -1).float()

    def unpacked(self, row: torch.Tensor) -> torch.Tensor:
        """The inverse."""
        if self.same is not None:
            return self.same
        as_it_lies = row.to(self.kind).view(len(row), *self.sizes)
        return as_it_lies.permute(0, *(self.order.index(place) + 1 for place in sorted(self.order)))


@dataclass(frozen=True)
class Above:
    """The upper part of a backbone: (n, width) float32, what it reads of pictures, a row each -> (n, features)."""

    graph: fx.GraphModule
    crossings: tuple[_Crossing, ...]

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        parts = torch.split(rows, [one.width for one in self.crossings], dim=1)
        return self.graph(*(one.unpacked(part) for one, part in zip(self.crossings, parts, strict=True)))

    def row(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        """(n, width), of the tensors that cross the cut."""
        pairs = zip(self.crossings, values, strict=True)
        return torch.cat([one.packed(value) for one, value in pairs if one.same is None], dim=1)


class Below(nn.Module):
    """The lower part of a network that sees pictures, whose features are what the upper one reads.

    It does a `share` of the multiplications.
    """

    def __init__(self, sight: Sight, graph: fx.GraphModule, above: Above, share: float) -> None:
        super().__init__()
        self.sight, self.graph, self.above, self.share = sight, graph, above, share
        self.n_features = sum(one.width for one in above.crossings)

    def features(self, inputs: Inputs) -> torch.Tensor:
        """(n, n_features) float32."""
        assert inputs.pixels is not None
        return self.above.row(self.graph(self.sight.normalised(inputs.pixels)))


@torch.no_grad()
def cut(network: Classifier, phase: Phase, layout: torch.memory_format) -> Below | None:
    """The two parts of a network's backbone in a phase, made of its own layers; None where it cannot be cut so.

    It is tried on pictures without meaning, on the network's device: both parts together have to say of them what the
    network says, to the last bit, and the lower one the same in training.
    """
    below = {f"0.{name}" for name in parameters_below(network.backbone, phase.trains)}

    def traced() -> tuple[nn.Module, fx.Graph]:
        whole = nn.Sequential(network.backbone)  # which is given pictures alone, whatever else it could be
        return whole, _LayersWhole(below).trace(whole)

    with torch.random.fork_rng():
        try:
            network.eval()
            _, asked = traced()
            set_training(network, phase)
            whole, graph = traced()
        except Exception:  # whatever a network's forward() raises where it asks what a traced value is
            return None
        parts = _two(whole, graph, _fixed(graph, whole, below)) if str(graph) == str(asked) else None
        return _tried(network, phase, layout, *parts) if parts else None


class _LayersWhole(fx.Tracer):
    """Looks only into layers of which a part is `below`, and another is not."""

    def __init__(self, below: set[str]) -> None:
        super().__init__()
        self._below = below

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        names = {f"{module_qualified_name}.{name}" for name, _ in m.named_parameters()}
        return names <= self._below or names.isdisjoint(self._below)


def _fixed(graph: fx.Graph, whole: nn.Module, below: set[str]) -> list[fx.Node]:
    """What is made of pictures, and by nothing that changes in training."""
    parameters = dict(whole.named_parameters(remove_duplicate=False))

    def changes(node: fx.Node) -> bool:
        name = str(node.target)
        if node.op == "get_attr":
            return name in parameters and name not in below
        if node.op != "call_module":
            return False
        layer = whole.get_submodule(name)
        keeps_count = layer.training and any(True for _ in layer.buffers())
        return keeps_count or any(f"{name}.{own}" not in below for own, _ in layer.named_parameters())

    pictured, changing = _depending(graph, lambda node: node.op == "placeholder"), _depending(graph, changes)
    return [node for node in graph.nodes if node in pictured and node not in changing]


def _depending(graph: fx.Graph, first: Callable[[fx.Node], bool]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if first(node) or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _two(whole: nn.Module, graph: fx.Graph, fixed: list[fx.Node]) -> tuple[fx.GraphModule, fx.GraphModule] | None:
    """What is fixed, and the rest, which reads what of that it needs; what is made of no picture is in either."""
    inside = set(fixed)
    crossing = [node for node in fixed if not inside.issuperset(node.users)]
    if not crossing or any(node.op == "placeholder" for node in crossing):
        return None
    pictured = _depending(graph, lambda node: node.op == "placeholder")
    lower, upper = fx.Graph(), fx.Graph()
    in_lower: dict[fx.Node, fx.Node] = {}
    in_upper = {node: upper.placeholder(f"below_{place}") for place, node in enumerate(crossing)}
    for node in graph.nodes:
        if node in inside or node not in pictured:
            in_lower[node] = lower.node_copy(node, in_lower.__getitem__)
        if node not in inside:
            in_upper[node] = upper.node_copy(node, in_upper.__getitem__)
    lower.output(tuple(in_lower[node] for node in crossing))
    return _needed(whole, lower), _needed(whole, upper)


def _needed(whole: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """With the layers alone that its answer needs."""
    made = fx.GraphModule(whole, graph)
    made.graph.eliminate_dead_code()
    return fx.GraphModule(whole, made.graph)


def _tried(
    network: Classifier, phase: Phase, layout: torch.memory_format, lower: fx.GraphModule, upper: fx.GraphModule
) -> Below | None:
    side, device = network.parts[0].preprocessing.image_size, next(network.parameters()).device
    chance = torch.Generator().manual_seed(0)
    pictures = [torch.randint(256, (n, 3, side, side), dtype=torch.uint8, generator=chance) for n in (1, 2)]
    one, two = (network.normalised(some.to(device, memory_format=layout)) for some in pictures)
    network.eval()
    with FlopCounterMode(display=False) as in_lower:
        found = lower(two)
    crossings = [_crosses(*values) for values in zip(lower(one), found, strict=True)]
    kept = [crossing for crossing in crossings if crossing]
    if len(kept) < len(crossings) or not sum(crossing.width for crossing in kept):
        return None
    above = Above(upper, tuple(kept))
    row = above.row(found)
    with FlopCounterMode(display=False) as in_both:
        wanted = network.backbone(two)
    if not torch.equal(above(row), wanted):
        return None
    set_training(network, phase)
    if not torch.equal(above.row(lower(two)), row):
        return None
    return Below(network, lower, above, in_lower.get_total_flops() / max(in_both.get_total_flops(), 1))


def _crosses(of_one: object, of_two: object) -> _Crossing | None:
    """How a value of a picture, and of two, crosses; None for one that could not be kept a picture."""
    if not isinstance(of_one, torch.Tensor) or not isinstance(of_two, torch.Tensor):
        return None
    if torch.equal(of_one, of_two):
        return _Crossing(same=of_two)
    if (len(of_one), len(of_two)) != (1, 2) or not of_two.is_floating_point() or of_two.dtype == torch.float64:
        return None
    order = sorted(range(1, of_two.ndim), key=of_two.stride, reverse=True)
    return _Crossing(tuple(order), tuple(of_two.shape[place] for place in order), of_two.dtype)
