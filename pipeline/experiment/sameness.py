"""Two runs that should be the same: what of their splits, weights, answers and figures is, and by how much not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file

from pipeline.common.wording import counted
from pipeline.data.split_files import kept_split
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.finished import CURVES, artifact_folder, has_predictions, history, stored_predictions

_FIGURES = ("best/", "test/", "unseen/")  # metrics of a run's end that time has no part in
_TIMED = ("seconds",)


@dataclass(frozen=True)
class Same:
    """Whether one thing is equal to the last bit, and what is said of it."""

    equal: bool
    said: str


def sameness(client: MlflowClient, run: Run, other: MlflowClient, again: Run) -> Iterator[Same]:
    """One after the other: the split, the weights, the answers to val and test, the figures."""
    first, second = artifact_folder(run, ""), artifact_folder(again, "")
    if (then := kept_split(first)) is not None and (now := kept_split(second)) is not None:
        yield _splits(then, now)
    for file in sorted((first / "checkpoints").glob("*.safetensors")):
        if (second / "checkpoints" / file.name).is_file():
            yield _weights(file, second / "checkpoints" / file.name)
    for split in ("val", "test"):
        if has_predictions(run, split) and has_predictions(again, split):
            yield _answers(split, stored_predictions(run, split), stored_predictions(again, split))
    yield _curves(history(client, run), history(other, again))
    yield _figures(run, again)


def _splits(then: pd.DataFrame, now: pd.DataFrame) -> Same:
    columns = ["path", "label", "split"]
    if then[columns].equals(now[columns]):
        return Same(True, f"split: {counted(len(then), 'picture')} in the same parts")
    both = then.merge(now, on="path", how="outer", suffixes=("", "_now"), indicator=True)
    odd = both[(both["_merge"] != "both") | (both["split"] != both["split_now"]) | (both["label"] != both["label_now"])]
    if odd.empty:
        return Same(False, "split: the same pictures in the same parts, in another order")
    first = odd["path"].iloc[0]
    return Same(False, f"split: {counted(len(odd), 'picture')} of {len(both):,} in another part, such as {first}")


def _weights(then: Path, now: Path) -> Same:
    one, other = load_file(then), load_file(now)
    what = f"weights ({then.stem})"
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return Same(False, f"{what}: of another network")
    odd = {name: float((one[name].double() - other[name].double()).abs().max()) for name in one if one[name].numel()}
    largest = max(odd, key=lambda name: odd[name])
    if not odd[largest]:
        return Same(True, f"{what}: {counted(len(one), 'tensor')}, equal to the last bit")
    return Same(
        False, f"{what}: {sum(map(bool, odd.values()))} of {len(one)} tensors differ, {largest} by {odd[largest]:.2g}"
    )


def _answers(split: str, then: Predictions, now: Predictions) -> Same:
    what = f"answers to {split}"
    if list(then.ids) != list(now.ids) or then.classes != now.classes:
        return Same(False, f"{what}: to other pictures or classes")
    kept = [(then.logits, now.logits), (then.labels, now.labels)]
    if then.columns is not None and now.columns is not None:
        kept.append((then.columns, now.columns))
    if all(np.array_equal(one, other) for one, other in kept):
        return Same(True, f"{what}: {counted(len(then), 'picture')}, equal to the last bit")
    other = int((then.predicted != now.predicted).sum())
    shift = float(np.abs(then.confidence - now.confidence).max())
    return Same(
        False, f"{what}: {other:,} of {len(then):,} are others; the likeliest class's probability differs by at most "
        f"{shift:.2g}"
    )  # fmt: skip


def _curves(then: pd.DataFrame, now: pd.DataFrame) -> Same:
    if then.equals(now):
        return Same(True, f"curves: {len(then)} epochs, equal to the last bit")
    if len(then) != len(now):
        return Same(False, f"curves: {len(then)} epochs then, {len(now)} now")
    gaps = (then[list(CURVES)] - now[list(CURVES)]).abs().max()
    return Same(False, f"curves: {gaps.idxmax()} differs by at most {gaps.max():.2g}")


def _figures(run: Run, again: Run) -> Same:
    then = {name: value for name, value in run.data.metrics.items() if name.startswith(_FIGURES)}
    shared = {name: value for name, value in then.items() if name in again.data.metrics}
    odd = {name: abs(value - again.data.metrics[name]) for name, value in shared.items()}
    odd = {name: gap for name, gap in odd.items() if gap and not name.endswith(_TIMED)}
    if not odd:
        return Same(True, f"figures: {len(shared)}, equal to the last bit")
    largest = max(odd, key=lambda name: odd[name])
    return Same(
        False, f"figures: {len(odd)} of {len(shared)} differ, {largest} most: {then[largest]:.6g} then, "
        f"{again.data.metrics[largest]:.6g} now"
    )  # fmt: skip
