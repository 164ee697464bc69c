"""Score a run or a registered model on any pictures:   python -m pipeline.evaluate run=ID split=test"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.markup import escape
from rich.table import Table

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.data.digest import content_digest
from pipeline.data.table import PictureTable
from pipeline.ensembles.recipe import Recipe
from pipeline.evaluation.assessment import Assessment, assess
from pipeline.experiment import build
from pipeline.experiment.inference import answers, matched
from pipeline.experiment.own_pictures import OwnPictures, own_pictures
from pipeline.experiment.photographs import write_mistakes
from pipeline.experiment.stored import data_config
from pipeline.models.saved import load_network, read_facts
from pipeline.predictions.parquet import write_predictions
from pipeline.predictions.pooling import pool
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.run_report import write_assessment
from pipeline.reporting.terminal import console
from pipeline.serving.bundle import Bundle, read_bundle, share_backbones
from pipeline.serving.calibration import Calibration
from pipeline.serving.from_run import ingredients
from pipeline.tracking.finished import (
    artifact_folder,
    count_test_looks,
    has_predictions,
    label,
    stored_predictions,
    taxonomy_of,
)
from pipeline.tracking.registry import fetch_model, run_of_model
from pipeline.tracking.runs import flatten, git_sha, tracked_run
from pipeline.tracking.selection import CHOOSE_BY, by_metric, evaluated_run, find_experiment, find_run, trained_runs
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.evaluate")


@dataclass
class Question:
    """What is asked of which run, about which pictures; the table is read when it is needed."""

    client: MlflowClient
    config: schema.Evaluate
    run: Run
    own: bool  # whether these are the pictures that the run was trained and tested on
    split: str
    _data: schema.Data | None = None
    _own: OwnPictures | None = None
    _table: PictureTable | None = None
    _bundle: Bundle | None = None

    @property
    def data(self) -> schema.Data:
        """Which pictures."""
        if self._data is None:
            self._data = data_config(trained_run(self.client, self.run)) if self.own else self.config.data
        assert self._data is not None
        return self._data

    @property
    def name(self) -> str:
        """The pictures' name."""
        return self.run.data.tags.get("data", "") if self.own else self.data.name

    @property
    def own_pictures(self) -> OwnPictures:
        """The run's own; what differs since then is said once."""
        if self._own is None:
            run = trained_run(self.client, self.run)
            self._own = own_pictures(run, artifact_folder(run, ""), self.data)
            if self._own.difference:
                log.warning("%s", self._own.difference)
        return self._own

    @property
    def counted(self) -> dict[str, float]:
        """How many of the run's own pictures changed, vanished or are new; empty where none was looked at."""
        return self._own.counts if self._own else {}

    @property
    def table(self) -> PictureTable:
        """The pictures, in their splits; in none where all of others are asked about."""
        if self._table is None:
            if self.own:
                self._table = self.own_pictures.split if self.split == "all" else self.own_pictures.table
            else:
                read = build.all_pictures if self.split == "all" else build.picture_table
                self._table = read(self.data)
        return self._table

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split. BadInput where it is empty."""
        if self.own and split in ("train", "all") and not len(self.table.where("train")):
            raise BadInput(
                f"split={split}: run {label(self.run)} kept no split, and {self.table.name} has changed since: which "
                "pictures it was trained on is not known; ask for val or test, or name pictures with data=..."
            )
        rows = np.arange(len(self.table.rows)) if split == "all" else self.table.where(split)
        if not len(rows):
            raise BadInput(f"split={split}: {self.table.name} has no such pictures; try split=all")
        return rows

    @property
    def bundle(self) -> Bundle:
        """The networks that answer."""
        if self._bundle is None:
            self._bundle = networks(self.client, self.config, self.run)
        return self._bundle


def run(config: schema.Evaluate) -> None:
    """Answer from stored predictions where they do, else ask the network; figures, files and a summary."""
    Store().open()
    client = MlflowClient()
    question = ask(client, config)
    check_group(question)
    answered, source = predictions(question, question.split)
    if question.own and source != "the network":
        tell_what_changed(question)
    val = None if question.own and question.split in ("val", "all") else calibration_set(question)
    taxonomy = taxonomy_of(question.run)
    raw, answered = answered, pooled(question, answered)
    found = assess(answered, val, taxonomy, config.evaluation.coverage)
    if question.own and question.split in ("test", "all"):
        count_test_looks(client, [question.run])
    show(question, answered, found, source)
    keep(question, raw, answered, found, source, taxonomy)


def tell_what_changed(question: Question) -> None:
    """Say which of the run's own pictures are no longer what they were; answers that are stored stand without them."""
    with suppress(BadInput):  # the folder is gone, say: nothing can be said
        _ = question.own_pictures


def ask(client: MlflowClient, config: schema.Evaluate) -> Question:
    """The run, and the pictures: its own unless others are named."""
    run = find(client, config)
    own = config.data is None
    return Question(client, config, run, own, config.split or ("test" if own else "all"))


def trained_run(client: MlflowClient, run: Run) -> Run:
    """The run itself; of an ensemble, whose members have val and test in common, the best member."""
    if run.data.tags.get("stage") != "ensemble":
        return run
    return find_run(
        client, run.data.tags.get("best_member") or Recipe.read(artifact_folder(run, "ensemble")).run_ids[0]
    )


def find(client: MlflowClient, config: schema.Evaluate) -> Run:
    """The run asked for, that of the model asked for, else the experiment's best by val."""
    if config.run and config.model:
        raise BadInput("run and model both say what to score: give one of them")
    if config.model and config.checkpoint != "best":
        raise BadInput(f"checkpoint={config.checkpoint}: a registered model has its best weights only; give run=ID")
    if config.run:
        return find_run(client, config.run)
    if config.model:
        return find_run(client, run_of_model(config.model))
    experiment = find_experiment(client, config.tracking.experiment)
    runs = [run for run in by_metric(trained_runs(client, experiment)) if CHOOSE_BY in run.data.metrics]
    if not runs:
        raise BadInput(f"experiment {experiment.name} has no finished run: train first, or give run=ID")
    return runs[0]


def networks(client: MlflowClient, config: schema.Evaluate, run: Run) -> Bundle:
    """The networks of a registered model, or of a run at the checkpoint asked for."""
    if config.model:
        return read_bundle(fetch_model(config.model) / "artifacts" / "served")
    rule, folders = ingredients(client, run)
    members = []
    for folder in folders.values():
        facts = read_facts(folder)
        kept = sorted(file.stem for file in folder.glob("*.safetensors"))
        if config.checkpoint not in kept:
            raise BadInput(
                f"checkpoint={config.checkpoint}: the run kept no such weights{did_you_mean(config.checkpoint, kept)}"
            )
        members.append(load_network(facts.spec, folder / f"{config.checkpoint}.safetensors"))
    share_backbones(members)
    return Bundle(tuple(members), facts.classes, facts.taxonomy, rule, Calibration())


def check_group(question: Question) -> None:
    """Raise BadInput for a column that the pictures have not, or that is no specimen's, before any network is asked."""
    column = question.config.evaluation.group
    if not column:
        return
    rows, name = question.table.rows, question.table.name
    if column not in question.table.further:
        known = did_you_mean(column, question.table.further) or "; it has no further columns"
        raise BadInput(f"evaluation.group={column}: {name} has no such column{known}")
    pairs = rows[[column, "label"]].dropna().drop_duplicates()
    strays = pairs[pairs.duplicated(column, keep=False)]
    if len(strays):
        one = strays[strays[column] == strays[column].iloc[0]]
        raise BadInput(
            f"evaluation.group={column}: {one[column].iloc[0]} is labelled {' and '.join(one['label'][:2])} in {name}: "
            "correct its label, or choose a column that names one specimen each"
        )


def predictions(question: Question, split: str) -> tuple[Predictions, str]:
    """The answers for a split, and where they came from: stored ones where there are, else the network's."""
    config, run = question.config, question.run
    plain = config.evaluation.tta == "none" and config.checkpoint == "best"
    if plain and question.own and has_predictions(run, split):
        return stored_predictions(run, split), "the run's stored predictions"
    key = evaluation_key(question, split)
    earlier = evaluated_run(question.client, run.info.experiment_id, key)
    if earlier and has_predictions(earlier, split):
        return stored_predictions(earlier, split), f"the evaluation {earlier.info.run_name}"
    table = matched(question.table, question.bundle.classes)
    bundle = question.bundle
    made = answers(
        bundle.members, bundle.rule, table, question.rows(split), config.trainer,
        views=config.evaluation.tta, on_unreadable=question.data.on_unreadable,
    )  # fmt: skip
    return made, "the network"


def evaluation_key(question: Question, split: str) -> str:
    """What makes two evaluations the same question."""
    config = question.config
    pictures = content_digest(question.table, question.rows(split))
    truth = question.table.labels[question.rows(split)].tobytes().hex()
    asked = [
        question.run.info.run_id,  # also of a registered model, as an alias moves on
        config.checkpoint,
        config.evaluation.tta,
        split,
        pictures,
        truth,
    ]
    return sha256("\0".join(map(str, asked)).encode()).hexdigest()[:16]


def calibration_set(question: Question) -> Predictions | None:
    """Val's answers, given the same way where the run's own pictures are at hand; as stored where not."""
    run = question.run
    if question.own:
        val, _ = predictions(question, "val")
        return pooled(question, val)
    if not has_predictions(run, "val"):
        return None
    if question.config.evaluation.tta != "none" or question.config.evaluation.group:
        log.info("calibration is that of single pictures, each seen once, of the run's own val")
    return stored_predictions(run, "val")


def pooled(question: Question, answered: Predictions) -> Predictions:
    """One answer a specimen, where evaluation.group says what that is."""
    column = question.config.evaluation.group
    if not column:
        return answered
    groups = dict(zip(question.table.rows["path"], question.table.rows[column], strict=True))
    there = np.array([one in groups for one in answered.ids.tolist()])
    if not there.all():
        gone = answered.ids[~there]
        if not there.any():
            raise BadInput(f"evaluation.group={column}: {question.table.name} has none of the pictures answered for")
        log.warning(
            "%d pictures are left out, as they are no longer in %s and so of no known %s: %s%s", len(gone),
            question.table.name, column, gone[0], ", ..." if len(gone) > 1 else "",
        )  # fmt: skip
        answered = answered.take(there)
    return pool(answered, np.array([groups[one] for one in answered.ids.tolist()], dtype=object))


def show(question: Question, answered: Predictions, found: Assessment, source: str) -> None:
    """The summary in the terminal."""
    screen = console()
    many = counted(len(answered), question.config.evaluation.group or "picture")
    screen.print(label(question.run), markup=False, highlight=False)
    screen.print(
        f"on {question.split} of {question.name}: {many}, from {source}",
        markup=False, highlight=False,
    )  # fmt: skip
    table = Table(show_header=False)
    for name, value in summary_lines(found.figures, found.temperature):
        table.add_row(name, escape(value))
    screen.print(table)
    worst = found.tables["most_confused"].head(5)
    for row in worst.to_dict("records"):
        screen.print(
            f"  {row['true']} taken for {row['predicted']}: {row['pictures']} ({row['share']:.0%} of it)",
            highlight=False, markup=False,
        )  # fmt: skip
    for line in found.notes:
        log.info("%s", line)


def summary_lines(figures: dict[str, float], temperature: float | None) -> list[tuple[str, str]]:
    """Names and figures, as people read them."""
    low, high = 100 * figures["accuracy_low"], 100 * figures["accuracy_high"]
    lines = [
        ("accuracy", f"{100 * figures['accuracy']:.2f} %   95 %: {low:.2f} to {high:.2f}"),
        ("always the most frequent class", f"{100 * figures['majority_accuracy']:.2f} %"),
    ]
    others = ("top5_accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    lines += [(name.replace("_", " "), f"{100 * figures[name]:.2f} %") for name in others if name in figures]
    pairs = (("calibration error", "ece"), ("log loss", "log_loss"))
    for title, name in pairs:
        after = f"   after temperature {temperature:.2f}: {figures[f'{name}_calibrated']:.4f}" if temperature else ""
        lines.append((title, f"{figures[name]:.4f}{after}"))
    for name, value in figures.items():
        if name.startswith("coverage_"):
            percent = name.removeprefix("coverage_")
            said = f"hold {100 * value:.1f} %, {figures[f'set_size_{percent}']:.2f} classes on average"
            lines.append((f"prediction sets of {percent} %", said))
    return lines


def keep(
    question: Question, raw: Predictions, answered: Predictions, found: Assessment, source: str, taxonomy: Any
) -> None:
    """The evaluation as an MLflow run beside the run it is of."""
    config, split = question.config, question.split
    params = flatten(config.model_dump(mode="json", include={"run", "model", "checkpoint", "evaluation"}))
    experiment = question.client.get_experiment(question.run.info.experiment_id).name
    tags = {
        "stage": "evaluate",
        "evaluated_run": question.run.info.run_id,
        "model": question.run.data.tags.get("model", ""),
        "data": question.name,
        "split": split,
        "source": source,
        "git_sha": git_sha(),
    }
    if source == "the network":
        tags["evaluation_key"] = evaluation_key(question, split)
    name = f"evaluate {question.run.info.run_name} on {split} of {question.name}"
    with tracked_run(experiment, name=name[:250], tags=tags, params=params | {"split": split}) as run:
        write_assessment(run.folder, split, answered, found, taxonomy)
        if raw is not answered:  # what the network said of each picture can be asked again, pooled or not
            (run.folder / "predictions" / f"{split}.parquet").rename(
                run.folder / "predictions" / f"{split}_pooled.parquet"
            )
            write_predictions(raw, run.folder / "predictions" / f"{split}.parquet")
        with suppress(BadInput):  # the pictures are gone, say; what was answered of them stands
            counted_in = raw if raw is answered else raw.take(np.isin(raw.ids, question.table.rows["path"]))
            write_mistakes(run.folder, label(question.run), split, counted_in, question.table)
        run.log_metrics({f"{split}/{key}": value for key, value in found.figures.items()} | question.counted)
        if found.temperature is not None:
            run.log_metrics({"temperature": found.temperature})
        log.info("in MLflow: %s (%s), with plots and tables in %s", run.name, run.id, run.folder)
