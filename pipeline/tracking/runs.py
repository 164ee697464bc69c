"""One run in MLflow: its parameters, its epochs, its files. Tracking that fails is told of and never stops training."""

import json
import logging
import os
import platform
import shutil
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.interruption import requested
from pipeline.common.names import PARENT_VARIABLE
from pipeline.config.keys import LATER_NAMES, SAME_FIGURES
from pipeline.data.digest import data_digest
from pipeline.data.table import SPLITS, PictureTable
from pipeline.tracking.liveness import KILLED, Heartbeat, own_process
from pipeline.tracking.store import experiment_id

_VERSIONS = ("torch", "torchvision", "timm", "lightning-fabric", "mlflow", "scikit-learn", "numpy", "pillow")
PARAMETER_LIMIT = 6000  # characters
STANDS_IN = "stands_in"  # tag of a run that is there for a job which ended before it had one
_METRICS_AT_ONCE = 1000  # MLflow takes no more

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class About:
    """What a metric is of: weights, by their logged model, and pictures, by the name and digest of the run's input."""

    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class TrackedRun:
    """A run that is under way. `folder` is where its artifacts are written: at once in place for a local store."""

    def __init__(self, run: Run) -> None:
        self.id = run.info.run_id
        self.name = run.info.run_name
        self.experiment_id = run.info.experiment_id
        self.tags = dict(run.data.tags)  # as it began
        self._upload = local_folder(run.info.artifact_uri or "") is None
        self.folder = home(run)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._waiting: list[Metric] = []
        self._told = False
        self._client = mlflow.MlflowClient()

    @property
    def in_place(self) -> bool:
        """Whether what is written into the folder is in the store at once."""
        return not self._upload

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None, about: About | None = None) -> None:
        """Log metrics, which are of some weights perhaps; see `log_points`."""
        now, of = int(1000 * time()), vars(about or About())  # milliseconds
        self.log_points(Metric(name, float(value), now, step or 0, **of) for name, value in metrics.items())

    def log_points(self, points: Iterable[Metric]) -> None:
        """Log points of metrics; what could not be logged is kept and tried again with the next ones."""
        self._waiting += points
        self.send_waiting()

    def send_waiting(self) -> None:
        """Log what waits, oldest first, as far as it is taken."""
        try:
            while self._waiting:
                some = self._waiting[:_METRICS_AT_ONCE]
                self._client.log_batch(self.id, metrics=some)  # mlflow.log_metrics asks for the whole run each time
                del self._waiting[: len(some)]
        except Exception as error:
            if not self._told:
                log.warning("warning: MLflow takes no metrics now (%s); they are kept and tried again", brief(error))
            self._told = True

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a failure is told of and passes."""
        try:
            mlflow.set_tags({key: str(value) for key, value in tags.items()})
        except Exception as error:
            log.warning("warning: MLflow did not take the tags %s (%s)", ", ".join(tags), brief(error))

    def upload(self) -> None:
        """Send the folder to a remote store; a local one has it already. On failure the folder stays and is named."""
        if not self._upload:
            return
        try:
            mlflow.log_artifacts(str(self.folder), run_id=self.id)
        except Exception as error:
            log.warning("warning: artifacts were not taken (%s); they are in %s", brief(error), self.folder)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # other runs may be at work in it


@contextmanager
def tracked_run(
    experiment: str,
    *,
    name: str | None,
    tags: Mapping[str, Any],
    params: Mapping[str, Any],
    resume: str | None = None,
) -> Iterator[TrackedRun]:
    """A run in an experiment, a child of the sweep's parent where there is one; FAILED when an error leaves it.

    Under `mlflow run`, which makes the run itself, that one is used; `resume` is the id of one that goes on.
    """
    given, texts = resume or run_given(experiment), {key: str(value) for key, value in tags.items()}
    texts |= own_process()
    with (
        _ended_in_one_line(),
        mlflow.start_run(given, tags=texts) if given else _start(experiment, name, texts) as active,
        Heartbeat(active.info.run_id),
    ):
        run = TrackedRun(active)
        if params:
            mlflow.log_params({key: str(value)[:PARAMETER_LIMIT] for key, value in params.items()})
        try:
            yield run
        except BaseException as error:
            killed = requested() or isinstance(error, SystemExit | KeyboardInterrupt)
            if isinstance(error, BadInput | Stopped) and not killed:
                run.set_tags({"error": error})
            run.send_waiting()
            if killed:
                mlflow.end_run(KILLED)
            raise
        run.send_waiting()
        run.upload()


@contextmanager
def _ended_in_one_line() -> Iterator[None]:
    """Where MLflow cannot be told that a run ended (its disk is full, say), what ended the run is what is raised."""
    try:
        yield
    except MlflowException as error:
        first: BaseException | None = error
        while first is not None and not isinstance(first, BadInput | Stopped):
            first = first.__context__
        if first is None and "disk is full" not in str(error):
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
    mlflow.MlflowClient().set_tag(given, "mlflow.note.content", f"Started a run in the experiment {experiment}.")
    return None


def record_failure(experiment: str, *, name: str | None, tags: Mapping[str, Any], error: str) -> None:
    """A job of a sweep that ended before it had a run gets one, FAILED, so that it does not go unseen."""
    texts = {key: str(value) for key, value in tags.items()}
    _start(experiment, name, {**texts, "error": error[:PARAMETER_LIMIT], STANDS_IN: "true"})
    mlflow.end_run("FAILED")


def run_experiment(experiment: str) -> str:
    """The id of the experiment that a run goes into: the one named, or that of the sweep that it is a job of."""
    parent = os.environ.get(PARENT_VARIABLE)
    return experiment_id(experiment) if parent is None else _experiment_of(parent)


def _start(experiment: str, name: str | None, tags: dict[str, str]) -> mlflow.ActiveRun:
    parent = os.environ.get(PARENT_VARIABLE)
    where = run_experiment(experiment)
    return mlflow.start_run(experiment_id=where, run_name=name, parent_run_id=parent, tags=tags)


@cache
def _experiment_of(parent: str) -> str:
    """MLflow nests runs of one experiment only."""
    return str(mlflow.get_run(parent).info.experiment_id)


def log_dataset(table: PictureTable) -> None:
    """The pictures as MLflow's dataset: name, digest, columns and counts, once as training and once as evaluation."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = resolve_dataset_source(str(table.root) if table.root else table.name)
    counts = {split: len(table.where(split)) for split in SPLITS}
    dataset = mlflow.data.meta_dataset.MetaDataset(  # type: ignore[abstract]
        source, name=table.name, digest=data_digest(table)
    )
    tags = {split: str(count) for split, count in counts.items()}
    mlflow.log_inputs([dataset] * 2, contexts=["training", "evaluation"], tags_list=[tags] * 2)


def home(run: Run) -> Path:
    """Where a run's files are written: in place for a local store, else in a folder here until they are sent.

    It follows from the run's id, so that a run that broke off can be gone on with.
    """
    return local_folder(run.info.artifact_uri or "") or _until_sent() / run.info.run_id


def _until_sent() -> Path:
    """In the current folder, or in the user's cache where that one cannot be written."""
    return Path.cwd() / "mlruns" / "unfinished" if os.access(Path.cwd(), os.W_OK) else cache_folder() / "unfinished"


def local_folder(uri: str) -> Path | None:
    """The folder that an artifact address means, where it is on this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path)) if parts.scheme else Path(uri)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"trainer": {"epochs": 3}}` as `{"trainer.epochs": 3}`; lists stay whole, an empty mapping is `{}`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


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


def brief(error: BaseException) -> str:
    """The first line of an error, as far as it fits into a message."""
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]
