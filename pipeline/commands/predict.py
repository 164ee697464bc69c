"""Name what is on pictures:   python -m pipeline.predict images=~/new-photos"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from rich.markup import escape
from rich.table import Table

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.names import safe_name
from pipeline.common.paths import check_utf8, expanded
from pipeline.common.progress import each
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.data.files import SUFFIXES, write_csv
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.reporting.terminal import console
from pipeline.serving.answers import answer
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import find_experiment
from pipeline.tracking.store import Store, why_unwritable

log = logging.getLogger("pipeline.predict")
_SHOWN = 20  # rows in the terminal; the CSV has all


def run(config: schema.Predict) -> None:
    """Ask the champion about a picture or a folder; a table in the terminal and a CSV."""
    pictures, output = find_pictures(config.images), check_output(config.output)
    bundle = load(config)
    rows = ask_all(bundle, pictures, config)
    show(rows, config)  # first, as the file may not be taken
    keep(output, rows, config)


def find_pictures(images: str) -> list[Path]:
    """The picture, or all pictures of a folder and below, by name. BadInput where there is none."""
    if not images.strip():
        raise BadInput("images= names no picture: give a picture's or a folder's path, images=. for this folder")
    where = expanded(images, "images")
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise BadInput(f"images={images}: there is no such file or folder")
    paths = (path for path in where.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found = sorted(path for path in paths if not _is_hidden(path.relative_to(where)))
    for path in found:
        check_utf8(path, f"images={images}")
    if not found:
        raise BadInput(f"images={images}: no picture in it ({', '.join(sorted(SUFFIXES))})")
    return found


def _is_hidden(path: Path) -> bool:
    """As `._IMG.jpg`, which a Mac leaves beside IMG.jpg on other disks: a name with a picture's ending, no picture."""
    return any(part.startswith(".") for part in path.parts)


def load(config: schema.Predict) -> Bundle:
    """The model asked for, else the champion of the experiment."""
    Store().open(to_write=False)
    uri = config.model
    if uri is None:
        name = find_experiment(MlflowClient(), config.tracking.experiment).name
        uri = f"models:/{safe_name(name)}@champion"
    log.info("model %s", uri)
    return read_bundle(fetch_model(uri) / "artifacts" / "served")


def ask_all(bundle: Bundle, pictures: list[Path], config: schema.Predict) -> list[dict[str, Any]]:
    """A row an answer, in the pictures' order. BadInput where none of them can be read."""
    starts = range(0, len(pictures), config.batch_size)
    batches = [pictures[start : start + config.batch_size] for start in starts]
    rows = [row for batch in each(batches, "ask") for row in ask(bundle, batch, config)]
    if not rows:
        raise BadInput(f"images={config.images}: none of {len(pictures):,} pictures can be read")
    return rows


def ask(bundle: Bundle, batch: list[Path], config: schema.Predict) -> list[dict[str, Any]]:
    """The answers to a batch as flat rows, without the pictures that cannot be read where on_unreadable=skip."""
    left = list(batch)
    while left:
        try:
            answers = answer(
                bundle, left, config.top_k, coverage=config.coverage, min_probability=config.min_probability,
                batch_size=config.batch_size,
            )  # fmt: skip
            return [row(picture, said) for picture, said in zip(left, answers, strict=True)]
        except UnreadablePicture as error:  # met before any network is asked, so the others lose little
            if config.on_unreadable == "raise":
                raise
            log.warning("skipped: %s", error)
            left.remove(Path(error.path))
    return []


def row(picture: Path, said: dict[str, Any]) -> dict[str, Any]:
    """An answer as a row of the CSV."""
    flat = {"picture": str(picture), "label": said["label"], "probability": said["probability"]}
    for place, other in enumerate(said["top_k"][1:], start=2):
        flat |= {f"label_{place}": other["label"], f"probability_{place}": other["probability"]}
    if "prediction_set" in said:
        flat["set"] = "; ".join(said["prediction_set"])
    if "answered" in said:
        flat["answered"] = said["answered"]
    return flat | said.get("taxonomy", {})


def check_output(output: str) -> Path:
    """The file to write. BadInput where its folder is not there or takes no file, said before any work."""
    path = expanded(output, "output")
    if not path.parent.is_dir() or path.is_dir():
        raise BadInput(f"output={output}: a file's name in a folder that is there is wanted")
    if reason := why_unwritable(path):
        raise BadInput(f"output={output} cannot be written: {reason}; name another file")
    return path


def keep(path: Path, rows: list[dict[str, Any]], config: schema.Predict) -> None:
    """Write all answers, a row a picture. Where the file cannot be written after all they are printed, and not lost."""
    table = pd.DataFrame(rows)
    try:
        write_csv(table, path)
    except OSError as error:
        write_csv(table, sys.stdout)
        raise Stopped(f"output={path} could not be written ({error.strerror}): all answers stand above") from None
    more = f" (the first {_SHOWN} are shown)" if len(rows) > _SHOWN else ""
    log.info("%s in %s%s", counted(len(rows), "answer"), config.output, more)


def show(rows: list[dict[str, Any]], config: schema.Predict) -> None:
    """The first answers as a table, pictures by their place in the folder that was asked about."""
    folder = expanded(config.images, "images")
    columns = [name for name in ("picture", "label", "probability", "set", "answered") if name in rows[0]]
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name == "probability")
    for one in rows[:_SHOWN]:
        path = Path(one["picture"])
        cells = one | {
            "picture": str(path.relative_to(folder)) if folder.is_dir() else path.name,
            "probability": f"{100 * one['probability']:.1f} %",
            "answered": "yes" if one.get("answered") else "no",
        }
        table.add_row(*(escape(cells[name]) for name in columns))
    console().print(table)
