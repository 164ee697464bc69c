"""The photographs behind a run's figures: its page of mistakes, from its answers and the pictures where they lie."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.atomic import scratch_folder
from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.data.survey.measure import jpegs, to_jpeg
from pipeline.data.table import PictureTable
from pipeline.experiment.looking import looked_at, networks_of
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.explaining.drawing import overlay
from pipeline.models.classifier import Classifier
from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.disagreements_page import FILE as DISAGREEMENTS
from pipeline.reporting.disagreements_page import disagreements_page
from pipeline.reporting.mistakes_page import FILE, Looks, Thumbnails, mistakes_page
from pipeline.reporting.page import save
from pipeline.tracking.finished import artifact_folder, has_predictions, label, stored_predictions
from pipeline.tracking.runs import TrackedRun

log = logging.getLogger("pipeline.compare")
_SIDE, _AT_ONCE = 128, 16  # pixels, of heat maps on a page; pictures that are looked at together


def write_mistakes(
    folder: Path, title: str, split: str, predictions: Predictions, table: PictureTable,
    members: Sequence[Classifier] = (),
) -> Path:  # fmt: skip
    """Write the page and give its file; a picture that `table` has not, or that cannot be read, is said to be so.

    With the `members` that answered, it shows where they looked.
    """
    subtitle = f"What it got wrong on {split} of {table.name}"
    looks = _looks(table, predictions, members) if members else None
    return save(mistakes_page(title, subtitle, predictions, _thumbnails(table), looks), folder / FILE)


def leave_mistakes(
    run: TrackedRun, title: str, split: str, predictions: Predictions, table: PictureTable,
    members: Sequence[Classifier] = (),
) -> None:  # fmt: skip
    """Have the page among a run's artifacts, and say where it is."""
    page = write_mistakes(run.folder, title, split, predictions, table, members)
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


def _looks(table: PictureTable, predictions: Predictions, members: Sequence[Classifier]) -> Looks:
    """None, which is said, where the networks have nothing to look at."""

    def made(places: np.ndarray) -> dict[int, bytes]:
        at = table.rows_of([str(one) for one in predictions.ids[places]])
        place_of = {at[str(predictions.ids[place])]: int(place) for place in places}
        codes = {row: int(predictions.predicted[place]) for row, place in place_of.items()}
        try:
            return {
                place_of[row]: to_jpeg(overlay(look, _SIDE)) for row, look in looked_at(members, table, codes, _AT_ONCE)
            }
        except BadInput as error:
            log.info("no heat maps on the page of mistakes: %s", error)
            return {}

    return made


def log_mistakes_of(client: MlflowClient, runs: Iterable[Run], *, heat_maps: bool) -> None:
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
                members = networks_of(client, run) if heat_maps else ()
                write_mistakes(scratch, label(run), split, predictions, own.unedited, members)
                client.log_artifact(run.info.run_id, str(scratch / FILE))
        except BadInput as error:  # its pictures or answers are gone
            log.info("no page of mistakes: %s", error)
            continue
        drawn += 1
    if drawn:
        log.info("in MLflow: %s of the photographs that the leaders got wrong (%s)", counted(drawn, "page"), FILE)
