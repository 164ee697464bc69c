"""Weights that others have published: where they are, how pictures were shown to them, and what is to be fetched.

They are torchvision's or timm's own by name, those of a repository of the Hugging Face hub (`hf-hub:OWNER/NAME`, or
`hf-hub:OWNER/NAME/FILE`), or of a folder as that hub would have it (`local-dir:PATH`). One in torch's cache counts
as published only while its content is what its name says.
"""

import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal, cast
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import nn

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.paths import expanded
from pipeline.models.weights import Loaded, brief, load_state, read_state

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HUB, FOLDER = "hf-hub:", "local-dir:"
_CONFIG, _CLIP_CONFIG = "config.json", "open_clip_config.json"
# As timm looks for them, those without code in them first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# What else a user can do who cannot have published weights.
_OTHERWISE = "model.weights_file=PATH; or use regime=scratch"
_DOWNLOAD_TIMEOUT = 20  # seconds without an answer

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class AsTrained:
    """How pictures were shown to a network when its weights were trained."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    image_size: int = 224


@dataclass(frozen=True)
class Named:
    """What a `model.name` stands for: a network of a library, options for it, and what is said of its weights.

    `source` is where these are, if the name tells: `hf-hub:OWNER/NAME`, or the folder as `local-dir:PATH`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None


@cache
def named(name: str) -> Named:
    """A `model.name` read: a hub's and a folder's config say which of timm's networks it is.

    BadInput where there is none, or it is of no network of timm's.
    """
    source = name.removeprefix("timm/")
    if not source.startswith((HUB, FOLDER)):
        return Named(name)
    file = file_of(source, _CONFIG)
    if file is None:
        raise BadInput(
            f"model.name={name}: there is no {_CONFIG} that says which network it is; of weights for open_clip name "
            f"timm's network as model.name=timm/NAME, and the weights as "
            f"{f'model.weights={source}' if source.startswith(HUB) else 'model.weights_file=PATH'}"
        )
    plain = read_json(file)
    architecture = plain.get("architecture")
    import timm

    if not isinstance(architecture, str) or not timm.is_model(architecture):
        said = f"architecture {architecture!r}" if architecture else "no architecture"
        raise BadInput(f"model.name={name}: {file} names {said}, which is no network of timm's")
    # The size is data.image_size's to say, and the classes are those of the pictures.
    options = {
        key: value for key, value in (plain.get("model_args") or {}).items()
        if key not in ("img_size", "num_classes", "global_pool")
    }  # fmt: skip
    if options.get("in_chans", 3) != 3:
        raise BadInput(f"model.name={name}: it takes pictures of {options['in_chans']} channels; here they have 3")
    return Named(f"timm/{architecture}", options, plain.get("pretrained_cfg") or plain, source)


def as_trained(name: str, weights: str = "DEFAULT", file: Path | None = None) -> AsTrained:
    """How pictures were shown to the weights named so, or to those of a file that has a config beside it.

    ImageNet's usual mean and deviation, and 224 pixels, where nothing is known.
    """
    found = named(name)
    beside = _beside(file, found.name) if file else None
    if file is None and weights.startswith(HUB):
        try:
            beside = _beside(file_of(weights, _CLIP_CONFIG) or file_of(weights, _CONFIG), found.name)
        except BadInput:  # who wants the weights too will be told what to fetch
            beside = None
    if beside or found.facts:
        return _of_config(beside or found.facts, AsTrained())
    library, _, network = found.name.partition("/")
    if library == "timm":
        import timm

        tagged = f"{network.partition('.')[0]}.{weights}"
        facts = timm.get_pretrained_cfg(tagged if timm.is_model_pretrained(tagged) else network)
        return _of_config(asdict(facts), AsTrained()) if facts else AsTrained()
    known = _torchvision_weights(network)
    preset = known[weights if weights in known.__members__ else "DEFAULT"].transforms() if known else None
    if preset is None or not hasattr(preset, "crop_size"):
        return AsTrained()
    return AsTrained(
        _three(preset.mean), _three(preset.std), cast("Interpolation", preset.interpolation.value), preset.crop_size[0]
    )


def _beside(file: Path | None, name: str) -> Mapping[str, Any] | None:
    """What a config in a file's folder says of these weights, as timm or open_clip write it; None where none does."""
    for config in (_CLIP_CONFIG, _CONFIG):
        here = file.with_name(config) if file else None
        if here is None or not here.is_file():
            continue
        plain = read_json(here)
        if "preprocess_cfg" in plain:
            side = plain.get("model_cfg", {}).get("vision_cfg", {}).get("image_size")
            return dict(plain["preprocess_cfg"]) | ({"input_size": (3, side, side)} if side else {})
        if plain.get("architecture") == name.rpartition("/")[2].partition(".")[0]:
            return plain.get("pretrained_cfg") or plain
    return None


def _of_config(plain: Mapping[str, Any], usual: AsTrained) -> AsTrained:
    if plain.get("mean"):
        usual = replace(usual, mean=_three(plain["mean"]), std=_three(plain["std"]))
    if plain.get("interpolation"):
        usual = replace(usual, interpolation="bicubic" if plain["interpolation"] == "bicubic" else "bilinear")
    if plain.get("input_size"):
        usual = replace(usual, image_size=int(plain["input_size"][-1]))
    return usual


def load_pretrained(backbone: nn.Module, name: str, weights: str, otherwise: str = _OTHERWISE) -> Loaded:
    """Put published weights into a backbone, from their usual cache folder or the network.

    `otherwise` is how a file of them would be named. Raises BadInput where there are none by that name, or where they
    can be had in neither place.
    """
    found = named(name)
    file, said = weights_file(found, weights, otherwise=otherwise)
    return load_state(backbone, read_state(file, said=str(file)), said, found.name)


def weights_file(found: Named, weights: str, *, fetch: bool = True, otherwise: str = _OTHERWISE) -> tuple[Path, str]:
    """The file of published weights and what it is called; fetched where it is not here yet.

    Raises BadInput where there are none by that name, where they cannot be had, or (without `fetch`) are not here.
    """
    source = found.source if found.source and weights == "DEFAULT" else weights
    if source.startswith(FOLDER):
        return _in_folder(source), source
    library, _, network = found.name.partition("/")
    said, files = f"{found.name} {weights}", list(_HUB_FILES)
    repository: str | None = None
    if source.startswith(HUB):
        said, (repository, *first) = source, _in_hub(source)
        files = [*first, *files]
    elif library == "timm":
        facts = _timm_facts(network, weights)
        repository, url = facts.hf_hub_id, facts.url
        files = [facts.hf_hub_filename] if facts.hf_hub_filename else files
    else:
        url = _torchvision_url(network, weights)
    if not repository:
        return _from_url(url, otherwise, fetch=fetch), said
    file = _from_hub(repository, files, otherwise, fetch=fetch)
    if file is None:
        raise BadInput(f"{HUB}{repository}: it has no weights that are read here: none of {', '.join(files)}")
    return file, said


def _torchvision_url(network: str, weights: str) -> str:
    known = _torchvision_weights(network)
    if known is None or weights not in known.__members__:
        raise BadInput(
            f"model.weights={weights}: torchvision has no such weights for {network}"
            f"{did_you_mean(weights, known.__members__ if known else [])}"
        )
    return str(known[weights].url)


def _timm_facts(network: str, weights: str) -> Any:
    import timm

    architecture = network.partition(".")[0]
    name = network if weights == "DEFAULT" else f"{architecture}.{weights}"
    facts = timm.get_pretrained_cfg(name) if timm.is_model_pretrained(name) else None
    if facts is None:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        none = "; it has none at all: name a file of your own with model.weights_file=PATH, or use regime=scratch"
        raise BadInput(
            f"model.weights={weights}: timm has no such weights for {network}"
            f"{did_you_mean(weights, tags) if tags else none}"
        )
    return facts


def _torchvision_weights(network: str) -> Any:
    from torchvision import models

    try:
        return models.get_model_weights(network)
    except ValueError:
        return None


def _from_url(url: str, otherwise: str, *, fetch: bool) -> Path:
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.exists():
        if not fetch:
            raise BadInput(f"{file.name} is not here; it is at {url}, and goes to {file.parent}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with _patience_of(_DOWNLOAD_TIMEOUT):
                torch.hub.download_url_to_file(url, str(file), hash_prefix=_published_hash(file))
        except (URLError, OSError, RuntimeError) as error:
            raise BadInput(
                f"the published weights are not at {file} and could not be fetched from {url} ({brief(error)}): fetch "
                f"them on a machine with network and put them there, or name them with {otherwise}"
            ) from None
    _check_published(file)
    return file


def _check_published(file: Path) -> None:
    """Raise BadInput where a file under a published name, which ends in its hash, holds something else."""
    expected = _published_hash(file)
    if expected is None:
        return
    try:
        with file.open("rb") as opened:
            found = file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({brief(error)})") from None
    if not found.startswith(expected):
        raise BadInput(
            f"{file} is not the published file (its sha256 begins with {found[:8]}, not {expected}): delete it, and "
            f"if the weights in it are your own, name them from elsewhere with model.weights_file=PATH"
        )


def _published_hash(file: Path) -> str | None:
    named = re.search(r"-([0-9a-f]{8,})\.", file.name)
    return named.group(1) if named else None


def _from_hub(repository: str, files: Sequence[str], otherwise: str = _OTHERWISE, *, fetch: bool = True) -> Path | None:
    """The first of these files that a repository (OWNER/NAME, perhaps @REVISION) has, from the cache or the hub.

    None where it has none of them. Raises BadInput, which says what to fetch from where, where it cannot be asked.
    """
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    owner_and_name, _, revision = repository.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", owner_and_name):
        raise BadInput(f"{HUB}{repository}: a repository of the hub is named OWNER/NAME, such as timm/resnet18.a1_in1k")
    where: dict[str, Any] = {"repo_id": owner_and_name, "revision": revision or None}
    for name in files:
        if isinstance(here := try_to_load_from_cache(filename=name, **where), str):
            return Path(here)
    address = hf_hub_url(filename=files[0], **where)
    if not fetch:
        raise BadInput(
            f"{files[0]} is not here; it is at {address}, and goes to where "
            f"`hf download {owner_and_name} {files[0]}` puts it, or anywhere with {otherwise.partition(';')[0]}"
        )
    for name in files:
        try:
            _check_reachable(address)
            with _patience_of(_DOWNLOAD_TIMEOUT):
                return Path(hf_hub_download(filename=name, **where))
        except Exception as error:  # the hub's client raises errors of many families
            # Where there is no network it says that the file is not found either.
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            if files[0] in (_CONFIG, _CLIP_CONFIG):
                remedy = f"beside its weights, into a folder, and name that: model.name=timm/{FOLDER}PATH"
            else:
                remedy = f"anywhere, and name it: {otherwise}"
            raise BadInput(
                f"{files[0]} of {HUB}{repository} is not here and could not be fetched from {address} "
                f"({brief(error)}): fetch it on a machine with network and put it {remedy}"
            ) from None
    return None


def _check_reachable(address: str) -> None:
    """OSError at once where there is no network; the hub's client would try for half a minute."""
    if not getproxies():
        socket.getaddrinfo(urlsplit(address).hostname, 443)


def _in_folder(source: str) -> Path:
    folder = expanded(source.removeprefix(FOLDER), "model.name")
    for name in _HUB_FILES:
        if (folder / name).is_file():
            return folder / name
    found = [file for ending in ("safetensors", "pth", "bin") for file in sorted(folder.glob(f"*.{ending}"))]
    if len(found) != 1:
        has = f"it has {len(found)}: {', '.join(file.name for file in found[:3])}" if found else "it has none"
        raise BadInput(f"{source}: a folder holds one file of weights, such as model.safetensors; {has}")
    return found[0]


def file_of(source: str, name: str) -> Path | None:
    """A file of a folder or a repository; None where that has none by the name. BadInput where it cannot be asked."""
    if source.startswith(FOLDER):
        folder = expanded(source.removeprefix(FOLDER), "model.name")
        if not folder.is_dir():
            raise BadInput(f"model.name=timm/{source}: there is no such folder; check its spelling")
        return folder / name if (folder / name).is_file() else None
    return _from_hub(_in_hub(source)[0], (name,))


def _in_hub(source: str) -> list[str]:
    """`hf-hub:OWNER/NAME` or `hf-hub:OWNER/NAME/FILE`: the repository, and the file where one is named."""
    owner, *rest = source.removeprefix(HUB).split("/", 2)
    return ["/".join([owner, *rest[:1]]), *rest[1:]]


def read_json(file: Path) -> dict[str, Any]:
    """What a file of JSON says by name. BadInput where it cannot be read, or is a list, say."""
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: it is no JSON that can be read ({brief(error)})") from None
    if not isinstance(plain, dict):
        raise BadInput(f"{file}: it holds no names and values")
    return plain


@contextmanager
def _patience_of(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
