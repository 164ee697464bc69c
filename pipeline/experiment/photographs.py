"""The photographs behind a run's figures: its page of mistakes, from its answers and the pictures where they lie."""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.data.survey.measure import jpegs
from pipeline.data.table import PictureTable
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.mistakes_page import FILE, mistakes_page
from pipeline.reporting.page import save
from pipeline.tracking.finished import artifact_folder, has_predictions, label, stored_predictions

log = logging.getLogger("pipeline.compare")


def write_mistakes(folder: Path, title: str, split: str, predictions: Predictions, table: PictureTable) -> None:
    """Write the page; a picture that `table` has no more, or that cannot be read, is said to be gone."""

    def thumbnails(paths: list[str]) -> dict[str, bytes]:
        known = table.rows_of(paths)
        made = jpegs(table, known.values())
        return {path: made[row] for path, row in known.items() if row in made}

    save(mistakes_page(title, f"{split} of {table.name}", predictions, thumbnails), folder / FILE)


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
            with tempfile.TemporaryDirectory() as scratch:
                write_mistakes(Path(scratch), label(run), split, predictions, own.table)
                client.log_artifact(run.info.run_id, str(Path(scratch) / FILE))
        except BadInput as error:  # its pictures or answers are gone
            log.info("no page of mistakes: %s", error)
            continue
        drawn += 1
    if drawn:
        log.info("in MLflow: %s of the photographs that the leaders got wrong (%s)", counted(drawn, "page"), FILE)
