"""Asking a finished model where it looks: in pictures of which nothing is known, and in those of a page of mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.data.batch import Inputs
from pipeline.data.table import PictureTable
from pipeline.experiment.build import memory_in_one_line
from pipeline.experiment.inference import on_device, pictures, scored
from pipeline.explaining.attributes import InWords, in_words_of
from pipeline.explaining.looks import Look, looks
from pipeline.explaining.methods import Method
from pipeline.models.classifier import Classifier, Wants
from pipeline.serving.answers import Answer, Wanted, answers
from pipeline.serving.asking import as_seen
from pipeline.serving.bundle import Bundle
from pipeline.serving.from_run import best_of
from pipeline.training.hardware import make_fabric

_FEW = 64  # pictures: to read so many by itself takes less than to start helpers


class Explained(NamedTuple):
    """A row of the table: what was answered, where each network looked for the class asked about, and what attributes
    say of it.

    `inputs` are that picture as the members want it.
    """

    row: int
    answer: Answer
    looks: list[Look]
    words: tuple[InWords, ...]
    inputs: Mapping[Wants, Inputs]


def explained(
    bundle: Bundle, table: PictureTable, rows: np.ndarray, config: schema.Explain, code: int | None
) -> Iterator[Explained]:
    """Of `rows` (k,) those that can be read, in their order; for the class `code`, or else of what is answered."""
    runner = _runner(config.batch_size, len(rows))
    asked = pictures(bundle.members, table, rows, runner, on_unreadable=config.on_unreadable)
    fabric = make_fabric(runner.accelerator, runner.precision)
    with memory_in_one_line(config.batch_size, "batch_size"):
        for some, found in scored(bundle.members, bundle.rule, asked, fabric, what="explain"):
            codes = found.scores.argmax(1) if code is None else torch.full((len(found.scores),), code)
            seen = looks(bundle.members, some.inputs, codes.to(fabric.device), config.method)
            said = answers(bundle, as_seen(bundle, found), [""] * len(found.scores), Wanted(top_k=1))
            words = in_words_of(bundle.members, some.inputs, codes.to(fabric.device), bundle.classes)
            for place, (row, one, every) in enumerate(zip(some.rows.tolist(), said, seen, strict=True)):
                own = {want: inputs.take(slice(place, place + 1)) for want, inputs in some.inputs.items()}
                yield Explained(row, one, every, words[place], own)


def looked_at(
    members: Sequence[Classifier], table: PictureTable, codes: Mapping[int, int], batch_size: int,
    method: Method = "gradcam",
) -> Iterator[tuple[int, Look]]:  # fmt: skip
    """Rows of the table and where the members together looked for their classes, which `codes` has by row.

    Without those that cannot be read, and of several that see other parts of a picture where the first looked.
    """
    runner = _runner(batch_size, len(codes))
    rows = np.array(sorted(codes), dtype=np.int64)
    asked = pictures(members, table, rows, runner, on_unreadable="skip")
    with memory_in_one_line(batch_size):
        for some in on_device(members, asked, make_fabric(runner.accelerator, runner.precision), "heat maps"):
            here = some.rows.tolist()
            wanted = torch.tensor([codes[row] for row in here], device=next(members[0].buffers()).device)
            for row, every in zip(here, looks(members, some.inputs, wanted, method), strict=True):
                yield row, every[0]


def networks_of(client: MlflowClient, run: Run) -> tuple[Classifier, ...]:
    """Those of a finished run, or none where their weights are gone."""
    with suppress(BadInput):
        return best_of(client, run).members
    return ()


def _runner(batch_size: int, count: int) -> schema.Runner:
    workers = 0 if count <= _FEW else None
    return schema.Runner(
        batch_size=batch_size, precision="fp32", accelerator="auto", num_workers=workers, engine="torch"
    )
