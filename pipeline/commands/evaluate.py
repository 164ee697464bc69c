"""Score a run or a registered model on any pictures:   python -m pipeline.evaluate run=ID split=test"""

from __future__ import annotations

import logging
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.evaluation.assessment import Assessment, assess
from pipeline.experiment.evaluation_run import keep
from pipeline.experiment.question import Question
from pipeline.experiment.unknown import unknown_among
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.assessment import summary_table
from pipeline.reporting.terminal import console
from pipeline.tracking.finished import count_test_looks, label, taxonomy_of
from pipeline.tracking.registry import run_of_model
from pipeline.tracking.selection import CHOOSE_BY, by_metric, find_experiment, find_run, trained_runs
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.evaluate")


def run(config: schema.Evaluate) -> None:
    """Answer from stored predictions where they do, else ask the network; figures, files and a summary."""
    Store().open()
    client = MlflowClient()
    question = Question(client, config, chosen(client, config))
    question.check_group()  # before any network is asked
    heard = question.answers(question.split)
    changes = question.changes()
    val, answered = question.val(), question.pooled(heard.predictions)
    found = assess(answered, val, taxonomy_of(question.run), config.evaluation.coverage, config.evaluation.error)
    unknown = unknown_among(question, heard)
    found = replace(found, figures=found.figures | unknown.figures, notes=found.notes + unknown.notes)
    if question.own and question.split in ("test", "all"):
        count_test_looks(client, [question.run])
    show(question, answered, found, heard.source)
    keep(question, heard, answered, found, unknown.told, changes)


def chosen(client: MlflowClient, config: schema.Evaluate) -> Run:
    """The run asked for, that of the model asked for, else the experiment's best by val."""
    if config.run and config.model:
        raise BadInput("run and model both say what to score: give one of them")
    if config.model and config.checkpoint != "best":
        raise BadInput(f"checkpoint={config.checkpoint}: a registered model has its best weights only; give run=ID")
    if config.run or config.model:
        return find_run(client, config.run or run_of_model(config.model or ""))
    experiment = find_experiment(client, config.tracking.experiment)
    runs = by_metric(trained_runs(client, experiment))
    if not runs or CHOOSE_BY not in runs[0].data.metrics:
        raise BadInput(f"experiment {experiment.name} has no finished run: train first, or give run=ID")
    return runs[0]


def show(question: Question, answered: Predictions, found: Assessment, source: str) -> None:
    """The summary in the terminal."""
    screen = console()
    many = counted(len(answered), question.config.evaluation.group or "picture")
    screen.print(label(question.run))
    screen.print(f"on {question.split} of {question.name}: {many}, from {source}")
    summary_table(found).show(screen)
    if "most_confused" in found.tables:
        for row in found.tables["most_confused"].head(5).to_dict("records"):
            screen.print(f"  {row['true']} taken for {row['predicted']}: {row['pictures']} ({row['share']:.0%} of it)")
    for line in found.notes:
        log.info("%s", line)
