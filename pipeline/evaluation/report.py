"""The files that a run leaves to look at: predictions, curves, confusion, figures a class."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.data.files import write_csv
from pipeline.evaluation import confusion
from pipeline.evaluation.metrics import class_report, summary
from pipeline.evaluation.plots import confusion as plot_confusion
from pipeline.evaluation.plots import curves
from pipeline.evaluation.plots.learning import History
from pipeline.evaluation.predictions import Predictions
from pipeline.terminal import counted


def write_report(
    folder: Path,
    predictions: Mapping[str, Predictions],
    history: History | None = None,
    taxonomy: pd.DataFrame | None = None,
) -> dict[str, dict[str, float]]:
    """Write a run's report into `folder` and give each split's summary; splits without pictures are left out.

    Writes `predictions/SPLIT.parquet` for each split, `curves.png` where there is a history, and for the last
    split that has pictures
    (test, where there is one) `confusion_matrix.png`, `confusion_matrix.csv` and `class_report.csv`.
    """
    scored = {split: made for split, made in predictions.items() if len(made)}
    for split, made in scored.items():
        path = folder / "predictions" / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        made.write(path)
    if history is not None:
        curves(history).savefig(folder / "curves.png")
    split, last = list(scored.items())[-1]
    plot_confusion(last, taxonomy=taxonomy, title=f"{split}: {counted(len(last), 'picture')}").savefig(
        folder / "confusion_matrix.png"
    )
    table = confusion.table(last)
    write_csv(table, folder / "confusion_matrix.csv", index=table.index.name is not None)
    write_csv(class_report(last), folder / "class_report.csv")
    return {split: summary(made) for split, made in scored.items()}
