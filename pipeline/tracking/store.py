"""Where MLflow keeps its runs: finding the store, making it once, saying early when it cannot be reached."""

import errno
import glob
import logging
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.common.errors import BadInput

_ANSWER_WITHIN = 5  # seconds
_BUSY_AT_MOST = 60  # seconds that a write waits for another process's
_PREFIX = "sqlite:///"
_ROOM = 2**20  # bytes; a new database takes as many
_KIND = "mlflow.experimentKind"
_DATABRICKS = ("databricks", "databricks-uc", "uc")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else `mlflow.db` in the current folder: what plain `mlflow ui` shows there."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_PREFIX}{Path.cwd() / 'mlflow.db'}"


def is_there() -> bool:
    """Whether there is a store to look into; one of a file that is not there would be made."""
    uri = tracking_uri()
    return not uri.startswith(_PREFIX) or database(uri).exists()


_being_made: dict[str, subprocess.Popen[bytes]] = {}  # by address: who asks for a store that is begun waits for that


class Store:
    """The store, being made ready beside other work; `open()` waits for that.

    Making a new database takes MLflow some seconds, so another process does it while this one imports PyTorch.
    """

    def __init__(self) -> None:
        _quiet()
        self.uri = tracking_uri()
        if self.uri not in _being_made and (making := _begin(self.uri)) is not None:
            _being_made[self.uri] = making

    def open(self, *, to_write: bool = True) -> None:
        """Point MLflow at the store. Raises BadInput where it cannot be made or reached, or (`to_write`) written."""
        if (making := _being_made.pop(self.uri, None)) is not None:
            said = making.communicate()[0].decode().strip()
            if making.returncode:
                raise BadInput(_unmade(self.uri, said or "the process that makes it died"))
        if to_write and self.uri.startswith(_PREFIX) and (reason := why_unwritable(database(self.uri))):
            raise BadInput(f"MLflow's store {self.uri} cannot be written: {reason}")
        import mlflow

        _be_patient()
        mlflow.set_tracking_uri(self.uri)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # A database that is busy is told of in a line, and tried again, where it matters; MLflow adds its traceback.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            mlflow.MlflowClient().search_experiments(max_results=1)
        except Exception as error:  # of as many kinds as there are stores
            raise BadInput(f"MLflow's store {self.uri} does not answer as one: {_first_line(error)}") from None
        if to_write:
            from pipeline.tracking.liveness import end_the_dead

            end_the_dead(mlflow.MlflowClient())


def _begin(uri: str) -> subprocess.Popen[bytes] | None:
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:
        raise BadInput(f"MLFLOW_TRACKING_URI={uri} is no address: {error}") from None
    if scheme in ("http", "https"):
        _knock(uri)
    elif uri.rstrip("/") == "sqlite:" or ":memory:" in uri:
        raise BadInput(
            f"MLFLOW_TRACKING_URI={uri}: that database is in memory, and gone with the command; name a file, "
            f"sqlite:///mlflow.db"
        )
    elif scheme in ("", "file") and uri not in _DATABRICKS:
        raise BadInput(
            f"MLFLOW_TRACKING_URI={uri}: MLflow keeps no runs in plain folders any more; "
            f"use sqlite:///mlflow.db (mlflow migrate-filestore brings old runs over)"
        )
    elif uri.startswith(_PREFIX) and not database(uri).exists():
        if not database(uri).parent.is_dir():
            raise BadInput(f"MLFLOW_TRACKING_URI={uri}: the folder {database(uri).parent} is not there")
        if reason := why_unwritable(database(uri)):
            raise BadInput(_unmade(uri, reason))
        return subprocess.Popen([sys.executable, "-m", "pipeline.tracking.store", uri], stdout=subprocess.PIPE)
    return None


def _unmade(uri: str, reason: str) -> str:
    remedy = "free some room" if os.strerror(errno.ENOSPC) in reason else "make it writable"
    return (
        f"MLflow's store cannot be made in {database(uri).parent}: {reason}; {remedy}, work in another folder, or name "
        f"a store elsewhere: MLFLOW_TRACKING_URI=sqlite:////FOLDER/mlflow.db"
    )


def why_unwritable(file: Path) -> str | None:
    """What the system says against a file of that name being made or grown by a megabyte; None where nothing is."""
    if file.exists() and not os.access(file, os.W_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(file).f_flag & os.ST_RDONLY
        return os.strerror(errno.EROFS if read_only else errno.EACCES)
    if file.exists() and not file.is_file():  # /dev/stdout
        return None
    try:
        with tempfile.TemporaryFile(dir=file.parent) as probe:  # without a name, where the system can
            probe.write(bytes(_ROOM))
            probe.flush()
    except OSError as error:
        if not (file.exists() and error.errno in (errno.EACCES, errno.EPERM)):  # it is there, and can be written
            return error.strerror or type(error).__name__
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

        try:
            MlflowClient(tracking_uri=f"{_PREFIX}{fresh}").search_experiments(max_results=1)
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)


def experiment_id(name: str) -> str:
    """The id of the experiment of that name, now the current one; made where it is not there.

    A new one keeps its files beside the database: MLflow would put them into the current folder, which may be another
    one, and read-only.
    """
    import mlflow

    file = database(mlflow.get_tracking_uri())
    beside = mlflow.get_tracking_uri().startswith(_PREFIX) and file.resolve().parent != Path.cwd()
    if beside and mlflow.get_experiment_by_name(name) is None:
        with suppress(mlflow.exceptions.MlflowException):  # another process made it meanwhile
            mlflow.create_experiment(name, artifact_location=(file.resolve().parent / "mlruns" / name).as_uri())
    found = mlflow.set_experiment(name)
    if _KIND not in found.tags:  # else MLflow's page asks whether this is about language models
        mlflow.set_experiment_tag(_KIND, "custom_model_development")
    return found.experiment_id


def _be_patient() -> None:
    """Have SQLite wait for another process's write rather than fail after five seconds, as on a slow or busy disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _wait_longer):
        event.listen(Engine, "connect", _wait_longer)


def _wait_longer(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_AT_MOST}")


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    warnings.filterwarnings("ignore", module=r"mlflow\..*")


if __name__ == "__main__":
    _quiet()
    logging.disable(logging.CRITICAL)
    try:
        make_database(sys.argv[1])
    except Exception as problem:  # the disk filled up, say; whoever started this tells of it
        found = re.search(r"\(sqlite3\.\w+\) (.+)", str(problem))
        print(why_unwritable(database(sys.argv[1])) or (found[1] if found else _first_line(problem)))
        sys.exit(1)
