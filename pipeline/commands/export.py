"""A model as a file that runs without this program:   python -m pipeline.export run=ID output=birds.onnx"""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.cli.output import check_folder, check_output
from pipeline.commands.served_model import fetched
from pipeline.common.atomic import scratch_folder, write_atomically
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.wording import counted, percent, rate
from pipeline.config import schema
from pipeline.data.files import write_csv
from pipeline.data.table import PictureTable
from pipeline.experiment.groups import groups_of_run
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.question import trained_by
from pipeline.experiment.stored import data_config
from pipeline.exporting.checking import Measured, measured, network_asked, pictures_of
from pipeline.exporting.forms import FOLDERS, FORMS, Job, check_form
from pipeline.exporting.graph import check_convertible, check_opset
from pipeline.exporting.release import MODEL, listed
from pipeline.reporting.tables import Table
from pipeline.reporting.terminal import console
from pipeline.serving.bundle import read_bundle
from pipeline.serving.card import FILE as CARD
from pipeline.serving.card import model_card
from pipeline.serving.from_run import assemble
from pipeline.tracking.finished import artifact_folder, label
from pipeline.tracking.registry import run_of_model
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.export")


def run(config: schema.Export) -> None:
    """Convert, compare with the original on val, write; what answers otherwise is not left behind."""
    output = checked(config)
    with scratch_folder() as scratch:
        folder, of = served(config, scratch / "served")
        bundle = read_bundle(folder)
        check_convertible(bundle)
        own = own_table(of)
        shown = some_of(own, "val", config.pictures, of)
        labels = labels_of(own, shown, bundle.classes)
        taught = None
        if config.precision == "int8":
            taught = pictures_of(own.sources(some_of(own, "train", config.pictures, of)))
        pictures = pictures_of(own.sources(shown))
        log.info("%s, compared on %s of val", label(of), counted(len(pictures), "picture"))
        size = sum(file.stat().st_size for file in folder.glob("member*.safetensors"))
        original = measured("PyTorch", size, network_asked(bundle), pictures)
        facts = {"run": of.info.run_id, "precision": config.precision}
        texts = release_texts(folder, of, config)
        job = Job(bundle, folder, original, pictures, config.opset, taught, facts, texts, output.stem)
        made = scratch / "made"
        every = [original, *FORMS[config.form](job, made)]
        show(every, labels)
        if every[-1].accuracy(labels) < original.accuracy(labels) - config.lost:
            raise Stopped(
                f"{every[-1].name} has lost more than lost={config.lost:g} of the accuracy on val: nothing was "
                "written; take precision=fp32, or raise pictures="
            )
        check_file(output).unlink(missing_ok=True)  # whoever is killed in between leaves none of another file's
        put(made, output, FOLDERS.get(config.form))
    write_atomically(check_file(output), lambda path: write_csv(table_of(every, labels), path), shared=True)
    log.info("%s; the comparison: %s", config.output, check_file(output).name)
    if config.form == "onnx":
        log.info("next: python -m pipeline.predict model=%s images=PICTURE_OR_FOLDER", config.output)


def checked(config: schema.Export) -> Path:
    """What is to be written. BadInput for what cannot be, before any work."""
    if config.run and config.model:
        raise BadInput("run and model both say what to export: give one of them")
    check_opset(config.opset)
    check_form(config.form, config.precision, config.licence)
    if config.form in FOLDERS:
        output = check_folder(config.output, FOLDERS[config.form])
    else:
        output = check_output(config.output, ".onnx", "exported models", holds_model)
    check_output(str(check_file(output)), ".csv", "comparisons", holds_check)
    return output


def release_texts(folder: Path, of: Run, config: schema.Export) -> dict[str, str]:
    """What stands beside a model that is given away: its card, where the served model has one, and the licence."""
    card = folder / CARD
    said = card.read_text(encoding="utf-8") if card.is_file() else f"# {of.info.run_name}\n\nRun `{of.info.run_id}`.\n"
    return {CARD: said, "LICENSE": f"{config.licence}\n"}


def put(made: Path, output: Path, mark: str | None) -> None:
    """Write the file, or a folder's files, where they are wanted, each whole or not at all.

    A folder's `mark` is empty until all else is there: what a killed command left passes for nothing, and is written
    anew. What an earlier release had and this one has not goes.
    """
    if mark is None:
        write_atomically(output, partial(shutil.copyfile, made), shared=True)
        return
    names = sorted(str(file.relative_to(made)) for file in made.rglob("*") if file.is_file())
    for name in {*listed(output)} - {*names}:
        (output / name).unlink(missing_ok=True)
    output.mkdir(exist_ok=True)
    (output / mark).write_bytes(b"")
    for name in [*(name for name in names if name != mark), mark]:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output / name, partial(shutil.copyfile, made / name), shared=True)


def served(config: schema.Export, folder: Path) -> tuple[Path, Run]:
    """The folder of the served model, made in `folder` where a run is named, and the run that it is of."""
    client = MlflowClient()
    if not config.run:
        there, uri = fetched(config)
        return there, find_run(client, run_of_model(uri))
    Store().open(to_write=False)
    of = find_run(client, config.run)
    made = assemble(client, of, folder, groups_of_run(client, of, None))
    (folder / CARD).write_text(model_card(of, made, MODEL).text, encoding="utf-8")
    return folder, of


def own_table(of: Run) -> PictureTable:
    """What the run was trained and judged on, as it is today."""
    trained = trained_by(MlflowClient(), of)
    found = own_pictures(trained, artifact_folder(trained, ""), data_config(trained))
    if found.difference:
        log.warning("%s", found.difference)
    return found.table


def some_of(own: PictureTable, split: str, most: int, of: Run) -> np.ndarray:
    """At most so many rows of a split, spread over it. BadInput where it has none."""
    rows = own.where(split)
    if not len(rows):
        raise BadInput(
            f"run {label(of)} has no {split} pictures any more in {own.name}, on which an exported file is "
            f"{'calibrated' if split == 'train' else 'compared with its model'}: put them back"
        )
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]


def labels_of(own: PictureTable, rows: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """(n,) codes of the true classes, as the model counts these."""
    places = {name: code for code, name in enumerate(classes)}
    return np.array([places.get(str(name), -1) for name in own.rows["label"].iloc[rows]])


def table_of(every: list[Measured], labels: np.ndarray) -> pd.DataFrame:
    """A row a form of the model."""
    return pd.DataFrame(
        {
            "form": one.name,
            "bytes": one.size,
            "pictures_per_second": round(one.rate, 2),
            "val_accuracy": round(one.accuracy(labels), 6),
            "same_answer": round(one.agreement(every[0]), 6),
            "largest_difference": float(f"{one.farthest(every[0]):.3g}"),
            "pictures": len(labels),
        }
        for one in every
    )


def show(every: list[Measured], labels: np.ndarray) -> None:
    """The forms beside each other in the terminal."""
    heads = ["form", "MB", "pictures/s", "val accuracy", "same answer", "largest difference"]
    body = [
        [
            one.name, f"{one.size / 1e6:.1f}", rate(one.rate), percent(one.accuracy(labels)),
            percent(one.agreement(every[0])), f"{one.farthest(every[0]):.1g}",
        ]
        for one in every
    ]  # fmt: skip
    Table(heads, body, figures=heads[1:]).show(console())


def check_file(output: Path) -> Path:
    """Where the comparison of an exported file lies."""
    return output.with_name(f"{output.stem}_check.csv")


def holds_model(path: Path) -> bool:
    """Whether a file is an earlier exported model, or empty."""
    with path.open("rb") as file:
        begins = file.read(64)
    return not begins or b"species-pipeline" in begins


def holds_check(path: Path) -> bool:
    """Whether a file is an earlier comparison."""
    with path.open("rb") as file:
        return file.read(11) == b"form,bytes,"
