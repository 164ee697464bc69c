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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

from pipeline.common.errors import BadInput
from pipeline.common.names import SERVER_VARIABLE, safe_name
from pipeline.tracking.places import unsent_folder, without_password
from pipeline.tracking.servers import check_address, note_away, why_away

_BUSY_AT_MOST = 60  # seconds that a write waits for another process's
_PREFIX = "sqlite:///"
_ROOM = 2**20  # bytes; a new database takes as many
_KIND = "mlflow.experimentKind"
_TRIES, _PAUSE = 60, 1.0  # and seconds between them, while another process makes a database's tables
_RACE = re.compile(r"already exists|duplicate key|does not exist|deadlock|concurrent")

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else `mlflow.db` in the current folder: what plain `mlflow ui` shows there.

    Where a store stands in for a server that was away, it is that server's, which may be back.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI") or f"{_PREFIX}{Path.cwd() / 'mlflow.db'}"
    server = os.environ.get(SERVER_VARIABLE)
    return server if server and named == stand_in(server) else named


def stand_in(uri: str) -> str:
    """The store that a server's runs are kept in while it is away."""
    return f"{_PREFIX}{unsent_folder() / safe_name(without_password(uri)) / 'mlflow.db'}"


def is_there() -> bool:
    """Whether there is a store to look into; one of a file that is not there would be made."""
    uri = tracking_uri()
    return not uri.startswith(_PREFIX) or database(uri).exists()


_being_made: dict[str, subprocess.Popen[bytes]] = {}  # by address: who asks for a store that is begun waits for that


class Store:
    """The store, being made ready beside other work; `open()` waits for that.

    Making a new database takes MLflow some seconds, so another process does it while this one imports PyTorch. Where
    a server is away, and is not `required`, a database here stands in for it, until the next command finds it back.
    """

    def __init__(self, uri: str = "", key: str = "MLFLOW_TRACKING_URI", *, required: bool = True) -> None:
        _quiet()
        self.uri, self.required = uri or tracking_uri(), required
        self._said = f"{key}={without_password(self.uri)}"
        check_address(self.uri, self._said)
        if reason := why_away(self.uri, self._said):
            self._instead(reason)
        self._begin()

    def _begin(self) -> None:
        """Have the database made where it is not there, and nobody here is at it."""
        if not is_here(self.uri) or database(self.uri).exists() or self.uri in _being_made:
            return
        if not database(self.uri).parent.is_dir():
            raise BadInput(f"{self._said}: the folder {database(self.uri).parent} is not there")
        if reason := why_unwritable(database(self.uri)):
            raise BadInput(_unmade(self.uri, reason))
        command = [sys.executable, "-m", "pipeline.tracking.store", self.uri]
        _being_made[self.uri] = subprocess.Popen(command, stdout=subprocess.PIPE)

    def open(self, *, to_write: bool = True) -> None:
        """Point MLflow at the store, and send it what waits here. Raises BadInput where it cannot be made or reached,
        or (`to_write`) written.
        """
        if (making := _being_made.pop(self.uri, None)) is not None:
            said = making.communicate()[0].decode().strip()
            if making.returncode:
                raise BadInput(_unmade(self.uri, said or "the process that makes it died"))
        if to_write and is_here(self.uri) and (reason := why_unwritable(database(self.uri))):
            raise BadInput(f"MLflow's store {self.uri} cannot be written: {reason}")
        import mlflow

        _be_patient()
        mlflow.set_tracking_uri(self.uri)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # A database that is busy is told of in a line, and tried again, where it matters; MLflow adds its traceback.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # of a server that is away, with its traceback
        # Of a server that is away we tell ourselves.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        try:
            self._ask_first(mlflow.MlflowClient)
            if to_write:
                from pipeline.tracking.liveness import end_the_dead
                from pipeline.tracking.sending import send_what_waits

                send_what_waits(self.uri)
                end_the_dead(mlflow.MlflowClient())
        except Exception as error:  # of as many kinds as there are stores
            if self.gone(error):
                return
            shown = without_password(self.uri)
            raise BadInput(f"MLflow's store {shown} does not answer as one: {brief(error)}") from None

    def _ask_first(self, client: Callable[[], Any]) -> None:
        """An empty database gets MLflow's tables by that; of several who begin at once most meet half of them."""
        for left in reversed(range(_TRIES)):
            try:
                client().search_experiments(max_results=1)
            except Exception as error:
                if is_here(self.uri) or not left or not _RACE.search(str(error)):
                    raise
                sleep(_PAUSE)
            else:
                return

    @property
    def stands_in(self) -> bool:
        """Whether what is kept in it waits for a server."""
        return is_here(self.uri) and database(self.uri).is_relative_to(unsent_folder())

    def ask(self, what: Callable[[], Answer]) -> Answer:
        """What `what` gives; where the server goes away over it, what it gives of the store that stands in."""
        try:
            return what()
        except Exception as error:
            if not self.gone(error):
                raise
        return what()

    def gone(self, error: Exception) -> bool:
        """Whether an error means that a server is away that is not required; then the store that stands in is open."""
        from pipeline.tracking.delivery import is_away

        if is_here(self.uri) or self.required or not is_away(error):
            return False
        self._instead(brief(error))
        self._begin()
        self.open()
        return True

    def _instead(self, reason: str) -> None:
        if self.required:
            raise BadInput(
                f"{self._said}: no MLflow server answers there ({reason}); "
                f"start it, or unset the variable to keep runs in ./mlflow.db"
            )
        note_away(self.uri, reason)
        told, os.environ[SERVER_VARIABLE] = os.environ.get(SERVER_VARIABLE) == self.uri, self.uri
        server, self.uri = without_password(self.uri), stand_in(self.uri)
        database(self.uri).parent.mkdir(parents=True, exist_ok=True)
        if not told:
            log.warning(
                "warning: no MLflow server answers at %s (%s): runs are kept in %s, and sent by the next command that "
                "finds it there, or by python -m pipeline.sync", server, reason, database(self.uri).parent,
            )  # fmt: skip


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


def brief(error: BaseException) -> str:
    """The first line of an error, as far as it fits into a message; of one of the network, what lay at its bottom."""
    if cause := str(error).partition("(Caused by ")[2]:
        return re.split(r"[(,] ?['\"]|: ", cause.splitlines()[0])[-1].strip("'\")( ")[:200]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def is_here(uri: str) -> bool:
    """Whether a store is a file on this machine, which answers at once."""
    return uri.startswith(_PREFIX)


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
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # what matters is tried again by ourselves
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    warnings.filterwarnings("ignore", module=r"mlflow\..*")


if __name__ == "__main__":
    _quiet()
    logging.disable(logging.CRITICAL)
    try:
        make_database(sys.argv[1])
    except Exception as problem:  # the disk filled up, say; whoever started this tells of it
        found = re.search(r"\(sqlite3\.\w+\) (.+)", str(problem))
        print(why_unwritable(database(sys.argv[1])) or (found[1] if found else brief(problem)))
        sys.exit(1)
