"""A head that is asked by texts: which, and where the weights of their side are."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from pipeline.config import schema
from pipeline.data.table import PictureTable
from pipeline.experiment.backbones import backbones
from pipeline.models.classifier import Classifier
from pipeline.models.heads.text import Text
from pipeline.models.published import FOLDER, HUB, file_of, weights_file
from pipeline.models.text_side import tell


def ask_by_text(config: schema.Train, network: Classifier, table: PictureTable, device: torch.device) -> None:
    """Tell a head of texts, where there is one, those of the table's classes. BadInput where the weights have none."""
    if not isinstance(network.head, Text):
        return
    texts = network.head.texts(table.classes, table.taxonomy)
    (one,) = backbones(config)
    file = one.file or weights_file(one.found, one.weights)[0]
    hub = next((source for source in (one.weights, one.found.source or "") if source.startswith(HUB)), None)
    source = hub if hub and not one.file else f"{FOLDER}{file.parent}"
    tell(network.head, network.sights[0], file, partial(_beside, source, file), texts, device)


def _beside(source: str, file: Path, name: str) -> Path:
    """Where a file by that name is, or would be, fetched from the weights' repository if they have one."""
    return file_of(source, name) or file.with_name(name)
