"""The model that a command asks: what was registered, fetched and read."""

from __future__ import annotations

import logging
from pathlib import Path

from mlflow import MlflowClient

from pipeline.common.names import safe_name
from pipeline.config import schema
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import find_experiment
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.predict")


def load(config: schema.Asking) -> tuple[Bundle, str]:
    """The model asked for, else the champion of the experiment; and its address."""
    folder, uri = fetched(config)
    return read_bundle(folder), uri


def fetched(config: schema.Asking | schema.Export) -> tuple[Path, str]:
    """The folder of the model asked for, else of the champion of the experiment; and its address."""
    Store().open(to_write=False)
    uri = config.model
    if uri is None:
        name = find_experiment(MlflowClient(), config.tracking.experiment).name
        uri = f"models:/{safe_name(name)}@champion"
    log.info("model %s", uri)
    return fetch_model(uri) / "artifacts" / "served", uri
