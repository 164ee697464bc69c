"""Weights in a file, in whatever form they were published: loaded into a backbone without silent losses.

A file is a stranger's: it is read as tensors alone, and nothing in it is run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import nn

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.models.backbone import without_wrapping
from pipeline.models.conversion import converted

_PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.")
_FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """What of a state dict went into a backbone, and what was left out (a classifier, usually)."""

    source: str
    kept: int
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        left = f", left out {', '.join(self.dropped[:4])}" if self.dropped else ""
        more = f" and {len(self.dropped) - 4} more" if len(self.dropped) > 4 else ""
        return f"weights from {self.source}: {self.kept} tensors kept{left}{more}"


def load_file(backbone: nn.Module, path: Path, name: str = "", said: str | None = None) -> Loaded:
    """Put the weights of a safetensors file or of a saved state dict into a backbone; nothing in it is run.

    `name` as for `load_state`, `said` as for `read_state`.
    """
    return load_state(backbone, read_state(path, said), said or f"model.weights_file={path}", name)


def read_state(path: Path, said: str | None = None) -> State:
    """The tensors of a file by name. Raises BadInput where it is missing, cut short or holds anything else.

    `said` is what messages call it, where no key names it.
    """
    path = expanded(path, "model.weights_file")
    said = said or f"model.weights_file={path}"
    if not path.is_file():
        what = "that is a folder; name a file in it" if path.is_dir() else "there is no such file; check its spelling"
        raise BadInput(f"{said}: {what}")
    if path.suffix == ".safetensors":
        try:
            return load_safetensors(path)
        except (SafetensorError, ValueError) as error:
            raise BadInput(f"{said}: not a whole safetensors file ({brief(error)})") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can make its reader stumble over anything
        raise BadInput(
            f"{said}: not a state dict of tensors, or cut short ({brief(error)}); "
            f"save one with torch.save(network.state_dict(), PATH)"
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):  # as training scripts wrap it
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise BadInput(f"{said}: holds something else than a state dict of tensors")
    numbered = [key for key in state if not isinstance(key, str)]
    if numbered:
        raise BadInput(f"{said}: its tensors are called {_some(numbered)}, not by the names of a network's layers")
    return state


def load_state(backbone: nn.Module, state: State, source: str, name: str = "") -> Loaded:
    """Copy every tensor that the backbone has; what the state has beyond it is left out and told.

    `name` is the network's (`timm/NAME`): where the tensors do not fit as they are, its library's own filter brings
    them from the form in which their authors published them to the network's names, and its positions to its size.
    Raises BadInput with the first names and shapes of both sides where the backbone would keep a random tensor.
    """
    network = without_wrapping(backbone)
    mine = network.state_dict()
    state = _without_prefix(state, set(mine))
    if _lacking(mine, state):
        state = converted(network, state, name)
    unfit = [f"{name} is {kind}" for name, own in mine.items() if name in state and (kind := _unfit(state[name], own))]
    if unfit:
        more = f" (and {len(unfit) - 3} more)" if len(unfit) > 3 else ""
        raise BadInput(
            f"weights from {source} are no plain numbers: {'; '.join(unfit[:3])}{more}; save those of a network "
            f"that is neither quantised nor made sparse, as floating point"
        )
    if problems := _lacking(mine, state):
        beyond = [f"{name} {tuple(tensor.shape)}" for name, tensor in state.items() if name not in mine]
        has = f", where there is {_first(beyond)} that the network has not" if beyond else ""
        raise BadInput(
            f"weights from {source} do not fit the network: {_first(problems)} there{has}; take weights of this very "
            f"network, or choose the network that they are of with model="
        )
    kept = {name: state[name] for name in mine if name in state}
    broken = [name for name, tensor in kept.items() if not tensor.float().isfinite().all()]
    if broken:
        raise BadInput(
            f"weights from {source} hold NaN or infinite numbers, in {_some(broken)}: they are of a training "
            f"that failed; take those of an earlier epoch"
        )
    network.load_state_dict(kept, strict=False)
    return Loaded(source, len(kept), tuple(name for name in state if name not in mine))


def _lacking(mine: State, state: State) -> list[str]:
    """The network's tensors that a state has not, or in another shape."""
    return [
        f"{name} {tuple(tensor.shape)} is {tuple(state[name].shape) if name in state else 'missing'}"
        for name, tensor in mine.items()
        if not name.endswith("num_batches_tracked") and (name not in state or state[name].shape != tensor.shape)
    ]


def _first(things: list[str]) -> str:
    more = f" (and {len(things) - 3} more)" if len(things) > 3 else ""
    return f"{'; '.join(things[:3])}{more}"


def _unfit(tensor: torch.Tensor, own: torch.Tensor) -> str | None:
    """What keeps a stored tensor from being copied into the network's own without loss; None where nothing does."""
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse or nested"
    if tensor.is_meta:
        return "without contents (on the device meta)"
    if tensor.is_quantized:
        return "quantised"
    if own.is_floating_point() and tensor.dtype not in _FLOATING:
        return f"of {str(tensor.dtype).removeprefix('torch.')}"
    if not own.is_floating_point() and tensor.is_complex():  # counters of batches
        return "complex"
    return None


def _without_prefix(state: State, wanted: set[str]) -> State:
    for prefix in _PREFIXES:
        if wanted & set(state):
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _some(names: list[Any]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(map(repr, names[:3]))}{more}"


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def brief(error: BaseException) -> str:
    """An error's first line, its kind where that says nothing."""
    first = next(iter(str(error).splitlines()), "")
    said = first if re.search("[A-Za-z]{2}", first) else f"{type(error).__name__} {first}".strip()
    return shorten(said, 160, placeholder=" ...")
