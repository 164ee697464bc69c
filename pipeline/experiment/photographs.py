"""The photographs behind a run's figures: its page of mistakes, from its answers and the pictures where they lie."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.atomic import scratch_folder
from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.data.survey.measure import jpegs
from pipeline.data.table import PictureTable
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.disagreements_page import FILE as DISAGREEMENTS
from pipeline.reporting.disagreements_page import disagreements_page
from pipeline.reporting.mistakes_page import FILE, Thumbnails, mistakes_page
from pipeline.reporting.page import save
from pipeline.tracking.finished import artifact_folder, has_predictions, label, stored_predictions
from pipeline.tracking.runs import TrackedRun

log = logging.getLogger("pipeline.compare")


def write_mistakes(folder: Path, title: str, split: str, predictions: Predictions, table: PictureTable) -> Path:
    """Write the page and give its file; a picture that `table` has not, or that cannot be read, is said to be so."""
    return save(
        mistakes_page(title, f"What it got wrong on {split} of {table.name}", predictions, _thumbnails(table)),
        folder / FILE,
    )


def leave_mistakes(run: TrackedRun, title: str, split: str, predictions: Predictions, table: PictureTable) -> None:
    """Have the page among a run's artifacts, and say where it is."""
    page = write_mistakes(run.folder, title, split, predictions, table)
    log.info("what it got wrong: %s", page if run.in_place else f"{page.name}, among the run's artifacts")


def write_disagreements(folder: Path, title: str, runs: Mapping[str, Run]) -> str:
    """Write the page of what the best runs, by name, answer differently on their last split; its name, "" for none.

    Runs on other pictures than the first run's have no place on it, nor have runs whose pictures are gone.
    """
    try:
        first = next(iter(runs.values()))
        split = "test" if has_predictions(first, "test") else "val"
        members = aligned({name: stored_predictions(run, split) for name, run in runs.items()})
        table = own_pictures(first, artifact_folder(first, ""), data_config(first)).unedited
    except BadInput as error:
        log.info("no page of disagreements: %s", error)
        return ""
    html = disagreements_page(
        title, f"What the leaders answer differently on {split} of {table.name}", members, _thumbnails(table)
    )
    if html is None:
        return ""
    save(html, folder / DISAGREEMENTS)
    return DISAGREEMENTS


def _thumbnails(table: PictureTable) -> Thumbnails:
    def made(paths: list[str]) -> dict[str, bytes]:
        known = table.rows_of(paths)
        found = jpegs(table, known.values())
        return {path: found[row] for path, row in known.items() if row in found}

    return made


def log_mistakes_of(client: MlflowClient, runs: Iterable[Run]) -> None:
    """Have the page of its last split among each finished run's artifacts; jobs of a sweep draw none themselves."""
    drawn = 0
    for run in runs:
        if any(file.path == FILE for file in client.list_artifacts(run.info.run_id)):
            continue
        try:
            split = "test" if has_predictions(run, "test") else "val"
            predictions = stored_predictions(run, split)
            own = own_pictures(run, artifact_folder(run, ""), data_config(run))
            with scratch_folder() as scratch:
                write_mistakes(scratch, label(run), split, predictions, own.unedited)
                client.log_artifact(run.info.run_id, str(scratch / FILE))
        except BadInput as error:  # its pictures or answers are gone
            log.info("no page of mistakes: %s", error)
            continue
        drawn += 1
    if drawn:
        log.info("in MLflow: %s of the photographs that the leaders got wrong (%s)", counted(drawn, "page"), FILE)
