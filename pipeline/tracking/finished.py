"""What finished runs left behind: their stored predictions, learning curves, taxonomy and cost."""

import re
import shlex
from contextlib import suppress
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.common.errors import BadInput
from pipeline.config.keys import GROUPS
from pipeline.data.split_files import kept_split
from pipeline.models.saved import BEST_FACTS, NetworkFacts, read_facts
from pipeline.predictions.parquet import read_predictions
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.registry import run_folder

TEST_LOOKS = "test_looks"
COLUMNS_FILE = "metadata.csv"
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")


def label(run: Run) -> str:
    """A run as messages name it."""
    return f"{run.info.run_name} ({run.info.run_id})"


def artifact_folder(run: Run, path: str) -> Path:
    """A folder of a run's artifacts. BadInput, naming the run, where it is gone."""
    try:
        folder = run_folder(run.info.artifact_uri, path)
    except (MlflowException, OSError):
        folder = None
    if folder is None or not folder.is_dir():
        what = f"{path}/" if path else "artifacts"
        raise BadInput(f"run {label(run)} has no {what}: it did not finish, or its artifacts are gone")
    return folder


def stored_predictions(run: Run, split: str) -> Predictions:
    """What a run answered for `val` or `test`. BadInput, naming the run, where that is missing or unusable."""
    file = artifact_folder(run, "predictions") / f"{split}.parquet"
    if not file.is_file():
        raise BadInput(f"run {label(run)} has no predictions for {split}")
    found = read_predictions(file)
    found.check_usable(f"run {label(run)}: its {split} predictions")
    return found


def has_predictions(run: Run, split: str) -> bool:
    """Whether a run left predictions for a split."""
    try:
        return (artifact_folder(run, "predictions") / f"{split}.parquet").is_file()
    except BadInput:
        return False


def facts_of(run: Run) -> NetworkFacts:
    """A run's network in plain facts: how it is built, its classes, its taxonomy."""
    return read_facts(artifact_folder(run, "checkpoints"))


def taxonomy_of(run: Run) -> pd.DataFrame | None:
    """A row a class, indexed by class name; None where the run knows none. A vote's is that of its best member."""
    try:
        folder = artifact_folder(run, "checkpoints")
    except BadInput:
        if member := run.data.tags.get("best_member"):
            with suppress(MlflowException):  # it is gone
                return taxonomy_of(MlflowClient().get_run(member))
        return None
    return read_facts(folder).taxonomy if (folder / BEST_FACTS).is_file() else None


def history(client: MlflowClient, run: Run) -> pd.DataFrame:
    """A row an epoch: `epoch` and the figures of `CURVES`."""
    found: dict[int, dict[str, float]] = {}
    for key in CURVES:
        for point in client.get_metric_history(run.info.run_id, key):
            found.setdefault(point.step, {"epoch": point.step})[key] = point.value
    return pd.DataFrame([found[step] for step in sorted(found)], columns=["epoch", *CURVES])


def told_of_columns(run: Run) -> pd.DataFrame | None:
    """What a run that was given columns beside pictures is without them, or by them alone: a row each; else None."""
    try:
        file = artifact_folder(run, "") / COLUMNS_FILE
    except BadInput:
        return None
    return pd.read_csv(file, index_col="columns") if file.is_file() else None


def minutes(run: Run) -> float:
    """From start to end, without what was waited for other processes."""
    passed = ((run.info.end_time or run.info.start_time) - run.info.start_time) / 60_000
    return max(0.0, passed - run.data.metrics.get("waited_seconds", 0.0) / 60)


def cost(client: MlflowClient, run: Run) -> dict[str, float]:
    """`minutes` from start to end but for waiting, `images_per_second` in training (median epoch), `parameters`."""
    metrics = run.data.metrics
    found = {"minutes": minutes(run)}
    speeds = [point.value for point in client.get_metric_history(run.info.run_id, "images_per_second")]
    if speeds:
        found["images_per_second"] = float(pd.Series(speeds).median())
    if "parameters" in metrics:
        found["parameters"] = metrics["parameters"]
    return found


def trained_on(run: Run) -> int | None:
    """How many pictures a run was trained on; None where it does not say."""
    for given in run.inputs.dataset_inputs if run.inputs else ():
        for tag in given.tags:
            if tag.key == "train" and tag.value.isdecimal():
                return int(tag.value)
    return None


def trained_by_class(run: Run) -> dict[str, int]:
    """How many pictures of each class there were to train on; empty where that was not kept, or is gone."""
    with suppress(BadInput):
        kept = kept_split(artifact_folder(run, ""))
        if kept is not None:
            return dict(kept.loc[kept["split"] == "train", "label"].value_counts())
    return {}


def typed_keys(run: Run) -> frozenset[str]:
    """The keys that the user gave for a run; a group's answer (`model=resnet50`) counts as its name."""
    try:
        given = shlex.split(run.data.tags.get("overrides", ""))
    except ValueError:
        return frozenset()
    keys = [re.sub(r"^[+~]*", "", one).partition("=")[0] for one in given]
    return frozenset(f"{key}.name" if key in GROUPS else key for key in keys)


def count_test_looks(client: MlflowClient, runs: list[Run]) -> int:
    """Note on each run that its test figures were looked at once more after training; the most looks of any."""
    most = 0
    for run in runs:
        looks = int(run.data.tags.get(TEST_LOOKS, 0)) + 1
        client.set_tag(run.info.run_id, TEST_LOOKS, str(looks))
        most = max(most, looks)
    return most
