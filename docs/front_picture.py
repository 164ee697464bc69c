"""Draw the front page's picture from the latest sweep in the current folder; the words under it say which sweep.

python -m pipeline.train -m model=resnet18,mobilenetv2,squeezenet optimizer.lr=0.0003,0.001,0.003 trainer.epochs=4
python docs/front_picture.py docs/images/front.png
"""

import os
import sys
from pathlib import Path

import mlflow
import numpy as np
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.data.sources import read_source
from pipeline.evaluation.mistakes import confident_errors
from pipeline.evaluation.statistics import interval_of_share
from pipeline.predictions.parquet import read_predictions
from pipeline.predictions.predictions import Predictions

INK, SOFT, VAL, TEST = "#1f2937", "#64707f", "#2f6f9f", "#dd8a3c"
SHOWN = 8


def main(target: Path) -> None:
    """Left: each run's accuracy with its interval, best by val on top. Right: what the best one got wrong on test."""
    client = MlflowClient("sqlite:///mlflow.db")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()], "tags.stage = 'train'")
    sweep = found[0].data.tags["mlflow.parentRunId"]
    runs = [run for run in found if run.data.tags.get("mlflow.parentRunId") == sweep]
    runs.sort(key=lambda run: run.data.metrics["best/val_accuracy"])
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.45, 1))
    accuracies(left, runs)
    mistakes(right, answers(runs[-1], "test"))
    figure.savefig(target, dpi=130, facecolor="white")


def answers(run: Run, split: str) -> Predictions:
    """What a run answered."""
    path = f"predictions/{split}.parquet"
    return read_predictions(Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path)))


def accuracies(figure: Figure, runs: list[Run]) -> None:
    """A line a run: val and test with their intervals."""
    axes = figure.subplots()
    for place, run in enumerate(runs):
        for split, colour, shift in (("val", VAL, 0.14), ("test", TEST, -0.14)):
            made = interval_of_share(answers(run, split).correct)
            axes.plot([100 * made.low, 100 * made.high], [place + shift] * 2, color=colour, lw=2.2, alpha=0.45,
                      solid_capstyle="round")  # fmt: skip
            axes.plot(100 * made.value, place + shift, "o", color=colour, ms=6, label=split if not place else None)
    names = [f"{run.data.tags['model']}, lr {run.data.params['optimizer.lr']}" for run in runs]
    axes.set_yticks(range(len(runs)), names, color=INK)
    axes.set_xlabel("accuracy (%), with 95 % interval", color=SOFT)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=SOFT)
    axes.grid(axis="x", color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title("Which network, trained how?", loc="left", color=INK, fontweight="bold")


def mistakes(figure: Figure, found: Predictions) -> None:
    """The mistakes of which the network was surest."""
    table = read_source("digits", name="digits")
    assert table.pixels is not None
    rows = {path: row for row, path in enumerate(table.rows["path"])}
    wrong = confident_errors(found)[:SHOWN]
    figure.suptitle("What the best one gets wrong on test", x=0.02, ha="left", color=INK, fontweight="bold",
                    fontsize="large")  # fmt: skip
    for axes in figure.subplots(2, SHOWN // 2).flat:
        axes.axis("off")
    for axes, place in zip(figure.axes, wrong, strict=False):
        axes.imshow(np.asarray(table.pixels[rows[found.ids[place]]]), interpolation="bicubic")
        words = f"answer {found.classes[found.predicted[place]]}, {found.confidence[place]:.0%}"
        axes.set_title(f"{words}\nlabel {found.classes[found.labels[place]]}", fontsize=9, color=INK)


if __name__ == "__main__":
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    main(Path(sys.argv[1]))
