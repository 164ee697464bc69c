"""A process beside the first of several that train one network: it makes nothing itself, and tracks nothing."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import traceback
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.interruption import follow_another
from pipeline.common.paths import expanded
from pipeline.common.processes import end_with, let_the_first_speak
from pipeline.config import schema
from pipeline.config.defaults import flatten
from pipeline.config.keys import SAME_FIGURES
from pipeline.data.digest import data_digest
from pipeline.data.members import TAR
from pipeline.data.table import PictureTable
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.shared_work import Handed
from pipeline.models.classifier import build_classifier
from pipeline.training.hardware import make_fabric
from pipeline.training.ranks import Place, Ranks, is_lost

MODULE = "pipeline.experiment.follower"


def follow(place: Place, own: schema.Train | None = None) -> None:
    """Do what the first process asks until that is over; what stops this one is told by that one.

    `own` is the config that this one was started with, where it was not started by the first.
    """
    follow_another()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), Ranks(place) as ranks:
        code = 0
        try:
            ranks.come()
            _work(ranks, own)
        except Exception as error:
            expected = isinstance(error, BadInput | Stopped)
            if expected or not is_lost(error):
                ranks.fail(error)
                if not expected:
                    traceback.print_exc()
                elif place.rank >= place.devices:  # on another machine, whose user may look here
                    print(f"error: {error}", file=sys.stderr)
            code = 2 if isinstance(error, BadInput) else 1
    if code:
        let_the_first_speak()
        sys.exit(code)


def _work(ranks: Ranks, own: schema.Train | None) -> None:
    handed: Handed | None = ranks.heard()
    if handed is None:
        return
    config = handed.config
    with build.memory_in_one_line(config.trainer.batch_size):
        prepared = _prepared(ranks, handed, own)
        while (asked := ranks.heard()) is not None:
            work, arguments = asked
            work(config, prepared, *arguments)


def _prepared(ranks: Ranks, handed: Handed, own: schema.Train | None) -> Prepared:
    table = handed.table
    if own is not None:
        _check_alike(ranks, own, handed.given)
        table = _as_it_lies_here(table, handed.given, own)
    if ranks.place.local_rank == 0 and (here := data_digest(table)) != handed.digest:
        raise BadInput(
            f"the pictures in {table.root} on {_name(ranks)} are others than where the first process is (data_digest "
            f"{here}, and {handed.digest} there): copy them anew, or put them into a folder that all machines share"
        )
    torch.set_num_threads(handed.resolved["threads"])
    fabric = make_fabric(handed.resolved["device"], handed.resolved["precision"], ranks.place.local_rank)
    network = build_classifier(handed.spec)
    network.load_state_dict(handed.backbones, strict=False)
    if handed.config.trainer.channels_last:  # in another layout the last digits are others
        network.to(memory_format=torch.channels_last)
    if network.join:
        network.join.dropout = handed.config.metadata.dropout
    return Prepared(table, table, network, fabric, handed.resolved, ranks=ranks)


def _check_alike(ranks: Ranks, own: schema.Train, first: schema.Train) -> None:
    """BadInput where the processes were started with different configs."""
    here, there = (flatten(one.model_dump(mode="json")) for one in (own, first))
    for key, value in here.items():
        if value != there.get(key) and not key.startswith((*SAME_FIGURES, "data.root", "data.name")):
            raise BadInput(
                f"{_name(ranks)} was given {key}={value}, and the first process {there.get(key)}: type the same on all"
            )


def _as_it_lies_here(table: PictureTable, first: schema.Train, own: schema.Train) -> PictureTable:
    """The table on this machine, whose pictures may have another root, and are to be looked at again."""
    rows = table.rows if TAR in table.rows else table.rows.drop(columns="bytes", errors="ignore")
    if table.root is None or not own.data.root or not first.data.root:
        return replace(table, rows=rows)
    inside = table.root.relative_to(expanded(first.data.root, "data.root"))
    return replace(table, rows=rows, root=expanded(own.data.root, "data.root") / inside)


def _name(ranks: Ranks) -> str:
    return f"{platform.node()} (rank {ranks.place.rank})"


if __name__ == "__main__":
    end_with(os.getppid(), 1.0)
    follow(Place(**json.loads(sys.argv[1])))
