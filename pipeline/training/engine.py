"""Whom a frozen network is asked through on a processor: PyTorch, or ONNX Runtime where that is clearly faster."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from lightning_fabric import Fabric

from pipeline.common.atomic import write_atomically
from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.common.locks import one_at_a_time
from pipeline.config.schema import Engine
from pipeline.data.batch import Inputs
from pipeline.models.onnx_session import NotConvertedError, OnnxSession, lacking, runtime
from pipeline.models.sight import Sight
from pipeline.training.hardware import CLEARLY_FASTER, resolved
from pipeline.training.loop import layout_of

Instead = Mapping[Sight, OnnxSession]  # of whose backbone whom
_VERSION = 1  # of what is remembered
_TURNS = 2  # batches of a trial that count
_TO_CONVERT = 1.0  # seconds that it may well take
_OF_A_PASS = 0.2  # of the time that the pictures that follow take, what a trial may take

log = logging.getLogger(__name__)


class Tried(NamedTuple):
    """Seconds a picture by each, and those that converting the network took."""

    torch: float
    onnxruntime: float
    converting: float

    @property
    def times(self) -> float:
        """How many times as fast as PyTorch ONNX Runtime is."""
        return self.torch / max(self.onnxruntime, 1e-9)


def trials() -> Path:
    """The folder of what trials found, a file each; perhaps not there yet."""
    return cache_folder() / "engines"


def check_engine(engine: Engine, key: str = "trainer.engine") -> None:
    """BadInput where ONNX Runtime is asked for and is not installed."""
    if engine == "onnxruntime" and (missing := lacking()):
        raise BadInput(f"{key}=onnxruntime needs {' and '.join(missing)}: pip install -e '.[onnx]', or {key}=torch")


def stand_ins(engine: Engine, sights: Sequence[Sight], pictures: int, batch: int, fabric: Fabric) -> Instead:
    """What is asked of so many pictures, `batch` at once, in the stead of some sights' backbones; told in a line, once.

    None of those where PyTorch is as fast, or alone knows them. With `auto` a network is tried once for each machine,
    picture size, batch and number of threads, where the trial takes little beside the pictures. Features differ as far
    as those differ that PyTorch makes in batches of another size: by 1e-6, where float16, as which they are kept, has
    5e-4. So both are kept under one key.
    """
    if engine == "torch" or (engine == "auto" and lacking()):
        return {}
    computed = resolved(fabric)
    how = f"{computed['precision']} on {computed['device']}"
    if how != "fp32 on cpu":
        if engine == "onnxruntime":
            _tell(f"PyTorch answers: engine=onnxruntime is for fp32 on cpu, not {how}")
        return {}
    found: dict[Sight, OnnxSession] = {}
    made: dict[object, OnnxSession | None] = {}
    for sight in sights:
        key = sight.backbone, sight.parts[0].preprocessing  # of several networks that share a backbone it is asked once
        if key not in made:
            made[key] = _stand_in(engine, sight, pictures, batch, str(computed["device_name"]))
        if session := made[key]:
            found[sight] = session
    return found


@contextmanager
def asked_through(sessions: Instead) -> Iterator[None]:
    """Let sights ask these in their backbones' stead for so long; no gradient comes through them."""
    for sight, session in sessions.items():
        sight.instead = session
    try:
        yield
    finally:
        for sight in sessions:
            sight.instead = None


def _stand_in(engine: Engine, sight: Sight, pictures: int, batch: int, machine: str) -> OnnxSession | None:
    name = sight.parts[0].name.rpartition("/")[2]
    try:
        if engine == "onnxruntime":
            session = OnnxSession(sight)
            _tell(f"ONNX Runtime answers for {name}")
            return session
        tried = _remembered_or_tried(sight, pictures, batch, machine)
        if tried is None:
            return None
        if tried.times < CLEARLY_FASTER:
            _tell(f"PyTorch answers for {name}: ONNX Runtime is {tried.times:.2g} times as fast here")
            return None
        if pictures * (tried.torch - tried.onnxruntime) < tried.converting:
            return None
        session = OnnxSession(sight)
    except NotConvertedError as error:
        _tell(f"PyTorch answers for {name}: {error}")
        return None
    _tell(f"ONNX Runtime answers for {name}: it is {tried.times:.2g} times as fast as PyTorch here")
    return session


@cache
def _tell(line: str) -> None:
    log.info("%s", line)


def _remembered_or_tried(sight: Sight, pictures: int, batch: int, machine: str) -> Tried | None:
    """None where so few pictures follow that a trial would take longer than it gains."""
    part = sight.parts[0]
    what = json.dumps(
        [
            _VERSION, machine, torch.get_num_threads(), torch.__version__, runtime().__version__, part.name,
            dict(part.options), part.preprocessing.image_size, sight.n_features, str(layout_of(sight)), batch,
        ]
    )  # fmt: skip
    file = trials() / f"{blake2b(what.encode(), digest_size=8).hexdigest()}.json"
    known = _read(file)
    if known or not _worth_a_trial(sight, pictures, batch):
        return known
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError:  # a machine that keeps nothing tries again
        return _tried(sight, batch)
    with one_at_a_time(file.with_suffix(".lock"), f"a trial of {part.name}"):
        known = _read(file)
        if known is None:
            known = _tried(sight, batch)
            kept = json.dumps({"what": what, **known._asdict()}, indent=1)
            with suppress(OSError):
                write_atomically(file, lambda fresh: fresh.write_text(kept, encoding="utf-8"))
    return known


def _read(file: Path) -> Tried | None:
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        return Tried(*(float(plain[name]) for name in Tried._fields))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _worth_a_trial(sight: Sight, pictures: int, batch: int) -> bool:
    asked = 2 * (1 + _TURNS) * batch
    if _OF_A_PASS * pictures <= asked:
        return False
    shown = _noise(sight, min(batch, 8))
    each = min(_seconds(sight, shown) for _ in range(2))
    return _TO_CONVERT + asked * each <= _OF_A_PASS * pictures * each


def _tried(sight: Sight, batch: int) -> Tried:
    began = perf_counter()
    session = OnnxSession(sight)
    converting, shown = perf_counter() - began, _noise(sight, batch)
    turns = []
    for _ in range(1 + _TURNS):  # in turns, so that a busy moment slows both
        alone = _seconds(sight, shown)
        with asked_through({sight: session}):
            turns.append((alone, _seconds(sight, shown)))
    first, second = zip(*turns[1:], strict=True)
    return Tried(min(first), min(second), converting)


def _noise(sight: Sight, pictures: int) -> Inputs:
    shape = pictures, *sight.parts[0].preprocessing.shape
    pixels = torch.randint(0, 256, shape, generator=torch.Generator(), dtype=torch.uint8)  # the seed's chance stays
    return Inputs(pixels.contiguous(memory_format=layout_of(sight)))


@torch.inference_mode()
def _seconds(sight: Sight, shown: Inputs) -> float:
    """That a picture takes."""
    assert shown.pixels is not None
    began = perf_counter()
    sight.features(shown)
    return (perf_counter() - began) / len(shown.pixels)
