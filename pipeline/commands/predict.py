"""Name what is on pictures:   python -m pipeline.predict images=~/new-photos"""

from __future__ import annotations

import codecs
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from rich.markup import escape
from rich.table import Table

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.names import safe_name
from pipeline.common.paths import check_utf8, expanded
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.data.files import SUFFIXES, write_csv
from pipeline.data.table import PictureTable
from pipeline.experiment.build import memory_in_one_line
from pipeline.experiment.inference import pictures as as_seen
from pipeline.experiment.inference import scored
from pipeline.reporting.terminal import console
from pipeline.serving.answers import Answer, Wanted, answers, digest
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import find_experiment
from pipeline.tracking.store import Store, why_unwritable
from pipeline.training.hardware import make_fabric

log = logging.getLogger("pipeline.predict")
_ANSWERS_BEGIN = b"picture,label,probability"  # the header of the file that `keep` writes
_SHOWN = 20  # rows in the terminal; the CSV has all


def run(config: schema.Predict) -> None:
    """Ask the champion about a picture or a folder; a table in the terminal and a CSV."""
    pictures = find_pictures(config.images)
    output = check_output(config.output, pictures)
    said = ask_all(load(config), pictures, config)
    rows = [{"picture": str(picture), **one.to_row()} for picture, one in said.items()]
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
    paths = (path for path in where.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    # Links to nowhere and pipes too: they are told of as skipped.
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


def ask_all(bundle: Bundle, pictures: list[Path], config: schema.Predict) -> dict[Path, Answer]:
    """The answers by picture, in the pictures' order, without those that cannot be read where on_unreadable=skip.

    BadInput where none of them can be read.
    """
    wanted = Wanted(config.top_k, config.coverage, config.min_probability)
    runner = schema.Runner(batch_size=config.batch_size, precision="fp32", accelerator="auto", num_workers=None)
    table, fabric, said = table_of(pictures), make_fabric(runner.accelerator, runner.precision), dict[Path, Answer]()
    rows = np.arange(len(pictures))
    asked = as_seen(bundle.members, table, rows, runner, on_unreadable=config.on_unreadable)
    with memory_in_one_line(config.batch_size, "batch_size"):
        for some, _, found in scored(bundle.members, bundle.rule, asked, fabric, what="ask"):
            here = [pictures[row] for row in some.tolist()]
            digests = [digest(picture.read_bytes()) if wanted.coverage else "" for picture in here]
            said |= zip(here, answers(bundle, found, digests, wanted), strict=True)
    for path, reason in table.skipped.items():
        log.warning("skipped: %s %s", os.path.join(table.root or "", path), reason)  # noqa: PTH118
    if not said:
        raise BadInput(f"images={config.images}: none of {len(pictures):,} pictures can be read")
    return said


def table_of(pictures: list[Path]) -> PictureTable:
    """Pictures of which nothing is known but where they lie."""
    root = Path(os.path.commonpath([path.absolute().parent for path in pictures]))
    paths = pd.Series([str(path.absolute().relative_to(root)) for path in pictures], dtype="str")
    unknown = pd.Categorical([None] * len(pictures))
    return PictureTable("pictures", pd.DataFrame({"path": paths, "label": unknown, "split": unknown}), root=root)


def check_output(output: str, pictures: Iterable[Path] = ()) -> Path:
    """The file to write. BadInput where its folder is not there or takes no file, said before any work.

    So it is for a name without .csv, for one of the `pictures`, and for a file that holds anything but earlier answers.
    """
    path = expanded(output, "output")
    if not path.parent.is_dir() or path.is_dir():
        raise BadInput(f"output={output}: a file's name in a folder that is there is wanted")
    if path.suffix.lower() != ".csv":
        raise BadInput(f"output={output}: the answers are a table: give a name that ends in .csv")
    if path.exists():
        if any(path.samefile(picture) for picture in pictures):
            raise BadInput(f"output={output} is one of the pictures asked about; name another file")
        if not _holds_answers(path):
            raise BadInput(f"output={output} holds something else than earlier answers; name another file")
    if reason := why_unwritable(path):
        raise BadInput(f"output={output} cannot be written: {reason}; name another file")
    return path


def _holds_answers(path: Path) -> bool:
    """Whether a file is an earlier answer, or empty, so that nothing is lost where it is written anew."""
    try:
        if not path.is_file():
            return path.is_char_device()  # nothing lies in it
        with path.open("rb") as file:
            begins = file.read(len(_ANSWERS_BEGIN) + len(codecs.BOM_UTF8))
    except OSError as error:
        raise BadInput(f"output={path} cannot be read ({error.strerror}); name another file") from None
    return not begins or begins.removeprefix(codecs.BOM_UTF8).startswith(_ANSWERS_BEGIN)


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
