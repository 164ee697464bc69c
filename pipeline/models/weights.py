"""Pretrained weights: the libraries' own by name, or a file; loaded into a backbone without silent losses.

A weights file is a stranger's: it is read as tensors alone, and one in a library's cache folder counts as published
only while its content is.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, cast
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import nn

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.paths import expanded

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.")
_FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_DOWNLOAD_TIMEOUT = 20  # seconds without an answer

Interpolation = Literal["bilinear", "bicubic"]
State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Normalisation:
    """How pictures were prepared when the weights were trained."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"


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


def normalisation(name: str, weights: str) -> Normalisation:
    """The normalisation that belongs to these ImageNet weights of a network; ImageNet's usual one if unknown."""
    library, _, network = name.partition("/")
    if library == "timm":
        import timm

        facts = timm.get_pretrained_cfg(network)
        if facts is None:
            return Normalisation()
        bicubic = facts.interpolation == "bicubic"
        return Normalisation(_three(facts.mean), _three(facts.std), "bicubic" if bicubic else "bilinear")
    known = _torchvision_weights(network)
    preset = known[weights if weights in known.__members__ else "DEFAULT"].transforms() if known else None
    if preset is None or not hasattr(preset, "mean"):
        return Normalisation()
    return Normalisation(_three(preset.mean), _three(preset.std), cast("Interpolation", preset.interpolation.value))


def load_pretrained(backbone: nn.Module, name: str, weights: str) -> Loaded:
    """Put a library's ImageNet weights into a backbone, from its usual cache folder or the network.

    Raises BadInput where the library has none by that name, or where they can be had in neither place.
    """
    library, _, network = name.partition("/")
    load = _timm_state if library == "timm" else _torchvision_state
    return load_state(backbone, load(network, weights), f"{name} {weights}")


def _torchvision_weights(network: str) -> Any:
    from torchvision import models

    try:
        return models.get_model_weights(network)
    except ValueError:
        return None


def _torchvision_state(network: str, weights: str) -> State:
    known = _torchvision_weights(network)
    if known is None or weights not in known.__members__:
        raise BadInput(
            f"model.weights={weights}: torchvision has no such weights for {network}"
            f"{did_you_mean(weights, known.__members__ if known else [])}"
        )
    chosen = known[weights]
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rsplit("/", 1)[-1]
    if not file.exists():
        _download(network, chosen.url, file)
    _check_published(file)
    return read_state(file, said=str(file))


def _download(network: str, url: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _patience_of(_DOWNLOAD_TIMEOUT):
            torch.hub.download_url_to_file(url, str(file), hash_prefix=_published_hash(file))
    except (URLError, OSError, RuntimeError) as error:
        raise BadInput(
            f"the ImageNet weights of {network} are not at {file} and could not be fetched from {url} "
            f"({_brief(error)}): name a file of them with model.weights_file=PATH, or use regime=scratch"
        ) from None


def _check_published(file: Path) -> None:
    """Raise BadInput where a file under a published name, which ends in its hash, holds something else."""
    expected = _published_hash(file)
    try:
        with file.open("rb") as opened:
            found = file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({_brief(error)})") from None
    if expected is None or not found.startswith(expected):
        raise BadInput(
            f"{file} is not the published file (its sha256 begins with {found[:8]}, not {expected}): delete it, and "
            f"if the weights in it are your own, name them from elsewhere with model.weights_file=PATH"
        )


def _published_hash(file: Path) -> str | None:
    named = re.search(r"-([0-9a-f]{8,})\.", file.name)
    return named.group(1) if named else None


def _timm_state(network: str, weights: str) -> State:
    import timm

    name = network if weights == "DEFAULT" else f"{network.split('.', maxsplit=1)[0]}.{weights}"
    facts = timm.get_pretrained_cfg(name) if timm.is_model_pretrained(name) else None
    if facts is None:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{network.split('.', maxsplit=1)[0]}.*")]
        raise BadInput(f"model.weights={weights}: timm has no such weights for {network}{did_you_mean(weights, tags)}")
    try:
        with _patience_of(_DOWNLOAD_TIMEOUT), _tensors_only():
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises errors of many families
        source = facts.hf_hub_id or facts.url
        raise BadInput(
            f"the ImageNet weights of timm/{name} could not be had from {source} ({_brief(error)}): fetch them "
            f"on a machine with network and name the file with model.weights_file=PATH, or use regime=scratch"
        ) from None


@contextmanager
def _tensors_only() -> Iterator[None]:
    """What torch loads in here is read as tensors alone, also where a library asks it for more.

    timm reads a file in a cache folder that way, but a second time without where the first raises a TypeError.
    """
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


@contextmanager
def _patience_of(seconds: float) -> Any:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_file(backbone: nn.Module, path: Path) -> Loaded:
    """Put the weights of a safetensors file or of a saved state dict into a backbone; nothing in it is run."""
    return load_state(backbone, read_state(path), f"model.weights_file={path}")


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
            raise BadInput(f"{said}: not a whole safetensors file ({_brief(error)})") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can make its reader stumble over anything
        raise BadInput(
            f"{said}: not a state dict of tensors, or cut short ({_brief(error)}); "
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


def load_state(backbone: nn.Module, state: State, source: str) -> Loaded:
    """Copy every tensor that the backbone has; what the state has beyond it is left out and told.

    Raises BadInput with the first names and shapes where the backbone would keep a random tensor.
    """
    state = _without_prefix(state, set(backbone.state_dict()))
    mine = backbone.state_dict()
    unfit = [f"{name} is {kind}" for name, own in mine.items() if name in state and (kind := _unfit(state[name], own))]
    if unfit:
        more = f" (and {len(unfit) - 3} more)" if len(unfit) > 3 else ""
        raise BadInput(
            f"weights from {source} are no plain numbers: {'; '.join(unfit[:3])}{more}; save those of a network "
            f"that is neither quantised nor made sparse, as floating point"
        )
    problems = [
        f"{name} {tuple(tensor.shape)} is {tuple(state[name].shape) if name in state else 'missing'}"
        for name, tensor in mine.items()
        if not name.endswith("num_batches_tracked") and (name not in state or state[name].shape != tensor.shape)
    ]
    if problems:
        raise BadInput(
            f"weights from {source} do not fit the network: {'; '.join(problems[:3])} there"
            f"{f' (and {len(problems) - 3} more)' if len(problems) > 3 else ''}; take weights of this very network, "
            f"or choose the network that they are of with model="
        )
    kept = {name: state[name] for name in mine if name in state}
    broken = [name for name, tensor in kept.items() if not tensor.float().isfinite().all()]
    if broken:
        raise BadInput(
            f"weights from {source} hold NaN or infinite numbers, in {_some(broken)}: they are of a training "
            f"that failed; take those of an earlier epoch"
        )
    backbone.load_state_dict(kept, strict=False)
    return Loaded(source, len(kept), tuple(name for name in state if name not in mine))


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


def _brief(error: BaseException) -> str:
    first = next(iter(str(error).splitlines()), "")
    said = first if re.search("[A-Za-z]{2}", first) else f"{type(error).__name__} {first}".strip()
    return shorten(said, 160, placeholder=" ...")
