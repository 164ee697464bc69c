"""Where a network looks in pictures:   python -m pipeline.explain run=ID images=~/new-photos output=~/looks"""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import torch
from mlflow import MlflowClient
from PIL import Image

from pipeline.cli.output import check_folder
from pipeline.commands.served_model import load
from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.survey.measure import to_jpeg
from pipeline.data.unlabelled import find_pictures
from pipeline.experiment.asking import animals, asked_table
from pipeline.experiment.looking import Explained, explained
from pipeline.explaining.drawing import activations, filters, overlay
from pipeline.explaining.places import check_looked_at
from pipeline.reporting.looks_page import FILE, Looked, looks_page
from pipeline.reporting.page import save
from pipeline.reporting.shown_paths import shown_below
from pipeline.serving.bundle import Bundle
from pipeline.serving.calibrating import calibrated_on
from pipeline.serving.from_run import best_of
from pipeline.tracking.finished import has_predictions, stored_predictions
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.explain")
_ON_THE_PAGE = 60  # pictures; the files have all


def run(config: schema.Explain) -> Path:
    """Ask the model where it looks; a picture each in a folder, and a page with them, which is given back."""
    if config.images is None:
        raise BadInput("images: name a picture or a folder of them, as in images=~/new-photos")
    if config.run and config.model:
        raise BadInput("run and model both say what to ask: give one of them")
    pictures = find_pictures(config.images)
    folder = check_folder(config.output, FILE, pictures)
    bundle, name = of_run(config.run) if config.run else load(config)
    code = code_of(config.label, bundle.classes)
    if config.method == "gradcam":
        check_looked_at(bundle.members)
    table = asked_table(bundle, pictures, config)
    rows = animals(table)
    if not len(rows):
        raise BadInput(f"boxes={config.boxes}: no animal was found on {counted(len(pictures), 'picture')}")
    folder.mkdir(exist_ok=True)
    shown_path, shown, count = shown_below(map(str, table.files)), list[Looked](), 0
    for one in explained(bundle, table, rows, config, code):
        made = drawn(one, shown_path(str(table.files[one.row])), bundle, code, layers=count < config.layers)
        keep(folder, one.row, Path(table.files[one.row]).stem, made)
        shown += [made] if count < _ON_THE_PAGE else []
        count += 1
    for path, reason in table.skipped.items():
        log.warning("skipped: %s %s", Path(table.root or "", path), reason)
    if not count:
        raise BadInput(f"images={config.images}: none of {len(pictures):,} pictures can be read")
    for one_shown in shown[:5]:
        log.info("%s: %s %s", one_shown.path, one_shown.answer, percent(one_shown.probability, 0))
    page = save(looks_page(name, config.method, shown, count, first_filters(bundle)), folder / FILE)
    log.info("%s; the page: %s", counted(count, "picture"), page)
    return page


def of_run(run_id: str) -> tuple[Bundle, str]:
    """The networks of a run, calibrated on its val as promoting it would, and its name."""
    Store().open(to_write=False)
    client = MlflowClient()
    found = find_run(client, run_id)
    bundle = best_of(client, found)
    if has_predictions(found, "val"):
        calibration = calibrated_on(stored_predictions(found, "val"), bundle.taxonomy)
        bundle = replace(bundle, calibration=calibration)
    return bundle, str(found.info.run_name)


def code_of(name: str | None, classes: tuple[str, ...]) -> int | None:
    """The place of a class among those of the model. BadInput for one that it does not know."""
    if name is not None and name not in classes:
        raise BadInput(f"label={name}: the model knows no such class{did_you_mean(name, classes)}")
    return None if name is None else classes.index(name)


def drawn(one: Explained, path: str, bundle: Bundle, code: int | None, *, layers: bool) -> Looked:
    """A picture's looks as the page has them; with what the `layers` make of it, where there is a map to look at."""
    said: list[tuple[str, bytes]] = []
    if layers:
        for number, member in enumerate(bundle.members, start=1):
            before = f"network {number}, " if len(bundle.members) > 1 else ""
            said += [
                (before + name, to_png(tiles)) for name, tiles in activations(member, one.inputs[member.spec.wants])
            ]
    return Looked(
        path, one.answer.label, one.answer.probability, one.answer.label if code is None else bundle.classes[code],
        to_jpeg(one.looks[0].pixels), [(look.name, to_jpeg(overlay(look))) for look in one.looks], said, one.words,
    )  # fmt: skip


def keep(folder: Path, row: int, stem: str, made: Looked) -> None:
    """Write a picture's looks as files."""
    for number, (name, jpeg) in enumerate(made.looks):
        which = f"_{name.replace(' ', '_')}" if number else ""
        (folder / f"{row + 1:05}_{stem}{which}.jpg").write_bytes(jpeg)


def first_filters(bundle: Bundle) -> list[tuple[str, bytes]]:
    """PNGs of the filters of the first layer, by network."""
    sights = {id(sight.backbone): sight for member in bundle.members for sight in member.sights}
    drawn_filters = ((sight.parts[0].name, filters(sight)) for sight in sights.values())
    return [(name, to_png(tiles)) for name, tiles in drawn_filters if tiles is not None]


def to_png(pixels: torch.Tensor) -> bytes:
    """(3, h, w) uint8 as a PNG's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
