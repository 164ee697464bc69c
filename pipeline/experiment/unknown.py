"""What a finished run calls unknown: of pictures of its classes, and of others that it is asked about."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.data.table import PictureTable
from pipeline.evaluation.depth import Tree, thresholds, wrong_up_to
from pipeline.evaluation.strangeness import too_strange
from pipeline.evaluation.temperature import fit_temperature
from pipeline.evaluation.unknown import Told, told_of
from pipeline.experiment.question import Heard, Question
from pipeline.experiment.unseen import without_labels
from pipeline.predictions.predictions import Predictions
from pipeline.serving.from_run import known_of, looks_of
from pipeline.serving.known import Known
from pipeline.tracking.finished import has_predictions, stored_predictions, taxonomy_of


class Unknown(NamedTuple):
    """`figures` of known pictures, what is `told` of others, and `notes`: that in words, or why nothing is said."""

    figures: dict[str, float]
    told: Told | None
    notes: list[str]


def unknown_among(question: Question, heard: Heard) -> Unknown:
    """What is called unknown of the pictures asked about, each by itself; nothing where val is among them."""
    config, run = question.config, question.run
    if (question.own and question.split in ("val", "all")) or not has_predictions(run, "val"):
        return Unknown({}, None, [])
    if config.checkpoint != "best" or config.evaluation.tta != "none":
        why = "it goes by what was noted of val by the best weights, and of one view"
        return Unknown({}, None, [f"what is unknown is not told: {why}"])
    raw = stored_predictions(run, "val")
    temperature = fit_temperature(raw)
    val, said = raw.at_temperature(temperature), heard.predictions.at_temperature(temperature)
    known = known_of(run, val)
    there = None if known is None else known.strange(said, heard.looks)
    if known is None or (there is None and len(said)):
        return Unknown(
            {}, None, ["what is unknown is not told: nothing was noted of the pictures; train the run again"]
        )
    try:
        promised = known.strangeness.sends_away(config.evaluation.known_sent_away)
    except BadInput as problem:
        return Unknown({}, None, [f"what is unknown is not told: {problem}"])
    assert promised is not None
    among, figures = f"{len(said):,} of these pictures", {}
    if len(said) and there is not None:
        figures = {f"known_sent_away_{100 * promised[0]:g}": float(too_strange(there, promised[1]).mean())}
    elif question.unseen is not None:
        among, there = _own(question, known, temperature)
    if question.unseen is None or there is None:
        return Unknown(figures, None, [])
    told = _told(question, question.unseen, known, val, there, promised, temperature)
    none = ["not one picture of the classes that it does not know can be read"]
    return Unknown(figures, told, told.in_words("that it does not know", among, promised[0]) if told else none)


def _told(
    question: Question, unseen: PictureTable, known: Known, val: Predictions, there: np.ndarray,
    promised: tuple[float, float], temperature: float,
) -> Told | None:  # fmt: skip
    """None where not one of these pictures can be read."""
    table = without_labels(unseen, val.classes)
    raw = question.asked(question.bundle, table, np.arange(len(table.rows)))
    said, tree = raw.predictions.at_temperature(temperature), Tree.of(val.classes, taxonomy_of(question.run))
    here = known.strange(said, raw.looks)
    if here is None or not len(said):
        return None
    try:
        (threshold,) = thresholds(wrong_up_to(tree, val), [question.config.evaluation.error])
    except BadInput:
        return told_of(unseen, said, here, there, promised, None)
    return told_of(unseen, said, here, there, promised, (tree, threshold))


def _own(question: Question, known: Known, temperature: float) -> tuple[str, np.ndarray | None]:
    """How strange the run's own test pictures are, or, without such, those of val."""
    split = "test" if has_predictions(question.run, "test") else "val"
    said = stored_predictions(question.run, split).at_temperature(temperature)
    return f"its own {len(said):,} of {split}", known.strange(said, looks_of(question.run)[1].get(split))
