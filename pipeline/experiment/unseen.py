"""What a trained network says of species that were held out as wholes: whether it tells that it does not know them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from pipeline.common.atomic import write_atomically
from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.files import write_csv
from pipeline.data.table import PictureTable
from pipeline.data.unseen import FILE
from pipeline.evaluation.depth import NOTHING, Tree, lines
from pipeline.evaluation.familiar import Familiar
from pipeline.evaluation.strangeness import USUAL, softened
from pipeline.experiment.build import Prepared
from pipeline.experiment.familiar import Noted
from pipeline.experiment.inference import split_answers
from pipeline.predictions.predictions import Predictions
from pipeline.serving.calibration import calibrated_on
from pipeline.serving.known import Known
from pipeline.tracking.runs import TrackedRun

_SPLIT = "test"

log = logging.getLogger("pipeline.train")


def tell_unseen(
    config: schema.Train, prepared: Prepared, run: TrackedRun, predictions: Mapping[str, Predictions],
    familiar: Familiar | None, noted: Mapping[str, Noted],
) -> None:  # fmt: skip
    """Ask the network of pictures of species held out: metrics, tables among the run's files, lines in the log."""
    unseen, val = prepared.unseen, predictions["val"]
    if unseen is None:
        return
    note = Noted(familiar)
    asked = _without_labels(unseen, prepared.table.classes)
    said = split_answers(config, replace(prepared, split=asked, table=asked, features={}), _SPLIT, note.add)
    calibration = calibrated_on(val, prepared.table.taxonomy)
    known = Known.of(val.at_temperature(calibration.temperature), familiar, noted["val"].looks)
    test = _SPLIT if len(predictions[_SPLIT]) else "val"

    def strange(some: Predictions, seen: Noted) -> np.ndarray:
        looks = seen.looks
        confidence = softened(some.at_temperature(calibration.temperature))
        return known.strangeness.of(confidence, None if looks is None else looks.distance)

    promised = known.strangeness.sends_away(None)
    if not len(said) or promised is None:
        return
    share, threshold = promised
    here, there = strange(said, note), strange(predictions[test], noted[test])
    away, accepted = there > threshold, here <= threshold
    figures = {
        "unseen/auroc_near": auroc(there, here), "unseen/accepted": float(accepted.mean()),
        "unseen/known_sent_away": float(away.mean()), "unseen/pictures": len(said),
        "unseen/classes": len(unseen.classes),
    }  # fmt: skip
    run.log_metrics(figures)
    log.info(
        "of %s held out (%s): told from the known (%s of %s) with an area under the curve of %.3f; where at most %s of "
        "known pictures are sent away (%s were), %s of these pass for known", counted(len(unseen.classes), "class"),
        counted(len(said), "picture"), f"{len(there):,}", test, figures["unseen/auroc_near"], percent(share, 0),
        percent(away.mean()), percent(accepted.mean()),
    )  # fmt: skip
    if share > USUAL:
        log.info("%s of val can promise no less than %s", counted(len(val), "picture"), percent(share, 0))
    rows = unseen.rows.set_index("path").loc[said.ids, ["label"]].reset_index()
    rows["answer"] = [said.classes[code] for code in said.predicted]
    rows["strangeness"], rows["unknown"] = here.round(4), ~accepted
    if depth := calibration.depth(None):
        landed = _landed(prepared, said.at_temperature(calibration.temperature), rows, depth[1])
        by_rank = ranks_reached(landed)
        write_csv(by_rank, run.folder / "unseen_by_rank.csv")
        reached = ", ".join(f"{one.rank} {percent(one.share)}" for one in by_rank.itertuples() if one.answers)
        log.info("their answers end at: %s (%s by the right taxon)", reached, percent(landed["right"].mean()))
        rows = landed
    write_atomically(run.folder / FILE, lambda path: write_csv(rows, path), shared=True)


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """How often an unknown picture is stranger than a known one, of strangeness (n,) and (m,); ties count half."""
    return float(mannwhitneyu(unknown, known).statistic / (len(known) * len(unknown)))


def ranks_reached(landed: pd.DataFrame) -> pd.DataFrame:
    """A row a rank: how many answers to unseen pictures end there, which `share` of all that is, how many of them name
    the picture's true taxon (`right`), and how many pass for known (`accepted`).
    """
    ranks = landed["rank"].cat.categories
    found = landed.groupby("rank", observed=False).agg(
        answers=("path", "size"), right=("right", "sum"), unknown=("unknown", "sum")
    )
    found = found.reindex(ranks).rename_axis("rank").reset_index()
    accepted = found["answers"] - found.pop("unknown")
    return found.assign(share=found["answers"] / max(len(landed), 1), accepted=accepted)


def _without_labels(unseen: PictureTable, classes: list[str]) -> PictureTable:
    """The same pictures as a split that a network of other classes can be asked about; their labels mean nothing."""
    n = len(unseen.rows)
    labels = pd.Categorical.from_codes(np.zeros(n, np.int8), categories=classes)
    split = pd.Categorical([_SPLIT] * n, categories=unseen.rows["split"].cat.categories)
    return replace(unseen, rows=unseen.rows.assign(label=labels, split=split), taxonomy=None, attributes=None)


def _landed(prepared: Prepared, said: Predictions, rows: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Rows with the `taxon` and `rank` that each picture is answered with, and whether it is `right`."""
    assert prepared.unseen is not None
    tree, truth = Tree.of(said.classes, prepared.table.taxonomy), prepared.unseen.taxonomy
    level = tree.deepest(said.predicted, lines(tree, said), threshold)
    names = tree.names[said.predicted, level]
    ranks = ["nothing", *tree.levels]
    rank = pd.Categorical.from_codes(level - NOTHING, categories=ranks)
    taxon = [None if one == NOTHING else name for one, name in zip(level.tolist(), names, strict=True)]
    right = [
        truth is not None and name is not None and at in truth and truth.at[label, at] == name
        for label, at, name in zip(rows["label"], rank, taxon, strict=True)
    ]
    return rows.assign(taxon=taxon, rank=rank, right=right)
