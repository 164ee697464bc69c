"""The training pictures that a model finds most like a picture: those of its answer, and of the runner-up.

Some of each class are looked at once, aside, while nobody waits for an answer, and kept in the cache.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from starlette.concurrency import run_in_threadpool

from pipeline.common.atomic import write_atomically
from pipeline.common.cache_folder import BoundedFolder, cache_folder
from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Source
from pipeline.data.survey.measure import jpegs
from pipeline.data.table import PictureTable
from pipeline.ensembles.recipe import Recipe
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.models.classifier import Classifier
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.selection import find_run
from pipeline.web.answering import Answering
from pipeline.web.models import Ready

_FORM = 1  # of what is kept
_EACH, _MOST = 20, 4000  # pictures of a class, and of all
_AT_ONCE = 4  # pictures: whoever asks meanwhile waits for these
_SHOWN = 4
_KEPT_GB = 0.5

log = logging.getLogger("pipeline.app")


@dataclass(frozen=True)
class Known:
    """Training pictures: unit-length features (n, d) float16, labels (n,) and small JPEGs (n)."""

    features: np.ndarray
    labels: np.ndarray
    jpegs: Sequence[bytes]

    def nearest(self, features: np.ndarray, label: str) -> list[tuple[bytes, float]]:
        """The most similar ones of a label to (d,), each with its cosine."""
        rows = np.flatnonzero(self.labels == label)
        cosine = self.features[rows].astype(np.float32) @ features
        best = np.argsort(-cosine, kind="stable")[:_SHOWN]
        return [(self.jpegs[rows[place]], float(cosine[place])) for place in best.tolist()]

    def write(self, file: Path) -> None:
        """Keep it."""
        ends = np.cumsum([len(jpeg) for jpeg in self.jpegs])
        with file.open("wb") as handle:  # else NumPy would add an ending
            np.savez(
                handle, features=self.features, labels=self.labels.astype("str"), ends=ends,
                jpegs=np.frombuffer(b"".join(self.jpegs), np.uint8),
            )  # fmt: skip

    @classmethod
    def read(cls, file: Path) -> "Known":
        """The inverse of `write`."""
        with np.load(file, allow_pickle=False) as kept:
            whole, ends = kept["jpegs"].tobytes(), kept["ends"].tolist()
            starts = [0, *ends[:-1]]
            parts = [whole[start:end] for start, end in zip(starts, ends, strict=True)]
            return cls(kept["features"], kept["labels"], parts)


@dataclass
class Work:
    """How far one model's pictures are; `known` None with `over` where they are not at hand."""

    done: int = 0
    of: int = 0
    over: bool = False
    known: Known | None = None
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)


class Alike:
    """What is known for each model that was asked about."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._work: dict[tuple[str, str], Work] = {}

    def close(self) -> None:
        """Leave what is not through."""
        for work in self._work.values():
            if work.task is not None:
                work.task.cancel()

    def of(self, ready: Ready) -> Work:
        """How far a model's are; begun where nobody has asked yet. Within the event loop."""
        key = (ready.choice.run_id or "", ready.checkpoint)
        if key not in self._work:
            self._work[key] = Work(over=not key[0])
            if key[0]:
                self._work[key].task = asyncio.get_running_loop().create_task(self._look(ready, self._work[key]))
        return self._work[key]

    async def features(self, ready: Ready, pictures: Sequence[bytes]) -> np.ndarray:
        """(d,) of unit length: the mean of a specimen's pictures."""
        found = await self._answering.turn(partial(features, ready.bundle.members[0], pictures))
        mean = found.mean(0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)

    async def _look(self, ready: Ready, work: Work) -> None:
        kept = BoundedFolder(cache_folder() / "alike", _KEPT_GB, ".npz")
        file = kept.folder / f"{_FORM}-{ready.choice.run_id}-{ready.checkpoint}.npz"
        try:
            if not file.is_file():
                known = await self._known(ready, work)
                kept.ready()
                kept.make_room(sum(map(len, known.jpegs)) + known.features.nbytes)
                await run_in_threadpool(write_atomically, file, known.write)
            work.known = await run_in_threadpool(Known.read, file)
        except (BadInput, MlflowException, OSError, ValueError) as error:
            log.info("no similar training pictures of %s: %s", ready.name, error)
        finally:
            work.over = True

    async def _known(self, ready: Ready, work: Work) -> Known:
        table, rows = await run_in_threadpool(_pictures, str(ready.choice.run_id))
        work.of = len(rows)
        small = await run_in_threadpool(jpegs, table, rows)
        rows = np.array([row for row in rows.tolist() if row in small], dtype=np.int64)
        found = []
        for start in range(0, len(rows), _AT_ONCE):
            some = table.sources(rows[start : start + _AT_ONCE])
            found.append(await self._answering.aside(partial(features, ready.bundle.members[0], some)))
            work.done = start + len(some)
        labels = np.array(table.classes)[table.labels[rows]]
        return Known(np.concatenate(found).astype(np.float16), labels, [small[row] for row in rows.tolist()])


@torch.inference_mode()
def features(member: Classifier, pictures: Sequence[Source] | np.ndarray) -> np.ndarray:
    """(n, d) float32 of unit length: what a network's backbone makes of pictures. Raises UnreadablePicture."""
    how = member.spec.preprocessing
    found = member.features(Inputs(torch.stack([how.read(picture) for picture in pictures]))).float()
    return torch.nn.functional.normalize(found.flatten(1), dim=1).cpu().numpy()


def _pictures(run_id: str) -> tuple[PictureTable, np.ndarray]:
    """A run's training pictures that are as they were; rows of some of each class. BadInput where there are none."""
    client = MlflowClient()
    run = find_run(client, run_id)
    if run.data.tags.get("stage") == "ensemble":  # its members have train in common
        run = find_run(client, Recipe.read(artifact_folder(run, "ensemble")).run_ids[0])
    table = own_pictures(run, artifact_folder(run, ""), data_config(run)).unedited
    rows = table.where("train")
    if not len(rows):
        raise BadInput("its training pictures are gone")
    order = np.random.default_rng(0).permutation(rows)
    labels = table.labels[order]
    turn = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    chosen = order[np.argsort(turn, kind="stable")][: min(_MOST, int((turn < _EACH).sum()))]
    return table, np.sort(chosen)
