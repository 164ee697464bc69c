"""What a registered model says of itself in MLflow: how good, on what, of what, and how to ask it."""

from shlex import quote

import numpy as np
from mlflow.entities import Run

from pipeline.common.wording import counted, first_few, percent
from pipeline.evaluation.statistics import interval_of_share
from pipeline.serving.from_run import PROMISED, Assembled

_NAMED, _LONGEST_NAME = 30, 60  # classes, and letters of a class's name
_LONGEST = 5000  # characters: more is no description to MLflow's database


def model_card(run: Run, made: Assembled, address: str) -> str:
    """Markdown for a version's description: figures with n and 95 % interval, data, commit, classes, promises, use.

    Of a run that another version of this program made, what it does not tell is left out.
    """
    tags, params = run.data.tags, run.data.params
    networks = f"an ensemble of {made.networks} networks" if made.networks > 1 else tags.get("model", "a network")
    data = tags.get("data") or params.get("data.name", "?")
    parts = [
        f"**{networks}**, {counted(len(made.classes), 'class')}, trained on `{data}` (run `{run.info.run_id}`).",
        "\n".join(["| pictures | accuracy | 95 % interval | n |", "| --- | --- | --- | --- |", *_figures(run, made)]),
        "\n".join(f"- {line}" for line in _facts(run, made)),
        f"**Classes**: {_classes(made.classes)}",
        f"**Ask it**: `python -m pipeline.predict images=FOLDER {quote(f'model={address}')}`, or\n"
        f"`mlflow models serve -m {quote(address)} --env-manager local -p 5001`.",
        "It answers with one of its classes to any picture, also to one of none of them; `unknown`, `min_probability` "
        "and `coverage` say how sure it is.",
    ]
    return "\n\n".join(parts)[:_LONGEST]


def _figures(run: Run, made: Assembled) -> list[str]:
    rows = []
    for split, metric, said in (
        ("val", "best/val_accuracy", "val, on which it was chosen"),
        ("test", "test/accuracy", "test"),
    ):
        share, n = run.data.metrics.get(metric), made.pictures.get(split, 0)
        if share is not None and n:
            found = interval_of_share(np.arange(n) < round(share * n))
            rows.append(f"| {said} | {percent(share)} | {percent(found.low)} to {percent(found.high)} | {n:,} |")
    return rows


def _facts(run: Run, made: Assembled) -> list[str]:
    figures, tags = made.figures, run.data.tags
    lines = []
    if refit := tags.get("refit"):
        lines.append(f"Fitted once more {refit}; calibration and promises too.")
    if "test/ece_calibrated" in figures:
        lines.append(
            f"Probabilities are calibrated on val; on test they are off by {percent(figures['test/ece_calibrated'])} "
            "in the mean."
        )
    if "test/coverage_90" in figures:
        lines.append(
            f"Sets promised to hold the right class in {percent(PROMISED, 0)} of pictures did so in "
            f"{percent(figures['test/coverage_90'])} of test, with {figures['test/set_size_90']:.1f} classes each."
        )
    if leaks := int(run.data.metrics.get("data/leaks", 0)):
        lines.append(f"{counted(leaks, 'picture')} of one split were also in another: the figures look too good.")
    for said, value in (("Data digest", tags.get("data_digest")), ("Commit", tags.get("git_sha"))):
        if value:
            lines.append(f"{said}: `{value}`")
    if typed := tags.get("overrides"):
        command = "ensemble" if tags.get("stage") == "ensemble" else "train"
        lines.append(f"Made by: `python -m pipeline.{command} {typed}`")
    return lines


def _classes(classes: tuple[str, ...]) -> str:
    # A class may be called anything: in code marks Markdown and HTML in it are text.
    return first_few([f"`{name[:_LONGEST_NAME].replace('`', chr(39))}`" for name in classes], _NAMED)
