"""What a model's run says of how good it is: figures with intervals, what they were made of, class by class."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.statistics import Interval, interval_of_share, intervals_of_class_averages, wilson
from pipeline.predictions.predictions import Predictions
from pipeline.serving.calibrating import calibrated_on
from pipeline.serving.from_run import figures_of
from pipeline.tracking.finished import has_predictions, stored_predictions, taxonomy_of

_QUANTILE = 1.959964  # of 95 %


@dataclass(frozen=True)
class Figures:
    """Of a split's pictures: `shares` by name with their 95 % intervals, `plain` figures without one; `classes` has a
    row a class: `label`, `pictures`, `right`, `share`, `low`, `high`, the hardest first.
    """

    split: str
    pictures: int
    shares: dict[str, Interval]
    plain: dict[str, float]
    classes: pd.DataFrame


def figures(run: Run) -> list[Figures]:
    """Those of test and of val, as far as the run left answers for them."""
    return list(_figures(run.info.run_id, run.info.end_time))


@lru_cache(maxsize=32)
def _figures(run_id: str, _ended: int | None) -> tuple[Figures, ...]:
    run = MlflowClient().get_run(run_id)
    said = {split: stored_predictions(run, split) for split in ("val", "test") if has_predictions(run, split)}
    calibrated: dict[str, float] = {}
    if len(said) == 2:
        with suppress(BadInput):
            taxonomy = taxonomy_of(run)
            calibrated = figures_of(said["test"], calibrated_on(said["val"], taxonomy), taxonomy)
    return tuple(measured(said, calibrated))


def measured(said: Mapping[str, Predictions], calibrated: Mapping[str, float]) -> list[Figures]:
    """Those of each split's predictions, test first; `calibrated` is what `figures_of` says of test."""
    found = []
    for split in (split for split in ("test", "val") if split in said):
        one = said[split]
        figures = summary(one)
        shares = {"accuracy": interval_of_share(one.correct)}
        if "top5_accuracy" in figures:
            held = np.arange(len(one)) < round(figures["top5_accuracy"] * len(one))
            shares["top5_accuracy"] = interval_of_share(held)
        shares |= intervals_of_class_averages(one.labels, one.predicted)
        plain = {key: figures[key] for key in ("majority_accuracy",) if key in figures}
        if split == "test":
            plain |= {key.removeprefix("test/"): value for key, value in calibrated.items()}
        found.append(Figures(split, len(one), shares, plain, _by_class(one)))
    return found


def _by_class(said: Predictions) -> pd.DataFrame:
    size = len(said.classes)
    shown = np.bincount(said.labels, minlength=size)
    right = np.bincount(said.labels[said.correct], minlength=size)
    there = np.flatnonzero(shown)
    share = right[there] / shown[there]
    low, high = wilson(share, shown[there], _QUANTILE)
    made = pd.DataFrame({
        "label": [said.classes[code] for code in there], "pictures": shown[there], "right": right[there],
        "share": share, "low": low, "high": high,
    })  # fmt: skip
    return made.sort_values(["share", "pictures"], ascending=[True, False], kind="stable", ignore_index=True)
