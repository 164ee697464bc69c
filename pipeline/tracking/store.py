"""Where MLflow keeps its runs: finding the store, making it once, saying early when it cannot be reached."""

import glob
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import BadInput

_ANSWER_WITHIN = 5  # seconds
_PREFIX = "sqlite:///"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else `mlflow.db` in the current folder: what plain `mlflow ui` shows there."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_PREFIX}{Path.cwd() / 'mlflow.db'}"


class Store:
    """The store, being made ready beside other work; `open()` waits for that.

    Making a new database takes MLflow some seconds, so another process does it while this one imports PyTorch.
    """

    def __init__(self) -> None:
        _quiet()
        self.uri = tracking_uri()
        self._making = _begin(self.uri)

    def open(self) -> None:
        """Point MLflow at the store. Raises BadInput where it cannot be made or reached."""
        if self._making is not None and self._making.wait() != 0:
            raise BadInput(f"MLflow's store {self.uri} could not be made: is its folder there and writable?")
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # A database that is busy is told of in a line, and tried again, where it matters; MLflow adds its traceback.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            mlflow.MlflowClient().search_experiments(max_results=1)
        except Exception as error:  # of as many kinds as there are stores
            raise BadInput(f"MLflow's store {self.uri} does not answer as one: {_first_line(error)}") from None


def _begin(uri: str) -> subprocess.Popen[bytes] | None:
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        _knock(uri)
    elif scheme in ("", "file"):
        raise BadInput(
            f"MLFLOW_TRACKING_URI={uri}: MLflow keeps no runs in plain folders any more; "
            f"use sqlite:///mlflow.db (mlflow migrate-filestore brings old runs over)"
        )
    elif uri.startswith(_PREFIX) and not database(uri).exists():
        if not database(uri).parent.is_dir():
            raise BadInput(f"MLFLOW_TRACKING_URI={uri}: the folder {database(uri).parent} is not there")
        return subprocess.Popen([sys.executable, "-m", "pipeline.tracking.store", uri])
    return None


def _knock(uri: str) -> None:
    import requests

    try:
        requests.get(uri, timeout=_ANSWER_WITHIN)
    except requests.RequestException as error:
        raise BadInput(
            f"MLFLOW_TRACKING_URI={uri}: no MLflow server answers there ({type(error).__name__}); "
            f"start it, or unset the variable to keep runs in ./mlflow.db"
        ) from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def database(uri: str) -> Path:
    """The file of an SQLite store."""
    return Path(uri.removeprefix(_PREFIX))


def make_database(uri: str) -> None:
    """Make an SQLite store, whoever else is at it: under a lock and another name, then renamed into place.

    Two processes that migrate one file break it, and so does one that is killed on the way.
    """
    from filelock import FileLock

    file = database(uri)
    with FileLock(file.with_name(f".{file.name}.lock")):
        fresh = file.with_name(f".{file.name}.new")
        # What a killed process left, its journal too: SQLite would roll that back into the new file. Whoever lives
        # and is at it holds the lock.
        for left in file.parent.glob(f"{glob.escape(fresh.name)}*"):
            left.unlink(missing_ok=True)
        if file.exists():
            return
        from mlflow import MlflowClient

        MlflowClient(tracking_uri=f"{_PREFIX}{fresh}").search_experiments(max_results=1)
        fresh.replace(file)


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    warnings.filterwarnings("ignore", module=r"mlflow\..*")


if __name__ == "__main__":
    _quiet()
    logging.disable(logging.INFO)
    make_database(sys.argv[1])
