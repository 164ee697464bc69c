"""The same convolutions, reckoned faster on a processor: fewer passes over memory, and kernels chosen by measure.

Two things cost a processor most of its time in a network that is fine-tuned, and neither is arithmetic:

* Batch-norm that uses its kept statistics (in evaluation, or frozen) multiplies and adds constants a channel, in a
  pass of its own over every map, forward and backward. Folded into the weights of the convolution before it, the
  answer and the gradients are the same and the pass is gone.
* oneDNN has no good bf16 kernel for the backward pass of depthwise convolutions that stride or are wide, but it has
  good float32 ones: up to a hundred times faster (`bench/convolutions.py` shows it for this machine).

Layers keep their class, their names and their parameters; only how they are called changes, and only on a processor.
Where a layer is replaced afterwards, what it was paired with is computed as it always was.
"""

from copy import deepcopy
from functools import partial

import torch
from torch import fx, nn

_WIDE = 4  # kernels beyond this are wide: no bf16 kernel of their own for the gradient of their weights


def speed_up(network: nn.Module) -> None:
    """Let the convolutions of a network, in place, be computed the faster way wherever that is the same."""
    norms = _norms_after(network)
    for name, layer in network.named_modules():
        if type(layer) is nn.Conv2d and (name in norms or _slow_in_bf16(layer)):
            pair = None
            if name in norms:
                pair = _Pair(network, name, norms[name])
                setattr(pair.norm, "forward", partial(_normalise, pair.norm, pair))  # noqa: B010 - else mypy objects
            setattr(layer, "forward", partial(_convolve, layer, pair))  # noqa: B010


def as_written(network: nn.Module) -> None:
    """Undo `speed_up`, in place, for whoever converts the network: other programs fold batch-norms by themselves."""
    for layer in network.modules():
        layer.__dict__.pop("forward", None)


class _Pair:
    """A convolution and the batch-norm that alone reads what it gives, as they are in a network.

    It holds as long as the network has both where they were found: one is folded into the other only together. A deep
    copy of the network has pairs of its own; a copy of a part of it, and one by pickle, has none.
    """

    def __init__(self, network: nn.Module, convolution: str, norm: str) -> None:
        self.network, self.names = network, (convolution, norm)
        self.convolution, found = network.get_submodule(convolution), network.get_submodule(norm)
        assert isinstance(found, nn.BatchNorm2d)
        self.norm: nn.BatchNorm2d = found

    def holds(self) -> bool:
        """Whether neither was replaced, nor what they are in."""
        convolution, norm = self.names
        return _find(self.network, convolution) is self.convolution and _find(self.network, norm) is self.norm

    def __deepcopy__(self, memo: dict[int, object]) -> "_Pair | None":
        if id(self.network) not in memo:
            return None
        copied = memo[id(self)] = object.__new__(_Pair)
        copied.names = self.names
        copied.network, copied.convolution, copied.norm = deepcopy((self.network, self.convolution, self.norm), memo)
        return copied

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def _find(network: nn.Module, name: str) -> nn.Module | None:
    found: nn.Module | None = network
    for part in name.split("."):
        found = None if found is None else found._modules.get(part)
    return found


def _convolve(layer: nn.Conv2d, pair: _Pair | None, maps: torch.Tensor) -> torch.Tensor:
    weight, bias = layer.weight, layer.bias
    if pair is not None and _folds(pair, maps):
        weight, bias = _folded(weight, bias, pair.norm)
    if _slow_in_bf16(layer) and (maps.requires_grad or weight.requires_grad) and _in_bf16(maps):
        with torch.autocast("cpu", enabled=False):
            exact = layer._conv_forward(maps.float(), weight, bias)
        return exact.to(torch.bfloat16)
    return layer._conv_forward(maps, weight, bias)


def _normalise(norm: nn.BatchNorm2d, pair: _Pair | None, maps: torch.Tensor) -> torch.Tensor:
    if pair is None or not _folds(pair, maps):
        return type(norm).forward(norm, maps)
    for what_follows in ("drop", "act"):  # of timm's batch-norms, which do these too
        maps = getattr(norm, what_follows, _same)(maps)
    return maps


def _folds(pair: _Pair, maps: torch.Tensor) -> bool:
    """Asked before the convolution and after it; nothing that it looks at changes between the two."""
    norm = pair.norm
    fixed = not norm.training and norm.running_mean is not None
    return fixed and maps.device.type == "cpu" and pair.holds()


def _folded(weight: torch.Tensor, bias: torch.Tensor | None, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (out, in/groups, k, k) and bias (out,) that do what convolution and batch-norm do one after the other."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale if bias is None else (bias - norm.running_mean) * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    return weight * scale[:, None, None, None], shift


def _norms_after(network: nn.Module) -> dict[str, str]:
    """By a convolution's name, that of the batch-norm that alone reads what it gives; none where it cannot be told."""
    layers = dict(network.named_modules())
    if not any(_is_norm(layer) for layer in layers.values()):
        return {}
    try:
        nodes = [node for node in _LayersWhole().trace(network).nodes if node.op == "call_module"]
    except Exception:  # whatever a network's forward() raises where it asks what a traced value is
        return {}
    calls = [node.target for node in nodes]
    found: dict[str, str] = {}
    for node in nodes:
        before = next(iter(node.all_input_nodes), None)
        if (
            _is_norm(layers[node.target])
            and before is not None
            and before.op == "call_module"
            and type(layers[before.target]) is nn.Conv2d
            and len(before.users) == calls.count(before.target) == calls.count(node.target) == 1
        ):
            found[before.target] = node.target
    return found


class _LayersWhole(fx.Tracer):
    """Does not look into batch-norms of other libraries."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def _is_norm(layer: nn.Module) -> bool:
    known = type(layer) is nn.BatchNorm2d or type(layer).__name__ == "BatchNormAct2d"
    return known and layer.running_mean is not None


def _slow_in_bf16(layer: nn.Conv2d) -> bool:
    depthwise = layer.groups == layer.in_channels > 1
    return depthwise and (max(layer.stride) > 1 or max(layer.kernel_size) > _WIDE)


def _in_bf16(maps: torch.Tensor) -> bool:
    return (
        maps.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


def _same(maps: torch.Tensor) -> torch.Tensor:
    return maps
