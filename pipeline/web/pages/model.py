"""Model: how good one is, on what, and what it is good and bad at."""

from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from starlette.responses import FileResponse, Response

from pipeline.common.errors import BadInput
from pipeline.serving.card import FILE as CARD
from pipeline.serving.figures import figures
from pipeline.tracking.finished import artifact_folder, trained_on
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import find_run
from pipeline.web.guard import REPORT
from pipeline.web.models import Choice
from pipeline.web.refusal import Refused, told
from pipeline.web.rendering import page
from pipeline.web.site import Site, site_of

router = APIRouter(include_in_schema=False)
# What of a run's files is shown, and nothing else of the disk: a name that is not here is not there.
SHOWN = {
    "mistakes.html": "text/html", "explore.html": "text/html", "comparison.html": "text/html",
    "curves.png": "image/png", "confusion_matrix.png": "image/png",
}  # fmt: skip
_HARDEST, _EASIEST = 12, 6  # classes, before all are asked for


@router.get("/model")
def model(request: Request, model: str = "") -> Response:
    """The page of the model that was asked for, else of the first."""
    site = site_of(request)
    choice = site.models.find(model) if model else site.models.first()
    values: dict[str, Any] = {"choice": choice, "models": site.models.choices()}
    try:
        values |= {} if choice is None else _known(site, choice)
    except (BadInput, MlflowException) as error:  # its files are gone: others can be chosen
        return page(request, "model.html.j2", here="model", status=410, lost=told(error), **values)
    return page(request, "model.html.j2", here="model", lost="", **values)


@router.get("/model/card")
def card(request: Request, model: str) -> FileResponse:
    """The card of a registered version, as a file."""
    choice = site_of(request).models.find(model)
    file = _card(choice)
    if file is None:
        raise Refused(404, "that model has no card: promote its run again")
    return FileResponse(file, media_type="text/markdown; charset=utf-8", filename=f"{choice.name}.md")


@router.get("/runs/{run_id}/{name}")
def artifact(run_id: str, name: str) -> FileResponse:
    """A page or picture that a run left."""
    file = None
    if name in SHOWN:
        try:
            run = find_run(MlflowClient(), run_id, kinds=("train", "ensemble", "explore", "compare", "evaluate"))
            file = artifact_folder(run, "") / name
        except (BadInput, MlflowException):
            file = None
    if file is None or not file.is_file():
        raise Refused(404, "the run has no such file")
    return FileResponse(file, media_type=SHOWN[name], headers=REPORT if name.endswith(".html") else None)


def _known(site: Site, choice: Choice) -> dict[str, Any]:
    ready = site.models.load(choice)
    bundle = ready.bundle
    run = None if choice.run_id is None else _run(choice.run_id)
    measured = [] if run is None else figures(run)
    classes = measured[0].classes if measured else pd.DataFrame()
    hardest, easiest = _ends(classes)
    return {
        "bundle": bundle, "run": run, "card": _card(choice), "figures": measured,
        "checkpoints": site.models.checkpoints(choice),
        "networks": [member.spec.name for member in bundle.members],
        "names": {one.label: one for one in ready.names},
        "hardest": _rows(hardest), "easiest": _rows(easiest), "every": _rows(classes),
        "pictures": {} if run is None else _pictures(run, measured),
        "left": [] if run is None else _left(run),
    }  # fmt: skip


def _card(choice: Choice) -> Path | None:
    """None where it is no registered version, or one of before there were cards."""
    if choice.version is None:
        return None
    file = fetch_model(f"models:/{choice.version.name}/{choice.version.version}") / "artifacts/served" / CARD
    return file if file.is_file() else None


def _ends(classes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of classes, the hardest first, those that it is bad at, and those that it is good at, the best first: they are
    better than any of the others, so that none is among both.
    """
    if not len(classes):
        return classes, classes
    hardest = classes[classes["share"] < 1].head(min(_HARDEST, -(-len(classes) // 2)))
    good = classes["share"] > hardest["share"].max() if len(hardest) else classes["share"] == 1
    return hardest, classes[good][::-1].head(_EASIEST)


def _run(run_id: str) -> Run | None:
    """None where it was deleted since."""
    try:
        return find_run(MlflowClient(), run_id)
    except BadInput:
        return None


def _rows(classes: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in classes.to_dict("records")]


def _pictures(run: Run, measured: list[Any]) -> dict[str, int]:
    """How many of each split."""
    trained = trained_on(run)
    return ({} if trained is None else {"train": trained}) | {one.split: one.pictures for one in measured[::-1]}


def _left(run: Run) -> list[str]:
    try:
        folder = artifact_folder(run, "")
    except BadInput:
        return []
    return [name for name in SHOWN if (folder / name).is_file()]
