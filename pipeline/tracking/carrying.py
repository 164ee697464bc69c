"""Runs carried from one store to another, each once however often that is asked for."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from pipeline.common.atomic import scratch_folder
from pipeline.common.progress import each
from pipeline.tracking.delivery import Delivery, is_refusal, written_input
from pipeline.tracking.journal import Record
from pipeline.tracking.liveness import RUNNING, end_the_dead
from pipeline.tracking.logged_models import checkpoints_of
from pipeline.tracking.places import home, local_folder
from pipeline.tracking.selection import CARRIED_FROM, FINISHED, search
from pipeline.tracking.store import experiment_id

WHOLE = "carried.whole"  # the tag of a run that came from another store: how it had ended there when all was carried
_STATE = ".pt"  # what a run would be gone on with, which it is where it began
_PARENT = "mlflow.parentRunId"
_ID = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True)
class Carried:
    """How many runs were carried, and how many others had been before, or are in both stores."""

    carried: int = 0
    there: int = 0


def carry_all(source: MlflowClient, target: MlflowClient, *, move: bool = False) -> Carried:
    """Carry runs that ended, of all experiments, the oldest first, to the store that MLflow is pointed at.

    What is of the same sweep as a run under way waits for that. `move`: they go from the source once they are carried,
    and those that broke off can be gone on with where they come to.
    """
    if move:
        end_the_dead(source)
    names = {one.experiment_id: one.name for one in source.search_experiments()}
    runs = search(source, list(names), "")
    busy = {run.data.tags.get(_PARENT, run.info.run_id) for run in runs if run.info.status == RUNNING}
    runs = [run for run in runs if run.data.tags.get(_PARENT, run.info.run_id) not in busy]
    runs.sort(key=lambda run: (run.info.start_time, _PARENT in run.data.tags))  # who names others came after them
    way, counts = _Way(source, target, move=move), [0, 0]
    for run in each(runs, "carry runs"):
        counts[way.carry(run, names[run.info.experiment_id])] += 1
    return Carried(counts[True], counts[False])


class _Way:
    """From one store to another: what is known of the runs that went it."""

    def __init__(self, source: MlflowClient, target: MlflowClient, *, move: bool) -> None:
        self._source, self._target, self._move = source, target, move
        self._known: dict[str, Run | None] = {}  # by their ids in the source

    def carry(self, run: Run, experiment: str) -> bool:
        """Carry one run; False where it is there, whole."""
        run_id, there = run.info.run_id, self._there(run.info.run_id)
        whole = there is not None and (CARRIED_FROM not in there.data.tags or there.data.tags.get(WHOLE) == _state(run))
        if whole and not self._move:
            return False
        there = there or self._begin(run, experiment)
        with self._files(run) as folder:
            delivery = Delivery(self._target, there.info.run_id, folder, again=True)
            for record in () if whole else self._records(run, folder):
                delivery.take(record)
            if self._move:
                if run.info.status != FINISHED and folder.is_dir():
                    shutil.copytree(folder, home(there), dirs_exist_ok=True)
                self._source.delete_run(run_id)
                shutil.rmtree(folder, ignore_errors=True)
        return not whole

    def _there(self, run_id: str) -> Run | None:
        """What a run of the source is in the target, if anything."""
        if run_id not in self._known:
            everywhere = [one.experiment_id for one in self._target.search_experiments()]
            found = search(self._target, everywhere, f"tags.`{CARRIED_FROM}` = '{run_id}'", limit=1)
            self._known[run_id] = found[0] if found else self._same(run_id)
        return self._known[run_id]

    def _same(self, run_id: str) -> Run | None:
        """The very run: one store is a copy of the other, or that run came from the target in the first place."""
        try:
            return self._target.get_run(run_id)
        except MlflowException as error:
            if not is_refusal(error):
                raise
        try:
            first = self._source.get_run(run_id).data.tags.get(CARRIED_FROM)
            return self._target.get_run(first) if first else None
        except MlflowException as error:
            if not is_refusal(error):
                raise
            return None

    def _begin(self, run: Run, experiment: str) -> Run:
        parent = self._there(run.data.tags[_PARENT]) if _PARENT in run.data.tags else None
        where = parent.info.experiment_id if parent else experiment_id(experiment)
        begun = self._target.create_run(
            where, start_time=run.info.start_time, tags=self._tags(run), run_name=run.info.run_name
        )
        self._known[run.info.run_id] = begun
        return begun

    def _tags(self, run: Run) -> dict[str, str]:
        own = {key: value for key, value in run.data.tags.items() if key != WHOLE}
        return {self._renamed(key): self._renamed(value) for key, value in own.items()} | {
            CARRIED_FROM: run.info.run_id
        }

    def _renamed(self, text: str) -> str:
        """A text in which runs have the ids that they have in the target."""

        def there(found: re.Match[str]) -> str:
            run = self._there(found[0])
            return run.info.run_id if run else found[0]

        return _ID.sub(there, text)

    @contextmanager
    def _files(self, run: Run) -> Iterator[Path]:
        """The folder of a run's files, fetched where they are elsewhere."""
        here = local_folder(run.info.artifact_uri or "")
        if here is not None:
            yield here
            return
        with scratch_folder() as fetched:
            self._source.download_artifacts(run.info.run_id, "", str(fetched))
            yield fetched

    def _records(self, run: Run, folder: Path) -> Iterator[Record]:
        """All that a run's store knows of it."""
        yield {"do": "tags", "values": self._tags(run)}
        yield {"do": "params", "values": {key: self._renamed(value) for key, value in run.data.params.items()}}
        histories = [self._source.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
        yield _points(point for history in histories for point in history)
        if run.inputs and run.inputs.dataset_inputs:
            yield {"do": "inputs", "of": [written_input(one) for one in run.inputs.dataset_inputs]}
        if models := checkpoints_of(self._source, run):
            kept = {epoch: PurePosixPath(model.tags["weights"]).name for epoch, model in models.items()}
            yield {"do": "weights", "kept": kept, "about": {}, "again": True}
            for epoch, model in models.items():
                of_data: dict[tuple[str | None, str | None], list[Metric]] = {}
                for point in model.metrics or ():
                    of_data.setdefault((point.dataset_name, point.dataset_digest), []).append(point)
                for (name, digest), points in of_data.items():
                    yield _points(points, {"epoch": epoch, "dataset_name": name, "dataset_digest": digest})
        if run.info.status == FINISHED or not self._move:  # else they stay here, where it can be gone on with
            for file in sorted(folder.rglob("*")):
                if file.is_file() and file.suffix != _STATE:
                    yield {"do": "file", "path": file.relative_to(folder).as_posix()}
        yield {"do": "tags", "values": {WHOLE: _state(run)}}
        yield {"do": "end", "status": run.info.status, "at": run.info.end_time}


def _state(run: Run) -> str:
    return f"{run.info.status} {run.info.end_time}"


def _points(points: Iterable[Metric], about: Mapping[str, Any] | None = None) -> Record:
    plain = [[one.key, one.value, one.timestamp, one.step] for one in points]
    return {"do": "metrics", "points": plain, "about": about}
