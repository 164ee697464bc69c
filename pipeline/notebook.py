"""The commands as functions, for notebooks and scripts.

    from pipeline.notebook import ask, compare, embed, ensemble, pictures, promote, result, runs, train

    run = train("data=folder", "data.root=~/photos", "trainer.epochs=5")
    run.errors().head()

Each takes what is typed after the command, a text for each override, and does what the command does: runs go to the
same MLflow store (`mlflow.db` in the current folder, or MLFLOW_TRACKING_URI). What is wrong with the input is raised as
`BadInput`, one line that names the key or file and the remedy; work that had to stop as `Stopped`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from mlflow.entities import Run
from omegaconf import open_dict

from pipeline.cli.command import VERSION_BASE, for_hydra
from pipeline.cli.messages import BAD_INPUT, check, exit_code, one_line
from pipeline.commands import compare as compare_command
from pipeline.commands import embed as embed_command
from pipeline.commands import ensemble as ensemble_command
from pipeline.commands import explore as explore_command
from pipeline.commands import promote as promote_command
from pipeline.commands import train as train_command
from pipeline.commands.predict import opened
from pipeline.common.errors import BadInput, Stopped
from pipeline.config.keys import CONF
from pipeline.data.unlabelled import find_pictures
from pipeline.evaluation import confusion
from pipeline.evaluation.metrics import class_report
from pipeline.evaluation.mistakes import confident_errors
from pipeline.experiment.asking import answered
from pipeline.experiment.build import picture_table
from pipeline.predictions.feature_table import FeatureTable, read_features
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.finished import artifact_folder, count_test_looks, history, stored_predictions
from pipeline.tracking.runs import latest_run
from pipeline.tracking.selection import CHOOSE_BY, by_metric, ensembles, find_experiment, find_run, trained_runs
from pipeline.tracking.store import Store


def pictures(*overrides: str) -> pd.DataFrame:
    """The table that training would use: a row a picture with `path`, `label`, `split` and the user's own columns.

    Takes the overrides of `explore`: `pictures("data=folder", "data.root=~/photos")`.
    """
    with _called("explore", overrides) as config:
        return picture_table(config.data).rows


def explore(*overrides: str) -> Result:
    """Open every picture; the result's `folder` has the page `explore.html`, its `metrics` the counts."""
    return _result("explore", explore_command.run, overrides)


def train(*overrides: str) -> Result:
    """Train one network; for many, call it in a loop (or type a sweep: python -m pipeline.train -m ...)."""
    return _result("train", train_command.run, overrides)


def ensemble(*overrides: str) -> Result:
    """Let finished runs vote: `ensemble("runs=[ID,ID]")`; without overrides all runs of the latest experiment."""
    return _result("ensemble", ensemble_command.run, overrides)


def compare(*overrides: str) -> pd.DataFrame:
    """The leaderboard, a row a choice, best by val first; the page is written as by the command (`output=...`).

    Where runs cannot all be ranked together, the column `group` tells which can.
    """
    with _called("compare", overrides) as config:
        groups = compare_command.run(config).groups
        tables = [group.ranking.table for group in groups]
        if len(tables) == 1:
            return tables[0]
        return pd.concat([table.assign(group=place) for place, table in enumerate(tables, start=1)], ignore_index=True)


def embed(*overrides: str) -> FeatureTable:
    """A network's features of all pictures: `rows` (`path`, `label`, `split`), `values` (n, features) float32.

    The file and its page are written as by the command (`output=...`); `features(PATH)` reads such a file.
    """
    with _called("embed", overrides) as config:
        return read_features(embed_command.run(config))


def features(path: str | Path) -> FeatureTable:
    """What an earlier `embed` wrote; `made_of` says of which network and which pictures."""
    with _one_line():
        return read_features(path)


def promote(*overrides: str) -> str:
    """Register the best run, or that of `run=ID`, as the model that answers; gives its address."""
    with _called("promote", overrides) as config:
        return promote_command.run(config)


def ask(images: str | Path, *overrides: str) -> pd.DataFrame:
    """A row for each new picture (a file, or a folder of them): `picture`, `label`, `probability`, the next likeliest.

    Asks the champion of the latest experiment, or `"model=models:/NAME@ALIAS"`; takes the overrides of `predict`, of
    which `output` has no meaning here, as no file is written.
    """
    with _called("predict", (f"images={images}", *overrides)) as config:
        model, how, _ = opened(config)
        return pd.DataFrame(answered(model, how, find_pictures(str(config.images)), config).rows)


def runs(experiment: str | None = None) -> pd.DataFrame:
    """The finished trainings and ensembles of an experiment (that of the latest run), best by val first.

    A row a run, with `id`, `name`, `kind`, `model`, `regime`, `overrides`, `val_accuracy`, `test_accuracy`, `verdict`.
    """
    with _one_line():
        Store().open(to_write=False)
        client = MlflowClient()
        where = find_experiment(client, experiment)
        found = by_metric([*trained_runs(client, where), *ensembles(client, where)])
        tags = {"kind": "stage", **{name: name for name in ("model", "regime", "overrides", "verdict")}}
        rows = [
            {"id": run.info.run_id, "name": run.info.run_name}
            | {title: run.data.tags.get(tag, "") for title, tag in tags.items()}
            | {"val_accuracy": run.data.metrics.get(CHOOSE_BY), "test_accuracy": run.data.metrics.get("test/accuracy")}
            for run in found
        ]
        columns = ["id", "name", "kind", "model", "regime", "overrides", "val_accuracy", "test_accuracy", "verdict"]
        return pd.DataFrame(rows, columns=columns)


def result(run_id: str) -> Result:
    """The result of an earlier training or ensemble, by its id."""
    with _one_line():
        Store().open(to_write=False)
        return Result(find_run(MlflowClient(), run_id))


@dataclass(frozen=True, repr=False)
class Result:
    """What a run left behind. Splits are `val` unless said otherwise: test is for one look, at the end."""

    run: Run

    def __repr__(self) -> str:
        figures = {"val": "best/val_accuracy", "test": "test/accuracy"}
        said = [f"{name} {100 * self.metrics[key]:.2f} %" for name, key in figures.items() if key in self.metrics]
        return f"<{', '.join([f'{self.name} ({self.id})', *said])}>"

    @property
    def id(self) -> str:
        """MLflow's id of the run: what `run=`, `runs=` and `resume=` take."""
        return str(self.run.info.run_id)

    @property
    def name(self) -> str:
        """MLflow's name of the run."""
        return str(self.run.info.run_name)

    @property
    def metrics(self) -> dict[str, float]:
        """Figures by name, of each metric the last one: `best/val_accuracy`, `test/macro_f1`, ..."""
        return dict(self.run.data.metrics)

    @property
    def folder(self) -> Path:
        """Where its files lie: pages, plots, weights. Fetched first where the store is elsewhere."""
        with _one_line():
            return artifact_folder(self.run, "")

    def curve(self) -> pd.DataFrame:
        """A row an epoch: `epoch`, `train/loss`, `train/accuracy`, `val/loss`, `val/accuracy`."""
        return history(MlflowClient(), self.run)

    def predictions(self, split: str = "val") -> Predictions:
        """What it answered: logits, labels and all that is computed from them. A look at test is counted."""
        with _one_line():
            found = stored_predictions(self.run, split)
            if split == "test":
                count_test_looks(MlflowClient(), [self.run])
            return found

    def answers(self, split: str = "val") -> pd.DataFrame:
        """A row a picture: `path`, `label`, `predicted`, `probability` (of what was predicted), `correct`."""
        return _as_table(self.predictions(split))

    def errors(self, split: str = "val") -> pd.DataFrame:
        """The wrong answers as rows of `answers`, the surest first: wrong labels stand here, too."""
        found = self.predictions(split)
        table = _as_table(found).drop(columns="correct")
        return table.iloc[confident_errors(found)].reset_index(drop=True)

    def confusion(self, split: str = "val") -> pd.DataFrame:
        """Counts of pictures, true classes down and predicted ones across (above 1,000 classes: a row a pair)."""
        return confusion.table(self.predictions(split))

    def classes(self, split: str = "val") -> pd.DataFrame:
        """A row a class: `pictures`, `predicted`, `precision`, `recall`, `f1`."""
        return class_report(self.predictions(split))


def _as_table(found: Predictions) -> pd.DataFrame:
    names = np.asarray(found.classes, dtype=object)
    return pd.DataFrame({
        "path": found.ids, "label": names[found.labels], "predicted": names[found.predicted],
        "probability": found.confidence, "correct": found.correct,
    })  # fmt: skip


def _result(name: str, recipe: Callable[[Any], object], overrides: tuple[str, ...]) -> Result:
    """What the run that a command makes left behind."""
    with _called(name, overrides) as config:
        recipe(config)
        return Result(latest_run())


@contextmanager
def _called(name: str, overrides: tuple[str, ...]) -> Iterator[Any]:
    """The checked config of a command, for its recipe to run in; afterwards the process is as it was before."""
    with _one_line(name), _messages(), _composed(name, overrides) as config:
        if mlflow.active_run():
            raise BadInput("an MLflow run of your own is under way, and runs do not mix: call mlflow.end_run() first")
        with _torch_as_it_was():
            yield config


@contextmanager
def _composed(name: str, overrides: tuple[str, ...]) -> Iterator[Any]:
    """Composed and checked as from the command line. Recipes ask Hydra what was typed, so it knows that meanwhile."""
    for one in overrides:
        if one.startswith("-") or "=" not in one.lstrip("~"):
            raise BadInput(f"{one}: overrides are wanted, such as 'trainer.epochs=5'; options belong on a command line")
    given, hydra, told = (
        for_hydra(name, list(overrides), multirun=False),
        GlobalHydra.instance(),
        HydraConfig.instance(),
    )
    hydra.hydra, own_hydra, own_config = None, hydra.hydra, told.cfg
    try:
        with initialize_config_dir(str(CONF), job_name=name, **VERSION_BASE):
            composed = compose(name, given, return_hydra_config=True)
        told.set_config(composed)
        task = composed.copy()
        with open_dict(task):
            del task["hydra"]
        yield check(task, name)
    finally:
        GlobalHydra.instance().hydra, told.cfg = own_hydra, own_config


@contextmanager
def _messages() -> Iterator[None]:
    """Say below the cell what the command says in a terminal."""
    log, shown = logging.getLogger("pipeline"), logging.StreamHandler(sys.stdout)
    level, propagate = log.level, log.propagate
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    log.propagate = False  # a notebook's own handlers would say it again
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Its random numbers, threads and denormal numbers belong to the whole process, and so to the user."""
    threads = torch.get_num_threads()
    flushed = not torch.full((64,), 1e-40).mul(1.0).any()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


@contextmanager
def _one_line(name: str = "") -> Iterator[None]:
    """What its user can put right is a BadInput of one line, without what Hydra and OmegaConf put around it."""
    try:
        yield
    except Stopped as error:
        raise Stopped(str(error)) from None
    except Exception as error:
        if exit_code(error) == BAD_INPUT:
            raise BadInput(one_line(error, name)) from None
        raise
