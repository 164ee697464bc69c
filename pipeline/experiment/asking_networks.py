"""Asking the networks of a served model about pictures of a table, by several processes, with reasons where wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.config import schema
from pipeline.data.survey.measure import to_jpeg
from pipeline.data.table import PictureTable
from pipeline.experiment.asking import Asked
from pipeline.experiment.build import memory_in_one_line
from pipeline.experiment.inference import Shown, pictures, scored
from pipeline.explaining.drawing import overlay
from pipeline.explaining.places import check_looked_at
from pipeline.serving.answers import Answer, Wanted
from pipeline.serving.asking import as_seen, with_reasons
from pipeline.serving.bundle import Bundle
from pipeline.training.engine import check_engine
from pipeline.training.hardware import make_fabric


def ask_networks(
    bundle: Bundle, table: PictureTable, rows: np.ndarray, wanted: Wanted, config: schema.Predict
) -> Iterator[Asked]:
    """What the networks say of those of `rows` (k,) that can be read."""
    looked = looked_folder(expanded(config.output, "output"))
    if wanted.explain:
        check_looked_at(bundle.members)
        if looked.exists() and not looked.is_dir():
            raise BadInput(f"explain=true: {looked} is no folder, where pictures are to be put; name another output=")
        looked.mkdir(exist_ok=True)
    check_engine(config.engine, "engine")
    runner = schema.Runner(
        batch_size=config.batch_size, precision="fp32", accelerator="auto", num_workers=None, engine=config.engine
    )
    seen = pictures(bundle.members, table, rows, runner, on_unreadable=config.on_unreadable)
    fabric = make_fabric(runner.accelerator, runner.precision)
    with memory_in_one_line(config.batch_size, "batch_size"):
        for some, said in scored(bundle.members, bundle.rule, seen, fabric, what="ask", engine=runner.engine):
            reasons = partial(_with_reasons, bundle, table, some, looked) if wanted.explain else list[Answer]
            yield Asked(some.rows.numpy(), as_seen(bundle, said), reasons)


def _with_reasons(bundle: Bundle, table: PictureTable, some: Shown, looked: Path, made: list[Answer]) -> list[Answer]:
    explained = with_reasons(bundle, made, some.inputs)
    return [_shown(one, row, table, looked) for one, row in zip(explained, some.rows.tolist(), strict=True)]


def looked_folder(output: Path) -> Path:
    """Where pictures of where a model looked lie, beside the file of its answers."""
    return output.with_name(f"{output.stem}_looked_at")


def _shown(said: Answer, row: int, table: PictureTable, folder: Path) -> Answer:
    """An answer that names the picture of its reasons, written by now, from the folder above on."""
    assert said.reasons is not None
    file = folder / f"{row + 1:05}_{Path(table.rows['path'].iloc[row]).stem}.jpg"
    file.write_bytes(to_jpeg(overlay(said.reasons.look)))
    return replace(said, reasons=replace(said.reasons, file=f"{folder.name}/{file.name}"))
