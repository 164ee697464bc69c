"""Asking an exported file about pictures of a table, one at a time, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.common.progress import each
from pipeline.config import schema
from pipeline.data.reading.decoding import UnreadablePicture, decode
from pipeline.data.table import PictureTable
from pipeline.experiment.asking import Asked
from pipeline.serving.answers import Answer, Wanted
from pipeline.serving.onnx_file import OnnxFile


def ask_file(
    model: OnnxFile, table: PictureTable, rows: np.ndarray, wanted: Wanted, config: schema.Predict
) -> Iterator[Asked]:
    """What it says of those of `rows` (k,) that can be read."""
    if wanted.explain:
        raise BadInput("explain=true: an exported file gives no reasons; ask the model that it was made of")
    for row in each(rows.tolist(), "ask"):
        (source,) = table.sources(np.array([row]))
        try:
            pixels = decode(source, model.side)
        except UnreadablePicture as error:
            if config.on_unreadable == "raise":
                raise BadInput(f"{error}; put it right or away, or set on_unreadable=skip") from None
            table.skipped[table.files.iloc[row]] = error.reason
            continue
        yield Asked(np.array([row]), model.seen(pixels[None]), list[Answer])
