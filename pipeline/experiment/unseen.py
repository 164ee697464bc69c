"""What a trained network says of species that were held out as wholes: whether it tells that it does not know them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.table import PictureTable
from pipeline.evaluation.depth import Tree
from pipeline.evaluation.familiar import Familiar
from pipeline.evaluation.strangeness import USUAL
from pipeline.evaluation.unknown import told_of
from pipeline.experiment.build import Prepared
from pipeline.experiment.familiar import Noted
from pipeline.experiment.inference import split_answers
from pipeline.predictions.predictions import Predictions
from pipeline.serving.calibrating import calibrated_on
from pipeline.serving.known import Known
from pipeline.tracking.runs import TrackedRun

SPLIT = "test"

log = logging.getLogger("pipeline.train")


def tell_unseen(
    config: schema.Train, prepared: Prepared, run: TrackedRun, predictions: Mapping[str, Predictions],
    familiar: Familiar | None, noted: Mapping[str, Noted],
) -> None:  # fmt: skip
    """Ask the network of pictures of species held out: metrics, tables among the run's files, lines in the log."""
    unseen, val, taxonomy = prepared.unseen, predictions["val"], prepared.table.taxonomy
    if unseen is None:
        return
    note = Noted(familiar)
    asked = without_labels(unseen, prepared.table.classes)
    raw = split_answers(config, replace(prepared, split=asked, table=asked, features={}), SPLIT, note.add)
    calibration = calibrated_on(val, taxonomy)
    known = Known.of(val.at_temperature(calibration.temperature), familiar, noted["val"].looks)
    among = SPLIT if len(predictions[SPLIT]) else "val"
    said = raw.at_temperature(calibration.temperature)
    here = known.strange(said, note.looks)
    there = known.strange(predictions[among].at_temperature(calibration.temperature), noted[among].looks)
    promised, depth = known.strangeness.sends_away(None), calibration.depth(None)
    if not len(said) or promised is None or here is None or there is None:
        return
    told = told_of(unseen, said, here, there, promised, depth and (Tree.of(said.classes, taxonomy), depth[1]))
    run.log_metrics(told.figures)
    told.write(run.folder)
    for line in told.in_words("held out", f"{len(there):,} of {among}", promised[0]):
        log.info("%s", line)
    if promised[0] > USUAL:
        log.info("%s of val can promise no less than %s", counted(len(val), "picture"), percent(promised[0], 0))


def without_labels(unseen: PictureTable, classes: list[str]) -> PictureTable:
    """The same pictures as a split that a network of other classes can be asked about; their labels mean nothing."""
    n = len(unseen.rows)
    labels = pd.Categorical.from_codes(np.zeros(n, np.int8), categories=classes)
    split = pd.Categorical([SPLIT] * n, categories=unseen.rows["split"].cat.categories)
    return replace(unseen, rows=unseen.rows.assign(label=labels, split=split), taxonomy=None, attributes=None)
