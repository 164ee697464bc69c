"""How long a training will last and how much room it needs, from its first batches."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import psutil
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.atomic import scratch_folder
from pipeline.common.errors import BadInput
from pipeline.common.wording import duration, size
from pipeline.config import schema
from pipeline.experiment import build
from pipeline.experiment.backbones import with_its_size
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import asked_once, below_kept, stages, wanted
from pipeline.experiment.training import ground, prepare, processes, train
from pipeline.tracking.finished import label
from pipeline.tracking.store import Store, is_there
from pipeline.tracking.twins import finished, twins, under_way
from pipeline.training.loop import Progress

log = logging.getLogger("pipeline.train")

_FEW, _SECONDS, _MOST = 2, 3.0, 40  # batches of the first trial; the second lasts about so long, in at most so many
_FLOAT = 4  # bytes
_MOMENTS = {"sgd": 1}  # what an optimizer keeps of each parameter that learns, where it is not two numbers


@dataclass(frozen=True)
class Forecast:
    """What a job will take: `seconds` beyond the passes of frozen backbones, which `passes` has by what they are of.

    Jobs of a sweep share these passes. In bytes: `memory` of its process at most, `on_device` of a GPU's, `kept` on
    disk for good, `meanwhile` beside that while it trains, `features` of its passes. `found`: the run that it is
    done in already.
    """

    job: str
    seconds: float = 0.0
    passes: dict[str, float] = field(default_factory=dict)
    memory: float = 0.0
    on_device: float = 0.0
    kept: float = 0.0
    meanwhile: float = 0.0
    features: dict[str, float] = field(default_factory=dict)
    found: str = ""

    def told(self) -> str:
        """In a line."""
        if self.found:
            return f"done already: run {self.found}"
        device = f", {size(self.on_device)} of the GPU's" if self.on_device else ""
        disk = self.kept + sum(self.features.values())
        return (
            f"forecast: {duration((self.seconds + sum(self.passes.values())) / 60)}, {size(self.memory)} of memory"
            f"{device}, {size(disk)} on disk ({size(self.meanwhile)} more while it trains)"
        )

    def write(self, folder: Path) -> None:
        """Into a folder of forecasts, for who sums them up."""
        (folder / f"{uuid4().hex}.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_forecasts(folder: Path) -> list[Forecast]:
    """Those written into a folder, oldest first."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return [Forecast(**json.loads(file.read_text(encoding="utf-8"))) for file in files]


def foresee(config: schema.Train, job: str, typed: Sequence[str], *, in_sweep: bool) -> Forecast:
    """Prepare a training, try its first batches, and say what all of it will take; nothing is kept of it.

    BadInput as the training itself would raise it. In a sweep what is done already takes nothing.
    """
    if config.resume not in ("auto", "never"):
        raise BadInput(f"estimate=true: what is left of one run is not foretold; leave out resume={config.resume}")
    if there := is_there():
        Store().open(to_write=False)
    config = with_its_size(config)
    base = ground(config, None, typed)
    if in_sweep and there and (run := _done(config.tracking.experiment, base.identity(config))):
        return Forecast(job, found=label(run))
    prepared = prepare(config, base)
    if (several := processes(config)) > 1:
        log.info("the forecast is of one process: what it says of epochs and features %d share", several)
    with build.memory_in_one_line(config.trainer.batch_size):
        return forecast(config, prepared, job)


def _done(experiment: str, identity: dict[str, str]) -> Run | None:
    client = MlflowClient()
    there = client.get_experiment_by_name(experiment)
    found = twins(client, there.experiment_id, identity) if there else []
    return finished(found) or under_way(found)


def forecast(config: schema.Train, prepared: Prepared, job: str) -> Forecast:
    """From two trials of few batches: what a batch more costs, and what there is to pay once."""
    for stage in stages(config):  # what is kept hangs on all pictures, not on those of a trial
        below_kept(config, prepared, stage.phase)
    few = _trial(config, prepared, _FEW)
    most = math.ceil(_SECONDS * few.batches / few.seconds)
    more = _trial(config, prepared, min(_MOST, max(2 * _FEW, most)))
    train, val, test = (_batches(config, prepared, split) for split in ("train", "val", "test"))
    a_picture = _slope(few.before, more.before, few.pictures, more.pictures)
    passes, features = _passes(config, prepared, a_picture)
    seconds, judged = max(0.0, few.before - a_picture * few.pictures), 0.0
    for stage, first, second in zip(stages(config), few.stages, more.stages, strict=True):
        a_batch = _slope(first.judging, second.judging, few.val, more.val)
        judged = first.judging + a_batch * (val - few.val)
        learned = first.learning + _slope(first.learning, second.learning, few.train, more.train) * (train - few.train)
        seconds += stage.epochs * (learned + judged)
    seconds += judged * (val + test) / max(val, 1)  # both are scored once more, with the best weights
    learns = sum(one.numel() for one in prepared.network.parameters() if one.requires_grad)
    state = more.weights + _FLOAT * learns * _MOMENTS.get(config.optimizer.name, 2)
    keeps = 0 if config.tracking.keep_weights == "none" else 1 + len(config.trainer.keep_epochs)
    on_gpu = torch.cuda.is_available()
    return Forecast(
        job, seconds, passes, float(psutil.Process().memory_info().rss),
        float(torch.cuda.max_memory_reserved()) if on_gpu else 0.0, keeps * more.weights, 2 * state, features,
    )  # fmt: skip


def _passes(config: schema.Train, prepared: Prepared, a_picture: float) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds, and bytes on disk, of each pass of what is frozen over pictures whose features are not kept."""
    passes: dict[str, float] = {}
    features: dict[str, float] = {}
    for phase in (stage.phase for stage in stages(config)):
        below = below_kept(config, prepared, phase)
        for split, view in asked_once(config, phase) if below or phase.trains == "head" else ():
            some = wanted(config, prepared, split, view, below)
            for way in some.ways:
                key = f"{way.how} {split} {view} {len(some.pictures)}"
                missing = some.files.missing(way.how, some.pictures)
                passes[key] = a_picture * missing / len(some.ways)
                room = way.network.n_features * way.kind.itemsize
                features[key] = float(missing * room) if some.files.most_gb else 0.0
    return passes, features


@dataclass(frozen=True)
class _Seconds:
    """Of one epoch."""

    learning: float
    judging: float


@dataclass(frozen=True)
class _Trial:
    """`before`: seconds that went by outside of epochs, while a frozen backbone was asked of `pictures`.

    `train` and `val` are batches of an epoch, `weights` are bytes on disk.
    """

    seconds: float
    before: float
    pictures: int
    train: int
    val: int
    stages: list[_Seconds]
    weights: int

    @property
    def batches(self) -> int:
        return (self.train + self.val) * len(self.stages)


def _trial(config: schema.Train, prepared: Prepared, few: int) -> _Trial:
    """Each stage for an epoch of `few` batches of train and of val, in a folder that goes again."""
    limit = min(few, config.trainer.limit_batches or few)
    trainer: dict[str, Any] = {
        "epochs": 1, "limit_batches": limit, "feature_cache_gb": 0, "patience": None, "keep_epochs": [],
        "checkpoint_minutes": math.inf, "refit": False,
    }  # fmt: skip
    regime = config.regime.model_copy(update={"head_epochs": min(1, config.regime.head_epochs)})
    short = config.model_copy(update={"trainer": config.trainer.model_copy(update=trainer), "regime": regime})
    fresh = replace(prepared, features={}, waited=[])
    trained = min(limit * config.trainer.batch_size, len(prepared.table.where("train")))
    with scratch_folder() as folder:
        began = perf_counter()
        epochs = list(train(short, fresh, folder, Progress()))
        seconds = perf_counter() - began
        weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    learning = [min(trained / one.images_per_second, one.seconds) for one in epochs]
    return _Trial(
        seconds, seconds - sum(one.seconds for one in epochs), sum(len(one.rows) for one in fresh.features.values()),
        _batches(short, prepared, "train"), _batches(short, prepared, "val"),
        [_Seconds(part, one.seconds - part) for part, one in zip(learning, epochs, strict=True)], weights,
    )  # fmt: skip


def _batches(config: schema.Train, prepared: Prepared, split: str) -> int:
    all_of_it = math.ceil(len(prepared.table.where(split)) / config.trainer.batch_size)
    return min(all_of_it, config.trainer.limit_batches or all_of_it)


def _slope(first: float, second: float, few: int, more: int) -> float:
    """What one more costs; where that cannot be told (there are no more, or chance outweighs it), all lies on those."""
    return (second - first) / (more - few) if more > few and second > first else second / max(more, 1)
