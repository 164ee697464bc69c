"""Work that several processes share: what the first has all of them do, each with its share of the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.config import schema
from pipeline.data.table import PictureTable
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.models.classifier import NetworkSpec
from pipeline.training.features import compute_features


@dataclass(frozen=True)
class Handed:
    """What the first process hands to the others, that they need not make it: a run's config, pictures and network.

    `given` is its config as it was typed, `digest` that of the pictures as they lie where the first process is.
    """

    given: schema.Train
    config: schema.Train
    table: PictureTable
    digest: str
    spec: NetworkSpec
    backbones: dict[str, torch.Tensor]  # and all but the head, which learns, or is fitted, later
    resolved: dict[str, Any]


def hand_over(given: schema.Train, config: schema.Train, prepared: Prepared, digest: str) -> None:
    """Begin to work together, where there are several processes."""
    if prepared.ranks:
        weights = {name: value.cpu() for name, value in prepared.network.state_dict().items()}
        backbones = {name: value for name, value in weights.items() if not name.startswith("head.")}
        prepared.ranks.connect(prepared.fabric)
        prepared.ranks.tell(
            Handed(given, config, prepared.table, digest, prepared.network.spec, backbones, prepared.resolved)
        )


def all_do(config: schema.Train, prepared: Prepared, work: Callable[..., Any], *arguments: Any) -> Any:
    """Have every process do `work(config, prepared, *arguments)`; what it gives the first."""
    assert prepared.ranks
    prepared.ranks.tell((work, arguments))
    return work(config, prepared, *arguments)


def gather_skipped(prepared: Prepared) -> None:
    """Let the first process know which pictures the others could not read."""
    assert prepared.ranks
    for skipped in prepared.ranks.gathered(prepared.table.skipped):
        prepared.table.skipped.update(skipped)


def shared_features(
    config: schema.Train, prepared: Prepared, number: int, split: str, view: int | None, rows: np.ndarray,
    identities: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """`compute_features` of the `number`th backbone, of which each process makes those of a stretch of the rows.

    Of whole batches, the same as in one process: elsewhere in a batch a picture's features have other last digits.
    """
    assert prepared.ranks
    own, of = prepared.ranks.share
    batch, sight = np.arange(len(rows)) // config.trainer.batch_size, prepared.network.sights[number]
    some = np.flatnonzero(batch * of // (batch[-1] + 1) == own)
    batches = build.batches(
        config, prepared.table, sight.parts[0].preprocessing, split, rows=rows[some], view=view,
        identities=None if identities is None else identities[some],
    )  # fmt: skip
    made = compute_features(sight, batches, rows=rows[some], fabric=prepared.fabric, engine=config.trainer.engine)
    parts = prepared.ranks.gathered(made)
    gather_skipped(prepared)
    width = max((part.shape[1] for part in parts), default=1)  # of one in which no picture could be read it is 1
    return np.concatenate([np.broadcast_to(part, (len(part), width)) for part in parts]) if parts else made
