"""The files that a run leaves to look at: predictions, curves, confusion, figures a class."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pipeline.common.atomic import write_atomically
from pipeline.common.wording import counted
from pipeline.data.files import write_csv
from pipeline.evaluation import confusion
from pipeline.evaluation.metrics import class_report, summary
from pipeline.predictions.parquet import read_predictions, write_predictions
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.plots import confusion as plot_confusion
from pipeline.reporting.plots import curves
from pipeline.reporting.plots.learning import History

CONFUSION = "confusion_matrix.png"  # drawn last

# Whatever sees to a run's figures, now or later: it takes what `draw_figures` does.
Draw = Callable[[Path, str, History | None, pd.DataFrame | None], object]


def draw_figures(folder: Path, split: str, history: History | None, taxonomy: pd.DataFrame | None) -> None:
    """Draw `curves.png`, where there is a history, and a split's `confusion_matrix.png` from its stored predictions."""
    if history is not None:
        _save(curves(history), folder / "curves.png")
    made = read_predictions(folder / "predictions" / f"{split}.parquet")
    figure = plot_confusion(made, taxonomy=taxonomy, title=f"{split}: {counted(len(made), 'picture')}")
    _save(figure, folder / CONFUSION)


def _save(figure: Figure, file: Path) -> None:
    """Whole or not at all: who draws may be killed."""
    write_atomically(file, lambda path: figure.savefig(path, format="png"), shared=True)


def write_report(
    folder: Path,
    predictions: Mapping[str, Predictions],
    history: History | None = None,
    taxonomy: pd.DataFrame | None = None,
    *,
    draw: Draw = draw_figures,
) -> dict[str, dict[str, float]]:
    """Write a run's report into `folder` and give each split's summary; splits without pictures are left out.

    Writes `predictions/SPLIT.parquet` for each split, and for the last split that has pictures (test, where there is
    one) `confusion_matrix.csv` and `class_report.csv`; `draw` adds the figures.
    """
    scored = {split: made for split, made in predictions.items() if len(made)}
    for split, made in scored.items():
        path = folder / "predictions" / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_predictions(made, path)
    split, last = list(scored.items())[-1]
    table = confusion.table(last)
    write_csv(table, folder / "confusion_matrix.csv", index=table.index.name is not None)
    write_csv(class_report(last), folder / "class_report.csv")
    draw(folder, split, history, taxonomy)
    return {split: summary(made) for split, made in scored.items()}
