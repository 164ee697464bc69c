"""The photographs behind a run's figures: its page of mistakes, from its answers and the pictures where they lie."""

from pathlib import Path

from mlflow.entities import Run

from pipeline.data.survey.measure import jpegs
from pipeline.data.table import PictureTable
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.mistakes_page import FILE, mistakes_page
from pipeline.reporting.page import save
from pipeline.tracking.finished import artifact_folder, has_predictions, label, stored_predictions


def write_mistakes(folder: Path, title: str, split: str, predictions: Predictions, table: PictureTable) -> None:
    """Write the page; a picture that `table` has no more, or that cannot be read, is said to be gone."""

    def thumbnails(paths: list[str]) -> dict[str, bytes]:
        known = table.rows_of(paths)
        made = jpegs(table, known.values())
        return {path: made[row] for path, row in known.items() if row in made}

    save(mistakes_page(title, f"{split} of {table.name}", predictions, thumbnails), folder / FILE)


def write_mistakes_of(run: Run, folder: Path) -> None:
    """Write the page of a finished run's last split. BadInput where its pictures or answers are gone."""
    split = "test" if has_predictions(run, "test") else "val"
    predictions = stored_predictions(run, split)
    own = own_pictures(run, artifact_folder(run, ""), data_config(run))
    write_mistakes(folder, label(run), split, predictions, own.table)
