"""A run's records told to its store."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from pipeline.tracking.journal import Record
from pipeline.tracking.logged_models import checkpoints_of, list_checkpoints, log_points
from pipeline.tracking.store import brief

_TEXTS_AT_ONCE = 100  # MLflow takes no more
_REFUSALS = (400, 404, 409)  # statuses of answers that will be no others the next time
# A database's errors as SQLAlchemy words them, but for those of what was sent. MLflow answers 400 to many of them, such
# as that the database is shutting down.
_OF_THE_DATABASE = re.compile(r"\(\w+\.(?:\w+\.)*(?!DataError|IntegrityError)\w+Error\)")

log = logging.getLogger(__name__)


class Delivery:
    """Tells a store what records of one run say, whose files lie in `folder`.

    `again`: what is told may be there already, as who told it was cut short.
    """

    def __init__(self, client: MlflowClient, run_id: str, folder: Path, *, again: bool = False) -> None:
        self._client, self._run_id, self._folder, self._again = client, run_id, folder, again
        self._models: dict[int, str] | None = None
        self.complete = True  # nothing was refused

    def take(self, record: Record) -> None:
        """Tell the store. What it refuses is told of, and passes; raises where it does not answer, or cannot."""
        try:
            getattr(self, f"_{record['do']}")(record)
        except Exception as error:
            if not is_refusal(error):
                self._again = True  # the answer alone may have been lost
                raise
            self.complete = False
            log.warning("warning: MLflow did not take the run's %s (%s)", record["do"], brief(error))

    def size(self, record: Record) -> int:
        """How many bytes of a file a record stands for."""
        file = self._folder / record.get("path", "")
        return file.stat().st_size if file.is_file() else 0

    def _params(self, record: Record) -> None:
        for some in _in_parts(record):
            self._client.log_batch(self._run_id, params=[Param(*one) for one in some])

    def _tags(self, record: Record) -> None:
        for some in _in_parts(record):
            self._client.log_batch(self._run_id, tags=[RunTag(*one) for one in some])

    def _metrics(self, record: Record) -> None:
        of = dict(record["about"] or {})
        if of:
            of["model_id"] = self._of_weights().get(of.pop("epoch"))
        log_points(self._client, self._run_id, [Metric(*point, **of) for point in record["points"]])

    def _inputs(self, record: Record) -> None:
        found = [DatasetInput(Dataset(**of), [InputTag(*tag) for tag in tags]) for of, tags in record["of"]]
        self._client.log_inputs(self._run_id, datasets=found)

    def _weights(self, record: Record) -> None:
        self._models = {}  # a store that refuses some has none
        kept = {int(epoch): file for epoch, file in record["kept"].items()}
        run = self._client.get_run(self._run_id)
        again = self._again or record["again"]
        self._models = list_checkpoints(self._client, run, kept, record["about"], again=again)

    def _of_weights(self) -> dict[int, str]:
        if self._models is None:  # listed by a process before this one
            found = checkpoints_of(self._client, self._client.get_run(self._run_id))
            self._models = {epoch: model.model_id for epoch, model in found.items()}
        return self._models

    def _file(self, record: Record) -> None:
        file = self._folder / record["path"]
        if file.is_file():  # else whoever sent it cleared it away
            below = Path(record["path"]).parent.as_posix()
            self._client.log_artifact(self._run_id, str(file), None if below == "." else below)

    def _end(self, record: Record) -> None:
        self._client.set_terminated(self._run_id, record["status"], record["at"])

    def _begin(self, record: Record) -> None:
        """Whose the records are, for who finds their journal."""


def _in_parts(record: Record) -> Iterator[list[tuple[str, str]]]:
    pairs = list(record["values"].items())
    for start in range(0, len(pairs), _TEXTS_AT_ONCE):
        yield pairs[start : start + _TEXTS_AT_ONCE]


def written_input(given: DatasetInput) -> list[Any]:
    """A run's input as a record holds it."""
    return [dict(given.dataset), [[tag.key, tag.value] for tag in given.tags]]


def is_away(error: Exception) -> bool:
    """Whether a store did not answer, or said that it is in no state to."""
    return isinstance(error, MlflowException) and (
        _status(error) >= 500 or _status(error) == 429 or _OF_THE_DATABASE.search(str(error)) is not None
    )


def is_refusal(error: Exception) -> bool:
    """Whether a store said that it does not want something, and will say so again."""
    return isinstance(error, MlflowException) and _status(error) in _REFUSALS and not is_away(error)


def _status(error: MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]  # MLflow's is without types
