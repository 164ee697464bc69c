"""Name what is on pictures:   python -m pipeline.predict images=~/new-photos"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient

from pipeline.cli.output import check_output
from pipeline.common.errors import BadInput
from pipeline.common.names import safe_name
from pipeline.common.paths import expanded
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.data.beside.files import with_files_beside
from pipeline.data.unlabelled import find_pictures, unlabelled_table
from pipeline.experiment.build import memory_in_one_line
from pipeline.experiment.inference import pictures as as_seen
from pipeline.experiment.inference import scored
from pipeline.reporting.tables import Table
from pipeline.reporting.terminal import console
from pipeline.serving.answers import Answer, Wanted, answers, digest
from pipeline.serving.answers_file import holds_answers, write_answers
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import find_experiment
from pipeline.tracking.store import Store
from pipeline.training.hardware import make_fabric

log = logging.getLogger("pipeline.predict")
_SHOWN = 20  # rows in the terminal; the CSV has all


def run(config: schema.Predict) -> None:
    """Ask the champion about a picture or a folder; a table in the terminal and a CSV."""
    pictures = find_pictures(config.images)
    output = check_output(config.output, ".csv", "answers", holds_answers, pictures)
    said = ask_all(load(config), pictures, config)
    rows = [{"picture": str(picture), **one.to_row()} for picture, one in said.items()]
    show(rows, config)  # first, as the file may not be taken
    write_answers(rows, output)
    more = f" (the first {_SHOWN} are shown)" if len(rows) > _SHOWN else ""
    log.info("%s in %s%s", counted(len(rows), "answer"), config.output, more)


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
    table, fabric = unlabelled_table(pictures), make_fabric(runner.accelerator, runner.precision)
    if config.beside is not None:
        table = table.with_rows(with_files_beside(table.rows, table.root, [config.beside], "beside"))
    said: dict[Path, Answer] = {}
    asked = as_seen(bundle.members, table, np.arange(len(pictures)), runner, on_unreadable=config.on_unreadable)
    with memory_in_one_line(config.batch_size, "batch_size"):
        for some, _, found in scored(bundle.members, bundle.rule, asked, fabric, what="ask"):
            here = [pictures[row] for row in some.tolist()]
            digests = [digest(picture.read_bytes()) if wanted.coverage else "" for picture in here]
            said |= dict(zip(here, answers(bundle, found, digests, wanted), strict=True))
    for path, reason in table.skipped.items():
        log.warning("skipped: %s %s", os.path.join(table.root or "", path), reason)  # noqa: PTH118
    if not said:
        raise BadInput(f"images={config.images}: none of {len(pictures):,} pictures can be read")
    return said


def show(rows: list[dict[str, Any]], config: schema.Predict) -> None:
    """The first answers as a table, pictures by their place in the folder that was asked about."""
    folder = expanded(config.images, "images")
    heads = [name for name in ("picture", "label", "probability", "set", "answered") if name in rows[0]]
    body = []
    for one in rows[:_SHOWN]:
        path = Path(one["picture"])
        cells = one | {
            "picture": str(path.relative_to(folder)) if folder.is_dir() else path.name,
            "probability": f"{100 * one['probability']:.1f} %",
            "answered": "yes" if one.get("answered") else "no",
        }
        body.append([cells[name] for name in heads])
    Table(heads, body, whole={"probability"}).show(console())
