"""One run in MLflow: its parameters, its epochs, its files. Tracking that fails is told of and never stops training."""

import errno
import json
import logging
import os
import platform
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME

from pipeline.common.errors import BadInput, Pruned, Stopped
from pipeline.common.interruption import requested
from pipeline.common.names import PARENT_VARIABLE
from pipeline.config.defaults import flatten
from pipeline.config.keys import LATER_NAMES, SAME_FIGURES
from pipeline.data.digest import data_digest
from pipeline.data.table import SPLITS, PictureTable
from pipeline.tracking.delivery import is_refusal, written_input
from pipeline.tracking.liveness import KILLED, RUNNING, Heartbeat, own_process
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.places import home, local_folder, unsent_folder
from pipeline.tracking.selection import FAILED, FINISHED, PRUNED
from pipeline.tracking.store import experiment_id, is_here

_VERSIONS = ("torch", "torchvision", "timm", "lightning-fabric", "mlflow", "scikit-learn", "numpy", "pillow")
PARAMETER_LIMIT = 6000  # characters
STANDS_IN = "stands_in"  # tag of a run that is there for a job which ended before it had one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class About:
    """What a metric is of: weights, by their epoch, and pictures, by the name and digest of the run's input."""

    epoch: int
    dataset_name: str
    dataset_digest: str


class TrackedRun:
    """A run that is under way. `folder` is where its artifacts are written: at once in place for a local store.

    What is said of it waits for no answer; see `Outbox` for what becomes of it where the store is away.
    """

    def __init__(self, run: Run, *, required: bool = False) -> None:
        self.id = run.info.run_id
        self.name = run.info.run_name
        self.experiment_id = run.info.experiment_id
        self.tags = dict(run.data.tags)  # as it began
        self.folder, store = home(run), mlflow.get_tracking_uri()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.arrived = False
        self.in_place = local_folder(run.info.artifact_uri or "") is not None  # what is written is in the store at once
        self._out = Outbox(self.id, self.folder, store, direct=is_here(store), required=required)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters, as text of at most 6,000 characters."""
        self._out.put({"do": "params", "values": {key: str(value)[:PARAMETER_LIMIT] for key, value in params.items()}})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None, about: About | None = None) -> None:
        """Log metrics, which are of some weights perhaps."""
        now = int(1000 * time())  # milliseconds; told again with the same, a metric is the same
        points = [[name, float(value), now, step or 0] for name, value in metrics.items()]
        self._out.put({"do": "metrics", "points": points, "about": about and asdict(about)})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        self._out.put({"do": "tags", "values": {key: str(value) for key, value in tags.items()}})

    def log_inputs(self, inputs: Iterable[DatasetInput]) -> None:
        """Log what data went in."""
        self._out.put({"do": "inputs", "of": [written_input(one) for one in inputs]})

    def log_weights(self, kept: Mapping[int, str], pictures: str, *, again: bool = False) -> dict[int, About]:
        """List kept weights (by epoch, the files in checkpoints/) as logged models; what their figures are about.

        `pictures` is the name of the run's input. `again`: the run was gone on with, and may have some already.
        """
        digest = self.tags["data_digest"]
        about = {"dataset_name": pictures, "dataset_digest": digest}
        self._out.put({"do": "weights", "kept": kept, "about": about, "again": again})
        return {epoch: About(epoch, pictures, digest) for epoch in kept}

    def end(self, status: str) -> None:
        """The run is over, and a finished one's files are sent too; whether all `arrived` is then known."""
        if status == FINISHED and not self.in_place:
            files = sorted(file for file in self.folder.rglob("*") if file.is_file())
            self._out.put(*({"do": "file", "path": file.relative_to(self.folder).as_posix()} for file in files))
        self._out.put({"do": "end", "status": status, "at": int(1000 * time())})
        self.arrived = self._out.close()
        if not self.arrived:
            log.warning(
                "warning: run %s waits in %s: the next command here sends it when MLflow answers, or "
                "python -m pipeline.sync", self.name, unsent_folder(),
            )  # fmt: skip


@contextmanager
def tracked_run(
    experiment: str,
    *,
    name: str | None,
    tags: Mapping[str, Any],
    params: Mapping[str, Any],
    resume: str | None = None,
    required: bool = False,
) -> Iterator[TrackedRun]:
    """A run in an experiment, a child of the sweep's parent where there is one; FAILED when an error leaves it.

    Under `mlflow run`, which makes the run itself, that one is used; `resume` is the id of one that goes on.
    `required`: it stops where its store is away.
    """
    given, texts = resume or run_given(experiment), {key: str(value) for key, value in tags.items()}
    texts |= own_process()
    begun = _go_on(given, texts) if given else _create(experiment, name, texts)
    _Latest.run_id = begun.info.run_id
    with _ended_in_one_line(), Heartbeat(begun.info.run_id):
        run = TrackedRun(begun, required=required)
        try:
            if params:
                run.log_params(params)
            yield run
        except BaseException as error:
            killed = requested() or isinstance(error, SystemExit | KeyboardInterrupt | Pruned)
            if isinstance(error, Pruned):
                run.set_tags({PRUNED: error})
            elif isinstance(error, BadInput | Stopped) and not killed:
                run.set_tags({"error": error})
            run.end(KILLED if killed else FAILED)
            raise
        run.end(FINISHED)


class _Latest:
    """The newest run that this process began."""

    run_id = ""


def latest_run() -> Run:
    """The newest run that this process began."""
    return mlflow.get_run(_Latest.run_id)


@contextmanager
def _ended_in_one_line() -> Iterator[None]:
    """Where it cannot be noted that a run ended, as the disk is full, what ended the run is what is raised."""
    try:
        yield
    except OSError as error:
        first: BaseException | None = error
        while first is not None and not isinstance(first, BadInput | Stopped):
            first = first.__context__
        if error.errno != errno.ENOSPC:
            raise
        log.warning("warning: MLflow could not note how the run ended, so it shows it as RUNNING (the disk is full?)")
        raise first or Stopped(
            "MLflow's store cannot be written as the disk is full: free some, then train again"
        ) from None


def run_given(experiment: str) -> str | None:
    """The run that `mlflow run` made for us, if it is to be used.

    Without --experiment-name that is one in `Default`, where nobody looks: ours goes into its own experiment, and
    the other says where it is.
    """
    given = os.environ.pop("MLFLOW_RUN_ID", None)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    if given is None or mlflow.get_run(given).info.experiment_id != "0":
        return given
    MlflowClient().set_tag(given, "mlflow.note.content", f"Started a run in the experiment {experiment}.")
    return None


def record_failure(experiment: str, *, name: str | None, tags: Mapping[str, Any], error: str) -> None:
    """A job of a sweep that ended before it had a run gets one, FAILED, so that it does not go unseen."""
    texts = {key: str(value) for key, value in tags.items()}
    made = _create(experiment, name, {**texts, "error": error[:PARAMETER_LIMIT], STANDS_IN: "true"})
    MlflowClient().set_terminated(made.info.run_id, FAILED)


def run_experiment(experiment: str) -> str:
    """The id of the experiment that a run goes into: the one named, or that of the sweep that it is a job of."""
    parent = os.environ.get(PARENT_VARIABLE)
    above = _experiment_of(parent, mlflow.get_tracking_uri()) if parent else None
    return above or experiment_id(experiment)


def _create(experiment: str, name: str | None, tags: Mapping[str, str]) -> Run:
    parent = os.environ.get(PARENT_VARIABLE)
    above = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
    # Else MLflow names the program, which is a launcher's own under some.
    source = {MLFLOW_SOURCE_NAME: f"pipeline.{tags['stage']}"} if "stage" in tags else {}
    known = resolve_tags({**source, **tags, **above})
    return MlflowClient().create_run(run_experiment(experiment), tags=known, run_name=name)


def _go_on(run_id: str, tags: Mapping[str, str]) -> Run:
    client = MlflowClient()
    client.update_run(run_id, status=RUNNING)
    client.log_batch(run_id, tags=[RunTag(*one) for one in tags.items()])
    return client.get_run(run_id)


@cache
def _experiment_of(parent: str, _store: str) -> str | None:
    """MLflow nests runs of one experiment only. None where the parent is with a server that the store stands in for."""
    try:
        return str(mlflow.get_run(parent).info.experiment_id)
    except MlflowException as error:
        if not is_refusal(error):
            raise
        return None


def dataset_of(table: PictureTable) -> list[DatasetInput]:
    """The pictures as MLflow's dataset: name, digest, columns and counts, once as training and once as evaluation."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = resolve_dataset_source(str(table.root) if table.root else table.name)
    counts = {split: len(table.where(split)) for split in SPLITS}
    dataset = mlflow.data.meta_dataset.MetaDataset(  # type: ignore[abstract]
        source, name=table.name, digest=data_digest(table)
    )
    tags = [InputTag(split, str(count)) for split, count in counts.items()]
    return [
        DatasetInput(dataset._to_mlflow_entity(), [*tags, InputTag(MLFLOW_DATASET_CONTEXT, context)])
        for context in ("training", "evaluation")
    ]


def config_digest(config: Mapping[str, Any], resolved: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Twelve hex digits that say which configs can be expected to give the same figures.

    They are of the choices' names and of what differs from the `defaults` (nested, as `config`), so that a key which
    a later version brings changes none while it is left at its default. Where the story and the split are kept, how
    many processes read pictures and whether these are cached change none; precision, threads and devices do.
    """
    answers = flatten(defaults)  # a key that a choice has no use for is null
    kept = {
        key: value
        for key, value in flatten(config).items()
        if not key.startswith(SAME_FIGURES)
        and ((key.endswith(".name") and key not in LATER_NAMES) or answers.get(key) != value)
    }
    kept |= {f"trainer.{name}": value for name, value in resolved.items()}
    return sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


@cache
def git_sha() -> str:
    """The commit of this program's code, with `-dirty` where it was changed since; `unknown` outside git."""
    here = Path(__file__).parent
    try:
        sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", "../..", ":!../../mlruns"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return sha.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


@cache
def machine() -> dict[str, str]:
    """What a run ran on: system, processor cores, Python and the libraries that figures depend on."""
    return {
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.cores": str(os.cpu_count()),
        "version.python": platform.python_version(),
        **{f"version.{package}": version(package) for package in _VERSIONS},
    }
