"""Where a run's files lie: in place for a store on this machine, else in a folder here until they are sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.common.cache_folder import cache_folder

if TYPE_CHECKING:  # whoever asks for a store has no need of MLflow yet
    from mlflow.entities import Run


def home(run: Run) -> Path:
    """Where a run's files are written: in place for a local store, else in a folder here until they are sent.

    It follows from the run's id, so that a run that broke off can be gone on with.
    """
    return local_folder(run.info.artifact_uri or "") or unsent_folder() / run.info.run_id


def unsent_folder() -> Path:
    """Where all lies that a store elsewhere has not got yet; perhaps not there.

    In the current folder, or in the user's cache where that one cannot be written.
    """
    return Path.cwd() / "mlruns" / "unsent" if os.access(Path.cwd(), os.W_OK) else cache_folder() / "unsent"


def local_folder(uri: str) -> Path | None:
    """The folder that an artifact address means, where it is on this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path)) if parts.scheme else Path(uri)


def without_password(uri: str) -> str:
    """A store's address as it may stand in a file."""
    where = urlsplit(uri).netloc
    return uri.replace(where, where.rpartition("@")[2], 1) if "@" in where else uri
